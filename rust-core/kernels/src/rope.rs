//! Rotary position embedding (Su et al., 2021).
//!
//! Pair `i` of a head's first `rot_dims` elements is turned by the angle
//! `position * base^(-2i / rot_dims) * freq_scale / freq_factors[i]`, and stretched by `magnitude`.
//! Angles, sines and cosines are formed in f64 and rounded once.

use crate::isa::Isa;
use crate::lanes::{Kernel, Lanes, dispatch};
use crate::pool::Pool;
use crate::tasks::split;

/// Which elements of a head form a pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RopeStyle {
    /// Neighbours, `2i` and `2i + 1`: llama files.
    Normal,
    /// The halves, `i` and `i + rot_dims / 2`: Gemma, Qwen.
    Neox,
}

/// The rotation of one kind of layer: style and frequencies.
#[derive(Clone, Debug)]
pub struct Rope {
    style: RopeStyle,
    frequencies: Vec<f64>,
    magnitude: f64,
}

/// Sines and cosines of a batch's positions, computed once and shared by the layers.
#[derive(Debug)]
pub struct RopeTable {
    /// For each row `rot_dims` cosines, then `rot_dims` sines, as [`Rope::angles`] lays them out.
    values: Vec<f32>,
    rows: usize,
    rot_dims: usize,
    max_values: usize,
}

impl RopeTable {
    /// Room for `max_rows` positions of at most `max_rot_dims` rotated elements.
    pub fn new(max_rows: usize, max_rot_dims: usize) -> Self {
        let max_values = 2 * max_rows * max_rot_dims;
        RopeTable {
            values: vec![0.0; max_values],
            rows: 0,
            rot_dims: 0,
            max_values,
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.values[..])
    }

    /// Fills the table for `positions`, one for each row of the batch. Does not allocate.
    ///
    /// # Panics
    /// If there are more positions or rotated elements than the table has room for.
    pub fn set(&mut self, pool: &Pool, rope: &Rope, positions: &[u32]) {
        let n = rope.rot_dims();
        assert!(
            2 * n * positions.len() <= self.max_values,
            "rope table is too small"
        );
        (self.rows, self.rot_dims) = (positions.len(), n);
        if n == 0 {
            return;
        }
        // A sine and a cosine cost about as much as 32 multiplications.
        split(
            pool,
            &mut self.values[..2 * n * positions.len()],
            2 * n,
            16,
            |start, part| {
                let first = start / (2 * n);
                for (row, position) in part.chunks_exact_mut(2 * n).zip(&positions[first..]) {
                    let (cos, sin) = row.split_at_mut(n);
                    rope.angles(*position, 0, cos, sin);
                }
            },
        );
    }
}

impl Rope {
    /// A rotation of the first `rot_dims` elements of each head (the rest stays as it is).
    ///
    /// `freq_scale` is 1 / the linear scaling factor; `freq_factors`, one for each pair, divide
    /// the frequencies (Llama 3's long-context scaling).
    ///
    /// # Panics
    /// If `rot_dims` is odd or `freq_factors` has not one element for each pair.
    pub fn new(
        style: RopeStyle,
        rot_dims: usize,
        base: f32,
        freq_scale: f32,
        freq_factors: Option<&[f32]>,
    ) -> Rope {
        assert!(rot_dims.is_multiple_of(2), "rope rotates pairs");
        let pairs = rot_dims / 2;
        assert!(
            freq_factors.is_none_or(|f| f.len() == pairs),
            "a frequency factor for each pair"
        );
        let frequency = |i: usize| {
            let plain = f64::from(base).powf(-2.0 * i as f64 / rot_dims as f64);
            let factor = freq_factors.map_or(1.0, |factors| f64::from(factors[i]));
            plain * f64::from(freq_scale) / factor
        };
        Rope {
            style,
            frequencies: (0..pairs).map(frequency).collect(),
            magnitude: 1.0,
        }
    }

    /// The same rotation, which also multiplies what it rotates (YaRN and LongRoPE).
    pub fn with_magnitude(self, magnitude: f32) -> Rope {
        Rope {
            magnitude: f64::from(magnitude),
            ..self
        }
    }

    /// Number of elements of a head that are rotated.
    pub fn rot_dims(&self) -> usize {
        2 * self.frequencies.len()
    }

    /// Rotates the heads of each row of `x` (`[rows][heads][head_dim]`) by its position.
    ///
    /// # Panics
    /// If `x` or `positions` does not have the length of the shape, or `head_dim` is less than
    /// the rotated elements.
    #[allow(clippy::too_many_arguments)]
    pub fn apply(
        &self,
        pool: &Pool,
        isa: Isa,
        x: &mut [f32],
        rows: usize,
        heads: usize,
        head_dim: usize,
        positions: &[u32],
    ) {
        assert_eq!(
            x.len(),
            rows * heads * head_dim,
            "rope: x is rows * heads * head_dim"
        );
        assert_eq!(positions.len(), rows, "rope: a position for each row");
        assert!(
            self.rot_dims() <= head_dim,
            "rope: head_dim is less than the rotated elements"
        );
        const PAIRS: usize = 32;
        let width = heads * head_dim;
        split(pool, x, width, 4, |start, x| {
            let (mut cos, mut sin) = ([0.0; 2 * PAIRS], [0.0; 2 * PAIRS]);
            for (r, x) in x.chunks_exact_mut(width).enumerate() {
                let position = positions[start / width + r];
                for first in (0..self.frequencies.len()).step_by(PAIRS) {
                    let n = 2 * PAIRS.min(self.frequencies.len() - first);
                    self.angles(position, first, &mut cos[..n], &mut sin[..n]);
                    dispatch(
                        isa,
                        Rotate {
                            rope: self,
                            x,
                            head_dim,
                            first,
                            cos: &cos[..n],
                            sin: &sin[..n],
                        },
                    );
                }
            }
        });
    }

    /// Like [`apply`](Self::apply), with the positions' sines and cosines from `table`; the same
    /// bits.
    ///
    /// # Panics
    /// If `table` was not set for this many rows of this many rotated elements, or as `apply`.
    #[allow(clippy::too_many_arguments)]
    pub fn apply_table(
        &self,
        pool: &Pool,
        isa: Isa,
        x: &mut [f32],
        rows: usize,
        heads: usize,
        head_dim: usize,
        table: &RopeTable,
    ) {
        let n = self.rot_dims();
        assert_eq!(
            x.len(),
            rows * heads * head_dim,
            "rope: x is rows * heads * head_dim"
        );
        assert!(
            table.rows == rows && table.rot_dims == n,
            "rope: the table is of another shape"
        );
        assert!(
            n <= head_dim,
            "rope: head_dim is less than the rotated elements"
        );
        if n == 0 {
            return;
        }
        let width = heads * head_dim;
        split(pool, x, width, 2, |start, x| {
            let first = start / width;
            let rows = table.values[first * 2 * n..].chunks_exact(2 * n);
            for (x, row) in x.chunks_exact_mut(width).zip(rows) {
                let (cos, sin) = row.split_at(n);
                dispatch(
                    isa,
                    Rotate {
                        rope: self,
                        x,
                        head_dim,
                        first: 0,
                        cos,
                        sin,
                    },
                );
            }
        });
    }

    /// Cosines and sines of the pairs from `first` on; `cos` and `sin` have two places a pair.
    ///
    /// Normal: each value twice, the sine first negated, as the neighbours need it. Neox: the
    /// values in the first half of the places; the second stays unused.
    fn angles(&self, position: u32, first: usize, cos: &mut [f32], sin: &mut [f32]) {
        let pairs = cos.len() / 2;
        for (i, frequency) in self.frequencies[first..][..pairs].iter().enumerate() {
            let (s, c) = (f64::from(position) * frequency).sin_cos();
            let (s, c) = ((s * self.magnitude) as f32, (c * self.magnitude) as f32);
            match self.style {
                RopeStyle::Normal => {
                    (cos[2 * i], cos[2 * i + 1]) = (c, c);
                    (sin[2 * i], sin[2 * i + 1]) = (-s, s);
                }
                RopeStyle::Neox => (cos[i], sin[i]) = (c, s),
            }
        }
    }
}

/// Rotates the pairs from `first` on of every head of one row.
struct Rotate<'a> {
    rope: &'a Rope,
    x: &'a mut [f32],
    head_dim: usize,
    first: usize,
    cos: &'a [f32],
    sin: &'a [f32],
}

impl Kernel for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let n = self.cos.len();
        let half = n / 2;
        for head in self.x.chunks_exact_mut(self.head_dim) {
            match self.rope.style {
                RopeStyle::Normal => {
                    let x = &mut head[2 * self.first..][..n];
                    rotate_neighbours::<L>(x, self.cos, self.sin);
                }
                RopeStyle::Neox => {
                    let (low, high) = head.split_at_mut(self.rope.frequencies.len());
                    let (low, high) = (
                        &mut low[self.first..][..half],
                        &mut high[self.first..][..half],
                    );
                    rotate_halves::<L>(low, high, &self.cos[..half], &self.sin[..half]);
                }
            }
        }
    }
}

#[inline(always)]
fn rotate_neighbours<L: Lanes>(x: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (cos_chunks, cos_tail) = cos.as_chunks::<8>();
    let (sin_chunks, sin_tail) = sin.as_chunks::<8>();
    let (chunks, tail) = x.as_chunks_mut::<8>();
    let rotate = |x: L, cos: L, sin: L| x.fma(cos, x.swap_pairs().mul(sin));
    for ((x, cos), sin) in chunks.iter_mut().zip(cos_chunks).zip(sin_chunks) {
        *x = rotate(L::from_array(*x), L::from_array(*cos), L::from_array(*sin)).to_array();
    }
    let padded = rotate(
        L::load_partial(tail),
        L::load_partial(cos_tail),
        L::load_partial(sin_tail),
    );
    tail.copy_from_slice(&padded.to_array()[..tail.len()]);
}

#[inline(always)]
fn rotate_halves<L: Lanes>(low: &mut [f32], high: &mut [f32], cos: &[f32], sin: &[f32]) {
    let rotate = |low: L, high: L, cos: L, sin: L| {
        let minus_sin = L::splat(0.0).sub(sin);
        (
            low.fma(cos, high.mul(minus_sin)),
            high.fma(cos, low.mul(sin)),
        )
    };
    let (low, low_tail) = low.as_chunks_mut::<8>();
    let (high, high_tail) = high.as_chunks_mut::<8>();
    let (cos, cos_tail) = cos.as_chunks::<8>();
    let (sin, sin_tail) = sin.as_chunks::<8>();
    for (((low, high), cos), sin) in low.iter_mut().zip(high).zip(cos).zip(sin) {
        let (cos, sin) = (L::from_array(*cos), L::from_array(*sin));
        let (x, y) = rotate(L::from_array(*low), L::from_array(*high), cos, sin);
        (*low, *high) = (x.to_array(), y.to_array());
    }
    let (cos, sin) = (L::load_partial(cos_tail), L::load_partial(sin_tail));
    let (x, y) = rotate(
        L::load_partial(low_tail),
        L::load_partial(high_tail),
        cos,
        sin,
    );
    store_partial::<L>(low_tail, x);
    store_partial::<L>(high_tail, y);
}

#[inline(always)]
fn store_partial<L: Lanes>(out: &mut [f32], values: L) {
    out.copy_from_slice(&values.to_array()[..out.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotate_f64(
        style: RopeStyle,
        x: &[f32],
        rot_dims: usize,
        base: f64,
        position: f64,
    ) -> Vec<f64> {
        let mut y: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
        for i in 0..rot_dims / 2 {
            let (a, b) = match style {
                RopeStyle::Normal => (2 * i, 2 * i + 1),
                RopeStyle::Neox => (i, i + rot_dims / 2),
            };
            let (s, c) = (position * base.powf(-2.0 * i as f64 / rot_dims as f64)).sin_cos();
            (y[a], y[b]) = (
                f64::from(x[a]) * c - f64::from(x[b]) * s,
                f64::from(x[a]) * s + f64::from(x[b]) * c,
            );
        }
        y
    }

    #[test]
    fn rotations_agree_with_the_definition_on_every_isa() {
        let pool = Pool::new(2);
        for style in [RopeStyle::Normal, RopeStyle::Neox] {
            for (head_dim, rot_dims) in [(64, 64), (80, 80), (256, 256), (24, 12), (10, 6)] {
                let (rows, heads) = (5, 3);
                let x: Vec<f32> = (0..rows * heads * head_dim)
                    .map(|i| (i as f32 * 0.37).sin())
                    .collect();
                let positions = [0, 1, 77, 4095, 131_071];
                let rope = Rope::new(style, rot_dims, 10000.0, 1.0, None);
                let mut table = RopeTable::new(rows, head_dim);
                table.set(&pool, &rope, &positions);
                let mut results = Vec::new();
                for isa in Isa::available() {
                    let mut y = x.clone();
                    rope.apply(&pool, isa, &mut y, rows, heads, head_dim, &positions);
                    results.push(y);
                    let mut y = x.clone();
                    rope.apply_table(&pool, isa, &mut y, rows, heads, head_dim, &table);
                    results.push(y);
                }
                assert!(results.iter().all(|result| *result == results[0]));
                for (h, head) in results[0].chunks(head_dim).enumerate() {
                    let source = &x[h * head_dim..][..head_dim];
                    let position = f64::from(positions[h / heads]);
                    let expected = rotate_f64(style, source, rot_dims, 10000.0, position);
                    for (a, b) in head.iter().zip(&expected) {
                        assert!((f64::from(*a) - b).abs() < 3e-7, "{a} {b}");
                    }
                }
            }
        }
    }

    #[test]
    fn magnitude_stretches_what_is_rotated() {
        let pool = Pool::new(1);
        for style in [RopeStyle::Normal, RopeStyle::Neox] {
            let rope = Rope::new(style, 4, 10000.0, 1.0, None);
            let mut plain = [1.0, 2.0, 3.0, 4.0, 5.0];
            let mut stretched = plain;
            rope.apply(&pool, Isa::Scalar, &mut plain, 1, 1, 5, &[9]);
            let rope = rope.with_magnitude(0.5);
            rope.apply(&pool, Isa::Scalar, &mut stretched, 1, 1, 5, &[9]);
            for (a, b) in plain[..4].iter().zip(&stretched) {
                assert!((0.5 * a - b).abs() < 1e-6);
            }
            // What is not rotated stays.
            assert_eq!(stretched[4], 5.0);
        }
    }

    #[test]
    fn factors_and_scale_change_the_angle() {
        let pool = Pool::new(1);
        let rope = Rope::new(RopeStyle::Neox, 4, 10000.0, 0.5, Some(&[2.0, 1.0]));
        let mut x = [1.0, 1.0, 0.0, 0.0];
        rope.apply(&pool, Isa::Scalar, &mut x, 1, 1, 4, &[8]);
        let angles = [8.0f32 * 0.5 / 2.0, 8.0 * 0.5 / 100.0];
        assert!((x[0] - angles[0].cos()).abs() < 1e-6 && (x[2] - angles[0].sin()).abs() < 1e-6);
        assert!((x[1] - angles[1].cos()).abs() < 1e-6 && (x[3] - angles[1].sin()).abs() < 1e-6);
    }
}
