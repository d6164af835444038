//! How large a template's source may be, and how deep its parts may lie in one another: parsing and
//! compiling recurse.

use super::lex::{Kind, Lexer, Unread};

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
}

/// Reads the next tag and gives the number of its tokens; no more than needed.
fn next_tag(lexer: &mut Lexer<'_>, blocks: &mut Blocks) -> Result<Option<usize>, Unread> {
    let Some(block) = lexer.next_tag()? else {
        return Ok(None);
    };
    let (mut name, mut assigns, mut tokens) = ("", false, 0);
    while tokens <= MAX_TOKENS {
        let Some(token) = lexer.next_token()? else {
            break;
        };
        if block && tokens == 0 && token.kind == Kind::Word {
            name = token.text;
        }
        assigns |= token.kind == Kind::Symbol && token.text == "=";
        tokens += 1;
    }
    if name.starts_with("end") {
        blocks.open = blocks.open.saturating_sub(1);
    } else if BLOCKS.contains(&name) && !(name == "set" && assigns) {
        blocks.open += 1;
    }
    match name {
        "elif" => blocks.elifs += 1,
        "macro" | "call" => blocks.macros += 1,
        "endmacro" | "endcall" => blocks.macros = blocks.macros.saturating_sub(1),
        _ => {}
    }
    Ok(Some(tokens))
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
