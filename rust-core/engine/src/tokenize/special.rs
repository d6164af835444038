//! Finds special tokens that are written out in a text.
//!
//! llama.cpp takes the special tokens from the longest to the shortest and cuts each out of
//! the text wherever it still stands free, left to right. Done like that it is one search
//! of the text per token, of which Gemma has 6,414. Here the places are found in one pass and
//! then taken in the same order: by length, then by place.
//!
//! White space beside a token goes with it where [`Strips`] says so.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::ops::Range;

use super::prefixes::{NONE, Prefixes};
use super::strip::{Strips, is_space};
use super::vocabulary::{Kind, Vocabulary};
use crate::error::Result;

/// A part of a text: a special token, or what lies between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fragment {
    Text(Range<usize>),
    Token(u32),
}

/// What a token may have at its ends that words do not have; `/` and `_` stand in words of commands
/// and names.
fn is_bracket(c: char) -> bool {
    !c.is_alphanumeric() && !c.is_whitespace() && !matches!(c, '/' | '_' | '\u{2581}')
}

/// The tokens that are matched in the text itself.
pub(super) struct Specials {
    /// User-defined tokens.
    always: Prefixes,
    /// Control and unknown tokens.
    control: Prefixes,
    strips: Strips,
    brackets: Box<[char]>,
}

/// A place of the text where a token could stand. The order of the fields is the order in which
/// places are taken: the longest token first, then the smallest id, then from the left.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    len: usize,
    id: Reverse<u32>,
    at: Reverse<usize>,
    /// The longest in each of the two sets that could stand here.
    always: u32,
    control: u32,
}

impl Specials {
    /// # Errors
    /// [`Error::CorruptModel`](crate::Error::CorruptModel) for a special token of more than 16 KiB.
    pub(super) fn new(vocabulary: &Vocabulary, strips: Strips) -> Result<Self> {
        let of_kinds = |kinds: &'static [Kind]| {
            let ids = 0..vocabulary.len() as u32;
            ids.filter(|&id| kinds.contains(&vocabulary.kind(id)))
        };
        let mut brackets = BTreeSet::new();
        for id in of_kinds(&[Kind::Control, Kind::Unknown]) {
            let piece = vocabulary.piece(id);
            let opening = piece.chars().take_while(|&c| is_bracket(c));
            let closing = piece.chars().rev().take_while(|&c| is_bracket(c));
            brackets.extend(opening.chain(closing));
        }
        Ok(Self {
            always: Prefixes::new(vocabulary, of_kinds(&[Kind::UserDefined]))?,
            control: Prefixes::new(vocabulary, of_kinds(&[Kind::Control, Kind::Unknown]))?,
            strips,
            brackets: brackets.into_iter().collect(),
        })
    }

    /// The special tokens in `text` and the bytes that they take, with the white space that they
    /// strip; ascending. Control and unknown tokens count only where `control` says so for the bytes
    /// that are their own, and for some bytes it must say so if it does for these and more behind
    /// them.
    fn find(
        &self,
        vocabulary: &Vocabulary,
        text: &str,
        control: impl Fn(Range<usize>) -> bool,
    ) -> BTreeMap<usize, (usize, u32)> {
        let bytes = text.as_bytes();
        let len = |id: u32| vocabulary.piece(id).len();
        // The longest token of no more than `room` bytes: of the two sets, equal pieces of both
        // being the one with the greater id.
        let longest = |at: usize, always: u32, asked: u32, room: usize| {
            let always = self.always.within(always, |id| len(id) <= room);
            let asked = self
                .control
                .within(asked, |id| len(id) <= room && control(at..at + len(id)));
            let of_set = |set: &Prefixes, place| (place != NONE).then(|| set.id(place));
            let ids = [of_set(&self.always, always), of_set(&self.control, asked)];
            let (len, id) = ids.into_iter().flatten().map(|id| (len(id), id)).max()?;
            Some(Waiting {
                len,
                id: Reverse(id),
                at: Reverse(at),
                always,
                control: asked,
            })
        };
        // Per place only the longest token waits; a shorter one takes its turn when that fails.
        let mut waiting = BinaryHeap::new();
        for (at, rest) in (0..bytes.len()).map(|at| (at, &bytes[at..])) {
            let always = self.always.longest(vocabulary, rest);
            let asked = match control(at..at + 1) {
                true => self.control.longest(vocabulary, rest),
                false => NONE,
            };
            waiting.extend(longest(at, always, asked, rest.len()));
        }
        // What is taken: where it begins, where it ends, and by which token.
        let mut taken: BTreeMap<usize, (usize, u32)> = BTreeMap::new();
        while let Some(place) = waiting.pop() {
            let (Reverse(at), Reverse(id)) = (place.at, place.id);
            let before = taken.range(..=at).next_back().map_or(0, |(_, row)| row.0);
            if before > at {
                continue;
            }
            let behind = taken.range(at..).next().map_or(bytes.len(), |(&at, _)| at);
            let (mut start, mut end) = (at, at + place.len);
            if end > behind {
                waiting.extend(longest(at, place.always, place.control, behind - at));
                continue;
            }
            while self.strips.before(id) && start > before && is_space(bytes[start - 1]) {
                start -= 1;
            }
            while self.strips.after(id) && end < behind && is_space(bytes[end]) {
                end += 1;
            }
            taken.insert(start, (end, id));
        }
        taken
    }

    /// The control and unknown tokens among those that [`partition`](Self::partition) cuts out.
    pub(super) fn controls(
        &self,
        vocabulary: &Vocabulary,
        text: &str,
        control: impl Fn(Range<usize>) -> bool,
    ) -> Vec<(Range<usize>, u32)> {
        self.find(vocabulary, text, control)
            .into_iter()
            .filter(|(_, (_, id))| vocabulary.kind(*id) != Kind::UserDefined)
            .map(|(start, (end, id))| (start..end, id))
            .collect()
    }

    /// Cuts `text` at the special tokens in it, leaving out the white space that they strip. Control
    /// and unknown tokens count as in [`find`](Self::find).
    pub(super) fn partition(
        &self,
        vocabulary: &Vocabulary,
        text: &str,
        control: impl Fn(Range<usize>) -> bool,
    ) -> Vec<Fragment> {
        let taken = self.find(vocabulary, text, control);
        let mut fragments = Vec::with_capacity(2 * taken.len() + 1);
        let mut at = 0;
        for (start, (end, id)) in taken {
            if start > at {
                fragments.push(Fragment::Text(at..start));
            }
            fragments.push(Fragment::Token(id));
            at = end;
        }
        if at < text.len() {
            fragments.push(Fragment::Text(at..text.len()));
        }
        fragments
    }

    /// The characters with which control tokens begin and end, up to the first that words have, too;
    /// ascending.
    pub(super) fn brackets(&self) -> &[char] {
        &self.brackets
    }

    /// Where control tokens begin in `text`, whether or not they would be taken, and where the
    /// text ends in the beginning of one; ascending.
    pub(super) fn control_starts(&self, vocabulary: &Vocabulary, text: &str) -> Vec<usize> {
        let bytes = text.as_bytes();
        (0..bytes.len())
            .filter(|&at| {
                let rest = &bytes[at..];
                self.control.longest(vocabulary, rest) != NONE
                    || self.control.begin_with(vocabulary, rest)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
