package dev.dormouse

import dev.dormouse.internal.ModelBridge
import dev.dormouse.internal.Starts
import dev.dormouse.internal.replyFlow
import kotlinx.coroutines.flow.Flow

/**
 * A loaded model, from [Dormouse.load]. Safe to use from any thread.
 *
 * It holds memory until it is closed. One that is forgotten, with all its chats, is closed some time
 * after the garbage collector finds it.
 */
public class Model internal constructor(private val bridge: ModelBridge) : AutoCloseable {
    /** What the model is. Also of a closed one. */
    public val info: ModelInfo = bridge.info

    /** Whether it was closed. */
    public val isClosed: Boolean get() = bridge.isClosed

    /**
     * Opens a chat; a model can have many, which take turns.
     *
     * @throws DormouseException.Template when the model has no chat template
     * @throws DormouseException.InvalidOptions for an option outside its range
     * @throws DormouseException.OutOfMemory when the memory budget is used up
     * @throws DormouseException.Closed when the model is closed
     */
    public fun newChat(options: ChatOptions = ChatOptions()): Chat =
        Chat(this, bridge.newChat(options), options.reply)

    /**
     * Opens a chat with the instructions [system] to the model, and all else by default.
     *
     * @throws DormouseException.Template when the model has no chat template
     * @throws DormouseException.OutOfMemory when the memory budget is used up
     * @throws DormouseException.Closed when the model is closed
     */
    public fun newChat(system: String): Chat = newChat(ChatOptions(system = system))

    /**
     * Goes on from [prompt] as it is, without a chat template. The beginning-of-text token is put
     * before it where the model has one, and special tokens in it are taken as such.
     *
     * The flow is cold: each collection starts anew, in a context of its own. It ends with
     * [Event.Done]. Cancelling its collector, or [close], ends the work within one token.
     *
     * @return a flow which throws [DormouseException.InvalidOptions] for an empty prompt or an option
     *   outside its range, [DormouseException.ContextFull] when the prompt does not fit,
     *   [DormouseException.OutOfMemory] when the memory budget is used up, and
     *   [DormouseException.Closed]
     */
    public fun complete(prompt: String, options: ReplyOptions = ReplyOptions()): Flow<Event> =
        replyFlow(Starts()) { bridge.complete(prompt, options) }

    /**
     * The tokens of [text], without a beginning-of-text token.
     *
     * @param text any text
     * @param special whether special tokens written out in the text are taken as such
     * @throws DormouseException.Closed when the model is closed
     */
    public suspend fun tokenize(text: String, special: Boolean = false): List<Int> = bridge.tokenize(text, special)

    /**
     * How many tokens [text] has.
     *
     * @throws DormouseException.Closed when the model is closed
     */
    public suspend fun countTokens(text: String): Int = tokenize(text).size

    /**
     * The text of [tokens]; bytes that are no characters come as replacement characters.
     *
     * @throws DormouseException.InvalidOptions for a token outside the vocabulary
     * @throws DormouseException.Closed when the model is closed
     */
    public fun detokenize(tokens: List<Int>): String = bridge.detokenize(tokens)

    /**
     * Closes all chats and gives the memory back. What runs ends within one token, which is waited
     * for. From then on every call throws [DormouseException.Closed]; to close again does nothing.
     */
    override fun close(): Unit = bridge.close()
}
