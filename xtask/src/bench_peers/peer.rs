//! The engines that are compared: how each is called and read. llama.cpp has a module of its own.

use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::figures::{DECODE, DEEP, DEPTH, Figure, PROMPT, positive};
use crate::build;
use crate::failure::{Failure, Result};
use crate::process;

/// What an engine is asked to do in one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    /// Tokens of the prompt, given as one; 0 leaves it out.
    pub(crate) prompt: u32,
    /// Tokens decoded one by one; 0 leaves it out.
    pub(crate) decode: u32,
    /// Tokens in the KV cache before, which are not timed.
    pub(crate) depth: u32,
    pub(crate) threads: u32,
}

impl Work {
    /// [`Figure::Prefill`] and [`Figure::Decode`].
    pub(crate) fn shallow(threads: u32) -> Self {
        Self {
            prompt: PROMPT,
            decode: DECODE,
            depth: 0,
            threads,
        }
    }

    /// [`Figure::Deep`].
    pub(crate) fn deep(threads: u32) -> Self {
        Self {
            prompt: 0,
            decode: DEEP,
            depth: DEPTH,
            threads,
        }
    }

    /// What it gives figures of.
    pub(crate) fn figures(self) -> Vec<Figure> {
        let mut figures = Vec::new();
        if self.prompt > 0 {
            figures.push(Figure::Prefill);
        }
        if self.decode > 0 {
            figures.push(match self.depth {
                0 => Figure::Decode,
                _ => Figure::Deep,
            });
        }
        figures
    }
}

/// A way to set an engine that may be faster or slower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// For the report; empty where there is nothing to choose.
    pub(crate) name: &'static str,
    pub(crate) arguments: &'static [&'static str],
}

/// Of an engine with nothing to choose.
const DEFAULT: [Choice; 1] = [Choice {
    name: "",
    arguments: &[],
}];

/// What a run gives back.
#[derive(Debug, PartialEq)]
pub(crate) struct Report {
    /// A rate for each figure of the work.
    pub(crate) rates: Vec<(Figure, f64)>,
    /// The instruction set of its kernels, where it says so.
    pub(crate) isa: Option<String>,
}

/// An engine, built.
pub(crate) trait Engine {
    fn name(&self) -> &'static str;

    /// How it was built and is called, for the report.
    fn about(&self) -> String;

    /// Ways to set [`Engine::bench`], the default first. The fastest in the warm-up is what it is
    /// measured with.
    fn choices(&self) -> &'static [Choice] {
        &DEFAULT
    }

    /// Ways to set [`Engine::first_token`], likewise.
    fn first_token_choices(&self) -> &'static [Choice] {
        &DEFAULT
    }

    /// The command that does this work; none if it cannot.
    fn bench(&self, model: &Path, work: Work) -> Option<Command>;

    /// A rate for each figure of the work, from what the command printed; none if it is of
    /// another shape.
    fn read(&self, json: &Value, work: Work) -> Option<Report>;

    /// The command that completes a text by one token and prints that alone; none if it has none.
    fn first_token(&self, model: &Path, prompt: &str, threads: u32) -> Option<Command>;
}

/// Runs an engine once, in a process of its own. None if it cannot do such work.
///
/// # Errors
/// If it cannot be started, does not succeed or prints something else.
pub(crate) fn measure(
    engine: &dyn Engine,
    model: &Path,
    work: Work,
    choice: Choice,
) -> Result<Option<Report>> {
    let Some(mut command) = engine.bench(model, work) else {
        return Ok(None);
    };
    command.args(choice.arguments);
    let shown = process::show(&command);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure(format!("cannot start `{shown}`: {error}")))?;
    if !output.status.success() {
        return Err(Failure(format!("`{shown}` failed: {}", output.status)));
    }
    let stdout = String::from_utf8_lossy(&output.stdout);
    let report = json_in(&stdout).and_then(|json| engine.read(&json, work));
    report.map(Some).ok_or_else(|| {
        let line = stdout.lines().last().unwrap_or_default();
        Failure(format!("`{shown}` printed no rates but: {line}"))
    })
}

/// All of the text as JSON, or its last line.
fn json_in(stdout: &str) -> Option<Value> {
    let last = || serde_json::from_str(stdout.lines().last()?).ok();
    serde_json::from_str(stdout).ok().or_else(last)
}

/// The rates of a list of results of the shape that llama-bench made common: `n_prompt`, `n_gen` and
/// `n_depth` say what was done, the field `rate` how fast.
pub(crate) fn rates(results: &[Value], work: Work, rate: &str) -> Option<Vec<(Figure, f64)>> {
    let count = |row: &Value, name: &str| row[name].as_u64();
    work.figures()
        .into_iter()
        .map(|figure| {
            let (prompt, decode) = match figure {
                Figure::Prefill => (work.prompt, 0),
                _ => (0, work.decode),
            };
            let row = results.iter().find(|row| {
                count(row, "n_prompt") == Some(prompt.into())
                    && count(row, "n_gen") == Some(decode.into())
                    && count(row, "n_depth") == Some(work.depth.into())
            })?;
            Some((figure, positive(&row[rate])?))
        })
        .collect()
}

/// The arguments that say what to do.
pub(crate) fn numbers(work: Work) -> impl Iterator<Item = OsString> {
    [
        ("-p", work.prompt),
        ("-n", work.decode),
        ("-d", work.depth),
        ("-t", work.threads),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.into(), value.to_string().into()])
}

/// Dormouse as it is shipped: its kernels choose their instruction set at run time.
pub(crate) struct Dormouse {
    pub(crate) program: PathBuf,
}

impl Engine for Dormouse {
    fn name(&self) -> &'static str {
        "dormouse"
    }

    fn about(&self) -> String {
        "release build, instruction set chosen at run time".into()
    }

    fn bench(&self, model: &Path, work: Work) -> Option<Command> {
        let mut command = Command::new(&self.program);
        command.args(["bench", "-m"]).arg(model).args(numbers(work));
        command.args(["-r", "1", "--json"]);
        Some(command)
    }

    fn read(&self, json: &Value, work: Work) -> Option<Report> {
        Some(Report {
            rates: rates(json["results"].as_array()?, work, "tokens_per_s")?,
            isa: Some(json["isa"].as_str()?.to_owned()),
        })
    }

    fn first_token(&self, model: &Path, prompt: &str, threads: u32) -> Option<Command> {
        let mut command = Command::new(&self.program);
        command
            .args(["run", "--raw", "--stats", "none", "--temperature", "0"])
            .args(["-n", "1", "-t", &threads.to_string(), "-m"])
            .arg(model)
            .args(["--prompt", prompt]);
        Some(command)
    }
}

/// The quantized models of candle-transformers, compiled for this very processor.
pub(crate) struct Candle {
    program: PathBuf,
}

impl Candle {
    pub(crate) fn build() -> Result<Self> {
        let root = process::root();
        let mut cargo = process::cargo();
        // A target folder of its own: with other flags it would undo the workspace's build.
        cargo
            .args(["build", "--release", "--locked", "--manifest-path"])
            .arg(root.join("bench/candle-peer/Cargo.toml"))
            .arg("--target-dir")
            .arg(root.join("target/candle-peer"))
            .env("RUSTFLAGS", "-C target-cpu=native");
        Ok(Self {
            program: build::run(cargo, "candle-peer")?,
        })
    }
}

impl Engine for Candle {
    fn name(&self) -> &'static str {
        "candle"
    }

    fn about(&self) -> String {
        "candle-transformers, compiled with target-cpu=native".into()
    }

    /// It has no way to begin at a depth, and always does both.
    fn bench(&self, model: &Path, work: Work) -> Option<Command> {
        if work.depth > 0 {
            return None;
        }
        let mut command = Command::new(&self.program);
        command.arg("--model").arg(model);
        command.args(["-p", &PROMPT.to_string(), "-n", &DECODE.to_string()]);
        command.args(["-t", &work.threads.to_string()]);
        Some(command)
    }

    fn read(&self, json: &Value, work: Work) -> Option<Report> {
        let rate = |figure| {
            let field = match figure {
                Figure::Prefill => "prefill_tok_s",
                _ => "decode_tok_s",
            };
            Some((figure, positive(&json[field])?))
        };
        Some(Report {
            rates: work
                .figures()
                .into_iter()
                .map(rate)
                .collect::<Option<_>>()?,
            isa: None,
        })
    }

    /// It takes token ids, not text.
    fn first_token(&self, _: &Path, _: &str, _: u32) -> Option<Command> {
        None
    }
}

#[cfg(test)]
#[path = "peer_tests.rs"]
mod tests;
