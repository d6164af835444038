package dev.dormouse.internal

import dev.dormouse.DormouseException
import dev.dormouse.Event
import dev.dormouse.Reply
import dev.dormouse.ToolCall
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.launch
import kotlinx.coroutines.suspendCancellableCoroutine
import kotlinx.coroutines.withContext

/**
 * Runs [work] with a call that is cancelled with the coroutine's job, there and then, wherever the
 * coroutine is suspended: the call's end is known to the engine before anything that is asked of it
 * after the job was cancelled.
 *
 * There is no scope around [work], which would throw what it gave away once the job is cancelled.
 */
internal suspend fun <T> CalledBridge.calling(work: suspend (CallBridge) -> T): T {
    val context = currentCoroutineContext()
    context.ensureActive()
    val call = newCall()
    val watch =
        CoroutineScope(context).launch(Dispatchers.Unconfined, CoroutineStart.UNDISPATCHED) {
            // Within the call of `cancel`, whatever thread or dispatcher that is on.
            suspendCancellableCoroutine<Unit> { it.invokeOnCancellation { call.cancel() } }
        }
    try {
        return work(call)
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
internal fun replyFlow(bridge: CalledBridge, start: suspend (CallBridge) -> ReplyBridge): Flow<Event> =
    flow {
        bridge.calling { call ->
            val reply = toItsEnd { start(call) }
            try {
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
