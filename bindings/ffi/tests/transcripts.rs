//! The committed conversations, through the surface that Kotlin and Swift use: the same events here
//! as there. `UPDATE_TRANSCRIPTS=1` writes what comes into the file, to be looked at.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{block_on, greedy, load, message, tiny_models};
use dormouse_ffi::{
    CallToken, ChatHandle, ChatSettings, Event, Failure, ModelHandle, Part, Reply, ReplySettings,
    Role, Tool, WhenFull,
};
use serde_json::{Value, json};

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/transcripts.json")
}

/// Settings of a turn; without a seed it is greedy.
fn settings(options: &Value) -> ReplySettings {
    let mut settings = greedy();
    let sampler = &mut settings.sampler;
    if let Some(seed) = options["seed"].as_u64() {
        sampler.seed = Some(seed);
        sampler.temperature = 0.8;
    }
    let number = |name: &str| options[name].as_f64().map(|n| n as f32);
    let set = |field: &mut f32, name: &str| *field = number(name).unwrap_or(*field);
    set(&mut sampler.temperature, "temperature");
    set(&mut sampler.top_p, "top_p");
    set(&mut sampler.min_p, "min_p");
    set(&mut sampler.repetition_penalty, "repetition_penalty");
    if let Some(top_k) = options["top_k"].as_u64() {
        sampler.top_k = u32::try_from(top_k).unwrap();
    }
    settings.max_tokens = options["max_tokens"]
        .as_u64()
        .map(|n| u32::try_from(n).unwrap());
    for stop in options["stop"].as_array().into_iter().flatten() {
        settings.stop.push(stop.as_str().unwrap().to_owned());
    }
    if options["weather_tool"] == true {
        settings.tools.push(Tool {
            name: "get_weather".into(),
            description: "Weather in a city".into(),
            parameters:
                r#"{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}"#
                    .into(),
        });
    }
    settings
}

/// The events of a reply, neighbouring texts joined.
fn events(reply: &Reply) -> Result<Vec<Value>, Failure> {
    let mut out: Vec<Value> = Vec::new();
    let text = |out: &mut Vec<Value>, kind: &str, more: &str| match out.last_mut() {
        Some(last) if last.get(kind).is_some() => {
            let joined = last[kind].as_str().unwrap().to_owned() + more;
            last[kind] = joined.into();
        }
        _ => out.push(json!({ kind: more })),
    };
    loop {
        let some = block_on(reply.next())?;
        if some.is_empty() {
            return Ok(out);
        }
        for event in some {
            match event {
                Event::Token { text: more } => text(&mut out, "token", &more),
                Event::Reasoning { text: more } => text(&mut out, "reasoning", &more),
                Event::ToolCall { call } => out.push(json!({
                    "tool_call": {"name": call.name, "arguments": call.arguments}
                })),
                Event::Throttled { .. } => panic!("nothing throttles"),
                Event::Done {
                    metrics,
                    finish_reason,
                    ..
                } => out.push(json!({"done": {
                    "finish_reason": format!("{finish_reason:?}"),
                    "prompt_tokens": metrics.prompt_tokens,
                    "reused_tokens": metrics.reused_tokens,
                    "generated_tokens": metrics.generated_tokens,
                }})),
            }
        }
    }
}

fn start(
    model: &Arc<ModelHandle>,
    chat: &Arc<ChatHandle>,
    turn: &Value,
) -> Result<Arc<Reply>, Failure> {
    let settings = settings(&turn["options"]);
    let text = turn["text"].as_str().unwrap_or_default();
    match turn["action"].as_str().unwrap() {
        "send" => block_on(chat.clone().send(
            vec![message(Role::User, text)],
            settings,
            CallToken::new(),
        )),
        "tool" => block_on(chat.clone().send(
            vec![message(Role::Tool, text)],
            settings,
            CallToken::new(),
        )),
        "regenerate" => block_on(chat.clone().regenerate(settings, CallToken::new())),
        "edit" => {
            let index = u32::try_from(turn["index"].as_u64().unwrap()).unwrap();
            block_on(chat.clone().edit(
                index,
                message(Role::User, text),
                settings,
                CallToken::new(),
            ))
        }
        "complete" => block_on(
            model
                .clone()
                .complete(text.to_owned(), settings, CallToken::new()),
        ),
        other => panic!("unknown action {other}"),
    }
}

/// What a turn comes to: `("events", [...])` or `("error", kind)`.
fn outcome(
    model: &Arc<ModelHandle>,
    chat: &Arc<ChatHandle>,
    turn: &Value,
) -> (&'static str, Value) {
    match start(model, chat, turn).and_then(|reply| events(&reply)) {
        Ok(events) => ("events", events.into()),
        Err(failure) => {
            let kind = format!("{failure:?}");
            let kind = kind.split([' ', '{']).next().unwrap();
            ("error", kind.into())
        }
    }
}

fn history(chat: &ChatHandle) -> Vec<Value> {
    let messages = chat.messages().unwrap();
    let texts = messages.iter().map(|m| {
        let text: String = m
            .content
            .iter()
            .map(|Part::Text { text }| text.as_str())
            .collect();
        format!("{}: {text}", format!("{:?}", m.role).to_lowercase()).into()
    });
    texts.collect()
}

#[test]
fn committed_conversations_go_as_they_went() {
    let update = std::env::var_os("UPDATE_TRANSCRIPTS").is_some();
    let real = std::env::var_os("DORMOUSE_MODELS").map(PathBuf::from);
    let tiny = tiny_models();
    let mut golden: Value =
        serde_json::from_str(&std::fs::read_to_string(file()).unwrap()).unwrap();
    let mut models: BTreeMap<String, Arc<ModelHandle>> = BTreeMap::new();
    let conversations = golden["conversations"].as_array_mut().unwrap();
    assert_eq!(conversations.len(), 12);
    let mut done = 0;
    for conversation in conversations {
        let name = conversation["name"].as_str().unwrap().to_owned();
        let model = conversation["model"].as_str().unwrap().to_owned();
        let path = match (tiny.join(&model), &real) {
            (path, _) if path.is_file() => path,
            (_, Some(folder)) => folder.join(&model),
            _ => {
                println!("{name}: not run, DORMOUSE_MODELS is not set");
                continue;
            }
        };
        let model = models.entry(model).or_insert_with(|| load(&path));
        let number = |n: &Value| n.as_u64().map(|n| u32::try_from(n).unwrap());
        let chat = model
            .chat(ChatSettings {
                system: conversation["system"].as_str().map(str::to_owned),
                context_length: number(&conversation["context_length"]),
                when_full: match conversation["when_full"].as_str() {
                    Some("shift") => WhenFull::Shift { keep: None },
                    _ => WhenFull::Stop,
                },
            })
            .unwrap();
        for turn in conversation["turns"].as_array_mut().unwrap() {
            let (key, came) = outcome(model, &chat, turn);
            if update {
                turn[key] = came;
            } else {
                assert_eq!(came, turn[key], "{name}: {turn}");
            }
        }
        let came: Value = history(&chat).into();
        if update {
            conversation["history"] = came;
        } else {
            assert_eq!(came, conversation["history"], "{name}");
        }
        done += 1;
    }
    println!("{done} conversations");
    if update {
        std::fs::write(
            file(),
            serde_json::to_string_pretty(&golden).unwrap() + "\n",
        )
        .unwrap();
    }
}
