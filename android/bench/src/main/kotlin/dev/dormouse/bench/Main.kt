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
private const val USAGE = "usage: bench MODEL [TOKENS] [RUNS] [THREADS]"

/** One run: as the collector sees it, and as the engine does. */
private class Run(val collected: Double, val engine: Double, val tokens: Long, val events: Int)

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
 * Decodes TOKENS tokens RUNS times after a run to warm up, and prints the medians as one line of JSON:
 * `collected_tok_s` from the first event to the last at the collector, `engine_tok_s` as the engine
 * measured the same runs.
 */
fun main(arguments: Array<String>): Unit =
    runBlocking {
        val path =
            arguments.firstOrNull() ?: run {
                System.err.println(USAGE)
                exitProcess(2)
            }
        val tokens = number(arguments.getOrNull(1), 128)
        val runs = number(arguments.getOrNull(2), 5)
        val threads = arguments.getOrNull(3)?.let { number(it, 0) }
        Dormouse.load(ModelSource.Path(path), LoadOptions(threads = threads)).use { model ->
            run(model, tokens)
            val results = List(runs) { run(model, tokens) }
            fun median(value: (Run) -> Double): Double = results.map(value).sorted()[runs / 2]
            println(
                """{"binding":"kotlin","tokens":${results.last().tokens},"events":${results.last().events},""" +
                    """"runs":$runs,"collected_tok_s":${median { it.collected }},"engine_tok_s":${median { it.engine }}}""",
            )
        }
    }
