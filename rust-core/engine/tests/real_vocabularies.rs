//! llama.cpp's own vocabularies: its cases, and random strings against its results.
#![cfg(feature = "real-models")]
#![allow(clippy::unwrap_used)]

mod fuzz;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use dormouse::gguf::{Gguf, Source};
use dormouse::tokenize::{EncodeOptions, Tokenizer};
use serde_json::Value;

/// Those that come with cases.
const WITH_CASES: &[&str] = &[
    "bert-bge",
    "command-r",
    "deepseek-coder",
    "deepseek-llm",
    "falcon",
    "gemma-4",
    "gpt-2",
    "llama-bpe",
    "llama-spm",
    "mpt",
    "phi-3",
    "qwen2",
    "qwen35",
    "refact",
    "starcoder",
];

const CONTROL: EncodeOptions = EncodeOptions {
    add_special: false,
    parse_special: true,
};

fn path(name: &str) -> PathBuf {
    let folder = std::env::var_os("DORMOUSE_MODELS")
        .expect("DORMOUSE_MODELS names the folder of models; run cargo xtask test --only models");
    PathBuf::from(folder)
        .join("vocabularies")
        .join(format!("ggml-vocab-{name}.gguf"))
}

fn open(name: &str) -> Tokenizer {
    Tokenizer::from_gguf(&Gguf::open(&Source::path(path(name))).unwrap()).unwrap()
}

fn golden() -> Value {
    fuzz::fixture("vocabularies.json")
}

fn name(row: &Value) -> &str {
    row["name"].as_str().unwrap()
}

/// The texts of `.inp` and the ids of `.out`, as llama.cpp's test-tokenizer-0 reads them.
fn cases(name: &str) -> Vec<(String, Vec<u32>)> {
    let read = |end: &str| {
        let mut file = path(name).into_os_string();
        file.push(end);
        std::fs::read_to_string(file).unwrap()
    };
    let (texts, ids) = (read(".inp"), read(".out"));
    let mut texts: Vec<&str> = texts.split("\n__ggml_vocab_test__\n").collect();
    // A mark at the end opens no further case.
    texts.pop_if(|text| text.is_empty());
    let ids: Vec<Vec<u32>> = ids
        .lines()
        .map(|line| {
            line.split_whitespace()
                .map(|id| id.parse().unwrap())
                .collect()
        })
        .collect();
    assert_eq!(texts.len(), ids.len(), "{name}");
    texts.into_iter().map(String::from).zip(ids).collect()
}

#[test]
fn llama_cpps_own_cases_give_its_ids() {
    let mut wrong = Vec::new();
    for name in WITH_CASES {
        let tokenizer = open(name);
        let cases = cases(name);
        assert!(cases.len() > 40, "{name} has {} cases", cases.len());
        for (text, expected) in cases {
            let ids = tokenizer.encode(&text, EncodeOptions::default()).unwrap();
            if ids != expected {
                wrong.push(format!("{name}: {text:?}: {ids:?}, not {expected:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ: {wrong:#?}", wrong.len());
}

#[test]
fn random_strings_give_llama_cpps_ids_and_bytes() {
    let golden = golden();
    let per_batch = golden["per_batch"].as_u64().unwrap() as usize;
    let mut wrong = Vec::new();
    for row in golden["vocabularies"].as_array().unwrap() {
        let batches = row["batches"].as_array().unwrap().len();
        assert!(batches * per_batch >= 20_000, "{}", name(row));
        wrong.extend(fuzz::compare(&open(name(row)), row, per_batch));
    }
    assert!(wrong.is_empty(), "{} differ: {wrong:#?}", wrong.len());
}

#[test]
fn control_tokens_that_a_user_types_are_text_unless_asked() {
    for row in golden()["vocabularies"].as_array().unwrap() {
        let tokenizer = open(name(row));
        assert!(tokenizer.encode("", CONTROL).unwrap().is_empty());
        let mut controls = 0;
        for text in fuzz::texts(&row["specials"]) {
            let id = tokenizer.token_id(&text).unwrap();
            if !tokenizer.is_control(id) {
                continue;
            }
            controls += 1;
            let typed = format!("say {text}now");
            let plain = tokenizer.encode(&typed, EncodeOptions::default()).unwrap();
            assert!(!plain.contains(&id), "{}: {text:?}", name(row));
            let asked = tokenizer.encode(&typed, CONTROL).unwrap();
            assert!(asked.contains(&id), "{}: {text:?}", name(row));
            // A text that is a special token and nothing else.
            assert_eq!(tokenizer.encode(&text, CONTROL).unwrap(), [id]);
            assert!(tokenizer.decode(&[id], false).is_empty());
        }
        assert!(controls > 0, "{} has no control token", name(row));
    }
}

#[test]
fn long_runs_take_less_than_a_second() {
    for row in golden()["vocabularies"].as_array().unwrap() {
        let tokenizer = open(name(row));
        for unit in ["a", " ", "1", "中", "A", "!", "\n", "aB", "<", "e\u{301}"] {
            let text: String = unit.chars().cycle().take(100_000).collect();
            let start = Instant::now();
            let ids = tokenizer.encode(&text, EncodeOptions::default()).unwrap();
            let took = start.elapsed();
            assert!(
                took < Duration::from_secs(1),
                "{} {unit:?}: {took:?}",
                name(row)
            );
            assert!(!ids.is_empty() || name(row) == "bert-bge");
        }
    }
}

/// Phi-3 strips the white space after its special tokens, but not after three of them.
#[test]
fn phi_3_strips_white_space_after_special_tokens() {
    let tokenizer = open("phi-3");
    let ids = |text: &str| tokenizer.encode(text, CONTROL).unwrap();
    assert_eq!(ids("<|user|>\n Hi"), ids("<|user|>Hi"));
    assert_eq!(ids("<|end|> \t\r\n<|user|>"), ids("<|end|><|user|>"));
    assert_ne!(ids("<|endoftext|>\nHi"), ids("<|endoftext|>Hi"));
    assert_ne!(ids("a <|user|>"), ids("a<|user|>"));
    let plain = |text: &str| tokenizer.encode(text, EncodeOptions::default()).unwrap();
    assert_ne!(plain("<|user|>\nHi"), plain("<|user|>Hi"));
}
