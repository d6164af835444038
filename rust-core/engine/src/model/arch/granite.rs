//! Granite 3: as llama, with factors on embeddings, scores, branches and logits.

use dormouse_kernels::RopeStyle;

use crate::error::{Error, Result};
use crate::model::config::{Activation, Config, Hyper, LayerKind, NormKind};

pub(super) fn config(hyper: &Hyper<'_>) -> Result<Config> {
    let base = hyper.config(RopeStyle::Normal, NormKind::Rms, Activation::Silu)?;
    let factor = |key, default| Ok::<f32, Error>(hyper.positive(key)?.unwrap_or(default));
    // The key for a rope that was trained tells whether there is one at all.
    let roped = hyper.meta.bool(&hyper.key("rope.scaling.finetuned"))?;
    let layer = LayerKind {
        rope: roped.unwrap_or(true).then_some(0),
        window: None,
    };
    Ok(Config {
        embed_scale: factor("embedding_scale", 1.0)?,
        attention_scale: factor("attention.scale", base.attention_scale)?,
        residual_scale: factor("residual_scale", 1.0)?,
        logit_scale: 1.0 / factor("logit_scale", 1.0)?,
        layers: vec![layer; base.n_layer],
        ..base
    })
}
