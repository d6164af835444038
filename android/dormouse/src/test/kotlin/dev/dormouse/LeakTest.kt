package dev.dormouse

import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import org.junit.jupiter.api.Tag
import java.io.File
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertTrue
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.minutes

/**
 * Nothing that is closed leaves memory behind, and a long chat takes no more than a short one.
 *
 * Runs in a VM of its own, whose heap is resident from the start, so that what grows is native or the
 * VM's own code and classes; those settle while it warms up.
 */
@Tag("leaks")
internal class LeakTest {
    private suspend fun resident(): Long {
        repeat(3) {
            System.gc()
            delay(50.milliseconds)
        }
        return File("/proc/self/statm").readText().split(' ')[1].toLong() * PAGE
    }

    private fun report(what: String, before: Long, after: Long): Long {
        println("$what: ${before / KIB} KiB before, ${after / KIB} KiB after, growth ${(after - before) / KIB} KiB")
        return after - before
    }

    private suspend fun round() {
        Dormouse.load(scripted, LoadOptions(threads = 2)).use { model ->
            model.newChat().use { chat ->
                assertEquals(hello, chat.reply("hi").text)
                chat.send("forever").take(5).toList()
            }
            // Left to the model to close.
            model.newChat().reply("think")
            model.complete("tick", ReplyOptions(maxTokens = 3)).toList()
        }
    }

    @Test
    fun `rounds of load, chat and close`() =
        within(10.minutes) {
            repeat(WARM_UP) { round() }
            val before = resident()
            repeat(QUARTERS) {
                repeat(soak(200) / QUARTERS) { round() }
                report("${(it + 1) * soak(200) / QUARTERS} rounds", before, resident())
            }
            assertTrue(report("all rounds", before, resident()) < 4 * KIB * KIB)
        }

    @Test
    fun `sends in one chat`() =
        within(10.minutes) {
            Dormouse.load(scripted, LoadOptions(threads = 1)).use { model ->
                model.newChat().use { chat ->
                    suspend fun send(count: Int) =
                        repeat(count) {
                            chat.reply("hi")
                            // The history is the caller's, and grows.
                            if (it % 10 == 9) chat.reset()
                        }
                    send(500)
                    val before = resident()
                    send(soak(10_000))
                    assertTrue(report("${soak(10_000)} sends", before, resident()) < 2 * KIB * KIB)
                }
            }
        }

    private companion object {
        const val WARM_UP = 60
        const val QUARTERS = 4
        const val PAGE = 4096L
        const val KIB = 1024L
    }
}
