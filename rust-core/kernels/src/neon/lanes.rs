//! Eight lanes as two 128-bit registers.

use std::arch::aarch64::*;
use std::arch::asm;

use crate::lanes::{Kernel, Lanes};

#[derive(Clone, Copy)]
pub(crate) struct NeonLanes(float32x4_t, float32x4_t);

/// Executes a float kernel with NEON enabled.
///
/// # Safety
/// The processor has it.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<NeonLanes>()
}

/// Four f16 as f32. The intrinsic needs a type that is unstable.
///
/// # Safety
/// The processor has NEON.
#[inline(always)]
pub(super) unsafe fn widen_f16(halves: [u16; 4]) -> float32x4_t {
    // SAFETY: the array holds four; only registers are touched by the assembly.
    unsafe {
        let narrow = vld1_u16(halves.as_ptr());
        let wide: float32x4_t;
        asm!(
            "fcvtl {wide:v}.4s, {narrow:v}.4h",
            wide = out(vreg) wide,
            narrow = in(vreg) narrow,
            options(pure, nomem, nostack, preserves_flags),
        );
        wide
    }
}

impl NeonLanes {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(float32x4_t, float32x4_t) -> float32x4_t) -> Self {
        NeonLanes(f(self.0, other.0), f(self.1, other.1))
    }

    #[inline(always)]
    fn map(self, f: impl Fn(float32x4_t) -> float32x4_t) -> Self {
        NeonLanes(f(self.0), f(self.1))
    }
}

// SAFETY of all blocks below: lanes of this type are made only by kernels under `run`, whose
// caller has checked the processor. Pointers are the caller's promise, and no instruction used
// needs alignment.
impl Lanes for NeonLanes {
    type Pair = [NeonLanes; 2];

    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: see above.
        let x = unsafe { vdupq_n_f32(x) };
        NeonLanes(x, x)
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: see above.
        unsafe { NeonLanes(vld1q_f32(p), vld1q_f32(p.add(4))) }
    }

    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> Self {
        // SAFETY: see above.
        unsafe {
            let four = |p: *const u16| widen_f16(p.cast::<[u16; 4]>().read_unaligned());
            NeonLanes(four(p), four(p.add(4)))
        }
    }

    #[inline(always)]
    unsafe fn load_i8(p: *const i8) -> Self {
        // SAFETY: see above.
        unsafe {
            let ints = vmovl_s8(vld1_s8(p));
            let low = vcvtq_f32_s32(vmovl_s16(vget_low_s16(ints)));
            NeonLanes(low, vcvtq_f32_s32(vmovl_high_s16(ints)))
        }
    }

    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> Self {
        // SAFETY: see above.
        unsafe {
            let x = vld1q_u16(p);
            let low = vshll_n_u16::<16>(vget_low_u16(x));
            let high = vshll_high_n_u16::<16>(x);
            NeonLanes(vreinterpretq_f32_u32(low), vreinterpretq_f32_u32(high))
        }
    }

    #[inline(always)]
    fn to_array(self) -> [f32; 8] {
        let mut out = [0.0; 8];
        // SAFETY: see above; `out` holds eight f32.
        unsafe {
            vst1q_f32(out.as_mut_ptr(), self.0);
            vst1q_f32(out.as_mut_ptr().add(4), self.1);
        }
        out
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: see above.
        self.zip(other, |a, b| unsafe { vaddq_f32(a, b) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: see above.
        self.zip(other, |a, b| unsafe { vsubq_f32(a, b) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: see above.
        self.zip(other, |a, b| unsafe { vmulq_f32(a, b) })
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        // SAFETY: see above.
        self.zip(other, |a, b| unsafe { vdivq_f32(a, b) })
    }

    #[inline(always)]
    fn fma(self, b: Self, c: Self) -> Self {
        // SAFETY: see above.
        unsafe { NeonLanes(vfmaq_f32(c.0, self.0, b.0), vfmaq_f32(c.1, self.1, b.1)) }
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: see above.
        self.zip(other, |a, b| unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: see above.
        self.zip(other, |a, b| unsafe { vbslq_f32(vcltq_f32(a, b), a, b) })
    }

    #[inline(always)]
    fn round_even(self) -> Self {
        // SAFETY: see above.
        self.map(|x| unsafe { vrndnq_f32(x) })
    }

    #[inline(always)]
    fn exp2_int(self) -> Self {
        // SAFETY: see above.
        self.map(|x| unsafe {
            let biased = vaddq_s32(vcvtq_s32_f32(x), vdupq_n_s32(127));
            vreinterpretq_f32_s32(vshlq_n_s32::<23>(biased))
        })
    }

    #[inline(always)]
    fn zero_below(self, limit: Self, other: Self) -> Self {
        let one = |x: float32x4_t, limit: float32x4_t, other: float32x4_t| {
            // SAFETY: see above.
            unsafe {
                let kept = vbicq_u32(vreinterpretq_u32_f32(other), vcltq_f32(x, limit));
                vreinterpretq_f32_u32(kept)
            }
        };
        NeonLanes(one(self.0, limit.0, other.0), one(self.1, limit.1, other.1))
    }

    #[inline(always)]
    fn copy_sign(self, sign: Self) -> Self {
        // SAFETY: see above.
        self.zip(sign, |x, sign| unsafe {
            vbslq_f32(vdupq_n_u32(0x8000_0000), sign, x)
        })
    }

    #[inline(always)]
    fn swap_pairs(self) -> Self {
        // SAFETY: see above.
        self.map(|x| unsafe { vrev64q_f32(x) })
    }

    #[inline(always)]
    fn tree_sums(v: [Self; 8]) -> Self {
        // Pairwise adds three times: the same tree as `tree_sum`.
        // SAFETY: see above.
        unsafe {
            let once = |i: usize| vpaddq_f32(v[i].0, v[i].1);
            let twice = |i: usize| vpaddq_f32(once(i), once(i + 1));
            NeonLanes(
                vpaddq_f32(twice(0), twice(2)),
                vpaddq_f32(twice(4), twice(6)),
            )
        }
    }
}
