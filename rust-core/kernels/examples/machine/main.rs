//! Measures what bounds the kernels on this machine: how fast all threads together read memory, and
//! how many int8 operations a second they can do with nothing else to do.
//!
//! `cargo run --release -p dormouse-kernels --example machine -- [--threads N] [--mib N] [--json]`
//!
//! A multiplication and an addition are two operations. Each figure is the best of several tries: what
//! else the machine does makes a try slower, never faster.

mod bandwidth;
mod int8;

/// Read at least this much in a try, so that no cache holds it.
const MIB: usize = 1024;
const TRIES: usize = 7;

struct Options {
    threads: usize,
    mib: usize,
    json: bool,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        mib: MIB,
        json: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if name == "--json" {
            options.json = true;
            continue;
        }
        let number = match name.as_str() {
            "--threads" => &mut options.threads,
            "--mib" => &mut options.mib,
            _ => return Err(format!("unknown option {name}")),
        };
        let value = arguments
            .next()
            .ok_or_else(|| format!("{name} needs a value"))?;
        *number = value
            .parse()
            .ok()
            .filter(|number| (1..=1 << 16).contains(number))
            .ok_or_else(|| format!("{name} takes a number from 1 to 65536, not {value}"))?;
    }
    Ok(options)
}

fn main() -> Result<(), String> {
    let Options { threads, mib, json } = options()?;
    let read = bandwidth::measure(threads, mib << 20, TRIES) / 1e9;
    let peaks: Vec<(&str, f64)> = int8::units()
        .iter()
        .map(|unit| (unit.name, unit.measure(threads, TRIES) / 1e9))
        .collect();
    let best = peaks.iter().max_by(|a, b| a.1.total_cmp(&b.1));
    if json {
        let all: Vec<String> = peaks
            .iter()
            .map(|(name, rate)| format!(r#"{{"isa":"{name}","gop_s":{rate:.1}}}"#))
            .collect();
        let (isa, peak) = best.map_or(("null".into(), "null".into()), |(name, rate)| {
            (format!("\"{name}\""), format!("{rate:.1}"))
        });
        println!(
            r#"{{"threads":{threads},"read_mib":{mib},"read_gb_s":{read:.2},"int8_isa":{isa},"int8_gop_s":{peak},"int8":[{}]}}"#,
            all.join(",")
        );
    } else {
        println!("{threads} threads read {mib} MiB at {read:.1} GB/s");
        for (name, rate) in &peaks {
            println!("int8 by {name}: {rate:.0} Gop/s");
        }
        if best.is_none() {
            println!("int8: no instruction set of this processor is known here");
        }
    }
    Ok(())
}
