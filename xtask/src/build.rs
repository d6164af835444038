//! Building a program of ours in release mode, wherever cargo puts it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::failure::{Failure, Result};
use crate::process;

/// Builds the dormouse command.
///
/// # Errors
/// If it does not build.
pub(crate) fn dormouse() -> Result<PathBuf> {
    let mut cargo = process::cargo();
    cargo
        .args(["build", "--release", "--package", "dormouse-cli"])
        .args(["--bin", "dormouse", "--manifest-path"])
        .arg(process::root().join("Cargo.toml"));
    run(cargo, "dormouse")
}

/// Builds an example program of a package of the workspace.
///
/// # Errors
/// If it does not build.
pub(crate) fn example(package: &str, name: &str) -> Result<PathBuf> {
    let mut cargo = process::cargo();
    cargo
        .args(["build", "--release", "--package", package])
        .args(["--example", name, "--manifest-path"])
        .arg(process::root().join("Cargo.toml"));
    run(cargo, name)
}

/// Runs a `cargo build` and gives the path of the executable named `binary`: cargo tells where
/// it put it, whatever the target directory.
///
/// # Errors
/// If it does not build, or builds no such executable.
pub(crate) fn run(mut cargo: Command, binary: &str) -> Result<PathBuf> {
    let output = cargo
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure(format!("cannot start cargo: {error}")))?;
    if !output.status.success() {
        return Err(Failure(format!(
            "the {binary} command does not build (cargo's message is above)"
        )));
    }
    executable(&String::from_utf8_lossy(&output.stdout), binary)
        .ok_or_else(|| Failure(format!("cargo named no {binary} executable")))
}

/// The path of the executable in cargo's JSON messages, one a line.
fn executable(messages: &str, binary: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == binary)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_executable_is_read_from_cargos_messages() {
        let messages = "not json\n\
            {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"dormouse\"},\"executable\":null}\n\
            {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"dormouse\"},\"executable\":\"/t/dormouse\"}\n\
            {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(
            executable(messages, "dormouse").as_deref(),
            Some(Path::new("/t/dormouse"))
        );
        assert_eq!(executable(messages, "xtask"), None);
    }

    #[test]
    fn a_failing_build_names_the_program() {
        let mut cargo = process::cargo();
        cargo.args(["build", "--manifest-path", "no/such/Cargo.toml"]);
        let message = run(cargo, "thing").unwrap_err().to_string();
        assert!(
            message.starts_with("the thing command does not build"),
            "{message}"
        );
    }
}
