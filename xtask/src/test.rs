//! `cargo xtask test`: every suite in turn, its output streamed, and a table at the end.

use clap::Args;
use clap::builder::PossibleValuesParser;
use std::process::{Command, ExitCode};
use std::time::Instant;

use crate::debian;
use crate::failure::{Failure, Result};
use crate::process;
use crate::suites::{Plan, SUITES, Setup, Suite};
use crate::summary::{self, Line, Outcome};

/// What to run, and how strictly.
#[derive(Args, Debug)]
#[command(after_help = suite_list())]
pub(crate) struct Options {
    /// Try sixteen times as many random cases of each property.
    #[arg(long)]
    long: bool,
    /// A suite that cannot run is a failure; tools that are missing are installed, as they are on
    /// Debian as root in any case.
    #[arg(long)]
    require_all: bool,
    /// Run this suite alone; may be given again.
    #[arg(long, value_name = "SUITE", value_parser = names())]
    only: Vec<String>,
}

fn names() -> PossibleValuesParser {
    SUITES
        .iter()
        .map(|suite| suite.name)
        .collect::<Vec<_>>()
        .into()
}

fn suite_list() -> String {
    let line = |suite: &Suite| format!("  {:7} {}", suite.name, suite.about);
    format!(
        "Suites:\n{}",
        SUITES.iter().map(line).collect::<Vec<_>>().join("\n")
    )
}

/// Runs the suites; the exit code is a failure if the run is not good.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let setup = Setup {
        long: options.long,
        install: options.require_all || debian::installs_unasked(),
    };
    let lines: Vec<Line> = chosen(&options.only)
        .map(|suite| run_suite(suite, &setup))
        .collect();
    print!("{}", summary::ends(&lines));
    print!("\n{}", summary::table(&lines));
    Ok(if summary::good(&lines, options.require_all) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn chosen(only: &[String]) -> impl Iterator<Item = &'static Suite> {
    SUITES
        .iter()
        .filter(|suite| only.is_empty() || only.iter().any(|name| name == suite.name))
}

fn run_suite(suite: &Suite, setup: &Setup) -> Line {
    eprintln!("\n== {}: {}", suite.name, suite.about);
    let start = Instant::now();
    let mut tail = Vec::new();
    let outcome = match (suite.plan)(setup) {
        Ok(Plan::NotRun(why)) => Outcome::NotRun(why),
        Ok(Plan::Run(commands)) => run_all(commands, &mut tail),
        Err(failure) => Outcome::Failed(failure.to_string()),
    };
    Line {
        name: suite.name,
        outcome,
        tail,
        took: start.elapsed(),
        budget: suite.budget,
    }
}

/// Runs them until one fails, whose last words are left in `tail`.
fn run_all(commands: Vec<Command>, tail: &mut Vec<String>) -> Outcome {
    if commands.is_empty() {
        return Outcome::NotRun("it has nothing to run".into());
    }
    for mut command in commands {
        tail.clear();
        if let Err(Failure(why)) = process::stream_keeping(&mut command, tail) {
            return Outcome::Failed(why);
        }
    }
    Outcome::Passed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_picks_suites_in_their_order() {
        let pick = |only: &[&str]| -> Vec<&str> {
            let only: Vec<String> = only.iter().map(ToString::to_string).collect();
            chosen(&only).map(|suite| suite.name).collect()
        };
        assert_eq!(pick(&["unit", "fmt"]), ["fmt", "unit"]);
        assert_eq!(pick(&[]).len(), SUITES.len());
    }

    #[test]
    fn the_first_command_that_fails_ends_the_suite() {
        let cargo = |word: &str| {
            let mut command = process::cargo();
            command.arg(word);
            command
        };
        let tail = &mut Vec::new();
        assert_eq!(run_all(vec![cargo("--version")], tail), Outcome::Passed);
        let commands = vec![cargo("no-such-command-of-cargo"), cargo("--version")];
        let outcome = run_all(commands, tail);
        assert!(
            matches!(outcome, Outcome::Failed(why) if why.contains("no-such-command-of-cargo"))
        );
        assert!(matches!(run_all(Vec::new(), tail), Outcome::NotRun(_)));
    }
}
