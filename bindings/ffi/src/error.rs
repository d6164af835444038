//! The public error: a stable kind, and the fields that a caller acts on.

use std::io;

/// Within this crate it is the error; the generated code must not call it that, as both languages
/// have an `Error` or `Exception` of their own.
pub(crate) use Failure as Error;

/// What every fallible call returns.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed. No text of a prompt, an answer or a message is ever in it.
#[derive(Debug, Clone, thiserror::Error, uniffi::Error)]
pub enum Failure {
    /// There is no such file.
    #[error("not found: {what}")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// Reading or writing failed.
    #[error("{what}")]
    Io {
        /// What was being done, and the system's answer.
        what: String,
        /// The system's error number, where there is one.
        code: Option<i32>,
    },
    /// The file is damaged or not a GGUF file.
    #[error("corrupt model: {place}: {why}")]
    CorruptModel {
        /// The part of the file: a key, a tensor, the header.
        place: String,
        /// What is wrong there.
        why: String,
    },
    /// The file is sound, but asks for something that this engine does not have.
    #[error("unsupported model: {what}")]
    UnsupportedModel {
        /// The architecture, type or feature that is missing, and those that exist.
        what: String,
    },
    /// The model has no chat template, or it failed or refused the conversation.
    #[error("chat template: {why}")]
    Template {
        /// What went wrong, and the fix where one is known.
        why: String,
    },
    /// More memory is needed than the budget or the machine gives.
    #[error("out of memory: {needed} bytes needed, {budget} allowed")]
    OutOfMemory {
        /// Bytes that the request needs.
        needed: u64,
        /// Bytes that are allowed.
        budget: u64,
    },
    /// The prompt does not fit the context.
    #[error("context full: {used} of {max} tokens")]
    ContextFull {
        /// Tokens that the request needs.
        used: u64,
        /// Tokens that the context holds.
        max: u64,
    },
    /// An option or argument cannot be used.
    #[error("invalid options: {what}")]
    InvalidOptions {
        /// What was passed and what is wanted.
        what: String,
    },
    /// The chat is answering already.
    #[error("busy: the chat is answering; cancel the answer or wait for its end")]
    Busy,
    /// The work was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The model or chat is closed.
    #[error("closed")]
    Closed,
    /// A defect of Dormouse itself.
    #[error("internal error at {place}: {what}")]
    Internal {
        /// The source file and line, where they are known.
        place: String,
        /// What was found broken.
        what: String,
    },
}

impl Failure {
    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Self::InvalidOptions { what: what.into() }
    }
}

impl From<dormouse::Error> for Failure {
    fn from(error: dormouse::Error) -> Self {
        use dormouse::Error as E;
        match error {
            E::CorruptModel { at, why } => Self::CorruptModel { place: at, why },
            E::UnsupportedModel { what } => Self::UnsupportedModel { what },
            E::Template { why } => Self::Template { why },
            E::ContextFull { used, max } => Self::ContextFull {
                used: used as u64,
                max: max as u64,
            },
            E::OutOfMemory { needed, budget } => Self::OutOfMemory { needed, budget },
            E::InvalidArgument { what } => Self::invalid(what),
            E::Cancelled => Self::Cancelled,
            E::Closed => Self::Closed,
            E::Busy => Self::Busy,
            E::Io { what, source } if source.kind() == io::ErrorKind::NotFound => {
                Self::NotFound { what }
            }
            E::Io { what, source } => Self::Io {
                code: source.raw_os_error(),
                what: format!("{what}: {source}"),
            },
            E::Internal { what, place } => Self::Internal {
                place: place.unwrap_or_else(|| "engine".to_owned()),
                what,
            },
            // The engine's enum may grow; a new kind is given a place here with the change.
            other => Self::Internal {
                place: "engine".to_owned(),
                what: other.to_string(),
            },
        }
    }
}
