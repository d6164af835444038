//! The forward pass, written once for every architecture and backend.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::backend::{AttentionParams, Backend, Cache, Linear, Slot};
use super::config::{Config, LayerKind, NormKind, QkNorm};
use super::load::Place;
use super::lora::Applied;
use crate::error::{Error, Result};

/// A loaded transformer: the weights as a backend holds them, named by their part.
pub(super) struct Transformer<B: Backend> {
    pub(super) config: Arc<Config>,
    pub(super) embedding: B::Matrix,
    pub(super) layers: Vec<Layer<B>>,
    pub(super) ropes: Vec<B::Rope>,
    pub(super) output_norm: Norm<B>,
    /// The output projection; a tied one shares the embedding's bytes.
    pub(super) head: Linear<B>,
    /// Where the linear parts come from, by their number.
    pub(super) places: Vec<Place>,
}

/// One layer's parts; the optional ones are those that the architecture names.
pub(super) struct Layer<B: Backend> {
    pub(super) kind: LayerKind,
    pub(super) attention: Attention<B>,
    pub(super) feed_forward: FeedForward<B>,
}

/// A norm's weights.
pub(super) struct Norm<B: Backend> {
    pub(super) weight: B::Vector,
    pub(super) bias: Option<B::Vector>,
}

pub(super) struct Attention<B: Backend> {
    pub(super) norm: Option<Norm<B>>,
    pub(super) query: Linear<B>,
    pub(super) key: Linear<B>,
    pub(super) value: Linear<B>,
    pub(super) query_norm: Option<B::Vector>,
    pub(super) key_norm: Option<B::Vector>,
    pub(super) output: Linear<B>,
    pub(super) post_norm: Option<B::Vector>,
}

pub(super) struct FeedForward<B: Backend> {
    pub(super) norm: Option<Norm<B>>,
    pub(super) gate: Option<Linear<B>>,
    pub(super) up: Linear<B>,
    pub(super) down: Linear<B>,
    pub(super) post_norm: Option<B::Vector>,
}

/// What a pass computes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// `n_vocab` values.
    Logits,
    /// What the head reads, `n_embd` values.
    Hidden,
}

/// What one pass evaluates.
pub(super) struct Chunk<'a, B: Backend> {
    pub(super) tokens: &'a [u32],
    /// The rows of which something is wanted.
    pub(super) wanted: Range<usize>,
    /// And what.
    pub(super) result: Wanted,
    /// Added to the linear parts.
    pub(super) adapters: &'a [Arc<Applied<B>>],
    /// Added to the layers' indices of ropes, see [`Config::rope_half`].
    pub(super) rope_half: usize,
}

impl<B: Backend> Transformer<B> {
    /// Appends the chunk's tokens to `cache`; writes what is wanted of some rows to `out`.
    ///
    /// `stop` is looked at before each layer; once set, the pass ends with [`Error::Cancelled`].
    /// On an error the cache keeps its former length.
    pub(super) fn forward(
        &self,
        backend: &mut B,
        cache: &mut B::Cache,
        chunk: Chunk<'_, B>,
        out: &mut [f32],
        stop: &AtomicBool,
    ) -> Result<()> {
        let Chunk {
            tokens,
            rope_half,
            adapters,
            ..
        } = chunk;
        let first = cache.len();
        cache.reserve(first + tokens.len())?;
        backend.embed(&self.embedding, tokens, self.config.embed_scale, first)?;
        for (index, layer) in self.layers.iter().enumerate() {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            let rope = layer.kind.rope.map(|rope| &self.ropes[rope + rope_half]);
            self.attend(backend, cache, index, layer, rope, adapters)?;
            self.feed(backend, &layer.feed_forward, adapters)?;
        }
        self.read(backend, &chunk, out)?;
        cache.advance(first + tokens.len());
        Ok(())
    }

    fn attend(
        &self,
        backend: &mut B,
        cache: &mut B::Cache,
        index: usize,
        layer: &Layer<B>,
        rope: Option<&B::Rope>,
        adapters: &[Arc<Applied<B>>],
    ) -> Result<()> {
        let config = &*self.config;
        let part = &layer.attention;
        let input = self.normed(backend, part.norm.as_ref())?;
        let projections = [
            (&part.query, Slot::Query),
            (&part.key, Slot::Key),
            (&part.value, Slot::Value),
        ];
        linear(backend, input, &projections, adapters)?;
        for (slot, norm) in [(Slot::Query, &part.query_norm), (Slot::Key, &part.key_norm)] {
            match (norm, config.qk_norm) {
                (None, _) | (_, QkNorm::None) => {}
                (Some(norm), QkNorm::Head) => backend.head_norm(slot, norm, config.norm_eps)?,
                (Some(norm), QkNorm::Row) => backend.rms_norm(slot, norm, config.norm_eps, slot)?,
            }
            if let Some(rope) = rope {
                backend.rope(slot, rope)?;
            }
        }
        backend.store(cache, index)?;
        let params = AttentionParams {
            layer: index,
            scale: config.attention_scale,
            soft_cap: config.attention_soft_cap,
            window: layer.kind.window,
        };
        backend.attention(cache, &params)?;
        let output = [(&part.output, Slot::Branch)];
        linear(backend, Slot::Attended, &output, adapters)?;
        self.add_branch(backend, part.post_norm.as_ref())
    }

    fn feed(
        &self,
        backend: &mut B,
        part: &FeedForward<B>,
        adapters: &[Arc<Applied<B>>],
    ) -> Result<()> {
        let activation = self.config.activation;
        let input = self.normed(backend, part.norm.as_ref())?;
        let output = match &part.gate {
            Some(gate) => {
                let both = [(gate, Slot::Gate), (&part.up, Slot::Up)];
                linear(backend, input, &both, adapters)?;
                backend.activate_gated(activation)?;
                Slot::Gate
            }
            None => {
                linear(backend, input, &[(&part.up, Slot::Up)], adapters)?;
                backend.activate(Slot::Up, activation)?;
                Slot::Up
            }
        };
        linear(backend, output, &[(&part.down, Slot::Branch)], adapters)?;
        self.add_branch(backend, part.post_norm.as_ref())
    }

    /// The slot with the input of attention or feed-forward.
    fn normed(&self, backend: &mut B, norm: Option<&Norm<B>>) -> Result<Slot> {
        let Some(norm) = norm else {
            return Ok(Slot::Residual);
        };
        self.norm(backend, norm, Slot::Residual)?;
        Ok(Slot::Normed)
    }

    /// Normed = norm(src).
    fn norm(&self, backend: &mut B, norm: &Norm<B>, src: Slot) -> Result<()> {
        let eps = self.config.norm_eps;
        match self.config.norm {
            NormKind::Rms => backend.rms_norm(src, &norm.weight, eps, Slot::Normed),
            NormKind::Layer => {
                backend.layer_norm(src, &norm.weight, norm.bias.as_ref(), eps, Slot::Normed)
            }
        }
    }

    fn add_branch(&self, backend: &mut B, post_norm: Option<&B::Vector>) -> Result<()> {
        if let Some(norm) = post_norm {
            backend.rms_norm(Slot::Branch, norm, self.config.norm_eps, Slot::Branch)?;
        }
        backend.scale(Slot::Branch, self.config.residual_scale)?;
        backend.add_to_residual(Slot::Branch)
    }

    /// Norm, head and soft cap for some rows, a few at a time: a row of logits is a megabyte
    /// where the vocabulary is large.
    fn read(&self, backend: &mut B, chunk: &Chunk<'_, B>, out: &mut [f32]) -> Result<()> {
        let (slot, width) = match chunk.result {
            Wanted::Logits => (Slot::Logits, self.config.n_vocab),
            Wanted::Hidden => (Slot::Normed, self.config.n_embd),
        };
        let most = backend.max_selected();
        let mut row = chunk.wanted.start;
        let mut out = out;
        while row < chunk.wanted.end {
            let count = most.min(chunk.wanted.end - row);
            backend.select(row..row + count)?;
            self.norm(backend, &self.output_norm, Slot::Normed)?;
            if chunk.result == Wanted::Logits {
                self.head(backend, chunk.adapters)?;
            }
            let (now, later) = out.split_at_mut(count * width);
            backend.read(slot, now)?;
            out = later;
            row += count;
        }
        Ok(())
    }

    fn head(&self, backend: &mut B, adapters: &[Arc<Applied<B>>]) -> Result<()> {
        let head = [(&self.head, Slot::Logits)];
        linear(backend, Slot::Normed, &head, adapters)?;
        backend.scale(Slot::Logits, self.config.logit_scale)?;
        match self.config.logit_soft_cap {
            Some(cap) => backend.soft_cap(Slot::Logits, cap),
            None => Ok(()),
        }
    }
}

/// Several products of one input, each with what the adapters add.
fn linear<B: Backend>(
    backend: &mut B,
    src: Slot,
    layers: &[(&Linear<B>, Slot)],
    adapters: &[Arc<Applied<B>>],
) -> Result<()> {
    backend.linear(src, layers)?;
    for adapter in adapters {
        for (linear, dst) in layers {
            if let Some(part) = adapter.part(linear.id) {
                backend.low_rank(src, part, *dst)?;
            }
        }
    }
    Ok(())
}
