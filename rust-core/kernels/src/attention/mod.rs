//! Causal attention with grouped queries, a sliding window, and the softmax computed on the way
//! (Milakov and Gimelshein, 2018; Dao et al., 2022).
//!
//! Keys are visited in tiles of [`KV_BLOCK`] positions that start at fixed multiples of it. For
//! one query and head a tile gives: scores (canonical dot products, see [`crate::lanes`]); the
//! new maximum m'; the sums so far times e^(m - m'); then the keys' e^(score - m') in the order
//! of their positions. So a row's bits depend on no other row, nor on how the batch was cut.

mod cell;
mod decode;
mod rows;
mod tile;

use std::ops::Range;

use crate::disjoint::Disjoint;
use crate::isa::Isa;
use crate::lanes::{Kernel, Lanes, dispatch, map};
use crate::pool::Pool;
pub use cell::{KvCell, Q8Cell};
pub use decode::AttentionScratch;

/// Positions in a block of the KV cache, and in a tile of attention.
pub const KV_BLOCK: usize = 64;

/// Query rows in a task: enough that a tile of keys, once in the cache, is used often.
const ROWS: usize = 16;

/// Keys and values of one layer, in blocks of [`KV_BLOCK`] positions.
///
/// Block `b` holds the positions from `b * KV_BLOCK` on, as `[kv_head][position][head_dim]` in
/// cells;
/// places not written yet may hold anything.
pub trait KvLayer<T>: Sync {
    /// The keys of block `b`.
    fn k_block(&self, b: usize) -> &[T];
    /// The values of block `b`.
    fn v_block(&self, b: usize) -> &[T];
}

/// The shape and rules of a layer's attention.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionShape {
    /// Query heads.
    pub n_head: usize,
    /// Key and value heads; each serves `n_head / n_kv_head` query heads in a row.
    pub n_kv_head: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Factor of the scores, usually `1 / sqrt(head_dim)`.
    pub scale: f32,
    /// Bounds the scaled scores to `cap * tanh(score / cap)` (Gemma 2).
    pub soft_cap: Option<f32>,
    /// A query at `p` sees the keys in `(p - window, p]`.
    pub window: Option<usize>,
}

impl AttentionShape {
    /// Tiles with keys that a row at one of `positions` sees.
    fn tiles(&self, positions: Range<usize>) -> Range<usize> {
        self.oldest(positions.start) / KV_BLOCK..positions.end.div_ceil(KV_BLOCK)
    }

    /// Of a tile's keys, those that the row at `position` sees.
    fn seen(&self, position: usize, tile: usize) -> Seen {
        let start = tile * KV_BLOCK;
        let end = (position + 1).clamp(start, start + KV_BLOCK);
        let first = self.oldest(position).clamp(start, end);
        Seen {
            start: first - start,
            end: end - start,
        }
    }

    fn oldest(&self, position: usize) -> usize {
        (position + 1).saturating_sub(self.window.unwrap_or(usize::MAX))
    }
}

/// Attention of consecutive query rows over the keys up to and including each row's position.
///
/// `q` and `out` are `[rows][n_head * head_dim]`; row `r` sits at position `pos0 + r`, and the
/// cache holds all positions up to the last row's (those outside the window are not read).
///
/// # Panics
/// If the heads do not divide, are no whole cells or more than `scratch` is for, a window is 0, `q` is
/// no whole number of rows or not as long as `out`, or a block of `kv` is shorter than its shape.
#[allow(clippy::too_many_arguments)]
pub fn attention<T: KvCell>(
    pool: &Pool,
    isa: Isa,
    shape: &AttentionShape,
    q: &[f32],
    pos0: usize,
    kv: &dyn KvLayer<T>,
    scratch: &mut AttentionScratch,
    out: &mut [f32],
) {
    let width = shape.n_head * shape.head_dim;
    assert!(
        shape.n_kv_head > 0 && shape.n_head.is_multiple_of(shape.n_kv_head),
        "heads must divide"
    );
    assert!(
        shape.head_dim.is_multiple_of(T::ELEMENTS),
        "heads are whole cells"
    );
    assert!(shape.window != Some(0), "a window sees at least one key");
    assert!(
        q.len() == out.len() && width > 0 && q.len().is_multiple_of(width),
        "q and out are whole rows"
    );
    assert!(
        shape.n_head <= scratch.heads(),
        "scratch is for fewer heads"
    );
    let rows = q.len() / width;
    if rows == 1 && decode::pays(shape, pos0) {
        return decode::attend(pool, isa, shape, q, pos0, kv, scratch, out);
    }
    let out = Disjoint::new(out);
    // Heads change fastest: tasks that run together share the cost of fetching keys.
    pool.run(rows.div_ceil(ROWS) * shape.n_head, &|task, _| {
        let first = task / shape.n_head * ROWS;
        let rows = first..rows.min(first + ROWS);
        dispatch(
            isa,
            Head {
                shape,
                q,
                pos0,
                kv,
                out: &out,
                rows,
                head: task % shape.n_head,
            },
        );
    });
}

/// One head of some query rows.
struct Head<'a, T> {
    shape: &'a AttentionShape,
    q: &'a [f32],
    pos0: usize,
    kv: &'a dyn KvLayer<T>,
    /// The rows' elements of this head are this task's alone.
    out: &'a Disjoint<'a, f32>,
    rows: Range<usize>,
    head: usize,
}

/// Running maximum of the scores and sum of their exponentials.
#[derive(Clone, Copy)]
struct Running {
    max: f32,
    sum: f32,
}

impl Running {
    const START: Running = Running {
        max: f32::NEG_INFINITY,
        sum: 0.0,
    };
}

/// Keys of a tile that a row sees.
#[derive(Clone, Copy, Default)]
struct Seen {
    start: usize,
    end: usize,
}

impl<T: KvCell> Kernel for Head<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let (head_dim, n_head) = (self.shape.head_dim, self.shape.n_head);
        let at = |r: usize| (r * n_head + self.head) * head_dim;
        // SAFETY: tasks have different rows or heads, and this one uses one part at a time.
        let out = |r: usize| unsafe { self.out.part(at(r), head_dim) };

        let mut running = [Running::START; ROWS];
        self.rows.clone().for_each(|r| out(r).fill(0.0));
        let kv_head = self.head / (n_head / self.shape.n_kv_head);
        let size = KV_BLOCK * head_dim / T::ELEMENTS;
        let positions = self.pos0 + self.rows.start..self.pos0 + self.rows.end;
        let many = self.rows.len() > 1 && rows::fits(head_dim);
        for tile in self.shape.tiles(positions) {
            let k = &self.kv.k_block(tile)[kv_head * size..][..size];
            let v = &self.kv.v_block(tile)[kv_head * size..][..size];
            let seen = |r: usize| self.shape.seen(self.pos0 + r, tile);
            if many {
                let mut seens = [Seen::default(); ROWS];
                for (r, place) in self.rows.clone().zip(&mut seens) {
                    *place = seen(r);
                }
                let q = |i: usize| &self.q[at(self.rows.start + i)..][..head_dim];
                let out = |i: usize| out(self.rows.start + i);
                let seens = &seens[..self.rows.len()];
                rows::attend::<L, T>(self.shape, seens, q, k, v, &mut running, out);
                continue;
            }
            for r in self.rows.clone() {
                let seen = seen(r);
                if seen.start == seen.end {
                    continue;
                }
                let q = &self.q[at(r)..][..head_dim];
                let mut weights = tile::scores::<L, T>(self.shape, q, k, seen);
                let running = &mut running[r - self.rows.start];
                let correction = tile::exponentials::<L>(&mut weights, running);
                tile::add_values::<L, T>(out(r), v, &weights, seen, correction);
            }
        }
        for r in self.rows.clone() {
            let sum = L::splat(running[r - self.rows.start].sum);
            map!(L, out(r), |x| x.div(sum));
        }
    }
}

/// Writes the keys (or values) of one position, `[n_kv_head * head_dim]`, into place `slot` of
/// its block.
///
/// # Panics
/// If `slot` is not below [`KV_BLOCK`], or `src` or `block` has not the length of its shape.
pub fn store_kv<T: KvCell>(
    isa: Isa,
    src: &[f32],
    block: &mut [T],
    slot: usize,
    n_kv_head: usize,
    head_dim: usize,
) {
    assert!(
        slot < KV_BLOCK,
        "slot {slot} of a block of {KV_BLOCK} positions"
    );
    assert_eq!(
        src.len(),
        n_kv_head * head_dim,
        "store_kv: src is n_kv_head * head_dim"
    );
    assert!(
        head_dim.is_multiple_of(T::ELEMENTS),
        "heads are whole cells"
    );
    assert_eq!(
        block.len(),
        KV_BLOCK * n_kv_head * (head_dim / T::ELEMENTS),
        "store_kv: block is KV_BLOCK * n_kv_head * head_dim, in cells"
    );
    dispatch(
        isa,
        Store {
            src,
            block,
            slot,
            head_dim,
        },
    );
}

struct Store<'a, T> {
    src: &'a [f32],
    block: &'a mut [T],
    slot: usize,
    head_dim: usize,
}

impl<T: KvCell> Kernel for Store<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let head_dim = self.head_dim.max(1);
        let cells = head_dim / T::ELEMENTS;
        for (src, head) in self
            .src
            .chunks_exact(head_dim)
            .zip(self.block.chunks_exact_mut(KV_BLOCK * cells))
        {
            T::store(src, &mut head[self.slot * cells..][..cells]);
        }
    }
}
