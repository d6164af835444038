//! Eight lanes as a 256-bit register.

use std::arch::x86_64::*;

use std::marker::PhantomData;

use crate::lanes::{Kernel, Lanes, Pair};

/// Eight lanes; `K` says what two of them side by side are.
#[derive(Clone, Copy)]
pub(crate) struct Avx2Lanes<K>(pub(crate) __m256, PhantomData<K>);

/// What two registers of lanes side by side are.
pub(crate) trait PairKind: Copy {
    type Pair: Pair<Avx2Lanes<Self>>;
}

/// Two registers.
#[derive(Clone, Copy)]
pub(crate) struct Ymm;

impl PairKind for Ymm {
    type Pair = [Avx2Lanes<Ymm>; 2];
}

impl<K> Avx2Lanes<K> {
    #[inline(always)]
    pub(crate) fn new(x: __m256) -> Self {
        Avx2Lanes(x, PhantomData)
    }
}

/// Executes a float kernel with AVX2, FMA and F16C enabled.
///
/// # Safety
/// The processor has these instructions.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx2Lanes<Ymm>>()
}

// SAFETY of all blocks below: lanes of this type are made only by kernels under `run`, whose
// caller has checked the processor. Pointers are the caller's promise, and no instruction used
// needs alignment.
impl<K: PairKind> Lanes for Avx2Lanes<K> {
    type Pair = K::Pair;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: see above.
        Self::new(unsafe { _mm256_set1_ps(x) })
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: see above.
        Self::new(unsafe { _mm256_loadu_ps(p) })
    }

    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> Self {
        // SAFETY: see above.
        Self::new(unsafe { _mm256_cvtph_ps(_mm_loadu_si128(p.cast())) })
    }

    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> Self {
        // SAFETY: see above.
        unsafe {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()));
            Self::new(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide)))
        }
    }

    #[inline(always)]
    unsafe fn load_i8(p: *const i8) -> Self {
        // SAFETY: see above.
        unsafe {
            let ints = _mm256_cvtepi8_epi32(_mm_loadl_epi64(p.cast()));
            Self::new(_mm256_cvtepi32_ps(ints))
        }
    }

    #[inline(always)]
    fn to_array(self) -> [f32; 8] {
        let mut out = [0.0; 8];
        // SAFETY: see above; `out` holds eight f32.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), self.0) };
        out
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: see above.
        Self::new(unsafe { _mm256_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: see above.
        Self::new(unsafe { _mm256_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: see above.
        Self::new(unsafe { _mm256_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        // SAFETY: see above.
        Self::new(unsafe { _mm256_div_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn fma(self, b: Self, c: Self) -> Self {
        // SAFETY: see above.
        Self::new(unsafe { _mm256_fmadd_ps(self.0, b.0, c.0) })
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: see above.
        Self::new(unsafe { _mm256_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: see above.
        Self::new(unsafe { _mm256_min_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn round_even(self) -> Self {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        // SAFETY: see above.
        Self::new(unsafe { _mm256_round_ps::<NEAREST>(self.0) })
    }

    #[inline(always)]
    fn exp2_int(self) -> Self {
        // SAFETY: see above.
        unsafe {
            let biased = _mm256_add_epi32(_mm256_cvtps_epi32(self.0), _mm256_set1_epi32(127));
            Self::new(_mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased)))
        }
    }

    #[inline(always)]
    fn zero_below(self, limit: Self, other: Self) -> Self {
        // SAFETY: see above.
        Self::new(unsafe {
            _mm256_andnot_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(self.0, limit.0), other.0)
        })
    }

    #[inline(always)]
    fn copy_sign(self, sign: Self) -> Self {
        // SAFETY: see above.
        unsafe {
            let mask = _mm256_set1_ps(-0.0);
            Self::new(_mm256_or_ps(
                _mm256_andnot_ps(mask, self.0),
                _mm256_and_ps(mask, sign.0),
            ))
        }
    }

    #[inline(always)]
    fn swap_pairs(self) -> Self {
        // SAFETY: see above.
        Self::new(unsafe { _mm256_permute_ps::<0b10_11_00_01>(self.0) })
    }

    #[inline(always)]
    fn tree_sums(v: [Self; 8]) -> Self {
        // Two rounds of pairwise adds leave, in each 128-bit half, the sums of that half for
        // four vectors; the last add joins the halves. The same tree as `tree_sum`.
        // SAFETY: see above.
        unsafe {
            let pair = |a: usize, b: usize| _mm256_hadd_ps(v[a].0, v[b].0);
            let low = _mm256_hadd_ps(pair(0, 1), pair(2, 3));
            let high = _mm256_hadd_ps(pair(4, 5), pair(6, 7));
            Self::new(_mm256_add_ps(
                _mm256_permute2f128_ps::<0x20>(low, high),
                _mm256_permute2f128_ps::<0x31>(low, high),
            ))
        }
    }
}
