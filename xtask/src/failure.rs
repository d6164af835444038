//! One error type: a sentence that says what failed and, where there is one, the fix.

use std::fmt;
use std::io;
use std::path::Path;

/// What a command of xtask gives back.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// A worded failure; shown to the user as it is.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl Failure {
    /// A file operation that failed: `cannot WHAT PATH: why`.
    pub(crate) fn io(what: &str, path: &Path, error: &io::Error) -> Self {
        Self(format!("cannot {what} {}: {error}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}
