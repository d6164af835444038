//! The forward pass, written once for every architecture and backend.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::backend::{AttentionParams, Backend, Cache, Linear, Slot};
use super::config::{Config, LayerKind, NormKind, QkNorm};
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

/// What one pass evaluates.
pub(super) struct Chunk<'a> {
    pub(super) tokens: &'a [u32],
    /// The rows whose logits are wanted.
    pub(super) wanted: Range<usize>,
    /// Added to the layers' indices of ropes, see [`Config::rope_half`].
    pub(super) rope_half: usize,
}

impl<B: Backend> Transformer<B> {
    /// Appends the chunk's tokens to `cache`; writes the logits of the rows wanted to `logits`.
    ///
    /// `stop` is looked at before each layer; once set, the pass ends with [`Error::Cancelled`].
    /// On an error the cache keeps its former length.
    pub(super) fn forward(
        &self,
        backend: &mut B,
        cache: &mut B::Cache,
        chunk: Chunk<'_>,
        logits: &mut [f32],
        stop: &AtomicBool,
    ) -> Result<()> {
        let Chunk {
            tokens,
            wanted,
            rope_half,
        } = chunk;
        let first = cache.len();
        cache.reserve(first + tokens.len())?;
        backend.embed(&self.embedding, tokens, self.config.embed_scale, first)?;
        for (index, layer) in self.layers.iter().enumerate() {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            let rope = layer.kind.rope.map(|rope| &self.ropes[rope + rope_half]);
            self.attend(backend, cache, index, layer, rope)?;
            self.feed(backend, &layer.feed_forward)?;
        }
        self.read_logits(backend, wanted, logits)?;
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
    ) -> Result<()> {
        let config = &*self.config;
        let part = &layer.attention;
        let input = self.normed(backend, part.norm.as_ref())?;
        backend.linear(
            input,
            &[
                (&part.query, Slot::Query),
                (&part.key, Slot::Key),
                (&part.value, Slot::Value),
            ],
        )?;
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
        backend.linear(Slot::Attended, &[(&part.output, Slot::Branch)])?;
        self.add_branch(backend, part.post_norm.as_ref())
    }

    fn feed(&self, backend: &mut B, part: &FeedForward<B>) -> Result<()> {
        let activation = self.config.activation;
        let input = self.normed(backend, part.norm.as_ref())?;
        let output = match &part.gate {
            Some(gate) => {
                backend.linear(input, &[(gate, Slot::Gate), (&part.up, Slot::Up)])?;
                backend.activate_gated(activation)?;
                Slot::Gate
            }
            None => {
                backend.linear(input, &[(&part.up, Slot::Up)])?;
                backend.activate(Slot::Up, activation)?;
                Slot::Up
            }
        };
        backend.linear(output, &[(&part.down, Slot::Branch)])?;
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
    fn read_logits(&self, backend: &mut B, wanted: Range<usize>, logits: &mut [f32]) -> Result<()> {
        let most = backend.max_selected();
        let mut row = wanted.start;
        let mut out = logits;
        while row < wanted.end {
            let count = most.min(wanted.end - row);
            backend.select(row..row + count)?;
            self.norm(backend, &self.output_norm, Slot::Normed)?;
            backend.linear(Slot::Normed, &[(&self.head, Slot::Logits)])?;
            backend.scale(Slot::Logits, self.config.logit_scale)?;
            if let Some(cap) = self.config.logit_soft_cap {
                backend.soft_cap(Slot::Logits, cap)?;
            }
            let (now, later) = out.split_at_mut(count * self.config.n_vocab);
            backend.read(Slot::Logits, now)?;
            out = later;
            row += count;
        }
        Ok(())
    }
}
