package dev.dormouse.internal

import dev.dormouse.DormouseException
import dev.dormouse.Event
import dev.dormouse.Reply
import dev.dormouse.ToolCall
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.launch
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import kotlinx.coroutines.withContext
import java.util.concurrent.atomic.AtomicInteger

/** The starts of one chat's replies: they take turns, and can be cancelled before they are done. */
internal class Starts {
    val turn = Mutex()
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
 * A reply as a cold flow: [start] is called for each collection, one at a time of those of [starts].
 *
 * Nothing is pulled before the collector took what was pulled last, so that a slow one makes the
 * engine wait. Cancelling the collector's job tells the engine there and then, wherever the collector
 * is suspended: whoever cancels and sends again finds a chat that is ending its answer, and not busy.
 */
internal fun replyFlow(starts: Starts, start: suspend () -> ReplyBridge): Flow<Event> =
    flow {
        coroutineScope {
            val reply = started(starts, start)
            try {
                do {
                    val events = reply.bridge.next()
                    for (event in events) emit(event)
                } while (events.isNotEmpty() && events.last() !is Event.Done)
            } finally {
                reply.watch.cancel()
                // Elsewhere, as it may wait for a token, and the caller's thread may be an interface's.
                withContext(NonCancellable + arrivals) { reply.bridge.release() }
            }
        }
    }

private class Started(val bridge: ReplyBridge, val watch: Job)

/** Starts a reply, which is cancelled with this scope from then on, also if that was so before. */
private suspend fun CoroutineScope.started(starts: Starts, start: suspend () -> ReplyBridge): Started {
    val before = starts.cancelled
    return starts.turn.withLock {
        // To its end: a reply that nobody knows of would keep the chat busy.
        val reply =
            try {
                withContext(NonCancellable) { start() }
            } catch (e: DormouseException) {
                // Whatever was wrong with it: who was cancelled meanwhile is told that alone.
                currentCoroutineContext().ensureActive()
                throw e
            }
        // Whoever cancels from here on finds it running.
        if (starts.cancelled != before) reply.cancel()
        // Unconfined, it runs within the call of `cancel`.
        val watch =
            launch(Dispatchers.Unconfined, CoroutineStart.UNDISPATCHED) {
                try {
                    awaitCancellation()
                } finally {
                    reply.cancel()
                }
            }
        Started(reply, watch)
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
