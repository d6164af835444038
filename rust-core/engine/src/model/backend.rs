//! The dozen operations that the forward pass is written over.
//!
//! Activations live in named slots, `[rows][width]` each: the kernels backend plans them into one
//! arena before the first token, the candle backend keeps a tensor in each. So the forward pass
//! is written once and allocates nothing of its own.

use std::ops::Range;
use std::sync::Arc;

use super::config::{Activation, Config};
use super::lora::LowRank;
use super::rope::RopeConfig;
use crate::error::Result;
use crate::weights::Weight;

/// The activation buffers of a forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// The residual stream, `n_embd` wide.
    Residual,
    /// Normed input of attention or feed-forward, and of the head; `n_embd` wide.
    Normed,
    /// Queries, all heads.
    Query,
    /// Keys, all heads.
    Key,
    /// Values, all heads.
    Value,
    /// Output of attention before its projection, all heads.
    Attended,
    /// The feed-forward's gate, `n_ff` wide.
    Gate,
    /// The feed-forward's other branch, `n_ff` wide.
    Up,
    /// What attention or feed-forward adds to the residual stream; `n_embd` wide.
    Branch,
    /// Logits, `n_vocab` wide, for the rows chosen by [`Backend::select`].
    Logits,
}

impl Slot {
    /// Number of slots.
    pub const COUNT: usize = 10;

    /// Width of a row of this slot.
    pub fn width(self, config: &Config) -> usize {
        match self {
            Self::Residual | Self::Normed | Self::Branch => config.n_embd,
            Self::Query | Self::Attended => config.q_width(),
            Self::Key | Self::Value => config.kv_width(),
            Self::Gate | Self::Up => config.n_ff,
            Self::Logits => config.n_vocab,
        }
    }
}

/// A linear layer's weights: `y = W x + b`.
#[derive(Debug)]
pub struct Linear<B: Backend> {
    /// Which linear part of the model it is, for adapters.
    pub id: usize,
    /// `[out][in]`.
    pub weight: B::Matrix,
    /// `[out]`.
    pub bias: Option<B::Vector>,
}

/// Shape of one layer's attention.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionParams {
    /// Which layer of the cache.
    pub layer: usize,
    /// Factor on the scores.
    pub scale: f32,
    /// cap * tanh(score / cap).
    pub soft_cap: Option<f32>,
    /// A query at p sees keys in (p - window, p].
    pub window: Option<usize>,
}

/// The KV cache of one conversation.
pub trait Cache: Send + Sized {
    /// Positions that hold keys and values.
    fn len(&self) -> usize;
    /// Makes room for positions up to `len` (exclusive).
    fn reserve(&mut self, len: usize) -> Result<()>;
    /// Declares that positions up to `len` hold keys and values in every layer.
    fn advance(&mut self, len: usize);
    /// Forgets positions from `len` on.
    fn truncate(&mut self, len: usize);
    /// A copy that goes its own way.
    fn fork(&self) -> Result<Self>;
    /// Bytes taken.
    fn bytes(&self) -> u64;
}

/// The operations of a forward pass over a chunk of consecutive positions.
///
/// [`Backend::embed`] begins a chunk: it sets the number of rows and the position of the first;
/// [`Backend::select`] cuts the rows. Every other operation works on all present rows of its
/// slots. Sizes were checked when the model was loaded.
pub trait Backend: Send + Sized {
    /// A matrix as this backend holds it.
    type Matrix: Send + Sync + Clone;
    /// A small f32 vector as this backend holds it.
    type Vector: Send + Sync;
    /// Precomputed rotary embedding.
    type Rope: Send + Sync;
    /// This backend's KV cache.
    type Cache: Cache + 'static;

    /// Takes a weight matrix over.
    fn matrix(&self, weight: Weight) -> Result<Self::Matrix>;
    /// Takes a vector over.
    fn vector(&self, values: Vec<f32>) -> Result<Self::Vector>;
    /// Prepares rotary embedding; `factors` divide the frequencies (one per rotated pair).
    fn rope_table(&mut self, rope: &RopeConfig, factors: Option<&[f32]>) -> Result<Self::Rope>;
    /// An empty cache for at most `context_length` positions.
    fn cache(&self, config: &Arc<Config>, context_length: usize) -> Result<Self::Cache>;

    /// Begins a chunk at position `first`: Residual = rows of the embedding matrix, times `scale`.
    fn embed(
        &mut self,
        matrix: &Self::Matrix,
        tokens: &[u32],
        scale: f32,
        first: usize,
    ) -> Result<()>;
    /// dst = layer norm of src, row by row; both may be one slot.
    fn layer_norm(
        &mut self,
        src: Slot,
        weight: &Self::Vector,
        bias: Option<&Self::Vector>,
        eps: f32,
        dst: Slot,
    ) -> Result<()>;
    /// dst = src / rms(src) * weight, row by row; both may be one slot.
    fn rms_norm(&mut self, src: Slot, weight: &Self::Vector, eps: f32, dst: Slot) -> Result<()>;
    /// Each head of the slot normed by itself, in place; `weight` is one head wide.
    fn head_norm(&mut self, slot: Slot, weight: &Self::Vector, eps: f32) -> Result<()>;
    /// Several products of one input: it is quantized once.
    fn linear(&mut self, src: Slot, layers: &[(&Linear<Self>, Slot)]) -> Result<()>;
    /// dst += factor * up (down src), with `down` of `rank` rows.
    fn low_rank(&mut self, src: Slot, part: &LowRank<Self>, dst: Slot) -> Result<()>;
    /// Rotates each head of the slot by its row's position.
    fn rope(&mut self, slot: Slot, rope: &Self::Rope) -> Result<()>;
    /// Writes the Key and Value rows to the cache at their positions.
    fn store(&mut self, cache: &mut Self::Cache, layer: usize) -> Result<()>;
    /// Attended = causal attention of Query over the cache.
    fn attention(&mut self, cache: &Self::Cache, params: &AttentionParams) -> Result<()>;
    /// Gate = activation(Gate) * Up.
    fn activate_gated(&mut self, activation: Activation) -> Result<()>;
    /// slot = activation(slot).
    fn activate(&mut self, slot: Slot, activation: Activation) -> Result<()>;
    /// slot = slot * factor; a factor of 1 does nothing.
    fn scale(&mut self, slot: Slot, factor: f32) -> Result<()>;
    /// Residual += src.
    fn add_to_residual(&mut self, src: Slot) -> Result<()>;
    /// slot = cap * tanh(slot / cap).
    fn soft_cap(&mut self, slot: Slot, cap: f32) -> Result<()>;
    /// Normed = the given rows of the residual stream, which stays as it is; from here on as many
    /// rows are present. At most [`Backend::max_selected`] rows.
    fn select(&mut self, rows: Range<usize>) -> Result<()>;
    /// Most rows that [`Backend::select`] takes.
    fn max_selected(&self) -> usize;
    /// Copies the slot's present rows out, `[rows][width]`.
    fn read(&mut self, slot: Slot, out: &mut [f32]) -> Result<()>;
}
