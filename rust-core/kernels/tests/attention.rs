//! Attention against its definition in f64, and its bits against batches and chunks.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Random, bits};
use dormouse_kernels::{
    AttentionScratch, AttentionShape, Isa, KV_BLOCK, KvElem, KvLayer, Pool, attention, store_kv,
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
fn cache<T: KvElem>(isa: Isa, shape: &AttentionShape, k: &[f32], v: &[f32]) -> Cache<T> {
    let width = shape.n_kv_head * shape.head_dim;
    let blocks = |source: &[f32]| -> Vec<Vec<T>> {
        let mut blocks = Vec::new();
        for (p, row) in source.chunks(width).enumerate() {
            if p % KV_BLOCK == 0 {
                blocks.push(vec![T::from_f32(f32::NAN); KV_BLOCK * width]);
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

fn definition<T: KvElem>(
    shape: &AttentionShape,
    q: &[f32],
    pos0: usize,
    k: &[f32],
    v: &[f32],
) -> Vec<f64> {
    let (d, kv_width) = (shape.head_dim, shape.n_kv_head * shape.head_dim);
    let stored = |x: f32| f64::from(T::from_f32(x).to_f32());
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
                .map(|(q, k)| f64::from(*q) * stored(*k))
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
                .map(|(s, j)| (s - max).exp() * stored(v[at(j) + c]))
                .sum::<f64>()
                / sum
        }));
    }
    out
}

fn check<T: KvElem>(shape: AttentionShape, pos0: usize, rows: usize, seed: u64, spread: f32) {
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
        half in any::<bool>(),
    ) {
        let shape = AttentionShape {
            n_head: n_kv_head * group,
            n_kv_head,
            head_dim,
            scale: 1.0 / (head_dim as f32).sqrt(),
            soft_cap,
            window,
        };
        if half {
            check::<f16>(shape, pos0, rows, seed, 2.0);
        } else {
            check::<f32>(shape, pos0, rows, seed, 2.0);
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
        }
        check::<f32>(shape, 4500, 1, 4, 1.5);
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
