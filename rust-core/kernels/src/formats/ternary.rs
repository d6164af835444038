//! The types of ternary weights (BitNet and its like).
//!
//! ```text
//! TQ1_0  qs[48]  qh[4]  d:f16
//!        a byte is a fraction of 256 in base 3, rounded up: its digits, most significant first,
//!        are five weights (four in qh), less 1. Digit n of qs[i], i < 32, is weight 32n + i;
//!        of qs[32 + i] weight 160 + 16n + i; of qh[i] weight 240 + 4n + i.
//! TQ2_0  qs[64]  d:f16
//!        in each half of 128: group g has bits 2g.. of qs[32*half..], less 1
//! ```

use super::k_quants::{packed_twos, two_bits};
use super::{BlockFormat, GROUP, Group, Packed, packed, read_f16};
use crate::simd::{Class, Simd, Tile};
use crate::types::GgmlType;

/// Digit `n` of a byte: what stands before it is shifted out by the multiplication.
#[inline(always)]
fn digit(byte: u8, n: usize) -> i8 {
    const POWERS: [u8; 5] = [1, 3, 9, 27, 81];
    ((u16::from(byte.wrapping_mul(POWERS[n])) * 3) >> 8) as i8
}

pub(crate) struct TQ1_0;

impl BlockFormat for TQ1_0 {
    const TYPE: GgmlType = GgmlType::TQ1_0;

    #[inline(always)]
    fn group(block: &[u8], g: usize) -> Group {
        let value = |i: usize| match g * GROUP + i {
            at @ 0..160 => digit(block[at % 32], at / 32),
            at @ 160..240 => digit(block[32 + at % 16], (at - 160) / 16),
            at => digit(block[48 + at % 4], (at - 240) / 4),
        };
        let values = std::array::from_fn(|i| value(i) - 1);
        Group::scaled(read_f16(block, 52), values)
    }
}

pub(crate) struct TQ2_0;

impl BlockFormat for TQ2_0 {
    const TYPE: GgmlType = GgmlType::TQ2_0;

    #[inline(always)]
    fn group(block: &[u8], g: usize) -> Group {
        let values = std::array::from_fn(|i| two_bits(block, g, i) as i8 - 1);
        Group::scaled(read_f16(block, 64), values)
    }
}

/// The leading base-3 digits of bytes, after those that the multiplication by `powers` of 3 shifts
/// out.
#[inline(always)]
unsafe fn digits<S: Simd>(bytes: S::Bytes, powers: &[u8; 16]) -> S::Bytes {
    // SAFETY: by the caller's promise.
    unsafe {
        let rest = S::mul_bytes(bytes, powers);
        // Of 256, the first third ends at 85 and the second at 170. The look-up takes 1 for the
        // first condition alone and 3 for both.
        let one = S::and(S::at_least(rest, 86), S::splat(1));
        let two = S::and(S::at_least(rest, 171), S::splat(2));
        let table = [0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        S::look_up(&table, S::or(one, two))
    }
}

impl Packed for TQ1_0 {
    const CLASS: Class = Class::Unsigned4;
    const OFFSET: i16 = 1;

    #[inline(always)]
    unsafe fn half<S: Simd, const G: usize, const H: usize>(tile: Tile, e: usize) -> S::Bytes {
        // SAFETY: by the caller's promise.
        unsafe {
            if G < 5 {
                let power = [1, 3, 9, 27, 81, 0, 0, 0][G];
                return digits::<S>(S::load(tile, e, 16 * H), &[power; 16]);
            }
            if G == 7 && H == 1 {
                let powers = [1, 1, 1, 1, 3, 3, 3, 3, 9, 9, 9, 9, 27, 27, 27, 27];
                return digits::<S>(S::load_quads(tile, e, 48), &powers);
            }
            let power = [1, 3, 9, 27, 81, 0][(2 * G + H).saturating_sub(10)];
            digits::<S>(S::load(tile, e, 32), &[power; 16])
        }
    }

    #[inline(always)]
    unsafe fn scales<S: Simd>(tile: Tile, out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe { packed::one_scale::<S, Self>(S::load_halves(tile, 52), out) }
    }
}

impl Packed for TQ2_0 {
    const CLASS: Class = Class::Unsigned4;
    const OFFSET: i16 = 1;

    #[inline(always)]
    unsafe fn half<S: Simd, const G: usize, const H: usize>(tile: Tile, e: usize) -> S::Bytes {
        // SAFETY: by the caller's promise.
        unsafe { packed_twos::<S, G, H>(tile, e, 0) }
    }

    #[inline(always)]
    unsafe fn scales<S: Simd>(tile: Tile, out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe { packed::one_scale::<S, Self>(S::load_halves(tile, 64), out) }
    }
}
