//! Products in f32: float weights, and quantized ones decoded for checking.
//!
//! The canonical dot product: eight partial sums striding k, fused multiply-adds, the tail padded
//! with zeros, then [`tree_sum`](crate::lanes::tree_sum).

use crate::activations::Activations;
use crate::dequantize::decode_row;
use crate::disjoint::Disjoint;
use crate::lanes::{Kernel, Lanes};
use crate::matrix::Matrix;
use crate::types::GgmlType;

/// Weight rows multiplied at once.
pub(crate) const PANEL: usize = 8;

/// Activation rows from which float weights that need converting are converted just once.
const DECODE_FROM: usize = 3;

/// How the elements of a row are stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    F32,
    F16,
    BF16,
}

impl Element {
    const fn bytes(self) -> usize {
        match self {
            Element::F32 => 4,
            Element::F16 | Element::BF16 => 2,
        }
    }

    /// # Safety
    /// `p` points to eight readable elements; no alignment needed.
    #[inline(always)]
    pub(crate) unsafe fn load<L: Lanes>(self, p: *const u8) -> L {
        // SAFETY: by the caller's promise.
        unsafe {
            match self {
                Element::F32 => L::load(p.cast()),
                Element::F16 => L::load_f16(p.cast()),
                Element::BF16 => L::load_bf16(p.cast()),
            }
        }
    }
}

/// The dot products of eight rows with `x`, whose length is a multiple of eight.
///
/// # Safety
/// Each of `rows` points to `x.len()` readable elements of kind `element`.
#[inline(always)]
pub(crate) unsafe fn dot8<L: Lanes>(rows: [*const u8; 8], element: Element, x: &[f32]) -> L {
    let mut sums = [L::splat(0.0); 8];
    for (i, x) in x.as_chunks::<8>().0.iter().enumerate() {
        let x = L::from_array(*x);
        for (sum, row) in sums.iter_mut().zip(rows) {
            // SAFETY: the row is as long as `x`.
            let w = unsafe { element.load::<L>(row.add(i * 8 * element.bytes())) };
            *sum = w.fma(x, *sum);
        }
    }
    L::tree_sums(sums)
}

/// Rows `rows` of `y[r * ldy + j] = dot(w.row(j), x.row(r))` in f32.
pub(crate) struct FloatRows<'a> {
    pub(crate) w: &'a Matrix<'a>,
    pub(crate) rows: std::ops::Range<usize>,
    pub(crate) x: &'a Activations,
    /// Room for [`PANEL`] decoded rows, padded like those of `x`.
    pub(crate) scratch: &'a mut [f32],
    /// Columns `rows` are this task's alone.
    pub(crate) y: &'a Disjoint<'a, f32>,
    pub(crate) ldy: usize,
}

impl Kernel for FloatRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let FloatRows {
            w,
            rows,
            x,
            scratch,
            y,
            ldy,
        } = self;
        let stored = match w.ty() {
            GgmlType::F32 => Some(Element::F32),
            GgmlType::F16 => Some(Element::F16),
            GgmlType::BF16 => Some(Element::BF16),
            _ => None,
        };
        let in_place = stored.filter(|element| {
            w.cols().is_multiple_of(8) && (*element == Element::F32 || x.rows() < DECODE_FROM)
        });
        let stride = w.cols().next_multiple_of(8);
        for first in rows.clone().step_by(PANEL) {
            let n = PANEL.min(rows.end - first);
            let row = |i: usize| first + i.min(n - 1);
            let pointers: [*const u8; 8] = if in_place.is_some() {
                std::array::from_fn(|i| w.row(row(i)).as_ptr())
            } else {
                for (i, out) in scratch.chunks_exact_mut(stride).take(n).enumerate() {
                    decode_row(w.ty(), w.row(first + i), &mut out[..w.cols()]);
                    out[w.cols()..].fill(0.0);
                }
                std::array::from_fn(|i| scratch[i.min(n - 1) * stride..][..stride].as_ptr().cast())
            };
            for r in 0..x.rows() {
                let x = &x.floats(r)[..stride];
                // Naming the kind lets each arm compile to code for it alone.
                // SAFETY: each pointer is to a row of `stride` elements of that kind: a matrix
                // row, whose length is then a multiple of eight, or a decoded one.
                let sums: L = unsafe {
                    match in_place {
                        Some(Element::F16) => dot8(pointers, Element::F16, x),
                        Some(Element::BF16) => dot8(pointers, Element::BF16, x),
                        Some(Element::F32) | None => dot8(pointers, Element::F32, x),
                    }
                };
                // SAFETY: only this task writes these columns, and it writes one part at a time.
                let out = unsafe { y.part(r * ldy + first, n) };
                out.copy_from_slice(&sums.to_array()[..n]);
            }
        }
    }
}
