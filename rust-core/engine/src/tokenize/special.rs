//! Finds special tokens that are written out in a text.
//!
//! llama.cpp takes the special tokens from the longest to the shortest and cuts each out of
//! the text wherever it still stands free, left to right. Done like that it is one search
//! of the text per token, of which Gemma has 6,414. Here the places are found in one pass and
//! then taken in the same order: by length, then by place.
//!
//! White space beside a token goes with it where [`Strips`] says so.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use super::strip::{Strips, is_space};
use super::vocabulary::{Kind, Vocabulary};

/// A part of a text: a special token, or what lies between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fragment {
    Text(Range<usize>),
    Token(u32),
}

/// Whether a special token counts only where control tokens do.
fn is_control(vocabulary: &Vocabulary, id: u32) -> bool {
    vocabulary.kind(id) != Kind::UserDefined
}

/// The tokens that are matched in the text itself, sorted by their bytes.
pub(super) struct Specials {
    ids: Box<[u32]>,
    /// Where the tokens that begin with byte `b` start in `ids`; one entry more as the end.
    first_byte: Box<[u32]>,
    strips: Strips,
    brackets: Box<[char]>,
}

/// What a token may have at its ends that words do not have; `/` and `_` stand in words of commands
/// and names.
fn is_bracket(c: char) -> bool {
    !c.is_alphanumeric() && !c.is_whitespace() && !matches!(c, '/' | '_' | '\u{2581}')
}

impl Specials {
    pub(super) fn new(vocabulary: &Vocabulary, strips: Strips) -> Self {
        let mut ids: Vec<u32> = (0..vocabulary.len() as u32)
            .filter(|&id| {
                matches!(
                    vocabulary.kind(id),
                    Kind::Control | Kind::Unknown | Kind::UserDefined
                ) && !vocabulary.piece(id).is_empty()
            })
            .collect();
        ids.sort_by_key(|&id| vocabulary.piece(id).as_bytes());
        let first_byte = (0..=256)
            .map(|byte| {
                ids.partition_point(|&id| usize::from(vocabulary.piece(id).as_bytes()[0]) < byte)
                    as u32
            })
            .collect();
        let mut brackets: Vec<char> = Vec::new();
        for &id in ids.iter().filter(|&&id| is_control(vocabulary, id)) {
            let piece = vocabulary.piece(id);
            let opening = piece.chars().take_while(|&c| is_bracket(c));
            let closing = piece.chars().rev().take_while(|&c| is_bracket(c));
            for c in opening.chain(closing) {
                if !brackets.contains(&c) {
                    brackets.push(c);
                }
            }
        }
        Self {
            ids: ids.into_boxed_slice(),
            first_byte,
            strips,
            brackets: brackets.into_boxed_slice(),
        }
    }

    /// The longest token at the start of `text` that `allowed` lets pass.
    fn longest_prefix(
        &self,
        vocabulary: &Vocabulary,
        text: &[u8],
        allowed: &impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let first = usize::from(*text.first()?);
        let mut range =
            &self.ids[self.first_byte[first] as usize..self.first_byte[first + 1] as usize];
        let mut best = None;
        let mut depth = 1;
        while !range.is_empty() {
            // Those that end here come first, for a prefix sorts before what it begins.
            let ended = range.partition_point(|&id| vocabulary.piece(id).len() <= depth);
            if let Some(&id) = range[..ended].iter().rev().find(|&&id| allowed(id)) {
                best = Some(id);
            }
            let Some(&byte) = text.get(depth) else { break };
            range = &range[ended..];
            let low = range.partition_point(|&id| vocabulary.piece(id).as_bytes()[depth] < byte);
            let high = range.partition_point(|&id| vocabulary.piece(id).as_bytes()[depth] <= byte);
            range = &range[low..high];
            depth += 1;
        }
        best
    }

    /// The special tokens in `text` and the bytes that they take, with the white space that they
    /// strip; ascending. Control and unknown tokens count only where `control` says so for the
    /// bytes that are their own.
    fn find(
        &self,
        vocabulary: &Vocabulary,
        text: &str,
        control: impl Fn(Range<usize>) -> bool,
    ) -> Vec<(Range<usize>, u32)> {
        let bytes = text.as_bytes();
        let longest_at = |at: usize, end: usize| {
            self.longest_prefix(vocabulary, &bytes[at..end], &|id| {
                vocabulary.kind(id) == Kind::UserDefined
                    || control(at..at + vocabulary.piece(id).len())
            })
        };
        // Per place only the longest token waits; a shorter one takes its turn when that fails.
        let mut waiting = BinaryHeap::new();
        let entry = |id: u32, at: usize| (vocabulary.piece(id).len(), Reverse(id), Reverse(at));
        for at in 0..bytes.len() {
            if let Some(id) = longest_at(at, bytes.len()) {
                waiting.push(entry(id, at));
            }
        }
        let mut found: Vec<(Range<usize>, u32)> = Vec::new();
        if !waiting.is_empty() {
            let mut taken = vec![false; bytes.len()];
            while let Some((len, Reverse(id), Reverse(at))) = waiting.pop() {
                match taken[at..at + len].iter().position(|&taken| taken) {
                    None => {
                        let free = |place: usize| !taken[place] && is_space(bytes[place]);
                        let (mut start, mut end) = (at, at + len);
                        while self.strips.before(id) && start > 0 && free(start - 1) {
                            start -= 1;
                        }
                        while self.strips.after(id) && end < bytes.len() && free(end) {
                            end += 1;
                        }
                        taken[start..end].fill(true);
                        found.push((start..end, id));
                    }
                    Some(0) => {}
                    Some(free) => {
                        if let Some(id) = longest_at(at, at + free) {
                            waiting.push(entry(id, at));
                        }
                    }
                }
            }
        }
        found.sort_unstable_by_key(|(range, _)| range.start);
        found
    }

    /// The control and unknown tokens among those that [`partition`](Self::partition) cuts out.
    pub(super) fn controls(
        &self,
        vocabulary: &Vocabulary,
        text: &str,
        control: impl Fn(Range<usize>) -> bool,
    ) -> Vec<(Range<usize>, u32)> {
        let mut found = self.find(vocabulary, text, control);
        found.retain(|&(_, id)| is_control(vocabulary, id));
        found
    }

    /// Cuts `text` at the special tokens in it, leaving out the white space that they strip. Control and unknown tokens count only where
    /// `control` says so for the bytes that they would take.
    pub(super) fn partition(
        &self,
        vocabulary: &Vocabulary,
        text: &str,
        control: impl Fn(Range<usize>) -> bool,
    ) -> Vec<Fragment> {
        let found = self.find(vocabulary, text, control);
        let mut fragments = Vec::with_capacity(2 * found.len() + 1);
        let mut at = 0;
        for (range, id) in found {
            if range.start > at {
                fragments.push(Fragment::Text(at..range.start));
            }
            fragments.push(Fragment::Token(id));
            at = range.end;
        }
        if at < text.len() {
            fragments.push(Fragment::Text(at..text.len()));
        }
        fragments
    }

    /// The characters with which control tokens begin and end, up to the first that words have, too.
    pub(super) fn brackets(&self) -> &[char] {
        &self.brackets
    }

    /// Where control tokens begin in `text`, whether or not they would be taken, and where the
    /// text ends in the beginning of one; ascending.
    pub(super) fn control_starts(&self, vocabulary: &Vocabulary, text: &str) -> Vec<usize> {
        let bytes = text.as_bytes();
        let is_control = |id: u32| is_control(vocabulary, id);
        (0..bytes.len())
            .filter(|&at| {
                let rest = &bytes[at..];
                self.longest_prefix(vocabulary, rest, &is_control).is_some()
                    || self.begins_one(vocabulary, rest, &is_control)
            })
            .collect()
    }

    /// Whether `text` as a whole is the beginning of a token that `allowed` lets pass.
    fn begins_one(
        &self,
        vocabulary: &Vocabulary,
        text: &[u8],
        allowed: &impl Fn(u32) -> bool,
    ) -> bool {
        if text.len() >= vocabulary.longest() {
            return false;
        }
        let from = self
            .ids
            .partition_point(|&id| vocabulary.piece(id).as_bytes() < text);
        self.ids[from..]
            .iter()
            .take_while(|&&id| vocabulary.piece(id).as_bytes().starts_with(text))
            .any(|&id| allowed(id))
    }
}
