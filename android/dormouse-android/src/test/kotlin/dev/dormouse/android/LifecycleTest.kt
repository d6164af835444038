package dev.dormouse.android

import android.app.Activity
import android.content.ComponentCallbacks2
import android.os.Looper
import dev.dormouse.Chat
import dev.dormouse.Dormouse
import dev.dormouse.Event
import dev.dormouse.FinishReason
import dev.dormouse.ModelSource
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.async
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.flow.onEach
import kotlinx.coroutines.flow.toList
import org.junit.Test
import org.robolectric.Robolectric
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertIs
import kotlin.test.assertTrue

internal class LifecycleTest : OnAndroid() {
    private class Closeable : AutoCloseable {
        val thread = CompletableDeferred<Thread>()
        var times = 0

        override fun close() {
            times += 1
            thread.complete(Thread.currentThread())
        }
    }

    private fun chatting(block: suspend (Chat) -> Unit) =
        within {
            Dormouse.load(ModelSource.file(scripted), oneThread).use { model -> model.newChat().use { block(it) } }
        }

    @Test
    fun `the end of the activity closes, elsewhere than on the main thread`() =
        within {
            val activity = Robolectric.buildActivity(Activity::class.java).setup()
            val other = Robolectric.buildActivity(Activity::class.java).setup()
            val closeable = Closeable()
            closeable.closeWith(activity.get())
            activity.pause().stop()
            other.pause().stop().destroy()
            assertFalse(closeable.thread.isCompleted)
            activity.destroy()
            assertTrue(closeable.thread.await() !== Looper.getMainLooper().thread)
            assertEquals(1, closeable.times)
        }

    @Test
    fun `with an activity that was destroyed before, it is closed at once`() =
        within {
            val activity = Robolectric.buildActivity(Activity::class.java).setup().pause().stop().destroy()
            val closeable = Closeable()
            closeable.closeWith(activity.get())
            closeable.thread.await()
            assertEquals(1, closeable.times)
        }

    @Test
    fun `a turn of the screen closes what belongs to the activity`() =
        within {
            val closeable = Closeable()
            val activity = Robolectric.buildActivity(Activity::class.java).setup()
            closeable.closeWith(activity.get())
            activity.recreate()
            closeable.thread.await()
            assertEquals(1, closeable.times)
        }

    @Test
    fun `a stopped activity cancels the answer, and the chat goes on`() =
        chatting { chat ->
            val activity = Robolectric.buildActivity(Activity::class.java).setup()
            chat.cancelWhenStopped(activity.get())
            repeat(2) {
                assertEquals(FinishReason.Cancelled, finished(chat) { activity.pause().stop() })
                activity.restart().resume()
                chat.setMessages(emptyList())
                assertEquals(HELLO, chat.reply("hi").text)
            }
        }

    @Test
    fun `a locked screen and short memory take nothing away`() =
        chatting { chat ->
            val activity = Robolectric.buildActivity(Activity::class.java).setup()
            chat.closeWith(activity.get())
            chat.model.closeWith(activity.get())
            @Suppress("DEPRECATION")
            val levels = listOf(ComponentCallbacks2.TRIM_MEMORY_RUNNING_CRITICAL, ComponentCallbacks2.TRIM_MEMORY_COMPLETE)
            activity.pause().stop()
            for (level in levels) app.onTrimMemory(level)
            app.onLowMemory()
            assertEquals(HELLO, chat.reply("hi").text)
            assertFalse(chat.model.isClosed)
        }

    /** How an answer without end ended, after [end] was called in the middle of it. */
    private suspend fun finished(chat: Chat, end: () -> Unit): FinishReason =
        coroutineScope {
            val begun = CompletableDeferred<Unit>()
            val events = async { chat.send("forever").onEach { begun.complete(Unit) }.toList() }
            begun.await()
            end()
            assertIs<Event.Done>(events.await().last()).finishReason
        }
}
