//! Keeps control tokens that stand in messages from acting as control tokens.
//!
//! A user can type `<|im_end|>`. Once rendered, that is the same text as the template's own, so
//! what came from where has to be marked before. Wrapping messages in marks would change what
//! templates see (`trim`, `split`, comparisons). So only the first character of each control
//! token written out in a message is replaced, one for one, by a private-use character that
//! stands nowhere else. After rendering the characters are put back, and their places are where
//! no control token may begin, end or pass. A conversation without such text renders as always.

use serde_json::{Map, Value};

use crate::tokenize::Tokenizer;

/// Planes 15 and 16, for private use, hold 512 stretches of this many characters.
const STRETCH: u32 = 256;
const FIRST: u32 = 0xF_0000;
const LAST: u32 = 0x10_FF00;

/// The replacement characters of one rendering.
pub(super) struct Marks<'t> {
    tokenizer: &'t Tokenizer,
    base: u32,
    /// The character that `base + index` stands for.
    originals: Vec<char>,
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
        })
    }

    /// Marks every string in `value`; `None` when there are more first characters than marks.
    pub(super) fn mark(&mut self, value: &Value) -> Option<Value> {
        Some(match value {
            Value::String(text) => Value::String(self.mark_text(text)?),
            Value::Array(items) => items
                .iter()
                .map(|item| self.mark(item))
                .collect::<Option<_>>()?,
            Value::Object(map) => Value::Object(
                map.iter()
                    .map(|(key, value)| Some((self.mark_text(key)?, self.mark(value)?)))
                    .collect::<Option<Map<_, _>>>()?,
            ),
            other => other.clone(),
        })
    }

    fn mark_text(&mut self, text: &str) -> Option<String> {
        let mut out = String::with_capacity(text.len());
        let mut copied = 0;
        for start in self.tokenizer.control_starts(text) {
            let c = text[start..].chars().next()?;
            let index = match self.originals.iter().position(|&o| o == c) {
                Some(index) => index,
                None => {
                    self.originals.push(c);
                    self.originals.len() - 1
                }
            };
            let index = u32::try_from(index).ok().filter(|&i| i < STRETCH)?;
            out.push_str(&text[copied..start]);
            out.push(char::from_u32(self.base + index)?);
            copied = start + c.len_utf8();
        }
        out.push_str(&text[copied..]);
        Some(out)
    }

    /// Puts the characters back, and says where in the result they are: ascending byte offsets.
    pub(super) fn restore(&self, rendered: &str) -> (String, Vec<usize>) {
        let mut out = String::with_capacity(rendered.len());
        let mut places = Vec::new();
        for c in rendered.chars() {
            let index = u32::from(c).wrapping_sub(self.base) as usize;
            match self.originals.get(index) {
                Some(&original) => {
                    places.push(out.len());
                    out.push(original);
                }
                None => out.push(c),
            }
        }
        (out, places)
    }
}
