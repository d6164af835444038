//! The shape of a transformer, as an architecture reads it from metadata.

use dormouse_kernels::RopeStyle;

use super::embed::{Pooling, pooling};
use super::kernels_backend::KvType;
use super::rope::RopeConfig;
use crate::error::{Error, Result};
use crate::gguf::{Metadata, Value};

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

/// How vectors are normed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// RMS norm, without a bias.
    Rms,
    /// Layer norm, with a bias where the file has one.
    Layer,
}

/// RMS norm of queries and keys before rope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QkNorm {
    /// None.
    None,
    /// Each head by itself.
    Head,
    /// All heads of a position together.
    Row,
}

/// What multiplies the feed-forward's activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Nothing: `down(act(up(x)))`.
    None,
    /// `down(act(gate(x)) * up(x))`, gate and up being tensors of their own.
    Split,
    /// The same; the tensor `ffn_up` holds the gate's rows and then those of up.
    Fused,
}

/// What differs from layer to layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerKind {
    /// Index into [`Config::ropes`]; no rope if `None`.
    pub rope: Option<usize>,
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
    /// How the file wants hidden states pooled to an embedding.
    pub pooling: Option<Pooling>,
    /// Norm before attention, before the feed-forward and before the head.
    pub norm: NormKind,
    /// Epsilon of the norms.
    pub norm_eps: f32,
    /// Factor on the embeddings.
    pub embed_scale: f32,
    /// Factor on the attention scores.
    pub attention_scale: f32,
    /// Soft cap on the attention scores.
    pub attention_soft_cap: Option<f32>,
    /// Soft cap on the logits.
    pub logit_soft_cap: Option<f32>,
    /// Factor on what attention and the feed-forward add to the residual stream.
    pub residual_scale: f32,
    /// Factor on the logits.
    pub logit_scale: f32,
    /// The feed-forward's activation.
    pub activation: Activation,
    /// The feed-forward's gate.
    pub gate: Gate,
    /// RMS norm of queries and keys before rope.
    pub qk_norm: QkNorm,
    /// Norm before attention and before the feed-forward.
    pub pre_norms: bool,
    /// RMS norm after attention and after the feed-forward, before the residual is added.
    pub post_norms: bool,
    /// The kinds of rope that layers use; with [`Config::short_context`] as many again follow.
    pub ropes: Vec<RopeConfig>,
    /// Contexts longer than this use the second half of [`Config::ropes`] (LongRoPE).
    pub short_context: Option<usize>,
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

    /// Positions that the model was trained for.
    pub(crate) fn context_length(&self) -> Result<usize> {
        self.bounded("context_length", None, MAX_CONTEXT)
    }

    /// The sliding window; a width of zero means none.
    pub(crate) fn window(&self) -> Result<Option<usize>> {
        match self.meta.u64(&self.key("attention.sliding_window"))? {
            None | Some(0) => Ok(None),
            Some(_) => self.width("attention.sliding_window").map(Some),
        }
    }

    /// The sliding window of each layer: every `pattern`-th layer sees all, unless the file says
    /// otherwise.
    pub(crate) fn windows(
        &self,
        n_layer: usize,
        window: Option<usize>,
        pattern: usize,
    ) -> Result<Vec<Option<usize>>> {
        let name = self.key("attention.sliding_window_pattern");
        if matches!(self.meta.get(&name), Some(Value::Array(_))) {
            let layers = self.meta.numbers(&name)?;
            let windowed = |value: f64| window.filter(|_| value != 0.0);
            let windows: Vec<_> = layers
                .into_iter()
                .flatten()
                .take(n_layer)
                .map(windowed)
                .collect();
            if windows.len() < n_layer {
                return Err(Error::corrupt(
                    name,
                    format!("{} values for {n_layer} layers", windows.len()),
                ));
            }
            return Ok(windows);
        }
        let pattern = match self.meta.u64(&name)? {
            Some(pattern) => usize::try_from(pattern).unwrap_or(usize::MAX),
            None => pattern,
        };
        let sees_all = |layer: usize| pattern != 0 && layer % pattern == pattern - 1;
        Ok((0..n_layer)
            .map(|layer| window.filter(|_| !sees_all(layer)))
            .collect())
    }

    fn norm_eps(&self, norm: NormKind) -> Result<f32> {
        let key = match norm {
            NormKind::Rms => "attention.layer_norm_rms_epsilon",
            NormKind::Layer => "attention.layer_norm_epsilon",
        };
        self.positive(key)?
            .ok_or_else(|| Error::corrupt(self.key(key), "the key is missing"))
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
    pub(crate) fn config(
        &self,
        style: RopeStyle,
        norm: NormKind,
        activation: Activation,
    ) -> Result<Config> {
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
        let ropes = self.ropes(style, head_dim)?;
        let n_vocab = match self.meta.strings("tokenizer.ggml.tokens")? {
            Some(tokens) if tokens.is_empty() => {
                return Err(Error::corrupt(
                    "tokenizer.ggml.tokens",
                    "a vocabulary of no tokens",
                ));
            }
            Some(tokens) => tokens.len(),
            None => self.width("vocab_size")?,
        };
        Ok(Config {
            arch: self.arch,
            n_embd,
            n_layer,
            n_head,
            n_kv_head,
            head_dim,
            n_ff: self.width("feed_forward_length")?,
            n_vocab,
            context_length: self.context_length()?,
            pooling: pooling(self)?,
            norm,
            norm_eps: self.norm_eps(norm)?,
            embed_scale: 1.0,
            attention_scale: 1.0 / (head_dim as f32).sqrt(),
            attention_soft_cap: None,
            logit_soft_cap: None,
            residual_scale: 1.0,
            logit_scale: 1.0,
            activation,
            gate: Gate::Split,
            qk_norm: QkNorm::None,
            pre_norms: true,
            post_norms: false,
            ropes: ropes.kinds,
            short_context: ropes.short_context,
            layers: vec![
                LayerKind {
                    rope: Some(0),
                    window: None
                };
                n_layer
            ],
        })
    }
}

impl Config {
    /// The second half of [`Config::ropes`] is for long contexts; the offset of the half that a
    /// context uses.
    pub(crate) fn rope_half(&self, context_length: usize) -> usize {
        let long = self
            .short_context
            .is_some_and(|short| context_length > short);
        if long { self.ropes.len() / 2 } else { 0 }
    }

    /// Width of all query heads of a position.
    pub fn q_width(&self) -> usize {
        self.n_head * self.head_dim
    }

    /// Width of all key (or value) heads of a position.
    pub fn kv_width(&self) -> usize {
        self.n_kv_head * self.head_dim
    }

    /// Bytes of KV cache that one position takes in cells of `kv_type`.
    pub fn kv_bytes_per_position(&self, kv_type: KvType) -> u64 {
        2 * self.n_layer as u64 * kv_type.bytes(self.kv_width()) as u64
    }
}
