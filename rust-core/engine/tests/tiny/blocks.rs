//! Quantizes weights to the types that candle cannot: simple and good enough for random models.
#![allow(dead_code)]

use dormouse::model::GgmlType;
use half::f16;

/// The values of IQ4_NL.
const IQ4: [f32; 16] = [
    -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0,
    89.0, 113.0,
];

/// The values of MXFP4.
const E2M1: [f32; 16] = [
    0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0,
];

/// Blocks of `ty`, of which `values` are a whole number.
pub(crate) fn blocks(values: &[f32], ty: GgmlType) -> Vec<u8> {
    let encode: fn(&[f32], &mut Vec<u8>) = match ty {
        GgmlType::IQ4_NL => iq4_nl,
        GgmlType::IQ4_XS => iq4_xs,
        GgmlType::MXFP4 => mxfp4,
        GgmlType::TQ1_0 => tq1_0,
        GgmlType::TQ2_0 => tq2_0,
        other => panic!("{} has no encoder here", other.name()),
    };
    let mut out = Vec::new();
    for block in values.chunks_exact(ty.block_len()) {
        encode(block, &mut out);
    }
    assert_eq!(out.len(), values.len() / ty.block_len() * ty.block_bytes());
    out
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |max, value| max.max(value.abs()))
}

/// The table's index whose value is nearest to `x`.
fn nearest(table: &[f32; 16], x: f32) -> u8 {
    let distance = |i: &u8| (table[usize::from(*i)] - x).abs();
    (0..16)
        .min_by(|a, b| distance(a).total_cmp(&distance(b)))
        .unwrap_or(0)
}

/// 32 indices as the nibbles of 16 bytes.
fn pack(values: &[f32], table: &[f32; 16], scale: f32, out: &mut Vec<u8>) {
    let index = |i: usize| match scale {
        0.0 => nearest(table, 0.0),
        _ => nearest(table, values[i] / scale),
    };
    out.extend((0..16).map(|i| index(i) | index(i + 16) << 4));
}

fn iq4_nl(block: &[f32], out: &mut Vec<u8>) {
    let d = f16::from_f32(largest(block) / 120.0);
    out.extend(d.to_le_bytes());
    pack(block, &IQ4, d.to_f32(), out);
}

fn iq4_xs(block: &[f32], out: &mut Vec<u8>) {
    let d = f16::from_f32(largest(block) / 120.0 / 31.0);
    let scales: Vec<u16> = block
        .chunks_exact(32)
        .map(|group| match d.to_f32() {
            0.0 => 32,
            d => (largest(group) / 120.0 / d).round().clamp(-32.0, 31.0) as u16 + 32,
        })
        .collect();
    out.extend(d.to_le_bytes());
    let high = (0..8).fold(0, |high, g| high | (scales[g] >> 4) << (2 * g));
    out.extend(u16::to_le_bytes(high));
    out.extend(
        scales
            .chunks_exact(2)
            .map(|two| (two[0] & 15 | (two[1] & 15) << 4) as u8),
    );
    for (group, scale) in block.chunks_exact(32).zip(scales) {
        pack(group, &IQ4, d.to_f32() * (f32::from(scale) - 32.0), out);
    }
}

fn mxfp4(block: &[f32], out: &mut Vec<u8>) {
    let exponent = match largest(block) {
        0.0 => -127,
        // The largest value is 6, a little over 2^2.
        max => (max.log2().floor() as i32 - 2).clamp(-127, 127),
    };
    out.push((exponent + 127) as u8);
    pack(block, &E2M1, 2f32.powi(exponent), out);
}

/// -1, 0 and 1 as 0, 1 and 2, and what 1 stands for.
fn ternary(block: &[f32]) -> (f16, Vec<u8>) {
    let d = f16::from_f32(largest(block));
    let digit = |value: &f32| match d.to_f32() {
        0.0 => 1,
        d => ((value / d).round() + 1.0) as u8,
    };
    (d, block.iter().map(digit).collect())
}

fn tq1_0(block: &[f32], out: &mut Vec<u8>) {
    let (d, digits) = ternary(block);
    let mut put = |first: usize, bytes: usize, count: usize| {
        for i in 0..bytes {
            let digit = |n: usize| match n {
                n if n < count => u16::from(digits[first + n * bytes + i]),
                _ => 0,
            };
            let number = (0..5).fold(0, |number, n| number * 3 + digit(n));
            // As a fraction of 256, rounded up.
            out.push((number * 256).div_ceil(243) as u8);
        }
    };
    put(0, 32, 5);
    put(160, 16, 5);
    put(240, 4, 4);
    out.extend(d.to_le_bytes());
}

fn tq2_0(block: &[f32], out: &mut Vec<u8>) {
    let (d, digits) = ternary(block);
    for half in digits.chunks_exact(128) {
        out.extend((0..32).map(|i| (0..4).fold(0, |byte, g| byte | half[32 * g + i] << (2 * g))));
    }
    out.extend(d.to_le_bytes());
}
