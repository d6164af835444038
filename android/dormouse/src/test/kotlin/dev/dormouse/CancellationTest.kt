package dev.dormouse

import dev.dormouse.internal.CallBridge
import dev.dormouse.internal.ChatBridge
import dev.dormouse.internal.ModelBridge
import dev.dormouse.internal.ReplyBridge
import dev.dormouse.internal.UniffiBridge
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.collect
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withContext
import kotlinx.coroutines.withTimeoutOrNull
import java.util.Collections
import kotlin.random.Random
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertIs
import kotlin.test.assertTrue
import kotlin.test.fail
import kotlin.time.Duration.Companion.microseconds
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds

/** Whatever ends an answer early ends native work within one token, and the chat stays usable. */
internal class CancellationTest {
    /** The ends of all replies, those included that were let go of before they had one. */
    private val ends: MutableList<Event.Done> = Collections.synchronizedList(mutableListOf())

    /** A chat whose replies are pulled to their end before they are let go of. */
    private inner class Watched(private val inner: ChatBridge) : ChatBridge by inner {
        override suspend fun send(messages: List<Message>, options: ReplyOptions, call: CallBridge): ReplyBridge =
            WatchedReply(inner.send(messages, options, call))
    }

    private inner class WatchedReply(private val inner: ReplyBridge) : ReplyBridge by inner {
        // What comes after the cancellation, too, which no collector would see.
        override suspend fun next(): List<Event> =
            withContext(NonCancellable) { inner.next() }.also { ends += it.filterIsInstance<Event.Done>() }

        override fun release() {
            inner.cancel()
            runBlocking {
                do {
                    val events = next()
                } while (events.isNotEmpty())
            }
            inner.release()
        }
    }

    private fun tokensAfterCancel(cancel: suspend CoroutineScope.(Chat) -> Unit) =
        within(120.seconds) {
            // The engine's part behind the model, to put the watch between.
            val load = UniffiBridge.beginLoad(scripted, oneThread)
            var loaded: ModelBridge? = null
            load.model { loaded = it }
            load.release()
            val inner = checkNotNull(loaded)
            Model(inner).use { model ->
                val chat = Chat(model, Watched(inner.newChat(ChatOptions(whenFull = WhenFull.Shift()))), ReplyOptions())
                repeat(TRIES) {
                    cancel(chat)
                    if (it % 20 == 0) assertEquals(hello, chat.reply("hi").text)
                    if (it % 20 == 0) chat.reset()
                }
                // The last of them is let go of by then.
                assertEquals(hello, chat.reply("hi").text)
            }
            val cut = ends.filter { it.finishReason == FinishReason.Cancelled }
            assertTrue(cut.size >= TRIES * 9 / 10, "only ${cut.size} answers were cut off")
            val after = cut.map { it.metrics.tokensAfterCancel }.sorted()
            println("tokens after cancel: p99 ${after[after.size * 99 / 100]}, most ${after.last()}, of ${after.size}")
            assertTrue(after[after.size * 99 / 100] <= 1, after.toString())
        }

    private val random = Random(1)

    private suspend fun aMoment() = delay(random.nextInt(4).milliseconds)

    /** Cancels a collector a moment after its first event, from which on it does [then]. */
    private suspend fun CoroutineScope.cancelled(chat: Chat, then: suspend () -> Unit) {
        val begun = CompletableDeferred<Unit>()
        val job =
            launch(Dispatchers.Default) {
                chat.send("forever").collect {
                    begun.complete(Unit)
                    then()
                }
            }
        begun.await()
        aMoment()
        job.cancelAndJoin()
    }

    @Test
    fun `cancelling the job`() = tokensAfterCancel { chat -> cancelled(chat) {} }

    @Test
    fun `cancelling the job of a collector that is not waiting for the engine`() =
        tokensAfterCancel { chat -> cancelled(chat) { awaitCancellation() } }

    @Test
    fun `taking some events`() =
        tokensAfterCancel { chat -> assertEquals(3, chat.send("forever").take(3).toList().size) }

    @Test
    fun `breaking out`() =
        tokensAfterCancel { chat -> assertIs<Event.Token>(chat.send("forever").first()) }

    @Test
    fun `cancel ends the flow with its end`() =
        within(120.seconds) {
            Dormouse.load(scripted, oneThread).use { model ->
                val chat = model.newChat(ChatOptions(whenFull = WhenFull.Shift()))
                val after =
                    List(TRIES) { round ->
                        var seen = 0
                        var done: Event.Done? = null
                        chat.send("forever").collect { event ->
                            if (++seen == 1 + round % 5) chat.cancel()
                            if (event is Event.Done) done = event
                        }
                        if (round % 20 == 0) chat.reset()
                        val end = checkNotNull(done)
                        assertEquals(FinishReason.Cancelled, end.finishReason)
                        end.metrics.tokensAfterCancel
                    }.sorted()
                assertTrue(after[TRIES * 99 / 100] <= 1, after.toString())
                assertEquals(hello, chat.reply("hi").text)
            }
        }

    @Test
    fun `cancel also ends an answer that is only being started`() =
        within(120.seconds) {
            val options = ChatOptions(contextLength = 1024, whenFull = WhenFull.Shift())
            // The template and the tokenizer are at it for some milliseconds.
            val text = "forever " + "and one ".repeat(100)
            Dormouse.load(scripted, oneThread).use { model ->
                val chat = model.newChat(options)
                repeat(TRIES) { round ->
                    val events = async(start = CoroutineStart.UNDISPATCHED) { chat.send(text).toList() }
                    // From the very first moment on: so far nothing was waited for, and the engine was not asked.
                    if (round % 9 > 0) delay((round % 9).milliseconds)
                    chat.cancel()
                    val end = withTimeoutOrNull(10.seconds) { events.await() } ?: fail("the cancel of round $round was lost")
                    assertEquals(FinishReason.Cancelled, assertIs<Event.Done>(end.last()).finishReason)
                    chat.reset()
                }
                assertEquals(hello, chat.reply("hi").text)
            }
        }

    @Test
    fun `who is cancelled while an answer starts is told that, and not what else was wrong`() =
        within(120.seconds) {
            Dormouse.load(scripted, oneThread).use { model ->
                val chat = model.newChat(ChatOptions(contextLength = 64))
                val text = "too long ".repeat(1000)
                var cancelled = 0
                repeat(TRIES) { round ->
                    var thrown: Throwable? = null
                    val job = launch(Dispatchers.Default) { thrown = runCatching { chat.reply(text) }.exceptionOrNull() }
                    delay((round % 4).milliseconds)
                    job.cancelAndJoin()
                    // Or over before it was cancelled, or never begun.
                    if (thrown is CancellationException) cancelled++ else thrown?.let { assertIs<DormouseException.ContextFull>(it) }
                }
                assertTrue(cancelled > 0)
                repeat(3) {
                    until {
                        try {
                            withTimeoutOrNull(5.milliseconds) { chat.reply(text.repeat(100)) } == null
                        } catch (_: DormouseException.ContextFull) {
                            // It was over before the time was.
                            false
                        }
                    }
                }
            }
        }

    @Test
    fun `cancel before an answer is asked for does not end it`() =
        chatting { chat ->
            val flow = chat.send("hi")
            chat.cancel()
            assertEquals(listOf("token: $hello", "done: EndOfTurn"), flow.told())
        }

    @Test
    fun `closing a chat ends its flow`() =
        within(120.seconds) {
            Dormouse.load(scripted, oneThread).use { model ->
                val after =
                    List(TRIES) { round ->
                        val chat = model.newChat(ChatOptions(whenFull = WhenFull.Shift()))
                        var seen = 0
                        var done: Event.Done? = null
                        chat.send("forever").collect { event ->
                            if (++seen == 1 + round % 5) withContext(Dispatchers.Default) { chat.close() }
                            if (event is Event.Done) done = event
                        }
                        val end = checkNotNull(done)
                        assertEquals(FinishReason.Cancelled, end.finishReason)
                        end.metrics.tokensAfterCancel
                    }.sorted()
                assertTrue(after[TRIES * 99 / 100] <= 1, after.toString())
            }
        }

    @Test
    fun `who cancels and sends again does not find the chat busy`() =
        within(120.seconds) {
            Dormouse.load(scripted, oneThread).use { model ->
                val chat = model.newChat(ChatOptions(whenFull = WhenFull.Shift()))
                repeat(TRIES) {
                    val job = launch(Dispatchers.Default) { chat.send("forever").collect() }
                    if (it % 2 == 0) aMoment()
                    job.cancel()
                    assertEquals(hello, chat.reply("hi").text)
                    if (it % 10 == 0) chat.reset()
                }
            }
        }

    @Test
    fun `a cancelled collector is told so by its coroutine, and by nothing of ours`() {
        chatting { chat ->
            var thrown: Throwable? = null
            val job =
                launch(start = CoroutineStart.UNDISPATCHED) {
                    try {
                        chat.send("forever").collect { delay(1.seconds) }
                    } catch (e: CancellationException) {
                        thrown = e
                        throw e
                    }
                }
            delay(20.microseconds)
            job.cancel()
            job.join()
            assertIs<CancellationException>(thrown)
        }
    }

    @Test
    fun `an unconfined collector may close its chat`() =
        within {
            Dormouse.load(scripted, oneThread).use { model ->
                repeat(20) {
                    val chat = model.newChat()
                    val job = launch(Dispatchers.Unconfined) { chat.send("forever").collect { chat.close() } }
                    job.join()
                    assertTrue(chat.isClosed)
                }
            }
        }

    @Test
    fun `what a collector throws reaches its caller, and the chat is free`() =
        chatting { chat ->
            class Mine : RuntimeException()
            repeat(20) {
                assertIs<Mine>(runCatching { chat.send("forever").collect { throw Mine() } }.exceptionOrNull())
                assertEquals(hello, chat.reply("hi").text)
                chat.reset()
            }
        }

    private companion object {
        const val TRIES = 200
    }
}
