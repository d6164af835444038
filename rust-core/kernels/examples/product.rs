//! A matrix product, a given number of times on one thread, its input quantized each time. Nothing is
//! printed but the instruction set; whoever counts instructions takes the difference of two runs, as
//! `cargo xtask count-arm64` does.
//!
//! ```text
//! cargo run --release -p dormouse-kernels --example product -- TYPE ROWS COLS BATCH CALLS
//! ```

use std::error::Error;

use dormouse_kernels::{Activations, GgmlType, Isa, Matrix, Pool, Precision, Scratch, matmul};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, rows, cols, batch, calls] = arguments.as_slice() else {
        return Err("usage: product TYPE ROWS COLS BATCH CALLS".into());
    };
    let ty = GgmlType::ALL.into_iter().find(|ty| ty.name() == name);
    let ty = ty.ok_or_else(|| format!("no type is called {name}"))?;
    let [rows, cols, batch]: [usize; 3] = [rows.parse()?, cols.parse()?, batch.parse()?];
    let calls: usize = calls.parse()?;

    let row_bytes = ty.row_bytes(cols).ok_or("not whole blocks in a row")?;
    let weights = vec![0; rows * row_bytes];
    let weights = Matrix::new(ty, rows, cols, &weights)?;
    let input = vec![0.0; batch * cols];
    let pool = Pool::new(1);
    let isa = Isa::detect();
    eprintln!("layout {}", isa.name());
    let mut x = Activations::new(batch, cols);
    let mut scratch = Scratch::new(1, cols);
    let mut y = vec![0.0; rows * batch];
    for _ in 0..calls {
        x.set(&pool, &input, batch, cols, Precision::Int8)?;
        matmul(&pool, isa, &weights, &x, &mut scratch, &mut y, rows)?;
    }
    Ok(())
}
