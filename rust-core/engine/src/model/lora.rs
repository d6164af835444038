//! Low-rank adapters (LoRA, Hu et al., 2021): `y = W x + scale * B (A x)` for the matrices that an
//! adapter names, in GGUF files as llama.cpp writes them. The base stays mapped and as it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::backend::Backend;
use super::config::Config;
use super::forward::Transformer;
use crate::error::{Error, Result};
use crate::gguf::{FileAccess, Gguf, Source};
use crate::weights::{Weight, WeightStore};

/// Ranks above this are not in use, and work buffers would grow with them.
const MAX_RANK: u64 = 4096;
const DOWN: &str = ".lora_a";
const UP: &str = ".lora_b";

/// An adapter that was opened for a model and checked against it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Adapter {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Of the model that it was opened for, and its alone.
    base: Arc<Config>,
    /// By the name of the base's tensor.
    pairs: BTreeMap<String, Pair>,
    alpha: f32,
}

#[derive(Debug)]
struct Pair {
    /// `[rank][in]`.
    down: Weight,
    /// `[out][rank]`.
    up: Weight,
}

impl Adapter {
    /// Opens an adapter for the model in `base`, whose shape is `config`.
    ///
    /// # Errors
    /// [`Error::UnsupportedModel`] for a file that is no LoRA adapter, is one for another
    /// architecture or adapts something else than a layer's matrices or the head,
    /// [`Error::CorruptModel`] for one whose shapes are not those of the model.
    pub(super) fn open(
        source: &Source,
        access: FileAccess,
        base: &Gguf,
        config: &Arc<Config>,
    ) -> Result<Self> {
        let gguf = Gguf::open_as(source, access)?;
        let meta = gguf.metadata();
        for (key, wanted) in [
            ("general.type", "adapter"),
            ("adapter.type", "lora"),
            ("general.architecture", base.architecture()?),
        ] {
            let found = meta.str(key)?.unwrap_or("nothing");
            if found != wanted {
                return Err(Error::unsupported(format!(
                    "an adapter whose {key} is {found:?} ({wanted:?} is wanted)"
                )));
            }
        }
        let alpha = meta.f32("adapter.lora.alpha")?.unwrap_or(0.0);
        let store = WeightStore::open(&gguf, &mut |_| Ok(()))?;
        let mut pairs = BTreeMap::new();
        for tensor in gguf.tensors() {
            let name = tensor.name.as_str();
            let Some(target) = name.strip_suffix(DOWN).or_else(|| name.strip_suffix(UP)) else {
                return Err(Error::unsupported(format!(
                    "an adapter with the tensor {name}"
                )));
            };
            if !pairs.contains_key(target) {
                pairs.insert(target.to_owned(), Pair::read(&store, &gguf, base, target)?);
            }
        }
        if pairs.is_empty() {
            return Err(Error::corrupt("the adapter", "it adapts nothing"));
        }
        let inner = Arc::new(Inner {
            base: config.clone(),
            pairs,
            alpha,
        });
        Ok(Self { inner })
    }

    /// The names of the tensors that it adapts.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        self.inner.pairs.keys().map(String::as_str)
    }
}

impl Pair {
    fn read(store: &WeightStore<'_>, gguf: &Gguf, base: &Gguf, target: &str) -> Result<Self> {
        let matrix = target.starts_with("blk.") || target == "output.weight";
        let tensor = base.tensor(target).filter(|tensor| tensor.dims.len() == 2);
        let Some(tensor) = tensor.filter(|_| matrix) else {
            return Err(Error::unsupported(format!(
                "an adapter of {target}, which is no matrix of a layer of this model"
            )));
        };
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let (cols, rows) = (size(tensor.dims[0]), size(tensor.dims[1]));
        let down = format!("{target}{DOWN}");
        let rank = gguf
            .tensor(&down)
            .and_then(|tensor| tensor.dims.get(1).copied())
            .unwrap_or(0);
        if rank == 0 || rank > MAX_RANK {
            return Err(Error::corrupt(down, format!("its rank is {rank}")));
        }
        let rank = size(rank);
        Ok(Self {
            down: store.matrix(&down, rank, cols)?,
            up: store.matrix(&format!("{target}{UP}"), rows, rank)?,
        })
    }

    /// What the product is multiplied by for a scale of one.
    fn factor(&self, alpha: f32) -> f32 {
        if alpha == 0.0 {
            1.0
        } else {
            alpha / self.down.rows() as f32
        }
    }
}

/// An adapter at a scale, as a backend holds it: what is added to each linear part, if anything.
pub(super) struct Applied<B: Backend> {
    parts: Vec<Option<LowRank<B>>>,
}

/// What is added to one linear part.
pub(super) struct LowRank<B: Backend> {
    pub(super) down: B::Matrix,
    pub(super) up: B::Matrix,
    pub(super) rank: usize,
    pub(super) factor: f32,
}

impl<B: Backend> Applied<B> {
    /// # Errors
    /// [`Error::InvalidArgument`] for an adapter that was opened for another model, whose shapes may
    /// be others.
    pub(super) fn new(
        adapter: &Adapter,
        scale: f32,
        backend: &B,
        transformer: &Transformer<B>,
    ) -> Result<Self> {
        if !Arc::ptr_eq(&adapter.inner.base, &transformer.config) {
            return Err(Error::invalid(
                "an adapter that was opened for another model",
            ));
        }
        let part = |place: &super::load::Place| {
            let Some(pair) = adapter.inner.pairs.get(&place.tensor) else {
                return Ok(None);
            };
            Ok(Some(LowRank {
                down: backend.matrix(pair.down.clone())?,
                up: backend.matrix(pair.up.rows_from(place.first, place.rows)?)?,
                rank: pair.down.rows(),
                factor: scale * pair.factor(adapter.inner.alpha),
            }))
        };
        Ok(Self {
            parts: transformer.places.iter().map(part).collect::<Result<_>>()?,
        })
    }

    /// What is added to the linear part `id`.
    pub(super) fn part(&self, id: usize) -> Option<&LowRank<B>> {
        self.parts.get(id).and_then(Option::as_ref)
    }
}
