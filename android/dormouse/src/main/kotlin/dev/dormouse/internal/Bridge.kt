package dev.dormouse.internal

import dev.dormouse.ChatOptions
import dev.dormouse.Event
import dev.dormouse.LoadOptions
import dev.dormouse.LogLevel
import dev.dormouse.Message
import dev.dormouse.ModelInfo
import dev.dormouse.ModelSource
import dev.dormouse.Plan
import dev.dormouse.Pooling
import dev.dormouse.ReplyOptions

/**
 * The way to the engine, in terms of the API. Everything fails with `DormouseException` and nothing
 * else, and what suspends never runs its caller's code on a thread of the engine's.
 */
internal interface Bridge {
    val version: String

    suspend fun plan(source: ModelSource, options: LoadOptions): Plan

    fun beginLoad(source: ModelSource, options: LoadOptions): LoadBridge

    fun setLogger(level: LogLevel, sink: ((LogLevel, String, String) -> Unit)?)
}

/** One call to the engine, which can be ended from before it is made until its reply is over. */
internal interface CallBridge {
    /** Has the call fail, or the reply that it started end within one token; does not wait. */
    fun cancel()

    fun release()
}

/** Where calls that can be ended go to. */
internal interface CalledBridge {
    fun newCall(): CallBridge
}

/** A model being loaded. */
internal interface LoadBridge {
    /** The next share that is done, from 0 to 1; null once the load has ended, however it ended. */
    suspend fun progress(): Float?

    /** Waits for the end, and hands the model to [take] before anything can be cancelled. */
    suspend fun model(take: (ModelBridge) -> Unit)

    /** Ends the load if it runs, and lets go of it. */
    fun release()
}

/** A loaded model; [close] is idempotent. */
internal interface ModelBridge : CalledBridge {
    val info: ModelInfo

    val isClosed: Boolean

    fun newChat(options: ChatOptions): ChatBridge

    suspend fun complete(prompt: String, options: ReplyOptions, call: CallBridge): ReplyBridge

    suspend fun tokenize(text: String, special: Boolean): List<Int>

    fun detokenize(tokens: List<Int>): String

    suspend fun embed(text: String, pooling: Pooling?): FloatArray

    /** Opens an adapter, and hands it to [take] before anything can be cancelled. */
    suspend fun loadAdapter(source: ModelSource, take: (AdapterBridge) -> Unit)

    fun close()
}

/** An adapter of a model; [close] is idempotent. */
internal interface AdapterBridge {
    val isClosed: Boolean

    fun close()
}

/** A chat; [close] is idempotent. */
internal interface ChatBridge : CalledBridge {
    val contextLength: Int

    val contextUsed: Int

    val isClosed: Boolean

    suspend fun send(messages: List<Message>, options: ReplyOptions, call: CallBridge): ReplyBridge

    suspend fun regenerate(options: ReplyOptions, call: CallBridge): ReplyBridge

    suspend fun edit(index: Int, message: Message, options: ReplyOptions, call: CallBridge): ReplyBridge

    fun messages(): List<Message>

    fun setMessages(messages: List<Message>)

    fun setSystem(text: String?)

    fun reset()

    /** Only adapters of the same bridge. */
    suspend fun setAdapters(adapters: List<Pair<AdapterBridge, Float>>, call: CallBridge)

    suspend fun save(path: String, call: CallBridge)

    suspend fun restore(path: String, call: CallBridge)

    /** Has the answer that runs, and those of calls that were made before, end within one token. */
    fun cancel()

    fun close()
}

/** A reply being computed. */
internal interface ReplyBridge {
    /** All that has happened since the last call, at least one event; empty once all was given. */
    suspend fun next(): List<Event>

    /** Ends the reply within one token, if it runs; does not wait. */
    fun cancel()

    /** Cancels, and lets go of it, which may wait for a token. */
    fun release()
}
