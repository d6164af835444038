package dev.dormouse

import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import org.junit.jupiter.api.condition.EnabledOnOs
import org.junit.jupiter.api.condition.OS
import org.junit.jupiter.api.io.TempDir
import java.io.File
import kotlin.test.Test
import kotlin.test.assertFalse
import kotlin.test.assertTrue
import kotlin.time.Duration.Companion.milliseconds

/** What nobody holds any more gives its memory back. */
internal class ForgottenTest {
    private suspend fun opens(model: Model): Boolean =
        try {
            model.newChat().close()
            true
        } catch (_: DormouseException.OutOfMemory) {
            false
        }

    @Test
    fun `a forgotten chat leaves its memory to the next`() =
        within {
            val needs = Dormouse.plan(scripted).needs
            val options = LoadOptions(memory = MemoryBudget.bytes(needs.total + needs.kvCache / 2), threads = 1)
            Dormouse.load(scripted, options).use { model ->
                repeat(3) {
                    // The collector may find it at once.
                    until {
                        forget(model)
                        !opens(model)
                    }
                    while (!opens(model)) {
                        System.gc()
                        delay(10.milliseconds)
                    }
                }
            }
        }

    private suspend fun forget(model: Model) {
        val chat = model.newChat()
        chat.send("forever").first()
        // In use until here, whatever the compiler thinks.
        check(!chat.isClosed)
    }

    @Test
    fun `a forgotten model goes with its chats and threads`() =
        within {
            untilNoThreads()
            forgetModel()
            untilNoThreads()
        }

    @Test
    @EnabledOnOs(OS.LINUX)
    fun `a forgotten adapter goes when no chat has it any more, and a closed one at once`(@TempDir dir: File) =
        within {
            val copy = File(tinyModels, "adapter.gguf").copyTo(File(dir, "forgotten.gguf"))
            fun isMapped() = copy.path in File("/proc/self/maps").readText()
            Dormouse.load(tiny, oneThread.copy(fileAccess = FileAccess.Map)).use { model ->
                model.newChat().use { chat ->
                    forgetAdapter(chat, copy)
                    repeat(5) { System.gc() }
                    assertTrue(isMapped())
                    chat.setAdapters(emptyList())
                    while (isMapped()) {
                        System.gc()
                        delay(10.milliseconds)
                    }
                }
                val adapter = model.loadAdapter(ModelSource.file(copy))
                assertTrue(isMapped())
                adapter.close()
                assertFalse(isMapped())
            }
        }

    private suspend fun forgetAdapter(chat: Chat, file: File) {
        val adapter = chat.model.loadAdapter(ModelSource.file(file))
        chat.setAdapters(listOf(AdapterScale(adapter)))
        // In use until here, whatever the compiler thinks.
        check(!adapter.isClosed)
    }

    private suspend fun forgetModel() {
        val model = Dormouse.load(scripted, LoadOptions(threads = 2))
        val chats = List(3) { model.newChat() }
        chats.forEach { it.send("forever").first() }
        assertTrue(engineThreads().size >= chats.size, engineThreads().toString())
    }
}
