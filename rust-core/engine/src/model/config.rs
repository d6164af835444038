//! The shape of a transformer, as an architecture reads it from metadata.

use dormouse_kernels::RopeStyle;

use crate::error::{Error, Result};
use crate::gguf::Metadata;

/// Bounds on hyperparameters: above them a file is damaged, not large.
const MAX_LAYERS: usize = 1024;
const MAX_WIDTH: usize = 1 << 20;
/// Positions are 32-bit numbers.
const MAX_CONTEXT: usize = i32::MAX as usize;

/// The activation between a feed-forward's gate and its product with `up`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x * sigmoid(x).
    Silu,
    /// GELU in its tanh form.
    GeluTanh,
}

/// Rotary position embedding of one kind of layer.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeConfig {
    /// Which elements are rotated together.
    pub style: RopeStyle,
    /// Dimensions of a head that are rotated.
    pub dims: usize,
    /// The base of the frequencies.
    pub base: f32,
    /// Factor on positions: 1 / scaling factor (linear scaling).
    pub freq_scale: f32,
    /// Per-frequency divisors are read from `rope_freqs.weight` if the file has it (Llama 3).
    pub freq_factors: bool,
}

/// What differs from layer to layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerKind {
    /// Index into [`Config::ropes`].
    pub rope: usize,
    /// A query at p sees keys in (p - window, p]; all of them if `None`.
    pub window: Option<usize>,
}

/// Everything that the forward pass and the memory plan need to know of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The architecture's GGUF name.
    pub arch: &'static str,
    /// Width of the residual stream.
    pub n_embd: usize,
    /// Number of layers.
    pub n_layer: usize,
    /// Query heads.
    pub n_head: usize,
    /// Key and value heads.
    pub n_kv_head: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Width of the feed-forward.
    pub n_ff: usize,
    /// Size of the vocabulary.
    pub n_vocab: usize,
    /// Positions that the model was trained for.
    pub context_length: usize,
    /// Epsilon of the RMS norms.
    pub norm_eps: f32,
    /// Factor on the embeddings.
    pub embed_scale: f32,
    /// Factor on the attention scores.
    pub attention_scale: f32,
    /// Soft cap on the attention scores.
    pub attention_soft_cap: Option<f32>,
    /// Soft cap on the logits.
    pub logit_soft_cap: Option<f32>,
    /// The feed-forward's activation.
    pub activation: Activation,
    /// RMS norm of each query and key head before rope.
    pub qk_norm: bool,
    /// RMS norm after attention and after the feed-forward, before the residual is added.
    pub post_norms: bool,
    /// The kinds of rope that layers use.
    pub ropes: Vec<RopeConfig>,
    /// One entry a layer.
    pub layers: Vec<LayerKind>,
}

/// Reads `{arch}.key` metadata with typed errors and bounds.
pub(crate) struct Hyper<'a> {
    pub(crate) arch: &'static str,
    pub(crate) meta: &'a Metadata,
}

impl Hyper<'_> {
    pub(crate) fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.arch)
    }

    pub(crate) fn width_or(&self, key: &str, default: Option<usize>) -> Result<usize> {
        self.bounded(key, default, MAX_WIDTH)
    }

    fn bounded(&self, key: &str, default: Option<usize>, most: usize) -> Result<usize> {
        let name = self.key(key);
        let value = match (self.meta.u64(&name)?, default) {
            (Some(value), _) => usize::try_from(value).unwrap_or(usize::MAX),
            (None, Some(default)) => default,
            (None, None) => return Err(Error::corrupt(name, "the key is missing")),
        };
        if value == 0 || value > most {
            return Err(Error::corrupt(
                name,
                format!("{value} is outside 1 to {most}"),
            ));
        }
        Ok(value)
    }

    pub(crate) fn width(&self, key: &str) -> Result<usize> {
        self.width_or(key, None)
    }

    /// A finite number above zero.
    pub(crate) fn positive(&self, key: &str) -> Result<Option<f32>> {
        let name = self.key(key);
        match self.meta.f32(&name)? {
            Some(value) if value <= 0.0 => {
                Err(Error::corrupt(name, format!("{value} is not above zero")))
            }
            value => Ok(value),
        }
    }

    /// 1 / the linear rope scaling factor; 1 without scaling.
    pub(crate) fn freq_scale(&self) -> Result<f32> {
        let name = self.key("rope.scaling.type");
        match self.meta.str(&name)? {
            None | Some("none" | "linear") => {
                let factor = match self.positive("rope.scaling.factor")? {
                    None => self.positive("rope.scale_linear")?,
                    some => some,
                };
                Ok(1.0 / factor.unwrap_or(1.0))
            }
            Some(other) => Err(Error::unsupported(format!("rope scaling of type {other}"))),
        }
    }

    fn refuse_experts(&self) -> Result<()> {
        match self.meta.u64(&self.key("expert_count"))? {
            None | Some(0) => Ok(()),
            Some(count) => Err(Error::unsupported(format!(
                "a mixture of {count} experts (not read by this version)"
            ))),
        }
    }

    /// What all decoder-only transformers share; an architecture changes what differs.
    pub(crate) fn config(&self, style: RopeStyle, activation: Activation) -> Result<Config> {
        self.refuse_experts()?;
        let n_embd = self.width("embedding_length")?;
        let n_layer = self.width("block_count")?;
        let n_head = self.width("attention.head_count")?;
        let n_kv_head = self.width_or("attention.head_count_kv", Some(n_head))?;
        let head_dim = self.width_or("attention.key_length", Some((n_embd / n_head).max(1)))?;
        if n_layer > MAX_LAYERS {
            return Err(Error::corrupt(
                self.key("block_count"),
                format!("{n_layer} layers"),
            ));
        }
        if n_head % n_kv_head != 0 {
            return Err(Error::corrupt(
                self.key("attention.head_count_kv"),
                format!("{n_head} heads cannot share {n_kv_head} key heads evenly"),
            ));
        }
        // Each is in bounds by itself; nothing is planned on the word of an absurd product.
        if n_head * head_dim > MAX_WIDTH {
            return Err(Error::corrupt(
                self.key("attention.head_count"),
                format!("{n_head} heads of {head_dim} are wider than {MAX_WIDTH}"),
            ));
        }
        if self.width_or("attention.value_length", Some(head_dim))? != head_dim {
            return Err(Error::unsupported(
                "value heads of another width than key heads",
            ));
        }
        let rope_dims = self.width_or("rope.dimension_count", Some(head_dim))?;
        if rope_dims > head_dim || rope_dims % 2 != 0 {
            return Err(Error::corrupt(
                self.key("rope.dimension_count"),
                format!("{rope_dims} of {head_dim} dimensions cannot be rotated"),
            ));
        }
        let n_vocab = match self.meta.strings("tokenizer.ggml.tokens")? {
            Some(tokens) => tokens.len(),
            None => self.width("vocab_size")?,
        };
        let eps = self
            .positive("attention.layer_norm_rms_epsilon")?
            .ok_or_else(|| {
                Error::corrupt(
                    self.key("attention.layer_norm_rms_epsilon"),
                    "the key is missing",
                )
            })?;
        Ok(Config {
            arch: self.arch,
            n_embd,
            n_layer,
            n_head,
            n_kv_head,
            head_dim,
            n_ff: self.width("feed_forward_length")?,
            n_vocab,
            context_length: self.bounded("context_length", None, MAX_CONTEXT)?,
            norm_eps: eps,
            embed_scale: 1.0,
            attention_scale: 1.0 / (head_dim as f32).sqrt(),
            attention_soft_cap: None,
            logit_soft_cap: None,
            activation,
            qk_norm: false,
            post_norms: false,
            ropes: vec![RopeConfig {
                style,
                dims: rope_dims,
                base: self.positive("rope.freq_base")?.unwrap_or(10_000.0),
                freq_scale: self.freq_scale()?,
                freq_factors: true,
            }],
            layers: vec![
                LayerKind {
                    rope: 0,
                    window: None
                };
                n_layer
            ],
        })
    }
}

impl Config {
    /// Width of all query heads of a position.
    pub fn q_width(&self) -> usize {
        self.n_head * self.head_dim
    }

    /// Width of all key (or value) heads of a position.
    pub fn kv_width(&self) -> usize {
        self.n_kv_head * self.head_dim
    }

    /// Bytes of KV cache that one position takes with elements of `element_bytes`.
    pub fn kv_bytes_per_position(&self, element_bytes: usize) -> u64 {
        2 * self.n_layer as u64 * self.kv_width() as u64 * element_bytes as u64
    }
}
