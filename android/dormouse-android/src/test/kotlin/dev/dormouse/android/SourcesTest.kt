package dev.dormouse.android

import android.content.res.AssetFileDescriptor
import android.content.res.AssetManager
import android.net.Uri
import android.os.ParcelFileDescriptor
import android.system.OsConstants
import dev.dormouse.Dormouse
import dev.dormouse.DormouseException
import dev.dormouse.Event
import dev.dormouse.FinishReason
import dev.dormouse.ModelSource
import dev.dormouse.Plan
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.async
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.toList
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import java.io.File
import java.io.FileNotFoundException
import java.util.concurrent.CountDownLatch
import java.util.zip.CRC32
import java.util.zip.ZipEntry
import java.util.zip.ZipOutputStream
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertIs
import kotlin.test.assertTrue

internal class SourcesTest : OnAndroid() {
    @get:Rule
    val folder = TemporaryFolder()

    private val model = scripted.readBytes()

    /** Asks whether it fits. */
    private suspend fun fits(open: OpenModel) {
        assertIs<Plan.Fits>(open.use { Dormouse.plan(it.source) })
    }

    /** Loads it, closes the file, and chats to the end. */
    private suspend fun chats(open: OpenModel) {
        open.use { Dormouse.load(it.source, oneThread) }.use { loaded ->
            loaded.newChat().use { chat ->
                val events = chat.send("hi").toList()
                assertEquals(HELLO, events.filterIsInstance<Event.Token>().joinToString("") { it.text })
                assertEquals(FinishReason.EndOfTurn, assertIs<Event.Done>(events.last()).finishReason)
            }
        }
    }

    @Test
    fun `a model comes from a content URI`() =
        within {
            val file = folder.newFile().apply { writeBytes(model) }
            provide { whole(file) }
            fits(ModelSource.contentUri(app, uri))
            chats(ModelSource.contentUri(app, uri))
            assertEquals(0, descriptors(file))
        }

    @Test
    fun `what is loaded does not need the file to stay open`() =
        within {
            val file = folder.newFile().apply { writeBytes(model) }
            provide { whole(file) }
            val open = ModelSource.contentUri(app, uri)
            assertEquals(1, descriptors(file))
            assertEquals(model.size.toLong(), open.source.length)
            repeat(2) { open.close() }
            assertEquals(0, descriptors(file))
            assertFailsWith<DormouseException.Io> { Dormouse.load(open.source, oneThread) }
        }

    @Test
    fun `a provider may give a part of a file`() =
        within {
            val file = folder.newFile().apply { writeBytes(ByteArray(4096) + model + ByteArray(77)) }
            provide { AssetFileDescriptor(opened(file), 4096, model.size.toLong()) }
            chats(ModelSource.contentUri(app, uri))
            assertEquals(0, descriptors(file))
        }

    @Test
    fun `a part that the file does not have is refused`() =
        within {
            val file = folder.newFile().apply { writeBytes(model) }
            for ((offset, length) in listOf(0L to model.size + 1L, 10L to model.size.toLong(), model.size + 1L to 0L, -1L to 9L)) {
                provide { AssetFileDescriptor(opened(file), offset, length) }
                val error = assertFailsWith<DormouseException.Io> { ModelSource.contentUri(app, uri) }
                assertTrue(error.what.contains("${model.size}"), error.what)
            }
            assertEquals(0, descriptors(file))
        }

    @Test
    fun `a provider that sends a stream is told`() =
        within {
            val pipe = File(folder.root, "pipe")
            assertEquals(0, ProcessBuilder("mkfifo", pipe.path).start().waitFor())
            provide {
                // Both ends, as a pipe with one waits for the other.
                AssetFileDescriptor(ParcelFileDescriptor.open(pipe, ParcelFileDescriptor.MODE_READ_WRITE), 0, -1)
            }
            val error = assertFailsWith<DormouseException.Io> { ModelSource.contentUri(app, uri) }
            assertEquals(OsConstants.ESPIPE, error.code)
            assertTrue(error.what.contains("stream") && error.what.contains("$uri"), error.what)
            assertEquals(0, descriptors(pipe))
        }

    @Test
    fun `a provider's failures are told`() =
        within {
            provide { throw FileNotFoundException("gone") }
            assertEquals("$uri", assertFailsWith<DormouseException.NotFound> { ModelSource.contentUri(app, uri) }.what)
            provide { throw SecurityException("not for you") }
            assertEquals(OsConstants.EACCES, assertFailsWith<DormouseException.Io> { ModelSource.contentUri(app, uri) }.code)
            provide { error("no network") }
            val error = assertFailsWith<DormouseException.Io> { ModelSource.contentUri(app, uri) }
            assertTrue(error.what.endsWith("no network"), error.what)
            val nobody = Uri.parse("content://nobody.at.all/x")
            assertFailsWith<DormouseException.NotFound> { ModelSource.contentUri(app, nobody) }
        }

    @Test
    fun `a file that nobody waits for is closed`() =
        within {
            val file = folder.newFile().apply { writeBytes(model) }
            val asked = CompletableDeferred<Unit>()
            val go = CountDownLatch(1)
            val given = CompletableDeferred<Unit>()
            provide {
                asked.complete(Unit)
                go.await()
                whole(file).also { given.complete(Unit) }
            }
            val opening = async { ModelSource.contentUri(app, uri) }
            asked.await()
            opening.cancel()
            // Cancelled it is at once, however long the provider takes.
            opening.join()
            go.countDown()
            given.await()
            while (descriptors(file) > 0) delay(5)
        }

    @Test
    fun `a model comes from a stored asset, out of the middle of the package`() =
        within {
            install("assets/models/scripted.gguf", ZipEntry.STORED)
            val open = ModelSource.asset(app, "models/scripted.gguf")
            assertEquals(model.size.toLong(), open.source.length)
            assertTrue(open.source.offset > 0)
            chats(open)
        }

    @Test
    fun `a compressed asset is refused with the line that helps, and a missing one is not found`() =
        within {
            install("assets/scripted.gguf", ZipEntry.DEFLATED)
            val error = assertFailsWith<DormouseException.InvalidOptions> { ModelSource.asset(app, "scripted.gguf") }
            assertTrue(error.what.contains("noCompress"), error.what)
            val missing = assertFailsWith<DormouseException.NotFound> { ModelSource.asset(app, "nothing.gguf") }
            assertEquals("asset nothing.gguf", missing.what)
        }

    /** Puts the model into a package as [name], and the package among those of the app. */
    private fun install(name: String, method: Int) {
        val apk = folder.newFile("app.apk")
        ZipOutputStream(apk.outputStream()).use { zip ->
            val entry = ZipEntry(name)
            entry.method = method
            entry.size = model.size.toLong()
            entry.crc = CRC32().apply { update(model) }.value
            zip.putNextEntry(entry)
            zip.write(model)
        }
        // Hidden from apps, but not from the system, which adds packages by it.
        val add = AssetManager::class.java.getMethod("addAssetPath", String::class.java)
        assertTrue(add.invoke(app.assets, apk.path) as Int > 0)
    }
}
