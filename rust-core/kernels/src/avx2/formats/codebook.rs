//! The types whose 4 bits choose from a table of 16 values, looked up by a byte shuffle.

use std::arch::x86_64::*;
use std::ptr::read_unaligned;

use super::{Class, Format, f16_of, nibbles, transpose};
use crate::formats::codebook::{E2M1, IQ4, e8m0_half, iq4_scales};
use crate::formats::{IQ4_NL, IQ4_XS, MXFP4};

/// The values that 32 indices choose.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn look_up(table: &[i8; 16], indices: __m256i) -> __m256i {
    // SAFETY: the table has 16 bytes.
    let table = unsafe { _mm_loadu_si128(table.as_ptr().cast()) };
    _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), indices)
}

impl Format for IQ4_NL {
    const CLASS: Class = Class::Signed8;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn group<const G: usize>(block: *const u8) -> __m256i {
        // SAFETY: by the caller's promise.
        unsafe { look_up(&IQ4, nibbles(block.add(2))) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn scales(blocks: [*const u8; 8], out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe { _mm256_storeu_ps(out, f16_of(blocks, 0)) }
    }
}

impl Format for IQ4_XS {
    const CLASS: Class = Class::Signed8;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn group<const G: usize>(block: *const u8) -> __m256i {
        // SAFETY: by the caller's promise.
        unsafe { look_up(&IQ4, nibbles(block.add(8 + 16 * G))) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn scales(blocks: [*const u8; 8], out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe {
            let d = f16_of(blocks, 0);
            let scales = transpose(blocks.map(|block| {
                let high = read_unaligned(block.add(2).cast::<u16>());
                let scales = iq4_scales(high, read_unaligned(block.add(4).cast::<u32>()));
                _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(scales as i64))
            }));
            for (g, scale) in scales.into_iter().enumerate() {
                let scale = _mm256_sub_epi32(scale, _mm256_set1_epi32(32));
                let scale = _mm256_mul_ps(d, _mm256_cvtepi32_ps(scale));
                _mm256_storeu_ps(out.add(g * Self::SCALES), scale);
            }
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

impl Format for MXFP4 {
    const CLASS: Class = Class::Unsigned5;
    const OFFSET: i16 = 12;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn group<const G: usize>(block: *const u8) -> __m256i {
        // SAFETY: by the caller's promise.
        unsafe { look_up(&E2M1_UNSIGNED, nibbles(block.add(1))) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn scales(blocks: [*const u8; 8], out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe {
            let d = blocks.map(|block| e8m0_half(*block));
            _mm256_storeu_ps(out, _mm256_loadu_ps(d.as_ptr()));
        }
    }
}
