package dev.dormouse

/** Who speaks. */
public enum class Role {
    /** Whoever set up the conversation. */
    System,

    /** The person. */
    User,

    /** The model. */
    Assistant,

    /** A tool, answering a call. */
    Tool,
}

/** One part of a message's content. */
public sealed class Part {
    /**
     * Text.
     *
     * @property text the text
     */
    public data class Text(public val text: String) : Part()
}

/**
 * A call of a tool that the model asks for.
 *
 * @property name the tool's name
 * @property arguments the arguments, a JSON object
 * @property id ties the result to the call, where the model gives one
 */
public data class ToolCall(
    public val name: String,
    public val arguments: String,
    public val id: String? = null,
)

/**
 * One message of a conversation.
 *
 * @property role who speaks
 * @property content what is said, in order
 * @property reasoning what the model thought before it spoke
 * @property toolCalls calls that the model makes with this message
 * @property toolCallId for a tool's message: the id of the call that it answers
 * @property name for a tool's message: the tool's name
 */
public data class Message(
    public val role: Role,
    public val content: List<Part>,
    public val reasoning: String? = null,
    public val toolCalls: List<ToolCall> = emptyList(),
    public val toolCallId: String? = null,
    public val name: String? = null,
) {
    /** The text of [content]. */
    public val text: String
        get() = content.joinToString("") { part ->
            when (part) {
                is Part.Text -> part.text
            }
        }

    /** Messages of text. */
    public companion object {
        /** Instructions to the model. */
        @JvmStatic
        public fun system(text: String): Message = Message(Role.System, listOf(Part.Text(text)))

        /** Something that the person says. */
        @JvmStatic
        public fun user(text: String): Message = Message(Role.User, listOf(Part.Text(text)))

        /** Something that the model said. */
        @JvmStatic
        public fun assistant(text: String): Message = Message(Role.Assistant, listOf(Part.Text(text)))

        /**
         * The result of the tool [name], which the call [callId] asked for. Both may be null where the
         * model's template does without.
         */
        @JvmStatic
        @JvmOverloads
        public fun tool(text: String, callId: String? = null, name: String? = null): Message =
            Message(Role.Tool, listOf(Part.Text(text)), toolCallId = callId, name = name)
    }
}
