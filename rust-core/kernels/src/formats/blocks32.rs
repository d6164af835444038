//! The types with blocks of 32 weights.
//!
//! ```text
//! Q4_0  d:f16  qs[16]                      qs[i] = weight i | weight i+16 << 4, less 8
//! Q4_1  d:f16  m:f16  qs[16]
//! Q5_0  d:f16  qh[4]  qs[16]               bit i of qh = fifth bit of weight i, less 16
//! Q5_1  d:f16  m:f16  qh[4]  qs[16]
//! Q8_0  d:f16  qs[32]                      i8
//! ```

use super::{BlockFormat, GROUP, Group, Minimum, Packed, nibbles, packed, read_f16};
use crate::simd::{Class, Simd, Tile};
use crate::types::GgmlType;

pub(crate) struct Q4_0;

impl BlockFormat for Q4_0 {
    const TYPE: GgmlType = GgmlType::Q4_0;

    #[inline(always)]
    fn group(block: &[u8], _: usize) -> Group {
        let values = nibbles(&block[2..]).map(|q| q as i8 - 8);
        Group::scaled(read_f16(block, 0), values)
    }
}

pub(crate) struct Q4_1;

impl BlockFormat for Q4_1 {
    const TYPE: GgmlType = GgmlType::Q4_1;
    const MINIMUM: Minimum = Minimum::Group;

    #[inline(always)]
    fn group(block: &[u8], _: usize) -> Group {
        let values = nibbles(&block[4..]).map(|q| q as i8);
        Group {
            m: read_f16(block, 2),
            ..Group::scaled(read_f16(block, 0), values)
        }
    }
}

/// 32 weights of 5 bits, from `qh` on.
#[inline(always)]
fn fives(bytes: &[u8]) -> [i8; GROUP] {
    let low = nibbles(&bytes[4..]);
    std::array::from_fn(|i| (low[i] | (bytes[i / 8] >> (i % 8) & 1) << 4) as i8)
}

pub(crate) struct Q5_0;

impl BlockFormat for Q5_0 {
    const TYPE: GgmlType = GgmlType::Q5_0;

    #[inline(always)]
    fn group(block: &[u8], _: usize) -> Group {
        Group::scaled(read_f16(block, 0), fives(&block[2..]).map(|q| q - 16))
    }
}

pub(crate) struct Q5_1;

impl BlockFormat for Q5_1 {
    const TYPE: GgmlType = GgmlType::Q5_1;
    const MINIMUM: Minimum = Minimum::Group;

    #[inline(always)]
    fn group(block: &[u8], _: usize) -> Group {
        Group {
            m: read_f16(block, 2),
            ..Group::scaled(read_f16(block, 0), fives(&block[4..]))
        }
    }
}

pub(crate) struct Q8_0;

impl BlockFormat for Q8_0 {
    const TYPE: GgmlType = GgmlType::Q8_0;

    #[inline(always)]
    fn group(block: &[u8], _: usize) -> Group {
        let values = std::array::from_fn(|i| block[2 + i] as i8);
        Group::scaled(read_f16(block, 0), values)
    }
}

/// Half `H` of 32 integers of 5 bits: their fifth bits are at `at`, the others after them.
#[inline(always)]
unsafe fn packed_fives<S: Simd, const H: usize>(tile: Tile, e: usize, at: usize) -> S::Bytes {
    // SAFETY: by the caller's promise.
    unsafe {
        let fifth = S::and(S::load_bits(tile, e, at + 2 * H), S::splat(16));
        S::or(packed::nibbles::<S, H>(tile, e, at + 4), fifth)
    }
}

/// Scale and minimum as two f16.
#[inline(always)]
unsafe fn scale_and_minimum<S: Simd>(tile: Tile, out: *mut f32) {
    // SAFETY: by the caller's promise.
    unsafe {
        let [d, m] = S::load_half_pairs(tile, 0);
        S::store_floats(out, d);
        S::store_floats(out.add(S::LANES), m);
    }
}

impl Packed for Q4_0 {
    const CLASS: Class = Class::Unsigned4;
    const OFFSET: i16 = 8;

    #[inline(always)]
    unsafe fn half<S: Simd, const G: usize, const H: usize>(tile: Tile, e: usize) -> S::Bytes {
        // SAFETY: by the caller's promise.
        unsafe { packed::nibbles::<S, H>(tile, e, 2) }
    }

    #[inline(always)]
    unsafe fn scales<S: Simd>(tile: Tile, out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe { S::store_floats(out, S::load_halves(tile, 0)) }
    }
}

impl Packed for Q4_1 {
    const CLASS: Class = Class::Unsigned4;

    #[inline(always)]
    unsafe fn half<S: Simd, const G: usize, const H: usize>(tile: Tile, e: usize) -> S::Bytes {
        // SAFETY: by the caller's promise.
        unsafe { packed::nibbles::<S, H>(tile, e, 4) }
    }

    #[inline(always)]
    unsafe fn scales<S: Simd>(tile: Tile, out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe { scale_and_minimum::<S>(tile, out) }
    }
}

impl Packed for Q5_0 {
    const CLASS: Class = Class::Unsigned5;
    const OFFSET: i16 = 16;

    #[inline(always)]
    unsafe fn half<S: Simd, const G: usize, const H: usize>(tile: Tile, e: usize) -> S::Bytes {
        // SAFETY: by the caller's promise.
        unsafe { packed_fives::<S, H>(tile, e, 2) }
    }

    #[inline(always)]
    unsafe fn scales<S: Simd>(tile: Tile, out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe { S::store_floats(out, S::load_halves(tile, 0)) }
    }
}

impl Packed for Q5_1 {
    const CLASS: Class = Class::Unsigned5;

    #[inline(always)]
    unsafe fn half<S: Simd, const G: usize, const H: usize>(tile: Tile, e: usize) -> S::Bytes {
        // SAFETY: by the caller's promise.
        unsafe { packed_fives::<S, H>(tile, e, 4) }
    }

    #[inline(always)]
    unsafe fn scales<S: Simd>(tile: Tile, out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe { scale_and_minimum::<S>(tile, out) }
    }
}

impl Packed for Q8_0 {
    const CLASS: Class = Class::Signed8;

    #[inline(always)]
    unsafe fn half<S: Simd, const G: usize, const H: usize>(tile: Tile, e: usize) -> S::Bytes {
        // SAFETY: by the caller's promise.
        unsafe { S::load(tile, e, 2 + 16 * H) }
    }

    #[inline(always)]
    unsafe fn scales<S: Simd>(tile: Tile, out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe { S::store_floats(out, S::load_halves(tile, 0)) }
    }
}
