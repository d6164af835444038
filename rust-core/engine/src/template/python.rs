//! What templates take from Python: methods of values, tests, functions and printing.
//!
//! Most methods come from minijinja-contrib. That code makes its result before the engine can
//! ask what it costs, so methods that can blow up are paid for here beforehand.

use jiff::civil::DateTime;
use jiff::fmt::strtime;
use minijinja::value::{ValueKind, from_args};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::filters::escaped;
use super::held::pay_for_walk;
use super::places::{Style, pay_for_places};
use super::python_json::tojson;
use super::python_str::string_method;
use super::python_text::text;
use super::refusal::{Raised, refused};
use super::{calls, deadline};

/// Adds everything here to an environment.
pub(super) fn add_to(environment: &mut Environment<'_>) {
    environment.set_unknown_method_callback(method);
    environment.set_formatter(print);
    calls::filter(environment, "tojson", tojson);
    calls::filter(environment, "string", string);
    calls::function(
        environment,
        "raise_exception",
        |message: String| -> Result<Value, Error> {
            Err(
                Error::new(ErrorKind::InvalidOperation, "raised by the template")
                    .with_source(Raised(message)),
            )
        },
    );
    // In Python a string is a sequence of characters, and what is not defined can be iterated.
    calls::test(environment, "sequence", |value: &Value| {
        matches!(
            value.kind(),
            ValueKind::String
                | ValueKind::Seq
                | ValueKind::Map
                | ValueKind::Iterable
                | ValueKind::Undefined
        )
    });
    calls::test(environment, "callable", |value: &Value| {
        value.as_object().is_some_and(|object| {
            let name = object.type_name();
            name.contains("Function") || name.contains("Macro")
        })
    });
    calls::test(environment, "iterable", |value: &Value| {
        matches!(value.kind(), ValueKind::String | ValueKind::Undefined)
            || value.try_iter().is_ok_and(|_| !value.is_none())
    });
}

/// Bytes of a format of `strftime_now`.
const MAX_TIME_FORMAT: usize = 256;

/// `strftime_now(format)`, at the time `now`, which like Python's has no zone.
pub(super) fn strftime(now: DateTime, format: &str) -> Result<Value, Error> {
    if format.len() > MAX_TIME_FORMAT {
        return Err(refused("strftime_now: the format is too long"));
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
    strtime::format(&plain, now)
        .map(Value::from)
        .map_err(|_| refused("strftime_now: the format is not known"))
}

/// Prints a value.
fn print(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    deadline::check()?;
    if !matches!(state.auto_escape(), AutoEscape::None) {
        let safe = escaped(state, value)?;
        return out
            .write_str(safe.as_str().unwrap_or_default())
            .map_err(Error::from);
    }
    match value.as_str() {
        Some(text) => out.write_str(text),
        None => out.write_str(&text(state, value)?),
    }
    .map_err(Error::from)
}

/// The filter `string`.
fn string(state: &State<'_, '_>, value: &Value) -> Result<Value, Error> {
    match value.as_str() {
        Some(_) => Ok(value.clone()),
        None => text(state, value).map(Value::from),
    }
}

/// How many bytes one unit of fuel pays for when a method works through a text.
const BYTES_PER_FUEL: usize = 8;

pub(super) fn pay(state: &State<'_, '_>, bytes: usize) -> Result<(), Error> {
    state.consume_fuel((bytes / BYTES_PER_FUEL) as u64 + 1)
}

fn method(
    state: &mut State<'_, '_>,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Value, Error> {
    deadline::check()?;
    if let Some(text) = value.as_str() {
        let given: usize = args.iter().filter_map(Value::as_str).map(str::len).sum();
        pay(state, text.len().saturating_add(given))?;
        if name == "format" {
            let places = text.bytes().filter(|byte| *byte == b'{').count();
            pay_for_places(state, text, Style::Braces, places, args)?;
        }
        if let Some(result) = string_method(state, text, name, args)? {
            return Ok(result);
        }
    } else {
        state.consume_fuel(value.len().unwrap_or(0) as u64)?;
        for arg in args {
            pay_for_walk(state, arg)?;
        }
        if let Some(result) = other_method(state, value, name, args)? {
            return Ok(result);
        }
    }
    calls::made_at_once(unknown_method_callback(state, value, name, args)?)
}

/// The methods of other values that minijinja-contrib lacks.
fn other_method(
    state: &State<'_, '_>,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Option<Value>, Error> {
    Ok(Some(match (value.kind(), name) {
        (ValueKind::Map | ValueKind::Seq, "copy") => {
            let () = from_args(args)?;
            value.clone()
        }
        (ValueKind::Seq, "index") => {
            let (wanted, start, end): (&Value, Option<i64>, Option<i64>) = from_args(args)?;
            let count = i64::try_from(value.len().unwrap_or(0)).unwrap_or(i64::MAX);
            let place = |place: i64| {
                if place < 0 {
                    place.saturating_add(count)
                } else {
                    place
                }
            };
            let range = place(start.unwrap_or(0))..place(end.unwrap_or(count));
            for (index, item) in (0..count).zip(value.try_iter()?) {
                pay_for_walk(state, wanted)?;
                if range.contains(&index) && item == *wanted {
                    return Ok(Some(Value::from(index)));
                }
            }
            return Err(refused("index: the item is not there"));
        }
        (ValueKind::Seq, "count") => {
            let (wanted,): (&Value,) = from_args(args)?;
            let mut count = 0;
            for item in value.try_iter()? {
                pay_for_walk(state, wanted)?;
                count += usize::from(item == *wanted);
            }
            Value::from(count)
        }
        (ValueKind::Number, "is_integer") => {
            let () = from_args(args)?;
            let number = f64::try_from(value.clone())?;
            Value::from(number.is_finite() && number.fract() == 0.0)
        }
        (ValueKind::Number, "bit_length") if value.is_integer() => {
            let () = from_args(args)?;
            let number = i128::try_from(value.clone())?.unsigned_abs();
            Value::from(u128::BITS - number.leading_zeros())
        }
        _ => return Ok(None),
    }))
}
