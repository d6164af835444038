//! A [`Decoder`] over any backend: shared weights and work buffers, one KV cache.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::backend::{Backend, Cache};
use super::budget::{Budget, Reservation};
use super::decoder::Decoder;
use super::fair::FairMutex;
use super::forward::{Chunk, Transformer, Wanted};
use super::lora::{Adapter, Applied};
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
    adapters: Vec<Arc<Applied<B>>>,
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
            adapters: Vec::new(),
            stop: Arc::default(),
            reserved,
        })
    }

    fn run(
        &mut self,
        tokens: &[u32],
        wanted: std::ops::Range<usize>,
        result: Wanted,
        out: &mut [f32],
    ) -> Result<()> {
        let n_vocab = self.vocab_size();
        let width = match result {
            Wanted::Logits => n_vocab,
            Wanted::Hidden => self.hidden_width(),
        };
        if tokens.is_empty() || tokens.len() > self.shared.max_chunk {
            return Err(Error::invalid(format!(
                "{} tokens in one step (1 to {} are taken)",
                tokens.len(),
                self.shared.max_chunk
            )));
        }
        if out.len() != wanted.len() * width {
            return Err(Error::invalid(format!(
                "a buffer of {} values for {} rows of {width}",
                out.len(),
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
                result,
                adapters: &self.adapters,
                rope_half: config.rope_half(self.context_length),
            },
            out,
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
            Some(logits) => {
                let last = tokens.len().saturating_sub(1)..tokens.len();
                self.run(tokens, last, Wanted::Logits, logits)
            }
            None => self.run(tokens, 0..0, Wanted::Logits, &mut []),
        }
    }

    fn forward_all(&mut self, tokens: &[u32], logits: &mut [f32]) -> Result<()> {
        self.run(tokens, 0..tokens.len(), Wanted::Logits, logits)
    }

    fn hidden_width(&self) -> usize {
        self.shared.transformer.config.n_embd
    }

    fn forward_hidden(&mut self, tokens: &[u32], hidden: &mut [f32]) -> Result<()> {
        self.run(tokens, 0..tokens.len(), Wanted::Hidden, hidden)
    }

    fn set_adapters(&mut self, adapters: &[(Adapter, f32)]) -> Result<()> {
        let applied = {
            let backend = self.shared.backend.lock();
            let applied = adapters.iter().map(|(adapter, scale)| {
                Applied::new(adapter, *scale, &*backend, &self.shared.transformer).map(Arc::new)
            });
            applied.collect::<Result<_>>()?
        };
        // What is cached was computed with others.
        self.cache.truncate(0);
        self.adapters = applied;
        Ok(())
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
            adapters: self.adapters.clone(),
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
