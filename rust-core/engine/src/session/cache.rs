//! The KV cache and, beside it, the tokens it was computed from.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::sampler::{Sampler, TokenSet};
use crate::error::{Error, Result};
use crate::model::{Adapter, Decoder};

/// A decoder with the list of the tokens in its cache, the two always in step.
pub(super) struct Cache {
    decoder: Box<dyn Decoder>,
    tokens: Vec<u32>,
    /// The logits after the last token, `[vocab_size]`, when the last call asked for them.
    logits: Vec<f32>,
}

impl Cache {
    pub(super) fn new(mut decoder: Box<dyn Decoder>) -> Self {
        // The tokens of positions that are already there are not known.
        decoder.truncate(0);
        Self {
            logits: vec![0.0; decoder.vocab_size()],
            tokens: Vec::new(),
            decoder,
        }
    }

    pub(super) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    pub(super) fn context_length(&self) -> usize {
        self.decoder.context_length()
    }

    pub(super) fn vocab_size(&self) -> usize {
        self.decoder.vocab_size()
    }

    pub(super) fn max_chunk(&self) -> usize {
        self.decoder.max_chunk().max(1)
    }

    pub(super) fn kv_bytes(&self) -> u64 {
        self.decoder.kv_bytes()
    }

    pub(super) fn is_full(&self) -> bool {
        self.tokens.len() >= self.decoder.context_length()
    }

    /// Evaluates at most [`Cache::max_chunk`] tokens; with `want_logits` the logits after the
    /// last are then there for [`Cache::sample`].
    pub(super) fn append(&mut self, tokens: &[u32], want_logits: bool) -> Result<()> {
        let logits = want_logits.then_some(self.logits.as_mut_slice());
        let result = self.decoder.forward(tokens, logits);
        if result.is_ok() {
            self.tokens.extend_from_slice(tokens);
        }
        // A decoder promises to change nothing when it fails. One that breaks the promise must
        // not let later turns reuse what the list does not know of.
        let in_step = self.truncate(self.tokens.len());
        result.and(in_step)
    }

    /// Once `stop` is set, [`Cache::append`] ends soon with [`Error::Cancelled`].
    pub(super) fn set_interrupt(&mut self, stop: Arc<AtomicBool>) {
        self.decoder.set_interrupt(stop);
    }

    /// Chooses the next token by the logits of the last [`Cache::append`], which are then used up.
    pub(super) fn sample(
        &mut self,
        sampler: &mut Sampler,
        allowed: Option<&TokenSet>,
    ) -> Result<u32> {
        sampler.sample(&mut self.logits, &self.tokens, allowed)
    }

    /// Forgets every position from `position` on. A decoder that cannot stop there may go back
    /// further; the list follows it.
    pub(super) fn truncate(&mut self, position: usize) -> Result<()> {
        let position = position.min(self.tokens.len());
        if self.decoder.position() > position {
            self.decoder.truncate(position);
        }
        self.tokens.truncate(self.decoder.position());
        if self.decoder.position() == self.tokens.len() {
            Ok(())
        } else {
            self.decoder.truncate(0);
            self.tokens.clear();
            Err(Error::internal("the decoder kept positions it was to drop"))
        }
    }

    /// Cuts the cache to what it shares with the front of `tokens`, but leaves the last of them
    /// to be evaluated, as its logits are wanted. Returns how many positions are reused.
    pub(super) fn reuse(&mut self, tokens: &[u32]) -> Result<usize> {
        let shared = common_prefix(&self.tokens, tokens);
        self.truncate(shared.min(tokens.len().saturating_sub(1)))?;
        Ok(self.tokens.len())
    }

    /// Replaces the adapters; what was evaluated with others is forgotten.
    pub(super) fn set_adapters(&mut self, adapters: &[(Adapter, f32)]) -> Result<()> {
        self.decoder.set_adapters(adapters)?;
        self.truncate(0)
    }

    pub(super) fn fork(&self) -> Result<Self> {
        Ok(Self {
            decoder: self.decoder.fork()?,
            tokens: self.tokens.clone(),
            logits: vec![0.0; self.logits.len()],
        })
    }
}

/// Length of the common front of two token lists.
pub(super) fn common_prefix(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
