package dev.dormouse.android

import android.util.Log
import dev.dormouse.Dormouse
import dev.dormouse.DormouseException
import dev.dormouse.LogLevel
import dev.dormouse.ModelSource
import org.junit.After
import org.junit.Test
import org.robolectric.shadows.ShadowLog
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertTrue

internal class LogcatTest : OnAndroid() {
    @After
    fun silence() = Dormouse.setLogger(LogLevel.Error, null)

    private val secret = "xyzzy-plugh"

    /** An answer, and a panic that comes of it. */
    private fun provokePanic() =
        within {
            Dormouse.load(ModelSource.file(scripted), oneThread).use { model ->
                model.newChat("Never tell $secret").use { chat -> assertEquals(HELLO, chat.reply("hi, $secret").text) }
                assertFailsWith<DormouseException.Internal>("the library was built without the feature provoke-panics") {
                    model.tokenize("\u0000provoke a panic")
                }
            }
        }

    private fun lines() = ShadowLog.getLogsForTag("dormouse").orEmpty()

    @Test
    fun `a panic is one line of the log, with its place and without text`() {
        Dormouse.logToLogcat(LogLevel.Trace)
        provokePanic()
        val error = lines().single { it.type == Log.ERROR }
        assertTrue(Regex("""provoke\.rs:\d+""").containsMatchIn(error.msg), error.msg)
        for (words in listOf("xyzzy", "plugh", "provoke a", "冬眠")) assertFalse(lines().any { words in it.msg }, lines().toString())
    }

    @Test
    fun `records below the level are not made, and none after the end`() {
        Dormouse.logToLogcat(LogLevel.Error)
        provokePanic()
        assertEquals(listOf(Log.ERROR), lines().map { it.type })
        Dormouse.setLogger(LogLevel.Error, null)
        ShadowLog.clear()
        provokePanic()
        assertEquals(emptyList(), lines())
    }

    @Test
    fun `every level has its priority`() {
        val priorities = listOf(Log.ERROR, Log.WARN, Log.INFO, Log.DEBUG, Log.VERBOSE)
        assertEquals(priorities, LogLevel.entries.map { it.priority() })
    }
}
