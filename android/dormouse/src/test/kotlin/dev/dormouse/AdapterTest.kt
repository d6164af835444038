package dev.dormouse

import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.launch
import kotlinx.coroutines.yield
import java.io.File
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertIs
import kotlin.test.assertNotEquals
import kotlin.test.assertTrue

internal class AdapterTest {
    /** Of the tiny model. */
    private val file = ModelSource.file(File(tinyModels, "adapter.gguf"))

    private val short = ReplyOptions(SamplerOptions.greedy(), maxTokens = 24)

    /** What a chat that has said nothing yet answers. */
    private suspend fun Chat.answer(): String = reply("Why do dormice sleep?", short).text.also { reset() }

    private fun adapting(block: suspend (model: Model, chat: Chat, plain: String) -> Unit) =
        within {
            Dormouse.load(tiny, oneThread).use { model ->
                model.newChat().use { chat -> block(model, chat, chat.answer()) }
            }
        }

    @Test
    fun `an adapter changes the answers of its chats`() =
        adapting { model, chat, plain ->
            val adapter = model.loadAdapter(file)
            chat.setAdapters(listOf(AdapterScale(adapter)))
            val adapted = chat.answer()
            assertNotEquals(plain, adapted)
            assertEquals(adapted, chat.answer())
            model.newChat().use { other ->
                assertEquals(plain, other.answer())
                other.setAdapters(listOf(AdapterScale(adapter, 0f)))
                assertEquals(plain, other.answer())
                other.setAdapters(listOf(AdapterScale(adapter, 0.5f), AdapterScale(adapter, 0.5f)))
                assertNotEquals(plain, other.answer())
            }
            chat.setAdapters(emptyList())
            assertEquals(plain, chat.answer())
        }

    @Test
    fun `an adapter that is closed does no harm to the chats that have it, and is refused anew`() =
        adapting { model, chat, plain ->
            val adapter = model.loadAdapter(file)
            chat.setAdapters(listOf(AdapterScale(adapter)))
            val adapted = chat.answer()
            assertFalse(adapter.isClosed)
            repeat(2) { adapter.close() }
            assertTrue(adapter.isClosed)
            assertEquals(adapted, chat.answer())
            repeat(3) { assertFailsWith<DormouseException.Closed> { chat.setAdapters(listOf(AdapterScale(adapter))) } }
            assertEquals(adapted, chat.answer())
            chat.setAdapters(emptyList())
            assertEquals(plain, chat.answer())
            // The calls that were refused do not keep the chat.
            chat.close()
            model.close()
            untilNoThreads()
        }

    @Test
    fun `what does not fit is refused, and the former adapters stay`() =
        adapting { model, chat, _ ->
            val adapter = model.loadAdapter(file)
            chat.setAdapters(listOf(AdapterScale(adapter)))
            val adapted = chat.answer()
            Dormouse.load(tiny, oneThread).use { other ->
                val foreign = other.loadAdapter(file)
                val error =
                    assertFailsWith<DormouseException.InvalidOptions> {
                        chat.setAdapters(listOf(AdapterScale(adapter), AdapterScale(foreign)))
                    }
                assertTrue("another model" in error.what, error.what)
            }
            for (scale in listOf(Float.NaN, Float.POSITIVE_INFINITY)) {
                assertFailsWith<DormouseException.InvalidOptions> { chat.setAdapters(listOf(AdapterScale(adapter, scale))) }
            }
            assertEquals(adapted, chat.answer())

            assertFailsWith<DormouseException.UnsupportedModel> { model.loadAdapter(tiny) }
            assertFailsWith<DormouseException.NotFound> { model.loadAdapter(ModelSource.Path("/no/such/adapter.gguf")) }
            assertFailsWith<DormouseException.InvalidOptions> { model.loadAdapter(ModelSource.Path("/tmp/\uD83D")) }
            assertFailsWith<DormouseException.InvalidOptions> { model.loadAdapter(ModelSource.Descriptor(-1, 0, 1)) }
            Dormouse.load(scripted, oneThread).use { other ->
                val error = assertFailsWith<DormouseException> { other.loadAdapter(file) }
                assertTrue(error is DormouseException.UnsupportedModel || error is DormouseException.CorruptModel, "$error")
            }
        }

    @Test
    fun `adapters are not changed while the chat answers or when it is closed`() {
        chatting { chat ->
            val running = launch(start = CoroutineStart.UNDISPATCHED) { chat.send("forever").collect { awaitCancellation() } }
            while (true) {
                if (runCatching { chat.contextUsed }.exceptionOrNull() is DormouseException.Busy) break
            }
            assertFailsWith<DormouseException.Busy> { chat.setAdapters(emptyList()) }
            // One that was cancelled is waited for.
            running.cancel()
            chat.setAdapters(emptyList())
            chat.close()
            assertFailsWith<DormouseException.Closed> { chat.setAdapters(emptyList()) }
            chat.model.close()
            assertFailsWith<DormouseException.Closed> { chat.model.loadAdapter(file) }
        }
    }

    @Test
    fun `a cancelled loading of an adapter throws the coroutine's cancellation`() =
        adapting { model, chat, plain ->
            repeat(20) { round ->
                within {
                    val load = async { model.loadAdapter(file) }
                    repeat(round % 5) { yield() }
                    load.cancelAndJoin()
                    if (load.isCancelled) assertIs<CancellationException>(runCatching { load.await() }.exceptionOrNull())
                }
            }
            assertEquals(plain, chat.answer())
        }
}
