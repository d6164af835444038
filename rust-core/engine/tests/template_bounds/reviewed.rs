//! What reviewers found.

use std::sync::Arc;
use std::time::Duration;

use dormouse::template::{ChatTemplate, Message, RenderOptions};

use crate::common::{bpe, tokenizer};
use crate::spent::spent;
use crate::{MEMORY, fails_soon, often, soon};

/// 900,000 bytes.
const LONG: &str = "{% set s = 'a' * 900000 %}";

#[test]
fn symbols_are_counted_behind_comments_strings_and_braces() {
    for tail in [
        "-".repeat(40_000) + "1",
        "1".to_owned() + &".y".repeat(100_000),
        "1".to_owned() + &"|int".repeat(50_000),
    ] {
        for head in [
            "{{ ",
            "{# {{ ' #}{{ ",
            "{# {% \" #}{{ ",
            "{% raw %}{{ '{% endraw %}{{ ",
            "{{ '}}'~",
            "{{ {1:{}}~",
        ] {
            let why = fails_soon(&format!("{head}{tail} }}}}"));
            assert!(why.contains("symbols"), "{why}");
        }
    }
    let dict = "{{ {1:{}}".to_owned() + &".y".repeat(100_000) + " }}";
    assert!(fails_soon(&dict).contains("symbols"));
}

#[test]
fn no_namespace_comes_to_hold_itself() {
    let held = "{% set a = namespace() %}{% set a.x | default(a, true) %}{% endset %}";
    for use_of_it in [
        "{{ a ~ '' }}",
        "{{ a | upper }}",
        "{{ 'x' | replace('x', a) }}",
        "{{ '%s' | format(a) }}",
        "{{ a in 'abc' }}",
        "{{ a in {'p': 1, 'q': 2} }}",
        "{{ a.values() | join }}",
        "",
    ] {
        let why = fails_soon(&format!("{held}{use_of_it}"));
        assert!(why.contains("namespace"), "{why}");
    }
    for source in [
        "{% set a = namespace() %}{% set a.x | list | default(a, true) %}{% endset %}",
        "{% set a = namespace() %}{% set (a.x) | default(a, true) %}{% endset %}",
        "{% set a = namespace() %}{% for x in [1] %}{% set a.x = loop %}{% endfor %}",
        "{% set a = namespace() %}{% set a.x, a.y = [a, a] %}",
        "{% set a = namespace() %}{% set a.x = [[1], a][1] %}",
        "{% set a = namespace() %}{% set a.x = [0] | map('default', a, true) | list %}",
        "{% set a = namespace() %}{% set a.x = {}.get('x', a) %}",
    ] {
        fails_soon(source);
    }
    assert_eq!(
        soon("{% set a = namespace() %}{% set a.x | upper %}b{% endset %}{{ a.x }}").unwrap(),
        "B"
    );
}

#[test]
fn nothing_is_nothing_however_often() {
    for (source, expected) in [
        ("{{ [] * 1000000000000 }}", "[]"),
        ("{{ () * 1000000000000 }}", "()"),
        ("{{ [] * 9223372036854775807 }}", "[]"),
        ("{{ '' * 9223372036854775807 }}", ""),
        ("{{ 9223372036854775807 * [] }}", "[]"),
    ] {
        assert_eq!(soon(source).unwrap(), expected);
    }
}

#[test]
fn names_of_attributes_are_short() {
    let list = "{% set d = [{'a': 1, 'b': 2}] * 90 %}";
    for (name, filter) in [
        ("'a,' * 400000", "sort(attribute=s)"),
        ("'a,' * 400000", "sort(false, false, s)"),
        ("'a.' * 400000", "map(attribute=s) | list"),
        ("'a' * 900000", "selectattr(s)"),
        ("'a' * 900000", "rejectattr(s)"),
        ("'a' * 900000", "sum(attribute=s)"),
        ("'a' * 900000", "sum(s)"),
        ("'a' * 900000", "groupby(s)"),
        ("'a' * 900000", "groupby(attribute=s)"),
        ("'a' * 900000", "unique(attribute=s)"),
        ("'a' * 900000", "unique(false, s)"),
        ("'a' * 900000", "min(attribute=s)"),
        ("'a' * 900000", "max(attribute=s)"),
        ("'a' * 900000", "join(attribute=s)"),
        ("'a' * 900000", "join('', s)"),
        ("'a' * 900000", "attr(s)"),
        ("'a,' * 40", "sort(attribute=s)"),
    ] {
        let why = fails_soon(&format!(
            "{list}{{% set s = {name} %}}{{{{ d | {filter} }}}}"
        ));
        assert!(why.contains("attribute is too long"), "{filter}: {why}");
    }
    fails_soon("{{ range(300) | list | sort(attribute='a,' * 400000) }}");
    assert_eq!(
        soon(&format!("{list}{{{{ d | map(attribute='b') | sum }}}}")).unwrap(),
        "180"
    );
}

#[test]
fn one_operation_takes_the_time_of_its_values() {
    let kept: String = (0..5000).map(|n| format!("{{%set n.a{n}=s%}}")).collect();
    let kept = format!("{LONG}{{% set n = namespace() %}}{kept}");
    for use_of_it in [
        "n | upper",
        "n.values() | join",
        "n | items | join",
        "n ~ ''",
        "'%s' | format(n)",
        "n is startingwith 'a'",
        "n | tojson",
    ] {
        fails_soon(&format!("{kept}{{{{ {use_of_it} }}}}"));
    }
    let places = "s, ".repeat(900);
    fails_soon(&format!("{LONG}{{{{ ('%s' * 900) | format({places}) }}}}"));
    fails_soon(&format!("{LONG}{{{{ ('{{}}' * 900).format({places}) }}}}"));
    fails_soon(
        "{% set s = 'a' * 4000 %}{% set l = [s] * 400 %}\
         {% for i in range(1000) %}{% set x = l | sum(start='') %}{% endfor %}",
    );
    for source in [
        "{% set s = 'a' * 400000 %}{% set t = 'b' * 400000 ~ 'a' %}{{ s | trim(t) | length }}",
        "{% set s = 'a' * 400000 %}{% set t = 'b' * 400000 ~ 'a' %}{{ s.strip(t) | length }}",
        "{% set s = '\\x01' * 900000 %}{% set l = [s] * 6 ~ '' %}{{ l | length }}",
    ] {
        // They may also cost too much.
        let _ = soon(source);
    }
    assert_eq!(
        soon("{{ 'xyabyx' | trim('yx') }}{{ ' a ' | trim }}").unwrap(),
        "aba"
    );
}

#[test]
fn time_is_looked_at_in_each_turn() {
    let strings = "{% set s = 'É' * 200000 %}{% set l = [s, s ~ 1, s ~ 2, s ~ 3] %}";
    let reversed = "{% set r = range(30000) | list | reverse %}";
    let ranged = "{% set r = range(40000) %}";
    let literal = "a".repeat(200_000);
    let name = "a".repeat(100_000);
    let many = "1, ".repeat(900);
    for source in [
        ranged.to_owned() + &often("{% if r[39998] %}{% endif %}"),
        ranged.to_owned() + &often("{% if r[-1] %}{% endif %}"),
        ranged.to_owned() + &often("{% if r | attr(39998) %}{% endif %}"),
        ranged.to_owned() + &often("{% set x = r.39998 %}"),
        ranged.to_owned() + &often("{% set x = r[39997:] %}"),
        reversed.to_owned() + &often("{% set x = r[29999] %}"),
        strings.to_owned() + &often("{% set x = l | unique %}"),
        strings.to_owned() + &often("{% set x = l | sort %}"),
        strings.to_owned() + &often("{% set x = l | max %}"),
        strings.to_owned() + &often("{% set x = {'a': l[0], 'b': l[1]} | dictsort(by='value') %}"),
        strings.to_owned() + &often("{% set x = loop.changed(l if j is odd else [s]) %}"),
        often(&"{%with%}{%endwith%}".repeat(10_000)),
        often(&"{%set x%}{%endset%}".repeat(10_000)),
        often(&"{%for x in[]%}{%endfor%}".repeat(8_000)),
        often(&"{%if x%}{%endif%}".repeat(10_000)),
        LONG.to_owned() + &often("{% set x = s in {'p': 1} %}"),
        LONG.to_owned() + &often("{% set x = {s: 1, s: 2} %}"),
        LONG.to_owned() + "{% set d = {s: 1} %}" + &often("{% set x = dict(**d) %}"),
        LONG.to_owned() + &often("{% set x = s is in s %}"),
        LONG.to_owned() + &often("{% set x = s == s ~ '' %}"),
        "{% set d = {'a': 1} %}".to_owned() + &often(&format!("{{% set x = d['{literal}'] %}}")),
        often(&format!("{{% set x = {{1: 2, 3: 4}}[({many})] %}}")),
        format!("{{% macro m({name}) %}}{{% endmacro %}}")
            + &often(&format!("{{% set x = m({name}=1) %}}")),
        "{% macro m() %}{% for i in range(1000) %}{% endfor %}{% endmacro %}".to_owned()
            + &often("{{ m() }}"),
        "{% for x in [1] * 60 recursive %}{{ loop([1] * 60) if loop.depth < 60 }}{% endfor %}"
            .to_owned(),
        "{% set l = [1] * 500 %}{% for x in range(1000) if l | select('gt', 1) | list %}{% endfor %}"
            .to_owned(),
    ] {
        let why = fails_soon(&source);
        assert!(why.contains("too long"), "{why}: {source:.160}");
    }
}

#[test]
fn macros_in_macros_compile_soon() {
    let names: String = (0..20_000).map(|n| format!("{{{{a{n}}}}}")).collect();
    for depth in [1, 4, 40] {
        let _ = soon(&format!(
            "{}{names}{}",
            "{%macro m()%}".repeat(depth),
            "{%endmacro%}".repeat(depth)
        ));
    }
}

#[test]
fn other_templates_are_not_there() {
    for source in [
        "{% include ['a', 'b'] ignore missing %}",
        "{% include 'chat' %}",
        "{% import 'chat' as c %}",
        "{% from 'chat' import c %}",
        "{% extends 'chat' %}",
        "{% block a %}{{ self.a() }}{% endblock %}",
    ] {
        assert!(fails_soon(source).contains("unknown statement"), "{source}");
    }
}

#[test]
fn generation_tags_in_text_stay() {
    assert_eq!(
        soon("{% raw %}{% generation %}{% endraw %}{{ '{% generation %}' }}{% generation %}x{% endgeneration %}")
            .unwrap(),
        "{% generation %}{% generation %}x"
    );
}

/// A format can name each of its values in each of its places, and make digits of its own.
#[test]
fn formats_pay_for_all_that_they_write() {
    let range = "range(-1000000000000000000, -999999999999998976)";
    let floats = "{% set l = [1.2345678901234567e-300] * 500 %}";
    let path = ["0"; 512].join(".");
    let dicts = "{% set s = 'a' * 50000 %}{% set l = [{s: 1, 2: 3}] * 25 %}\
                 {% set m = [{s: 1, 2: 3}] * 25 %}{% for i in range(2) %}{% set x = l if i else m %}";
    for source in [
        format!("{{{{ ('{{0}}' * 95000).format({range}) }}}}"),
        format!("{floats}{{{{ ('{{0}}' * 60000).format(l) }}}}"),
        format!("{floats}{{{{ ('{{a}}' * 60000).format(a=l) }}}}"),
        format!("{floats}{{{{ ('{{0[0]}}' * 30000).format([l]) }}}}"),
        format!("{{{{ ('%(a)s' * 10000)|format(a={range}) }}}}"),
        format!("{floats}{{{{ ('%(a)s' * 10000) % {{'a': l}} }}}}"),
        "{{ ('{0:.999f}' * 30000).format(1e-300) }}".to_owned(),
        "{{ ('{0:999}' * 120000).format(1) }}".to_owned(),
        "{{ ('%(a).999f' * 12000) % {'a': 1e-308} }}".to_owned(),
        format!("{{{{ ('a' * 98000)|map(attribute='{path}')|list|length }}}}"),
        format!("{{{{ ('a' * 98000)|groupby('{path}')|length }}}}"),
        format!(
            "{dicts}{{% if loop.changed({}) %}}{{% endif %}}{{% endfor %}}",
            ["x"; 900].join(",")
        ),
    ] {
        fails_soon(&source);
    }
    // What honest templates format is as it was.
    let honest =
        "{{ 'In 2024 {0:>5}|{1:.2f}'.format('a', 1.5) }} {{ '%s of 2024: %05d' % ('b', 7) }}";
    assert_eq!(soon(honest).unwrap(), "In 2024     a|1.50 b of 2024: 00007");
}

/// minijinja would panic, and a panic's words may quote the conversation.
#[test]
fn what_the_engine_does_not_survive_is_refused_before() {
    for source in [
        "{{ ('%(é' ~ messages[-1].content) % {'a': 1} }}",
        "{{ '%(é)s' % {'é': 1} }}",
        "{{ '%(aé'|format(a=1) }}",
        "{{ '{0[é]}'.format([1]) }}",
        "{{ ('{a.b[' ~ 'é').format(a=1) }}",
    ] {
        let why = fails_soon(source);
        assert!(why.contains("ASCII"), "{source}: {why}");
    }
    for source in [
        "{% for x in [1] %}{{ loop.cycle() }}{% endfor %}",
        "{% for x in [1] %}{{ loop.cycle(*[]) }}{% endfor %}",
        "{% for x in [1] %}{{ loop.cycle(**{}) }}{% endfor %}",
    ] {
        let why = fails_soon(source);
        assert!(why.contains("cycle"), "{source}: {why}");
    }
    for (source, expected) in [
        ("{{ 'é %(a)s é' % {'a': 'ü'} }}", "é ü é"),
        ("{{ 'é{a[b]:é>3}{{'.format(a={'b': 'c'}) }}", "éééc{"),
        (
            "{% for x in [1, 2] %}{{ loop.cycle('a', 'b') }}{% endfor %}",
            "ab",
        ),
    ] {
        assert_eq!(soon(source).unwrap(), expected, "{source}");
    }
}

/// Each time that a macro's tag is passed, its parameters are copied.
#[test]
fn macros_have_few_parameters() {
    let parameters = |count: usize| vec!["a"; count].join(",");
    let macros = |count: usize, parameters: &str| {
        let all: String = (0..count)
            .map(|n| format!("{{%macro m{n}({parameters})%}}{{%endmacro%}}"))
            .collect();
        format!(
            "{{% for i in range(9999) %}}{{%with%}}{{%macro z()%}}{{{{q}}}}{{%endmacro%}}{all}\
             {{%set q=z%}}{{%endwith%}}{{% endfor %}}"
        )
    };
    for count in [5, 12, 80] {
        assert!(fails_soon(&macros(count, &parameters(985))).contains("arguments"));
        // As many as there may be cost no more memory than all else.
        fails_soon(&macros(count, &parameters(32)));
    }
}

/// The second rendering of a conversation with brackets has the time that the first left.
#[test]
fn two_renderings_take_the_time_of_one() {
    let tokenizer = Arc::new(tokenizer(&bpe()).unwrap());
    for source in [
        format!(
            "{{% if '<' not in messages[0].content %}}{}{{% endif %}}",
            often("x")
        ),
        often("x"),
    ] {
        let template = ChatTemplate::new(&source, "<s>", "</s>").unwrap();
        let tokenizer = Arc::clone(&tokenizer);
        let (result, took, bytes) = spent(move || {
            let messages = [Message::user("a < b")];
            template.render_tokens(&tokenizer, &messages, &RenderOptions::default())
        });
        let limit = Duration::from_millis(if cfg!(debug_assertions) { 4000 } else { 200 });
        assert!(took < limit, "{took:?}: {source:.160}");
        assert!(bytes < MEMORY, "{bytes} bytes: {source:.160}");
        result.unwrap_err();
    }
}
