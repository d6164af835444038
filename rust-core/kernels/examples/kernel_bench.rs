//! Speed of the matrix products and of attention, to tune by.
//!
//! ```text
//! cargo run --release -p dormouse-kernels --example kernel_bench -- [--threads N] [--batch N]
//!     [--types Q4_1,Q8_0] [--shape ROWSxCOLS] [--isa avx2] [--mib WORKING_SET] [--json]
//! ```
//! A matrix is taken from several copies in turn, so that decoding reads memory and not a cache
//! that a real model would not fit into. Gop/s count a multiplication and an addition as two.

use std::time::Instant;

use dormouse_kernels::{
    Activations, AttentionScratch, AttentionShape, GgmlType, Isa, KV_BLOCK, KvLayer, Matrix, Pool,
    Precision, Scratch, attention, matmul,
};

struct Options {
    threads: usize,
    batch: usize,
    types: Vec<GgmlType>,
    shapes: Vec<(usize, usize)>,
    isa: Isa,
    json: bool,
    /// Bytes that the copies of a matrix fill together.
    working_set: usize,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        batch: 128,
        types: vec![
            GgmlType::Q4_1,
            GgmlType::Q8_0,
            GgmlType::Q5_0,
            GgmlType::Q4_K,
            GgmlType::Q6_K,
        ],
        shapes: vec![
            (576, 576),
            (1536, 576),
            (576, 1536),
            (49152, 576),
            (2048, 640),
            (640, 2048),
            (262_144, 640),
        ],
        isa: Isa::detect(),
        json: false,
        working_set: 192 << 20,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if name == "--json" {
            options.json = true;
            continue;
        }
        let value = arguments
            .next()
            .ok_or_else(|| format!("{name} needs a value"))?;
        let bad = |what: &str| format!("{value} is no {what}");
        match name.as_str() {
            "--threads" => options.threads = value.parse().map_err(|_| bad("number"))?,
            "--mib" => {
                options.working_set = value.parse::<usize>().map_err(|_| bad("number"))? << 20
            }
            "--batch" => options.batch = value.parse().map_err(|_| bad("number"))?,
            "--isa" => {
                let mut available = Isa::available().into_iter();
                options.isa = available
                    .find(|isa| isa.name() == value)
                    .ok_or_else(|| bad("available isa"))?;
            }
            "--types" => {
                let find = |name: &str| GgmlType::ALL.into_iter().find(|ty| ty.name() == name);
                options.types = value
                    .split(',')
                    .map(|name| find(name).ok_or_else(|| bad("type")))
                    .collect::<Result<_, _>>()?;
            }
            "--shape" => {
                let (rows, cols) = value.split_once('x').ok_or_else(|| bad("shape"))?;
                let number = |x: &str| x.parse().map_err(|_| bad("shape"));
                options.shapes = vec![(number(rows)?, number(cols)?)];
            }
            _ => return Err(format!("unknown option {name}")),
        }
    }
    Ok(options)
}

/// Blocks of any content with moderate scales: every f16 in them is finite, and no product is
/// denormal, which would be slow.
fn weights(ty: GgmlType, bytes: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut weights: Vec<u8> = (0..bytes)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8 & 0x37
        })
        .collect();
    for block in weights.chunks_exact_mut(ty.block_bytes()) {
        match ty {
            GgmlType::MXFP4 => block[0] = 120,
            GgmlType::Q8_K => block[..4].copy_from_slice(&0.01f32.to_le_bytes()),
            _ => {}
        }
    }
    weights
}

/// The shortest seconds of a call of `f`, which is told how often it was called before.
fn best(mut f: impl FnMut(usize)) -> f64 {
    let start = Instant::now();
    let mut best = f64::INFINITY;
    let mut calls = 0;
    while calls < 5 || (start.elapsed().as_secs_f64() < 0.25 && calls < 4000) {
        let begin = Instant::now();
        f(calls);
        best = best.min(begin.elapsed().as_secs_f64());
        calls += 1;
    }
    best
}

fn products(options: &Options, pool: &Pool) -> Result<(), Box<dyn std::error::Error>> {
    for &ty in &options.types {
        for &(rows, cols) in &options.shapes {
            let Some(row_bytes) = ty.row_bytes(cols) else {
                continue;
            };
            let size = rows * row_bytes;
            let copies = (options.working_set / size).clamp(1, 256);
            let bytes = weights(ty, size);
            let stored: Vec<Vec<u8>> = (0..copies).map(|_| bytes.clone()).collect();
            let mut x = Activations::new(options.batch, cols);
            let input: Vec<f32> = (0..options.batch * cols)
                .map(|i| (i as f32).sin())
                .collect();
            let mut scratch = Scratch::new(options.threads, cols);
            let mut y = vec![0.0; rows * options.batch];
            let mut seconds = [0.0; 2];
            for (seconds, batch) in seconds.iter_mut().zip([1, options.batch]) {
                x.set(pool, &input[..batch * cols], batch, cols, Precision::Int8)?;
                let mut failed = None;
                *seconds = best(|call| {
                    let result =
                        Matrix::new(ty, rows, cols, &stored[call % copies]).and_then(|w| {
                            matmul(pool, options.isa, &w, &x, &mut scratch, &mut y, rows)
                        });
                    failed = result.err().or(failed);
                });
                if let Some(error) = failed {
                    return Err(error.into());
                }
            }
            let [gemv, gemm] = seconds;
            let gbytes = size as f64 / gemv * 1e-9;
            let gops = (2 * rows * cols * options.batch) as f64 / gemm * 1e-9;
            let (ty, isa, threads, batch) = (
                ty.name(),
                options.isa.name(),
                options.threads,
                options.batch,
            );
            if options.json {
                println!(
                    r#"{{"type":"{ty}","rows":{rows},"cols":{cols},"isa":"{isa}","threads":{threads},"gemv_us":{:.2},"gemv_gb_s":{gbytes:.2},"batch":{batch},"gemm_us":{:.2},"gemm_gop_s":{gops:.1}}}"#,
                    gemv * 1e6,
                    gemm * 1e6,
                );
            } else {
                println!(
                    "{ty:6} {rows:>6} x {cols:<5} 1 row {:9.1} us {gbytes:6.1} GB/s   {batch} rows {:9.0} us {gops:7.1} Gop/s",
                    gemv * 1e6,
                    gemm * 1e6
                );
            }
        }
    }
    Ok(())
}

/// Keys and values of 512 positions, in the blocks of one layer.
struct Cache(Vec<f32>);

impl KvLayer<f32> for Cache {
    fn k_block(&self, b: usize) -> &[f32] {
        let size = self.0.len() / 16;
        &self.0[2 * b * size..][..size]
    }

    fn v_block(&self, b: usize) -> &[f32] {
        let size = self.0.len() / 16;
        &self.0[(2 * b + 1) * size..][..size]
    }
}

fn attentions(options: &Options, pool: &Pool) {
    for (n_head, n_kv_head, head_dim) in [(9, 3, 64), (4, 1, 256)] {
        let shape = AttentionShape {
            n_head,
            n_kv_head,
            head_dim,
            scale: 0.1,
            soft_cap: None,
            window: None,
        };
        let cache = Cache(
            (0..16 * KV_BLOCK * n_kv_head * head_dim)
                .map(|i| (i as f32).cos())
                .collect(),
        );
        for rows in [1, options.batch] {
            let q: Vec<f32> = (0..rows * n_head * head_dim)
                .map(|i| (i as f32).sin())
                .collect();
            let mut out = vec![0.0; q.len()];
            let mut room = AttentionScratch::new(n_head);
            let seconds = best(|_| {
                attention(
                    pool,
                    options.isa,
                    &shape,
                    &q,
                    512 - rows,
                    &cache,
                    &mut room,
                    &mut out,
                );
            });
            let keys = (512 - rows) * rows + rows * (rows + 1) / 2;
            let gflops = (4 * keys * n_head * head_dim) as f64 / seconds * 1e-9;
            let us = seconds * 1e6;
            if options.json {
                println!(
                    r#"{{"attention":"{n_head}/{n_kv_head}x{head_dim}","rows":{rows},"us":{us:.2},"gflop_s":{gflops:.1}}}"#
                );
            } else {
                println!(
                    "attention {n_head}/{n_kv_head} heads of {head_dim}, {rows} rows up to 512: {us:.1} us {gflops:.1} Gflop/s"
                );
            }
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = options()?;
    let pool = Pool::new(options.threads);
    products(&options, &pool)?;
    attentions(&options, &pool);
    Ok(())
}
