//! What conversations can bring of a control token besides its brackets: its name, as a key that a
//! template writes between brackets of its own (`<{{ key }}>`), and tags that are brackets and names
//! at once.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

use crate::tokenize::Tokenizer;

/// Characters of a name between brackets.
fn in_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '/' | '_' | '\u{2581}')
}

fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// The control tokens' texts without what they have at their ends but letters and digits, in small
/// letters.
pub(super) struct Names {
    names: HashSet<Vec<char>>,
    lengths: BTreeSet<usize>,
}

impl Names {
    pub(super) fn new(tokenizer: &Tokenizer) -> Self {
        let mut names = HashSet::new();
        for text in tokenizer.control_texts() {
            let name = text.trim_matches(|c: char| !c.is_alphanumeric());
            if !name.is_empty() {
                names.insert(name.chars().map(lower).collect::<Vec<_>>());
            }
        }
        let lengths = names.iter().map(Vec::len).collect();
        Self { names, lengths }
    }

    /// Where names stand in `text`, ignoring case, with no letters or digits beside them: the byte
    /// offset of one character of each, ascending. It has no case if there is such a one, so that
    /// `lower` works on the name as ever.
    pub(super) fn places(&self, text: &str) -> Vec<usize> {
        let small: Vec<char> = text.chars().map(lower).collect();
        let chars: Vec<(usize, char)> = text.char_indices().collect();
        let word = |index: Option<usize>| {
            index
                .and_then(|index| small.get(index))
                .is_some_and(|c| c.is_alphanumeric())
        };
        let mut places = Vec::new();
        for start in (0..chars.len()).filter(|&at| word(Some(at)) && !word(at.checked_sub(1))) {
            let name = self.lengths.iter().find_map(|len| {
                let end = start.saturating_add(*len);
                let named = self.names.contains(small.get(start..end)?);
                (named && !word(Some(end))).then(|| &chars[start..end])
            });
            let Some(name) = name else { continue };
            let caseless = |(_, c): &&(usize, char)| !c.is_uppercase() && !c.is_lowercase();
            places.extend(
                name.iter()
                    .find(caseless)
                    .or(name.first())
                    .map(|(at, _)| *at),
            );
        }
        places
    }
}

/// Tags such as `</think>` that are literally in a template's source, which looks for them in what the
/// model said.
pub(super) struct Tags(BTreeSet<String>);

impl Tags {
    pub(super) fn new(tokenizer: &Tokenizer, source: &str) -> Self {
        let bracket = |c: char| tokenizer.brackets().binary_search(&c).is_ok();
        let mut tags = BTreeSet::new();
        for (at, _) in source.char_indices().filter(|&(_, c)| bracket(c)) {
            let inside = source[at..].trim_start_matches(bracket);
            let after = inside.trim_start_matches(in_name);
            if after.len() == inside.len() {
                continue;
            }
            let end = source.len() - after.len();
            let closing = after.char_indices().take_while(|&(_, c)| bracket(c));
            tags.extend(closing.map(|(i, c)| source[at..end + i + c.len_utf8()].to_owned()));
        }
        Self(tags)
    }

    /// The bytes that tags take in `text`, ascending.
    pub(super) fn found(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let mut end = 0;
        for (at, _) in text.char_indices() {
            if at < end {
                continue;
            }
            let here = self.0.iter().filter(|tag| text[at..].starts_with(*tag));
            if let Some(len) = here.map(String::len).max() {
                end = at + len;
                found.push(at..end);
            }
        }
        found
    }
}
