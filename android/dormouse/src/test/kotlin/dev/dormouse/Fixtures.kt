package dev.dormouse

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import java.io.File
import kotlin.test.assertFailsWith
import kotlin.test.fail
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import kotlin.time.TimeSource

/** What the build passes; a variable of the environment that is not set comes as its name. */
internal fun property(name: String): String? =
    System.getProperty(name)?.takeUnless { it.isEmpty() || it.startsWith("\${") }

internal val tinyModels: File =
    File(
        property("dormouse.tinyModels")
            ?: fail("set DORMOUSE_TINY_MODELS to the folder that `cargo run -p dormouse --example tiny_models -- DIR` filled"),
    )

/** Says what its script has it say; see the engine's example `tiny_models`. */
internal val scripted: ModelSource = ModelSource.file(File(tinyModels, "scripted.gguf"))

/** Says random things. */
internal val tiny: ModelSource = ModelSource.file(File(tinyModels, "tiny.gguf"))

/** The whole soak, or a tenth of it. */
internal fun soak(rounds: Int): Int = if (property("dormouse.long") == "true") rounds else rounds / 10

/** One thread computes tiny models fastest, and a machine under load steadiest. */
internal val oneThread = LoadOptions(threads = 1)

internal fun <T> within(time: Duration = 60.seconds, block: suspend CoroutineScope.() -> T): T =
    runBlocking { withTimeout(time, block) }

/**
 * Does [work] until it comes out as wanted: on a machine with other work a thread may not have its turn
 * for as long as the work beside it takes.
 */
internal suspend fun until(work: suspend () -> Boolean) {
    repeat(20) { if (work()) return }
    fail("never in 20 tries")
}

/** Runs [block] with a chat of the scripted model. */
internal fun <T> chatting(
    options: ChatOptions = ChatOptions(),
    time: Duration = 60.seconds,
    block: suspend CoroutineScope.(Chat) -> T,
): T =
    within(time) {
        Dormouse.load(scripted, oneThread).use { model -> model.newChat(options).use { chat -> block(chat) } }
    }

/** The events of a reply, neighbouring texts joined, in words that are easy to compare. */
internal suspend fun Flow<Event>.told(): List<String> {
    val out = mutableListOf<Pair<String, String>>()
    for (event in toList()) {
        val (kind, text) =
            when (event) {
                is Event.Token -> "token" to event.text
                is Event.Reasoning -> "reasoning" to event.text
                is Event.ToolCall -> "call" to "${event.call.name}(${event.call.arguments})"
                is Event.Throttled -> "throttled" to event.reason.name
                is Event.Done -> "done" to event.finishReason.name
            }
        val last = out.lastOrNull()
        if (last?.first == kind && kind in setOf("token", "reasoning")) {
            out[out.lastIndex] = kind to last.second + text
        } else {
            out += kind to text
        }
    }
    return out.map { (kind, text) -> "$kind: $text" }
}

internal val hello = "Hello 🐭 from the dormouse: 冬眠!"

/** Has the library panic, if it was built for that: as the text of a call, on the thread that it is done on. */
internal const val PANIC: String = "\u0000provoke a panic"

/** As [PANIC], in a part of the work that the compute pool does. */
internal const val PANIC_IN_POOL: String = "\u0000provoke a panic in a pool task"

internal suspend fun provokePanic(): DormouseException.Internal =
    Dormouse.load(scripted, oneThread).use { model ->
        assertFailsWith<DormouseException.Internal>("the library was built without the feature provoke-panics") {
            model.tokenize(PANIC)
        }
    }

/** The names of the process's threads that the engine started for a model or a chat. */
internal fun engineThreads(): List<String> =
    File("/proc/self/task")
        .listFiles()
        .orEmpty()
        .mapNotNull { task -> runCatching { File(task, "comm").readText().trim() }.getOrNull() }
        .filter { it.startsWith("dormouse") && it !in setOf("dormouse-wait", "dormouse-task") }

/** Waits until no thread of a model is left, however many objects must be found first. */
internal suspend fun untilNoThreads() {
    val deadline = TimeSource.Monotonic.markNow() + 30.seconds
    while (engineThreads().isNotEmpty()) {
        if (deadline.hasPassedNow()) fail("still there: ${engineThreads()}")
        System.gc()
        delay(20)
    }
}
