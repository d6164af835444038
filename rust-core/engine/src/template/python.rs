//! What templates take from Python: methods of values, tests, functions and printing.
//!
//! Most methods come from minijinja-contrib. That code makes its result before the engine can
//! ask what it costs, so methods that can blow up are paid for here beforehand.

use jiff::civil::DateTime;
use jiff::fmt::strtime;
use minijinja::value::{ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, Output, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::held::{MAX_NESTING, pay_for_walk};
use super::python_json::{float, tojson};

/// What `raise_exception` was called with; carried as the source of minijinja's error.
#[derive(Debug)]
pub(super) struct Raised(pub(super) String);

impl std::fmt::Display for Raised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

/// Adds everything here to an environment.
pub(super) fn add_to(environment: &mut Environment<'_>) {
    environment.set_unknown_method_callback(method);
    environment.set_formatter(print);
    environment.add_filter("tojson", tojson);
    environment.add_filter("string", string);
    environment.add_function(
        "raise_exception",
        |message: String| -> Result<Value, Error> {
            Err(
                Error::new(ErrorKind::InvalidOperation, "raised by the template")
                    .with_source(Raised(message)),
            )
        },
    );
    // In Python a string is a sequence of characters, and what is not defined can be iterated.
    environment.add_test("sequence", |value: &Value| {
        matches!(
            value.kind(),
            ValueKind::String
                | ValueKind::Seq
                | ValueKind::Map
                | ValueKind::Iterable
                | ValueKind::Undefined
        )
    });
    environment.add_test("iterable", |value: &Value| {
        matches!(value.kind(), ValueKind::String | ValueKind::Undefined)
            || value.try_iter().is_ok_and(|_| !value.is_none())
    });
}

/// Bytes of a format of `strftime_now`.
const MAX_TIME_FORMAT: usize = 256;

/// `strftime_now(format)`, at the time `now`, which like Python's has no zone.
pub(super) fn strftime(now: DateTime, format: &str) -> Result<Value, Error> {
    if format.len() > MAX_TIME_FORMAT {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            "strftime_now: the format is too long",
        ));
    }
    // The C locale's forms, and nothing for the zone.
    let mut plain = String::with_capacity(format.len());
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '%' { chars.next() } else { None }) {
            ('%', Some('c')) => plain.push_str("%a %b %e %H:%M:%S %Y"),
            ('%', Some('x')) => plain.push_str("%m/%d/%y"),
            ('%', Some('X')) => plain.push_str("%H:%M:%S"),
            ('%', Some('Z' | 'z')) => {}
            (c, next) => plain.extend([Some(c), next].into_iter().flatten()),
        }
    }
    strtime::format(&plain, now).map(Value::from).map_err(|e| {
        Error::new(
            ErrorKind::InvalidOperation,
            "strftime_now: the format is not known",
        )
        .with_source(e)
    })
}

/// Walks a value before it is turned into text: lists in lists that share their items can be
/// deeper than the stack and larger than the universe, and that code asks nobody.
fn pay_for_text(state: &State<'_, '_>, value: &Value, depth: usize) -> Result<(), Error> {
    let container = matches!(
        value.kind(),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable
    );
    if !container {
        return Ok(());
    }
    if depth > MAX_NESTING {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            "values lie too deep in one another",
        ));
    }
    for item in value.try_iter()? {
        state.consume_fuel(1)?;
        if value.kind() == ValueKind::Map {
            pay_for_text(state, &value.get_item(&item)?, depth + 1)?;
        } else {
            pay_for_text(state, &item, depth + 1)?;
        }
    }
    Ok(())
}

/// A float as text, if the value is one.
fn float_text(value: &Value) -> Option<String> {
    if value.kind() != ValueKind::Number || value.is_integer() {
        return None;
    }
    f64::try_from(value.clone()).ok().map(float)
}

/// Prints a value; only floats differ from how minijinja does it.
fn print(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match float_text(value) {
        Some(text) => out.write_str(&text).map_err(Error::from),
        None => {
            pay_for_text(state, value, 0)?;
            minijinja::escape_formatter(out, state, value)
        }
    }
}

/// The filter `string`.
fn string(state: &State<'_, '_>, value: &Value) -> Result<Value, Error> {
    pay_for_text(state, value, 0)?;
    Ok(match (value.as_str(), float_text(value)) {
        (Some(_), _) => value.clone(),
        (None, Some(text)) => Value::from(text),
        (None, None) => Value::from(value.to_string()),
    })
}

/// How many bytes one unit of fuel pays for when a method works through a text.
const BYTES_PER_FUEL: usize = 8;

fn pay(state: &State<'_, '_>, bytes: usize) -> Result<(), Error> {
    state.consume_fuel((bytes / BYTES_PER_FUEL) as u64 + 1)
}

fn method(
    state: &mut State<'_, '_>,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        let given: usize = args.iter().filter_map(Value::as_str).map(str::len).sum();
        pay(state, text.len().saturating_add(given))?;
        if let Some(result) = string_method(state, text, name, args)? {
            return Ok(result);
        }
    } else {
        state.consume_fuel(value.len().unwrap_or(0) as u64)?;
        for arg in args {
            pay_for_walk(state, arg)?;
        }
    }
    unknown_method_callback(state, value, name, args)
}

/// The string methods that need paying for, and those that minijinja-contrib lacks.
fn string_method(
    state: &State<'_, '_>,
    text: &str,
    name: &str,
    args: &[Value],
) -> Result<Option<Value>, Error> {
    Ok(Some(match name {
        "replace" => {
            let (old, new, _): (&str, &str, Option<i64>) = from_args(args)?;
            // At most this many places: one more than bytes where `old` is empty.
            let places = text.len() / old.len().max(1) + 1;
            pay(state, places.saturating_mul(new.len()))?;
            return Ok(None);
        }
        "join" => {
            let (items,): (&Value,) = from_args(args)?;
            let items: Vec<Value> = items.try_iter()?.collect();
            pay(state, items.len().saturating_mul(text.len() + 8))?;
            return Ok(None);
        }
        "format" => {
            // Widths are the one way in which a format makes more than it is given.
            let mut digits = 0;
            for byte in text.bytes() {
                digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
                if digits > 3 {
                    return Err(Error::new(
                        ErrorKind::InvalidOperation,
                        "format: a width or precision of more than 999",
                    ));
                }
            }
            return Ok(None);
        }
        "title" => {
            let () = from_args(args)?;
            let mut out = String::with_capacity(text.len());
            let mut inside = false;
            for c in text.chars() {
                match (c.is_alphabetic(), inside) {
                    (true, true) => out.extend(c.to_lowercase()),
                    (true, false) => out.extend(c.to_uppercase()),
                    _ => out.push(c),
                }
                inside = c.is_alphabetic();
            }
            Value::from(out)
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Value::from(text.strip_prefix(prefix).unwrap_or(text))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Value::from(text.strip_suffix(suffix).unwrap_or(text))
        }
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            let last = name == "rpartition";
            let split = if last {
                text.rsplit_once(separator)
            } else {
                text.split_once(separator)
            };
            let parts = match split {
                Some((before, after)) => [before, separator, after],
                None if last => ["", "", text],
                None => [text, "", ""],
            };
            parts.into_iter().map(Value::from).collect()
        }
        "rsplit" => {
            let (separator, most): (&str, Option<i64>) = from_args(args)?;
            if separator.is_empty() {
                return Err(Error::new(
                    ErrorKind::InvalidOperation,
                    "rsplit: the separator is empty",
                ));
            }
            let most = most.and_then(|most| usize::try_from(most).ok());
            let mut parts: Vec<&str> = match most {
                Some(most) => text.rsplitn(most.saturating_add(1), separator).collect(),
                None => text.rsplit(separator).collect(),
            };
            parts.reverse();
            parts.into_iter().map(Value::from).collect()
        }
        _ => return Ok(None),
    }))
}
