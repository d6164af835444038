//! `cargo xtask package`: the artefacts that apps take in, built, opened again and checked.

mod abi;
mod apple;
mod archive;
mod bionic;
mod debian;
mod elf;
mod link;
mod macho;
mod native;
mod plist;
mod privacy;
mod rust;
mod so_checks;
#[cfg(test)]
mod so_fixture;
mod xcframework;

use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::failure::{Failure, Result};
use crate::process;
use abi::Abi;

/// What to package.
#[derive(Subcommand)]
pub(crate) enum Package {
    /// For Android: the native libraries, and the AAR in a local Maven repository.
    Android(Android),
    /// For Apple's systems: the XCFramework, its zip and the checksum.
    Apple(apple::Options),
}

/// What to package for Android.
#[derive(Args, Debug)]
pub(crate) struct Android {
    /// Build and check the native libraries alone.
    #[arg(long)]
    native_only: bool,
    /// Build this ABI alone; may be given again.
    #[arg(long = "abi", value_enum, value_name = "ABI")]
    abis: Vec<Abi>,
    /// The folder for what is made; target/package/android by default.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs `cargo xtask package`.
///
/// # Errors
/// If something cannot be built, or what was built fails a check.
pub(crate) fn run(package: &Package) -> Result<ExitCode> {
    match package {
        Package::Android(options) => android(options)?,
        Package::Apple(options) => apple::run(options)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn android(options: &Android) -> Result<()> {
    let out = out(options.out.as_deref(), "android");
    let abis = match options.abis.as_slice() {
        [] => &Abi::ALL,
        abis => abis,
    };
    native::build(abis, &out)?;
    if options.native_only {
        return Ok(());
    }
    Err(Failure("the AAR".into()))
}

/// The folder of a package.
fn out(chosen: Option<&std::path::Path>, name: &str) -> PathBuf {
    chosen.map_or_else(
        || process::root().join("target/package").join(name),
        std::path::Path::to_path_buf,
    )
}
