//! `cargo xtask bench-peers`: Dormouse and other engines on the same files and threads, each run
//! a fresh process, in turns (A B A B ...), so that what the machine does meanwhile meets all
//! alike.

mod peer;
mod report;

use clap::Args;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::failure::{Failure, Result};
use crate::fetch::Fetcher;
use crate::models;
use peer::{Peer, Work};
use report::{Measured, Series, Setting};

const PROMPT: u32 = 512;
const DECODE: u32 = 128;

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
    /// A GGUF file, in place of the two that the tests use; may be given again.
    #[arg(long, value_name = "FILE")]
    model: Vec<PathBuf>,
}

/// Measures and reports.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let files = files(&options.model)?;
    let dormouse = peer::dormouse()?;
    let peers = [peer::candle()?];
    let work = Work {
        prompt: PROMPT,
        decode: DECODE,
        threads: options.threads,
    };
    let load = load_average();
    let mut isa = None;
    let mut measured = Vec::new();
    for (file, name) in files.iter().zip(names(&files)) {
        measured.push(measure(
            file,
            name,
            (&dormouse, &peers),
            work,
            options.rounds,
            &mut isa,
        )?);
    }
    let setting = Setting {
        cpu: cpu_name(),
        isa: isa.unwrap_or_else(|| "unknown".into()),
        threads: work.threads,
        prompt: work.prompt,
        decode: work.decode,
        rounds: options.rounds,
        load,
    };
    print!("{}", report::table(&setting, &measured));
    if options.json {
        println!("{}", report::json(&setting, &measured));
    }
    Ok(ExitCode::SUCCESS)
}

/// The files named, or both real models.
fn files(named: &[PathBuf]) -> Result<Vec<PathBuf>> {
    // Said before the build, which may take minutes.
    if let Some(file) = named.iter().find(|file| !file.is_file()) {
        return Err(Failure(format!("there is no file {}", file.display())));
    }
    if !named.is_empty() {
        return Ok(named.to_vec());
    }
    let fetcher = Fetcher::from_env()?;
    [&models::SMOLLM2, &models::GEMMA3]
        .map(|model| fetcher.model(model))
        .into_iter()
        .collect()
}

/// A name for each file: the last part of its path, or all of it where that is not unique.
fn names(files: &[PathBuf]) -> Vec<String> {
    let same = |file: &&PathBuf, other: &&PathBuf| file.file_name() == other.file_name();
    files
        .iter()
        .map(|file| {
            let unique = files.iter().filter(|other| same(&file, other)).count() == 1;
            let short = file.file_name().filter(|_| unique).map(Path::new);
            short.unwrap_or(file).display().to_string()
        })
        .collect()
}

/// All rounds on one file. Sets `isa` to what Dormouse names.
fn measure(
    file: &Path,
    name: String,
    (dormouse, peers): (&Peer, &[Peer]),
    work: Work,
    rounds: u32,
    isa: &mut Option<String>,
) -> Result<Measured> {
    let empty = |peer: &Peer| Series {
        peer: peer.name,
        rates: Vec::new(),
    };
    let mut measured = Measured {
        file: name,
        dormouse: empty(dormouse),
        peers: peers.iter().map(empty).collect(),
    };
    for round in 0..=rounds {
        let turns = std::iter::once((dormouse, &mut measured.dormouse))
            .chain(peers.iter().zip(&mut measured.peers));
        for (peer, series) in turns {
            let report = peer.measure(file, work)?;
            let rates = report.rates;
            *isa = report.isa.or(isa.take());
            let counted = match round {
                0 => "warm-up".to_owned(),
                _ => format!("round {round} of {rounds}"),
            };
            eprintln!(
                "{} {counted}: {} prefill {:.1}, decode {:.1} tok/s",
                measured.file, peer.name, rates.prefill, rates.decode
            );
            if round > 0 {
                series.rates.push(rates);
            }
        }
    }
    Ok(measured)
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
    fn a_model_that_is_not_there_is_named_before_anything_is_built() {
        let message = files(&["no/such.gguf".into()]).unwrap_err().to_string();
        assert_eq!(message, "there is no file no/such.gguf");
    }

    #[test]
    fn files_go_by_their_last_part_unless_two_share_it() {
        let files = ["a/x.gguf", "b/x.gguf", "b/y.gguf"].map(PathBuf::from);
        assert_eq!(names(&files), ["a/x.gguf", "b/x.gguf", "y.gguf"]);
    }

    #[test]
    fn the_processors_name_is_the_first_of_cpuinfo() {
        let text = "processor\t: 0\nmodel\t\t: 167\nmodel name\t: Some CPU @ 3 GHz\n\
            processor\t: 1\nmodel name\t: Other\n";
        assert_eq!(cpu_in(text).as_deref(), Some("Some CPU @ 3 GHz"));
        assert_eq!(cpu_in("CPU part : 0xd0c\n"), None);
    }
}
