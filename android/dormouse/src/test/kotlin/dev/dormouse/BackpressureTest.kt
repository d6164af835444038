package dev.dormouse

import kotlinx.coroutines.asCoroutineDispatcher
import kotlinx.coroutines.async
import kotlinx.coroutines.delay
import kotlinx.coroutines.launch
import java.util.concurrent.CountDownLatch
import java.util.concurrent.Executors
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertTrue
import kotlin.time.Duration.Companion.milliseconds

internal class BackpressureTest {
    @Test
    fun `a slow collector makes the engine wait`() =
        chatting { chat ->
            var events = 0
            var waiting = 0
            var done: Event.Done? = null
            chat.send("forever", ReplyOptions(maxTokens = 400)).collect { event ->
                if (events++ == 0) {
                    delay(300.milliseconds)
                    val first = chat.messages.last().text
                    delay(300.milliseconds)
                    // It does not run on: what is held here and there is two batches at most.
                    assertEquals(first, chat.messages.last().text)
                    // Five tokens each time round.
                    waiting = first.length * 5 / "tick tock, and so on ".length
                }
                if (event is Event.Done) done = event
            }
            val metrics = checkNotNull(done).metrics
            assertEquals(400, metrics.generatedTokens)
            assertTrue(metrics.stalledSeconds >= 0.3, metrics.stalledSeconds.toString())
            assertTrue(waiting <= 3 * 64, "$waiting tokens")
        }

    @Test
    fun `a blocked thread of one collector leaves another chat alone`() =
        within {
            val main = Executors.newSingleThreadExecutor().asCoroutineDispatcher()
            val blocked = CountDownLatch(1)
            val free = CountDownLatch(1)
            main.use {
                Dormouse.load(scripted, oneThread).use { model ->
                    val slow = model.newChat()
                    val job =
                        launch(main) {
                            slow.send("forever").collect {
                                blocked.countDown()
                                free.await()
                            }
                        }
                    val other =
                        async {
                            val chat = model.newChat()
                            List(10) { chat.reply("hi").text }
                        }
                    try {
                        blocked.await()
                        assertEquals(setOf(hello), other.await().toSet())
                        assertTrue(job.isActive)
                        job.cancel()
                    } finally {
                        free.countDown()
                    }
                    job.join()
                    assertEquals(hello, slow.reply("hi").text)
                }
            }
        }
}
