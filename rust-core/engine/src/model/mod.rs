//! One transformer, assembled from parts by a configuration per architecture.

mod decoder;

pub use decoder::Decoder;
