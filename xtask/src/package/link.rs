//! The linker for Android: the NDK's clang where there is an NDK, else Debian's clang and lld with
//! start-up objects, stubs and an unwinder put together here.
//!
//! Either way rustc gets a small script: it swaps rustc's list of exported names for ours.

use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::abi::{API, Abi};
use super::bionic::Bionic;
use super::rust;
use crate::debian;
use crate::failure::{Failure, Result};
use crate::process;

/// The version of LLVM that Debian's packages are taken from.
pub(crate) const LLVM: &str = "22";

/// Options of every link: whatever is missing is an error, and any page size up to 16 KiB works.
const OPTIONS: [&str; 3] = [
    "-Wl,-z,defs",
    "-Wl,-z,max-page-size=16384",
    "-Wl,-soname,libdormouse_ffi.so",
];

/// A linker for rustc's `-C linker`.
#[derive(Debug)]
pub(crate) struct Linker {
    pub(crate) script: PathBuf,
    /// What it is, for the log.
    pub(crate) about: String,
}

impl Linker {
    /// Finds or makes the linker of an ABI.
    ///
    /// # Errors
    /// If there is no NDK and Debian's tools are not there and cannot be installed.
    pub(crate) fn of(abi: Abi, bionic: &Bionic) -> Result<Self> {
        let exports = process::root().join("android/link/exports.map");
        if let Some(ndk) = ndk() {
            let clang = ndk_clang(&ndk, abi)?;
            let script = script(&[&clang.display().to_string()], &exports)?;
            let about = format!("the NDK in {}", ndk.display());
            return Self::write(abi, &script, &[&exports], about);
        }
        tools()?;
        let parts = parts(abi, bionic)?;
        let clang = format!("clang-{LLVM}");
        let target = format!("--target={}{API}", abi.target());
        let (start, libraries) = (
            format!("-B{}", parts.display()),
            format!("-L{}", parts.display()),
        );
        let words = [&clang, &target, "-fuse-ld=lld", &start, &libraries];
        let script = script(&words, &exports)?;
        let about = format!("Debian's clang {LLVM}, stubs of bionic's names and LLVM's unwinder");
        let sources = sources();
        let inputs: Vec<&Path> = sources.iter().map(PathBuf::as_path).collect();
        Self::write(abi, &script, &inputs, about)
    }

    /// Writes the script in a folder named by all that goes into a link: a change of any of it
    /// is then a change of rustc's arguments, and cargo links again.
    fn write(abi: Abi, script: &str, inputs: &[&Path], about: String) -> Result<Self> {
        let mut digest = Sha256::new();
        digest.update(script);
        for path in inputs {
            let bytes = fs::read(path).map_err(|error| Failure::io("read", path, &error))?;
            digest.update(bytes);
        }
        let digest: String = digest
            .finalize()
            .iter()
            .take(6)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let folder = folder(abi).join(digest);
        let path = folder.join("clang");
        write(&path, script.as_bytes())?;
        executable(&path)?;
        Ok(Self {
            script: path,
            about,
        })
    }
}

/// The folder of an ABI's parts.
fn folder(abi: Abi) -> PathBuf {
    rust::target_dir().join("link").join(abi.name())
}

/// The NDK that the environment names.
fn ndk() -> Option<PathBuf> {
    ["ANDROID_NDK_HOME", "ANDROID_NDK_ROOT", "NDK_HOME"]
        .iter()
        .filter_map(std::env::var_os)
        .find(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// The compiler driver of an NDK for an ABI; the folder between is named after the host.
fn ndk_clang(ndk: &Path, abi: Abi) -> Result<PathBuf> {
    let hosts = ndk.join("toolchains/llvm/prebuilt");
    let name = format!("{}{API}-clang", abi.target());
    let found = fs::read_dir(&hosts)
        .map_err(|error| Failure::io("read", &hosts, &error))?
        .flatten()
        .map(|host| host.path().join("bin").join(&name))
        .find(|clang| clang.is_file());
    found.ok_or_else(|| {
        let ndk = ndk.display();
        Failure(format!("the NDK in {ndk} has no {name}; use r26 or newer"))
    })
}

/// The script: rustc exports uniffi's metadata too, which only the generator reads.
fn script(linker: &[&str], exports: &Path) -> Result<String> {
    let exports = exports.display().to_string();
    let quoted = |word: &str| -> Result<String> {
        if word.contains('\'') {
            return Err(Failure(format!("a path with a quote in it: {word}")));
        }
        Ok(format!("'{word}'"))
    };
    let words: Vec<String> = linker
        .iter()
        .chain(&OPTIONS)
        .map(|word| quoted(word))
        .collect::<Result<_>>()?;
    let (words, exports) = (words.join(" "), quoted(&exports)?);
    Ok(format!(
        "#!/bin/sh\n\
         exports={exports}\n\
         for word do\n\
         \x20 shift\n\
         \x20 case $word in\n\
         \x20   -Wl,--version-script=*) set -- \"$@\" \"-Wl,--version-script=$exports\" ;;\n\
         \x20   *) set -- \"$@\" \"$word\" ;;\n\
         \x20 esac\n\
         done\n\
         exec {words} \"$@\"\n"
    ))
}

/// The committed files that a link without the NDK is made of.
fn sources() -> Vec<PathBuf> {
    let names = [
        "exports.map",
        "bionic-26.txt",
        "crtbegin_so.c",
        "unwind_shim.c",
    ];
    let folder = process::root().join("android/link");
    names.iter().map(|name| folder.join(name)).collect()
}

fn tools() -> Result<()> {
    let (clang, ar) = (format!("clang-{LLVM}"), format!("llvm-ar-{LLVM}"));
    let (lld, llvm) = (format!("lld-{LLVM}"), format!("llvm-{LLVM}"));
    let there = |name: &str| process::succeeds(Command::new(name).arg("--version"));
    if there(&clang) && there(&ar) && there(&format!("ld.lld-{LLVM}")) {
        return Ok(());
    }
    debian::install(&[&clang, &lld, &llvm]).map_err(|Failure(why)| {
        Failure(format!(
            "there is no linker for Android: set ANDROID_NDK_HOME to an NDK; or, {why}"
        ))
    })
}

/// What the NDK would bring beside the compiler: start-up objects, the platform's libraries to
/// resolve names in, and an unwinder.
fn parts(abi: Abi, bionic: &Bionic) -> Result<PathBuf> {
    let folder = folder(abi).join("parts");
    let work = folder.join("work");
    fs::create_dir_all(&work).map_err(|error| Failure::io("create", &work, &error))?;
    let root = process::root().join("android/link");
    let clang = || {
        let mut clang = Command::new(format!("clang-{LLVM}"));
        clang
            .arg(format!("--target={}{API}", abi.target()))
            .args(["-Wall", "-Werror"]);
        clang
    };
    let compile = |source: &Path, object: &Path| {
        let mut clang = clang();
        clang.args(["-O2", "-fPIC", "-ffreestanding", "-c"]);
        process::run(clang.arg(source).arg("-o").arg(object))
    };
    let empty = work.join("empty.c");
    write(&empty, b"")?;
    compile(&root.join("crtbegin_so.c"), &folder.join("crtbegin_so.o"))?;
    compile(&empty, &folder.join("crtend_so.o"))?;
    for (library, text) in bionic.stubs() {
        let source = work.join(library).with_extension("s");
        write(&source, text.as_bytes())?;
        let mut link = clang();
        link.args(["-fuse-ld=lld", "-nostdlib", "-shared"])
            .arg(format!("-Wl,-soname,{library}"))
            .arg(&source)
            .arg("-o")
            .arg(folder.join(library));
        process::run(&mut link)?;
    }
    // Builtins come with Rust, and threads are in bionic's libc.
    let archive = |name: &str, members: &[&Path]| {
        let path = folder.join(name);
        let mut ar = Command::new(format!("llvm-ar-{LLVM}"));
        process::run(ar.arg("rc").arg(path).args(members))
    };
    for name in ["libgcc.a", "libpthread.a"] {
        archive(name, &[])?;
    }
    let unwinder = unwinder(abi)?;
    let shim = work.join("unwind_shim.o");
    compile(&root.join("unwind_shim.c"), &shim)?;
    let copy = folder.join("libunwind.a");
    let bytes = fs::read(&unwinder).map_err(|error| Failure::io("read", &unwinder, &error))?;
    write(&copy, &bytes)?;
    archive("libunwind.a", &[&shim])?;
    Ok(folder)
}

/// LLVM's unwinder, of Debian's package for the architecture.
fn unwinder(abi: Abi) -> Result<PathBuf> {
    let folder = folder(abi).join("unwinder");
    let library = folder.join(format!(
        "usr/lib/{}-linux-gnu/libunwind.a",
        abi.architecture()
    ));
    if !library.is_file() {
        let package = format!("libunwind-{LLVM}-dev");
        debian::unpack(&package, abi.debian(), &folder)?;
    }
    Ok(library)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| Failure::io("create", folder, &error))?;
    }
    fs::write(path, bytes).map_err(|error| Failure::io("write", path, &error))
}

#[cfg(unix)]
fn executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(path, mode).map_err(|error| Failure::io("make executable", path, &error))
}

#[cfg(not(unix))]
fn executable(_: &Path) -> Result<()> {
    Err(Failure(
        "libraries for Android are linked through a shell script: use Linux or macOS".into(),
    ))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_script_swaps_the_list_of_exports_and_keeps_the_rest() {
        let folder = std::env::temp_dir().join(format!("xtask-link-{}", std::process::id()));
        let path = folder.join("clang");
        let exports = Path::new("/our own.map");
        let text = script(&["printf", "%s|"], exports).unwrap();
        write(&path, text.as_bytes()).unwrap();
        executable(&path).unwrap();
        let output = Command::new(&path)
            .args(["a b.o", "-Wl,--version-script=/tmp/list", "-shared"])
            .output()
            .unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let words = String::from_utf8(output.stdout).unwrap();
        let start = OPTIONS.join("|");
        assert_eq!(
            words,
            format!("{start}|a b.o|-Wl,--version-script=/our own.map|-shared|")
        );
        assert!(script(&["it's"], exports).is_err());
    }

    #[test]
    fn an_ndk_without_the_driver_is_told_from_one_with() {
        let ndk = std::env::temp_dir().join(format!("xtask-ndk-{}", std::process::id()));
        let bin = ndk.join("toolchains/llvm/prebuilt/linux-x86_64/bin");
        fs::create_dir_all(&bin).unwrap();
        let message = ndk_clang(&ndk, Abi::Arm64).unwrap_err().to_string();
        assert!(
            message.contains("no aarch64-linux-android26-clang"),
            "{message}"
        );
        let clang = bin.join("aarch64-linux-android26-clang");
        fs::write(&clang, "").unwrap();
        assert_eq!(ndk_clang(&ndk, Abi::Arm64).unwrap(), clang);
        fs::remove_dir_all(&ndk).unwrap();
    }
}
