//! The portable reference: plain Rust, and the definition of what the other sets compute.

pub(crate) mod dot;
pub(crate) mod lanes;
pub(crate) mod quantize;
