//! Norms, activations and softmax: against f64, across instruction sets and positions.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Random, bits};
use dormouse_kernels::{
    Isa, Pool, add_assign, gelu_tanh, gelu_tanh_mul, layer_norm_inplace, rms_norm,
    rms_norm_inplace, scale, silu, silu_mul, soft_cap, softmax,
};

/// Every interesting magnitude, both signs.
fn probes() -> Vec<f32> {
    let mut x = vec![
        0.0,
        -0.0,
        1e-40,
        -1e-40,
        f32::MIN_POSITIVE,
        88.0,
        -88.0,
        200.0,
        -200.0,
        1e30,
        -1e30,
    ];
    for i in 0..4000 {
        x.push((i as f32 - 2000.0) / 100.0);
        x.push((i as f32 - 2000.0) * 1e-7);
    }
    let random = &mut Random(2);
    x.extend((0..2000).map(|_| random.float() * 30.0));
    x
}

/// Applies `f` on every instruction set, whole and cut at odd places; checks that all bits agree.
fn same_bits(x: &[f32], f: impl Fn(&Pool, Isa, &mut [f32], usize)) -> Vec<f32> {
    let mut expected = x.to_vec();
    f(&Pool::new(1), Isa::Scalar, &mut expected, 0);
    for isa in Isa::available() {
        for (threads, cut) in [(1, x.len()), (3, x.len()), (1, 3), (2, 13)] {
            let mut y = x.to_vec();
            for (i, part) in y.chunks_mut(cut).enumerate() {
                f(&Pool::new(threads), isa, part, i * cut);
            }
            assert!(
                bits(&y) == bits(&expected),
                "{} in parts of {cut}",
                isa.name()
            );
        }
    }
    expected
}

fn close(actual: &[f32], x: &[f32], f: impl Fn(f64) -> f64, relative: f64) {
    for (y, x) in actual.iter().zip(x) {
        let exact = f(f64::from(*x));
        let error = (f64::from(*y) - exact).abs();
        assert!(
            error <= relative * exact.abs() + 1e-36,
            "f({x}) = {y}, not {exact}"
        );
    }
}

#[test]
fn silus() {
    let x = probes();
    let ones = vec![1.0; x.len()];
    let y = same_bits(&x, |pool, isa, part, start| {
        silu_mul(pool, isa, part, &ones[start..start + part.len()]);
    });
    // Beyond -85 the result is below 1e-35; it stays negligible, but not accurate.
    let (x, y): (Vec<f32>, Vec<f32>) = x.iter().zip(&y).filter(|(x, _)| **x > -80.0).unzip();
    close(&y, &x, |x| x / (1.0 + (-x).exp()), 1e-6);
}

#[test]
fn without_a_gate_the_activation_is_the_same() {
    let x = probes();
    let ones = vec![1.0; x.len()];
    let alone = same_bits(&x, |pool, isa, part, _| silu(pool, isa, part));
    let gated = same_bits(&x, |pool, isa, part, start| {
        silu_mul(pool, isa, part, &ones[start..start + part.len()]);
    });
    assert!(bits(&alone) == bits(&gated));
    let alone = same_bits(&x, |pool, isa, part, _| gelu_tanh(pool, isa, part));
    let gated = same_bits(&x, |pool, isa, part, start| {
        gelu_tanh_mul(pool, isa, part, &ones[start..start + part.len()]);
    });
    assert!(bits(&alone) == bits(&gated));
}

#[test]
fn layer_norms() {
    let random = &mut Random(8);
    for (rows, cols) in [(1, 576), (40, 576), (5, 13), (1, 1)] {
        let x: Vec<f32> = random.floats(rows * cols, 5.0);
        let x: Vec<f32> = x.iter().map(|x| x + 2.0).collect();
        let weight = random.floats(cols, 2.0);
        let bias = random.floats(cols, 1.0);
        for bias in [None, Some(&bias[..])] {
            let mut results = Vec::new();
            for isa in Isa::available() {
                for threads in [1, 3] {
                    let mut y = x.clone();
                    let pool = Pool::new(threads);
                    layer_norm_inplace(&pool, isa, &mut y, &weight, bias, 1e-5, rows, cols);
                    results.push(bits(&y));
                    assert_eq!(results[0], results[results.len() - 1]);
                    for (y, x) in y.chunks(cols).zip(x.chunks(cols)) {
                        let n = cols as f64;
                        let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
                        let squares = x.iter().map(|x| (f64::from(*x) - mean).powi(2));
                        let factor = 1.0 / (squares.sum::<f64>() / n + 1e-5).sqrt();
                        for (i, (y, x)) in y.iter().zip(x).enumerate() {
                            let exact = (f64::from(*x) - mean) * factor * f64::from(weight[i])
                                + bias.map_or(0.0, |bias| f64::from(bias[i]));
                            assert!((f64::from(*y) - exact).abs() < 2e-5, "{y} {exact}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn gelu() {
    let x = probes();
    let up: Vec<f32> = x.iter().rev().map(|x| x.clamp(-3.0, 3.0)).collect();
    let y = same_bits(&x, |pool, isa, part, start| {
        gelu_tanh_mul(pool, isa, part, &up[start..start + part.len()]);
    });
    for ((y, x), up) in y.iter().zip(&x).zip(&up) {
        let x = f64::from(*x);
        let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
        let exact = x / (1.0 + (-2.0 * u).exp()) * f64::from(*up);
        // The argument of the exponential grows like x^3, and its rounding with it.
        let relative = 1e-6 * (1.0 + u.abs());
        if x.abs() < 1e10 {
            assert!(
                (f64::from(*y) - exact).abs() <= relative * exact.abs() + 1e-30,
                "{x} {y} {exact}"
            );
        }
    }
}

#[test]
fn soft_caps() {
    let x = probes();
    let y = same_bits(&x, |pool, isa, part, _| soft_cap(pool, isa, part, 7.5));
    close(&y, &x, |x| 7.5 * (x / 7.5).tanh(), 1e-6);
}

#[test]
fn sums_and_multiples() {
    let x = probes();
    let other: Vec<f32> = x.iter().rev().copied().collect();
    let y = same_bits(&x, |pool, isa, part, start| {
        add_assign(pool, isa, part, &other[start..start + part.len()])
    });
    assert!(y.iter().zip(&x).zip(&other).all(|((y, a), b)| *y == a + b));
    let y = same_bits(&x, |pool, isa, part, _| scale(pool, isa, part, 0.3));
    assert!(y.iter().zip(&x).all(|(y, x)| *y == x * 0.3));
}

#[test]
fn not_a_number_survives() {
    let pool = Pool::new(1);
    for isa in Isa::available() {
        let mut x = [f32::NAN; 3];
        silu_mul(&pool, isa, &mut x, &[1.0; 3]);
        assert!(x.iter().all(|x| x.is_nan()));
        gelu_tanh_mul(&pool, isa, &mut x, &[1.0; 3]);
        soft_cap(&pool, isa, &mut x, 3.0);
        softmax(isa, &mut x);
        assert!(x.iter().all(|x| x.is_nan()));
    }
}

#[test]
fn norms() {
    let random = &mut Random(7);
    for (rows, cols) in [(1, 576), (40, 576), (300, 64), (5, 13), (1, 1)] {
        let x = random.floats(rows * cols, 5.0);
        let weight = random.floats(cols, 2.0);
        let mut reference = vec![0.0; x.len()];
        rms_norm(
            &Pool::new(1),
            Isa::Scalar,
            &x,
            &weight,
            1e-5,
            rows,
            cols,
            &mut reference,
        );
        for (y, x) in reference.chunks(cols).zip(x.chunks(cols)) {
            let mean = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / cols as f64;
            for ((y, x), weight) in y.iter().zip(x).zip(&weight) {
                let exact = f64::from(*x) / (mean + 1e-5).sqrt() * f64::from(*weight);
                assert!(
                    (f64::from(*y) - exact).abs() <= 2e-6 * exact.abs(),
                    "{y} {exact}"
                );
            }
        }
        for isa in Isa::available() {
            for threads in 1..4 {
                let pool = Pool::new(threads);
                let mut y = vec![0.0; x.len()];
                rms_norm(&pool, isa, &x, &weight, 1e-5, rows, cols, &mut y);
                assert!(bits(&y) == bits(&reference));
                let mut y = x.clone();
                rms_norm_inplace(&pool, isa, &mut y, &weight, 1e-5, rows, cols);
                assert!(bits(&y) == bits(&reference));
                let mut row = x[..cols].to_vec();
                rms_norm_inplace(&pool, isa, &mut row, &weight, 1e-5, 1, cols);
                assert!(bits(&row) == bits(&reference[..cols]));
            }
        }
    }
}

#[test]
fn softmaxes() {
    let random = &mut Random(8);
    for n in [1, 7, 8, 9, 1000] {
        let x = random.floats(n, 20.0);
        let max = x.iter().copied().fold(f32::MIN, f32::max);
        let sum: f64 = x.iter().map(|x| f64::from(x - max).exp()).sum();
        let mut reference = x.clone();
        softmax(Isa::Scalar, &mut reference);
        close(&reference, &x, |x| (x - f64::from(max)).exp() / sum, 3e-6);
        for isa in Isa::available() {
            let mut y = x.clone();
            softmax(isa, &mut y);
            assert!(bits(&y) == bits(&reference));
        }
    }
    softmax(Isa::detect(), &mut []);
}
