//! `cargo xtask bench-bindings`: decoding through Kotlin and through Swift against the command
//! line, the same file, prompt and threads, in turns. Each run is a fresh process but for Kotlin,
//! whose process stays and is warm: a phone's runtime compiles when the app is installed, a desktop's
//! virtual machine while it decodes.

use clap::Args;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use crate::bindings;
use crate::build;
use crate::failure::{Failure, Result};
use crate::fetch::Fetcher;
use crate::models;
use crate::platforms;
use crate::process;

/// What a language may cost: its decode rate over the command line's.
const TARGET: f64 = 0.97;
const PROMPT: &str = "Once upon a time";

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
    /// Compute threads.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    threads: u32,
    /// Tokens of each reply.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(2..))]
    tokens: u32,
    /// A GGUF file in place of SmolLM2.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Leave a language out.
    #[arg(long, value_name = "LANGUAGE", value_parser = ["kotlin", "swift"])]
    without: Vec<String>,
}

/// How a run is made.
enum Runner {
    /// A process of its own, which prints the rate.
    Fresh(fn(&Options, &Path) -> Result<Command>),
    /// A process that prints a rate for each line that it is given.
    Warm(Warm),
}

/// A way to the engine, and the rates that it reached in tokens per second.
struct Way {
    name: &'static str,
    runner: Runner,
    /// The field of its last line of JSON.
    field: &'static str,
    rates: Vec<f64>,
}

/// Measures and reports.
///
/// # Errors
/// If something does not build or run.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let model = match &options.model {
        Some(model) => model.clone(),
        None => Fetcher::from_env()?.model(&models::SMOLLM2)?,
    };
    let mut ways = vec![Way {
        name: "command line",
        runner: Runner::Fresh(command_line),
        field: "decode_tokens_per_s",
        rates: Vec::new(),
    }];
    bindings::run()?;
    if !options.without.iter().any(|name| name == "kotlin") {
        platforms::build_kotlin_bench()?;
        ways.push(Way {
            name: "kotlin",
            runner: Runner::Warm(Warm::start(kotlin(options, &model))?),
            field: "collected_tok_s",
            rates: Vec::new(),
        });
    }
    if !options.without.iter().any(|name| name == "swift") {
        platforms::build_swift_bench()?;
        ways.push(Way {
            name: "swift",
            runner: Runner::Fresh(swift),
            field: "tokens_per_second",
            rates: Vec::new(),
        });
    }
    for round in 0..=options.rounds {
        for way in &mut ways {
            let rate = match &mut way.runner {
                Runner::Fresh(command) => measure(command(options, &model)?, way.field)?,
                Runner::Warm(process) => process.measure(way.field)?,
            };
            eprintln!("round {round}: {} {rate:.1} tok/s", way.name);
            if round > 0 {
                way.rates.push(rate);
            }
        }
    }
    report(&ways, options);
    Ok(ExitCode::SUCCESS)
}

fn report(ways: &[Way], options: &Options) {
    let base = median(&ways[0].rates);
    println!(
        "decode {} tokens, {} threads, {} rounds in turns",
        options.tokens, options.threads, options.rounds
    );
    let mut targets = serde_json::Map::new();
    for way in ways {
        let rate = median(&way.rates);
        let ratio = rate / base;
        println!("{:<14}{rate:>8.1} tok/s{ratio:>8.3}", way.name);
        if way.name != ways[0].name {
            targets.insert(
                format!("{}_over_command_line", way.name),
                json!({"figure": ratio, "target": TARGET, "held": ratio >= TARGET}),
            );
        }
    }
    if options.json {
        println!("{}", Value::Object(targets));
    }
}

fn command_line(options: &Options, model: &Path) -> Result<Command> {
    let mut command = Command::new(build::dormouse()?);
    command
        .args(["run", "--raw", "--stats", "json", "--temperature", "0"])
        .args(["--prompt", PROMPT, "--model"])
        .arg(model)
        .args(["--max-tokens", &options.tokens.to_string()])
        .args(["--threads", &options.threads.to_string()]);
    Ok(command)
}

fn kotlin(options: &Options, model: &Path) -> Command {
    let mut command = platforms::kotlin_bench();
    command
        .arg(model)
        .args([options.tokens.to_string(), options.threads.to_string()]);
    command
}

fn swift(options: &Options, model: &Path) -> Result<Command> {
    let mut command = platforms::swift_bench(model)?;
    command
        .arg(model)
        .args([options.tokens.to_string(), options.threads.to_string()]);
    Ok(command)
}

/// A process that has warmed up, or does while its first line waits.
struct Warm {
    shown: String,
    process: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Warm {
    fn start(mut command: Command) -> Result<Self> {
        let shown = process::show(&command);
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| Failure(format!("cannot start `{shown}`: {error}")))?;
        match (process.stdin.take(), process.stdout.take()) {
            (Some(ask), Some(answers)) => Ok(Self {
                shown,
                process,
                ask,
                answers: BufReader::new(answers),
            }),
            _ => Err(Failure(format!("`{shown}` has no pipes"))),
        }
    }

    fn measure(&mut self, field: &str) -> Result<f64> {
        let mut answer = String::new();
        writeln!(self.ask)
            .and_then(|()| self.ask.flush())
            .and_then(|()| self.answers.read_line(&mut answer))
            .map_err(|error| Failure(format!("`{}` does not answer: {error}", self.shown)))?;
        rate(&answer, field).ok_or_else(|| Failure(format!("`{}` printed no {field}", self.shown)))
    }
}

impl Drop for Warm {
    fn drop(&mut self) {
        // It has nothing to save, and may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs one and reads the rate from the last line of JSON that it prints, wherever it does.
fn measure(mut command: Command, field: &str) -> Result<f64> {
    let shown = process::show(&command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure(format!("cannot start `{shown}`: {error}")))?;
    let said = [output.stdout, output.stderr].map(|o| String::from_utf8_lossy(&o).into_owned());
    if !output.status.success() {
        return Err(Failure(format!(
            "`{shown}` failed: {}\n{}",
            output.status, said[1]
        )));
    }
    said.iter()
        .find_map(|text| rate(text, field))
        .ok_or_else(|| Failure(format!("`{shown}` printed no {field}")))
}

fn rate(text: &str, field: &str) -> Option<f64> {
    text.lines()
        .rev()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|value| {
            value[field]
                .as_f64()
                .or_else(|| value["metrics"][field].as_f64())
        })
}

fn median(rates: &[f64]) -> f64 {
    let mut sorted = rates.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_from_the_last_line_of_json() {
        let text = "hello\n{\"rate\": 1.0}\n{\"metrics\": {\"rate\": 2.5}}\nbye\n";
        assert_eq!(rate(text, "rate"), Some(2.5));
        assert_eq!(rate(text, "other"), None);
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0]), 2.5);
    }
}
