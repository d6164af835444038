//! Which markers a model's replies have.

use serde_json::Value;

use super::calls::CallFormat;
use crate::template::ChatTemplate;

/// The markers around reasoning.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) open: &'static str,
    pub(super) close: &'static str,
}

/// All pairs that are known. Only those count that the model's template has, in whole or in part:
/// some templates only cut reasoning off the history at its end.
const PAIRS: &[Pair] = &[
    // Qwen 3, DeepSeek R1, SmolLM 3 and most others.
    Pair {
        open: "<think>",
        close: "</think>",
    },
    Pair {
        open: "<thinking>",
        close: "</thinking>",
    },
    // Magistral.
    Pair {
        open: "[THINK]",
        close: "[/THINK]",
    },
    // Seed-OSS.
    Pair {
        open: "<seed:think>",
        close: "</seed:think>",
    },
    // Command A.
    Pair {
        open: "<|START_THINKING|>",
        close: "<|END_THINKING|>",
    },
];

/// Whether models with this chat template think before they answer, told by its markers.
pub fn reasons(template: &ChatTemplate) -> bool {
    let source = template.source();
    PAIRS.iter().any(|pair| source.contains(pair.open))
}

/// How the replies to one prompt are to be read. The default is: as text alone.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReplyFormat {
    pub(super) pairs: Vec<&'static Pair>,
    /// The prompt ends within this pair.
    pub(super) open: Option<&'static Pair>,
    pub(super) calls: Option<CallFormat>,
}

impl ReplyFormat {
    /// By the source of the chat template, the tools of the request, and the text with which the
    /// prompt ends.
    pub(crate) fn new(template: &str, tools: &[Value], prompt_end: &str) -> Self {
        let known = |pair: &&Pair| template.contains(pair.open) || template.contains(pair.close);
        let pairs: Vec<&'static Pair> = PAIRS.iter().filter(known).collect();
        let prompt_end = prompt_end.trim_end();
        Self {
            open: pairs.iter().find(|p| prompt_end.ends_with(p.open)).copied(),
            pairs,
            calls: CallFormat::new(template, tools),
        }
    }

    /// The markers that may come as control tokens.
    pub(crate) fn markers(&self) -> Vec<&'static str> {
        let pairs = self.pairs.iter().flat_map(|pair| [pair.open, pair.close]);
        let calls = self.calls.as_ref().map_or(&[][..], CallFormat::markers);
        pairs.chain(calls.iter().copied()).collect()
    }
}

/// Where at the end of `text` the beginning of `marker` stands; the length of `text` if nowhere.
pub(super) fn could_begin(text: &str, marker: &str) -> usize {
    (1..marker.len().min(text.len() + 1))
        .rev()
        .find(|&len| marker.is_char_boundary(len) && text.ends_with(&marker[..len]))
        .map_or(text.len(), |len| text.len() - len)
}
