//! What the tests of sessions on real models share.
#![allow(dead_code, clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use dormouse::model::Model;
use dormouse::session::{TokenMask, TokenSet};
use dormouse::template::Message;
use dormouse::{Done, GenerateOptions, Result, SamplerOptions, Session, SessionOptions};

use crate::real::SMOLLM2;

pub(crate) static MODEL: LazyLock<Model> = LazyLock::new(|| SMOLLM2.load(|_| {}));

pub(crate) fn greedy(max_tokens: usize) -> GenerateOptions {
    let mut options = GenerateOptions::default();
    options.sampler = SamplerOptions::greedy();
    options.max_tokens = Some(max_tokens);
    options
}

pub(crate) fn seeded(seed: u64, max_tokens: usize) -> GenerateOptions {
    let mut options = greedy(max_tokens);
    options.sampler = SamplerOptions::default();
    options.sampler.seed = Some(seed);
    options
}

pub(crate) fn session_with(change: impl FnOnce(&mut SessionOptions)) -> Session {
    let mut options = SessionOptions::default();
    change(&mut options);
    Session::new(&MODEL, options).unwrap()
}

pub(crate) fn session() -> Session {
    session_with(|_| {})
}

pub(crate) fn chat(session: &Session, text: &str, options: &GenerateOptions) -> (String, Done) {
    let generation = session.chat(&[Message::user(text)], options).unwrap();
    generation.finish().unwrap()
}

/// A mask that allows everything, or digits alone, and counts the tokens it was asked for.
#[derive(Default)]
pub(crate) struct Watch {
    pub(crate) asked: AtomicUsize,
    pub(crate) allowed: Option<Vec<u32>>,
}

impl TokenMask for Watch {
    fn apply(&self, _generated: &[u32], allowed: &mut TokenSet) -> Result<()> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(tokens) = &self.allowed {
            allowed.clear();
            tokens.iter().for_each(|&token| allowed.insert(token));
        }
        Ok(())
    }
}

/// An endless reply, and the count of its tokens.
pub(crate) fn endless() -> (GenerateOptions, Arc<Watch>) {
    let watch = Arc::new(Watch::default());
    let mut options = seeded(1, 3000);
    // No end of turn.
    let ends = MODEL.tokenizer().end_of_generation();
    options.sampler.logit_bias = ends.iter().map(|&id| (id, f32::NEG_INFINITY)).collect();
    options.mask = Some(watch.clone());
    (options, watch)
}

pub(crate) fn wait_for(watch: &Watch, tokens: usize) {
    let started = Instant::now();
    while watch.asked.load(Ordering::SeqCst) < tokens {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "no tokens come"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) const QUESTION: &str =
    "Tell me a short story about a dormouse that sleeps through the winter.";
