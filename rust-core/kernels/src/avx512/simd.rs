//! Four slots of 16 bytes: registers of 512 bits. `vpdpbusd` multiplies four unsigned bytes with
//! four signed ones and adds the products to a lane of 32 bits, exactly.

// Registers in arrays go by the row that they belong to.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;
use std::ptr::read_unaligned;

use crate::activations::GroupMeta;
use crate::formats::Packed;
use crate::simd::{Class, Simd, Tile, pair_places};

pub(crate) struct Avx512Vnni;

/// A mask of the 16-byte slots `0b..`: four lanes of 32 bits each.
const fn slots(mask: u16) -> __mmask16 {
    let mut lanes = 0;
    let mut slot = 0;
    while slot < 4 {
        if mask >> slot & 1 == 1 {
            lanes |= 0xf << (4 * slot);
        }
        slot += 1;
    }
    lanes
}

/// Signed weights are multiplied as unsigned ones, 128 above.
#[inline(always)]
unsafe fn unsigned<F: Packed>(w: __m512i) -> __m512i {
    // SAFETY: see `impl Simd`.
    unsafe {
        if F::CLASS == Class::Signed8 {
            _mm512_xor_si512(w, _mm512_set1_epi8(-128))
        } else {
            w
        }
    }
}

#[inline(always)]
unsafe fn dpbusd(sums: __m512i, w: __m512i, a: __m512i) -> __m512i {
    // SAFETY: see `impl Simd`.
    unsafe { _mm512_dpbusd_epi32(sums, w, a) }
}

// SAFETY of all blocks below: the caller of each method has checked the processor and vouches for
// the pointers, and no instruction used needs alignment.
impl Simd for Avx512Vnni {
    const SLOTS: usize = 4;
    const GEMV_TILES: usize = 1;
    const PANELS: usize = 2;
    const BATCH: [usize; 2] = [8, 6];
    const SIGNED_EXCESS: i16 = 128;
    const SIGNED_PANELS: bool = false;

    type Bytes = __m512i;
    type Ints = __m512i;
    type Floats = __m512;

    #[inline(always)]
    unsafe fn load(tile: Tile, e: usize, at: usize) -> __m512i {
        // SAFETY: see above.
        unsafe {
            let slot = |s: usize| _mm_loadu_si128(tile.at(e + 4 * s, at).cast());
            let x = _mm512_castsi128_si512(slot(0));
            // Broadcasts from memory under a mask need no shuffle unit, as insertions would.
            let x = _mm512_mask_broadcast_i32x4(x, slots(0b0010), slot(1));
            let x = _mm512_mask_broadcast_i32x4(x, slots(0b0100), slot(2));
            _mm512_mask_broadcast_i32x4(x, slots(0b1000), slot(3))
        }
    }

    #[inline(always)]
    unsafe fn load_quads(tile: Tile, e: usize, at: usize) -> __m512i {
        // SAFETY: see above.
        unsafe {
            let slot = |s: usize| read_unaligned(tile.at(e + 4 * s, at).cast::<i32>());
            let x = _mm512_set1_epi32(slot(0));
            let x = _mm512_mask_set1_epi32(x, slots(0b0010), slot(1));
            let x = _mm512_mask_set1_epi32(x, slots(0b0100), slot(2));
            _mm512_mask_set1_epi32(x, slots(0b1000), slot(3))
        }
    }

    #[inline(always)]
    unsafe fn load_bits(tile: Tile, e: usize, at: usize) -> __m512i {
        // SAFETY: see above.
        unsafe {
            let slot = |s: usize| u64::from(read_unaligned(tile.at(e + 4 * s, at).cast::<u16>()));
            _mm512_movm_epi8(slot(0) | slot(1) << 16 | slot(2) << 32 | slot(3) << 48)
        }
    }

    #[inline(always)]
    unsafe fn load_words(tile: Tile, at: usize) -> __m512i {
        // SAFETY: see above.
        unsafe {
            let mut words = [0u32; 16];
            for (row, word) in words.iter_mut().enumerate() {
                *word = read_unaligned(tile.at(row, at).cast());
            }
            _mm512_loadu_si512(words.as_ptr().cast())
        }
    }

    #[inline(always)]
    unsafe fn splat(byte: u8) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_set1_epi8(byte as i8) }
    }

    #[inline(always)]
    unsafe fn and(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_and_si512(a, b) }
    }

    #[inline(always)]
    unsafe fn or(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_or_si512(a, b) }
    }

    #[inline(always)]
    unsafe fn shr<const N: u32>(a: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_srli_epi16::<N>(a) }
    }

    #[inline(always)]
    unsafe fn shl<const N: u32>(a: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_slli_epi16::<N>(a) }
    }

    #[inline(always)]
    unsafe fn look_up(table: &[i8; 16], indices: __m512i) -> __m512i {
        // SAFETY: see above; the table has 16 bytes.
        unsafe {
            let table = _mm_loadu_si128(table.as_ptr().cast());
            _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), indices)
        }
    }

    #[inline(always)]
    unsafe fn mul_bytes(a: __m512i, factors: &[u8; 16]) -> __m512i {
        // SAFETY: see above; there are 16 factors.
        unsafe {
            let factors = _mm512_broadcast_i32x4(_mm_loadu_si128(factors.as_ptr().cast()));
            let low = _mm512_set1_epi16(0x00ff);
            let even = _mm512_mullo_epi16(a, _mm512_and_si512(factors, low));
            let odd =
                _mm512_mullo_epi16(_mm512_andnot_si512(low, a), _mm512_srli_epi16::<8>(factors));
            _mm512_or_si512(_mm512_and_si512(even, low), odd)
        }
    }

    #[inline(always)]
    unsafe fn sub_bytes(a: __m512i, less: u8) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_sub_epi8(a, _mm512_set1_epi8(less as i8)) }
    }

    #[inline(always)]
    unsafe fn at_least(a: __m512i, least: u8) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_movm_epi8(_mm512_cmpge_epu8_mask(a, _mm512_set1_epi8(least as i8))) }
    }

    #[inline(always)]
    unsafe fn activations(ints: *const i8) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(ints.cast())) }
    }

    #[inline(always)]
    unsafe fn dot_group<F: Packed>(w: [__m512i; 2], a: [__m512i; 2]) -> __m512i {
        // SAFETY: see above.
        unsafe { dpbusd(Self::dot_half::<F>(w[0], a[0]), unsigned::<F>(w[1]), a[1]) }
    }

    #[inline(always)]
    unsafe fn dot_half<F: Packed>(w: __m512i, a: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { dpbusd(_mm512_setzero_si512(), unsigned::<F>(w), a) }
    }

    #[inline(always)]
    unsafe fn reduce(p: [__m512i; 4]) -> __m512i {
        // SAFETY: see above.
        unsafe {
            // Lanes 0 and 2, then 1 and 3, of two registers side by side.
            let low = _mm512_add_epi32(
                _mm512_unpacklo_epi32(p[0], p[1]),
                _mm512_unpackhi_epi32(p[0], p[1]),
            );
            let high = _mm512_add_epi32(
                _mm512_unpacklo_epi32(p[2], p[3]),
                _mm512_unpackhi_epi32(p[2], p[3]),
            );
            _mm512_add_epi32(
                _mm512_unpacklo_epi64(low, high),
                _mm512_unpackhi_epi64(low, high),
            )
        }
    }

    #[inline(always)]
    unsafe fn store_panel(half: [__m512i; 4], panel: *mut u8) {
        // SAFETY: see above.
        unsafe {
            let [a, b, c, d] = half;
            let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
            let (ab2, cd2) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
            let columns = [
                _mm512_unpacklo_epi64(ab, cd),
                _mm512_unpackhi_epi64(ab, cd),
                _mm512_unpacklo_epi64(ab2, cd2),
                _mm512_unpackhi_epi64(ab2, cd2),
            ];
            for (j, column) in columns.into_iter().enumerate() {
                _mm512_storeu_si512(panel.add(64 * j).cast(), column);
            }
        }
    }

    #[inline(always)]
    unsafe fn panel_products<F: Packed, const M: usize, const P: usize>(
        panels: [*const u8; P],
        scales: [*const f32; P],
        ints: *const i8,
        stride: usize,
    ) -> [[__m512i; M]; P] {
        let scaled = F::CLASS == Class::Unsigned6Scaled;
        // SAFETY: see above.
        unsafe {
            let mut sums = [[_mm512_setzero_si512(); M]; P];
            let mut first = sums;
            for j in 0..8 {
                if scaled && j == 4 {
                    (first, sums) = (sums, first);
                }
                let mut w = [_mm512_setzero_si512(); P];
                for p in 0..P {
                    w[p] = unsigned::<F>(_mm512_loadu_si512(panels[p].add(64 * j).cast()));
                }
                for m in 0..M {
                    let four = read_unaligned(ints.add(m * stride + 4 * j).cast::<i32>());
                    let a = _mm512_set1_epi32(four);
                    for p in 0..P {
                        sums[p][m] = dpbusd(sums[p][m], w[p], a);
                    }
                }
            }
            if scaled {
                for p in 0..P {
                    let pairs = Self::load_ints(scales[p].add(Self::LANES));
                    for m in 0..M {
                        let first = Self::mul(first[p][m], Self::of_pairs::<false>(pairs));
                        let second = Self::mul(sums[p][m], Self::of_pairs::<true>(pairs));
                        sums[p][m] = Self::add(first, second);
                    }
                }
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn remove(sums: __m512i, excess: i16, meta: *const GroupMeta) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_sub_epi32(sums, Self::pairs_dot(_mm512_set1_epi16(excess), meta)) }
    }

    #[inline(always)]
    unsafe fn pairs_dot(pairs: __m512i, meta: *const GroupMeta) -> __m512i {
        // SAFETY: see above; the two sums are four bytes.
        unsafe {
            let halves = read_unaligned((&raw const (*meta).sums).cast::<i32>());
            _mm512_madd_epi16(pairs, _mm512_set1_epi32(halves))
        }
    }

    #[inline(always)]
    unsafe fn of_pairs<const SECOND: bool>(pairs: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe {
            let pairs = if SECOND {
                pairs
            } else {
                _mm512_slli_epi32::<16>(pairs)
            };
            _mm512_srai_epi32::<16>(pairs)
        }
    }

    #[inline(always)]
    unsafe fn add(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_add_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_sub_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_mullo_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn splat_int(x: i32) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_set1_epi32(x) }
    }

    #[inline(always)]
    unsafe fn load_ints(p: *const f32) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_loadu_si512(p.cast()) }
    }

    #[inline(always)]
    unsafe fn store_ints(p: *mut f32, x: __m512i) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_si512(p.cast(), x) }
    }

    #[inline(always)]
    unsafe fn byte<const G: usize>(words: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe {
            let down = _mm_cvtsi32_si128(8 * G as i32);
            _mm512_and_si512(_mm512_srl_epi32(words, down), _mm512_set1_epi32(0xff))
        }
    }

    #[inline(always)]
    unsafe fn byte_pair<const G: usize>(words: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe {
            let places = _mm_loadu_si128(pair_places::<G>().as_ptr().cast());
            let pairs = _mm512_shuffle_epi8(words, _mm512_broadcast_i32x4(places));
            _mm512_srai_epi16::<8>(pairs)
        }
    }

    #[inline(always)]
    unsafe fn load_floats(p: *const f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn store_floats(p: *mut f32, x: __m512) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(p, x) }
    }

    #[inline(always)]
    unsafe fn load_halves(tile: Tile, at: usize) -> __m512 {
        // SAFETY: see above.
        unsafe {
            let mut halves = [0u16; 16];
            for (row, half) in halves.iter_mut().enumerate() {
                *half = read_unaligned(tile.at(row, at).cast());
            }
            _mm512_cvtph_ps(_mm256_loadu_si256(halves.as_ptr().cast()))
        }
    }

    #[inline(always)]
    unsafe fn load_half_pairs(tile: Tile, at: usize) -> [__m512; 2] {
        // SAFETY: see above.
        unsafe {
            let pairs = Self::load_words(tile, at);
            let second = _mm512_srli_epi32::<16>(pairs);
            [
                _mm512_cvtph_ps(_mm512_cvtepi32_epi16(pairs)),
                _mm512_cvtph_ps(_mm512_cvtepi32_epi16(second)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn splat_float(x: f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn to_floats(x: __m512i) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_cvtepi32_ps(x) }
    }

    #[inline(always)]
    unsafe fn mul_floats(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn neg_floats(a: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_sub_ps(_mm512_setzero_ps(), a) }
    }

    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
}
