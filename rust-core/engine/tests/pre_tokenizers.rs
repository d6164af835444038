//! Every pre-tokenizer by its name, on a vocabulary in which each cut shows in the ids.
#![allow(clippy::unwrap_used)]

mod common;
mod fuzz;

use std::time::{Duration, Instant};

use common::{byte_alphabet, tokenizer};
use dormouse::gguf::Builder;
use dormouse::tokenize::EncodeOptions;

/// All bytes and all pairs of bytes; each pair is a merge, in the order of
/// `fixtures/golden/vocabularies.py`.
fn pairs(pre: &str) -> Builder {
    let alphabet = byte_alphabet();
    let order = (0..65536).map(|i| (i * 40503 + 12345) % 65536);
    let joined: Vec<(&str, &str)> = order
        .map(|pair| (alphabet[pair >> 8].as_str(), alphabet[pair & 255].as_str()))
        .collect();
    let mut tokens = alphabet.clone();
    tokens.extend(joined.iter().map(|(left, right)| format!("{left}{right}")));
    tokens.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
    let mut types = vec![1; tokens.len()];
    types[256 + 65536..].fill(6);
    let merges: Vec<String> = joined
        .iter()
        .map(|(left, right)| format!("{left} {right}"))
        .collect();
    Builder::new()
        .str("general.architecture", "llama")
        .str("tokenizer.ggml.model", "gpt2")
        .str("tokenizer.ggml.pre", pre)
        .strings("tokenizer.ggml.tokens", &tokens)
        .i32s("tokenizer.ggml.token_type", &types)
        .strings("tokenizer.ggml.merges", &merges)
}

#[test]
fn every_name_cuts_as_llama_cpp_does() {
    let golden = fuzz::fixture("pre_tokenizers.json");
    let rows = golden["pre_tokenizers"].as_array().unwrap();
    let per_batch = golden["per_batch"].as_u64().unwrap() as usize;
    let mut wrong = Vec::new();
    for row in rows {
        let tokenizer = tokenizer(&pairs(row["name"].as_str().unwrap())).unwrap();
        wrong.extend(fuzz::compare(&tokenizer, row, per_batch));
    }
    assert!(wrong.is_empty(), "{} differ: {wrong:#?}", wrong.len());
}

/// A name without golden data would be a claim that nothing checks.
#[test]
fn every_name_of_the_table_has_golden_data() {
    let golden = fuzz::fixture("pre_tokenizers.json");
    let rows = golden["pre_tokenizers"].as_array().unwrap();
    let mut checked: Vec<&str> = rows
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    let error = tokenizer(&pairs("none such")).unwrap_err().to_string();
    assert!(error.contains("\"none such\""), "{error}");
    let known = error.split_once("known: ").unwrap().1;
    let mut known: Vec<&str> = known.trim_end_matches(')').split(", ").collect();
    checked.sort_unstable();
    known.sort_unstable();
    assert_eq!(checked, known);
}

#[test]
fn long_runs_take_less_than_a_second() {
    let golden = fuzz::fixture("pre_tokenizers.json");
    let mut seen = Vec::new();
    for row in golden["pre_tokenizers"].as_array().unwrap() {
        // Names that share a row of the table need one turn.
        if seen.contains(&&row["batches"]) {
            continue;
        }
        seen.push(&row["batches"]);
        let name = row["name"].as_str().unwrap();
        let tokenizer = tokenizer(&pairs(name)).unwrap();
        for unit in [
            "a",
            " ",
            "1",
            "中",
            "A",
            "\n",
            "aB",
            " \u{2003}",
            "e\u{301}",
        ] {
            let text: String = unit.chars().cycle().take(100_000).collect();
            let start = Instant::now();
            let ids = tokenizer.encode(&text, EncodeOptions::default()).unwrap();
            let took = start.elapsed();
            println!("{name} {unit:?}: {took:?}");
            assert!(took < Duration::from_secs(1), "{name} {unit:?}: {took:?}");
            // The vocabulary cannot say U+2581, so what it stands for comes back as its bytes.
            let decoded = String::from_utf8(tokenizer.decode(&ids, true)).unwrap();
            assert!(decoded.replace('\u{2581}', " ") == text, "{name} {unit:?}");
        }
    }
}
