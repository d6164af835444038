package dev.dormouse.android

import android.util.Log
import dev.dormouse.Dormouse
import dev.dormouse.LogLevel

/** The tag in logcat. */
private const val TAG = "dormouse"

/**
 * Sends the engine's log records to logcat from now on, under the tag `dormouse`, in place of a sink
 * set before. Text of a prompt or an answer is never among them.
 *
 * `Dormouse.setLogger(level, null)` ends it.
 *
 * @param level records of less importance are not made; [LogLevel.Trace] comes as verbose
 */
public fun Dormouse.logToLogcat(level: LogLevel = LogLevel.Info) {
    setLogger(level) { importance, target, message -> Log.println(importance.priority(), TAG, "$target: $message") }
}

internal fun LogLevel.priority(): Int =
    when (this) {
        LogLevel.Error -> Log.ERROR
        LogLevel.Warn -> Log.WARN
        LogLevel.Info -> Log.INFO
        LogLevel.Debug -> Log.DEBUG
        LogLevel.Trace -> Log.VERBOSE
    }
