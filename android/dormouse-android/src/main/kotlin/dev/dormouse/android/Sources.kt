package dev.dormouse.android

import android.content.ContentResolver
import android.content.Context
import android.content.res.AssetFileDescriptor
import android.net.Uri
import android.os.CancellationSignal
import android.system.OsConstants
import dev.dormouse.DormouseException
import dev.dormouse.FileAccess
import dev.dormouse.ModelSource
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.suspendCancellableCoroutine
import java.io.FileNotFoundException
import java.io.IOException
import kotlin.coroutines.resumeWithException

/**
 * Opens the model at [uri], as the system's file picker returns it. Nothing is copied; but loading reads
 * in a file that other apps can write, see [FileAccess].
 *
 * The provider is asked on a background thread, as it may take its time. Cancelling the coroutine
 * cancels the request.
 *
 * @param context any context of the app
 * @param uri a URI with one of the schemes `content`, `file` and `android.resource`
 * @return the open file, which is to be closed
 * @throws DormouseException.NotFound when there is no such file
 * @throws DormouseException.Io when the app may not read it, or when the provider fails or sends a
 *   stream in place of a file, as those of some cloud services do
 */
public suspend fun ModelSource.Companion.contentUri(context: Context, uri: Uri): OpenModel {
    val resolver = context.contentResolver
    return inBackground { signal -> openModel(uri.toString(), openUri(resolver, uri, signal)) }
}

/**
 * Opens the asset [name] of the app, which must be stored without compression:
 * `androidResources { noCompress += "gguf" }`. Nothing is copied.
 *
 * @param context any context of the app
 * @param name the path below the folder of assets
 * @return the open file, which is to be closed
 * @throws DormouseException.NotFound when there is no such asset
 * @throws DormouseException.InvalidOptions when it is compressed
 * @throws DormouseException.Io when it cannot be read
 */
public suspend fun ModelSource.Companion.asset(context: Context, name: String): OpenModel {
    val assets = context.assets
    return inBackground {
        val opened =
            try {
                assets.openFd(name)
            } catch (_: IOException) {
                throw if (exists { assets.open(name) }) compressed(name) else DormouseException.NotFound("asset $name")
            }
        openModel("asset $name", opened)
    }
}

private fun exists(open: () -> AutoCloseable): Boolean =
    try {
        open().close()
        true
    } catch (_: IOException) {
        false
    }

private fun compressed(name: String) =
    DormouseException.InvalidOptions(
        "the asset $name is compressed, want it stored: androidResources { noCompress += \"gguf\" }",
    )

/** Whatever goes wrong in a provider, which is another app's code, is a failure to read. */
@Suppress("TooGenericExceptionCaught", "ThrowsCount")
private fun openUri(resolver: ContentResolver, uri: Uri, signal: CancellationSignal): AssetFileDescriptor =
    try {
        resolver.openAssetFileDescriptor(uri, "r", signal)
    } catch (_: FileNotFoundException) {
        null
    } catch (_: SecurityException) {
        throw DormouseException.Io("cannot read $uri: the app has no permission", OsConstants.EACCES)
    } catch (e: RuntimeException) {
        throw DormouseException.Io("cannot read $uri: its provider failed: ${e.message ?: e.javaClass.name}", null)
    } ?: throw DormouseException.NotFound(uri.toString())

/** Runs [open] where it may block; what nobody waits for any more is closed. */
private suspend fun inBackground(open: (CancellationSignal) -> OpenModel): OpenModel =
    suspendCancellableCoroutine { continuation ->
        val signal = CancellationSignal()
        continuation.invokeOnCancellation { signal.cancel() }
        Dispatchers.IO.dispatch(continuation.context) {
            runCatching { open(signal) }
                .onSuccess { continuation.resume(it) { _, unwanted, _ -> unwanted.close() } }
                .onFailure { continuation.resumeWithException(it) }
        }
    }
