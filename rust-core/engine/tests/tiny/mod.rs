//! Tiny random models as GGUF files: small enough to compute in milliseconds, wide enough (256)
//! for the K-quants. Seeded, so a failure can be had again.
#![allow(dead_code, clippy::unwrap_used)]

#[cfg(feature = "reference")]
mod blocks;
#[cfg(feature = "reference")]
pub(crate) mod encode;
pub(crate) mod zoo;

use std::sync::atomic::{AtomicU32, Ordering};

use dormouse::Result;
use dormouse::gguf::{Builder, Source};
use dormouse::model::{LoadOptions, Model};

use crate::common;

pub(crate) const F32: u32 = 0;
pub(crate) const N_EMBD: u64 = 256;
pub(crate) const WINDOW: u32 = 16;

#[derive(Clone, Copy)]
pub(crate) enum Value {
    U32(u32),
    F32(f32),
    Str(&'static str),
}

#[derive(Clone)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    /// Columns first.
    pub(crate) dims: Vec<u64>,
    pub(crate) values: Vec<f32>,
}

/// A model before it is written: keys and tensors may be changed, taken out or added.
#[derive(Clone)]
pub(crate) struct Tiny {
    pub(crate) arch: &'static str,
    pub(crate) keys: Vec<(&'static str, Value)>,
    pub(crate) tensors: Vec<Tensor>,
    state: u64,
}

impl Tiny {
    /// 2 layers, 4 query heads on 2 key heads, a head of its own.
    pub(crate) fn llama(seed: u64) -> Self {
        let mut tiny = Self::new("llama", 2, seed);
        tiny.layers(2, 512, 64);
        tiny.matrix("output.weight", 266, N_EMBD);
        tiny
    }

    /// 7 layers, of which the sixth is global; the head is the embedding.
    pub(crate) fn gemma3(seed: u64) -> Self {
        let mut tiny = Self::new("gemma3", 7, seed);
        tiny.set("attention.sliding_window", Value::U32(WINDOW));
        tiny.layers(7, 256, 64);
        for layer in 0..7 {
            for (part, width) in [
                ("attn_q_norm", 64),
                ("attn_k_norm", 64),
                ("post_attention_norm", N_EMBD),
                ("post_ffw_norm", N_EMBD),
            ] {
                tiny.vector(&format!("blk.{layer}.{part}.weight"), width, 1.0, 0.2);
            }
        }
        tiny
    }

    /// Without keys and tensors.
    pub(crate) fn bare(arch: &'static str, seed: u64) -> Self {
        Self {
            arch,
            keys: Vec::new(),
            tensors: Vec::new(),
            state: seed,
        }
    }

    fn new(arch: &'static str, n_layer: u32, seed: u64) -> Self {
        let keys = [
            ("embedding_length", Value::U32(N_EMBD as u32)),
            ("block_count", Value::U32(n_layer)),
            ("attention.head_count", Value::U32(4)),
            ("attention.head_count_kv", Value::U32(2)),
            ("attention.key_length", Value::U32(64)),
            ("attention.value_length", Value::U32(64)),
            ("attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
            ("context_length", Value::U32(512)),
        ];
        Self {
            keys: keys.to_vec(),
            ..Self::bare(arch, seed)
        }
    }

    /// (Re)makes the tensors that every architecture has.
    pub(crate) fn layers(&mut self, n_layer: u64, n_ff: u64, head_dim: u64) {
        self.set("feed_forward_length", Value::U32(n_ff as u32));
        self.matrix("token_embd.weight", 266, N_EMBD);
        self.vector("output_norm.weight", N_EMBD, 3.0, 0.5);
        for layer in 0..n_layer {
            let name = |part: &str| format!("blk.{layer}.{part}.weight");
            self.vector(&name("attn_norm"), N_EMBD, 1.0, 0.2);
            self.vector(&name("ffn_norm"), N_EMBD, 1.0, 0.2);
            self.matrix(&name("attn_q"), 4 * head_dim, N_EMBD);
            self.matrix(&name("attn_k"), 2 * head_dim, N_EMBD);
            self.matrix(&name("attn_v"), 2 * head_dim, N_EMBD);
            self.matrix(&name("attn_output"), N_EMBD, 4 * head_dim);
            self.matrix(&name("ffn_gate"), n_ff, N_EMBD);
            self.matrix(&name("ffn_up"), n_ff, N_EMBD);
            self.matrix(&name("ffn_down"), N_EMBD, n_ff);
        }
    }

    /// Uniform in -1 to 1 (splitmix64).
    fn random(&mut self) -> f32 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn put(&mut self, name: &str, dims: &[u64], centre: f32, spread: f32) {
        let count = dims.iter().product::<u64>();
        let values = (0..count)
            .map(|_| centre + spread * self.random())
            .collect();
        self.tensors.retain(|tensor| tensor.name != name);
        self.tensors.push(Tensor {
            name: name.to_owned(),
            dims: dims.to_vec(),
            values,
        });
    }

    /// Products of unit-variance inputs have unit variance.
    pub(crate) fn matrix(&mut self, name: &str, rows: u64, cols: u64) {
        self.put(name, &[cols, rows], 0.0, (3.0 / cols as f32).sqrt());
    }

    pub(crate) fn vector(&mut self, name: &str, len: u64, centre: f32, spread: f32) {
        self.put(name, &[len], centre, spread);
    }

    pub(crate) fn set(&mut self, key: &'static str, value: Value) {
        self.unset(key);
        self.keys.push((key, value));
    }

    pub(crate) fn unset(&mut self, key: &str) {
        self.keys.retain(|(known, _)| *known != key);
    }

    pub(crate) fn tensor(&mut self, name: &str) -> &mut Tensor {
        self.tensors.iter_mut().find(|t| t.name == name).unwrap()
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.tensors.retain(|tensor| tensor.name != name);
    }

    /// The file; `encode` gives the type and bytes of each matrix, vectors stay F32.
    pub(crate) fn build(&self, encode: impl Fn(&Tensor) -> (u32, Vec<u8>)) -> Builder {
        let (tokens, types, merges) = common::bpe_parts();
        let builder = Builder::new()
            .str("general.architecture", self.arch)
            .str("tokenizer.ggml.model", "gpt2")
            .str("tokenizer.ggml.pre", "smollm")
            .strings("tokenizer.ggml.tokens", &tokens)
            .i32s("tokenizer.ggml.token_type", &types)
            .strings("tokenizer.ggml.merges", &merges)
            .u32("tokenizer.ggml.bos_token_id", common::IM_START)
            .u32("tokenizer.ggml.eos_token_id", common::IM_END);
        self.build_on(builder, encode)
    }

    /// The tensors alone, for a later part of a split model.
    pub(crate) fn build_bare(&self, encode: impl Fn(&Tensor) -> (u32, Vec<u8>)) -> Builder {
        let bare = Self {
            keys: Vec::new(),
            ..self.clone()
        };
        bare.build_on(Builder::new(), encode)
    }

    /// Like [`Tiny::build`], added to a file that has the architecture and a vocabulary.
    pub(crate) fn build_on(
        &self,
        mut builder: Builder,
        encode: impl Fn(&Tensor) -> (u32, Vec<u8>),
    ) -> Builder {
        for (key, value) in &self.keys {
            let key = format!("{}.{key}", self.arch);
            builder = match *value {
                Value::U32(value) => builder.u32(&key, value),
                Value::F32(value) => builder.f32(&key, value),
                Value::Str(value) => builder.str(&key, value),
            };
        }
        for tensor in &self.tensors {
            let (ty, bytes) = if tensor.dims.len() == 1 {
                f32_bytes(tensor)
            } else {
                encode(tensor)
            };
            builder = builder.tensor(&tensor.name, &tensor.dims, ty, &bytes);
        }
        builder
    }

    /// Loads the model in F32 with default options.
    pub(crate) fn load(&self) -> Result<Model> {
        load(&self.build(f32_bytes), LoadOptions::default())
    }
}

pub(crate) fn f32_bytes(tensor: &Tensor) -> (u32, Vec<u8>) {
    let bytes = tensor.values.iter().flat_map(|v| v.to_le_bytes()).collect();
    (F32, bytes)
}

/// Loads what the builder wrote; the file is gone afterwards, the mapping stays.
pub(crate) fn load(builder: &Builder, options: LoadOptions) -> Result<Model> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let path = std::env::temp_dir().join(format!(
        "dormouse-tiny-{}-{}.gguf",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    ));
    builder.write(&path).unwrap();
    let model = Model::load(&Source::path(&path), options);
    std::fs::remove_file(&path).unwrap();
    model
}
