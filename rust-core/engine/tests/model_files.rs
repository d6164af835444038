//! Sound GGUF files whose models cannot be: the error names the key, the tensor or the type.
#![allow(clippy::unwrap_used)]

mod common;
mod tiny;

use dormouse::gguf::Builder;
use dormouse::model::{ContextOptions, KvType, LoadOptions, memory_plan};
use dormouse::{Error, Result};
use tiny::{Tiny, Value};

/// The error's kind and sentence, which must name `place`.
fn refused<T: std::fmt::Debug>(result: Result<T>, kind: &str, place: &str) {
    let error = result.expect_err(place);
    let debug = format!("{error:?}");
    assert!(
        debug.starts_with(kind),
        "{kind} is wanted for {place}: {debug}"
    );
    assert!(error.to_string().contains(place), "{place}: {error}");
}

#[test]
fn types_and_architectures_that_are_not_known_are_named() {
    let tiny = Tiny::llama(1);
    let file = tiny.build(|tensor| match &*tensor.name {
        // 74 bytes a block of 256.
        "blk.1.ffn_up.weight" => (17, vec![0; tensor.values.len() / 256 * 74]),
        _ => tiny::f32_bytes(tensor),
    });
    let gguf = common::open(&file).unwrap();
    let info = gguf.tensor("blk.1.ffn_up.weight").unwrap();
    assert_eq!(
        (&*info.ty.name(), &info.dims[..]),
        ("IQ2_XS", &[256, 512][..])
    );
    let model = tiny::load(&file, LoadOptions::default());
    refused(
        model,
        "UnsupportedModel",
        "blk.1.ffn_up.weight has type IQ2_XS",
    );
    let file = tiny.build(|tensor| match &*tensor.name {
        "blk.1.ffn_up.weight" => (99, vec![0; tensor.values.len()]),
        _ => tiny::f32_bytes(tensor),
    });
    refused(
        tiny::load(&file, LoadOptions::default()),
        "UnsupportedModel",
        "blk.1.ffn_up.weight has type 99;",
    );

    let lemon = Builder::new().str("general.architecture", "lemon");
    let gguf = common::open(&lemon).unwrap();
    let plan = memory_plan(&gguf, &ContextOptions::default(), KvType::F16);
    refused(
        plan,
        "UnsupportedModel",
        "architecture lemon (known: gemma, gemma2, ",
    );
    refused(
        memory_plan(
            &common::open(&Builder::new()).unwrap(),
            &ContextOptions::default(),
            KvType::F16,
        ),
        "CorruptModel",
        "general.architecture",
    );
}

#[test]
fn missing_or_impossible_parts_of_a_model_are_named() {
    let sound = Tiny::llama(1);
    sound.load().unwrap();
    for key in [
        "embedding_length",
        "block_count",
        "attention.head_count",
        "feed_forward_length",
        "context_length",
        "attention.layer_norm_rms_epsilon",
    ] {
        let mut tiny = sound.clone();
        tiny.unset(key);
        refused(
            tiny.load(),
            "CorruptModel",
            &format!("llama.{key}: the key is missing"),
        );
        tiny.set(key, Value::U32(0));
        refused(tiny.load(), "CorruptModel", &format!("llama.{key}: 0 is"));
        tiny.set(key, Value::Str("many"));
        refused(tiny.load(), "CorruptModel", &format!("llama.{key}"));
    }
    for (key, value, place) in [
        ("block_count", Value::U32(2000), "llama.block_count"),
        (
            "block_count",
            Value::U32(3),
            "blk.2.attn_norm.weight: the tensor is missing",
        ),
        (
            "embedding_length",
            Value::U32(128),
            "token_embd.weight: its shape is [256, 266]",
        ),
        (
            "attention.head_count_kv",
            Value::U32(0),
            "llama.attention.head_count_kv",
        ),
        (
            "attention.head_count_kv",
            Value::U32(3),
            "llama.attention.head_count_kv",
        ),
        ("attention.head_count", Value::U32(1 << 20), "head"),
        (
            "attention.layer_norm_rms_epsilon",
            Value::F32(f32::NAN),
            "rms_epsilon",
        ),
        (
            "attention.layer_norm_rms_epsilon",
            Value::F32(-1.0),
            "rms_epsilon",
        ),
        ("feed_forward_length", Value::U32(1 << 20), "blk.0.ffn_"),
        (
            "rope.dimension_count",
            Value::U32(63),
            "llama.rope.dimension_count",
        ),
        (
            "rope.dimension_count",
            Value::U32(128),
            "llama.rope.dimension_count",
        ),
    ] {
        let mut tiny = sound.clone();
        tiny.set(key, value);
        refused(tiny.load(), "CorruptModel", place);
    }
    // Two widths in bounds whose product is not: no memory is asked for on their word.
    let mut tiny = sound.clone();
    tiny.set("attention.head_count", Value::U32(1 << 20));
    tiny.set("attention.key_length", Value::U32(1 << 20));
    tiny.set("attention.value_length", Value::U32(1 << 20));
    refused(tiny.load(), "CorruptModel", "head");

    for name in [
        "token_embd.weight",
        "output_norm.weight",
        "blk.1.attn_k.weight",
    ] {
        let mut tiny = sound.clone();
        tiny.remove(name);
        refused(
            tiny.load(),
            "CorruptModel",
            &format!("{name}: the tensor is missing"),
        );
        let mut tiny = sound.clone();
        let tensor = tiny.tensor(name);
        let last = tensor.dims.last_mut().unwrap();
        *last -= 1;
        let count = tensor.dims.iter().product::<u64>();
        tensor.values.truncate(count as usize);
        refused(
            tiny.load(),
            "CorruptModel",
            &format!("{name}: its shape is"),
        );
    }
}

#[test]
fn weights_that_are_no_numbers_end_the_reply_with_an_error() {
    for wrong in [f32::NAN, f32::INFINITY] {
        let mut tiny = Tiny::llama(9);
        tiny.tensor("blk.0.ffn_down.weight").values.fill(wrong);
        let model = tiny.load().unwrap();
        let session = dormouse::Session::new(&model, dormouse::SessionOptions::default()).unwrap();
        let options = dormouse::GenerateOptions::default();
        let error = session.complete("a", &options).unwrap().text().unwrap_err();
        assert!(matches!(error, Error::CorruptModel { .. }), "{error}");
    }
}
