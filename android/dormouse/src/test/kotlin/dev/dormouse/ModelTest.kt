package dev.dormouse

import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertNull
import kotlin.test.assertTrue

internal class ModelTest {
    @Test
    fun `info tells what the file says, also of a closed model`() =
        within {
            val model = Dormouse.load(tiny, LoadOptions(contextLength = 128))
            model.close()
            with(model.info) {
                assertEquals("dormouse tiny", name)
                assertEquals("llama", architecture)
                assertEquals("Q8_0", quantization)
                assertEquals(512, trainedContextLength)
                assertEquals(128, contextLength)
                assertEquals(266, vocabularySize)
                assertEquals(2, layers)
                assertEquals(64, embeddingLength)
                assertTrue(parameters in 1..fileBytes)
                assertTrue(hasChatTemplate)
                assertTrue(takesTools)
                assertTrue(reasons)
                assertTrue(toString().contains("dormouse tiny"))
            }
        }

    @Test
    fun `tokens make the text again`() =
        within {
            Dormouse.load(tiny).use { model ->
                for (text in listOf("Hello, world", "Zürich 🐭 冬眠", "", "a\u0000b")) {
                    val tokens = model.tokenize(text)
                    assertEquals(text, model.detokenize(tokens))
                    assertEquals(tokens.size, model.countTokens(text))
                }
            }
        }

    @Test
    fun `special tokens are taken as such only when asked`() =
        within {
            Dormouse.load(tiny).use { model ->
                val plain = model.tokenize("<|im_end|>")
                val special = model.tokenize("<|im_end|>", special = true)
                assertEquals(1, special.size)
                assertTrue(plain.size > 1)
                assertEquals("<|im_end|>", model.detokenize(special))
            }
        }

    @Test
    fun `a completion goes on from the text as it is`() =
        within {
            Dormouse.load(scripted, oneThread).use { model ->
                val told = model.complete("<|forever|>", ReplyOptions(maxTokens = 7)).told()
                assertEquals(listOf("token: tick tock, and so on tick tock,", "done: MaxTokens"), told)
            }
        }

    @Test
    fun `each collection completes anew`() =
        within {
            Dormouse.load(tiny, oneThread).use { model ->
                val flow = model.complete("abc", ReplyOptions(SamplerOptions(seed = 5), maxTokens = 12))
                assertEquals(flow.told(), flow.told())
            }
        }

    @Test
    fun `the seed that was told gives the same text again`() =
        within {
            Dormouse.load(tiny, oneThread).use { model ->
                suspend fun run(seed: Long?): Pair<String, Long> {
                    val events = model.complete("abc", ReplyOptions(SamplerOptions(temperature = 2f, seed = seed), maxTokens = 30)).toList()
                    return events.filterIsInstance<Event.Token>().joinToString("") { it.text } to (events.last() as Event.Done).seed
                }
                val (first, seed) = run(null)
                assertEquals(first to seed, run(seed))
                val (_, negative) = run(-1)
                assertEquals(-1, negative)
                assertTrue(List(5) { run(null).second }.toSet().size > 1)
            }
        }

    @Test
    fun `sampler options reach the engine`() =
        within {
            Dormouse.load(tiny, oneThread).use { model ->
                suspend fun run(sampler: SamplerOptions): List<Int> {
                    val text = model.complete("abc", ReplyOptions(sampler, maxTokens = 1)).told().first()
                    return if (text.startsWith("token: ")) model.tokenize(text.removePrefix("token: ")) else emptyList()
                }
                val token = model.tokenize("Q").single()
                assertEquals(listOf(token), run(SamplerOptions(logitBias = mapOf(token to 1000f))))
                assertEquals(run(SamplerOptions.greedy()), run(SamplerOptions(topK = 1, seed = 3)))
                assertEquals(run(SamplerOptions.greedy()), run(SamplerOptions(minP = 1f, seed = 4)))
            }
        }

    @Test
    fun `closing ends everything, and again does nothing`() =
        within {
            val model = Dormouse.load(scripted, oneThread)
            val chat = model.newChat("Be brief")
            assertFalse(model.isClosed)
            assertFalse(chat.isClosed)
            repeat(3) { model.close() }
            assertTrue(model.isClosed)
            assertTrue(chat.isClosed)
            assertFailsWith<DormouseException.Closed> { model.newChat() }
            assertFailsWith<DormouseException.Closed> { model.tokenize("a") }
            assertFailsWith<DormouseException.Closed> { model.detokenize(listOf(1)) }
            assertFailsWith<DormouseException.Closed> { model.complete("a").take(1).toList() }
            assertFailsWith<DormouseException.Closed> { chat.reply("a") }
            chat.close()
        }

    @Test
    fun `a chat keeps its model`() =
        within {
            val chat = Dormouse.load(scripted, oneThread).newChat()
            repeat(5) { System.gc() }
            assertEquals(hello, chat.reply("hi").text)
            chat.model.close()
            assertNull(chat.model.info.name?.takeIf { it.isEmpty() })
        }
}
