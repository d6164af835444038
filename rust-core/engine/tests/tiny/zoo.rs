//! A tiny random model of every architecture, less than 300 KB each: narrow with all its kinds of
//! layers, or one wide layer (256, for the K-quants).

use dormouse::gguf::Builder;

use super::{Tensor, Tiny, Value};

/// The architectures, and variants of them whose keys change what is computed.
pub(crate) const NAMES: [&str; 13] = [
    "gemma",
    "gemma2",
    "gemma3",
    "granite",
    "llama",
    "llama-yarn",
    "olmo2",
    "olmo2-window",
    "phi3",
    "qwen2",
    "qwen3",
    "smollm3",
    "starcoder2",
];

pub(crate) const N_VOCAB: u64 = 40;
/// Contexts up to this one use phi3's factors for short ones.
pub(crate) const SHORT_CONTEXT: u32 = 256;
const CONTEXT: u32 = 1024;
const WINDOW: u32 = 16;

/// Of the adapters.
const RANK: u64 = 4;

/// The dimensions of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    n_embd: u64,
    n_layer: u64,
    n_head: u64,
    n_kv_head: u64,
    head_dim: u64,
    n_ff: u64,
}

pub(crate) const NARROW: Shape = Shape {
    n_embd: 32,
    n_layer: 4,
    n_head: 4,
    n_kv_head: 2,
    head_dim: 8,
    n_ff: 64,
};

pub(crate) const WIDE: Shape = Shape {
    n_embd: 256,
    n_layer: 1,
    n_head: 8,
    n_kv_head: 1,
    head_dim: 32,
    n_ff: 256,
};

/// What an architecture adds to the parts that all have.
pub(crate) fn model(name: &str, shape: Shape) -> Tiny {
    let (arch, variant) = name.split_once('-').unwrap_or((name, ""));
    let arch = *NAMES.iter().find(|known| **known == arch).unwrap();
    // By the name, so that another architecture changes no file.
    let seed = name
        .bytes()
        .fold(0, |seed, byte| seed * 31 + u64::from(byte));
    let mut shape = shape;
    if arch == "gemma3" && shape == NARROW {
        shape.n_layer = 6; // the sixth sees all
    }
    let mut tiny = Tiny::bare(arch, seed);
    base(&mut tiny, shape);
    match arch {
        "gemma2" => {
            tiny.set("attention.sliding_window", Value::U32(WINDOW));
            tiny.set("attn_logit_softcapping", Value::F32(2.0));
            tiny.set("final_logit_softcapping", Value::F32(5.0));
            post_norms(&mut tiny, shape);
        }
        "gemma3" => {
            tiny.set("attention.sliding_window", Value::U32(WINDOW));
            tiny.set("rope.freq_base", Value::F32(1_000_000.0));
            qk_norms(&mut tiny, shape, shape.head_dim, shape.head_dim);
            post_norms(&mut tiny, shape);
        }
        "granite" => {
            tiny.set("embedding_scale", Value::F32(3.0));
            tiny.set("attention.scale", Value::F32(0.25));
            tiny.set("residual_scale", Value::F32(0.4));
            tiny.set("logit_scale", Value::F32(2.0));
        }
        "llama" => {
            if shape == NARROW {
                head(&mut tiny, shape);
            }
            if variant == "yarn" {
                tiny.set("rope.scaling.type", Value::Str("yarn"));
                tiny.set("rope.scaling.factor", Value::F32(4.0));
                tiny.set("rope.scaling.original_context_length", Value::U32(256));
            } else {
                tiny.vector("rope_freqs.weight", shape.head_dim / 2, 4.0, 3.0);
            }
        }
        "olmo2" => {
            head(&mut tiny, shape);
            for layer in 0..shape.n_layer {
                tiny.remove(&format!("blk.{layer}.attn_norm.weight"));
                tiny.remove(&format!("blk.{layer}.ffn_norm.weight"));
            }
            let rows = [shape.n_head, shape.n_kv_head].map(|heads| heads * shape.head_dim);
            qk_norms(&mut tiny, shape, rows[0], rows[1]);
            post_norms(&mut tiny, shape);
            if variant == "window" {
                tiny.set("attention.sliding_window", Value::U32(WINDOW));
                tiny.set("rope.scaling.type", Value::Str("linear"));
                tiny.set("rope.scaling.factor", Value::F32(4.0));
            }
        }
        "phi3" => {
            tiny.set("rope.scaling.attn_factor", Value::F32(1.2));
            tiny.set(
                "rope.scaling.original_context_length",
                Value::U32(SHORT_CONTEXT),
            );
            let turned = shape.head_dim * 3 / 4;
            tiny.set("rope.dimension_count", Value::U32(turned as u32));
            tiny.vector("rope_factors_short.weight", turned / 2, 1.5, 0.5);
            tiny.vector("rope_factors_long.weight", turned / 2, 4.0, 3.0);
            fuse(&mut tiny, shape);
        }
        "qwen2" => {
            for layer in 0..shape.n_layer {
                bias(&mut tiny, layer, "attn_q", shape.n_head * shape.head_dim);
                bias(&mut tiny, layer, "attn_k", shape.n_kv_head * shape.head_dim);
                bias(&mut tiny, layer, "attn_v", shape.n_kv_head * shape.head_dim);
            }
        }
        "qwen3" => qk_norms(&mut tiny, shape, shape.head_dim, shape.head_dim),
        "gemma" | "smollm3" => {}
        "starcoder2" => {
            tiny.unset("attention.layer_norm_rms_epsilon");
            tiny.set("attention.layer_norm_epsilon", Value::F32(1e-5));
            tiny.vector("output_norm.bias", shape.n_embd, 0.0, 0.5);
            for layer in 0..shape.n_layer {
                tiny.remove(&format!("blk.{layer}.ffn_gate.weight"));
                for (part, width) in [
                    ("attn_norm", shape.n_embd),
                    ("ffn_norm", shape.n_embd),
                    ("attn_q", shape.n_head * shape.head_dim),
                    ("attn_k", shape.n_kv_head * shape.head_dim),
                    ("attn_v", shape.n_kv_head * shape.head_dim),
                    ("attn_output", shape.n_embd),
                    ("ffn_up", shape.n_ff),
                    ("ffn_down", shape.n_embd),
                ] {
                    bias(&mut tiny, layer, part, width);
                }
            }
        }
        other => panic!("no model of architecture {other}"),
    }
    tiny
}

/// The file, on a small SPM vocabulary.
pub(crate) fn file(
    name: &str,
    shape: Shape,
    encode: impl Fn(&Tensor) -> (u32, Vec<u8>),
) -> Builder {
    on_vocabulary(&model(name, shape), encode)
}

/// The file of a model that was changed.
pub(crate) fn on_vocabulary(tiny: &Tiny, encode: impl Fn(&Tensor) -> (u32, Vec<u8>)) -> Builder {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>", "\u{2581}"]
        .map(str::to_owned)
        .into();
    tokens.extend(('a'..).take(26).map(String::from));
    tokens.extend(
        ('0'..)
            .take(N_VOCAB as usize - tokens.len())
            .map(String::from),
    );
    let types: Vec<i32> = (0..tokens.len())
        .map(|id| match id {
            0 => 2,
            1 | 2 => 3,
            _ => 1,
        })
        .collect();
    let builder = Builder::new()
        .str("general.architecture", tiny.arch)
        .str("tokenizer.ggml.model", "llama")
        .strings("tokenizer.ggml.tokens", &tokens)
        .f32s("tokenizer.ggml.scores", &vec![-1.0; tokens.len()])
        .i32s("tokenizer.ggml.token_type", &types);
    tiny.build_on(builder, encode)
}

/// A LoRA adapter of every matrix of a narrow model but the embedding.
pub(crate) fn adapter(name: &str) -> Builder {
    let base = model(name, NARROW);
    let mut tiny = Tiny::bare(base.arch, 7);
    let matrices = base.tensors.iter().filter(|tensor| tensor.dims.len() == 2);
    for tensor in matrices.filter(|tensor| tensor.name != "token_embd.weight") {
        let [cols, rows] = [tensor.dims[0], tensor.dims[1]];
        tiny.matrix(&format!("{}.lora_a", tensor.name), RANK, cols);
        tiny.matrix(&format!("{}.lora_b", tensor.name), rows, RANK);
    }
    let builder = Builder::new()
        .str("general.type", "adapter")
        .str("general.architecture", base.arch)
        .str("adapter.type", "lora")
        .f32("adapter.lora.alpha", 6.0);
    tiny.build_on(builder, super::f32_bytes)
}

fn base(tiny: &mut Tiny, shape: Shape) {
    for (key, value) in [
        ("embedding_length", shape.n_embd),
        ("block_count", shape.n_layer),
        ("attention.head_count", shape.n_head),
        ("attention.head_count_kv", shape.n_kv_head),
        ("attention.key_length", shape.head_dim),
        ("attention.value_length", shape.head_dim),
        ("feed_forward_length", shape.n_ff),
        ("context_length", u64::from(CONTEXT)),
        ("rope.dimension_count", shape.head_dim),
    ] {
        tiny.set(key, Value::U32(value as u32));
    }
    tiny.set("attention.layer_norm_rms_epsilon", Value::F32(1e-5));
    let (q, kv) = (
        shape.n_head * shape.head_dim,
        shape.n_kv_head * shape.head_dim,
    );
    tiny.matrix("token_embd.weight", N_VOCAB, shape.n_embd);
    tiny.vector("output_norm.weight", shape.n_embd, 0.3, 0.1);
    for layer in 0..shape.n_layer {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        tiny.vector(&name("attn_norm"), shape.n_embd, 1.0, 0.2);
        tiny.vector(&name("ffn_norm"), shape.n_embd, 1.0, 0.2);
        tiny.matrix(&name("attn_q"), q, shape.n_embd);
        tiny.matrix(&name("attn_k"), kv, shape.n_embd);
        tiny.matrix(&name("attn_v"), kv, shape.n_embd);
        tiny.matrix(&name("attn_output"), shape.n_embd, q);
        tiny.matrix(&name("ffn_gate"), shape.n_ff, shape.n_embd);
        tiny.matrix(&name("ffn_up"), shape.n_ff, shape.n_embd);
        tiny.matrix(&name("ffn_down"), shape.n_embd, shape.n_ff);
    }
}

fn head(tiny: &mut Tiny, shape: Shape) {
    tiny.matrix("output.weight", N_VOCAB, shape.n_embd);
}

fn bias(tiny: &mut Tiny, layer: u64, part: &str, width: u64) {
    tiny.vector(&format!("blk.{layer}.{part}.bias"), width, 0.2, 0.5);
}

fn qk_norms(tiny: &mut Tiny, shape: Shape, query: u64, key: u64) {
    for layer in 0..shape.n_layer {
        tiny.vector(&format!("blk.{layer}.attn_q_norm.weight"), query, 1.0, 0.3);
        tiny.vector(&format!("blk.{layer}.attn_k_norm.weight"), key, 1.0, 0.3);
    }
}

fn post_norms(tiny: &mut Tiny, shape: Shape) {
    for layer in 0..shape.n_layer {
        for part in ["post_attention_norm", "post_ffw_norm"] {
            tiny.vector(
                &format!("blk.{layer}.{part}.weight"),
                shape.n_embd,
                0.7,
                0.2,
            );
        }
    }
}

/// Query, key and value in one tensor, gate and up in another.
fn fuse(tiny: &mut Tiny, shape: Shape) {
    let q_kv = (shape.n_head + 2 * shape.n_kv_head) * shape.head_dim;
    for layer in 0..shape.n_layer {
        for part in ["attn_q", "attn_k", "attn_v", "ffn_gate"] {
            tiny.remove(&format!("blk.{layer}.{part}.weight"));
        }
        tiny.matrix(&format!("blk.{layer}.attn_qkv.weight"), q_kv, shape.n_embd);
        tiny.matrix(
            &format!("blk.{layer}.ffn_up.weight"),
            2 * shape.n_ff,
            shape.n_embd,
        );
    }
}
