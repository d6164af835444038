package dev.dormouse.internal

import dev.dormouse.DormouseException
import dev.dormouse.Event
import dev.dormouse.Reply
import dev.dormouse.ToolCall
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.launch
import kotlinx.coroutines.suspendCancellableCoroutine
import kotlinx.coroutines.withContext
import java.util.concurrent.atomic.AtomicInteger

/** The starts of one chat's replies, which can be cancelled before they are done. */
internal class Starts {
    private val cancels = AtomicInteger()

    /** How often [cancel] was called. */
    val cancelled: Int get() = cancels.get()

    /**
     * Has what is being started end as soon as it runs, from the moment that its flow is collected.
     * What runs already is the engine's to cancel, after this.
     */
    fun cancel() {
        cancels.incrementAndGet()
    }
}

/**
 * Runs [work] with a call that is cancelled with the coroutine's job, there and then, wherever the
 * coroutine is suspended: the call's end is known to the engine before anything that is asked of it
 * after the job was cancelled.
 */
internal suspend fun <T> CalledBridge.calling(work: suspend CoroutineScope.(CallBridge) -> T): T =
    coroutineScope {
        val call = newCall()
        val watch =
            launch(Dispatchers.Unconfined, CoroutineStart.UNDISPATCHED) {
                // Within the call of `cancel`, whatever thread or dispatcher that is on.
                suspendCancellableCoroutine<Unit> { it.invokeOnCancellation { call.cancel() } }
            }
        try {
            work(call)
        } finally {
            watch.cancel()
            call.release()
        }
    }

/**
 * Waits for the end of [work], which a cancelled call comes to at once, so that what it gives is
 * never lost. Whatever was wrong with it: who was cancelled meanwhile is told that alone.
 */
internal suspend fun <T> toItsEnd(work: suspend () -> T): T =
    try {
        withContext(NonCancellable) { work() }
    } catch (e: DormouseException) {
        currentCoroutineContext().ensureActive()
        throw e
    }

/**
 * A reply as a cold flow: [start] is called for each collection.
 *
 * Nothing is pulled before the collector took what was pulled last, so that a slow one makes the
 * engine wait. Whoever cancels the collector's job and sends again finds a chat that is ending its
 * answer, and not busy, also while the answer is being started.
 */
internal fun replyFlow(bridge: CalledBridge, starts: Starts, start: suspend (CallBridge) -> ReplyBridge): Flow<Event> =
    flow {
        bridge.calling { call ->
            val before = starts.cancelled
            val reply = toItsEnd { start(call) }
            try {
                // Whoever cancels from here on finds it running.
                if (starts.cancelled != before) reply.cancel()
                do {
                    val events = reply.next()
                    for (event in events) emit(event)
                } while (events.isNotEmpty() && events.last() !is Event.Done)
            } finally {
                // Elsewhere, as it may wait for a token, and the caller's thread may be an interface's.
                withContext(NonCancellable + arrivals) { reply.release() }
            }
        }
    }

/** The whole of a reply. */
internal suspend fun Flow<Event>.whole(): Reply {
    val text = StringBuilder()
    val reasoning = StringBuilder()
    val calls = mutableListOf<ToolCall>()
    var done: Event.Done? = null
    collect { event ->
        when (event) {
            is Event.Token -> text.append(event.text)
            is Event.Reasoning -> reasoning.append(event.text)
            is Event.ToolCall -> calls += event.call
            is Event.Throttled -> Unit
            is Event.Done -> done = event
        }
    }
    val end = done ?: throw DormouseException.Internal("reply", "it ended without an end")
    return Reply(
        text = text.toString(),
        reasoning = reasoning.toString().ifEmpty { null },
        toolCalls = calls,
        metrics = end.metrics,
        finishReason = end.finishReason,
        seed = end.seed,
    )
}
