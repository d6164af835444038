//! The engine's error: rich in detail, few in kinds, never carrying the text of a prompt.

use std::io;

/// What every fallible call of the engine returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong inside the engine.
///
/// The kinds are those a caller can act on; the sentence names the place. Text of prompts never
/// enters an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is damaged or not a GGUF file: `at` is the place, `why` what is wrong there.
    #[error("corrupt model: {at}: {why}")]
    CorruptModel {
        /// The part of the file: a key, a tensor, the header.
        at: String,
        /// What is wrong there.
        why: String,
    },
    /// The file is sound, but asks for something that this engine does not have.
    #[error("unsupported model: {what}")]
    UnsupportedModel {
        /// The architecture, type or feature that is missing, and those that exist.
        what: String,
    },
    /// The model has no chat template, or its template failed.
    #[error("chat template: {why}")]
    Template {
        /// What went wrong, and the fix where one is known.
        why: String,
    },
    /// The tokens do not fit the context.
    #[error("context full: {used} of {max} tokens")]
    ContextFull {
        /// Tokens that the request needs.
        used: usize,
        /// Tokens that the context holds.
        max: usize,
    },
    /// More memory is needed than the machine or the budget gives.
    #[error("out of memory: {needed} bytes needed, {budget} allowed")]
    OutOfMemory {
        /// Bytes that the request needs.
        needed: u64,
        /// Bytes that are allowed.
        budget: u64,
    },
    /// The caller passed something that cannot be used.
    #[error("invalid argument: {what}")]
    InvalidArgument {
        /// What was passed and what is wanted.
        what: String,
    },
    /// The work was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The session is closed.
    #[error("closed")]
    Closed,
    /// The session is busy with another generation.
    #[error("busy: the session is generating; cancel it or wait for its end")]
    Busy,
    /// Reading or writing failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the file's name.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A defect of the engine itself.
    #[error("internal error: {what}")]
    Internal {
        /// What was found broken.
        what: String,
        /// Where a panic began, if a hook told
        /// [`threads::note_panic_place`](crate::threads::note_panic_place).
        place: Option<String>,
    },
}

impl Error {
    /// A [`Error::CorruptModel`].
    pub fn corrupt(at: impl Into<String>, why: impl Into<String>) -> Self {
        Self::CorruptModel {
            at: at.into(),
            why: why.into(),
        }
    }

    /// A [`Error::UnsupportedModel`].
    pub fn unsupported(what: impl Into<String>) -> Self {
        Self::UnsupportedModel { what: what.into() }
    }

    /// A [`Error::InvalidArgument`].
    pub fn invalid(what: impl Into<String>) -> Self {
        Self::InvalidArgument { what: what.into() }
    }

    /// A [`Error::Internal`].
    pub fn internal(what: impl Into<String>) -> Self {
        Self::Internal {
            what: what.into(),
            place: None,
        }
    }

    /// A [`Error::Internal`] for a panic that this thread caught, with its place where it is known.
    pub(crate) fn panicked(what: impl Into<String>) -> Self {
        Self::Internal {
            what: what.into(),
            place: crate::threads::take_panic_place(),
        }
    }

    /// The name of the kind: all that a log may have, as the fields may quote what was worked on.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::CorruptModel { .. } => "corrupt model",
            Self::UnsupportedModel { .. } => "unsupported model",
            Self::Template { .. } => "chat template",
            Self::ContextFull { .. } => "context full",
            Self::OutOfMemory { .. } => "out of memory",
            Self::InvalidArgument { .. } => "invalid argument",
            Self::Cancelled => "cancelled",
            Self::Closed => "closed",
            Self::Busy => "busy",
            Self::Io { .. } => "input or output",
            Self::Internal { .. } => "internal error",
        }
    }

    /// A [`Error::Io`].
    pub fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io {
            what: what.into(),
            source,
        }
    }
}
