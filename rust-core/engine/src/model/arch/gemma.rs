//! Gemma 1: as llama, with scaled embeddings, rope on the halves of a head and GELU.

use dormouse_kernels::RopeStyle;

use crate::error::Result;
use crate::model::config::{Activation, Config, Hyper, NormKind};

pub(super) fn config(hyper: &Hyper<'_>) -> Result<Config> {
    let base = hyper.config(RopeStyle::Neox, NormKind::Rms, Activation::GeluTanh)?;
    Ok(Config {
        embed_scale: (base.n_embd as f32).sqrt(),
        ..base
    })
}
