//! SmolLM 3: as llama, without rope in every fourth layer (NoPE).

use crate::error::Result;
use crate::model::config::{Config, Hyper, LayerKind};

const PATTERN: usize = 4;

pub(super) fn config(hyper: &Hyper<'_>) -> Result<Config> {
    let base = super::llama::config(hyper)?;
    let layers = base.layers.iter().enumerate().map(|(index, &layer)| {
        let rope = layer.rope.filter(|_| index % PATTERN != PATTERN - 1);
        LayerKind { rope, ..layer }
    });
    Ok(Config {
        layers: layers.collect(),
        ..base
    })
}
