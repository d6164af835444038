package dev.dormouse

import dev.dormouse.internal.AdapterBridge
import dev.dormouse.internal.CallBridge
import dev.dormouse.internal.ChatBridge
import dev.dormouse.internal.ModelBridge
import dev.dormouse.internal.UniffiBridge
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.collect
import kotlinx.coroutines.launch
import kotlinx.coroutines.withTimeoutOrNull
import kotlinx.coroutines.yield
import java.io.File
import kotlin.io.path.createTempFile
import kotlin.test.AfterTest
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertTrue
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import kotlin.time.TimeSource

/** What is given up before it is done is told to the engine there and then, and does not happen later. */
internal class GivenUpTest {
    private val file: File = createTempFile("dormouse", ".json").toFile()

    @AfterTest
    fun remove() {
        file.delete()
    }

    /** A job that has an answer started which takes the template and the tokenizer a while. */
    private suspend fun CoroutineScope.starting(chat: Chat): Job {
        val text = "never too much. ".repeat(20_000)
        var job: Job? = null
        until {
            chat.reset()
            val sending = launch(Dispatchers.Default) { chat.send(text).collect() }
            job = sending
            var busy = false
            while (!busy && sending.isActive) {
                yield()
                busy = runCatching { chat.reset() }.exceptionOrNull() is DormouseException.Busy
            }
            // Else it was over before it was seen.
            busy
        }
        return checkNotNull(job)
    }

    @Test
    fun `who cancels an answer that is only being started does not find the chat busy`() =
        chatting(ChatOptions(whenFull = WhenFull.Shift()), 120.seconds) { chat ->
            starting(chat).cancel()
            chat.reset()
            starting(chat).cancel()
            chat.setSystem(null)
            starting(chat).cancel()
            chat.setMessages(emptyList())
            assertEquals(emptyList(), chat.messages)
            starting(chat).cancel()
            assertEquals(hello, chat.reply("hi").text)
            chat.reset()
            starting(chat).cancel()
            chat.setAdapters(emptyList())
        }

    @Test
    fun `who cancels is not kept waiting for the rest of a start`() =
        chatting(ChatOptions(whenFull = WhenFull.Shift()), 120.seconds) { chat ->
            until {
                val job = starting(chat)
                val begin = TimeSource.Monotonic.markNow()
                job.cancel()
                job.join()
                val told = begin.elapsedNow()
                chat.reset()
                told < begin.elapsedNow() / 2
            }
        }

    @Test
    fun `a second answer is refused while one is only being started`() =
        chatting(ChatOptions(whenFull = WhenFull.Shift()), 120.seconds) { chat ->
            until {
                val job = starting(chat)
                val second = runCatching { chat.reply("hi") }
                job.cancel()
                second.exceptionOrNull() is DormouseException.Busy
            }
        }

    @Test
    fun `a restore that was given up does not happen later`() =
        chatting(time = 120.seconds) { chat ->
            chat.setMessages(List(20_000) { Message.user("old words $it") })
            chat.save(file)
            val fresh = listOf(Message.user("fresh"))
            until {
                val begin = TimeSource.Monotonic.markNow()
                chat.restore(file)
                val whole = begin.elapsedNow()
                assertEquals(20_000, chat.messages.size)
                val done = withTimeoutOrNull(whole / 8) { chat.restore(file) }
                chat.setMessages(fresh)
                delay(whole * 2)
                assertEquals(fresh, chat.messages)
                // Nobody waits for it to end, either.
                val job = launch(Dispatchers.Default) { chat.restore(file) }
                delay(whole / 8)
                job.cancel()
                chat.setMessages(fresh)
                delay(whole * 2)
                assertEquals(fresh, chat.messages)
                done == null
            }
            chat.restore(file)
            assertEquals(20_000, chat.messages.size)
        }

    @Test
    fun `a save that was given up does not happen later`() =
        chatting(time = 120.seconds) { chat ->
            val old = List(20_000) { Message.user("old words $it") }
            val fresh = listOf(Message.user("fresh"))

            suspend fun savedAfter(time: Duration): List<Message> {
                chat.setMessages(fresh)
                chat.save(file)
                delay(time)
                return chat.model.newChat().use {
                    it.restore(file)
                    it.messages
                }
            }
            until {
                chat.setMessages(old)
                val begin = TimeSource.Monotonic.markNow()
                chat.save(file)
                val whole = begin.elapsedNow()
                val done = withTimeoutOrNull(whole / 8) { chat.save(file) }
                assertEquals(fresh, savedAfter(whole * 2))
                // Nobody waits for it to end, either.
                chat.setMessages(old)
                val job = launch(Dispatchers.Default) { chat.save(file) }
                delay(whole / 8)
                job.cancel()
                assertEquals(fresh, savedAfter(whole * 2))
                done == null
            }
        }

    /** A chat whose history is cancelled to be saved or restored as soon as that has happened. */
    private class Late(private val inner: ChatBridge, private val happened: () -> Unit) : ChatBridge by inner {
        override suspend fun save(path: String, call: CallBridge) = inner.save(path, call).also { happened() }

        override suspend fun restore(path: String, call: CallBridge) = inner.restore(path, call).also { happened() }

        override suspend fun setAdapters(adapters: List<Pair<AdapterBridge, Float>>, call: CallBridge) =
            inner.setAdapters(adapters, call).also { happened() }
    }

    @Test
    fun `what took effect before it was given up returns, and is not told to be cancelled`() =
        within {
            val load = UniffiBridge.beginLoad(scripted, oneThread)
            var loaded: ModelBridge? = null
            load.model { loaded = it }
            load.release()
            val inner = checkNotNull(loaded)
            Model(inner).use { model ->
                var job: Job? = null
                val late = Late(inner.newChat(ChatOptions())) { checkNotNull(job).cancel() }
                val chat = Chat(model, late, ReplyOptions())
                chat.setMessages(listOf(Message.user("kept")))
                for (work in listOf<suspend () -> Unit>({ chat.save(file) }, { chat.restore(file) }, { chat.setAdapters(emptyList()) })) {
                    var returned = false
                    job =
                        launch {
                            work()
                            returned = true
                        }
                    job.join()
                    assertTrue(job.isCancelled && returned)
                }
                assertEquals(listOf(Message.user("kept")), chat.messages)
                chat.close()
            }
        }

    @Test
    fun `whether a chat is closed can be asked while it is being closed`() =
        within(120.seconds) {
            Dormouse.load(scripted, oneThread).use { model ->
                repeat(200) {
                    val chat = model.newChat()
                    val asking =
                        List(2) {
                            launch(Dispatchers.Default) {
                                @Suppress("ControlFlowWithEmptyBody")
                                while (!chat.isClosed) {}
                            }
                        }
                    chat.close()
                    for (job in asking) job.join()
                }
            }
        }
}
