//! The types with blocks of 32 weights.

use std::arch::x86_64::*;
use std::ptr::read_unaligned;

use super::{Class, Format, f16_of, f16_pairs_of, nibbles};
use crate::formats::{Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};

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

impl Format for Q4_0 {
    const CLASS: Class = Class::Unsigned4;
    const OFFSET: i16 = 8;

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

impl Format for Q4_1 {
    const CLASS: Class = Class::Unsigned4;

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

impl Format for Q5_0 {
    const CLASS: Class = Class::Unsigned5;
    const OFFSET: i16 = 16;

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

impl Format for Q5_1 {
    const CLASS: Class = Class::Unsigned5;

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

impl Format for Q8_0 {
    const CLASS: Class = Class::Signed8;

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
