//! What a model needs in memory, told from its metadata before anything is loaded.

use super::arch::configure;
use super::config::Config;
use super::kernels_backend::{ArenaPlan, KvType};
use super::options::ContextOptions;
use crate::error::Result;
use crate::gguf::Gguf;

/// Memory that a model takes, in bytes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MemoryPlan {
    /// The model's shape.
    pub config: Config,
    /// Positions that the plan is for.
    pub context_length: usize,
    /// Tensors, or the whole file if it is read in.
    pub weights: u64,
    /// Whether the weights are mapped from the file: clean pages, which the system can drop and read
    /// again.
    pub mapped: bool,
    /// The KV cache when all positions are filled.
    pub kv_cache: u64,
    /// Activations of a chunk.
    pub arena: u64,
}

/// Whether a model fits a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fits {
    /// With all its weights resident.
    Yes,
    /// Only if the system drops weights and reads them again, which is slow.
    Tight,
    /// Not even so.
    No,
    /// The system does not tell what it can give.
    Unknown,
}

impl MemoryPlan {
    /// All of it, in bytes.
    pub fn total(&self) -> u64 {
        self.weights + self.kv_cache + self.arena
    }

    /// Whether it fits into `available` bytes together with `more`, such as the tokenizer.
    pub fn fits(&self, more: u64, available: Option<u64>) -> Fits {
        let total = self.total().saturating_add(more);
        match available {
            None => Fits::Unknown,
            Some(available) if total <= available => Fits::Yes,
            Some(available) if self.mapped && total - self.weights <= available => Fits::Tight,
            Some(_) => Fits::No,
        }
    }
}

/// Plans a file's memory at a context length and KV cache type.
///
/// # Errors
/// As `Model::load` for the file, [`crate::Error::InvalidArgument`] for the context length.
pub fn memory_plan(gguf: &Gguf, context: &ContextOptions, kv_type: KvType) -> Result<MemoryPlan> {
    let config = configure(gguf)?;
    kv_type.check(&config)?;
    let context_length = context.resolve(&config)?;
    Ok(MemoryPlan {
        context_length,
        weights: weight_bytes(gguf),
        mapped: gguf.is_mapped(),
        kv_cache: config.kv_bytes_per_position(kv_type) * context_length as u64,
        arena: ArenaPlan::new(&config).bytes(),
        config,
    })
}

/// What a model takes however many sessions it has: weights and work buffers.
pub(super) fn resident_bytes(gguf: &Gguf, config: &Config) -> u64 {
    weight_bytes(gguf).saturating_add(ArenaPlan::new(config).bytes())
}

fn weight_bytes(gguf: &Gguf) -> u64 {
    if gguf.is_mapped() {
        gguf.tensors().iter().map(|tensor| tensor.bytes).sum()
    } else {
        gguf.file_bytes()
    }
}
