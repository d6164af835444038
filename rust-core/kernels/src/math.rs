//! Elementary functions over eight lanes, accurate to about 1e-6 relative.

use crate::lanes::Lanes;

/// Beyond these, e^x is not a normal f32.
const EXP_MIN: f32 = -87.3;
const EXP_MAX: f32 = 88.3;
/// ln 2 in two parts; the first has few enough bits that its multiples by small integers are exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// Splits `x` (within the limits of exp) into `n ln 2 + r` with integer `n` and |r| <= ln 2 / 2.
#[inline(always)]
fn reduce<L: Lanes>(x: L) -> (L, L) {
    let n = x.mul(L::splat(std::f32::consts::LOG2_E)).round_even();
    let r = n.fma(L::splat(-LN2_HIGH), x);
    (n, n.fma(L::splat(-LN2_LOW), r))
}

/// e^r - 1 for |r| <= ln 2 / 2: the Taylor polynomial of degree 8 (remainder below 2e-10).
#[inline(always)]
fn exp_m1_small<L: Lanes>(r: L) -> L {
    let mut p = L::splat(1.0 / 40320.0);
    for c in [
        1.0 / 5040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
    ] {
        p = p.fma(r, L::splat(c));
    }
    p.mul(r).fma(r, r)
}

/// e^x; exactly 0 below -87.3, e^88.3 above 88.3, NaN for NaN.
#[inline(always)]
pub(crate) fn exp<L: Lanes>(x: L) -> L {
    let clamped = L::splat(EXP_MIN).max(L::splat(EXP_MAX).min(x));
    let (n, r) = reduce(clamped);
    let result = exp_m1_small(r).add(L::splat(1.0)).mul(n.exp2_int());
    x.zero_below(L::splat(EXP_MIN), result)
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub(crate) fn sigmoid<L: Lanes>(x: L) -> L {
    let one = L::splat(1.0);
    one.div(one.add(exp(L::splat(0.0).sub(x))))
}

/// tanh, with full relative accuracy near zero: (1 - e) / (1 + e) for e = e^(-2|x|), where
/// e - 1 is formed without cancellation.
#[inline(always)]
pub(crate) fn tanh<L: Lanes>(x: L) -> L {
    let t = L::splat(-40.0).max(x.abs().mul(L::splat(-2.0)));
    let (n, r) = reduce(t);
    let power = n.exp2_int();
    let exp_m1 = power.fma(exp_m1_small(r), power.sub(L::splat(1.0)));
    exp_m1.div(exp_m1.add(L::splat(2.0))).copy_sign(x)
}

/// x sigmoid(x).
#[inline(always)]
pub(crate) fn silu<L: Lanes>(x: L) -> L {
    let e = exp(L::splat(0.0).sub(x));
    x.div(e.add(L::splat(1.0)))
}

/// GELU in the tanh form (Hendrycks and Gimpel, 2016): with 0.5 (1 + tanh u) = sigmoid(2u) it is
/// x sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3)).
#[inline(always)]
pub(crate) fn gelu_tanh<L: Lanes>(x: L) -> L {
    const FACTOR: f32 = 1.595_769; // 2 sqrt(2 / pi)
    let x2 = x.mul(x);
    let inner = x2.fma(L::splat(0.044_715 * FACTOR), L::splat(FACTOR));
    x.mul(sigmoid(x.mul(inner)))
}
