//! `dormouse perplexity`: how well a model predicts a text, and how far it is from a yardstick.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use dormouse::Error;
use dormouse::evaluate::{self, LogitsReader, LogitsWriter, Score};
use dormouse::model::{ContextOptions, Model};
use dormouse::tokenize::EncodeOptions;
use serde_json::{Map, json};

use crate::args::PerplexityArgs;
use crate::failure::{Failure, Result};
use crate::tell::{self, tell};
use crate::{report, setup};

/// Tokens.
const SHORTEST_WINDOW: usize = 4;

pub(crate) fn run(args: &PerplexityArgs) -> Result<ExitCode> {
    if args.context < SHORTEST_WINDOW {
        return Err(Failure::usage(format!(
            "a window has at least {SHORTEST_WINDOW} tokens"
        )));
    }
    // Files are looked at first: to read them is quick, and to load a model is not.
    let text = args.file.as_deref().map(read).transpose()?;
    let yardstick = args.against.as_deref().map(open_logits).transpose()?;
    let (model, _) = setup::load(&args.model, |options| {
        options.precision = args.activations.into();
        if let Some(isa) = args.isa {
            options.isa = isa;
        }
    })?;
    let mut out = Output::default();
    if let Some(text) = text {
        let tokens = encode(&model, &text, args.context)?;
        let estimate = over_windows(&model, &tokens, args.context)?;
        out.estimate(&estimate);
        if let Some(path) = &args.save_logits {
            save_logits(&model, &tokens[..args.context], path)?;
            tell!("log-probabilities written to {}", path.display());
        }
    }
    if let Some(mut yardstick) = yardstick {
        let length = yardstick.tokens().len();
        let mut decoder = model.decoder(&ContextOptions::of_length(length))?;
        out.score(&evaluate::compare(&mut *decoder, &mut yardstick)?);
    }
    out.print(&model, args)?;
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| Failure::file("read", path, &e))
}

/// The engine calls a damaged logits file a damaged model; here it is not the model's fault.
fn open_logits(path: &Path) -> Result<LogitsReader> {
    LogitsReader::open(path).map_err(|error| match error {
        Error::CorruptModel { at, why } => Failure::new(format!("logits file {at}: {why}")),
        Error::UnsupportedModel { what } => {
            Failure::new(format!("{}: unsupported {what}", path.display()))
        }
        other => other.into(),
    })
}

/// The tokens of the text, of which there must be enough for a window.
fn encode(model: &Model, text: &str, context: usize) -> Result<Vec<u32>> {
    let options = EncodeOptions {
        add_special: true,
        parse_special: false,
    };
    let tokens = model.tokenizer().encode(text, options)?;
    if tokens.len() < SHORTEST_WINDOW {
        return Err(Failure::new(format!(
            "the text is too short: it has {} tokens, which fill no window",
            tokens.len()
        )));
    }
    if tokens.len() < context {
        return Err(Failure::usage(format!(
            "the text has {} tokens, which fill no window of {context}",
            tokens.len()
        ))
        .hint("take a longer text, or a smaller --context"));
    }
    Ok(tokens)
}

/// Sums over the tokens that were predicted.
#[derive(Debug, Default)]
struct Estimate {
    windows: usize,
    tokens: usize,
    sum: f64,
    squares: f64,
}

impl Estimate {
    fn add(&mut self, negative_log_likelihood: f64) {
        self.tokens += 1;
        self.sum += negative_log_likelihood;
        self.squares += negative_log_likelihood * negative_log_likelihood;
    }

    fn perplexity(&self) -> f64 {
        (self.sum / self.tokens as f64).exp()
    }

    /// Of the perplexity: the standard error of the mean likelihood, carried through exp.
    fn standard_error(&self) -> Option<f64> {
        let count = self.tokens as f64;
        let mean = self.sum / count;
        let variance = (self.squares / count - mean * mean).max(0.0);
        (self.tokens > 1).then(|| (variance / (count - 1.0)).sqrt() * self.perplexity())
    }
}

/// The second half of each whole window is counted: there, every token has at least half a
/// window before it.
fn over_windows(model: &Model, tokens: &[u32], context: usize) -> Result<Estimate> {
    let tokenizer = model.tokenizer();
    let bos = tokenizer.bos().filter(|_| tokenizer.add_bos());
    let mut decoder = model.decoder(&ContextOptions::of_length(context))?;
    let windows = tokens.len() / context;
    let mut estimate = Estimate::default();
    let show = io::stderr().is_terminal();
    for window in tokens.chunks_exact(context) {
        let mut window = window.to_vec();
        if let (Some(bos), Some(first)) = (bos, window.first_mut()) {
            *first = bos;
        }
        decoder.truncate(0);
        evaluate::for_each_position(&mut *decoder, &window, |position, logits| {
            if position >= context / 2
                && let Some(&next) = window.get(position + 1)
                && let Some(log_prob) = evaluate::log_probs(logits).nth(next as usize)
            {
                estimate.add(-f64::from(log_prob));
            }
            Ok(())
        })?;
        estimate.windows += 1;
        if show {
            tell::write(format_args!(
                "\rwindow {} of {windows}: {:.4} ",
                estimate.windows,
                estimate.perplexity()
            ));
        }
    }
    if show {
        tell!("");
    }
    Ok(estimate)
}

fn save_logits(model: &Model, tokens: &[u32], path: &Path) -> Result<()> {
    let mut decoder = model.decoder(&ContextOptions::of_length(tokens.len()))?;
    let mut writer = LogitsWriter::create(path, decoder.vocab_size(), tokens)?;
    evaluate::for_each_position(&mut *decoder, tokens, |_, logits| {
        writer.write(evaluate::log_probs(logits))
    })?;
    Ok(writer.finish()?)
}

/// The figures, as lines and as JSON.
#[derive(Default)]
struct Output {
    lines: Vec<String>,
    json: Map<String, serde_json::Value>,
}

impl Output {
    fn estimate(&mut self, estimate: &Estimate) {
        let error = estimate.standard_error();
        self.lines.push(format!(
            "perplexity {:.4} ± {:.4} ({} tokens of {} windows)",
            estimate.perplexity(),
            error.unwrap_or(f64::NAN),
            estimate.tokens,
            estimate.windows,
        ));
        self.json
            .insert("perplexity".into(), json!(estimate.perplexity()));
        self.json.insert("standard_error".into(), json!(error));
        self.json.insert("tokens".into(), json!(estimate.tokens));
        self.json.insert("windows".into(), json!(estimate.windows));
    }

    fn score(&mut self, score: &Score) {
        let (kl, top1) = (score.mean_kl(), score.top1_agreement());
        self.lines.push(format!(
            "against the logits file: mean KL {:.4e} nats · same top token {:.2}% · perplexity \
             {:.4} ({} positions)",
            kl.unwrap_or(f64::NAN),
            top1.unwrap_or(f64::NAN) * 100.0,
            score.perplexity().unwrap_or(f64::NAN),
            score.compared,
        ));
        let against = json!({
            "mean_kl_nats": kl,
            "top1_agreement": top1,
            "perplexity": score.perplexity(),
            "positions": score.compared,
        });
        self.json.insert("against".into(), against);
    }

    fn print(mut self, model: &Model, args: &PerplexityArgs) -> Result<()> {
        let text = if args.json {
            if let serde_json::Value::Object(setup) = report::setup(model) {
                self.json.extend(setup);
            }
            self.json.insert("context".into(), json!(args.context));
            serde_json::Value::Object(self.json).to_string()
        } else {
            self.lines.join("\n")
        };
        writeln!(io::stdout(), "{text}").map_err(|e| Failure::stdout(&e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_is_exp_of_the_mean_and_its_error_shrinks() {
        let mut estimate = Estimate::default();
        for _ in 0..2 {
            estimate.add(1.0);
            estimate.add(3.0);
        }
        assert!((estimate.perplexity() - 2f64.exp()).abs() < 1e-12);
        // Variance 1, so the mean's error is 1 / sqrt(3).
        let expected = 2f64.exp() / 3f64.sqrt();
        assert!((estimate.standard_error().unwrap() - expected).abs() < 1e-12);
    }
}
