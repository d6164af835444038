//! Activations to 8-bit integers.

use std::arch::x86_64::*;

use crate::activations::GroupMeta;
use crate::formats::GROUP;

/// Quantizes whole groups; the same bits as the scalar reference.
///
/// # Safety
/// The processor has AVX2 and FMA.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn quantize(x: &[f32], ints: &mut [i8], meta: &mut [GroupMeta]) {
    let magnitude = _mm256_set1_epi32(0x7fff_ffff);
    for ((x, q), meta) in x
        .chunks_exact(GROUP)
        .zip(ints.chunks_exact_mut(GROUP))
        .zip(meta)
    {
        // SAFETY: a group holds 32 elements, four registers of eight.
        let v: [__m256; 4] =
            std::array::from_fn(|i| unsafe { _mm256_loadu_ps(x.as_ptr().add(8 * i)) });
        let bits = v.map(|v| _mm256_and_si256(_mm256_castps_si256(v), magnitude));
        let max = _mm256_max_epi32(
            _mm256_max_epi32(bits[0], bits[1]),
            _mm256_max_epi32(bits[2], bits[3]),
        );
        let max = _mm_max_epi32(
            _mm256_castsi256_si128(max),
            _mm256_extracti128_si256::<1>(max),
        );
        let max = _mm_max_epi32(max, _mm_shuffle_epi32::<0b01_00_11_10>(max));
        let max = _mm_max_epi32(max, _mm_shuffle_epi32::<0b10_11_00_01>(max));
        let mut d = f32::from_bits(_mm_cvtsi128_si32(max) as u32) / 127.0;
        let mut inverse = 1.0 / d;
        if d < f32::MIN_POSITIVE {
            (d, inverse) = (0.0, 0.0);
        }
        let (factor, top, bottom) = (
            _mm256_set1_ps(inverse),
            _mm256_set1_ps(127.0),
            _mm256_set1_ps(-127.0),
        );
        // The conversion rounds to nearest even. `min` returns its second operand for NaN.
        let i = v.map(|v| {
            let scaled = _mm256_max_ps(_mm256_min_ps(_mm256_mul_ps(v, factor), top), bottom);
            _mm256_cvtps_epi32(scaled)
        });
        // Packing works within 128-bit halves; the permutation restores the order.
        let packed = _mm256_packs_epi16(
            _mm256_packs_epi32(i[0], i[1]),
            _mm256_packs_epi32(i[2], i[3]),
        );
        let packed = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        // SAFETY: a group holds 32 bytes.
        unsafe { _mm256_storeu_si256(q.as_mut_ptr().cast(), packed) };

        let pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), packed);
        let quads = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
        let halves = _mm256_hadd_epi32(quads, quads);
        let halves = _mm256_hadd_epi32(halves, halves);
        let low = _mm256_cvtsi256_si32(halves);
        let high = _mm_cvtsi128_si32(_mm256_extracti128_si256::<1>(halves));
        *meta = GroupMeta {
            d,
            s: d * (low + high) as f32,
            sums: [low as i16, high as i16],
            sum: low + high,
        };
    }
}
