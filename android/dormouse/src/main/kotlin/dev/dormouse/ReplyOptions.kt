package dev.dormouse

/**
 * How a reply is made.
 *
 * @property sampler how tokens are chosen
 * @property maxTokens most tokens of the reply; null: until the model ends it or the context is full
 * @property stop texts that end the reply, and are not part of it
 * @property tools tools that the model may call
 * @property templateVariables variables for the chat template, a JSON object; empty: none
 * @property thinking whether a model that can do both thinks before it answers, by the variable
 *   `enable_thinking` of its template; null: as the template has it
 */
public data class ReplyOptions(
    public val sampler: SamplerOptions = SamplerOptions(),
    public val maxTokens: Int? = null,
    public val stop: List<String> = emptyList(),
    public val tools: List<Tool> = emptyList(),
    public val templateVariables: String = "",
    public val thinking: Boolean? = null,
)

/**
 * How tokens are chosen.
 *
 * @property temperature divides the logits: 0 always takes the likeliest token, above 1 is livelier
 * @property topK only this many likeliest tokens are left to choose from; 0 switches it off
 * @property topP only the likeliest tokens that together have this probability are left; 1 switches
 *   it off
 * @property minP tokens with less than this share of the likeliest one's probability go; 0 switches
 *   it off
 * @property repetitionPenalty divides the logits of tokens that were used (multiplies negative ones);
 *   1 switches it off
 * @property presencePenalty taken off the logits of tokens that were used; 0 switches it off
 * @property frequencyPenalty taken off the logits of tokens once for each use; 0 switches it off
 * @property penaltyLastN how many last tokens the penalties look at
 * @property logitBias added to the logits of single tokens, by their ids
 * @property seed all 64 bits count; the same seed gives the same reply; null: a new one for each
 *   reply, told in [Event.Done.seed]
 */
public data class SamplerOptions(
    public val temperature: Float = 0.8f,
    public val topK: Int = 40,
    public val topP: Float = 0.95f,
    public val minP: Float = 0.05f,
    public val repetitionPenalty: Float = 1f,
    public val presencePenalty: Float = 0f,
    public val frequencyPenalty: Float = 0f,
    public val penaltyLastN: Int = 64,
    public val logitBias: Map<Int, Float> = emptyMap(),
    public val seed: Long? = null,
) {
    /** Ready-made choices. */
    public companion object {
        /** Always the likeliest token, without penalties. */
        @JvmStatic
        public fun greedy(): SamplerOptions = SamplerOptions(temperature = 0f)
    }
}

/**
 * A tool that the model may call.
 *
 * @property name its name
 * @property description what it does, in words for the model
 * @property parameters its parameters, a JSON schema of an object
 */
public data class Tool(
    public val name: String,
    public val description: String,
    public val parameters: String,
)
