//! Qwen 2 and 2.5: as llama, with rope on the halves of a head and biases on query, key and value,
//! which are read wherever a file has them.

use dormouse_kernels::RopeStyle;

use crate::error::Result;
use crate::model::config::{Activation, Config, Hyper, NormKind};

pub(super) fn config(hyper: &Hyper<'_>) -> Result<Config> {
    hyper.config(RopeStyle::Neox, NormKind::Rms, Activation::Silu)
}
