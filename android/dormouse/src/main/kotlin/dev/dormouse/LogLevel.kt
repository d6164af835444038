package dev.dormouse

/** How important a log record is. */
public enum class LogLevel {
    /** Something failed. */
    Error,

    /** Something is odd. */
    Warn,

    /** What happens, in outline. */
    Info,

    /** What happens, in detail. */
    Debug,

    /** Everything. */
    Trace,
}
