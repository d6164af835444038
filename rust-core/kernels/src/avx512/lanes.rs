//! Two times eight lanes as a 512-bit register.

use std::arch::x86_64::*;

use crate::avx2::lanes::{Avx2Lanes, PairKind};
use crate::lanes::{Kernel, Pair};

/// One register of 512 bits.
#[derive(Clone, Copy)]
pub(crate) struct Zmm;

impl PairKind for Zmm {
    type Pair = ZmmPair;
}

#[derive(Clone, Copy)]
pub(crate) struct ZmmPair(__m512);

/// Executes a float kernel with AVX-512 enabled.
///
/// # Safety
/// The processor has these instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma,f16c")]
pub(crate) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx2Lanes<Zmm>>()
}

// SAFETY of all blocks below: pairs of this type are made only by kernels under `run`, whose caller
// has checked the processor. Pointers are the caller's promise, and no instruction used needs
// alignment.
impl Pair<Avx2Lanes<Zmm>> for ZmmPair {
    const WIDE: bool = true;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: see above.
        ZmmPair(unsafe { _mm512_set1_ps(x) })
    }

    #[inline(always)]
    unsafe fn load(first: *const f32, second: *const f32) -> Self {
        // SAFETY: see above.
        unsafe {
            let [first, second] = [first, second].map(|p| Avx2Lanes::new(_mm256_loadu_ps(p)));
            Self::join(first, second)
        }
    }

    #[inline(always)]
    fn join(first: Avx2Lanes<Zmm>, second: Avx2Lanes<Zmm>) -> Self {
        // SAFETY: see above.
        unsafe {
            let first = _mm512_castps_pd(_mm512_castps256_ps512(first.0));
            let second = _mm256_castps_pd(second.0);
            ZmmPair(_mm512_castpd_ps(_mm512_insertf64x4::<1>(first, second)))
        }
    }

    #[inline(always)]
    unsafe fn load_twice(p: *const f32) -> Self {
        // SAFETY: see above.
        unsafe {
            let half = _mm256_castps_pd(_mm256_loadu_ps(p));
            ZmmPair(_mm512_castpd_ps(_mm512_broadcast_f64x4(half)))
        }
    }

    #[inline(always)]
    unsafe fn load_f16(first: *const u16, second: *const u16) -> Self {
        // SAFETY: see above.
        unsafe {
            let (first, second) = (first.cast(), second.cast());
            let both = _mm256_set_m128i(_mm_loadu_si128(second), _mm_loadu_si128(first));
            ZmmPair(_mm512_cvtph_ps(both))
        }
    }

    #[inline(always)]
    unsafe fn store(self, first: *mut f32, second: *mut f32) {
        // SAFETY: see above.
        unsafe {
            let [low, high] = self.halves();
            _mm256_storeu_ps(first, low);
            _mm256_storeu_ps(second, high);
        }
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: see above.
        ZmmPair(unsafe { _mm512_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn fma(self, b: Self, c: Self) -> Self {
        // SAFETY: see above.
        ZmmPair(unsafe { _mm512_fmadd_ps(self.0, b.0, c.0) })
    }

    #[inline(always)]
    fn tree_sums(v: [Self; 8]) -> [Avx2Lanes<Zmm>; 2] {
        // As for one register of eight: pairwise sums within 128 bits twice, then the two halves
        // of each 256 bits are joined. Both halves of the pair at once.
        // SAFETY: see above.
        unsafe {
            let low = add_pairs(add_pairs(v[0].0, v[1].0), add_pairs(v[2].0, v[3].0));
            let high = add_pairs(add_pairs(v[4].0, v[5].0), add_pairs(v[6].0, v[7].0));
            // 128-bit parts 0 and 2, then 1 and 3, of both: low0 low2 high0 high2.
            let even = _mm512_shuffle_f32x4::<0b10_00_10_00>(low, high);
            let odd = _mm512_shuffle_f32x4::<0b11_01_11_01>(low, high);
            // Row 0 in parts 0 and 2, row 1 in parts 1 and 3.
            let sums = _mm512_add_ps(even, odd);
            let rows = ZmmPair(_mm512_shuffle_f32x4::<0b11_01_10_00>(sums, sums));
            rows.halves().map(Avx2Lanes::new)
        }
    }
}

impl ZmmPair {
    #[inline(always)]
    unsafe fn halves(self) -> [__m256; 2] {
        // SAFETY: see above.
        unsafe {
            let high = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(self.0));
            [_mm512_castps512_ps256(self.0), _mm256_castpd_ps(high)]
        }
    }
}

/// Sums of neighbours within each 128 bits: two of `a`, then two of `b`.
#[inline(always)]
unsafe fn add_pairs(a: __m512, b: __m512) -> __m512 {
    // SAFETY: see `impl Pair`.
    unsafe {
        _mm512_add_ps(
            _mm512_shuffle_ps::<0b10_00_10_00>(a, b),
            _mm512_shuffle_ps::<0b11_01_11_01>(a, b),
        )
    }
}
