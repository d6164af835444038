//! What may be told of a rendering that failed.
//!
//! Templates raise errors with the messages' text in them, and minijinja quotes values. A prompt
//! has no place in an error, so only what is known to come from elsewhere is told: our own
//! sentences, and words that are in the template's source.

use std::borrow::Cow;
use std::fmt;

use minijinja::{Error, ErrorKind};

/// What `raise_exception` was called with; carried as the source of minijinja's error.
#[derive(Debug)]
pub(super) struct Raised(pub(super) String);

/// A sentence of ours, which quotes nothing; carried in the same way.
#[derive(Debug)]
struct Ours(Cow<'static, str>);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Ours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}
impl std::error::Error for Ours {}

/// An operation that cannot be done. `why` is told to the caller, so it quotes no value.
pub(super) fn refused(why: impl Into<Cow<'static, str>>) -> Error {
    with_words(ErrorKind::InvalidOperation, why)
}

/// As [`refused`], of another kind.
pub(super) fn with_words(kind: ErrorKind, why: impl Into<Cow<'static, str>>) -> Error {
    let why = why.into();
    Error::new(kind, why.clone()).with_source(Ours(why))
}

/// What a template raises is told from this many characters on.
const SHORTEST: usize = 8;

/// The sentence for a template that does not compile: there is no conversation yet to quote.
pub(super) fn of_compiling(error: &Error) -> String {
    sentence(error, error.detail())
}

/// The sentence for a rendering that failed, without words of the conversation: those that a
/// template of this `source` raised as far as they are its own, or what failed and in which line.
pub(super) fn of_rendering(error: &Error, source: &str) -> String {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if let Some(raised) = inner.downcast_ref::<Raised>() {
            return own_words(&raised.0, source);
        }
        if let Some(ours) = inner.downcast_ref::<Ours>() {
            return sentence(error, Some(&ours.0));
        }
        cause = inner.source();
    }
    let unknown = matches!(
        error.kind(),
        ErrorKind::UnknownFilter
            | ErrorKind::UnknownTest
            | ErrorKind::UnknownFunction
            | ErrorKind::UnknownMethod
    );
    // The name stands in the source, unless the template looked it up in the conversation.
    let detail = error
        .detail()
        .filter(|detail| unknown && names_only(detail, source));
    sentence(error, detail)
}

fn sentence(error: &Error, detail: Option<&str>) -> String {
    if error.kind() == ErrorKind::OutOfFuel {
        // Where it was when the time was over says nothing.
        return detail
            .unwrap_or("it takes too long or builds too much (is there an endless loop?)")
            .to_owned();
    }
    let place = error
        .line()
        .map_or_else(String::new, |line| format!(" in line {line}"));
    match detail {
        Some(detail) => format!("{}{place}: {detail}", error.kind()),
        None => format!("{}{place}", error.kind()),
    }
}

/// Whether a detail such as "string has no method named foo" has no word but its own and the
/// source's.
fn names_only(detail: &str, source: &str) -> bool {
    const WORDS: &[&str] = &[
        "filter", "test", "is", "unknown", "has", "no", "method", "named",
    ];
    const KINDS: &[&str] = &[
        "undefined",
        "none",
        "bool",
        "number",
        "string",
        "bytes",
        "sequence",
        "map",
        "iterable",
        "plain",
        "object",
        "invalid",
        "value",
    ];
    detail
        .split(' ')
        .all(|word| WORDS.contains(&word) || KINDS.contains(&word) || source.contains(word))
}

/// `raised` as far as it is literally in `source`: the whole, or its longest beginning.
fn own_words(raised: &str, source: &str) -> String {
    let short = raised.chars().count() < SHORTEST;
    // A short text may be there by chance, but not as a string of its own.
    let whole = |text: &str| {
        !short
            || ["'", "\""]
                .iter()
                .any(|q| source.contains(&format!("{q}{text}{q}")))
    };
    if raised.len() <= source.len() && source.contains(raised) && whole(raised) {
        return raised.to_owned();
    }
    let ends: Vec<usize> = raised
        .char_indices()
        .map(|(start, c)| start + c.len_utf8())
        .take_while(|&end| end <= source.len())
        .collect();
    // A beginning is there if a longer one is.
    let count = ends.partition_point(|&end| source.contains(&raised[..end]));
    let beginning = &raised[..count.checked_sub(1).map_or(0, |last| ends[last])];
    if count < SHORTEST {
        return "the template refuses the conversation".to_owned();
    }
    format!("{}…", beginning.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str =
        "{{ raise_exception('No user') }}{{ raise_exception(\"Cannot handle: ä\" + x) }}";

    #[test]
    fn raised_words_are_told_as_far_as_they_are_the_templates() {
        let told = |raised| own_words(raised, SOURCE);
        assert_eq!(told("No user"), "No user");
        assert_eq!(told("Cannot handle: ä"), "Cannot handle: ä");
        assert_eq!(told("Cannot handle: äsecret"), "Cannot handle: ä…");
        assert_eq!(told("Cannot handle: ößecret"), "Cannot handle:…");
        let refused = "the template refuses the conversation";
        assert_eq!(told("user"), refused);
        assert_eq!(told("No user secret"), refused);
        assert_eq!(told("Cannot"), refused);
        assert_eq!(told(""), refused);
        assert_eq!(told("the user's secret"), refused);
        assert_eq!(told(&"Cannot handle: ".repeat(1000)), "Cannot handle:…");
        assert_eq!(own_words("anything", ""), refused);
    }

    #[test]
    fn names_are_the_sources() {
        assert!(names_only("filter raise_exception is unknown", SOURCE));
        assert!(names_only(
            "plain object has no method named raise_exception",
            SOURCE
        ));
        assert!(!names_only("filter secret is unknown", SOURCE));
    }
}
