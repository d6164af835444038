//! What a session asks of a model: append tokens, get logits, cut the cache back.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::lora::Adapter;
use crate::error::{Error, Result};

/// A model together with one KV cache: the state of one conversation.
///
/// Implementations share the weights and take turns on the compute pool, so a decoder may wait
/// in [`Decoder::forward`] for another session's step to end, never longer than one chunk each.
pub trait Decoder: Send {
    /// Number of logits per position.
    fn vocab_size(&self) -> usize;

    /// Most positions that the KV cache holds.
    fn context_length(&self) -> usize;

    /// Positions now in the KV cache.
    fn position(&self) -> usize;

    /// Most tokens that one call of [`Decoder::forward`] takes. Cancelling takes effect between
    /// calls, and between layers where the decoder knows [`Decoder::set_interrupt`].
    fn max_chunk(&self) -> usize;

    /// Appends `tokens` (1 to `max_chunk` of them) at the present position. When `logits` is
    /// given it is filled with the logits after the last token, `vocab_size` values.
    ///
    /// The logits are the same bits however a prompt is cut into calls.
    ///
    /// # Errors
    /// [`crate::Error::ContextFull`] when they do not fit, [`crate::Error::InvalidArgument`] for a
    /// token outside the vocabulary; the cache is then as it was before.
    fn forward(&mut self, tokens: &[u32], logits: Option<&mut [f32]>) -> Result<()>;

    /// Like [`Decoder::forward`], with the logits after each of the tokens:
    /// `logits` is `[tokens.len()][vocab_size]`.
    ///
    /// # Errors
    /// As [`Decoder::forward`].
    fn forward_all(&mut self, tokens: &[u32], logits: &mut [f32]) -> Result<()>;

    /// Number of values of a hidden state.
    fn hidden_width(&self) -> usize {
        0
    }

    /// Like [`Decoder::forward_all`], with what the head would read in place of the logits: `hidden`
    /// is `[tokens.len()][hidden_width]`.
    ///
    /// # Errors
    /// As [`Decoder::forward`]; [`crate::Error::UnsupportedModel`] from a decoder that has none.
    fn forward_hidden(&mut self, tokens: &[u32], hidden: &mut [f32]) -> Result<()> {
        let _ = (tokens, hidden);
        Err(Error::unsupported("a decoder without hidden states"))
    }

    /// Replaces the adapters, each with its scale, and forgets all positions: what they hold was
    /// computed with others.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] for an adapter that was opened for another model,
    /// [`crate::Error::UnsupportedModel`] from a decoder that takes none; the former ones and the
    /// cache then stay.
    fn set_adapters(&mut self, adapters: &[(Adapter, f32)]) -> Result<()> {
        let _ = adapters;
        Err(Error::unsupported("a decoder without adapters"))
    }

    /// Forgets every position from `position` on. A position past the end changes nothing.
    fn truncate(&mut self, position: usize);

    /// A second decoder with the same cache contents; both go their own way from here.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`] when the cache cannot be copied.
    fn fork(&self) -> Result<Box<dyn Decoder>>;

    /// Bytes that the KV cache takes at its present position.
    fn kv_bytes(&self) -> u64;

    /// From now on calls that append look at `stop` between layers, and once it is set they fail
    /// with [`crate::Error::Cancelled`], the cache being as it was before: a chunk of a prompt can
    /// take seconds on a phone. A decoder that cannot be interrupted does nothing here.
    fn set_interrupt(&mut self, stop: Arc<AtomicBool>) {
        let _ = stop;
    }
}
