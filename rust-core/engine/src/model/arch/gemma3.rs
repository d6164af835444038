//! Gemma 3 (text): scaled embeddings, norms before and after each part, normed query and key
//! heads, five layers with a sliding window and a short rope base to one that sees all.

use dormouse_kernels::RopeStyle;

use crate::error::{Error, Result};
use crate::model::config::{Activation, Config, Hyper, LayerKind, NormKind, QkNorm};
use crate::model::rope::RopeConfig;

/// Every sixth layer is global, unless a file says otherwise.
const PATTERN: usize = 6;
const LOCAL_BASE: f32 = 10_000.0;
/// Only the 27B model has this many layers; it scales queries by embedding width per head.
const LAYERS_27B: usize = 62;

pub(super) fn config(hyper: &Hyper<'_>) -> Result<Config> {
    let base = hyper.config(RopeStyle::Neox, NormKind::Rms, Activation::GeluTanh)?;
    let windows = hyper.windows(base.n_layer, hyper.window()?, PATTERN)?;
    let global = RopeConfig {
        base: hyper.positive("rope.freq_base")?.unwrap_or(1_000_000.0),
        ..base
            .ropes
            .first()
            .cloned()
            .ok_or_else(|| Error::internal("no rope"))?
    };
    let local = RopeConfig {
        base: hyper.positive("rope.freq_base_swa")?.unwrap_or(LOCAL_BASE),
        freq_scale: 1.0,
        ..global.clone()
    };
    let layer = |window: Option<usize>| LayerKind {
        rope: Some(usize::from(window.is_some())),
        window,
    };
    let query_width = if base.n_layer == LAYERS_27B {
        base.n_embd / base.n_head
    } else {
        base.head_dim
    };
    Ok(Config {
        embed_scale: (base.n_embd as f32).sqrt(),
        attention_scale: 1.0 / (query_width as f32).sqrt(),
        attention_soft_cap: hyper.positive("attn_logit_softcapping")?,
        logit_soft_cap: hyper.positive("final_logit_softcapping")?,
        qk_norm: QkNorm::Head,
        post_norms: true,
        ropes: vec![global, local],
        layers: windows.into_iter().map(layer).collect(),
        ..base
    })
}
