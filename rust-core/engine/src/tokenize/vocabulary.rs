//! The pieces of a vocabulary and the way from a piece's text to its id.

use std::hash::{BuildHasher, RandomState};

use crate::error::{Error, Result};
use crate::gguf::Metadata;

pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const FREE: u32 = u32::MAX;

/// What a token is for, as `tokenizer.ggml.token_type` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

impl Kind {
    fn from_number(number: f64) -> Option<Self> {
        Some(match number as i64 {
            // 0 is "undefined" in ggml, which files of early converters carry.
            0 | 1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => return None,
        })
    }
}

/// All pieces in one block of text, with an open-addressing table from text to id.
///
/// The file's own array of strings would do as storage, but a copy costs 2 MiB for 262,144
/// pieces, and the tokenizer then depends on no mapping. A map of owned strings would cost 20
/// times that.
pub(super) struct Vocabulary {
    text: Box<str>,
    /// Where piece `i` ends in `text`; it begins where the one before ends.
    ends: Box<[u32]>,
    kinds: Box<[Kind]>,
    /// Ids by hash of the text; the length is a power of two and at most 2/3 are taken.
    slots: Box<[u32]>,
    hasher: RandomState,
    longest: usize,
}

impl Vocabulary {
    pub(super) fn from_metadata(metadata: &Metadata) -> Result<Self> {
        let pieces = metadata
            .strings(TOKENS)?
            .ok_or_else(|| Error::corrupt(TOKENS, "the key is missing"))?;
        if pieces.is_empty() {
            return Err(Error::corrupt(TOKENS, "the vocabulary is empty"));
        }
        let total = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        if u32::try_from(total).is_err() || u32::try_from(pieces.len()).is_err() {
            return Err(Error::corrupt(
                TOKENS,
                "the vocabulary is larger than 4 GiB",
            ));
        }
        let mut text = String::with_capacity(total);
        let mut ends = Vec::with_capacity(pieces.len());
        for (id, piece) in pieces.iter().enumerate() {
            let piece = std::str::from_utf8(piece)
                .map_err(|_| Error::corrupt(TOKENS, format!("piece {id} is not UTF-8")))?;
            text.push_str(piece);
            ends.push(text.len() as u32);
        }
        let longest = pieces.iter().map(|piece| piece.len()).max().unwrap_or(0);
        let count = pieces.len();
        drop(pieces);
        let kinds = Self::kinds(metadata, count)?;
        let mut vocabulary = Self {
            text: text.into_boxed_str(),
            ends: ends.into_boxed_slice(),
            kinds,
            slots: Box::default(),
            hasher: RandomState::new(),
            longest,
        };
        vocabulary.index();
        Ok(vocabulary)
    }

    #[cfg(test)]
    pub(super) fn of(pieces: &[(String, Kind)]) -> Self {
        let mut text = String::new();
        let end = |(piece, _): &(String, Kind)| {
            text.push_str(piece);
            text.len() as u32
        };
        let mut vocabulary = Self {
            ends: pieces.iter().map(end).collect(),
            text: text.into_boxed_str(),
            kinds: pieces.iter().map(|&(_, kind)| kind).collect(),
            slots: Box::default(),
            hasher: RandomState::new(),
            longest: pieces
                .iter()
                .map(|(piece, _)| piece.len())
                .max()
                .unwrap_or(0),
        };
        vocabulary.index();
        vocabulary
    }

    fn kinds(metadata: &Metadata, count: usize) -> Result<Box<[Kind]>> {
        let Some(numbers) = metadata.numbers(TYPES)? else {
            return Ok(vec![Kind::Normal; count].into_boxed_slice());
        };
        if numbers.len() != count {
            return Err(Error::corrupt(
                TYPES,
                format!("{} types for {count} pieces", numbers.len()),
            ));
        }
        numbers
            .enumerate()
            .map(|(id, number)| {
                Kind::from_number(number).ok_or_else(|| {
                    Error::corrupt(TYPES, format!("type {number} of piece {id} is not known"))
                })
            })
            .collect()
    }

    fn index(&mut self) {
        let size = (self.len() + self.len() / 2 + 1).next_power_of_two();
        let mut slots = vec![FREE; size].into_boxed_slice();
        for id in 0..self.len() as u32 {
            let piece = self.piece(id);
            // An empty piece stands for nothing; finding it would loop for ever in a tokenizer.
            if piece.is_empty() {
                continue;
            }
            let mut at = self.hasher.hash_one(piece.as_bytes()) as usize & (size - 1);
            // Of equal pieces the last one counts, as in llama.cpp.
            while slots[at] != FREE && self.piece(slots[at]) != piece {
                at = (at + 1) & (size - 1);
            }
            slots[at] = id;
        }
        self.slots = slots;
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Length in bytes of the longest piece.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// The text of a piece; `id` must be in the vocabulary.
    pub(super) fn piece(&self, id: u32) -> &str {
        let id = id as usize;
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.text[start as usize..self.ends[id] as usize]
    }

    pub(super) fn get(&self, id: u32) -> Option<&str> {
        ((id as usize) < self.len()).then(|| self.piece(id))
    }

    pub(super) fn kind(&self, id: u32) -> Kind {
        self.kinds[id as usize]
    }

    pub(super) fn set_kind(&mut self, id: u32, kind: Kind) {
        self.kinds[id as usize] = kind;
    }

    /// The id of the piece with this text.
    pub(super) fn find(&self, text: &[u8]) -> Option<u32> {
        if text.is_empty() || text.len() > self.longest {
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut at = self.hasher.hash_one(text) as usize & mask;
        loop {
            match self.slots[at] {
                FREE => return None,
                id if self.piece(id).as_bytes() == text => return Some(id),
                _ => at = (at + 1) & mask,
            }
        }
    }
}
