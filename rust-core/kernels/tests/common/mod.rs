//! Weights and inputs for the tests.

// Each test file uses a part of this.
#![allow(dead_code)]

use dormouse_kernels::{Activations, GgmlType, Isa, Matrix, Pool, Precision, Scratch, matmul};
use half::{bf16, f16};

/// A small generator (SplitMix64; Steele et al., 2014): tests need the same numbers on every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    /// Uniform in -1..1.
    pub(crate) fn float(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub(crate) fn floats(&mut self, n: usize, scale: f32) -> Vec<f32> {
        (0..n).map(|_| self.float() * scale).collect()
    }
}

/// What the bytes of test weights look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    Random,
    Zeros,
    /// Every bit of every integer set, largest finite scales.
    Ones,
    /// The most negative integers (for signed ones), scales down to denormal.
    Lowest,
}

pub(crate) const FILLS: [Fill; 4] = [Fill::Random, Fill::Zeros, Fill::Ones, Fill::Lowest];

/// A scale in a block.
#[derive(Clone, Copy)]
enum Scale {
    F16(usize),
    F32(usize),
    /// An exponent of two.
    E8M0(usize),
}

/// Where a block's scales are that are no plain integers.
fn scales(ty: GgmlType) -> &'static [Scale] {
    use Scale::{E8M0, F16, F32};
    match ty {
        GgmlType::Q4_0 | GgmlType::Q5_0 | GgmlType::Q8_0 => &[F16(0)],
        GgmlType::IQ4_NL | GgmlType::IQ4_XS => &[F16(0)],
        GgmlType::Q4_1 | GgmlType::Q5_1 | GgmlType::Q4_K | GgmlType::Q5_K => &[F16(0), F16(2)],
        GgmlType::Q2_K => &[F16(80), F16(82)],
        GgmlType::Q3_K => &[F16(108)],
        GgmlType::Q6_K => &[F16(208)],
        GgmlType::Q8_K => &[F32(0)],
        GgmlType::TQ1_0 => &[F16(52)],
        GgmlType::TQ2_0 => &[F16(64)],
        GgmlType::MXFP4 => &[E8M0(0)],
        GgmlType::F32 | GgmlType::F16 | GgmlType::BF16 => &[],
    }
}

impl Scale {
    fn write(self, random: &mut Random, block: &mut [u8], fill: Fill) {
        let half = match fill {
            Fill::Random => f16::from_f32(random.float() * 0.1),
            Fill::Zeros => f16::ZERO,
            Fill::Ones => f16::MAX,
            Fill::Lowest => f16::from_bits((random.bits() as u16) & 0x83ff),
        };
        match self {
            Scale::F16(at) => block[at..at + 2].copy_from_slice(&half.to_le_bytes()),
            Scale::F32(at) => {
                // All 24 bits of it, which no f16 has.
                let wide = half.to_f32() * (1.0 + random.float() * 0.25);
                block[at..at + 4].copy_from_slice(&wide.to_le_bytes());
            }
            Scale::E8M0(at) => {
                block[at] = match fill {
                    Fill::Random => 118 + random.below(12) as u8,
                    Fill::Zeros => 0,
                    Fill::Ones => 143,
                    Fill::Lowest => random.below(3) as u8,
                }
            }
        }
    }
}

/// `rows` x `cols` weights with finite scales, preceded by `lead` bytes to shift their alignment.
pub(crate) fn weights(
    random: &mut Random,
    ty: GgmlType,
    rows: usize,
    cols: usize,
    fill: Fill,
    lead: usize,
) -> Vec<u8> {
    let blocks = rows * cols / ty.block_len();
    let mut bytes = vec![0xAA; lead];
    for _ in 0..blocks {
        let float = random.float();
        let block: Vec<u8> = match ty {
            GgmlType::F32 => float.to_le_bytes().to_vec(),
            GgmlType::F16 => f16::from_f32(float).to_le_bytes().to_vec(),
            GgmlType::BF16 => bf16::from_f32(float).to_le_bytes().to_vec(),
            _ => (0..ty.block_bytes())
                .map(|_| match fill {
                    Fill::Random => random.bits() as u8,
                    Fill::Zeros => 0,
                    Fill::Ones => 0xff,
                    Fill::Lowest => 0x80,
                })
                .collect(),
        };
        bytes.extend(block);
        let start = bytes.len() - ty.block_bytes();
        for scale in scales(ty) {
            scale.write(random, &mut bytes[start..], fill);
        }
    }
    bytes
}

/// A whole product on one instruction set, with the output rows `gap` elements apart.
#[allow(clippy::too_many_arguments)]
pub(crate) fn product(
    pool: &Pool,
    isa: Isa,
    w: &Matrix<'_>,
    x: &[f32],
    rows: usize,
    precision: Precision,
    gap: usize,
) -> Vec<f32> {
    let mut activations = Activations::new(rows, w.cols());
    activations
        .set_with(pool, isa, x, rows, w.cols(), precision)
        .unwrap();
    let mut scratch = Scratch::new(pool.threads(), w.cols());
    let ldy = w.rows() + gap;
    let mut y = vec![-7.0; rows * ldy];
    matmul(pool, isa, w, &activations, &mut scratch, &mut y, ldy).unwrap();
    for row in y.chunks(ldy) {
        assert!(
            row[w.rows()..].iter().all(|y| *y == -7.0),
            "wrote between the rows"
        );
    }
    y.chunks(ldy)
        .flat_map(|row| row[..w.rows()].to_vec())
        .collect()
}

/// Bits, for comparisons that tell -0 from 0.
pub(crate) fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}
