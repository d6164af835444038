//! What a caller chooses when loading a model and when opening a context.

use dormouse_kernels::{Isa, Precision};

use super::config::Config;
use super::kernels_backend::KvType;
use crate::error::{Error, Result};
use crate::gguf::FileAccess;

/// Rows of a chunk in the reference backend; its tensors are allocated per operation.
#[cfg(feature = "reference")]
pub(super) const REFERENCE_CHUNK: usize = 256;

/// A context of this many positions unless the caller asks for another or the model ends sooner.
const DEFAULT_CONTEXT: usize = 4096;

/// Who computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BackendKind {
    /// Our kernels.
    #[default]
    Kernels,
    /// Plain f32 candle tensors: slow, large, the oracle of the tests.
    #[cfg(feature = "reference")]
    Reference,
}

/// How a model is loaded.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LoadOptions {
    /// Who computes.
    pub backend: BackendKind,
    /// Compute threads; `None` takes as many as the system gives this process.
    pub threads: Option<usize>,
    /// Instruction set of the kernels.
    pub isa: Isa,
    /// How activations enter matrix products: int8 in groups of 32, or f32 for checking.
    pub precision: Precision,
    /// Element type of KV caches.
    pub kv_type: KvType,
    /// Most bytes that the model may take: weights, work buffers and the KV caches of all its
    /// sessions at their full length. What would go beyond is refused, not shrunk; `None` sets no
    /// limit.
    pub memory_budget: Option<u64>,
    /// Whether the file is mapped or read in; that of adapters, too.
    pub file_access: FileAccess,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            backend: BackendKind::default(),
            threads: None,
            isa: Isa::detect(),
            precision: Precision::Int8,
            kv_type: KvType::default(),
            memory_budget: None,
            file_access: FileAccess::default(),
        }
    }
}

impl LoadOptions {
    /// The number of compute threads that these options mean here.
    pub fn threads(&self) -> usize {
        let available = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.unwrap_or_else(available).max(1)
    }
}

/// How a context (one KV cache) is opened.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ContextOptions {
    /// Positions that the KV cache may hold. `None` takes 4,096, or the model's own length if
    /// that is shorter. Memory is taken as positions are filled.
    pub length: Option<usize>,
}

impl ContextOptions {
    /// A context of `length` positions.
    pub fn of_length(length: usize) -> Self {
        Self {
            length: Some(length),
        }
    }

    /// The length in positions that these options mean for a model.
    pub(crate) fn resolve(&self, config: &Config) -> Result<usize> {
        match self.length {
            None => Ok(DEFAULT_CONTEXT.min(config.context_length)),
            Some(length) if (1..=config.context_length).contains(&length) => Ok(length),
            Some(length) => Err(Error::invalid(format!(
                "a context of {length} tokens (this model takes 1 to {})",
                config.context_length
            ))),
        }
    }
}
