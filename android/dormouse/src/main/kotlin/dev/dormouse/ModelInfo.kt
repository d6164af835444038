package dev.dormouse

/**
 * What a model is.
 *
 * @property name its name, where the file has one
 * @property architecture its architecture, by its GGUF name
 * @property quantization how most of its weights are stored, by its GGUF name
 * @property parameters number of weights
 * @property fileBytes bytes of the file
 * @property trainedContextLength tokens that it was trained to look back on
 * @property contextLength tokens that the context of a chat holds unless it asks for its own
 * @property vocabularySize number of tokens that it knows
 * @property layers number of layers
 * @property embeddingLength width of its hidden state
 * @property hasChatTemplate whether it can chat; without a template it can only complete
 * @property takesTools whether its template takes tools
 * @property reasons whether it thinks before it answers, by its template's markers
 * @property notInForce options that were accepted but have no effect in this version, in words
 */
public class ModelInfo internal constructor(
    public val name: String?,
    public val architecture: String,
    public val quantization: String,
    public val parameters: Long,
    public val fileBytes: Long,
    public val trainedContextLength: Int,
    public val contextLength: Int,
    public val vocabularySize: Int,
    public val layers: Int,
    public val embeddingLength: Int,
    public val hasChatTemplate: Boolean,
    public val takesTools: Boolean,
    public val reasons: Boolean,
    public val notInForce: List<String>,
) {
    /** For logs: nothing of a conversation is in it, and its form may change. */
    override fun toString(): String =
        "ModelInfo(name=$name, architecture=$architecture, quantization=$quantization, " +
            "parameters=$parameters, fileBytes=$fileBytes, contextLength=$contextLength)"
}
