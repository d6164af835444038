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
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.launch
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import kotlinx.coroutines.withContext

/**
 * A reply as a cold flow: [start] is called for each collection, one at a time under [turn].
 *
 * Nothing is pulled before the collector took what was pulled last, so that a slow one makes the
 * engine wait. Cancelling the collector's job tells the engine there and then, wherever the collector
 * is suspended: whoever cancels and sends again finds a chat that is ending its answer, and not busy.
 */
internal fun replyFlow(turn: Mutex, start: suspend () -> ReplyBridge): Flow<Event> =
    flow {
        coroutineScope {
            val reply = turn.withLock { started(start) }
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
private suspend fun CoroutineScope.started(start: suspend () -> ReplyBridge): Started {
    // To its end: a reply that nobody knows of would keep the chat busy.
    val reply = withContext(NonCancellable) { start() }
    // Unconfined, it runs within the call of `cancel`.
    val watch =
        launch(Dispatchers.Unconfined, CoroutineStart.UNDISPATCHED) {
            try {
                awaitCancellation()
            } finally {
                reply.cancel()
            }
        }
    return Started(reply, watch)
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

/**
 * Where the engine's answers arrive. Without it, code of a caller whose dispatcher is unconfined
 * would run on the engine's thread, and could wait there for that very thread. It is the one of the
 * standard dispatchers that has a thread left when the app keeps every core busy.
 */
internal val arrivals = Dispatchers.IO
