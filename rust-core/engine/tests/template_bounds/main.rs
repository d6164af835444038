//! Templates are bounded: whatever they ask for, there is an answer or an error soon, without a
//! crash and without much memory.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod deep;
mod long;
mod reviewed;
mod spent;

use std::time::Duration;

use dormouse::Error;
use dormouse::template::{ChatTemplate, Message, RenderOptions};
use spent::spent;

/// Bytes that a rendering may hold at once, over what the template itself takes.
const MEMORY: usize = 64 << 20;

fn render(source: &str) -> Result<String, Error> {
    ChatTemplate::new(source, "<s>", "</s>")?
        .render(&[Message::user("hi")], &RenderOptions::default())
}

/// What a short conversation gives, soon and with little memory.
fn soon(source: &str) -> Result<String, String> {
    let limit = Duration::from_millis(if cfg!(debug_assertions) { 4000 } else { 200 });
    let (result, took, bytes) = spent({
        let source = source.to_owned();
        move || render(&source)
    });
    assert!(took < limit, "{took:?}: {source:.160}");
    assert!(bytes < MEMORY, "{bytes} bytes: {source:.160}");
    match result {
        Ok(text) => Ok(text),
        Err(Error::Template { why }) => Err(why),
        Err(other) => panic!("{other}: {source:.160}"),
    }
}

fn fails_soon(source: &str) -> String {
    match soon(source) {
        Err(why) => why,
        Ok(text) => panic!("{source:.160} gives {text:.40}"),
    }
}

/// A million times.
fn often(what: &str) -> String {
    format!(
        "{{% for i in range(1000) %}}{{% for j in range(1000) %}}{what}{{% endfor %}}{{% endfor %}}"
    )
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
    let often = |what: &str| twins(7) + &often(what);
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
        self::often(""),
        self::often("x"),
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
        format!("{long}{{{{ ns.s.join(range(40000) | list) | length }}}}"),
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
            fails_soon(&(setup.to_owned() + &often(&format!("{{% set x = {expression} %}}"))));
        }
    }
}
