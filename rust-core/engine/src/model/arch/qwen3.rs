//! Qwen 3: as Qwen 2, with normed query and key heads in place of the biases.

use crate::error::Result;
use crate::model::config::{Config, Hyper, QkNorm};

pub(super) fn config(hyper: &Hyper<'_>) -> Result<Config> {
    Ok(Config {
        qk_norm: QkNorm::Head,
        ..super::qwen2::config(hyper)?
    })
}
