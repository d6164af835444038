//! `cargo xtask package`: the artefacts that apps take in, built, opened again and checked.

mod aar;
#[cfg(test)]
mod aar_tests;
mod abi;
mod apple;
mod archive;
mod bionic;
mod elf;
mod kdoc;
mod link;
mod macho;
#[cfg(test)]
mod macho_fixture;
mod maven;
mod native;
mod plist;
mod privacy;
pub(crate) mod rust;
mod smoke;
mod so_checks;
#[cfg(test)]
mod so_fixture;
mod xcframework;
#[cfg(test)]
mod xcframework_tests;

use clap::{Args, Subcommand};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::failure::{Failure, Result};
use crate::platforms;
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
    /// Run each library on Linux, against a stand-in for bionic; arm64 under qemu.
    #[arg(long)]
    smoke: bool,
    /// A jar of our classes, in place of those that Maven builds; may be given again.
    #[arg(long = "jar", value_name = "JAR", requires = "docs")]
    jars: Vec<PathBuf>,
    /// A jar or folder of Kotlin sources, in place of the committed ones; may be given again.
    #[arg(long = "sources", value_name = "PATH")]
    sources: Vec<PathBuf>,
    /// The jar or folder of the documentation, in place of what Dokka writes.
    #[arg(long, value_name = "PATH", requires = "jars")]
    docs: Option<PathBuf>,
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
    if options.smoke {
        for &abi in abis {
            smoke::run(abi, &out)?;
            println!(
                "{}: loads, answers and catches a panic on Linux",
                abi.name()
            );
        }
    }
    if options.native_only {
        return Ok(());
    }
    let root = process::root();
    let kotlin = Kotlin::of(options)?;
    let read = |path: &str| {
        let path = root.join(path);
        fs::read_to_string(&path).map_err(|error| Failure::io("read", &path, &error))
    };
    let version = env!("CARGO_PKG_VERSION");
    let mut properties = maven::properties(&read("android/pom.xml")?);
    properties.insert("dormouse.version".into(), version.into());
    let pom = maven::fill(&read("android/aar/pom.xml")?, &properties)?;
    let mut pages = kdoc::pages(&read("android/api/dormouse.api")?);
    pages.extend(kdoc::pages(&read("android/api/dormouse-android.api")?));

    let repository = out.join("maven");
    let aar = maven::place(&repository, version, ".aar");
    aar::write(&aar, &root, &kotlin.jars, &out, abis)?;
    maven::write(
        &repository,
        version,
        &pom,
        aar::merge(&kotlin.sources)?,
        aar::merge(&[&kotlin.docs])?,
    )?;
    let bionic = bionic::Bionic::committed(&root)?;
    sound(&aar, &aar::faults(&aar, &root, abis, &bionic)?)?;
    sound(&repository, &maven::faults(&repository, version, &pages)?)?;
    let size = fs::metadata(&aar).map_err(|error| Failure::io("read", &aar, &error))?;
    println!("{}: {} bytes", aar.display(), size.len());
    Ok(())
}

/// The Kotlin side of the AAR.
struct Kotlin {
    jars: Vec<PathBuf>,
    sources: Vec<PathBuf>,
    docs: PathBuf,
}

impl Kotlin {
    /// What the options name, or what Maven builds of this repository.
    fn of(options: &Android) -> Result<Self> {
        let android = process::root().join("android");
        let sources = match options.sources.as_slice() {
            [] => ["dormouse", "dormouse-android"]
                .map(|module| android.join(module).join("src/main/kotlin"))
                .to_vec(),
            given => given.to_vec(),
        };
        if let Some(docs) = &options.docs {
            return Ok(Self {
                jars: options.jars.clone(),
                sources,
                docs: docs.clone(),
            });
        }
        platforms::build_kotlin_jars()?;
        let version = env!("CARGO_PKG_VERSION");
        let jar = |module: &str, name: &str| {
            let target = android.join(module).join("target");
            target.join(format!("{name}-{version}.jar"))
        };
        Ok(Self {
            jars: vec![
                jar("dormouse", "dormouse-jvm"),
                jar("dormouse-android", "dormouse-android-classes"),
            ],
            sources,
            docs: android.join("dormouse-android/target/dokka"),
        })
    }
}

/// Refuses what has a fault; the message has all of them.
fn sound(path: &Path, faults: &[String]) -> Result<()> {
    if faults.is_empty() {
        return Ok(());
    }
    Err(Failure(format!(
        "{} cannot be shipped:\n  {}",
        path.display(),
        faults.join("\n  ")
    )))
}

/// The folder of a package.
fn out(chosen: Option<&Path>, name: &str) -> PathBuf {
    chosen.map_or_else(
        || process::root().join("target/package").join(name),
        Path::to_path_buf,
    )
}
