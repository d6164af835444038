//! AVX-512 with VNNI: `simd` has the integer operations; the float kernels are those of AVX2, with
//! pairs of lanes in one register (`lanes`).

// The build script leaves this module out where the compiler is older than the intrinsics.
#![allow(clippy::incompatible_msrv)]

pub(crate) mod lanes;
mod simd;

use crate::simd::IntKernel;

/// Executes an integer kernel with AVX-512 VNNI enabled.
///
/// # Safety
/// The processor has these instructions; what else, the kernel says.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(crate) unsafe fn run<K: IntKernel>(kernel: K) {
    // SAFETY: by the caller's promise.
    unsafe { kernel.run::<simd::Avx512Vnni>() }
}
