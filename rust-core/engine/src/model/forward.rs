//! The forward pass, written once for every architecture and backend.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::backend::{AttentionParams, Backend, Cache, Linear, Slot};
use super::config::{Config, LayerKind};
use crate::error::{Error, Result};

/// A loaded transformer: the weights as a backend holds them, named by their part.
pub(super) struct Transformer<B: Backend> {
    pub(super) config: Arc<Config>,
    pub(super) embedding: B::Matrix,
    pub(super) layers: Vec<Layer<B>>,
    pub(super) ropes: Vec<B::Rope>,
    pub(super) output_norm: B::Vector,
    /// The output projection; a tied one shares the embedding's bytes.
    pub(super) head: Linear<B>,
}

/// One layer's parts; the optional ones are those that the architecture names.
pub(super) struct Layer<B: Backend> {
    pub(super) kind: LayerKind,
    pub(super) attention: Attention<B>,
    pub(super) feed_forward: FeedForward<B>,
}

pub(super) struct Attention<B: Backend> {
    pub(super) norm: B::Vector,
    pub(super) query: Linear<B>,
    pub(super) key: Linear<B>,
    pub(super) value: Linear<B>,
    pub(super) query_norm: Option<B::Vector>,
    pub(super) key_norm: Option<B::Vector>,
    pub(super) output: Linear<B>,
    pub(super) post_norm: Option<B::Vector>,
}

pub(super) struct FeedForward<B: Backend> {
    pub(super) norm: B::Vector,
    pub(super) gate: Linear<B>,
    pub(super) up: Linear<B>,
    pub(super) down: Linear<B>,
    pub(super) post_norm: Option<B::Vector>,
}

impl<B: Backend> Transformer<B> {
    /// Appends `tokens` to `cache`; writes the logits of the rows `wanted` to `logits`.
    ///
    /// `stop` is looked at before each layer; once set, the pass ends with [`Error::Cancelled`].
    /// On an error the cache keeps its former length.
    pub(super) fn forward(
        &self,
        backend: &mut B,
        cache: &mut B::Cache,
        tokens: &[u32],
        wanted: Range<usize>,
        logits: &mut [f32],
        stop: &AtomicBool,
    ) -> Result<()> {
        let first = cache.len();
        cache.reserve(first + tokens.len())?;
        backend.embed(&self.embedding, tokens, self.config.embed_scale, first)?;
        for (index, layer) in self.layers.iter().enumerate() {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            self.attend(backend, cache, index, layer)?;
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
    ) -> Result<()> {
        let config = &*self.config;
        let part = &layer.attention;
        backend.rms_norm(Slot::Residual, &part.norm, config.norm_eps, Slot::Normed)?;
        backend.linear(
            Slot::Normed,
            &[
                (&part.query, Slot::Query),
                (&part.key, Slot::Key),
                (&part.value, Slot::Value),
            ],
        )?;
        if let Some(norm) = &part.query_norm {
            backend.head_norm(Slot::Query, norm, config.norm_eps)?;
        }
        if let Some(norm) = &part.key_norm {
            backend.head_norm(Slot::Key, norm, config.norm_eps)?;
        }
        let rope = &self.ropes[layer.kind.rope];
        backend.rope(Slot::Query, rope)?;
        backend.rope(Slot::Key, rope)?;
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
        let config = &*self.config;
        backend.rms_norm(Slot::Residual, &part.norm, config.norm_eps, Slot::Normed)?;
        backend.linear(
            Slot::Normed,
            &[(&part.gate, Slot::Gate), (&part.up, Slot::Up)],
        )?;
        backend.activate(config.activation)?;
        backend.linear(Slot::Gate, &[(&part.down, Slot::Branch)])?;
        self.add_branch(backend, part.post_norm.as_ref())
    }

    fn add_branch(&self, backend: &mut B, post_norm: Option<&B::Vector>) -> Result<()> {
        if let Some(norm) = post_norm {
            backend.rms_norm(Slot::Branch, norm, self.config.norm_eps, Slot::Branch)?;
        }
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
            backend.rms_norm(
                Slot::Normed,
                &self.output_norm,
                self.config.norm_eps,
                Slot::Normed,
            )?;
            backend.linear(Slot::Normed, &[(&self.head, Slot::Logits)])?;
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
