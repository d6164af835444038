//! Tokenizers of tiny vocabularies, streams of random tokens, and hostile metadata.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{IM_END, IM_START, bpe, bpe_parts, bpe_with, spm, spm_parts, spm_with, tokenizer};
use dormouse::Error;
use dormouse::gguf::Builder;
use dormouse::metrics::thread_cpu_time;
use dormouse::tokenize::{EncodeOptions, Tokenizer};
use proptest::prelude::*;

fn pieces(tokenizer: &Tokenizer, text: &str, parse_special: bool) -> Vec<String> {
    let options = EncodeOptions {
        add_special: false,
        parse_special,
    };
    let ids = tokenizer.encode(text, options).unwrap();
    ids.iter()
        .map(|&id| tokenizer.token_text(id).unwrap().to_owned())
        .collect()
}

#[test]
fn bpe_joins_in_the_order_of_the_merges() {
    let tokenizer = tokenizer(&bpe()).unwrap();
    assert_eq!(
        pieces(&tokenizer, "hello hello", false),
        ["hello", "Ġhello"]
    );
    assert_eq!(
        pieces(&tokenizer, "hellu 12", false),
        ["hell", "u", "Ġ", "1", "2"]
    );
    assert_eq!(pieces(&tokenizer, "é", false), ["Ã", "©"]);
    assert_eq!(
        tokenizer.decode(
            &tokenizer.encode("é\n", EncodeOptions::default()).unwrap(),
            false
        ),
        "é\n".as_bytes()
    );
}

#[test]
fn control_tokens_count_only_when_asked() {
    let tokenizer = tokenizer(&bpe()).unwrap();
    let text = "<|im_start|>user<|im_end|>";
    assert_eq!(
        pieces(&tokenizer, text, true),
        ["<|im_start|>", "user", "<|im_end|>"]
    );
    assert!(pieces(&tokenizer, text, false).len() > 10);
    assert!(tokenizer.is_control(IM_START) && tokenizer.is_end_of_generation(IM_END));
    assert!(!tokenizer.is_control(u32::MAX) && !tokenizer.is_end_of_generation(IM_START));
    assert_eq!(tokenizer.decode(&[IM_START, 104, IM_END], false), b"h");
    assert_eq!(
        tokenizer.decode(&[IM_START, 104, u32::MAX], true),
        b"<|im_start|>h"
    );
}

#[test]
fn spm_joins_the_best_score_and_the_leftmost_of_equals() {
    let tokenizer = tokenizer(&spm()).unwrap();
    // "bc" has the better score, so "ab" is never made.
    assert_eq!(pieces(&tokenizer, "abc", false), ["\u{2581}a", "bc"]);
    assert_eq!(
        pieces(&tokenizer, "caaa", false),
        ["\u{2581}", "c", "aa", "a"]
    );
    assert_eq!(
        pieces(&tokenizer, "é", false),
        ["\u{2581}", "<0xC3>", "<0xA9>"]
    );
    assert_eq!(tokenizer.token_bytes(3 + 0xC3).unwrap(), vec![0xC3]);
}

#[test]
fn user_defined_tokens_are_always_found_longest_first() {
    let tokenizer = tokenizer(&spm()).unwrap();
    assert_eq!(
        pieces(&tokenizer, "a\n\n\n\n\nb", false),
        ["\u{2581}a", "\n\n\n", "\n\n", "\u{2581}", "b"]
    );
    assert_eq!(
        pieces(&tokenizer, "\n\n\n\n", false),
        ["\n\n\n", "\u{2581}", "<0x0A>"]
    );
}

#[test]
fn bos_and_eos_are_added_as_the_metadata_asks() {
    let add = EncodeOptions {
        add_special: true,
        parse_special: false,
    };
    let plain = tokenizer(&spm()).unwrap();
    assert_eq!(plain.encode("", add).unwrap(), [1]);
    let both = tokenizer(&spm().bool("tokenizer.ggml.add_eos_token", true)).unwrap();
    assert_eq!(both.encode("", add).unwrap(), [1, 2]);
    assert_eq!(
        tokenizer(&bpe()).unwrap().encode("", add).unwrap(),
        [0u32; 0]
    );
}

#[test]
fn a_long_word_takes_little_time_with_any_vocabulary() {
    let many = 3000;
    let runs: Vec<String> = (1..=many).map(|n| "a".repeat(n)).collect();
    let spm = |kind| {
        let (mut pieces, mut scores, mut types) = spm_parts();
        pieces.extend_from_slice(&runs);
        scores.resize(pieces.len(), -1.0);
        types.resize(pieces.len(), kind);
        spm_with(&pieces, &scores, &types)
    };
    let wpm = |pieces: &[String]| {
        let mut all = ["[UNK]", "[CLS]", "[SEP]"].map(String::from).to_vec();
        all.extend_from_slice(pieces);
        let mut types = vec![3; 3];
        types.resize(all.len(), 1);
        Builder::new()
            .str("general.architecture", "bert")
            .str("tokenizer.ggml.model", "bert")
            .strings("tokenizer.ggml.tokens", &all)
            .i32s("tokenizer.ggml.token_type", &types)
            .u32("tokenizer.ggml.unknown_token_id", 0)
            .u32("tokenizer.ggml.bos_token_id", 1)
            .u32("tokenizer.ggml.seperator_token_id", 2)
    };
    let few = ["\u{2581}a", "a", &*format!("{}b", "a".repeat(10_000))].map(String::from);
    let text = "a".repeat(100_000);
    for (what, file, count) in [
        ("spm, normal", spm(1), 2..=200),
        ("spm, control", spm(3), 2..=200_000),
        ("spm, user-defined", spm(4), 34..=34),
        ("wpm, one long piece", wpm(&few), 100_000..=100_000),
    ] {
        let tokenizer = tokenizer(&file).unwrap();
        let begun = thread_cpu_time();
        let ids = tokenizer.encode(&text, EncodeOptions::default()).unwrap();
        let took = thread_cpu_time() - begun;
        println!("{what}: {} tokens, {took:?}", ids.len());
        assert!(took < Duration::from_secs(1), "{what}: {took:?}");
        assert!(count.contains(&ids.len()), "{what}: {}", ids.len());
    }
}

/// WordPiece: four special tokens, then words and what continues them.
fn wordpiece() -> Builder {
    let pieces = [
        "[UNK]", "[CLS]", "[SEP]", "[MASK]", "▁hello", "▁he", "ll", "o", "▁!", "▁cafe", "▁中", "s",
    ];
    Builder::new()
        .str("general.architecture", "bert")
        .str("tokenizer.ggml.model", "bert")
        .strings("tokenizer.ggml.tokens", &pieces)
        .i32s(
            "tokenizer.ggml.token_type",
            &[2, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1],
        )
        .u32("tokenizer.ggml.unknown_token_id", 0)
        .u32("tokenizer.ggml.bos_token_id", 1)
        .u32("tokenizer.ggml.seperator_token_id", 2)
}

#[test]
fn wordpiece_takes_the_longest_pieces_of_each_word() {
    let tokenizer = tokenizer(&wordpiece()).unwrap();
    assert_eq!(
        pieces(&tokenizer, " Hello  HELLOs!", false),
        ["▁hello", "▁hello", "s", "▁!"]
    );
    assert_eq!(pieces(&tokenizer, "hellos", false), ["▁hello", "s"]);
    assert_eq!(pieces(&tokenizer, "helo", false), ["[UNK]"]);
    assert_eq!(
        pieces(&tokenizer, "Café中caf\u{65}\u{301}", false),
        ["▁cafe", "▁中", "▁cafe"]
    );
    assert_eq!(pieces(&tokenizer, "he\0ll\u{200b}o", false), ["▁hello"]);
    assert_eq!(pieces(&tokenizer, "", false), [""; 0]);
    assert!(!pieces(&tokenizer, "[MASK]", false).contains(&"[MASK]".to_owned()));
    assert_eq!(pieces(&tokenizer, "he[MASK]", true), ["▁he", "[MASK]"]);
    let add = EncodeOptions {
        add_special: true,
        parse_special: false,
    };
    assert_eq!(tokenizer.encode("", add).unwrap(), [1, 2]);
    assert_eq!(tokenizer.decode(&[1, 4, 11, 8, 2], false), b" hellos !");
}

#[test]
fn white_space_goes_with_the_special_tokens_that_strip_it() {
    let (mut tokens, scores, mut types) = spm_parts();
    let user = tokens.len() as u32 - 1;
    tokens[user as usize] = "<|user|>".to_owned();
    types[user as usize] = 3;
    let plain = spm_with(&tokens, &scores, &types);
    let phi = spm_with(&tokens, &scores, &types).str("general.name", "Phi-3 mini");
    let (plain, phi) = (tokenizer(&plain).unwrap(), tokenizer(&phi).unwrap());
    let text = "<|user|> \t\na <|user|>\n";
    assert_eq!(
        pieces(&phi, text, true),
        ["<|user|>", "\u{2581}a", "\u{2581}", "<|user|>"]
    );
    assert_ne!(pieces(&plain, text, true), pieces(&phi, text, true));
    assert_eq!(pieces(&plain, text, false), pieces(&phi, text, false));
    // <s> strips nothing; </s> is longer than the line breaks and so takes its turn before them.
    assert_eq!(pieces(&phi, "<s>\n\n", true), ["<s>", "\n\n"]);
    assert_eq!(pieces(&phi, "</s>\n\n a", true), ["</s>", "\u{2581}a"]);
}

#[test]
fn hostile_metadata_is_an_error_that_names_the_place() {
    let (tokens, types, merges) = bpe_parts();
    let (spm_tokens, scores, spm_types) = spm_parts();
    let model = |name: &str| Builder::new().str("tokenizer.ggml.model", name);
    let mut nan = scores.clone();
    nan[5] = f32::NAN;
    let mut odd_type = types.clone();
    odd_type[3] = 99;
    let mut raw: Vec<Vec<u8>> = spm_tokens.iter().map(|t| t.clone().into_bytes()).collect();
    raw[7] = vec![0xff, 0xfe];
    let gpt2 = || model("gpt2").str("tokenizer.ggml.pre", "smollm");
    let cases: Vec<(&str, Builder, &str)> = vec![
        ("no tokenizer", Builder::new(), "tokenizer.ggml.model"),
        ("no tokens", model("llama"), "tokenizer.ggml.tokens"),
        (
            "no pieces",
            spm_with(&[], &[], &[]),
            "the vocabulary is empty",
        ),
        (
            "tokens are numbers",
            model("llama").i32s("tokenizer.ggml.tokens", &[1, 2]),
            "tokenizer.ggml.tokens",
        ),
        (
            "short scores",
            spm_with(&spm_tokens, &scores[1..], &spm_types),
            "tokenizer.ggml.scores",
        ),
        (
            "short types",
            spm_with(&spm_tokens, &scores, &spm_types[1..]),
            "tokenizer.ggml.token_type",
        ),
        (
            "no scores",
            model("llama").strings("tokenizer.ggml.tokens", &spm_tokens),
            "tokenizer.ggml.scores",
        ),
        ("NaN", spm_with(&spm_tokens, &nan, &spm_types), "piece 5"),
        (
            "unknown type",
            bpe_with(&tokens, &odd_type, &merges),
            "type 99 of piece 3",
        ),
        (
            "not UTF-8",
            model("llama")
                .strings("tokenizer.ggml.tokens", &raw)
                .f32s("tokenizer.ggml.scores", &scores),
            "piece 7 is not UTF-8",
        ),
        (
            "no merges",
            gpt2().strings("tokenizer.ggml.tokens", &tokens),
            "tokenizer.ggml.merges",
        ),
        (
            "merge of unknown pieces",
            bpe_with(&tokens, &types, &["zz yy".to_owned()]),
            "merge 0 names a piece",
        ),
        (
            "merge whose result is unknown",
            bpe_with(&tokens, &types, &["z y".to_owned()]),
            "merge 0 names a piece",
        ),
        (
            "merge without a space",
            bpe_with(&tokens, &types, &["he".to_owned()]),
            "merge 0 is no pair",
        ),
        (
            "merge that is empty",
            bpe_with(&tokens, &types, &[String::new()]),
            "merge 0 is no pair",
        ),
        (
            "merge of one piece",
            bpe_with(&tokens, &types, &["h ".to_owned()]),
            "merge 0 names a piece",
        ),
        (
            "BOS out of range",
            spm().u32("tokenizer.ggml.bos_token_id", 5000),
            "tokenizer.ggml.bos_token_id",
        ),
        (
            "end of turn out of range",
            bpe().u32("tokenizer.ggml.eot_token_id", u32::MAX),
            "tokenizer.ggml.eot_token_id",
        ),
        (
            "BOS to be added, but none",
            model("llama")
                .strings("tokenizer.ggml.tokens", &["a"])
                .f32s("tokenizer.ggml.scores", &[0.0]),
            "tokenizer.ggml.bos_token_id",
        ),
        (
            "WordPiece without pieces",
            model("bert"),
            "tokenizer.ggml.tokens",
        ),
        (
            "WordPiece without BOS",
            model("bert").strings("tokenizer.ggml.tokens", &["a"]),
            "tokenizer.ggml.bos_token_id",
        ),
        (
            "WordPiece without unknown",
            model("bert")
                .strings("tokenizer.ggml.tokens", &["a"])
                .u32("tokenizer.ggml.bos_token_id", 0)
                .u32("tokenizer.ggml.seperator_token_id", 0),
            "tokenizer.ggml.unknown_token_id",
        ),
        (
            "Gemma 4 without merges",
            model("gemma4")
                .strings("tokenizer.ggml.tokens", &["a"])
                .u32("tokenizer.ggml.bos_token_id", 0),
            "tokenizer.ggml.merges",
        ),
        (
            "neither bytes nor unknown",
            model("llama")
                .strings("tokenizer.ggml.tokens", &["a", "b"])
                .f32s("tokenizer.ggml.scores", &[0.0, 0.0])
                .u32("tokenizer.ggml.unknown_token_id", 9),
            "tokenizer.ggml.unknown_token_id",
        ),
    ];
    for (name, builder, words) in cases {
        match tokenizer(&builder) {
            Err(error @ Error::CorruptModel { .. }) => {
                assert!(error.to_string().contains(words), "{name}: {error}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn unknown_tokenizers_are_named_with_those_known() {
    for (builder, words) in [
        (
            Builder::new().str("tokenizer.ggml.model", "t5"),
            ["\"t5\"", "gpt2, gemma4, llama, bert"],
        ),
        (
            Builder::new()
                .str("tokenizer.ggml.model", "gpt2")
                .str("tokenizer.ggml.pre", "martian"),
            ["\"martian\"", "smollm"],
        ),
    ] {
        match tokenizer(&builder) {
            Err(error @ Error::UnsupportedModel { .. }) => {
                let text = error.to_string();
                assert!(words.iter().all(|word| text.contains(word)), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn equal_and_empty_pieces_do_no_harm() {
    let (mut tokens, mut types, merges) = bpe_parts();
    tokens.extend(["hello".to_owned(), String::new(), String::new()]);
    types.extend([1, 1, 3]);
    let tokenizer = tokenizer(&bpe_with(&tokens, &types, &merges)).unwrap();
    let ids = tokenizer.encode(
        "hello",
        EncodeOptions {
            add_special: false,
            parse_special: true,
        },
    );
    assert_eq!(tokenizer.decode(&ids.unwrap(), true), b"hello");
}

proptest! {
    #[test]
    fn streams_give_what_decode_gives(
        ids in proptest::collection::vec(0u32..280, 0..60),
        render_special: bool,
        bytes: bool,
    ) {
        let tokenizer = tokenizer(&if bytes { spm() } else { bpe() }).unwrap();
        let mut stream = tokenizer.stream(render_special);
        let mut parts: Vec<String> = ids.iter().map(|&id| stream.push(&tokenizer, id)).collect();
        parts.push(stream.finish());
        let whole = tokenizer.decode(&ids, render_special);
        prop_assert_eq!(parts.concat(), String::from_utf8_lossy(&whole));
        prop_assert_eq!(stream.finish(), "");
    }

    #[test]
    fn wordpiece_takes_any_text(text in any::<String>(), parse_special: bool) {
        let tokenizer = tokenizer(&wordpiece()).unwrap();
        let options = EncodeOptions { add_special: false, parse_special };
        let ids = tokenizer.encode(&text, options).unwrap();
        prop_assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()));
    }

    #[test]
    fn streams_hold_back_characters_that_are_not_complete(text in "\\PC{0,40}") {
        let tokenizer = tokenizer(&bpe()).unwrap();
        let ids = tokenizer.encode(&text, EncodeOptions::default()).unwrap();
        let mut stream = tokenizer.stream(false);
        let mut out = String::new();
        for id in ids {
            let part = stream.push(&tokenizer, id);
            let broken = char::REPLACEMENT_CHARACTER;
            prop_assert!(!part.contains(broken) || text.contains(broken));
            out += &part;
        }
        prop_assert_eq!(stream.finish(), "");
        prop_assert_eq!(out, text);
    }

    #[test]
    fn encoding_loses_nothing(text in any::<String>(), parse_special: bool) {
        let tokenizer = tokenizer(&bpe()).unwrap();
        let options = EncodeOptions { add_special: false, parse_special };
        let ids = tokenizer.encode(&text, options).unwrap();
        prop_assert_eq!(tokenizer.decode(&ids, true), text.as_bytes());
    }
}

#[test]
fn invalid_bytes_become_replacement_characters_at_once() {
    let tokenizer = tokenizer(&spm()).unwrap();
    let byte = |value: u32| 3 + value;
    let mut stream = tokenizer.stream(false);
    assert_eq!(stream.push(&tokenizer, byte(0xF0)), "");
    assert_eq!(stream.push(&tokenizer, byte(0x9F)), "");
    assert_eq!(stream.push(&tokenizer, byte(0x41)), "\u{fffd}A");
    assert_eq!(stream.push(&tokenizer, byte(0xFF)), "\u{fffd}");
    assert_eq!(stream.push(&tokenizer, byte(0xE4)), "");
    assert_eq!(stream.finish(), "\u{fffd}");
}
