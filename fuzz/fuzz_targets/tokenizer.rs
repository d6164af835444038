//! Any text through every kind of tokenizer: the ids give the text's own bytes back, however they
//! are cut into pieces, and a user's text makes no control token.
#![no_main]

use std::sync::LazyLock;

use dormouse::gguf::{Builder, Gguf};
use dormouse::tokenize::{EncodeOptions, Tokenizer};
use libfuzzer_sys::fuzz_target;

struct Case {
    tokenizer: Tokenizer,
    /// Whether decoding gives exactly what was encoded; else but for spaces.
    exact: bool,
    controls: Vec<u32>,
}

fn case(file: &Builder, exact: bool, controls: &[u32]) -> Case {
    let tokenizer = dormouse_fuzz::with_file(&file.build(), |source| {
        Tokenizer::from_gguf(&Gguf::open(source).expect("a sound file"))
            .expect("a sound vocabulary")
    });
    Case {
        tokenizer,
        exact,
        controls: controls.to_vec(),
    }
}

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let mut cases: Vec<Case> = [
        "smollm",
        "llama-bpe",
        "qwen2",
        "deepseek-coder",
        "gpt-4o",
        "falcon",
    ]
    .map(|pre| case(&dormouse_fuzz::bpe(pre), true, &[256, 257]))
    .into();
    cases.push(case(&dormouse_fuzz::spm(), false, &[1, 2]));
    cases
});

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, rest)) = bytes.split_first() else {
        return;
    };
    let case = &CASES[usize::from(first) % CASES.len()];
    let text = String::from_utf8_lossy(rest);
    let encode = |parse_special| {
        let options = EncodeOptions {
            add_special: false,
            parse_special,
        };
        case.tokenizer
            .encode(&text, options)
            .expect("any text can be encoded")
    };
    let plain = encode(false);
    assert!(
        !plain.iter().any(|id| case.controls.contains(id)),
        "a control token out of plain text"
    );
    for tokens in [plain, encode(true)] {
        let decoded = case.tokenizer.decode(&tokens, true);
        if case.exact {
            assert_eq!(decoded, text.as_bytes());
        } else {
            let decoded = String::from_utf8_lossy(&decoded);
            // SentencePiece has one sign for a space and for that sign itself, and puts a space
            // before a text and behind special tokens.
            let without = |text: &str| text.replace([' ', '\u{2581}'], "");
            assert_eq!(without(&decoded), without(&text));
        }
    }
});
