//! What is measured of every engine, and what comes of several measurements.

use serde_json::{Value, json};

/// Tokens of a prompt that is evaluated as one.
pub(crate) const PROMPT: u32 = 512;
/// Tokens decoded one by one from an empty KV cache.
pub(crate) const DECODE: u32 = 128;
/// Tokens decoded one by one with [`DEPTH`] tokens before them.
pub(crate) const DEEP: u32 = 64;
/// Tokens in the KV cache that are not timed.
pub(crate) const DEPTH: u32 = 4096;
/// Tokens of the prompt up to whose first answered token a process is timed.
pub(crate) const FIRST_PROMPT: usize = 16;

/// A figure of an engine on a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Figure {
    /// Tokens per second of a prompt.
    Prefill,
    /// Tokens per second one by one.
    Decode,
    /// The same with a long context before.
    Deep,
    /// Milliseconds from starting a process to its first byte of text.
    FirstToken,
}

impl Figure {
    pub(crate) const ALL: [Self; 4] = [Self::Prefill, Self::Decode, Self::Deep, Self::FirstToken];

    /// For people.
    pub(crate) fn title(self) -> String {
        match self {
            Self::Prefill => format!("prefill {PROMPT}, tok/s"),
            Self::Decode => format!("decode {DECODE}, tok/s"),
            Self::Deep => format!("decode {DEEP} at depth {DEPTH}, tok/s"),
            Self::FirstToken => format!("start to first token, prompt of {FIRST_PROMPT}, ms"),
        }
    }

    /// On the command line and in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Prefill => "prefill",
            Self::Decode => "decode",
            Self::Deep => "deep",
            Self::FirstToken => "first-token",
        }
    }

    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|figure| figure.name() == name)
    }

    /// How many times better `ours` is than `theirs`: more tokens a second, or sooner.
    pub(crate) fn ratio(self, ours: f64, theirs: f64) -> f64 {
        match self {
            Self::FirstToken => theirs / ours,
            _ => ours / theirs,
        }
    }
}

/// Median and range of several measurements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Summary {
    /// None of no values.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self {
            median: (low + high) / 2.0,
            min,
            max,
        })
    }

    pub(crate) fn json(self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

/// A number from outside that a ratio can be taken of.
pub(crate) fn positive(value: &Value) -> Option<f64> {
    value
        .as_f64()
        .filter(|number| number.is_finite() && *number > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two_middle_ones() {
        let median = |values: &[f64]| Summary::of(values).map(|summary| summary.median);
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[10.0, 2.0, 9.0]), Some(9.0));
        assert_eq!(median(&[8.0, 1.0, 2.0, 100.0]), Some(5.0));
    }

    #[test]
    fn a_ratio_above_one_is_better_whatever_the_unit() {
        assert_eq!(Figure::Decode.ratio(30.0, 10.0), 3.0);
        assert_eq!(Figure::FirstToken.ratio(30.0, 60.0), 2.0);
    }

    #[test]
    fn names_are_found_again() {
        for figure in Figure::ALL {
            assert_eq!(Figure::named(figure.name()), Some(figure));
        }
        assert_eq!(Figure::named("speed"), None);
    }
}
