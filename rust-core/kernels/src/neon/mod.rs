//! NEON, and its dot and matrix products: `simd` has the integer operations, `panel` those of prefill,
//! `quantize` the activations, `lanes` what the float kernels are compiled with.

pub(crate) mod lanes;
mod panel;
pub(crate) mod quantize;
mod simd;

use crate::simd::IntKernel;

/// Executes an integer kernel with NEON enabled.
///
/// # Safety
/// The processor has it; what else, the kernel says.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn run<K: IntKernel>(kernel: K) {
    // SAFETY: by the caller's promise.
    unsafe { kernel.run::<simd::Neon<{ simd::PLAIN }>>() }
}

/// Executes an integer kernel with NEON and its dot products enabled.
///
/// # Safety
/// The processor has them; what else, the kernel says.
#[target_feature(enable = "neon,dotprod")]
pub(crate) unsafe fn run_dotprod<K: IntKernel>(kernel: K) {
    // SAFETY: by the caller's promise.
    unsafe { kernel.run::<simd::Neon<{ simd::DOTPROD }>>() }
}

/// Executes an integer kernel with NEON, its dot products and its matrix products enabled.
///
/// # Safety
/// The processor has them; what else, the kernel says.
#[target_feature(enable = "neon,dotprod,i8mm")]
pub(crate) unsafe fn run_i8mm<K: IntKernel>(kernel: K) {
    // SAFETY: by the caller's promise.
    unsafe { kernel.run::<simd::Neon<{ simd::I8MM }>>() }
}
