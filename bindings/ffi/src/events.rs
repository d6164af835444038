//! What happens in a reply.

use dormouse::session;

use crate::messages::ToolCall;

/// Something that happened in a reply. Complete from the start: kinds that this engine does not
/// make yet are there, so that nobody's exhaustive match breaks when it does.
#[derive(Debug, Clone, PartialEq, uniffi::Enum)]
pub enum Event {
    /// More of the answer: whole characters, never empty.
    Token {
        /// The text.
        text: String,
    },
    /// More of what the model thinks before it answers.
    Reasoning {
        /// The text.
        text: String,
    },
    /// The model asks for a tool.
    ToolCall {
        /// Which, and with what.
        call: ToolCall,
    },
    /// The governor changed the limits under which the reply is computed.
    Throttled {
        /// Why.
        reason: ThrottleReason,
        /// The limits from here on.
        limits: Limits,
    },
    /// The reply is at its end; nothing follows.
    Done {
        /// What it cost.
        metrics: Metrics,
        /// Why it ended.
        finish_reason: FinishReason,
        /// The seed that was used: with it the same reply can be had again.
        seed: u64,
    },
}

/// Why the governor set limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum ThrottleReason {
    /// The device is hot.
    Heat,
    /// The battery is low.
    Battery,
    /// The system asks to save power.
    LowPower,
    /// The system is short of memory.
    Memory,
    /// The app is in the background.
    Background,
    /// The limits were lifted.
    Recovered,
}

/// Limits under which a reply is computed; what is absent is not limited.
#[derive(Debug, Clone, PartialEq, Default, uniffi::Record)]
pub struct Limits {
    /// Compute threads.
    pub threads: Option<u32>,
    /// Share of the time in which is computed, above 0 up to 1.
    pub duty_cycle: Option<f32>,
    /// Tokens per second.
    pub tokens_per_second: Option<f32>,
    /// Nothing is computed until this is lifted.
    pub paused: bool,
}

/// Why a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum FinishReason {
    /// The model ended its turn.
    EndOfTurn,
    /// The model ended its turn with calls of tools, which now want results.
    ToolCalls,
    /// A stop string came.
    StopString,
    /// The limit on tokens was reached.
    MaxTokens,
    /// The context is full, and its policy is to stop.
    ContextFull,
    /// It was cancelled, or the chat was closed.
    Cancelled,
}

impl From<session::FinishReason> for FinishReason {
    fn from(reason: session::FinishReason) -> Self {
        use session::FinishReason as R;
        match reason {
            R::ToolCalls => Self::ToolCalls,
            R::StopString => Self::StopString,
            R::MaxTokens => Self::MaxTokens,
            R::ContextFull => Self::ContextFull,
            R::Cancelled => Self::Cancelled,
            // The engine's enum may grow; a new reason is given a place here with the change.
            _ => Self::EndOfTurn,
        }
    }
}

/// What a reply cost: durations in seconds, sizes in bytes.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Metrics {
    /// From the call to the first token chosen; none when there was none.
    pub time_to_first_token: Option<f64>,
    /// Tokens of the prompt, as they are in the context.
    pub prompt_tokens: u64,
    /// Those of them that were in the KV cache already.
    pub reused_tokens: u64,
    /// Those of them that were evaluated.
    pub prefill_tokens: u64,
    /// How long that took.
    pub prefill_seconds: f64,
    /// Prompt tokens evaluated per second; none when there were none.
    pub prefill_rate: Option<f64>,
    /// Tokens that were chosen, the one that ends the model's turn included.
    pub generated_tokens: u64,
    /// From the first token chosen to the last.
    pub decode_seconds: f64,
    /// Tokens per second after the first; none when there were fewer than two.
    pub decode_rate: Option<f64>,
    /// From the call to the end.
    pub total_seconds: f64,
    /// How long the engine waited for the caller to take events.
    pub stalled_seconds: f64,
    /// Tokens dropped from the context to make room.
    pub dropped_tokens: u64,
    /// Tokens whose computation began after the reply was cancelled.
    pub tokens_after_cancel: u64,
    /// Bytes of the chat's KV cache at the end.
    pub kv_bytes: u64,
    /// The most memory that the process ever had resident, where the system tells.
    pub peak_memory: Option<u64>,
}

impl From<dormouse::Metrics> for Metrics {
    fn from(m: dormouse::Metrics) -> Self {
        Self {
            time_to_first_token: m.time_to_first_token.map(|d| d.as_secs_f64()),
            prompt_tokens: m.prompt_tokens as u64,
            reused_tokens: m.reused_tokens as u64,
            prefill_tokens: m.prefill_tokens as u64,
            prefill_seconds: m.prefill_duration.as_secs_f64(),
            prefill_rate: m.prefill_rate(),
            generated_tokens: m.generated_tokens as u64,
            decode_seconds: m.decode_duration.as_secs_f64(),
            decode_rate: m.decode_rate(),
            total_seconds: m.total_duration.as_secs_f64(),
            stalled_seconds: m.stalled_duration.as_secs_f64(),
            dropped_tokens: m.dropped_tokens as u64,
            tokens_after_cancel: m.tokens_after_cancel as u64,
            kv_bytes: m.kv_bytes,
            peak_memory: m.peak_memory,
        }
    }
}

impl Event {
    /// The engine's event; none for one of a kind that has no place here yet.
    pub(crate) fn of(event: session::Event) -> Option<Self> {
        Some(match event {
            session::Event::Text(text) => Self::Token { text },
            session::Event::Reasoning(text) => Self::Reasoning { text },
            session::Event::ToolCall(call) => Self::ToolCall { call: call.into() },
            session::Event::Done(done) => Self::Done {
                metrics: done.metrics.into(),
                finish_reason: done.finish.into(),
                seed: done.seed,
            },
            _ => return None,
        })
    }
}
