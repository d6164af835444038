//! The native libraries of the AAR: built for each ABI, copied to `jni/ABI`, and checked.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::abi::Abi;
use super::bionic::Bionic;
use super::link::Linker;
use super::rust::{self, Toolchain};
use super::so_checks::{self, Wanted};
use crate::failure::{Failure, Result};
use crate::process;

/// The library's file name.
pub(crate) const LIBRARY: &str = "libdormouse_ffi.so";

/// The largest library that is shipped, in bytes.
pub(crate) const LIMIT: u64 = 6_000_000;

/// Where an ABI's library lies in the folder of the package, and in an AAR.
pub(crate) fn place(abi: Abi) -> PathBuf {
    Path::new("jni").join(abi.name()).join(LIBRARY)
}

/// Builds and checks the libraries, below `out`.
///
/// # Errors
/// If a tool is missing, a library does not build, or one is not fit to be shipped.
pub(crate) fn build(abis: &[Abi], out: &Path) -> Result<()> {
    let bionic = Bionic::committed(&process::root())?;
    let mut lines = Vec::new();
    for &abi in abis {
        let start = Instant::now();
        let toolchain = Toolchain::of(abi.target())?;
        let linker = Linker::of(abi, &bionic)?;
        let mut cargo = toolchain.library(abi.target(), "cdylib", &["jvm"]);
        cargo
            .arg("--")
            .arg("-C")
            .arg(format!("linker={}", linker.script.display()));
        process::run(&mut cargo)?;
        let path = out.join(place(abi));
        copy(&rust::built(abi.target(), LIBRARY), &path)?;
        let size = check(&path, abi, &bionic)?;
        lines.push(format!(
            "{}: {size} bytes of {LIMIT}, in {} s, linked by {}: {}",
            abi.name(),
            start.elapsed().as_secs(),
            linker.about,
            path.display()
        ));
    }
    println!("{}", lines.join("\n"));
    Ok(())
}

/// Checks a library on disk and gives its size in bytes.
///
/// # Errors
/// If it cannot be read or is not fit to be shipped; the message has all reasons.
fn check(path: &Path, abi: Abi, bionic: &Bionic) -> Result<usize> {
    let bytes = fs::read(path).map_err(|error| Failure::io("read", path, &error))?;
    super::sound(path, &faults(&bytes, abi, bionic)?)?;
    Ok(bytes.len())
}

/// Everything that is wrong with the library of an ABI.
///
/// # Errors
/// If it is no shared library that can be read.
pub(crate) fn faults(bytes: &[u8], abi: Abi, bionic: &Bionic) -> Result<Vec<String>> {
    let wanted = Wanted {
        machine: abi.machine(),
        soname: LIBRARY,
        limit: LIMIT,
        bionic,
    };
    let mut faults = so_checks::faults(bytes, &wanted)?;
    faults.extend(rust::named_folders(bytes));
    Ok(faults)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(|error| Failure::io("create", folder, &error))?;
    }
    fs::copy(from, to).map_err(|error| Failure::io("copy", from, &error))?;
    Ok(())
}
