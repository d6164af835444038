//! x86-64 with AVX2, FMA and F16C.
//!
//! Every function here that is not itself marked with the instruction set is
//! `#[inline(always)]` and reached only through one that is.

pub(crate) mod formats;
pub(crate) mod gemm;
pub(crate) mod gemv;
pub(crate) mod lanes;
pub(crate) mod matmul;
pub(crate) mod quantize;
