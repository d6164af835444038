//! Logs on stderr, as `DORMOUSE_LOG` asks.

use std::io::Write;

/// Starts the logger: warnings and errors, or what `DORMOUSE_LOG` names.
pub(crate) fn start() {
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Warn)
        .parse_env("DORMOUSE_LOG")
        .format(|out, record| {
            // The line editor logs what is typed, and prompts have no place in a log.
            if record.target().starts_with("rustyline") {
                return Ok(());
            }
            let level = record.level().as_str().to_lowercase();
            writeln!(out, "{level}: {}: {}", record.target(), record.args())
        })
        .init();
}
