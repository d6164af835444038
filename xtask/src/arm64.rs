//! The processors of phones, emulated: the suite of the kernels, and how programs for them are built.

use std::path::PathBuf;
use std::process::Command;

use crate::failure::Result;
use crate::package::rust::{self, Toolchain};
use crate::platforms::{Tool, missing};
use crate::process;
use crate::suites::{Plan, Setup};

const TARGET: &str = "aarch64-unknown-linux-gnu";

pub(crate) const QEMU: Tool = Tool {
    name: "qemu-aarch64",
    probe: &["qemu-aarch64", "--version"],
    packages: &["qemu-user"],
};
pub(crate) const GCC: Tool = Tool {
    name: "a C compiler for arm64",
    probe: &["aarch64-linux-gnu-gcc", "--version"],
    packages: &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
};

/// What is emulated, as qemu names it: all extensions; the dot products without i8mm; neither.
const PROCESSORS: [&str; 3] = ["max", "neoverse-n1", "cortex-a53"];

/// The kernels' tests on the processors of phones.
pub(crate) fn suite(setup: &Setup) -> Result<Plan> {
    if let Some(why) = missing(setup.install, &[QEMU, GCC]) {
        return Ok(Plan::NotRun(why));
    }
    let toolchain = match Toolchain::of(TARGET) {
        Ok(toolchain) => toolchain,
        Err(failure) => return Ok(Plan::NotRun(failure.to_string())),
    };
    let test = |processor: &&str| {
        let mut cargo = cargo(toolchain, "test");
        cargo.args(["--lib", "--tests"]).env(
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER",
            format!("qemu-aarch64 -cpu {processor}"),
        );
        cargo
    };
    Ok(Plan::Run(PROCESSORS.iter().map(test).collect()))
}

/// Builds an example of the kernels and gives its path.
///
/// # Errors
/// If there is no toolchain, or it does not build.
pub(crate) fn example(name: &str) -> Result<PathBuf> {
    let toolchain = Toolchain::of(TARGET)?;
    process::run(cargo(toolchain, "build").args(["--example", name]))?;
    let folder = rust::target_dir().join(TARGET).join("release/examples");
    Ok(folder.join(name))
}

fn cargo(toolchain: Toolchain, what: &str) -> Command {
    let mut cargo = toolchain.cargo();
    cargo
        .current_dir(process::root())
        .args([what, "--release", "--package", "dormouse-kernels"])
        .args(["--target", TARGET, "--target-dir"])
        .arg(rust::target_dir())
        // Static, so that the emulator needs no libraries of that architecture.
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static")
        .env(
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER",
            "aarch64-linux-gnu-gcc",
        );
    cargo
}
