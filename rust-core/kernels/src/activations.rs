//! The input of a matrix product, prepared once and shared by all matrices it is multiplied with.

use crate::aligned::{Aligned, Plain};
use crate::disjoint::Disjoint;
use crate::error::ShapeError;
use crate::formats::GROUP;
use crate::isa::Isa;
use crate::pool::Pool;

/// How activations enter products with quantized weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Precision {
    /// As 8-bit integers with an f32 scale for each 32. Products with float weights still use
    /// the f32 values.
    Int8,
    /// As f32: the weights are decoded to f32. Slow; for checking.
    F32,
}

/// What accompanies the 32 integers of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub(crate) struct GroupMeta {
    /// Scale: the value is `d * q`.
    pub(crate) d: f32,
    /// `d` times the sum of the integers, for weights with a minimum.
    pub(crate) s: f32,
    /// Sums of the integers of both halves, for weights stored with an offset.
    pub(crate) sums: [i16; 2],
    /// Their sum.
    pub(crate) sum: i32,
}

// SAFETY: four numbers of four bytes, no padding.
unsafe impl Plain for GroupMeta {}

/// A batch of input rows, `[rows][cols]`, with the buffers for the largest batch.
///
/// A group of 32 activations is quantized as d = max|x| / 127 (f32), q = x * (1 / d) rounded to
/// nearest even, in -127..=127; all zero if d is not a normal number.
pub struct Activations {
    floats: Aligned<f32>,
    ints: Aligned<i8>,
    meta: Aligned<GroupMeta>,
    max_rows: usize,
    max_cols: usize,
    rows: usize,
    cols: usize,
    precision: Precision,
}

impl Activations {
    /// Buffers for batches of up to `max_rows` rows of up to `max_cols` elements.
    pub fn new(max_rows: usize, max_cols: usize) -> Self {
        let padded = max_cols.next_multiple_of(GROUP);
        Activations {
            floats: Aligned::new(max_rows * padded),
            ints: Aligned::new(max_rows * padded),
            meta: Aligned::new(max_rows * padded / GROUP),
            max_rows,
            max_cols,
            rows: 0,
            cols: 0,
            precision: Precision::Int8,
        }
    }

    /// Bytes held by the buffers.
    pub fn bytes(&self) -> usize {
        self.floats.bytes() + self.ints.bytes() + self.meta.bytes()
    }

    /// Rows of the current batch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of the current batch.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Takes over a batch `x` of `rows` x `cols`, on the fastest instruction set. Does not
    /// allocate.
    ///
    /// # Errors
    /// If the batch exceeds the buffers or `x` is not `rows * cols` long.
    pub fn set(
        &mut self,
        pool: &Pool,
        x: &[f32],
        rows: usize,
        cols: usize,
        precision: Precision,
    ) -> Result<(), ShapeError> {
        self.set_with(pool, Isa::detect(), x, rows, cols, precision)
    }

    /// [`set`](Self::set) on a given instruction set.
    ///
    /// # Errors
    /// As `set`.
    pub fn set_with(
        &mut self,
        pool: &Pool,
        isa: Isa,
        x: &[f32],
        rows: usize,
        cols: usize,
        precision: Precision,
    ) -> Result<(), ShapeError> {
        if rows > self.max_rows {
            return Err(ShapeError::TooLarge {
                what: "the number of rows",
                max: self.max_rows,
                actual: rows,
            });
        }
        if cols > self.max_cols {
            return Err(ShapeError::TooLarge {
                what: "the number of columns",
                max: self.max_cols,
                actual: cols,
            });
        }
        if x.len() != rows * cols {
            return Err(ShapeError::Length {
                what: "a batch",
                expected: rows * cols,
                actual: x.len(),
            });
        }
        (self.rows, self.cols, self.precision) = (rows, cols, precision);
        if x.is_empty() {
            return Ok(());
        }
        let stride = self.stride();
        let groups = stride / GROUP;
        let floats = Disjoint::new(self.floats.as_mut_slice());
        let ints = Disjoint::new(self.ints.as_mut_slice());
        let meta = Disjoint::new(self.meta.as_mut_slice());
        let row = |r: usize| {
            // SAFETY: each row is prepared by one task, and rows do not overlap.
            let (floats, ints, meta) = unsafe {
                (
                    floats.part(r * stride, stride),
                    ints.part(r * stride, stride),
                    meta.part(r * groups, groups),
                )
            };
            floats[..cols].copy_from_slice(&x[r * cols..][..cols]);
            floats[cols..].fill(0.0);
            if precision == Precision::Int8 {
                quantize(isa, floats, ints, meta);
            }
        };
        // A row or two are faster prepared than announced.
        let per_task = (4096 / cols).max(1);
        if rows <= per_task {
            (0..rows).for_each(row);
        } else {
            pool.run(rows.div_ceil(per_task), &|task, _| {
                (task * per_task..rows.min((task + 1) * per_task)).for_each(row);
            });
        }
        Ok(())
    }

    /// Elements from one row to the next, also bytes between rows of integers.
    pub(crate) fn stride(&self) -> usize {
        self.cols.next_multiple_of(GROUP)
    }

    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// The f32 values of row `r`, padded with zeros to whole groups.
    pub(crate) fn floats(&self, r: usize) -> &[f32] {
        &self.floats.as_slice()[r * self.stride()..][..self.stride()]
    }

    /// The integers of rows `r..r + rows`.
    pub(crate) fn ints(&self, r: usize, rows: usize) -> &[i8] {
        &self.ints.as_slice()[r * self.stride()..][..rows * self.stride()]
    }

    /// Scales and sums of the groups of rows `r..r + rows`.
    pub(crate) fn meta(&self, r: usize, rows: usize) -> &[GroupMeta] {
        let groups = self.stride() / GROUP;
        &self.meta.as_slice()[r * groups..][..rows * groups]
    }
}

fn quantize(isa: Isa, x: &[f32], ints: &mut [i8], meta: &mut [GroupMeta]) {
    match isa.or_scalar() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `or_scalar` returns these only on processors that have AVX2.
        Isa::Avx2 | Isa::Avx512Vnni => unsafe { crate::avx2::quantize::quantize(x, ints, meta) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        Isa::Neon | Isa::NeonDotprod | Isa::NeonI8mm => unsafe {
            crate::neon::quantize::quantize(x, ints, meta)
        },
        _ => crate::scalar::quantize::quantize(x, ints, meta),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked() {
        let pool = Pool::new(1);
        let mut x = Activations::new(2, 64);
        assert!(matches!(
            x.set(&pool, &[0.0; 192], 3, 64, Precision::Int8),
            Err(ShapeError::TooLarge {
                max: 2,
                actual: 3,
                ..
            })
        ));
        assert!(matches!(
            x.set(&pool, &[0.0; 96], 1, 96, Precision::Int8),
            Err(ShapeError::TooLarge {
                max: 64,
                actual: 96,
                ..
            })
        ));
        assert!(matches!(
            x.set(&pool, &[0.0; 63], 1, 64, Precision::Int8),
            Err(ShapeError::Length {
                expected: 64,
                actual: 63,
                ..
            })
        ));
    }

    #[test]
    fn every_isa_quantizes_alike() {
        let pool = Pool::new(2);
        let cases: [&dyn Fn(usize) -> f32; 6] = [
            &|i| (i as f32 * 1.37).sin() * 3.0,
            &|_| 0.0,
            &|i| if i % 7 == 0 { 1e-40 } else { 0.0 },
            &|i| if i % 3 == 0 { 3e38 } else { -1.0 },
            // Ties: multiples of a half after scaling.
            &|i| {
                if i % 32 == 0 {
                    127.0
                } else {
                    (i % 32) as f32 + 0.5
                }
            },
            &|i| -1e-38 * (i % 50) as f32,
        ];
        for (rows, cols) in [(1, 32), (3, 96), (40, 576), (2, 50)] {
            for value in cases {
                let x: Vec<f32> = (0..rows * cols).map(value).collect();
                let prepared: Vec<Activations> = Isa::available()
                    .into_iter()
                    .map(|isa| {
                        let mut prepared = Activations::new(rows, cols);
                        prepared
                            .set_with(&pool, isa, &x, rows, cols, Precision::Int8)
                            .unwrap();
                        prepared
                    })
                    .collect();
                for other in &prepared {
                    assert_eq!(other.ints(0, rows), prepared[0].ints(0, rows));
                    assert_eq!(other.meta(0, rows), prepared[0].meta(0, rows));
                }
                for r in 0..rows {
                    for (c, x) in x[r * cols..][..cols].iter().enumerate() {
                        let meta = prepared[0].meta(r, 1)[c / GROUP];
                        let back = meta.d * f32::from(prepared[0].ints(r, 1)[c]);
                        assert!((back - x).abs() <= meta.d * 0.5001 + 2e-36, "{back} {x}");
                    }
                }
            }
        }
    }
}
