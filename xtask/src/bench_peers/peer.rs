//! The engines that are compared: how each is built, called and read. llama.cpp becomes one more
//! function beside [`candle`].

use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::build;
use crate::failure::{Failure, Result};
use crate::process;

/// Tokens per second in one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rates {
    pub(crate) prefill: f64,
    pub(crate) decode: f64,
}

/// What every engine is asked to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    /// Tokens of the prompt, given as one.
    pub(crate) prompt: u32,
    /// Tokens decoded one by one, from an empty KV cache.
    pub(crate) decode: u32,
    pub(crate) threads: u32,
}

/// What a run gives back.
#[derive(Debug, PartialEq)]
pub(crate) struct Report {
    pub(crate) rates: Rates,
    /// The instruction set of its kernels, where it says so.
    pub(crate) isa: Option<String>,
}

/// An engine, built. It prints its result as JSON on the last line of stdout.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    program: PathBuf,
    arguments: fn(&Path, Work) -> Vec<OsString>,
    /// None if the JSON is not of the expected shape.
    read: fn(&Value) -> Option<Report>,
}

/// Dormouse as it is shipped: its kernels choose their instruction set at run time.
pub(crate) fn dormouse() -> Result<Peer> {
    Ok(Peer {
        name: "dormouse",
        program: build::dormouse()?,
        arguments: |model, work| {
            let mut words = vec!["bench".into(), "-m".into(), model.into()];
            words.extend(numbers(work));
            words.extend(["-r".into(), "1".into(), "--json".into()]);
            words
        },
        read: read_dormouse,
    })
}

/// The quantized models of candle-transformers, compiled for this very processor.
pub(crate) fn candle() -> Result<Peer> {
    let root = process::root();
    let mut cargo = process::cargo();
    // A target folder of its own: with other flags it would undo the workspace's build.
    cargo
        .args(["build", "--release", "--locked", "--manifest-path"])
        .arg(root.join("bench/candle-peer/Cargo.toml"))
        .arg("--target-dir")
        .arg(root.join("target/candle-peer"))
        .env("RUSTFLAGS", "-C target-cpu=native");
    Ok(Peer {
        name: "candle",
        program: build::run(cargo, "candle-peer")?,
        arguments: |model, work| {
            let mut words = vec!["--model".into(), model.into()];
            words.extend(numbers(work));
            words
        },
        read: read_candle,
    })
}

fn numbers(work: Work) -> impl Iterator<Item = OsString> {
    [
        ("-p", work.prompt),
        ("-n", work.decode),
        ("-t", work.threads),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.into(), value.to_string().into()])
}

fn read_dormouse(json: &Value) -> Option<Report> {
    let results = json["results"].as_array()?;
    let rate = |tokens: &str| {
        let row = results.iter().find(|row| row[tokens].as_u64() > Some(0))?;
        Some(&row["tokens_per_s"])
    };
    Some(Report {
        rates: rates(rate("n_prompt")?, rate("n_gen")?)?,
        isa: Some(json["isa"].as_str()?.to_owned()),
    })
}

fn read_candle(json: &Value) -> Option<Report> {
    Some(Report {
        rates: rates(&json["prefill_tok_s"], &json["decode_tok_s"])?,
        isa: None,
    })
}

/// Rates that a ratio can be taken of.
fn rates(prefill: &Value, decode: &Value) -> Option<Rates> {
    let rate = |value: &Value| {
        value
            .as_f64()
            .filter(|rate| rate.is_finite() && *rate > 0.0)
    };
    Some(Rates {
        prefill: rate(prefill)?,
        decode: rate(decode)?,
    })
}

impl Peer {
    /// Runs the engine once, in a process of its own.
    ///
    /// # Errors
    /// If it cannot be started, does not succeed or prints something else.
    pub(crate) fn measure(&self, model: &Path, work: Work) -> Result<Report> {
        let mut command = Command::new(&self.program);
        command.args((self.arguments)(model, work));
        let shown = process::show(&command);
        let output = command
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| Failure(format!("cannot start `{shown}`: {error}")))?;
        if !output.status.success() {
            return Err(Failure(format!("`{shown}` failed: {}", output.status)));
        }
        let stdout = String::from_utf8_lossy(&output.stdout);
        let line = stdout.lines().last().unwrap_or_default();
        serde_json::from_str(line)
            .ok()
            .and_then(|json| (self.read)(&json))
            .ok_or_else(|| Failure(format!("`{shown}` printed no rates but: {line}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn candles_line_is_read() {
        let line = json!({ "prefill_tok_s": 100.5, "decode_tok_s": 20, "threads": 2 });
        let (prefill, decode) = (100.5, 20.0);
        let expected = Report {
            rates: Rates { prefill, decode },
            isa: None,
        };
        assert_eq!(read_candle(&line), Some(expected));
    }

    #[test]
    fn dormouses_line_is_read() {
        let line = json!({ "isa": "avx2", "results": [
            { "test": "pp512", "n_prompt": 512, "n_gen": 0, "tokens_per_s": 300.0 },
            { "test": "tg128", "n_prompt": 0, "n_gen": 128, "tokens_per_s": 50.0 },
        ]});
        let (prefill, decode) = (300.0, 50.0);
        let expected = Report {
            rates: Rates { prefill, decode },
            isa: Some("avx2".into()),
        };
        assert_eq!(read_dormouse(&line), Some(expected));
        let prompt_alone = json!({ "isa": "avx2", "results": [
            { "n_prompt": 512, "n_gen": 0, "tokens_per_s": 300.0 },
        ]});
        assert_eq!(read_dormouse(&prompt_alone), None);
    }

    #[test]
    fn a_rate_that_is_missing_or_no_rate_is_refused() {
        for line in [
            json!({ "prefill_tok_s": 1.0 }),
            json!({ "prefill_tok_s": 1.0, "decode_tok_s": 0.0 }),
            json!({ "prefill_tok_s": 1.0, "decode_tok_s": null }),
            json!([]),
        ] {
            assert_eq!(read_candle(&line), None, "{line}");
        }
    }

    /// An engine that is a shell script.
    #[cfg(unix)]
    fn script(text: &'static str) -> Result<Report> {
        let folder = std::env::temp_dir().join(format!("xtask-peer-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{}.sh", text.len()));
        std::fs::write(&file, text).unwrap();
        let peer = Peer {
            name: "script",
            program: "sh".into(),
            arguments: |model, _| vec![model.into()],
            read: read_candle,
        };
        let (prompt, decode, threads) = (1, 1, 1);
        let report = peer.measure(
            &file,
            Work {
                prompt,
                decode,
                threads,
            },
        );
        std::fs::remove_dir_all(&folder).unwrap();
        report
    }

    #[cfg(unix)]
    #[test]
    fn the_last_line_counts_and_a_failed_run_is_named() {
        let report = script("echo hello; echo '{\"prefill_tok_s\":2,\"decode_tok_s\":1}'").unwrap();
        assert_eq!(report.rates.prefill, 2.0);
        let message = script("exit 3").unwrap_err().to_string();
        assert!(message.contains("failed: exit status: 3"), "{message}");
        let message = script("echo nothing").unwrap_err().to_string();
        assert!(
            message.ends_with("printed no rates but: nothing"),
            "{message}"
        );
    }
}
