//! Replies of the scripted model: a real file, loaded and run, with every kind of event.
#![allow(clippy::unwrap_used)]

mod common;
mod files;
mod tiny;

use std::sync::LazyLock;

use dormouse::model::{LoadOptions, Model};
use dormouse::session::{ContextPolicy, FinishReason};
use dormouse::template::{Message, Part, Role, ToolCall};
use dormouse::{
    Chat, Done, Error, Event, GenerateOptions, SamplerOptions, Session, SessionOptions,
};
use serde_json::json;

static MODEL: LazyLock<Model> = LazyLock::new(|| {
    let mut options = LoadOptions::default();
    options.threads = Some(1);
    tiny::load(&files::scripted_model(), options).unwrap()
});

fn options() -> GenerateOptions {
    let mut options = GenerateOptions::default();
    options.sampler = SamplerOptions::greedy();
    options
}

fn with_tools() -> GenerateOptions {
    let mut options = options();
    options.template.tools = vec![json!({
        "type": "function",
        "function": {"name": "get_weather", "parameters": {"type": "object"}},
    })];
    options
}

fn session() -> Session {
    Session::new(&MODEL, SessionOptions::default()).unwrap()
}

fn reply(text: &str, options: &GenerateOptions) -> (Message, Done) {
    let session = session();
    let generation = session.chat(&[Message::user(text)], options).unwrap();
    generation.message().unwrap()
}

fn call() -> ToolCall {
    ToolCall {
        id: None,
        name: "get_weather".into(),
        arguments: json!({"city": "Graz"}),
    }
}

const HELLO: &str = "Hello 🐭 from the dormouse: 冬眠!";

#[test]
fn characters_come_whole_though_their_bytes_come_one_by_one() {
    for sampler in [SamplerOptions::greedy(), SamplerOptions::default()] {
        let mut options = options();
        options.sampler = sampler;
        let session = session();
        let events = session.chat(&[Message::user("hi ü🙂")], &options).unwrap();
        let mut text = String::new();
        for event in events {
            match event.unwrap() {
                Event::Text(more) => {
                    assert!(!more.is_empty() && !more.contains('\u{fffd}'), "{more:?}");
                    text.push_str(&more);
                }
                Event::Done(done) => assert_eq!(done.finish, FinishReason::EndOfTurn),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(text, HELLO);
    }
}

#[test]
fn reasoning_is_apart_from_the_answer() {
    let (message, done) = reply("think hard", &options());
    assert_eq!(message.reasoning.as_deref(), Some("Hm, let me see."));
    assert_eq!(message.text(), "It is 42.");
    assert_eq!(done.finish, FinishReason::EndOfTurn);
    assert_eq!(done.metrics.generated_tokens, 16);
    // In order, and a stop string counts in the answer alone.
    let mut options = options();
    options.stop = vec!["see".into(), " 4".into()];
    let session = session();
    let events = session.chat(&[Message::user("think")], &options).unwrap();
    let mut kinds = String::new();
    for event in events {
        kinds.push(match event.unwrap() {
            Event::Reasoning(_) => 'r',
            Event::Text(_) => 't',
            Event::Done(done) => {
                assert_eq!(done.finish, FinishReason::StopString);
                'd'
            }
            other => panic!("{other:?}"),
        });
    }
    let order = kinds.trim_start_matches('r').trim_start_matches('t');
    assert_eq!(order, "d", "{kinds}");
    let (message, _) = reply("think", &options);
    assert_eq!(message.reasoning.as_deref(), Some("Hm, let me see."));
    assert_eq!(message.text(), "It is");
}

#[test]
fn a_completion_is_text_alone() {
    let (text, done) = session()
        .complete("<|think|>", &options())
        .unwrap()
        .finish()
        .unwrap();
    assert_eq!(text, "<think>\nHm, let me see.\n</think>\n\nIt is 42.");
    assert_eq!(done.finish, FinishReason::EndOfTurn);
}

#[test]
fn calls_of_tools_are_events() {
    let (message, done) = reply("the weather?", &with_tools());
    assert_eq!(message.tool_calls, [call()]);
    assert_eq!((message.text().as_str(), message.reasoning), ("", None));
    assert_eq!(done.finish, FinishReason::ToolCalls);
    // Without tools nothing is looked for; the markers are control tokens and never text.
    let (message, done) = reply("the weather?", &options());
    assert!(message.tool_calls.is_empty());
    assert!(message.text().starts_with("\n{\"name\": \"get_weather\""));
    assert!(!message.text().contains("tool_call"));
    assert_eq!(done.finish, FinishReason::EndOfTurn);

    for options in [options(), with_tools()] {
        let (message, done) = reply("broken", &options);
        assert!(message.tool_calls.is_empty());
        assert_eq!(
            message.text(),
            "Look:\n<tool_call>{\"name\": oops}</tool_call> so."
        );
        assert_eq!(done.finish, FinishReason::EndOfTurn);
    }
}

#[test]
fn stop_strings_and_limits_end_a_reply() {
    let mut options = options();
    let (message, _) = reply("stop", &options);
    assert_eq!(message.text(), "One two END three four");
    options.stop = vec!["END".into()];
    let (message, done) = reply("stop", &options);
    assert_eq!(message.text(), "One two ");
    assert_eq!(done.finish, FinishReason::StopString);
    options.max_tokens = Some(7);
    let (message, done) = reply("forever", &options);
    assert_eq!(message.text(), "tick tock, and so on tick tock,");
    assert_eq!(done.finish, FinishReason::MaxTokens);
    // A call that the limit cuts is text, its newline and all.
    let mut options = with_tools();
    options.max_tokens = Some(3);
    let (message, _) = reply("weather", &options);
    assert_eq!(message.text(), "<tool_call>\n{\"name\":");
}

#[test]
fn an_endless_reply_fills_the_context_or_is_cancelled() {
    let mut settings = SessionOptions::default();
    settings.context.length = Some(100);
    let session = Session::new(&MODEL, settings.clone()).unwrap();
    let ask = [Message::user("forever")];
    let (_, done) = session.chat(&ask, &options()).unwrap().finish().unwrap();
    assert_eq!(done.finish, FinishReason::ContextFull);
    settings.policy = ContextPolicy::Shift { keep: None };
    let session = Session::new(&MODEL, settings).unwrap();
    let mut events = session.chat(&ask, &options()).unwrap();
    let mut text = String::new();
    while text.len() < 2000 {
        match events.next() {
            Some(Ok(Event::Text(more))) => text.push_str(&more),
            other => panic!("{other:?}"),
        }
    }
    events.cancel();
    let (rest, done) = events.finish().unwrap();
    text.push_str(&rest);
    assert_eq!(done.finish, FinishReason::Cancelled);
    assert!(done.metrics.dropped_tokens > 0);
    assert!(done.metrics.tokens_after_cancel <= 1);
    let want = "tick tock, and so on ".repeat(text.len() / 21 + 1);
    assert!(want.starts_with(&text), "{text}");
}

#[test]
fn a_chat_keeps_reasoning_and_calls_and_takes_results() {
    let mut chat = Chat::new(session(), with_tools());
    chat.send("the weather?").unwrap().finish().unwrap();
    let result = Message {
        name: Some("get_weather".into()),
        ..Message::tool("rain")
    };
    let (text, _) = chat.send_message(result).unwrap().finish().unwrap();
    assert_eq!(text, "The tool has spoken.");
    let (text, done) = chat.regenerate().unwrap().finish().unwrap();
    assert_eq!(text, "The tool has spoken.", "the result stays");
    assert_eq!(done.metrics.prefill_tokens, 1, "all is in the cache");
    let parts = Message {
        content: vec![Part::Text("th".into()), Part::Text("ink".into())],
        ..Message::user("")
    };
    chat.send_message(parts).unwrap().finish().unwrap();
    let messages = chat.messages();
    let roles: Vec<Role> = messages.iter().map(|m| m.role).collect();
    use Role::{Assistant, Tool, User};
    assert_eq!(roles, [User, Assistant, Tool, Assistant, User, Assistant]);
    assert_eq!(messages[1].tool_calls, [call()]);
    assert_eq!(messages[1].text(), "");
    assert_eq!(messages[5].reasoning.as_deref(), Some("Hm, let me see."));
    assert_eq!(messages[5].text(), "It is 42.");

    // All before the last answer is reused. The answer is not: the history has neither its start
    // token nor its tokens, which are not those that encoding its text gives.
    let used = chat.session().tokens().unwrap().len();
    let (_, done) = chat.send("hi").unwrap().finish().unwrap();
    assert_eq!(done.metrics.reused_tokens, used - 16);

    for wrong in [Message::assistant("x"), Message::system("x")] {
        let before = chat.messages();
        let refused = chat.send_message(wrong.clone());
        assert!(matches!(refused, Err(Error::InvalidArgument { .. })));
        let refused = chat.edit_message(0, wrong);
        assert!(matches!(refused, Err(Error::InvalidArgument { .. })));
        assert_eq!(chat.messages(), before);
    }
    for index in [1, 99] {
        let refused = chat.edit_message(index, Message::user("x"));
        assert!(matches!(refused, Err(Error::InvalidArgument { .. })));
    }
    let refused = chat.send_messages(Vec::new());
    assert!(matches!(refused, Err(Error::InvalidArgument { .. })));
    let edited = chat.edit_message(2, Message::tool("sun")).unwrap();
    assert_eq!(edited.text().unwrap(), "The tool has spoken.");
    assert_eq!(chat.messages().len(), 4);
    assert_eq!(chat.messages()[2].text(), "sun");

    chat.set_messages(vec![Message::user("a"), Message::assistant("b")])
        .unwrap();
    assert_eq!(chat.send("hello").unwrap().text().unwrap(), HELLO);
    assert_eq!(chat.messages().len(), 4);
}

#[test]
fn a_session_that_waits_for_its_caller_holds_up_no_other() {
    let waiting = session();
    let _events = waiting
        .chat(&[Message::user("forever")], &options())
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    for _ in 0..20 {
        assert_eq!(reply("hi", &options()).0.text(), HELLO);
    }
}

#[test]
fn the_files_are_small_and_the_same_every_time() {
    for model in [files::tiny_model, files::scripted_model] {
        let bytes = model().build();
        assert!(bytes.len() < 300_000, "{}", bytes.len());
        assert_eq!(bytes, model().build());
    }
}

#[test]
fn the_random_model_talks() {
    let model = tiny::load(&files::tiny_model(), LoadOptions::default()).unwrap();
    let session = Session::new(&model, SessionOptions::default()).unwrap();
    assert_eq!(session.context_length(), 512);
    let mut options = options();
    options.max_tokens = Some(30);
    let ends = model.tokenizer().end_of_generation();
    options.sampler.logit_bias = ends.iter().map(|&id| (id, f32::NEG_INFINITY)).collect();
    let chat = |text: &str| session.chat(&[Message::user(text)], &options).unwrap();
    let (first, done) = chat("hello").finish().unwrap();
    assert_eq!(done.metrics.generated_tokens, 30);
    assert!(!first.is_empty());
    assert_ne!(chat("other").text().unwrap(), first);
    assert_eq!(chat("hello").text().unwrap(), first);
}
