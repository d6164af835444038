//! One query row: decoding. What many rows get by taking turns, one row gets by steps: the heads
//! that share keys are scored together, so that a key is fetched and converted once, and each step
//! is cut where its results do not depend on each other.
//!
//! 1. Scores, cut by tiles of keys.
//! 2. Weights, cut by heads: each needs the maximum of all tiles before it.
//! 3. Values, cut by elements of a head: each is a sum over all keys in their order.
//!
//! The operations on each element and their order are those of [`super::tile`].

use std::ops::Range;

use super::{AttentionShape, KV_BLOCK, KvCell, KvLayer, ROWS, Running, Seen, rows, tile};
use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::lanes::{Kernel, Lanes, Pair, dispatch, map};
use crate::pool::Pool;
use crate::prefetch::prefetch_all;

/// Tiles whose weights are kept between the steps.
const SPAN: usize = 32;

/// Tiles from which steps pay: each costs a start of the threads.
const FROM_TILES: usize = 3;

/// Elements of a head that a task sums: with fewer, two threads would fetch the same lines.
const COLUMNS: usize = 64;

/// Bytes of keys that a task scores.
const TASK_BYTES: usize = 16 << 10;

/// Room for the weights of a decoding step's attention, the same at every position.
pub struct AttentionScratch {
    /// `[n_head][SPAN]` tiles.
    weights: Vec<[f32; KV_BLOCK]>,
    /// `[n_head][SPAN]`: what the sums so far are multiplied by before a tile's values come.
    corrections: Vec<f32>,
    running: Vec<Running>,
}

impl AttentionScratch {
    /// For up to `n_head` query heads.
    pub fn new(n_head: usize) -> Self {
        AttentionScratch {
            weights: vec![[0.0; KV_BLOCK]; n_head * SPAN],
            corrections: vec![0.0; n_head * SPAN],
            running: vec![Running::START; n_head],
        }
    }

    /// Query heads that there is room for.
    pub(super) fn heads(&self) -> usize {
        self.running.len()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.weights[..])
            + size_of_val(&self.corrections[..])
            + size_of_val(&self.running[..])
    }
}

/// Whether one row at `position` is worth the steps, and its heads are such that [`attend`] takes.
pub(super) fn pays(shape: &AttentionShape, position: usize) -> bool {
    rows::fits(shape.head_dim)
        && shape.head_dim.is_multiple_of(16)
        && shape.tiles(position..position + 1).len() >= FROM_TILES
}

/// The row at `position`, whose heads are a multiple of 16 wide.
#[allow(clippy::too_many_arguments)]
pub(super) fn attend<T: KvCell>(
    pool: &Pool,
    isa: Isa,
    shape: &AttentionShape,
    q: &[f32],
    position: usize,
    kv: &dyn KvLayer<T>,
    scratch: &mut AttentionScratch,
    out: &mut [f32],
) {
    let (n_kv_head, head_dim) = (shape.n_kv_head, shape.head_dim);
    let group = shape.n_head / n_kv_head;
    let per_task = (TASK_BYTES / (KV_BLOCK * head_dim / T::ELEMENTS * size_of::<T>())).max(1);
    // As many elements as leave each thread some tasks.
    let columns = head_dim * n_kv_head / (3 * pool.threads());
    let columns = (columns / COLUMNS * COLUMNS).clamp(COLUMNS, head_dim.max(COLUMNS));
    let parts = head_dim.div_ceil(columns);

    let AttentionScratch {
        weights,
        corrections,
        running,
    } = scratch;
    running.fill(Running::START);
    out.fill(0.0);
    let out = Disjoint::new(out);
    let tiles = shape.tiles(position..position + 1);
    for start in tiles.clone().step_by(SPAN) {
        let span = Span {
            shape,
            position,
            kv,
            tiles: start..tiles.end.min(start + SPAN),
        };
        let chunks = span.tiles.len().div_ceil(per_task);
        let places = Disjoint::new(weights);
        pool.run(n_kv_head * chunks, &|task, _| {
            let first = start + task % chunks * per_task;
            let tiles = first..span.tiles.end.min(first + per_task);
            let kv_head = task / chunks;
            dispatch(
                isa,
                Scores {
                    span: &span,
                    q,
                    kv_head,
                    tiles,
                    weights: &places,
                },
            );
        });
        let (of_head, corrections_of) = (Disjoint::new(weights), Disjoint::new(corrections));
        let running_of = Disjoint::new(running);
        pool.run(shape.n_head, &|head, _| {
            // SAFETY: each head is one task's.
            let (weights, corrections, running) = unsafe {
                (
                    of_head.part(head * SPAN, span.tiles.len()),
                    corrections_of.part(head * SPAN, span.tiles.len()),
                    running_of.part(head, 1),
                )
            };
            let running = &mut running[0];
            dispatch(
                isa,
                Weights {
                    weights,
                    corrections,
                    running,
                },
            );
        });
        let last = span.tiles.end == tiles.end;
        pool.run(n_kv_head * parts, &|task, _| {
            let first = task % parts * columns;
            let sum = Values {
                span: &span,
                heads: task / parts * group..(task / parts + 1) * group,
                columns: first..head_dim.min(first + columns),
                weights,
                corrections,
                sums: last.then_some(running),
                out: &out,
            };
            dispatch(isa, sum);
        });
    }
}

/// Some tiles of keys and values.
struct Span<'a, T> {
    shape: &'a AttentionShape,
    position: usize,
    kv: &'a dyn KvLayer<T>,
    tiles: Range<usize>,
}

impl<T> Span<'_, T> {
    /// The tile that comes after `tile`, where there is one.
    fn next(&self, tile: usize) -> usize {
        (tile + 1).min(self.tiles.end - 1)
    }

    fn seen(&self, tile: usize) -> Seen {
        self.shape.seen(self.position, tile)
    }
}

/// Step 1 for some tiles and the heads of one key head.
struct Scores<'a, T> {
    span: &'a Span<'a, T>,
    q: &'a [f32],
    kv_head: usize,
    tiles: Range<usize>,
    weights: &'a Disjoint<'a, [f32; KV_BLOCK]>,
}

impl<T: KvCell> Kernel for Scores<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let shape = self.span.shape;
        let head_dim = shape.head_dim;
        let group = shape.n_head / shape.n_kv_head;
        let size = KV_BLOCK * head_dim / T::ELEMENTS;
        let heads = self.kv_head * group..(self.kv_head + 1) * group;
        for tile in self.tiles {
            let keys = &self.span.kv.k_block(tile)[self.kv_head * size..][..size];
            let seen = self.span.seen(tile);
            let next = self.span.next(tile);
            let next = self.span.kv.k_block(next)[self.kv_head * size..].as_ptr();
            for first in heads.clone().step_by(ROWS) {
                let n = ROWS.min(heads.end - first);
                let q = |i: usize| &self.q[(first + i) * head_dim..][..head_dim];
                let mut scores = [[f32::NEG_INFINITY; KV_BLOCK]; ROWS];
                rows::scores::<L, T>(shape, &[seen; ROWS][..n], q, keys, next, &mut scores);
                for (head, scores) in (first..first + n).zip(&scores) {
                    let at = head * SPAN + tile - self.span.tiles.start;
                    // SAFETY: each tile of a head is one task's.
                    unsafe { self.weights.part(at, 1) }.copy_from_slice(&[*scores]);
                }
            }
        }
    }
}

/// Step 2 for one head: its scores become weights.
struct Weights<'a> {
    weights: &'a mut [[f32; KV_BLOCK]],
    corrections: &'a mut [f32],
    running: &'a mut Running,
}

impl Kernel for Weights<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        for (weights, correction) in self.weights.iter_mut().zip(self.corrections) {
            *correction = tile::exponentials::<L>(weights, self.running);
        }
    }
}

/// Step 3 for some elements of the heads of one value head.
struct Values<'a, T> {
    span: &'a Span<'a, T>,
    heads: Range<usize>,
    columns: Range<usize>,
    weights: &'a [[f32; KV_BLOCK]],
    corrections: &'a [f32],
    /// What the heads are divided by in the end, if this is it.
    sums: Option<&'a [Running]>,
    out: &'a Disjoint<'a, f32>,
}

impl<T: KvCell> Kernel for Values<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let mut head = self.heads.start;
        if L::Pair::WIDE {
            while head + 3 <= self.heads.end && !(self.heads.end - head).is_multiple_of(4) {
                self.columns::<L, 3, 4>(head);
                head += 3;
            }
            while head + 4 <= self.heads.end {
                self.columns::<L, 4, 4>(head);
                head += 4;
            }
        }
        while head + 2 <= self.heads.end {
            self.columns::<L, 2, 2>(head);
            head += 2;
        }
        if head < self.heads.end {
            self.columns::<L, 1, 2>(head);
        }
    }
}

impl<T: KvCell> Values<'_, T> {
    /// `R` heads from `head` on, `16 * N` elements at a time where there are so many.
    #[inline(always)]
    fn columns<L: Lanes, const R: usize, const N: usize>(&self, head: usize) {
        let mut d = self.columns.start;
        while d + 16 * N <= self.columns.end {
            self.sum::<L, R, N>(head, d);
            d += 16 * N;
        }
        while d + 32 <= self.columns.end {
            self.sum::<L, R, 2>(head, d);
            d += 32;
        }
        if d < self.columns.end {
            self.sum::<L, R, 1>(head, d);
        }
    }

    /// `R` heads from `head` on, the `16 * N` elements from `d` on.
    #[inline(always)]
    fn sum<L: Lanes, const R: usize, const N: usize>(&self, head: usize, d: usize) {
        let shape = self.span.shape;
        let (head_dim, cells) = (shape.head_dim, shape.head_dim / T::ELEMENTS);
        let size = KV_BLOCK * cells;
        let kv_head = head / (shape.n_head / shape.n_kv_head);
        let mut acc = [[L::Pair::splat(0.0); N]; R];
        // SAFETY: these elements of these heads are this task's, and one part is alive at a time.
        let out = |r: usize| unsafe { self.out.part((head + r) * head_dim + d, 16 * N) };
        for (r, acc) in acc.iter_mut().enumerate() {
            let out = out(r);
            for (acc, out) in acc.iter_mut().zip(out.as_chunks::<16>().0) {
                // SAFETY: sixteen elements.
                *acc = unsafe { L::Pair::load(out.as_ptr(), out.as_ptr().add(8)) };
            }
        }
        for (index, tile) in self.span.tiles.clone().enumerate() {
            let seen = self.span.seen(tile);
            let values = &self.span.kv.v_block(tile)[kv_head * size..][..size];
            let at = |r: usize| (head + r) * SPAN + index;
            let weights: [_; R] = std::array::from_fn(|r| &self.weights[at(r)]);
            for (r, acc) in acc.iter_mut().enumerate() {
                let correction = L::Pair::splat(self.corrections[at(r)]);
                *acc = acc.map(|acc| acc.mul(correction));
            }
            let next = self.span.kv.v_block(self.span.next(tile))[kv_head * size..].as_ptr();
            for j in seen.start..seen.end.min(KV_BLOCK) {
                prefetch_all(
                    next.wrapping_add(j * cells + d / T::ELEMENTS),
                    (16 * N).div_ceil(T::ELEMENTS),
                );
                let row = values[j * cells..][..cells].as_ptr();
                let value: [L::Pair; N] = std::array::from_fn(|i| {
                    // SAFETY: the head just taken has `16 * N` elements from `d` on.
                    unsafe { T::load_pair::<L>(row, d + 16 * i) }
                });
                for (acc, weights) in acc.iter_mut().zip(weights) {
                    let weight = L::Pair::splat(weights[j]);
                    *acc = std::array::from_fn(|i| weight.fma(value[i], acc[i]));
                }
            }
        }
        for (r, acc) in acc.iter().enumerate() {
            let out = out(r);
            for (acc, out) in acc.iter().zip(out.as_chunks_mut::<16>().0) {
                let start = out.as_mut_ptr();
                // SAFETY: sixteen elements.
                unsafe { acc.store(start, start.add(8)) };
            }
            if let Some(sums) = self.sums {
                let sum = L::splat(sums[head + r].sum);
                map!(L, out, |x| x.div(sum));
            }
        }
    }
}
