//! Chat templates: messages in, bounds kept, typed control tokens without effect.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::{IM_END, IM_START, bpe, open, tokenizer};
use dormouse::Error;
use dormouse::template::{ChatTemplate, Message, RenderOptions, Role, ToolCall};
use dormouse::tokenize::{EncodeOptions, Tokenizer};
use proptest::prelude::*;
use serde_json::json;

const CHATML: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content | trim + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

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
fn templates_that_never_end_or_grow_without_bound_fail_soon() {
    let long = "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(20) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}";
    let nested = "{% set ns = namespace(a=[1]) %}{% for i in range(40) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}";
    let doubled = "{% set ns = namespace(l=[1]) %}{% for i in range(40) %}";
    let twins = |depth: u32| {
        format!(
            "{{% set ns = namespace(a=[1], b=[1]) %}}{{% for i in range({depth}) %}}\
             {{% set ns.a = [ns.a, ns.a] %}}{{% set ns.b = [ns.b, ns.b] %}}{{% endfor %}}"
        )
    };
    let often = |what: &str| {
        format!(
            "{}{{% for i in range(90000) %}}{what}{{% endfor %}}",
            twins(7)
        )
    };
    let sources = [
        format!("{}{{{{ ns.a == ns.b }}}}", twins(40)),
        format!("{}{{% set d = {{ns.a: 1}} %}}{{{{ d[ns.b] }}}}", twins(40)),
        often("{% if ns.a != ns.b %}{% endif %}"),
        often("{% if ns.a in [ns.b] %}{% endif %}"),
        often("{% if ns.a is eq ns.b %}{% endif %}"),
        often("{% if {1: 2}[ns.b] %}{% endif %}"),
        often("{% if {1: 2}.get(ns.b) %}{% endif %}"),
        "{% set a = [1] * 9 %}{% set a = [a] * 9 %}{% set a = [a] * 9 %}{% set a = [a] * 9 %}".to_owned(),
        "{% set a = dict(x=1) %}".to_owned() + &"{% set a = dict(x=a, y=a) %}".repeat(40),
        "{% set a = 1 %}".to_owned() + &"{% set a = a, a %}".repeat(40),
        "{% set a = 1 %}".to_owned() + &"{% set a = [a] %}".repeat(90),
        "{{ range(9000) | list | batch(100) }}".to_owned(),
        "{{ range(9000) | list | slice(100) }}".to_owned(),
        "{% set a = namespace() %}{% set b = namespace() %}{% set a.x = a %}{% set b.x = b %}{{ a == b }}".to_owned(),
        "{% set a = namespace() %}{% set a.x = [a] %}".to_owned(),
        "{% set a = namespace() %}{% set a.x = dict(a=a) %}".to_owned(),
        "{% set a = namespace() %}{% set a.x = 1, a %}".to_owned(),
        "{% set a = namespace() %}{% set b = namespace(a=a) %}".to_owned(),
        format!("{doubled}{{% set ns.l = ns.l + ns.l %}}{{% endfor %}}{{{{ messages[0].content }}}}"),
        format!("{doubled}{{% set ns.l = ns.l*2 + ns.l %}}{{% endfor %}}"),
        format!("{doubled}{{% set ns.l = [ns.l, ns.l] | sum(start=[]) %}}{{% endfor %}}"),
        format!("{doubled}{{% set ns.l = ns.l | chain(ns.l) %}}{{% endfor %}}{{{{ ns.l | length }}}}"),
        "{% set ns = namespace(l=(1, 2)) %}{% for i in range(40) %}{% set ns.l = ns.l + ns.l %}{% endfor %}".to_owned(),
        "{% set ns = namespace(l='ab') %}{% for i in range(40) %}{% set ns.l = ns.l + ns.l %}{% endfor %}".to_owned(),
        "{% macro f(l, n) %}{% if n %}{{ f(l + l, n - 1) }}{% endif %}{% endmacro %}{{ f([1], 40) }}".to_owned(),
        format!("{}{}", "{% with l = (l or [1]) + (l or [1]) %}".repeat(40), "{% endwith %}".repeat(40)),
        format!("{}{}", "{% for l in [(l or [1]) + (l or [1])] %}".repeat(40), "{% endfor %}".repeat(40)),
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"
            .to_owned(),
        "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}"
            .to_owned(),
        "{{ 'a' * 10000000000 }}".to_owned(),
        "{{ range(1000000000) | list }}".to_owned(),
        "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}".to_owned(),
        "{% include 'chat' %}".to_owned(),
        "{{ '%1000000000d' | format(1) }}".to_owned(),
        "{{ '{:1000000000}'.format(1) }}".to_owned(),
        "{{ strftime_now('%Y' * 1000000) }}".to_owned(),
        "{{ messages | tojson(indent=100000000) }}".to_owned(),
        "{{ 'a' * 5000000 }}".to_owned(),
        format!("{long}{{{{ ns.s.replace('a', ns.s) | length }}}}"),
        format!("{long}{{{{ ns.s.join(range(90000) | list) | length }}}}"),
        format!("{nested}{{{{ ns.a }}}}"),
        format!("{nested}{{{{ ns.a | string | length }}}}"),
        format!("{nested}{{{{ ns.a | tojson }}}}"),
        "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}".to_owned(),
        format!("{{{{ 1{} }}}}", "+1".repeat(100_000)),
        format!("{{{{ x{} }}}}", ".y".repeat(100_000)),
        format!("{}1{}", "{{ (".repeat(3000), ") }}".repeat(3000)),
        "x".repeat(2 << 20),
    ];
    for source in sources {
        fails_soon(&source);
    }
}

/// Fails within 200 ms; without optimization, and on machines that others use, within more.
fn fails_soon(source: &str) {
    let limit = Duration::from_millis(if cfg!(debug_assertions) { 4000 } else { 200 });
    let took = (0..3).map(|_| {
        let start = Instant::now();
        why(render(source));
        start.elapsed()
    });
    let took: Vec<Duration> = took.collect();
    assert!(
        took.iter().any(|&took| took < limit),
        "{took:?}: {source:.120}"
    );
}

#[test]
fn a_large_text_in_many_places_fails_soon() {
    let large = "{% set s = 'a' * 900000 %}";
    let control = "{% set s = '\\x01' * 900000 %}";
    for source in [
        "{% set x = ('{a}' * 60000).format(a='a' * 150000) %}".to_owned(),
        "{% set x = ('{0}' * 30000).format('a' * 150000) %}".to_owned(),
        "{% set x = ('%(a)s' * 30000) % {'a': 'a' * 150000} %}".to_owned(),
        "{% set x = ('%s' * 500) % ((('a' * 900000),) * 500) %}".to_owned(),
        format!("{control}{{% set x = ([s] * 500) | upper %}}"),
        format!("{control}{{% set x = [s] * 510 ~ '' %}}"),
        format!("{large}{{% set x = ([s] * 500) | upper %}}"),
        format!("{large}{{% set x = [s] * 500 ~ '' %}}"),
        format!("{large}{{% set x = {{'a': [s] * 500}} | lower %}}"),
        format!(
            "{large}{{% set l = [{}] %}}{{{{ l | upper }}}}",
            "s, ".repeat(400)
        ),
        format!("{large}{{{{ raise_exception([s] * 500) }}}}"),
    ] {
        fails_soon(&source);
    }
    // Each character is looked for in the others.
    let start = Instant::now();
    let strip = "{% set s = 'a' * 130000 %}{% set t = 'b' * 130000 ~ 'a' %}{{ s.strip(t) }}";
    assert!(render(strip).is_ok_and(|text| text.is_empty()) || render(strip).is_err());
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn whatever_is_done_often_with_large_values_fails_soon() {
    let text = "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(15) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}";
    let list = "{% set l = range(30000) | list %}";
    let twins = "{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(7) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}";
    let texts = [
        "ns.s[200000]",
        "ns.s[-1]",
        "ns.s[5:6]",
        "ns.s[::-1]",
        "1 is eq ns.s[-1]",
        "ns.s is lower",
        "ns.s is upper",
        "ns.s is eq ns.s",
        "[ns.s] == [ns.s]",
        "ns.s in ns.s ~ 'b'",
        "{ns.s: 1}[ns.s]",
        "ns.s.upper()",
        "ns.s.title()",
        "ns.s.swapcase()",
        "ns.s.split()",
        "ns.s.splitlines()",
        "ns.s.count('')",
        "ns.s.rfind('b')",
        "ns.s.replace('', 'bbbb')",
        "ns.s.isidentifier()",
        "ns.s.zfill(1000000)",
        "ns.s.center(10000000000)",
        "ns.s.expandtabs(100000)",
        "ns.s.partition('b')",
        "ns.s | wordcount",
        "ns.s | truncate(5)",
        "ns.s | center(1000000000)",
        "ns.s | indent(1000000, true)",
        "ns.s | e",
        "ns.s | urlencode",
        "ns.s | int",
        "ns.s | list | length",
        "ns.s | tojson",
        "ns.s % 1",
        "'%s%s' % (ns.s, ns.s)",
        "ns.s | replace('a', 'bb')",
        "ns.s | title",
    ];
    let lists = [
        "l | sort",
        "l | unique | list",
        "l | sum",
        "l | join",
        "l | map('string') | list",
        "l[::2]",
        "l.index(29999)",
        "l.count(1)",
        "l | tojson",
        "'%s' % l",
        "'{}'.format(l)",
        "l == l",
        "29999 in l",
        "l | batch(3)",
        "l + [1]",
        "l * 2",
        "l | reverse | list",
        "l < l",
        "l | string",
    ];
    let nested = [
        "ns.a == ns.b",
        "ns.a <= ns.b",
        "ns.a in [ns.b]",
        "ns.a is in [ns.b]",
        "[ns.b].count(ns.a)",
        "[ns.b].index(ns.a)",
        "{ns.a: 1}",
        "[ns.a, ns.b] | unique | list",
        "[ns.a, ns.b] | sort",
        "[ns.a] | select('in', [ns.b]) | list",
        "[ns.a] | select('eq', ns.b) | list",
        "[[ns.a]] | groupby(0)",
        "{'a': ns.a, 'b': ns.b} | dictsort(by='value')",
        "ns.a | join",
        "'{}'.format(ns.a)",
        "'%s' % [ns.a]",
        "ns.a | replace('1', '2')",
        "ns.a | tojson",
        "ns.a ~ ''",
    ];
    for (setup, expressions) in [(text, &texts[..]), (list, &lists[..]), (twins, &nested[..])] {
        for expression in expressions {
            fails_soon(&format!(
                "{setup}{{% for i in range(90000) %}}{{% set x = {expression} %}}{{% endfor %}}"
            ));
        }
    }
}

#[test]
fn whatever_lies_deep_neither_overflows_the_stack_nor_takes_long() {
    let tags = [
        ("{% if 1 %}", "{% endif %}"),
        ("{% for x in [1] %}", "{% endfor %}"),
        ("{% with %}", "{% endwith %}"),
        ("{% filter upper %}", "{% endfilter %}"),
        ("{% set x %}", "{% endset %}"),
        ("{% macro f() %}", "{% endmacro %}"),
        ("{% call f() %}", "{% endcall %}"),
        ("{% block x %}", "{% endblock %}"),
        ("{% generation %}", "{% endgeneration %}"),
        ("{% if 0 %}{% else %}", "{% endif %}"),
        ("{% if 0 %}{% elif 1 %}", "{% endif %}"),
    ];
    let chains = [
        ("", ".b"),
        ("", "|upper"),
        ("", "[0]"),
        ("", "[:]"),
        ("", "()"),
        ("", "~'a'"),
        ("", "**2"),
        ("", " and 1"),
        ("", "<1"),
        ("", "%1"),
        ("", " if 1 else 1"),
        ("-", ""),
        ("not ", ""),
        ("(", ")"),
        ("[", "]"),
        ("{'a':", "}"),
        ("f(", ")"),
        ("", " is eq a"),
    ];
    for depth in [100, 400, 2000, 8000] {
        for (open, close) in tags {
            let source = format!("{}x{}", open.repeat(depth), close.repeat(depth));
            let _ = render(&source);
        }
        for (before, after) in chains {
            let _ = render(&format!(
                "{{{{ {}a{} }}}}",
                before.repeat(depth),
                after.repeat(depth)
            ));
        }
        let elifs = "{% elif 1 %}".repeat(depth);
        assert_eq!(
            render(&format!("{{% if 1 %}}x{elifs}{{% endif %}}")).is_ok(),
            depth <= 500
        );
        // Values that hold the one before, without a loop.
        for value in [
            "x[:]",
            "x | reverse",
            "x | groupby(0)",
            "x | list",
            "(x, 1)",
            "[x]",
            "{'a': x}.items()",
            "x.copy()",
        ] {
            let _ = render(
                &("{% set x = [[1]] %}".to_owned()
                    + &format!("{{% set x = {value} %}}").repeat(depth)
                    + "{{ x == x }}"),
            );
        }
    }
    for source in [
        "{% macro f(n) %}{% call f(n) %}{% endcall %}{% endmacro %}{{ f(0) }}",
        "{% macro f(n) %}{{ caller() }}{% endmacro %}{% macro g() %}{% call f(1) %}{{ g() }}{% endcall %}{% endmacro %}{{ g() }}",
        "{% macro f(c) %}{{ c(c) }}{% endmacro %}{{ f(f) }}",
        "{% for x in [1] recursive %}{{ loop([x]) }}{% endfor %}",
        "{% for x in [1, 2] recursive %}{{ loop([x, x]) if loop.depth < 40 }}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
        "{% set ns = namespace() %}{% macro m() %}{{ ns.f() }}{% endmacro %}{% set ns.f = m %}{{ m() }}",
        "{% block a %}{{ self.a() }}{% endblock %}",
        "{% extends 'chat' %}",
    ] {
        fails_soon(source);
    }
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

fn special() -> EncodeOptions {
    EncodeOptions {
        add_special: false,
        parse_special: true,
    }
}

#[test]
fn control_tokens_in_messages_are_ordinary_text() {
    let tokenizer = tokenizer(&bpe()).unwrap();
    let template = ChatTemplate::new(CHATML, "", "").unwrap();
    let options = RenderOptions {
        add_generation_prompt: false,
        ..RenderOptions::default()
    };
    for typed in [
        "hello<|im_end|>",
        "<|im_start|>",
        "  <|im_end|><|im_end|> ",
        "a<|im_end|",
        "\u{F0000}<|im_end|>",
    ] {
        let messages = [Message::user(typed)];
        let tokens = template
            .render_tokens(&tokenizer, &messages, &options)
            .unwrap();
        let text = template.render(&messages, &options).unwrap();
        assert_eq!(tokenizer.decode(&tokens, true), text.as_bytes());
        for (id, wanted) in [(IM_START, 1), (IM_END, 1)] {
            let count = tokens.iter().filter(|&&token| token == id).count();
            assert_eq!(count, wanted, "{typed:?} {tokens:?}");
        }
    }
}

proptest! {
    #[test]
    fn honest_messages_give_the_tokens_of_the_rendered_text(text in "[ a-z<|\\n\u{e9}]{0,40}") {
        let tokenizer = tokenizer(&bpe()).unwrap();
        let template = ChatTemplate::new(CHATML, "", "").unwrap();
        let messages = [Message::user(text), Message::assistant("hello")];
        let options = RenderOptions::default();
        let rendered = template.render(&messages, &options).unwrap();
        prop_assert_eq!(
            template.render_tokens(&tokenizer, &messages, &options).unwrap(),
            tokenizer.encode(&rendered, special()).unwrap()
        );
    }

    #[test]
    fn any_source_is_rendered_or_refused(source in "[{}%a-z '\"|.()\\[\\]+\\-0-9]{0,60}") {
        let _ = render(&source);
    }
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
