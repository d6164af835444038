//! Embeddings: one vector for a text, from a model's hidden states.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::config::Hyper;
use super::{ContextOptions, Model};
use crate::error::{Error, Result};
use crate::tokenize::EncodeOptions;

/// How the hidden states of a text's tokens become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// That of the first token.
    First,
    /// That of the last token.
    Last,
}

/// What a caller chooses for [`Model::embed`].
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct EmbedOptions {
    /// `None` takes what the file asks for.
    pub pooling: Option<Pooling>,
}

/// The pooling that a file asks for: key `{arch}.pooling_type`, numbers as llama.cpp has them.
pub(super) fn pooling(hyper: &Hyper<'_>) -> Result<Option<Pooling>> {
    let name = hyper.key("pooling_type");
    match hyper.meta.u64(&name)? {
        None | Some(0) => Ok(None),
        Some(1) => Ok(Some(Pooling::Mean)),
        Some(2) => Ok(Some(Pooling::First)),
        Some(3) => Ok(Some(Pooling::Last)),
        Some(other) => Err(Error::unsupported(format!("pooling of type {other}"))),
    }
}

impl Model {
    /// A vector of `n_embd` values and length 1 that tells texts of like meaning from others, if the
    /// model was trained for that. Control tokens written out in the text are ordinary text.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for an empty text, or when neither the file nor `options` says how
    /// to pool; [`Error::ContextFull`] for a text longer than the model takes;
    /// [`Error::CorruptModel`] when the weights give no direction, but zeros or what is no number;
    /// and what [`Model::decoder`] returns.
    pub fn embed(&self, text: &str, options: &EmbedOptions) -> Result<Vec<f32>> {
        self.embed_until(text, options, &Arc::default())
    }

    /// As [`Model::embed`]; once `stop` is set it ends within one layer.
    ///
    /// # Errors
    /// As [`Model::embed`], and [`Error::Cancelled`] when `stop` ended it.
    pub fn embed_until(
        &self,
        text: &str,
        options: &EmbedOptions,
        stop: &Arc<AtomicBool>,
    ) -> Result<Vec<f32>> {
        let pooling = options.pooling.or(self.config().pooling).ok_or_else(|| {
            Error::invalid("the model does not say how to pool embeddings: choose a pooling")
        })?;
        let tokens = self.tokenizer().encode(
            text,
            EncodeOptions {
                add_special: true,
                parse_special: false,
            },
        )?;
        if tokens.is_empty() {
            return Err(Error::invalid("a text without tokens has no embedding"));
        }
        let max = self.config().context_length;
        if tokens.len() > max {
            return Err(Error::ContextFull {
                used: tokens.len(),
                max,
            });
        }
        let mut decoder = self.decoder(&ContextOptions::of_length(tokens.len()))?;
        decoder.set_interrupt(stop.clone());
        let width = decoder.hidden_width();
        let mut rows = vec![0.0; decoder.max_chunk().min(tokens.len()) * width];
        let mut pooled = vec![0.0_f64; width];
        let mut first = 0;
        for chunk in tokens.chunks(decoder.max_chunk()) {
            let rows = &mut rows[..chunk.len() * width];
            decoder.forward_hidden(chunk, rows)?;
            for (row, state) in rows.chunks_exact(width).enumerate() {
                let token = first + row;
                let taken = match pooling {
                    Pooling::Mean => true,
                    Pooling::First => token == 0,
                    Pooling::Last => token + 1 == tokens.len(),
                };
                if taken {
                    let sums = pooled.iter_mut().zip(state);
                    sums.for_each(|(sum, value)| *sum += f64::from(*value));
                }
            }
            first += chunk.len();
        }
        let length = pooled.iter().map(|value| value * value).sum::<f64>().sqrt();
        if !length.is_normal() {
            return Err(Error::corrupt(
                "the weights",
                "the embedding that they give has no direction: it is zero or not finite",
            ));
        }
        Ok(pooled.iter().map(|value| (value / length) as f32).collect())
    }
}
