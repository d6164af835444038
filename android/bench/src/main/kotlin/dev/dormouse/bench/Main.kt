package dev.dormouse.bench

import dev.dormouse.Dormouse
import dev.dormouse.Event
import dev.dormouse.LoadOptions
import dev.dormouse.Model
import dev.dormouse.ModelSource
import dev.dormouse.ReplyOptions
import dev.dormouse.SamplerOptions
import kotlinx.coroutines.runBlocking
import kotlin.system.exitProcess
import kotlin.time.DurationUnit
import kotlin.time.TimeMark
import kotlin.time.TimeSource

private const val PROMPT = "Once upon a time"
private const val USAGE = "usage: bench MODEL [TOKENS] [THREADS]"

/** Replies before the first that counts: by then the virtual machine has compiled what they run. */
private const val WARM_UP = 30

/** One run: as the collector sees it, and as the engine does. */
private class Run(val collected: Double, val engine: Double, val tokens: Long, val events: Int) {
    fun json(): String =
        """{"binding":"kotlin","tokens":$tokens,"events":$events,"""" +
            """collected_tok_s":$collected,"engine_tok_s":$engine}"""
}

private fun number(text: String?, default: Int): Int =
    if (text == null) {
        default
    } else {
        text.toIntOrNull()?.takeIf { it > 0 } ?: run {
            System.err.println(USAGE)
            exitProcess(2)
        }
    }

private suspend fun run(model: Model, tokens: Int): Run {
    val options = ReplyOptions(SamplerOptions.greedy(), maxTokens = tokens)
    val arrivals = mutableListOf<TimeMark>()
    var end: Event.Done? = null
    model.complete(PROMPT, options).collect { event ->
        arrivals += TimeSource.Monotonic.markNow()
        if (event is Event.Done) end = event
    }
    val metrics = checkNotNull(end) { "the reply has no end" }.metrics
    val seconds = (arrivals.first().elapsedNow() - arrivals.last().elapsedNow()).toDouble(DurationUnit.SECONDS)
    return Run((metrics.generatedTokens - 1) / seconds, metrics.decodeRate ?: 0.0, metrics.generatedTokens, arrivals.size)
}

/**
 * Warms up, and then decodes TOKENS tokens for each line that it reads and prints a line of JSON:
 * `collected_tok_s` from the first event to the last at the collector, `engine_tok_s` as the engine
 * measured the same reply.
 */
fun main(arguments: Array<String>): Unit =
    runBlocking {
        val path =
            arguments.firstOrNull() ?: run {
                System.err.println(USAGE)
                exitProcess(2)
            }
        val tokens = number(arguments.getOrNull(1), 128)
        val threads = arguments.getOrNull(2)?.let { number(it, 0) }
        Dormouse.load(ModelSource.Path(path), LoadOptions(threads = threads)).use { model ->
            repeat(WARM_UP) { run(model, tokens) }
            while (readlnOrNull() != null) println(run(model, tokens).json())
        }
    }
