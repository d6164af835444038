//! CPU kernels over GGUF quantized blocks.
