//! Splitting element-wise work into tasks.

use crate::disjoint::Disjoint;
use crate::pool::Pool;

/// Work on fewer elements than this is done by the caller alone: waking others costs more.
const INLINE: usize = 8192;

/// Elements in a task; a multiple of the lanes.
const CHUNK: usize = 4096;

/// Calls `f(first, part)` for consecutive parts of `x`, of whole multiples of `unit` elements
/// (the last may be shorter), in parallel where that pays. `cost` is the work per element,
/// relative to a multiplication or so.
pub(crate) fn split<T: Send>(
    pool: &Pool,
    x: &mut [T],
    unit: usize,
    cost: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    let len = x.len();
    if len == 0 {
        return;
    }
    if len.saturating_mul(cost) < INLINE || len <= unit {
        f(0, x);
        return;
    }
    let chunk = (CHUNK / cost.max(1)).div_ceil(unit).max(1) * unit;
    let parts = Disjoint::new(x);
    pool.run(len.div_ceil(chunk), &|task, _| {
        let start = task * chunk;
        // SAFETY: the parts of different tasks do not overlap.
        f(start, unsafe { parts.part(start, chunk.min(len - start)) });
    });
}
