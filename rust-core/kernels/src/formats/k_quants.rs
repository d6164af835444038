//! The K-quants: blocks of 256 weights, with scales in integers beside the f16 one.
//!
//! ```text
//! Q2_K  scales[16]  qs[64]  d:f16  dmin:f16
//!       a scale (low nibble) and a minimum (high) for each 16 weights;
//!       in each half of 128: group g has bits 2g.. of qs[32*half..]
//! Q3_K  hmask[32]  qs[64]  scales[12]  d:f16
//!       two bits as in Q2_K; bit g of hmask[i] = third bit of weight i of group g; less 4
//! Q4_K  d:f16  dmin:f16  scales[12]  qs[128]
//!       group 2p in the low, 2p+1 in the high nibbles of qs[32p..32p+32]
//! Q5_K  d:f16  dmin:f16  scales[12]  qh[32]  qs[128]
//!       bit g of qh[i] = fifth bit of weight i of group g
//! Q6_K  ql[128]  qh[64]  scales[16]:i8  d:f16
//!       in each half of 128: group g has nibble g/2 of ql[32(g%2)+i], bits 2g.. of qh[i], less 32
//! Q8_K  d:f32  qs[256]:i8  sums[16]:i16
//!       the sums of each 16 integers are not read
//! ```

use std::ptr::read_unaligned;

use super::packed::{self, for_groups};
use super::{BlockFormat, GROUP, Group, Minimum, Packed, read_f16};
use crate::simd::{Class, MAX_LANES, Simd, Tile};
use crate::types::GgmlType;

/// The eight 6-bit scales and the eight 6-bit minima packed into the 12 bytes of Q4_K and Q5_K,
/// each as eight bytes in the order of the groups.
///
/// Bytes 0..4 hold scales 0..4, bytes 4..8 minima 0..4, both in their low six bits. Bytes 8..12
/// hold the low nibbles of scales 4..8 (low) and minima 4..8 (high), whose upper two bits are
/// the upper two of bytes 0..4 and 4..8.
#[inline(always)]
pub(crate) fn k_scales(packed: &[u8; 12]) -> (u64, u64) {
    let (first, second, third) = words(packed);
    let scales_high = (third & 0x0f0f_0f0f) | ((first >> 2) & 0x3030_3030);
    let mins_high = ((third >> 4) & 0x0f0f_0f0f) | ((second >> 2) & 0x3030_3030);
    let join = |low: u32, high: u32| u64::from(low & 0x3f3f_3f3f) | u64::from(high) << 32;
    (join(first, scales_high), join(second, mins_high))
}

/// The sixteen 6-bit scales packed into the 12 bytes of Q3_K, as bytes in their order; the scale
/// is 32 less.
///
/// The low nibble of byte j of 0..8 belongs to scale j, the high one to scale 8 + j. Byte 8 + j
/// holds the upper two bits of scales j, 4 + j, 8 + j and 12 + j, the first in its lowest bits.
#[inline(always)]
pub(crate) fn q3_scales(packed: &[u8; 12]) -> u128 {
    let (first, second, third) = words(packed);
    let four = |low: u32, high: u32| u128::from((low & 0x0f0f_0f0f) | (high & 0x0303_0303) << 4);
    four(first, third)
        | four(second, third >> 2) << 32
        | four(first >> 4, third >> 4) << 64
        | four(second >> 4, third >> 6) << 96
}

#[inline(always)]
fn words(packed: &[u8; 12]) -> (u32, u32, u32) {
    let word =
        |i: usize| u32::from_le_bytes([packed[i], packed[i + 1], packed[i + 2], packed[i + 3]]);
    (word(0), word(4), word(8))
}

#[inline(always)]
fn twelve(block: &[u8], at: usize) -> [u8; 12] {
    std::array::from_fn(|i| block[at + i])
}

/// Two bits of weight `i` of group `g`.
#[inline(always)]
pub(super) fn two_bits(qs: &[u8], g: usize, i: usize) -> u8 {
    qs[g / 4 * 32 + i] >> (g % 4 * 2) & 3
}

pub(crate) struct Q2_K;

impl BlockFormat for Q2_K {
    const TYPE: GgmlType = GgmlType::Q2_K;
    const MINIMUM: Minimum = Minimum::Halves;

    #[inline(always)]
    fn group(block: &[u8], g: usize) -> Group {
        let scales = [block[2 * g], block[2 * g + 1]];
        Group {
            values: std::array::from_fn(|i| two_bits(&block[16..], g, i) as i8),
            d: read_f16(block, 80),
            sub: scales.map(|scale| (scale & 15) as i8),
            m: -read_f16(block, 82),
            sub_min: scales.map(|scale| (scale >> 4) as i8),
        }
    }
}

pub(crate) struct Q3_K;

impl BlockFormat for Q3_K {
    const TYPE: GgmlType = GgmlType::Q3_K;

    #[inline(always)]
    fn group(block: &[u8], g: usize) -> Group {
        let scales = q3_scales(&twelve(block, 96)).to_le_bytes();
        let value = |i: usize| (two_bits(&block[32..], g, i) | (block[i] >> g & 1) << 2) as i8 - 4;
        Group {
            sub: [scales[2 * g] as i8 - 32, scales[2 * g + 1] as i8 - 32],
            ..Group::scaled(read_f16(block, 108), std::array::from_fn(value))
        }
    }
}

/// Scale and minimum of group `g` of Q4_K or Q5_K, and its integers.
#[inline(always)]
fn with_k_scales(block: &[u8], g: usize, values: [i8; GROUP]) -> Group {
    let (scales, mins) = k_scales(&twelve(block, 4));
    let d = read_f16(block, 0) * f32::from(scales.to_le_bytes()[g]);
    Group {
        m: -(read_f16(block, 2) * f32::from(mins.to_le_bytes()[g])),
        ..Group::scaled(d, values)
    }
}

pub(crate) struct Q4_K;

impl BlockFormat for Q4_K {
    const TYPE: GgmlType = GgmlType::Q4_K;
    const MINIMUM: Minimum = Minimum::Group;

    #[inline(always)]
    fn group(block: &[u8], g: usize) -> Group {
        let qs = &block[16 + g / 2 * 32..];
        let values = std::array::from_fn(|i| (qs[i] >> (g % 2 * 4) & 15) as i8);
        with_k_scales(block, g, values)
    }
}

pub(crate) struct Q5_K;

impl BlockFormat for Q5_K {
    const TYPE: GgmlType = GgmlType::Q5_K;
    const MINIMUM: Minimum = Minimum::Group;

    #[inline(always)]
    fn group(block: &[u8], g: usize) -> Group {
        let qs = &block[48 + g / 2 * 32..];
        let fifth = |i: usize| (block[16 + i] >> g & 1) << 4;
        let values = std::array::from_fn(|i| (qs[i] >> (g % 2 * 4) & 15 | fifth(i)) as i8);
        with_k_scales(block, g, values)
    }
}

pub(crate) struct Q6_K;

impl BlockFormat for Q6_K {
    const TYPE: GgmlType = GgmlType::Q6_K;

    #[inline(always)]
    fn group(block: &[u8], g: usize) -> Group {
        let sub = [block[192 + 2 * g] as i8, block[192 + 2 * g + 1] as i8];
        let (half, g) = (g / 4, g % 4);
        let (ql, qh) = (64 * half + 32 * (g % 2), 128 + 32 * half);
        let value = |i: usize| {
            let low = block[ql + i] >> (g / 2 * 4) & 15;
            let high = (block[qh + i] >> (2 * g) & 3) << 4;
            (low | high) as i8 - 32
        };
        Group {
            sub,
            ..Group::scaled(read_f16(block, 208), std::array::from_fn(value))
        }
    }
}

pub(crate) struct Q8_K;

impl BlockFormat for Q8_K {
    const TYPE: GgmlType = GgmlType::Q8_K;

    #[inline(always)]
    fn group(block: &[u8], g: usize) -> Group {
        let d = f32::from_le_bytes([block[0], block[1], block[2], block[3]]);
        Group::scaled(d, std::array::from_fn(|i| block[4 + g * GROUP + i] as i8))
    }
}

/// Half `H` of two-bit integers of group `G`: 64 bytes from `at` on.
#[inline(always)]
pub(super) unsafe fn packed_twos<S: Simd, const G: usize, const H: usize>(
    tile: Tile,
    e: usize,
    at: usize,
) -> S::Bytes {
    // SAFETY: by the caller's promise.
    unsafe {
        let bytes = S::load(tile, e, at + G / 4 * 32 + 16 * H);
        let bytes = match G % 4 {
            0 => bytes,
            1 => S::shr::<2>(bytes),
            2 => S::shr::<4>(bytes),
            _ => S::shr::<6>(bytes),
        };
        S::and(bytes, S::splat(3))
    }
}

/// Bit `G` of 16 bytes at `at`, moved to bit `TO`, which is 2 or 4.
#[inline(always)]
unsafe fn bit<S: Simd, const G: usize, const TO: usize>(
    tile: Tile,
    e: usize,
    at: usize,
) -> S::Bytes {
    // SAFETY: by the caller's promise.
    unsafe {
        let bytes = S::load(tile, e, at);
        let bytes = match (TO + 8) - G {
            12 => S::shl::<4>(bytes),
            11 => S::shl::<3>(bytes),
            10 => S::shl::<2>(bytes),
            9 => S::shl::<1>(bytes),
            8 => bytes,
            7 => S::shr::<1>(bytes),
            6 => S::shr::<2>(bytes),
            5 => S::shr::<3>(bytes),
            4 => S::shr::<4>(bytes),
            _ => S::shr::<5>(bytes),
        };
        S::and(bytes, S::splat(1 << TO))
    }
}

/// Half `H` of the nibbles of group `G`: 128 bytes from `at` on.
#[inline(always)]
unsafe fn k_nibbles<S: Simd, const G: usize, const H: usize>(
    tile: Tile,
    e: usize,
    at: usize,
) -> S::Bytes {
    let at = at + G / 2 * 32 + 16 * H;
    // SAFETY: by the caller's promise.
    unsafe {
        if G.is_multiple_of(2) {
            packed::nibbles::<S, 0>(tile, e, at)
        } else {
            packed::nibbles::<S, 1>(tile, e, at)
        }
    }
}

/// The low nibbles of bytes, and the high ones.
#[inline(always)]
unsafe fn two_nibbles<S: Simd>(bytes: S::Bytes) -> [S::Bytes; 2] {
    // SAFETY: by the caller's promise.
    unsafe {
        let low = S::splat(15);
        [S::and(bytes, low), S::and(S::shr::<4>(bytes), low)]
    }
}

/// Scales and minima of a K block's eight groups: [`k_scales`] for a tile of rows.
#[inline(always)]
unsafe fn k_scale_panel<S: Simd>(tile: Tile, out: *mut f32) {
    // SAFETY: by the caller's promise.
    unsafe {
        let (first, second) = (S::load_words(tile, 4), S::load_words(tile, 8));
        let [third, fourth] = two_nibbles::<S>(S::load_words(tile, 12));
        let (lower, upper) = (S::splat(0x3f), S::splat(0x30));
        let high = S::and(S::shr::<2>(first), upper);
        let scales = [S::and(first, lower), S::or(third, high)];
        let high = S::and(S::shr::<2>(second), upper);
        let mins = [S::and(second, lower), S::or(fourth, high)];
        let [d, min] = S::load_half_pairs(tile, 0);
        let min = S::neg_floats(min);
        for_groups!(8, G => {
            let out = out.add(G * Q4_K::PLACES * S::LANES);
            let scale = S::to_floats(packed::byte_of::<S, G>(scales));
            S::store_floats(out, S::mul_floats(d, scale));
            let factor = S::to_floats(packed::byte_of::<S, G>(mins));
            S::store_floats(out.add(S::LANES), S::mul_floats(min, factor));
        });
    }
}

/// Writes the scale `d` and pairs of signed 8-bit factors, two for each group, from place `at` of each
/// group on.
#[inline(always)]
unsafe fn put_pairs<S: Simd, F: Packed>(
    d: S::Floats,
    factors: [S::Bytes; 4],
    out: *mut f32,
    at: usize,
) {
    // SAFETY: the caller promises room for eight groups.
    unsafe {
        for_groups!(8, G => {
            let out = out.add((G * F::PLACES + at) * S::LANES);
            S::store_floats(out, d);
            let pairs = if G.is_multiple_of(2) {
                S::byte_pair::<0>(factors[G / 2])
            } else {
                S::byte_pair::<1>(factors[G / 2])
            };
            S::store_ints(out.add(S::LANES), pairs);
        });
    }
}

/// Four words of each row.
#[inline(always)]
unsafe fn load_four<S: Simd>(tile: Tile, at: usize) -> [S::Bytes; 4] {
    // SAFETY: by the caller's promise.
    unsafe {
        [
            S::load_words(tile, at),
            S::load_words(tile, at + 4),
            S::load_words(tile, at + 8),
            S::load_words(tile, at + 12),
        ]
    }
}

impl Packed for Q2_K {
    const CLASS: Class = Class::Unsigned6Scaled;

    #[inline(always)]
    unsafe fn half<S: Simd, const G: usize, const H: usize>(tile: Tile, e: usize) -> S::Bytes {
        // SAFETY: by the caller's promise.
        unsafe { packed_twos::<S, G, H>(tile, e, 16) }
    }

    #[inline(always)]
    unsafe fn scales<S: Simd>(tile: Tile, out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe {
            let [a, b, c, d] = load_four::<S>(tile, 0);
            let (a, b) = (two_nibbles::<S>(a), two_nibbles::<S>(b));
            let (c, d) = (two_nibbles::<S>(c), two_nibbles::<S>(d));
            let scales = [a[0], b[0], c[0], d[0]];
            put_pairs::<S, Self>(S::load_halves(tile, 80), scales, out, 0);
            let mins = [a[1], b[1], c[1], d[1]];
            put_pairs::<S, Self>(S::neg_floats(S::load_halves(tile, 82)), mins, out, 2);
        }
    }
}

impl Packed for Q3_K {
    const CLASS: Class = Class::Unsigned6Scaled;
    const OFFSET: i16 = 4;

    #[inline(always)]
    unsafe fn half<S: Simd, const G: usize, const H: usize>(tile: Tile, e: usize) -> S::Bytes {
        // SAFETY: by the caller's promise.
        unsafe {
            S::or(
                packed_twos::<S, G, H>(tile, e, 32),
                bit::<S, G, 2>(tile, e, 16 * H),
            )
        }
    }

    #[inline(always)]
    unsafe fn scales<S: Simd>(tile: Tile, out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe {
            // `q3_scales` for a tile of rows.
            let [first, third] = two_nibbles::<S>(S::load_words(tile, 96));
            let [second, fourth] = two_nibbles::<S>(S::load_words(tile, 100));
            let upper = S::load_words(tile, 104);
            let two = S::splat(0x30);
            let scales = [
                S::sub_bytes(S::or(first, S::and(S::shl::<4>(upper), two)), 32),
                S::sub_bytes(S::or(second, S::and(S::shl::<2>(upper), two)), 32),
                S::sub_bytes(S::or(third, S::and(upper, two)), 32),
                S::sub_bytes(S::or(fourth, S::and(S::shr::<2>(upper), two)), 32),
            ];
            put_pairs::<S, Self>(S::load_halves(tile, 108), scales, out, 0);
        }
    }
}

impl Packed for Q4_K {
    const CLASS: Class = Class::Unsigned4;

    #[inline(always)]
    unsafe fn half<S: Simd, const G: usize, const H: usize>(tile: Tile, e: usize) -> S::Bytes {
        // SAFETY: by the caller's promise.
        unsafe { k_nibbles::<S, G, H>(tile, e, 16) }
    }

    #[inline(always)]
    unsafe fn scales<S: Simd>(tile: Tile, out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe { k_scale_panel::<S>(tile, out) }
    }
}

impl Packed for Q5_K {
    const CLASS: Class = Class::Unsigned5;

    #[inline(always)]
    unsafe fn half<S: Simd, const G: usize, const H: usize>(tile: Tile, e: usize) -> S::Bytes {
        // SAFETY: by the caller's promise.
        unsafe {
            S::or(
                k_nibbles::<S, G, H>(tile, e, 48),
                bit::<S, G, 4>(tile, e, 16 + 16 * H),
            )
        }
    }

    #[inline(always)]
    unsafe fn scales<S: Simd>(tile: Tile, out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe { k_scale_panel::<S>(tile, out) }
    }
}

impl Packed for Q6_K {
    const CLASS: Class = Class::Unsigned6Scaled;
    const OFFSET: i16 = 32;

    #[inline(always)]
    unsafe fn half<S: Simd, const G: usize, const H: usize>(tile: Tile, e: usize) -> S::Bytes {
        // SAFETY: by the caller's promise.
        unsafe {
            let low = G / 4 * 64 + G % 2 * 32 + 16 * H;
            let low = if G % 4 < 2 {
                packed::nibbles::<S, 0>(tile, e, low)
            } else {
                packed::nibbles::<S, 1>(tile, e, low)
            };
            let high = S::load(tile, e, 128 + G / 4 * 32 + 16 * H);
            // Bits 2(G % 4).. of each byte to bits 4 and 5.
            let high = match G % 4 {
                0 => S::shl::<4>(high),
                1 => S::shl::<2>(high),
                2 => high,
                _ => S::shr::<2>(high),
            };
            S::or(low, S::and(high, S::splat(48)))
        }
    }

    #[inline(always)]
    unsafe fn scales<S: Simd>(tile: Tile, out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe {
            let scales = load_four::<S>(tile, 192);
            put_pairs::<S, Self>(S::load_halves(tile, 208), scales, out, 0);
        }
    }
}

impl Packed for Q8_K {
    const CLASS: Class = Class::Signed8;

    #[inline(always)]
    unsafe fn half<S: Simd, const G: usize, const H: usize>(tile: Tile, e: usize) -> S::Bytes {
        // SAFETY: by the caller's promise.
        unsafe { S::load(tile, e, 4 + 32 * G + 16 * H) }
    }

    #[inline(always)]
    unsafe fn scales<S: Simd>(tile: Tile, out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe {
            let mut d = [0.0f32; MAX_LANES];
            for (row, d) in d.iter_mut().enumerate().take(S::LANES) {
                *d = read_unaligned(tile.at(row, 0).cast());
            }
            packed::one_scale::<S, Self>(S::load_floats(d.as_ptr()), out);
        }
    }
}
