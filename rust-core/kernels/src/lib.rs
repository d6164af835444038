//! CPU kernels for language models over GGUF quantized weights.
//!
//! Matrix products read GGUF blocks in place ([`Matrix`]) and activations quantized once per
//! batch ([`Activations`]); around them are the other operations of a transformer. Kernels know
//! nothing of models or files, and allocate nothing: buffers are made once by their owner. Work is
//! spread over a [`Pool`].
//!
//! **The promise.** A row's result is the same bits whatever the batch size, the thread count, the
//! number of chunks a prompt is cut into, or the instruction set ([`Isa`]). Every operation has one
//! canonical order of float operations that all implementations keep; the crate's README states
//! it, and the tests compare with `==`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod activations;
mod aligned;
mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(avx512)]
mod avx512;
mod dequantize;
mod disjoint;
mod elementwise;
mod error;
mod float;
mod formats;
mod integer;
mod isa;
mod lanes;
mod math;
mod matmul;
mod matrix;
#[cfg(target_arch = "aarch64")]
mod neon;
mod norm;
mod pool;
mod prefetch;
mod rope;
mod scalar;
mod simd;
mod tasks;
mod types;

pub use activations::{Activations, Precision};
pub use attention::{
    AttentionScratch, AttentionShape, KV_BLOCK, KvCell, KvLayer, Q8Cell, attention, store_kv,
};
pub use dequantize::dequantize;
pub use elementwise::{
    add_assign, gelu_tanh, gelu_tanh_mul, scale, silu, silu_mul, soft_cap, softmax,
};
pub use error::ShapeError;
pub use isa::Isa;
pub use matmul::{Scratch, matmul};
pub use matrix::Matrix;
pub use norm::{layer_norm_inplace, rms_norm, rms_norm_inplace};
pub use pool::{Pool, note_panic_place, take_panic_place};
pub use rope::{Rope, RopeStyle, RopeTable};
pub use types::{GgmlType, type_name};
