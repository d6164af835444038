//! The generator that `cargo xtask bindings` runs: uniffi's own, at the version that the library
//! was built with. It reads the interface out of the built library.
//!
//! `dormouse-bindgen hide-kotlin DIR` then makes what was written for Kotlin `internal`.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod hide;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|word| word != "hide-kotlin") {
        uniffi::uniffi_bindgen_main();
        return ExitCode::SUCCESS;
    }
    let (Some(dir), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: dormouse-bindgen hide-kotlin DIR");
        return ExitCode::from(2);
    };
    match hide::hide_folder(Path::new(&dir)) {
        Ok(hidden) => {
            println!("{hidden} declarations are internal now");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!(
                "cannot hide the Kotlin in {}: {error}",
                Path::new(&dir).display()
            );
            ExitCode::FAILURE
        }
    }
}
