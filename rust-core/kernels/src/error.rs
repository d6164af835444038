//! The one error of this crate: sizes that do not fit together.

use crate::types::GgmlType;

/// Sizes that do not fit together. Nothing was computed or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// A row's length is no whole number of blocks of its type.
    #[error("rows of {} hold blocks of {} weights, but the matrix has {cols} columns", ty.name(), ty.block_len())]
    PartialBlock {
        /// Storage type of the matrix.
        ty: GgmlType,
        /// Weights per row.
        cols: usize,
    },
    /// A product of sizes does not fit into memory.
    #[error("the size of {what} overflows")]
    Overflow {
        /// What was to be measured.
        what: &'static str,
    },
    /// A slice has another length than its shape says.
    #[error("{what} needs a length of {expected}, but has {actual}")]
    Length {
        /// Which argument.
        what: &'static str,
        /// Elements (or bytes) the shape asks for.
        expected: usize,
        /// Elements (or bytes) given.
        actual: usize,
    },
    /// A size exceeds what a buffer was made for.
    #[error("{what} is {actual}, but the buffers hold at most {max}")]
    TooLarge {
        /// Which size.
        what: &'static str,
        /// Largest size the buffers were made for.
        max: usize,
        /// Size asked for.
        actual: usize,
    },
}
