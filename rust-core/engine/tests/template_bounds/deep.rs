//! What lies deep in one another, in the source and in values.

use dormouse::template::ChatTemplate;

use crate::spent::spent;
use crate::{fails_soon, soon};

#[test]
fn the_deepest_sources_that_are_taken_compile() {
    // What goes deeper with each repetition, and its tokens. Brackets have a limit of their own.
    let chains = [
        ("", ".b", 2),
        ("", ".0", 2),
        ("", "|upper", 2),
        ("", "[:]", 3),
        ("", "()", 2),
        ("", "~a", 2),
        ("", "+a", 2),
        ("", "-a", 2),
        ("", "*a", 2),
        ("", "%a", 2),
        ("", "//a", 2),
        ("", "**a", 2),
        ("", " and a", 2),
        ("", " or a", 2),
        ("", "<a", 2),
        ("", " in a", 2),
        ("", " is eq a", 3),
        ("", " if a else a", 4),
        ("-", "", 1),
        ("not ", "", 1),
        ("", ",a", 2),
        ("(", ")", 2),
        ("[", "]", 2),
        ("{1:", "}", 4),
        ("f(", ")", 3),
        ("a[", "]", 3),
    ];
    let compile = |source: String| {
        let (why, ..) = spent(move || match ChatTemplate::new(&source, "", "") {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        });
        why
    };
    for (before, after, tokens) in chains {
        let expression = |count: usize| {
            let count = count / tokens;
            format!("{}a{}", before.repeat(count), after.repeat(count))
        };
        let in_blocks = |deepest: &str| {
            let elifs = "{% elif 1 %}".repeat(499);
            format!(
                "{}{{% if 1 %}}{elifs}{{% elif 1 %}}{deepest}{{% endif %}}{}",
                "{% for x in [1] %}{% set x %}".repeat(24),
                "{% endset %}{% endfor %}".repeat(24),
            )
        };
        let flat = before.is_empty() && !matches!(after, "[:]" | "*a" | "%a" | ",a");
        for (source, compiles) in [
            (format!("{{{{ {} }}}}", expression(1990)), flat),
            (in_blocks(&format!("{{{{ {} }}}}", expression(1990))), flat),
            (
                in_blocks(&format!("{{% set x = {} %}}", expression(1990))),
                flat,
            ),
            (
                in_blocks(&format!("{{% if {} %}}{{% endif %}}", expression(1990))),
                flat,
            ),
            (
                in_blocks(&format!(
                    "{{% for x in {} %}}{{% endfor %}}",
                    expression(1990)
                )),
                false,
            ),
        ] {
            let why = compile(source);
            assert!(!why.contains("more than"), "{before}a{after}: {why}");
            assert!(why.is_empty() || !compiles, "{before}a{after}: {why}");
        }
        let why = compile(format!("{{{{ {} }}}}", expression(2010)));
        assert!(why.contains("symbols"), "{before}a{after}: {why}");
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
            let _ = soon(&source);
        }
        for (before, after) in chains {
            let _ = soon(&format!(
                "{{{{ {}a{} }}}}",
                before.repeat(depth),
                after.repeat(depth)
            ));
        }
        let elifs = "{% elif 1 %}".repeat(depth);
        assert_eq!(
            soon(&format!("{{% if 1 %}}x{elifs}{{% endif %}}")).is_ok(),
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
            let _ = soon(
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
