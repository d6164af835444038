//! Builds the library for this machine and writes its Kotlin and Swift sides, with all that the
//! tests of both languages need, into one folder; of it, what `Package.swift` builds on goes to
//! `ios/Generated`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::build;
use crate::failure::{Failure, Result};
use crate::process;

/// What the tests link and load: for Java VMs, and with a panic to provoke.
const FEATURES: &str = "jvm,provoke-panics";

/// The folder with everything: `lib` (the shared and the static library), `kotlin` and `swift`
/// (generated), `models` (the tiny ones).
pub(crate) fn folder() -> PathBuf {
    process::root().join("target").join("bindings")
}

/// The shared library in [`folder`].
pub(crate) fn shared_library() -> PathBuf {
    folder().join("lib").join(shared_name())
}

fn shared_name() -> String {
    let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    format!("{prefix}dormouse_ffi{suffix}")
}

/// Writes [`folder`] anew, and `ios/Generated`.
///
/// # Errors
/// If a part does not build or cannot be written.
pub(crate) fn run() -> Result<()> {
    let folder = folder();
    let library = library(&folder.join("lib"))?;
    let bindgen = bindgen()?;
    for language in ["kotlin", "swift"] {
        let out = folder.join(language);
        remove(&out)?;
        let mut generate = in_root(&bindgen);
        generate.args([
            "generate",
            "--no-format",
            "--language",
            language,
            "--library",
        ]);
        process::run(generate.arg(&library).arg("--out-dir").arg(&out))?;
    }
    process::run(
        in_root(&bindgen)
            .arg("hide-kotlin")
            .arg(folder.join("kotlin")),
    )?;
    let mut models = cargo(&["run", "--release", "--package", "dormouse"]);
    models.args(["--example", "tiny_models", "--"]);
    process::run(models.arg(folder.join("models")))?;
    place(&folder)?;
    println!("{}", folder.display());
    Ok(())
}

/// Puts the Swift side where `Package.swift` looks; and on Linux the library, as elsewhere that is
/// the XCFramework's.
fn place(folder: &Path) -> Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    let mut place = Command::new(process::root().join("ios/toolchain/place.sh"));
    place.arg(folder.join("swift"));
    if cfg!(target_os = "linux") {
        place.arg(folder.join("lib").join("libdormouse_ffi.a"));
    }
    process::run(place.current_dir(process::root()))
}

/// Builds the library and copies it to `lib`, so that a later build with other features leaves it
/// alone. Gives the shared one.
fn library(lib: &Path) -> Result<PathBuf> {
    let mut command = cargo(&["build", "--release", "--package", "dormouse-ffi"]);
    process::run(command.args(["--features", FEATURES]))?;
    fs::create_dir_all(lib).map_err(|e| failed("make", lib, &e))?;
    let names = [shared_name(), "libdormouse_ffi.a".to_owned()];
    for name in &names {
        let from = target().join("release").join(name);
        fs::copy(&from, lib.join(name)).map_err(|e| failed("copy", &from, &e))?;
    }
    Ok(lib.join(&names[0]))
}

fn bindgen() -> Result<PathBuf> {
    let mut command = cargo(&["build", "--release", "--package", "dormouse-bindgen"]);
    command.args(["--bin", "dormouse-bindgen"]);
    build::run(command, "dormouse-bindgen")
}

/// Where cargo puts what it builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| process::root().join("target"), PathBuf::from)
}

fn cargo(words: &[&str]) -> Command {
    let mut command = process::cargo();
    command.args(words).current_dir(process::root());
    command
}

/// uniffi looks for the workspace around the present folder.
fn in_root(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(process::root());
    command
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", folder, &e)),
        _ => Ok(()),
    }
}

fn failed(doing: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure(format!("cannot {doing} {}: {error}", path.display()))
}
