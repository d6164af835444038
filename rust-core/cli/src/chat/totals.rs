//! What all answers of a chat cost together.

use std::fmt;
use std::time::Duration;

use dormouse::Done;

use crate::report;

/// Sums over the answers.
#[derive(Debug, Default)]
pub(super) struct Totals {
    answers: usize,
    prefill_tokens: usize,
    reused_tokens: usize,
    generated_tokens: usize,
    prefill: Duration,
    decode: Duration,
    /// Tokens that came in the time of `decode`: all but the first of each answer.
    steps: usize,
}

impl Totals {
    pub(super) fn is_empty(&self) -> bool {
        self.answers == 0
    }

    pub(super) fn add(&mut self, done: &Done) {
        let m = &done.metrics;
        self.answers += 1;
        self.prefill_tokens += m.prefill_tokens;
        self.reused_tokens += m.reused_tokens;
        self.generated_tokens += m.generated_tokens;
        self.prefill += m.prefill_duration;
        self.decode += m.decode_duration;
        self.steps += m.generated_tokens.saturating_sub(1);
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = |tokens: usize, time: Duration| {
            report::rate(
                (tokens > 0 && !time.is_zero()).then(|| tokens as f64 / time.as_secs_f64()),
            )
        };
        write!(
            f,
            "{} · prompts {} tokens new, {} reused · answers {} tokens · prefill {} · decode {}",
            self.answers,
            self.prefill_tokens,
            self.reused_tokens,
            self.generated_tokens,
            rate(self.prefill_tokens, self.prefill),
            rate(self.steps, self.decode),
        )
    }
}
