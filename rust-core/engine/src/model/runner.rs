//! A [`Decoder`] over any backend: shared weights and work buffers, one KV cache.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::backend::{Backend, Cache};
use super::budget::{Budget, Reservation};
use super::decoder::Decoder;
use super::fair::FairMutex;
use super::forward::{Chunk, Transformer};
use crate::error::{Error, Result};

/// What all decoders of one model share.
pub(super) struct Shared<B: Backend> {
    pub(super) transformer: Transformer<B>,
    /// Work buffers and compute pool; taken for one chunk at a time, first come, first served.
    pub(super) backend: FairMutex<B>,
    pub(super) max_chunk: usize,
    pub(super) budget: Arc<Budget>,
}

/// One conversation's decoder.
pub(super) struct Runner<B: Backend> {
    shared: Arc<Shared<B>>,
    cache: B::Cache,
    context_length: usize,
    stop: Arc<AtomicBool>,
    /// Given back when the decoder goes.
    reserved: Reservation,
}

impl<B: Backend + 'static> Runner<B> {
    /// A decoder with an empty cache for `context_length` positions, which take `kv_bytes` of the
    /// budget once all are filled.
    pub(super) fn new(
        shared: Arc<Shared<B>>,
        context_length: usize,
        kv_bytes: u64,
    ) -> Result<Self> {
        let reserved = shared.budget.reserve(kv_bytes)?;
        let cache = shared
            .backend
            .lock()
            .cache(&shared.transformer.config, context_length)?;
        Ok(Self {
            shared,
            cache,
            context_length,
            stop: Arc::default(),
            reserved,
        })
    }

    fn run(
        &mut self,
        tokens: &[u32],
        wanted: std::ops::Range<usize>,
        logits: &mut [f32],
    ) -> Result<()> {
        let n_vocab = self.vocab_size();
        if tokens.is_empty() || tokens.len() > self.shared.max_chunk {
            return Err(Error::invalid(format!(
                "{} tokens in one step (1 to {} are taken)",
                tokens.len(),
                self.shared.max_chunk
            )));
        }
        if logits.len() != wanted.len() * n_vocab {
            return Err(Error::invalid(format!(
                "a buffer of {} logits for {} rows of {n_vocab}",
                logits.len(),
                wanted.len()
            )));
        }
        if let Some(id) = tokens.iter().find(|&&id| id as usize >= n_vocab) {
            return Err(Error::invalid(format!(
                "token {id} of a vocabulary of {n_vocab}"
            )));
        }
        let used = self.cache.len() + tokens.len();
        if used > self.context_length {
            return Err(Error::ContextFull {
                used,
                max: self.context_length,
            });
        }
        let mut backend = self.shared.backend.lock();
        let config = &self.shared.transformer.config;
        self.shared.transformer.forward(
            &mut backend,
            &mut self.cache,
            Chunk {
                tokens,
                wanted,
                rope_half: config.rope_half(self.context_length),
            },
            logits,
            &self.stop,
        )
    }
}

impl<B: Backend + 'static> Decoder for Runner<B> {
    fn vocab_size(&self) -> usize {
        self.shared.transformer.config.n_vocab
    }

    fn context_length(&self) -> usize {
        self.context_length
    }

    fn position(&self) -> usize {
        self.cache.len()
    }

    fn max_chunk(&self) -> usize {
        self.shared.max_chunk
    }

    fn forward(&mut self, tokens: &[u32], logits: Option<&mut [f32]>) -> Result<()> {
        match logits {
            Some(logits) => self.run(tokens, tokens.len().saturating_sub(1)..tokens.len(), logits),
            None => self.run(tokens, 0..0, &mut []),
        }
    }

    fn forward_all(&mut self, tokens: &[u32], logits: &mut [f32]) -> Result<()> {
        self.run(tokens, 0..tokens.len(), logits)
    }

    fn truncate(&mut self, position: usize) {
        self.cache.truncate(position);
    }

    fn fork(&self) -> Result<Box<dyn Decoder>> {
        Ok(Box::new(Self {
            shared: self.shared.clone(),
            reserved: self.shared.budget.reserve(self.reserved.bytes())?,
            cache: self.cache.fork()?,
            context_length: self.context_length,
            stop: Arc::default(),
        }))
    }

    fn kv_bytes(&self) -> u64 {
        self.cache.bytes()
    }

    fn set_interrupt(&mut self, stop: Arc<AtomicBool>) {
        self.stop = stop;
    }
}
