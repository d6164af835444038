//! Matrix products: every instruction set against the scalar reference, and the reference
//! against the definition.

#![allow(clippy::unwrap_used)]

mod common;

use common::{FILLS, Fill, Random, bits, product, weights};
use dormouse_kernels::{
    Activations, GgmlType, Isa, Matrix, Pool, Precision, Scratch, ShapeError, dequantize, matmul,
};
use proptest::prelude::*;

fn columns(ty: GgmlType, n: usize) -> usize {
    match ty.block_len() {
        1 => 1 + n * 13,
        len => len * n.clamp(1, 1 + 640 / len),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_isa_equals_the_reference(
        seed in any::<u64>(),
        ty in 0..GgmlType::ALL.len(),
        fill in 0..FILLS.len(),
        (rows, n, batch) in (1usize..40, 1usize..9, 1usize..14),
        (lead, threads, gap) in (0usize..5, 1usize..4, 0usize..3),
        float in prop::bool::weighted(0.25),
        scale in prop::sample::select(vec![1.0f32, 1e-30, 1e6]),
    ) {
        let (ty, fill) = (GgmlType::ALL[ty], FILLS[fill]);
        let cols = columns(ty, n);
        let random = &mut Random(seed);
        let bytes = weights(random, ty, rows, cols, fill, lead);
        let w = Matrix::new(ty, rows, cols, &bytes[lead..]).unwrap();
        let x = random.floats(batch * cols, scale);
        let precision = if float { Precision::F32 } else { Precision::Int8 };
        let pool = Pool::new(threads);
        let expected = product(&pool, Isa::Scalar, &w, &x, batch, precision, 0);
        prop_assert!(expected.iter().all(|y| y.is_finite()));
        for isa in Isa::available() {
            let y = product(&pool, isa, &w, &x, batch, precision, gap);
            prop_assert_eq!(bits(&y), bits(&expected), "{} on {}", ty.name(), isa.name());
        }
    }

    /// The result is what the dequantized weights and activations say, up to f32 rounding.
    #[test]
    fn products_mean_what_they_should(
        seed in any::<u64>(),
        ty in 0..GgmlType::ALL.len(),
        (rows, n, batch) in (1usize..10, 1usize..9, 1usize..6),
    ) {
        let ty = GgmlType::ALL[ty];
        let cols = columns(ty, n);
        let random = &mut Random(seed);
        let bytes = weights(random, ty, rows, cols, Fill::Random, 0);
        let w = Matrix::new(ty, rows, cols, &bytes).unwrap();
        let x = random.floats(batch * cols, 2.0);
        let pool = Pool::new(1);
        let mut decoded = vec![0.0; rows * cols];
        dequantize(ty, &bytes, &mut decoded).unwrap();
        for precision in [Precision::F32, Precision::Int8] {
            let y = product(&pool, Isa::detect(), &w, &x, batch, precision, 0);
            for (i, y) in y.iter().enumerate() {
                let (w, x) = (&decoded[i % rows * cols..][..cols], &x[i / rows * cols..][..cols]);
                let terms = || w.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x));
                let exact: f64 = terms().sum();
                let largest = x.iter().fold(0.0f64, |a, x| a.max(f64::from(x.abs())));
                let weight: f64 = w.iter().map(|w| f64::from(w.abs())).sum();
                let rounding = terms().map(f64::abs).sum::<f64>() * 1e-6 + weight * largest * 1e-6;
                let coarse = ty.is_quantized() && precision == Precision::Int8;
                let bound = rounding + if coarse { weight * largest / 254.0 } else { 0.0 };
                prop_assert!((f64::from(*y) - exact).abs() <= bound, "{} {y} {exact} {bound}", ty.name());
            }
        }
    }
}

/// The numerics contract: a row's bits depend on nothing but the row.
#[test]
fn a_row_has_the_same_bits_in_every_batch_chunk_and_thread_count() {
    let random = &mut Random(3);
    for ty in GgmlType::ALL {
        let (rows, cols, batch) = (43, 512, 40);
        let bytes = weights(random, ty, rows, cols, Fill::Random, 1);
        let w = Matrix::new(ty, rows, cols, &bytes[1..]).unwrap();
        let x = random.floats(batch * cols, 1.0);
        for precision in [Precision::Int8, Precision::F32] {
            let single: Vec<u32> = x
                .chunks(cols)
                .flat_map(|x| {
                    bits(&product(
                        &Pool::new(1),
                        Isa::detect(),
                        &w,
                        x,
                        1,
                        precision,
                        0,
                    ))
                })
                .collect();
            for threads in 1..=4 {
                let pool = Pool::new(threads);
                for chunk in (1..=batch).filter(|chunk| chunk % threads == 0 || *chunk < 6) {
                    let chunked: Vec<u32> = x
                        .chunks(chunk * cols)
                        .flat_map(|x| {
                            bits(&product(
                                &pool,
                                Isa::detect(),
                                &w,
                                x,
                                x.len() / cols,
                                precision,
                                0,
                            ))
                        })
                        .collect();
                    assert!(
                        chunked == single,
                        "{} in chunks of {chunk}, {threads} threads",
                        ty.name()
                    );
                }
            }
        }
    }
}

#[test]
fn not_a_number_is_not_hidden() {
    let random = &mut Random(4);
    for ty in GgmlType::ALL {
        let bytes = weights(random, ty, 9, 256, Fill::Random, 0);
        let w = Matrix::new(ty, 9, 256, &bytes).unwrap();
        for bad in [f32::NAN, f32::INFINITY] {
            let mut x = random.floats(256, 1.0);
            x[100] = bad;
            for isa in Isa::available() {
                let y = product(&Pool::new(1), isa, &w, &x, 1, Precision::Int8, 0);
                assert!(
                    y.iter().all(|y| !y.is_finite()),
                    "{} on {}: {y:?}",
                    ty.name(),
                    isa.name()
                );
            }
        }
    }
}

#[test]
fn shapes_are_checked() {
    let pool = Pool::new(1);
    let bytes = [0u8; 4 * 18 * 2];
    let w = Matrix::new(GgmlType::Q4_0, 4, 64, &bytes).unwrap();
    let mut x = Activations::new(2, 96);
    let mut scratch = Scratch::new(1, 64);
    let mut y = [0.0; 8];
    let isa = Isa::detect();
    x.set(&pool, &[0.0; 192], 2, 96, Precision::Int8).unwrap();
    let error = matmul(&pool, isa, &w, &x, &mut scratch, &mut y, 4).unwrap_err();
    assert!(
        matches!(
            error,
            ShapeError::Length {
                expected: 64,
                actual: 96,
                ..
            }
        ),
        "{error}"
    );
    x.set(&pool, &[0.0; 128], 2, 64, Precision::Int8).unwrap();
    let error = matmul(&pool, isa, &w, &x, &mut scratch, &mut y, 3).unwrap_err();
    assert!(
        matches!(
            error,
            ShapeError::Length {
                what: "an output row",
                ..
            }
        ),
        "{error}"
    );
    let error = matmul(&pool, isa, &w, &x, &mut scratch, &mut y[..7], 4).unwrap_err();
    assert!(
        matches!(
            error,
            ShapeError::Length {
                what: "the output",
                expected: 8,
                actual: 7
            }
        ),
        "{error}"
    );
    let error = matmul(&pool, isa, &w, &x, &mut scratch, &mut y, usize::MAX).unwrap_err();
    assert!(
        matches!(
            error,
            ShapeError::Overflow { .. } | ShapeError::Length { .. }
        ),
        "{error}"
    );
    let error = matmul(&pool, isa, &w, &x, &mut Scratch::new(1, 32), &mut y, 4).unwrap_err();
    assert!(
        matches!(
            error,
            ShapeError::TooLarge {
                max: 32,
                actual: 64,
                ..
            }
        ),
        "{error}"
    );
    matmul(&pool, isa, &w, &x, &mut scratch, &mut y, 4).unwrap();
}

#[test]
fn a_pool_grown_beyond_the_scratch_is_limited() {
    let random = &mut Random(5);
    let bytes = weights(random, GgmlType::Q4_K, 400, 256, Fill::Random, 0);
    let w = Matrix::new(GgmlType::Q4_K, 400, 256, &bytes).unwrap();
    let x = random.floats(8 * 256, 1.0);
    let pool = Pool::new(2);
    let mut activations = Activations::new(8, 256);
    activations.set(&pool, &x, 8, 256, Precision::Int8).unwrap();
    let mut scratch = Scratch::new(2, 256);
    pool.resize(4);
    let mut y = vec![0.0; 3200];
    matmul(
        &pool,
        Isa::detect(),
        &w,
        &activations,
        &mut scratch,
        &mut y,
        400,
    )
    .unwrap();
    assert_eq!(
        bits(&y),
        bits(&product(
            &pool,
            Isa::detect(),
            &w,
            &x,
            8,
            Precision::Int8,
            0
        ))
    );
}
