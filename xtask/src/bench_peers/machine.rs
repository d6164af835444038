//! What bounds every engine on this machine: its read bandwidth and its int8 peak.

use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};

use super::figures::positive;
use crate::failure::{Failure, Result};
use crate::process;

/// What the program `machine` of the kernels measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Machine {
    /// Bytes per second that all threads read together.
    pub(crate) read: f64,
    /// Instruction set, and operations (a multiplication and an addition are two) per second of
    /// all threads together; none where the program knows none.
    pub(crate) int8: Option<(String, f64)>,
}

impl Machine {
    /// Runs the program.
    ///
    /// # Errors
    /// If it does not run or prints something else.
    pub(crate) fn measure(program: &Path, threads: u32) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(["--json", "--threads", &threads.to_string()]);
        let shown = process::show(&command);
        let output = command
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| Failure(format!("cannot start `{shown}`: {error}")))?;
        if !output.status.success() {
            return Err(Failure(format!("`{shown}` failed: {}", output.status)));
        }
        serde_json::from_slice(&output.stdout)
            .ok()
            .and_then(|json| Self::read(&json))
            .ok_or_else(|| Failure(format!("`{shown}` printed no figures")))
    }

    fn read(json: &Value) -> Option<Self> {
        let isa = json["int8_isa"].as_str();
        let peak = positive(&json["int8_gop_s"]);
        Some(Self {
            read: positive(&json["read_gb_s"])? * 1e9,
            int8: isa
                .zip(peak)
                .map(|(isa, peak)| (isa.to_owned(), peak * 1e9)),
        })
    }

    /// The better of both: what else the machine did made one worse, nothing makes one better.
    pub(crate) fn or(self, other: Self) -> Self {
        let peak = |machine: &Self| machine.int8.as_ref().map_or(0.0, |(_, peak)| *peak);
        Self {
            read: self.read.max(other.read),
            int8: if peak(&other) > peak(&self) {
                other.int8
            } else {
                self.int8
            },
        }
    }

    pub(crate) fn line(&self) -> String {
        let read = format!("read bandwidth {:.1} GB/s", self.read / 1e9);
        match &self.int8 {
            Some((isa, peak)) => format!("{read}, int8 peak {:.0} Gop/s ({isa})", peak / 1e9),
            None => format!("{read}, int8 peak not known here"),
        }
    }

    pub(crate) fn json(&self) -> Value {
        let (isa, peak) = self.int8.clone().unzip();
        json!({ "read_bytes_per_s": self.read, "int8_isa": isa, "int8_ops_per_s": peak })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_line_is_read_and_the_better_of_two_counts() {
        let line = json!({
            "threads": 2, "read_gb_s": 20.0, "int8_isa": "avx2", "int8_gop_s": 300.0,
            "int8": [{ "isa": "avx2", "gop_s": 300.0 }],
        });
        let one = Machine::read(&line).unwrap();
        let two = json!({ "read_gb_s": 15.0, "int8_isa": "avx2", "int8_gop_s": 400.0 });
        let best = one.or(Machine::read(&two).unwrap());
        assert_eq!(best.read, 20e9);
        assert_eq!(best.int8, Some(("avx2".into(), 400e9)));
        assert_eq!(
            best.line(),
            "read bandwidth 20.0 GB/s, int8 peak 400 Gop/s (avx2)"
        );
    }

    #[test]
    fn a_processor_without_a_known_instruction_set_has_no_peak() {
        let line = json!({ "read_gb_s": 5.0, "int8_isa": null, "int8_gop_s": null });
        let machine = Machine::read(&line).unwrap();
        assert_eq!(machine.int8, None);
        assert_eq!(machine.json()["int8_ops_per_s"], Value::Null);
        assert_eq!(Machine::read(&json!({ "int8_gop_s": 3.0 })), None);
    }
}
