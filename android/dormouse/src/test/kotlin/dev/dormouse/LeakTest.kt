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
 * Runs in a VM of its own that is made to stay as large as it is (see the POM), so that what grows is
 * the engine's, or the binding's.
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

    /**
     * Bytes by which [run] grows the process when it is done [times] times, after it was done [warmUp]
     * times: by then the VM has loaded what it runs, and the allocator has what it needs at most.
     */
    private suspend fun growth(what: String, times: Int, warmUp: Int, run: suspend () -> Unit): Long {
        val marks = mutableListOf(resident())
        repeat(warmUp) { run() }
        marks += resident()
        repeat(QUARTERS) {
            repeat(times / QUARTERS) { run() }
            marks += resident()
        }
        val (warming, quarters) = marks.zipWithNext { before, after -> (after - before) / KIB }.let { it.first() to it.drop(1) }
        println("$times $what: grows by $quarters KiB in the quarters, after $warming KiB in a warm-up of $warmUp")
        return marks.last() - marks[1]
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
            assertTrue(growth("rounds", soak(200), warmUp = 200) { round() } < KIB * KIB)
        }

    @Test
    fun `sends in one chat`() =
        within(10.minutes) {
            Dormouse.load(scripted, LoadOptions(threads = 1)).use { model ->
                model.newChat().use { chat ->
                    var sent = 0
                    val growth =
                        growth("sends", soak(10_000), warmUp = 4000) {
                            chat.reply("hi")
                            // The history is the caller's, and grows.
                            if (++sent % 10 == 0) chat.reset()
                        }
                    assertTrue(growth < 256 * KIB)
                }
            }
        }

    private companion object {
        /** Told apart for who reads of a growth: a leak is in each of them. */
        const val QUARTERS = 4
        const val PAGE = 4096L
        const val KIB = 1024L
    }
}
