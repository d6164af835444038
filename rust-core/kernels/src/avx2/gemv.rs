//! Eight weight rows times one activation row, the weights read in place.

use std::arch::x86_64::*;

use super::formats::{Class, Format};
use super::gemm::{accumulate, prefetch_next, remove_offset};
use crate::activations::GroupMeta;

/// The dot products of eight weight rows with one activation row, a lane for each weight row.
///
/// # Safety
/// `rows` point to `blocks` blocks each, `scales` to their panel of scales, `ints` and `meta` to
/// as many groups of activations; the processor has AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn dot8<F: Format>(
    rows: [*const u8; 8],
    blocks: usize,
    scales: *const f32,
    ints: *const i8,
    meta: *const GroupMeta,
) -> __m256 {
    let mut acc = _mm256_setzero_ps();
    for b in 0..blocks {
        prefetch_next::<F>(rows[0], blocks, b);
        // SAFETY: `b` is below the number of blocks, so all pointers stay within their arrays.
        unsafe {
            let at = b * F::GROUPS;
            let block = Block {
                rows: rows.map(|row| row.add(b * F::BLOCK_BYTES)),
                scales: scales.add(at * F::SCALES),
                ints: ints.add(at * 32),
                meta: meta.add(at),
            };
            acc = step::<F, 0>(&block, acc);
            if F::GROUPS == 8 {
                acc = step::<F, 1>(&block, acc);
                acc = step::<F, 2>(&block, acc);
                acc = step::<F, 3>(&block, acc);
                acc = step::<F, 4>(&block, acc);
                acc = step::<F, 5>(&block, acc);
                acc = step::<F, 6>(&block, acc);
                acc = step::<F, 7>(&block, acc);
            }
        }
    }
    acc
}

/// One block of each row and what belongs to it.
struct Block {
    rows: [*const u8; 8],
    scales: *const f32,
    ints: *const i8,
    meta: *const GroupMeta,
}

/// Adds group `G` of a block.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn step<F: Format, const G: usize>(block: &Block, acc: __m256) -> __m256 {
    // SAFETY: the caller promises whole blocks, and AVX2 and FMA.
    unsafe {
        let a = _mm256_loadu_si256(block.ints.add(G * 32).cast());
        let meta = block.meta.add(G);
        let scales = block.scales.add(G * F::SCALES);
        let products = |i: usize| {
            let w = <F as Format>::group::<G>(block.rows[i]);
            match F::CLASS {
                Class::Signed8 => _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w)),
                _ => _mm256_maddubs_epi16(w, a),
            }
        };
        let extra = _mm256_loadu_si256(scales.add(8).cast());
        let sum = match F::CLASS {
            Class::Unsigned4 | Class::Unsigned5 => {
                // Eight products of pairs fit in 16 bits: 4 * 2 * 31 * 127 = 31496.
                let four = |i: usize| {
                    let low = _mm256_hadd_epi16(products(i), products(i + 1));
                    let high = _mm256_hadd_epi16(products(i + 2), products(i + 3));
                    _mm256_madd_epi16(_mm256_hadd_epi16(low, high), _mm256_set1_epi16(1))
                };
                let (low, high) = join(four(0), four(4));
                _mm256_add_epi32(low, high)
            }
            Class::Unsigned6Scaled | Class::Signed8 => {
                let wide = |i: usize| _mm256_madd_epi16(products(i), _mm256_set1_epi16(1));
                let four = |i: usize| {
                    let low = _mm256_hadd_epi32(wide(i), wide(i + 1));
                    _mm256_hadd_epi32(low, _mm256_hadd_epi32(wide(i + 2), wide(i + 3)))
                };
                let (low, high) = join(four(0), four(4));
                if F::CLASS == Class::Signed8 {
                    _mm256_add_epi32(low, high)
                } else {
                    let first = _mm256_srai_epi32::<16>(_mm256_slli_epi32::<16>(extra));
                    let second = _mm256_srai_epi32::<16>(extra);
                    _mm256_add_epi32(
                        _mm256_mullo_epi32(low, first),
                        _mm256_mullo_epi32(high, second),
                    )
                }
            }
        };
        let sum = remove_offset::<F>(sum, extra, meta);
        accumulate::<F>(acc, sum, scales, meta)
    }
}

/// The sums of four rows' first and second 16 weights, twice, as first and second of eight rows.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn join(a: __m256i, b: __m256i) -> (__m256i, __m256i) {
    (
        _mm256_permute2x128_si256::<0x20>(a, b),
        _mm256_permute2x128_si256::<0x31>(a, b),
    )
}
