//! A weight matrix in the GGUF layout, as a view over bytes that live elsewhere.

use crate::error::ShapeError;
use crate::types::GgmlType;

/// A weight matrix: `rows` rows of `cols` weights, each row a sequence of blocks, rows contiguous.
///
/// A copyable view; the bytes may be a mapped file and need no alignment.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    ty: GgmlType,
    rows: usize,
    cols: usize,
    row_bytes: usize,
    bytes: &'a [u8],
}

impl<'a> Matrix<'a> {
    /// A view of `bytes` as `rows` x `cols` weights of type `ty`.
    ///
    /// # Errors
    /// If `cols` is no whole number of blocks, or `bytes` has not exactly the length of the rows.
    pub fn new(
        ty: GgmlType,
        rows: usize,
        cols: usize,
        bytes: &'a [u8],
    ) -> Result<Self, ShapeError> {
        if !cols.is_multiple_of(ty.block_len()) {
            return Err(ShapeError::PartialBlock { ty, cols });
        }
        let what = "a weight matrix";
        let row_bytes = ty.row_bytes(cols).ok_or(ShapeError::Overflow { what })?;
        let expected = row_bytes
            .checked_mul(rows)
            .ok_or(ShapeError::Overflow { what })?;
        if bytes.len() != expected {
            return Err(ShapeError::Length {
                what,
                expected,
                actual: bytes.len(),
            });
        }
        Ok(Matrix {
            ty,
            rows,
            cols,
            row_bytes,
            bytes,
        })
    }

    /// Storage type.
    pub fn ty(&self) -> GgmlType {
        self.ty
    }

    /// Number of rows (outputs).
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Weights per row (inputs).
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Bytes per row.
    pub fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// All rows.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The blocks of row `r`.
    ///
    /// # Panics
    /// If `r` is not below [`rows`](Self::rows).
    pub fn row(&self, r: usize) -> &'a [u8] {
        assert!(r < self.rows, "row {r} of a matrix with {} rows", self.rows);
        &self.bytes[r * self.row_bytes..][..self.row_bytes]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked() {
        let bytes = [0u8; 36];
        assert_eq!(
            Matrix::new(GgmlType::Q4_0, 1, 33, &bytes).unwrap_err(),
            ShapeError::PartialBlock {
                ty: GgmlType::Q4_0,
                cols: 33
            }
        );
        assert!(matches!(
            Matrix::new(GgmlType::Q4_0, 3, 32, &bytes).unwrap_err(),
            ShapeError::Length {
                expected: 54,
                actual: 36,
                ..
            }
        ));
        assert!(matches!(
            Matrix::new(GgmlType::F32, usize::MAX, 8, &bytes).unwrap_err(),
            ShapeError::Overflow { .. }
        ));
        let matrix = Matrix::new(GgmlType::Q4_0, 2, 32, &bytes).unwrap();
        assert_eq!(matrix.row(1).as_ptr(), bytes[18..].as_ptr());
    }
}
