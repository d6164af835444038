//! The `dormouse` command: a thin layer over the engine, one module a command.
#![cfg_attr(test, allow(clippy::unwrap_used))]
// They panic where nobody reads along: `tell!` and `Failure::stdout`.
#![deny(clippy::print_stderr, clippy::print_stdout)]

mod args;
mod bench;
mod chat;
mod embed;
mod failure;
mod inspect;
mod interrupt;
mod logging;
mod panics;
mod perplexity;
mod report;
mod run;
mod setup;
mod stream;
mod tell;
mod tokenize;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

fn main() -> ExitCode {
    panics::install();
    let cli = Cli::parse();
    logging::start();
    let result = match cli.command {
        Command::Chat(args) => chat::run(args),
        Command::Run(args) => run::run(args),
        Command::Bench(args) => bench::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Tokenize(args) => tokenize::run(&args),
        Command::Embed(args) => embed::run(&args),
        Command::Perplexity(args) => perplexity::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
