package dev.dormouse.android

import android.app.Activity
import android.app.Application.ActivityLifecycleCallbacks
import android.os.Bundle
import dev.dormouse.Chat
import kotlinx.coroutines.Dispatchers
import kotlin.coroutines.EmptyCoroutineContext

/**
 * Closes this chat or model, or whatever it is, once [activity] is destroyed; at once if it is already.
 *
 * A turn of the screen destroys an activity, too: what is to outlive that is kept in a view model or
 * in the application and closed there. A service calls `close()` in its own `onDestroy`.
 *
 * It is closed on a background thread, as that may wait for a token. Nothing but the end of the
 * activity closes it: not a locked screen, and not memory that runs short.
 */
public fun AutoCloseable.closeWith(activity: Activity) {
    val callbacks =
        object : ActivityCallbacks(activity) {
            // Twice does no harm: what we have is closed once.
            override fun destroyed() = Dispatchers.IO.dispatch(EmptyCoroutineContext) { close() }
        }
    callbacks.register()
    // Then its callback has run before we were there to hear it.
    if (activity.isDestroyed) callbacks.onActivityDestroyed(activity)
}

/**
 * Cancels this chat's answer each time that [activity] is stopped, as it is behind another app or a
 * locked screen. What was said so far stays, and the next `send` goes on from it.
 *
 * An answer that is to go on in the background needs none of this, but a foreground service.
 */
public fun Chat.cancelWhenStopped(activity: Activity) {
    val callbacks =
        object : ActivityCallbacks(activity) {
            override fun stopped() = cancel()
        }
    callbacks.register()
    if (activity.isDestroyed) callbacks.onActivityDestroyed(activity)
}

/** What happens to [activity], and to no other. */
private abstract class ActivityCallbacks(private val activity: Activity) : ActivityLifecycleCallbacks {
    open fun stopped() = Unit

    open fun destroyed() = Unit

    fun register() = activity.application.registerActivityLifecycleCallbacks(this)

    override fun onActivityStopped(activity: Activity) {
        if (activity === this.activity) stopped()
    }

    override fun onActivityDestroyed(activity: Activity) {
        if (activity !== this.activity) return
        activity.application.unregisterActivityLifecycleCallbacks(this)
        destroyed()
    }

    override fun onActivityCreated(activity: Activity, savedInstanceState: Bundle?) = Unit

    override fun onActivityStarted(activity: Activity) = Unit

    override fun onActivityResumed(activity: Activity) = Unit

    override fun onActivityPaused(activity: Activity) = Unit

    override fun onActivitySaveInstanceState(activity: Activity, outState: Bundle) = Unit
}
