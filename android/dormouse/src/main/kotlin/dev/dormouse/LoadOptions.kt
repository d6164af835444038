package dev.dormouse

/**
 * How a model is loaded.
 *
 * @property memory most memory for weights, work buffers and the KV caches of all chats; null: no
 *   limit but the system's
 * @property contextLength tokens that the context of a chat holds unless it asks for its own; null:
 *   the engine's choice, see [ModelInfo.contextLength]
 * @property threads compute threads, 1 to 256; null: as many as the system gives
 * @property energy how speed is weighed against battery and heat
 * @property chatTemplate a chat template (Jinja) in place of the file's own
 */
public data class LoadOptions(
    public val memory: MemoryBudget? = null,
    public val contextLength: Int? = null,
    public val threads: Int? = null,
    public val energy: EnergyPolicy = EnergyPolicy.Balanced,
    public val chatTemplate: String? = null,
)

/**
 * An amount of memory.
 *
 * @property bytes the amount in bytes
 */
public class MemoryBudget private constructor(public val bytes: Long) {
    /** Whether [other] is the same amount. */
    override fun equals(other: Any?): Boolean = other is MemoryBudget && other.bytes == bytes

    /** Of the amount. */
    override fun hashCode(): Int = bytes.hashCode()

    /** For logs: nothing of a conversation is in it, and its form may change. */
    override fun toString(): String = "MemoryBudget($bytes bytes)"

    /** Amounts by their unit. */
    public companion object {
        private const val MIB = 1L shl 20

        /**
         * [bytes] bytes.
         *
         * @throws DormouseException.InvalidOptions for a negative amount
         */
        @JvmStatic
        public fun bytes(bytes: Long): MemoryBudget {
            if (bytes < 0) throw DormouseException.InvalidOptions("memory is $bytes bytes, want at least 0")
            return MemoryBudget(bytes)
        }

        /**
         * [mebibytes] times 1,048,576 bytes.
         *
         * @throws DormouseException.InvalidOptions for a negative amount
         */
        @JvmStatic
        public fun mib(mebibytes: Int): MemoryBudget = bytes(mebibytes * MIB)
    }
}

/** How the engine weighs speed against battery and heat. */
public enum class EnergyPolicy {
    /** As fast as it goes. */
    Performance,

    /** Fast while the device stays cool and charged. */
    Balanced,

    /** As far as the battery lasts. */
    Saver,
}
