//! Gemma 2: scaled embeddings, norms before and after each part, soft caps on scores and logits, a
//! sliding window in every other layer.

use dormouse_kernels::RopeStyle;

use crate::error::{Error, Result};
use crate::model::config::{Activation, Config, Hyper, LayerKind, NormKind};

const PATTERN: usize = 2;
const WINDOW: usize = 4096;
const SCORE_CAP: f32 = 50.0;
const LOGIT_CAP: f32 = 30.0;
/// Only the 27B model has this many layers; it scales queries by embedding width per head.
const LAYERS_27B: usize = 46;

pub(super) fn config(hyper: &Hyper<'_>) -> Result<Config> {
    let base = hyper.config(RopeStyle::Neox, NormKind::Rms, Activation::GeluTanh)?;
    let window = hyper.width_or("attention.sliding_window", Some(WINDOW))?;
    let windows = hyper.windows(base.n_layer, Some(window), PATTERN)?;
    let layer = |window| LayerKind {
        rope: Some(0),
        window,
    };
    let query_width = if base.n_layer == LAYERS_27B {
        base.n_embd / base.n_head
    } else {
        base.head_dim
    };
    let cap = |key, default| {
        let cap = hyper.positive(key)?;
        Ok::<_, Error>(cap.or(Some(default)))
    };
    Ok(Config {
        embed_scale: (base.n_embd as f32).sqrt(),
        attention_scale: 1.0 / (query_width as f32).sqrt(),
        attention_soft_cap: cap("attn_logit_softcapping", SCORE_CAP)?,
        logit_soft_cap: cap("final_logit_softcapping", LOGIT_CAP)?,
        post_norms: true,
        layers: windows.into_iter().map(layer).collect(),
        ..base
    })
}
