//! Writes a random model of the shape of Llama 3.2 1B: `llama_1b q4_0|q4_k FILE`. For measuring speed: it
//! says nothing sensible.
//!
//! 16 layers, 2048 wide, 32 query heads on 8 key heads of 64, feed-forward 8192; a vocabulary of 32000
//! and a head of its own (Llama 3.2 has 128256 tokens and shares the head with the embedding: here the
//! embedding is not read when a token is decoded). All matrices are of the one type; 0.6 GB. The blocks
//! are random bits with scales that keep activations near 1, so logits are finite. The same bytes every
//! time; they go straight to the file.
//!
//! The tokenizer is SPM with all words of up to three letters, with and without a space before, as
//! far as there is room. The head has no weights for control tokens and single bytes: whatever the
//! model says is text.

use std::path::Path;
use std::process::ExitCode;

use dormouse::gguf::{Builder, StreamedTensor};
use dormouse::model::GgmlType;
use half::f16;

const LAYERS: u32 = 16;
const WIDTH: u64 = 2048;
const HEADS: u32 = 32;
const KV_HEADS: u32 = 8;
const HEAD_DIM: u64 = 64;
const FEED_FORWARD: u64 = 8192;
const VOCABULARY: u64 = 32_000;
const CONTEXT: u32 = 8192;

/// Unknown, BOS, EOS, and the bytes.
const NO_TEXT: usize = 3 + 256;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let types = [GgmlType::Q4_0, GgmlType::Q4_K];
    let named = |name: &std::ffi::OsString| {
        let name = name.to_string_lossy().to_lowercase();
        types
            .into_iter()
            .find(|ty| ty.name().to_lowercase() == name)
    };
    let Some((ty, path)) = arguments
        .first()
        .and_then(named)
        .zip(arguments.get(1))
        .filter(|_| arguments.len() == 2)
    else {
        eprintln!("usage: llama_1b q4_0|q4_k FILE");
        return ExitCode::from(2);
    };
    match write(ty, Path::new(path)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn write(ty: GgmlType, path: &Path) -> dormouse::Result<()> {
    let mut random = Random(0x001b);
    metadata(ty).write_streamed(path, &tensors(ty), |tensor, out| {
        if tensor.type_id == GgmlType::F32.id() {
            return (0..tensor.dims[0]).try_for_each(|_| out.write_all(&1f32.to_le_bytes()));
        }
        // Of a product of so many terms the standard deviation is then 1.
        let deviation = 1.0 / (tensor.dims[0] as f32).sqrt();
        let blocks = tensor.dims[0] as usize / ty.block_len();
        let mut row = Vec::with_capacity(blocks * ty.block_bytes());
        for n in 0..tensor.dims[1] as usize {
            let silent = tensor.name == "output.weight" && n < NO_TEXT;
            row.clear();
            for _ in 0..blocks {
                let deviation = if silent { 0.0 } else { deviation };
                match ty {
                    GgmlType::Q4_0 => q4_0(&mut random, deviation, &mut row),
                    _ => q4_k(&mut random, deviation, &mut row),
                }
            }
            out.write_all(&row)?;
        }
        Ok(())
    })
}

fn metadata(ty: GgmlType) -> Builder {
    let (tokens, scores, types) = vocabulary();
    let name = format!("Random of the shape of Llama 3.2 1B, {}", ty.name());
    Builder::new()
        .str("general.architecture", "llama")
        .str("general.name", &name)
        .u32("llama.block_count", LAYERS)
        .u32("llama.context_length", CONTEXT)
        .u32("llama.embedding_length", WIDTH as u32)
        .u32("llama.feed_forward_length", FEED_FORWARD as u32)
        .u32("llama.attention.head_count", HEADS)
        .u32("llama.attention.head_count_kv", KV_HEADS)
        .f32("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .u32("llama.rope.dimension_count", HEAD_DIM as u32)
        .f32("llama.rope.freq_base", 500_000.0)
        .u32("llama.vocab_size", VOCABULARY as u32)
        .str("tokenizer.ggml.model", "llama")
        .strings("tokenizer.ggml.tokens", &tokens)
        .f32s("tokenizer.ggml.scores", &scores)
        .i32s("tokenizer.ggml.token_type", &types)
        .u32("tokenizer.ggml.unknown_token_id", 0)
        .u32("tokenizer.ggml.bos_token_id", 1)
        .u32("tokenizer.ggml.eos_token_id", 2)
        .bool("tokenizer.ggml.add_bos_token", true)
}

/// Tokens, scores (merges that come earlier go first) and types.
fn vocabulary() -> (Vec<String>, Vec<f32>, Vec<i32>) {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).to_vec();
    tokens.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
    let mut types = vec![2, 3, 3];
    types.resize(NO_TEXT, 6);
    tokens.push("\u{2581}".into());
    let mut words = vec![String::new()];
    for _ in 0..3 {
        words = words
            .iter()
            .flat_map(|word| ('a'..='z').map(move |letter| format!("{word}{letter}")))
            .collect();
        tokens.extend(words.iter().cloned());
        tokens.extend(words.iter().map(|word| format!("\u{2581}{word}")));
    }
    tokens.truncate(VOCABULARY as usize);
    types.resize(tokens.len(), 1);
    let score = |n: usize| -(n.saturating_sub(NO_TEXT) as f32);
    let scores = (0..tokens.len()).map(score).collect();
    (tokens, scores, types)
}

fn tensors(ty: GgmlType) -> Vec<StreamedTensor> {
    let matrix = |name: String, rows: u64, cols: u64| StreamedTensor {
        name: format!("{name}.weight"),
        dims: vec![cols, rows],
        type_id: ty.id(),
        bytes: rows * (cols / ty.block_len() as u64) * ty.block_bytes() as u64,
    };
    let norm = |name: String| StreamedTensor {
        name: format!("{name}.weight"),
        dims: vec![WIDTH],
        type_id: GgmlType::F32.id(),
        bytes: WIDTH * 4,
    };
    let kv_width = u64::from(KV_HEADS) * HEAD_DIM;
    let mut all = vec![matrix("token_embd".into(), VOCABULARY, WIDTH)];
    for layer in 0..LAYERS {
        let of = |part: &str| format!("blk.{layer}.{part}");
        all.extend([
            norm(of("attn_norm")),
            matrix(of("attn_q"), WIDTH, WIDTH),
            matrix(of("attn_k"), kv_width, WIDTH),
            matrix(of("attn_v"), kv_width, WIDTH),
            matrix(of("attn_output"), WIDTH, WIDTH),
            norm(of("ffn_norm")),
            matrix(of("ffn_gate"), FEED_FORWARD, WIDTH),
            matrix(of("ffn_up"), FEED_FORWARD, WIDTH),
            matrix(of("ffn_down"), WIDTH, FEED_FORWARD),
        ]);
    }
    all.push(norm("output_norm".into()));
    all.push(matrix("output".into(), VOCABULARY, WIDTH));
    all
}

/// The standard deviation of a whole number drawn from 16 in a row.
const NIBBLE: f32 = 4.61;

/// 32 weights: a scale, and numbers from -8 to 7 as nibbles.
fn q4_0(random: &mut Random, deviation: f32, out: &mut Vec<u8>) {
    // From a half to one and a half times the usual scale.
    let spread = 0.5 + random.below(256) as f32 / 256.0;
    out.extend(f16::from_f32(deviation / NIBBLE * spread).to_le_bytes());
    random.bytes(16, out);
}

/// 256 weights in 8 groups: `d * scale * nibble - dmin * min`, here with each group's min equal to its
/// scale and `dmin` 7.5 times `d`, so that their mean is 0.
fn q4_k(random: &mut Random, deviation: f32, out: &mut Vec<u8>) {
    let d = deviation / NIBBLE / 32.0;
    out.extend(f16::from_f32(d).to_le_bytes());
    out.extend(f16::from_f32(7.5 * d).to_le_bytes());
    // Six bits each: the low groups' in bytes of their own, of the high ones' the low four bits in
    // the last four bytes and the high two bits above the low groups'.
    let scales: [u8; 8] = std::array::from_fn(|_| 16 + random.below(32) as u8);
    let low: [u8; 4] = std::array::from_fn(|j| scales[j] | scales[j + 4] >> 4 << 6);
    out.extend(low);
    out.extend(low);
    out.extend(scales[4..].iter().map(|scale| (scale & 15) * 0x11));
    random.bytes(128, out);
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below a power of two of at most 2^32.
    fn below(&mut self, power: u64) -> u64 {
        self.next() >> 32 & (power - 1)
    }

    fn bytes(&mut self, count: usize, out: &mut Vec<u8>) {
        for _ in 0..count / 8 {
            out.extend(self.next().to_le_bytes());
        }
    }
}
