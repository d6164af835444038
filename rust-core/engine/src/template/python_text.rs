//! Values as text: what Python's `str` and `repr` make of them.

use std::fmt::Write;

use minijinja::value::ValueKind;
use minijinja::{Error, State, Value};

use super::held::MAX_NESTING;
use super::marks::{original, unspell};
use super::python::pay;
use super::python_json::float;
use super::python_str::is_all;
use super::refusal::refused;

/// `str(value)`. Lists in lists that share their items can be deeper than the stack and larger
/// than the universe, so each item is paid for.
///
/// # Errors
/// When the values lie too deep in one another, or the template cannot pay.
pub(super) fn text(state: &State<'_, '_>, value: &Value) -> Result<String, Error> {
    if let Some(text) = value.as_str() {
        return Ok(text.to_owned());
    }
    if value.is_undefined() {
        return Ok(String::new());
    }
    let mut out = String::new();
    write_repr(state, &mut out, value, 0)?;
    Ok(out)
}

fn number(value: &Value) -> Option<String> {
    if value.kind() != ValueKind::Number || value.is_integer() {
        return None;
    }
    Some(match f64::try_from(value.clone()).ok()? {
        // What JSON has for them is another matter.
        number if number.is_nan() => "nan".into(),
        number if number.is_infinite() && number > 0.0 => "inf".into(),
        number if number.is_infinite() => "-inf".into(),
        number => float(number),
    })
}

fn write_repr(
    state: &State<'_, '_>,
    out: &mut String,
    value: &Value,
    depth: usize,
) -> Result<(), Error> {
    if depth > MAX_NESTING {
        return Err(refused("values lie too deep in one another"));
    }
    let before = out.len();
    match value.kind() {
        ValueKind::Undefined => out.push_str("Undefined"),
        ValueKind::Seq | ValueKind::Iterable => {
            let (open, close) = if value.is_tuple() {
                ('(', ')')
            } else {
                ('[', ']')
            };
            out.push(open);
            let mut items = 0;
            for item in value.try_iter()? {
                if items > 0 {
                    out.push_str(", ");
                }
                items += 1;
                write_repr(state, out, &item, depth + 1)?;
            }
            if value.is_tuple() && items == 1 {
                out.push(',');
            }
            out.push(close);
        }
        ValueKind::Map => {
            out.push('{');
            for (index, key) in value.try_iter()?.enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_repr(state, out, &key, depth + 1)?;
                out.push_str(": ");
                write_repr(state, out, &value.get_item(&key)?, depth + 1)?;
            }
            out.push('}');
        }
        ValueKind::String => {
            // minijinja writes it as Python does, but for what cannot be printed.
            push_printable(out, &unspell(format!("{value:?}")));
        }
        _ => match number(value) {
            Some(text) => out.push_str(&text),
            None => {
                let _ = write!(out, "{value}");
            }
        },
    }
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => pay(state, 0),
        _ => pay(state, out.len() - before),
    }
}

/// Adds a text in which what Python calls not printable is spelled, but for marks.
fn push_printable(out: &mut String, repr: &str) {
    for c in repr.chars() {
        let code = u32::from(c);
        if c.is_ascii() || original(c) != c || is_all(c.encode_utf8(&mut [0; 4]), "isprintable") {
            out.push(c);
            continue;
        }
        let _ = match code {
            0..=0xff => write!(out, "\\x{code:02x}"),
            0x100..=0xffff => write!(out, "\\u{code:04x}"),
            _ => write!(out, "\\U{code:08x}"),
        };
    }
}
