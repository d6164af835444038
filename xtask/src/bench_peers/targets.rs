//! What Dormouse is to reach.

use serde_json::{Value, json};

use super::figures::Figure;
use super::subjects::Class;

/// Of the measured read bandwidth, when the weights lie far beyond every cache.
const READ_SHARE: f64 = 0.75;
/// Seconds to load a warm file, without the tokenizer.
const LOAD_S: f64 = 0.15;
/// What candle, which is no peer in speed, may reach of Dormouse.
const CANDLE: f64 = 1.0;

/// A figure and what it should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) figure: f64,
    pub(crate) target: f64,
    /// Whether less is better.
    pub(crate) at_most: bool,
}

impl Target {
    pub(crate) fn at_least(figure: f64, target: f64) -> Self {
        Self {
            figure,
            target,
            at_most: false,
        }
    }

    pub(crate) fn at_most(figure: f64, target: f64) -> Self {
        Self {
            figure,
            target,
            at_most: true,
        }
    }

    pub(crate) fn held(self) -> bool {
        if self.at_most {
            self.figure <= self.target
        } else {
            self.figure >= self.target
        }
    }

    /// Whether it was held, for people.
    pub(crate) fn verdict(self) -> &'static str {
        if self.held() { "held" } else { "MISSED" }
    }

    pub(crate) fn json(self) -> Value {
        json!({ "figure": self.figure, "target": self.target, "held": self.held() })
    }
}

/// What the ratio to a peer must be at least; none for a model without targets. `isa` is what Dormouse
/// says that it runs on: with the dot products of AVX-512 VNNI more is asked of a prefill.
pub(crate) fn ratio(peer: &str, class: Class, figure: Figure, isa: &str) -> Option<f64> {
    let column = match class {
        _ if peer == "candle" => return Some(CANDLE),
        Class::SmolLm2 => 0,
        Class::Gemma3 => 1,
        Class::Llama1b => 2,
        Class::Other => return None,
    };
    let row = match figure {
        Figure::Prefill if has_vnni(isa) => [3.0, 2.0, 1.5],
        Figure::Prefill => [2.0, 1.6, 1.3],
        Figure::Decode => [2.0, 1.3, 1.15],
        Figure::Deep => [1.5, 1.3, 1.15],
        Figure::FirstToken => [1.5, 1.5, 1.5],
    };
    Some(row[column])
}

/// `avx512vnni`, `avx512-vnni` and the like.
fn has_vnni(isa: &str) -> bool {
    let isa = isa.to_ascii_lowercase();
    isa.contains("avx512") && isa.contains("vnni")
}

/// The share of the read bandwidth that decoding must reach.
pub(crate) fn read_share(class: Class, share: f64) -> Option<Target> {
    (class == Class::Llama1b).then(|| Target::at_least(share, READ_SHARE))
}

/// The time that loading may take, in seconds.
pub(crate) fn load(class: Class, seconds: f64) -> Option<Target> {
    (class == Class::Llama1b).then(|| Target::at_most(seconds, LOAD_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instruction_set_decides_the_target_of_a_prefill_alone() {
        let of = |class, figure, isa| ratio("llama.cpp", class, figure, isa);
        assert_eq!(of(Class::SmolLm2, Figure::Prefill, "avx512vnni"), Some(3.0));
        assert_eq!(
            of(Class::SmolLm2, Figure::Prefill, "AVX512-VNNI"),
            Some(3.0)
        );
        assert_eq!(of(Class::SmolLm2, Figure::Prefill, "avx2"), Some(2.0));
        assert_eq!(of(Class::Gemma3, Figure::Prefill, "avx2"), Some(1.6));
        assert_eq!(of(Class::Llama1b, Figure::Prefill, "avx512vnni"), Some(1.5));
        for isa in ["avx2", "avx512vnni"] {
            assert_eq!(of(Class::SmolLm2, Figure::Decode, isa), Some(2.0));
            assert_eq!(of(Class::SmolLm2, Figure::Deep, isa), Some(1.5));
            assert_eq!(of(Class::Llama1b, Figure::Deep, isa), Some(1.15));
            assert_eq!(of(Class::Gemma3, Figure::FirstToken, isa), Some(1.5));
            assert_eq!(of(Class::Other, Figure::Decode, isa), None);
        }
        let candle = ratio("candle", Class::Other, Figure::Decode, "avx2");
        assert_eq!(candle, Some(1.0));
    }

    #[test]
    fn a_target_is_held_where_it_is_met_from_the_right_side() {
        assert!(Target::at_least(2.0, 2.0).held());
        assert!(!Target::at_least(1.99, 2.0).held());
        assert!(Target::at_most(0.15, 0.15).held());
        assert!(!Target::at_most(0.16, 0.15).held());
        let json = json!({ "figure": 0.1, "target": 0.15, "held": true });
        assert_eq!(Target::at_most(0.1, 0.15).json(), json);
        assert_eq!(read_share(Class::SmolLm2, 0.1), None);
        assert_eq!(load(Class::Gemma3, 3.0), None);
    }
}
