//! The quantized block formats: a group's integers as 32 bytes in the order of k, and the scales
//! of eight rows side by side. All that the kernels know of a format is here.

use std::arch::x86_64::*;
use std::ptr::{read_unaligned, write_unaligned};

use crate::quant::k_scales;

/// What the integers of a format are, which decides how far products may be summed in 16 bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// 0..=15: the products of a whole group's pairs fit.
    Unsigned4,
    /// 0..=31: four pairs fit.
    Unsigned5,
    /// 0..=63 with a scale of 8 bits for each half of the group: two pairs fit.
    Unsigned6Scaled,
    /// -128..=127: one pair fits.
    Signed8,
}

/// f32 places of a group in a panel of scales: the scales of eight rows, then eight minima (or
/// eight pairs of 16-bit sub-scales).
pub(crate) const SCALES: usize = 16;

/// A block format. Pointers are to whole blocks, of any alignment.
pub(crate) trait Format {
    const CLASS: Class;
    /// Groups in a block.
    const GROUPS: usize;
    const BLOCK_BYTES: usize;
    /// What the stored integers exceed the weights by.
    const OFFSET: i16;
    /// Whether the second eight scales are minima.
    const MIN: bool;

    /// The integers of group `G`.
    ///
    /// # Safety
    /// `block` points to a readable block, and the processor has AVX2.
    unsafe fn group<const G: usize>(block: *const u8) -> __m256i;

    /// Writes the scales of one block of each of eight rows: [`SCALES`] places a group.
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

/// 32 bits to 32 bytes of 0 or 16.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn fifth_bits(p: *const u8) -> __m256i {
    // SAFETY: the caller promises 4 readable bytes and AVX2.
    unsafe {
        let bits = _mm256_set1_epi32(read_unaligned(p.cast::<i32>()));
        let spread = _mm256_setr_epi64x(
            0,
            0x0101_0101_0101_0101,
            0x0202_0202_0202_0202,
            0x0303_0303_0303_0303,
        );
        let bytes = _mm256_shuffle_epi8(bits, spread);
        let select = _mm256_set1_epi64x(0x8040_2010_0804_0201u64 as i64);
        let set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, select), select);
        _mm256_and_si256(set, _mm256_set1_epi8(16))
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

/// Scales and minima of a K block's eight groups, for eight rows.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn k_scale_panel(blocks: [*const u8; 8], out: *mut f32) {
    // SAFETY: the caller promises readable blocks, room for eight groups, AVX2 and F16C.
    unsafe {
        let (d, min) = f16_pairs_of(blocks);
        let min = _mm256_sub_ps(_mm256_setzero_ps(), min);
        let packed = |i: usize| k_scales(&read_unaligned(blocks[i].add(4).cast::<[u8; 12]>()));
        let widen = |x: u64| _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(x as i64));
        let (mut scales, mut mins) = ([_mm256_setzero_si256(); 8], [_mm256_setzero_si256(); 8]);
        for i in 0..8 {
            let (scale, min) = packed(i);
            (scales[i], mins[i]) = (widen(scale), widen(min));
        }
        let (scales, mins) = (transpose(scales), transpose(mins));
        for g in 0..8 {
            _mm256_storeu_ps(
                out.add(g * SCALES),
                _mm256_mul_ps(d, _mm256_cvtepi32_ps(scales[g])),
            );
            _mm256_storeu_ps(
                out.add(g * SCALES + 8),
                _mm256_mul_ps(min, _mm256_cvtepi32_ps(mins[g])),
            );
        }
    }
}

pub(crate) struct Q4_0;

impl Format for Q4_0 {
    const CLASS: Class = Class::Unsigned4;
    const GROUPS: usize = 1;
    const BLOCK_BYTES: usize = 18;
    const OFFSET: i16 = 8;
    const MIN: bool = false;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn group<const G: usize>(block: *const u8) -> __m256i {
        // SAFETY: by the caller's promise.
        unsafe { nibbles(block.add(2)) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn scales(blocks: [*const u8; 8], out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe { _mm256_storeu_ps(out, f16_of(blocks, 0)) }
    }
}

pub(crate) struct Q4_1;

impl Format for Q4_1 {
    const CLASS: Class = Class::Unsigned4;
    const GROUPS: usize = 1;
    const BLOCK_BYTES: usize = 20;
    const OFFSET: i16 = 0;
    const MIN: bool = true;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn group<const G: usize>(block: *const u8) -> __m256i {
        // SAFETY: by the caller's promise.
        unsafe { nibbles(block.add(4)) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn scales(blocks: [*const u8; 8], out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe {
            let (d, m) = f16_pairs_of(blocks);
            _mm256_storeu_ps(out, d);
            _mm256_storeu_ps(out.add(8), m);
        }
    }
}

pub(crate) struct Q5_0;

impl Format for Q5_0 {
    const CLASS: Class = Class::Unsigned5;
    const GROUPS: usize = 1;
    const BLOCK_BYTES: usize = 22;
    const OFFSET: i16 = 16;
    const MIN: bool = false;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn group<const G: usize>(block: *const u8) -> __m256i {
        // SAFETY: by the caller's promise.
        unsafe { _mm256_or_si256(nibbles(block.add(6)), fifth_bits(block.add(2))) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn scales(blocks: [*const u8; 8], out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe { _mm256_storeu_ps(out, f16_of(blocks, 0)) }
    }
}

pub(crate) struct Q5_1;

impl Format for Q5_1 {
    const CLASS: Class = Class::Unsigned5;
    const GROUPS: usize = 1;
    const BLOCK_BYTES: usize = 24;
    const OFFSET: i16 = 0;
    const MIN: bool = true;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn group<const G: usize>(block: *const u8) -> __m256i {
        // SAFETY: by the caller's promise.
        unsafe { _mm256_or_si256(nibbles(block.add(8)), fifth_bits(block.add(4))) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn scales(blocks: [*const u8; 8], out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe { Q4_1::scales(blocks, out) }
    }
}

pub(crate) struct Q8_0;

impl Format for Q8_0 {
    const CLASS: Class = Class::Signed8;
    const GROUPS: usize = 1;
    const BLOCK_BYTES: usize = 34;
    const OFFSET: i16 = 0;
    const MIN: bool = false;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn group<const G: usize>(block: *const u8) -> __m256i {
        // SAFETY: by the caller's promise.
        unsafe { _mm256_loadu_si256(block.add(2).cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn scales(blocks: [*const u8; 8], out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe { _mm256_storeu_ps(out, f16_of(blocks, 0)) }
    }
}

/// Group `G` of the nibbles of a K block: the low or high ones of 32 bytes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn k_nibbles<const G: usize>(qs: *const u8) -> __m256i {
    // SAFETY: the caller promises 128 readable bytes and AVX2.
    unsafe {
        let bytes = _mm256_loadu_si256(qs.add(G / 2 * 32).cast());
        let bytes = if G % 2 == 1 {
            _mm256_srli_epi16::<4>(bytes)
        } else {
            bytes
        };
        _mm256_and_si256(bytes, _mm256_set1_epi8(15))
    }
}

pub(crate) struct Q4K;

impl Format for Q4K {
    const CLASS: Class = Class::Unsigned4;
    const GROUPS: usize = 8;
    const BLOCK_BYTES: usize = 144;
    const OFFSET: i16 = 0;
    const MIN: bool = true;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn group<const G: usize>(block: *const u8) -> __m256i {
        // SAFETY: by the caller's promise.
        unsafe { k_nibbles::<G>(block.add(16)) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn scales(blocks: [*const u8; 8], out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe { k_scale_panel(blocks, out) }
    }
}

pub(crate) struct Q5K;

impl Format for Q5K {
    const CLASS: Class = Class::Unsigned5;
    const GROUPS: usize = 8;
    const BLOCK_BYTES: usize = 176;
    const OFFSET: i16 = 0;
    const MIN: bool = true;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn group<const G: usize>(block: *const u8) -> __m256i {
        // SAFETY: by the caller's promise.
        unsafe {
            let high = _mm256_loadu_si256(block.add(16).cast());
            // Bit G of each byte to bit 4; what crosses into a neighbouring byte is masked.
            let high = match G {
                0 => _mm256_slli_epi16::<4>(high),
                1 => _mm256_slli_epi16::<3>(high),
                2 => _mm256_slli_epi16::<2>(high),
                3 => _mm256_slli_epi16::<1>(high),
                4 => high,
                5 => _mm256_srli_epi16::<1>(high),
                6 => _mm256_srli_epi16::<2>(high),
                _ => _mm256_srli_epi16::<3>(high),
            };
            _mm256_or_si256(
                k_nibbles::<G>(block.add(48)),
                _mm256_and_si256(high, _mm256_set1_epi8(16)),
            )
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn scales(blocks: [*const u8; 8], out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe { k_scale_panel(blocks, out) }
    }
}

pub(crate) struct Q6K;

impl Format for Q6K {
    const CLASS: Class = Class::Unsigned6Scaled;
    const GROUPS: usize = 8;
    const BLOCK_BYTES: usize = 210;
    const OFFSET: i16 = 32;
    const MIN: bool = false;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn group<const G: usize>(block: *const u8) -> __m256i {
        // SAFETY: by the caller's promise.
        unsafe {
            let low = _mm256_loadu_si256(block.add(G / 4 * 64 + G % 2 * 32).cast());
            let low = if G % 4 >= 2 {
                _mm256_srli_epi16::<4>(low)
            } else {
                low
            };
            let high = _mm256_loadu_si256(block.add(128 + G / 4 * 32).cast());
            // Bits 2(G % 4).. of each byte to bits 4 and 5.
            let high = match G % 4 {
                0 => _mm256_slli_epi16::<4>(high),
                1 => _mm256_slli_epi16::<2>(high),
                2 => high,
                _ => _mm256_srli_epi16::<2>(high),
            };
            let low = _mm256_and_si256(low, _mm256_set1_epi8(15));
            _mm256_or_si256(low, _mm256_and_si256(high, _mm256_set1_epi8(48)))
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn scales(blocks: [*const u8; 8], out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe {
            let d = f16_of(blocks, 208);
            let row = |i: usize| _mm256_cvtepi8_epi16(_mm_loadu_si128(blocks[i].add(192).cast()));
            let pairs = transpose(std::array::from_fn(row));
            for (g, pair) in pairs.into_iter().enumerate() {
                _mm256_storeu_ps(out.add(g * SCALES), d);
                write_unaligned(out.add(g * SCALES + 8).cast::<__m256i>(), pair);
            }
        }
    }
}
