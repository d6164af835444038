//! The longest piece that a text begins with, in time that does not depend on the pieces.
//!
//! Walking down a trie takes a step for each byte that matches, which a vocabulary of `a`, `aa`,
//! `aaa`, … makes as many as it likes at every place of a text. So the pieces are sorted, and the
//! one that the text would stand behind is found by a binary search that never compares a byte
//! twice (Manber and Myers 1993, "Suffix arrays"). All pieces that the text begins with are that
//! one or begin it, and are found over jump pointers (Myers 1983, "An applicative random-access
//! stack").

use super::vocabulary::{TOKENS, Vocabulary};
use crate::error::{Error, Result};

/// Bytes of a piece: a text may share as many with one at each of its places. Real pieces that are
/// looked for in this way have some dozens.
const MAX_PIECE: usize = 16 << 10;

/// Stands for "no piece".
pub(super) const NONE: u32 = u32::MAX;

/// Pieces of a vocabulary, to be looked for at the start of a text. A piece is called by its place
/// in the order of their bytes.
#[derive(Default)]
pub(super) struct Prefixes {
    rows: Box<[Row]>,
    /// Bit by bit, the bytes that a piece begins with: of most places of a text no more is asked.
    first: [u64; 4],
    /// Length in bytes of the longest piece.
    longest: usize,
}

#[derive(Clone, Copy)]
struct Row {
    id: u32,
    /// Bytes that the piece shares with the lower bound of the only stretch that a search halves here.
    low: u32,
    /// And with its upper bound.
    high: u32,
    /// The longest other piece that it begins with.
    parent: u32,
    /// One of those that it begins with, far enough for any of them to be near.
    jump: u32,
}

/// How many bytes `a` and `b` begin with in common.
fn common(a: &[u8], b: &[u8]) -> usize {
    const STEP: usize = 64;
    let steps = a.chunks_exact(STEP).zip(b.chunks_exact(STEP));
    let whole = STEP * steps.take_while(|(a, b)| a == b).count();
    let rest = a[whole..].iter().zip(&b[whole..]);
    whole + rest.take_while(|(a, b)| a == b).count()
}

impl Prefixes {
    /// Of `ids`, all those whose piece is not empty. Of equal pieces the greatest id counts.
    ///
    /// # Errors
    /// [`Error::CorruptModel`] for a piece of more than 16 KiB.
    pub(super) fn new(vocabulary: &Vocabulary, ids: impl Iterator<Item = u32>) -> Result<Self> {
        let bytes = |id: u32| vocabulary.piece(id).as_bytes();
        let mut ids: Vec<u32> = ids.filter(|&id| !bytes(id).is_empty()).collect();
        if let Some(&id) = ids.iter().find(|&&id| bytes(id).len() > MAX_PIECE) {
            let why = format!(
                "piece {id}, which is matched in the text itself, has {} bytes (at most \
                 {MAX_PIECE} are allowed)",
                bytes(id).len()
            );
            return Err(Error::corrupt(TOKENS, why));
        }
        ids.sort_unstable_by(|&a, &b| bytes(a).cmp(bytes(b)).then(b.cmp(&a)));
        ids.dedup_by(|next, kept| bytes(*next) == bytes(*kept));
        let mut first = [0; 4];
        for &id in &ids {
            let byte = bytes(id)[0];
            first[usize::from(byte >> 6)] |= 1 << (byte & 63);
        }
        let longest = ids.iter().map(|&id| bytes(id).len()).max().unwrap_or(0);
        let row = |id| Row {
            id,
            low: 0,
            high: 0,
            parent: NONE,
            jump: NONE,
        };
        let mut prefixes = Self {
            rows: ids.into_iter().map(row).collect(),
            first,
            longest,
        };
        prefixes.link(vocabulary);
        prefixes.share(vocabulary, 0, prefixes.rows.len() + 1);
        Ok(prefixes)
    }

    /// Finds what each piece begins with.
    fn link(&mut self, vocabulary: &Vocabulary) {
        // Of each piece that the one before begins with, and of itself: its place.
        let mut open: Vec<u32> = Vec::new();
        let mut depths = vec![0u32; self.rows.len()];
        for at in 0..self.rows.len() as u32 {
            let piece = self.bytes(vocabulary, at);
            while open
                .last()
                .is_some_and(|&top| !piece.starts_with(self.bytes(vocabulary, top)))
            {
                open.pop();
            }
            if let Some(&parent) = open.last() {
                let jump = self.rows[parent as usize].jump;
                let depth = |of: u32| match of {
                    NONE => 0,
                    of => depths[of as usize],
                };
                let beyond = match jump {
                    NONE => NONE,
                    jump => self.rows[jump as usize].jump,
                };
                let alike = depth(parent) - depth(jump) == depth(jump) - depth(beyond);
                let row = &mut self.rows[at as usize];
                row.parent = parent;
                row.jump = if alike { beyond } else { parent };
            }
            depths[at as usize] = open.len() as u32 + 1;
            open.push(at);
        }
    }

    /// Notes what the pieces share that a search between the bounds `low` and `high` meets, and
    /// returns what the bounds share. Bounds are counted from 1; 0 and one more than all stand for
    /// what is less and greater than any text.
    fn share(&mut self, vocabulary: &Vocabulary, low: usize, high: usize) -> u32 {
        if high - low == 1 {
            if low == 0 || high > self.rows.len() {
                return 0;
            }
            let bytes = |bound: usize| self.bytes(vocabulary, bound as u32 - 1);
            return common(bytes(low), bytes(high)) as u32;
        }
        let middle = low + (high - low) / 2;
        let with_low = self.share(vocabulary, low, middle);
        let with_high = self.share(vocabulary, middle, high);
        let row = &mut self.rows[middle - 1];
        (row.low, row.high) = (with_low, with_high);
        with_low.min(with_high)
    }

    fn bytes<'v>(&self, vocabulary: &'v Vocabulary, at: u32) -> &'v [u8] {
        vocabulary.piece(self.id(at)).as_bytes()
    }

    /// The token of a piece.
    pub(super) fn id(&self, at: u32) -> u32 {
        self.rows[at as usize].id
    }

    /// The longest piece that `text` begins with, or [`NONE`].
    pub(super) fn longest(&self, vocabulary: &Vocabulary, text: &[u8]) -> u32 {
        let Some(&byte) = text.first() else {
            return NONE;
        };
        if self.first[usize::from(byte >> 6)] >> (byte & 63) & 1 == 0 {
            return NONE;
        }
        // The text stands at or behind `low` and before `high`, and shares so much with them.
        let (mut low, mut high) = (0, self.rows.len() + 1);
        let (mut with_low, mut with_high) = (0, 0);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let row = &self.rows[middle - 1];
            let (ours, theirs) = if with_low >= with_high {
                (with_low, row.low as usize)
            } else {
                (with_high, row.high as usize)
            };
            if theirs != ours {
                // The piece leaves the nearer bound later than the text does, or sooner.
                match (with_low >= with_high, theirs > ours) {
                    (true, true) => low = middle,
                    (true, false) => (high, with_high) = (middle, theirs),
                    (false, true) => high = middle,
                    (false, false) => (low, with_low) = (middle, theirs),
                }
                continue;
            }
            let piece = self.bytes(vocabulary, middle as u32 - 1);
            let shared = ours + common(&piece[ours..], &text[ours..]);
            if piece[shared..] <= text[shared..] {
                (low, with_low) = (middle, shared);
            } else {
                (high, with_high) = (middle, shared);
            }
        }
        match low {
            0 => NONE,
            _ => self.within(low as u32 - 1, |id| vocabulary.piece(id).len() <= with_low),
        }
    }

    /// The longest that passes of piece `at` and those that it begins with, or [`NONE`]. What passes,
    /// all shorter ones must pass too. `at` may be [`NONE`].
    pub(super) fn within(&self, mut at: u32, passes: impl Fn(u32) -> bool) -> u32 {
        while at != NONE && !passes(self.id(at)) {
            let row = &self.rows[at as usize];
            at = match row.jump {
                // Too far: the longest that passes may lie before it.
                NONE => row.parent,
                jump if passes(self.id(jump)) => row.parent,
                jump => jump,
            };
        }
        at
    }

    /// Whether a piece begins with `text`, or is it.
    pub(super) fn begin_with(&self, vocabulary: &Vocabulary, text: &[u8]) -> bool {
        if text.len() > self.longest {
            return false;
        }
        let bytes = |row: &Row| vocabulary.piece(row.id).as_bytes();
        let from = self.rows.partition_point(|row| bytes(row) < text);
        self.rows
            .get(from)
            .is_some_and(|row| bytes(row).starts_with(text))
    }
}
