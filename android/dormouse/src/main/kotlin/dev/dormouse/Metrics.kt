package dev.dormouse

import kotlin.time.Duration

/**
 * What a reply cost.
 *
 * @property timeToFirstToken from the call to the first token chosen; null when there was none
 * @property promptTokens tokens of the prompt, as they are in the context
 * @property reusedTokens those of them that were in the KV cache already
 * @property prefillTokens those of them that were evaluated
 * @property prefillSeconds how long that took, in seconds
 * @property prefillRate prompt tokens evaluated per second; null when there were none
 * @property generatedTokens tokens that were chosen, the one that ends the model's turn included
 * @property decodeSeconds from the first token chosen to the last, in seconds
 * @property decodeRate tokens per second after the first; null when there were fewer than two
 * @property totalSeconds from the call to the end, in seconds
 * @property stalledSeconds how long the engine waited for the collector to take events, in seconds
 * @property droppedTokens tokens dropped from the context to make room
 * @property tokensAfterCancel tokens whose computation began after the reply was cancelled
 * @property kvBytes bytes of the chat's KV cache at the end
 * @property peakMemory the most bytes that the process ever had resident, where the system tells
 */
public class Metrics internal constructor(
    public val timeToFirstToken: Duration?,
    public val promptTokens: Long,
    public val reusedTokens: Long,
    public val prefillTokens: Long,
    public val prefillSeconds: Double,
    public val prefillRate: Double?,
    public val generatedTokens: Long,
    public val decodeSeconds: Double,
    public val decodeRate: Double?,
    public val totalSeconds: Double,
    public val stalledSeconds: Double,
    public val droppedTokens: Long,
    public val tokensAfterCancel: Long,
    public val kvBytes: Long,
    public val peakMemory: Long?,
) {
    /** For logs: nothing of a conversation is in it, and its form may change. */
    override fun toString(): String =
        "Metrics(timeToFirstToken=$timeToFirstToken, promptTokens=$promptTokens, reusedTokens=$reusedTokens, " +
            "prefillRate=$prefillRate, generatedTokens=$generatedTokens, decodeRate=$decodeRate, totalSeconds=$totalSeconds)"
}
