//! The suites: what each runs, what it needs, and the time it may take.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::arm64;
use crate::failure::Result;
use crate::fetch::Fetcher;
use crate::fuzz;
use crate::platforms;
use crate::process;

/// The oldest compiler we promise to build with.
const MSRV: &str = env!("CARGO_PKG_RUST_VERSION");

/// The features of the tests that need no model. `real-models` is left out; see [`real_tests`].
const FEATURES: &str = "dormouse/reference";

/// A group of checks with one line in the summary.
pub(crate) struct Suite {
    /// The word for `--only`.
    pub(crate) name: &'static str,
    /// What it checks, for `--help`.
    pub(crate) about: &'static str,
    /// Time on a new machine with two cores and nothing built.
    pub(crate) budget: Duration,
    /// Finds out whether it can run here, and how.
    pub(crate) plan: fn(&Setup) -> Result<Plan>,
}

/// What the user asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setup {
    /// More random cases for each property.
    pub(crate) long: bool,
    /// Tools that are missing are installed.
    pub(crate) install: bool,
}

/// What a suite will do.
pub(crate) enum Plan {
    /// Run these, one after the other, until one fails.
    Run(Vec<Command>),
    /// Nothing, and why.
    NotRun(String),
}

/// All suites, in the order of a run: what fails fast comes first.
pub(crate) const SUITES: &[Suite] = &[
    Suite {
        name: "fmt",
        about: "rustfmt",
        budget: Duration::from_secs(10),
        plan: |_| {
            let all = cargo(&["fmt", "--all", "--check"]);
            let fuzz = cargo(&split("fmt --manifest-path fuzz/Cargo.toml --check"));
            Ok(Plan::Run(vec![all, fuzz]))
        },
    },
    Suite {
        name: "clippy",
        about: "lints, warnings denied",
        budget: Duration::from_secs(300),
        plan: |_| {
            let words = "clippy --workspace --all-targets --all-features -- -D warnings";
            Ok(Plan::Run(vec![cargo(&split(words))]))
        },
    },
    Suite {
        name: "deny",
        about: "licences, bans and sources of dependencies (cargo-deny)",
        budget: Duration::from_secs(300),
        plan: deny,
    },
    Suite {
        name: "docs",
        about: "rustdoc of the libraries, warnings denied",
        budget: Duration::from_secs(90),
        plan: |_| {
            let mut doc = cargo(&split("doc --workspace --lib --no-deps --all-features"));
            doc.env("RUSTDOCFLAGS", "-D warnings");
            Ok(Plan::Run(vec![doc]))
        },
    },
    Suite {
        name: "unit",
        about: "all tests that need no model, release build",
        budget: Duration::from_secs(420),
        plan: |setup| {
            let words = "test --release --workspace --exclude dormouse-ffi \
                         --exclude dormouse-bindgen --features";
            let mut command = test(setup, &split(words));
            command.arg(FEATURES);
            Ok(Plan::Run(vec![command]))
        },
    },
    Suite {
        name: "debug",
        about: "library tests of kernels and engine, the engine with debug assertions",
        budget: Duration::from_secs(180),
        plan: |setup| {
            let words = split("test --package dormouse-kernels --package dormouse --lib");
            Ok(Plan::Run(vec![test(setup, &words)]))
        },
    },
    Suite {
        name: "asan",
        about: "the kernels' tests with every access to memory checked",
        budget: Duration::from_secs(300),
        plan: asan,
    },
    Suite {
        name: "models",
        about: "tests on both real models and on llama.cpp's cases (fetches 410 MiB once)",
        budget: Duration::from_secs(420),
        plan: models,
    },
    Suite {
        name: "fuzz",
        about: "broken files, texts and templates from a fuzzer, 30 s each (cargo-fuzz)",
        budget: Duration::from_secs(480),
        plan: fuzz::suite,
    },
    Suite {
        name: "arm64",
        about: "the kernels on emulated phones: with i8mm, with dot products alone, with neither",
        budget: Duration::from_secs(360),
        plan: arm64::suite,
    },
    Suite {
        name: "ffi",
        about: "the bridge: every error, the committed conversations, a Java VM",
        budget: Duration::from_secs(300),
        plan: platforms::ffi,
    },
    Suite {
        name: "kotlin",
        about: "the Kotlin layer on a Java VM, with the real library",
        budget: Duration::from_secs(420),
        plan: platforms::kotlin,
    },
    Suite {
        name: "swift",
        about: "the Swift package on this machine, with the real library",
        budget: Duration::from_secs(420),
        plan: platforms::swift,
    },
    Suite {
        name: "android",
        about: "the AAR, built, opened again, and taken in by a consumer",
        budget: Duration::from_secs(780),
        plan: platforms::android,
    },
    Suite {
        name: "apple",
        about: "the XCFramework, built and opened again",
        budget: Duration::from_secs(600),
        plan: platforms::apple,
    },
    Suite {
        name: "msrv",
        about: "cargo check with the oldest compiler promised",
        budget: Duration::from_secs(300),
        plan: msrv,
    },
];

fn cargo(words: &[&str]) -> Command {
    let mut command = process::cargo();
    command.args(words).current_dir(process::root());
    command
}

/// The kernels' tests under the address sanitizer. It must know the target by name, or build scripts
/// and macros would be built with it, too.
fn asan(setup: &Setup) -> Result<Plan> {
    let target = match std::env::consts::ARCH {
        arch @ ("x86_64" | "aarch64") if cfg!(target_os = "linux") => {
            format!("{arch}-unknown-linux-gnu")
        }
        _ => {
            return Ok(Plan::NotRun(
                "the address sanitizer is used on Linux".into(),
            ));
        }
    };
    let words = split("test --release --package dormouse-kernels --target-dir target/asan");
    let mut command = test(setup, &words);
    command
        .args(["--target", &target])
        // Sanitizers are not yet options of the stable compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=address")
        // Looking for leaks takes the right to trace processes, which containers may not have.
        .env("ASAN_OPTIONS", "detect_leaks=0");
    Ok(Plan::Run(vec![command]))
}

fn split(words: &str) -> Vec<&str> {
    words.split(' ').collect()
}

/// A `cargo test`; `long` tells tests of ours to try everything, multiplies proptest's 256 cases by
/// sixteen, and what it lets properties reject by as much.
fn test(setup: &Setup, words: &[&str]) -> Command {
    let mut command = cargo(words);
    if setup.long {
        command
            .env("DORMOUSE_LONG", "1")
            .env("PROPTEST_CASES", "4096")
            .env("PROPTEST_MAX_GLOBAL_REJECTS", "16384");
    }
    command
}

fn deny(setup: &Setup) -> Result<Plan> {
    let check = cargo(&split("deny check bans licenses sources"));
    if process::succeeds(&mut cargo(&["deny", "--version"])) {
        return Ok(Plan::Run(vec![check]));
    }
    let install = split("install cargo-deny --locked");
    if setup.install {
        return Ok(Plan::Run(vec![cargo(&install), check]));
    }
    Ok(Plan::NotRun(format!(
        "cargo-deny is not installed (cargo {})",
        install.join(" ")
    )))
}

fn msrv(setup: &Setup) -> Result<Plan> {
    let rustup = |words: &[&str]| {
        let mut command = Command::new("rustup");
        command.args(words).current_dir(process::root());
        command
    };
    // A folder of its own: sharing one, each compiler would undo the other's build.
    let words = "cargo check --workspace --all-targets --all-features --target-dir target/msrv";
    let check = rustup(&[&["run", MSRV], split(words).as_slice()].concat());
    if process::succeeds(&mut rustup(&["run", MSRV, "cargo", "--version"])) {
        return Ok(Plan::Run(vec![check]));
    }
    let install = ["toolchain", "install", MSRV, "--profile", "minimal"];
    if setup.install {
        return Ok(Plan::Run(vec![rustup(&install), check]));
    }
    Ok(Plan::NotRun(format!(
        "Rust {MSRV} is not installed (rustup {})",
        install.join(" ")
    )))
}

fn models(setup: &Setup) -> Result<Plan> {
    let tests = real_tests(&process::root());
    if tests.is_empty() {
        return Ok(Plan::NotRun(
            "there is no rust-core/*/tests/real_*.rs".into(),
        ));
    }
    let folder = match Fetcher::from_env().and_then(|fetcher| fetcher.of_tests()) {
        Ok(folder) => folder,
        Err(failure) => return Ok(Plan::NotRun(failure.to_string())),
    };
    let commands = tests.into_iter().map(|(package, names)| {
        let features = match package {
            "dormouse" => "real-models,reference",
            _ => "real-models",
        };
        let mut command = test(setup, &["test", "--release", "--package", package]);
        command.args(["--features", features]);
        for name in names {
            command.args(["--test", &name]);
        }
        command.env("DORMOUSE_MODELS", &folder);
        command
    });
    Ok(Plan::Run(commands.collect()))
}

/// The tests that need real models, by package: those in files `tests/real_*.rs`, which start
/// with `#![cfg(feature = "real-models")]` and read the models in the folder `DORMOUSE_MODELS`.
fn real_tests(root: &Path) -> Vec<(&'static str, Vec<String>)> {
    let mut found = Vec::new();
    for (package, folder) in [("dormouse", "engine"), ("dormouse-cli", "cli")] {
        let mut names: Vec<String> = test_files(&root.join("rust-core").join(folder))
            .iter()
            .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
            .filter(|name| name.starts_with("real_"))
            .collect();
        names.sort();
        if !names.is_empty() {
            found.push((package, names));
        }
    }
    found
}

/// The integration tests of a package: one file each, straight in `tests`.
fn test_files(package: &Path) -> Vec<PathBuf> {
    fs::read_dir(package.join("tests")).map_or(Vec::new(), |entries| {
        entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|ext| ext == "rs"))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A test that needs a model and is not where the suite looks would never run.
    #[test]
    fn tests_on_real_models_are_found_by_name() {
        for folder in ["engine", "cli"] {
            for path in test_files(&process::root().join("rust-core").join(folder)) {
                let text = fs::read_to_string(&path).unwrap();
                let name = path.file_name().unwrap().to_str().unwrap();
                let gated = text.contains("#![cfg(feature = \"real-models\")]");
                assert_eq!(
                    name.starts_with("real_"),
                    gated,
                    "{name}: real_* and the gate go together"
                );
                assert!(
                    gated || !text.contains("DORMOUSE_MODELS"),
                    "{name} needs a model: name it real_*.rs"
                );
                assert!(!gated || text.contains("#[test]"), "{name} has no test");
            }
        }
    }

    #[test]
    fn real_tests_are_listed_by_package() {
        let root = std::env::temp_dir().join(format!("xtask-suites-{}", std::process::id()));
        assert!(real_tests(&root).is_empty());
        let tests = root.join("rust-core/engine/tests");
        fs::create_dir_all(tests.join("real_dir")).unwrap();
        for name in ["real_b.rs", "real_a.rs", "other.rs", "real_c.txt"] {
            fs::write(tests.join(name), "").unwrap();
        }
        let expected = vec![("dormouse", vec!["real_a".to_owned(), "real_b".to_owned()])];
        assert_eq!(real_tests(&root), expected);
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn long_runs_more_random_cases() {
        let plan = |long| {
            let setup = Setup {
                long,
                install: false,
            };
            let command = test(&setup, &["test"]);
            let names = command.get_envs().map(|(name, _)| name.to_owned());
            names.collect::<Vec<_>>()
        };
        assert!(plan(false).is_empty());
        assert!(plan(true).contains(&"PROPTEST_CASES".into()));
    }
}
