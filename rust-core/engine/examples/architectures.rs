//! Writes a tiny random model of every architecture in every type, and a LoRA adapter for each
//! architecture: `architectures DIR`.
//!
//! Less than 300 KB each, the same bytes every time; `fixtures/generate.py` computes with llama.cpp
//! what `tests/fidelity.rs` compares with.
#![allow(clippy::unwrap_used)]

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/tiny/mod.rs"]
mod tiny;

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(dir) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: architectures DIR");
        return ExitCode::from(2);
    };
    match write(&dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn write(dir: &std::path::Path) -> dormouse::Result<()> {
    let made = std::fs::create_dir_all(dir);
    made.map_err(|e| dormouse::Error::io(format!("make {}", dir.display()), e))?;
    for (name, file) in tiny::encode::architectures() {
        file.write(dir.join(format!("{name}.gguf")))?;
    }
    for name in tiny::zoo::NAMES {
        tiny::zoo::adapter(name).write(dir.join(format!("{name}.lora")))?;
    }
    Ok(())
}
