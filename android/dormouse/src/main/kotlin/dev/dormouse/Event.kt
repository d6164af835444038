package dev.dormouse

/**
 * Something that happened in a reply. Complete from the start: kinds that the engine does not make
 * yet are there, so that nobody's exhaustive `when` breaks when it does.
 */
public sealed class Event {
    /**
     * More of the answer.
     *
     * @property text whole characters, never empty
     */
    public class Token internal constructor(public val text: String) : Event() {
        /** For logs: nothing of a conversation is in it, and its form may change. */
        override fun toString(): String = "Token(${text.length} characters)"
    }

    /**
     * More of what the model thinks before it answers.
     *
     * @property text whole characters, never empty
     */
    public class Reasoning internal constructor(public val text: String) : Event() {
        /** For logs: nothing of a conversation is in it, and its form may change. */
        override fun toString(): String = "Reasoning(${text.length} characters)"
    }

    /**
     * The model asks for a tool. Send its result with [Message.tool] once the reply is done.
     *
     * @property call which, and with what
     */
    public class ToolCall internal constructor(public val call: dev.dormouse.ToolCall) : Event() {
        /** For logs: nothing of a conversation is in it, and its form may change. */
        override fun toString(): String = "ToolCall(${call.name})"
    }

    /**
     * The governor changed the limits under which the reply is computed.
     *
     * @property reason why
     * @property limits the limits from here on
     */
    public class Throttled internal constructor(public val reason: ThrottleReason, public val limits: Limits) :
        Event() {
        /** For logs: nothing of a conversation is in it, and its form may change. */
        override fun toString(): String = "Throttled(reason=$reason, limits=$limits)"
    }

    /**
     * The reply is at its end; nothing follows.
     *
     * @property metrics what it cost
     * @property finishReason why it ended
     * @property seed the seed that was used: with it the same reply can be had again
     */
    public class Done internal constructor(
        public val metrics: Metrics,
        public val finishReason: FinishReason,
        public val seed: Long,
    ) : Event() {
        /** For logs: nothing of a conversation is in it, and its form may change. */
        override fun toString(): String = "Done(finishReason=$finishReason, seed=$seed, metrics=$metrics)"
    }
}

/** Why a reply ended. */
public enum class FinishReason {
    /** The model ended its turn. */
    EndOfTurn,

    /** The model ended its turn with calls of tools, which now want results. */
    ToolCalls,

    /** One of [ReplyOptions.stop] came. */
    StopString,

    /** [ReplyOptions.maxTokens] was reached. */
    MaxTokens,

    /** The context is full, and [ChatOptions.whenFull] is to stop. */
    ContextFull,

    /** It was cancelled, or the chat was closed. */
    Cancelled,
}

/** Why the governor set limits. */
public enum class ThrottleReason {
    /** The device is hot. */
    Heat,

    /** The battery is low. */
    Battery,

    /** The system asks to save power. */
    LowPower,

    /** The system is short of memory. */
    Memory,

    /** The app is in the background. */
    Background,

    /** The limits were lifted. */
    Recovered,
}

/**
 * Limits under which a reply is computed; what is null is not limited.
 *
 * @property threads compute threads
 * @property dutyCycle share of the time in which is computed, above 0 up to 1
 * @property tokensPerSecond tokens per second
 * @property paused nothing is computed until this is lifted
 */
public class Limits internal constructor(
    public val threads: Int?,
    public val dutyCycle: Float?,
    public val tokensPerSecond: Float?,
    public val paused: Boolean,
) {
    /** For logs: nothing of a conversation is in it, and its form may change. */
    override fun toString(): String =
        "Limits(threads=$threads, dutyCycle=$dutyCycle, tokensPerSecond=$tokensPerSecond, paused=$paused)"
}
