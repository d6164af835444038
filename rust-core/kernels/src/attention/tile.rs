//! A tile of keys and values for one query row: decoding. The keys are read as they are stored.

use super::{AttentionShape, KV_BLOCK, KvElem, Running, Seen};
use crate::float::{Element, dot8};
use crate::lanes::Lanes;
use crate::math;

/// The scores of a tile's keys; those of keys not seen are -inf.
#[inline(always)]
pub(super) fn scores<L: Lanes, T: KvElem>(
    shape: &AttentionShape,
    q: &[f32],
    k: &[T],
    seen: Seen,
) -> [f32; KV_BLOCK] {
    let mut scores = [f32::NEG_INFINITY; KV_BLOCK];
    let head_dim = q.len();
    let element = if T::F16 { Element::F16 } else { Element::F32 };
    for first in (seen.start / 8 * 8..seen.end).step_by(8) {
        let keys = &k[first * head_dim..][..8 * head_dim];
        let dots: L = if head_dim.is_multiple_of(8) {
            let rows = std::array::from_fn(|i| keys[i * head_dim..].as_ptr().cast());
            // SAFETY: each row holds `head_dim` elements of type `T`, and `q` as many.
            unsafe { dot8(rows, element, q) }
        } else {
            L::tree_sums(std::array::from_fn(|i| {
                padded_products::<L, T>(q, &keys[i * head_dim..][..head_dim])
            }))
        };
        scores[first..first + 8].copy_from_slice(&scaled(shape, dots).to_array());
    }
    scores[..seen.start].fill(f32::NEG_INFINITY);
    scores[seen.end..].fill(f32::NEG_INFINITY);
    scores
}

/// The eight partial sums of a dot product whose tail is padded with zeros.
#[inline(always)]
fn padded_products<L: Lanes, T: KvElem>(q: &[f32], k: &[T]) -> L {
    let mut sum = L::splat(0.0);
    for (q, k) in q.chunks(8).zip(k.chunks(8)) {
        sum = load_padded::<L, T>(k).fma(L::load_partial(q), sum);
    }
    sum
}

#[inline(always)]
fn load_padded<L: Lanes, T: KvElem>(x: &[T]) -> L {
    let mut padded = [0.0; 8];
    for (padded, x) in padded.iter_mut().zip(x) {
        *padded = x.to_f32();
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
pub(super) fn add_values<L: Lanes, T: KvElem>(
    out: &mut [f32],
    v: &[T],
    weights: &[f32; KV_BLOCK],
    seen: Seen,
    correction: f32,
) {
    let head_dim = out.len();
    assert!(seen.end <= KV_BLOCK && v.len() >= KV_BLOCK * head_dim);
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
            let v = load_padded::<L, T>(&v[j * head_dim + whole..(j + 1) * head_dim]);
            acc = L::splat(weights[j]).fma(v, acc);
        }
        out[whole..].copy_from_slice(&acc.to_array()[..head_dim - whole]);
    }
}

/// [`add_values`] for the `8 * N` elements from `d` on.
#[inline(always)]
fn add_columns<L: Lanes, T: KvElem, const N: usize>(
    out: &mut [f32],
    v: &[T],
    weights: &[f32; KV_BLOCK],
    seen: Seen,
    correction: f32,
    d: usize,
) {
    let head_dim = out.len();
    let element = if T::F16 { Element::F16 } else { Element::F32 };
    let chunks = out[d..][..8 * N].as_chunks_mut::<8>().0;
    let mut acc: [L; N] =
        std::array::from_fn(|i| L::from_array(chunks[i]).mul(L::splat(correction)));
    for j in seen.start..seen.end {
        let weight = L::splat(weights[j]);
        let row = v[j * head_dim + d..][..8 * N].as_ptr();
        for (i, acc) in acc.iter_mut().enumerate() {
            // SAFETY: the slice just taken holds `8 * N` elements of type `T`.
            let v: L = unsafe { element.load(row.add(8 * i).cast()) };
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
