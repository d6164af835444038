//! Takes the tensors that a configuration asks for out of a file.

use std::sync::Arc;

use super::backend::{Backend, Linear};
use super::config::Config;
use super::forward::{Attention, FeedForward, Layer, Transformer};
use crate::error::Result;
use crate::weights::WeightStore;

/// Checks the widths of `config` against the tensors that have them, so that work buffers are
/// taken only for sizes that the file's own bytes bear out.
///
/// # Errors
/// As [`WeightStore::matrix`].
pub(super) fn check_widths(config: &Config, store: &WeightStore<'_>) -> Result<()> {
    let c = config;
    for (name, rows) in [
        ("token_embd.weight", c.n_vocab),
        ("blk.0.attn_q.weight", c.q_width()),
        ("blk.0.attn_k.weight", c.kv_width()),
        ("blk.0.ffn_up.weight", c.n_ff),
    ] {
        store.matrix(name, rows, c.n_embd)?;
    }
    Ok(())
}

/// Builds the transformer of `config` from the tensors in `store`, as `backend` holds them.
/// `progress` is told the share of layers done, and can end it.
pub(super) fn transformer<B: Backend>(
    backend: &mut B,
    config: &Arc<Config>,
    store: &WeightStore<'_>,
    progress: &mut dyn FnMut(f32) -> Result<()>,
) -> Result<Transformer<B>> {
    let mut ropes = Vec::with_capacity(config.ropes.len());
    for rope in &config.ropes {
        let factors = if rope.freq_factors {
            store.optional_vector("rope_freqs.weight", rope.dims / 2)?
        } else {
            None
        };
        ropes.push(backend.rope_table(rope, factors.as_deref())?);
    }
    let loader = Loader {
        backend: &*backend,
        config,
        store,
    };
    let embedding =
        backend.matrix(store.matrix("token_embd.weight", config.n_vocab, config.n_embd)?)?;
    let head = if store.has("output.weight") {
        loader.linear("output", config.n_vocab, config.n_embd)?
    } else {
        Linear {
            weight: embedding.clone(),
            bias: None,
        }
    };
    let mut layers = Vec::with_capacity(config.n_layer);
    for index in 0..config.n_layer {
        progress(index as f32 / config.n_layer as f32)?;
        layers.push(loader.layer(index)?);
    }
    Ok(Transformer {
        config: config.clone(),
        embedding,
        layers,
        ropes,
        output_norm: loader.vector("output_norm.weight", config.n_embd)?,
        head,
    })
}

struct Loader<'a, B> {
    backend: &'a B,
    config: &'a Config,
    store: &'a WeightStore<'a>,
}

impl<B: Backend> Loader<'_, B> {
    fn vector(&self, name: &str, len: usize) -> Result<B::Vector> {
        self.backend.vector(self.store.vector(name, len)?)
    }

    fn vector_if(&self, wanted: bool, name: &str, len: usize) -> Result<Option<B::Vector>> {
        if wanted {
            self.vector(name, len).map(Some)
        } else {
            Ok(None)
        }
    }

    fn linear(&self, name: &str, rows: usize, cols: usize) -> Result<Linear<B>> {
        let weight = self.store.matrix(&format!("{name}.weight"), rows, cols)?;
        let bias = self.store.optional_vector(&format!("{name}.bias"), rows)?;
        Ok(Linear {
            weight: self.backend.matrix(weight)?,
            bias: bias.map(|values| self.backend.vector(values)).transpose()?,
        })
    }

    fn layer(&self, index: usize) -> Result<Layer<B>> {
        let c = self.config;
        let name = |part: &str| format!("blk.{index}.{part}");
        Ok(Layer {
            kind: c.layers[index],
            attention: Attention {
                norm: self.vector(&name("attn_norm.weight"), c.n_embd)?,
                query: self.linear(&name("attn_q"), c.q_width(), c.n_embd)?,
                key: self.linear(&name("attn_k"), c.kv_width(), c.n_embd)?,
                value: self.linear(&name("attn_v"), c.kv_width(), c.n_embd)?,
                query_norm: self.vector_if(c.qk_norm, &name("attn_q_norm.weight"), c.head_dim)?,
                key_norm: self.vector_if(c.qk_norm, &name("attn_k_norm.weight"), c.head_dim)?,
                output: self.linear(&name("attn_output"), c.n_embd, c.q_width())?,
                post_norm: self.vector_if(
                    c.post_norms,
                    &name("post_attention_norm.weight"),
                    c.n_embd,
                )?,
            },
            feed_forward: FeedForward {
                norm: self.vector(&name("ffn_norm.weight"), c.n_embd)?,
                gate: self.linear(&name("ffn_gate"), c.n_ff, c.n_embd)?,
                up: self.linear(&name("ffn_up"), c.n_ff, c.n_embd)?,
                down: self.linear(&name("ffn_down"), c.n_embd, c.n_ff)?,
                post_norm: self.vector_if(c.post_norms, &name("post_ffw_norm.weight"), c.n_embd)?,
            },
        })
    }
}
