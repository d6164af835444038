//! The suites of the bridge and the platforms: what each runs, and how its tools are come by.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bindings;
use crate::cache;
use crate::debian;
use crate::failure::Result;
use crate::fetch::Fetcher;
use crate::process;
use crate::suites::{Plan, Setup};

/// What a suite needs beside Rust: how to see that it is there, and Debian's packages for it.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) probe: &'static [&'static str],
    pub(crate) packages: &'static [&'static str],
}

const JDK: Tool = Tool {
    name: "a JDK",
    probe: &["javac", "-version"],
    packages: &["openjdk-17-jdk-headless"],
};
const MAVEN: Tool = Tool {
    name: "Maven",
    probe: &["mvn", "--version"],
    packages: &["maven"],
};

const UNZIP: Tool = Tool {
    name: "unzip",
    probe: &["unzip", "-v"],
    packages: &["unzip"],
};

/// Why the tools are not all there, or cannot be installed where they should; none if they are there.
pub(crate) fn missing(install: bool, tools: &[Tool]) -> Option<String> {
    for tool in tools {
        let there = || {
            let mut probe = Command::new(tool.probe[0]);
            process::succeeds(probe.args(&tool.probe[1..]))
        };
        if there() {
            continue;
        }
        let packages = tool.packages.join(" ");
        if !install {
            return Some(format!(
                "{} is not installed (apt-get install {packages})",
                tool.name
            ));
        }
        if let Err(failure) = debian::install(tool.packages) {
            return Some(format!("{}: {failure}", tool.name));
        }
    }
    None
}

/// This program with other arguments.
fn xtask(words: &[&str]) -> Result<Command> {
    let program = std::env::current_exe()
        .map_err(|e| crate::failure::Failure(format!("cannot find this program: {e}")))?;
    let mut command = Command::new(program);
    command.args(words).current_dir(process::root());
    Ok(command)
}

/// The folder of real models; none where they cannot be fetched, and why.
fn models() -> std::result::Result<PathBuf, String> {
    Fetcher::from_env()
        .and_then(|fetcher| fetcher.all())
        .map_err(|failure| failure.to_string())
}

/// The bridge's own tests, a Java VM in one of them.
pub(crate) fn ffi(setup: &Setup) -> Result<Plan> {
    if let Some(why) = missing(setup.install, &[JDK]) {
        return Ok(Plan::NotRun(why));
    }
    let folder = match models() {
        Ok(folder) => folder,
        Err(why) => return Ok(Plan::NotRun(why)),
    };
    let mut test = process::cargo();
    test.current_dir(process::root())
        .args(["test", "--release", "--package", "dormouse-ffi"])
        .args(["--package", "dormouse-bindgen", "--features"])
        .arg("dormouse-ffi/jvm,dormouse-ffi/provoke-panics")
        .env("DORMOUSE_MODELS", folder);
    Ok(Plan::Run(vec![test]))
}

/// The Kotlin layer on this machine's Java VM, with the real library.
pub(crate) fn kotlin(setup: &Setup) -> Result<Plan> {
    if let Some(why) = missing(setup.install, &[JDK, MAVEN]) {
        return Ok(Plan::NotRun(why));
    }
    let folder = match models() {
        Ok(folder) => folder,
        Err(why) => return Ok(Plan::NotRun(why)),
    };
    let made = bindings::folder();
    let mut maven = Command::new("mvn");
    maven
        .current_dir(process::root())
        .args(["-B", "-ntp", "-f", "android", "verify"])
        .arg(property("library", &bindings::shared_library()))
        .arg(property("generated", &made.join("kotlin")))
        .arg(property("tinyModels", &made.join("models")))
        .arg(property("models", &folder))
        .arg(format!("-Ddormouse.long={}", setup.long));
    Ok(Plan::Run(vec![xtask(&["bindings"])?, maven]))
}

fn property(name: &str, value: &Path) -> String {
    format!("-Ddormouse.{name}={}", value.display())
}

/// The Swift package on this machine, with the real library: tests, format, documentation, the
/// committed API, and a package that depends on a release; on macOS, in its place, the tests in an
/// iOS simulator.
pub(crate) fn swift(setup: &Setup) -> Result<Plan> {
    let has_swift = process::succeeds(Command::new("swift").arg("--version"));
    let root = swift_root()?;
    let marked = root.join(".dormouse-swift-6.0").is_file();
    if !has_swift && !marked && !setup.install {
        return Ok(Plan::NotRun(
            "there is no swift on the PATH (on Debian, as root, one is set up)".into(),
        ));
    }
    let folder = match models() {
        Ok(folder) => folder,
        Err(why) => return Ok(Plan::NotRun(why)),
    };
    let made = bindings::folder();
    let mut set_up = script("ios/toolchain/setup-linux.sh");
    set_up.arg(&root);
    let in_swift = |words: &str| {
        let mut command = script("ios/toolchain/run.sh");
        command
            .arg(&root)
            .args(words.split(' '))
            .env("DORMOUSE_TINY_MODELS", made.join("models"))
            .env("DORMOUSE_MODELS", &folder);
        if setup.long {
            command.env("DORMOUSE_LONG", "1");
        }
        command
    };
    // On macOS the package is built on the XCFramework, which is made of the bindings.
    let library: &[&str] = if cfg!(target_os = "macos") {
        &["package", "apple"]
    } else {
        &["bindings"]
    };
    let mut commands = vec![
        xtask(library)?,
        set_up,
        in_swift("swift format lint -r --strict Package.swift ios/Sources ios/Tests ios/Bench"),
        in_swift("swift test --manifest-cache none -Xswiftc -warnings-as-errors"),
        in_swift("ios/toolchain/api.sh"),
        in_swift("ios/toolchain/docs.sh"),
    ];
    if cfg!(target_os = "macos") {
        commands.push(in_swift("ios/toolchain/simulator.sh"));
    } else {
        // It stands in for a release whose XCFramework nobody has: on Linux none is fetched.
        let mut consumer = in_swift("ios/release/consumer.sh");
        consumer.arg(made.join("models").join("scripted.gguf"));
        commands.push(consumer);
    }
    Ok(Plan::Run(commands))
}

fn script(path: &str) -> Command {
    let root = process::root();
    let mut command = Command::new(root.join(path));
    command.current_dir(root);
    command
}

/// The AAR, built and opened again, with the library that phones use or with all; then the checks of
/// what a consumer gets: its graph, the level of the API, and shrinking.
pub(crate) fn android(setup: &Setup) -> Result<Plan> {
    if let Some(why) = missing(setup.install, &[JDK, MAVEN, UNZIP]) {
        return Ok(Plan::NotRun(why));
    }
    let mut package = xtask(&["package", "android", "--smoke"])?;
    if !setup.long {
        package.args(["--abi", "arm64-v8a"]);
    }
    let repository = process::root().join("target/package/android/maven");
    let check = |name: &str| {
        let mut command = script(name);
        command.arg(&repository);
        command
    };
    let mut shrink = check("android/smoke/shrink.sh");
    shrink
        .arg(bindings::shared_library())
        .arg(bindings::folder().join("models/scripted.gguf"));
    Ok(Plan::Run(vec![
        package,
        check("android/smoke/graph.sh"),
        check("android/smoke/api.sh"),
        shrink,
    ]))
}

/// The XCFramework, built and opened again: the slice that phones use, or all of them.
pub(crate) fn apple(setup: &Setup) -> Result<Plan> {
    let mut package = xtask(&["package", "apple"])?;
    if !setup.long {
        package.args(["--target", "aarch64-apple-ios"]);
        // Where Package.swift looks there may be one with all targets.
        package
            .arg("--out")
            .arg(process::root().join("target/package/apple"));
    }
    Ok(Plan::Run(vec![package]))
}

/// Builds the jars of the Kotlin modules, and the documentation of the API.
///
/// # Errors
/// If the bindings cannot be built, or Maven fails.
pub(crate) fn build_kotlin_jars() -> Result<()> {
    bindings::run()?;
    let mut maven = Command::new("mvn");
    maven
        .current_dir(process::root())
        .args(["-B", "-ntp", "-q", "-f", "android", "package"])
        .args(["-pl", "dormouse,dormouse-android", "-am", "-DskipTests"])
        .arg("-Pdocs")
        .arg(property("library", &bindings::shared_library()))
        .arg(property("generated", &bindings::folder().join("kotlin")));
    process::run(&mut maven)
}

/// Builds the program that measures decoding through Kotlin.
///
/// # Errors
/// If Maven fails.
pub(crate) fn build_kotlin_bench() -> Result<()> {
    let mut maven = Command::new("mvn");
    maven
        .current_dir(process::root())
        .args(["-B", "-ntp", "-q", "-f", "android", "package"])
        .args(["-pl", "bench", "-am", "-DskipTests"])
        .arg(property("library", &bindings::shared_library()))
        .arg(property("generated", &bindings::folder().join("kotlin")));
    process::run(&mut maven)
}

/// That program, without its arguments.
pub(crate) fn kotlin_bench() -> Command {
    let target = process::root().join("android/bench/target");
    let mut library = std::ffi::OsString::from("-Ddormouse.library=");
    library.push(bindings::shared_library());
    let mut class_path = target.join("classes").into_os_string();
    class_path.push(if cfg!(windows) { ";" } else { ":" });
    class_path.push(target.join("lib").join("*"));
    let mut java = Command::new("java");
    java.arg(library)
        .arg("-cp")
        .arg(class_path)
        .arg("dev.dormouse.bench.MainKt");
    java
}

/// Builds the program that measures decoding through Swift.
///
/// # Errors
/// If a step fails.
pub(crate) fn build_swift_bench() -> Result<()> {
    let root = swift_root()?;
    process::run(script("ios/toolchain/setup-linux.sh").arg(&root))?;
    let words = "swift build --manifest-cache none -c release --package-path ios/Bench \
                 --scratch-path .build/bench";
    process::run(
        script("ios/toolchain/run.sh")
            .arg(&root)
            .args(words.split(' ')),
    )
}

/// That program, without its arguments; it sees the folder of `model`.
///
/// # Errors
/// If there is no cache folder.
pub(crate) fn swift_bench(model: &Path) -> Result<Command> {
    let mut command = script("ios/toolchain/run.sh");
    command
        .arg(swift_root()?)
        .arg(process::root().join(".build/bench/release/dormouse-bench"));
    if let Some(folder) = model.parent() {
        command.env("DORMOUSE_MODELS", folder);
    }
    Ok(command)
}

/// Where Swift is set up where the system has none.
fn swift_root() -> Result<PathBuf> {
    let tools = cache::tools_dir(cache::System::HERE, |name| std::env::var_os(name))?;
    Ok(tools.join("swift"))
}
