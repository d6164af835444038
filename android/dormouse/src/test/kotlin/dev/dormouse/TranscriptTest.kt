package dev.dormouse

import com.google.gson.JsonArray
import com.google.gson.JsonElement
import com.google.gson.JsonObject
import com.google.gson.JsonParser
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.toList
import org.junit.jupiter.api.Assumptions.assumeTrue
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.TestFactory
import java.io.File
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue
import kotlin.test.fail
import kotlin.time.Duration.Companion.minutes

/** The conversations of `fixtures/transcripts.json`, which every language must reproduce. */
internal class TranscriptTest {
    @TestFactory
    fun conversations(): List<DynamicTest> {
        val file = File(property("dormouse.transcripts") ?: fail("set the property dormouse.transcripts"))
        val conversations = JsonParser.parseString(file.readText()).asJsonObject["conversations"].asJsonArray
        assertTrue(!conversations.isEmpty, "no conversations in $file")
        return conversations.map { it.asJsonObject }.map { conversation ->
            DynamicTest.dynamicTest(conversation.text("name")) { reproduce(conversation) }
        }
    }

    private fun reproduce(conversation: JsonObject) {
        val name = conversation.text("model")
        val folder = if (name in setOf("scripted.gguf", "tiny.gguf")) tinyModels.path else property("dormouse.models")
        assumeTrue(folder != null, "DORMOUSE_MODELS is not set: $name is not there to be tried")
        within(5.minutes) {
            Dormouse.load(ModelSource.file(File(folder, name))).use { model ->
                model.newChat(conversation.chatOptions()).use { chat ->
                    for ((at, turn) in conversation["turns"].asJsonArray.map { it.asJsonObject }.withIndex()) {
                        take(model, chat, turn, "turn $at")
                    }
                    val history = conversation["history"]?.asJsonArray?.map { it.asString }
                    if (history != null) {
                        assertEquals(history, chat.messages.map { "${it.role.name.lowercase()}: ${it.text}" }, "history")
                    }
                }
            }
        }
    }

    private suspend fun take(model: Model, chat: Chat, turn: JsonObject, where: String) {
        val options = turn.optional("options")?.asJsonObject?.replyOptions() ?: JsonObject().replyOptions()
        val text = turn.optional("text")?.asString.orEmpty()
        val flow =
            when (val action = turn.text("action")) {
                "send" -> chat.send(text, options)
                "tool" -> chat.send(Message.tool(text), options)
                "regenerate" -> chat.regenerate(options)
                "edit" -> chat.edit(turn["index"].asInt, text, options)
                "complete" -> model.complete(text, options)
                else -> fail("$where: no such action: $action")
            }
        val error = turn.optional("error")?.asString
        if (error != null) {
            val thrown = assertFailsWith<DormouseException>(where) { flow.toList() }
            assertEquals(error, thrown::class.simpleName, where)
        } else {
            val told = flow.json()
            assertEquals(told.asJsonArray.size(), turn["events"].asJsonArray.size(), "$where: $told")
            turn["events"].asJsonArray.zip(told).forEach { (want, got) -> assertEquals(want.restricted(), got.like(want), where) }
        }
    }

    private fun JsonObject.chatOptions() =
        ChatOptions(
            system = optional("system")?.asString,
            contextLength = optional("context_length")?.asInt,
            whenFull = if (optional("when_full")?.asString == "shift") WhenFull.Shift() else WhenFull.Stop,
        )

    private fun JsonObject.replyOptions(): ReplyOptions {
        val defaults = SamplerOptions()
        fun float(name: String, default: Float) = optional(name)?.asFloat ?: default
        val seed = optional("seed")?.asLong
        return ReplyOptions(
            sampler =
                SamplerOptions(
                    temperature = float("temperature", if (seed == null) 0f else defaults.temperature),
                    topK = optional("top_k")?.asInt ?: defaults.topK,
                    topP = float("top_p", defaults.topP),
                    minP = float("min_p", defaults.minP),
                    repetitionPenalty = float("repetition_penalty", defaults.repetitionPenalty),
                    presencePenalty = float("presence_penalty", defaults.presencePenalty),
                    frequencyPenalty = float("frequency_penalty", defaults.frequencyPenalty),
                    seed = seed,
                ),
            maxTokens = optional("max_tokens")?.asInt,
            stop = optional("stop")?.asJsonArray?.map { it.asString } ?: emptyList(),
            tools = if (optional("weather_tool")?.asBoolean == true) listOf(WEATHER) else emptyList(),
        )
    }

    /** The events as the file has them, neighbouring texts joined. */
    private suspend fun Flow<Event>.json(): JsonArray {
        val out = JsonArray()
        fun text(kind: String, text: String) {
            val last = if (out.isEmpty) null else out.last().asJsonObject
            if (last?.has(kind) == true) {
                last.addProperty(kind, last.text(kind) + text)
            } else {
                out.add(JsonObject().apply { addProperty(kind, text) })
            }
        }
        for (event in toList()) {
            when (event) {
                is Event.Token -> text("token", event.text)
                is Event.Reasoning -> text("reasoning", event.text)
                is Event.ToolCall ->
                    out.nested("tool_call") {
                        addProperty("name", event.call.name)
                        addProperty("arguments", event.call.arguments)
                    }
                is Event.Throttled -> out.nested("throttled") { addProperty("reason", event.reason.name) }
                is Event.Done ->
                    out.nested("done") {
                        addProperty("finish_reason", event.finishReason.name)
                        addProperty("prompt_tokens", event.metrics.promptTokens)
                        addProperty("reused_tokens", event.metrics.reusedTokens)
                        addProperty("generated_tokens", event.metrics.generatedTokens)
                    }
            }
        }
        return out
    }

    private fun JsonArray.nested(kind: String, fill: JsonObject.() -> Unit) =
        add(JsonObject().apply { add(kind, JsonObject().apply(fill)) })

    /** What the file tells of an event, by its text. */
    private fun JsonElement.restricted(): String = asJsonObject.like(this)

    /** The members of this event that [other] has, too; an event of another kind as it is. */
    private fun JsonElement.like(other: JsonElement): String {
        val (kind, want) = other.asJsonObject.entrySet().single()
        val have = asJsonObject[kind]
        if (have == null || !have.isJsonObject) return toString()
        return "$kind: " + want.asJsonObject.keySet().sorted().joinToString { "$it=${have.asJsonObject[it]}" }
    }

    private fun JsonObject.text(name: String): String = get(name).asString

    private fun JsonObject.optional(name: String): JsonElement? = get(name)?.takeUnless { it.isJsonNull }

    private companion object {
        val WEATHER =
            Tool(
                "get_weather",
                "Weather in a city",
                """{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}""",
            )
    }
}
