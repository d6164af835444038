//! A library for Android run on Linux: bionic's few names of its own come from a small stand-in
//! (`android/link/on_linux`), the rest from glibc; arm64 runs under qemu.
//!
//! It shows that the file loads, answers, and turns a panic into an error, which takes the
//! unwinder that was linked in. It shows nothing about bionic or about a phone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::abi::Abi;
use super::native;
use crate::debian;
use crate::failure::{Failure, Result};
use crate::process;

/// Debian's packages for arm64 programs on another machine.
const ARM64_PACKAGES: [&str; 3] = [
    "gcc-aarch64-linux-gnu",
    "libc6-dev-arm64-cross",
    "qemu-user",
];

/// Runs the library of an ABI, which lies below `out`.
///
/// # Errors
/// If a tool is missing, or the library does not load or answer.
pub(crate) fn run(abi: Abi, out: &Path) -> Result<()> {
    if !cfg!(target_os = "linux") {
        return Err(Failure(
            "a library for Android can be run on Linux alone".into(),
        ));
    }
    let host = Host::of(abi)?;
    let folder = std::env::temp_dir().join(format!(
        "dormouse-smoke-{}-{}",
        abi.name(),
        std::process::id()
    ));
    fs::create_dir_all(&folder).map_err(|error| Failure::io("create", &folder, &error))?;
    let result = host.smoke(&out.join(native::place(abi)), &folder);
    fs::remove_dir_all(&folder).map_err(|error| Failure::io("remove", &folder, &error))?;
    answers(&result?).map_err(|Failure(why)| Failure(format!("{} on Linux: {why}", abi.name())))
}

/// What the program must print: the version, and the words of a panic.
fn answers(output: &str) -> Result<()> {
    let version = concat!("version: ", env!("CARGO_PKG_VERSION"), "\n");
    for wanted in [version, "panic: bytes length negative"] {
        if !output.contains(wanted) {
            return Err(Failure(format!(
                "the library did not answer `{}` but:\n{output}",
                wanted.trim()
            )));
        }
    }
    Ok(())
}

/// How programs of an ABI's processor are compiled and run here.
struct Host {
    compiler: &'static str,
    /// Words before the program.
    emulator: Vec<String>,
}

impl Host {
    fn of(abi: Abi) -> Result<Self> {
        if std::env::consts::ARCH == abi.architecture() {
            let emulator = vec!["env".to_owned()];
            let compiler = "cc";
            return Ok(Self { compiler, emulator });
        }
        if abi != Abi::Arm64 {
            let name = abi.name();
            return Err(Failure(format!(
                "{name} can be run on such a machine alone"
            )));
        }
        let compiler = "aarch64-linux-gnu-gcc";
        let there = |name: &str| process::succeeds(Command::new(name).arg("--version"));
        if !there(compiler) || !there("qemu-aarch64") {
            debian::install(&ARM64_PACKAGES)?;
        }
        let mut emulator = vec!["qemu-aarch64".to_owned()];
        // With the system's own arm64 libraries installed, another root makes qemu spin for ever.
        if !Path::new("/lib/ld-linux-aarch64.so.1").exists() {
            emulator.extend(["-L".to_owned(), "/usr/aarch64-linux-gnu".into()]);
        }
        emulator.push("-E".into());
        Ok(Self { compiler, emulator })
    }

    /// Builds the stand-ins and the program in `folder`, runs it, and gives what it prints.
    fn smoke(&self, library: &Path, folder: &Path) -> Result<String> {
        let sources = process::root().join("android/link/on_linux");
        let copy = folder.join(native::LIBRARY);
        fs::copy(library, &copy).map_err(|error| Failure::io("copy", library, &error))?;
        let compile = |source: &Path, name: &str, words: &[&str]| -> Result<PathBuf> {
            let program = folder.join(name);
            let mut compiler = Command::new(self.compiler);
            compiler.args(["-Wall", "-Werror", "-O1"]).args(words);
            process::run(compiler.arg("-o").arg(&program).arg(source).arg("-lm"))?;
            Ok(program)
        };
        let empty = folder.join("empty.c");
        fs::write(&empty, "").map_err(|error| Failure::io("write", &empty, &error))?;
        for name in ["libc.so", "libdl.so", "libm.so", "liblog.so"] {
            let source = match name {
                "libc.so" => &sources.join("bionic_on_glibc.c"),
                _ => &empty,
            };
            let soname = format!("-Wl,-soname,{name}");
            // What it stands in for is loaded with it, needed or not.
            compile(
                source,
                name,
                &["-shared", "-fPIC", "-Wl,--no-as-needed", &soname],
            )?;
        }
        let program = compile(&sources.join("smoke.c"), "smoke", &[])?;
        let Some((first, rest)) = self.emulator.split_first() else {
            return Err(Failure("no way to run a program".into()));
        };
        let mut command = Command::new(first);
        command
            .args(rest)
            .arg(format!("LD_LIBRARY_PATH={}", folder.display()))
            .arg(program)
            .arg(copy);
        let shown = process::show(&command);
        eprintln!("$ {shown}");
        let output = command
            .output()
            .map_err(|error| Failure(format!("cannot start `{shown}`: {error}")))?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        if output.status.success() {
            Ok(text)
        } else {
            Err(Failure(format!(
                "`{shown}` failed: {}\n{text}",
                output.status
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_answers_are_asked_for() {
        let version = concat!("version: ", env!("CARGO_PKG_VERSION"), "\n");
        let panic = "panic: bytes length negative or overflowed\n";
        assert!(answers(&[version, panic].concat()).is_ok());
        for missing in [version, panic, "version: 9.9.9\n", ""] {
            let message = answers(missing).unwrap_err().to_string();
            assert!(
                message.starts_with("the library did not answer"),
                "{message}"
            );
        }
    }
}
