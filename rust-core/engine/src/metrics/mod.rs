//! What a reply cost.

mod cpu;
mod memory;

use std::time::Duration;

use serde::{Serialize, Serializer, ser::SerializeStruct};

pub use cpu::thread_cpu_time;
pub use memory::{available_memory, peak_memory};

/// What a reply cost. The clock starts when the reply is asked for, so the chat template, the
/// tokenizer and the wait for other sessions count.
///
/// As JSON: durations in seconds under names that end in `_s`, and the two rates.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Metrics {
    /// From the call to the first token chosen; none when there was none. The first text can come
    /// later, as half a character and what may begin a stop string wait.
    pub time_to_first_token: Option<Duration>,
    /// Tokens of the prompt, as they are in the context.
    pub prompt_tokens: usize,
    /// Those of them that were in the KV cache already.
    pub reused_tokens: usize,
    /// Those of them that were evaluated. With `reused_tokens` they make `prompt_tokens`, unless
    /// the reply was cancelled before.
    pub prefill_tokens: usize,
    /// From the start of work on the session's thread to the logits after the prompt.
    pub prefill_duration: Duration,
    /// Tokens that were chosen, the one that ends the model's turn included.
    pub generated_tokens: usize,
    /// From the first token chosen to the last, without `stalled_duration`:
    /// `generated_tokens - 1` steps.
    pub decode_duration: Duration,
    /// Waited for the caller to take events.
    pub stalled_duration: Duration,
    /// From the call to the end.
    pub total_duration: Duration,
    /// Tokens that were dropped to make room, of the prompt and later.
    pub dropped_tokens: usize,
    /// What was still done for the reply after it was cancelled: steps of the model that began
    /// then, and tokens that were chosen then. At most 1.
    pub tokens_after_cancel: usize,
    /// Bytes of the session's KV cache at the end.
    pub kv_bytes: u64,
    /// The most memory that the process ever had resident, in bytes, where the system tells: see
    /// [`peak_memory`].
    pub peak_memory: Option<u64>,
}

impl Metrics {
    /// Prompt tokens evaluated per second; none when there were none.
    pub fn prefill_rate(&self) -> Option<f64> {
        rate(self.prefill_tokens, self.prefill_duration)
    }

    /// Tokens per second after the first; none when there were fewer than two.
    pub fn decode_rate(&self) -> Option<f64> {
        rate(
            self.generated_tokens.saturating_sub(1),
            self.decode_duration,
        )
    }
}

fn rate(tokens: usize, duration: Duration) -> Option<f64> {
    let seconds = duration.as_secs_f64();
    (tokens > 0 && seconds > 0.0).then(|| tokens as f64 / seconds)
}

impl Serialize for Metrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Metrics", 15)?;
        let first_token = self.time_to_first_token.map(|d| d.as_secs_f64());
        fields.serialize_field("time_to_first_token_s", &first_token)?;
        fields.serialize_field("prompt_tokens", &self.prompt_tokens)?;
        fields.serialize_field("reused_tokens", &self.reused_tokens)?;
        fields.serialize_field("prefill_tokens", &self.prefill_tokens)?;
        fields.serialize_field("prefill_s", &self.prefill_duration.as_secs_f64())?;
        fields.serialize_field("prefill_tokens_per_s", &self.prefill_rate())?;
        fields.serialize_field("generated_tokens", &self.generated_tokens)?;
        fields.serialize_field("decode_s", &self.decode_duration.as_secs_f64())?;
        fields.serialize_field("decode_tokens_per_s", &self.decode_rate())?;
        fields.serialize_field("stalled_s", &self.stalled_duration.as_secs_f64())?;
        fields.serialize_field("total_s", &self.total_duration.as_secs_f64())?;
        fields.serialize_field("dropped_tokens", &self.dropped_tokens)?;
        fields.serialize_field("tokens_after_cancel", &self.tokens_after_cancel)?;
        fields.serialize_field("kv_bytes", &self.kv_bytes)?;
        fields.serialize_field("peak_memory_bytes", &self.peak_memory)?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_count_the_tokens_they_say() {
        let mut metrics = Metrics {
            prefill_tokens: 30,
            prefill_duration: Duration::from_millis(500),
            generated_tokens: 11,
            decode_duration: Duration::from_secs(2),
            ..Metrics::default()
        };
        assert_eq!(metrics.prefill_rate(), Some(60.0));
        assert_eq!(metrics.decode_rate(), Some(5.0));
        metrics.generated_tokens = 1;
        metrics.prefill_duration = Duration::ZERO;
        assert_eq!(metrics.decode_rate(), None);
        assert_eq!(metrics.prefill_rate(), None);
        metrics.generated_tokens = 0;
        assert_eq!(metrics.decode_rate(), None);
    }

    #[test]
    fn json_is_in_seconds() {
        let metrics = Metrics {
            time_to_first_token: Some(Duration::from_millis(250)),
            generated_tokens: 3,
            decode_duration: Duration::from_millis(500),
            ..Metrics::default()
        };
        let json = serde_json::to_value(&metrics).unwrap();
        assert_eq!(json["time_to_first_token_s"], 0.25);
        assert_eq!(json["decode_tokens_per_s"], 4.0);
        assert_eq!(json["prefill_tokens_per_s"], serde_json::Value::Null);
        assert_eq!(json.as_object().unwrap().len(), 15);
    }
}
