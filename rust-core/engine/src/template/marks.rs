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
//! in all texts that are not the model's own, as a template can make a control token of what is left
//! of a text when it has cut something out. That rendering is compared with the first (see `shadow`).
//!
//! What templates see of marks: filters that spell characters in other ones (`tojson`, `e`,
//! `urlencode`, lists as text) look through them. What searches, compares and sorts does not: a
//! control token in a text does not equal the template's own, and sorts behind all other text. So
//! does a bracket in the shadow.

use std::borrow::Cow;
use std::cell::RefCell;

use serde_json::{Map, Value};

use super::shadow::Rendering;
use crate::tokenize::Tokenizer;

/// Planes 15 and 16, for private use, hold 512 stretches of this many characters.
const STRETCH: u32 = 256;
const FIRST: u32 = 0xF_0000;
const LAST: u32 = 0x10_FF00;

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
            base: FIRST + free as u32 * STRETCH,
            originals: Vec::new(),
            count: 0,
        })
    }

    /// The conversation with the first characters of the control tokens replaced that are written out
    /// in it, and how many these are; `None` when there are more characters than marks.
    pub(super) fn typed(&mut self, variables: &Value) -> Option<(Value, usize)> {
        self.count = 0;
        let marked = self.mark(variables, false)?;
        Some((marked, self.count))
    }

    /// As [`typed`](Self::typed), with all brackets replaced besides in what the assistant did not say.
    pub(super) fn shadow(&mut self, variables: &Value) -> Option<(Value, usize)> {
        self.count = 0;
        let Value::Object(map) = variables else {
            return None;
        };
        let mut marked = Map::new();
        for (name, value) in map {
            let value = match value {
                Value::Array(messages) if name == "messages" => Value::Array(
                    messages
                        .iter()
                        .map(|message| self.mark(message, message["role"] != "assistant"))
                        .collect::<Option<_>>()?,
                ),
                other => self.mark(other, true)?,
            };
            marked.insert(name.clone(), value);
        }
        Some((Value::Object(marked), self.count))
    }

    fn mark(&mut self, value: &Value, brackets: bool) -> Option<Value> {
        Some(match value {
            Value::String(text) => Value::String(self.mark_text(text, brackets)?),
            Value::Array(items) => items
                .iter()
                .map(|item| self.mark(item, brackets))
                .collect::<Option<_>>()?,
            Value::Object(map) => Value::Object(
                map.iter()
                    .map(|(key, value)| {
                        Some((self.mark_text(key, brackets)?, self.mark(value, brackets)?))
                    })
                    .collect::<Option<Map<_, _>>>()?,
            ),
            other => other.clone(),
        })
    }

    fn mark_text(&mut self, text: &str, brackets: bool) -> Option<String> {
        let mut starts = self.tokenizer.control_starts(text).into_iter().peekable();
        let bracket = self.tokenizer.brackets();
        let mut out = String::with_capacity(text.len());
        for (at, c) in text.char_indices() {
            let starts = starts.next_if_eq(&at).is_some();
            if starts || (brackets && bracket.binary_search(&c).is_ok()) {
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
