//! The types of ternary weights.

use std::arch::x86_64::*;
use std::ptr::read_unaligned;

use super::k_quants::two_bits;
use super::{Class, Format, f16_of};
use crate::formats::{TQ1_0, TQ2_0};

/// The same scale for all eight groups.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn one_scale<F: Format>(d: __m256, out: *mut f32) {
    for g in 0..8 {
        // SAFETY: the caller promises room for eight groups.
        unsafe { _mm256_storeu_ps(out.add(g * F::SCALES), d) };
    }
}

/// The leading base-3 digits of 32 bytes, after those that the multiplication by `powers` of 3
/// shifts out, one for each pair of bytes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn digits(bytes: __m256i, powers: __m256i) -> __m256i {
    let (low, high) = (
        _mm256_set1_epi16(0x00ff),
        _mm256_set1_epi16(0xff00u16 as i16),
    );
    let even = _mm256_mullo_epi16(bytes, powers);
    let odd = _mm256_mullo_epi16(_mm256_and_si256(bytes, high), powers);
    let rest = _mm256_or_si256(_mm256_and_si256(even, low), odd);
    // Of 256, the first third ends at 85 and the second at 170.
    let from = |least: u8| {
        let least = _mm256_set1_epi8(least as i8);
        _mm256_cmpeq_epi8(_mm256_max_epu8(rest, least), rest)
    };
    let both = _mm256_add_epi8(from(86), from(171));
    _mm256_sub_epi8(_mm256_setzero_si256(), both)
}

impl Format for TQ1_0 {
    const CLASS: Class = Class::Unsigned4;
    const OFFSET: i16 = 1;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn group<const G: usize>(block: *const u8) -> __m256i {
        // SAFETY: by the caller's promise.
        unsafe {
            if G < 5 {
                let power = [1, 3, 9, 27, 81, 0, 0, 0][G];
                let bytes = _mm256_loadu_si256(block.cast());
                return digits(bytes, _mm256_set1_epi16(power));
            }
            let middle = _mm_loadu_si128(block.add(32).cast());
            let (second, low, high) = match G {
                5 => (middle, _mm_set1_epi16(1), _mm_set1_epi16(3)),
                6 => (middle, _mm_set1_epi16(9), _mm_set1_epi16(27)),
                _ => {
                    let last = _mm_set1_epi32(read_unaligned(block.add(48).cast::<i32>()));
                    let powers = _mm_setr_epi16(1, 1, 3, 3, 9, 9, 27, 27);
                    (last, _mm_set1_epi16(81), powers)
                }
            };
            let bytes = _mm256_set_m128i(second, middle);
            digits(bytes, _mm256_set_m128i(high, low))
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn scales(blocks: [*const u8; 8], out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe { one_scale::<Self>(f16_of(blocks, 52), out) }
    }
}

impl Format for TQ2_0 {
    const CLASS: Class = Class::Unsigned4;
    const OFFSET: i16 = 1;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn group<const G: usize>(block: *const u8) -> __m256i {
        // SAFETY: by the caller's promise.
        unsafe { two_bits::<G>(block) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn scales(blocks: [*const u8; 8], out: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe { one_scale::<Self>(f16_of(blocks, 64), out) }
    }
}
