//! A tile of keys and values for several query rows: prefill. Eight keys at a time are converted to
//! f32 once for all rows; each row's operations and their order are those of [`super::tile`].

// Registers in arrays go by the row that they belong to.
#![allow(clippy::needless_range_loop)]

use std::mem::MaybeUninit;

use super::{AttentionShape, KV_BLOCK, KvCell, ROWS, Running, Seen, tile};
use crate::float::{Element, dot8};
use crate::lanes::{Lanes, Pair};
use crate::prefetch::prefetch_all;

/// Keys, or values, that are converted at a time.
const KEYS: usize = 8;

/// The largest head for whose keys there is room.
const MAX_DIM: usize = 512;

/// Whether heads of this size can be attended to here.
pub(super) fn fits(head_dim: usize) -> bool {
    head_dim.is_multiple_of(8) && head_dim <= MAX_DIM
}

/// Eight keys or values in f32.
struct Keys {
    room: [MaybeUninit<f32>; KEYS * MAX_DIM],
}

impl Keys {
    #[inline(always)]
    fn new() -> Self {
        Keys {
            room: [const { MaybeUninit::uninit() }; KEYS * MAX_DIM],
        }
    }

    /// Eight keys of `head_dim` elements as f32: themselves, or converted.
    #[inline(always)]
    fn of<'a, L: Lanes, T: KvCell>(&'a mut self, stored: &'a [T]) -> &'a [f32] {
        let len = stored.len() * T::ELEMENTS;
        assert!(len <= self.room.len() && len.is_multiple_of(16));
        if let Some(stored) = T::as_floats(stored) {
            return stored;
        }
        for i in (0..len).step_by(16) {
            // SAFETY: sixteen elements follow in both.
            unsafe {
                let out = self.room.as_mut_ptr().add(i).cast();
                T::load_pair::<L>(stored.as_ptr(), i).store(out, out.add(8));
            }
        }
        // SAFETY: the loop has written that many.
        unsafe { std::slice::from_raw_parts(self.room.as_ptr().cast(), len) }
    }
}

/// Whether a row sees any of the eight keys from `first` on.
#[inline(always)]
fn sees(seen: &Seen, first: usize) -> bool {
    seen.start < first + KEYS && seen.end > first
}

/// One tile for the rows whose keys `seen` tells: `q` and `out` give a row's elements.
#[inline(always)]
pub(super) fn attend<'a, L: Lanes, T: KvCell>(
    shape: &AttentionShape,
    seen: &[Seen],
    q: impl Fn(usize) -> &'a [f32],
    k: &[T],
    v: &[T],
    running: &mut [Running; ROWS],
    out: impl Fn(usize) -> &'a mut [f32],
) {
    let mut weights = [[f32::NEG_INFINITY; KV_BLOCK]; ROWS];
    let mut corrections = [1.0f32; ROWS];
    scores::<L, T>(shape, seen, q, k, v.as_ptr(), &mut weights);
    for (i, seen) in seen.iter().enumerate() {
        if seen.start < seen.end {
            corrections[i] = tile::exponentials::<L>(&mut weights[i], &mut running[i]);
        }
    }
    values::<L, T>(shape, seen, v, &weights, corrections, out);
}

/// The scores of a tile's keys; those of keys that a row does not see are -inf. Meanwhile as many
/// keys from `next` on are fetched.
#[inline(always)]
pub(super) fn scores<'a, L: Lanes, T: KvCell>(
    shape: &AttentionShape,
    seen: &[Seen],
    q: impl Fn(usize) -> &'a [f32],
    k: &[T],
    next: *const T,
    weights: &mut [[f32; KV_BLOCK]],
) {
    assert!(seen.len() <= weights.len());
    let size = KEYS * shape.head_dim / T::ELEMENTS;
    let mut keys = Keys::new();
    for first in (0..KV_BLOCK).step_by(KEYS) {
        if !seen.iter().any(|seen| sees(seen, first)) {
            continue;
        }
        prefetch_all(next.wrapping_add(first / KEYS * size), size);
        let keys = keys.of::<L, T>(&k[first / KEYS * size..][..size]);
        let rows = std::array::from_fn(|i| keys[i * shape.head_dim..].as_ptr());
        let mut i = 0;
        while i < seen.len() {
            let two = i + 1 < seen.len() && sees(&seen[i], first) && sees(&seen[i + 1], first);
            let at = first..first + KEYS;
            if two && L::Pair::WIDE {
                // SAFETY: each key has `head_dim` elements, a multiple of eight, as the queries have.
                let dots = unsafe { dots::<L>(rows, [q(i), q(i + 1)]) };
                weights[i][at.clone()].copy_from_slice(&tile::scaled(shape, dots[0]).to_array());
                weights[i + 1][at].copy_from_slice(&tile::scaled(shape, dots[1]).to_array());
                i += 2;
                continue;
            }
            if sees(&seen[i], first) {
                let rows = rows.map(<*const f32>::cast);
                // SAFETY: as above.
                let dots: L = unsafe { dot8(rows, Element::F32, q(i)) };
                weights[i][at].copy_from_slice(&tile::scaled(shape, dots).to_array());
            }
            i += 1;
        }
    }
    for (seen, weights) in seen.iter().zip(weights) {
        weights[..seen.start].fill(f32::NEG_INFINITY);
        weights[seen.end..].fill(f32::NEG_INFINITY);
    }
}

/// `out = out * correction + sum of weights[j] * v[j]` for each row, the keys in order.
#[inline(always)]
fn values<'a, L: Lanes, T: KvCell>(
    shape: &AttentionShape,
    seen: &[Seen],
    v: &[T],
    weights: &[[f32; KV_BLOCK]; ROWS],
    mut corrections: [f32; ROWS],
    out: impl Fn(usize) -> &'a mut [f32],
) {
    let size = KEYS * shape.head_dim / T::ELEMENTS;
    let mut keys = Keys::new();
    for first in (0..KV_BLOCK).step_by(KEYS) {
        if !seen.iter().any(|seen| sees(seen, first)) {
            continue;
        }
        let values = keys.of::<L, T>(&v[first / KEYS * size..][..size]);
        let here = |i: usize| seen[i].start.max(first)..seen[i].end.min(first + KEYS);
        let mut i = 0;
        while i < seen.len() {
            if !sees(&seen[i], first) {
                i += 1;
                continue;
            }
            let keys = here(i);
            let values = &values[(keys.start - first) * shape.head_dim..];
            if i + 1 < seen.len() && keys == here(i + 1) {
                let weights = [&weights[i][keys.clone()], &weights[i + 1][keys]];
                let corrections = [corrections[i], corrections[i + 1]];
                add::<L, 2>([out(i), out(i + 1)], values, weights, corrections);
                i += 2;
            } else {
                add::<L, 1>([out(i)], values, [&weights[i][keys]], [corrections[i]]);
                i += 1;
            }
        }
        // Once for each row and tile.
        for (seen, correction) in seen.iter().zip(&mut corrections) {
            if sees(seen, first) {
                *correction = 1.0;
            }
        }
    }
}

/// The dot products of eight keys with two queries.
///
/// # Safety
/// Each of `keys` points to as many elements as the queries have, a multiple of eight.
#[inline(always)]
unsafe fn dots<L: Lanes>(keys: [*const f32; KEYS], queries: [&[f32]; 2]) -> [L; 2] {
    let mut sums = [L::Pair::splat(0.0); KEYS];
    let len = queries[0].len().min(queries[1].len());
    for at in (0..len).step_by(8) {
        // SAFETY: eight elements follow in each query and each key.
        unsafe {
            let x = L::Pair::load(queries[0].as_ptr().add(at), queries[1].as_ptr().add(at));
            for i in 0..KEYS {
                sums[i] = L::Pair::load_twice(keys[i].add(at)).fma(x, sums[i]);
            }
        }
    }
    L::Pair::tree_sums(sums)
}

/// `out = out * correction + sum of weights[j] * values[j]` for `R` rows, the values in order. A
/// correction of 1 changes no bits.
#[inline(always)]
fn add<L: Lanes, const R: usize>(
    mut out: [&mut [f32]; R],
    values: &[f32],
    weights: [&[f32]; R],
    corrections: [f32; R],
) {
    let head_dim = out[0].len();
    let mut d = 0;
    if L::Pair::WIDE {
        while d + 64 <= head_dim {
            add_columns::<L, R, 4>(&mut out, values, weights, corrections, d);
            d += 64;
        }
    }
    while d + 32 <= head_dim {
        add_columns::<L, R, 2>(&mut out, values, weights, corrections, d);
        d += 32;
    }
    while d + 16 <= head_dim {
        add_columns::<L, R, 1>(&mut out, values, weights, corrections, d);
        d += 16;
    }
    if d < head_dim {
        for r in 0..R {
            let mut acc = L::load_partial(&out[r][d..]).mul(L::splat(corrections[r]));
            for (j, weight) in weights[r].iter().enumerate() {
                let value = L::load_partial(&values[j * head_dim + d..][..8]);
                acc = L::splat(*weight).fma(value, acc);
            }
            out[r][d..].copy_from_slice(&acc.to_array());
        }
    }
}

/// [`add`] for the `16 * N` elements from `d` on.
#[inline(always)]
fn add_columns<L: Lanes, const R: usize, const N: usize>(
    out: &mut [&mut [f32]; R],
    values: &[f32],
    weights: [&[f32]; R],
    corrections: [f32; R],
    d: usize,
) {
    let head_dim = out[0].len();
    let keys = weights[0].len();
    assert!(weights.iter().all(|weights| weights.len() == keys));
    assert!(out.iter().all(|out| out.len() == head_dim) && d + 16 * N <= head_dim);
    assert!(values.len() >= keys * head_dim);
    // SAFETY: `d + 16 * N` elements are in each row of `out` and in each of `keys` values.
    unsafe {
        let mut acc = [[L::Pair::splat(0.0); N]; R];
        for r in 0..R {
            for i in 0..N {
                let p = out[r].as_ptr().add(d + 16 * i);
                let correction = L::Pair::splat(corrections[r]);
                acc[r][i] = L::Pair::load(p, p.add(8)).mul(correction);
            }
        }
        for j in 0..keys {
            let mut row = [L::Pair::splat(0.0); N];
            for i in 0..N {
                let p = values.as_ptr().add(j * head_dim + d + 16 * i);
                row[i] = L::Pair::load(p, p.add(8));
            }
            for r in 0..R {
                let weight = L::Pair::splat(*weights[r].get_unchecked(j));
                for i in 0..N {
                    acc[r][i] = weight.fma(row[i], acc[r][i]);
                }
            }
        }
        for r in 0..R {
            for i in 0..N {
                let p = out[r].as_mut_ptr().add(d + 16 * i);
                acc[r][i].store(p, p.add(8));
            }
        }
    }
}
