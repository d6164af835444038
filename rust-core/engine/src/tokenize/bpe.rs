//! BPE, `tokenizer.ggml.model` = "gpt2" or "gemma4": words are bytes (as in GPT-2) or characters
//! (as in Gemma 4), and a list of merges says in which order neighbours are joined.
//! (Sennrich et al. 2016.)

use std::collections::HashMap;

use super::byte_alphabet::char_of;
use super::merge::{Merger, NONE};
use super::pre_tokenizer::{Alphabet, PreTokenizer, Whole};
use super::spm::{byte_piece, escape_spaces};
use super::vocabulary::Vocabulary;
use crate::error::{Error, Result};
use crate::gguf::Metadata;

const MERGES: &str = "tokenizer.ggml.merges";

pub(super) struct Bpe {
    pre: PreTokenizer,
    /// The token of each single byte, or [`NONE`].
    bytes: [u32; 256],
    /// For two ids that may be joined: the merge's rank and the joined id.
    merges: HashMap<(u32, u32), (u32, u32)>,
}

impl Bpe {
    pub(super) fn from_metadata(
        metadata: &Metadata,
        pre: PreTokenizer,
        vocabulary: &Vocabulary,
    ) -> Result<Self> {
        let lines = metadata
            .strings(MERGES)?
            .ok_or_else(|| Error::corrupt(MERGES, "the key is missing"))?;
        let mut merges = HashMap::with_capacity(lines.len());
        let mut joined = Vec::new();
        for (rank, line) in lines.iter().enumerate() {
            // A piece is never empty, so the space that divides is not the first byte.
            let space = line
                .iter()
                .skip(1)
                .position(|&byte| byte == b' ')
                .ok_or_else(|| {
                    Error::corrupt(MERGES, format!("merge {rank} is no pair of pieces"))
                })?;
            let (left, right) = (&line[..=space], &line[space + 2..]);
            joined.clear();
            joined.extend_from_slice(left);
            joined.extend_from_slice(right);
            let id = |piece: &[u8]| {
                vocabulary.find(piece).ok_or_else(|| {
                    Error::corrupt(
                        MERGES,
                        format!("merge {rank} names a piece that is not in the vocabulary"),
                    )
                })
            };
            merges
                .entry((id(left)?, id(right)?))
                .or_insert((rank as u32, id(&joined)?));
        }
        let bytes = std::array::from_fn(|byte| {
            let byte = byte as u8;
            let found = match pre.row.alphabet {
                Alphabet::Bytes => {
                    vocabulary.find(char_of(byte).encode_utf8(&mut [0; 4]).as_bytes())
                }
                Alphabet::Characters => vocabulary.find(byte_piece(byte).as_bytes()),
            };
            found.unwrap_or(NONE)
        });
        Ok(Self { pre, bytes, merges })
    }

    /// Whether pieces are spelled in GPT-2's characters for bytes.
    pub(super) fn alphabet(&self) -> Alphabet {
        self.pre.row.alphabet
    }

    pub(super) fn encode(&self, vocabulary: &Vocabulary, text: &str, out: &mut Vec<u32>) {
        let mut merger = Merger::default();
        match self.alphabet() {
            Alphabet::Bytes => self.pre.split(text, &mut |word| {
                self.bytes(vocabulary, word, &mut merger, out)
            }),
            Alphabet::Characters => {
                let mut spelled = String::new();
                escape_spaces(text, &mut spelled);
                self.pre.split(&spelled, &mut |word| {
                    self.characters(vocabulary, word, &mut merger, out);
                });
            }
        }
    }

    fn takes_whole(&self, vocabulary: &Vocabulary, word: &str) -> bool {
        let fits = word.len() <= vocabulary.longest();
        match self.pre.row.whole {
            Whole::Never => false,
            Whole::Newlines => fits && word.bytes().all(|byte| byte == b'\n'),
            Whole::Always => fits,
        }
    }

    fn bytes(&self, vocabulary: &Vocabulary, word: &str, merger: &mut Merger, out: &mut Vec<u32>) {
        if self.takes_whole(vocabulary, word) {
            let spelled: String = word.bytes().map(char_of).collect();
            if let Some(id) = vocabulary.find(spelled.as_bytes()) {
                out.push(id);
                return;
            }
        }
        merger.clear();
        for byte in word.bytes() {
            merger.push(1, self.bytes[byte as usize]);
        }
        self.merge(merger);
        // A byte without a token is left out, as in llama.cpp: there is nothing to say it with.
        out.extend(merger.symbols().map(|s| s.id).filter(|&id| id != NONE));
    }

    fn characters(
        &self,
        vocabulary: &Vocabulary,
        word: &str,
        merger: &mut Merger,
        out: &mut Vec<u32>,
    ) {
        if self.takes_whole(vocabulary, word)
            && let Some(id) = vocabulary.find(word.as_bytes())
        {
            out.push(id);
            return;
        }
        merger.clear();
        for c in word.chars() {
            let id = vocabulary.find(c.encode_utf8(&mut [0; 4]).as_bytes());
            merger.push(c.len_utf8() as u32, id.unwrap_or(NONE));
        }
        self.merge(merger);
        for symbol in merger.symbols() {
            if symbol.id != NONE {
                out.push(symbol.id);
                continue;
            }
            let start = symbol.start as usize;
            let bytes = &word.as_bytes()[start..start + symbol.len as usize];
            let ids = bytes.iter().map(|&byte| self.bytes[byte as usize]);
            out.extend(ids.filter(|&id| id != NONE));
        }
    }

    fn merge(&self, merger: &mut Merger) {
        merger.run(|left, right| self.merges.get(&(left.id, right.id)).copied());
    }
}
