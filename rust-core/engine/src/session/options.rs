//! What a caller may set for a session and for one reply.

use std::num::NonZeroUsize;
use std::sync::Arc;

use super::sampler::{SamplerOptions, TokenMask};
use crate::model::ContextOptions;
use crate::template::RenderOptions;

/// What happens when the context is full.
///
/// It never happens silently: a reply says [`super::FinishReason::ContextFull`], or its metrics
/// count the tokens that were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ContextPolicy {
    /// A prompt that does not fit is refused, and a reply that fills the context ends.
    #[default]
    Stop,
    /// The oldest half of the tokens after the first `keep` is dropped, as often as needed, and
    /// the rest is evaluated again at its new positions: the model then computes exactly what it
    /// would for a prompt of the remaining tokens.
    ///
    /// Whole halves are dropped from prompts too, so that a conversation which grows from turn to
    /// turn goes on from the same cut, and mostly from the cache. The cost is one prefill of half
    /// the context for every half context of new tokens. With no limit on the tokens of a reply,
    /// only the model or the caller ends it.
    Shift {
        /// Tokens at the front that always stay. By default those of the system message for a
        /// chat (with what the template puts before the first message of the user), and of the
        /// beginning-of-text token otherwise.
        keep: Option<usize>,
    },
}

/// The settings of a session.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SessionOptions {
    /// The context: how many tokens it holds.
    pub context: ContextOptions,
    /// What happens when the context is full.
    pub policy: ContextPolicy,
    /// Most prompt tokens between two looks at whether the reply was cancelled; at most, and by
    /// default, what the decoder takes at once. Smaller chunks cancel sooner and run slower; the
    /// results are the same bits.
    pub prefill_chunk: Option<NonZeroUsize>,
}

/// The settings of one reply.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct GenerateOptions {
    /// How tokens are chosen.
    pub sampler: SamplerOptions,
    /// Most tokens of the reply; none means until the model ends it or the context is full. With
    /// 0 the prompt is only evaluated, which prepares the cache for a reply to come.
    pub max_tokens: Option<usize>,
    /// Texts that end the reply; they are not part of it. The reply ends with the first character
    /// that completes any of them, and is cut before the longest of those complete there. They
    /// are looked for in the answer's text alone: not in reasoning, not in calls of tools, and
    /// not across these.
    pub stop: Vec<String>,
    /// Tools and variables for the chat template; [`super::Session::complete`] has no use for it.
    pub template: RenderOptions,
    /// Decides for each token which may come next.
    pub mask: Option<Arc<dyn TokenMask>>,
}

impl std::fmt::Debug for GenerateOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GenerateOptions")
            .field("sampler", &self.sampler)
            .field("max_tokens", &self.max_tokens)
            .field("stop", &self.stop.len())
            .field("template", &self.template)
            .field("mask", &self.mask.is_some())
            .finish()
    }
}
