package dev.dormouse

import dev.dormouse.internal.ChatBridge
import dev.dormouse.internal.calling
import dev.dormouse.internal.replyFlow
import dev.dormouse.internal.toItsEnd
import dev.dormouse.internal.whole
import kotlinx.coroutines.flow.Flow
import java.io.File

/**
 * A conversation with a model, from [Model.newChat]. Safe to use from any thread; it answers one
 * question at a time.
 *
 * It holds its context's memory until it is closed, by itself or with its model. One that is forgotten
 * is closed some time after the garbage collector finds it.
 *
 * @property model the model that it is with
 */
public class Chat internal constructor(
    // A model that nobody holds any more would be closed, and its chats with it.
    public val model: Model,
    private val bridge: ChatBridge,
    private val defaults: ReplyOptions,
) : AutoCloseable {
    /** Tokens that the context holds. */
    public val contextLength: Int = bridge.contextLength

    /**
     * Tokens of the context that are filled.
     *
     * @throws DormouseException.Busy while an answer runs
     * @throws DormouseException.Closed when the chat is closed
     */
    public val contextUsed: Int get() = bridge.contextUsed

    /**
     * Whether it was closed: by [close], with its model, or by a defect of Dormouse while it computed
     * ([DormouseException.Internal]).
     */
    public val isClosed: Boolean get() = bridge.isClosed

    /**
     * The history, the system message first, and an answer that is being computed as far as it has
     * come; one that is being started is no part of it yet, nor is what it answers.
     *
     * @throws DormouseException.Closed when the chat is closed
     */
    public val messages: List<Message> get() = bridge.messages()

    /**
     * Says [text] to the model and streams its answer. Both join the history, the answer at its end,
     * however it ends.
     *
     * The flow is cold: nothing is said before it is collected, and each collection says it anew. It
     * ends with [Event.Done]. Cancelling its collector ends the work within one token, and the chat
     * stays usable; [cancel] does so, too, and the flow then ends with [FinishReason.Cancelled]. A
     * collector that is slow makes the engine wait.
     *
     * @return a flow which throws [DormouseException.Busy] while another answer runs (one that was
     *   cancelled is waited for), [DormouseException.ContextFull] when the conversation does not
     *   fit, [DormouseException.Template], [DormouseException.InvalidOptions] and
     *   [DormouseException.Closed]; the history is then as it was
     */
    public fun send(text: String, options: ReplyOptions = defaults): Flow<Event> =
        send(Message.user(text), options)

    /** Sends [message], and is else as `send` with a text. */
    public fun send(message: Message, options: ReplyOptions = defaults): Flow<Event> =
        send(listOf(message), options)

    /** Sends [messages], as when several tools were called, and is else as `send` with a text. */
    public fun send(messages: List<Message>, options: ReplyOptions = defaults): Flow<Event> =
        replyFlow(bridge) { bridge.send(messages, options, it) }

    /**
     * Drops the last answer and streams another.
     *
     * @return a flow as that of `send`; it throws [DormouseException.InvalidOptions] when there is
     *   nothing to answer
     */
    public fun regenerate(options: ReplyOptions = defaults): Flow<Event> =
        replyFlow(bridge) { bridge.regenerate(options, it) }

    /**
     * Replaces the user's message at [index] of [messages] by [text], drops all after it and streams
     * the answer.
     *
     * @return a flow as that of `send`; it throws [DormouseException.InvalidOptions] when that is not
     *   a message of the user
     */
    public fun edit(index: Int, text: String, options: ReplyOptions = defaults): Flow<Event> =
        edit(index, Message.user(text), options)

    /** Replaces by [message], and is else as `edit` with a text. */
    public fun edit(index: Int, message: Message, options: ReplyOptions = defaults): Flow<Event> =
        replyFlow(bridge) { bridge.edit(index, message, options, it) }

    /**
     * Says [text] to the model and waits for the whole answer. Cancelling the coroutine ends the work
     * within one token.
     *
     * @throws DormouseException as the flow of `send` does
     */
    public suspend fun reply(text: String, options: ReplyOptions = defaults): Reply = send(text, options).whole()

    /** Sends [message], and is else as `reply` with a text. */
    public suspend fun reply(message: Message, options: ReplyOptions = defaults): Reply =
        send(message, options).whole()

    /**
     * Replaces the history, the system message included.
     *
     * @throws DormouseException.Busy while an answer runs
     * @throws DormouseException.InvalidOptions for a tool call whose arguments are no JSON object, or a
     *   text with half a surrogate pair
     * @throws DormouseException.Closed when the chat is closed
     */
    public fun setMessages(messages: List<Message>): Unit = bridge.setMessages(messages)

    /**
     * Sets or replaces the system message; null removes it.
     *
     * @throws DormouseException.Busy while an answer runs
     * @throws DormouseException.InvalidOptions for a text with half a surrogate pair
     * @throws DormouseException.Closed when the chat is closed
     */
    public fun setSystem(text: String?): Unit = bridge.setSystem(text)

    /**
     * Forgets all messages but the system message.
     *
     * @throws DormouseException.Busy while an answer runs
     * @throws DormouseException.Closed when the chat is closed
     */
    public fun reset(): Unit = bridge.reset()

    /**
     * Replaces the chat's LoRA adapters by [adapters]; none takes all off. The history stays, and the
     * next answer evaluates all of it anew. If that fails, or the coroutine is cancelled before, the
     * former adapters stay.
     *
     * @throws DormouseException.Busy while an answer runs
     * @throws DormouseException.InvalidOptions for an adapter that was opened for another model, if one
     *   of the same file, or a scale that is no number
     * @throws DormouseException.Closed when the chat or an adapter is closed
     */
    public suspend fun setAdapters(adapters: List<AdapterScale>): Unit =
        bridge.calling { call ->
            toItsEnd { bridge.setAdapters(adapters.map { it.adapter.bridge to it.scale }, call) }
        }

    /**
     * Writes the history to [file], which is replaced as a whole or left as it is: also when the
     * coroutine is cancelled before. Saves of a chat are made one after the other.
     *
     * @throws DormouseException.Io when it cannot be written
     * @throws DormouseException.NotFound when its folder is not there
     * @throws DormouseException.InvalidOptions for a path with half a surrogate pair
     * @throws DormouseException.Closed when the chat is closed
     */
    public suspend fun save(file: File): Unit = save(file.path)

    /** Writes to the file at [path], and is else as `save` with a file. */
    public suspend fun save(path: String): Unit =
        bridge.calling { call -> toItsEnd { bridge.save(path, call) } }

    /**
     * Replaces the history by that in [file], which [save] wrote. If that fails, or the coroutine is
     * cancelled before, the history is as it was.
     *
     * @throws DormouseException.NotFound when there is no such file
     * @throws DormouseException.Io when it cannot be read or is no saved chat, as is a pipe or a device
     * @throws DormouseException.InvalidOptions for a path with half a surrogate pair
     * @throws DormouseException.Busy while an answer runs
     * @throws DormouseException.Closed when the chat is closed
     */
    public suspend fun restore(file: File): Unit = restore(file.path)

    /** Reads the file at [path], and is else as `restore` with a file. */
    public suspend fun restore(path: String): Unit =
        bridge.calling { call -> toItsEnd { bridge.restore(path, call) } }

    /**
     * Ends the answer that runs, if one does, within one token, and an answer that is only being
     * started as soon as it has. Its flow then ends with [Event.Done] and [FinishReason.Cancelled].
     */
    public fun cancel(): Unit = bridge.cancel()

    /**
     * Ends what runs within one token, waits for that and gives the memory back. The flow of an answer
     * that runs ends with [FinishReason.Cancelled], that of one that is only being started throws
     * [DormouseException.Closed], as from then on every call does; to close again does nothing.
     */
    override fun close(): Unit = bridge.close()
}
