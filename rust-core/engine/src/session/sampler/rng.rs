//! The random numbers of the sampler, and the exponential that turns logits into weights.
//!
//! Both use integer and basic IEEE arithmetic alone, never the platform's mathematics library, so
//! a seed gives the same draws on every machine.

/// The generator xoshiro256++ 1.0 (Blackman and Vigna, "Scrambled linear pseudorandom number
/// generators", 2021), its state filled from the seed by splitmix64, as its authors advise.
#[derive(Debug, Clone)]
pub(super) struct Rng {
    state: [u64; 4],
}

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        let mut mixer = seed;
        let mut state = [0; 4];
        for word in &mut state {
            *word = splitmix64(&mut mixer);
        }
        Self { state }
    }

    pub(super) fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let shifted = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= shifted;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Uniform in `[0, 1)`, a multiple of 2^-53.
    pub(super) fn next_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }
}

fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// `e^x` for `x <= 0`, to about one unit in the last place of an f64; 0 below -700.
///
/// Argument reduction by multiples of ln 2 (in two parts, so that the first product is exact),
/// then the Taylor series on `|r| <= ln 2 / 2`, where its fourteenth term is below 2^-57.
pub(super) fn exp(x: f64) -> f64 {
    const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    const INVERSE_FACTORIALS: [f64; 14] = [
        1.0,
        1.0,
        1.0 / 2.0,
        1.0 / 6.0,
        1.0 / 24.0,
        1.0 / 120.0,
        1.0 / 720.0,
        1.0 / 5_040.0,
        1.0 / 40_320.0,
        1.0 / 362_880.0,
        1.0 / 3_628_800.0,
        1.0 / 39_916_800.0,
        1.0 / 479_001_600.0,
        1.0 / 6_227_020_800.0,
    ];
    // Added and taken off again, it rounds to an integer, which is then in the lowest bits.
    const ROUNDING: f64 = 1.5 * (1u64 << 52) as f64;
    debug_assert!(x <= 0.0, "weights are relative to the largest logit");
    // No branch and no call, so that loops over many logits are vectorised.
    let possible = x >= -700.0;
    let x = if possible { x } else { 0.0 };
    let shifted = x * std::f64::consts::LOG2_E + ROUNDING;
    let k = shifted - ROUNDING;
    let r = (x - k * LN_2_HIGH) - k * LN_2_LOW;
    let series = INVERSE_FACTORIALS
        .iter()
        .rev()
        .fold(0.0, |sum, term| sum * r + term);
    // k is in -1010..=0, so 2^k is a normal number, made by adding k to the exponent of 1.
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1f64.to_bits()));
    if possible { series * power } else { 0.0 }
}

/// The least `x` with `exp(x) >= goal`, for a goal from 0 to 1: found by bisection, once for many
/// comparisons.
pub(super) fn least_exponent(goal: f64) -> f64 {
    if goal <= 0.0 {
        return f64::NEG_INFINITY;
    }
    let (mut below, mut enough) = (-700.0, 0.0);
    loop {
        let middle = (below + enough) / 2.0;
        if middle == below || middle == enough {
            return enough;
        }
        if exp(middle) >= goal {
            enough = middle;
        } else {
            below = middle;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generator_matches_published_sequences() {
        // splitmix64 from seed 1234567, as its reference implementation prints it.
        let mut state = 1_234_567;
        assert_eq!(splitmix64(&mut state), 6_457_827_717_110_365_317);
        assert_eq!(splitmix64(&mut state), 3_203_168_211_198_807_973);
        // xoshiro256++ from the state 1, 2, 3, 4.
        let mut rng = Rng {
            state: [1, 2, 3, 4],
        };
        assert_eq!(rng.next_u64(), 41_943_041);
        assert_eq!(rng.next_u64(), 58_720_359);
        assert_eq!(rng.next_u64(), 3_588_806_011_781_223);
        assert_eq!(rng.next_u64(), 3_591_011_842_654_386);
    }

    #[test]
    fn exp_agrees_with_the_library() {
        let mut rng = Rng::new(3);
        for _ in 0..200_000 {
            let x = -700.0 * rng.next_f64() * rng.next_f64();
            let (got, want) = (exp(x), x.exp());
            assert!((got - want).abs() <= 4e-16 * want, "{x}: {got} {want}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-0.0), 1.0);
        assert_eq!(exp(-1e9), 0.0);
        assert_eq!(exp(f64::NEG_INFINITY), 0.0);
    }

    #[test]
    fn the_least_exponent_is_the_logarithm() {
        for goal in [1.0, 0.5, 0.05, 1e-9] {
            let (got, want) = (least_exponent(goal), goal.ln());
            assert!((got - want).abs() <= 1e-14, "{got} {want}");
            assert!(exp(got) >= goal);
        }
        assert_eq!(least_exponent(0.0), f64::NEG_INFINITY);
    }

    #[test]
    fn uniform_numbers_stay_in_range() {
        let mut rng = Rng::new(0);
        let mean = (0..10_000)
            .map(|_| {
                let x = rng.next_f64();
                assert!((0.0..1.0).contains(&x));
                x
            })
            .sum::<f64>()
            / 10_000.0;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
    }
}
