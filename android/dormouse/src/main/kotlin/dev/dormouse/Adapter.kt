package dev.dormouse

import dev.dormouse.internal.AdapterBridge

/**
 * A LoRA adapter that was opened for a model, from [Model.loadAdapter]; [Chat.setAdapters] puts it to
 * use. Safe to use from any thread, and in any number of chats.
 *
 * It holds its weights until it is closed and no chat has it any more. One that is forgotten is closed
 * some time after the garbage collector finds it.
 */
public class Adapter internal constructor(internal val bridge: AdapterBridge) : AutoCloseable {
    /** Whether it was closed. */
    public val isClosed: Boolean get() = bridge.isClosed

    /**
     * Gives the memory back, as soon as no chat has it any more: those that do go on with it. From
     * then on [Chat.setAdapters] refuses it with [DormouseException.Closed]; to close again does
     * nothing.
     */
    override fun close(): Unit = bridge.close()
}

/**
 * An adapter, and how much of it.
 *
 * @property adapter the adapter
 * @property scale what its effect is multiplied by: 1 is as it was trained, 0 is none
 */
public data class AdapterScale(
    public val adapter: Adapter,
    public val scale: Float = 1f,
)
