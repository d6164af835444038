//! SPM, `tokenizer.ggml.model` = "llama": SentencePiece's BPE, where a piece's score says which
//! neighbours are joined first, and a character without a piece falls back to its bytes.

use super::merge::{Merger, NONE};
use super::vocabulary::Vocabulary;
use crate::error::{Error, Result};
use crate::gguf::Metadata;

const SCORES: &str = "tokenizer.ggml.scores";
/// SentencePiece's sign for a space.
pub(super) const SPACE: &str = "\u{2581}";

/// Appends `text` with [`SPACE`] for each space.
pub(super) fn escape_spaces(text: &str, out: &mut String) {
    out.reserve(text.len() + text.len() / 4);
    for (index, word) in text.split(' ').enumerate() {
        if index > 0 {
            out.push_str(SPACE);
        }
        out.push_str(word);
    }
}

/// The piece that stands for a byte.
pub(super) fn byte_piece(byte: u8) -> String {
    format!("<0x{byte:02X}>")
}

/// The byte that a piece such as `<0x0A>` stands for.
pub(super) fn byte_of_piece(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok()
}

pub(super) struct Spm {
    /// Per token: the smaller, the sooner it is made.
    ranks: Box<[u32]>,
    /// The token of each byte.
    bytes: [u32; 256],
    /// Whether text at the start or after a special token gets a space in front.
    space_prefix: bool,
}

/// Maps scores to integers so that a greater score is a smaller rank and equal scores are equal.
fn rank(score: f32) -> u32 {
    // Adding zero turns -0.0 into 0.0, which is equal but has other bits.
    let bits = (score + 0.0).to_bits();
    let ascending = if bits >> 31 == 0 {
        bits | 1 << 31
    } else {
        !bits
    };
    !ascending
}

impl Spm {
    pub(super) fn from_metadata(
        metadata: &Metadata,
        vocabulary: &Vocabulary,
        unknown: Option<u32>,
    ) -> Result<Self> {
        let scores = metadata
            .numbers(SCORES)?
            .ok_or_else(|| Error::corrupt(SCORES, "the key is missing"))?;
        if scores.len() != vocabulary.len() {
            return Err(Error::corrupt(
                SCORES,
                format!("{} scores for {} pieces", scores.len(), vocabulary.len()),
            ));
        }
        let ranks = scores
            .enumerate()
            .map(|(id, score)| {
                if score.is_nan() {
                    return Err(Error::corrupt(
                        SCORES,
                        format!("the score of piece {id} is not a number"),
                    ));
                }
                Ok(rank(score as f32))
            })
            .collect::<Result<_>>()?;
        let mut bytes = [NONE; 256];
        for (byte, id) in bytes.iter_mut().enumerate() {
            *id = vocabulary
                .find(byte_piece(byte as u8).as_bytes())
                .or_else(|| vocabulary.find(&[byte as u8]))
                .or(unknown)
                .ok_or_else(|| {
                    Error::corrupt(
                        "tokenizer.ggml.tokens",
                        format!("there is neither a token for byte {byte} nor an unknown token"),
                    )
                })?;
        }
        Ok(Self {
            ranks,
            bytes,
            space_prefix: metadata
                .bool("tokenizer.ggml.add_space_prefix")?
                .unwrap_or(true),
        })
    }

    /// Encodes a fragment; `after_special` if it stands at the start or follows a special token.
    pub(super) fn encode(
        &self,
        vocabulary: &Vocabulary,
        fragment: &str,
        after_special: bool,
        out: &mut Vec<u32>,
    ) {
        let mut text = String::new();
        if self.space_prefix && after_special {
            text.push_str(SPACE);
        }
        escape_spaces(fragment, &mut text);
        let bytes = text.as_bytes();
        let mut merger = Merger::default();
        for (start, c) in text.char_indices() {
            let end = start + c.len_utf8();
            let id = vocabulary.find(&bytes[start..end]).unwrap_or(NONE);
            merger.push((end - start) as u32, id);
        }
        merger.run(|left, right| {
            let end = (right.start + right.len) as usize;
            let id = vocabulary.find(&bytes[left.start as usize..end])?;
            Some((self.ranks[id as usize], id))
        });
        for symbol in merger.symbols() {
            if symbol.id != NONE {
                out.push(symbol.id);
                continue;
            }
            let start = symbol.start as usize;
            for &byte in &bytes[start..start + symbol.len as usize] {
                out.push(self.bytes[byte as usize]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::rank;

    #[test]
    fn greater_scores_have_smaller_ranks() {
        let scores = [f32::INFINITY, 2.0, 1.5, 0.0, -0.5, -1e9, f32::NEG_INFINITY];
        for pair in scores.windows(2) {
            assert!(rank(pair[0]) < rank(pair[1]), "{pair:?}");
        }
        assert_eq!(rank(0.0), rank(-0.0));
    }
}
