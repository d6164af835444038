//! Chat templates: messages in, bounds kept.
#![allow(clippy::unwrap_used)]

mod common;

use common::{CHATML, bpe, open};
use dormouse::Error;
use dormouse::template::{ChatTemplate, Message, RenderOptions, Role, ToolCall};
use dormouse::tokenize::Tokenizer;
use proptest::prelude::*;
use serde_json::json;

fn render(source: &str) -> Result<String, Error> {
    let options = RenderOptions {
        now: Some("2024-07-09T13:05:07".parse().unwrap()),
        ..RenderOptions::default()
    };
    ChatTemplate::new(source, "<s>", "</s>")?.render(&[Message::user("hi")], &options)
}

fn why(result: Result<String, Error>) -> String {
    match result {
        Err(Error::Template { why }) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn messages_and_options_reach_the_template() {
    let template = ChatTemplate::new(
        "{{ bos_token }}{% for m in messages %}{{ m | tojson }}\n{% endfor %}{{ tools is none }} {{ enable_thinking }} {{ add_generation_prompt }}",
        "<s>",
        "</s>",
    )
    .unwrap();
    let mut call = Message::assistant("");
    call.tool_calls.push(ToolCall {
        id: Some("1".into()),
        name: "f".into(),
        arguments: json!({"b": 1.0, "a": [null, true]}),
    });
    let mut answer = Message::tool("<ok> & 'é'");
    answer.tool_call_id = Some("1".into());
    let mut options = RenderOptions {
        add_generation_prompt: false,
        ..RenderOptions::default()
    };
    options
        .variables
        .insert("enable_thinking".into(), false.into());
    assert_eq!(
        template
            .render(&[Message::system("s"), call, answer], &options)
            .unwrap(),
        "<s>{\"role\": \"system\", \"content\": \"s\"}\n\
         {\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [{\"id\": \"1\", \"type\": \
         \"function\", \"function\": {\"name\": \"f\", \"arguments\": {\"b\": 1.0, \"a\": [null, true]}}}]}\n\
         {\"role\": \"tool\", \"content\": \"<ok> & 'é'\", \"tool_call_id\": \"1\"}\n\
         True False False"
    );
    assert_eq!(Message::new(Role::User, "x").text(), "x");
}

#[test]
fn python_isms() {
    for (source, expected) in [
        (
            "{{ ['a', 1.0, true, none, {'x': 'y'}] }}",
            "['a', 1.0, True, None, {'x': 'y'}]",
        ),
        (
            "{{ ['10\u{a0}000', '\u{2028}\u{200b}é', '\u{feff}\u{e0001}'] }}",
            "['10\\xa0000', '\\u2028\\u200bé', '\\ufeff\\U000e0001']",
        ),
        (
            "{{ 'abc'[::-1] }}{{ [1, 2, 3, 4][::-2] }}{{ 'abc'[-1] }}",
            "cba[4, 2]c",
        ),
        (
            "{{ 1e20 }}{{ 1e20 | string }}{{ 0.5 }}{{ 6 / 2 }}",
            "1e+201e+200.53.0",
        ),
        (
            "{{ \"it's\".title() }}{{ 'a-b-c'.rsplit('-', 1)[0] }}{{ 'ab'.removeprefix('a') }}",
            "It'Sa-bb",
        ),
        (
            "{{ x }}{{ x is defined }}{{ 'a' is iterable }}{{ x | default('d') }}",
            "FalseTrued",
        ),
        (
            "{{ strftime_now('%d %b %Y, %H:%M|%x|%Z') }}",
            "09 Jul 2024, 13:05|07/09/24|",
        ),
        ("{% generation %}a{%- endgeneration -%} b", "ab"),
        (
            "{{ [1]|tojson(separators=(',', ':'), indent=2) }}{{ 'é'|tojson(ensure_ascii=true) }}",
            "[\n  1\n]\"\\u00e9\"",
        ),
        (
            "{% for x in [1, 2, 3] %}{% if x == 2 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
            "13",
        ),
    ] {
        assert_eq!(render(source).unwrap(), expected, "{source}");
    }
}

#[test]
fn what_a_template_raises_is_the_error() {
    assert_eq!(
        why(render("{{ raise_exception('roles must ' ~ 'alternate') }}")),
        "roles must…"
    );
    assert_eq!(
        why(render(
            "{{ raise_exception('cannot handle: ' + messages[-1].content) }}"
        )),
        "cannot handle:…"
    );
    assert_eq!(
        why(render(
            "{% macro m() %}{{ raise_exception('deep') }}{% endmacro %}{{ m() }}"
        )),
        "deep"
    );
    assert!(why(render("{{ nothing.at.all }}")).contains("line 1"));
    assert!(why(render("{% for %}")).contains("line 1"));
}

#[test]
fn no_error_quotes_the_conversation() {
    let secret = "xyzzy-plugh";
    for (source, told) in [
        (
            "{{ raise_exception(messages[-1].content) }}",
            "refuses the conversation",
        ),
        (
            "{{ [1] | map(messages[-1].content) | list }}",
            "unknown filter in line 1",
        ),
        (
            "{{ [1] | select(messages[-1].content) | list }}",
            "unknown test in line 1",
        ),
        (
            "{{ messages[-1].content | int + messages[-1].content }}",
            "line 1",
        ),
        ("{{ -messages[-1].content }}", "line 1"),
        ("{{ messages[-1].content() }}", "line 1"),
        ("{{ range(messages[-1].content) }}", "line 1"),
        ("{{ dict(**messages[-1].content) }}", "line 1"),
        (
            "{{ messages[-1].content.index('?') }}",
            "index: the substring is not there",
        ),
        ("{{ messages[-1].content.format_map() }}", "format_map"),
        (
            "{{ messages[-1].content | no_filter }}",
            "filter no_filter is unknown",
        ),
        (
            "{{ messages[-1].content.no_method() }}",
            "has no method named no_method",
        ),
        (
            "{{ no_function(messages[-1].content) }}",
            "no_function is unknown",
        ),
        ("{{ messages[-1].content | round }}", "line 1"),
        ("{{ messages[-1].content | dictsort }}", "line 1"),
        ("{{ '%d' % messages[-1].content }}", "line 1"),
        ("{{ strftime_now(messages[-1].content) }}", ""),
    ] {
        let template = ChatTemplate::new(source, "<s>", "</s>").unwrap();
        match template.render(&[Message::user(secret)], &RenderOptions::default()) {
            Err(Error::Template { why }) => {
                assert!(
                    !why.contains("xyzzy") && !why.contains("plugh"),
                    "{source}: {why}"
                );
                assert!(why.contains(told), "{source}: {why}");
            }
            Ok(_) => assert_eq!(told, "", "{source} renders"),
            Err(other) => panic!("{source}: {other}"),
        }
    }
}

#[test]
fn a_model_without_a_template_says_what_to_do() {
    let gguf = open(&bpe()).unwrap();
    let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
    let error = ChatTemplate::from_gguf(&gguf, &tokenizer).unwrap_err();
    assert!(error.to_string().contains("base model"), "{error}");
    let gguf =
        open(&bpe().str("tokenizer.chat_template", "{{ bos_token }}{{ eos_token }}")).unwrap();
    let template = ChatTemplate::from_gguf(&gguf, &tokenizer).unwrap();
    let text = template.render(&[], &RenderOptions::default()).unwrap();
    assert_eq!(text, "<|im_start|><|im_end|>");
}

#[test]
fn a_caller_with_a_small_stack_can_render() {
    let source = "{% macro f(n) %}{{ f(n - 1) if n }}x{% endmacro %}{{ f(40) }}";
    let rendered = std::thread::Builder::new()
        .stack_size(64 << 10)
        .spawn(move || render(source))
        .unwrap()
        .join()
        .unwrap();
    assert_eq!(rendered.unwrap(), "x".repeat(41));
}

#[test]
fn a_long_honest_conversation_fits() {
    let messages: Vec<Message> = (0..2000)
        .map(|turn| Message::user(format!("message {turn} ").repeat(20)))
        .collect();
    let template = ChatTemplate::new(CHATML, "", "").unwrap();
    let text = template
        .render(&messages, &RenderOptions::default())
        .unwrap();
    assert!(text.len() > 500_000);
}

#[test]
fn variables_cannot_replace_the_conversation() {
    let template = ChatTemplate::new(CHATML, "", "").unwrap();
    for name in ["messages", "tools", "add_generation_prompt"] {
        let mut options = RenderOptions::default();
        options
            .variables
            .insert(name.into(), serde_json::Value::Null);
        let error = template
            .render(&[Message::user("hi")], &options)
            .unwrap_err();
        assert!(matches!(error, dormouse::Error::InvalidArgument { .. }));
        assert!(error.to_string().contains(name), "{error}");
    }
}

proptest! {
    #[test]
    fn any_source_is_rendered_or_refused(source in "[{}%a-z '\"|.()\\[\\]+\\-0-9]{0,60}") {
        let _ = render(&source);
    }
}
