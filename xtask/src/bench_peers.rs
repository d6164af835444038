//! `cargo xtask bench-peers`: Dormouse and other engines on the same files and threads, each run
//! a fresh process, in turns (A B A B ...), so that what the machine does meanwhile meets all
//! alike.

mod figures;
mod first_token;
mod llama_build;
mod llama_cpp;
mod machine;
mod own;
mod peer;
mod report;
mod rounds;
mod subjects;
mod targets;

use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::build;
use crate::failure::Result;
use figures::Figure;
use llama_build::Variant;
use machine::Machine;
use peer::{Candle, Dormouse, Engine};
use report::Setting;
use rounds::Race;

/// What to compare on, and how often.
#[derive(Args, Debug)]
#[command(
    after_help = "A missed target is reported and no failure; the exit code is 1 only if a run failed."
)]
pub(crate) struct Options {
    /// Close with one line of JSON.
    #[arg(long)]
    json: bool,
    /// Rounds that count; one more, not counted, comes before them.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Threads of each engine.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    threads: u32,
    /// A GGUF file, in place of the two that the tests use and the two of 1B's shape that are made
    /// for this; may be given again.
    #[arg(long, value_name = "FILE")]
    model: Vec<PathBuf>,
    /// An engine to compare with; may be given again.
    #[arg(long, value_enum, default_values_t = [PeerName::LlamaCpp])]
    peer: Vec<PeerName>,
    /// Build llama.cpp without AMX, which a native build uses where an Intel server has it.
    #[arg(long)]
    without_amx: bool,
    /// A figure to measure; may be given again. All of them without.
    #[arg(long, value_name = "FIGURE", value_parser = ["prefill", "decode", "deep", "first-token"])]
    figure: Vec<String>,
}

/// An engine to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PeerName {
    /// Built from the sources in its Python package; takes some minutes the first time.
    #[value(name = "llama.cpp")]
    LlamaCpp,
    /// The quantized models of candle-transformers.
    Candle,
}

/// Measures and reports.
///
/// # Errors
/// If something does not build, cannot be had or does not run.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let subjects = subjects::subjects(&options.model)?;
    let cpu = cpu_name();
    let dormouse = Dormouse {
        program: build::dormouse()?,
    };
    let machine = build::example("dormouse-kernels", "machine")?;
    let peers = peers(options, &cpu)?;
    let load = load_average();
    let race = Race {
        dormouse: &dormouse,
        peers: &peers,
        figures: figures(&options.figure),
        threads: options.threads,
        rounds: options.rounds,
    };
    let before = Machine::measure(&machine, options.threads)?;
    let mut isa = None;
    let mut measured = Vec::new();
    for subject in subjects {
        measured.push(race.run(subject, &mut isa)?);
    }
    let after = Machine::measure(&machine, options.threads)?;
    let about = |engine: &dyn Engine| (engine.name(), engine.about());
    let setting = Setting {
        cpu,
        isa: isa.unwrap_or_else(|| "unknown".into()),
        threads: options.threads,
        rounds: options.rounds,
        load,
        machine: before.or(after),
        engines: std::iter::once(about(&dormouse))
            .chain(peers.iter().map(|peer| about(peer.as_ref())))
            .collect(),
    };
    print!("{}", report::table(&setting, &measured));
    if options.json {
        println!("{}", report::json(&setting, &measured));
    }
    Ok(ExitCode::SUCCESS)
}

fn peers(options: &Options, cpu: &str) -> Result<Vec<Box<dyn Engine>>> {
    let names = &options.peer;
    let variant = match options.without_amx {
        true => Variant::WithoutAmx,
        false => Variant::Native,
    };
    let mut peers: Vec<Box<dyn Engine>> = Vec::new();
    for (n, name) in names.iter().enumerate() {
        if names[..n].contains(name) {
            continue;
        }
        peers.push(match name {
            PeerName::LlamaCpp => Box::new(llama_cpp::LlamaCpp::build(cpu, variant)?),
            PeerName::Candle => Box::new(Candle::build()?),
        });
    }
    Ok(peers)
}

/// Those named, or all.
fn figures(names: &[String]) -> Vec<Figure> {
    if names.is_empty() {
        return Figure::ALL.to_vec();
    }
    names
        .iter()
        .filter_map(|name| Figure::named(name))
        .collect()
}

/// The processor's name as the system gives it, or else the architecture's.
fn cpu_name() -> String {
    let linux = || {
        let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
        cpu_in(&text)
    };
    let mac = || {
        let output = Command::new("sysctl")
            .args(["-n", "machdep.cpu.brand_string"])
            .output();
        let name = String::from_utf8_lossy(&output.ok()?.stdout)
            .trim()
            .to_owned();
        (!name.is_empty()).then_some(name)
    };
    linux()
        .or_else(mac)
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// The first processor's name in /proc/cpuinfo.
fn cpu_in(cpuinfo: &str) -> Option<String> {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == "model name")
        .map(|(_, name)| name.trim().to_owned())
}

/// The load average of the last minute, where the system has /proc.
fn load_average() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_measured_unless_some_are_named() {
        assert_eq!(figures(&[]), Figure::ALL);
        assert_eq!(figures(&["deep".into()]), [Figure::Deep]);
    }

    #[test]
    fn the_processors_name_is_the_first_of_cpuinfo() {
        let text = "processor\t: 0\nmodel\t\t: 167\nmodel name\t: Some CPU @ 3 GHz\n\
            processor\t: 1\nmodel name\t: Other\n";
        assert_eq!(cpu_in(text).as_deref(), Some("Some CPU @ 3 GHz"));
        assert_eq!(cpu_in("CPU part : 0xd0c\n"), None);
    }
}
