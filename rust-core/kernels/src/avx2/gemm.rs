//! A panel of eight weight rows, unpacked to bytes, times several activation rows.
//!
//! A panel holds, for each group, eight registers: register `j` has in 32-bit lane `r` the
//! weights 4j..4j+4 of row `r`. Four activations broadcast to all lanes then multiply with four
//! weights of eight rows at once, and the sums stay in their lanes: no horizontal additions.

use std::arch::x86_64::*;

use super::formats::{Class, Format, transpose};
use crate::activations::GroupMeta;
use crate::formats::Minimum;

/// Bytes of a group in a panel.
pub(crate) const PANEL_GROUP: usize = 256;

/// Bytes by which memory is asked for ahead, at least.
const PREFETCH: usize = 4096;

/// Asks for what block `b` of the next eight rows occupies, given the first of the present ones.
/// They follow in memory, and arrive while these are worked on; an address past the end of the
/// weights does no harm.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) fn prefetch_next<F: Format>(row: *const u8, blocks: usize, b: usize) {
    let ahead = (8 * blocks * F::BLOCK_BYTES).max(PREFETCH);
    let next = row
        .wrapping_add(ahead + 8 * b * F::BLOCK_BYTES)
        .cast::<i8>();
    for line in 0..(8 * F::BLOCK_BYTES).div_ceil(64) {
        // Newer compilers hold the intrinsic for safe, 1.88 does not.
        #[allow(unused_unsafe)]
        // SAFETY: a prefetch reads nothing; any address will do.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(64 * line));
        }
    }
}

/// Unpacks `blocks` blocks of eight rows into a panel of integers.
///
/// # Safety
/// `rows` point to `blocks` blocks each, `panel` has room for their groups; the processor has
/// AVX2.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn unpack<F: Format>(rows: [*const u8; 8], blocks: usize, panel: *mut u8) {
    for b in 0..blocks {
        prefetch_next::<F>(rows[0], blocks, b);
        // SAFETY: `b` is below the number of blocks.
        unsafe {
            let rows = rows.map(|row| row.add(b * F::BLOCK_BYTES));
            let panel = panel.add(b * F::GROUPS * PANEL_GROUP);
            unpack_group::<F, 0>(rows, panel);
            if F::GROUPS == 8 {
                unpack_group::<F, 1>(rows, panel);
                unpack_group::<F, 2>(rows, panel);
                unpack_group::<F, 3>(rows, panel);
                unpack_group::<F, 4>(rows, panel);
                unpack_group::<F, 5>(rows, panel);
                unpack_group::<F, 6>(rows, panel);
                unpack_group::<F, 7>(rows, panel);
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn unpack_group<F: Format, const G: usize>(rows: [*const u8; 8], panel: *mut u8) {
    // SAFETY: by the promise of `unpack`'s caller.
    unsafe {
        let columns = transpose(std::array::from_fn(|i| <F as Format>::group::<G>(rows[i])));
        for (j, column) in columns.into_iter().enumerate() {
            _mm256_storeu_si256(panel.add(G * PANEL_GROUP + j * 32).cast(), column);
        }
    }
}

/// The scales of eight rows for all their groups.
///
/// # Safety
/// `rows` point to `blocks` blocks each, `scales` has room for their groups; the processor has
/// AVX2 and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn scale_panel<F: Format>(rows: [*const u8; 8], blocks: usize, scales: *mut f32) {
    for b in 0..blocks {
        // SAFETY: `b` is below the number of blocks.
        unsafe {
            F::scales(
                rows.map(|row| row.add(b * F::BLOCK_BYTES)),
                scales.add(b * F::GROUPS * F::SCALES),
            );
        }
    }
}

/// The dot products of a panel's eight rows with `M` consecutive activation rows.
///
/// # Safety
/// `panel` and `scales` hold `groups` groups; `ints` and `meta` hold `M` rows of that many, one
/// after the other; the processor has AVX2 and FMA.
// `m` counts activation rows, of which the sums are only one aspect.
#[allow(clippy::needless_range_loop)]
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn tile<F: Format, const M: usize>(
    panel: *const u8,
    scales: *const f32,
    groups: usize,
    ints: *const i8,
    meta: *const GroupMeta,
) -> [__m256; M] {
    let ones = _mm256_set1_epi16(1);
    let mut acc = [_mm256_setzero_ps(); M];
    for g in 0..groups {
        // SAFETY: `g` is below the number of groups, so all pointers stay within their arrays.
        unsafe {
            let panel = panel.add(g * PANEL_GROUP);
            let weights = |j: usize| _mm256_loadu_si256(panel.add(j * 32).cast());
            let ints = ints.add(g * 32);
            let four = |m: usize, j: usize| {
                _mm256_set1_epi32(
                    ints.add(m * groups * 32 + j * 4)
                        .cast::<i32>()
                        .read_unaligned(),
                )
            };
            let scales = scales.add(g * F::SCALES);
            let extra = _mm256_loadu_si256(scales.add(8).cast());
            let mut sums = [_mm256_setzero_si256(); M];
            match F::CLASS {
                Class::Unsigned4 => {
                    for j in 0..8 {
                        let w = weights(j);
                        for m in 0..M {
                            let p = _mm256_maddubs_epi16(w, four(m, j));
                            sums[m] = if j == 0 {
                                p
                            } else {
                                _mm256_add_epi16(sums[m], p)
                            };
                        }
                    }
                    sums = sums.map(|sum| _mm256_madd_epi16(sum, ones));
                }
                Class::Unsigned5 => {
                    for half in 0..2 {
                        let mut part = [_mm256_setzero_si256(); M];
                        for j in 0..4 {
                            let w = weights(4 * half + j);
                            for m in 0..M {
                                let p = _mm256_maddubs_epi16(w, four(m, 4 * half + j));
                                part[m] = if j == 0 {
                                    p
                                } else {
                                    _mm256_add_epi16(part[m], p)
                                };
                            }
                        }
                        for m in 0..M {
                            let p = _mm256_madd_epi16(part[m], ones);
                            sums[m] = if half == 0 {
                                p
                            } else {
                                _mm256_add_epi32(sums[m], p)
                            };
                        }
                    }
                }
                Class::Unsigned6Scaled => {
                    // Each lane's 16-bit sub-scale twice, to multiply and add its pairs at once.
                    let low = _mm256_broadcastsi128_si256(_mm_setr_epi32(
                        0x0100_0100,
                        0x0504_0504,
                        0x0908_0908,
                        0x0d0c_0d0c,
                    ));
                    let high = _mm256_add_epi8(low, _mm256_set1_epi8(2));
                    for half in 0..2 {
                        let sub = _mm256_shuffle_epi8(extra, if half == 0 { low } else { high });
                        for j in [4 * half, 4 * half + 2] {
                            let (w0, w1) = (weights(j), weights(j + 1));
                            for m in 0..M {
                                let p0 = _mm256_maddubs_epi16(w0, four(m, j));
                                let p1 = _mm256_maddubs_epi16(w1, four(m, j + 1));
                                let p = _mm256_madd_epi16(_mm256_add_epi16(p0, p1), sub);
                                sums[m] = if j == 0 {
                                    p
                                } else {
                                    _mm256_add_epi32(sums[m], p)
                                };
                            }
                        }
                    }
                }
                Class::Signed8 => {
                    for j in 0..8 {
                        let w = weights(j);
                        let magnitude = _mm256_abs_epi8(w);
                        for m in 0..M {
                            let p =
                                _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(four(m, j), w));
                            let p = _mm256_madd_epi16(p, ones);
                            sums[m] = if j == 0 {
                                p
                            } else {
                                _mm256_add_epi32(sums[m], p)
                            };
                        }
                    }
                }
            }
            for m in 0..M {
                let meta = meta.add(m * groups + g);
                let sum = remove_offset::<F>(sums[m], extra, meta);
                acc[m] = accumulate::<F>(acc[m], sum, scales, meta);
            }
        }
    }
    acc
}

/// Takes the part of the integers' offset out of a group's products: exact, by the activations'
/// sums.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn remove_offset<F: Format>(
    sum: __m256i,
    extra: __m256i,
    meta: *const GroupMeta,
) -> __m256i {
    // SAFETY: the caller promises a readable `meta` and AVX2.
    unsafe {
        if F::OFFSET == 0 {
            return sum;
        }
        let halves = half_sums(meta);
        let excess = if F::CLASS == Class::Unsigned6Scaled {
            let sums = _mm256_madd_epi16(extra, halves);
            match F::OFFSET {
                4 => _mm256_slli_epi32::<2>(sums),
                32 => _mm256_slli_epi32::<5>(sums),
                offset => _mm256_mullo_epi32(sums, _mm256_set1_epi32(offset.into())),
            }
        } else {
            _mm256_madd_epi16(_mm256_set1_epi16(F::OFFSET), halves)
        };
        _mm256_sub_epi32(sum, excess)
    }
}

/// Adds a group to the accumulators: the one place where the order of the float operations is set.
///
/// # Safety
/// `scales` and `meta` are the group's; the processor has AVX2 and FMA.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn accumulate<F: Format>(
    acc: __m256,
    sum: __m256i,
    scales: *const f32,
    meta: *const GroupMeta,
) -> __m256 {
    // SAFETY: by the caller's promise.
    unsafe {
        let da = _mm256_set1_ps((*meta).d);
        let scale = _mm256_mul_ps(_mm256_loadu_ps(scales), da);
        let acc = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(sum), acc);
        match F::MINIMUM {
            Minimum::None => acc,
            Minimum::Group => {
                let m = _mm256_loadu_ps(scales.add(8));
                _mm256_fmadd_ps(m, _mm256_set1_ps((*meta).s), acc)
            }
            Minimum::Halves => {
                let scale = _mm256_mul_ps(_mm256_loadu_ps(scales.add(16)), da);
                let factors = _mm256_loadu_si256(scales.add(24).cast());
                let sums = _mm256_madd_epi16(factors, half_sums(meta));
                _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(sums), acc)
            }
        }
    }
}

/// The sums of the activations' halves, as a pair of 16 bits in each lane.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn half_sums(meta: *const GroupMeta) -> __m256i {
    // SAFETY: the caller promises a readable `meta`; the pair need not be aligned.
    unsafe { _mm256_set1_epi32((&raw const (*meta).sums).cast::<i32>().read_unaligned()) }
}
