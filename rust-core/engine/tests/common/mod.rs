//! What tests of the text rooms share: files from bytes, and two tiny vocabularies.
#![allow(dead_code, clippy::unwrap_used)]

use std::sync::atomic::{AtomicU32, Ordering};

use dormouse::Result;
use dormouse::gguf::{Builder, Gguf, Source};
use dormouse::tokenize::Tokenizer;

pub(crate) const CHATML: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content | trim + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// Opens what the builder wrote; the file is gone afterwards, the mapping stays.
pub(crate) fn open(builder: &Builder) -> Result<Gguf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let path = std::env::temp_dir().join(format!(
        "dormouse-text-{}-{}.gguf",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    ));
    builder.write(&path).unwrap();
    let gguf = Gguf::open(&Source::path(&path));
    std::fs::remove_file(&path).unwrap();
    gguf
}

pub(crate) fn tokenizer(builder: &Builder) -> Result<Tokenizer> {
    Tokenizer::from_gguf(&open(builder)?)
}

/// GPT-2's characters for the bytes 0 to 255.
pub(crate) fn byte_alphabet() -> Vec<String> {
    let mut moved = 0x100;
    (0..=255u8)
        .map(|byte| match byte {
            0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => char::from(byte).to_string(),
            _ => {
                moved += 1;
                char::from_u32(moved - 1).unwrap().to_string()
            }
        })
        .collect()
}

pub(crate) const IM_START: u32 = 256;
pub(crate) const IM_END: u32 = 257;

/// Byte-level BPE: 256 bytes, `<|im_start|>`, `<|im_end|>`, and what the merges make.
pub(crate) fn bpe_parts() -> (Vec<String>, Vec<i32>, Vec<String>) {
    let mut tokens = byte_alphabet();
    tokens.extend(["<|im_start|>", "<|im_end|>"].map(String::from));
    let merges = [
        "h e", "l l", "he ll", "hell o", "Ġ hello", "u s", "us e", "use r",
    ];
    tokens.extend(merges.map(|merge| merge.replace(' ', "")));
    let mut types = vec![1; tokens.len()];
    types[IM_START as usize] = 3;
    types[IM_END as usize] = 3;
    (tokens, types, merges.map(String::from).to_vec())
}

pub(crate) fn bpe_with(tokens: &[String], types: &[i32], merges: &[String]) -> Builder {
    Builder::new()
        .str("general.architecture", "llama")
        .str("tokenizer.ggml.model", "gpt2")
        .str("tokenizer.ggml.pre", "smollm")
        .strings("tokenizer.ggml.tokens", tokens)
        .i32s("tokenizer.ggml.token_type", types)
        .strings("tokenizer.ggml.merges", merges)
        .u32("tokenizer.ggml.bos_token_id", IM_START)
        .u32("tokenizer.ggml.eos_token_id", IM_END)
}

pub(crate) fn bpe() -> Builder {
    let (tokens, types, merges) = bpe_parts();
    bpe_with(&tokens, &types, &merges)
}

/// SPM: unk, BOS, EOS, the 256 bytes, then scored pieces and two user-defined ones.
pub(crate) fn spm_parts() -> (Vec<String>, Vec<f32>, Vec<i32>) {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).to_vec();
    let mut types = vec![2, 3, 3];
    let mut scores = vec![0.0; 3];
    for byte in 0..256 {
        tokens.push(format!("<0x{byte:02X}>"));
        types.push(6);
        scores.push(0.0);
    }
    let pieces = [
        ("\u{2581}", -9.0),
        ("a", -8.0),
        ("b", -8.0),
        ("c", -8.0),
        ("ab", -2.0),
        ("bc", -1.0),
        ("\u{2581}a", -3.0),
        ("aa", -4.0),
    ];
    for (piece, score) in pieces {
        tokens.push(piece.to_owned());
        types.push(1);
        scores.push(score);
    }
    for piece in ["\n\n", "\n\n\n"] {
        tokens.push(piece.to_owned());
        types.push(4);
        scores.push(0.0);
    }
    (tokens, scores, types)
}

pub(crate) fn spm_with(tokens: &[String], scores: &[f32], types: &[i32]) -> Builder {
    Builder::new()
        .str("general.architecture", "llama")
        .str("tokenizer.ggml.model", "llama")
        .strings("tokenizer.ggml.tokens", tokens)
        .f32s("tokenizer.ggml.scores", scores)
        .i32s("tokenizer.ggml.token_type", types)
}

pub(crate) fn spm() -> Builder {
    let (tokens, scores, types) = spm_parts();
    spm_with(&tokens, &scores, &types)
}
