//! Which tokens begin and end texts, and which end a generation.
//!
//! Files name some of them in their metadata and leave others to be known by their text; the
//! lists here are those by which llama.cpp knows them.

use super::vocabulary::{Kind, Vocabulary};
use crate::error::{Error, Result};
use crate::gguf::Metadata;

/// Pieces that end a turn or a text wherever they exist.
const END_PIECES: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|calls|>",
    "<|flush|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];

/// Tokens of fill-in-the-middle that a model writes only past the end of its answer: the
/// metadata's key, and the pieces that stand for it when the key is missing.
const FILL_IN_ENDS: &[(&str, &[&str])] = &[
    (
        "tokenizer.ggml.fim_pad_token_id",
        &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"],
    ),
    (
        "tokenizer.ggml.fim_rep_token_id",
        &[
            "<|fim_repo|>",
            "<|repo_name|>",
            "<fim-repo>",
            "<REPO>",
            "<reponame>",
        ],
    ),
    ("tokenizer.ggml.fim_sep_token_id", &["<|file_sep|>"]),
];

/// Tokens that mark the places of fill-in-the-middle: the metadata's keys, the older one last, and
/// the pieces that stand for them when both are missing. They are control tokens.
const FILL_IN_PLACES: &[([&str; 2], &[&str])] = &[
    (
        [
            "tokenizer.ggml.fim_pre_token_id",
            "tokenizer.ggml.prefix_token_id",
        ],
        &[
            "<|fim_prefix|>",
            "<fim-prefix>",
            "<fim_prefix>",
            "<｜fim▁begin｜>",
            "<PRE>",
            "▁<PRE>",
            "<|code_prefix|>",
            "<|prefix|>",
        ],
    ),
    (
        [
            "tokenizer.ggml.fim_suf_token_id",
            "tokenizer.ggml.suffix_token_id",
        ],
        &[
            "<|fim_suffix|>",
            "<fim-suffix>",
            "<fim_suffix>",
            "<｜fim▁hole｜>",
            "<SUF>",
            "▁<SUF>",
            "<|code_suffix|>",
            "<|suffix|>",
        ],
    ),
    (
        [
            "tokenizer.ggml.fim_mid_token_id",
            "tokenizer.ggml.middle_token_id",
        ],
        &[
            "<|fim_middle|>",
            "<fim-middle>",
            "<fim_middle>",
            "<｜fim▁end｜>",
            "<MID>",
            "▁<MID>",
            "<|code_middle|>",
            "<|middle|>",
        ],
    ),
];

/// Pieces of the harmony format that are part of the text, whatever type the file gives them.
const HARMONY_PIECES: &[&str] = &["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"];

/// The tokens with a role of their own.
#[derive(Debug, Default)]
pub(super) struct Roles {
    pub(super) bos: Option<u32>,
    pub(super) eos: Option<u32>,
    pub(super) unknown: Option<u32>,
    pub(super) padding: Option<u32>,
    pub(super) separator: Option<u32>,
    /// Sorted.
    pub(super) ends: Vec<u32>,
}

/// Ids that hold when the metadata names none.
#[derive(Default)]
pub(super) struct Defaults {
    bos: Option<u32>,
    eos: Option<u32>,
    unknown: Option<u32>,
    separator: Option<u32>,
}

impl Defaults {
    /// Those of a `tokenizer.ggml.model`.
    pub(super) fn of_model(model: &str) -> Self {
        match model {
            "gpt2" => Self {
                bos: Some(11),
                eos: Some(11),
                ..Self::default()
            },
            "llama" => Self {
                bos: Some(1),
                eos: Some(2),
                unknown: Some(0),
                separator: None,
            },
            "bert" => Self {
                bos: Some(101),
                eos: None,
                unknown: Some(100),
                separator: Some(102),
            },
            _ => Self::default(),
        }
    }
}

/// The id at `key`, which must be in the vocabulary.
fn id_at(metadata: &Metadata, vocabulary: &Vocabulary, key: &str) -> Result<Option<u32>> {
    match metadata.u32(key)? {
        Some(id) if id as usize >= vocabulary.len() => Err(Error::corrupt(
            key,
            format!("token {id} is not among the {} pieces", vocabulary.len()),
        )),
        id => Ok(id),
    }
}

impl Roles {
    /// Reads the roles, and corrects the kind of tokens whose text says what they are.
    pub(super) fn from_metadata(
        metadata: &Metadata,
        vocabulary: &mut Vocabulary,
        defaults: &Defaults,
    ) -> Result<Self> {
        let inside = |id: &u32| (*id as usize) < vocabulary.len();
        let named = |key: &str| id_at(metadata, vocabulary, key);
        let mut roles = Self {
            bos: named("tokenizer.ggml.bos_token_id")?.or(defaults.bos.filter(inside)),
            eos: named("tokenizer.ggml.eos_token_id")?.or(defaults.eos.filter(inside)),
            unknown: named("tokenizer.ggml.unknown_token_id")?.or(defaults.unknown.filter(inside)),
            // Nothing here pads, and some files name a token past the vocabulary.
            padding: metadata
                .u32("tokenizer.ggml.padding_token_id")?
                .filter(inside),
            // The key is spelled like that.
            separator: named("tokenizer.ggml.seperator_token_id")?
                .or(defaults.separator.filter(inside)),
            ends: Vec::new(),
        };
        let mut ends = Vec::new();
        let mut control = Vec::new();
        let known = |pieces: &[&str]| pieces.iter().find_map(|p| vocabulary.find(p.as_bytes()));
        for &(key, pieces) in FILL_IN_ENDS {
            match named(key)? {
                Some(id) => ends.push(id),
                None => control.extend(known(pieces)),
            }
        }
        let mut places = Vec::new();
        for &([key, older], pieces) in FILL_IN_PLACES {
            if named(key)?.or(named(older)?).is_none() {
                places.extend(known(pieces));
            }
        }
        control.extend(
            END_PIECES
                .iter()
                .filter_map(|piece| vocabulary.find(piece.as_bytes())),
        );
        ends.extend(roles.eos);
        ends.extend(named("tokenizer.ggml.eot_token_id")?);
        ends.extend(named("tokenizer.ggml.eom_token_id")?);
        for id in control {
            vocabulary.set_kind(id, Kind::Control);
            ends.push(id);
        }
        for id in places {
            vocabulary.set_kind(id, Kind::Control);
        }
        for piece in HARMONY_PIECES {
            if let Some(id) = vocabulary.find(piece.as_bytes()) {
                vocabulary.set_kind(id, Kind::UserDefined);
            }
        }
        ends.sort_unstable();
        ends.dedup();
        roles.ends = ends;
        roles.correct_false_ends(vocabulary);
        Ok(roles)
    }

    /// Takes back what ends a text in most vocabularies, but not in these.
    fn correct_false_ends(&mut self, vocabulary: &mut Vocabulary) {
        let end = |piece: &str| {
            vocabulary
                .find(piece.as_bytes())
                .filter(|id| self.ends.binary_search(id).is_ok())
        };
        let has = |piece: &str| end(piece).is_some();
        // Harmony and Solar close each message with <|end|> and the answer with another token.
        let calls = has("<|call|>") || has("<|calls|>");
        let message_end =
            end("<|end|>").filter(|_| calls && (has("<|return|>") || has("<|flush|>")));
        // In these vocabularies </s> is ordinary text (the HTML tag).
        let tag = end("</s>").filter(|_| has("<|tool_response>") || has("<|plamo:eos|>"));
        if let Some(id) = message_end {
            vocabulary.set_kind(id, Kind::UserDefined);
        }
        if let Some(id) = tag {
            vocabulary.set_kind(id, Kind::Normal);
        }
        self.ends
            .retain(|&id| Some(id) != message_end && Some(id) != tag);
    }
}
