//! Phi 3 to 4: as llama, with rope on the halves of a head (of a part of it in Phi 4 mini), query,
//! key and value in one tensor, gate and up in another, and LongRoPE.
//!
//! The key of a sliding window is not followed: files have it with values that their models were
//! not trained with.

use dormouse_kernels::RopeStyle;

use crate::error::Result;
use crate::model::config::{Activation, Config, Gate, Hyper, NormKind};

pub(super) fn config(hyper: &Hyper<'_>) -> Result<Config> {
    let base = hyper.config(RopeStyle::Neox, NormKind::Rms, Activation::Silu)?;
    // Whatever the scaling is called: the factors are there or not.
    let ropes = match base.ropes.first() {
        Some(rope) if base.short_context.is_none() => hyper.long_ropes(rope)?,
        _ => hyper.ropes(RopeStyle::Neox, base.head_dim)?,
    };
    Ok(Config {
        gate: Gate::Fused,
        ropes: ropes.kinds,
        short_context: ropes.short_context,
        ..base
    })
}
