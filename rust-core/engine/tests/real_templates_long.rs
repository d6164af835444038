//! The chat templates of many models render long conversations: several walk all messages for each
//! message.
//!
//! The files are those of `real_templates.rs`.
#![cfg(feature = "real-models")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use dormouse::template::{ChatTemplate, Message, RenderOptions, ToolCall};
use serde_json::json;

/// What the n-th turn of a conversation says. No two turns share a line.
type Turn = fn(usize) -> Vec<Message>;

fn words(turn: usize) -> String {
    format!("turn {turn} says this, ")
}

fn chat(turn: usize) -> Vec<Message> {
    vec![
        Message::user(words(turn).repeat(3)),
        Message::assistant(words(turn).repeat(5)),
    ]
}

fn call(turn: usize) -> Vec<Message> {
    let id = format!("call{turn:05}");
    let mut call = Message::assistant("");
    call.tool_calls.push(ToolCall {
        id: Some(id.clone()),
        name: "look".into(),
        arguments: json!({"where": words(turn)}),
    });
    let mut result = Message::tool(json!({"seen": words(turn)}).to_string());
    result.tool_call_id = Some(id);
    result.name = Some("look".into());
    vec![call, result]
}

/// A task, and call upon call for it.
fn agent(turn: usize) -> Vec<Message> {
    if turn == 0 {
        vec![Message::user(words(turn))]
    } else {
        call(turn)
    }
}

/// A task for each call, and an answer.
fn assistant(turn: usize) -> Vec<Message> {
    let mut messages = vec![Message::user(words(turn))];
    messages.extend(call(turn));
    messages.push(Message::assistant(words(turn)));
    messages
}

#[test]
fn the_templates_of_many_models_render_long_conversations() {
    let models =
        std::env::var_os("DORMOUSE_MODELS").expect("cargo xtask test --only models sets it");
    let folder = Path::new(&models).join("llama.cpp-templates");
    let look = json!({"type": "function", "function": {
        "name": "look", "description": "looks",
        "parameters": {"type": "object", "properties": {"where": {"type": "string"}}},
    }});
    let conversations: [(&str, Turn, usize); 3] = [
        ("chat", chat, 2),
        ("agent", agent, 2),
        ("assistant", assistant, 4),
    ];
    let (mut rendered, mut complete, mut wrong) = (0, 0, Vec::new());
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|end| end != "jinja") {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let source = fs::read_to_string(&path).unwrap();
        let Ok(template) = ChatTemplate::new(&source, "<s>", "</s>") else {
            continue;
        };
        for (what, turn, each) in conversations {
            let render = |turns: usize| {
                let mut options = RenderOptions {
                    now: Some("2024-07-09T13:05:07".parse().unwrap()),
                    ..RenderOptions::default()
                };
                if what != "chat" {
                    options.tools.push(look.clone());
                }
                let messages: Vec<Message> = (0..turns).flat_map(turn).collect();
                template.render(&messages, &options)
            };
            // Some take no tools, or no such order.
            let Ok(short) = render(3) else { continue };
            match render(500 / each) {
                Ok(long) => {
                    rendered += 1;
                    // No turn may be missing but those that the short conversation lacks, too: some
                    // templates leave out what is far back.
                    let last = words(500 / each - 1);
                    if short.contains(&words(2)) && !long.contains(&last) {
                        wrong.push(format!("{name}, {what}: the last turn is missing"));
                    }
                    if (0..3).all(|turn| short.contains(&words(turn))) {
                        complete += 1;
                        let missing = (0..500 / each).find(|&turn| !long.contains(&words(turn)));
                        if let Some(turn) = missing {
                            wrong.push(format!("{name}, {what}: turn {turn} is missing"));
                        }
                    }
                }
                Err(error) => wrong.push(format!("{name}, {what}: {error}")),
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {rendered}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(rendered >= 178 && complete >= 170, "{rendered} {complete}");
}
