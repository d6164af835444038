//! What to drop when the context is full.

use super::options::ContextPolicy;
use crate::error::{Error, Result};

/// How a prompt is made to fit, and what a full context drops: the policy of one reply, with the
/// number of tokens to keep decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Window {
    Stop,
    Shift { keep: usize },
}

impl Window {
    /// `default_keep` is asked only when the policy leaves it open.
    pub(super) fn new(policy: ContextPolicy, default_keep: impl FnOnce() -> usize) -> Self {
        match policy {
            ContextPolicy::Stop => Self::Stop,
            ContextPolicy::Shift { keep } => Self::Shift {
                keep: keep.unwrap_or_else(default_keep),
            },
        }
    }

    /// The part of the oldest tokens to drop, so that at most `context` stay: a range of indices
    /// into the prompt, empty when it fits.
    ///
    /// # Errors
    /// [`Error::ContextFull`] when it does not fit and nothing may be dropped, or the tokens to
    /// keep alone fill the context.
    pub(super) fn drop_from_prompt(
        self,
        prompt: usize,
        context: usize,
    ) -> Result<std::ops::Range<usize>> {
        if prompt <= context {
            return Ok(0..0);
        }
        let full = Error::ContextFull {
            used: prompt,
            max: context,
        };
        match self {
            Self::Shift { keep } if keep < context => {
                let half = half(keep, context);
                let halves = (prompt - context).div_ceil(half);
                Ok(keep..keep + halves * half)
            }
            _ => Err(full),
        }
    }

    /// What to drop from a full context to go on; none when the reply must end.
    pub(super) fn drop_when_full(self, context: usize) -> Option<std::ops::Range<usize>> {
        match self {
            Self::Shift { keep } if keep < context => Some(keep..keep + half(keep, context)),
            _ => None,
        }
    }
}

/// Half of what the kept tokens leave of the context, rounded up, so that it is never zero.
fn half(keep: usize, context: usize) -> usize {
    (context - keep).div_ceil(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn without_shift_nothing_is_dropped() {
        assert_eq!(Window::Stop.drop_from_prompt(8, 8).unwrap(), 0..0);
        assert!(matches!(
            Window::Stop.drop_from_prompt(9, 8),
            Err(Error::ContextFull { used: 9, max: 8 })
        ));
        assert_eq!(Window::Stop.drop_when_full(8), None);
        let all_kept = Window::Shift { keep: 8 };
        assert!(all_kept.drop_from_prompt(9, 8).is_err());
        assert_eq!(all_kept.drop_when_full(8), None);
    }

    /// A context and fewer tokens to keep.
    fn context_and_keep(context: std::ops::Range<usize>) -> impl Strategy<Value = (usize, usize)> {
        context.prop_flat_map(|context| (Just(context), 0..context))
    }

    proptest! {
        #[test]
        fn what_stays_fits_and_ends_with_the_newest(
            (context, keep) in context_and_keep(1..200),
            prompt in 1usize..2000,
        ) {
            let dropped = Window::Shift { keep }.drop_from_prompt(prompt, context).unwrap();
            prop_assert!(prompt - dropped.len() <= context);
            prop_assert!(dropped.end < prompt.max(1), "the newest token stays");
            prop_assert!(dropped.is_empty() || dropped.start == keep);
        }

        #[test]
        fn a_growing_prompt_drops_what_the_full_context_dropped(
            (context, keep) in context_and_keep(2..100),
            more in 0usize..300,
        ) {
            let window = Window::Shift { keep };
            let all: Vec<usize> = (0..context + more).collect();
            // Token by token, as a reply fills the context.
            let mut cache: Vec<usize> = Vec::new();
            for &token in &all {
                if cache.len() == context {
                    cache.drain(window.drop_when_full(context).unwrap());
                }
                cache.push(token);
            }
            // At once, as the next turn's prompt.
            let mut prompt = all.clone();
            prompt.drain(window.drop_from_prompt(prompt.len(), context).unwrap());
            prop_assert_eq!(cache, prompt);
        }
    }
}
