//! RMS norm (Zhang and Sennrich, 2019): y = x / sqrt(mean(x^2) + eps) * weight, and layer norm (Ba
//! et al., 2016): y = (x - mean(x)) / sqrt(variance(x) + eps) * weight + bias.

use crate::isa::Isa;
use crate::lanes::{Kernel, Lanes, dispatch, map, zip};
use crate::pool::Pool;
use crate::tasks::split;

/// Normalizes each of `rows` rows of `x` (`cols` elements each) into `y`.
///
/// Also the per-head norm: then a row is a head of a token.
///
/// # Panics
/// If `x` and `y` are not `rows * cols` or `weight` not `cols` long.
#[allow(clippy::too_many_arguments)]
pub fn rms_norm(
    pool: &Pool,
    isa: Isa,
    x: &[f32],
    weight: &[f32],
    eps: f32,
    rows: usize,
    cols: usize,
    y: &mut [f32],
) {
    assert_eq!(x.len(), rows * cols, "rms_norm: x is rows * cols");
    assert_eq!(y.len(), rows * cols, "rms_norm: y is rows * cols");
    assert_eq!(weight.len(), cols, "rms_norm: weight is cols");
    split(pool, y, cols, 2, |start, y| {
        y.copy_from_slice(&x[start..][..y.len()]);
        dispatch(isa, RmsNorm { x: y, weight, eps });
    });
}

/// Normalizes each of `rows` rows of `x` in place; the same bits as [`rms_norm`].
///
/// # Panics
/// If `x` is not `rows * cols` or `weight` not `cols` long.
pub fn rms_norm_inplace(
    pool: &Pool,
    isa: Isa,
    x: &mut [f32],
    weight: &[f32],
    eps: f32,
    rows: usize,
    cols: usize,
) {
    assert_eq!(x.len(), rows * cols, "rms_norm: x is rows * cols");
    assert_eq!(weight.len(), cols, "rms_norm: weight is cols");
    split(pool, x, cols, 2, |_, x| {
        dispatch(isa, RmsNorm { x, weight, eps })
    });
}

/// Layer norm of each of `rows` rows of `x` (`cols` elements each), in place.
///
/// # Panics
/// If `x` is not `rows * cols` or `weight` or `bias` not `cols` long.
#[allow(clippy::too_many_arguments)]
pub fn layer_norm_inplace(
    pool: &Pool,
    isa: Isa,
    x: &mut [f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    eps: f32,
    rows: usize,
    cols: usize,
) {
    assert_eq!(x.len(), rows * cols, "layer_norm: x is rows * cols");
    assert_eq!(weight.len(), cols, "layer_norm: weight is cols");
    assert!(
        bias.is_none_or(|bias| bias.len() == cols),
        "layer_norm: bias is cols"
    );
    split(pool, x, cols, 2, |_, x| {
        dispatch(
            isa,
            LayerNorm {
                x,
                weight,
                bias,
                eps,
            },
        )
    });
}

struct LayerNorm<'a> {
    x: &'a mut [f32],
    weight: &'a [f32],
    bias: Option<&'a [f32]>,
    eps: f32,
}

impl Kernel for LayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let cols = self.weight.len();
        if cols == 0 {
            return;
        }
        for row in self.x.chunks_exact_mut(cols) {
            let mean = L::splat(sum::<L>(row) / cols as f32);
            map!(L, row, |x| x.sub(mean));
            let variance = sum_of_squares::<L>(row) / cols as f32;
            let factor = L::splat(1.0 / (variance + self.eps).sqrt());
            zip!(L, row, self.weight, |x, weight| x.mul(factor).mul(weight));
            if let Some(bias) = self.bias {
                zip!(L, row, bias, |x, bias| x.add(bias));
            }
        }
    }
}

#[inline(always)]
fn sum<L: Lanes>(x: &[f32]) -> f32 {
    let (chunks, tail) = x.as_chunks::<8>();
    let mut sums = L::splat(0.0);
    for chunk in chunks {
        sums = sums.add(L::from_array(*chunk));
    }
    sums.add(L::load_partial(tail)).tree_sum()
}

struct RmsNorm<'a> {
    x: &'a mut [f32],
    weight: &'a [f32],
    eps: f32,
}

impl Kernel for RmsNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let cols = self.weight.len();
        if cols == 0 {
            return;
        }
        for row in self.x.chunks_exact_mut(cols) {
            let mean = sum_of_squares::<L>(row) / cols as f32;
            let factor = L::splat(1.0 / (mean + self.eps).sqrt());
            zip!(L, row, self.weight, |x, weight| x.mul(factor).mul(weight));
        }
    }
}

#[inline(always)]
fn sum_of_squares<L: Lanes>(x: &[f32]) -> f32 {
    let (chunks, tail) = x.as_chunks::<8>();
    let mut sums = L::splat(0.0);
    for chunk in chunks {
        let x = L::from_array(*chunk);
        sums = x.fma(x, sums);
    }
    let tail = L::load_partial(tail);
    tail.fma(tail, sums).tree_sum()
}
