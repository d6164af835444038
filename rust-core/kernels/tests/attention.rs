//! Attention against its definition in f64, and its bits against batches and chunks.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Random, bits};
use dormouse_kernels::{
    AttentionScratch, AttentionShape, Isa, KV_BLOCK, KvCell, KvLayer, Pool, Q8Cell, attention,
    store_kv,
};
use half::f16;
use proptest::prelude::*;

struct Cache<T> {
    k: Vec<Vec<T>>,
    v: Vec<Vec<T>>,
}

impl<T: Sync> KvLayer<T> for Cache<T> {
    fn k_block(&self, b: usize) -> &[T] {
        &self.k[b]
    }

    fn v_block(&self, b: usize) -> &[T] {
        &self.v[b]
    }
}

/// A cache of the rows of `k` and `v`; places not written are NaN.
fn cache<T: KvCell>(isa: Isa, shape: &AttentionShape, k: &[f32], v: &[f32]) -> Cache<T> {
    let width = shape.n_kv_head * shape.head_dim;
    let blocks = |source: &[f32]| -> Vec<Vec<T>> {
        let mut blocks = Vec::new();
        for (p, row) in source.chunks(width).enumerate() {
            if p % KV_BLOCK == 0 {
                blocks.push(empty::<T>(KV_BLOCK * width));
            }
            let last = blocks.last_mut().unwrap();
            store_kv(
                isa,
                row,
                last,
                p % KV_BLOCK,
                shape.n_kv_head,
                shape.head_dim,
            );
        }
        blocks
    };
    Cache {
        k: blocks(k),
        v: blocks(v),
    }
}

/// Cells of so many elements, all NaN.
fn empty<T: KvCell>(elements: usize) -> Vec<T> {
    let mut cells = vec![T::default(); elements / T::ELEMENTS];
    T::store(&vec![f32::NAN; elements], &mut cells);
    cells
}

/// What is stored of these rows of heads.
fn stored<T: KvCell>(x: &[f32]) -> Vec<f32> {
    let mut cells = vec![T::default(); x.len() / T::ELEMENTS];
    T::store(x, &mut cells);
    (0..x.len()).map(|i| T::get(&cells, i)).collect()
}

fn definition<T: KvCell>(
    shape: &AttentionShape,
    q: &[f32],
    pos0: usize,
    k: &[f32],
    v: &[f32],
) -> Vec<f64> {
    let (d, kv_width) = (shape.head_dim, shape.n_kv_head * shape.head_dim);
    let (k, v) = (stored::<T>(k), stored::<T>(v));
    let mut out = Vec::new();
    for (i, q) in q.chunks(d).enumerate() {
        let (p, head) = (pos0 + i / shape.n_head, i % shape.n_head);
        let first = shape
            .window
            .map_or(0, |window| (p + 1).saturating_sub(window));
        let at = |j: usize| j * kv_width + head / (shape.n_head / shape.n_kv_head) * d;
        let score = |j: usize| {
            let dot: f64 = q
                .iter()
                .zip(&k[at(j)..])
                .map(|(q, k)| f64::from(*q) * f64::from(*k))
                .sum();
            let scaled = dot * f64::from(shape.scale);
            shape.soft_cap.map_or(scaled, |cap| {
                f64::from(cap) * (scaled / f64::from(cap)).tanh()
            })
        };
        let scores: Vec<f64> = (first..=p).map(score).collect();
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|s| (s - max).exp()).sum();
        out.extend((0..d).map(|c| -> f64 {
            scores
                .iter()
                .zip(first..)
                .map(|(s, j)| (s - max).exp() * f64::from(v[at(j) + c]))
                .sum::<f64>()
                / sum
        }));
    }
    out
}

fn check<T: KvCell>(shape: AttentionShape, pos0: usize, rows: usize, seed: u64, spread: f32) {
    let random = &mut Random(seed);
    let width = shape.n_kv_head * shape.head_dim;
    let (k, v) = (
        random.floats((pos0 + rows) * width, spread),
        random.floats((pos0 + rows) * width, 1.0),
    );
    let q = random.floats(rows * shape.n_head * shape.head_dim, spread);
    let expected = definition::<T>(&shape, &q, pos0, &k, &v);
    let mut reference: Option<Vec<u32>> = None;
    for isa in Isa::available() {
        let cache = cache::<T>(isa, &shape, &k, &v);
        for (threads, chunk) in [(2, rows), (1, 1), (3, 7)] {
            let pool = Pool::new(threads);
            let mut out = vec![f32::NAN; q.len()];
            let mut scratch = AttentionScratch::new(shape.n_head);
            let row = shape.n_head * shape.head_dim;
            for (i, (q, out)) in q
                .chunks(chunk * row)
                .zip(out.chunks_mut(chunk * row))
                .enumerate()
            {
                let at = pos0 + i * chunk;
                attention(&pool, isa, &shape, q, at, &cache, &mut scratch, out);
            }
            for (a, b) in out.iter().zip(&expected) {
                assert!(
                    (f64::from(*a) - b).abs() < 2e-5,
                    "{a} {b} {shape:?} at {pos0}"
                );
            }
            let reference = reference.get_or_insert_with(|| bits(&out));
            assert!(
                *reference == bits(&out),
                "{} in chunks of {chunk}: other bits",
                isa.name()
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equals_the_definition(
        seed in any::<u64>(),
        (n_kv_head, group) in (1usize..4, 1usize..4),
        head_dim in prop::sample::select(vec![64usize, 8, 72, 128, 20, 5]),
        (pos0, rows) in (0usize..150, 1usize..40),
        window in prop::option::of(1usize..140),
        soft_cap in prop::option::of(0.5f32..30.0),
        cell in 0..3,
    ) {
        let shape = AttentionShape {
            n_head: n_kv_head * group,
            n_kv_head,
            head_dim,
            scale: 1.0 / (head_dim as f32).sqrt(),
            soft_cap,
            window,
        };
        match cell {
            0 if head_dim.is_multiple_of(Q8Cell::ELEMENTS) => {
                check::<Q8Cell>(shape, pos0, rows, seed, 2.0);
            }
            1 => check::<f16>(shape, pos0, rows, seed, 2.0),
            _ => check::<f32>(shape, pos0, rows, seed, 2.0),
        }
    }
}

#[test]
fn tile_borders() {
    for pos0 in [0, KV_BLOCK - 1, KV_BLOCK, 2 * KV_BLOCK - 2] {
        for window in [
            None,
            Some(1),
            Some(KV_BLOCK - 1),
            Some(KV_BLOCK),
            Some(KV_BLOCK + 1),
        ] {
            let shape = AttentionShape {
                n_head: 2,
                n_kv_head: 1,
                head_dim: 16,
                scale: 0.25,
                soft_cap: None,
                window,
            };
            check::<f32>(shape, pos0, 3, 9, 1.0);
        }
    }
}

/// One row over so many keys that it is decoded in spans, with every number of heads that share a
/// key and with heads that no whole number of registers holds.
#[test]
fn long_contexts() {
    for (n_kv_head, group, head_dim, window) in [
        (1, 1, 32, None),
        (1, 2, 48, None),
        (3, 3, 64, Some(2100)),
        (1, 4, 256, None),
        (2, 5, 80, Some(100)),
        (1, 7, 16, None),
        (1, 17, 112, None),
    ] {
        let shape = AttentionShape {
            n_head: n_kv_head * group,
            n_kv_head,
            head_dim,
            scale: 1.0 / (head_dim as f32).sqrt(),
            soft_cap: None,
            window,
        };
        for pos0 in [2047, 2300] {
            check::<f16>(shape, pos0, 2, 3, 1.5);
            if head_dim.is_multiple_of(Q8Cell::ELEMENTS) {
                check::<Q8Cell>(shape, pos0, 2, 3, 1.5);
            }
        }
        check::<f32>(shape, 4500, 1, 4, 1.5);
    }
}

/// No element is further off than half of what the largest of its 32 is quantized by, with the
/// scale's own rounding; what is no number does not become one.
#[test]
fn quantized_cells() {
    let random = &mut Random(5);
    for spread in [1e-9, 1e-3, 1.0, 1e4] {
        let x = random.floats(64, spread);
        for (x, y) in x.chunks(32).zip(stored::<Q8Cell>(&x).chunks(32)) {
            let max = x.iter().fold(0.0f32, |max, x| max.max(x.abs()));
            let step = max / 127.0;
            // Below, the scale is no normal f16 any more.
            let bound = if step > 6.2e-5 {
                0.57 * step
            } else {
                step.max(4e-6)
            };
            for (x, y) in x.iter().zip(y) {
                assert!((x - y).abs() <= bound, "{x} {y} of {max}");
            }
        }
    }
    assert!(stored::<Q8Cell>(&[0.0; 32]).iter().all(|x| *x == 0.0));
    for odd in [f32::NAN, f32::INFINITY] {
        let mut x = [1.0; 32];
        x[7] = odd;
        let stored = stored::<Q8Cell>(&x);
        assert!(stored[7].is_nan() == odd.is_nan(), "{stored:?}");
        assert!(stored[7] >= 1e6 || odd.is_nan(), "{stored:?}");
    }
}

/// Scores of ±hundreds: the running maximum must keep the exponentials in range.
#[test]
fn large_scores_do_not_overflow() {
    let shape = AttentionShape {
        n_head: 1,
        n_kv_head: 1,
        head_dim: 8,
        scale: 1.0,
        soft_cap: None,
        window: None,
    };
    let random = &mut Random(1);
    let (k, v) = (random.floats(300 * 8, 30.0), random.floats(300 * 8, 1.0));
    let q = random.floats(8, 30.0);
    for isa in Isa::available() {
        let mut out = [0.0; 8];
        attention(
            &Pool::new(1),
            isa,
            &shape,
            &q,
            299,
            &cache::<f32>(isa, &shape, &k, &v),
            &mut AttentionScratch::new(1),
            &mut out,
        );
        let expected = definition::<f32>(&shape, &q, 299, &k, &v);
        for (a, b) in out.iter().zip(expected) {
            assert!((f64::from(*a) - b).abs() < 1e-3, "{a} {b}");
        }
    }
}
