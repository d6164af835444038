//! The quantized block formats: a group's integers as 32 bytes in the order of k, and the scales
//! of eight rows side by side. All that the kernels know of a format is here.

mod blocks32;
mod codebook;
mod k_quants;
mod ternary;

use std::arch::x86_64::*;
use std::ptr::read_unaligned;

use crate::formats::{BlockFormat, Minimum};

/// What the integers of a format are, which decides how far products may be summed in 16 bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// 0..=15: the products of a whole group's pairs fit.
    Unsigned4,
    /// 0..=31: four pairs fit.
    Unsigned5,
    /// 0..=63 with an integer scale for each half of the group: two pairs fit.
    Unsigned6Scaled,
    /// -128..=127: one pair fits.
    Signed8,
}

/// The most f32 places that a group has in a panel of scales.
pub(crate) const MAX_SCALES: usize = 32;

/// A block format on AVX2. Pointers are to whole blocks, of any alignment.
pub(crate) trait Format: BlockFormat {
    const CLASS: Class;
    /// What the stored integers exceed the weights by.
    const OFFSET: i16 = 0;

    /// f32 places of a group in a panel of scales: the scales of eight rows, then eight minima or
    /// eight pairs of 16-bit sub-scales; where the halves have minima, then the eight minima and
    /// eight pairs of their 16-bit factors.
    const SCALES: usize = match Self::MINIMUM {
        Minimum::None | Minimum::Group => 16,
        Minimum::Halves => MAX_SCALES,
    };

    /// The integers of group `G`.
    ///
    /// # Safety
    /// `block` points to a readable block, and the processor has AVX2.
    unsafe fn group<const G: usize>(block: *const u8) -> __m256i;

    /// Writes the scales of one block of each of eight rows: [`SCALES`](Self::SCALES) places a
    /// group.
    ///
    /// # Safety
    /// The blocks are readable, `out` has room for `GROUPS * SCALES` f32, and the processor has
    /// AVX2 and F16C.
    unsafe fn scales(blocks: [*const u8; 8], out: *mut f32);
}

/// 16 bytes of nibbles to 32 integers: the low ones first.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn nibbles(p: *const u8) -> __m256i {
    // SAFETY: the caller promises 16 readable bytes and AVX2.
    unsafe {
        let bytes = _mm_loadu_si128(p.cast());
        let both = _mm256_set_m128i(_mm_srli_epi16::<4>(bytes), bytes);
        _mm256_and_si256(both, _mm256_set1_epi8(15))
    }
}

/// The f16 at `offset` of each block, as f32.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn f16_of(blocks: [*const u8; 8], offset: usize) -> __m256 {
    // SAFETY: the caller promises readable blocks and F16C.
    unsafe {
        let h = |i: usize| read_unaligned(blocks[i].add(offset).cast::<i16>());
        _mm256_cvtph_ps(_mm_setr_epi16(
            h(0),
            h(1),
            h(2),
            h(3),
            h(4),
            h(5),
            h(6),
            h(7),
        ))
    }
}

/// The two f16 at the start of each block, as f32.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn f16_pairs_of(blocks: [*const u8; 8]) -> (__m256, __m256) {
    // SAFETY: the caller promises readable blocks, AVX2 and F16C.
    unsafe {
        let w = |i: usize| read_unaligned(blocks[i].cast::<i32>());
        let pairs = _mm256_setr_epi32(w(0), w(1), w(2), w(3), w(4), w(5), w(6), w(7));
        let narrow = |x: __m256i| {
            let packed = _mm256_packus_epi32(x, x);
            _mm256_castsi256_si128(_mm256_permute4x64_epi64::<0b10_00>(packed))
        };
        let low = narrow(_mm256_and_si256(pairs, _mm256_set1_epi32(0xffff)));
        let high = narrow(_mm256_srli_epi32::<16>(pairs));
        (_mm256_cvtph_ps(low), _mm256_cvtph_ps(high))
    }
}

/// Transposes eight registers of eight 32-bit lanes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) fn transpose(v: [__m256i; 8]) -> [__m256i; 8] {
    let pair = |i: usize| {
        (
            _mm256_unpacklo_epi32(v[i], v[i + 1]),
            _mm256_unpackhi_epi32(v[i], v[i + 1]),
        )
    };
    let (p0, p1, p2, p3) = (pair(0), pair(2), pair(4), pair(6));
    let quad = |a: __m256i, b: __m256i| (_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
    let (a0, a1) = quad(p0.0, p1.0);
    let (a2, a3) = quad(p0.1, p1.1);
    let (b0, b1) = quad(p2.0, p3.0);
    let (b2, b3) = quad(p2.1, p3.1);
    let low = |a: __m256i, b: __m256i| _mm256_permute2x128_si256::<0x20>(a, b);
    let high = |a: __m256i, b: __m256i| _mm256_permute2x128_si256::<0x31>(a, b);
    [
        low(a0, b0),
        low(a1, b1),
        low(a2, b2),
        low(a3, b3),
        high(a0, b0),
        high(a1, b1),
        high(a2, b2),
        high(a3, b3),
    ]
}
