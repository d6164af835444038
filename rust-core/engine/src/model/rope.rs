//! Rotary embedding as metadata describes it, and the frequency factors of YaRN.

use dormouse_kernels::RopeStyle;

use super::config::Hyper;
use crate::error::{Error, Result};

/// Rotary position embedding of one kind of layer.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeConfig {
    /// Which elements are rotated together.
    pub style: RopeStyle,
    /// Dimensions of a head that are rotated.
    pub dims: usize,
    /// The base of the frequencies.
    pub base: f32,
    /// Factor on positions: 1 / scaling factor (linear scaling).
    pub freq_scale: f32,
    /// The tensor with per-frequency divisors, where the file has it (Llama 3, LongRoPE).
    pub factors: Option<&'static str>,
    /// Scaling that differs by frequency.
    pub yarn: Option<Yarn>,
    /// Factor on what is rotated (YaRN, LongRoPE).
    pub magnitude: f32,
}

/// YaRN (Peng et al., 2023): slow frequencies are scaled, fast ones are not, those between partly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Yarn {
    /// How much longer the context is than what the model was first trained for.
    pub factor: f32,
    /// That first context, in tokens.
    pub original_context: usize,
}

/// Turns over the original context above which a frequency is not scaled, and below which it is
/// wholly; the paper's values, which all published models keep.
const BETA_FAST: f64 = 32.0;
const BETA_SLOW: f64 = 1.0;

impl Yarn {
    /// What each pair's frequency is divided by.
    pub(crate) fn factors(self, base: f32, dims: usize) -> Vec<f32> {
        let base = f64::from(base).ln();
        let context = self.original_context as f64;
        let pair_with_turns = |turns: f64| {
            dims as f64 * (context / (turns * std::f64::consts::TAU)).ln() / (2.0 * base)
        };
        let last = dims as f64 - 1.0;
        let low = pair_with_turns(BETA_FAST).floor().clamp(0.0, last);
        let high = pair_with_turns(BETA_SLOW).ceil().clamp(0.0, last);
        let scale = 1.0 / f64::from(self.factor);
        (0..dims / 2)
            .map(|pair| {
                let share = ((pair as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
                (1.0 / (share * scale + (1.0 - share))) as f32
            })
            .collect()
    }

    fn magnitude(self) -> f32 {
        (1.0 + 0.1 * f64::from(self.factor).ln()) as f32
    }
}

/// The kinds of rope of a model.
pub(crate) struct Ropes {
    /// One, or with LongRoPE two: for short and for long contexts.
    pub(crate) kinds: Vec<RopeConfig>,
    /// With LongRoPE the longest context that is short.
    pub(crate) short_context: Option<usize>,
}

impl Hyper<'_> {
    /// Reads the keys `rope.*`.
    pub(crate) fn ropes(&self, style: RopeStyle, head_dim: usize) -> Result<Ropes> {
        let dims = self.width_or("rope.dimension_count", Some(head_dim))?;
        if dims > head_dim || dims % 2 != 0 {
            return Err(Error::corrupt(
                self.key("rope.dimension_count"),
                format!("{dims} of {head_dim} dimensions cannot be rotated"),
            ));
        }
        let factor = match self.positive("rope.scaling.factor")? {
            None => self.positive("rope.scale_linear")?,
            some => some,
        };
        let name = self.key("rope.scaling.type");
        let kind = self.meta.str(&name)?.unwrap_or("linear");
        let plain = RopeConfig {
            style,
            dims,
            base: self.positive("rope.freq_base")?.unwrap_or(10_000.0),
            freq_scale: 1.0,
            factors: Some("rope_freqs.weight"),
            yarn: None,
            magnitude: self.positive("rope.scaling.attn_factor")?.unwrap_or(1.0),
        };
        let one = |rope| Ropes {
            kinds: vec![rope],
            short_context: None,
        };
        Ok(match kind {
            "none" => one(plain),
            "linear" => one(RopeConfig {
                freq_scale: 1.0 / factor.unwrap_or(1.0),
                ..plain
            }),
            "yarn" => {
                let yarn = Yarn {
                    factor: factor.unwrap_or(1.0),
                    original_context: self.original_context()?,
                };
                one(RopeConfig {
                    magnitude: plain.magnitude * yarn.magnitude(),
                    yarn: Some(yarn),
                    ..plain
                })
            }
            "longrope" => self.long_ropes(&RopeConfig {
                freq_scale: 1.0 / factor.unwrap_or(1.0),
                ..plain
            })?,
            other => return Err(Error::unsupported(format!("rope scaling of type {other}"))),
        })
    }

    /// LongRoPE (Ding et al., 2024): two tables of factors, chosen by the context's length.
    pub(crate) fn long_ropes(&self, rope: &RopeConfig) -> Result<Ropes> {
        let with = |factors| RopeConfig {
            factors: Some(factors),
            ..rope.clone()
        };
        Ok(Ropes {
            kinds: vec![
                with("rope_factors_short.weight"),
                with("rope_factors_long.weight"),
            ],
            short_context: Some(self.original_context()?),
        })
    }

    /// The context that the model was first trained for.
    fn original_context(&self) -> Result<usize> {
        let trained = self.context_length()?;
        self.width_or("rope.scaling.original_context_length", Some(trained))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yarn_leaves_fast_frequencies_and_scales_slow_ones() {
        let yarn = Yarn {
            factor: 4.0,
            original_context: 32_768,
        };
        let factors = yarn.factors(1_000_000.0, 128);
        assert_eq!(factors.len(), 64);
        assert_eq!(factors[0], 1.0);
        assert_eq!(factors[63], 4.0);
        assert!(factors.is_sorted());
        // Pairs 23 to 40 lie between 32 turns of the context and one.
        assert_eq!(factors[23], 1.0);
        assert!(factors[24] > 1.0 && factors[39] < 4.0);
        assert_eq!(factors[40], 4.0);
    }
}
