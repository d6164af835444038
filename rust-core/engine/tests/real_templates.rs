//! The chat templates of many models render to what Jinja2 makes of them.
//!
//! The files belong to the vendors of the models: `cargo xtask test --only models` fetches them.
//! A result that differs is written to Cargo's folder for tests; `fixtures/generate.py FOLDER
//! --only model-templates --texts DIR` writes what Jinja2 renders, to compare it with.
#![cfg(feature = "real-models")]
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dormouse::Error;
use dormouse::template::ChatTemplate;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// What may differ, and why: file, conversation.
const DIFFER: &[(&str, &str, &str)] = &[
    ("llama-cpp-deepseek-r1.jinja", "tools", GENERATOR),
    ("llama-cpp-deepseek-r1.jinja", "calls", GENERATOR),
    ("llama-cpp-deepseek-r1.jinja", "results", GENERATOR),
];
const GENERATOR: &str =
    "written for llama.cpp, where `map` makes a list; Jinja2's makes what `tojson` refuses";

fn hex(data: &[u8]) -> String {
    Sha256::digest(data)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

fn folder() -> PathBuf {
    let models =
        std::env::var_os("DORMOUSE_MODELS").expect("cargo xtask test --only models sets it");
    Path::new(&models).join("llama.cpp-templates")
}

/// Whether `why` is `words` as far as they may be told.
fn raised(why: &str, words: &str) -> bool {
    match why.strip_suffix('…') {
        Some(beginning) => words.starts_with(beginning),
        None => why == words,
    }
}

/// Whether what we made is what the golden data says: a text by length and SHA-256, or an error.
fn agrees(ours: &Result<String, Error>, golden: &Value) -> bool {
    match (ours, golden) {
        (Ok(text), Value::Array(sum)) => {
            sum[0] == text.len() && sum[1].as_str() == Some(&hex(text.as_bytes()))
        }
        (Err(Error::Template { why }), Value::String(error)) => {
            // The words are the template's own only where it raised them itself.
            error
                .strip_prefix("raised: ")
                .is_none_or(|words| raised(why, words))
        }
        _ => false,
    }
}

#[test]
fn the_templates_of_many_models_render_as_in_jinja2() {
    let golden = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/model_templates.json"
    );
    let golden: Value = serde_json::from_str(&fs::read_to_string(golden).unwrap()).unwrap();
    let now = golden["now"].as_str().unwrap().parse().unwrap();
    let conversations: HashMap<&str, &Map<String, Value>> = golden["conversations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["name"].as_str().unwrap(),
                row["variables"].as_object().unwrap(),
            )
        })
        .collect();
    assert!(conversations.len() >= 5);
    let templates = golden["templates"].as_array().unwrap();
    assert_eq!(templates.len(), 70);
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("model_templates");
    fs::create_dir_all(&out).unwrap();
    let mut wrong = Vec::new();
    let mut rendered = 0;
    for template in templates {
        let file = template["file"].as_str().unwrap();
        let source = fs::read_to_string(folder().join(file)).unwrap();
        assert_eq!(
            hex(source.as_bytes()),
            template["sha256"].as_str().unwrap(),
            "{file}"
        );
        let start = Instant::now();
        let compiled = ChatTemplate::new(&source, "<s>", "</s>");
        let cases = template["cases"].as_object().unwrap();
        assert_eq!(cases.len(), conversations.len(), "{file}");
        for (conversation, expected) in cases {
            let variables = conversations[conversation.as_str()].clone();
            let ours = match &compiled {
                Ok(compiled) => compiled.render_variables(variables, Some(now)),
                Err(error) => Err(Error::Template {
                    why: error.to_string(),
                }),
            };
            let good = agrees(&ours, expected);
            rendered += usize::from(good && ours.is_ok());
            let listed = DIFFER
                .iter()
                .find(|&&(f, c, _)| (f, c) == (file, conversation));
            let name = format!("{file}.{conversation}.txt");
            match &ours {
                Ok(text) if !good => fs::write(out.join(&name), text).unwrap(),
                _ => {}
            }
            match (good, listed) {
                (true, Some((_, _, reason))) => {
                    wrong.push(format!("{name} agrees now, but is listed: {reason}"));
                }
                (false, None) => wrong.push(match (&ours, expected) {
                    (Err(error), _) => format!("{name}: {error}; wanted {expected}"),
                    (Ok(_), Value::String(error)) => {
                        format!("{name}: rendered; Jinja2 says {error}")
                    }
                    (Ok(_), _) => format!("{name}: see {}", out.join(&name).display()),
                }),
                _ => {}
            }
        }
        let took = start.elapsed();
        assert!(took < Duration::from_secs(1), "{file} took {took:?}");
    }
    assert!(
        wrong.is_empty(),
        "{} of {rendered} good:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(rendered >= 300, "{rendered}");
}
