//! Every format, in pieces of every size.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::generation::Event;
use super::*;

const QWEN: &str = "<think></think><tool_call>";
const MISTRAL: &str = "[TOOL_CALLS][THINK]";
const LLAMA: &str = "<|python_tag|> '{\"name\": ' '\"parameters\": '";

fn tools() -> Vec<Value> {
    vec![json!({"type": "function", "function": {"name": "f"}})]
}

fn parse<'a>(format: &ReplyFormat, pieces: impl IntoIterator<Item = &'a str>) -> Vec<Event> {
    let mut parser = ReplyParser::new(format.clone());
    let mut out = Vec::new();
    for piece in pieces {
        parser.push(piece, &mut out);
    }
    parser.finish(&mut out);
    let calls = out.iter().filter(|e| matches!(e, Event::ToolCall(_)));
    assert_eq!(calls.count(), parser.calls());
    out
}

/// The events in one line each, neighbours of one kind joined: `t:` text, `r:` reasoning, `c:` a
/// call.
fn told(events: &[Event]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for event in events {
        let (kind, text) = match event {
            Event::Text(text) => ("t:", text.clone()),
            Event::Reasoning(text) => ("r:", text.clone()),
            Event::ToolCall(call) => {
                let id = call.id.as_deref().unwrap_or("");
                out.push(format!("c:{id}{}{}", call.name, call.arguments));
                continue;
            }
            Event::Done(_) => panic!("no parser ends a reply"),
        };
        assert!(!text.is_empty(), "an empty event");
        match out.last_mut() {
            Some(last) if last.starts_with(kind) => last.push_str(&text),
            _ => out.push(format!("{kind}{text}")),
        }
    }
    out
}

/// Checks the events of a reply, cut at each one and each two of its characters, and into single
/// ones.
fn check(template: &str, prompt_end: &str, reply: &str, want: &[&str]) {
    let format = ReplyFormat::new(template, &tools(), prompt_end);
    let cuts: Vec<usize> = reply.char_indices().map(|(at, _)| at).collect();
    assert_eq!(told(&parse(&format, [reply])), want, "{reply:?}");
    for &first in &cuts {
        for &second in cuts.iter().filter(|&&at| at >= first) {
            let pieces = [&reply[..first], &reply[first..second], &reply[second..]];
            assert_eq!(told(&parse(&format, pieces)), want, "{pieces:?}");
        }
    }
    let mut utf8 = [0; 4];
    let mut parser = ReplyParser::new(format);
    let mut out = Vec::new();
    for c in reply.chars() {
        parser.push(c.encode_utf8(&mut utf8), &mut out);
    }
    parser.finish(&mut out);
    assert_eq!(told(&out), want);
}

#[test]
fn reasoning_is_told_from_the_answer() {
    let check = |reply: &str, want: &[&str]| check(QWEN, "assistant\n", reply, want);
    check(
        "<think>\nhm\nso\n</think>\n\nYes.\n",
        &["r:hm\nso", "t:Yes.\n"],
    );
    check("\n <think>a</think>b", &["r:a", "t:b"]);
    check("<think>\n\n</think>\n\nYes", &["t:Yes"]);
    check("<think>思考🐭</think>はい 🐭", &["r:思考🐭", "t:はい 🐭"]);
    check("<think></think>", &[]);
    check("", &[]);
    check("\n\n", &["t:\n\n"]);
    check(" just text\n", &["t: just text\n"]);
    // Not closed, and what looks like the closer at the end.
    check("<think>\nhm\n", &["r:hm\n"]);
    check("<think>hm</thin", &["r:hm</thin"]);
    check("<thin", &["t:<thin"]);
    check("<thinner", &["t:<thinner"]);
    // The first closer ends it, further ones are text, as is an opener in an answer.
    check(
        "<think>a<think>b</think>c</think>d",
        &["r:a<think>b", "t:c</think>d"],
    );
    check("</think>a", &["t:</think>a"]);
    check("It is <think>a</think>", &["t:It is <think>a</think>"]);
    check("<think>a</think>\n<think>b</think>c", &["r:ab", "t:c"]);
}

#[test]
fn the_prompt_may_open_or_close_the_reasoning() {
    let opened = "assistant\n<think>\n";
    check(QWEN, opened, "\nhm\n</think>\n\nYes", &["r:hm", "t:Yes"]);
    check(QWEN, opened, "hm", &["r:hm"]);
    check(QWEN, opened, "</think>Yes", &["t:Yes"]);
    let closed = "<think>\n\n</think>\n\n";
    check(QWEN, closed, "Yes</think>", &["t:Yes</think>"]);
    check(QWEN, "<think> said the user", "Yes", &["t:Yes"]);
    // A template that has no such marker.
    check(
        "<think",
        opened,
        "<think>a</think>",
        &["t:<think>a</think>"],
    );
    check("</think>", "", "<think>a</think>b", &["r:a", "t:b"]);
    for (template, reply) in [
        ("<thinking>", "<thinking>\na\n</thinking>\nb"),
        ("[THINK]", "[THINK]a[/THINK]b"),
        ("<seed:think>", "<seed:think>a</seed:think>b"),
        ("<|END_THINKING|>", "<|START_THINKING|>a<|END_THINKING|>b"),
    ] {
        check(template, "", reply, &["r:a", "t:b"]);
    }
}

#[test]
fn tagged_calls_are_events() {
    let check = |reply: &str, want: &[&str]| check(QWEN, "", reply, want);
    let one = r#"<tool_call>
{"name": "f", "arguments": {"a": "</b>\n🐭"}}
</tool_call>"#;
    let event = "c:f{\"a\":\"</b>\\n🐭\"}";
    check(one, &[event]);
    check(&format!("{one}\n{one}\n"), &[event, event]);
    check(&format!("Wait.\n{one}"), &["t:Wait.", event]);
    check(&format!("<think>\nx\n</think>\n\n{one}"), &["r:x", event]);
    check(&format!("{one}\nDone\n"), &[event, "t:Done\n"]);
    check(r#"<tool_call>{"name":"f"}</tool_call>"#, &["c:f{}"]);
    check(
        r#"<tool_call>{"name":"f","arguments":"{\"a\":1}"}</tool_call>"#,
        &["c:f{\"a\":1}"],
    );
    // What is no call stays as it is.
    for text in [
        "a\n\n<tool_call>{\"name\": \"f\", }</tool_call>\nb",
        "<tool_call>{\"arguments\": {}}</tool_call>",
        "<tool_call>{\"name\":\"f\",\"arguments\":[1]}</tool_call>",
        "<tool_call>\n<function=f>\n</function>\n</tool_call>",
        "<tool_call>{\"name\":\"f\"}",
        "a <tool_ca",
        "a\n\n<tool_call>",
        "</tool_call> x",
    ] {
        check(text, &[&format!("t:{text}")]);
    }
    // A good one within or after a bad one.
    check(
        r#"<tool_call>x<tool_call>{"name":"f"}</tool_call>"#,
        &["t:<tool_call>x", "c:f{}"],
    );
}

#[test]
fn bracketed_calls_are_events() {
    let check = |reply: &str, want: &[&str]| check(MISTRAL, "", reply, want);
    check(
        r#"[TOOL_CALLS] [{"name":"f","arguments":{"a":"]"}},{"name":"g","arguments":{},"id":"abcdefghi"}]"#,
        &["c:call00000f{\"a\":\"]\"}", "c:abcdefghig{}"],
    );
    check(
        r#"So:[TOOL_CALLS]f[ARGS]{"a":"\"}"}[TOOL_CALLS]g[CALL_ID]123456789[ARGS] {}"#,
        &["t:So:", "c:call00000f{\"a\":\"\\\"}\"}", "c:123456789g{}"],
    );
    check(r#"[TOOL_CALLS]f{"a":1}"#, &["c:call00000f{\"a\":1}"]);
    for text in [
        "[TOOL_CALLS][]",
        "[TOOL_CALLS][{\"name\":1}]",
        "[TOOL_CALLS][{\"name\":\"f\"}",
        "[TOOL_CALLS] what?",
        "[TOOL_CALLS]f[ARGS]5",
        "[TOOL_CALLS]f[ARGS]{x}",
        "[TOOL_CALLS]f[ARGX]{}",
        "[TOOL_CALLS]",
        "[TOOL_CALLS]f[AR",
    ] {
        check(text, &[&format!("t:{text}")]);
    }
}

#[test]
fn a_whole_reply_may_be_a_call() {
    let check = |reply: &str, want: &[&str]| check(LLAMA, "", reply, want);
    check(
        "{\"name\": \"f\", \"parameters\": {\"a\": 1}}",
        &["c:f{\"a\":1}"],
    );
    check("\n{\"name\":\"f\",\"parameters\":{}}\n", &["c:f{}"]);
    check(
        "<|python_tag|>{\"type\":\"function\",\"name\":\"f\",\"parameters\":{}}",
        &["c:f{}"],
    );
    for text in [
        "{\"name\":\"f\",\"parameters\":{}} is a call",
        "See {\"name\":\"f\",\"parameters\":{}}",
        "{\"name\":\"other\",\"parameters\":{}}",
        "{\"name\":\"f\"}",
        "{\"a\":1}",
        "{\"name\":\"f\",\"parameters\":{}",
        "<|python_tag|>f.call(x=1)",
        "<|python",
        "{",
    ] {
        check(text, &[&format!("t:{text}")]);
    }
}

#[test]
fn without_tools_there_are_no_calls() {
    for (template, reply) in [
        (QWEN, "<tool_call>{\"name\":\"f\"}</tool_call>"),
        (MISTRAL, "[TOOL_CALLS]f{}"),
        (LLAMA, "{\"name\":\"f\",\"parameters\":{}}"),
    ] {
        let format = ReplyFormat::new(template, &[], "");
        assert_eq!(told(&parse(&format, [reply])), [format!("t:{reply}")]);
    }
    let format = ReplyFormat::new("plain", &tools(), "");
    let reply = "<tool_call>{\"name\":\"f\"}</tool_call>";
    assert_eq!(told(&parse(&format, [reply])), [format!("t:{reply}")]);
    assert!(format.markers().is_empty());
}

#[test]
fn a_call_that_never_ends_is_given_back() {
    for (template, begin) in [
        (QWEN, "<tool_call>"),
        (MISTRAL, "[TOOL_CALLS]f{\""),
        (LLAMA, "{\""),
    ] {
        let format = ReplyFormat::new(template, &tools(), "");
        let piece = "é".repeat(10_000);
        let mut parser = ReplyParser::new(format.clone());
        let mut out = Vec::new();
        parser.push(begin, &mut out);
        let mut pushed = begin.to_owned();
        while out.is_empty() {
            parser.push(&piece, &mut out);
            pushed.push_str(&piece);
            assert!(pushed.len() <= MAX_CALL + piece.len() + begin.len());
        }
        parser.finish(&mut out);
        assert_eq!(told(&out), [format!("t:{pushed}")]);
        assert_eq!(told(&parse(&format, [&*pushed])), [format!("t:{pushed}")]);
    }
}

#[test]
fn markers_that_are_control_tokens_count_where_they_mean_something() {
    let format = ReplyFormat::new(MISTRAL, &tools(), "");
    let mut parser = ReplyParser::new(format);
    let mut out = Vec::new();
    parser.push_marker("[/THINK]", &mut out);
    parser.push_marker("[THINK]", &mut out);
    parser.push("hm", &mut out);
    parser.push_marker("[THINK]", &mut out);
    parser.push_marker("[/THINK]", &mut out);
    parser.push("so", &mut out);
    parser.push_marker("[ARGS]", &mut out);
    parser.push_marker("[THINK]", &mut out);
    parser.push_marker("[TOOL_CALLS]", &mut out);
    parser.push("f", &mut out);
    parser.push_marker("[ARGS]", &mut out);
    parser.push("{}", &mut out);
    parser.finish(&mut out);
    assert_eq!(told(&out), ["r:hm", "t:so", "c:call00000f{}"]);
}

fn piece() -> impl Strategy<Value = String> {
    let parts = [
        "<think>",
        "</think>",
        "<thi",
        "nk>",
        "\n",
        " ",
        "é🐭",
        "a",
        "<tool_call>",
        "</tool_call>",
        "{\"name\":\"f\",\"arguments\":{}}",
        "{",
        "}",
        "\"",
        "[TOOL_CALLS]",
        "[ARGS]",
        "[CALL_ID]",
        "[",
        "]",
        "f",
        "<|python_tag|>",
        "[THINK]",
        "[/THINK]",
        "{\"name\":\"f\",\"parameters\":{}}",
    ];
    prop::sample::select(parts.to_vec()).prop_map(str::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn the_cut_does_not_matter_and_no_text_is_lost_or_made_up(
        pieces in prop::collection::vec(piece(), 0..14),
        template in prop::sample::select(vec![QWEN, MISTRAL, LLAMA, "plain"]),
        open in any::<bool>(),
    ) {
        let end = if open { "<think>\n[THINK]" } else { "" };
        let format = ReplyFormat::new(template, &tools(), end);
        let whole = pieces.concat();
        let chars: Vec<String> = whole.chars().map(String::from).collect();
        let at_once = told(&parse(&format, [&*whole]));
        prop_assert_eq!(&told(&parse(&format, pieces.iter().map(|p| &**p))), &at_once);
        prop_assert_eq!(&told(&parse(&format, chars.iter().map(|p| &**p))), &at_once);
        // All text and reasoning stands in the reply, in this order.
        let mut rest = &*whole;
        for line in at_once.iter().filter(|line| !line.starts_with("c:")) {
            for c in line[2..].chars() {
                let at = rest.find(c);
                prop_assert!(at.is_some(), "{} is not from the reply", line);
                rest = &rest[at.unwrap() + c.len_utf8()..];
            }
        }
        // Without reasoning and calls it is the reply.
        let text_alone = !at_once.iter().any(|line| line.starts_with("c:"));
        if matches!(template, "plain" | LLAMA) && text_alone && !whole.is_empty() {
            prop_assert_eq!(at_once, [format!("t:{whole}")]);
        }
    }
}
