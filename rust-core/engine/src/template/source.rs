//! What is done to a template's source before minijinja compiles it.

/// Symbols (words, operators, brackets) in one tag; the busiest in use has 60. Parsing and
/// compiling recurse along a chain such as `1+1+1`, so this bounds their stack.
pub(super) const MAX_SYMBOLS: usize = 5_000;

/// `{% generation %}` marks the assistant's text for training and renders as what it encloses;
/// minijinja knows no such tag.
pub(super) fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(open) = rest.find("{%") {
        let (before, tag) = rest.split_at(open);
        out.push_str(before);
        let inner = tag[2..].trim_start_matches(['-', '+']).trim_start();
        let replaced = [("generation", "with"), ("endgeneration", "endwith")]
            .into_iter()
            .find_map(|(name, instead)| {
                let after = inner.strip_prefix(name)?;
                let end = after.trim_start().trim_start_matches(['-', '+']);
                end.starts_with("%}").then_some((instead, after))
            });
        match replaced {
            Some((instead, after)) => {
                out.push_str(&tag[..tag.len() - inner.len()]);
                out.push_str(instead);
                rest = after;
            }
            None => {
                out.push_str("{%");
                rest = &tag[2..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// `{% elif %}` tags of a template; the most in use are 20. minijinja parses each inside the one
/// before it.
pub(super) const MAX_ELIFS: usize = 500;

/// How many `{% elif %}` tags a template has. Those in comments count as well.
pub(super) fn elifs(source: &str) -> usize {
    source
        .split("{%")
        .skip(1)
        .filter(|tag| {
            let name = tag.strip_prefix(['-', '+']).unwrap_or(tag);
            name.trim_start().starts_with("elif")
        })
        .count()
}

/// The most symbols in one tag of a template. Comments and text count as well when they look like
/// tags, which errs on the safe side.
pub(super) fn busiest_tag(source: &str) -> usize {
    let (mut most, mut symbols) = (0, 0);
    let mut bytes = source.bytes().peekable();
    let mut in_tag = false;
    let mut in_word = false;
    while let Some(byte) = bytes.next() {
        let next = bytes.peek().copied();
        if !in_tag {
            in_tag = byte == b'{' && matches!(next, Some(b'{' | b'%'));
            if in_tag {
                bytes.next();
            }
            symbols = 0;
            in_word = false;
            continue;
        }
        if next == Some(b'}') && matches!(byte, b'%' | b'}') {
            in_tag = false;
            continue;
        }
        let word = byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii();
        if matches!(byte, b'\'' | b'"') {
            while let Some(inner) = bytes.next() {
                if inner == b'\\' {
                    bytes.next();
                } else if inner == byte {
                    break;
                }
            }
        }
        if !(byte.is_ascii_whitespace() || (word && in_word)) {
            symbols += 1;
            most = most.max(symbols);
        }
        in_word = word;
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_tags_become_scopes() {
        assert_eq!(
            without_generation_tags("{%- generation -%}a{% endgeneration %}{% generations %}"),
            "{%- with -%}a{% endwith %}{% generations %}"
        );
        assert_eq!(without_generation_tags("{% ä {%"), "{% ä {%");
    }

    #[test]
    fn symbols_are_words_operators_and_brackets() {
        assert_eq!(busiest_tag("a b c d {{ x + 'a+b+c' }} e f {% if y %}"), 3);
        assert_eq!(busiest_tag("{{ x.y.z(1, 2) }}"), 10);
        assert_eq!(busiest_tag("{{ 'never closed \\' }} + + + + +"), 1);
    }
}
