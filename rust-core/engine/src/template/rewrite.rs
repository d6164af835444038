//! Rewrites a template's source so that it pays for what it makes.
//!
//! - `a + b` becomes `(a)|__sum(b)`: minijinja's own `+` joins lists lazily and for free, so that
//!   forty doublings are a list of 2^40.
//! - `a * b` becomes `(a)|__times(b)`, as it can repeat a list or a text.
//! - `[a, b]`, `{'k': a}` and `(a, b)` become `([a, b]|__held)` and so on, and what is put into a
//!   namespace goes through `__kept`: forty lists `[l, l]` are a tree of 2^40, which
//!   minijinja compares item by item (see `held`).
//! - `a == b` becomes `a == (b)|__compared`, and `a[b]` becomes `a[(b)|__compared]`: comparing and
//!   hashing take the time that a walk takes.
//! - `a[b]` becomes `((a)|__at(b))` unless `b` is a plain string, as finding a character takes the
//!   time that reading the text takes; `a[b:c]` becomes `((a)|__slice(b,c))`, as minijinja keeps a
//!   slice of a slice of a slice as such, and walks it on the stack.
//! - `a ~ b` becomes `(a)|__join(b)`, as values can be large as text; `a in b`, `{a: b}` and `**a`
//!   become `(a)|__compared in b` and so on.
//! - Every few dozen tokens (see `pace`) `if a` becomes `if (a)|__tick`, `set a = b` becomes
//!   `set a = (b)|__tick`, or after the tag comes `{%if 0|__tick%}{%endif%}`: there the time is looked
//!   at (see `deadline`). After `for`, `macro` and `call` comes always one with `__turn`.
//! - `{% generation %}`, which marks the assistant's text for training and renders as what it
//!   encloses, becomes `{% with %}`; minijinja knows no such tag.
//! - `a % b` becomes `(a)|__rem(b)`, which fills in texts as Python does, and `for x in a` becomes
//!   `for x in (a)|__walked`, which refuses to walk `none`.
//!
//! What is read here is minijinja's syntax, which knows no unary `+`: outside of strings, numbers
//! and marks of whitespace each `+` in a tag adds, and none is left when this is done.

mod brackets;
mod frame;
mod pace;
mod tag;
#[cfg(test)]
mod tests;

use super::lex::{Lexer, Unread};
use pace::Pace;
use tag::Tag;

/// The filters' names.
pub(super) const TICK: &str = "__tick";
pub(super) const TURN: &str = "__turn";
pub(super) const JOIN: &str = "__join";
pub(super) const SUM: &str = "__sum";
pub(super) const HELD: &str = "__held";
pub(super) const KEPT: &str = "__kept";
pub(super) const COMPARED: &str = "__compared";
pub(super) const REMAINDER: &str = "__rem";
pub(super) const TIMES: &str = "__times";
pub(super) const WALKED: &str = "__walked";
pub(super) const AT: &str = "__at";
pub(super) const SLICE: &str = "__slice";

/// The source with what it makes paid for; the rest stays byte for byte, and lines stay where they
/// are.
///
/// # Errors
/// [`Unread`] where a tag is not what minijinja's parser takes.
pub(super) fn with_making_paid(source: &str) -> Result<String, Unread> {
    let mut lexer = Lexer::new(source);
    let mut edits = Vec::new();
    let mut pace = Pace::default();
    while let Some(block) = lexer.next_tag()? {
        let mut tag = Tag::new(block);
        let mut name = None;
        while let Some(token) = lexer.next_token()? {
            if block && tag.tokens == 0 {
                name = Some(token.text);
            }
            tag.take(token.kind, token.text, token.start)?;
        }
        let look = match name {
            Some(name) => pace.passed(name, tag.tokens),
            None => {
                pace.printed();
                false
            }
        };
        edits.append(&mut tag.finish(look, lexer.at(), lexer.mark())?);
    }
    edits.sort_by_key(|edit| edit.at);
    let mut out = String::with_capacity(source.len() + 10 * edits.len());
    let mut done = 0;
    // As in `x==(y)if z`, where the brackets kept the words apart.
    let keep = |out: &mut String, kept: &str| {
        let word =
            |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
        if word(out.as_bytes().last()) && word(kept.as_bytes().first()) {
            out.push(' ');
        }
        out.push_str(kept);
    };
    for edit in edits {
        // Two readings of one place: the tag is not what it was taken for.
        let kept = source.get(done..edit.at).ok_or(Unread)?;
        keep(&mut out, kept);
        out.push_str(edit.insert);
        done = edit.at + edit.remove;
    }
    keep(&mut out, &source[done..]);
    Ok(out)
}
