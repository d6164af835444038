package dev.dormouse

import kotlinx.coroutines.asCoroutineDispatcher
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.collect
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.launch
import org.junit.jupiter.api.io.TempDir
import java.io.File
import java.util.concurrent.Executors
import java.util.concurrent.atomic.AtomicInteger
import kotlin.random.Random
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertTrue
import kotlin.time.Duration.Companion.microseconds
import kotlin.time.Duration.Companion.minutes

/** Everything at once from eight threads: nothing crashes, hangs, or fails in a way that is not told. */
internal class StressTest {
    @TempDir
    lateinit var dir: File

    @Test
    fun `random interleavings`() =
        within(8.minutes) {
            val outcomes = List(OPERATIONS) { AtomicInteger() }
            val threads = Executors.newFixedThreadPool(THREADS).asCoroutineDispatcher()
            threads.use {
                var model = Dormouse.load(scripted, oneThread)
                repeat(soak(1000)) { round ->
                    if (round % 10 == 0) {
                        model.close()
                        model = Dormouse.load(scripted, oneThread)
                    }
                    val chat = model.newChat(ChatOptions(whenFull = WhenFull.Shift()))
                    coroutineScope {
                        repeat(THREADS) { thread ->
                            launch(threads) {
                                val random = Random(round * THREADS + thread)
                                repeat(3) {
                                    val operation = random.nextInt(OPERATIONS)
                                    if (survives { act(operation, model, chat, random) }) outcomes[operation].incrementAndGet()
                                }
                                if (random.nextInt(20) == 0) chat.close()
                                if (random.nextInt(200) == 0) model.close()
                            }
                        }
                    }
                    if (!chat.isClosed) {
                        chat.cancel()
                        assertEquals(hello, chat.reply("hi").text)
                    }
                    chat.close()
                    if (model.isClosed) model = Dormouse.load(scripted, oneThread)
                }
                model.close()
            }
            println("succeeded: $outcomes")
            // All of them were really done now and then.
            assertTrue(outcomes.all { it.get() > 0 }, outcomes.toString())
            untilNoThreads()
        }

    private suspend fun act(operation: Int, model: Model, chat: Chat, random: Random) {
        when (operation) {
            0 -> chat.send("forever").take(1 + random.nextInt(20)).collect()
            1 ->
                coroutineScope {
                    val job = launch { chat.send("forever").collect() }
                    delay(random.nextInt(2000).microseconds)
                    job.cancel()
                }
            2 -> chat.reply("think")
            3 -> chat.cancel()
            4 -> chat.messages
            5 -> chat.reset()
            6 -> model.complete("<|forever|>").take(5).collect()
            7 -> model.detokenize(model.tokenize("tick tock"))
            8 -> chat.save(File(dir, "chat-${random.nextInt(4)}"))
            9 -> chat.restore(File(dir, "chat-${random.nextInt(4)}"))
            10 -> chat.regenerate().take(2).collect()
            11 -> model.newChat().use { it.reply("hi") }
            12 -> chat.contextUsed
        }
    }

    /** Whether it succeeded; what may happen in such a crowd is no failure of the test. */
    private suspend fun survives(action: suspend () -> Unit): Boolean =
        try {
            action()
            true
        } catch (e: DormouseException) {
            when (e) {
                is DormouseException.Busy,
                is DormouseException.Closed,
                is DormouseException.InvalidOptions,
                is DormouseException.NotFound,
                -> false
                else -> throw e
            }
        }

    private companion object {
        const val THREADS = 8
        const val OPERATIONS = 13
    }
}
