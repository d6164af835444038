//! What a model takes in memory, and whether that is there.

use std::fmt::Write as _;
use std::time::Instant;

use dormouse::gguf::Gguf;
use dormouse::metrics::{available_memory, peak_memory};
use dormouse::model::{Fits, MemoryPlan};
use dormouse::tokenize::Tokenizer;
use serde_json::{Value, json};

use crate::report::bytes;

/// The plan, with what the plan cannot know.
pub(super) struct Memory {
    plan: MemoryPlan,
    /// What building the tokenizer took, measured here and now.
    tokenizer: Option<u64>,
    /// How long that took, in seconds; none for a file without a usable one.
    tokenizer_s: Option<f64>,
    /// What the system can give without swapping.
    available: Option<u64>,
}

impl Memory {
    pub(super) fn new(gguf: &Gguf, plan: MemoryPlan) -> Self {
        let available = available_memory();
        let before = peak_memory();
        let started = Instant::now();
        let built = Tokenizer::from_gguf(gguf).ok();
        let tokenizer_s = built.as_ref().map(|_| started.elapsed().as_secs_f64());
        let tokenizer = built.and_then(|_| {
            let (before, after) = (before?, peak_memory()?);
            Some(after.saturating_sub(before))
        });
        Self {
            plan,
            tokenizer,
            tokenizer_s,
            available,
        }
    }

    fn total(&self) -> u64 {
        self.plan.total() + self.tokenizer.unwrap_or(0)
    }

    fn fits(&self) -> Fits {
        self.plan.fits(self.tokenizer.unwrap_or(0), self.available)
    }

    pub(super) fn text(&self) -> String {
        let plan = &self.plan;
        let mut out = format!(
            "memory at a context of {} tokens (the model takes up to {})\n",
            plan.context_length, plan.config.context_length
        );
        let mut line = |name: &str, size: u64, note: &str| {
            let _ = writeln!(out, "  {name:<12}{:>12}  {note}", bytes(size));
        };
        line(
            "weights",
            plan.weights,
            "mapped: clean pages that the system can drop and read again",
        );
        line("KV cache", plan.kv_cache, "when the context is full");
        line("activations", plan.arena, "");
        if let Some(tokenizer) = self.tokenizer {
            line("tokenizer", tokenizer, "measured");
        }
        line("all", self.total(), "");
        let available = self.available.map_or("not known".into(), bytes);
        let verdict = match self.fits() {
            Fits::Yes => "yes",
            Fits::Tight => "only just: weights will be dropped and read again, which is slow",
            Fits::No => "no: a smaller --context or a smaller model is needed",
            Fits::Unknown => "not known on this system",
        };
        let _ = writeln!(out, "  fits here?  {verdict} (available: {available})");
        out
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "context_tokens": self.plan.context_length,
            "max_context_tokens": self.plan.config.context_length,
            "weight_bytes": self.plan.weights,
            "kv_cache_bytes": self.plan.kv_cache,
            "activation_bytes": self.plan.arena,
            "tokenizer_bytes": self.tokenizer,
            "tokenizer_s": self.tokenizer_s,
            "total_bytes": self.total(),
            "available_bytes": self.available,
            "fits": match self.fits() {
                Fits::Yes => json!("yes"),
                Fits::Tight => json!("tight"),
                Fits::No => json!("no"),
                Fits::Unknown => Value::Null,
            },
        })
    }
}
