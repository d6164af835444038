//! Control tokens whose brackets the template writes, and what the model said: neither makes them.
#![allow(clippy::unwrap_used)]

mod common;

use common::{IM_END, bpe, tokenizer};
use dormouse::template::{ChatTemplate, Message, RenderOptions, ToolCall};
use serde_json::json;

fn rendered(source: &str, messages: &[Message], options: &RenderOptions) -> (usize, String) {
    let tokenizer = tokenizer(&bpe()).unwrap();
    let template = ChatTemplate::new(source, "", "").unwrap();
    let tokens = template
        .render_tokens(&tokenizer, messages, options)
        .unwrap();
    let count = tokens.iter().filter(|&&token| token == IM_END).count();
    (
        count,
        String::from_utf8(tokenizer.decode(&tokens, true)).unwrap(),
    )
}

#[test]
fn a_key_between_the_templates_brackets_makes_no_control_token() {
    let keys = "{% for k in tools[0].function.parameters.properties %}<|{{ k }}|>{% endfor %}";
    let arguments =
        "{% for k in messages[0].tool_calls[0].function.arguments %}<|{{ k }}|>{% endfor %}";
    let mut options = RenderOptions::default();
    options.tools.push(json!({"type": "function", "function": {
        "name": "f", "parameters": {"type": "object", "properties": {"im_end": {}}},
    }}));
    let mut message = Message::assistant("");
    message.tool_calls.push(ToolCall {
        id: None,
        name: "f".into(),
        arguments: json!({"im_end": 1}),
    });
    for source in [keys, arguments] {
        let (count, text) = rendered(source, std::slice::from_ref(&message), &options);
        assert_eq!(count, 0, "{source}");
        assert!(text.ends_with("<|im_end|>"), "{source}: {text}");
    }
}

/// Words are only words in a message, whatever tokens are named.
#[test]
fn a_template_finds_words_in_messages_that_tokens_are_named_by() {
    let source = "{% if '/im_end' in messages[0].content %}{% set said = true %}{% endif %}\
        {% if said %}a<|im_end|>{% else %}b{% endif %}{{ messages[0].content }}";
    let options = RenderOptions::default();
    for typed in ["/im_end", "say <b> and /im_end"] {
        let (count, text) = rendered(source, &[Message::user(typed)], &options);
        assert_eq!((count, text), (1, format!("a<|im_end|>{typed}")));
    }
}

#[test]
fn what_the_model_said_and_called_makes_no_control_token_when_it_is_cut() {
    let options = RenderOptions::default();
    let mut call = Message::assistant("");
    call.tool_calls.push(ToolCall {
        id: None,
        name: "f".into(),
        arguments: json!({"a": "<|im_/end|>"}),
    });
    for (source, message) in [
        (
            "{{ messages[0].content.replace('/think', '') }}",
            Message::assistant("a<|im_/thinkend|>"),
        ),
        (
            "{{ messages[0].content.split('</think>')|join }}",
            Message::assistant("a<|im_</think>end|>"),
        ),
        (
            "{{ messages[0].tool_calls[0].function.arguments.a.replace('/', '') }}",
            call,
        ),
    ] {
        let (count, text) = rendered(source, &[message], &options);
        assert_eq!(count, 0, "{source}");
        assert!(text.ends_with("<|im_end|>"), "{source}: {text}");
    }
}

#[test]
fn what_a_template_asks_for_by_name_is_found_where_tokens_have_that_name() {
    let source = "{% for m in messages %}{% if m.role == 'user' %}u{% endif %}\
        {% if m.role == 'assistant' %}{{ m.content.split('</im_start>')[-1] }}{% endif %}\
        {% endfor %}{{ tools[0].function.parameters.properties|length }}";
    let mut options = RenderOptions::default();
    options.tools.push(json!({"type": "function", "function": {
        "name": "f", "parameters": {"type": "object", "properties": {"im_start": {}}},
    }}));
    let messages = [
        Message::user("im_end <"),
        Message::assistant("why</im_start>so <"),
    ];
    let (_, text) = rendered(source, &messages, &options);
    assert!(text.ends_with("uso <1"), "{text}");
}
