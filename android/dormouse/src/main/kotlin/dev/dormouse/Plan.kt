package dev.dormouse

/** What loading a model would come to, told before it is loaded; see [Dormouse.plan]. */
public sealed class Plan {
    /** What the model takes with all of it in memory. */
    public abstract val needs: MemoryNeeds

    /**
     * It fits.
     *
     * @property tight it fits only by dropping weights and reading them again, which is slow
     */
    public class Fits internal constructor(override val needs: MemoryNeeds, public val tight: Boolean) : Plan() {
        /** For logs: nothing of a conversation is in it, and its form may change. */
        override fun toString(): String = "Fits(needs=$needs, tight=$tight)"
    }

    /**
     * It runs with its experts read from flash.
     *
     * @property leastBytes bytes below which it does not run
     * @property tokensPerSecond estimated decode rate
     */
    public class Pages internal constructor(
        override val needs: MemoryNeeds,
        public val leastBytes: Long,
        public val tokensPerSecond: Float,
    ) : Plan() {
        /** For logs: nothing of a conversation is in it, and its form may change. */
        override fun toString(): String =
            "Pages(needs=$needs, leastBytes=$leastBytes, tokensPerSecond=$tokensPerSecond)"
    }

    /**
     * It does not fit.
     *
     * @property allowedBytes what is allowed: the budget, or what the system can give
     * @property reason why, in words
     */
    public class Refused internal constructor(
        override val needs: MemoryNeeds,
        public val allowedBytes: Long,
        public val reason: String,
    ) : Plan() {
        /** For logs: nothing of a conversation is in it, and its form may change. */
        override fun toString(): String = "Refused(needs=$needs, allowedBytes=$allowedBytes, reason=$reason)"
    }
}

/**
 * What a model takes with one chat.
 *
 * @property weights bytes of weights. Of a file that is mapped they are pages that the system can drop
 *   and read again; one that is read in (see [FileAccess]) counts as long as it is, as memory that
 *   cannot be dropped
 * @property kvCache bytes of one chat's KV cache when its context is full
 * @property buffers bytes of work buffers
 * @property total all of it, in bytes
 * @property contextLength tokens that the context holds
 */
public class MemoryNeeds internal constructor(
    public val weights: Long,
    public val kvCache: Long,
    public val buffers: Long,
    public val total: Long,
    public val contextLength: Int,
) {
    /** For logs: nothing of a conversation is in it, and its form may change. */
    override fun toString(): String =
        "MemoryNeeds(weights=$weights, kvCache=$kvCache, buffers=$buffers, total=$total, contextLength=$contextLength)"
}
