//! The one command surface of the repository: it fetches models, builds, and orders well-known
//! tools, and says what it runs. No model logic lives here.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod arm64;
mod bench_bindings;
mod bench_peers;
mod bindings;
mod build;
mod cache;
mod chat;
mod count_arm64;
mod debian;
mod failure;
mod fetch;
mod fidelity;
mod fuzz;
mod models;
mod package;
mod platforms;
mod process;
#[cfg(test)]
mod readme;
mod sdist;
mod suites;
mod summary;
mod test;

use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

use failure::Result;

/// The commands of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compare decoding through Kotlin and through Swift with the command line, interleaved.
    BenchBindings(bench_bindings::Options),
    /// Compare Dormouse's speed with that of other engines, interleaved on the same files.
    BenchPeers(bench_peers::Options),
    /// Build the library for this machine, its Kotlin and Swift sides, and the models of their
    /// tests, and print their folder.
    Bindings,
    /// Chat with a model in the terminal; fetches a small one if none is named.
    ///
    /// `--model FILE.gguf` takes any model and downloads nothing. `--prompt TEXT` answers once,
    /// with the answer alone on stdout. All other arguments go to `dormouse chat` (or, with
    /// `--prompt`, to `dormouse run`) as they are.
    #[command(disable_help_flag = true)]
    Chat {
        /// --model FILE, --prompt TEXT, --help, or arguments of the dormouse command.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Count the instructions that a product of matrices takes on a phone's processor, in Dormouse and in
    /// llama.cpp, under qemu.
    CountArm64(count_arm64::Options),
    /// Compare a tiny model of every architecture in every type with llama.cpp's results, and write
    /// the table in README.
    Fidelity,
    /// Feed broken input to what reads files, texts and templates (cargo-fuzz).
    Fuzz(fuzz::Options),
    /// Fetch the models and the llama.cpp test files that the tests use, and print their folder.
    Models,
    /// Build what apps take in, and check it.
    #[command(subcommand)]
    Package(package::Package),
    /// Run every suite and close with one line a suite.
    Test(test::Options),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::BenchBindings(options) => bench_bindings::run(&options),
        Command::BenchPeers(options) => bench_peers::run(&options),
        Command::Bindings => bindings::run().map(|()| ExitCode::SUCCESS),
        Command::Chat { arguments } => chat::run(arguments),
        Command::CountArm64(options) => count_arm64::run(&options),
        Command::Fidelity => fidelity::run(),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Models => {
            let folder = fetch::Fetcher::from_env()?.of_tests()?;
            println!("{}", folder.display());
            Ok(ExitCode::SUCCESS)
        }
        Command::Package(package) => package::run(&package),
        Command::Test(options) => test::run(&options),
    }
}
