//! Matrix products: the front door, which checks sizes, splits the weight rows into tasks and
//! picks the kernel.

use std::marker::PhantomData;

use crate::activations::{Activations, Precision};
use crate::aligned::Aligned;
use crate::disjoint::Disjoint;
use crate::error::ShapeError;
use crate::float::{self, FloatRows};
use crate::formats::with_format;
use crate::integer::{self, IntRows};
use crate::isa::Isa;
use crate::lanes::dispatch;
use crate::matrix::Matrix;
use crate::pool::Pool;
use crate::scalar;
use crate::simd::{self, MAX_LANES};

/// Bytes of weights that a task should at least read, so that claiming it costs little.
const TASK_BYTES: usize = 16 << 10;

/// Tasks per worker, so that one that was held up leaves little for the others to wait for.
const TASKS_PER_WORKER: usize = 6;

/// Room for unpacked panels of weights, a fixed amount for each worker.
pub struct Scratch {
    panels: Aligned<f32>,
    workers: usize,
    max_cols: usize,
    per_worker: usize,
}

impl Scratch {
    /// Room for `threads` workers and matrices of up to `max_cols` columns.
    pub fn new(threads: usize, max_cols: usize) -> Self {
        let bytes = integer::PANEL_BYTES_PER_COL.max(float::PANEL * size_of::<f32>());
        let per_worker = bytes / size_of::<f32>() * max_cols.next_multiple_of(64);
        let workers = threads.max(1);
        Scratch {
            panels: Aligned::new(workers * per_worker),
            workers,
            max_cols,
            per_worker,
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.panels.bytes()
    }
}

/// `y[r * ldy + j] = dot(w.row(j), x.row(r))` for every row `r` of the batch `x` and row `j` of
/// the weights `w`. Other elements of `y` stay as they are.
///
/// A result's bits depend on its weight row and its activation row alone: not on the batch, the
/// threads or the instruction set. At most as many threads take part as `scratch` was made for.
///
/// # Errors
/// If `x` has not the columns of `w`, if they exceed what `scratch` was made for, if `ldy` is
/// less than the rows of `w`, or if `y` ends before the last result.
pub fn matmul(
    pool: &Pool,
    isa: Isa,
    w: &Matrix<'_>,
    x: &Activations,
    scratch: &mut Scratch,
    y: &mut [f32],
    ldy: usize,
) -> Result<(), ShapeError> {
    if x.cols() != w.cols() {
        return Err(ShapeError::Length {
            what: "an activation row",
            expected: w.cols(),
            actual: x.cols(),
        });
    }
    if w.cols() > scratch.max_cols {
        return Err(ShapeError::TooLarge {
            what: "the number of columns",
            max: scratch.max_cols,
            actual: w.cols(),
        });
    }
    if x.rows() == 0 || w.rows() == 0 {
        return Ok(());
    }
    if ldy < w.rows() && x.rows() > 1 {
        return Err(ShapeError::Length {
            what: "an output row",
            expected: w.rows(),
            actual: ldy,
        });
    }
    let what = "the output";
    let expected = (x.rows() - 1)
        .checked_mul(ldy)
        .and_then(|n| n.checked_add(w.rows()));
    let expected = expected.ok_or(ShapeError::Overflow { what })?;
    if y.len() < expected {
        return Err(ShapeError::Length {
            what,
            expected,
            actual: y.len(),
        });
    }

    let isa = isa.or_scalar();
    let ints = w.ty().is_quantized() && x.precision() == Precision::Int8;
    let workers = pool.threads().min(scratch.workers);
    let per_task = rows_per_task(w, x.rows(), workers);
    let per_worker = scratch.per_worker;
    let panels = Disjoint::new(scratch.panels.as_mut_slice());
    let y = Disjoint::new(y);
    pool.run_limited(
        w.rows().div_ceil(per_task),
        scratch.workers,
        &|task, worker| {
            let rows = task * per_task..w.rows().min((task + 1) * per_task);
            // SAFETY: each worker has its own part of the scratch.
            let scratch = unsafe { panels.part(worker * per_worker, per_worker) };
            if !ints {
                dispatch(
                    isa,
                    FloatRows {
                        w,
                        rows,
                        x,
                        scratch,
                        y: &y,
                        ldy,
                    },
                );
                return;
            }
            // Fewer rows than a tile has are left to the reference, which has the same bits.
            let tiles = simd::lanes(isa).is_some_and(|lanes| lanes <= w.rows());
            if tiles {
                let done = with_format!(w.ty(), F => {
                    let kernel = IntRows::<F> {
                        format: PhantomData,
                        w,
                        rows: rows.clone(),
                        x,
                        scratch,
                        y: &y,
                        ldy,
                    };
                    // SAFETY: tasks have different rows of `w`, hence columns of `y`, whose size was
                    // checked, as were the columns of `x`; a task ends at a whole tile or at the
                    // last row.
                    unsafe { simd::dispatch(isa, kernel) }
                });
                if done {
                    return;
                }
            }
            for j in rows {
                for r in 0..x.rows() {
                    // SAFETY: tasks write different columns.
                    let out = unsafe { y.part(r * ldy + j, 1) };
                    out[0] = scalar::dot::dot(w.ty(), w.row(j), x.ints(r, 1), x.meta(r, 1));
                }
            }
        },
    );
    Ok(())
}

/// Weight rows in a task: a multiple of every panel's.
fn rows_per_task(w: &Matrix<'_>, batch: usize, workers: usize) -> usize {
    if workers <= 1 {
        return w.rows().next_multiple_of(MAX_LANES);
    }
    let fair = w.rows().div_ceil(workers * TASKS_PER_WORKER);
    // A batch multiplies the work of each byte.
    let worthwhile = TASK_BYTES / batch / w.row_bytes().max(1);
    fair.min(256).max(worthwhile).next_multiple_of(MAX_LANES)
}
