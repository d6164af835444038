//! `cargo xtask package apple`: a static library for each of Apple's targets, put together as an
//! XCFramework, zipped, and checked by reading it again.

use clap::Args;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use super::archive;
use super::link::LLVM;
use super::macho;
use super::plist::Value;
use super::rust::{self, Toolchain};
use super::xcframework::{self, Slice};
use crate::bindings;
use crate::debian;
use crate::failure::{Failure, Result};
use crate::process;

/// The library's file name.
pub(crate) const LIBRARY: &str = "libdormouse_ffi.a";
/// The name of the C module that Swift imports.
pub(crate) const MODULE: &str = "DormouseFFI";

/// The oldest systems that are supported, as `major.minor`.
const OLDEST_IOS: &str = "16.0";
const OLDEST_MACOS: &str = "13.0";

/// A target that can be built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Rust's name.
    pub(crate) name: &'static str,
    /// Apple's name of the processor, and its number.
    pub(crate) processor: (&'static str, u32),
    /// `ios` or `macos`.
    pub(crate) system: &'static str,
    /// Whether it is the simulator's.
    pub(crate) simulator: bool,
}

const ARM64: (&str, u32) = ("arm64", macho::ARM64);
const X86_64: (&str, u32) = ("x86_64", macho::X86_64);

/// All that are shipped.
pub(crate) const TARGETS: [Target; 5] = [
    target("aarch64-apple-ios", ARM64, "ios", false),
    target("aarch64-apple-ios-sim", ARM64, "ios", true),
    target("x86_64-apple-ios", X86_64, "ios", true),
    target("aarch64-apple-darwin", ARM64, "macos", false),
    target("x86_64-apple-darwin", X86_64, "macos", false),
];

const fn target(
    name: &'static str,
    processor: (&'static str, u32),
    system: &'static str,
    simulator: bool,
) -> Target {
    Target {
        name,
        processor,
        system,
        simulator,
    }
}

impl Target {
    /// The platform that its objects name: Apple's number, and `major * 256 + minor`.
    pub(crate) fn platform(self) -> macho::Platform {
        let (number, oldest) = match (self.system, self.simulator) {
            ("macos", _) => (1, 13 << 8),
            (_, false) => (2, 16 << 8),
            (_, true) => (7, 16 << 8),
        };
        macho::Platform { number, oldest }
    }
}

/// What to package for Apple's systems.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Build for this target alone; may be given again.
    #[arg(long = "target", value_name = "TRIPLE", value_parser = TARGETS.map(|target| target.name))]
    targets: Vec<String>,
    /// The folder for what is made; `build` by default, where Package.swift looks.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The C header that uniffi generated; by default that of `cargo xtask bindings`, which is
    /// run for it.
    #[arg(long, value_name = "FILE")]
    header: Option<PathBuf>,
}

/// Builds, packs and checks.
///
/// # Errors
/// If a tool is missing, a part does not build, or the result is not fit to be shipped.
pub(crate) fn run(options: &Options) -> Result<()> {
    let root = process::root();
    let header = match &options.header {
        Some(header) if header.is_file() => header.clone(),
        Some(header) => return Err(Failure(format!("there is no {}", header.display()))),
        // What an earlier build left there may be of other sources. The generated Swift that
        // belongs to the header comes to lie where Package.swift looks.
        None => {
            bindings::run()?;
            bindings::folder().join("swift").join(format!("{MODULE}.h"))
        }
    };
    let chosen = |target: &&Target| {
        options.targets.is_empty() || options.targets.iter().any(|name| name == target.name)
    };
    let targets: Vec<Target> = TARGETS.iter().filter(chosen).copied().collect();
    for &target in &targets {
        build(target)?;
    }
    let out = options.out.clone().unwrap_or_else(|| root.join("build"));
    let bundle = out.join(format!("{MODULE}.xcframework"));
    let slices = Slice::of(&targets);
    for slice in &slices {
        join(slice, &bundle.join(slice.identifier()).join(LIBRARY))?;
    }
    let manifest = root.join("ios/Sources/Dormouse/PrivacyInfo.xcprivacy");
    let manifest =
        fs::read_to_string(&manifest).map_err(|error| Failure::io("read", &manifest, &error))?;
    xcframework::write(&bundle, &slices, &header, &manifest)?;
    let privacy = Value::parse(&manifest)?;
    super::sound(&bundle, &xcframework::faults(&bundle, &targets, &privacy)?)?;
    let zip = out.join(format!("{MODULE}.xcframework.zip"));
    let mut entries = archive::tree(&bundle)?;
    for entry in &mut entries {
        entry.name = format!("{MODULE}.xcframework/{}", entry.name);
    }
    archive::write(&zip, entries)?;
    // What `swift package compute-checksum` prints.
    let checksum = checksum(&zip)?;
    let note = out.join(format!("{MODULE}.xcframework.zip.sha256"));
    fs::write(&note, format!("{checksum}\n"))
        .map_err(|error| Failure::io("write", &note, &error))?;
    println!("{}\n{}: {checksum}", bundle.display(), zip.display());
    Ok(())
}

fn build(target: Target) -> Result<()> {
    let start = Instant::now();
    let mut cargo = Toolchain::of(target.name)?.library(target.name, "staticlib", &[]);
    cargo
        .env("IPHONEOS_DEPLOYMENT_TARGET", OLDEST_IOS)
        .env("MACOSX_DEPLOYMENT_TARGET", OLDEST_MACOS);
    process::run(&mut cargo)?;
    let path = rust::built(target.name, LIBRARY);
    let size = fs::metadata(&path).map_err(|error| Failure::io("read", &path, &error))?;
    println!(
        "{}: {} bytes, in {} s",
        target.name,
        size.len(),
        start.elapsed().as_secs()
    );
    Ok(())
}

/// Puts the libraries of a slice's targets into one file.
fn join(slice: &Slice, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(|error| Failure::io("create", folder, &error))?;
    }
    let parts: Vec<PathBuf> = slice
        .targets
        .iter()
        .map(|target| rust::built(target.name, LIBRARY))
        .collect();
    if let [only] = parts.as_slice() {
        fs::copy(only, to).map_err(|error| Failure::io("copy", only, &error))?;
        return Ok(());
    }
    let mut lipo = lipo()?;
    process::run(lipo.arg("-create").args(&parts).arg("-output").arg(to))
}

/// Apple's tool, or LLVM's.
fn lipo() -> Result<Command> {
    if cfg!(target_os = "macos") {
        return Ok(Command::new("lipo"));
    }
    let name = format!("llvm-lipo-{LLVM}");
    if !process::succeeds(Command::new(&name).arg("--version")) {
        debian::install(&[&format!("llvm-{LLVM}")])
            .map_err(|Failure(why)| Failure(format!("{name} is not there; {why}")))?;
    }
    Ok(Command::new(name))
}

fn checksum(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(|error| Failure::io("read", path, &error))?;
    let digest = Sha256::digest(bytes);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}
