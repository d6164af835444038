//! Rewrites `a + b` to `(a)|__sum(b)` in a template's source, a filter that pays for what it makes:
//! minijinja's own `+` joins lists lazily and for free, so that forty doublings are a list of 2^40.
//!
//! What is read here is minijinja's syntax, which knows no unary `+`: outside of strings, numbers
//! and marks of whitespace each `+` in a tag adds, and none is left when this is done.

use super::lex::{Kind, Lexer, Unread};

/// The filter's name.
pub(super) const FILTER: &str = "__sum";

/// The source with its sums rewritten; the rest stays byte for byte, and lines stay where they are.
///
/// # Errors
/// [`Unread`] where a tag is not what minijinja's parser takes.
pub(super) fn with_sums_paid(source: &str) -> Result<String, Unread> {
    let mut lexer = Lexer::new(source);
    let mut edits = Vec::new();
    while let Some(block) = lexer.next_tag()? {
        let mut tag = Tag::new(block);
        while let Some(token) = lexer.next_token()? {
            tag.take(token.kind, token.text, token.start)?;
        }
        edits.append(&mut tag.finish()?);
    }
    edits.sort_by_key(|edit| edit.at);
    let mut out = String::with_capacity(source.len() + 10 * edits.len());
    let mut done = 0;
    for edit in edits {
        out.push_str(&source[done..edit.at]);
        out.push_str(edit.insert);
        done = edit.at + edit.remove;
    }
    out.push_str(&source[done..]);
    Ok(out)
}

struct Edit {
    at: usize,
    remove: usize,
    insert: &'static str,
}

/// What lies between two brackets, up to where the reading is.
struct Frame {
    open: &'static str,
    /// Where the chain of sums and differences began.
    start: Option<usize>,
    /// All of the chain so far is one operand: it ends with a sum.
    summed: bool,
    /// The filter's bracket is open.
    pending: bool,
}

impl Frame {
    const fn new(open: &'static str) -> Self {
        Self {
            open,
            start: None,
            summed: false,
            pending: false,
        }
    }
}

/// How much of `is [not] name argument` was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Test {
    None,
    Is,
    Named,
}

struct Tag {
    edits: Vec<Edit>,
    frames: Vec<Frame>,
    /// The first word of `{% … %}` is still to come.
    statement: bool,
    /// The last token ends an operand.
    ended: bool,
    /// The last token is `.` or `|`, after which any word is a name.
    name_next: bool,
    after_string: bool,
    /// The last token is an operator that binds tighter than `not`.
    operator: bool,
    test: Test,
    last_end: usize,
}

impl Tag {
    fn new(block: bool) -> Self {
        Self {
            edits: Vec::new(),
            frames: vec![Frame::new("")],
            statement: block,
            ended: false,
            name_next: false,
            after_string: false,
            operator: false,
            test: Test::None,
            last_end: 0,
        }
    }

    fn frame(&mut self) -> Result<&mut Frame, Unread> {
        self.frames.last_mut().ok_or(Unread)
    }

    fn insert(&mut self, at: usize, insert: &'static str) {
        self.edits.push(Edit {
            at,
            remove: 0,
            insert,
        });
    }

    /// Closes the filter's bracket after the operand that the last token ended.
    fn close_sum(&mut self) -> Result<(), Unread> {
        if std::mem::take(&mut self.frame()?.pending) {
            if !self.ended {
                return Err(Unread);
            }
            self.insert(self.last_end, ")");
        }
        Ok(())
    }

    /// Ends the chain: what comes binds looser than `+`.
    fn delimit(&mut self) -> Result<(), Unread> {
        self.close_sum()?;
        let frame = self.frame()?;
        *frame = Frame::new(frame.open);
        self.ended = false;
        Ok(())
    }

    /// A token that is part of an operand, or begins one.
    fn operand(&mut self, start: usize, ends: bool) -> Result<(), Unread> {
        self.frame()?.start.get_or_insert(start);
        self.ended = ends;
        Ok(())
    }

    fn take(&mut self, kind: Kind, text: &str, start: usize) -> Result<(), Unread> {
        let named = std::mem::take(&mut self.name_next);
        let after_string = std::mem::take(&mut self.after_string);
        let statement = std::mem::take(&mut self.statement);
        let operator = std::mem::take(&mut self.operator);
        let test = std::mem::replace(&mut self.test, Test::None);
        match kind {
            Kind::Word if statement => {}
            Kind::Word if named => {
                self.test = test;
                self.operand(start, true)?;
            }
            // minijinja reads a variable here, which would become a function.
            Kind::Word if operator && text == "not" => return Err(Unread),
            Kind::Word => self.word(text, start, test)?,
            Kind::Number | Kind::String => {
                let joined = kind == Kind::String && after_string;
                if self.ended && !joined && test != Test::Named {
                    self.delimit()?;
                }
                self.after_string = kind == Kind::String;
                self.operand(start, true)?;
            }
            Kind::Symbol => self.symbol(text, start, test)?,
        }
        self.operator = match kind {
            Kind::Word => text == "in" && !self.ended,
            Kind::Symbol => matches!(
                text,
                "+" | "-"
                    | "~"
                    | "*"
                    | "/"
                    | "//"
                    | "%"
                    | "**"
                    | "<"
                    | ">"
                    | "<="
                    | ">="
                    | "=="
                    | "!="
            ),
            _ => false,
        };
        self.last_end = start + text.len();
        Ok(())
    }

    fn word(&mut self, word: &str, start: usize, test: Test) -> Result<(), Unread> {
        match (test, word) {
            (Test::Is, "not") => self.test = Test::Is,
            (Test::Is, _) => {
                self.test = Test::Named;
                self.ended = true;
            }
            (_, "is") => {
                self.test = Test::Is;
                self.operand(start, false)?;
            }
            // A test takes one argument without brackets, whatever its name.
            (Test::Named, word) if !matches!(word, "and" | "or" | "else") => {
                self.ended = true;
            }
            (_, "and" | "or" | "not" | "in" | "if" | "else") => self.delimit()?,
            _ => {
                // Such as `recursive` and `ignore missing`.
                if self.ended {
                    self.delimit()?;
                }
                self.operand(start, true)?;
            }
        }
        Ok(())
    }

    fn symbol(&mut self, symbol: &str, start: usize, test: Test) -> Result<(), Unread> {
        match symbol {
            "(" | "[" | "{" => {
                if symbol == "{" && self.ended && test != Test::Named {
                    self.delimit()?;
                }
                self.operand(start, false)?;
                self.frames.push(Frame::new(match symbol {
                    "(" => "(",
                    "[" => "[",
                    _ => "{",
                }));
            }
            ")" | "]" | "}" => {
                let closes = matches!(
                    (self.frame()?.open, symbol),
                    ("(", ")") | ("[", "]") | ("{", "}")
                );
                if !closes {
                    return Err(Unread);
                }
                self.close_sum()?;
                self.frames.pop();
                self.ended = true;
            }
            "." | "|" if !self.ended && self.frame()?.pending => return Err(Unread),
            "." | "|" => {
                self.name_next = true;
                self.test = if symbol == "." { test } else { Test::None };
                self.ended = false;
            }
            "*" | "**" if !self.ended => self.delimit()?,
            "~" | "*" | "/" | "//" | "%" | "**" => self.ended = false,
            "-" if !self.ended || test == Test::Named => self.operand(start, false)?,
            "-" => {
                self.close_sum()?;
                self.frame()?.summed = false;
                self.ended = false;
            }
            "+" => {
                if !self.ended || test == Test::Named {
                    return Err(Unread);
                }
                self.close_sum()?;
                let frame = self.frame()?;
                frame.pending = true;
                if !std::mem::replace(&mut frame.summed, true) {
                    let chain = frame.start.ok_or(Unread)?;
                    self.insert(chain, "(");
                    self.insert(self.last_end, ")");
                }
                self.edits.push(Edit {
                    at: start,
                    remove: 1,
                    insert: "|__sum(",
                });
                self.ended = false;
            }
            _ => self.delimit()?,
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Edit>, Unread> {
        self.close_sum()?;
        if self.frames.len() != 1 {
            return Err(Unread);
        }
        Ok(self.edits)
    }
}

#[cfg(test)]
mod tests {
    use minijinja::{Environment, context};
    use proptest::prelude::*;

    use super::*;

    fn rewritten(source: &str) -> String {
        with_sums_paid(source).unwrap()
    }

    #[test]
    fn a_chain_adds_from_left_to_right() {
        for (source, expected) in [
            ("{{ a + b }}", "{{ (a) |__sum( b) }}"),
            ("{{a+b+c}}", "{{(a)|__sum(b)|__sum(c)}}"),
            ("{{a+b-c+d-e}}", "{{((a)|__sum(b)-c)|__sum(d)-e}}"),
            ("{{a-b+c}}", "{{(a-b)|__sum(c)}}"),
            (
                "{{(a+b)+(c+d)}}",
                "{{(((a)|__sum(b)))|__sum(((c)|__sum(d)))}}",
            ),
            ("{{ a\n+ b }}", "{{ (a)\n|__sum( b) }}"),
        ] {
            assert_eq!(rewritten(source), expected);
        }
    }

    #[test]
    fn operands_are_what_binds_tighter_than_a_sum() {
        for (source, expected) in [
            ("{{a*b+c~d}}", "{{(a*b)|__sum(c~d)}}"),
            ("{{ -a+-b**c//d%e}}", "{{ (-a)|__sum(-b**c//d%e)}}"),
            (
                "{{a|f(1)|g+b|h(c+1)}}",
                "{{(a|f(1)|g)|__sum(b|h((c)|__sum(1)))}}",
            ),
            (
                "{{a.if[1+2:].b()+c.0.1}}",
                "{{(a.if[(1)|__sum(2):].b())|__sum(c.0.1)}}",
            ),
            ("{{a[:-1+b:c+1]}}", "{{a[:(-1)|__sum(b):(c)|__sum(1)]}}"),
            (
                "{{{'k'+a:b+c,'l':[d+e,f]}}}",
                "{{{('k')|__sum(a):(b)|__sum(c),'l':[(d)|__sum(e),f]}}}",
            ),
            (
                "{{a is divisibleby(1+1)}}",
                "{{a is divisibleby((1)|__sum(1))}}",
            ),
            (
                "{{a+b is not x.y 3+c}}",
                "{{(a)|__sum(b is not x.y 3)|__sum(c)}}",
            ),
            ("{{a+b is x -1-c}}", "{{(a)|__sum(b is x -1)-c}}"),
            (
                "{{a+b if c+d is in e else f+g}}",
                "{{(a)|__sum(b) if (c)|__sum(d is in e) else (f)|__sum(g)}}",
            ),
            (
                "{{not a+b==c+d and e not in f+g}}",
                "{{not (a)|__sum(b)==(c)|__sum(d) and e not in (f)|__sum(g)}}",
            ),
            (
                "{{f(*a+b,c=d+e,**g+h)}}",
                "{{f(*(a)|__sum(b),c=(d)|__sum(e),**(g)|__sum(h))}}",
            ),
            ("{{'a' 'b'+\"c\"'d'}}", "{{('a' 'b')|__sum(\"c\"'d')}}"),
            (
                "{{1e+5+0x1e+1.5e+2+1_0}}",
                "{{(1e+5)|__sum(0x1e)|__sum(1.5e+2)|__sum(1_0)}}",
            ),
            (
                "{%for x in a+b recursive%}",
                "{%for x in (a)|__sum(b) recursive%}",
            ),
            (
                "{%include a+b ignore missing%}",
                "{%include (a)|__sum(b) ignore missing%}",
            ),
            (
                "{%set a.b=(c)+d%}{%if (a)+b%}",
                "{%set a.b=((c))|__sum(d)%}{%if ((a))|__sum(b)%}",
            ),
            (
                "{%macro f(a,b=1+2)%}{%with a=1+b,c=2%}",
                "{%macro f(a,b=(1)|__sum(2))%}{%with a=(1)|__sum(b),c=2%}",
            ),
        ] {
            assert_eq!(rewritten(source), expected);
        }
    }

    #[test]
    fn what_does_not_add_stays() {
        for source in [
            "a + b {a + b} { { a + b",
            "{{ 'a + b' ~ \"%} + }}\" ~ '\\' + ' }} + {%+ if x +%} + {%- endif -%} + {{+ x +}}",
            "{# a + {{ b + c }} #} {#- + -#}",
            "{% raw %}{{ a + b }}{% x %}{%- endraw +%}{%raw-%}{{a+b}}{%+endraw%}",
            "{{ a - b - 1e+5 - {'a': {}} }}",
        ] {
            assert_eq!(rewritten(source), source);
        }
        assert_eq!(
            rewritten("{{- a + '+' -}} + {%+ if a+b +%}{% raw %}{{ 1 + 1 }}{% endraw %}{{ 1+1 }}"),
            "{{- (a) |__sum( '+') -}} + {%+ if (a)|__sum(b) +%}{% raw %}{{ 1 + 1 }}{% endraw %}{{ (1)|__sum(1) }}"
        );
    }

    #[test]
    fn what_is_no_sum_is_not_read() {
        for source in [
            "{{ + a }}",
            "{{ a + }}",
            "{{ a + + b }}",
            "{{ a is b + c }}",
            "{{ a + not b }}",
            "{{ in + a }}",
            "{{ (a + b }}",
            "{{ a + b) }}",
            "{{ (a + b] }}",
            "{{ a + b",
            "{{ 'a",
            "{# a",
            "{% raw %}",
            "{{ ä }}",
            "{{ (a +) }}",
            "{{ a + | b }}",
            "{% + a %}",
        ] {
            assert_eq!(with_sums_paid(source), Err(Unread), "{source}");
        }
    }

    /// Values of every kind, and everything that an operand may be.
    fn expression() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "[0-9]{1,2}",
            "[0-9]\\.[0-9](e[+-]?1)?",
            "'[a+%} ]{0,3}'",
            "\"[a'+{]{0,2}\"",
            "[lstn]",
            Just("[1, 'x']".to_owned()),
            Just("(1, 2)".to_owned()),
            Just("none".to_owned()),
            Just("missing".to_owned()),
        ];
        leaf.prop_recursive(5, 40, 3, |inner| {
            let operator = prop_oneof![
                8 => Just(" + "), 4 => Just("+"), 2 => Just(" - "), 1 => Just(" ~ "),
                1 => Just(" * "), 1 => Just(" // "), 1 => Just(" < "), 1 => Just(" == "),
                1 => Just(" and "), 1 => Just(" or "), 1 => Just(" in "), 1 => Just(" not in "),
            ];
            prop_oneof![
                8 => (inner.clone(), operator, inner.clone()).prop_map(|(a, op, b)| a + op + &b),
                2 => inner.clone().prop_map(|a| format!("({a})")),
                1 => inner.clone().prop_map(|a| format!("-{a}")),
                1 => inner.clone().prop_map(|a| format!("(not {a})")),
                1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[{a}, {b}]")),
                1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{{'k': {a}, 'm': {b}}}")),
                1 => inner.clone().prop_map(|a| format!("l[{a}:]")),
                1 => inner.clone().prop_map(|a| format!("{a}|default({a})|length")),
                1 => inner.clone().prop_map(|a| format!("{a} is divisibleby({a})")),
                1 => inner.clone().prop_map(|a| format!("{a} is sameas -1")),
                1 => (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("{a} if {b} else {c}")),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_rewritten_template_renders_the_same(a in expression()) {
            let source = format!(
                "{{% set x = {a} %}}{{{{ x }}}} {{{{- {a} }}}}{{% for i in [{a}] %}}{{{{ i is tuple }}}}{{% endfor %}} +"
            );
            let mut environment = Environment::new();
            super::super::add::add_to(&mut environment);
            environment.add_test("tuple", |value: &minijinja::Value| value.is_tuple());
            let values = context! { l => [3, 4], s => "text", t => true, n => 7 };
            let render = |source: &str| {
                environment.render_str(source, &values).map_err(|e| e.kind())
            };
            let plain = render(&source);
            match with_sums_paid(&source) {
                Ok(paid) => {
                    // Both may fail for different reasons, of which the words of types are one.
                    prop_assert_eq!(plain.ok(), render(&paid).ok(), "{}", paid);
                }
                Err(Unread) => prop_assert!(plain.is_err(), "{} is {:?}", source, plain),
            }
        }

        #[test]
        fn what_is_not_read_does_not_compile(
            source in "(\\{\\{|\\{%|%\\}|\\}\\}|[ a-c1-3+'\"|.()\\[\\]{}\\\\#,-]|if |is |not |1e|raw|endraw){0,20}"
        ) {
            let mut environment = Environment::new();
            let compiles = environment.add_template("a", &source).is_ok();
            match with_sums_paid(&source) {
                Err(Unread) => prop_assert!(!compiles || source.contains('+'), "{}", source),
                Ok(paid) => {
                    prop_assert!(!compiles || environment.add_template("a", &paid).is_ok(), "{}", paid);
                    prop_assert_eq!(with_sums_paid(&paid), Ok(paid.clone()), "no sum is left");
                }
            }
        }
    }
}
