package dev.dormouse

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
import kotlin.test.assertNull
import kotlin.test.assertTrue
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
        val job = launch(Dispatchers.Default) { chat.send(text).collect() }
        while (runCatching { chat.reset() }.exceptionOrNull() !is DormouseException.Busy) yield()
        return job
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
            val job = starting(chat)
            val begin = TimeSource.Monotonic.markNow()
            job.cancel()
            job.join()
            val told = begin.elapsedNow()
            chat.reset()
            val waited = begin.elapsedNow()
            assertTrue(told < waited / 2, "told after $told of $waited")
        }

    @Test
    fun `a second answer is refused while one is only being started`() =
        chatting(ChatOptions(whenFull = WhenFull.Shift()), 120.seconds) { chat ->
            val job = starting(chat)
            assertTrue(runCatching { chat.reply("hi") }.exceptionOrNull() is DormouseException.Busy)
            job.cancel()
        }

    @Test
    fun `a restore that was given up does not happen later`() =
        chatting(time = 120.seconds) { chat ->
            chat.setMessages(List(20_000) { Message.user("old words $it") })
            chat.save(file)
            val begin = TimeSource.Monotonic.markNow()
            chat.restore(file)
            val whole = begin.elapsedNow()
            val fresh = listOf(Message.user("fresh"))
            assertNull(withTimeoutOrNull(whole / 8) { chat.restore(file) }, "it was done within an eighth of $whole")
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
            chat.restore(file)
            assertEquals(20_000, chat.messages.size)
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
