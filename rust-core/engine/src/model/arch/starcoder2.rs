//! StarCoder 2: layer norms and biases everywhere, rope on the halves of a head, and a feed-forward
//! without a gate.

use dormouse_kernels::RopeStyle;

use crate::error::Result;
use crate::model::config::{Activation, Config, Gate, Hyper, NormKind};

pub(super) fn config(hyper: &Hyper<'_>) -> Result<Config> {
    Ok(Config {
        gate: Gate::None,
        ..hyper.config(RopeStyle::Neox, NormKind::Layer, Activation::GeluTanh)?
    })
}
