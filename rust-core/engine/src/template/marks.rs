//! Keeps control tokens that stand in messages from acting as control tokens.
//!
//! A user can type `<|im_end|>`. Once rendered, that is the same text as the template's own, so
//! what came from where has to be marked before. Wrapping messages in marks would change what
//! templates see (`trim`, `split`, comparisons), so characters are replaced, one for one, by
//! private-use characters that stand nowhere else. After rendering the characters are put back, and
//! their places are where no control token may begin, end or pass.
//!
//! There are two ways to mark. [`Marks::typed`] replaces the first character of each control token
//! that is written out in a text, which a template could have no honest use for: a conversation
//! without such text renders as always. [`Marks::shadow`] replaces besides each bracket, such as `<`,
//! in all texts, as a template can make a control token of what is left of a text when it has cut
//! something out; and a character of each name of a control token, such as `im_end` (see `names`), in
//! the keys of arguments and schemas, around which templates write brackets of their own. That rendering is compared with the first (see `shadow`). What
//! the model said keeps the tags that the template's source has literally, as templates look there for
//! `</think>`.
//!
//! What templates see of marks: filters that spell characters in other ones (`tojson`, `e`,
//! `urlencode`, lists as text) look through them. What searches, compares and sorts does not: a
//! control token in a text does not equal the template's own, and sorts behind all other text. So
//! do brackets and names in the shadow.

use std::borrow::Cow;
use std::cell::RefCell;

use serde_json::{Map, Value};

use super::names::{Names, Tags};
use super::shadow::Rendering;
use crate::tokenize::Tokenizer;

/// Planes 15 and 16, for private use, hold 512 stretches of this many characters.
const STRETCH: u32 = 256;
const FIRST: u32 = 0xF_0000;
const LAST: u32 = 0x10_FF00;

/// Keys of a tool's definition that templates ask for.
const KEYS: [&str; 12] = [
    "type",
    "function",
    "name",
    "description",
    "parameters",
    "properties",
    "required",
    "items",
    "enum",
    "default",
    "return",
    "strict",
];
/// What stands as `type` in such a definition.
const TYPES: [&str; 8] = [
    "function", "object", "array", "string", "number", "integer", "boolean", "null",
];

/// What of a text to mark besides the control tokens that are written out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// Nothing.
    Typed,
    /// Brackets.
    Shadow,
    /// Brackets, and names of control tokens.
    Key,
    /// The same but for the template's tags, in what the model said.
    Said,
}

thread_local! {
    static ACTIVE: RefCell<Option<(u32, Vec<char>)>> = const { RefCell::new(None) };
}

/// What a character stands for in the rendering on this thread: itself, unless it is a mark.
pub(super) fn original(c: char) -> char {
    if u32::from(c) < FIRST {
        return c;
    }
    ACTIVE.with_borrow(|active| {
        let meant = active
            .as_ref()
            .and_then(|(base, originals)| meant(c, *base, originals));
        meant.unwrap_or(c)
    })
}

/// A text with what its marks stand for.
pub(super) fn without_marks(text: &str) -> Cow<'_, str> {
    if text.chars().any(|c| original(c) != c) {
        Cow::Owned(text.chars().map(original).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// Puts marks back where Python's `repr` spelled them as `\U` and eight digits.
pub(super) fn unspell(repr: String) -> String {
    if ACTIVE.with_borrow(Option::is_none) || !repr.contains("\\U") {
        return repr;
    }
    let mut out = String::with_capacity(repr.len());
    let mut rest = repr.as_str();
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let mark = rest
            .strip_prefix("\\U")
            .and_then(|digits| digits.get(..8))
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .and_then(char::from_u32)
            .filter(|&c| original(c) != c);
        let next = rest[1..].chars().next().map_or(0, char::len_utf8);
        let len = match mark {
            Some(mark) => {
                out.push(mark);
                10
            }
            None => {
                out.push_str(&rest[..1 + next]);
                1 + next
            }
        };
        rest = &rest[len..];
    }
    out.push_str(rest);
    out
}

fn meant(c: char, base: u32, originals: &[char]) -> Option<char> {
    let index = u32::from(c).wrapping_sub(base) as usize;
    originals.get(index).copied()
}

/// The marks are known on this thread as long as this lives.
pub(super) struct Active;

impl Drop for Active {
    fn drop(&mut self) {
        ACTIVE.set(None);
    }
}

/// The replacement characters of one conversation.
pub(super) struct Marks<'t> {
    tokenizer: &'t Tokenizer,
    names: Names,
    tags: Tags,
    base: u32,
    /// The character that `base + index` stands for.
    originals: Vec<char>,
    /// Characters replaced so far.
    count: usize,
}

fn each_string(value: &Value, visit: &mut dyn FnMut(&str)) {
    match value {
        Value::String(text) => visit(text),
        Value::Array(items) => items.iter().for_each(|item| each_string(item, visit)),
        Value::Object(map) => {
            for (key, value) in map {
                visit(key);
                each_string(value, visit);
            }
        }
        _ => {}
    }
}

impl<'t> Marks<'t> {
    /// Chooses characters that stand neither in `context` nor in `source`; `None` if all are
    /// taken.
    pub(super) fn new(tokenizer: &'t Tokenizer, context: &Value, source: &str) -> Option<Self> {
        let mut taken = vec![false; ((LAST - FIRST) / STRETCH) as usize + 1];
        let mut note = |text: &str| {
            for c in text.chars().map(u32::from).filter(|&c| c >= FIRST) {
                taken[((c - FIRST) / STRETCH) as usize] = true;
            }
        };
        note(source);
        each_string(context, &mut note);
        let free = taken.iter().position(|&taken| !taken)?;
        Some(Self {
            tokenizer,
            names: Names::new(tokenizer),
            tags: Tags::new(tokenizer, source),
            base: FIRST + free as u32 * STRETCH,
            originals: Vec::new(),
            count: 0,
        })
    }

    /// The conversation with the first characters of the control tokens replaced that are written out
    /// in it, and how many these are; `None` when there are more characters than marks.
    pub(super) fn typed(&mut self, variables: &Value) -> Option<(Value, usize)> {
        self.count = 0;
        let marked = self.mark(variables, How::Typed)?;
        Some((marked, self.count))
    }

    /// As [`typed`](Self::typed), with all brackets replaced besides, and in keys the names of control
    /// tokens, but for those that the template's own words need: see [`Tags`] and [`KEYS`].
    pub(super) fn shadow(&mut self, variables: &Value) -> Option<(Value, usize)> {
        self.count = 0;
        let Value::Object(map) = variables else {
            return None;
        };
        let mut marked = Map::new();
        for (name, value) in map {
            let value = match (name.as_str(), value) {
                ("messages", Value::Array(messages)) => self.each(messages, Self::message)?,
                ("tools", Value::Array(tools)) => {
                    self.each(tools, |marks, tool| marks.schema(tool, false))?
                }
                _ => self.mark(value, How::Shadow)?,
            };
            marked.insert(name.clone(), value);
        }
        Some((Value::Object(marked), self.count))
    }

    fn each(
        &mut self,
        items: &[Value],
        mut mark: impl FnMut(&mut Self, &Value) -> Option<Value>,
    ) -> Option<Value> {
        let marked: Option<Vec<Value>> = items.iter().map(|item| mark(self, item)).collect();
        marked.map(Value::Array)
    }

    /// A message as [`Message::to_value`](super::Message) makes it. Its keys and role are ours.
    fn message(&mut self, message: &Value) -> Option<Value> {
        let said = message["role"] == "assistant";
        self.object(message, |marks, key, value| match (key, value) {
            ("role", role) => Some(role.clone()),
            ("content" | "reasoning_content", text) if said => marks.mark(text, How::Said),
            ("tool_calls", Value::Array(calls)) => marks.each(calls, Self::call),
            (_, value) => marks.mark(value, How::Shadow),
        })
    }

    fn call(&mut self, call: &Value) -> Option<Value> {
        self.object(call, |marks, key, value| match key {
            "type" => Some(value.clone()),
            "function" => marks.object(value, |marks, _, value| marks.mark(value, How::Shadow)),
            _ => marks.mark(value, How::Shadow),
        })
    }

    /// A definition of a tool or part of it; `named` if its keys are names that somebody chose.
    fn schema(&mut self, value: &Value, named: bool) -> Option<Value> {
        match value {
            Value::Array(items) => self.each(items, |marks, item| marks.schema(item, false)),
            Value::Object(map) => {
                let mut marked = Map::new();
                for (key, value) in map {
                    let known = !named && KEYS.contains(&key.as_str());
                    let name = if known {
                        key.clone()
                    } else {
                        self.mark_text(key, How::Key)?
                    };
                    let value = match value.as_str() {
                        Some(kind) if known && key == "type" && TYPES.contains(&kind) => {
                            value.clone()
                        }
                        _ => self.schema(value, known && key == "properties")?,
                    };
                    marked.insert(name, value);
                }
                Some(Value::Object(marked))
            }
            other => self.mark(other, How::Shadow),
        }
    }

    fn object(
        &mut self,
        value: &Value,
        mut mark: impl FnMut(&mut Self, &str, &Value) -> Option<Value>,
    ) -> Option<Value> {
        let Value::Object(map) = value else {
            return self.mark(value, How::Shadow);
        };
        let mut marked = Map::new();
        for (key, value) in map {
            marked.insert(key.clone(), mark(self, key, value)?);
        }
        Some(Value::Object(marked))
    }

    fn mark(&mut self, value: &Value, how: How) -> Option<Value> {
        Some(match value {
            Value::String(text) => Value::String(self.mark_text(text, how)?),
            Value::Array(items) => self.each(items, |marks, item| marks.mark(item, how))?,
            Value::Object(map) => {
                let of_key = if how == How::Typed { how } else { How::Key };
                let mut marked = Map::new();
                for (key, value) in map {
                    marked.insert(self.mark_text(key, of_key)?, self.mark(value, how)?);
                }
                Value::Object(marked)
            }
            other => other.clone(),
        })
    }

    fn mark_text(&mut self, text: &str, how: How) -> Option<String> {
        let mut starts = self.tokenizer.control_starts(text);
        if how != How::Typed {
            let bracket = self.tokenizer.brackets();
            let tags = match how {
                How::Said => self.tags.found(text),
                _ => Vec::new(),
            };
            let tagged = |at: usize| {
                let next = tags.partition_point(|tag| tag.end <= at);
                tags.get(next).is_some_and(|tag| tag.contains(&at))
            };
            let brackets = text
                .char_indices()
                .filter(|(_, c)| bracket.binary_search(c).is_ok());
            starts.extend(brackets.map(|(at, _)| at).filter(|&at| !tagged(at)));
            if how == How::Key {
                starts.extend(self.names.places(text));
            }
            starts.sort_unstable();
            starts.dedup();
        }
        let mut starts = starts.into_iter().peekable();
        let mut out = String::with_capacity(text.len());
        for (at, c) in text.char_indices() {
            if starts.next_if_eq(&at).is_some() {
                out.push(self.mark_of(c)?);
                self.count += 1;
            } else {
                out.push(c);
            }
        }
        Some(out)
    }

    fn mark_of(&mut self, c: char) -> Option<char> {
        let index = match self.originals.iter().position(|&original| original == c) {
            Some(index) => index,
            None => {
                self.originals.push(c);
                self.originals.len() - 1
            }
        };
        let index = u32::try_from(index).ok().filter(|&i| i < STRETCH)?;
        char::from_u32(self.base + index)
    }

    /// Makes the marks known to what is called on this thread.
    pub(super) fn activate(&self) -> Active {
        ACTIVE.set(Some((self.base, self.originals.clone())));
        Active
    }

    /// Puts the characters back.
    pub(super) fn restore(&self, rendered: &str) -> Rendering {
        let mut text = String::with_capacity(rendered.len());
        let mut places = Vec::new();
        for c in rendered.chars() {
            match meant(c, self.base, &self.originals) {
                Some(original) => {
                    places.push(text.len());
                    text.push(original);
                }
                None => text.push(c),
            }
        }
        Rendering { text, places }
    }
}
