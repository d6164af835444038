//! Byte-level BPE, `tokenizer.ggml.model` = "gpt2": words are bytes, and a list of merges says
//! in which order neighbours are joined. (Sennrich et al. 2016; bytes as in GPT-2.)

use std::collections::HashMap;

use super::byte_alphabet::char_of;
use super::merge::{Merger, NONE};
use super::pre_tokenizer::PreTokenizer;
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
            let mut utf8 = [0; 4];
            let piece = char_of(byte as u8).encode_utf8(&mut utf8);
            vocabulary.find(piece.as_bytes()).unwrap_or(NONE)
        });
        Ok(Self { pre, bytes, merges })
    }

    pub(super) fn encode(&self, vocabulary: &Vocabulary, text: &str, out: &mut Vec<u32>) {
        let mut merger = Merger::default();
        let mut whole = String::new();
        self.pre.split(text, &mut |word| {
            if self.pre.whole_words && word.len() <= vocabulary.longest() {
                whole.clear();
                whole.extend(word.bytes().map(char_of));
                if let Some(id) = vocabulary.find(whole.as_bytes()) {
                    out.push(id);
                    return;
                }
            }
            merger.clear();
            for byte in word.bytes() {
                merger.push(1, self.bytes[byte as usize]);
            }
            merger.run(|left, right| self.merges.get(&(left.id, right.id)).copied());
            // A byte without a token is left out, as in llama.cpp: there is nothing to say it with.
            out.extend(merger.symbols().map(|s| s.id).filter(|&id| id != NONE));
        });
    }
}
