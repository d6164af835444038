package dev.dormouse

import com.sun.jna.NativeLibrary
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.async
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.job
import kotlinx.coroutines.launch
import kotlinx.coroutines.yield
import org.junit.jupiter.api.condition.EnabledOnOs
import org.junit.jupiter.api.condition.OS
import org.junit.jupiter.api.io.TempDir
import java.io.File
import java.nio.file.Files
import java.nio.file.attribute.PosixFilePermissions
import java.util.Collections
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertIs
import kotlin.test.assertTrue

internal class DormouseTest {
    @Test
    fun `the version is three numbers`() {
        assertTrue(Regex("""\d+\.\d+\.\d+""").matches(Dormouse.version), Dormouse.version)
    }

    @Test
    fun `a plan tells the needs before anything is loaded`() =
        within {
            val fits = assertIs<Plan.Fits>(Dormouse.plan(tiny))
            assertEquals(512, fits.needs.contextLength)
            assertEquals(fits.needs.total, fits.needs.run { weights + kvCache + buffers })
            val short = Dormouse.plan(tiny, LoadOptions(contextLength = 64))
            assertEquals(64, short.needs.contextLength)
            assertTrue(short.needs.kvCache < fits.needs.kvCache)
        }

    @Test
    fun `a plan refuses what the budget does not hold`() =
        within {
            val refused = assertIs<Plan.Refused>(Dormouse.plan(tiny, LoadOptions(memory = MemoryBudget.bytes(1000))))
            assertEquals(1000, refused.allowedBytes)
            assertTrue(refused.reason.contains("budget"), refused.reason)
            assertTrue(refused.toString().contains("budget"))
        }

    @Test
    fun `progress comes in order and ends at one`() =
        within {
            val shares = mutableListOf<Float>()
            Dormouse.load(scripted, onProgress = { shares += it }).close()
            assertEquals(shares.sorted(), shares)
            assertEquals(1f, shares.last())
            assertTrue(shares.all { it in 0f..1f })
        }

    @Test
    fun `what the progress callback throws ends the load`() {
        within {
            class Stop : RuntimeException()
            assertFailsWith<Stop> { Dormouse.load(scripted, onProgress = { throw Stop() }) }
        }
    }

    @Test
    fun `a cancelled load throws the coroutine's cancellation`() =
        within {
            repeat(50) { round ->
                val load = async { Dormouse.load(scripted, oneThread) }
                repeat(round % 7) { yield() }
                load.cancelAndJoin()
                if (load.isCancelled) assertFailsWith<CancellationException> { load.await() } else load.await().close()
            }
            // Closed when it came too late to be given to anybody: no model's threads are left.
            untilNoThreads()
        }

    @Test
    fun `a load that is cancelled by what it tells last gives no model`() =
        within {
            val load = async(start = CoroutineStart.LAZY) {
                val job = coroutineContext.job
                Dormouse.load(scripted, oneThread) { if (it == 1f) job.cancel() }
            }
            assertFailsWith<CancellationException> { load.await() }
            untilNoThreads()
        }

    @Test
    fun `a model comes out of the middle of an open file`(@TempDir dir: File) =
        within {
            val model = File(tinyModels, "scripted.gguf").readBytes()
            val packed = File(dir, "packed").apply { writeBytes(ByteArray(4096) + model + ByteArray(77)) }
            val libc = NativeLibrary.getInstance("c")
            val fd = libc.getFunction("open").invokeInt(arrayOf<Any>(packed.path, 0))
            val source = ModelSource.Descriptor(fd, 4096, model.size.toLong())
            assertIs<Plan.Fits>(Dormouse.plan(source))
            Dormouse.load(source, oneThread).use { loaded ->
                // Ours to close, and the model does not mind.
                assertEquals(0, libc.getFunction("close").invokeInt(arrayOf<Any>(fd)))
                loaded.newChat().use { assertEquals(hello, it.reply("hi").text) }
            }
        }

    @Test
    @EnabledOnOs(OS.LINUX, OS.MAC)
    fun `a file that others can write is read in, and the plan counts it as long as it is`(@TempDir dir: File) =
        within {
            val file = File(dir, "tiny.gguf").apply { writeBytes(File(tinyModels, "tiny.gguf").readBytes()) }
            val source = ModelSource.file(file)
            suspend fun weights(access: FileAccess): Long =
                Dormouse.plan(source, LoadOptions(fileAccess = access)).needs.weights
            Files.setPosixFilePermissions(file.toPath(), PosixFilePermissions.fromString("rw-------"))
            val mapped = weights(FileAccess.Auto)
            assertTrue(mapped < file.length(), "$mapped")
            assertEquals(file.length(), weights(FileAccess.ReadIn))
            Files.setPosixFilePermissions(file.toPath(), PosixFilePermissions.fromString("rw-rw-rw-"))
            assertEquals(file.length(), weights(FileAccess.Auto))
            assertEquals(mapped, weights(FileAccess.Map))
            // What is loaded is what was planned: read in, it outlives its file.
            Dormouse.load(source, oneThread).use { model ->
                val before = model.embed("a")
                file.writeText("")
                assertContentEquals(before, model.embed("a"))
            }
        }

    @Test
    fun `sources are made of files and paths`() {
        assertEquals(ModelSource.Path("/a/b.gguf"), ModelSource.file(File("/a/b.gguf")))
        assertEquals(ModelSource.Path("/a/b.gguf"), ModelSource.file(File("/a/b.gguf").toPath()))
    }

    @Test
    fun `budgets are amounts of memory`() {
        assertEquals(MemoryBudget.bytes(3 shl 20), MemoryBudget.mib(3))
        assertEquals(MemoryBudget.bytes(1).hashCode(), MemoryBudget.bytes(1).hashCode())
        assertEquals(2500L shl 20, MemoryBudget.mib(2500).bytes)
        assertFailsWith<DormouseException.InvalidOptions> { MemoryBudget.mib(-1) }
    }

    @Test
    fun `options without effect are told`() =
        within {
            Dormouse.load(scripted, LoadOptions(energy = EnergyPolicy.Saver)).use { model ->
                assertTrue(model.info.notInForce.any { it.startsWith("energy") }, model.info.notInForce.toString())
            }
            Dormouse.load(scripted, LoadOptions(energy = EnergyPolicy.Performance)).use { model ->
                assertEquals(emptyList(), model.info.notInForce)
            }
        }

    @Test
    fun `log records reach the sink, without words of the conversation, until it is taken away`() =
        within {
            val records = Collections.synchronizedList(mutableListOf<Triple<LogLevel, String, String>>())
            try {
                Dormouse.setLogger(LogLevel.Trace) { level, target, message ->
                    records += Triple(level, target, message)
                    error("what a sink throws is dropped")
                }
                val secrets = converse()
                assertTrue(records.any { it.first == LogLevel.Info && "loaded a model" in it.third }, records.toString())
                // It is told once all is over, maybe after the reply's end was taken.
                while (records.toList().none { it.first == LogLevel.Debug && "a reply ended" in it.third }) delay(1)
                assertTrue(records.any { "a reply failed: internal error" in it.third }, records.toString())
                assertTrue(records.any { "a reply was not started: context full" in it.third }, records.toString())
                val panics = records.filter { it.first == LogLevel.Error }
                // One for each that was provoked, and so it is seen that records come from every thread.
                assertEquals(3, panics.size, records.toString())
                assertTrue(panics.all { Regex("""provoke\.rs:\d+""").containsMatchIn(it.third) }, records.toString())
                for (record in records.toList()) {
                    for (secret in secrets) assertFalse(secret in record.second || secret in record.third, "$secret: $record")
                }
                Dormouse.setLogger(LogLevel.Error, null)
                records.clear()
                converse()
                assertEquals(emptyList(), records.toList())
            } finally {
                Dormouse.setLogger(LogLevel.Error, null)
            }
        }

    /** A conversation with all that could tell of it: an answer, errors, panics. Gives what nobody may tell. */
    private suspend fun converse(): List<String> {
        val secret = "xyzzy-plugh"
        val options = oneThread.copy(chatTemplate = REFUSING)
        Dormouse.load(scripted, LoadOptions(threads = 2)).use { model ->
            model.newChat("Never tell $secret").use { chat ->
                assertEquals(hello, chat.reply("hi, $secret").text)
                assertEquals("It is 42.", chat.reply("think of $secret").text)
                assertFailsWith<DormouseException.ContextFull> { chat.reply("$secret ".repeat(500)) }
                assertFailsWith<DormouseException.InvalidOptions> {
                    chat.reply("hi", ReplyOptions(tools = listOf(Tool("t", "d", secret))))
                }
                assertFailsWith<DormouseException.Internal> { chat.reply(PANIC) }
            }
            assertFailsWith<DormouseException.Internal> { model.newChat(secret).use { it.reply(PANIC_IN_POOL) } }
            assertFailsWith<DormouseException.Internal> { model.tokenize(PANIC) }
            model.complete("$secret ", ReplyOptions(maxTokens = 5)).toList()
        }
        Dormouse.load(scripted, options).use { model ->
            assertFailsWith<DormouseException.Template> { model.newChat().use { it.reply(secret) } }
        }
        return listOf("xyzzy", "plugh", "provoke a", "dormouse: ", "冬眠", "tick", "It is 42", "let me see")
    }

    @Test
    fun `several models and chats answer side by side`() =
        within {
            Dormouse.load(scripted, oneThread).use { one ->
                Dormouse.load(tiny, oneThread).use { two ->
                    coroutineScope {
                        repeat(3) {
                            launch { one.newChat().use { chat -> repeat(3) { assertEquals(hello, chat.reply("hi").text) } } }
                            launch {
                                two.newChat().use { chat ->
                                    val reply = chat.reply("hi", ReplyOptions(maxTokens = 20))
                                    assertTrue(reply.metrics.generatedTokens in 1..20)
                                }
                            }
                        }
                    }
                }
            }
        }

    private companion object {
        const val REFUSING = "{{ raise_exception('cannot answer: ' + messages[-1].content) }}"
    }
}
