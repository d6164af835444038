//! The K-quants: blocks of 256 weights, with scales in integers beside the f16 one.

use std::arch::x86_64::*;
use std::ptr::{read_unaligned, write_unaligned};

use super::{Class, Format, f16_of, f16_pairs_of, transpose};
use crate::formats::k_quants::{k_scales, q3_scales};
use crate::formats::{Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, Q8_K};

/// Bits 2(G % 4).. of 32 bytes of `qs`, which are the first or the second.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn two_bits<const G: usize>(qs: *const u8) -> __m256i {
    // SAFETY: the caller promises 64 readable bytes and AVX2.
    unsafe {
        let bytes = _mm256_loadu_si256(qs.add(G / 4 * 32).cast());
        let bytes = match G % 4 {
            0 => bytes,
            1 => _mm256_srli_epi16::<2>(bytes),
            2 => _mm256_srli_epi16::<4>(bytes),
            _ => _mm256_srli_epi16::<6>(bytes),
        };
        _mm256_and_si256(bytes, _mm256_set1_epi8(3))
    }
}

/// Puts the 16-bit factors of eight rows' halves, sixteen in a row of `factors`, beside `d`: from
/// place `at` of each of eight groups, the scale and the pairs.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn put_pairs(d: __m256, factors: [__m256i; 8], out: *mut f32, at: usize, places: usize) {
    for (g, pairs) in transpose(factors).into_iter().enumerate() {
        // SAFETY: the caller promises room for eight groups of `places`.
        unsafe {
            let out = out.add(g * places + at);
            _mm256_storeu_ps(out, d);
            write_unaligned(out.add(8).cast::<__m256i>(), pairs);
        }
    }
}

impl Format for Q2_K {
    const CLASS: Class = Class::Unsigned6Scaled;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn group<const G: usize>(block: *const u8) -> __m256i {
        // SAFETY: by the caller's promise.
        unsafe { two_bits::<G>(block.add(16)) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn scales(blocks: [*const u8; 8], out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe {
            let bytes = blocks.map(|block| _mm256_cvtepu8_epi16(_mm_loadu_si128(block.cast())));
            let low = bytes.map(|bytes| _mm256_and_si256(bytes, _mm256_set1_epi16(15)));
            let high = bytes.map(|bytes| _mm256_srli_epi16::<4>(bytes));
            let min = _mm256_sub_ps(_mm256_setzero_ps(), f16_of(blocks, 82));
            put_pairs(f16_of(blocks, 80), low, out, 0, Self::SCALES);
            put_pairs(min, high, out, 16, Self::SCALES);
        }
    }
}

impl Format for Q3_K {
    const CLASS: Class = Class::Unsigned6Scaled;
    const OFFSET: i16 = 4;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn group<const G: usize>(block: *const u8) -> __m256i {
        // SAFETY: by the caller's promise.
        unsafe {
            let high = _mm256_loadu_si256(block.cast());
            // Bit G of each byte to bit 2; what crosses into a neighbouring byte is masked.
            let high = match G {
                0 => _mm256_slli_epi16::<2>(high),
                1 => _mm256_slli_epi16::<1>(high),
                2 => high,
                3 => _mm256_srli_epi16::<1>(high),
                4 => _mm256_srli_epi16::<2>(high),
                5 => _mm256_srli_epi16::<3>(high),
                6 => _mm256_srli_epi16::<4>(high),
                _ => _mm256_srli_epi16::<5>(high),
            };
            _mm256_or_si256(
                two_bits::<G>(block.add(32)),
                _mm256_and_si256(high, _mm256_set1_epi8(4)),
            )
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn scales(blocks: [*const u8; 8], out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe {
            let factors = blocks.map(|block| {
                let packed = q3_scales(&read_unaligned(block.add(96).cast::<[u8; 12]>()));
                let bytes = _mm_set_epi64x((packed >> 64) as i64, packed as i64);
                _mm256_cvtepi8_epi16(_mm_sub_epi8(bytes, _mm_set1_epi8(32)))
            });
            put_pairs(f16_of(blocks, 108), factors, out, 0, Self::SCALES);
        }
    }
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
                out.add(g * Q4_K::SCALES),
                _mm256_mul_ps(d, _mm256_cvtepi32_ps(scales[g])),
            );
            _mm256_storeu_ps(
                out.add(g * Q4_K::SCALES + 8),
                _mm256_mul_ps(min, _mm256_cvtepi32_ps(mins[g])),
            );
        }
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

impl Format for Q4_K {
    const CLASS: Class = Class::Unsigned4;

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

impl Format for Q5_K {
    const CLASS: Class = Class::Unsigned5;

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

impl Format for Q6_K {
    const CLASS: Class = Class::Unsigned6Scaled;
    const OFFSET: i16 = 32;

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
            let factors =
                blocks.map(|block| _mm256_cvtepi8_epi16(_mm_loadu_si128(block.add(192).cast())));
            put_pairs(f16_of(blocks, 208), factors, out, 0, Self::SCALES);
        }
    }
}

impl Format for Q8_K {
    const CLASS: Class = Class::Signed8;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn group<const G: usize>(block: *const u8) -> __m256i {
        // SAFETY: by the caller's promise.
        unsafe { _mm256_loadu_si256(block.add(4 + G * 32).cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn scales(blocks: [*const u8; 8], out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe {
            let d = blocks.map(|block| read_unaligned(block.cast::<f32>()));
            for g in 0..8 {
                write_unaligned(out.add(g * Self::SCALES).cast(), d);
            }
        }
    }
}
