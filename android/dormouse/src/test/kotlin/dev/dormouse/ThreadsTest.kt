package dev.dormouse

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.collect
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import java.lang.management.ManagementFactory
import java.util.Collections
import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertTrue
import kotlin.time.Duration.Companion.milliseconds

/** Which threads of the Java VM the engine's work takes, and which of a caller's it may not. */
internal class ThreadsTest {
    /** Java threads that were started since the VM was, those of native code that calls Java included. */
    private fun startedThreads(): Long = ManagementFactory.getThreadMXBean().totalStartedThreadCount

    private fun liveThreads(): Set<String> =
        Thread
            .getAllStackTraces()
            .keys
            .map { it.name }
            .toSet()

    /** Names that the VM gives to threads whose maker named them not. */
    private fun Set<String>.unnamed(): Set<String> = filter { Regex("""Thread-\d+""").matches(it) }.toSet()

    @Test
    fun `replies do not wait for the threads that their callers hold`() =
        within {
            Dormouse.load(scripted, oneThread).use { model ->
                // As many as Dispatchers.IO has threads by default, all of them held before the first asks.
                val held = CountDownLatch(64)
                val texts = Collections.synchronizedList(mutableListOf<String>())
                val answered = CountDownLatch(70)
                // Not children of this coroutine, which would wait for them for ever if they hang.
                val callers = CoroutineScope(Dispatchers.IO)
                repeat(70) {
                    callers.launch {
                        held.countDown()
                        held.await()
                        runBlocking { model.newChat().use { texts += it.reply("hi").text } }
                        answered.countDown()
                    }
                }
                assertTrue(answered.await(40, TimeUnit.SECONDS), "${answered.count} replies did not end")
                assertEquals(List(70) { hello }, texts.toList())
            }
        }

    @Test
    fun `a hundred replies and counts start few threads, and all have names`() =
        within {
            val unnamedBefore = liveThreads().unnamed()
            Dormouse.load(scripted, oneThread).use { model ->
                model.newChat().use { chat ->
                    // The threads that stay are there from here on.
                    repeat(5) { assertEquals(hello, chat.reply("hi").text) }
                    repeat(5) { model.countTokens("tick tock") }
                    val seen = mutableSetOf<String>()
                    val before = startedThreads()
                    repeat(100) {
                        chat.send("hi").collect { if (it !is Event.Done) seen += liveThreads() }
                        if (it % 10 == 0) chat.reset()
                    }
                    val byReplies = startedThreads() - before
                    repeat(100) { model.countTokens("tick tock") }
                    val byCounts = startedThreads() - before - byReplies
                    println("threads started by 100 replies: $byReplies, by 100 counts: $byCounts; seen: $seen")
                    assertTrue(byReplies <= FEW, "$byReplies threads for 100 replies")
                    assertTrue(byCounts <= FEW, "$byCounts threads for 100 counts")
                    assertEquals(emptySet(), seen.unnamed() - unnamedBefore)
                    assertTrue("dormouse-reply" in seen && "dormouse-wait" in seen, seen.toString())
                }
            }
        }

    @Test
    fun `loading starts few threads, and none without a name`() =
        within {
            val twoThreads = LoadOptions(threads = 2)
            Dormouse.load(scripted, twoThreads).use { model ->
                model.newChat().use { chat -> chat.reply("hi") }
                // So small a model may have answered before the pool's thread had its first turn.
                var rounds = 0
                while ("dormouse-1" !in liveThreads()) {
                    assertTrue(rounds++ < 100, "no compute pool after 10 seconds: ${liveThreads()}")
                    delay(100.milliseconds)
                }
            }
            val unnamedBefore = liveThreads().unnamed()
            val before = startedThreads()
            repeat(10) {
                val loaded =
                    Dormouse.load(scripted, twoThreads) { assertEquals(emptySet(), liveThreads().unnamed() - unnamedBefore) }
                loaded.use { model -> model.newChat().use { chat -> chat.reply("hi") } }
            }
            val started = startedThreads() - before
            println("threads started by 10 loads: $started")
            // Each model's compute pool is its own, and so is each chat's thread.
            assertTrue(started <= 20 + FEW, "$started threads for 10 loads")
        }

    @Test
    fun `threads that waited end when there is nothing to wait for`() =
        within {
            Dormouse.load(scripted, oneThread).use { model ->
                val chats = List(20) { model.newChat() }
                coroutineScope { chats.forEach { chat -> launch { chat.send("forever", ReplyOptions(maxTokens = 50)).toList() } } }
                assertTrue(waiting().isNotEmpty())
                assertTrue(waiting().all { it.isDaemon })
            }
            var rounds = 0
            while (waiting().isNotEmpty()) {
                assertTrue(rounds++ < 150, "still there after 15 seconds: ${waiting().size}")
                delay(100.milliseconds)
            }
        }

    private fun waiting(): List<Thread> = Thread.getAllStackTraces().keys.filter { it.name == "dormouse-wait" }

    private companion object {
        /**
         * Threads that may come and go beside: the pool's, of the VM's compiler, of the test's own coroutines.
         * On a machine with other work they are more, as those that had nothing to do for seconds end.
         */
        const val FEW = 40L
    }
}
