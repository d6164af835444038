//! The numerics contract on both real models: a position's logits are the same bits however the
//! prompt is cut, however many threads compute, with a cache cut back and filled again, and in
//! a fork.
#![cfg(feature = "real-models")]
#![allow(clippy::unwrap_used)]

mod real;

use dormouse::evaluate::LogitsReader;
use dormouse::model::{ContextOptions, Decoder, KvType, Model};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use real::{GEMMA3, Real, SMOLLM2};

const TOKENS: usize = 160;

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|logit| logit.to_bits()).collect()
}

fn tokens(real: Real) -> Vec<u32> {
    LogitsReader::open(&real.fixture(".logits"))
        .unwrap()
        .tokens()[..TOKENS]
        .to_vec()
}

/// The logits of the last position, with the prompt cut into chunks of the given sizes, again
/// and again in their order.
fn run(decoder: &mut dyn Decoder, tokens: &[u32], sizes: &[usize]) -> Vec<u32> {
    let mut logits = vec![0.0; decoder.vocab_size()];
    let mut sizes = sizes.iter().cycle();
    let mut rest = tokens;
    while !rest.is_empty() {
        let size = (*sizes.next().unwrap())
            .min(rest.len())
            .min(decoder.max_chunk());
        let (now, later) = rest.split_at(size);
        decoder
            .forward(now, later.is_empty().then_some(&mut logits[..]))
            .unwrap();
        rest = later;
    }
    bits(&logits)
}

fn check(real: Real, cases: u32) {
    let tokens = tokens(real);
    let models: Vec<Model> = (1..=3)
        .map(|threads| real.load(|options| options.threads = Some(threads)))
        .collect();
    let open = |model: &Model| model.decoder(&ContextOptions::default()).unwrap();

    // All positions in one pass: what every other way of computing them must equal.
    let mut rows = Vec::new();
    dormouse::evaluate::for_each_position(&mut *open(&models[0]), &tokens, |_, logits| {
        rows.push(bits(logits));
        Ok(())
    })
    .unwrap();

    let mut runner = TestRunner::new(Config {
        cases,
        ..Config::default()
    });
    let strategy = (
        prop::collection::vec(1usize..80, 1..5),
        1..=TOKENS,
        0..TOKENS,
        0..models.len(),
    );
    runner
        .run(&strategy, |(sizes, length, back, model)| {
            let mut decoder = open(&models[model]);
            prop_assert!(run(&mut *decoder, &tokens[..length], &sizes) == rows[length - 1]);

            // Cut back, fork, and go on in both.
            let back = back.min(length - 1);
            decoder.truncate(back);
            let mut fork = decoder.fork().unwrap();
            prop_assert!(run(&mut *fork, &tokens[back..length], &[7]) == rows[length - 1]);
            // What the fork wrote is not seen here.
            prop_assert_eq!(decoder.position(), back);
            prop_assert!(run(&mut *decoder, &tokens[back..], &sizes) == rows[TOKENS - 1]);
            Ok(())
        })
        .unwrap();
}

#[test]
fn smollm2_gives_the_same_bits_however_it_is_computed() {
    check(SMOLLM2, 24);
}

#[test]
fn gemma3_gives_the_same_bits_however_it_is_computed() {
    check(GEMMA3, 8);
}

#[test]
fn decoding_token_by_token_equals_one_prefill_past_the_sliding_window() {
    // Gemma's window is 512: 560 positions go past it, in f16 and f32 caches.
    let tokens: Vec<u32> = tokens(GEMMA3).into_iter().cycle().take(560).collect();
    for kv_type in [KvType::F16, KvType::F32] {
        let model = GEMMA3.load(|options| options.kv_type = kv_type);
        let mut whole = model.decoder(&ContextOptions::default()).unwrap();
        let expected = run(&mut *whole, &tokens, &[usize::MAX]);
        let mut single = model.decoder(&ContextOptions::default()).unwrap();
        run(&mut *single, &tokens[..500], &[100]);
        assert!(
            run(&mut *single, &tokens[500..], &[1]) == expected,
            "{kv_type:?}"
        );
    }
}

#[test]
fn sessions_on_several_threads_compute_what_one_computes_alone() {
    let model = SMOLLM2.load(|_| {});
    let tokens = tokens(SMOLLM2);
    let expected: Vec<_> = (0..4)
        .map(|n| {
            let mut decoder = model.decoder(&ContextOptions::default()).unwrap();
            run(&mut *decoder, &tokens[n..100 + n], &[16])
        })
        .collect();
    std::thread::scope(|scope| {
        for (n, expected) in expected.iter().enumerate() {
            let (model, tokens) = (&model, &tokens);
            scope.spawn(move || {
                let mut decoder = model.decoder(&ContextOptions::default()).unwrap();
                let got = run(&mut *decoder, &tokens[n..100 + n], &[5 + n]);
                assert!(got == *expected, "session {n}");
            });
        }
    });
}
