//! Which special tokens take the white space beside them.
//!
//! `tokenizer.json` says it for each added token ("lstrip", "rstrip"), GGUF does not: it is known
//! by the model's name, and the rules here are llama.cpp's.

use super::vocabulary::{Kind, Vocabulary};
use crate::error::Result;
use crate::gguf::Metadata;

/// Ids that strip, each list sorted.
#[derive(Debug, Default)]
pub(super) struct Strips {
    before: Vec<u32>,
    after: Vec<u32>,
}

/// ASCII's white space, with the vertical tab.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}

impl Strips {
    /// To be called when the kinds of the tokens are settled.
    pub(super) fn from_metadata(metadata: &Metadata, vocabulary: &Vocabulary) -> Result<Self> {
        let text = |key| Ok::<_, crate::error::Error>(metadata.str(key)?.unwrap_or_default());
        let pre = text("tokenizer.ggml.pre")?;
        let architecture = text("general.architecture")?;
        let name = text("general.name")?.to_ascii_lowercase();
        let any = |text: &str, words: &[&str]| words.iter().any(|word| text.contains(word));
        let find = |piece: &str| vocabulary.find(piece.as_bytes());
        let mut strips = Self::default();
        if any(pre, &["jina-v2-de", "jina-v2-es", "jina-v2-code"])
            || any(architecture, &["nomic-bert-moe", "jina-bert-v3"])
        {
            strips.before.extend(find("<mask>"));
        } else if any(&name, &["phi-3", "phi3"]) {
            let plain = ["<unk>", "<s>", "<|endoftext|>"].map(find);
            let strips_after = |id: &u32| {
                let kind = vocabulary.kind(*id);
                matches!(kind, Kind::Control | Kind::Unknown | Kind::UserDefined)
                    && !plain.contains(&Some(*id))
            };
            strips.after = (0..vocabulary.len() as u32).filter(strips_after).collect();
        } else if name.contains("modern-bert") {
            strips.before.extend(find("[MASK]"));
        }
        Ok(strips)
    }

    /// `before` and `after` are sorted.
    #[cfg(test)]
    pub(super) fn of(before: Vec<u32>, after: Vec<u32>) -> Self {
        Self { before, after }
    }

    /// Whether white space before the token goes with it.
    pub(super) fn before(&self, id: u32) -> bool {
        self.before.binary_search(&id).is_ok()
    }

    /// Whether white space after the token goes with it.
    pub(super) fn after(&self, id: u32) -> bool {
        self.after.binary_search(&id).is_ok()
    }
}
