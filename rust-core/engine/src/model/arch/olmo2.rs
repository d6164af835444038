//! OLMo 2 and 3: norms after each part and none before, all query heads of a position normed
//! together, and so the keys; OLMo 3 has a sliding window in three layers of four, with a rope of
//! its own.

use dormouse_kernels::RopeStyle;

use crate::error::{Error, Result};
use crate::model::config::{Activation, Config, Hyper, LayerKind, NormKind, QkNorm};
use crate::model::rope::RopeConfig;

const PATTERN: usize = 4;

pub(super) fn config(hyper: &Hyper<'_>) -> Result<Config> {
    let base = hyper.config(RopeStyle::Neox, NormKind::Rms, Activation::Silu)?;
    let rope = base.ropes.first();
    let global = rope.ok_or_else(|| Error::internal("no rope"))?.clone();
    let local = RopeConfig {
        base: hyper.positive("rope.freq_base_swa")?.unwrap_or(global.base),
        freq_scale: 1.0,
        yarn: None,
        magnitude: 1.0,
        ..global.clone()
    };
    let windows = hyper.windows(base.n_layer, hyper.window()?, PATTERN)?;
    let layer = |window: Option<usize>| LayerKind {
        rope: Some(usize::from(window.is_some())),
        window,
    };
    Ok(Config {
        qk_norm: QkNorm::Row,
        pre_norms: false,
        post_norms: true,
        ropes: vec![global, local],
        layers: windows.into_iter().map(layer).collect(),
        ..base
    })
}
