//! llama.cpp as a peer: its own benchmark, and its program that completes a text.

use serde_json::Value;
use std::path::Path;
use std::process::Command;

use super::llama_build::{self, Programs, Variant};
use super::peer::{Choice, Engine, Report, Work, numbers, rates};
use crate::failure::Result;

/// The context that Dormouse's session has by default; llama.cpp would take the model's own, which
/// may be long and is cleared before the first token.
const CONTEXT: &str = "4096";

/// llama.cpp, built for this very processor.
pub(crate) struct LlamaCpp {
    programs: Programs,
}

impl LlamaCpp {
    /// Builds it, or finds the build of an earlier run.
    ///
    /// # Errors
    /// If a tool is missing, the sources cannot be had or do not build.
    pub(crate) fn build(cpu: &str, variant: Variant) -> Result<Self> {
        Ok(Self {
            programs: llama_build::programs(cpu, variant)?,
        })
    }
}

impl Engine for LlamaCpp {
    fn name(&self) -> &'static str {
        "llama.cpp"
    }

    fn about(&self) -> String {
        format!(
            "sources of llama-cpp-python {}, {}; files mapped{}",
            self.programs.version,
            self.programs.flags.join(" "),
            self.amx_note()
        )
    }

    fn choices(&self) -> &'static [Choice] {
        &[
            Choice {
                name: "flash attention auto (the default)",
                arguments: &[],
            },
            Choice {
                name: "flash attention on",
                arguments: &["-fa", "on"],
            },
            Choice {
                name: "flash attention off",
                arguments: &["-fa", "off"],
            },
            Choice {
                name: "weights not repacked",
                arguments: &["--repack", "0"],
            },
        ]
    }

    fn first_token_choices(&self) -> &'static [Choice] {
        &[
            Choice {
                name: "weights repacked as by default",
                arguments: &[],
            },
            Choice {
                name: "weights not repacked",
                arguments: &["--no-repack"],
            },
        ]
    }

    fn bench(&self, model: &Path, work: Work) -> Option<Command> {
        let mut command = Command::new(&self.programs.bench);
        command.arg("-m").arg(model).args(numbers(work));
        command.args(["-r", "1", "-o", "json"]);
        Some(command)
    }

    fn read(&self, json: &Value, work: Work) -> Option<Report> {
        read(json, work)
    }

    /// Without what would only cost it time: the empty run that reads the weights in, and the trial
    /// whether the model fits on a GPU.
    fn first_token(&self, model: &Path, prompt: &str, threads: u32) -> Option<Command> {
        let mut command = Command::new(&self.programs.completion);
        command.arg("-m").arg(model);
        command.args(["-t", &threads.to_string(), "-c", CONTEXT, "-n", "1"]);
        command.args(["--temp", "0", "--no-warmup", "--fit", "off", "--no-perf"]);
        command.args(["--no-conversation", "--simple-io", "--no-display-prompt"]);
        command.args(["-p", prompt]);
        Some(command)
    }
}

impl LlamaCpp {
    /// Where it is fair to know that the peer has an instruction set that the targets were not
    /// made for.
    fn amx_note(&self) -> &'static str {
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let has = cpu.split_whitespace().any(|flag| flag == "amx_int8");
        if has && self.programs.variant == Variant::Native {
            "; this processor has AMX int8, which it uses (--without-amx builds it without)"
        } else {
            ""
        }
    }
}

/// llama-bench prints a list with an object for each test.
fn read(json: &Value, work: Work) -> Option<Report> {
    Some(Report {
        rates: rates(json.as_array()?, work, "avg_ts")?,
        isa: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench_peers::figures::Figure;
    use serde_json::json;

    #[test]
    fn the_rates_of_llama_bench_are_read() {
        let row = |prompt, generated, depth, rate| {
            json!({
                "model_type": "llama ?B Q4_1", "n_threads": 2, "flash_attn": -1,
                "n_prompt": prompt, "n_gen": generated, "n_depth": depth,
                "avg_ns": 1, "stddev_ns": 0, "avg_ts": rate, "stddev_ts": 0.0,
                "samples_ns": [1], "samples_ts": [rate],
            })
        };
        let shallow = json!([row(512, 0, 0, 285.5), row(0, 128, 0, 120.0)]);
        let rates = read(&shallow, Work::shallow(2)).unwrap().rates;
        assert_eq!(rates, [(Figure::Prefill, 285.5), (Figure::Decode, 120.0)]);
        let deep = json!([row(0, 64, 4096, 60.0)]);
        let rates = read(&deep, Work::deep(2)).unwrap().rates;
        assert_eq!(rates, [(Figure::Deep, 60.0)]);
        assert_eq!(read(&shallow, Work::deep(2)), None);
        assert_eq!(read(&json!({}), Work::deep(2)), None);
        let failed = json!([row(0, 64, 4096, 0.0)]);
        assert_eq!(read(&failed, Work::deep(2)), None);
    }
}
