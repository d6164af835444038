//! The chat templates of many models give an ordinary conversation the tokens of its text: marks of
//! what is not theirs stay without effect where nobody typed a control token.
//!
//! The files are those of `real_templates.rs`.
#![cfg(feature = "real-models")]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use common::{IM_START, bpe_parts, bpe_with, tokenizer};
use dormouse::template::{ChatTemplate, Message, RenderOptions, ToolCall};
use dormouse::tokenize::EncodeOptions;
use serde_json::json;

/// Further control tokens, of many models.
const CONTROL: [&str; 24] = [
    "<s>",
    "</s>",
    "<unk>",
    "<pad>",
    "<bos>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<|tool|>",
    "<|end|>",
    "[INST]",
    "[/INST]",
    "[TOOL_CALLS]",
    "[TOOL_RESULTS]",
    "<file_sep>",
    "<reponame>",
    "<filename>",
    "<|eot_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|message|>",
    "<|channel|>",
];

fn conversations() -> [Vec<Message>; 3] {
    let user = |text: &str| Message::user(text);
    let mut call = Message::assistant("");
    call.tool_calls.push(ToolCall {
        id: Some("call00001".into()),
        name: "look".into(),
        arguments: json!({"where": "a < b, user", "kind": "filename"}),
    });
    let mut result = Message::tool("{\"seen\": \"<b> system\"}");
    result.tool_call_id = Some("call00001".into());
    result.name = Some("look".into());
    [
        vec![
            user("The user's file_sep < x"),
            Message::assistant("s | end"),
            user("[unk]"),
        ],
        vec![
            Message::system("Be the assistant, /think"),
            user("if a < b"),
            Message::assistant("<think>\nThe user...\n</think>\n\n> yes"),
            user("And?"),
        ],
        vec![user("Look for S."), call, result],
    ]
}

#[test]
fn ordinary_conversations_have_the_tokens_of_their_text() {
    let models =
        std::env::var_os("DORMOUSE_MODELS").expect("cargo xtask test --only models sets it");
    let folder = Path::new(&models).join("llama.cpp-templates");
    let (mut tokens, mut kinds, merges) = bpe_parts();
    tokens.extend(CONTROL.map(String::from));
    kinds.extend([3; CONTROL.len()]);
    let tokenizer = tokenizer(&bpe_with(&tokens, &kinds, &merges)).unwrap();
    let special = EncodeOptions {
        add_special: false,
        parse_special: true,
    };
    let mut options = RenderOptions {
        now: Some("2024-07-09T13:05:07".parse().unwrap()),
        ..RenderOptions::default()
    };
    let (mut same, mut wrong) = (0, Vec::new());
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|end| end != "jinja") {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let template =
            ChatTemplate::new(&fs::read_to_string(&path).unwrap(), "<s>", "</s>").unwrap();
        for (index, messages) in conversations().iter().enumerate() {
            options.tools = if index == 2 {
                vec![json!({"type": "function", "function": {
                    "name": "look", "description": "looks < here",
                    "parameters": {"type": "object", "properties": {
                        "where": {"type": "string"}, "filename": {"type": "string"},
                    }, "required": ["where"]},
                }})]
            } else {
                Vec::new()
            };
            let Ok(text) = template.render(messages, &options) else {
                continue;
            };
            let wanted = tokenizer.encode(&text, special).unwrap();
            match template.render_tokens(&tokenizer, messages, &options) {
                Ok(mut tokens) => {
                    if wanted.first() != Some(&IM_START) && tokens.first() == Some(&IM_START) {
                        tokens.remove(0);
                    }
                    if tokens == wanted {
                        same += 1;
                    } else {
                        let made = tokenizer.decode(&tokens, true);
                        let made = String::from_utf8_lossy(&made).into_owned();
                        wrong.push(format!("{name}, {index}: {made:?} for {text:?}"));
                    }
                }
                Err(error) => wrong.push(format!("{name}, {index}: {error}")),
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {same}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(same >= 150, "{same}");
}
