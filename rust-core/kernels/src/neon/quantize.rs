//! Activations to 8-bit integers.

use std::arch::aarch64::*;

use crate::activations::GroupMeta;
use crate::formats::GROUP;

/// Quantizes whole groups; the same bits as the scalar reference.
///
/// # Safety
/// The processor has NEON.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn quantize(x: &[f32], ints: &mut [i8], meta: &mut [GroupMeta]) {
    for ((x, q), meta) in x
        .chunks_exact(GROUP)
        .zip(ints.chunks_exact_mut(GROUP))
        .zip(meta)
    {
        // SAFETY: a group holds 32 elements, eight registers of four, and 32 bytes.
        unsafe {
            let mut v = [vdupq_n_f32(0.0); 8];
            let mut max = vdupq_n_u32(0);
            for (i, v) in v.iter_mut().enumerate() {
                *v = vld1q_f32(x.as_ptr().add(4 * i));
                // As integers, so that NaN is the largest.
                max = vmaxq_u32(max, vreinterpretq_u32_f32(vabsq_f32(*v)));
            }
            let mut d = f32::from_bits(vmaxvq_u32(max)) / 127.0;
            let mut inverse = 1.0 / d;
            if d < f32::MIN_POSITIVE {
                (d, inverse) = (0.0, 0.0);
            }
            let (top, bottom) = (vdupq_n_f32(127.0), vdupq_n_f32(-127.0));
            let mut wide = [vdupq_n_s32(0); 8];
            for (wide, v) in wide.iter_mut().zip(v) {
                let scaled = vmulq_n_f32(v, inverse);
                // NaN becomes the limit, as on other instruction sets.
                let scaled = vbslq_f32(vcltq_f32(scaled, top), scaled, top);
                let scaled = vbslq_f32(vcgtq_f32(scaled, bottom), scaled, bottom);
                *wide = vcvtnq_s32_f32(scaled);
            }
            let mut sums = [0i16; 2];
            for (half, sum) in sums.iter_mut().enumerate() {
                let [a, b, c, d] = [0, 1, 2, 3].map(|i| vqmovn_s32(wide[4 * half + i]));
                let low = vqmovn_s16(vcombine_s16(a, b));
                let high = vqmovn_s16(vcombine_s16(c, d));
                let bytes = vcombine_s8(low, high);
                vst1q_s8(q.as_mut_ptr().add(16 * half), bytes);
                *sum = vaddlvq_s8(bytes);
            }
            *meta = GroupMeta {
                d,
                s: d * f32::from(sums[0] + sums[1]),
                sums,
                sum: (sums[0] + sums[1]).into(),
            };
        }
    }
}
