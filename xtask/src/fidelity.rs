//! `cargo xtask fidelity`: the table in README of what was compared with llama.cpp. The engine's own
//! test computes it, and fails in CI when README shows another.

use std::process::ExitCode;

use crate::failure::{Failure, Result};
use crate::process;

const BEGIN: &str = "<!-- fidelity";
const END: &str = "<!-- /fidelity";

/// Writes the table and prints it.
///
/// # Errors
/// If an architecture disagrees with llama.cpp, or something does not build.
pub(crate) fn run() -> Result<ExitCode> {
    let mut cargo = process::cargo();
    cargo
        .args(["test", "--package", "dormouse", "--features", "reference"])
        .args(["--test", "fidelity"])
        .env("DORMOUSE_WRITE_FIDELITY", "1")
        .current_dir(process::root());
    process::run(&mut cargo)?;
    let path = process::root().join("README.md");
    let readme = std::fs::read_to_string(&path)
        .map_err(|error| Failure(format!("cannot read {}: {error}", path.display())))?;
    for line in table(&readme) {
        println!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}

fn table(readme: &str) -> impl Iterator<Item = &str> {
    readme
        .lines()
        .skip_while(|line| !line.starts_with(BEGIN))
        .skip(1)
        .take_while(|line| !line.starts_with(END))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_between_its_marks() {
        let readme = "a\n<!-- fidelity: x -->\n| 1 |\n| 2 |\n<!-- /fidelity -->\nb\n";
        assert_eq!(table(readme).collect::<Vec<_>>(), ["| 1 |", "| 2 |"]);
    }
}
