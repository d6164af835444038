//! Panels: half a group, 16 weights, of each of four rows at a time. Without `i8mm` its four registers
//! hold four weights of every row, with it eight weights of two rows:
//!
//! ```text
//!             by fours: sdot, by lane                 by eights: smmla
//! register 0 | row 0: 0..4 | row 1: 0..4 | row 2 | row 3 |   | row 0: 0..8  | row 1: 0..8  |
//! register 1 | row 0: 4..8 | row 1: 4..8 |  ...          |   | row 2: 0..8  | row 3: 0..8  |
//! register 2 | row 0: 8..12                              |   | row 0: 8..16 | row 1: 8..16 |
//! register 3 | row 0: 12..16                             |   | row 2: 8..16 | row 3: 8..16 |
//! ```
//!
//! `smmla` multiplies its two rows with two rows of activations and adds the four sums of eight
//! products to the lanes `w0 x0, w0 x1, w1 x0, w1 x1`: twice as many products as `sdot`.

// Registers in arrays go by the row that they belong to.
#![allow(clippy::needless_range_loop)]

use std::arch::aarch64::*;
use std::arch::asm;

use super::simd::DOTPROD;

/// Does something for each of up to eight rows, `$row` a constant in it: a loop that the compiler must
/// not keep, as registers have no indices.
macro_rules! for_rows {
    ($count:expr, $row:ident => $body:expr) => {
        $crate::formats::packed::for_groups!($count, ROW => {
            let $row = ROW;
            $body
        })
    };
}

pub(super) use for_rows;

// SAFETY of all blocks below: the caller of each function has checked the processor, and vouches
// for 64 bytes of a half's panel, two halves where products are taken, and 32 activations in each of
// the rows; no instruction used needs alignment beyond that of the elements.

/// Writes four weights of every row side by side.
#[inline(always)]
pub(super) unsafe fn store_by_fours(half: [uint8x16_t; 4], panel: *mut u8) {
    // SAFETY: see above.
    unsafe {
        let [a, b, c, d] = half.map(|half| vreinterpretq_u32_u8(half));
        let wide = |x: uint32x4_t| vreinterpretq_u64_u32(x);
        let (ab, cd) = (wide(vtrn1q_u32(a, b)), wide(vtrn1q_u32(c, d)));
        let (ab2, cd2) = (wide(vtrn2q_u32(a, b)), wide(vtrn2q_u32(c, d)));
        let columns = [
            vtrn1q_u64(ab, cd),
            vtrn1q_u64(ab2, cd2),
            vtrn2q_u64(ab, cd),
            vtrn2q_u64(ab2, cd2),
        ];
        store(columns, panel);
    }
}

/// Writes eight weights of two rows side by side.
#[inline(always)]
pub(super) unsafe fn store_by_eights(half: [uint8x16_t; 4], panel: *mut u8) {
    // SAFETY: see above.
    unsafe {
        let [a, b, c, d] = half.map(|half| vreinterpretq_u64_u8(half));
        let columns = [
            vtrn1q_u64(a, b),
            vtrn1q_u64(c, d),
            vtrn2q_u64(a, b),
            vtrn2q_u64(c, d),
        ];
        store(columns, panel);
    }
}

#[inline(always)]
unsafe fn store(columns: [uint64x2_t; 4], panel: *mut u8) {
    for (j, column) in columns.into_iter().enumerate() {
        // SAFETY: see above.
        unsafe { vst1q_u8(panel.add(16 * j), vreinterpretq_u8_u64(column)) };
    }
}

/// The sums of both halves of a group, a lane for each row, for `M` rows of activations. Unless the halves
/// are `APART`, the first has the sums of both, and the second is 0.
#[inline(always)]
pub(super) unsafe fn products_by_fours<const SET: u8, const APART: bool, const M: usize>(
    panel: *const u8,
    ints: *const i8,
    stride: usize,
) -> [[int32x4_t; M]; 2] {
    // SAFETY: see above.
    unsafe {
        let mut sums = [[vdupq_n_s32(0); M]; 2];
        let w = [load(panel, 0), load(panel, 1)];
        for_rows!(M, m => {
            for half in 0..2 {
                let w = w[half];
                let a = vld1q_s8(ints.add(m * stride + 16 * half));
                let into = if APART { half } else { 0 };
                let sum = sums[into][m];
                sums[into][m] = if SET >= DOTPROD {
                    let sum = sdot_lane::<0>(sum, w[0], a);
                    let sum = sdot_lane::<1>(sum, w[1], a);
                    let sum = sdot_lane::<2>(sum, w[2], a);
                    sdot_lane::<3>(sum, w[3], a)
                } else {
                    let a = vreinterpretq_s32_s8(a);
                    let sum = four::<0>(sum, w[0], a);
                    let sum = four::<1>(sum, w[1], a);
                    let sum = four::<2>(sum, w[2], a);
                    four::<3>(sum, w[3], a)
                };
            }
        });
        sums
    }
}

/// As [`products_by_fours`], two rows of activations at a time; one that is left over is taken twice.
#[inline(always)]
pub(super) unsafe fn products_by_eights<const APART: bool, const M: usize>(
    panel: *const u8,
    ints: *const i8,
    stride: usize,
) -> [[int32x4_t; M]; 2] {
    // SAFETY: see above.
    unsafe {
        let zero = vdupq_n_s32(0);
        let mut sums = [[zero; M]; 2];
        let w = [load(panel, 0), load(panel, 1)];
        for_rows!(M.div_ceil(2), pair => {
            let m = 2 * pair;
            let other = (m + 1).min(M - 1);
            let (mut rows01, mut rows23) = (zero, zero);
            for half in 0..2 {
                let x = |m: usize| vreinterpretq_s64_s8(vld1q_s8(ints.add(m * stride + 16 * half)));
                let (x0, x1) = (x(m), x(other));
                let low = vreinterpretq_s8_s64(vtrn1q_s64(x0, x1));
                let high = vreinterpretq_s8_s64(vtrn2q_s64(x0, x1));
                rows01 = smmla(smmla(rows01, w[half][0], low), w[half][2], high);
                rows23 = smmla(smmla(rows23, w[half][1], low), w[half][3], high);
                if APART || half == 1 {
                    let into = &mut sums[if APART { half } else { 0 }];
                    into[other] = vuzp2q_s32(rows01, rows23);
                    into[m] = vuzp1q_s32(rows01, rows23);
                    (rows01, rows23) = (zero, zero);
                }
            }
        });
        sums
    }
}

#[inline(always)]
unsafe fn load(panel: *const u8, half: usize) -> [int8x16_t; 4] {
    // SAFETY: see above.
    std::array::from_fn(|j| unsafe { vld1q_s8(panel.add(16 * (4 * half + j)).cast()) })
}

/// Adds to each lane the product of its four bytes in `w` with bytes `4 * LANE..` of `a`.
#[inline(always)]
unsafe fn sdot_lane<const LANE: usize>(
    mut sums: int32x4_t,
    w: int8x16_t,
    a: int8x16_t,
) -> int32x4_t {
    // SAFETY: see above; only registers are touched.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {sums:v}.4s, {w:v}.16b, {a:v}.4b[{lane}]",
            sums = inout(vreg) sums,
            w = in(vreg) w,
            a = in(vreg) a,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// Adds to the lanes the products of the two rows of eight bytes in `w` with the two in `x`.
#[inline(always)]
unsafe fn smmla(mut sums: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: see above; only registers are touched.
    unsafe {
        asm!(
            ".arch_extension i8mm",
            "smmla {sums:v}.4s, {w:v}.16b, {x:v}.16b",
            sums = inout(vreg) sums,
            w = in(vreg) w,
            x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// Adds to each lane the product of its four bytes in `w` with those of lane `LANE` of `a`, through
/// 16 bits.
#[inline(always)]
unsafe fn four<const LANE: i32>(sums: int32x4_t, w: int8x16_t, a: int32x4_t) -> int32x4_t {
    // SAFETY: see above.
    unsafe {
        let a = vreinterpretq_s8_s32(vdupq_laneq_s32::<LANE>(a));
        let low = vmull_s8(vget_low_s8(w), vget_low_s8(a));
        vpadalq_s16(sums, vpaddq_s16(low, vmull_high_s8(w, a)))
    }
}
