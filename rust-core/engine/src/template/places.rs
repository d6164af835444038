//! What a format makes of its values, paid for before it is made: it can name each value in each of
//! its places, and wants a width or a precision of a number.

use minijinja::value::ValueKind;
use minijinja::{Error, State, Value};

use super::held::{is_container, pay_for_walk};
use super::python::pay;
use super::refusal::refused;

/// What a digit of a float's precision costs, in bytes of other text.
const SLOW_DIGIT: usize = 8;
const MAX_WIDTH: usize = 999;
/// Of a number that is written out. Few floats have so many digits.
const NUMBER_BYTES: usize = 64;

/// How a format writes its places.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `{0:>9}`
    Braces,
    /// `%(name)-9s`
    Percent,
}

/// Pays for `places` of a format, each of which may show any of `values`.
///
/// # Errors
/// For what cannot be paid, for a width or precision that is too large, and for a name that
/// minijinja cannot read.
pub(super) fn pay_for_places(
    state: &State<'_, '_>,
    format: &str,
    style: Style,
    places: usize,
    values: &[Value],
) -> Result<(), Error> {
    if has_foreign_name(format, style) {
        return Err(refused("format: a name in a place is not ASCII"));
    }
    let width = longest_width(format, style);
    if width > MAX_WIDTH {
        return Err(refused("format: a width or precision of more than 999"));
    }
    let mut most = width.saturating_mul(SLOW_DIGIT);
    for value in values {
        pay_for_walk(state, value)?;
        most = most.max(written_bytes(value)?);
    }
    pay(state, places.saturating_mul(most))
}

/// Bytes, about, of a value that was walked before when it is written out.
fn written_bytes(value: &Value) -> Result<usize, Error> {
    if let Some(text) = value.as_str() {
        return Ok(text.len());
    }
    if !is_container(value) {
        return Ok(NUMBER_BYTES);
    }
    let mut bytes = 2usize;
    for item in value.try_iter()? {
        let mut inner = written_bytes(&item)?;
        if value.kind() == ValueKind::Map {
            inner = inner.saturating_add(written_bytes(&value.get_item(&item)?)?);
        }
        bytes = bytes.saturating_add(inner).saturating_add(4);
    }
    Ok(bytes)
}

/// Whether a name in brackets in a place, as in `%(name)s` and `{0[name]}`, has characters beyond
/// ASCII, or lacks its end and such come after it. minijinja takes the name byte by byte, and panics
/// inside of a character with words that quote the whole format.
fn has_foreign_name(format: &str, style: Style) -> bool {
    let (begin, open, close) = match style {
        Style::Percent => (b'%', b'(', b')'),
        Style::Braces => (b'{', b'[', b']'),
    };
    let mut bytes = format.bytes().peekable();
    while bytes.any(|byte| byte == begin) {
        if bytes.next_if_eq(&begin).is_some() {
            continue;
        }
        // `{name.name[name].name[name]}`
        let plain = |byte: &u8| {
            style == Style::Braces && (byte.is_ascii_alphanumeric() || b"_.".contains(byte))
        };
        loop {
            while bytes.next_if(plain).is_some() {}
            if bytes.next_if_eq(&open).is_none() {
                break;
            }
            let mut name = bytes.by_ref().take_while(|&byte| byte != close);
            if !name.all(|byte| byte.is_ascii()) {
                return true;
            }
            if style == Style::Percent {
                break;
            }
        }
    }
    false
}

/// The largest number within a place, but for those in names.
fn longest_width(format: &str, style: Style) -> usize {
    let (mut longest, mut number) = (0, 0usize);
    let (mut place, mut name) = (false, false);
    for byte in format.bytes() {
        match (style, byte) {
            (Style::Braces, b'{') | (Style::Percent, b'%') => place = true,
            (Style::Braces, b'}') => place = false,
            (Style::Percent, b'(') => name = place,
            (Style::Percent, b')') => name = false,
            (Style::Percent, byte) if byte.is_ascii_alphabetic() && !name => place = false,
            _ => {}
        }
        number = if place && !name && byte.is_ascii_digit() {
            number
                .saturating_mul(10)
                .saturating_add(usize::from(byte - b'0'))
        } else {
            0
        };
        longest = longest.max(number);
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_read_are_found() {
        for (format, style, foreign) in [
            ("%(é)s", Style::Percent, true),
            ("%(a é", Style::Percent, true),
            ("é %d %%(é %(a)s (é) %é", Style::Percent, false),
            ("%%%(é", Style::Percent, true),
            ("%(a)(é", Style::Percent, false),
            ("%", Style::Percent, false),
            ("{[é]}", Style::Braces, true),
            ("{a.b[c][é}", Style::Braces, true),
            ("{0.a[b].c[é]}", Style::Braces, true),
            ("é {{[é]}} {a[b]} [é] {:é>5} {é[a]}", Style::Braces, false),
            ("{", Style::Braces, false),
        ] {
            let found = has_foreign_name(format, style);
            assert_eq!(found, foreign, "{format}");
        }
    }

    #[test]
    fn widths_are_those_of_places() {
        for (format, style, width) in [
            ("In 2024 {0:>12} {{}} 5000", Style::Braces, 12),
            ("{:.999f}{:{}}", Style::Braces, 999),
            ("{1000}", Style::Braces, 1000),
            ("In 2024 %(a)-20.3f 5000 s", Style::Percent, 20),
            ("%(a1000)5s (in) 2024", Style::Percent, 5),
            ("%.99999999999999999999999f", Style::Percent, usize::MAX),
            ("", Style::Percent, 0),
        ] {
            let found = longest_width(format, style);
            assert_eq!(found, width, "{format}");
        }
    }
}
