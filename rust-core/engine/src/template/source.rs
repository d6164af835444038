//! How large a template's source may be, and how deep its parts may lie in one another: parsing and
//! compiling recurse. And what minijinja would not survive.

use super::lex::{Kind, Lexer, Token, Unread};

/// Bytes of a template's source; the longest in use has 40 KiB.
pub(super) const MAX_SOURCE: usize = 256 << 10;
/// Tokens (words, numbers, strings, operators, brackets) of one tag; the busiest in use has 60. A
/// chain such as `1+1+1` is as deep as it is long.
const MAX_TOKENS: usize = 2_000;
/// `{% elif %}` tags of a template; the most in use are 20. Each is parsed inside the one before it.
const MAX_ELIFS: usize = 500;
/// Loops, conditions, macros and other blocks inside one another.
const MAX_BLOCKS: usize = 50;
/// Macros and calls with a body inside one another: for each, all that it encloses is searched.
const MAX_MACROS: usize = 4;
/// Parameters of a macro, which are copied each time that its tag is passed, and arguments of a call;
/// the most in use are 5.
const MAX_ARGUMENTS: usize = 32;

/// Words before a bracket that is none of a call; the brackets after `call` hold parameters.
const KEYWORDS: [&str; 12] = [
    "and", "elif", "else", "for", "if", "in", "is", "not", "or", "print", "set", "with",
];

const BLOCKS: [&str; 9] = [
    "for",
    "if",
    "macro",
    "call",
    "filter",
    "with",
    "set",
    "autoescape",
    "generation",
];

/// What is too large in a source, in words.
///
/// What lies behind something that is no tag at all was not read, so it has to be short.
pub(super) fn too_large(source: &str) -> Result<(), String> {
    if source.len() > MAX_SOURCE {
        return Err(format!(
            "its source has {} bytes (at most {MAX_SOURCE})",
            source.len()
        ));
    }
    let mut lexer = Lexer::new(source);
    let mut blocks = Blocks::default();
    loop {
        match next_tag(&mut lexer, &mut blocks) {
            Ok(Some(tokens)) if tokens > MAX_TOKENS => {
                return Err(format!("a tag has more than {MAX_TOKENS} symbols"));
            }
            Ok(Some(_)) if blocks.elifs > MAX_ELIFS => {
                return Err(format!("it has more than {MAX_ELIFS} elif tags"));
            }
            Ok(Some(_)) if blocks.open > MAX_BLOCKS => {
                return Err(format!("more than {MAX_BLOCKS} blocks lie in one another"));
            }
            Ok(Some(_)) if blocks.macros > MAX_MACROS => {
                return Err(format!("more than {MAX_MACROS} macros lie in one another"));
            }
            Ok(Some(_)) if blocks.arguments > MAX_ARGUMENTS => {
                return Err(format!(
                    "a macro or call has more than {MAX_ARGUMENTS} arguments"
                ));
            }
            Ok(Some(_)) if blocks.empty_cycle => {
                return Err("a call of cycle has nothing to go through".to_owned());
            }
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            Err(Unread) if source.len() - lexer.at() > MAX_TOKENS => {
                return Err("a tag in it cannot be read".to_owned());
            }
            Err(Unread) => return Ok(()),
        }
    }
}

#[derive(Default)]
struct Blocks {
    open: usize,
    elifs: usize,
    macros: usize,
    /// The most of a call or macro so far.
    arguments: usize,
    /// A call of `cycle` without arguments, or with what may be none: minijinja divides by their
    /// number.
    empty_cycle: bool,
}

/// Reads the next tag and gives the number of its tokens; no more than needed.
fn next_tag(lexer: &mut Lexer<'_>, blocks: &mut Blocks) -> Result<Option<usize>, Unread> {
    let Some(block) = lexer.next_tag()? else {
        return Ok(None);
    };
    let mut tag = Tag::default();
    while tag.tokens <= MAX_TOKENS {
        let Some(token) = lexer.next_token()? else {
            break;
        };
        tag.take(block, &token, blocks);
    }
    let name = tag.name;
    if name.starts_with("end") {
        blocks.open = blocks.open.saturating_sub(1);
    } else if BLOCKS.contains(&name) && !(name == "set" && tag.assigns) {
        blocks.open += 1;
    }
    match name {
        "elif" => blocks.elifs += 1,
        "macro" | "call" => blocks.macros += 1,
        "endmacro" | "endcall" => blocks.macros = blocks.macros.saturating_sub(1),
        _ => {}
    }
    Ok(Some(tag.tokens))
}

/// What was read of a tag.
#[derive(Default)]
struct Tag<'s> {
    name: &'s str,
    tokens: usize,
    /// It has a `=` of its own, outside of brackets and filters.
    assigns: bool,
    filtered: bool,
    /// For each open bracket the commas in it, if it is one of a call or a macro.
    brackets: Vec<Option<usize>>,
    /// The last token, if it may be what is called; whatever it is; and the one before it.
    called: Option<&'s str>,
    last: &'s str,
    before: &'s str,
    /// The last token opens the brackets of `.cycle`.
    cycle: bool,
}

impl<'s> Tag<'s> {
    fn take(&mut self, block: bool, token: &Token<'s>, blocks: &mut Blocks) {
        let text = token.text;
        let symbol = token.kind == Kind::Symbol;
        if block && self.tokens == 0 && token.kind == Kind::Word {
            self.name = text;
        }
        self.tokens += 1;
        if std::mem::take(&mut self.cycle) && symbol && matches!(text, ")" | "*" | "**") {
            blocks.empty_cycle = true;
        }
        match text {
            _ if !symbol => {}
            "(" | "[" | "{" => {
                let call = text == "(" && self.called.is_some();
                self.brackets.push(call.then_some(1));
                self.cycle = call && self.called == Some("cycle") && self.before == ".";
            }
            ")" | "]" | "}" => {
                self.brackets.pop();
            }
            "," => {
                if let Some(Some(arguments)) = self.brackets.last_mut() {
                    *arguments += 1;
                    blocks.arguments = blocks.arguments.max(*arguments);
                }
            }
            "|" => self.filtered |= self.brackets.is_empty(),
            "=" => self.assigns |= self.brackets.is_empty() && !self.filtered,
            _ => {}
        }
        let ends = match token.kind {
            Kind::Word => !KEYWORDS.contains(&text),
            Kind::Symbol => matches!(text, ")" | "]" | "}"),
            Kind::Number | Kind::String => true,
        };
        self.before = self.last;
        self.last = text;
        self.called = ends.then_some(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(source: &str) -> String {
        too_large(source).err().unwrap_or_default()
    }

    #[test]
    fn tokens_are_counted_where_the_engine_sees_them() {
        let many = "+1".repeat(MAX_TOKENS);
        for source in [
            format!("{{{{ 1{many} }}}}"),
            format!("{{# {{{{ ' #}}{{{{ 1{many} }}}}"),
            format!("{{{{ {{1:{{}}}}{many} }}}}"),
            format!("{{{{ '}}}}'{many} }}}}"),
            format!("{{% raw %}}{{{{ '{{% endraw %}}{{{{ 1{many} }}}}"),
            format!("{{% raw %}}{{{{{{%endraw%}}{{% if 1{many} %}}{{% endif %}}"),
        ] {
            assert!(why(&source).contains("symbols"), "{source:.40}");
        }
        for source in [
            format!("{{{{ '{many}' }}}} {many} {{# {{{{ {many} #}}"),
            format!("{{% raw %}}{{{{ 1{many} }}}}{{% endraw %}}"),
            "{{ 1 + 1 }}".repeat(10_000),
        ] {
            assert_eq!(why(&source), "", "{source:.40}");
        }
        assert!(why(&"x".repeat(MAX_SOURCE + 1)).contains("bytes"));
        // What is behind the question mark was not read.
        assert!(why(&format!("{{{{ ? }}}}{{{{ 1{many} }}}}")).contains("read"));
    }

    #[test]
    fn arguments_are_counted() {
        let many = |count: usize| vec!["a"; count].join(", ");
        let (most, more) = (many(MAX_ARGUMENTS), many(MAX_ARGUMENTS + 1));
        for (before, after) in [
            ("{% macro m(", ") %}"),
            ("{% call(", ") m() %}"),
            ("{% call m(", ") %}"),
            ("{{ f(", ") }}"),
            ("{{ a.b|f(", ")[0] }}"),
            ("{{ a['b'](", ") }}"),
            ("{% if a is f(", ") %}"),
            ("{{ (f)(", ") }}"),
            ("{{ f(g(", "), (1, 2)) }}"),
        ] {
            let why = [&most, &more].map(|list| why(&format!("{before}{list}{after}")));
            assert_eq!(why[0], "", "{before}");
            assert!(why[1].contains("arguments"), "{before}");
        }
        for source in [
            format!("{{{{ a in ({more}) }}}}{{% for x in ({more}) %}}{{% endfor %}}"),
            format!("{{{{ f([{more}], ({more}), {{1: [{more}]}}) }}}}"),
            format!("{{% set ({more}) = ({more}) %}}"),
        ] {
            assert_eq!(why(&source), "");
        }
    }

    #[test]
    fn a_cycle_has_something_to_go_through() {
        for source in [
            "{{ loop.cycle() }}",
            "{{ loop . cycle ( *a) }}",
            "{{ [loop.cycle(**a)] }}",
        ] {
            assert!(why(source).contains("cycle"), "{source}");
        }
        for source in [
            "{{ loop.cycle('a', *b) }}",
            "{{ cycle() }}",
            "{{ loop.cycle }}",
            "{{ a.cycle|f() }}",
        ] {
            assert_eq!(why(source), "");
        }
    }

    #[test]
    fn a_set_without_a_value_of_its_own_is_a_block() {
        let set = |set: &str| format!("{{% set {set} %}}").repeat(51);
        for source in ["x|d(b=1)", "x", "a.b|f|d(b=1)"] {
            assert!(why(&set(source)).contains("blocks"), "{source}");
        }
        for source in ["x = 1|d(b=1)", "(a, b) = c", "x = {'a': 1}|f"] {
            assert_eq!(why(&set(source)), "", "{source}");
        }
    }

    #[test]
    fn blocks_are_counted_while_they_are_open() {
        let blocks = |count: usize| "{% if a %}{% set b %}".repeat(count);
        assert!(why(&blocks(30)).contains("blocks"));
        assert_eq!(why(&blocks(25)), "");
        let closed = "{% if a %}{% set b = 1 %}{%- endif %}".repeat(1000);
        assert_eq!(why(&closed), "");
        assert!(why(&"{% if a %}{% elif b %}{% endif %}".repeat(600)).contains("elif"));
        assert!(why(&"{% macro m() %}{% call m() %}".repeat(3)).contains("macros"));
        let closed = "{% macro m() %}{% call m() %}{% endcall %}{% endmacro %}".repeat(100);
        assert_eq!(why(&closed), "");
    }
}
