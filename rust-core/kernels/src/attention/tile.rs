//! A tile of keys and values for one query row: decoding. The keys are read as they are stored.

use super::{AttentionShape, KV_BLOCK, KvCell, Running, Seen};
use crate::lanes::Lanes;
use crate::math;

/// The scores of a tile's keys; those of keys not seen are -inf.
#[inline(always)]
pub(super) fn scores<L: Lanes, T: KvCell>(
    shape: &AttentionShape,
    q: &[f32],
    k: &[T],
    seen: Seen,
) -> [f32; KV_BLOCK] {
    let mut scores = [f32::NEG_INFINITY; KV_BLOCK];
    let head_dim = q.len();
    let cells = head_dim / T::ELEMENTS;
    for first in (seen.start / 8 * 8..seen.end).step_by(8) {
        let keys = &k[first * cells..][..8 * cells];
        let dots: L = if head_dim.is_multiple_of(8) {
            products::<L, T>(q, keys)
        } else {
            L::tree_sums(std::array::from_fn(|i| {
                padded_products::<L, T>(q, &keys[i * cells..][..cells])
            }))
        };
        scores[first..first + 8].copy_from_slice(&scaled(shape, dots).to_array());
    }
    scores[..seen.start].fill(f32::NEG_INFINITY);
    scores[seen.end..].fill(f32::NEG_INFINITY);
    scores
}

/// The dot products of a query, whose length is a multiple of eight, and eight keys.
#[inline(always)]
fn products<L: Lanes, T: KvCell>(q: &[f32], keys: &[T]) -> L {
    let mut sums = [L::splat(0.0); 8];
    let cells = q.len() / T::ELEMENTS;
    assert!(keys.len() >= 8 * cells);
    for (i, x) in q.as_chunks::<8>().0.iter().enumerate() {
        let x = L::from_array(*x);
        for (j, sum) in sums.iter_mut().enumerate() {
            // SAFETY: each of the eight keys has as many elements as the query.
            let key: L = unsafe { T::load(keys.as_ptr().add(j * cells), 8 * i) };
            *sum = key.fma(x, *sum);
        }
    }
    L::tree_sums(sums)
}

/// The eight partial sums of a dot product whose tail is padded with zeros.
#[inline(always)]
fn padded_products<L: Lanes, T: KvCell>(q: &[f32], k: &[T]) -> L {
    let mut sum = L::splat(0.0);
    for (i, q) in q.chunks(8).enumerate() {
        sum = load_padded::<L, T>(k, 8 * i, q.len()).fma(L::load_partial(q), sum);
    }
    sum
}

/// `n` elements of a head from the `i`th on, the others 0.
#[inline(always)]
fn load_padded<L: Lanes, T: KvCell>(head: &[T], i: usize, n: usize) -> L {
    let mut padded = [0.0; 8];
    for (j, padded) in padded[..n].iter_mut().enumerate() {
        *padded = T::get(head, i + j);
    }
    L::from_array(padded)
}

/// Scores to weights, relative to the new maximum; returns the factor for what came before.
#[inline(always)]
pub(super) fn exponentials<L: Lanes>(scores: &mut [f32; KV_BLOCK], running: &mut Running) -> f32 {
    let (chunks, _) = scores.as_chunks_mut::<8>();
    let mut max = L::splat(running.max);
    for chunk in chunks.iter() {
        max = max.max(L::from_array(*chunk));
    }
    let max = max
        .to_array()
        .into_iter()
        .fold(f32::NEG_INFINITY, |a, b| if a > b { a } else { b });
    let mut sums = L::splat(0.0);
    for chunk in chunks.iter_mut() {
        let e = math::exp(L::from_array(*chunk).sub(L::splat(max)));
        sums = sums.add(e);
        *chunk = e.to_array();
    }
    let correction = math::exp(L::splat(running.max - max)).to_array()[0];
    running.sum = running.sum.mul_add(correction, sums.tree_sum());
    running.max = max;
    correction
}

/// `out = out * correction + sum of weights[j] * v[j]`, the keys in order.
#[inline(always)]
pub(super) fn add_values<L: Lanes, T: KvCell>(
    out: &mut [f32],
    v: &[T],
    weights: &[f32; KV_BLOCK],
    seen: Seen,
    correction: f32,
) {
    let head_dim = out.len();
    let cells = head_dim / T::ELEMENTS;
    assert!(seen.end <= KV_BLOCK && v.len() >= KV_BLOCK * cells);
    let whole = head_dim / 8 * 8;
    let mut d = 0;
    while d + 64 <= whole {
        add_columns::<L, T, 8>(out, v, weights, seen, correction, d);
        d += 64;
    }
    while d < whole {
        add_columns::<L, T, 1>(out, v, weights, seen, correction, d);
        d += 8;
    }
    if whole < head_dim {
        let mut acc = L::load_partial(&out[whole..]).mul(L::splat(correction));
        for j in seen.start..seen.end {
            let v = load_padded::<L, T>(&v[j * cells..][..cells], whole, head_dim - whole);
            acc = L::splat(weights[j]).fma(v, acc);
        }
        out[whole..].copy_from_slice(&acc.to_array()[..head_dim - whole]);
    }
}

/// [`add_values`] for the `8 * N` elements from `d` on.
#[inline(always)]
fn add_columns<L: Lanes, T: KvCell, const N: usize>(
    out: &mut [f32],
    v: &[T],
    weights: &[f32; KV_BLOCK],
    seen: Seen,
    correction: f32,
    d: usize,
) {
    let head_dim = out.len();
    let cells = head_dim / T::ELEMENTS;
    let chunks = out[d..][..8 * N].as_chunks_mut::<8>().0;
    let mut acc: [L; N] =
        std::array::from_fn(|i| L::from_array(chunks[i]).mul(L::splat(correction)));
    for j in seen.start..seen.end {
        let weight = L::splat(weights[j]);
        let row = v[j * cells..][..cells].as_ptr();
        for (i, acc) in acc.iter_mut().enumerate() {
            // SAFETY: the head just taken has `8 * N` elements from `d` on, as `out` has.
            let v: L = unsafe { T::load(row, d + 8 * i) };
            *acc = weight.fma(v, *acc);
        }
    }
    for (chunk, acc) in chunks.iter_mut().zip(acc) {
        *chunk = acc.to_array();
    }
}

/// Dot products as scores.
#[inline(always)]
pub(super) fn scaled<L: Lanes>(shape: &AttentionShape, dots: L) -> L {
    let scaled = dots.mul(L::splat(shape.scale));
    match shape.soft_cap {
        Some(cap) => math::tanh(scaled.div(L::splat(cap))).mul(L::splat(cap)),
        None => scaled,
    }
}
