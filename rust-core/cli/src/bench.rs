//! `dormouse bench`: the prompt rate and the decode rate, as llama-bench defines them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Instant;

use dormouse::metrics::peak_memory;
use dormouse::model::{ContextOptions, Decoder, Model};
use serde_json::{Value, json};

use crate::args::{Access, BenchArgs, ModelArgs};
use crate::failure::{Failure, Result};
use crate::{report, setup};

/// What is measured.
#[derive(Debug, Clone, Copy)]
enum Test {
    /// Tokens as one prompt.
    Prompt(usize),
    /// Tokens one by one.
    Decode(usize),
}

impl Test {
    fn tokens(self) -> usize {
        match self {
            Self::Prompt(tokens) | Self::Decode(tokens) => tokens,
        }
    }

    fn name(self) -> String {
        match self {
            Self::Prompt(tokens) => format!("pp{tokens}"),
            Self::Decode(tokens) => format!("tg{tokens}"),
        }
    }
}

/// Tokens per second over the repetitions of one test.
struct Row {
    test: Test,
    depth: usize,
    threads: usize,
    mean: f64,
    deviation: f64,
    samples: Vec<f64>,
}

pub(crate) fn run(args: &BenchArgs) -> Result<ExitCode> {
    let prompts = args.prompt.iter().copied().map(Test::Prompt);
    let decodes = args.generate.iter().copied().map(Test::Decode);
    let tests: Vec<Test> = prompts.chain(decodes).filter(|t| t.tokens() > 0).collect();
    if tests.is_empty() {
        return Err(Failure::usage(
            "there is nothing to measure: -p and -n are both 0",
        ));
    }
    let threads: Vec<Option<u16>> = if args.threads.is_empty() {
        vec![None]
    } else {
        args.threads.iter().copied().map(Some).collect()
    };
    let mut rows = Vec::new();
    let mut described = None;
    for threads in threads {
        let model = load(args, threads)?;
        for &depth in &args.depth {
            for &test in &tests {
                rows.push(measure(&model, test, depth, args.repetitions as usize)?);
            }
        }
        described.get_or_insert_with(|| Description::new(&model, args));
    }
    let Some(described) = described else {
        return Err(Failure::usage("there is nothing to measure"));
    };
    let text = if args.json {
        format!("{}\n", described.json(&rows))
    } else {
        described.table(&rows)
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|e| Failure::stdout(&e))?;
    Ok(ExitCode::SUCCESS)
}

fn load(args: &BenchArgs, threads: Option<u16>) -> Result<Model> {
    let model = ModelArgs {
        model: args.model.clone(),
        threads,
        kv: args.kv,
        file_access: Access::Auto,
        backend: args.backend,
    };
    let (model, _) = setup::load(&model, |options| {
        if let Some(isa) = args.isa {
            options.isa = isa;
        }
    })?;
    Ok(model)
}

fn measure(model: &Model, test: Test, depth: usize, repetitions: usize) -> Result<Row> {
    let length = depth.saturating_add(test.tokens());
    let longest = model.config().context_length;
    if length > longest {
        return Err(Failure::usage(format!(
            "{} at depth {depth} needs a context of {length} tokens (this model takes {longest})",
            test.name()
        )));
    }
    let mut decoder = model.decoder(&ContextOptions::of_length(length))?;
    let mut logits = vec![0.0; decoder.vocab_size()];
    let mut random = Random(0x5eed);
    let mut tokens = |count| random.tokens(count, logits.len() as u64);
    let (before, tokens) = (tokens(depth), tokens(test.tokens()));
    prompt(&mut *decoder, &before, &mut logits)?;
    // Warm-up: the pages of the model are read in, the threads are awake.
    match test {
        Test::Prompt(_) => prompt(&mut *decoder, &tokens, &mut logits)?,
        Test::Decode(_) => one_by_one(&mut *decoder, &tokens[..1], &mut logits)?,
    }
    let mut samples = Vec::with_capacity(repetitions);
    for _ in 0..repetitions {
        decoder.truncate(depth);
        let started = Instant::now();
        match test {
            Test::Prompt(_) => prompt(&mut *decoder, &tokens, &mut logits)?,
            Test::Decode(_) => one_by_one(&mut *decoder, &tokens, &mut logits)?,
        }
        samples.push(tokens.len() as f64 / started.elapsed().as_secs_f64());
    }
    let (mean, deviation) = mean_and_deviation(&samples);
    Ok(Row {
        test,
        depth,
        threads: model.options().threads(),
        mean,
        deviation,
        samples,
    })
}

/// Evaluates the tokens as one prompt: logits for the last alone.
fn prompt(decoder: &mut dyn Decoder, tokens: &[u32], logits: &mut [f32]) -> Result<()> {
    let mut chunks = tokens.chunks(decoder.max_chunk()).peekable();
    while let Some(chunk) = chunks.next() {
        let last = chunks.peek().is_none();
        decoder.forward(chunk, last.then_some(&mut *logits))?;
    }
    Ok(())
}

fn one_by_one(decoder: &mut dyn Decoder, tokens: &[u32], logits: &mut [f32]) -> Result<()> {
    for &token in tokens {
        decoder.forward(&[token], Some(&mut *logits))?;
    }
    Ok(())
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same tokens on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn tokens(&mut self, count: usize, vocabulary: u64) -> Vec<u32> {
        (0..count)
            .map(|_| (self.next() % vocabulary) as u32)
            .collect()
    }
}

/// Mean, and standard deviation of the sample (0 for a single value).
fn mean_and_deviation(samples: &[f64]) -> (f64, f64) {
    let count = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / count;
    if samples.len() < 2 {
        return (mean, 0.0);
    }
    let squares: f64 = samples.iter().map(|s| (s - mean) * (s - mean)).sum();
    (mean, (squares / (count - 1.0)).sqrt())
}

/// What was measured.
struct Description {
    name: String,
    file: String,
    weights: u64,
    backend: &'static str,
    architecture: &'static str,
    isa: Option<&'static str>,
    kv: &'static str,
}

impl Description {
    fn new(model: &Model, args: &BenchArgs) -> Self {
        let tensors = model.gguf().tensors();
        Self {
            name: report::model_name(model, &args.model),
            file: args.model.display().to_string(),
            weights: tensors.iter().map(|tensor| tensor.bytes).sum(),
            backend: report::backend(model),
            architecture: model.config().arch,
            isa: report::isa(model),
            kv: match args.kv {
                crate::args::Kv::F16 => "f16",
                crate::args::Kv::F32 => "f32",
                crate::args::Kv::Q8_0 => "q8_0",
            },
        }
    }

    fn json(&self, rows: &[Row]) -> Value {
        let results: Vec<Value> = rows
            .iter()
            .map(|row| {
                let tokens = |wanted: bool| if wanted { row.test.tokens() } else { 0 };
                let is_prompt = matches!(row.test, Test::Prompt(_));
                json!({
                    "test": row.test.name(),
                    "n_prompt": tokens(is_prompt),
                    "n_gen": tokens(!is_prompt),
                    "n_depth": row.depth,
                    "threads": row.threads,
                    "tokens_per_s": row.mean,
                    "stddev_tokens_per_s": row.deviation,
                    "samples_tokens_per_s": row.samples,
                })
            })
            .collect();
        json!({
            "model": self.name,
            "file": self.file,
            "architecture": self.architecture,
            "weight_bytes": self.weights,
            "backend": self.backend,
            "isa": self.isa,
            "kv": self.kv,
            "results": results,
            "peak_memory_bytes": peak_memory(),
        })
    }

    fn table(&self, rows: &[Row]) -> String {
        let mut out = format!(
            "{} · {} · {} of weights · {} backend{} · KV cache {}\n\n",
            self.name,
            self.architecture,
            report::bytes(self.weights),
            self.backend,
            self.isa.map_or(String::new(), |isa| format!(", {isa}")),
            self.kv,
        );
        out.push_str("| test             | threads |      tokens/s      |\n");
        out.push_str("| ---------------- | ------: | -----------------: |\n");
        for row in rows {
            let mut test = row.test.name();
            if row.depth > 0 {
                let _ = write!(test, " @ d{}", row.depth);
            }
            let figure = format!("{:.2} ± {:.2}", row.mean, row.deviation);
            let _ = writeln!(out, "| {test:<16} | {:>7} | {figure:>18} |", row.threads);
        }
        if let Some(peak) = peak_memory() {
            let _ = writeln!(out, "\npeak memory {}", report::bytes(peak));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_deviation_of_a_sample() {
        assert_eq!(mean_and_deviation(&[3.0]), (3.0, 0.0));
        let (mean, deviation) = mean_and_deviation(&[2.0, 4.0, 6.0]);
        assert_eq!((mean, deviation), (4.0, 2.0));
    }

    #[test]
    fn random_tokens_lie_in_the_vocabulary_and_differ() {
        let tokens = Random(1).tokens(100, 7);
        assert!(tokens.iter().all(|&token| token < 7));
        assert!((0..7).all(|token| tokens.contains(&token)));
        assert_eq!(tokens, Random(1).tokens(100, 7));
    }
}
