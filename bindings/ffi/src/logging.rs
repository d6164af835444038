//! The `log` crate's records, handed to the platform's log.

use std::sync::{Arc, Once, PoisonError, RwLock};

/// How important a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something is odd.
    Warn,
    /// What happens, in outline.
    Info,
    /// What happens, in detail.
    Debug,
    /// Everything.
    Trace,
}

/// Why a sink failed; nothing is done about it.
#[derive(Debug, thiserror::Error, uniffi::Error)]
pub enum LogSinkError {
    /// The platform's code threw.
    #[error("the log sink failed")]
    Failed,
}

impl From<uniffi::UnexpectedUniFFICallbackError> for LogSinkError {
    fn from(_: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Failed
    }
}

/// Where records go: logcat, the unified log, a server's logger. Called from any thread.
#[uniffi::export(foreign)]
pub trait LogSink: Send + Sync {
    /// Takes one record. It never has text of a prompt or an answer in it.
    fn log(&self, level: LogLevel, target: String, message: String) -> Result<(), LogSinkError>;
}

static SINK: RwLock<Option<Arc<dyn LogSink>>> = RwLock::new(None);

struct ToSink;

impl log::Log for ToSink {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        // The lock is not held while the platform's code runs, which may set another sink.
        let sink = SINK.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(sink) = sink {
            let level = match record.level() {
                log::Level::Error => LogLevel::Error,
                log::Level::Warn => LogLevel::Warn,
                log::Level::Info => LogLevel::Info,
                log::Level::Debug => LogLevel::Debug,
                log::Level::Trace => LogLevel::Trace,
            };
            // A log that cannot be written is no reason to fail.
            let _ = sink.log(level, record.target().to_owned(), record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// Sends records of at least this importance to `sink` from now on; without one, none are made.
#[uniffi::export]
pub fn set_log_sink(sink: Option<Arc<dyn LogSink>>, level: LogLevel) {
    static ONCE: Once = Once::new();
    // Fails only where a program that links this as a Rust library has its own logger: it stays.
    ONCE.call_once(|| drop(log::set_logger(&ToSink)));
    crate::guard::install();
    let filter = match (&sink, level) {
        (None, _) => log::LevelFilter::Off,
        (_, LogLevel::Error) => log::LevelFilter::Error,
        (_, LogLevel::Warn) => log::LevelFilter::Warn,
        (_, LogLevel::Info) => log::LevelFilter::Info,
        (_, LogLevel::Debug) => log::LevelFilter::Debug,
        (_, LogLevel::Trace) => log::LevelFilter::Trace,
    };
    *SINK.write().unwrap_or_else(PoisonError::into_inner) = sink;
    log::set_max_level(filter);
}
