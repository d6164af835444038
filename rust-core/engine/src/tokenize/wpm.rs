//! WordPiece, `tokenizer.ggml.model` = "bert": words are cut from the left into the longest pieces
//! there are, and a word that cannot be cut so is unknown. (Wu et al. 2016; normalized as in
//! BERT.)
//!
//! In GGUF a piece that begins a word carries U+2581 in front, and one that continues it nothing.

use regex_automata::Input;
use regex_automata::meta::Regex;
use unicode_normalization::char::decompose_canonical;

use super::pre_tokenizer::compile;
use super::prefixes::{NONE, Prefixes};
use super::spm::SPACE;
use super::vocabulary::Vocabulary;
use crate::error::{Error, Result};
use crate::gguf::Metadata;

/// What is left out of a text, with and without accents.
const DROPPED: [&str; 2] = [
    r"[\x00\x{FFFD}\p{Cc}\p{Cf}\p{Co}&&[^\s]]+",
    r"[\x00\x{FFFD}\p{Cc}\p{Cf}\p{Co}\p{M}&&[^\s]]+",
];
/// Words: a mark or an ideograph alone, or a run of anything else.
const WORDS: [&str; 2] = [
    concat!(
        r"[\p{P}$+<=>^`|~\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF}",
        r"\x{2A700}-\x{2B81F}\x{2B920}-\x{2CEAF}\x{F900}-\x{FAFF}\x{2F800}-\x{2FA1F}]"
    ),
    concat!(
        r"[^\s\p{P}$+<=>^`|~\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF}",
        r"\x{2A700}-\x{2B81F}\x{2B920}-\x{2CEAF}\x{F900}-\x{FAFF}\x{2F800}-\x{2FA1F}]+"
    ),
];

pub(super) struct Wpm {
    dropped: Regex,
    words: Regex,
    pieces: Prefixes,
    unknown: u32,
    lowercase: bool,
    strip_accents: bool,
}

/// The first character of `c` once it is taken apart: a letter without its accents.
fn base(c: char) -> char {
    let mut first = None;
    decompose_canonical(c, |part| {
        first.get_or_insert(part);
    });
    first.unwrap_or(c)
}

/// Lower case that is one character; the dot that İ leaves behind is dropped.
fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

impl Wpm {
    pub(super) fn from_metadata(
        metadata: &Metadata,
        vocabulary: &Vocabulary,
        unknown: Option<u32>,
    ) -> Result<Self> {
        let flag = |name: &str| metadata.bool(&format!("tokenizer.ggml.normalizer.{name}"));
        let lowercase = flag("lowercase")?.unwrap_or(true);
        let strip_accents = flag("strip_accents")?.unwrap_or(lowercase);
        Ok(Self {
            dropped: compile(&[DROPPED[usize::from(strip_accents)]])?,
            words: compile(&WORDS)?,
            pieces: Prefixes::new(vocabulary, 0..vocabulary.len() as u32)?,
            unknown: unknown.ok_or_else(|| {
                Error::corrupt(
                    "tokenizer.ggml.unknown_token_id",
                    "WordPiece needs an unknown token, but none is named",
                )
            })?,
            lowercase,
            strip_accents,
        })
    }

    pub(super) fn encode(&self, vocabulary: &Vocabulary, text: &str, out: &mut Vec<u32>) {
        let text = self.normalize(text);
        let mut word = String::new();
        for found in self.words.find_iter(Input::new(&text)) {
            word.clear();
            word.push_str(SPACE);
            word.push_str(&text[found.range()]);
            self.cut(vocabulary, &word, out);
        }
    }

    fn normalize(&self, text: &str) -> String {
        let bases: String = match self.strip_accents {
            true => text.chars().map(base).collect(),
            false => text.to_owned(),
        };
        let mut out = String::with_capacity(bases.len());
        let mut keep = |text: &str| match self.lowercase {
            true => out.extend(text.chars().map(lower)),
            false => out.push_str(text),
        };
        let mut at = 0;
        for found in self.dropped.find_iter(Input::new(&bases)) {
            keep(&bases[at..found.start()]);
            at = found.end();
        }
        keep(&bases[at..]);
        out
    }

    fn cut(&self, vocabulary: &Vocabulary, word: &str, out: &mut Vec<u32>) {
        let before = out.len();
        let bytes = word.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let found = self.pieces.longest(vocabulary, &bytes[at..]);
            if found == NONE {
                out.truncate(before);
                break;
            }
            let id = self.pieces.id(found);
            out.push(id);
            at += vocabulary.piece(id).len();
        }
        if out.len() == before {
            out.push(self.unknown);
        }
    }
}
