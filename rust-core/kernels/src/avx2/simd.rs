//! Two slots of 16 bytes: registers of 256 bits. AVX2 multiplies unsigned with signed bytes and
//! adds pairs of products in 16 bits, so that a format's [`Class`] says how far sums may go there.

// Registers in arrays go by the row that they belong to.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;
use std::ptr::read_unaligned;

use crate::activations::GroupMeta;
use crate::formats::Packed;
use crate::simd::{Class, Simd, Tile, pair_places};

pub(crate) struct Avx2;

/// Products of pairs in 16 bits.
#[inline(always)]
unsafe fn pairs<F: Packed>(w: __m256i, a: __m256i) -> __m256i {
    // SAFETY: see `impl Simd`.
    unsafe {
        if F::CLASS == Class::Signed8 {
            _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w))
        } else {
            _mm256_maddubs_epi16(w, a)
        }
    }
}

/// Sums of pairs in 32 bits.
#[inline(always)]
unsafe fn widened(pairs: __m256i) -> __m256i {
    // SAFETY: see `impl Simd`.
    unsafe { _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)) }
}

impl Simd for Avx2 {
    const SLOTS: usize = 2;
    const GEMV_TILES: usize = 1;
    const PANELS: usize = 1;
    const BATCH: [usize; 2] = [4, 0];
    const SIGNED_EXCESS: i16 = 0;
    const SIGNED_PANELS: bool = false;

    type Bytes = __m256i;
    type Ints = __m256i;
    type Floats = __m256;

    #[inline(always)]
    unsafe fn load(tile: Tile, e: usize, at: usize) -> __m256i {
        // SAFETY: see above.
        unsafe {
            let slot = |s: usize| tile.at(e + 4 * s, at).cast::<__m128i>();
            let low = _mm256_castsi128_si256(_mm_loadu_si128(slot(0)));
            _mm256_inserti128_si256::<1>(low, _mm_loadu_si128(slot(1)))
        }
    }

    #[inline(always)]
    unsafe fn load_quads(tile: Tile, e: usize, at: usize) -> __m256i {
        // SAFETY: see above.
        unsafe {
            let slot = |s: usize| read_unaligned(tile.at(e + 4 * s, at).cast::<i32>());
            _mm256_set_m128i(_mm_set1_epi32(slot(1)), _mm_set1_epi32(slot(0)))
        }
    }

    #[inline(always)]
    unsafe fn load_bits(tile: Tile, e: usize, at: usize) -> __m256i {
        // SAFETY: see above.
        unsafe {
            let slot = |s: usize| i32::from(read_unaligned(tile.at(e + 4 * s, at).cast::<u16>()));
            let bits = _mm256_set_m128i(_mm_cvtsi32_si128(slot(1)), _mm_cvtsi32_si128(slot(0)));
            let spread = _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0101_0101_0101_0101, 0));
            let select = _mm256_set1_epi64x(0x8040_2010_0804_0201u64 as i64);
            let bits = _mm256_and_si256(_mm256_shuffle_epi8(bits, spread), select);
            _mm256_cmpeq_epi8(bits, select)
        }
    }

    #[inline(always)]
    unsafe fn load_words(tile: Tile, at: usize) -> __m256i {
        // SAFETY: see above.
        unsafe {
            let w = |row: usize| read_unaligned(tile.at(row, at).cast::<i32>());
            _mm256_setr_epi32(w(0), w(1), w(2), w(3), w(4), w(5), w(6), w(7))
        }
    }

    #[inline(always)]
    unsafe fn splat(byte: u8) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_set1_epi8(byte as i8) }
    }

    #[inline(always)]
    unsafe fn and(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_and_si256(a, b) }
    }

    #[inline(always)]
    unsafe fn or(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_or_si256(a, b) }
    }

    #[inline(always)]
    unsafe fn shr<const N: u32>(a: __m256i) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_srl_epi16(a, _mm_cvtsi32_si128(N as i32)) }
    }

    #[inline(always)]
    unsafe fn shl<const N: u32>(a: __m256i) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_sll_epi16(a, _mm_cvtsi32_si128(N as i32)) }
    }

    #[inline(always)]
    unsafe fn look_up(table: &[i8; 16], indices: __m256i) -> __m256i {
        // SAFETY: see above; the table has 16 bytes.
        unsafe {
            let table = _mm_loadu_si128(table.as_ptr().cast());
            _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), indices)
        }
    }

    #[inline(always)]
    unsafe fn mul_bytes(a: __m256i, factors: &[u8; 16]) -> __m256i {
        // SAFETY: see above; there are 16 factors.
        unsafe {
            let factors = _mm256_broadcastsi128_si256(_mm_loadu_si128(factors.as_ptr().cast()));
            let low = _mm256_set1_epi16(0x00ff);
            let even = _mm256_mullo_epi16(a, _mm256_and_si256(factors, low));
            let odd =
                _mm256_mullo_epi16(_mm256_andnot_si256(low, a), _mm256_srli_epi16::<8>(factors));
            _mm256_or_si256(_mm256_and_si256(even, low), odd)
        }
    }

    #[inline(always)]
    unsafe fn sub_bytes(a: __m256i, less: u8) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_sub_epi8(a, _mm256_set1_epi8(less as i8)) }
    }

    #[inline(always)]
    unsafe fn at_least(a: __m256i, least: u8) -> __m256i {
        // SAFETY: see above.
        unsafe {
            let least = _mm256_set1_epi8(least as i8);
            _mm256_cmpeq_epi8(_mm256_max_epu8(a, least), a)
        }
    }

    #[inline(always)]
    unsafe fn activations(ints: *const i8) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(ints.cast())) }
    }

    #[inline(always)]
    unsafe fn dot_group<F: Packed>(w: [__m256i; 2], a: [__m256i; 2]) -> __m256i {
        // SAFETY: see above.
        unsafe {
            let (first, second) = (pairs::<F>(w[0], a[0]), pairs::<F>(w[1], a[1]));
            match F::CLASS {
                // Four products of up to 31 * 127 fit.
                Class::Unsigned4 | Class::Unsigned5 => widened(_mm256_add_epi16(first, second)),
                _ => _mm256_add_epi32(widened(first), widened(second)),
            }
        }
    }

    #[inline(always)]
    unsafe fn dot_half<F: Packed>(w: __m256i, a: __m256i) -> __m256i {
        // SAFETY: see above.
        unsafe { widened(pairs::<F>(w, a)) }
    }

    #[inline(always)]
    unsafe fn reduce(p: [__m256i; 4]) -> __m256i {
        // SAFETY: see above.
        unsafe {
            // Lanes 0 and 2, then 1 and 3, of two registers side by side.
            let low = _mm256_add_epi32(
                _mm256_unpacklo_epi32(p[0], p[1]),
                _mm256_unpackhi_epi32(p[0], p[1]),
            );
            let high = _mm256_add_epi32(
                _mm256_unpacklo_epi32(p[2], p[3]),
                _mm256_unpackhi_epi32(p[2], p[3]),
            );
            _mm256_add_epi32(
                _mm256_unpacklo_epi64(low, high),
                _mm256_unpackhi_epi64(low, high),
            )
        }
    }

    #[inline(always)]
    unsafe fn dot_tile<F: Packed>(w: [[__m256i; 2]; 4], a: [__m256i; 2]) -> __m256i {
        // SAFETY: see above.
        unsafe {
            if F::CLASS != Class::Unsigned4 {
                return Self::reduce([
                    Self::dot_group::<F>(w[0], a),
                    Self::dot_group::<F>(w[1], a),
                    Self::dot_group::<F>(w[2], a),
                    Self::dot_group::<F>(w[3], a),
                ]);
            }
            // Sixteen products of up to 15 * 127 fit into 16 bits, so that two sums a row are left to
            // widen, and all of them are widened at once.
            let p = _mm256_add_epi16(pairs::<F>(w[0][0], a[0]), pairs::<F>(w[0][1], a[1]));
            let q = _mm256_add_epi16(pairs::<F>(w[1][0], a[0]), pairs::<F>(w[1][1], a[1]));
            let r = _mm256_add_epi16(pairs::<F>(w[2][0], a[0]), pairs::<F>(w[2][1], a[1]));
            let s = _mm256_add_epi16(pairs::<F>(w[3][0], a[0]), pairs::<F>(w[3][1], a[1]));
            let low = _mm256_add_epi16(_mm256_unpacklo_epi32(p, q), _mm256_unpackhi_epi32(p, q));
            let high = _mm256_add_epi16(_mm256_unpacklo_epi32(r, s), _mm256_unpackhi_epi32(r, s));
            widened(_mm256_add_epi16(
                _mm256_unpacklo_epi64(low, high),
                _mm256_unpackhi_epi64(low, high),
            ))
        }
    }

    #[inline(always)]
    unsafe fn store_panel(half: [__m256i; 4], panel: *mut u8) {
        // SAFETY: see above.
        unsafe {
            let [a, b, c, d] = half;
            let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
            let (ab2, cd2) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
            let columns = [
                _mm256_unpacklo_epi64(ab, cd),
                _mm256_unpackhi_epi64(ab, cd),
                _mm256_unpacklo_epi64(ab2, cd2),
                _mm256_unpackhi_epi64(ab2, cd2),
            ];
            for (j, column) in columns.into_iter().enumerate() {
                _mm256_storeu_si256(panel.add(32 * j).cast(), column);
            }
        }
    }

    #[inline(always)]
    unsafe fn panel_products<F: Packed, const M: usize, const P: usize>(
        panels: [*const u8; P],
        scales: [*const f32; P],
        ints: *const i8,
        stride: usize,
    ) -> [[__m256i; M]; P] {
        // Steps of four weights whose pairs of products are added in 16 bits.
        let together = match F::CLASS {
            Class::Unsigned4 => 8,
            Class::Unsigned5 => 4,
            Class::Unsigned6Scaled => 2,
            Class::Signed8 => 1,
        };
        // SAFETY: see above.
        unsafe {
            // Each lane's 16-bit sub-scale twice, to multiply and add its pairs at once.
            let low = _mm256_set1_epi32(0x0100_0100);
            let quad = _mm256_broadcastsi128_si256(_mm_setr_epi32(
                0,
                0x0404_0404,
                0x0808_0808,
                0x0c0c_0c0c,
            ));
            let low = _mm256_add_epi8(low, quad);
            let mut factors = [_mm256_set1_epi16(1); 2];
            if F::CLASS == Class::Unsigned6Scaled {
                let scales = Self::load_ints(scales[0].add(Self::LANES));
                factors[0] = _mm256_shuffle_epi8(scales, low);
                factors[1] = _mm256_shuffle_epi8(scales, _mm256_add_epi8(low, _mm256_set1_epi8(2)));
            }
            let mut sums = [[_mm256_setzero_si256(); M]; P];
            let mut j = 0;
            while j < 8 {
                let mut part = [_mm256_setzero_si256(); M];
                for j in j..j + together {
                    let w = _mm256_loadu_si256(panels[0].add(32 * j).cast());
                    for m in 0..M {
                        let four = ints.add(m * stride + 4 * j).cast::<i32>();
                        let a = _mm256_set1_epi32(read_unaligned(four));
                        part[m] = _mm256_add_epi16(part[m], pairs::<F>(w, a));
                    }
                }
                for m in 0..M {
                    let wide = _mm256_madd_epi16(part[m], factors[j / 4]);
                    sums[0][m] = _mm256_add_epi32(sums[0][m], wide);
                }
                j += together;
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn remove(sums: __m256i, excess: i16, meta: *const GroupMeta) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_sub_epi32(sums, Self::pairs_dot(_mm256_set1_epi16(excess), meta)) }
    }

    #[inline(always)]
    unsafe fn pairs_dot(pairs: __m256i, meta: *const GroupMeta) -> __m256i {
        // SAFETY: see above; the two sums are four bytes.
        unsafe {
            let halves = read_unaligned((&raw const (*meta).sums).cast::<i32>());
            _mm256_madd_epi16(pairs, _mm256_set1_epi32(halves))
        }
    }

    #[inline(always)]
    unsafe fn of_pairs<const SECOND: bool>(pairs: __m256i) -> __m256i {
        // SAFETY: see above.
        unsafe {
            let pairs = if SECOND {
                pairs
            } else {
                _mm256_slli_epi32::<16>(pairs)
            };
            _mm256_srai_epi32::<16>(pairs)
        }
    }

    #[inline(always)]
    unsafe fn add(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_add_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_sub_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_mullo_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn splat_int(x: i32) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_set1_epi32(x) }
    }

    #[inline(always)]
    unsafe fn load_ints(p: *const f32) -> __m256i {
        // SAFETY: see above.
        unsafe { _mm256_loadu_si256(p.cast()) }
    }

    #[inline(always)]
    unsafe fn store_ints(p: *mut f32, x: __m256i) {
        // SAFETY: see above.
        unsafe { _mm256_storeu_si256(p.cast(), x) }
    }

    #[inline(always)]
    unsafe fn byte<const G: usize>(words: __m256i) -> __m256i {
        // SAFETY: see above.
        unsafe {
            let down = _mm_cvtsi32_si128(8 * G as i32);
            _mm256_and_si256(_mm256_srl_epi32(words, down), _mm256_set1_epi32(0xff))
        }
    }

    #[inline(always)]
    unsafe fn byte_pair<const G: usize>(words: __m256i) -> __m256i {
        // SAFETY: see above.
        unsafe {
            let places = _mm_loadu_si128(pair_places::<G>().as_ptr().cast());
            let pairs = _mm256_shuffle_epi8(words, _mm256_broadcastsi128_si256(places));
            _mm256_srai_epi16::<8>(pairs)
        }
    }

    #[inline(always)]
    unsafe fn load_floats(p: *const f32) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn store_floats(p: *mut f32, x: __m256) {
        // SAFETY: see above.
        unsafe { _mm256_storeu_ps(p, x) }
    }

    #[inline(always)]
    unsafe fn load_halves(tile: Tile, at: usize) -> __m256 {
        // SAFETY: see above.
        unsafe {
            let h = |row: usize| read_unaligned(tile.at(row, at).cast::<i16>());
            let halves = _mm_setr_epi16(h(0), h(1), h(2), h(3), h(4), h(5), h(6), h(7));
            _mm256_cvtph_ps(halves)
        }
    }

    #[inline(always)]
    unsafe fn load_half_pairs(tile: Tile, at: usize) -> [__m256; 2] {
        // SAFETY: see above.
        unsafe {
            let pairs = Self::load_words(tile, at);
            let low = _mm256_and_si256(pairs, _mm256_set1_epi32(0xffff));
            let both = _mm256_packus_epi32(low, _mm256_srli_epi32::<16>(pairs));
            let both = _mm256_permute4x64_epi64::<0b11_01_10_00>(both);
            [
                _mm256_cvtph_ps(_mm256_castsi256_si128(both)),
                _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(both)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn splat_float(x: f32) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn to_floats(x: __m256i) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_cvtepi32_ps(x) }
    }

    #[inline(always)]
    unsafe fn mul_floats(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn neg_floats(a: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_sub_ps(_mm256_setzero_ps(), a) }
    }

    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
}
