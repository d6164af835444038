//! Llama 1 to 3 and what is built alike (SmolLM2, Mistral): RMS norm, grouped-query attention
//! with rope on adjacent pairs, SwiGLU.

use dormouse_kernels::RopeStyle;

use crate::error::Result;
use crate::model::config::{Activation, Config, Hyper};

pub(super) fn config(hyper: &Hyper<'_>) -> Result<Config> {
    hyper.config(RopeStyle::Normal, Activation::Silu)
}
