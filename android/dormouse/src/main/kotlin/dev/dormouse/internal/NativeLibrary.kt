package dev.dormouse.internal

import com.sun.jna.Native
import com.sun.jna.Platform
import java.io.File
import java.io.IOException

/**
 * Finds the engine's library and lets the VM load it, so that its `JNI_OnLoad` runs; JNA, which makes
 * the calls, would only open it.
 */
internal object NativeLibrary {
    private const val NAME = "dormouse_ffi"

    /** The system property with the library's path, on desktops and servers. */
    private const val PROPERTY = "dormouse.library"

    /** Where the generated code looks for another name than [NAME]. */
    private const val OVERRIDE = "uniffi.component.dormouse.libraryOverride"

    /**
     * Loads it: on Android from the app; elsewhere from the path in [PROPERTY], else from the class
     * path or JNA's library path.
     *
     * @throws UnsatisfiedLinkError when it is not there or not for this machine
     */
    fun load() {
        if (Platform.isAndroid()) {
            System.loadLibrary(NAME)
            return
        }
        val file = System.getProperty(PROPERTY)?.let(::File) ?: find()
        System.load(file.absolutePath)
        System.setProperty(OVERRIDE, file.absolutePath)
    }

    private fun find(): File =
        try {
            Native.extractFromResourcePath(NAME)
        } catch (e: IOException) {
            val error =
                UnsatisfiedLinkError(
                    "the Dormouse library is not on the class path for ${Platform.RESOURCE_PREFIX}; " +
                        "name its path in the system property $PROPERTY",
                )
            throw error.apply { initCause(e) }
        }
}
