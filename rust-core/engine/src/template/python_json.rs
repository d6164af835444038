//! `tojson` as Python's `json.dumps` writes it, which is what models were trained on: a space
//! after `,` and `:`, other scripts kept, nothing escaped for HTML.
//!
//! The filter of minijinja escapes `<`, `>`, `&` and `'`, as Jinja2's own does; the library that
//! applies chat templates replaces that one.

use std::fmt::Write;

use super::marks::original;
use super::refusal::refused;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, State, Value};

/// How deep values may lie in one another.
const MAX_DEPTH: usize = 128;

/// One unit of fuel pays for 64 bytes; walking costs more than copying.
const BYTES_PER_FUEL: usize = 8;

/// The filter `tojson`, with `indent`, `separators`, `ensure_ascii` and `sort_keys`.
pub(super) fn tojson(
    state: &State<'_, '_>,
    value: &Value,
    indent: Option<Value>,
    options: Kwargs,
) -> Result<Value, Error> {
    let indent = match indent {
        Some(indent) => indent,
        None => options.get::<Option<Value>>("indent")?.unwrap_or_default(),
    };
    let indent = match indent.kind() {
        ValueKind::None | ValueKind::Undefined => None,
        ValueKind::String => Some(indent.to_string()),
        _ => {
            let width = usize::try_from(indent)?;
            if width > 64 {
                return Err(refused("tojson: an indent of more than 64 spaces"));
            }
            Some(" ".repeat(width))
        }
    };
    let separators: Option<(String, String)> =
        match options.get::<Option<Vec<String>>>("separators")?.as_deref() {
            None => None,
            Some([item, key]) => Some((item.clone(), key.clone())),
            Some(_) => return Err(refused("tojson: separators are two strings")),
        };
    let item = if indent.is_some() { "," } else { ", " };
    let (item, key) = separators.unwrap_or_else(|| (item.into(), ": ".into()));
    let mut writer = Writer {
        state,
        out: String::new(),
        paid: 0,
        indent,
        item,
        key,
        ascii: options
            .get::<Option<bool>>("ensure_ascii")?
            .unwrap_or(false),
        sort: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    options.assert_all_used()?;
    writer.value(value, 0)?;
    Ok(Value::from(writer.out))
}

struct Writer<'s, 't, 'e> {
    state: &'s State<'t, 'e>,
    out: String,
    paid: usize,
    indent: Option<String>,
    item: String,
    key: String,
    ascii: bool,
    sort: bool,
}

impl Writer<'_, '_, '_> {
    /// Pays for what was written since the last call, so that a deep indent stops in time.
    fn pay(&mut self) -> Result<(), Error> {
        let owed = self.out.len() - self.paid;
        self.paid = self.out.len();
        self.state.consume_fuel((owed / BYTES_PER_FUEL) as u64 + 1)
    }

    fn line(&mut self, depth: usize) {
        if let Some(indent) = &self.indent {
            self.out.push('\n');
            for _ in 0..depth {
                self.out.push_str(indent);
            }
        }
    }

    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(refused("tojson: values lie too deep in one another"));
        }
        self.pay()?;
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => {
                let text = if value.is_true() { "true" } else { "false" };
                self.out.push_str(text);
            }
            ValueKind::Number => self.number(value),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                let mut any = false;
                self.out.push('[');
                for item in value.try_iter()? {
                    self.begin_item(any, depth);
                    any = true;
                    self.value(&item, depth + 1)?;
                }
                if any {
                    self.line(depth);
                }
                self.out.push(']');
            }
            ValueKind::Map => self.map(value, depth)?,
            _ => return Err(refused("tojson: the value has no JSON form")),
        }
        Ok(())
    }

    fn begin_item(&mut self, any: bool, depth: usize) {
        if any {
            self.out.push_str(&self.item);
        }
        self.line(depth + 1);
    }

    fn map(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let mut keys: Vec<Value> = value.try_iter()?.collect();
        if self.sort {
            keys.sort();
        }
        let any = !keys.is_empty();
        self.out.push('{');
        for (index, key) in keys.iter().enumerate() {
            self.begin_item(index > 0, depth);
            match key.kind() {
                ValueKind::String => self.string(key.as_str().unwrap_or_default()),
                ValueKind::None => self.out.push_str("\"null\""),
                ValueKind::Bool if key.is_true() => self.out.push_str("\"true\""),
                ValueKind::Bool => self.out.push_str("\"false\""),
                ValueKind::Number => {
                    self.out.push('"');
                    self.number(key);
                    self.out.push('"');
                }
                _ => return Err(refused("tojson: a key is no string")),
            }
            self.out.push_str(&self.key.clone());
            self.value(&value.get_item(key)?, depth + 1)?;
        }
        if any {
            self.line(depth);
        }
        self.out.push('}');
        Ok(())
    }

    fn number(&mut self, value: &Value) {
        if value.is_integer() {
            // Writing to a string cannot fail.
            let _ = write!(self.out, "{value}");
        } else if let Ok(number) = f64::try_from(value.clone()) {
            self.out.push_str(&float(number));
        }
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match original(c) {
                '"' | '\\' => self.out.extend(['\\', c]),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                meant if meant < ' ' || (self.ascii && meant > '~') => {
                    for unit in meant.encode_utf16(&mut [0; 2]) {
                        let _ = write!(self.out, "\\u{unit:04x}");
                    }
                }
                _ => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}

/// A float as Python prints it: the shortest digits that read back the same, with an exponent
/// from 1e16 up and below 1e-4.
pub(super) fn float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        let text = if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        };
        return text.into();
    }
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e16).contains(&size) {
        // Rust writes 1e16 and 1.5e-7 where Python writes 1e+16 and 1.5e-07.
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    let text = format!("{number}");
    if text.contains('.') {
        text
    } else {
        text + ".0"
    }
}

#[cfg(test)]
mod tests {
    use super::float;

    #[test]
    fn floats_print_as_in_python() {
        for (number, text) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (21.5, "21.5"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e-7, "1.5e-07"),
            (0.0001, "0.0001"),
            (1e100, "1e+100"),
        ] {
            assert_eq!(float(number), text);
        }
    }
}
