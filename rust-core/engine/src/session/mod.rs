//! Conversations with a model: the cache, the thread of work, replies and how they end.
//!
//! A [`Session`] owns one KV cache and one thread. [`Session::chat`] and [`Session::complete`]
//! start a reply and return at once with a [`Generation`], from which its events are pulled.
//! [`Chat`] adds the history of a conversation.
//!
//! ```no_run
//! use dormouse::gguf::Source;
//! use dormouse::model::{LoadOptions, Model};
//! use dormouse::{Chat, Event, GenerateOptions, Session, SessionOptions};
//!
//! # fn main() -> dormouse::Result<()> {
//! let model = Model::load(&Source::Path("model.gguf".into()), LoadOptions::default())?;
//! let session = Session::new(&model, SessionOptions::default())?;
//! let mut chat = Chat::new(session, GenerateOptions::default());
//! for event in chat.send("Why do dormice sleep?")? {
//!     match event? {
//!         Event::Text(text) => print!("{text}"),
//!         Event::Reasoning(text) => eprint!("{text}"),
//!         Event::Done(done) => eprintln!("{}: {:?}", done.finish, done.metrics),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod cache;
mod channel;
mod chat;
mod context;
mod generation;
mod history;
pub(crate) mod language;
mod measure;
mod options;
mod replace;
mod reply;
mod run;
mod sampler;
mod stop;
mod worker;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub use chat::{AnswerStart, CancelledAnswer, Chat};
pub use generation::{CancelHandle, Done, Event, FinishReason, Generation};
pub use history::{load_messages, save_messages, save_messages_if};
pub use options::{ContextPolicy, GenerateOptions, SessionOptions};
pub use reply::reasons;
pub use sampler::{Sampler, SamplerOptions, TokenMask, TokenSet};

use crate::error::{Error, Result};
use crate::model::{Adapter, Decoder, Model};
use crate::template::{Message, Role};
use cache::{Cache, common_prefix};
use channel::Channel;
use context::Window;
use language::Language;
use reply::{ReplyFormat, ReplyParser};
use run::{Job, log_start};
use stop::StopMatcher;
use worker::Worker;

/// One line of conversation with a model: a KV cache and the thread that computes on it.
///
/// Every call takes `&self`, and a session may be shared between threads. It computes one reply at
/// a time; several sessions on one model take turns. What a reply left in the cache is reused by
/// the next as far as its prompt begins with the same tokens.
///
/// Dropping a session closes it.
pub struct Session {
    worker: Worker,
    /// None once the session is closed, so that a closed one holds nothing of the model.
    language: Mutex<Option<Arc<dyn Language>>>,
    options: SessionOptions,
    vocab_size: usize,
    context_length: usize,
    max_chunk: usize,
}

/// What a completion goes on from.
#[derive(Clone)]
#[non_exhaustive]
pub enum Prompt {
    /// Text. The beginning-of-text token is put before it where the model has one, and special
    /// tokens in it are taken as such.
    Text(String),
    /// Tokens, as they are.
    Tokens(Vec<u32>),
}

impl From<&str> for Prompt {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Prompt {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<u32>> for Prompt {
    fn from(tokens: Vec<u32>) -> Self {
        Self::Tokens(tokens)
    }
}

impl From<&[u32]> for Prompt {
    fn from(tokens: &[u32]) -> Self {
        Self::Tokens(tokens.to_vec())
    }
}

impl Session {
    /// A session with an empty cache on `model`, which it keeps alive until it is closed.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a setting outside its range, [`Error::OutOfMemory`].
    pub fn new(model: &Model, options: SessionOptions) -> Result<Self> {
        let decoder = model.decoder(&options.context)?;
        Self::from_parts(Arc::new(model.clone()), decoder, options)
    }

    /// As [`Session::new`], of the two sides of a model.
    pub(crate) fn from_parts(
        language: Arc<dyn Language>,
        decoder: Box<dyn Decoder>,
        options: SessionOptions,
    ) -> Result<Self> {
        let cache = Cache::new(decoder);
        let context_length = cache.context_length();
        if let ContextPolicy::Shift { keep: Some(keep) } = options.policy
            && keep >= context_length
        {
            return Err(Error::invalid(format!(
                "keep is {keep}, want less than the context's {context_length} tokens"
            )));
        }
        Ok(Self {
            vocab_size: cache.vocab_size(),
            context_length,
            max_chunk: cache.max_chunk(),
            worker: Worker::new(cache),
            language: Mutex::new(Some(language)),
            options,
        })
    }

    /// Starts to go on from `prompt`, without a chat template. All of the reply is
    /// [`Event::Text`].
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for an empty prompt, a token outside the vocabulary or a setting
    /// outside its range; [`Error::ContextFull`] when the prompt does not fit;
    /// [`Error::Busy`] while another reply runs (for one that was cancelled it waits);
    /// [`Error::Closed`]. Nothing was done then, the cache is as it was. Errors of the computation
    /// come as an event of the [`Generation`], and the session stays usable after them, but for
    /// [`Error::Internal`].
    pub fn complete(
        &self,
        prompt: impl Into<Prompt>,
        options: &GenerateOptions,
    ) -> Result<Generation> {
        let generation = self.complete_prompt(prompt.into(), options);
        log_start(&generation);
        generation
    }

    fn complete_prompt(&self, prompt: Prompt, options: &GenerateOptions) -> Result<Generation> {
        let started = Instant::now();
        self.worker.check_idle()?;
        let language = self.language()?;
        let mut default_keep = 0;
        let tokens = match prompt {
            Prompt::Tokens(tokens) => tokens,
            Prompt::Text(text) if text.is_empty() => {
                return Err(Error::invalid("the prompt is empty"));
            }
            Prompt::Text(text) => {
                let tokens = language.encode(&text)?;
                if matches!(self.options.policy, ContextPolicy::Shift { keep: None }) {
                    default_keep = common_prefix(&tokens, &language.encode("")?);
                }
                tokens
            }
        };
        self.start(
            started,
            language,
            tokens,
            default_keep,
            options,
            (ReplyFormat::default(), Arc::default()),
        )
    }

    /// Starts the model's answer to `messages`, put into its chat template. What the cache holds
    /// from former turns is reused as far as the tokens are the same, so a chat, an edited message
    /// or an answer asked for again costs only the part that is new.
    ///
    /// What the model thinks and, with [`RenderOptions::tools`](crate::template::RenderOptions),
    /// the tools that it calls are told from its answer by the markers of the template; see
    /// [`Event`].
    ///
    /// # Errors
    /// As [`Session::complete`]; [`Error::InvalidArgument`] without messages; [`Error::Template`]
    /// when the model has no template or it refuses the messages.
    pub fn chat(&self, messages: &[Message], options: &GenerateOptions) -> Result<Generation> {
        let generation = self.chat_into(messages, options, Arc::default());
        log_start(&generation);
        generation
    }

    fn chat_into(
        &self,
        messages: &[Message],
        options: &GenerateOptions,
        channel: Arc<Channel>,
    ) -> Result<Generation> {
        let started = Instant::now();
        self.worker.check_idle()?;
        let language = self.language()?;
        if messages.is_empty() {
            return Err(Error::invalid("there are no messages to answer"));
        }
        let tokens = language.encode_chat(messages, &options.template)?;
        let default_keep = match self.options.policy {
            ContextPolicy::Shift { keep: None } => {
                system_tokens(&*language, messages, options, &tokens)
            }
            _ => 0,
        };
        let format = language.reply_format(&tokens, &options.template);
        self.start(
            started,
            language,
            tokens,
            default_keep,
            options,
            (format, channel),
        )
    }

    fn start(
        &self,
        started: Instant,
        language: Arc<dyn Language>,
        mut prompt: Vec<u32>,
        default_keep: usize,
        options: &GenerateOptions,
        (format, channel): (ReplyFormat, Arc<Channel>),
    ) -> Result<Generation> {
        if prompt.is_empty() {
            return Err(Error::invalid("the prompt has no tokens"));
        }
        if let Some(token) = prompt.iter().find(|t| **t as usize >= self.vocab_size) {
            return Err(Error::invalid(format!(
                "token {token} is outside the vocabulary of {}",
                self.vocab_size
            )));
        }
        let window = Window::new(self.options.policy, || default_keep);
        let dropped = window.drop_from_prompt(prompt.len(), self.context_length)?;
        prompt.drain(dropped.clone());
        let chunk = self.options.prefill_chunk.map_or(usize::MAX, usize::from);
        let job = Job {
            started,
            prompt,
            dropped: dropped.len(),
            window,
            chunk: chunk.min(self.max_chunk),
            sampler: Sampler::new(options.sampler.clone(), self.vocab_size)?,
            stops: StopMatcher::new(&options.stop)?,
            text: language.text_stream(&format.markers()),
            parser: ReplyParser::new(format),
            ends_turn: Box::new(move |token| language.is_end_of_generation(token)),
            max_tokens: options.max_tokens,
            mask: options.mask.clone(),
        };
        self.worker.start(Box::new(job), channel.clone())?;
        Ok(Generation::new(channel))
    }

    /// The tokens in the cache, from the oldest to the newest.
    ///
    /// # Errors
    /// [`Error::Busy`] while a reply runs, [`Error::Closed`].
    pub fn tokens(&self) -> Result<Vec<u32>> {
        self.worker.with_cache(|cache| Ok(cache.tokens().to_vec()))
    }

    /// Forgets all but the first `length` tokens of the cache; no effect when it holds fewer.
    ///
    /// # Errors
    /// As [`Session::tokens`].
    pub fn truncate(&self, length: usize) -> Result<()> {
        self.worker.with_cache(|cache| cache.truncate(length))
    }

    /// Replaces the session's adapters, each with its scale; an empty list takes all off. The next
    /// reply evaluates its whole prompt, as what the cache held was computed with others.
    ///
    /// # Errors
    /// As [`Session::tokens`]; [`Error::InvalidArgument`] for a scale that is no number, or an adapter
    /// that was opened for another model. The former adapters then stay.
    pub fn set_adapters(&self, adapters: &[(Adapter, f32)]) -> Result<()> {
        if let Some((_, scale)) = adapters.iter().find(|(_, scale)| !scale.is_finite()) {
            return Err(Error::invalid(format!("an adapter's scale of {scale}")));
        }
        self.worker.with_cache(|cache| cache.set_adapters(adapters))
    }

    /// A second session with the same cache and settings. Both go their own way from here.
    ///
    /// # Errors
    /// As [`Session::tokens`]; [`Error::OutOfMemory`] when the cache cannot be copied.
    pub fn fork(&self) -> Result<Self> {
        let cache = self.worker.with_cache(|cache| cache.fork())?;
        Ok(Self {
            worker: Worker::new(cache),
            language: Mutex::new(Some(self.language()?)),
            options: self.options.clone(),
            ..*self
        })
    }

    /// Most tokens that the cache holds.
    pub fn context_length(&self) -> usize {
        self.context_length
    }

    /// Cancels the reply that runs, if one does: see [`Generation::cancel`].
    pub fn cancel(&self) {
        self.worker.cancel();
    }

    /// Cancels the reply that runs, waits until its step has ended and frees the cache. From then
    /// on every call fails with [`Error::Closed`]; to close again does nothing.
    pub fn close(&self) {
        self.worker.close();
        let language = self.lock_language().take();
        // Dropped without the lock, as this may free a whole model.
        drop(language);
    }

    /// Whether it was closed, or broke in a panic.
    pub fn is_closed(&self) -> bool {
        self.lock_language().is_none() || self.worker.is_closed()
    }

    fn language(&self) -> Result<Arc<dyn Language>> {
        self.lock_language().clone().ok_or(Error::Closed)
    }

    fn lock_language(&self) -> MutexGuard<'_, Option<Arc<dyn Language>>> {
        self.language.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("options", &self.options)
            .field("context_length", &self.context_length)
            .finish_non_exhaustive()
    }
}

/// How many tokens at the front of `prompt` do not depend on what the user says: the system
/// message in whatever form the template gives it. Two other conversations with the same system
/// message tell, as they share just those with this one.
fn system_tokens(
    language: &dyn Language,
    messages: &[Message],
    options: &GenerateOptions,
    prompt: &[u32],
) -> usize {
    let system = messages
        .iter()
        .take_while(|m| m.role == Role::System)
        .count();
    ["0", "?"].iter().fold(prompt.len(), |keep, probe| {
        let mut other = messages[..system].to_vec();
        other.push(Message::user(*probe));
        // A template may refuse what it accepted with other messages. Then nothing is kept.
        language
            .encode_chat(&other, &options.template)
            .map_or(0, |tokens| common_prefix(&prompt[..keep], &tokens))
    })
}
