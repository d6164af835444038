//! A loaded model.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use dormouse::model::Model;
use dormouse::tokenize::EncodeOptions;
use dormouse::{Chat, GenerateOptions, Session};

use crate::adapter::AdapterHandle;
use crate::call::CallToken;
use crate::chat::ChatHandle;
use crate::embed::{self, EmbedTask, Pooling};
use crate::error::{Error, Result};
use crate::guard::guarded;
use crate::offload::offload;
use crate::options::{ChatSettings, LoadSettings, ModelSource, ReplySettings, WhenFull};
use crate::reply::Reply;

/// What a model is.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ModelInfo {
    /// Its name, where the file has one.
    pub name: Option<String>,
    /// The architecture, by its GGUF name.
    pub architecture: String,
    /// How most of its weights are stored, by its GGUF name.
    pub quantization: String,
    /// Number of weights.
    pub parameters: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Tokens that it was trained to look back on.
    pub trained_context_length: u32,
    /// Tokens that the context of a chat holds unless it asks for its own.
    pub context_length: u32,
    /// Number of tokens that it knows.
    pub vocabulary_size: u32,
    /// Number of layers.
    pub layers: u32,
    /// Width of its hidden state.
    pub embedding_length: u32,
    /// Whether it can chat; without a template it can only complete.
    pub has_chat_template: bool,
    /// Whether its template takes tools.
    pub takes_tools: bool,
    /// Whether it thinks before it answers, by its template's markers.
    pub reasons: bool,
    /// Options that were accepted but have no effect in this version, in words.
    pub not_in_force: Vec<String>,
}

/// A loaded model.
#[derive(uniffi::Object)]
pub struct ModelHandle {
    /// None once closed.
    model: Mutex<Option<Model>>,
    info: ModelInfo,
    context_length: Option<u32>,
    /// All that computes on the model, to be closed with it.
    sessions: Mutex<Vec<Weak<Session>>>,
    /// Embeddings under way, to be ended with it.
    embeds: Mutex<Vec<Weak<embed::Shared>>>,
}

impl ModelHandle {
    pub(crate) fn new(model: Model, settings: &LoadSettings) -> Result<Arc<Self>> {
        // A context that cannot be is better refused now than with the first chat.
        let context = crate::options::context(settings.context_length);
        let context_length = model.decoder(&context)?.context_length();
        Ok(Arc::new(Self {
            info: info(&model, context_length, settings),
            model: Mutex::new(Some(model)),
            context_length: settings.context_length,
            sessions: Mutex::default(),
            embeds: Mutex::default(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Model>> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn model(&self) -> Result<Model> {
        self.lock().clone().ok_or(Error::Closed)
    }

    /// A session that is closed with the model.
    fn session(&self, settings: &ChatSettings) -> Result<Arc<Session>> {
        let options = settings.to_engine(self.context_length);
        let session = Arc::new(Session::new(&self.model()?, options)?);
        note(&self.sessions, Arc::downgrade(&session));
        // Closed in between: whoever closed may not have seen this one.
        if self.lock().is_none() {
            session.close();
            return Err(Error::Closed);
        }
        Ok(session)
    }
}

/// Adds to a list of what is to be closed, and forgets what is gone.
fn note<T>(list: &Mutex<Vec<Weak<T>>>, one: Weak<T>) {
    let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
    list.retain(|weak| weak.strong_count() > 0);
    list.push(one);
}

/// Empties such a list.
fn noted<T>(list: &Mutex<Vec<Weak<T>>>) -> impl Iterator<Item = Arc<T>> {
    let list = std::mem::take(&mut *list.lock().unwrap_or_else(PoisonError::into_inner));
    list.into_iter().filter_map(|weak| weak.upgrade())
}

fn info(model: &Model, context_length: usize, settings: &LoadSettings) -> ModelInfo {
    let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let config = model.config();
    let gguf = model.gguf();
    let mut bytes_of_type: Vec<(String, u64)> = Vec::new();
    for tensor in gguf.tensors() {
        let name = tensor.ty.name();
        match bytes_of_type.iter_mut().find(|(known, _)| *known == name) {
            Some((_, bytes)) => *bytes += tensor.bytes,
            None => bytes_of_type.push((name, tensor.bytes)),
        }
    }
    let template = model.template().ok();
    let source = template.map_or("", |template| template.source());
    ModelInfo {
        name: gguf
            .metadata()
            .str("general.name")
            .ok()
            .flatten()
            .map(str::to_owned),
        architecture: gguf.architecture().unwrap_or_default().to_owned(),
        quantization: bytes_of_type
            .into_iter()
            .max_by_key(|(_, bytes)| *bytes)
            .map_or_else(String::new, |(name, _)| name),
        parameters: gguf.tensors().iter().map(|t| t.elements()).sum(),
        file_bytes: gguf.file_bytes(),
        trained_context_length: small(config.context_length),
        context_length: small(context_length),
        vocabulary_size: small(config.n_vocab),
        layers: small(config.n_layer),
        embedding_length: small(config.n_embd),
        has_chat_template: template.is_some(),
        takes_tools: source.contains("tools"),
        reasons: template.is_some_and(dormouse::session::reasons),
        not_in_force: settings.not_in_force(),
    }
}

#[uniffi::export]
impl ModelHandle {
    /// What the model is. Also of a closed one.
    pub fn info(&self) -> ModelInfo {
        self.info.clone()
    }

    /// The tokens of a text. Special tokens written out in it are taken as such only with
    /// `special`; no beginning-of-text token is added.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn tokenize(&self, text: String, special: bool) -> Result<Vec<u32>> {
        let model = self.model()?;
        offload(move || {
            #[cfg(feature = "provoke-panics")]
            crate::provoke::here(&text);
            let options = EncodeOptions {
                add_special: false,
                parse_special: special,
            };
            Ok(model.tokenizer().encode(&text, options)?)
        })
        .await
    }

    /// The text of tokens; bytes that are no characters come as replacement characters.
    ///
    /// # Errors
    /// [`Error::Closed`]; [`Error::InvalidOptions`] for a token outside the vocabulary.
    pub fn detokenize(&self, tokens: Vec<u32>) -> Result<String> {
        guarded(|| {
            let model = self.model()?;
            let size = model.config().n_vocab;
            if let Some(token) = tokens.iter().find(|&&token| token as usize >= size) {
                return Err(Error::invalid(format!(
                    "token {token} is outside the vocabulary of {size}"
                )));
            }
            let bytes = model.tokenizer().decode(&tokens, true);
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        })
    }

    /// Opens a chat.
    ///
    /// # Errors
    /// [`Error::Template`] when the model has no chat template; [`Error::InvalidOptions`] for a
    /// context that the model cannot have; [`Error::OutOfMemory`] when the memory budget is used
    /// up; [`Error::Closed`].
    pub fn chat(&self, settings: ChatSettings) -> Result<Arc<ChatHandle>> {
        guarded(|| {
            self.model()?.template()?;
            let session = self.session(&settings)?;
            let mut chat = Chat::new(session.clone(), GenerateOptions::default());
            chat.set_system(settings.system.as_deref())?;
            Ok(ChatHandle::new(session, chat))
        })
    }

    /// Starts to go on from `prompt` as it is, without a chat template. The beginning-of-text token
    /// is put before it where the model has one, and special tokens in it are taken as such.
    ///
    /// # Errors
    /// [`Error::InvalidOptions`] for an empty prompt or settings outside their range;
    /// [`Error::ContextFull`] when it does not fit; [`Error::OutOfMemory`]; [`Error::Cancelled`];
    /// [`Error::Closed`].
    pub async fn complete(
        self: Arc<Self>,
        prompt: String,
        settings: ReplySettings,
        token: Arc<CallToken>,
    ) -> Result<Arc<Reply>> {
        let theirs = token.clone();
        let work = move || {
            self.model()?;
            #[cfg_attr(not(feature = "provoke-panics"), expect(unused_mut))]
            let mut options = settings.to_engine()?;
            #[cfg(feature = "provoke-panics")]
            crate::provoke::in_reply(&prompt, &mut options);
            let session = self.session(&ChatSettings {
                system: None,
                context_length: None,
                when_full: WhenFull::Stop,
            })?;
            let generation = session.complete(prompt, &options)?;
            theirs.begun(generation.cancel_handle());
            Ok(Reply::new(generation, session))
        };
        token.offload(work).await
    }

    /// Starts to compute a text's embedding: a vector of as many values as the hidden state is wide,
    /// of length 1. Special tokens written out in the text are ordinary text.
    ///
    /// `pooling`: none takes what the file asks for.
    ///
    /// # Errors
    /// [`Error::Closed`]; [`Error::Io`] when no thread can be started. All else comes from
    /// [`EmbedTask::vector`].
    pub fn begin_embed(&self, text: String, pooling: Option<Pooling>) -> Result<Arc<EmbedTask>> {
        guarded(|| {
            let work = embed::Work::new();
            let model = self.model()?;
            note(&self.embeds, work.watched());
            // Closed in between: whoever closed may not have seen this one.
            if self.is_closed() {
                return Err(Error::Closed);
            }
            work.begin(model, text, pooling)
        })
    }

    /// Opens a LoRA adapter for this model; its file is mapped or read in as the model's settings
    /// say.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Io`]; [`Error::UnsupportedModel`] for a file that is no LoRA
    /// adapter, or one for another architecture; [`Error::CorruptModel`] for one of other shapes;
    /// [`Error::InvalidOptions`] for a descriptor that is none; [`Error::Closed`].
    pub async fn load_adapter(&self, source: ModelSource) -> Result<Arc<AdapterHandle>> {
        let model = self.model()?;
        let source = source.open()?;
        offload(move || Ok(AdapterHandle::new(model.adapter(&source)?))).await
    }

    /// Ends all embeddings, closes all chats and gives the memory back. From then on every call
    /// fails with [`Error::Closed`]; to close again does nothing.
    pub fn close(&self) {
        let model = self.lock().take();
        noted(&self.sessions).for_each(|session| session.close());
        noted(&self.embeds).for_each(|embed| embed.close());
        drop(model);
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.lock().is_none()
    }
}

impl Drop for ModelHandle {
    fn drop(&mut self) {
        self.close();
    }
}
