package dev.dormouse

import dev.dormouse.internal.Bridge
import dev.dormouse.internal.ModelBridge
import dev.dormouse.internal.UniffiBridge
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive

/**
 * Language models on the device: where everything begins.
 *
 * The first use loads the engine's library and throws [UnsatisfiedLinkError] where there is none for
 * the machine. On Android the app carries it; elsewhere it is looked for at the path in the system
 * property `dormouse.library`, else on the class path.
 */
public object Dormouse {
    private val bridge: Bridge get() = UniffiBridge

    /** The version of the engine, as `major.minor.patch`. */
    public val version: String get() = bridge.version

    /**
     * Tells whether the model at [source] can be loaded with [options], from its metadata alone: no
     * weights are read.
     *
     * @throws DormouseException.NotFound when there is no such file
     * @throws DormouseException.Io when it cannot be read
     * @throws DormouseException.CorruptModel when it is damaged or no GGUF file
     * @throws DormouseException.UnsupportedModel for an architecture that is not known; what
     * only loading finds, such as a missing tensor, is for [load] to tell
     * @throws DormouseException.Template when [LoadOptions.chatTemplate] is none
     * @throws DormouseException.InvalidOptions for an option outside its range
     */
    public suspend fun plan(source: ModelSource, options: LoadOptions = LoadOptions()): Plan =
        bridge.plan(source, options)

    /**
     * Loads the model at [source]. Cancelling the coroutine ends the load.
     *
     * @param source where the file is
     * @param options how it is loaded
     * @param onProgress is given the share that is done, from 0 to 1, never less than before, and 1 at
     *   the end of a load that succeeds; it runs in the caller's coroutine context
     * @return the model, which is to be closed
     * @throws DormouseException.NotFound when there is no such file
     * @throws DormouseException.Io when it cannot be read
     * @throws DormouseException.CorruptModel when it is damaged or no GGUF file
     * @throws DormouseException.UnsupportedModel when it asks for something that the engine lacks
     * @throws DormouseException.OutOfMemory when it does not fit [LoadOptions.memory]
     * @throws DormouseException.Template when [LoadOptions.chatTemplate] is none
     * @throws DormouseException.InvalidOptions for an option outside its range
     */
    public suspend fun load(
        source: ModelSource,
        options: LoadOptions = LoadOptions(),
        onProgress: (Float) -> Unit = {},
    ): Model {
        val load = bridge.beginLoad(source, options)
        var loaded: ModelBridge? = null
        try {
            var told: Float? = null
            while (true) {
                val share = load.progress() ?: break
                onProgress(share)
                told = share
            }
            load.model { loaded = it }
            if (told != 1f) onProgress(1f)
            // Also what it was told last may have had it cancelled.
            currentCoroutineContext().ensureActive()
            return Model(checkNotNull(loaded)).also { loaded = null }
        } finally {
            // Cancelled when it was there already: nobody else could close it.
            loaded?.close()
            load.release()
        }
    }

    /**
     * Sends the engine's log records of at least the importance [level] to [sink] from now on; with no
     * sink none are made.
     *
     * @param level records of less importance are not made
     * @param sink takes a record's importance, the part of the engine that it comes from and what
     *   happened, which is never text of a prompt or an answer. It is called from any thread,
     *   of the engine's, too, which waits for it, and what it throws is dropped
     */
    public fun setLogger(
        level: LogLevel,
        sink: ((level: LogLevel, target: String, message: String) -> Unit)?,
    ) {
        bridge.setLogger(level, sink)
    }
}
