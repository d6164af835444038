//! What the targets share: a file that is written anew for each input, and the smallest model with
//! some of everything.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::sync::{Mutex, PoisonError};

use dormouse::gguf::{Builder, Source};

/// Writes `bytes` to this process's one file and gives it to `work` to open; nobody else cuts it.
///
/// # Panics
/// When the temporary folder cannot be written.
pub fn with_file<T>(bytes: &[u8], work: impl FnOnce(&Source) -> T) -> T {
    static FILE: Mutex<Option<File>> = Mutex::new(None);
    let mut slot = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let file = slot.get_or_insert_with(|| {
        let name = format!("dormouse-fuzz-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .expect("a file in the temporary folder");
        // Without a name it goes with the process.
        std::fs::remove_file(&path).expect("the file can be removed");
        file
    });
    file.set_len(0).expect("the file can be cut");
    file.seek(SeekFrom::Start(0)).expect("the file has a start");
    file.write_all(bytes).expect("the file can be written");
    let source = Source::Window {
        file: file.try_clone().expect("a descriptor more"),
        offset: 0,
        length: bytes.len() as u64,
    };
    work(&source)
}

const F32: u32 = 0;
const Q4_0: u32 = 2;

fn byte_alphabet() -> Vec<String> {
    let mut moved = 0x100;
    (0..=255u8)
        .map(|byte| match byte {
            0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => char::from(byte).to_string(),
            _ => {
                moved += 1;
                char::from_u32(moved - 1).expect("a letter").to_string()
            }
        })
        .collect()
}

fn architecture() -> Builder {
    Builder::new().str("general.architecture", "llama")
}

/// Byte-level BPE with a handful of merges, two control tokens and a user-defined one.
pub fn bpe(pre: &str) -> Builder {
    let mut tokens = byte_alphabet();
    let merges = ["h e", "l l", "he ll", "hell o", "Ġ hello", "1 2", "12 3"];
    tokens.extend(["<|im_start|>", "<|im_end|>", "<tool>"].map(String::from));
    tokens.extend(merges.map(|merge| merge.replace(' ', "")));
    let mut types = vec![1; tokens.len()];
    types[256..258].fill(3);
    types[258] = 4;
    architecture()
        .str("tokenizer.ggml.model", "gpt2")
        .str("tokenizer.ggml.pre", pre)
        .strings("tokenizer.ggml.tokens", &tokens)
        .i32s("tokenizer.ggml.token_type", &types)
        .strings("tokenizer.ggml.merges", &merges)
        .u32("tokenizer.ggml.bos_token_id", 256)
        .u32("tokenizer.ggml.eos_token_id", 257)
}

/// SentencePiece BPE with bytes to fall back on.
pub fn spm() -> Builder {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).to_vec();
    let mut types = vec![2, 3, 3];
    let mut scores = vec![0.0; 3];
    for byte in 0..256 {
        tokens.push(format!("<0x{byte:02X}>"));
        types.push(6);
        scores.push(0.0);
    }
    let pieces = [
        "\u{2581}",
        "a",
        "b",
        "ab",
        "ba",
        "\u{2581}a",
        "aa",
        "\u{2581}\u{2581}",
    ];
    for (at, piece) in pieces.into_iter().enumerate() {
        tokens.push(piece.to_owned());
        types.push(1);
        scores.push(-1.0 - at as f32);
    }
    tokens.push("<|user|>".to_owned());
    types.push(4);
    scores.push(0.0);
    architecture()
        .str("tokenizer.ggml.model", "llama")
        .strings("tokenizer.ggml.tokens", &tokens)
        .f32s("tokenizer.ggml.scores", &scores)
        .i32s("tokenizer.ggml.token_type", &types)
}

/// A whole llama of one layer of width 32 over the SentencePiece vocabulary's first pieces.
pub fn model() -> Vec<u8> {
    let pieces = [
        "<unk>",
        "<s>",
        "</s>",
        "<|x|>",
        "\u{2581}",
        "a",
        "b",
        "ab",
        "\u{2581}a",
        "aa",
        "\n",
        "<0x0A>",
    ];
    let template = "{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}";
    let mut builder = architecture()
        .str("tokenizer.ggml.model", "llama")
        .strings("tokenizer.ggml.tokens", &pieces)
        .f32s("tokenizer.ggml.scores", &[0.0; 12])
        .i32s(
            "tokenizer.ggml.token_type",
            &[2, 3, 3, 4, 1, 1, 1, 1, 1, 1, 1, 6],
        )
        .bool("tokenizer.ggml.add_bos_token", true)
        .str("tokenizer.chat_template", template);
    for (key, value) in [
        ("embedding_length", 32),
        ("block_count", 1),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
        ("feed_forward_length", 32),
        ("context_length", 64),
        ("rope.dimension_count", 16),
    ] {
        builder = builder.u32(&format!("llama.{key}"), value);
    }
    builder = builder.f32("llama.attention.layer_norm_rms_epsilon", 1e-5);
    let mut state = 1u32;
    let mut tensor = |builder: Builder, name: &str, dims: &[u64]| match *dims {
        [width] => builder.tensor(name, dims, F32, &1f32.to_le_bytes().repeat(width as usize)),
        _ => {
            let blocks = dims.iter().product::<u64>() / 32;
            let mut bytes = Vec::new();
            for _ in 0..blocks {
                // 1/32 in half precision, and 32 random halves of a byte.
                bytes.extend([0x00, 0x28]);
                bytes.extend((0..16).map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                }));
            }
            builder.tensor(name, dims, Q4_0, &bytes)
        }
    };
    for (name, dims) in [
        ("token_embd.weight", &[32, 12][..]),
        ("output_norm.weight", &[32]),
        ("blk.0.attn_norm.weight", &[32]),
        ("blk.0.ffn_norm.weight", &[32]),
        ("blk.0.attn_q.weight", &[32, 32]),
        ("blk.0.attn_k.weight", &[32, 16]),
        ("blk.0.attn_v.weight", &[32, 16]),
        ("blk.0.attn_output.weight", &[32, 32]),
        ("blk.0.ffn_gate.weight", &[32, 32]),
        ("blk.0.ffn_up.weight", &[32, 32]),
        ("blk.0.ffn_down.weight", &[32, 32]),
    ] {
        builder = tensor(builder, name, dims);
    }
    builder.build()
}
