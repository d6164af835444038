//! A tile of weight rows times the whole batch, by unpacked panels or in place.

use std::arch::x86_64::*;

use super::formats::{Format, MAX_SCALES};
use super::gemm::{PANEL_GROUP, scale_panel, tile, unpack};
use super::gemv::dot8;
use crate::activations::Activations;
use crate::disjoint::Disjoint;
use crate::formats::{GROUP, with_format};
use crate::matrix::Matrix;

/// Weight rows in a panel: the lanes of a register.
pub(crate) const PANEL: usize = 8;

/// Activation rows from which unpacking a panel pays.
const UNPACK_FROM: usize = 3;

/// Bytes of scratch that a panel needs for each column, at most.
pub(crate) const PANEL_BYTES_PER_COL: usize = (PANEL_GROUP + MAX_SCALES * 4) / GROUP;

/// Rows `rows` of `y[r * ldy + j] = dot(w.row(j), x.row(r))` for a quantized `w` and 8-bit `x`.
///
/// # Safety
/// No other task writes these columns of `y`, whose rows of `ldy` are long enough for `w`; `x`
/// has the columns of `w`; `scratch` holds [`PANEL_BYTES_PER_COL`] bytes for each column, aligned
/// to 4; the processor has AVX2, FMA and F16C.
pub(crate) unsafe fn rows(
    w: &Matrix<'_>,
    rows: std::ops::Range<usize>,
    x: &Activations,
    scratch: &mut [u8],
    y: &Disjoint<'_, f32>,
    ldy: usize,
) {
    // SAFETY: by the caller's promise.
    unsafe { with_format!(w.ty(), F => format_rows::<F>(w, rows, x, scratch, y, ldy)) }
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn format_rows<F: Format>(
    w: &Matrix<'_>,
    rows: std::ops::Range<usize>,
    x: &Activations,
    scratch: &mut [u8],
    y: &Disjoint<'_, f32>,
    ldy: usize,
) {
    let groups = w.cols() / GROUP;
    let blocks = groups / F::GROUPS;
    assert!(x.cols() == w.cols() && scratch.len() >= PANEL_BYTES_PER_COL * w.cols());
    let (scales, panel) = scratch.split_at_mut(groups * F::SCALES * 4);
    let scales = scales.as_mut_ptr().cast::<f32>();
    let panel = panel.as_mut_ptr();

    for first in rows.clone().step_by(PANEL) {
        let n = PANEL.min(rows.end - first);
        // The lanes of missing rows repeat the last one; their results are dropped.
        let pointers: [*const u8; 8] =
            std::array::from_fn(|i| w.row(first + i.min(n - 1)).as_ptr());
        let store = |r: usize, sums: &[__m256]| {
            for (m, sums) in sums.iter().enumerate() {
                let mut lanes = [0.0; 8];
                // SAFETY: the array holds eight f32.
                unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), *sums) };
                // SAFETY: only this task writes these columns, and it writes one part at a time.
                let out = unsafe { y.part((r + m) * ldy + first, n) };
                if n == PANEL {
                    out.copy_from_slice(&lanes);
                } else {
                    out.copy_from_slice(&lanes[..n]);
                }
            }
        };
        // SAFETY: the rows hold `blocks` blocks each, the scratch room for their panels, and
        // `x` as many groups in each of its rows; the processor is the caller's promise.
        unsafe {
            scale_panel::<F>(pointers, blocks, scales);
            let activations = |r: usize, n: usize| (x.ints(r, n).as_ptr(), x.meta(r, n).as_ptr());
            if x.rows() < UNPACK_FROM {
                for r in 0..x.rows() {
                    let (ints, meta) = activations(r, 1);
                    store(r, &[dot8::<F>(pointers, blocks, scales, ints, meta)]);
                }
                continue;
            }
            unpack::<F>(pointers, blocks, panel);
            for r in (0..x.rows()).step_by(4) {
                let rest = (x.rows() - r).min(4);
                let (ints, meta) = activations(r, rest);
                match rest {
                    4 => store(r, &tile::<F, 4>(panel, scales, groups, ints, meta)),
                    3 => store(r, &tile::<F, 3>(panel, scales, groups, ints, meta)),
                    2 => store(r, &tile::<F, 2>(panel, scales, groups, ints, meta)),
                    _ => store(r, &tile::<F, 1>(panel, scales, groups, ints, meta)),
                }
            }
        }
    }
}
