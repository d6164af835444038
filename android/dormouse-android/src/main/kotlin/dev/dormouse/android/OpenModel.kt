package dev.dormouse.android

import android.content.res.AssetFileDescriptor
import android.os.ParcelFileDescriptor
import android.system.OsConstants
import dev.dormouse.DormouseException
import dev.dormouse.ModelSource
import java.io.FileInputStream
import java.io.IOException

/**
 * A model file that Android opened, until it is closed.
 *
 * A model that is loaded from [source] has a descriptor of its own and does not mind when this one is
 * closed:
 *
 * ```kotlin
 * val model = ModelSource.contentUri(context, uri).use { Dormouse.load(it.source) }
 * ```
 */
public class OpenModel internal constructor(
    private val file: ParcelFileDescriptor,
    /** The file, or the part of one, for [dev.dormouse.Dormouse]: good until [close]. */
    public val source: ModelSource.Descriptor,
) : AutoCloseable {
    /** Closes the file; to close it again does nothing. */
    override fun close(): Unit = file.closeQuietly()
}

/** The window that [opened] is, which belongs to the result, or is closed. [name] is for errors. */
internal fun openModel(name: String, opened: AssetFileDescriptor): OpenModel {
    val file = opened.parcelFileDescriptor
    var model: OpenModel? = null
    try {
        val size = seekableSize(name, file)
        val offset = opened.startOffset
        // The offset is 0 where no length is declared.
        val length = opened.declaredLength.takeIf { it != AssetFileDescriptor.UNKNOWN_LENGTH } ?: size
        if (offset < 0 || length < 0 || length > size - offset) {
            val window = "$length bytes from $offset on in a file of $size"
            throw DormouseException.Io("cannot read $name: it is said to be $window", null)
        }
        return OpenModel(file, ModelSource.Descriptor(file.fd, offset, length)).also { model = it }
    } finally {
        if (model == null) file.closeQuietly()
    }
}

/** It was only read: there is nothing that a failure could lose. */
private fun ParcelFileDescriptor.closeQuietly() {
    try {
        close()
    } catch (_: IOException) {
        return
    }
}

/** How many bytes [file] has; an error for a pipe or a socket, which can be read from its start alone. */
private fun seekableSize(name: String, file: ParcelFileDescriptor): Long {
    // Neither is closed: on a desktop's Java that would close the descriptor, too.
    val channel = FileInputStream(file.fileDescriptor).channel
    try {
        channel.position()
    } catch (_: IOException) {
        throw DormouseException.Io(
            "cannot read $name: its provider sends a stream and no file; copy it to a file of the app's",
            OsConstants.ESPIPE,
        )
    }
    return try {
        channel.size()
    } catch (e: IOException) {
        throw DormouseException.Io("cannot read $name: ${e.message}", null)
    }
}
