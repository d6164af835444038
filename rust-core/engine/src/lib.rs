//! Runs language models on the device: GGUF files, quantized inference, chat sessions.
//!
//! The rooms, in the order data flows: [`gguf`] reads the file, `weights` decides where bytes
//! live, `tokenize` and `template` turn messages into tokens, `model` computes logits, `session`
//! holds the conversation, `metrics` says what it cost.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
pub mod evaluate;
pub mod gguf;
pub mod metrics;
pub mod model;
pub mod session;
pub mod template;
pub mod tokenize;
pub mod weights;

pub use error::{Error, Result};
pub use metrics::Metrics;
pub use session::{
    Chat, Done, Event, FinishReason, GenerateOptions, Generation, SamplerOptions, Session,
    SessionOptions,
};
