//! How the next token is chosen: the settings and their ranges.

use crate::error::{Error, Result};

/// The settings of the sampler, under the names that llama.cpp and most servers use. Where
/// several steps are on they work in the order that [`super::Sampler`] documents.
///
/// The default is llama.cpp's: temperature 0.8, top-k 40, top-p 0.95, min-p 0.05, no penalties.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SamplerOptions {
    /// Divides the logits before the draw: 0 always takes the likeliest token (greedy), 1 draws
    /// from the model's own distribution. Finite, at least 0.
    pub temperature: f32,
    /// Only the `top_k` likeliest tokens stay; 0 switches it off.
    pub top_k: usize,
    /// Only the fewest likeliest tokens stay whose probabilities sum to `top_p` (nucleus
    /// sampling, Holtzman et al. 2020); 1 switches it off. From 0 to 1.
    pub top_p: f32,
    /// Only tokens at least `min_p` times as likely as the likeliest stay (Nguyen et al. 2024);
    /// 0 switches it off. From 0 to 1.
    pub min_p: f32,
    /// Divides the positive and multiplies the negative logits of the tokens seen recently (CTRL,
    /// Keskar et al. 2019); 1 switches it off. Above 0, at most 100.
    pub repetition_penalty: f32,
    /// Taken off the logit of each token seen recently; 0 switches it off. From -100 to 100.
    pub presence_penalty: f32,
    /// Taken off the logit of each token once for every time it was seen recently; 0 switches it
    /// off. From -100 to 100.
    pub frequency_penalty: f32,
    /// How many of the last tokens, of prompt and answer alike, the three penalties look at: 0
    /// for none, `usize::MAX` for all that the context holds.
    pub penalty_last_n: usize,
    /// Added to the logits of single tokens: finite, or negative infinity to forbid the token.
    pub logit_bias: Vec<(u32, f32)>,
    /// Where the random numbers start. The same seed with the same settings and prompt gives the
    /// same text; without one a new seed is taken for each reply.
    pub seed: Option<u64>,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        Self {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            penalty_last_n: 64,
            logit_bias: Vec::new(),
            seed: None,
        }
    }
}

impl SamplerOptions {
    /// Always the likeliest token.
    pub fn greedy() -> Self {
        Self {
            temperature: 0.0,
            ..Self::default()
        }
    }

    /// Looks whether every setting lies in its range, for a model of `vocab_size` tokens.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] naming the setting, its value and its range.
    pub fn validate(&self, vocab_size: usize) -> Result<()> {
        let check = |ok: bool, name: &str, value: f32, range: &str| {
            if ok {
                Ok(())
            } else {
                Err(Error::invalid(format!("{name} is {value}, want {range}")))
            }
        };
        check(
            self.temperature.is_finite() && self.temperature >= 0.0,
            "the temperature",
            self.temperature,
            "a finite number, at least 0",
        )?;
        for (name, value) in [("top-p", self.top_p), ("min-p", self.min_p)] {
            check((0.0..=1.0).contains(&value), name, value, "0 to 1")?;
        }
        check(
            self.repetition_penalty > 0.0 && self.repetition_penalty <= 100.0,
            "the repetition penalty",
            self.repetition_penalty,
            "above 0, at most 100",
        )?;
        for (name, value) in [
            ("the presence penalty", self.presence_penalty),
            ("the frequency penalty", self.frequency_penalty),
        ] {
            check(
                (-100.0..=100.0).contains(&value),
                name,
                value,
                "-100 to 100",
            )?;
        }
        for &(token, bias) in &self.logit_bias {
            if token as usize >= vocab_size {
                return Err(Error::invalid(format!(
                    "a logit bias for token {token}, want less than the vocabulary's {vocab_size}"
                )));
            }
            check(
                bias.is_finite() || bias == f32::NEG_INFINITY,
                &format!("the logit bias of token {token}"),
                bias,
                "a finite number or negative infinity",
            )?;
        }
        Ok(())
    }

    pub(super) fn penalises(&self) -> bool {
        self.penalty_last_n > 0
            && (self.repetition_penalty != 1.0
                || self.presence_penalty != 0.0
                || self.frequency_penalty != 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut SamplerOptions)) -> String {
        let mut options = SamplerOptions::default();
        change(&mut options);
        match options.validate(10) {
            Err(Error::InvalidArgument { what }) => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_field_outside_its_range_is_named() {
        assert!(refusal(|o| o.temperature = -0.1).starts_with("the temperature is -0.1"));
        assert!(refusal(|o| o.temperature = f32::NAN).starts_with("the temperature is"));
        assert!(refusal(|o| o.temperature = f32::INFINITY).starts_with("the temperature is"));
        assert!(refusal(|o| o.top_p = 1.5).contains("top-p is 1.5, want 0 to 1"));
        assert!(refusal(|o| o.min_p = f32::NAN).starts_with("min-p is"));
        assert!(refusal(|o| o.repetition_penalty = 0.0).starts_with("the repetition penalty is"));
        assert!(refusal(|o| o.presence_penalty = 101.0).starts_with("the presence penalty is"));
        assert!(
            refusal(|o| o.frequency_penalty = f32::NEG_INFINITY)
                .starts_with("the frequency penalty is")
        );
        assert!(refusal(|o| o.logit_bias = vec![(10, 0.0)]).contains("token 10"));
        assert!(
            refusal(|o| o.logit_bias = vec![(1, f32::INFINITY)])
                .starts_with("the logit bias of token 1 is")
        );
    }

    #[test]
    fn the_borders_of_each_range_are_allowed() {
        let options = SamplerOptions {
            temperature: 0.0,
            top_p: 0.0,
            min_p: 1.0,
            repetition_penalty: 100.0,
            presence_penalty: -100.0,
            logit_bias: vec![(9, f32::NEG_INFINITY)],
            ..SamplerOptions::default()
        };
        options.validate(10).unwrap();
    }
}
