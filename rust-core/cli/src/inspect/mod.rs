//! `dormouse inspect`: what is in a model file, and whether it runs here.

mod memory;
mod tensors;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use dormouse::gguf::{Gguf, Metadata, Source, Value};
use dormouse::model::{LoadOptions, Model, memory_plan};
use serde_json::json;

use crate::args::InspectArgs;
use crate::failure::{Failure, Result};
use crate::{report, setup};
use memory::Memory;

/// Characters of a text in the list of metadata.
const MAX_TEXT: usize = 70;

/// Elements of an array that are shown.
const MAX_ELEMENTS: usize = 4;

pub(crate) fn run(args: &InspectArgs) -> Result<ExitCode> {
    let Some(path) = args.file.as_deref().or(args.model.as_deref()) else {
        return Err(Failure::usage("name a GGUF file"));
    };
    let gguf = setup::open(path)?;
    let memory = memory(&gguf, args)?;
    let support = Support::of(path, &gguf);
    let text = if args.json {
        format!(
            "{}\n",
            as_json(path, &gguf, &support, memory.as_ref(), args)
        )
    } else {
        as_text(path, &gguf, &support, memory.as_ref(), args)
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|e| Failure::stdout(&e))?;
    Ok(ExitCode::SUCCESS)
}

/// The memory plan; none for a model whose shape is not understood.
fn memory(gguf: &Gguf, args: &InspectArgs) -> Result<Option<Memory>> {
    match memory_plan(gguf, &setup::context(args.context), args.kv.into()) {
        Ok(plan) => Ok(Some(Memory::new(gguf, plan))),
        Err(error @ dormouse::Error::InvalidArgument { .. }) => Err(error.into()),
        Err(_) => Ok(None),
    }
}

/// Whether the model runs with this release, and as what.
struct Support {
    /// Why it does not run.
    problem: Option<String>,
    /// Why it cannot chat.
    no_template: Option<String>,
}

impl Support {
    /// Loads the model, which maps its weights and reads none of them.
    fn of(path: &Path, gguf: &Gguf) -> Self {
        // Named first: a stranger learns more from it than from the first tensor that has it.
        let unknown = tensors::unsupported(gguf);
        if !unknown.is_empty() {
            return Self {
                problem: Some(format!("unsupported tensor types: {}", unknown.join(", "))),
                no_template: None,
            };
        }
        let mut options = LoadOptions::default();
        options.threads = Some(1);
        match Model::load(&Source::path(path), options) {
            Err(error) => Self {
                problem: Some(error.to_string()),
                no_template: None,
            },
            Ok(model) => Self {
                problem: None,
                no_template: model.template().err().map(|error| error.to_string()),
            },
        }
    }
}

fn text<'a>(metadata: &'a Metadata, key: &str) -> Option<&'a str> {
    metadata.str(key).ok().flatten()
}

/// The tokenizer as the file names it: its algorithm, and how text is cut before.
fn tokenizer(gguf: &Gguf) -> String {
    let metadata = gguf.metadata();
    let kind = match text(metadata, "tokenizer.ggml.model") {
        None => return "none".into(),
        Some("gpt2") => "byte-level BPE (gpt2)".to_owned(),
        Some("llama") => "SPM (llama)".to_owned(),
        Some("bert") => "WordPiece (bert)".to_owned(),
        Some("t5") => "Unigram (t5)".to_owned(),
        Some(other) => other.to_owned(),
    };
    let pre = text(metadata, "tokenizer.ggml.pre")
        .map_or(String::new(), |pre| format!(", pre-tokenizer {pre}"));
    let size = match metadata.get("tokenizer.ggml.tokens") {
        Some(Value::Array(tokens)) => format!(", {} tokens", tokens.count),
        _ => String::new(),
    };
    format!("{kind}{pre}{size}")
}

/// A metadata value, long ones cut.
fn value(metadata: &Metadata, key: &str, value: &Value) -> String {
    match value {
        Value::Unsigned(number) => number.to_string(),
        Value::Signed(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::String(text) => shortened(text),
        Value::Array(array) => {
            let mut shown: Vec<String> = match (metadata.numbers(key), metadata.strings(key)) {
                (Ok(Some(numbers)), _) => numbers
                    .take(MAX_ELEMENTS)
                    .map(|number| number.to_string())
                    .collect(),
                (_, Ok(Some(texts))) => texts
                    .iter()
                    .take(MAX_ELEMENTS)
                    .map(|text| shortened(&String::from_utf8_lossy(text)))
                    .collect(),
                _ => Vec::new(),
            };
            if array.count > shown.len() {
                shown.push("...".into());
            }
            format!("[{}] ({} elements)", shown.join(", "), array.count)
        }
        _ => "?".into(),
    }
}

/// The text in quotes with escapes; of a long one the beginning.
fn shortened(text: &str) -> String {
    let length = text.chars().count();
    if length <= MAX_TEXT {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(MAX_TEXT).collect();
    format!("{start:?}... ({length} characters)")
}

fn as_text(
    path: &Path,
    gguf: &Gguf,
    support: &Support,
    memory: Option<&Memory>,
    args: &InspectArgs,
) -> String {
    let metadata = gguf.metadata();
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<14}{value}");
    };
    let name = text(metadata, "general.name").unwrap_or("-");
    line("file", path.display().to_string());
    let files = match gguf.parts().len() {
        1 => String::new(),
        count => format!(" in {count} files"),
    };
    line(
        "format",
        format!(
            "GGUF {}, {}{files}",
            gguf.version(),
            report::bytes(gguf.file_bytes())
        ),
    );
    line("name", name.escape_debug().to_string());
    let architecture = gguf.architecture().unwrap_or("-");
    line("architecture", architecture.escape_debug().to_string());
    line("tokenizer", tokenizer(gguf).escape_debug().to_string());
    match (&support.problem, &support.no_template) {
        (Some(problem), _) => line("runs here", format!("no: {problem}")),
        (None, None) => line("runs here", "yes, with a chat template".into()),
        (None, Some(why)) => {
            line("runs here", "yes".into());
            line("chats", format!("no: {why}"));
        }
    }
    out.push('\n');
    match memory {
        Some(memory) => out.push_str(&memory.text()),
        None => out.push_str("memory: not known, as the model's shape is not\n"),
    }
    out.push_str("\nmetadata\n");
    for (key, entry) in metadata.iter() {
        let shown = value(metadata, key, entry);
        let _ = writeln!(out, "  {} = {shown}", key.escape_debug());
    }
    out.push('\n');
    out.push_str(&tensors::summary(gguf));
    if args.tensors {
        out.push('\n');
        out.push_str(&tensors::list(gguf));
    }
    out
}

fn as_json(
    path: &Path,
    gguf: &Gguf,
    support: &Support,
    memory: Option<&Memory>,
    args: &InspectArgs,
) -> serde_json::Value {
    let metadata = gguf.metadata();
    let entries: serde_json::Map<String, serde_json::Value> = metadata
        .iter()
        .map(|(key, entry)| (key.to_owned(), value_json(entry)))
        .collect();
    let mut all = json!({
        "file": path.display().to_string(),
        "file_bytes": gguf.file_bytes(),
        "files": gguf.parts().len(),
        "gguf_version": gguf.version(),
        "architecture": gguf.architecture().ok(),
        "tokenizer": tokenizer(gguf),
        "supported": support.problem.is_none(),
        "problem": support.problem,
        "chat_template": support.problem.is_none() && support.no_template.is_none(),
        "memory": memory.map(Memory::json),
        "metadata": entries,
        "tensor_types": tensors::summary_json(gguf),
    });
    if args.tensors {
        all["tensors"] = tensors::list_json(gguf);
    }
    all
}

fn value_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Unsigned(number) => json!(number),
        Value::Signed(number) => json!(number),
        Value::Float(number) => json!(number),
        Value::Bool(flag) => json!(flag),
        Value::String(text) => json!(text),
        // The elements are in the file; a vocabulary of them would drown the rest.
        Value::Array(array) => json!({ "array_of": array.count }),
        _ => serde_json::Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_and_control_characters_escaped() {
        assert_eq!(shortened("a\n\u{1b}"), r#""a\n\u{1b}""#);
        let long = "ä".repeat(MAX_TEXT + 1);
        let shown = shortened(&long);
        assert!(shown.ends_with("... (71 characters)"), "{shown}");
    }
}
