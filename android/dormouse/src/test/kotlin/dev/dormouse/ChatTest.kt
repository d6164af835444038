package dev.dormouse

import kotlinx.coroutines.flow.filterIsInstance
import kotlinx.coroutines.flow.toList
import org.junit.jupiter.api.io.TempDir
import java.io.File
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertIs
import kotlin.test.assertNotNull
import kotlin.test.assertNull
import kotlin.test.assertTrue
import kotlin.time.Duration

internal class ChatTest {
    private val weather =
        Tool("get_weather", "Weather in a city", """{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}""")

    private fun Chat.told(): List<String> = messages.map { "${it.role}: ${it.text}" }

    @Test
    fun `an answer is whole characters and an end`() =
        chatting { chat ->
            val events = chat.send("hi").toList()
            val texts = events.dropLast(1).map { assertIs<Event.Token>(it).text }
            assertEquals(hello, texts.joinToString(""))
            assertTrue(texts.none { it.isEmpty() || '\uFFFD' in it || it.last().isHighSurrogate() })
            val done = assertIs<Event.Done>(events.last())
            assertEquals(FinishReason.EndOfTurn, done.finishReason)
            with(done.metrics) {
                assertTrue(generatedTokens > texts.size)
                assertEquals(promptTokens, reusedTokens + prefillTokens)
                assertTrue(assertNotNull(timeToFirstToken) > Duration.ZERO)
                assertTrue(assertNotNull(prefillRate) > 0)
                assertTrue(assertNotNull(decodeRate) > 0)
                assertTrue(prefillSeconds > 0 && decodeSeconds > 0 && totalSeconds >= decodeSeconds)
                assertTrue(kvBytes > 0)
                assertTrue(assertNotNull(peakMemory) > kvBytes)
                assertEquals(0, droppedTokens)
                assertEquals(0, tokensAfterCancel)
            }
        }

    @Test
    fun `what an event prints has none of the conversation`() =
        chatting { chat ->
            for (event in chat.send("hi").toList()) assertFalse("mouse" in event.toString(), event.toString())
            assertFalse("mouse" in chat.reply("hi").toString())
        }

    @Test
    fun `the next turn reuses what the context holds`() =
        chatting { chat ->
            val first = chat.reply("hi").metrics
            val second = chat.reply("hi").metrics
            assertEquals(0, first.reusedTokens)
            // All but the script's mark at the end of the prompt, which says what to answer.
            assertEquals(first.promptTokens - 1, second.reusedTokens)
            assertTrue(chat.contextUsed >= second.promptTokens, "${chat.contextUsed} of ${second.promptTokens}")
            assertEquals(1024, chat.contextLength)
        }

    @Test
    fun `nothing is said before a flow is collected, and each collection says it anew`() =
        chatting { chat ->
            val flow = chat.send("hi")
            assertEquals(emptyList(), chat.messages)
            flow.told()
            flow.told()
            assertEquals(listOf("User: hi", "Assistant: $hello", "User: hi", "Assistant: $hello"), chat.told())
        }

    @Test
    fun `reasoning is told from the answer`() =
        chatting { chat ->
            assertEquals(
                listOf("reasoning: Hm, let me see.", "token: It is 42.", "done: EndOfTurn"),
                chat.send("think").told(),
            )
            val answer = chat.messages.last()
            assertEquals("Hm, let me see.", answer.reasoning)
            assertEquals("It is 42.", answer.text)
            val reply = chat.reply("think again")
            assertEquals("Hm, let me see.", reply.reasoning)
            assertEquals("It is 42.", reply.text)
            assertNull(chat.reply("hi").reasoning)
        }

    @Test
    fun `a tool is called and its result answered`() =
        chatting(ChatOptions(reply = ReplyOptions(tools = listOf(weather)))) { chat ->
            val reply = chat.reply("weather?")
            assertEquals(FinishReason.ToolCalls, reply.finishReason)
            val call = reply.toolCalls.single()
            assertEquals("get_weather", call.name)
            assertEquals("""{"city":"Graz"}""", call.arguments.filterNot { it.isWhitespace() })
            assertEquals(listOf(call), chat.messages.last().toolCalls)
            val result = Message.tool("sunny", call.id, call.name)
            assertEquals(listOf("token: The tool has spoken.", "done: EndOfTurn"), chat.send(listOf(result)).told())
            assertEquals(result, chat.messages[2])
            assertEquals("The tool has spoken.", chat.reply(Message.tool("rain")).text)
        }

    @Test
    fun `without tools a call is text`() =
        chatting { chat ->
            assertTrue(chat.send("weather?").toList().none { it is Event.ToolCall })
            val tools = ReplyOptions(tools = listOf(weather))
            val broken = chat.reply("broken", tools)
            assertEquals(emptyList(), broken.toolCalls)
            assertTrue(broken.text.startsWith("Look:") && broken.text.endsWith(" so."), broken.text)
        }

    @Test
    fun `stop strings end the answer and are not in it`() =
        chatting { chat ->
            assertEquals(
                listOf("token: One two ", "done: StopString"),
                chat.send("stop", ReplyOptions(stop = listOf("END"))).told(),
            )
            assertEquals("One two END three four", chat.reply("stop").text)
        }

    @Test
    fun `the limit on tokens ends the answer`() =
        chatting(ChatOptions(reply = ReplyOptions(maxTokens = 9))) { chat ->
            val reply = chat.reply("forever")
            assertEquals(FinishReason.MaxTokens, reply.finishReason)
            assertEquals(9, reply.metrics.generatedTokens)
            assertEquals(3, chat.reply("forever", ReplyOptions(maxTokens = 3)).metrics.generatedTokens)
        }

    @Test
    fun `a full context ends the answer, or makes room`() {
        chatting(ChatOptions(contextLength = 96)) { chat ->
            val reply = chat.reply("forever")
            assertEquals(FinishReason.ContextFull, reply.finishReason)
            assertEquals(96, chat.contextLength)
            assertEquals(96, chat.contextUsed)
        }
        for (policy in listOf(WhenFull.Shift(), WhenFull.Shift(keep = 4))) {
            chatting(ChatOptions(contextLength = 96, whenFull = policy)) { chat ->
                val reply = chat.reply("forever", ReplyOptions(maxTokens = 200))
                assertEquals(FinishReason.MaxTokens, reply.finishReason)
                assertTrue(reply.metrics.droppedTokens > 0)
            }
        }
    }

    @Test
    fun `an answer is made again`() =
        chatting { chat ->
            chat.reply("stop", ReplyOptions(maxTokens = 2))
            assertEquals(listOf("token: One two END three four", "done: EndOfTurn"), chat.regenerate().told())
            assertEquals(listOf("User: stop", "Assistant: One two END three four"), chat.told())
        }

    @Test
    fun `what was said is edited`() =
        chatting(ChatOptions(system = "Be brief")) { chat ->
            chat.reply("hi")
            chat.reply("stop")
            assertEquals(listOf("reasoning: Hm, let me see.", "token: It is 42.", "done: EndOfTurn"), chat.edit(1, "think").told())
            assertEquals(listOf("System: Be brief", "User: think", "Assistant: It is 42."), chat.told())
            chat.edit(1, Message.user("stop")).told()
            assertEquals(listOf("System: Be brief", "User: stop", "Assistant: One two END three four"), chat.told())
        }

    @Test
    fun `the history is replaced, given another system message, and forgotten`() =
        chatting { chat ->
            val history =
                listOf(
                    Message.system("Be kind"),
                    Message.user("a"),
                    Message(
                        Role.Assistant,
                        listOf(Part.Text("b"), Part.Text("c")),
                        reasoning = "r",
                        toolCalls = listOf(ToolCall("t", """{"x":1}""", id = "7")),
                    ),
                    Message.tool("d", callId = "7", name = "t"),
                    Message.assistant("e"),
                )
            chat.setMessages(history)
            assertEquals(history, chat.messages)
            assertEquals("bc", chat.messages[2].text)
            chat.setSystem("Be brief")
            assertEquals("Be brief", chat.messages.first().text)
            chat.setSystem(null)
            assertEquals(history.drop(1), chat.messages)
            chat.setSystem("Be there")
            assertEquals(hello, chat.reply("hi").text)
            chat.reset()
            assertEquals(listOf("System: Be there"), chat.told())
        }

    @Test
    fun `a chat is saved and restored`(@TempDir dir: File) {
        val file = File(dir, "chat.json")
        val saved =
            chatting(ChatOptions(system = "Be kind")) { chat ->
                chat.reply("think")
                chat.save(file)
                chat.save(file.path)
                chat.messages
            }
        assertEquals(3, saved.size)
        chatting { chat ->
            chat.restore(file)
            assertEquals(saved, chat.messages)
            chat.reset()
            chat.restore(file.path)
            assertEquals(saved, chat.messages)
            assertEquals(hello, chat.reply("hi").text)
        }
    }

    @Test
    fun `variables reach the template, and thinking is one of them`() =
        within {
            val template = "{{ word ~ '/' ~ enable_thinking }}{% if messages %}{% endif %}"
            Dormouse.load(tiny, oneThread.copy(chatTemplate = template)).use { model ->
                suspend fun promptTokens(options: ReplyOptions) =
                    model.newChat().use { it.reply("x", options.copy(maxTokens = 1)).metrics.promptTokens }
                suspend fun tokens(text: String) = model.countTokens(text).toLong()
                val base = promptTokens(ReplyOptions()) - tokens("/")
                val variables = ReplyOptions(templateVariables = """{"word":"squirrels"}""")
                assertEquals(base + tokens("squirrels/"), promptTokens(variables))
                assertEquals(base + tokens("squirrels/true"), promptTokens(variables.copy(thinking = true)), "thinking")
                assertEquals(base + tokens("/false"), promptTokens(ReplyOptions(thinking = false)))
                // The option counts, whatever the variables say.
                val both = ReplyOptions(templateVariables = """{"enable_thinking":true}""", thinking = false)
                assertEquals(base + tokens("/false"), promptTokens(both))
            }
        }

    @Test
    fun `only a done event ends a flow`() {
        chatting { chat ->
            assertEquals(1, chat.send("think").filterIsInstance<Event.Done>().toList().size)
            assertFailsWith<DormouseException.InvalidOptions> { chat.edit(0, Message.user("x"), ReplyOptions(maxTokens = -1)).toList() }
        }
    }
}
