package dev.dormouse.android

import android.app.Application
import android.content.ContentProvider
import android.content.ContentValues
import android.content.res.AssetFileDescriptor
import android.database.Cursor
import android.net.Uri
import android.os.ParcelFileDescriptor
import dev.dormouse.LoadOptions
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.runner.RunWith
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.annotation.Config
import java.io.File
import java.io.FileNotFoundException
import kotlin.test.fail
import kotlin.time.Duration.Companion.seconds

/** On a simulated Android 14, with the real library. */
@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34], manifest = Config.NONE)
internal abstract class OnAndroid {
    protected val app: Application get() = RuntimeEnvironment.getApplication()
}

/** Says what its script has it say; see the engine's example `tiny_models`. */
internal val scripted: File =
    File(
        System.getProperty("dormouse.tinyModels")?.takeUnless { it.isEmpty() || it.startsWith("\${") }
            ?: fail("set DORMOUSE_TINY_MODELS to the folder that `cargo run -p dormouse --example tiny_models -- DIR` filled"),
        "scripted.gguf",
    )

internal const val HELLO = "Hello 🐭 from the dormouse: 冬眠!"

internal val oneThread = LoadOptions(threads = 1)

internal fun within(block: suspend CoroutineScope.() -> Unit): Unit = runBlocking { withTimeout(60.seconds, block) }

/** A provider that answers with what [open] gives. */
internal class Files : ContentProvider() {
    lateinit var open: () -> AssetFileDescriptor

    override fun onCreate() = true

    override fun openAssetFile(uri: Uri, mode: String): AssetFileDescriptor {
        if (mode != "r") throw FileNotFoundException("only to be read")
        return open()
    }

    override fun getType(uri: Uri) = "application/octet-stream"

    override fun query(uri: Uri, p: Array<String>?, s: String?, a: Array<String>?, o: String?): Cursor? = null

    override fun insert(uri: Uri, values: ContentValues?): Uri? = null

    override fun delete(uri: Uri, s: String?, a: Array<String>?) = 0

    override fun update(uri: Uri, v: ContentValues?, s: String?, a: Array<String>?) = 0
}

internal val uri: Uri = Uri.parse("content://dev.dormouse.files/model.gguf")

/** Registers a provider for [uri]. */
internal fun provide(open: () -> AssetFileDescriptor) {
    Robolectric.buildContentProvider(Files::class.java).create("dev.dormouse.files").get().open = open
}

internal fun opened(file: File): ParcelFileDescriptor = ParcelFileDescriptor.open(file, ParcelFileDescriptor.MODE_READ_ONLY)

/** The whole of [file]. */
internal fun whole(file: File) = AssetFileDescriptor(opened(file), 0, AssetFileDescriptor.UNKNOWN_LENGTH)

/** The descriptors that are open for [file]. */
internal fun descriptors(file: File): Int =
    File("/proc/self/fd").listFiles().orEmpty().count { runCatching { it.canonicalFile }.getOrNull() == file.canonicalFile }
