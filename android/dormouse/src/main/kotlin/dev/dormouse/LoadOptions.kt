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
 * @property fileAccess whether the model's file is mapped or read in; those of its adapters, too
 */
public data class LoadOptions(
    public val memory: MemoryBudget? = null,
    public val contextLength: Int? = null,
    public val threads: Int? = null,
    public val energy: EnergyPolicy = EnergyPolicy.Balanced,
    public val chatTemplate: String? = null,
    public val fileAccess: FileAccess = FileAccess.Auto,
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

/**
 * How a model file's bytes are reached.
 *
 * A file that is mapped costs no memory that the system could not take back, but it must not be cut
 * short while the model is open: the system ends a process that reads what is no longer there.
 */
public enum class FileAccess {
    /**
     * Mapped where no other user of the system can write the file, read in elsewhere. On Android the
     * app's own files and what is stored in its package are mapped; files in shared storage, and most
     * of what content URIs name, are read in.
     */
    Auto,

    /** Mapped, whoever can write it: the caller answers for nobody cutting it short. */
    Map,

    /**
     * Read in: as much memory as the file is long, and none of it can be dropped. Whatever becomes of
     * the file, the model stays as it was.
     */
    ReadIn,
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
