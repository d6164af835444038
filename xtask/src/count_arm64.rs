//! `cargo xtask count-arm64`: how many instructions a phone's processor executes for a block of 32
//! weights and one row of activations, in Dormouse and in llama.cpp. Both programs run the same product
//! once and twice under qemu, which logs every instruction; the difference is one product, the
//! quantization of its input included.

use clap::Args;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use crate::arm64;
use crate::cache::{self, System};
use crate::debian;
use crate::failure::{Failure, Result};
use crate::fetch::Fetcher;
use crate::platforms::{Tool, missing};
use crate::process;
use crate::sdist::LLAMA_CPP;

/// What to count.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Close with one line of JSON.
    #[arg(long)]
    json: bool,
    /// A type of weights, by its GGUF name; may be given again.
    #[arg(long = "type", value_name = "TYPE", default_values_t = ["Q4_0", "Q8_0", "Q4_K", "Q6_K"].map(String::from))]
    types: Vec<String>,
}

/// Of the matrix; a multiple of every tile, and of every type's blocks.
const ROWS: u64 = 512;
const COLS: u64 = 2048;
/// Rows of activations: a decoded token, and part of a prompt.
const BATCHES: [u64; 2] = [1, 64];

/// A kind of processor: its extension, as qemu names one that has it, and as GCC names it.
struct Processor {
    name: &'static str,
    qemu: &'static str,
    march: &'static str,
}

const PROCESSORS: [Processor; 2] = [
    Processor {
        name: "dotprod",
        qemu: "neoverse-n1",
        march: "armv8.2-a+dotprod+fp16",
    },
    Processor {
        name: "i8mm",
        qemu: "max",
        march: "armv8.2-a+dotprod+fp16+i8mm",
    },
];

const GXX: Tool = Tool {
    name: "a C++ compiler for arm64",
    probe: &["aarch64-linux-gnu-g++", "--version"],
    packages: &["g++-aarch64-linux-gnu"],
};
const CMAKE: Tool = Tool {
    name: "cmake",
    probe: &["cmake", "--version"],
    packages: &["cmake"],
};

/// A line of the table.
struct Count {
    processor: &'static str,
    ty: String,
    batch: u64,
    /// Instructions a block of 32 weights and row of activations.
    dormouse: f64,
    llama_cpp: f64,
    /// Which layout llama.cpp's weights are in.
    layout: String,
}

/// Counts and reports.
///
/// # Errors
/// If a tool is missing, something does not build, or a program fails.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let tools = [arm64::QEMU, arm64::GCC, GXX, CMAKE];
    if let Some(why) = missing(debian::installs_unasked(), &tools) {
        return Err(Failure(why));
    }
    let ours = arm64::example("product")?;
    let mut counts = Vec::new();
    for processor in &PROCESSORS {
        let theirs = build_ggml(processor)?;
        for ty in &options.types {
            for batch in BATCHES {
                let (dormouse, _) = per_block(processor, &ours, ty, batch)?;
                let (llama_cpp, layout) = per_block(processor, &theirs, ty, batch)?;
                eprintln!(
                    "{} {ty} {batch}: {dormouse:.2} {llama_cpp:.2}",
                    processor.name
                );
                counts.push(Count {
                    processor: processor.name,
                    ty: ty.clone(),
                    batch,
                    dormouse,
                    llama_cpp,
                    layout,
                });
            }
        }
    }
    print!("{}", table(&counts));
    if options.json {
        println!("{}", Value::from_iter(counts.iter().map(Count::json)));
    }
    Ok(ExitCode::SUCCESS)
}

impl Count {
    fn json(&self) -> Value {
        json!({
            "processor": self.processor,
            "type": self.ty,
            "batch": self.batch,
            "dormouse": self.dormouse,
            "llama_cpp": self.llama_cpp,
            "llama_cpp_layout": self.layout,
        })
    }
}

fn table(counts: &[Count]) -> String {
    let mut table = String::from(
        "| instructions a block and row | rows | Dormouse | llama.cpp | ratio | its layout |\n\
         |---|---:|---:|---:|---:|---|\n",
    );
    for count in counts {
        table += &format!(
            "| {}, {} | {} | {:.1} | {:.1} | {:.2} | {} |\n",
            count.processor,
            count.ty,
            count.batch,
            count.dormouse,
            count.llama_cpp,
            count.llama_cpp / count.dormouse,
            count.layout
        );
    }
    table
}

/// Instructions for 32 weights and a row of activations, and what the program says of its layout.
fn per_block(processor: &Processor, program: &Path, ty: &str, batch: u64) -> Result<(f64, String)> {
    let (once, layout) = count(processor, program, ty, batch, 1)?;
    let (twice, _) = count(processor, program, ty, batch, 2)?;
    let one = twice.checked_sub(once).filter(|&count| count > 0);
    let one = one.ok_or_else(|| {
        Failure("the second product costs no instructions: does qemu log them all?".into())
    })?;
    Ok((one as f64 / (ROWS * COLS / 32 * batch) as f64, layout))
}

/// Instructions of a whole run of a program.
fn count(
    processor: &Processor,
    program: &Path,
    ty: &str,
    batch: u64,
    calls: u64,
) -> Result<(u64, String)> {
    let mut qemu = Command::new("qemu-aarch64");
    qemu.args(["-cpu", processor.qemu, one_instruction_a_block()])
        .args(["-d", "exec,nochain"])
        .arg(program)
        .arg(ty)
        .args([ROWS, COLS, batch, calls].map(|number| number.to_string()))
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let start = |error| Failure(format!("cannot run qemu-aarch64: {error}"));
    let mut child = qemu.spawn().map_err(start)?;
    let log = child.stderr.take();
    let (count, layout) =
        log.map_or(Ok((0, String::new())), |log| read_log(BufReader::new(log)))?;
    let status = child.wait().map_err(start)?;
    if !status.success() {
        return Err(Failure(format!("{} failed under qemu", program.display())));
    }
    Ok((count, layout))
}

/// The option by which qemu translates, and logs, each instruction by itself; it was renamed.
fn one_instruction_a_block() -> &'static str {
    let help = Command::new("qemu-aarch64").arg("--help").output();
    let renamed =
        help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("-one-insn-per-tb"));
    if renamed {
        "-one-insn-per-tb"
    } else {
        "-singlestep"
    }
}

/// The instructions in qemu's log, and the layout that the program named between them.
fn read_log(mut log: impl BufRead) -> Result<(u64, String)> {
    let (mut count, mut layout, mut line) = (0, String::new(), Vec::new());
    loop {
        line.clear();
        let read = log.read_until(b'\n', &mut line);
        if read.map_err(|error| Failure(format!("cannot read qemu's log: {error}")))? == 0 {
            return Ok((count, layout));
        }
        if line.starts_with(b"Trace ") {
            count += 1;
        } else if let Some(name) = line.strip_prefix(b"layout ") {
            layout = String::from_utf8_lossy(name).trim().to_owned();
        }
    }
}

/// llama.cpp's product for a processor, from the sources in its Python package.
fn build_ggml(processor: &Processor) -> Result<PathBuf> {
    let tools = cache::tools_dir(System::HERE, |name| std::env::var_os(name))?;
    let folder = tools.join("ggml-arm64");
    let source = folder.join(format!("source-{}", LLAMA_CPP.version));
    if !source.is_dir() {
        Fetcher::from_env()?.tree(&LLAMA_CPP, "vendor/llama.cpp/ggml", &source)?;
    }
    let build = folder.join(format!("{}-{}", processor.name, LLAMA_CPP.version));
    fs::create_dir_all(&build).map_err(|error| Failure::io("create", &build, &error))?;
    let mut cmake = Command::new("cmake");
    cmake
        .arg("-S")
        .arg(process::root().join("bench/llama-product"))
        .arg("-B")
        .arg(&build)
        .arg(format!("-DGGML={}", source.display()))
        .arg(format!("-DGGML_CPU_ARM_ARCH={}", processor.march))
        .args(FLAGS);
    process::run(&mut cmake)?;
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut cmake = Command::new("cmake");
    cmake.arg("--build").arg(&build);
    process::run(cmake.args(["--target", "product", "--parallel", &jobs.to_string()]))?;
    Ok(build.join("product"))
}

/// As llama.cpp builds it, for another machine than this.
const FLAGS: [&str; 9] = [
    "-DCMAKE_SYSTEM_NAME=Linux",
    "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
    "-DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc",
    "-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++",
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DGGML_NATIVE=OFF",
    "-DGGML_OPENMP=OFF",
    "-DGGML_LLAMAFILE=ON",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_counted_between_what_a_program_says() {
        let log = "Trace 0: 0x7f00 [1/2/3/4] main\nlayout CPU_REPACK\nTrace 0: 0x7f04 [1/2/3/4]\n\
            Stopped execution of TB chain before 0x7f08\n";
        let found = read_log(log.as_bytes()).unwrap();
        assert_eq!(found, (2, "CPU_REPACK".into()));
        assert_eq!(read_log(&b""[..]).unwrap(), (0, String::new()));
    }

    #[test]
    fn the_ratio_is_above_one_where_llama_cpp_executes_more() {
        let count = Count {
            processor: "i8mm",
            ty: "Q4_0".into(),
            batch: 64,
            dormouse: 2.0,
            llama_cpp: 3.0,
            layout: "CPU".into(),
        };
        let table = table(&[count]);
        assert!(
            table.ends_with("| i8mm, Q4_0 | 64 | 2.0 | 3.0 | 1.50 | CPU |\n"),
            "{table}"
        );
    }
}
