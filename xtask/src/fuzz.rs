//! `cargo xtask fuzz`: cargo-fuzz on the targets of `fuzz/`, beginning with the committed corpus.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::failure::{Failure, Result};
use crate::process;
use crate::suites::{Plan, Setup};

/// The targets, each a file of `fuzz/fuzz_targets`.
const TARGETS: [&str; 3] = ["gguf", "tokenizer", "template"];

/// Seconds that the suite gives each target, and those of a long run.
const SHORT: u32 = 30;
const LONG: u32 = 300;

/// Longer inputs find nothing that shorter ones do not, and are slower.
const MAX_BYTES: u32 = 8192;

/// No input of that size may take longer, in seconds, on a slow machine and with all checks on.
const MAX_SECONDS: u32 = 10;

/// Nor ask for more at once, in MiB: the work buffers of a model have a few.
const MAX_BLOCK: u32 = 64;

/// What to fuzz, and for how long.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Fuzz this target alone; may be given again.
    #[arg(value_parser = PossibleValuesParser::new(TARGETS))]
    targets: Vec<String>,
    /// How long each is fuzzed.
    #[arg(long, value_name = "SECONDS", default_value_t = SHORT)]
    seconds: u32,
}

/// Runs the targets one after the other.
///
/// # Errors
/// If cargo-fuzz is missing, or found something: its words name the input's file.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if !is_installed() {
        return Err(Failure(format!("{MISSING}: cargo {}", INSTALL.join(" "))));
    }
    for target in TARGETS {
        if options.targets.is_empty() || options.targets.iter().any(|name| name == target) {
            process::run(&mut fuzz(target, options.seconds)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

const INSTALL: [&str; 3] = ["install", "cargo-fuzz", "--locked"];
const MISSING: &str = "cargo-fuzz is not installed";

/// The suite: every target for a while.
pub(crate) fn suite(setup: &Setup) -> Result<Plan> {
    if !cfg!(all(unix, target_pointer_width = "64")) {
        return Ok(Plan::NotRun("libFuzzer is not for this system".into()));
    }
    if !process::succeeds(Command::new("c++").arg("--version")) {
        return Ok(Plan::NotRun(
            "there is no C++ compiler for libFuzzer".into(),
        ));
    }
    let mut commands = Vec::new();
    if !is_installed() {
        if !setup.install {
            let how = INSTALL.join(" ");
            return Ok(Plan::NotRun(format!("{MISSING} (cargo {how})")));
        }
        let mut install = process::cargo();
        install.args(INSTALL);
        commands.push(install);
    }
    let seconds = if setup.long { LONG } else { SHORT };
    for target in TARGETS {
        commands.push(fuzz(target, seconds)?);
    }
    Ok(Plan::Run(commands))
}

fn is_installed() -> bool {
    process::succeeds(process::cargo().args(["fuzz", "--version"]))
}

/// cargo-fuzz on a target. What it finds worth keeping goes to `target/`, and not to the corpus.
fn fuzz(target: &str, seconds: u32) -> Result<Command> {
    let root = process::root();
    let found = root.join("target/fuzz").join(target);
    fs::create_dir_all(&found).map_err(|error| Failure::io("create", &found, &error))?;
    let mut command = process::cargo();
    command
        .current_dir(&root)
        // The sanitizers are not yet options of the stable compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        // Looking for leaks takes the right to trace processes, which containers may not have.
        .env("ASAN_OPTIONS", "detect_leaks=0")
        .args(["fuzz", "run", target])
        .arg(&found)
        .args(seeds(&root, target))
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={MAX_BYTES}"))
        .arg(format!("-timeout={MAX_SECONDS}"))
        .arg(format!("-malloc_limit_mb={MAX_BLOCK}"))
        .args([
            "-print_final_stats=1",
            "-print_funcs=0",
            "-verbosity=0",
            "-detect_leaks=0",
        ]);
    Ok(command)
}

/// The folders of inputs that a target begins with, which are only read.
fn seeds(root: &Path, target: &str) -> Vec<PathBuf> {
    let mut folders = vec![root.join("fuzz/corpus").join(target)];
    if target == "template" {
        folders.push(root.join("fixtures/templates"));
    }
    folders.retain(|folder| folder.is_dir());
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_targets_are_those_of_the_folder_and_begin_with_something() {
        let root = process::root();
        let mut files: Vec<String> = fs::read_dir(root.join("fuzz/fuzz_targets"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        files.sort();
        let mut targets = TARGETS.map(str::to_owned).to_vec();
        targets.sort();
        assert_eq!(files, targets);
        for target in TARGETS {
            let count = |folder: PathBuf| fs::read_dir(folder).unwrap().count();
            assert!(seeds(&root, target).into_iter().map(count).sum::<usize>() > 2);
        }
    }

    #[test]
    fn a_long_run_takes_longer() {
        let command = fuzz("gguf", LONG).unwrap();
        let shown = process::show(&command);
        assert!(shown.contains("-max_total_time=300"), "{shown}");
        assert!(shown.contains("fuzz run gguf"), "{shown}");
    }
}
