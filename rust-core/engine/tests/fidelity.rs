//! A tiny random model of every architecture in every type, against what llama.cpp computed on the
//! same file: `fixtures/architectures.json` and `.f32`, written by `fixtures/generate.py`.
#![cfg(feature = "reference")]
#![allow(clippy::unwrap_used)]

mod common;
mod tiny;

use std::collections::BTreeMap;

use dormouse::evaluate::log_probs;
use dormouse::gguf::{Builder, Source};
use dormouse::model::{
    BackendKind, ContextOptions, EmbedOptions, KvType, LoadOptions, Model, Pooling, Precision,
};
use serde_json::Value;
use tiny::zoo::N_VOCAB;

/// F32: |difference| of a logit. llama.cpp takes GELU from a table of 16-bit floats, which alone
/// makes 5e-4 of it; other architectures agree to 5e-6.
const MAX_DIFFERENCE: f32 = 1e-3;
const MAX_DIFFERENCE_WITHOUT_GELU: f32 = 2e-5;
const GELU: [&str; 2] = ["gemma", "starcoder2"];
/// Quantized: mean KL to the same weights in f32, over llama.cpp's own.
const KL_RATIO: f64 = 1.05;
const KL_MORE: f64 = 1e-6;

struct Golden {
    /// Of the first text, which F32 models read.
    tokens: Vec<u32>,
    /// What quantized models read.
    texts: Vec<Vec<u32>>,
    /// The logits of every so many positions are in the fixture.
    step: usize,
    text: String,
    /// By file name; F32 files can have several contexts.
    models: BTreeMap<String, Vec<Value>>,
    logits: Vec<f32>,
}

fn golden() -> Golden {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/architectures");
    let text = std::fs::read_to_string(format!("{folder}.json")).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    let bytes = std::fs::read(format!("{folder}.f32")).unwrap();
    let mut models = BTreeMap::<_, Vec<_>>::new();
    for row in value["models"].as_array().unwrap() {
        let name = row["file"].as_str().unwrap().to_owned();
        models.entry(name).or_default().push(row.clone());
    }
    let tokens = value["tokens"].as_array().unwrap().iter();
    let tokens: Vec<u32> = tokens.map(|t| t.as_u64().unwrap() as u32).collect();
    let length = value["length"].as_u64().unwrap() as usize;
    Golden {
        texts: tokens.chunks(length).map(<[u32]>::to_vec).collect(),
        tokens: tokens[..length].to_vec(),
        step: value["step"].as_u64().unwrap() as usize,
        text: value["text"].as_str().unwrap().to_owned(),
        models,
        logits: bytes
            .as_chunks()
            .0
            .iter()
            .map(|&b| f32::from_le_bytes(b))
            .collect(),
    }
}

fn fnv1a(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn load(file: &Builder, change: impl FnOnce(&mut LoadOptions)) -> Model {
    let mut options = LoadOptions::default();
    options.threads = Some(1);
    options.kv_type = KvType::F32;
    change(&mut options);
    tiny::load(file, options).unwrap()
}

/// The logits of every position, the tokens evaluated in pieces of these sizes again and again.
fn run(model: &Model, context: usize, tokens: &[u32], sizes: &[usize]) -> Vec<f32> {
    let mut options = ContextOptions::default();
    options.length = Some(context);
    let mut decoder = model.decoder(&options).unwrap();
    let width = N_VOCAB as usize;
    let mut out = vec![0.0; tokens.len() * width];
    let (mut at, mut sizes) = (0, sizes.iter().cycle());
    while at < tokens.len() {
        let most = at + sizes.next().unwrap().min(&decoder.max_chunk());
        let end = most.min(tokens.len());
        decoder
            .forward_all(&tokens[at..end], &mut out[at * width..end * width])
            .unwrap();
        at = end;
    }
    out
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|logit| logit.to_bits()).collect()
}

fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let pairs = a.iter().zip(b);
    pairs.fold(0.0, |max: f32, (a, b)| {
        assert!(a.is_finite() && b.is_finite());
        max.max((a - b).abs())
    })
}

fn mean_kl(yardstick: &[f32], ours: &[f32]) -> f64 {
    let width = N_VOCAB as usize;
    let rows = yardstick.chunks(width).zip(ours.chunks(width));
    let sum: f64 = rows
        .map(|(p, q)| {
            let pairs = log_probs(p).zip(log_probs(q));
            let terms = pairs.map(|(p, q)| f64::from(p).exp() * (f64::from(p) - f64::from(q)));
            terms.sum::<f64>()
        })
        .sum();
    sum / (yardstick.len() / width) as f64
}

#[test]
fn every_architecture_in_every_type_agrees_with_llama_cpp() {
    let golden = golden();
    let width = N_VOCAB as usize;
    let mut seen = 0;
    let mut failures = Vec::new();
    let mut table = Table::default();
    for (name, file) in tiny::encode::architectures() {
        let bytes = file.clone().build();
        assert!(bytes.len() < 300 << 10, "{name} has {} bytes", bytes.len());
        let known = golden.models.get(&name);
        let known = known.unwrap_or_else(|| panic!("{name} is not in the fixture"));
        let exact = load(&file, |o| o.precision = Precision::F32);
        let allowed = if GELU.iter().any(|arch| name.starts_with(arch)) {
            MAX_DIFFERENCE
        } else {
            MAX_DIFFERENCE_WITHOUT_GELU
        };
        for row in known {
            seen += 1;
            if row["adapter"].is_number() {
                continue; // has tests of its own
            }
            assert_eq!(row["fnv1a"], fnv1a(&bytes), "{name} has changed");
            let context = row["context"].as_u64().unwrap() as usize;
            if let Some(kl) = row["kl"].as_f64() {
                let quantized = load(&file, |_| {});
                let mut last = Vec::new();
                let texts = &golden.texts[..row["texts"].as_u64().unwrap() as usize];
                let kls = texts.iter().map(|text| {
                    let yardstick = run(&exact, context, text, &[text.len()]);
                    last = yardstick[yardstick.len() - width..].to_vec();
                    mean_kl(&yardstick, &run(&quantized, context, text, &[text.len()]))
                });
                let our_kl = kls.sum::<f64>() / texts.len() as f64;
                let off = max_difference(&last, &numbers(&row["yardstick"]));
                table.add(&name, format!("{:.2}", our_kl / kl));
                if off >= allowed || our_kl > kl * KL_RATIO + KL_MORE {
                    failures.push(format!(
                        "{name}: f32 off by {off:e}, KL {our_kl:e} (llama.cpp {kl:e})"
                    ));
                }
            } else {
                let tokens = &golden.tokens[..golden.tokens.len().min(context)];
                let ours = run(&exact, context, tokens, &[tokens.len()]);
                let kept = ours
                    .chunks(width)
                    .skip(golden.step - 1)
                    .step_by(golden.step);
                let kept: Vec<f32> = kept.flatten().copied().collect();
                let first = row["rows"].as_u64().unwrap() as usize * width;
                let off = max_difference(&kept, &golden.logits[first..first + kept.len()]);
                table.add(&name, format!("{off:.0e}"));
                if off >= allowed {
                    failures.push(format!("{name} at context {context}: off by {off:e}"));
                }
            }
        }
    }
    assert_eq!(seen, golden.models.values().map(Vec::len).sum::<usize>());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    table.check_readme();
}

/// What README shows, a row for each architecture.
#[derive(Default)]
struct Table {
    types: Vec<String>,
    rows: BTreeMap<String, Vec<String>>,
}

const BEGIN: &str = "<!-- fidelity: written by `cargo xtask fidelity` -->\n";
const END: &str = "<!-- /fidelity -->";

impl Table {
    /// Of several figures for one file (phi3 has two contexts) the last is shown.
    fn add(&mut self, file: &str, figure: String) {
        let (name, ty) = file.rsplit_once('-').unwrap();
        let row = self.rows.entry(name.to_owned()).or_default();
        let known = self.types.iter().position(|known| known == ty);
        let column = known.unwrap_or_else(|| {
            self.types.push(ty.to_owned());
            self.types.len() - 1
        });
        row.resize(self.types.len().max(row.len()), String::new());
        row[column] = figure;
    }

    fn markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut out = line([&["".to_owned()], &self.types[..]].concat());
        out += &line(vec!["---".to_owned(); self.types.len() + 1]);
        for (name, row) in &self.rows {
            out += &line([std::slice::from_ref(name), row].concat());
        }
        out
    }

    /// README has this table; with `DORMOUSE_WRITE_FIDELITY` it is written there.
    fn check_readme(&self) {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
        let readme = std::fs::read_to_string(path).unwrap();
        let (before, rest) = readme.split_once(BEGIN).unwrap();
        let (shown, after) = rest.split_once(END).unwrap();
        let found = self.markdown();
        if std::env::var_os("DORMOUSE_WRITE_FIDELITY").is_some() {
            let whole = format!("{before}{BEGIN}{found}{END}{after}");
            std::fs::write(path, whole).unwrap();
            return;
        }
        assert!(
            shown == found,
            "README's table is not what was found; `cargo xtask fidelity` writes it:\n{found}"
        );
    }
}

#[test]
fn how_a_prompt_is_cut_changes_no_bit() {
    let golden = golden();
    for (name, file) in tiny::encode::architectures() {
        let model = load(&file, |_| {});
        let tokens = &golden.tokens[..100];
        let whole = bits(&run(&model, 256, tokens, &[tokens.len()]));
        for sizes in [&[1][..], &[3, 17, 5]] {
            let cut = bits(&run(&model, 256, tokens, sizes));
            assert!(cut == whole, "{name} in pieces of {sizes:?}");
        }
    }
}

/// Dormouse evaluates the kept tokens again, which llama.cpp's own shift does not: that is up to 0.03
/// nats off what it computes of the same tokens itself (`kl_of_llama_cpp` in the fixture).
#[test]
fn after_a_context_shift_the_logits_are_those_of_the_kept_tokens() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/context_shift.json"
    );
    let value: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let number = |key: &str| value[key].as_u64().unwrap() as usize;
    let (length, keep, drop) = (number("length"), number("keep"), number("drop"));
    let tokens: Vec<u32> = numbers(&value["tokens"])
        .iter()
        .map(|&t| t as u32)
        .collect();
    let (kept, rest) = (&tokens[..keep], &tokens[keep + drop..]);
    let names = value["models"].as_array().unwrap().iter();
    let mut names: Vec<&str> = names.map(|row| row["file"].as_str().unwrap()).collect();
    names.sort_unstable();
    let mut all = tiny::zoo::NAMES.map(|name| format!("{name}-F32"));
    all.sort_unstable();
    assert_eq!(
        names, all,
        "run fixtures/generate.py --only context-shift: each architecture has a row"
    );
    for row in value["models"].as_array().unwrap() {
        let name = row["file"].as_str().unwrap();
        let plain = name.strip_suffix("-F32").unwrap();
        let file = tiny::zoo::file(plain, tiny::zoo::NARROW, tiny::f32_bytes);
        assert_eq!(
            row["fnv1a"],
            fnv1a(&file.clone().build()),
            "{name} has changed"
        );
        let model = load(&file, |o| o.precision = Precision::F32);
        let mut decoder = model.decoder(&ContextOptions::of_length(1024)).unwrap();
        decoder.forward(&tokens[..length], None).unwrap();
        decoder.truncate(keep);
        let width = N_VOCAB as usize;
        let mut out = vec![0.0; rest.len() * width];
        decoder.forward_all(rest, &mut out).unwrap();
        let theirs = numbers(&row["logits"]);
        let off = max_difference(&out[out.len() - theirs.len()..], &theirs);
        let gelu = GELU.iter().any(|arch| name.starts_with(arch));
        let allowed = if gelu {
            MAX_DIFFERENCE
        } else {
            MAX_DIFFERENCE_WITHOUT_GELU
        };
        assert!(off < allowed, "{name}: off by {off:e}");
        // Nothing is left of what was dropped.
        let fresh = run(&model, 1024, &[kept, rest].concat(), &[64]);
        assert!(bits(&fresh[keep * width..]) == bits(&out), "{name}");
    }
}

/// The row of each F32 model with an adapter's logits and with embeddings.
fn with_adapter(golden: &Golden) -> Vec<(&'static str, &Value)> {
    let rows = tiny::zoo::NAMES.map(|name| {
        let rows = &golden.models[&format!("{name}-F32")];
        (
            name,
            rows.iter().find(|row| row["adapter"].is_number()).unwrap(),
        )
    });
    rows.to_vec()
}

fn numbers(value: &Value) -> Vec<f32> {
    let values = value.as_array().unwrap().iter();
    values.map(|v| v.as_f64().unwrap() as f32).collect()
}

#[test]
fn adapters_add_what_llama_cpp_adds() {
    let golden = golden();
    let width = N_VOCAB as usize;
    for (name, row) in with_adapter(&golden) {
        let file = tiny::zoo::file(name, tiny::zoo::NARROW, tiny::f32_bytes);
        let model = load(&file, |o| o.precision = Precision::F32);
        let path =
            std::env::temp_dir().join(format!("dormouse-{}-{name}.lora", std::process::id()));
        tiny::zoo::adapter(name).write(&path).unwrap();
        let adapter = model.adapter(&Source::path(&path)).unwrap();
        std::fs::remove_file(&path).unwrap();
        let context = row["context"].as_u64().unwrap() as usize;
        let mut options = ContextOptions::default();
        options.length = Some(context);
        let mut decoder = model.decoder(&options).unwrap();
        let tokens = &golden.tokens[..100];
        let mut out = vec![0.0; tokens.len() * width];
        decoder.forward_all(tokens, &mut out).unwrap();
        let plain = out.clone();
        let scale = row["adapter"].as_f64().unwrap() as f32;
        decoder.set_adapters(&[(adapter.clone(), scale)]).unwrap();
        assert_eq!(decoder.position(), 0);
        decoder.forward_all(tokens, &mut out).unwrap();
        let kept = out.chunks(width).skip(golden.step - 1).step_by(golden.step);
        let kept: Vec<f32> = kept.flatten().copied().collect();
        let first = row["rows"].as_u64().unwrap() as usize * width;
        let off = max_difference(&kept, &golden.logits[first..first + kept.len()]);
        assert!(off < MAX_DIFFERENCE, "{name}: off by {off}");
        assert!(max_difference(&plain, &out) > 0.1);
        // Two halves are a whole, and a fork keeps them.
        let halves = [(adapter.clone(), scale / 2.0), (adapter, scale / 2.0)];
        decoder.set_adapters(&halves).unwrap();
        let mut twice = out.clone();
        decoder
            .fork()
            .unwrap()
            .forward_all(tokens, &mut twice)
            .unwrap();
        assert!(max_difference(&twice, &out) < 1e-4);
        // Taken off, nothing is left of them.
        decoder.set_adapters(&[]).unwrap();
        decoder.forward_all(tokens, &mut out).unwrap();
        assert!(bits(&plain) == bits(&out));
    }
}

#[test]
fn embeddings_point_where_llama_cpp_s_do() {
    let golden = golden();
    for (name, row) in with_adapter(&golden) {
        let file = tiny::zoo::file(name, tiny::zoo::NARROW, tiny::f32_bytes);
        let model = load(&file, |_| {});
        for (pooling, key) in [
            (Pooling::Mean, "mean"),
            (Pooling::First, "first"),
            (Pooling::Last, "last"),
        ] {
            let mut options = EmbedOptions::default();
            // No key in the file, and no wish.
            assert!(model.embed(&golden.text, &options).is_err());
            options.pooling = Some(pooling);
            let ours = model.embed(&golden.text, &options).unwrap();
            let theirs = numbers(&row["embeddings"][key]);
            let dot = |a: &[f32], b: &[f32]| -> f64 {
                a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum()
            };
            let cosine = dot(&ours, &theirs) / dot(&theirs, &theirs).sqrt();
            assert!((dot(&ours, &ours) - 1.0).abs() < 1e-6);
            assert!(1.0 - cosine < 1e-3, "{name} {key}: {cosine}");
        }
    }
}

/// llama.cpp knows no window for this architecture.
#[test]
fn the_window_of_a_llama_is_that_of_its_file() {
    let tokens = &golden().tokens[..100];
    let mut tiny = tiny::zoo::model("llama", tiny::zoo::NARROW);
    tiny.set("attention.sliding_window", tiny::Value::U32(16));
    let plain = tiny::zoo::file("llama", tiny::zoo::NARROW, tiny::f32_bytes);
    let windowed = tiny::zoo::on_vocabulary(&tiny, tiny::f32_bytes);
    let exact = load(&windowed, |o| o.precision = Precision::F32);
    let reference = load(&windowed, |o| o.backend = BackendKind::Reference);
    let ours = run(&exact, 256, tokens, &[100]);
    assert!(max_difference(&ours, &run(&reference, 256, tokens, &[100])) < 1e-4);
    let whole = run(
        &load(&plain, |o| o.precision = Precision::F32),
        256,
        tokens,
        &[100],
    );
    let width = N_VOCAB as usize;
    assert!(bits(&ours[..16 * width]) == bits(&whole[..16 * width]));
    assert!(max_difference(&ours[16 * width..], &whole[16 * width..]) > 0.01);
}

#[test]
fn every_architecture_agrees_with_the_reference() {
    let golden = golden();
    for (name, file) in tiny::encode::architectures() {
        if !name.ends_with("-F32") {
            continue;
        }
        let exact = load(&file, |o| o.precision = Precision::F32);
        let reference = load(&file, |o| o.backend = BackendKind::Reference);
        for context in [256, 1024] {
            let tokens = &golden.tokens[..100];
            let ours = run(&exact, context, tokens, &[tokens.len()]);
            let theirs = run(&reference, context, tokens, &[tokens.len()]);
            let off = max_difference(&ours, &theirs);
            assert!(off < 1e-4, "{name} at context {context}: {off:e}");
        }
    }
}
