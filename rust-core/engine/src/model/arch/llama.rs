//! Llama 1 to 3 and what is built alike (SmolLM2, Mistral with its sliding window): RMS norm,
//! grouped-query attention with rope on adjacent pairs, SwiGLU.

use dormouse_kernels::RopeStyle;

use crate::error::Result;
use crate::model::config::{Activation, Config, Hyper, LayerKind, NormKind};

pub(super) fn config(hyper: &Hyper<'_>) -> Result<Config> {
    let base = hyper.config(RopeStyle::Normal, NormKind::Rms, Activation::Silu)?;
    let window = hyper.window()?;
    let windows = hyper.windows(base.n_layer, window, 0)?;
    let layer = |window| LayerKind {
        rope: Some(0),
        window,
    };
    Ok(Config {
        layers: windows.into_iter().map(layer).collect(),
        ..base
    })
}
