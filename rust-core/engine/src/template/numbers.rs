//! The filters that read and show numbers, as Python does it.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State, Value};

use super::args::Args;
use super::filters::Given;
use super::refusal::refused;

/// An integer as Python's `int(text, base)` reads it.
fn read_int(text: &str, base: u32) -> Option<i128> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let sign = &text[..text.len() - digits.len()];
    let prefixes: &[&str] = match base {
        16 => &["0x", "0X"],
        8 => &["0o", "0O"],
        2 => &["0b", "0B"],
        _ => &[],
    };
    let digits = prefixes
        .iter()
        .find_map(|prefix| digits.strip_prefix(prefix))
        .unwrap_or(digits);
    // Underscores may stand between digits; a second sign may not.
    if digits.starts_with(['_', '+', '-']) || digits.ends_with('_') || digits.contains("__") {
        return None;
    }
    i128::from_str_radix(&format!("{sign}{}", digits.replace('_', "")), base).ok()
}

/// A float as Python's `float(text)` reads it.
fn read_float(text: &str) -> Option<f64> {
    text.trim().parse().ok()
}

pub(super) fn int(_: &State<'_, '_>, value: &Value, given: Given) -> Result<Value, Error> {
    let args = Args::new(&given.into_values(), &["default", "base"])?;
    let base = args.integer(1)?.unwrap_or(10);
    let base = u32::try_from(base)
        .ok()
        .filter(|base| (2..=36).contains(base));
    let float = match (value.kind(), value.as_str()) {
        (_, Some(text)) => {
            if let Some(number) = base.and_then(|base| read_int(text, base)) {
                return Ok(Value::from(number));
            }
            read_float(text)
        }
        (ValueKind::Number, _) if value.is_integer() => return Ok(value.clone()),
        (ValueKind::Number, _) => f64::try_from(value.clone()).ok(),
        (ValueKind::Bool, _) => return Ok(Value::from(i64::from(value.is_true()))),
        (ValueKind::Undefined, _) => return Err(ErrorKind::UndefinedError.into()),
        _ => None,
    };
    match float.filter(|float| float.is_finite() && float.abs() < 1e38) {
        // Saturates, and the number is in range.
        Some(float) => Ok(Value::from(float as i128)),
        None => Ok(args.optional(0).cloned().unwrap_or_else(|| Value::from(0))),
    }
}

pub(super) fn float(_: &State<'_, '_>, value: &Value, given: Given) -> Result<Value, Error> {
    let args = Args::new(&given.into_values(), &["default"])?;
    let number = match (value.kind(), value.as_str()) {
        (_, Some(text)) => read_float(text),
        (ValueKind::Number, _) => f64::try_from(value.clone()).ok(),
        (ValueKind::Bool, _) => Some(f64::from(u8::from(value.is_true()))),
        (ValueKind::Undefined, _) => return Err(ErrorKind::UndefinedError.into()),
        _ => None,
    };
    Ok(match number {
        Some(number) => Value::from(number),
        None => args
            .optional(0)
            .cloned()
            .unwrap_or_else(|| Value::from(0.0)),
    })
}

pub(super) fn file_size(_: &State<'_, '_>, value: &Value, given: Given) -> Result<Value, Error> {
    let binary = Args::new(&given.into_values(), &["binary"])?.truth(0);
    let size = match value.as_str() {
        Some(text) => text
            .trim()
            .parse::<f64>()
            .map_err(|_| refused("filesizeformat: not a number"))?,
        None => f64::try_from(value.clone())?,
    };
    let (base, infix) = if binary { (1024.0, "i") } else { (1000.0, "") };
    if size == 1.0 {
        return Ok(Value::from("1 Byte"));
    }
    if size < base {
        return Ok(Value::from(format!("{} Bytes", size.trunc())));
    }
    let mut unit = base;
    let prefixes = if binary { "KMGTPEZY" } else { "kMGTPEZY" };
    for (index, prefix) in prefixes.chars().enumerate() {
        unit *= base;
        if size < unit || index == prefixes.len() - 1 {
            return Ok(Value::from(format!(
                "{:.1} {prefix}{infix}B",
                base * size / unit
            )));
        }
    }
    Err(refused("filesizeformat: not a number"))
}
