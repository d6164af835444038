//! The Rust toolchain for another target: the present one where it has the target's standard
//! library, else Debian's compiler, which builds the standard library from its own sources.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::debian;
use crate::failure::{Failure, Result};
use crate::process;

/// Debian's packages of a compiler, and of the sources of its standard library.
const PACKAGES: [&str; 4] = [
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    "libstd-rust-web-dev",
];

/// How to compile for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// The toolchain that runs us has the target.
    Present,
    /// Debian's, with the standard library built along.
    Debian,
}

impl Toolchain {
    /// Finds one for a target; on Debian, as root, installs one.
    ///
    /// # Errors
    /// If there is none; the message says how to get one.
    pub(crate) fn of(target: &str) -> Result<Self> {
        if has_target(target) {
            return Ok(Self::Present);
        }
        let sources = Path::new("/usr/lib/rustlib/src/rust/library/std");
        if !sources.is_dir() || !Path::new("/usr/bin/cargo").is_file() {
            debian::install(&PACKAGES).map_err(|Failure(why)| {
                Failure(format!(
                    "there is no standard library for {target} (rustup target add {target}); {why}"
                ))
            })?;
        }
        Ok(Self::Debian)
    }

    /// Its cargo, for another target than this machine's.
    pub(crate) fn cargo(self) -> Command {
        match self {
            Self::Present => process::cargo(),
            Self::Debian => {
                let mut cargo = Command::new("/usr/bin/cargo");
                let path = std::env::var_os("PATH").unwrap_or_default();
                let mut folders = vec![PathBuf::from("/usr/bin")];
                folders.extend(std::env::split_paths(&path));
                if let Ok(path) = std::env::join_paths(folders) {
                    cargo.env("PATH", path);
                }
                // What rustup sets for the toolchain that runs us would mislead this one.
                for name in ["RUSTUP_TOOLCHAIN", "RUSTC", "CARGO", "LD_LIBRARY_PATH"] {
                    cargo.env_remove(name);
                }
                cargo.env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=std");
                cargo
            }
        }
    }

    /// `cargo rustc` of our library in the profile that is shipped, as one kind of crate.
    pub(crate) fn library(self, target: &str, kind: &str, features: &[&str]) -> Command {
        let mut cargo = self.cargo();
        cargo.current_dir(process::root()).args([
            "rustc",
            "--locked",
            "--profile",
            "dist",
            "--package",
            "dormouse-ffi",
            "--lib",
        ]);
        cargo.args(["--crate-type", kind, "--target", target]);
        cargo.env("CARGO_ENCODED_RUSTFLAGS", remapped().join("\u{1f}"));
        if !features.is_empty() {
            cargo.args(["--features", &features.join(",")]);
        }
        // Its own folder: two compilers that share one undo each other's build.
        cargo.arg("--target-dir").arg(target_dir());
        cargo
    }
}

/// Folders of this machine that a panic's place would name, and what stands for them.
pub(crate) fn private_folders() -> Vec<(String, &'static str)> {
    let home = std::env::home_dir().unwrap_or_default();
    let cargo = std::env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    let folders = [(cargo, "/cargo"), (process::root(), "/dormouse")];
    folders
        .into_iter()
        .map(|(folder, name)| (folder.display().to_string(), name))
        .collect()
}

/// What is shipped does not tell where it was built, and is the same wherever that was.
fn remapped() -> Vec<String> {
    let standard = ("/usr/lib/rustlib/src/rust".to_owned(), "/rustc");
    let folders = private_folders().into_iter().chain([standard]);
    folders
        .map(|(folder, name)| format!("--remap-path-prefix={folder}={name}"))
        .collect()
}

/// The private folders that a library names, a sentence each.
pub(crate) fn named_folders(bytes: &[u8]) -> Vec<String> {
    let named = |folder: &String| {
        let folder = folder.as_bytes();
        bytes
            .windows(folder.len().max(1))
            .any(|part| part == folder)
    };
    private_folders()
        .into_iter()
        .map(|(folder, _)| folder)
        .filter(named)
        .map(|folder| format!("it names {folder}, a folder of the machine that built it"))
        .collect()
}

/// The folder of builds for other targets.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .filter(|dir| !dir.is_empty())
        .map_or_else(|| process::root().join("target"), PathBuf::from)
        .join("cross")
}

/// Where a build puts its library.
pub(crate) fn built(target: &str, file: &str) -> PathBuf {
    target_dir().join(target).join("dist").join(file)
}

fn has_target(target: &str) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", target])
        .output();
    output.is_ok_and(|output| {
        let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success() && Path::new(&folder).is_dir()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_of_this_machine_is_there_and_an_unknown_one_is_not() {
        let version = Command::new("rustc").arg("-vV").output().unwrap();
        let version = String::from_utf8(version.stdout).unwrap();
        let host = version.lines().find_map(|line| line.strip_prefix("host: "));
        assert!(has_target(host.unwrap()));
        assert!(!has_target("no-such-target"));
    }

    #[test]
    fn a_library_that_names_a_folder_of_this_machine_is_found() {
        let folder = process::root().join("rust-core/engine/src/lib.rs");
        let bytes = [b"\0\0", folder.display().to_string().as_bytes(), b":7"].concat();
        let faults = named_folders(&bytes);
        assert!(
            faults.len() == 1 && faults[0].contains("a folder of the machine"),
            "{faults:?}"
        );
        assert!(named_folders(b"/dormouse/rust-core/engine/src/lib.rs").is_empty());
        assert!(named_folders(b"").is_empty());
    }

    #[test]
    fn debians_cargo_builds_the_standard_library_along() {
        let shown = |toolchain: Toolchain| {
            process::show(&toolchain.library("aarch64-linux-android", "cdylib", &["jvm"]))
        };
        let debian = shown(Toolchain::Debian);
        assert!(debian.contains("RUSTC_BOOTSTRAP=1"), "{debian}");
        assert!(debian.contains("cargo -Zbuild-std=std rustc"), "{debian}");
        let present = shown(Toolchain::Present);
        assert!(!present.contains("BOOTSTRAP") && !present.contains("build-std"));
        assert!(present.contains("--crate-type cdylib --target aarch64-linux-android"));
    }
}
