package dev.dormouse

import dev.dormouse.internal.AdapterBridge
import dev.dormouse.internal.ModelBridge
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
     * @throws DormouseException.InvalidOptions for half a surrogate pair, which is no text
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
        replyFlow(bridge) { bridge.complete(prompt, options, it) }

    /**
     * The tokens of [text], without a beginning-of-text token.
     *
     * @param text any text
     * @param special whether special tokens written out in the text are taken as such
     * @throws DormouseException.InvalidOptions for half a surrogate pair, which is no text
     * @throws DormouseException.Closed when the model is closed
     */
    public suspend fun tokenize(text: String, special: Boolean = false): List<Int> = bridge.tokenize(text, special)

    /**
     * How many tokens [text] has.
     *
     * @throws DormouseException.InvalidOptions for half a surrogate pair, which is no text
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
     * A vector that tells texts of like meaning from others, if the model was trained for that. The
     * dot product of two is the cosine of the angle between them: their length is 1.
     *
     * Cancelling the coroutine ends the work within one layer. It takes a context of its own, as long
     * as the text, for as long as it lasts.
     *
     * @param text any text; special tokens written out in it are text, too
     * @param pooling how the hidden states of its tokens become one vector; null: as the file asks for
     * @return [ModelInfo.embeddingLength] values
     * @throws DormouseException.InvalidOptions for an empty text, half a surrogate pair, or when
     *   neither the file nor [pooling] says how to pool
     * @throws DormouseException.ContextFull for a text longer than [ModelInfo.trainedContextLength]
     * @throws DormouseException.OutOfMemory when the memory budget is used up
     * @throws DormouseException.Closed when the model is closed, also meanwhile
     */
    public suspend fun embed(text: String, pooling: Pooling? = null): FloatArray = bridge.embed(text, pooling)

    /**
     * Opens the LoRA adapter at [source], a GGUF file, for this model and its chats; see
     * [Chat.setAdapters]. [LoadOptions.fileAccess] holds for it as for the model, [LoadOptions.memory]
     * does not count it.
     *
     * @return the adapter, which is to be closed
     * @throws DormouseException.NotFound when there is no such file
     * @throws DormouseException.Io when it cannot be read
     * @throws DormouseException.UnsupportedModel for a file that is no LoRA adapter, or one for another
     *   architecture
     * @throws DormouseException.CorruptModel when it is damaged or made for a model of another shape
     * @throws DormouseException.InvalidOptions for a descriptor that is none, or a path with half a
     *   surrogate pair
     * @throws DormouseException.Closed when the model is closed
     */
    public suspend fun loadAdapter(source: ModelSource): Adapter {
        var loaded: AdapterBridge? = null
        try {
            bridge.loadAdapter(source) { loaded = it }
            return Adapter(checkNotNull(loaded)).also { loaded = null }
        } finally {
            // Cancelled when it was there already: nobody else could close it.
            loaded?.close()
        }
    }

    /**
     * Ends all embeddings, closes all chats and gives the memory back. What runs ends within one token, which is waited
     * for. From then on every call throws [DormouseException.Closed]; to close again does nothing.
     */
    override fun close(): Unit = bridge.close()
}
