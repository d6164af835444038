//! Operations on each element by itself, and the softmax of one row.

use crate::isa::Isa;
use crate::lanes::{Kernel, Lanes, dispatch, map, zip};
use crate::math;
use crate::pool::Pool;
use crate::tasks::split;

/// `x[i] += y[i]`.
///
/// # Panics
/// If the lengths differ.
pub fn add_assign(pool: &Pool, isa: Isa, x: &mut [f32], y: &[f32]) {
    assert_eq!(x.len(), y.len(), "add_assign needs equal lengths");
    split(pool, x, 8, 1, |start, x| {
        dispatch(
            isa,
            AddAssign {
                y: &y[start..][..x.len()],
                x,
            },
        )
    });
}

/// `x[i] *= s`.
pub fn scale(pool: &Pool, isa: Isa, x: &mut [f32], s: f32) {
    split(pool, x, 8, 1, |_, x| dispatch(isa, Scale { x, s }));
}

/// `gate[i] = silu(gate[i]) * up[i]`, silu(x) = x / (1 + e^-x).
///
/// # Panics
/// If the lengths differ.
pub fn silu_mul(pool: &Pool, isa: Isa, gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "silu_mul needs equal lengths");
    split(pool, gate, 8, 4, |start, gate| {
        dispatch(
            isa,
            SiluMul {
                up: &up[start..][..gate.len()],
                gate,
            },
        )
    });
}

/// `gate[i] = gelu(gate[i]) * up[i]`, with GELU in its tanh form.
///
/// # Panics
/// If the lengths differ.
pub fn gelu_tanh_mul(pool: &Pool, isa: Isa, gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "gelu_tanh_mul needs equal lengths");
    split(pool, gate, 8, 4, |start, gate| {
        dispatch(
            isa,
            GeluMul {
                up: &up[start..][..gate.len()],
                gate,
            },
        )
    });
}

/// `x[i] = silu(x[i])`.
pub fn silu(pool: &Pool, isa: Isa, x: &mut [f32]) {
    split(pool, x, 8, 4, |_, x| dispatch(isa, Silu { x }));
}

/// `x[i] = gelu(x[i])`, with GELU in its tanh form.
pub fn gelu_tanh(pool: &Pool, isa: Isa, x: &mut [f32]) {
    split(pool, x, 8, 4, |_, x| dispatch(isa, Gelu { x }));
}

/// `x[i] = cap * tanh(x[i] / cap)`, which keeps logits within ±`cap` (Gemma 2).
pub fn soft_cap(pool: &Pool, isa: Isa, x: &mut [f32], cap: f32) {
    split(pool, x, 8, 4, |_, x| dispatch(isa, SoftCap { x, cap }));
}

/// The softmax of one row, in place. Does nothing to an empty row.
pub fn softmax(isa: Isa, x: &mut [f32]) {
    dispatch(isa, Softmax { x });
}

struct AddAssign<'a> {
    x: &'a mut [f32],
    y: &'a [f32],
}

impl Kernel for AddAssign<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        zip!(L, self.x, self.y, |x, y| x.add(y));
    }
}

struct Scale<'a> {
    x: &'a mut [f32],
    s: f32,
}

impl Kernel for Scale<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        map!(L, self.x, |x| x.mul(L::splat(self.s)));
    }
}

struct SiluMul<'a> {
    gate: &'a mut [f32],
    up: &'a [f32],
}

impl Kernel for SiluMul<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        zip!(L, self.gate, self.up, |gate, up| math::silu(gate).mul(up));
    }
}

struct GeluMul<'a> {
    gate: &'a mut [f32],
    up: &'a [f32],
}

impl Kernel for GeluMul<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        zip!(L, self.gate, self.up, |gate, up| math::gelu_tanh(gate)
            .mul(up));
    }
}

struct Silu<'a> {
    x: &'a mut [f32],
}

impl Kernel for Silu<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        map!(L, self.x, |x| math::silu(x));
    }
}

struct Gelu<'a> {
    x: &'a mut [f32],
}

impl Kernel for Gelu<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        map!(L, self.x, |x| math::gelu_tanh(x));
    }
}

struct SoftCap<'a> {
    x: &'a mut [f32],
    cap: f32,
}

impl Kernel for SoftCap<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let cap = L::splat(self.cap);
        map!(L, self.x, |x| math::tanh(x.div(cap)).mul(cap));
    }
}

struct Softmax<'a> {
    x: &'a mut [f32],
}

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let max = self.x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sums = L::splat(0.0);
        let (chunks, tail) = self.x.as_chunks_mut::<8>();
        for chunk in chunks {
            let e = math::exp(L::from_array(*chunk).sub(L::splat(max)));
            sums = sums.add(e);
            *chunk = e.to_array();
        }
        if !tail.is_empty() {
            let mut padded = [f32::NEG_INFINITY; 8];
            padded[..tail.len()].copy_from_slice(tail);
            let e = math::exp(L::from_array(padded).sub(L::splat(max)));
            sums = sums.add(e);
            tail.copy_from_slice(&e.to_array()[..tail.len()]);
        }
        let sum = L::splat(sums.tree_sum());
        map!(L, self.x, |x| x.div(sum));
    }
}
