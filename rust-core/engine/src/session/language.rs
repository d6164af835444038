//! The text side of a model, as far as a session needs it.

use std::sync::Arc;

use super::reply::ReplyFormat;
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

    /// How the reply to `prompt`, made by [`Language::encode_chat`] with `options`, is to be read.
    fn reply_format(&self, prompt: &[u32], options: &RenderOptions) -> ReplyFormat;

    /// A decoder for the text of one reply; the control tokens that are spelled like one of
    /// `markers` are told by [`TextStream::marker`].
    fn text_stream(&self, markers: &[&'static str]) -> Box<dyn TextStream>;
}

/// Makes text of tokens, whole characters at a time.
pub(crate) trait TextStream: Send {
    /// The text that is complete with `token`.
    fn push(&mut self, token: u32) -> String;

    /// What is left at the end, or before a token that is no text.
    fn finish(&mut self) -> String;

    /// The marker that is this control token.
    fn marker(&self, token: u32) -> Option<&'static str>;
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

    fn reply_format(&self, prompt: &[u32], options: &RenderOptions) -> ReplyFormat {
        let Ok(template) = self.template() else {
            return ReplyFormat::default();
        };
        let end = &prompt[prompt.len().saturating_sub(PROMPT_END)..];
        let end = self.tokenizer().decode(end, true);
        let end = String::from_utf8_lossy(&end);
        ReplyFormat::new(template.source(), &options.tools, &end)
    }

    fn text_stream(&self, markers: &[&'static str]) -> Box<dyn TextStream> {
        let tokenizer = self.tokenizer();
        let token = |marker: &&'static str| {
            let id = tokenizer.token_id(marker)?;
            tokenizer.is_control(id).then_some((id, *marker))
        };
        Box::new(ModelText {
            stream: tokenizer.stream(false),
            markers: markers.iter().filter_map(token).collect(),
            tokenizer: tokenizer.clone(),
        })
    }
}

/// Tokens at the end of a prompt that hold a marker of reasoning even where each is one letter.
const PROMPT_END: usize = 64;

struct ModelText {
    tokenizer: Arc<Tokenizer>,
    stream: StreamDecoder,
    markers: Vec<(u32, &'static str)>,
}

impl TextStream for ModelText {
    fn push(&mut self, token: u32) -> String {
        self.stream.push(&self.tokenizer, token)
    }

    fn finish(&mut self) -> String {
        self.stream.finish()
    }

    fn marker(&self, token: u32) -> Option<&'static str> {
        let found = self.markers.iter().find(|(id, _)| *id == token);
        found.map(|(_, marker)| *marker)
    }
}
