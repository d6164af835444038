package dev.dormouse.internal

import dev.dormouse.ChatOptions
import dev.dormouse.DormouseException
import dev.dormouse.Event
import dev.dormouse.LoadOptions
import dev.dormouse.LogLevel
import dev.dormouse.Message
import dev.dormouse.ModelInfo
import dev.dormouse.ModelSource
import dev.dormouse.Plan
import dev.dormouse.Pooling
import dev.dormouse.ReplyOptions
import dev.dormouse.ffi.AdapterHandle
import dev.dormouse.ffi.CallToken
import dev.dormouse.ffi.ChatHandle
import dev.dormouse.ffi.Disposable
import dev.dormouse.ffi.Failure
import dev.dormouse.ffi.InternalException
import dev.dormouse.ffi.LoadTask
import dev.dormouse.ffi.LogSink
import dev.dormouse.ffi.ModelHandle
import dev.dormouse.ffi.ScaledAdapter
import dev.dormouse.ffi.beginLoad
import dev.dormouse.ffi.engineVersion
import dev.dormouse.ffi.setLogSink
import dev.dormouse.ffi.uniffiEnsureInitialized
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.withContext
import dev.dormouse.ffi.LogLevel as FfiLogLevel
import dev.dormouse.ffi.Reply as FfiReply
import dev.dormouse.ffi.plan as ffiPlan

/** The way through what uniffi generates, which is named in this folder's two `Uniffi` files alone. */
internal object UniffiBridge : Bridge {
    init {
        NativeLibrary.load()
        uniffiEnsureInitialized()
    }

    override val version: String get() = translated { engineVersion() }

    override suspend fun plan(source: ModelSource, options: LoadOptions): Plan =
        awaited { ffiPlan(source.toFfi(), options.toFfi()).toApi() }

    override fun beginLoad(source: ModelSource, options: LoadOptions): LoadBridge =
        translated { UniffiLoad(beginLoad(source.toFfi(), options.toFfi())) }

    override fun setLogger(level: LogLevel, sink: ((LogLevel, String, String) -> Unit)?) =
        translated {
            val theirs =
                sink?.let {
                    object : LogSink {
                        override fun log(level: FfiLogLevel, target: String, message: String) =
                            sink(level.toApi(), target, message)
                    }
                }
            setLogSink(theirs, level.toFfi())
        }
}

private class UniffiCall(val token: CallToken) : CallBridge {
    override fun cancel() = unlessReleased { token.cancel() }

    override fun release() = token.destroy()
}

private val CallBridge.token: CallToken get() = (this as UniffiCall).token

private class UniffiLoad(private val task: LoadTask) : LoadBridge {
    override suspend fun progress(): Float? = awaited { task.progress() }

    override suspend fun model(take: (ModelBridge) -> Unit) = awaited { take(UniffiModel(task.model())) }

    override fun release() {
        task.released { cancel() }
    }
}

private class UniffiModel(private val handle: ModelHandle) : ModelBridge {
    override val info: ModelInfo = translated { handle.info().toApi() }

    override val isClosed: Boolean get() = handle.closed { isClosed() }

    override fun newChat(options: ChatOptions): ChatBridge = translated { UniffiChat(handle.chat(options.toFfi())) }

    override fun newCall(): CallBridge = translated { UniffiCall(CallToken()) }

    override suspend fun complete(prompt: String, options: ReplyOptions, call: CallBridge): ReplyBridge =
        awaitedUnless(::isClosed) { UniffiReply(handle.complete(prompt.wellFormed("the prompt"), options.toFfi(), call.token)) }

    override suspend fun tokenize(text: String, special: Boolean): List<Int> =
        awaited { handle.tokenize(text.wellFormed("the text"), special).map { it.toInt() } }

    override fun detokenize(tokens: List<Int>): String =
        translated { handle.detokenize(tokens.map { natural("a token", it) }) }

    override suspend fun embed(text: String, pooling: Pooling?): FloatArray =
        awaited {
            val task = handle.beginEmbed(text.wellFormed("the text"), pooling?.toFfi())
            try {
                task.vector().toFloatArray()
            } finally {
                task.released { cancel() }
            }
        }

    override suspend fun loadAdapter(source: ModelSource, take: (AdapterBridge) -> Unit) =
        awaited { take(UniffiAdapter(handle.loadAdapter(source.toFfi()))) }

    override fun close() = handle.released { shut() }
}

private class UniffiAdapter(val handle: AdapterHandle) : AdapterBridge {
    override val isClosed: Boolean get() = translated { handle.isClosed() }

    // The handle stays until it is forgotten: the generated code would fail for one that was dropped in
    // the midst of a call of a chat's, with the engine's side of the chat counted as in use, for ever.
    override fun close() = translated { handle.shut() }
}

private class UniffiChat(private val handle: ChatHandle) : ChatBridge {
    override val contextLength: Int = translated { handle.contextLength().toApi() }

    override val contextUsed: Int get() = translated { handle.contextUsed().toApi() }

    override val isClosed: Boolean get() = handle.closed { isClosed() }

    // Of the chat: what it cancels from here on is also this call's answer.
    override fun newCall(): CallBridge = translated { UniffiCall(handle.newCall()) }

    override suspend fun send(messages: List<Message>, options: ReplyOptions, call: CallBridge): ReplyBridge =
        awaitedUnless(::isClosed) { UniffiReply(handle.send(messages.map { it.toFfi() }, options.toFfi(), call.token)) }

    override suspend fun regenerate(options: ReplyOptions, call: CallBridge): ReplyBridge =
        awaitedUnless(::isClosed) { UniffiReply(handle.regenerate(options.toFfi(), call.token)) }

    override suspend fun edit(index: Int, message: Message, options: ReplyOptions, call: CallBridge): ReplyBridge =
        awaitedUnless(::isClosed) { UniffiReply(handle.edit(natural("the index", index), message.toFfi(), options.toFfi(), call.token)) }

    override fun messages(): List<Message> = translated { handle.messages().map { it.toApi() } }

    override fun setMessages(messages: List<Message>) =
        translated { handle.setMessages(messages.map { it.toFfi() }) }

    override fun setSystem(text: String?) = translated { handle.setSystem(text?.wellFormed("the system message")) }

    override fun reset() = translated { handle.reset() }

    override suspend fun setAdapters(adapters: List<Pair<AdapterBridge, Float>>, call: CallBridge) =
        awaited {
            val scaled = adapters.map { (adapter, scale) -> ScaledAdapter((adapter as UniffiAdapter).handle, scale) }
            handle.setAdapters(scaled, call.token)
        }

    override suspend fun save(path: String, call: CallBridge) =
        awaited { handle.save(path.wellFormed("the path"), call.token) }

    override suspend fun restore(path: String, call: CallBridge) =
        awaited { handle.restore(path.wellFormed("the path"), call.token) }

    override fun cancel() = unlessReleased { handle.cancel() }

    override fun close() = handle.released { shut() }
}

private class UniffiReply(private val reply: FfiReply) : ReplyBridge {
    // A thread that waits: to be called back by the engine's costs several times as much.
    override suspend fun next(): List<Event> = awaited { reply.awaitEvents().map { it.toApi() } }

    override fun cancel() = unlessReleased { reply.cancel() }

    override fun release() = reply.released { cancel() }
}

/** Runs [last] and drops the handle, once. */
private inline fun <H : Disposable> H.released(last: H.() -> Unit) {
    unlessReleased { last() }
    destroy()
}

/** Whether it is closed as [asked], or was dropped, which only `close` does: maybe just now. */
private inline fun <H : Disposable> H.closed(asked: H.() -> Boolean): Boolean =
    try {
        translated { asked() }
    } catch (_: DormouseException.Closed) {
        true
    }

private inline fun unlessReleased(call: () -> Unit) {
    try {
        translated(call)
    } catch (_: DormouseException.Closed) {
        // Then there is nothing to do.
    }
}

/** Runs [call], but not of what is [closed], whatever else is wrong with it. */
private suspend fun <T> awaitedUnless(closed: () -> Boolean, call: suspend () -> T): T =
    awaited {
        if (closed()) throw DormouseException.Closed()
        call()
    }

private suspend fun <T> awaited(call: suspend () -> T): T = withContext(arrivals) { translated { call() } }

/** Runs [call] with its failures as the API has them. */
@Suppress("ThrowsCount")
private inline fun <T> translated(call: () -> T): T =
    try {
        call()
    } catch (e: Failure) {
        throw e.toApi()
    } catch (_: InternalException) {
        // Its words may quote a prompt.
        throw DormouseException.Internal("the bridge", "a panic")
    } catch (e: CancellationException) {
        throw e
    } catch (_: IllegalStateException) {
        // What the generated code says of a handle that was dropped: by `close`, and nobody else.
        throw DormouseException.Closed()
    }
