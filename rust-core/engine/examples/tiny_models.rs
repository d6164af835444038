//! Writes two tiny models, an adapter and an embedding for tests in any language: `tiny_models DIR`.
//!
//! Both models are real files of architecture llama, less than 300 KB each, the same bytes every time.
//! Their chat template knows reasoning (`<think>`) and tools (`<tool_call>`).
//!
//! - `tiny.gguf` has random weights and says random things. Context 512. Its embeddings are means.
//! - `scripted.gguf` is an automaton: its reply depends on a word in the last message alone,
//!   whatever the sampler (the temperature may be up to 2) and the seed. Context 1024. It does not say
//!   how embeddings are pooled.
//! - `adapter.gguf` is a random LoRA adapter of `tiny.gguf`, of rank 4.
//! - `embedding.json` has a text (`text`) and what the engine itself has `tiny.gguf` make of it
//!   (`vector`).
//!
//! | last message | reply |
//! |---|---|
//! | contains `think` | reasoning `Hm, let me see.`, then `It is 42.` |
//! | contains `weather` | with tools: a call of `get_weather` with `{"city": "Graz"}` |
//! | contains `broken` | `Look:` and a malformed call, which stays text, then ` so.` |
//! | contains `stop` | `One two END three four`, where `END` is two tokens |
//! | contains `forever` | `tick tock, and so on `, again and again |
//! | is a tool's | `The tool has spoken.` |
//! | anything else | `Hello 🐭 from the dormouse: 冬眠!`, 🐭, 冬 and 眠 a byte a token |
//!
//! The first row that fits counts, but a tool's message always gets its own. A raw completion of `<|forever|>` goes on for ever, too.
#![allow(clippy::unwrap_used)]

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/files/mod.rs"]
mod files;
#[path = "../tests/tiny/mod.rs"]
mod tiny;

use std::path::PathBuf;
use std::process::ExitCode;

use dormouse::gguf::Source;
use dormouse::model::{EmbedOptions, LoadOptions, Model};

fn main() -> ExitCode {
    let Some(dir) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: tiny_models DIR");
        return ExitCode::from(2);
    };
    match write(&dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn write(dir: &std::path::Path) -> dormouse::Result<()> {
    let made = std::fs::create_dir_all(dir);
    made.map_err(|e| dormouse::Error::io(format!("make {}", dir.display()), e))?;
    for (name, model) in [
        ("tiny.gguf", files::tiny_model()),
        ("scripted.gguf", files::scripted_model()),
        ("adapter.gguf", files::tiny_adapter()),
    ] {
        let path = dir.join(name);
        model.write(&path)?;
        println!("{}", path.display());
    }
    let text = "Dormice sleep 🐭 through winter.";
    let model = Model::load(&Source::path(dir.join("tiny.gguf")), LoadOptions::default())?;
    let vector = model.embed(text, &EmbedOptions::default())?;
    let path = dir.join("embedding.json");
    let embedding = serde_json::json!({ "text": text, "vector": vector });
    std::fs::write(&path, embedding.to_string())
        .map_err(|e| dormouse::Error::io(format!("write {}", path.display()), e))?;
    println!("{}", path.display());
    Ok(())
}
