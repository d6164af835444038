//! Perplexity of both real models on 4,096 tokens of a novel, beside llama.cpp's.
#![cfg(feature = "real-models")]
#![allow(clippy::unwrap_used)]

mod real;

use dormouse::evaluate::{Score, score_window};
use dormouse::model::{ContextOptions, KvType, Precision};
use dormouse::tokenize::EncodeOptions;
use real::{GEMMA3, Real, SMOLLM2, fixtures, ids};

/// A share of llama.cpp's perplexity.
const ALLOWED: f64 = 2e-3;

fn perplexity(real: Real, precision: Precision) -> f64 {
    let model = real.load(|options| {
        options.kv_type = KvType::F32;
        options.precision = precision;
    });
    let json = real.json(".perplexity.json");
    let windows: Vec<Vec<u32>> = json["tokens"].as_array().unwrap().iter().map(ids).collect();
    let length = json["window"].as_u64().unwrap() as usize;
    // The same text in the same tokens.
    let text = std::fs::read_to_string(fixtures().join("alice.txt")).unwrap();
    let options = EncodeOptions {
        add_special: true,
        parse_special: false,
    };
    let tokens = model.tokenizer().encode(&text, options).unwrap();
    for (ours, theirs) in tokens.chunks_exact(length).zip(&windows) {
        assert_eq!(ours[1..], theirs[1..]);
    }
    let mut score = Score::default();
    for window in &windows {
        let mut decoder = model.decoder(&ContextOptions::of_length(length)).unwrap();
        score_window(&mut *decoder, window, 0, &mut score).unwrap();
    }
    assert_eq!(score.predicted, windows.len() * (length - 1));
    score.perplexity().unwrap()
}

/// With the weights' own precision the figure is llama.cpp's. With the fast kernels it is as near to
/// that as llama.cpp's own fast kernels come, or nearer, so that the two may lie on different sides.
fn check(real: Real) {
    let json = real.json(".perplexity.json");
    let figure = |key: &str| json[key].as_f64().unwrap();
    let (exact, theirs) = (
        figure("perplexity_yardstick"),
        figure("perplexity_quantized"),
    );
    let ours = perplexity(real, Precision::Int8);
    let off = |perplexity: f64| perplexity / exact - 1.0;
    println!(
        "{}: {ours:.4}, llama.cpp {theirs:.4}, in f32 {exact:.4}: {:+.3} % and {:+.3} % off",
        real.file,
        100.0 * off(ours),
        100.0 * off(theirs)
    );
    assert!(
        ours <= theirs * (1.0 + ALLOWED),
        "{ours}, llama.cpp {theirs}"
    );
    assert!(
        off(ours).abs() <= off(theirs).abs() + ALLOWED,
        "{ours}, llama.cpp {theirs}, in f32 {exact}"
    );
    // The exact kernels take minutes.
    if std::env::var_os("DORMOUSE_LONG").is_some() {
        let ours = perplexity(real, Precision::F32);
        println!(
            "{}: {ours:.4} in f32: {:+.4} % off",
            real.file,
            100.0 * off(ours)
        );
        assert!(
            off(ours).abs() <= ALLOWED / 10.0,
            "{ours}, llama.cpp in f32 {exact}"
        );
    }
}

/// The first tokens of the text, by the exact kernels: near enough to see the promise kept in every run.
#[test]
fn smollm2_predicts_the_beginning_in_f32_as_llama_cpp_does_in_f32() {
    let json = SMOLLM2.json(".perplexity.json");
    let length = json["beginning"]["tokens"].as_u64().unwrap() as usize;
    let theirs = json["beginning"]["perplexity_yardstick"].as_f64().unwrap();
    let window = &ids(&json["tokens"][0])[..length];
    let model = SMOLLM2.load(|options| {
        options.kv_type = KvType::F32;
        options.precision = Precision::F32;
    });
    let mut decoder = model.decoder(&ContextOptions::of_length(length)).unwrap();
    let mut score = Score::default();
    score_window(&mut *decoder, window, 0, &mut score).unwrap();
    assert_eq!(score.predicted, length - 1);
    let ours = score.perplexity().unwrap();
    println!(
        "{ours:.4}, llama.cpp {theirs:.4}: {:+.5} %",
        100.0 * (ours / theirs - 1.0)
    );
    assert!(
        (ours / theirs - 1.0).abs() <= ALLOWED,
        "{ours}, llama.cpp {theirs}"
    );
}

#[test]
fn smollm2_predicts_a_text_as_llama_cpp_does() {
    check(SMOLLM2);
}

#[test]
fn gemma3_predicts_a_text_as_llama_cpp_does() {
    check(GEMMA3);
}
