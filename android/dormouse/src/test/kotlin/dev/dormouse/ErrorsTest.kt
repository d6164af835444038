package dev.dormouse

import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import org.junit.jupiter.api.condition.EnabledOnOs
import org.junit.jupiter.api.condition.OS
import org.junit.jupiter.api.io.TempDir
import java.io.File
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertNotNull
import kotlin.test.assertTrue

/** Every kind of error, raised for real. */
internal class ErrorsTest {
    @TempDir
    lateinit var dir: File

    private val secret = "the user's secret words"

    private fun patched(patch: (ByteArray) -> ByteArray): ModelSource {
        val bytes = patch(File(tinyModels, "tiny.gguf").readBytes())
        return ModelSource.file(File.createTempFile("patched", ".gguf", dir).apply { writeBytes(bytes) })
    }

    /** Replaces what follows [key] and the 4 bytes of a type and 8 of a length. */
    private fun ByteArray.withValue(key: String, value: String): ByteArray {
        val at = toString(Charsets.ISO_8859_1).indexOf(key)
        check(at > 0) { "$key is not in the file" }
        value.toByteArray().copyInto(this, at + key.length + 12)
        return this
    }

    @Test
    fun `a missing file is not found`() =
        within {
            val source = ModelSource.Path(File(dir, "nothing.gguf").path)
            for (call in listOf<suspend () -> Any>({ Dormouse.load(source) }, { Dormouse.plan(source) })) {
                val error = assertFailsWith<DormouseException.NotFound> { call() }
                assertTrue(error.what.contains("nothing.gguf"), error.what)
                assertEquals("not found: ${error.what}", error.message)
            }
        }

    @Test
    fun `a file that cannot be read is told with the system's number`() {
        within {
            val error = assertFailsWith<DormouseException.Io> { Dormouse.load(ModelSource.Descriptor(9999, 0, 100)) }
            assertEquals(EBADF, error.code)
        }
        chatting { chat ->
            val bad = File(dir, "bad.json").apply { writeText("{ $secret") }
            val error = assertFailsWith<DormouseException.Io> { chat.restore(bad) }
            assertFalse(error.message.orEmpty().contains(secret), error.message)
            assertFailsWith<DormouseException.NotFound> { chat.restore(File(dir, "nothing.json")) }
        }
    }

    @Test
    @EnabledOnOs(OS.LINUX)
    fun `a full disk is told, and leaves the file and the chat`() =
        chatting { chat ->
            val file = File(dir, "chat.json")
            chat.reply("think of $secret")
            chat.save(file)
            val saved = file.readText()
            chat.reply("hi")
            val error = assertFailsWith<DormouseException.Io> { chat.save("/dev/full") }
            assertEquals(ENOSPC, error.code, error.what)
            assertTrue(error.what.contains("/dev/full"), error.what)
            assertFalse(error.what.contains(secret), error.what)
            assertEquals(saved, file.readText())
            assertEquals(listOf("chat.json"), dir.list().orEmpty().toList())

            assertEquals(hello, chat.reply("hi").text)
            chat.save(file)
            val messages = chat.messages
            assertEquals(6, messages.size)
            chat.reset()
            chat.restore(file)
            assertEquals(messages, chat.messages)
        }

    @Test
    fun `a path that cannot be saved to is told, and the chat goes on`() =
        chatting { chat ->
            chat.reply("hi")
            val missing = File(dir, "missing/chat.json")
            val error = assertFailsWith<DormouseException.NotFound> { chat.save(missing) }
            assertTrue(error.what.contains(missing.path), error.what)
            val inTheWay = File(dir, "folder").apply { mkdir() }
            assertNotNull(assertFailsWith<DormouseException.Io> { chat.save(inTheWay) }.code)
            assertEquals(listOf("folder"), dir.list().orEmpty().toList())
            assertEquals(hello, chat.reply("hi").text)
        }

    @Test
    fun `a damaged file is corrupt`() =
        within {
            val cut = patched { it.copyOf(it.size / 2) }
            val noise = patched { bytes -> ByteArray(bytes.size) { (it * 31).toByte() } }
            for (source in listOf(cut, noise)) {
                val error = assertFailsWith<DormouseException.CorruptModel> { Dormouse.load(source) }
                assertTrue(error.place.isNotEmpty() && error.why.isNotEmpty())
                assertFailsWith<DormouseException.CorruptModel> { Dormouse.plan(source) }
            }
        }

    @Test
    fun `an architecture that the engine lacks is unsupported`() {
        within {
            val source = patched { it.withValue("general.architecture", "lxama") }
            val error = assertFailsWith<DormouseException.UnsupportedModel> { Dormouse.load(source) }
            assertTrue(error.what.contains("lxama"), error.what)
            assertFailsWith<DormouseException.UnsupportedModel> { Dormouse.plan(source) }
        }
    }

    @Test
    fun `a budget that is too small is told, in bytes`() =
        within {
            val needs = Dormouse.plan(tiny).needs
            val error =
                assertFailsWith<DormouseException.OutOfMemory> {
                    Dormouse.load(tiny, LoadOptions(memory = MemoryBudget.bytes(1000)))
                }
            assertEquals(1000, error.budget)
            assertTrue(error.needed in 1001..needs.total, "$error, $needs")
            // Room for one chat, and not for two.
            val one = LoadOptions(memory = MemoryBudget.bytes(needs.total + needs.kvCache / 2))
            Dormouse.load(tiny, one).use { model ->
                model.newChat().use {
                    assertFailsWith<DormouseException.OutOfMemory> { model.newChat() }
                    assertFailsWith<DormouseException.OutOfMemory> { model.complete("a").toList() }
                }
                model.newChat().close()
            }
        }

    @Test
    fun `a prompt that does not fit finds the context full, and the history stays`() =
        chatting(ChatOptions(contextLength = 32)) { chat ->
            val error = assertFailsWith<DormouseException.ContextFull> { chat.reply(secret.repeat(9)) }
            assertEquals(32, error.max)
            assertTrue(error.used > 32)
            assertFalse(error.message.orEmpty().contains("secret"))
            assertEquals(emptyList(), chat.messages)
        }

    @Test
    fun `options outside their range are invalid`() {
        within {
            for (options in listOf(
                LoadOptions(threads = 0),
                LoadOptions(threads = -1),
                LoadOptions(threads = 257),
                LoadOptions(contextLength = 0),
                LoadOptions(contextLength = -5),
                LoadOptions(contextLength = 1_000_000_000),
            )) {
                val error = assertFailsWith<DormouseException.InvalidOptions>("$options") { Dormouse.load(tiny, options).close() }
                assertTrue(error.what.any { it.isDigit() }, error.what)
            }
            assertFailsWith<DormouseException.InvalidOptions> { Dormouse.load(ModelSource.Descriptor(-1, 0, 1)) }
            assertFailsWith<DormouseException.InvalidOptions> { Dormouse.load(ModelSource.Descriptor(0, -1, 1)) }
        }
        chatting { chat ->
            for (options in listOf(
                ReplyOptions(SamplerOptions(temperature = -1f)),
                ReplyOptions(SamplerOptions(temperature = Float.NaN)),
                ReplyOptions(SamplerOptions(topK = -1)),
                ReplyOptions(SamplerOptions(topP = 2f)),
                ReplyOptions(SamplerOptions(logitBias = mapOf(-1 to 1f))),
                ReplyOptions(stop = listOf("")),
                ReplyOptions(tools = listOf(Tool("t", "d", secret))),
                ReplyOptions(templateVariables = "[$secret]"),
                ReplyOptions(templateVariables = "[$secret]", thinking = true),
            )) {
                val error = assertFailsWith<DormouseException.InvalidOptions>("$options") { chat.reply(secret, options) }
                assertFalse(error.what.contains(secret), error.what)
            }
            assertFailsWith<DormouseException.InvalidOptions> { chat.regenerate().toList() }
            assertFailsWith<DormouseException.InvalidOptions> { chat.edit(0, "x").toList() }
            assertFailsWith<DormouseException.InvalidOptions> { chat.edit(-1, "x").toList() }
            assertFailsWith<DormouseException.InvalidOptions> { chat.model.detokenize(listOf(1_000_000)) }
            assertFailsWith<DormouseException.InvalidOptions> { chat.model.newChat(ChatOptions(contextLength = -1)) }
            assertFailsWith<DormouseException.InvalidOptions> { chat.model.complete("").toList() }
            val call = Message(Role.Assistant, emptyList(), toolCalls = listOf(ToolCall("t", secret)))
            assertFailsWith<DormouseException.InvalidOptions> { chat.setMessages(listOf(call)) }
            assertEquals(hello, chat.reply("hi").text)
        }
    }

    @Test
    fun `a template that fails says why`() =
        within {
            assertFailsWith<DormouseException.Template> { Dormouse.load(tiny, LoadOptions(chatTemplate = "{% if %}")) }
            val refusing = LoadOptions(chatTemplate = "{{ raise_exception('only users') }}")
            Dormouse.load(tiny, refusing).use { model ->
                model.newChat().use { chat ->
                    val error = assertFailsWith<DormouseException.Template> { chat.reply(secret) }
                    assertTrue(error.why.contains("only users"), error.why)
                    assertEquals(emptyList(), chat.messages)
                }
            }
        }

    @Test
    fun `a second answer at a time finds the chat busy`() =
        chatting { chat ->
            val running = launch(start = CoroutineStart.UNDISPATCHED) { chat.send("forever").collect { awaitCancellation() } }
            while (true) {
                val error = runCatching { chat.contextUsed }.exceptionOrNull()
                if (error is DormouseException.Busy) break
            }
            assertFailsWith<DormouseException.Busy> { chat.send("hi").first() }
            assertFailsWith<DormouseException.Busy> { chat.setSystem("x") }
            assertFailsWith<DormouseException.Busy> { chat.setMessages(emptyList()) }
            assertFailsWith<DormouseException.Busy> { chat.reset() }
            running.cancel()
            assertEquals(hello, chat.reply("hi").text)
        }

    @Test
    fun `a closed chat says so`() =
        within {
            Dormouse.load(scripted, oneThread).use { model ->
                val chat = model.newChat()
                repeat(2) { chat.close() }
                assertTrue(chat.isClosed)
                assertFalse(model.isClosed)
                assertEquals(1024, chat.contextLength)
                chat.cancel()
                for (call in listOf<suspend () -> Any?>(
                    { chat.reply("a") },
                    // Whatever else is wrong with the call.
                    { chat.reply("a", ReplyOptions(maxTokens = -1)) },
                    { chat.reply("a", ReplyOptions(templateVariables = "no")) },
                    { chat.regenerate().toList() },
                    { chat.edit(0, "a").toList() },
                    { chat.messages },
                    { chat.contextUsed },
                    { chat.setMessages(emptyList()) },
                    { chat.setSystem(null) },
                    { chat.reset() },
                    { chat.save(File(dir, "x")) },
                    { chat.restore(File(dir, "x")) },
                )) {
                    assertEquals("closed", assertFailsWith<DormouseException.Closed> { call() }.message)
                }
            }
        }

    @Test
    fun `half a character is refused, wherever a text goes, and leaves no trace`() {
        val halves = listOf("\uD83D", "\uDC2D", "\uDC2D\uD83D", "a \uD83D b", "🐭\uD83D", "\uD83D\uD83D\uDC2D")
        chatting { chat ->
            val model = chat.model
            for (half in halves) {
                val file = "/tmp/$half"
                val calls =
                    listOf<suspend () -> Any?>(
                        { Dormouse.load(ModelSource.Path(file)) },
                        { Dormouse.plan(ModelSource.Path(file)) },
                        { Dormouse.load(scripted, LoadOptions(chatTemplate = half)) },
                        { model.newChat(half) },
                        { model.complete(half).toList() },
                        { model.tokenize(half) },
                        { model.countTokens(half) },
                        { chat.reply(half) },
                        { chat.edit(0, half).toList() },
                        { chat.setSystem(half) },
                        { chat.save(file) },
                        { chat.restore(file) },
                        { chat.setMessages(listOf(Message.assistant("a").copy(reasoning = half))) },
                        { chat.setMessages(listOf(Message.tool("a", callId = half))) },
                        { chat.setMessages(listOf(Message.tool("a", name = half))) },
                    ) +
                        listOf(ToolCall(half, "{}"), ToolCall("t", """{"a":"$half"}"""), ToolCall("t", "{}", half)).map {
                            suspend { chat.setMessages(listOf(Message.assistant("a").copy(toolCalls = listOf(it)))) }
                        } +
                        listOf(
                            ReplyOptions(stop = listOf("a", half)),
                            ReplyOptions(templateVariables = """{"a":"$half"}"""),
                            ReplyOptions(templateVariables = """{"a":"$half"}""", thinking = true),
                            ReplyOptions(tools = listOf(Tool(half, "d", "{}"))),
                            ReplyOptions(tools = listOf(Tool("t", half, "{}"))),
                            ReplyOptions(tools = listOf(Tool("t", "d", """{"a":"$half"}"""))),
                        ).flatMap { listOf<suspend () -> Any?>({ chat.reply("hi", it) }, { chat.regenerate(it).toList() }) }
                for ((at, call) in calls.withIndex()) {
                    val error = assertFailsWith<DormouseException.InvalidOptions>("call $at") { call() }
                    assertTrue("half a character at index" in error.what, error.what)
                    assertTrue(error.what.none { it.isSurrogate() }, error.what)
                }
            }
            assertEquals(emptyList(), chat.messages)
            assertEquals(hello, chat.reply("🐭 \uD83D\uDC2D hi").text)
        }
    }

    /** Templates that say what the user said; a chat with each of them, and what it fails with. */
    private fun refusal(template: String): DormouseException.Template =
        within {
            Dormouse.load(tiny, oneThread.copy(chatTemplate = template)).use { model ->
                model.newChat().use { chat ->
                    val error = assertFailsWith<DormouseException.Template>(template) { chat.reply(secret) }
                    assertFalse(error.message.orEmpty().contains(secret), error.message)
                    assertFalse(secret.split(' ').filter { it.length > 3 }.any { it in error.why }, error.why)
                    assertEquals(emptyList(), chat.messages)
                    error
                }
            }
        }

    @Test
    fun `what a template says of the conversation is not told, but for its own words`() {
        val own = refusal("{{ raise_exception('cannot handle: ' + messages[-1].content) }}")
        assertTrue("cannot handle:" in own.why && own.why.endsWith("…"), own.why)
        assertTrue("only users" in refusal("{{ raise_exception('only users') }}").why)
        for (words in listOf("messages[-1].content", "'no: ' + messages[-1].content")) {
            val error = refusal("{{ raise_exception($words) }}")
            assertTrue("the template refuses the conversation" in error.why, error.why)
        }
        for (template in listOf(
            "{{ messages[-1].content + 1 }}",
            "{{ messages[-1].content | int }}{{ messages[-1].content() }}",
            "{{ messages[-1].content.no_such_method() }}",
            "{{ {}[messages[-1].content].more }}",
        )) {
            refusal(template)
        }
    }

    @Test
    fun `a panic is an internal error with its place, and the app lives on`() =
        within {
            val error = provokePanic()
            assertTrue(provoked.matches(error.place), error.place)
            assertFalse(error.message.orEmpty().contains("a panic in"), error.message)
            Dormouse.load(scripted, oneThread).use { model ->
                assertFailsWith<DormouseException.Internal> { model.tokenize(PANIC) }
                assertTrue(model.countTokens("tick") > 0)
                model.newChat().use { assertEquals(hello, it.reply("hi").text) }
            }
        }

    @Test
    fun `a panic while an answer is computed closes its chat, and no other`() =
        within {
            // More threads than one: the pool has one of its own then.
            Dormouse.load(scripted, LoadOptions(threads = 2)).use { model ->
                val other = model.newChat()
                for (words in listOf(PANIC, PANIC_IN_POOL)) {
                    val chat = model.newChat()
                    assertEquals(hello, chat.reply("hi").text)
                    val errors =
                        listOf(
                            assertFailsWith<DormouseException.Internal>(words) { chat.reply(words) },
                            assertFailsWith<DormouseException.Internal>(words) { model.complete(words).toList() },
                        )
                    for (error in errors) {
                        assertTrue(provoked.matches(error.place), error.place)
                        assertFalse("provoke a" in error.message.orEmpty(), error.message)
                        assertFalse("pool task" in error.message.orEmpty(), error.message)
                    }
                    assertTrue(chat.isClosed)
                    assertFailsWith<DormouseException.Closed> { chat.reply("hi") }
                    chat.close()
                    assertFalse(other.isClosed || model.isClosed)
                    assertEquals(hello, other.reply("hi").text)
                }
            }
        }

    private val provoked = Regex(""".*provoke\.rs:\d+:\d+""")

    private companion object {
        /** "Bad file descriptor", on Linux and everywhere else. */
        const val EBADF = 9

        /** "No space left on device", on Linux and Android. */
        const val ENOSPC = 28
    }
}
