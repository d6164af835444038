//! Filters of Jinja2 that minijinja lacks, or that do less there.

use std::sync::LazyLock;

use minijinja::value::{Kwargs, Rest, Tuple, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, State, Value, filters};

use super::add::attribute_of;
use super::args::Args;
use super::calls;
use super::deadline;
use super::held::BYTES_PER_FUEL;
use super::marks::original;
use super::numbers::{file_size, float, int};
use super::places::{Style, pay_for_places};
use super::python::pay;
use super::python_str::{lines, pad, strip};
use super::python_text::text;
use super::refusal::refused;
use super::rewrite::{AT, REMAINDER, SLICE, WALKED};

pub(super) type Given = Rest<ValueOrKwargs>;
type Filter = fn(&State<'_, '_>, &Value, Given) -> Result<Value, Error>;

/// Adds everything here to an environment.
pub(super) fn add_to(environment: &mut Environment<'_>) {
    const FILTERS: [(&str, Filter); 14] = [
        ("wordcount", word_count),
        ("truncate", truncate),
        ("center", center),
        ("indent", indent),
        ("e", escape),
        ("escape", escape),
        ("forceescape", force_escape),
        ("filesizeformat", file_size),
        ("urlencode", url_encode),
        ("int", int),
        ("float", float),
        ("default", default),
        ("d", default),
        ("trim", trim),
    ];
    for (name, filter) in FILTERS {
        calls::filter(environment, name, filter);
    }
    calls::filter(environment, "replace", replace);
    calls::filter(environment, "join", join);
    calls::filter(environment, "format", format);
    environment.add_filter(REMAINDER, remainder);
    // The text that an index reads was paid for as what a filter is given, the key is compared.
    environment.add_filter(AT, |value: &Value, key: &Value| {
        deadline::check()?;
        value.get_item(key)
    });
    environment.add_filter(SLICE, slice);
    environment.add_filter(WALKED, |value: Value| walked(value));
    calls::filter(
        environment,
        "list",
        |state: &State<'_, '_>, value: Value| filters::list(state, walked(value)?),
    );
    calls::filter(
        environment,
        "sort",
        |state: &State<'_, '_>, value: Value, given: Given| {
            let names = ["reverse", "case_sensitive", "attribute"];
            filters::sort(state, value, by_name(given, &names)?)
        },
    );
    calls::filter(
        environment,
        "unique",
        |state: &State<'_, '_>, value: Value, given: Given| {
            filters::unique(
                state,
                value,
                by_name(given, &["case_sensitive", "attribute"])?,
            )
        },
    );
    calls::filter(
        environment,
        "min",
        |state: &State<'_, '_>, value: Value, given: Given| {
            filters::min(
                state,
                value,
                by_name(given, &["case_sensitive", "attribute"])?,
            )
        },
    );
    calls::filter(
        environment,
        "max",
        |state: &State<'_, '_>, value: Value, given: Given| {
            filters::max(
                state,
                value,
                by_name(given, &["case_sensitive", "attribute"])?,
            )
        },
    );
    calls::filter(
        environment,
        "dictsort",
        |state: &State<'_, '_>, value: &Value, given: Given| {
            // As many comparisons as sorting takes, which this function of minijinja does not count.
            let count = value.len().unwrap_or(0);
            let comparisons = count.saturating_mul(count.checked_ilog2().unwrap_or(0) as usize + 1);
            state.consume_fuel(comparisons as u64)?;
            let names = ["case_sensitive", "by", "reverse"];
            filters::dictsort(value, by_name(given, &names)?)
        },
    );
}

/// Arguments given by place become such by name, which is how minijinja takes them.
fn by_name(given: Given, names: &[&str]) -> Result<Kwargs, Error> {
    let args = Args::new(&given.into_values(), names)?;
    Ok(names
        .iter()
        .enumerate()
        .filter_map(|(index, &name)| Some((name, args.optional(index)?.clone())))
        .collect())
}

/// What a loop walks: Python refuses to walk `None`, minijinja takes it for an empty list.
fn walked(value: Value) -> Result<Value, Error> {
    if value.is_none() {
        return Err(refused("none cannot be walked as a list"));
    }
    Ok(value)
}

/// `value[start:stop:step]`, all of it at once.
fn slice(
    state: &State<'_, '_>,
    value: &Value,
    start: Value,
    stop: Value,
    step: Option<Value>,
) -> Result<Value, Error> {
    deadline::check()?;
    let part = super::add::part(value, start, stop, step)?;
    if !matches!(part.kind(), ValueKind::Seq | ValueKind::Iterable) {
        return Ok(part);
    }
    let mut items = Vec::new();
    for item in part.try_iter()? {
        if items.len().is_multiple_of(8) {
            state.consume_fuel(1)?;
        }
        items.push(item);
    }
    Ok(if value.is_tuple() {
        Value::from(Tuple::from(items))
    } else {
        Value::from(items)
    })
}

/// `a % b`: the remainder of numbers, or a text with its places filled in.
fn remainder(state: &mut State<'_, '_>, a: &Value, b: &Value) -> Result<Value, Error> {
    deadline::check()?;
    let Some(format) = a.as_str() else {
        return super::add::modulo(a, b);
    };
    // Before the values are turned into text.
    let places = conversions(format);
    pay_for_places(
        state,
        format,
        Style::Percent,
        places,
        std::slice::from_ref(b),
    )?;
    let args: Vec<Value> = if b.is_tuple() {
        b.try_iter()?.collect()
    } else {
        vec![b.clone()]
    };
    if a_tuple_or_scalar(b) && places < args.len() {
        return Err(refused("%: there are more values than places"));
    }
    // minijinja prints containers itself; a float in one would be Rust's.
    let mut shown = Vec::with_capacity(args.len());
    for arg in args {
        let keyed = arg.kind() == ValueKind::Map && format.contains("%(");
        let shows = !(keyed || arg.is_number() || arg.as_str().is_some());
        shown.push(ValueOrKwargs::from(if shows {
            Value::from(text(state, &arg)?)
        } else if a.is_safe() && arg.as_str().is_some() {
            escaped(state, &arg)?
        } else {
            arg
        }));
    }
    let filled = filters::format(state, &Value::from(format), Rest(shown))?;
    Ok(match filled.as_str() {
        Some(text) if a.is_safe() => Value::from_safe_string(text.to_owned()),
        _ => filled,
    })
}

/// The filter `format`, which is `%`.
fn format(state: &mut State<'_, '_>, value: &Value, given: Given) -> Result<Value, Error> {
    let given = given.into_values();
    let values = match given.as_slice() {
        [named] if named.is_kwargs() => {
            let named = Kwargs::try_from(named.clone())?;
            let pairs = named
                .args()
                .map(|name| Ok((name, named.get::<Value>(name)?)));
            Value::from_pairs(pairs.collect::<Result<Vec<_>, Error>>()?)
        }
        _ => Value::from(Tuple::from(given)),
    };
    let format = match value.as_str() {
        Some(_) => value.clone(),
        None => Value::from(text(state, value)?),
    };
    remainder(state, &format, &values)
}

/// The filter `join`.
fn join(state: &mut State<'_, '_>, value: &Value, given: Given) -> Result<Value, Error> {
    static JOIN: LazyLock<Value> = LazyLock::new(|| Value::from_function(filters::join));
    let args = Args::new(&given.into_values(), &["d", "attribute"])?;
    let (between, attribute) = (args.optional(0), args.text(1)?);
    let between = between.cloned().unwrap_or_else(|| Value::from(""));
    let width = between.as_str().map_or(0, str::len);
    let mut items = Vec::new();
    for item in value.try_iter()?.checked() {
        deadline::check()?;
        let item = attribute_of(item?, attribute);
        let item = match item.as_str() {
            Some(_) => item,
            None => Value::from(text(state, &item)?),
        };
        let written = item.as_str().map_or(0, str::len) + width;
        state.consume_fuel((written / BYTES_PER_FUEL) as u64 + 1)?;
        items.push(item);
    }
    JOIN.call(state, &[Value::from(items), between])
}

/// Whether each value must have a place: not so for what has names or numbers of its own.
fn a_tuple_or_scalar(value: &Value) -> bool {
    value.is_tuple() || !matches!(value.kind(), ValueKind::Map | ValueKind::Seq)
}

/// Places in a text for `%`.
fn conversions(format: &str) -> usize {
    let mut count = 0;
    let mut bytes = format.bytes();
    while bytes.any(|byte| byte == b'%') {
        // Flags, width and precision; a star takes a value itself.
        let kind = bytes
            .by_ref()
            .inspect(|&byte| count += usize::from(byte == b'*'));
        let kind = { kind }.find(|byte| !b"#0- +123456789.*hlL".contains(byte));
        count += usize::from(kind.is_some_and(|kind| kind != b'%'));
    }
    count
}

/// A value's text with what HTML reads as marks written out, as markupsafe does it.
pub(super) fn escaped(state: &State<'_, '_>, value: &Value) -> Result<Value, Error> {
    if value.is_safe() {
        return Ok(value.clone());
    }
    let text = text(state, value)?;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match original(c) {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    pay(state, out.len())?;
    Ok(Value::from_safe_string(out))
}

fn escape(state: &State<'_, '_>, value: &Value, given: Given) -> Result<Value, Error> {
    Args::new(&given.into_values(), &[])?;
    escaped(state, value)
}

fn force_escape(state: &State<'_, '_>, value: &Value, given: Given) -> Result<Value, Error> {
    Args::new(&given.into_values(), &[])?;
    escaped(state, &Value::from(text(state, value)?))
}

fn trim(state: &State<'_, '_>, value: &Value, given: Given) -> Result<Value, Error> {
    let written;
    let whole = match value.as_str() {
        Some(whole) => whole,
        None => {
            written = text(state, value)?;
            &written
        }
    };
    let trimmed = strip(whole, "strip", &given.into_values())?;
    Ok(if value.is_safe() {
        Value::from_safe_string(trimmed.to_owned())
    } else if value
        .as_str()
        .is_some_and(|whole| whole.len() == trimmed.len())
    {
        value.clone()
    } else {
        Value::from(trimmed)
    })
}

/// minijinja's own, with the count that only its own environments take.
fn replace(state: &mut State<'_, '_>, value: Value, given: Given) -> Result<Value, Error> {
    static REPLACE: LazyLock<Value> = LazyLock::new(|| Value::from_function(filters::replace));
    let args = Args::new(&given.into_values(), &["old", "new", "count"])?;
    let (old, new) = (args.needed(0)?, args.needed(1)?);
    let Some(count) = args.integer(2)?.and_then(|most| usize::try_from(most).ok()) else {
        return REPLACE.call(state, &[value, old.clone(), new.clone()]);
    };
    let value = text(state, &value)?;
    let (old, new) = (text(state, old)?, text(state, new)?);
    let places = (value.len() / old.len().max(1) + 1).min(count);
    pay(state, places.saturating_mul(new.len()))?;
    Ok(Value::from(value.replacen(&old, &new, count)))
}

fn word_count(state: &State<'_, '_>, value: &Value, given: Given) -> Result<Value, Error> {
    Args::new(&given.into_values(), &[])?;
    let text = text(state, value)?;
    let word = |c: char| c.is_alphanumeric() || c == '_';
    Ok(Value::from(
        text.split(|c| !word(c))
            .filter(|part| !part.is_empty())
            .count(),
    ))
}

fn truncate(state: &State<'_, '_>, value: &Value, given: Given) -> Result<Value, Error> {
    let args = Args::new(
        &given.into_values(),
        &["length", "killwords", "end", "leeway"],
    )?;
    let text = text(state, value)?;
    let length = args.integer(0)?.unwrap_or(255);
    let end = args.text(2)?.unwrap_or("...");
    let leeway = args.integer(3)?.unwrap_or(5);
    let ends = i64::try_from(end.chars().count()).unwrap_or(i64::MAX);
    if length < ends || leeway < 0 {
        return Err(refused(
            "truncate: the length is less than that of the end, or the leeway less than 0",
        ));
    }
    let count = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if count <= length.saturating_add(leeway) {
        return Ok(Value::from(text));
    }
    let kept = usize::try_from(length - ends).unwrap_or(usize::MAX);
    let mut kept: String = text.chars().take(kept).collect();
    if !args.truth(1) {
        kept.truncate(kept.rfind(' ').unwrap_or(kept.len()));
    }
    Ok(Value::from(kept + end))
}

fn center(state: &State<'_, '_>, value: &Value, given: Given) -> Result<Value, Error> {
    let width = Args::new(&given.into_values(), &["width"])?
        .integer(0)?
        .unwrap_or(80);
    pad(state, &text(state, value)?, "center", width, None).map(Value::from)
}

fn indent(state: &State<'_, '_>, value: &Value, given: Given) -> Result<Value, Error> {
    let args = Args::new(&given.into_values(), &["width", "first", "blank"])?;
    let mut text = text(state, value)?;
    let by = match args.optional(0) {
        None => " ".repeat(4),
        Some(by) => match by.as_str() {
            Some(by) => by.to_owned(),
            None => {
                let width = usize::try_from(by.clone()).unwrap_or(0);
                pay(state, width)?;
                " ".repeat(width)
            }
        },
    };
    text.push('\n');
    let (first, blank) = (args.truth(1), args.truth(2));
    let mut out = String::new();
    for (index, line) in lines(&text, false).into_iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        if if index == 0 {
            first
        } else {
            blank || !line.is_empty()
        } {
            pay(state, by.len())?;
            out.push_str(&by);
        }
        out.push_str(line);
    }
    Ok(Value::from(out))
}

fn quoted(text: &str, query: bool, out: &mut String) {
    for c in text.chars() {
        match original(c) {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '.' | '_' | '~' => out.push(c),
            '/' if !query => out.push(c),
            ' ' if query => out.push('+'),
            meant => {
                for byte in meant.encode_utf8(&mut [0; 4]).bytes() {
                    out.push_str(&format!("%{byte:02X}"));
                }
            }
        }
    }
}

fn url_encode(state: &State<'_, '_>, value: &Value, given: Given) -> Result<Value, Error> {
    Args::new(&given.into_values(), &[])?;
    let mut out = String::new();
    if !matches!(
        value.kind(),
        ValueKind::Map | ValueKind::Seq | ValueKind::Iterable
    ) {
        quoted(&text(state, value)?, false, &mut out);
        return Ok(Value::from(out));
    }
    for item in value.try_iter()? {
        let (key, value) = if value.kind() == ValueKind::Map {
            let of_key = value.get_item(&item)?;
            (item, of_key)
        } else {
            (item.get_item_by_index(0)?, item.get_item_by_index(1)?)
        };
        if !out.is_empty() {
            out.push('&');
        }
        for (part, after) in [(key, "="), (value, "")] {
            let part = text(state, &part)?;
            pay(state, part.len())?;
            quoted(&part, true, &mut out);
            out.push_str(after);
        }
    }
    Ok(Value::from(out))
}

fn default(_: &State<'_, '_>, value: &Value, given: Given) -> Result<Value, Error> {
    let args = Args::new(&given.into_values(), &["default_value", "boolean"])?;
    if !(value.is_undefined() || (args.truth(1) && !value.is_true())) {
        return Ok(value.clone());
    }
    let instead = match args.needed(0) {
        Ok(value) => value.clone(),
        Err(_) => Value::from(""),
    };
    Ok(instead)
}
