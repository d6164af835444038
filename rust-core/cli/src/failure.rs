//! Why a command ended: one sentence, a hint at the fix, an exit code.

use crate::tell::tell;
use std::io;
use std::process::ExitCode;

use dormouse::Error;

/// The exit codes, as `--help` lists them.
pub(crate) mod code {
    pub(crate) const RUNTIME: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const MODEL: u8 = 3;
    pub(crate) const DOES_NOT_FIT: u8 = 4;
    pub(crate) const STOPPED: u8 = 130;
}

/// What a command returns.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// A failure to report to the user.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    hint: Option<String>,
    code: u8,
    /// The reader of our output has gone; there is nobody to tell.
    quiet: bool,
}

impl Failure {
    /// Something went wrong while running.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::with_code(code::RUNTIME, message)
    }

    /// The command line asks for something that cannot be.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::with_code(code::USAGE, message)
    }

    pub(crate) fn with_code(code: u8, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            code,
            quiet: false,
        }
    }

    /// Adds what the user can do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A file that could not be read or written.
    pub(crate) fn file(doing: &str, path: &std::path::Path, error: &io::Error) -> Self {
        Self::new(format!("cannot {doing} {}: {error}", path.display()))
    }

    /// Writing to stdout failed. If its reader closed the pipe, that is how it says "enough".
    pub(crate) fn stdout(error: &io::Error) -> Self {
        Self {
            quiet: error.kind() == io::ErrorKind::BrokenPipe,
            ..Self::new(format!("cannot write to stdout: {error}"))
        }
    }

    /// Whether nobody reads our output any more.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Puts the failure on stderr.
    pub(crate) fn print(&self) {
        tell!("error: {}", self.message);
        if let Some(hint) = &self.hint {
            tell!("hint: {hint}");
        }
    }

    /// Puts the failure on stderr and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if self.quiet {
            return ExitCode::SUCCESS;
        }
        self.print();
        ExitCode::from(self.code)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::CorruptModel { .. } | Error::UnsupportedModel { .. } => code::MODEL,
            Error::ContextFull { .. } | Error::OutOfMemory { .. } => code::DOES_NOT_FIT,
            Error::InvalidArgument { .. } => code::USAGE,
            _ => code::RUNTIME,
        };
        let failure = Self::with_code(code, error.to_string());
        match error {
            // It says what is wrong with it; that it is an argument is plain.
            Error::InvalidArgument { what } => Self::usage(what),
            Error::ContextFull { .. } => failure.hint(
                "--context N makes the context larger, as far as the model goes; \
                 --context-full shift drops the oldest tokens",
            ),
            Error::OutOfMemory { .. } => {
                failure.hint("a smaller --context or --kv f16 needs less memory")
            }
            _ => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_an_engine_error_decides_the_exit_code() {
        let code = |error: Error| Failure::from(error).code;
        assert_eq!(code(Error::corrupt("header", "x")), code::MODEL);
        assert_eq!(code(Error::unsupported("x")), code::MODEL);
        assert_eq!(code(Error::invalid("x")), code::USAGE);
        assert_eq!(
            code(Error::ContextFull { used: 2, max: 1 }),
            code::DOES_NOT_FIT
        );
        assert_eq!(code(Error::internal("x")), code::RUNTIME);
    }

    #[test]
    fn only_a_closed_pipe_is_quiet() {
        let failure = |kind: io::ErrorKind| Failure::stdout(&kind.into());
        assert!(failure(io::ErrorKind::BrokenPipe).is_quiet());
        assert!(!failure(io::ErrorKind::StorageFull).is_quiet());
    }
}
