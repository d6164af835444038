//! The session's rules over a decoder that hashes.

mod chat;
mod context;
mod flow;
mod lifecycle;
mod prefix;
mod reply;

use std::sync::Arc;

use super::testing::{END, Hasher, Spy, VOCABULARY, session, text};
use super::*;
use crate::model::Decoder;

fn greedy(max_tokens: usize) -> GenerateOptions {
    GenerateOptions {
        sampler: SamplerOptions::greedy(),
        max_tokens: Some(max_tokens),
        ..GenerateOptions::default()
    }
}

fn seeded(seed: u64, max_tokens: usize) -> GenerateOptions {
    GenerateOptions {
        sampler: SamplerOptions {
            seed: Some(seed),
            repetition_penalty: 1.1,
            ..SamplerOptions::default()
        },
        max_tokens: Some(max_tokens),
        ..GenerateOptions::default()
    }
}

/// A reply without a session: token by token, `prompt` first. The tokens it chose.
fn naive(prompt: &[u32], options: &GenerateOptions) -> Vec<u32> {
    let (mut decoder, _) = Hasher::new(usize::MAX, usize::MAX);
    let mut sampler = Sampler::new(options.sampler.clone(), VOCABULARY).unwrap();
    let mut all = prompt.to_vec();
    let mut logits = vec![0.0; VOCABULARY];
    decoder.forward(prompt, Some(&mut logits)).unwrap();
    while all.len() - prompt.len() < options.max_tokens.unwrap() {
        let token = sampler.sample(&mut logits, &all, None).unwrap();
        all.push(token);
        if token == END {
            break;
        }
        decoder.forward(&[token], Some(&mut logits)).unwrap();
    }
    all.split_off(prompt.len())
}

/// The cache's true content is what the session believes.
fn assert_in_step(session: &Session, spy: &Spy) {
    assert_eq!(session.tokens().unwrap(), spy.tokens());
}
