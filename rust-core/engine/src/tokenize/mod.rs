//! Turns text into tokens and tokens into text, from the vocabulary in a GGUF file.
//!
//! Text is cut at special tokens ([`EncodeOptions::parse_special`]), and what lies between is
//! encoded by the vocabulary's algorithm: BPE ("gpt2", "gemma4"), SPM ("llama") or WordPiece
//! ("bert"). Unigram ("t5") belongs in this room as a further algorithm. The yardstick is
//! llama.cpp: the same ids for every text.
//!
//! This is not built on the crate `tokenizers`. Its BPE wants a list of merges, which GGUF does
//! not carry for SPM, and it takes 77 MiB for Gemma's 262,144 pieces, where this takes 11. One
//! merge loop serves both algorithms, so little is left to borrow.

mod bpe;
mod byte_alphabet;
mod merge;
mod pre_tokenizer;
mod prefixes;
mod roles;
mod special;
mod spm;
mod stream;
mod strip;
mod vocabulary;
mod wpm;

use std::borrow::Cow;
use std::ops::Range;

pub use stream::StreamDecoder;

use crate::error::{Error, Result};
use crate::gguf::Gguf;
use bpe::Bpe;
use byte_alphabet::byte_of;
use pre_tokenizer::{Alphabet, Bos, PreTokenizer};
use roles::{Defaults, Roles};
use special::{Fragment, Specials};
use spm::{Spm, byte_of_piece};
use strip::Strips;
use vocabulary::{Kind, Vocabulary};
use wpm::Wpm;

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";

/// Texts must leave room for u32 offsets after spaces have become three bytes each.
const MAX_TEXT: usize = u32::MAX as usize / 4;

/// What [`Tokenizer::encode`] does besides encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EncodeOptions {
    /// Adds BOS and EOS as the metadata asks; with WordPiece, BOS and SEP.
    pub add_special: bool,
    /// Control tokens written out in the text become those tokens. Leave it off for text that
    /// a user typed.
    pub parse_special: bool,
}

/// A model's tokenizer. Immutable; share it by [`Arc`](std::sync::Arc).
pub struct Tokenizer {
    vocabulary: Vocabulary,
    algorithm: Algorithm,
    specials: Specials,
    roles: Roles,
    /// What stands at the end if `add_eos`: EOS, or SEP.
    closing: Option<u32>,
    add_bos: bool,
    add_eos: bool,
}

enum Algorithm {
    Bpe(Box<Bpe>),
    Spm(Box<Spm>),
    Wpm(Box<Wpm>),
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("pieces", &self.vocab_size())
            .field("roles", &self.roles)
            .finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Builds the tokenizer that the file's metadata describes. What it needs is copied, so
    /// the file may be closed after.
    ///
    /// # Errors
    /// [`Error::UnsupportedModel`] for a `tokenizer.ggml.model` or `.pre` that is not known
    /// here, [`Error::CorruptModel`] when keys are missing or contradict one another.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let metadata = gguf.metadata();
        let model = metadata.str(MODEL)?.ok_or_else(|| {
            Error::corrupt(MODEL, "the key is missing: the file has no tokenizer")
        })?;
        // Checked before the vocabulary is read: the reader of the message wants to know this
        // first.
        let pre = match model {
            "gpt2" => Some(metadata.str(PRE)?.unwrap_or("default")),
            "gemma4" => Some("gemma4"),
            "llama" | "bert" => None,
            _ => {
                return Err(Error::unsupported(format!(
                    "tokenizer model {model:?} (known: gpt2, gemma4, llama, bert)"
                )));
            }
        };
        let pre = pre.map(PreTokenizer::by_name).transpose()?;
        let mut vocabulary = Vocabulary::from_metadata(metadata)?;
        let defaults = Defaults::of_model(model);
        let roles = Roles::from_metadata(metadata, &mut vocabulary, &defaults)?;
        let asked = |name: &str| metadata.bool(&format!("tokenizer.ggml.add_{name}_token"));
        let (add_bos, add_eos) = match &pre {
            // WordPiece always adds both.
            None if model == "bert" => (true, true),
            None => (
                asked("bos")?.unwrap_or(true),
                asked("eos")?.unwrap_or(false),
            ),
            Some(pre) => {
                let unasked = pre.row.bos != Bos::Asked;
                let always = pre.row.bos == Bos::Always;
                (
                    asked("bos")?.unwrap_or(unasked) || always,
                    asked("eos")?.unwrap_or(false),
                )
            }
        };
        let last = if model == "bert" { "seperator" } else { "eos" };
        let closing = if model == "bert" {
            roles.separator
        } else {
            roles.eos
        };
        for (add, id, name) in [(add_bos, roles.bos, "bos"), (add_eos, closing, last)] {
            if add && id.is_none() {
                return Err(Error::corrupt(
                    format!("tokenizer.ggml.{name}_token_id"),
                    "the token is to be added, but none is named",
                ));
            }
        }
        let algorithm = match pre {
            Some(pre) => Algorithm::Bpe(Box::new(Bpe::from_metadata(metadata, pre, &vocabulary)?)),
            None if model == "bert" => Algorithm::Wpm(Box::new(Wpm::from_metadata(
                metadata,
                &vocabulary,
                roles.unknown,
            )?)),
            None => Algorithm::Spm(Box::new(Spm::from_metadata(
                metadata,
                &vocabulary,
                roles.unknown,
            )?)),
        };
        let strips = Strips::from_metadata(metadata, &vocabulary)?;
        Ok(Self {
            specials: Specials::new(&vocabulary, strips)?,
            vocabulary,
            algorithm,
            roles,
            closing,
            add_bos,
            add_eos,
        })
    }

    /// The tokens of `text`. User-defined tokens (type 4) are always found; control tokens only
    /// with [`EncodeOptions::parse_special`].
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a text of 1 GiB or more.
    pub fn encode(&self, text: &str, options: EncodeOptions) -> Result<Vec<u32>> {
        self.encode_with(text, options.add_special, |_| options.parse_special)
    }

    /// Like [`encode`](Self::encode), with control tokens found only where `control` says yes
    /// for the bytes that they take.
    pub(crate) fn encode_with(
        &self,
        text: &str,
        add_special: bool,
        control: impl Fn(Range<usize>) -> bool,
    ) -> Result<Vec<u32>> {
        if text.len() > MAX_TEXT {
            return Err(Error::invalid(format!(
                "a text of {} bytes (at most {MAX_TEXT} can be encoded at once)",
                text.len()
            )));
        }
        let mut out = Vec::new();
        if add_special && self.add_bos {
            out.extend(self.roles.bos);
        }
        let mut after_special = true;
        for fragment in self.specials.partition(&self.vocabulary, text, control) {
            match fragment {
                Fragment::Token(id) => {
                    out.push(id);
                    after_special = true;
                }
                Fragment::Text(range) => {
                    let text = &text[range];
                    match &self.algorithm {
                        Algorithm::Bpe(bpe) => bpe.encode(&self.vocabulary, text, &mut out),
                        Algorithm::Spm(spm) => {
                            spm.encode(&self.vocabulary, text, after_special, &mut out);
                        }
                        Algorithm::Wpm(wpm) => wpm.encode(&self.vocabulary, text, &mut out),
                    }
                    after_special = false;
                }
            }
        }
        if add_special && self.add_eos {
            out.extend(self.closing);
        }
        Ok(out)
    }

    /// Where in `text` control tokens are written out, as byte offsets of their first
    /// characters, ascending; the text's last bytes count if a control token begins with them.
    pub(crate) fn control_starts(&self, text: &str) -> Vec<usize> {
        self.specials.control_starts(&self.vocabulary, text)
    }

    /// The characters with which control tokens begin and end, but for letters, digits, white space,
    /// `/` and `_`.
    pub(crate) fn brackets(&self) -> &[char] {
        self.specials.brackets()
    }

    /// The texts of all control and unknown tokens.
    pub(crate) fn control_texts(&self) -> impl Iterator<Item = &str> {
        let ids = 0..self.vocabulary.len() as u32;
        let control = |id: &u32| matches!(self.vocabulary.kind(*id), Kind::Control | Kind::Unknown);
        ids.filter(control).map(|id| self.vocabulary.piece(id))
    }

    /// The control tokens that [`encode_with`](Self::encode_with) finds in `text`, and the bytes that
    /// they take, ascending.
    pub(crate) fn control_tokens(
        &self,
        text: &str,
        control: impl Fn(Range<usize>) -> bool,
    ) -> Vec<(Range<usize>, u32)> {
        self.specials.controls(&self.vocabulary, text, control)
    }

    /// The bytes that a token adds to the text. They need not be whole characters. A control
    /// token gives its own text. `None` for an id outside the vocabulary.
    pub fn token_bytes(&self, id: u32) -> Option<Cow<'_, [u8]>> {
        let piece = self.vocabulary.get(id)?;
        let kind = self.vocabulary.kind(id);
        if matches!(kind, Kind::Control | Kind::UserDefined | Kind::Unknown) {
            return Some(Cow::Borrowed(piece.as_bytes()));
        }
        if kind == Kind::Byte
            && let Some(byte) = byte_of_piece(piece)
        {
            return Some(Cow::Owned(vec![byte]));
        }
        Some(match &self.algorithm {
            Algorithm::Bpe(bpe) if bpe.alphabet() == Alphabet::Bytes => {
                let mut bytes = Vec::with_capacity(piece.len());
                let mut utf8 = [0; 4];
                for c in piece.chars() {
                    match byte_of(c) {
                        Some(byte) => bytes.push(byte),
                        None => bytes.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes()),
                    }
                }
                Cow::Owned(bytes)
            }
            _ if piece.contains(spm::SPACE) => {
                Cow::Owned(piece.replace(spm::SPACE, " ").into_bytes())
            }
            _ => Cow::Borrowed(piece.as_bytes()),
        })
    }

    /// The vocabulary's own spelling of a token, such as `Ġthe` or `▁the`.
    pub fn token_text(&self, id: u32) -> Option<&str> {
        self.vocabulary.get(id)
    }

    /// The token spelled like that in the vocabulary.
    pub fn token_id(&self, piece: &str) -> Option<u32> {
        self.vocabulary.find(piece.as_bytes())
    }

    /// The text of `ids` as bytes, which are UTF-8 unless the ids break off within a character.
    /// Control tokens are left out unless `render_special`. A space that SPM put in front of
    /// the text on encoding stays. Ids outside the vocabulary add nothing.
    pub fn decode(&self, ids: &[u32], render_special: bool) -> Vec<u8> {
        let mut out = Vec::new();
        for &id in ids {
            self.append_bytes(id, render_special, &mut out);
        }
        out
    }

    fn append_bytes(&self, id: u32, render_special: bool, out: &mut Vec<u8>) {
        let hidden = |id| matches!(self.vocabulary.kind(id), Kind::Control | Kind::Unknown);
        if let Some(bytes) = self.token_bytes(id)
            && (render_special || !hidden(id))
        {
            out.extend_from_slice(&bytes);
        }
    }

    /// A decoder for tokens that come one by one; with `render_special`, control tokens give
    /// their own text.
    pub fn stream(&self, render_special: bool) -> StreamDecoder {
        StreamDecoder::new(render_special)
    }

    /// Number of tokens.
    pub fn vocab_size(&self) -> usize {
        self.vocabulary.len()
    }

    /// The token that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.roles.bos
    }

    /// The token that ends a text.
    pub fn eos(&self) -> Option<u32> {
        self.roles.eos
    }

    /// The token that fills up batches.
    pub fn pad(&self) -> Option<u32> {
        self.roles.padding
    }

    /// The token for what the vocabulary cannot say.
    pub fn unk(&self) -> Option<u32> {
        self.roles.unknown
    }

    /// Whether [`EncodeOptions::add_special`] puts BOS in front.
    pub fn add_bos(&self) -> bool {
        self.add_bos
    }

    /// Whether [`EncodeOptions::add_special`] puts EOS, or with WordPiece SEP, at the end.
    pub fn add_eos(&self) -> bool {
        self.add_eos
    }

    /// Whether the token steers the model and is no part of a text.
    pub fn is_control(&self, id: u32) -> bool {
        (id as usize) < self.vocab_size() && self.vocabulary.kind(id) == Kind::Control
    }

    /// Whether the model ends its turn with this token: EOS, the ends of turn and message that
    /// the metadata names, and those known by their text.
    pub fn is_end_of_generation(&self, id: u32) -> bool {
        self.roles.ends.binary_search(&id).is_ok()
    }

    /// All tokens for which [`is_end_of_generation`](Self::is_end_of_generation) holds,
    /// ascending.
    pub fn end_of_generation(&self) -> &[u32] {
        &self.roles.ends
    }
}
