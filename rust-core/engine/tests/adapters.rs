//! LoRA adapters: files that are none, and sessions that change them. What they compute is compared
//! with llama.cpp in `fidelity.rs`.
#![allow(clippy::unwrap_used)]

mod common;
mod tiny;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use dormouse::gguf::{Builder, Source};
use dormouse::model::{Adapter, EmbedOptions, LoadOptions, Model, Pooling};
use dormouse::{Error, GenerateOptions, Result, SamplerOptions, Session, SessionOptions};
use tiny::{Tiny, zoo};

fn model() -> Model {
    let file = zoo::file("llama", zoo::NARROW, tiny::f32_bytes);
    tiny::load(&file, LoadOptions::default()).unwrap()
}

fn open(model: &Model, name: &str, file: &Builder) -> Result<Adapter> {
    let path = std::env::temp_dir().join(format!("dormouse-{}-{name}.lora", std::process::id()));
    file.write(&path).unwrap();
    let adapter = model.adapter(&Source::path(&path));
    std::fs::remove_file(&path).unwrap();
    adapter
}

fn lora() -> Builder {
    Builder::new()
        .str("general.type", "adapter")
        .str("general.architecture", "llama")
        .str("adapter.type", "lora")
        .f32("adapter.lora.alpha", 6.0)
}

/// An adapter of these tensors (columns first).
fn of(tensors: &[(&str, &[u64])]) -> Builder {
    tensors.iter().fold(lora(), |file, (name, dims)| {
        let elements = dims.iter().product::<u64>() as usize;
        file.tensor(name, dims, tiny::F32, &vec![0; 4 * elements])
    })
}

#[test]
fn files_that_are_no_adapter_of_the_model_are_refused() {
    let model = model();
    let down = ("blk.0.attn_q.weight.lora_a", &[32, 4][..]);
    let up = ("blk.0.attn_q.weight.lora_b", &[4, 32][..]);
    open(&model, "good", &of(&[down, up])).unwrap();
    let unsupported = [
        ("model", zoo::file("llama", zoo::NARROW, tiny::f32_bytes)),
        ("other", zoo::adapter("qwen2")),
        ("kind", Builder::new().str("general.type", "adapter")),
        ("unknown", of(&[("blk.0.attn_q.weight", &[32, 32])])),
        (
            "embedding",
            of(&[
                ("token_embd.weight.lora_a", &[4, 40]),
                ("token_embd.weight.lora_b", &[4, 32]),
            ]),
        ),
        (
            "norm",
            of(&[
                ("blk.0.attn_norm.weight.lora_a", &[32, 4]),
                ("blk.0.attn_norm.weight.lora_b", &[4, 32]),
            ]),
        ),
        (
            "layer",
            of(&[
                ("blk.9.attn_q.weight.lora_a", &[32, 4]),
                ("blk.9.attn_q.weight.lora_b", &[4, 32]),
            ]),
        ),
    ];
    for (name, file) in unsupported {
        let error = open(&model, name, &file).unwrap_err();
        assert!(
            matches!(error, Error::UnsupportedModel { .. }),
            "{name}: {error}"
        );
    }
    let corrupt = [
        ("empty", lora()),
        ("half", of(&[down])),
        ("other-half", of(&[up])),
        ("width", of(&[("blk.0.attn_q.weight.lora_a", &[31, 4]), up])),
        ("rank", of(&[("blk.0.attn_q.weight.lora_a", &[32, 5]), up])),
        (
            "height",
            of(&[down, ("blk.0.attn_q.weight.lora_b", &[4, 31])]),
        ),
        ("vector", of(&[("blk.0.attn_q.weight.lora_a", &[32]), up])),
    ];
    for (name, file) in corrupt {
        let error = open(&model, name, &file).unwrap_err();
        assert!(
            matches!(error, Error::CorruptModel { .. }),
            "{name}: {error}"
        );
    }
    let missing = model.adapter(&Source::path("/no/such/file.gguf"));
    assert!(matches!(missing.unwrap_err(), Error::Io { .. }));
}

#[test]
fn a_session_answers_with_the_adapters_it_has() {
    let model = model();
    let adapter = open(&model, "session", &zoo::adapter("llama")).unwrap();
    assert_eq!(adapter.targets().count(), 4 * 7 + 1);
    let session = Session::new(&model, SessionOptions::default()).unwrap();
    let mut options = GenerateOptions::default();
    options.sampler = SamplerOptions::greedy();
    options.max_tokens = Some(24);
    let answer = |session: &Session| {
        let generation = session.complete("dormice sleep", &options).unwrap();
        generation.text().unwrap()
    };
    let plain = answer(&session);
    session.set_adapters(&[(adapter.clone(), 1.0)]).unwrap();
    assert!(session.tokens().unwrap().is_empty());
    let adapted = answer(&session);
    assert_ne!(plain, adapted);
    // The adapter is the session's own, and a fork's.
    assert_eq!(
        answer(&Session::new(&model, SessionOptions::default()).unwrap()),
        plain
    );
    assert_eq!(answer(&session.fork().unwrap()), adapted);
    session.set_adapters(&[]).unwrap();
    assert_eq!(answer(&session), plain);
    let error = session.set_adapters(&[(adapter, f32::NAN)]).unwrap_err();
    assert!(matches!(error, Error::InvalidArgument { .. }));
}

#[test]
fn an_adapter_of_another_model_is_refused_and_the_former_ones_stay() {
    let model = model();
    let own = open(&model, "own", &zoo::adapter("llama")).unwrap();
    // Of other shapes, and of the very same.
    let wide = zoo::file("llama", zoo::WIDE, tiny::f32_bytes);
    let wide = tiny::load(&wide, LoadOptions::default()).unwrap();
    let wide_adapter = of(&[
        ("blk.0.attn_q.weight.lora_a", &[256, 4]),
        ("blk.0.attn_q.weight.lora_b", &[4, 256]),
    ]);
    let others = [
        open(&wide, "wide", &wide_adapter).unwrap(),
        open(&self::model(), "again", &zoo::adapter("llama")).unwrap(),
    ];
    let session = Session::new(&model, SessionOptions::default()).unwrap();
    let mut options = GenerateOptions::default();
    options.sampler = SamplerOptions::greedy();
    options.max_tokens = Some(24);
    let answer = || {
        let generation = session.complete("dormice sleep", &options).unwrap();
        generation.text().unwrap()
    };
    session.set_adapters(&[(own.clone(), 1.0)]).unwrap();
    let adapted = answer();
    for other in others {
        let adapters = [(own.clone(), 1.0), (other, 1.0)];
        let error = session.set_adapters(&adapters).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
        assert_eq!(answer(), adapted);
    }
}

#[test]
fn an_embedding_can_be_ended() {
    let model = model();
    let mut options = EmbedOptions::default();
    options.pooling = Some(Pooling::Mean);
    let embed =
        |stop| model.embed_until("dormice sleep", &options, &Arc::new(AtomicBool::new(stop)));
    assert_eq!(
        embed(false).unwrap(),
        model.embed("dormice sleep", &options).unwrap()
    );
    assert!(matches!(embed(true), Err(Error::Cancelled)));
}

#[test]
fn a_whole_conversation_can_be_taken_into_an_embedding() {
    let mut tiny = zoo::model("qwen3", zoo::NARROW);
    tiny.set("pooling_type", tiny::Value::U32(3));
    let embed = |tiny: &Tiny, text: &str| {
        let file = zoo::on_vocabulary(tiny, tiny::f32_bytes);
        let model = tiny::load(&file, LoadOptions::default())?;
        model.embed(text, &EmbedOptions::default())
    };
    // Longer than a chunk.
    let long = "dormice sleep ".repeat(40);
    assert_eq!(embed(&tiny, &long).unwrap().len(), 32);
    let too_long = embed(&tiny, &"dormice ".repeat(200)).unwrap_err();
    assert!(matches!(too_long, Error::ContextFull { .. }), "{too_long}");
    tiny.set("pooling_type", tiny::Value::U32(9));
    let unknown = embed(&tiny, "a").unwrap_err();
    assert!(
        matches!(unknown, Error::UnsupportedModel { .. }),
        "{unknown}"
    );
}
