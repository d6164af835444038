//! Building llama.cpp from the sources that come with its Python package, for this very processor,
//! into the user's cache folder. Its code never lies in the repository.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::{self, System};
use crate::failure::{Failure, Result};
use crate::fetch::Fetcher;
use crate::process;
use crate::sdist::LLAMA_CPP;

/// How it is built: for speed, and without what it is not asked to do.
const FLAGS: [&str; 8] = [
    "-DCMAKE_BUILD_TYPE=Release",
    "-DGGML_NATIVE=ON",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_SERVER=OFF",
    "-DLLAMA_BUILD_APP=OFF",
];

/// GCC and Clang take these over what "native" means.
const NO_AMX: [&str; 2] = [
    "-DCMAKE_C_FLAGS=-mno-amx-int8 -mno-amx-tile -mno-amx-bf16",
    "-DCMAKE_CXX_FLAGS=-mno-amx-int8 -mno-amx-tile -mno-amx-bf16",
];

/// What it is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// All that this processor has.
    Native,
    /// All but Intel's AMX, which phones and most desktops lack.
    WithoutAmx,
}

impl Variant {
    fn folder(self) -> &'static str {
        match self {
            Self::Native => "llama.cpp",
            Self::WithoutAmx => "llama.cpp-without-amx",
        }
    }

    fn flags(self) -> Vec<&'static str> {
        let mut flags = FLAGS.to_vec();
        if self == Self::WithoutAmx {
            flags.extend(NO_AMX);
        }
        flags
    }
}

/// Its benchmark, and the program that completes a text.
const TARGETS: [&str; 2] = ["llama-bench", "llama-completion"];

/// Where its sources are in the package.
const SOURCES: &str = "vendor/llama.cpp";

/// What was built.
#[derive(Debug, PartialEq)]
pub(crate) struct Programs {
    pub(crate) version: &'static str,
    pub(crate) variant: Variant,
    pub(crate) flags: Vec<&'static str>,
    pub(crate) bench: PathBuf,
    pub(crate) completion: PathBuf,
}

impl Programs {
    fn in_folder(folder: &Path, variant: Variant) -> Self {
        let path = |name: &str| folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        Self {
            version: LLAMA_CPP.version,
            variant,
            flags: variant.flags(),
            bench: path(TARGETS[0]),
            completion: path(TARGETS[1]),
        }
    }

    fn all(&self) -> [&Path; 2] {
        [&self.bench, &self.completion]
    }
}

/// The programs, built if that was not done before with this version, these flags and this processor.
/// A build that was interrupted goes on where it was.
///
/// # Errors
/// If a tool is missing, the sources cannot be had or do not build.
pub(crate) fn programs(cpu: &str, variant: Variant) -> Result<Programs> {
    let tools = cache::tools_dir(System::HERE, |name| std::env::var_os(name))?;
    let folder = tools.join(variant.folder());
    let stamp = stamp(cpu, variant);
    let programs = Programs::in_folder(&folder.join("bin"), variant);
    if is_built(&folder, &programs, &stamp) {
        return Ok(programs);
    }
    check_tools()?;
    let source = folder.join(format!("source-{}", LLAMA_CPP.version));
    if !source.is_dir() {
        Fetcher::from_env()?.tree(&LLAMA_CPP, SOURCES, &source)?;
    }
    let build = folder.join("build");
    let configured = build.join("CONFIGURED");
    // What the compiler makes of "native" is not among what cmake looks at again.
    if build.exists() && !says(&configured, &stamp) {
        fs::remove_dir_all(&build).map_err(|error| Failure::io("remove", &build, &error))?;
    }
    fs::create_dir_all(&build).map_err(|error| Failure::io("create", &build, &error))?;
    write(&configured, &stamp)?;
    compile(&source, &build, &programs.flags)?;
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).map_err(|error| Failure::io("create", &bin, &error))?;
    let _ = fs::remove_file(folder.join("BUILT"));
    let built = Programs::in_folder(&build.join("bin"), variant);
    for (from, to) in built.all().into_iter().zip(programs.all()) {
        fs::copy(from, to).map_err(|error| Failure::io("copy", from, &error))?;
    }
    write(&folder.join("BUILT"), &stamp)?;
    // The programs need neither any more; what is left behind only takes space.
    for folder in [&build, &source] {
        let _ = fs::remove_dir_all(folder);
    }
    Ok(programs)
}

/// Whatever it must be built anew for. A cache folder may come along to another machine.
fn stamp(cpu: &str, variant: Variant) -> String {
    format!(
        "llama.cpp of {} {}\n{}\n{cpu}\n",
        LLAMA_CPP.package,
        LLAMA_CPP.version,
        variant.flags().join("\n")
    )
}

fn is_built(folder: &Path, programs: &Programs, stamp: &str) -> bool {
    says(&folder.join("BUILT"), stamp) && programs.all().iter().all(|program| program.is_file())
}

fn says(file: &Path, text: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|found| found == text)
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).map_err(|error| Failure::io("write", file, &error))
}

fn compile(source: &Path, build: &Path, flags: &[&str]) -> Result<()> {
    eprintln!("building llama.cpp, once; this takes some minutes");
    let mut cmake = Command::new("cmake");
    cmake.arg("-S").arg(source).arg("-B").arg(build).args(flags);
    if is_there("ninja") && !build.join("CMakeCache.txt").exists() {
        cmake.args(["-G", "Ninja"]);
    }
    let failed = |_| Failure("llama.cpp does not build (cmake's message is above)".into());
    process::run(&mut cmake).map_err(failed)?;
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut cmake = Command::new("cmake");
    cmake
        .arg("--build")
        .arg(build)
        .args(["--config", "Release"]);
    cmake.args(["--parallel", &jobs.to_string(), "--target"]);
    process::run(cmake.args(TARGETS)).map_err(failed)
}

fn is_there(program: &str) -> bool {
    process::succeeds(Command::new(program).arg("--version"))
}

fn check_tools() -> Result<()> {
    let compiler = std::env::var("CXX").ok().filter(|name| !name.is_empty());
    missing(is_there, compiler.as_deref()).map_or(Ok(()), |what| Err(Failure(what)))
}

/// What is missing, and how to get it. Elsewhere than on Unix cmake finds the compiler by itself.
fn missing(is_there: impl Fn(&str) -> bool, compiler: Option<&str>) -> Option<String> {
    let install = "Debian and Ubuntu: apt install cmake ninja-build g++; macOS: xcode-select --install, brew \
                   install cmake ninja; without llama.cpp: --peer candle";
    if !is_there("cmake") {
        return Some(format!(
            "llama.cpp is built by cmake, which was not found ({install})"
        ));
    }
    let compilers = compiler.map_or(vec!["c++", "g++", "clang++"], |name| vec![name]);
    if cfg!(unix) && !compilers.iter().any(|name| is_there(name)) {
        return Some(format!(
            "llama.cpp needs a C++ compiler, and none was found: {} ({install})",
            compilers.join(", ")
        ));
    }
    if cfg!(unix) && !is_there("ninja") && !is_there("make") {
        return Some(format!(
            "llama.cpp is built by ninja or make, and neither was found ({install})"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_the_way_to_get_it() {
        let without = |gone: &'static [&str]| move |name: &str| !gone.contains(&name);
        assert_eq!(missing(without(&["g++", "ninja"]), None), None);
        let message = missing(without(&["cmake"]), None).unwrap();
        assert!(message.contains("apt install cmake"), "{message}");
        if cfg!(unix) {
            let all = without(&["c++", "g++", "clang++"]);
            let message = missing(all, None).unwrap();
            assert!(message.contains("C++ compiler"), "{message}");
            let message = missing(without(&["my-c++"]), Some("my-c++")).unwrap();
            assert!(message.contains("none was found: my-c++"), "{message}");
            let message = missing(without(&["ninja", "make"]), None).unwrap();
            assert!(message.contains("ninja or make"), "{message}");
        }
    }

    #[test]
    fn a_build_counts_only_with_its_programs_and_for_this_processor() {
        let folder = std::env::temp_dir().join(format!("xtask-llama-{}", std::process::id()));
        let programs = Programs::in_folder(&folder.join("bin"), Variant::Native);
        let stamp = |cpu| stamp(cpu, Variant::Native);
        fs::create_dir_all(folder.join("bin")).unwrap();
        write(&folder.join("BUILT"), &stamp("CPU 1")).unwrap();
        assert!(!is_built(&folder, &programs, &stamp("CPU 1")));
        for program in programs.all() {
            write(program, "").unwrap();
        }
        assert!(is_built(&folder, &programs, &stamp("CPU 1")));
        assert!(!is_built(&folder, &programs, &stamp("CPU 2")));
        let other = super::stamp("CPU 1", Variant::WithoutAmx);
        assert!(!is_built(&folder, &programs, &other));
        fs::remove_dir_all(&folder).unwrap();
    }
}
