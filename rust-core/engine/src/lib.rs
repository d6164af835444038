#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
pub mod evaluate;
pub mod gguf;
pub mod metrics;
pub mod model;
pub mod session;
pub mod template;
pub mod threads;
pub mod tokenize;
pub mod weights;

pub use error::{Error, Result};
pub use metrics::Metrics;
pub use session::{
    Chat, Done, Event, FinishReason, GenerateOptions, Generation, SamplerOptions, Session,
    SessionOptions,
};
