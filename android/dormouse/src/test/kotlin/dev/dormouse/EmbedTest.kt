package dev.dormouse

import com.google.gson.JsonParser
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.async
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.yield
import java.io.File
import kotlin.math.abs
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertTrue

internal class EmbedTest {
    /** A text, and what the engine itself has the tiny model make of it. */
    private fun reference(): Pair<String, FloatArray> {
        val json = JsonParser.parseString(File(tinyModels, "embedding.json").readText()).asJsonObject
        return json["text"].asString to json["vector"].asJsonArray.map { it.asFloat }.toFloatArray()
    }

    @Test
    fun `an embedding is the engine's own`() =
        within {
            val (text, vector) = reference()
            Dormouse.load(tiny, oneThread).use { model ->
                val embedded = model.embed(text)
                assertContentEquals(vector, embedded)
                assertEquals(model.info.embeddingLength, embedded.size)
                assertTrue(abs(embedded.sumOf { it.toDouble() * it } - 1) < 1e-5)
                // The file asks for the mean.
                assertContentEquals(vector, model.embed(text, Pooling.Mean))
                val others = listOf(Pooling.First, Pooling.Last).map { model.embed(text, it) }
                others.forEach { assertFalse(it.contentEquals(vector)) }
                assertFalse(others[0].contentEquals(others[1]))
            }
        }

    @Test
    fun `what cannot be embedded says why, and not what it was`() {
        within {
            Dormouse.load(scripted, oneThread).use { model ->
                val unsaid = assertFailsWith<DormouseException.InvalidOptions> { model.embed("secret") }
                assertTrue("pool" in unsaid.what && "secret" !in unsaid.what, unsaid.what)
                model.embed("secret", Pooling.Last)
            }
            Dormouse.load(tiny, oneThread).use { model ->
                assertFailsWith<DormouseException.InvalidOptions> { model.embed("") }
                val half = assertFailsWith<DormouseException.InvalidOptions> { model.embed("a\uD83D") }
                assertTrue("half a character at index 1" in half.what, half.what)
                model.embed("x".repeat(512))
                val long = assertFailsWith<DormouseException.ContextFull> { model.embed("x".repeat(513)) }
                assertEquals(513L to 512L, long.used to long.max)
                model.close()
                assertFailsWith<DormouseException.Closed> { model.embed("a") }
            }
        }
        within {
            val needs = Dormouse.plan(tiny).needs
            val small = LoadOptions(MemoryBudget.bytes(needs.total - needs.kvCache / 2), contextLength = 16, threads = 1)
            Dormouse.load(tiny, small).use { model ->
                model.embed("x")
                assertFailsWith<DormouseException.OutOfMemory> { model.embed("x".repeat(500)) }
            }
        }
    }

    @Test
    fun `a cancelled embedding throws the coroutine's cancellation, and the model goes on`() =
        within {
            val (text, vector) = reference()
            val long = "x".repeat(500)
            Dormouse.load(tiny, oneThread).use { model ->
                var cut = 0
                repeat(50) { round ->
                    val embedding = async { model.embed(long) }
                    repeat(round % 7) { yield() }
                    embedding.cancelAndJoin()
                    if (embedding.isCancelled) {
                        assertFailsWith<CancellationException> { embedding.await() }
                        cut++
                    }
                }
                assertTrue(cut > 0, "no embedding was ever cut short")
                assertContentEquals(vector, model.embed(text))
            }
            // What was cut short holds nothing of the model.
            untilNoThreads()
        }

    @Test
    fun `closing the model ends its embeddings`() =
        within {
            var closed = 0
            repeat(20) {
                val model = Dormouse.load(tiny, oneThread)
                val embeddings = List(4) { async { runCatching { model.embed("x".repeat(500)) } } }
                repeat(it % 5) { yield() }
                model.close()
                for (embedding in embeddings) {
                    val error = embedding.await().exceptionOrNull() ?: continue
                    assertTrue(error is DormouseException.Closed, error.toString())
                    closed++
                }
            }
            assertTrue(closed > 0, "no model was closed while it computed")
            untilNoThreads()
        }
}
