//! Takes the tensors that a configuration asks for out of a file.

use std::cell::RefCell;
use std::sync::Arc;

use super::backend::{Backend, Linear};
use super::config::{Config, Gate, NormKind, QkNorm};
use super::forward::{Attention, FeedForward, Layer, Norm, Transformer};
use crate::error::Result;
use crate::weights::{Weight, WeightStore};

/// Checks the widths of `config` against the tensors that have them, so that work buffers are
/// taken only for sizes that the file's own bytes bear out.
///
/// # Errors
/// As [`WeightStore::matrix`].
pub(super) fn check_widths(config: &Config, store: &WeightStore<'_>) -> Result<()> {
    let c = config;
    let parts = Parts::of(c, store, 0);
    for (tensor, rows) in [
        (&Rows::all("token_embd"), c.n_vocab),
        (&parts.query, c.q_width()),
        (&parts.key, c.kv_width()),
        (&parts.up, c.n_ff),
    ] {
        tensor.weight(store, rows, c.n_embd)?;
    }
    Ok(())
}

/// Some rows of a tensor: the parts of a fused one lie one after the other.
struct Rows {
    /// Without `.weight`.
    name: String,
    /// The first row, and how many the tensor has, if it is fused.
    fused: Option<(usize, usize)>,
}

impl Rows {
    fn all(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            fused: None,
        }
    }

    fn weight(&self, store: &WeightStore<'_>, rows: usize, cols: usize) -> Result<Weight> {
        let name = format!("{}.weight", self.name);
        match self.fused {
            None => store.matrix(&name, rows, cols),
            Some((first, all)) => store.matrix(&name, all, cols)?.rows_from(first, rows),
        }
    }

    fn bias(&self, store: &WeightStore<'_>, rows: usize) -> Result<Option<Vec<f32>>> {
        let (first, all) = self.fused.unwrap_or((0, rows));
        let bias = store.optional_vector(&format!("{}.bias", self.name), all)?;
        Ok(bias.map(|mut values| {
            values.truncate(first + rows);
            values.split_off(first)
        }))
    }
}

/// Where the linear parts of a layer that can be fused are.
struct Parts {
    query: Rows,
    key: Rows,
    value: Rows,
    gate: Option<Rows>,
    up: Rows,
}

impl Parts {
    fn of(config: &Config, store: &WeightStore<'_>, layer: usize) -> Self {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let (q, kv, ff) = (config.q_width(), config.kv_width(), config.n_ff);
        let fused = |part: &str, first: usize, all: usize| Rows {
            name: name(part),
            fused: Some((first, all)),
        };
        let [query, key, value] = if store.has(&name("attn_qkv.weight")) {
            [0, q, q + kv].map(|first| fused("attn_qkv", first, q + 2 * kv))
        } else {
            ["attn_q", "attn_k", "attn_v"].map(|part| Rows::all(name(part)))
        };
        let (gate, up) = match config.gate {
            Gate::None => (None, Rows::all(name("ffn_up"))),
            Gate::Split => (Some(Rows::all(name("ffn_gate"))), Rows::all(name("ffn_up"))),
            Gate::Fused => (
                Some(fused("ffn_up", 0, 2 * ff)),
                fused("ffn_up", ff, 2 * ff),
            ),
        };
        Self {
            query,
            key,
            value,
            gate,
            up,
        }
    }
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
        let factors = match (rope.yarn, rope.factors) {
            (Some(yarn), _) => Some(yarn.factors(rope.base, rope.dims)),
            (None, Some(name)) => store.optional_vector(name, rope.dims / 2)?,
            (None, None) => None,
        };
        ropes.push(backend.rope_table(rope, factors.as_deref())?);
    }
    let loader = Loader {
        backend: &*backend,
        config,
        store,
        places: RefCell::default(),
    };
    let embedding =
        backend.matrix(store.matrix("token_embd.weight", config.n_vocab, config.n_embd)?)?;
    let head = if store.has("output.weight") {
        loader.linear(&Rows::all("output"), config.n_vocab, config.n_embd)?
    } else {
        // An adapter of the embedding is none of the head.
        loader.place("output.weight".to_owned(), 0, config.n_vocab);
        Linear {
            id: 0,
            weight: embedding.clone(),
            bias: None,
        }
    };
    // Grows as their tensors are found: a file may call itself deeper than it is.
    let mut layers = Vec::new();
    for index in 0..config.n_layer {
        progress(index as f32 / config.n_layer as f32)?;
        layers.push(loader.layer(index)?);
    }
    Ok(Transformer {
        config: config.clone(),
        embedding,
        layers,
        ropes,
        output_norm: loader.norm("output_norm")?,
        places: loader.places.into_inner(),
        head,
    })
}

/// The rows of a tensor that a linear part has.
pub(super) struct Place {
    /// Its name in the file.
    pub(super) tensor: String,
    pub(super) first: usize,
    pub(super) rows: usize,
}

struct Loader<'a, B> {
    backend: &'a B,
    config: &'a Config,
    store: &'a WeightStore<'a>,
    /// Of the linear parts so far.
    places: RefCell<Vec<Place>>,
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

    fn norm(&self, name: &str) -> Result<Norm<B>> {
        let width = self.config.n_embd;
        let bias = match self.config.norm {
            NormKind::Rms => None,
            NormKind::Layer => self.store.optional_vector(&format!("{name}.bias"), width)?,
        };
        Ok(Norm {
            weight: self.vector(&format!("{name}.weight"), width)?,
            bias: bias.map(|values| self.backend.vector(values)).transpose()?,
        })
    }

    fn norm_if(&self, wanted: bool, name: &str) -> Result<Option<Norm<B>>> {
        wanted.then(|| self.norm(name)).transpose()
    }

    /// Gives a linear part its number.
    fn place(&self, tensor: String, first: usize, rows: usize) -> usize {
        let mut places = self.places.borrow_mut();
        places.push(Place {
            tensor,
            first,
            rows,
        });
        places.len() - 1
    }

    fn linear(&self, tensor: &Rows, rows: usize, cols: usize) -> Result<Linear<B>> {
        let bias = tensor.bias(self.store, rows)?;
        let first = tensor.fused.map_or(0, |(first, _)| first);
        Ok(Linear {
            id: self.place(format!("{}.weight", tensor.name), first, rows),
            weight: self
                .backend
                .matrix(tensor.weight(self.store, rows, cols)?)?,
            bias: bias.map(|values| self.backend.vector(values)).transpose()?,
        })
    }

    fn layer(&self, index: usize) -> Result<Layer<B>> {
        let c = self.config;
        let name = |part: &str| format!("blk.{index}.{part}");
        let parts = Parts::of(c, self.store, index);
        let qk_norm = |part: &str, row: usize| {
            let width = match c.qk_norm {
                QkNorm::None => return Ok(None),
                QkNorm::Head => c.head_dim,
                QkNorm::Row => row,
            };
            self.vector(&name(part), width).map(Some)
        };
        let post_norm = |part: &str| self.vector_if(c.post_norms, &name(part), c.n_embd);
        let gate = parts.gate.as_ref();
        Ok(Layer {
            kind: c.layers[index],
            attention: Attention {
                norm: self.norm_if(c.pre_norms, &name("attn_norm"))?,
                query: self.linear(&parts.query, c.q_width(), c.n_embd)?,
                key: self.linear(&parts.key, c.kv_width(), c.n_embd)?,
                value: self.linear(&parts.value, c.kv_width(), c.n_embd)?,
                query_norm: qk_norm("attn_q_norm.weight", c.q_width())?,
                key_norm: qk_norm("attn_k_norm.weight", c.kv_width())?,
                output: self.linear(&Rows::all(name("attn_output")), c.n_embd, c.q_width())?,
                post_norm: post_norm("post_attention_norm.weight")?,
            },
            feed_forward: FeedForward {
                norm: self.norm_if(c.pre_norms, &name("ffn_norm"))?,
                gate: gate
                    .map(|gate| self.linear(gate, c.n_ff, c.n_embd))
                    .transpose()?,
                up: self.linear(&parts.up, c.n_ff, c.n_embd)?,
                down: self.linear(&Rows::all(name("ffn_down")), c.n_embd, c.n_ff)?,
                post_norm: post_norm("post_ffw_norm.weight")?,
            },
        })
    }
}
