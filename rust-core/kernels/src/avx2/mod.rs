//! AVX2, FMA and F16C: `simd` has the integer operations, `quantize` the activations, `lanes` what
//! the float kernels are compiled with.

pub(crate) mod lanes;
pub(crate) mod quantize;
mod simd;

use crate::simd::IntKernel;

/// Executes an integer kernel with AVX2, FMA and F16C enabled.
///
/// # Safety
/// The processor has these instructions; what else, the kernel says.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn run<K: IntKernel>(kernel: K) {
    // SAFETY: by the caller's promise.
    unsafe { kernel.run::<simd::Avx2>() }
}
