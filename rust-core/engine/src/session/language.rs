//! The text side of a model, as far as a session needs it.

use std::sync::Arc;

use crate::error::Result;
use crate::model::Model;
use crate::template::{Message, RenderOptions};
use crate::tokenize::{EncodeOptions, StreamDecoder, Tokenizer};

/// Turns text and messages into tokens and tokens into text.
///
/// A trait, so that the session's rules can be tested with a vocabulary of bytes.
pub(crate) trait Language: Send + Sync {
    /// The tokens of a prompt for completion: with the beginning-of-text token where the model
    /// has one, special tokens in the text taken as such.
    fn encode(&self, text: &str) -> Result<Vec<u32>>;

    /// The tokens of a conversation in the model's chat template.
    fn encode_chat(&self, messages: &[Message], options: &RenderOptions) -> Result<Vec<u32>>;

    /// Whether the model ends its turn with `token`.
    fn is_end_of_generation(&self, token: u32) -> bool;

    /// A decoder for the text of one reply.
    fn text_stream(&self) -> Box<dyn TextStream>;
}

/// Makes text of tokens, whole characters at a time.
pub(crate) trait TextStream: Send {
    /// The text that is complete with `token`.
    fn push(&mut self, token: u32) -> String;

    /// What is left at the end.
    fn finish(&mut self) -> String;
}

impl Language for Model {
    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.tokenizer().encode(
            text,
            EncodeOptions {
                add_special: true,
                parse_special: true,
            },
        )
    }

    fn encode_chat(&self, messages: &[Message], options: &RenderOptions) -> Result<Vec<u32>> {
        self.template()?
            .render_tokens(self.tokenizer(), messages, options)
    }

    fn is_end_of_generation(&self, token: u32) -> bool {
        self.tokenizer().is_end_of_generation(token)
    }

    fn text_stream(&self) -> Box<dyn TextStream> {
        Box::new(ModelText {
            stream: self.tokenizer().stream(false),
            tokenizer: self.tokenizer().clone(),
        })
    }
}

struct ModelText {
    tokenizer: Arc<Tokenizer>,
    stream: StreamDecoder,
}

impl TextStream for ModelText {
    fn push(&mut self, token: u32) -> String {
        self.stream.push(&self.tokenizer, token)
    }

    fn finish(&mut self) -> String {
        self.stream.finish()
    }
}
