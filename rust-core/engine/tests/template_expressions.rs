//! Filters, methods, tests and operators do what Jinja2 and Python do.
#![allow(clippy::unwrap_used)]

use dormouse::Error;
use dormouse::template::ChatTemplate;
use serde_json::Value;

/// What differs, by the reason.
const DIFFER: &[(&str, &[&str])] = &[
    (
        "minijinja's printf has no r, and takes no float for an integer",
        &[
            "{{ '%05.2f|%-5s|%5s|%x|%r' % (f, t, t, 255, t) }}",
            "{{ '%i' % 3.7 }}",
            "{{ '%d' % 3.0 }}",
        ],
    ),
    (
        "minijinja's printf counts a width in bytes, and it knows no sign of plus",
        &["{{ '%5s|%-5s' % ('é', 'é') }}", "{{ +1 }}"],
    ),
    (
        "no chat template wraps or prints for debugging, and none may depend on chance",
        &[
            "{{ s | wordwrap(7) }}",
            "{{ 'a long-word here' | wordwrap(5) }}",
            "{{ 'abcdefghij kl' | wordwrap(4) }}",
            "{{ 'abcdefghij kl' | wordwrap(4, false) }}",
            "{{ 'a b c d e f' | wordwrap(3, wrapstring='|') }}",
            "{{ d | pprint }}",
            "{{ s | pprint }}",
            "{{ l | pprint }}",
            "{{ l | random is number }}",
        ],
    ),
    (
        "of no use to a chat template",
        &[
            "{{ lipsum is defined }}",
            "{{ cycler is defined }}",
            "{{ joiner is defined }}",
            "{{ cycler('a', 'b').next() }}",
            "{{ dict([('a', 1)]) }}",
            "{{ namespace({'a': 1}, b=2).b }}",
            "{{ t.upper is callable }}",
            "{{ yes.real }}",
            "{{ '{!r}'.format('a') }}",
            "{{ '{:%}'.format(0.5) }}",
            "{% for x in l %}{{ loop }}{% break %}{% endfor %}",
            "{% block x %}a{% endblock %}{{ self.x() }}",
        ],
    ),
    (
        "Python fails here, by the version or by a rule that harms nobody when it is broken",
        &[
            "{{ w | sum(start='') }}",
            "{{ z | join }}",
            "{{ 'aaa'.replace('a', 'b', count=1) }}",
            "{{ 1 < 'a' }}",
            "{{ z < 1 }}",
            "{{ 1 in t }}",
            "{{ t is startingwith 'a' }}",
        ],
    ),
    (
        "what Python makes as it is walked is a list here",
        &[
            "{{ d.items() | tojson }}",
            "{{ range(2) | tojson }}",
            "{{ l | map('string') | tojson }}",
            "{{ w | map('upper') | length }}",
            "{{ (o | selectattr('v', 'gt', 1))[0] }}",
            "{{ range(3) }}",
            "{{ [range(3)] }}",
            "{{ d.keys() }}{{ d.values() }}{{ d.items() }}",
        ],
    ),
    (
        "minijinja reads fewer escapes in strings",
        &[
            r#"{{ 'é\u2028"\/' | tojson }}"#,
            r#"{{ "\x41\u00e4\U0001F600" }}"#,
            r#"{{ '\a\v\0' }}"#,
        ],
    ),
    (
        "attributes and items are one to minijinja, and a float is an index",
        &["{{ o[0] | attr('n') }}", "{{ l[1.0] }}"],
    ),
    (
        "minijinja's macros take no more than they name",
        &[
            "{% macro m(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, 4, q=5) }}",
            "{% macro m(a) %}{{ m.name }}{{ m.arguments }}{% endmacro %}{{ m(1) }}",
        ],
    ),
    (
        "minijinja gives names one after the other",
        &["{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}"],
    ),
    (
        "Python's insides are not there, which is an error rather than nothing",
        &[
            "{{ x.__class__ }}{{ t.__class__ }}",
            "{{ t.format.__globals__ }}",
        ],
    ),
];

#[test]
fn pieces_render_as_in_jinja2() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/expressions.json"
    );
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let variables = golden["variables"].as_object().unwrap();
    let now = "2024-07-09T13:05:07".parse().unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert!(cases.len() >= 500, "{} cases are left", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let source = case[0].as_str().unwrap();
        let ours = ChatTemplate::new(source, "", "")
            .and_then(|template| template.render_variables(variables.clone(), Some(now)));
        let good = match (&ours, case[1].as_str()) {
            (Ok(text), Some(expected)) => text == expected,
            (Err(Error::Template { .. }), None) => true,
            _ => false,
        };
        let listed = DIFFER.iter().any(|(_, sources)| sources.contains(&source));
        if good == listed {
            wrong.push(format!("{source}\n   ours {ours:?}\n   not  {}", case[1]));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}
