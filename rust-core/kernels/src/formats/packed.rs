//! The formats as registers see them: a group's integers by halves, and the scales of a tile of rows
//! side by side. All that the fast kernels know of a format is here and in its own module.

use super::{BlockFormat, Minimum};
use crate::simd::{Class, Simd, Tile};

/// The most places that a group has in a panel of scales.
pub(crate) const MAX_PLACES: usize = 4;

/// A block format over registers.
pub(crate) trait Packed: BlockFormat {
    const CLASS: Class;
    /// What the integers given exceed the weights by.
    const OFFSET: i16 = 0;

    /// Places of a group in a panel of scales, each of `LANES` numbers of 32 bits: the scales,
    /// then minima or pairs of 16-bit sub-scales; where the halves have minima, then the minima
    /// and the pairs of their 16-bit factors.
    const PLACES: usize = match Self::MINIMUM {
        Minimum::None | Minimum::Group => 2,
        Minimum::Halves => MAX_PLACES,
    };

    /// Half `H` of group `G`, of the rows of register `e`.
    ///
    /// # Safety
    /// The rows of `tile` hold a block, and the processor has the instruction set.
    unsafe fn half<S: Simd, const G: usize, const H: usize>(tile: Tile, e: usize) -> S::Bytes;

    /// Writes the scales of a block of each row: `GROUPS * PLACES * LANES` places.
    ///
    /// # Safety
    /// The rows of `tile` hold a block, `out` has the room, and the processor has the instruction
    /// set.
    unsafe fn scales<S: Simd>(tile: Tile, out: *mut f32);
}

/// The low (`HIGH` = 0) or high nibbles of 16 bytes.
#[inline(always)]
pub(super) unsafe fn nibbles<S: Simd, const HIGH: usize>(
    tile: Tile,
    e: usize,
    at: usize,
) -> S::Bytes {
    // SAFETY: by the caller's promise.
    unsafe {
        let bytes = S::load(tile, e, at);
        let bytes = if HIGH == 0 { bytes } else { S::shr::<4>(bytes) };
        S::and(bytes, S::splat(15))
    }
}

/// Byte `G` of the eight that each row has in two words.
#[inline(always)]
pub(super) unsafe fn byte_of<S: Simd, const G: usize>(words: [S::Bytes; 2]) -> S::Ints {
    // SAFETY: by the caller's promise.
    unsafe {
        match G % 4 {
            0 => S::byte::<0>(words[G / 4]),
            1 => S::byte::<1>(words[G / 4]),
            2 => S::byte::<2>(words[G / 4]),
            _ => S::byte::<3>(words[G / 4]),
        }
    }
}

/// Writes the same scale for all eight groups.
#[inline(always)]
pub(super) unsafe fn one_scale<S: Simd, F: Packed>(d: S::Floats, out: *mut f32) {
    for g in 0..8 {
        // SAFETY: the caller promises room for eight groups.
        unsafe { S::store_floats(out.add(g * F::PLACES * S::LANES), d) };
    }
}

/// Evaluates an expression for each of the groups of a block, `$g` a constant in it. For those that
/// a format has not, nothing is compiled.
macro_rules! for_groups {
    ($count:expr, $g:ident => $body:expr) => {
        $crate::formats::packed::for_groups!(@ $count, $g, $body, [0 1 2 3 4 5 6 7])
    };
    (@ $count:expr, $g:ident, $body:expr, [$($n:literal)*]) => {
        $(if const { $n < $count } {
            const $g: usize = $n;
            $body
        })*
    };
}

pub(crate) use for_groups;
