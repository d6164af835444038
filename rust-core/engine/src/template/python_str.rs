//! The methods of Python's strings that minijinja-contrib lacks, or that do less there.
//!
//! Python counts characters where Rust counts bytes, and knows more line ends and spaces.

use std::collections::HashSet;
use std::sync::LazyLock;

use minijinja::value::Tuple;
use minijinja::{Error, State, Value};
use regex_automata::meta::Regex;

use super::args::Args;
use super::marks::without_marks;
use super::python::pay;
use super::refusal::refused;

/// What `str.isspace` holds true.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn is_line_end(c: char) -> bool {
    matches!(c, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// The part `text[start:end]`, counted in characters, with the number of characters before it.
/// `None` where Python finds nothing there, not even an empty string.
fn part(text: &str, start: Option<i64>, end: Option<i64>) -> Option<(usize, &str)> {
    if start.is_none() && end.is_none() {
        return Some((0, text));
    }
    let count = text.chars().count();
    let place = |place: i64| match usize::try_from(place) {
        Ok(place) => place,
        Err(_) => count.saturating_sub(usize::try_from(place.unsigned_abs()).unwrap_or(usize::MAX)),
    };
    let start = start.map_or(0, place);
    let end = end.map_or(count, place).min(count);
    if start > end {
        return None;
    }
    let byte = |place: usize| {
        text.char_indices()
            .nth(place)
            .map_or(text.len(), |(at, _)| at)
    };
    Some((start, &text[byte(start)..byte(end)]))
}

/// `find`, `rfind`, `index`, `rindex`.
fn find(text: &str, name: &str, args: &[Value]) -> Result<Value, Error> {
    let args = Args::new(args, &["sub", "start", "end"])?;
    let wanted = args.needed_text(0)?;
    let found = part(text, args.integer(1)?, args.integer(2)?).and_then(|(before, part)| {
        let at = if name.starts_with('r') {
            part.rfind(wanted)
        } else {
            part.find(wanted)
        };
        Some(before + part[..at?].chars().count())
    });
    match found {
        Some(place) => Ok(Value::from(place)),
        None if name.ends_with("index") => Err(refused("index: the substring is not there")),
        None => Ok(Value::from(-1)),
    }
}

/// `startswith`, `endswith`.
fn edge(text: &str, name: &str, args: &[Value]) -> Result<Value, Error> {
    let args = Args::new(args, &["prefix", "start", "end"])?;
    let wanted = args.needed(0)?;
    let part = part(text, args.integer(1)?, args.integer(2)?);
    let holds = |wanted: &str| {
        part.is_some_and(|(_, part)| {
            if name == "startswith" {
                part.starts_with(wanted)
            } else {
                part.ends_with(wanted)
            }
        })
    };
    let wrong = || refused("startswith and endswith take a string or a tuple of strings");
    if let Some(wanted) = wanted.as_str() {
        return Ok(Value::from(holds(wanted)));
    }
    if !wanted.is_tuple() {
        return Err(wrong());
    }
    for wanted in wanted.try_iter()? {
        if holds(wanted.as_str().ok_or_else(wrong)?) {
            return Ok(Value::from(true));
        }
    }
    Ok(Value::from(false))
}

/// `split` and `rsplit`.
fn split(text: &str, from_end: bool, args: &[Value]) -> Result<Value, Error> {
    let args = Args::new(args, &["sep", "maxsplit"])?;
    let most = args
        .integer(1)?
        .and_then(|most| usize::try_from(most).ok())
        .unwrap_or(usize::MAX);
    let mut parts: Vec<&str> = match args.text(0)? {
        Some("") => return Err(refused("split: the separator is empty")),
        Some(separator) if from_end => text.rsplitn(most.saturating_add(1), separator).collect(),
        Some(separator) => text.splitn(most.saturating_add(1), separator).collect(),
        None => split_at_spaces(text, from_end, most),
    };
    if from_end {
        parts.reverse();
    }
    Ok(parts.into_iter().map(Value::from).collect())
}

/// At runs of spaces, from the side given, at most `most` times.
fn split_at_spaces(text: &str, from_end: bool, most: usize) -> Vec<&str> {
    let trim = |text: &'_ str| -> usize {
        if from_end {
            text.trim_end_matches(is_space).len()
        } else {
            text.len() - text.trim_start_matches(is_space).len()
        }
    };
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let at = trim(rest);
        rest = if from_end { &rest[..at] } else { &rest[at..] };
        if rest.is_empty() {
            return parts;
        }
        if parts.len() == most {
            parts.push(rest);
            return parts;
        }
        if from_end {
            let word = rest
                .char_indices()
                .rfind(|&(_, c)| is_space(c))
                .map_or(0, |(at, c)| at + c.len_utf8());
            parts.push(&rest[word..]);
            rest = &rest[..word];
        } else {
            let word = rest.find(is_space).unwrap_or(rest.len());
            parts.push(&rest[..word]);
            rest = &rest[word..];
        }
    }
}

/// The lines of a text, as `str.splitlines` cuts them.
pub(super) fn lines(text: &str, keep_ends: bool) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(is_line_end) {
        let end = rest[at..].chars().next().map_or(0, char::len_utf8);
        let end = at
            + if rest[at..].starts_with("\r\n") {
                2
            } else {
                end
            };
        lines.push(&rest[..if keep_ends { end } else { at }]);
        rest = &rest[end..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

/// `strip`, `lstrip`, `rstrip`.
pub(super) fn strip<'t>(text: &'t str, name: &str, args: &[Value]) -> Result<&'t str, Error> {
    let args = Args::new(args, &["chars"])?;
    let chars: Option<HashSet<char>> = args.text(0)?.map(|chars| chars.chars().collect());
    let strips = |c: char| {
        chars
            .as_ref()
            .map_or_else(|| is_space(c), |chars| chars.contains(&c))
    };
    Ok(match name {
        "strip" => text.trim_matches(strips),
        "lstrip" => text.trim_start_matches(strips),
        _ => text.trim_end_matches(strips),
    })
}

fn cased(c: char) -> bool {
    c.is_lowercase() || c.is_uppercase()
}

fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        inside = cased(c);
    }
    out
}

fn is_title(text: &str) -> bool {
    let (mut inside, mut any) = (false, false);
    for c in text.chars() {
        if (c.is_uppercase() && inside) || (c.is_lowercase() && !inside) {
            return false;
        }
        inside = cased(c);
        any |= inside;
    }
    any
}

/// `ljust`, `rjust`, `center`, `zfill`, and the filter `center`.
///
/// # Errors
/// When the template cannot pay for the width, or the filling is not one character.
pub(super) fn pad(
    state: &State<'_, '_>,
    text: &str,
    name: &str,
    width: i64,
    fill: Option<&str>,
) -> Result<String, Error> {
    let mut fills = fill.unwrap_or(" ").chars();
    let (Some(fill), None) = (fills.next(), fills.next()) else {
        return Err(refused("the filling is not one character"));
    };
    let width = usize::try_from(width).unwrap_or(0);
    let missing = width.saturating_sub(text.chars().count());
    pay(state, missing.saturating_mul(fill.len_utf8()))?;
    let filling = |count: usize| std::iter::repeat_n(fill, count);
    let (before, sign, body, after) = match name {
        "ljust" => (0, "", text, missing),
        "rjust" => (missing, "", text, 0),
        "center" => {
            let before = missing / 2 + (missing & width & 1);
            (before, "", text, missing - before)
        }
        _ => {
            let body = text.strip_prefix(['+', '-']).unwrap_or(text);
            return Ok(text[..text.len() - body.len()]
                .chars()
                .chain(std::iter::repeat_n('0', missing))
                .chain(body.chars())
                .collect());
        }
    };
    Ok(sign
        .chars()
        .chain(filling(before))
        .chain(body.chars())
        .chain(filling(after))
        .collect())
}

fn expand_tabs(state: &State<'_, '_>, text: &str, size: usize) -> Result<String, Error> {
    let mut out = String::with_capacity(text.len());
    let mut column = 0;
    for c in text.chars() {
        match c {
            '\t' => {
                let spaces = size.saturating_sub(column % size.max(1));
                pay(state, spaces)?;
                out.extend(std::iter::repeat_n(' ', spaces));
                column += spaces;
            }
            '\n' | '\r' => {
                out.push(c);
                column = 0;
            }
            _ => {
                out.push(c);
                column += 1;
            }
        }
    }
    Ok(out)
}

/// Whether all of a text is of one of the classes that Rust's `char` does not tell apart.
pub(super) fn is_all(text: &str, name: &str) -> bool {
    static CLASSES: LazyLock<Option<[Regex; 4]>> = LazyLock::new(|| {
        Some([
            Regex::new(r"^\p{Nd}+$").ok()?,
            Regex::new(r"^[\p{Nd}²³¹⁰⁴-⁹₀-₉]+$").ok()?,
            Regex::new(r"^[\p{L}\p{Nl}_][\p{L}\p{Nl}\p{Mn}\p{Mc}\p{Nd}\p{Pc}]*$").ok()?,
            Regex::new(r"^[^\p{C}\p{Z}]*$").ok()?,
        ])
    });
    let Some([decimal, digit, identifier, printable]) = CLASSES.as_ref() else {
        return false;
    };
    let text = without_marks(text);
    let text = text.as_ref();
    // `$` holds at the very end alone.
    match name {
        "isdecimal" => decimal.is_match(text),
        "isdigit" => digit.is_match(text),
        "isidentifier" => identifier.is_match(text),
        _ => printable.is_match(&text.replace(' ', "")),
    }
}

fn swap_case(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_uppercase() {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
    }
    out
}

/// The foldings that differ from lower case and stand in ordinary text.
fn case_fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            'ß' | 'ẞ' => out.push_str("ss"),
            'ς' => out.push('σ'),
            c => out.extend(c.to_lowercase()),
        }
    }
    out
}

fn partition(text: &str, last: bool, args: &[Value]) -> Result<Value, Error> {
    let args = Args::new(args, &["sep"])?;
    let separator = args.needed_text(0)?;
    if separator.is_empty() {
        return Err(refused("partition: the separator is empty"));
    }
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
    Ok(Value::from(Tuple::from(parts.map(Value::from).to_vec())))
}

/// A method of a string; `None` for those that minijinja-contrib has.
pub(super) fn string_method(
    state: &State<'_, '_>,
    text: &str,
    name: &str,
    args: &[Value],
) -> Result<Option<Value>, Error> {
    let none = || Args::new(args, &[]);
    Ok(Some(match name {
        "find" | "rfind" | "index" | "rindex" => find(text, name, args)?,
        "startswith" | "endswith" => edge(text, name, args)?,
        "split" | "rsplit" => split(text, name == "rsplit", args)?,
        "partition" | "rpartition" => partition(text, name == "rpartition", args)?,
        "strip" | "lstrip" | "rstrip" => Value::from(strip(text, name, args)?),
        "splitlines" => {
            let keep_ends = Args::new(args, &["keepends"])?.truth(0);
            lines(text, keep_ends)
                .into_iter()
                .map(Value::from)
                .collect()
        }
        "count" => {
            let args = Args::new(args, &["sub", "start", "end"])?;
            let wanted = args.needed_text(0)?;
            let part = part(text, args.integer(1)?, args.integer(2)?);
            Value::from(part.map_or(0, |(_, part)| part.matches(wanted).count()))
        }
        "replace" => {
            let args = Args::new(args, &["old", "new", "count"])?;
            let (old, new) = (args.needed_text(0)?, args.needed_text(1)?);
            // At most this many places: one more than bytes where `old` is empty.
            let places = text.len() / old.len().max(1) + 1;
            pay(state, places.saturating_mul(new.len()))?;
            let most = args.integer(2)?.and_then(|most| usize::try_from(most).ok());
            Value::from(text.replacen(old, new, most.unwrap_or(usize::MAX)))
        }
        "join" => {
            let args = Args::new(args, &["iterable"])?;
            let items = args.needed(0)?;
            if items.is_none() {
                return Err(refused("join: none cannot be walked"));
            }
            let mut out = String::new();
            for (index, item) in items.try_iter()?.enumerate() {
                let item = item
                    .as_str()
                    .ok_or_else(|| refused("join: an item is no string"))?;
                pay(state, text.len() + item.len())?;
                if index > 0 {
                    out.push_str(text);
                }
                out.push_str(item);
            }
            Value::from(out)
        }
        "ljust" | "rjust" | "center" | "zfill" => {
            let args = Args::new(args, &["width", "fillchar"])?;
            let width = i64::try_from(args.needed(0)?.clone())?;
            Value::from(pad(state, text, name, width, args.text(1)?)?)
        }
        "expandtabs" => {
            let size = Args::new(args, &["tabsize"])?.integer(0)?.unwrap_or(8);
            Value::from(expand_tabs(
                state,
                text,
                usize::try_from(size).unwrap_or(0),
            )?)
        }
        "removeprefix" | "removesuffix" => {
            let args = Args::new(args, &["affix"])?;
            let affix = args.needed_text(0)?;
            let rest = if name == "removeprefix" {
                text.strip_prefix(affix)
            } else {
                text.strip_suffix(affix)
            };
            Value::from(rest.unwrap_or(text))
        }
        "title" => none().map(|_| Value::from(title(text)))?,
        "istitle" => none().map(|_| Value::from(is_title(text)))?,
        "swapcase" => none().map(|_| Value::from(swap_case(text)))?,
        "casefold" => none().map(|_| Value::from(case_fold(text)))?,
        "isspace" => {
            none()?;
            Value::from(!text.is_empty() && text.chars().all(is_space))
        }
        "isdecimal" | "isdigit" | "isidentifier" | "isprintable" => {
            none()?;
            Value::from(is_all(text, name))
        }
        _ => return Ok(None),
    }))
}
