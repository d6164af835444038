package dev.dormouse

/**
 * A whole reply.
 *
 * @property text the answer
 * @property reasoning what the model thought before it answered; null when it did not
 * @property toolCalls tools that the model asks for
 * @property metrics what the reply cost
 * @property finishReason why it ended
 * @property seed the seed that was used: with it the same reply can be had again
 */
public class Reply internal constructor(
    public val text: String,
    public val reasoning: String?,
    public val toolCalls: List<ToolCall>,
    public val metrics: Metrics,
    public val finishReason: FinishReason,
    public val seed: Long,
) {
    /** For logs: nothing of a conversation is in it, and its form may change. */
    override fun toString(): String = "Reply(${text.length} characters, finishReason=$finishReason, seed=$seed)"
}
