//! What is measured of Dormouse alone: what it reads for a token, its peak memory and its load time.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

use super::figures::Summary;
use crate::failure::{Failure, Result};
use crate::process;

/// What a run may take besides the file, the KV cache and the tokenizer.
const SLACK: u64 = 48 << 20;
/// Runs whose load time is taken, and inspections whose tokenizer time.
const LOADS: usize = 5;
/// Words of the prompt whose run's memory is taken: some 512 tokens.
const LONG_PROMPT: usize = 400;

/// What is known of a model from its file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Facts {
    pub(crate) file_bytes: u64,
    /// Longest context.
    pub(crate) context: u64,
    /// What the tokenizer takes in memory, measured.
    pub(crate) tokenizer_bytes: u64,
    /// How long it takes to build, in seconds.
    pub(crate) tokenizer_s: f64,
    /// Bytes of weights that are read to decode a token: all but the token embedding, unless it is the
    /// head too.
    pub(crate) decode_bytes: u64,
    /// Operations for a token of a prompt: two for each weight of a matrix but the embedding and the
    /// head, which is needed for the last token alone.
    pub(crate) prefill_ops: u64,
}

/// What a run of Dormouse took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Own {
    /// Most memory that was resident; none where the system does not tell.
    pub(crate) peak: Option<u64>,
    /// What that may be: file, KV cache, tokenizer and 48 MiB.
    pub(crate) limit: u64,
    /// Time to load the model without its tokenizer, in seconds, from a warm file.
    pub(crate) load_s: f64,
}

impl Facts {
    /// Asks `dormouse inspect`.
    ///
    /// # Errors
    /// If it fails or says something else.
    pub(crate) fn of(dormouse: &Path, model: &Path) -> Result<Self> {
        let mut all = Vec::new();
        for _ in 0..LOADS {
            let mut command = Command::new(dormouse);
            command.args(["inspect", "--json", "--tensors"]).arg(model);
            let shown = process::show(&command);
            let (stdout, _) = outputs(&mut command)?;
            let facts = serde_json::from_slice(&stdout).ok();
            let facts = facts.and_then(|json| Self::read(&json));
            all.push(
                facts.ok_or_else(|| {
                    Failure(format!("`{shown}` does not say what the model takes"))
                })?,
            );
        }
        let times: Vec<f64> = all.iter().map(|facts| facts.tokenizer_s).collect();
        let median = Summary::of(&times).map(|times| times.median);
        let (facts, tokenizer_s) = all
            .pop()
            .zip(median)
            .ok_or_else(|| Failure("nothing was inspected".into()))?;
        Ok(Self {
            tokenizer_s,
            ..facts
        })
    }

    fn read(json: &Value) -> Option<Self> {
        let tensors = json["tensors"].as_array()?;
        let name = |tensor: &Value| tensor["name"].as_str().unwrap_or_default().to_owned();
        let has_head = tensors.iter().any(|tensor| name(tensor) == "output.weight");
        let mut decode_bytes = 0;
        let mut prefill_ops = 0;
        for tensor in tensors {
            let dims = tensor["dims"].as_array()?;
            let mut weights = 1;
            for dim in dims {
                weights *= dim.as_u64()?;
            }
            let (embedding, head) = match name(tensor).as_str() {
                "token_embd.weight" => (true, !has_head),
                "output.weight" => (false, true),
                _ => (false, false),
            };
            if !embedding || head {
                decode_bytes += tensor["bytes"].as_u64()?;
            }
            if !embedding && !head && dims.len() > 1 {
                prefill_ops += 2 * weights;
            }
        }
        let memory = &json["memory"];
        Some(Self {
            file_bytes: json["file_bytes"].as_u64()?,
            context: memory["max_context_tokens"].as_u64()?,
            tokenizer_bytes: memory["tokenizer_bytes"].as_u64().unwrap_or(0),
            tokenizer_s: memory["tokenizer_s"].as_f64()?,
            decode_bytes,
            prefill_ops,
        })
    }
}

impl Own {
    /// Runs `dormouse run` on a long prompt for its memory, and on a short one for its load time.
    ///
    /// # Errors
    /// If a run fails or its statistics lack a figure.
    pub(crate) fn measure(
        dormouse: &Path,
        model: &Path,
        facts: &Facts,
        threads: u32,
    ) -> Result<Self> {
        let long = ["the"; LONG_PROMPT].join(" ");
        let stats = stats(dormouse, model, &long, threads)?;
        let kv = stats["kv_bytes"]
            .as_u64()
            .ok_or_else(|| lacks("kv_bytes"))?;
        let mut loads = Vec::new();
        for _ in 0..LOADS {
            let stats = self::stats(dormouse, model, "the", threads)?;
            loads.push(stats["load_s"].as_f64().ok_or_else(|| lacks("load_s"))?);
        }
        let load = Summary::of(&loads).map_or(0.0, |loads| loads.median);
        Ok(Self {
            peak: stats["peak_memory_bytes"].as_u64(),
            limit: facts.file_bytes + kv + facts.tokenizer_bytes + SLACK,
            load_s: (load - facts.tokenizer_s).max(0.0),
        })
    }
}

fn lacks(figure: &str) -> Failure {
    Failure(format!("the statistics of `dormouse run` lack {figure}"))
}

/// What a run of some tokens says on stderr.
fn stats(dormouse: &Path, model: &Path, prompt: &str, threads: u32) -> Result<Value> {
    let mut command = Command::new(dormouse);
    command
        .args(["run", "--raw", "--stats", "json", "--temperature", "0"])
        .args([
            "-n",
            "4",
            "-t",
            &threads.to_string(),
            "--prompt",
            prompt,
            "-m",
        ])
        .arg(model);
    let (_, stderr) = outputs(&mut command)?;
    let text = String::from_utf8_lossy(&stderr);
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line)
        .map_err(|_| Failure(format!("`dormouse run` gave no statistics but: {line}")))
}

/// What a command prints on stdout and stderr.
fn outputs(command: &mut Command) -> Result<(Vec<u8>, Vec<u8>)> {
    let shown = process::show(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure(format!("cannot start `{shown}`: {error}")))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        let message = message.trim_end();
        let status = output.status;
        return Err(Failure(format!("`{shown}` failed: {status}: {message}")));
    }
    Ok((output.stdout, output.stderr))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn inspected(head: bool) -> Value {
        let mut tensors = vec![
            json!({ "name": "token_embd.weight", "dims": [32, 100], "bytes": 1800 }),
            json!({ "name": "blk.0.attn_norm.weight", "dims": [32], "bytes": 128 }),
            json!({ "name": "blk.0.attn_q.weight", "dims": [32, 64], "bytes": 1152 }),
        ];
        if head {
            tensors.push(json!({ "name": "output.weight", "dims": [32, 100], "bytes": 1801 }));
        }
        json!({
            "file_bytes": 5000, "tensors": tensors,
            "memory": { "max_context_tokens": 64, "tokenizer_bytes": null, "tokenizer_s": 0.25 },
        })
    }

    #[test]
    fn the_embedding_is_read_for_a_token_only_where_it_is_the_head() {
        let own_head = Facts::read(&inspected(true)).unwrap();
        assert_eq!(own_head.decode_bytes, 128 + 1152 + 1801);
        let tied = Facts::read(&inspected(false)).unwrap();
        assert_eq!(tied.decode_bytes, 1800 + 128 + 1152);
        // Neither is multiplied with for every token of a prompt; a norm is no matrix.
        assert_eq!(own_head.prefill_ops, 2 * 32 * 64);
        assert_eq!(tied.prefill_ops, 2 * 32 * 64);
        assert_eq!(tied.context, 64);
    }

    #[test]
    fn a_file_that_does_not_run_has_no_facts() {
        let mut json = inspected(true);
        json["memory"] = Value::Null;
        assert_eq!(Facts::read(&json), None);
    }
}
