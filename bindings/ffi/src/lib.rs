//! The engine across the FFI. This is not API: the Kotlin and Swift layers over it are.
//!
//! Records and enums carry values, handles carry the engine's objects, [`Failure`] has a kind for
//! each thing that a caller acts on. Replies are pulled: [`Reply::next`] gives the events so far.
//! Whatever can take longer than a blink is async and runs on a thread of its own, as the caller's
//! executor may be a user interface; whatever else is synchronous and short. A panic ends in
//! [`Failure::Internal`], and never unwinds into the caller.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod adapter;
mod call;
mod chat;
mod embed;
mod error;
mod events;
mod guard;
#[cfg(feature = "jvm")]
mod jvm;
mod load;
mod logging;
mod messages;
mod model;
mod offload;
mod options;
mod plan;
#[cfg(feature = "provoke-panics")]
mod provoke;
mod reply;

pub use adapter::{AdapterHandle, ScaledAdapter};
pub use call::CallToken;
pub use chat::ChatHandle;
pub use embed::{EmbedTask, Pooling};
pub use error::Failure;
pub use events::{Event, FinishReason, Limits, Metrics, ThrottleReason};
pub use load::{LoadTask, begin_load};
pub use logging::{LogLevel, LogSink, LogSinkError, set_log_sink};
pub use messages::{Message, Part, Role, ToolCall};
pub use model::{ModelHandle, ModelInfo};
pub use options::{
    ChatSettings, EnergyPolicy, FileAccess, LoadSettings, ModelSource, ReplySettings,
    SamplerSettings, Tool, WhenFull,
};
pub use plan::{MemoryNeeds, Plan, plan};
pub use reply::Reply;

uniffi::setup_scaffolding!("dormouse");

/// The version of the engine, as `major.minor.patch`.
#[uniffi::export]
pub fn engine_version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}
