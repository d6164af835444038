//! One small file an architecture: it reads the metadata and names its parts.
//!
//! To add one, follow `docs/adding-an-architecture.md`.

mod gemma;
mod gemma2;
mod gemma3;
mod granite;
mod llama;
mod olmo2;
mod phi3;
mod qwen2;
mod qwen3;
mod smollm3;
mod starcoder2;

use super::config::{Config, Hyper};
use crate::error::{Error, Result};
use crate::gguf::Gguf;

type Describe = fn(&Hyper<'_>) -> Result<Config>;

/// GGUF name of each known architecture, and how its configuration is read.
const ARCHITECTURES: &[(&str, Describe)] = &[
    ("gemma", gemma::config),
    ("gemma2", gemma2::config),
    ("gemma3", gemma3::config),
    ("granite", granite::config),
    ("llama", llama::config),
    ("olmo2", olmo2::config),
    ("phi3", phi3::config),
    ("qwen2", qwen2::config),
    ("qwen3", qwen3::config),
    ("smollm3", smollm3::config),
    ("starcoder2", starcoder2::config),
];

/// The configuration of the model in `gguf`.
///
/// # Errors
/// [`Error::UnsupportedModel`] for an unknown architecture, naming those known;
/// [`Error::CorruptModel`] for hyperparameters that cannot be.
pub fn configure(gguf: &Gguf) -> Result<Config> {
    let name = gguf.architecture()?;
    let Some(&(arch, describe)) = ARCHITECTURES.iter().find(|(known, _)| *known == name) else {
        let known: Vec<_> = ARCHITECTURES.iter().map(|(known, _)| *known).collect();
        return Err(Error::unsupported(format!(
            "architecture {name} (known: {})",
            known.join(", ")
        )));
    };
    describe(&Hyper {
        arch,
        meta: gguf.metadata(),
    })
}
