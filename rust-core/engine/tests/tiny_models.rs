//! Tiny random models of every type and architecture: the kernels against the candle reference,
//! and the numerics contract (the same bits however a prompt is cut, on any number of threads and
//! with any instruction set).
#![cfg(feature = "reference")]
#![allow(clippy::unwrap_used)]

mod common;
mod tiny;

use dormouse::Error;
use dormouse::evaluate::log_probs;
use dormouse::gguf::Builder;
use dormouse::model::{
    BackendKind, ContextOptions, Decoder, GgmlType, Isa, KvType, LoadOptions, Model, Precision,
};
use tiny::encode::encode;
use tiny::{Tiny, Value};

/// Past a border of the KV cache's blocks (64) and several windows of 16.
const TOKENS: usize = 150;

fn tokens() -> Vec<u32> {
    (0..TOKENS as u32)
        .map(|n| (n * 7919 + n * n) % 256)
        .collect()
}

fn build(tiny: &Tiny, ty: GgmlType) -> Builder {
    tiny.build(|tensor| encode(tensor, ty))
}

fn load(file: &Builder, change: impl FnOnce(&mut LoadOptions)) -> Model {
    let mut options = LoadOptions::default();
    options.threads = Some(1);
    options.kv_type = KvType::F32;
    change(&mut options);
    tiny::load(file, options).unwrap()
}

fn open(model: &Model) -> Box<dyn Decoder> {
    model.decoder(&ContextOptions::default()).unwrap()
}

/// The logits of every position, the prompt cut into these sizes again and again.
fn run(decoder: &mut dyn Decoder, tokens: &[u32], sizes: &[usize]) -> Vec<f32> {
    let n_vocab = decoder.vocab_size();
    let mut out = vec![0.0; tokens.len() * n_vocab];
    let (mut at, mut sizes) = (0, sizes.iter().cycle());
    while at < tokens.len() {
        let end = (at + sizes.next().unwrap()).min(tokens.len());
        decoder
            .forward_all(&tokens[at..end], &mut out[at * n_vocab..end * n_vocab])
            .unwrap();
        at = end;
    }
    out
}

fn whole(model: &Model) -> Vec<f32> {
    run(&mut *open(model), &tokens(), &[TOKENS])
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|logit| logit.to_bits()).collect()
}

fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |max, (a, b)| {
        assert!(a.is_finite() && b.is_finite());
        max.max((a - b).abs())
    })
}

fn largest(logits: &[f32]) -> f32 {
    logits.iter().fold(0.0, |max, logit| max.max(logit.abs()))
}

/// Mean over positions of KL(reference || ours).
fn mean_kl(reference: &[f32], ours: &[f32], n_vocab: usize) -> f64 {
    let rows = reference.chunks(n_vocab).zip(ours.chunks(n_vocab));
    let sum: f64 = rows
        .map(|(p, q)| {
            let pairs = log_probs(p).zip(log_probs(q));
            pairs
                .map(|(p, q)| f64::from(p).exp() * f64::from(p - q))
                .sum::<f64>()
        })
        .sum();
    sum / (reference.len() / n_vocab) as f64
}

/// The kernels in f32 against candle; returns the kernels' logits.
fn against_reference(file: &Builder, name: &str) -> Vec<f32> {
    let reference = whole(&load(file, |o| o.backend = BackendKind::Reference));
    let exact = whole(&load(file, |o| o.precision = Precision::F32));
    let scale = largest(&reference);
    // Logits that are all near zero would agree whatever was computed.
    assert!((1.0..40.0).contains(&scale), "{name}: logits up to {scale}");
    let difference = max_difference(&reference, &exact);
    assert!(difference < 1e-3, "{name}: {difference}");
    exact
}

fn each(check: impl Fn(&Builder, &str)) {
    for ty in GgmlType::ALL {
        for (arch, model) in [("llama", Tiny::llama(1)), ("gemma3", Tiny::gemma3(2))] {
            check(&build(&model, ty), &format!("{arch} {}", ty.name()));
        }
    }
}

#[test]
fn kernels_in_f32_equal_the_reference() {
    each(|file, name| {
        against_reference(file, name);
    });
}

#[test]
fn int8_activations_stay_close_to_the_reference() {
    // An activation rounded to int8 in a group of 32 is off by about 0.5% of its size; a few
    // layers add up to some 1% of logits of about 3, so to a KL near 0.03 squared / 2 = 5e-4.
    each(|file, name| {
        let reference = load(file, |o| o.backend = BackendKind::Reference);
        let n_vocab = reference.config().n_vocab;
        let kl = mean_kl(&whole(&reference), &whole(&load(file, |_| {})), n_vocab);
        println!("{name}: mean KL {kl:.2e}");
        assert!((-1e-7..3e-3).contains(&kl), "{name}: mean KL {kl}");
    });
}

#[test]
fn bits_do_not_depend_on_chunks_threads_or_instruction_set() {
    // Past the border of a block, short enough for the scalar kernels.
    let tokens = &tokens()[..80];
    each(|file, name| {
        for precision in [Precision::Int8, Precision::F32] {
            // The f32 path decodes weights to f32 first: two types stand for all.
            if precision == Precision::F32 && !name.ends_with("BF16") && !name.ends_with("Q4_K") {
                continue;
            }
            let base = load(file, |o| o.precision = precision);
            let expected = bits(&run(&mut *open(&base), tokens, &[80]));
            for (threads, isa, sizes) in [
                (1, Isa::detect(), &[1][..]),
                (1, Isa::detect(), &[3, 17, 5, 33]),
                (2, Isa::detect(), &[80]),
                (2, Isa::detect(), &[7, 64, 1]),
                (3, Isa::detect(), &[29]),
                (1, Isa::Scalar, &[80]),
            ] {
                let model = load(file, |o| {
                    o.precision = precision;
                    o.threads = Some(threads);
                    o.isa = isa;
                });
                let got = bits(&run(&mut *open(&model), tokens, sizes));
                assert!(
                    got == expected,
                    "{name} {precision:?}, {threads} threads, {isa:?}, chunks {sizes:?}"
                );
            }
        }
    });
}

/// A variant agrees with the reference, and is not the plain model under another name.
fn variant(name: &str, plain: &Tiny, change: impl FnOnce(&mut Tiny)) {
    let mut changed = plain.clone();
    change(&mut changed);
    let before = whole(&load(&build(plain, GgmlType::F32), |_| {}));
    let after = against_reference(&build(&changed, GgmlType::F32), name);
    let difference = max_difference(&before, &after);
    assert!(difference > 0.1, "{name} changed nothing: {difference}");
}

#[test]
fn variants_equal_the_reference() {
    let (llama, gemma) = (Tiny::llama(3), Tiny::gemma3(4));
    variant("linear rope scaling", &llama, |tiny| {
        tiny.set("rope.scaling.type", Value::Str("linear"));
        tiny.set("rope.scaling.factor", Value::F32(4.0));
    });
    variant("rope frequency factors", &llama, |tiny| {
        tiny.vector("rope_freqs.weight", 32, 4.0, 3.0);
    });
    variant("rope base", &llama, |tiny| {
        tiny.set("rope.freq_base", Value::F32(500_000.0));
    });
    variant("part of the head rotated", &llama, |tiny| {
        tiny.set("rope.dimension_count", Value::U32(32));
    });
    for part in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_down"] {
        variant(&format!("{part}.bias"), &llama, |tiny| {
            let width = if part.ends_with('k') || part.ends_with('v') {
                128
            } else {
                256
            };
            for layer in 0..2 {
                tiny.vector(&format!("blk.{layer}.{part}.bias"), width, 0.5, 1.0);
            }
        });
    }
    variant("a tied head", &llama, |tiny| tiny.remove("output.weight"));
    variant("heads of their own width", &llama, |tiny| {
        tiny.set("attention.key_length", Value::U32(32));
        tiny.set("attention.value_length", Value::U32(32));
        tiny.layers(2, 512, 32);
    });
    variant("an untied head", &gemma, |tiny| {
        tiny.matrix("output.weight", 266, tiny::N_EMBD);
    });
    variant("a wider window", &gemma, |tiny| {
        tiny.set("attention.sliding_window", Value::U32(40));
    });
    variant("global rope base", &gemma, |tiny| {
        tiny.set("rope.freq_base", Value::F32(10_000.0));
    });
    variant("attention soft cap", &gemma, |tiny| {
        tiny.set("attn_logit_softcapping", Value::F32(0.5));
    });
    variant("logit soft cap", &gemma, |tiny| {
        tiny.set("final_logit_softcapping", Value::F32(3.0));
    });
}

#[test]
fn one_key_head_for_all_and_one_for_each() {
    for n_kv in [1u32, 4] {
        let mut tiny = Tiny::llama(5);
        tiny.set("attention.head_count_kv", Value::U32(n_kv));
        for layer in 0..2 {
            for part in ["attn_k", "attn_v"] {
                let rows = 64 * u64::from(n_kv);
                tiny.matrix(&format!("blk.{layer}.{part}.weight"), rows, tiny::N_EMBD);
            }
        }
        against_reference(&build(&tiny, GgmlType::Q8_0), &format!("{n_kv} key heads"));
    }
}

#[test]
fn caches_are_cut_and_forked_around_the_border_of_a_block() {
    let tokens = tokens();
    for (tiny, kv_type) in [
        (Tiny::llama(6), KvType::F32),
        (Tiny::gemma3(7), KvType::F16),
        (Tiny::llama(9), KvType::Q8_0),
    ] {
        let model = load(&build(&tiny, GgmlType::Q4_K), |o| o.kv_type = kv_type);
        let n_vocab = model.config().n_vocab;
        let rows = bits(&whole(&model));
        for at in [0, 1, 62, 63, 64, 65, 127, 128, 129, TOKENS - 1] {
            let mut decoder = open(&model);
            run(&mut *decoder, &tokens, &[TOKENS]);
            let full = decoder.kv_bytes();
            // Past the end: nothing happens.
            decoder.truncate(TOKENS + 1);
            assert_eq!(decoder.position(), TOKENS);

            let mut fork = decoder.fork().unwrap();
            fork.truncate(at);
            assert_eq!((fork.position(), decoder.position()), (at, TOKENS));
            let mut other = fork.fork().unwrap();
            // The fork writes other tokens where the first still has its own.
            let strange: Vec<u32> = tokens[at..].iter().map(|t| (t + 1) % 256).collect();
            let changed = run(&mut *other, &strange, &[9]);
            assert!(bits(&changed) != rows[at * n_vocab..], "at {at}");
            let again = run(&mut *fork, &tokens[at..], &[11, 50]);
            assert!(bits(&again) == rows[at * n_vocab..], "fork at {at}");

            decoder.truncate(at);
            assert_eq!(decoder.position(), at);
            assert!(decoder.kv_bytes() <= full * (at as u64 + 64) / TOKENS as u64);
            let again = run(&mut *decoder, &tokens[at..], &[64]);
            assert!(bits(&again) == rows[at * n_vocab..], "cut at {at}");
            assert_eq!(decoder.kv_bytes(), full);
        }
    }
}

#[test]
fn a_kv_cache_in_q8_0_needs_heads_of_whole_blocks() {
    // Heads of eight.
    let file = tiny::zoo::file("llama", tiny::zoo::NARROW, tiny::f32_bytes);
    let mut options = LoadOptions::default();
    options.kv_type = KvType::Q8_0;
    let error = tiny::load(&file, options).err().unwrap();
    assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
    assert!(error.to_string().contains("q8_0"), "{error}");
}

#[test]
fn a_sliding_window_sees_as_many_keys_as_it_is_wide() {
    // One layer: what a position sees is its logits' only way to depend on another token.
    let mut tiny = Tiny::gemma3(8);
    tiny.set("block_count", Value::U32(1));
    tiny.tensors
        .retain(|tensor| !tensor.name.starts_with("blk.") || tensor.name.starts_with("blk.0."));
    let window = tiny::WINDOW as usize;
    let tokens = tokens();
    let file = build(&tiny, GgmlType::F32);
    for (backend, precision) in [
        (BackendKind::Kernels, Precision::F32),
        (BackendKind::Kernels, Precision::Int8),
        (BackendKind::Reference, Precision::F32),
    ] {
        let model = load(&file, |o| {
            o.backend = backend;
            o.precision = precision;
        });
        let n_vocab = model.config().n_vocab;
        for sizes in [&[TOKENS][..], &[7, 64, 1]] {
            let before = run(&mut *open(&model), &tokens, sizes);
            // Around the borders of the cache's blocks as well.
            for key in [0, 30, 48, 63, 64, 100, 127, 128] {
                let mut other = tokens.clone();
                other[key] = (other[key] + 1) % 256;
                let after = run(&mut *open(&model), &other, sizes);
                let rows = before.chunks(n_vocab).zip(after.chunks(n_vocab));
                let changed: Vec<usize> = rows
                    .enumerate()
                    .filter(|(_, (before, after))| bits(before) != bits(after))
                    .map(|(position, _)| position)
                    .collect();
                let sees: Vec<usize> = (key..(key + window).min(TOKENS)).collect();
                assert_eq!(
                    changed, sees,
                    "{backend:?} {precision:?} {sizes:?}, key {key}"
                );
            }
        }
    }
}
