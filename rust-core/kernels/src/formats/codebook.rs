//! The types whose 4 bits choose from a table of 16 values.
//!
//! ```text
//! IQ4_NL  d:f16  qs[16]                    qs[i] = weight i | weight i+16 << 4
//! IQ4_XS  d:f16  scales_h:u16  scales_l[4]  qs[128]
//!         group g has 16 bytes as in IQ4_NL; its scale is nibble g of scales_l and bits 2g.. of
//!         scales_h above it, less 32
//! MXFP4   e:u8  qs[16]                     the scale is 2^(e - 127)
//! ```

use std::ptr::read_unaligned;

use super::packed::{self, for_groups};
use super::{BlockFormat, Group, Packed, nibbles, read_f16};
use crate::simd::{Class, MAX_LANES, Simd, Tile};
use crate::types::GgmlType;

/// The values of IQ4_NL and IQ4_XS, as ggml defines them.
pub(crate) const IQ4: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

/// The values of E2M1 floats, doubled (OCP Microscaling Formats 1.0).
pub(crate) const E2M1: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// Half of the power of two that an E8M0 exponent stands for, as the values are doubled:
/// 2^(e - 128). The specification has NaN for 255; ggml, and so this, goes on counting.
#[inline(always)]
pub(crate) fn e8m0_half(e: u8) -> f32 {
    let e = u32::from(e);
    // The two smallest are denormal.
    f32::from_bits(match e {
        0 | 1 => 0x0020_0000 << e,
        _ => (e - 1) << 23,
    })
}

/// The eight 6-bit scales of IQ4_XS as bytes in the order of the groups; the scale is 32 less.
#[inline(always)]
pub(crate) fn iq4_scales(high: u16, low: u32) -> u64 {
    // Fields are spread to bytes by halves: 32 bits, 16 bits, one field.
    let mut low = u64::from(low);
    low = (low | low << 16) & 0x0000_ffff_0000_ffff;
    low = (low | low << 8) & 0x00ff_00ff_00ff_00ff;
    low = (low | low << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let mut high = u64::from(high);
    high = (high | high << 24) & 0x0000_00ff_0000_00ff;
    high = (high | high << 12) & 0x000f_000f_000f_000f;
    high = (high | high << 6) & 0x0303_0303_0303_0303;
    low | high << 4
}

pub(crate) struct IQ4_NL;

impl BlockFormat for IQ4_NL {
    const TYPE: GgmlType = GgmlType::IQ4_NL;

    #[inline(always)]
    fn group(block: &[u8], _: usize) -> Group {
        let values = nibbles(&block[2..]).map(|q| IQ4[usize::from(q)]);
        Group::scaled(read_f16(block, 0), values)
    }
}

pub(crate) struct IQ4_XS;

impl BlockFormat for IQ4_XS {
    const TYPE: GgmlType = GgmlType::IQ4_XS;

    #[inline(always)]
    fn group(block: &[u8], g: usize) -> Group {
        let high = u16::from_le_bytes([block[2], block[3]]);
        let low = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
        let scale = iq4_scales(high, low).to_le_bytes()[g] as i8 - 32;
        let values = nibbles(&block[8 + 16 * g..]).map(|q| IQ4[usize::from(q)]);
        Group::scaled(read_f16(block, 0) * f32::from(scale), values)
    }
}

pub(crate) struct MXFP4;

impl BlockFormat for MXFP4 {
    const TYPE: GgmlType = GgmlType::MXFP4;

    #[inline(always)]
    fn group(block: &[u8], _: usize) -> Group {
        let values = nibbles(&block[1..]).map(|q| E2M1[usize::from(q)]);
        Group::scaled(e8m0_half(block[0]), values)
    }
}

/// The values that the nibbles of 16 bytes choose.
#[inline(always)]
unsafe fn chosen<S: Simd, const H: usize>(
    table: &[i8; 16],
    tile: Tile,
    e: usize,
    at: usize,
) -> S::Bytes {
    // SAFETY: by the caller's promise.
    unsafe { S::look_up(table, packed::nibbles::<S, H>(tile, e, at)) }
}

impl Packed for IQ4_NL {
    const CLASS: Class = Class::Signed8;

    #[inline(always)]
    unsafe fn half<S: Simd, const G: usize, const H: usize>(tile: Tile, e: usize) -> S::Bytes {
        // SAFETY: by the caller's promise.
        unsafe { chosen::<S, H>(&IQ4, tile, e, 2) }
    }

    #[inline(always)]
    unsafe fn scales<S: Simd>(tile: Tile, out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe { S::store_floats(out, S::load_halves(tile, 0)) }
    }
}

impl Packed for IQ4_XS {
    const CLASS: Class = Class::Signed8;

    #[inline(always)]
    unsafe fn half<S: Simd, const G: usize, const H: usize>(tile: Tile, e: usize) -> S::Bytes {
        // SAFETY: by the caller's promise.
        unsafe { chosen::<S, H>(&IQ4, tile, e, 8 + 16 * G) }
    }

    #[inline(always)]
    unsafe fn scales<S: Simd>(tile: Tile, out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe {
            let mut scales = [0u64; MAX_LANES];
            for (row, scales) in scales.iter_mut().enumerate().take(S::LANES) {
                let high = read_unaligned(tile.at(row, 2).cast::<u16>());
                let low = read_unaligned(tile.at(row, 4).cast::<u32>());
                *scales = iq4_scales(high, low);
            }
            let rows = Tile {
                first: scales.as_ptr().cast(),
                stride: size_of::<u64>(),
            };
            let scales = [S::load_words(rows, 0), S::load_words(rows, 4)];
            let d = S::load_halves(tile, 0);
            for_groups!(8, G => {
                let scale = S::sub(packed::byte_of::<S, G>(scales), S::splat_int(32));
                let scale = S::mul_floats(d, S::to_floats(scale));
                S::store_floats(out.add(G * Self::PLACES * S::LANES), scale);
            });
        }
    }
}

/// The values of E2M1, their smallest added: small unsigned integers are multiplied faster than
/// signed ones.
const E2M1_UNSIGNED: [i8; 16] = {
    let mut values = E2M1;
    let mut i = 0;
    while i < 16 {
        values[i] += MXFP4::OFFSET as i8;
        i += 1;
    }
    values
};

impl Packed for MXFP4 {
    const CLASS: Class = Class::Unsigned5;
    const OFFSET: i16 = 12;

    #[inline(always)]
    unsafe fn half<S: Simd, const G: usize, const H: usize>(tile: Tile, e: usize) -> S::Bytes {
        // SAFETY: by the caller's promise.
        unsafe { chosen::<S, H>(&E2M1_UNSIGNED, tile, e, 1) }
    }

    #[inline(always)]
    unsafe fn scales<S: Simd>(tile: Tile, out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe {
            let mut d = [0.0f32; MAX_LANES];
            for (row, d) in d.iter_mut().enumerate().take(S::LANES) {
                *d = e8m0_half(*tile.at(row, 0));
            }
            S::store_floats(out, S::load_floats(d.as_ptr()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_are_powers_of_two() {
        for e in 0..=255u8 {
            assert_eq!(e8m0_half(e), 2f64.powi(i32::from(e) - 128) as f32, "{e}");
        }
    }
}
