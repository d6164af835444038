//! A conversation.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dormouse::{Chat, Generation, Session};

use crate::error::{Error, Result};
use crate::guard::guarded;
use crate::messages::Message;
use crate::offload::offload;
use crate::options::ReplySettings;
use crate::reply::Reply;

/// A conversation with a model.
#[derive(uniffi::Object)]
pub struct ChatHandle {
    /// Beside the lock, so that cancelling and closing never wait for it.
    session: Arc<Session>,
    /// None once closed.
    chat: Mutex<Option<Chat>>,
}

impl ChatHandle {
    pub(crate) fn new(session: Arc<Session>, chat: Chat) -> Arc<Self> {
        Arc::new(Self {
            session,
            chat: Mutex::new(Some(chat)),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Chat>> {
        self.chat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Chat) -> Result<T>) -> Result<T> {
        guarded(|| work(self.lock().as_mut().ok_or(Error::Closed)?))
    }

    /// Starts an answer away from the caller's thread: the template and the tokenizer take their
    /// time, and a cancelled answer is waited for.
    async fn start(
        self: Arc<Self>,
        settings: ReplySettings,
        start: impl FnOnce(&mut Chat) -> Result<Generation> + Send + 'static,
    ) -> Result<Arc<Reply>> {
        offload("dormouse-start", move || {
            let options = settings.to_engine()?;
            let generation = self.with(|chat| {
                *chat.options_mut() = options;
                start(chat)
            })?;
            Ok(Reply::new(generation, self.session.clone()))
        })
        .await
    }
}

#[uniffi::export]
impl ChatHandle {
    /// Adds messages (the user's, or results of tools) to the history and starts the answer, which
    /// joins the history at its end, however it ends.
    ///
    /// # Errors
    /// [`Error::Busy`] while another answer runs (one that was cancelled is waited for),
    /// [`Error::ContextFull`], [`Error::Template`], [`Error::InvalidOptions`], [`Error::Closed`];
    /// the history is then as it was.
    pub async fn send(
        self: Arc<Self>,
        messages: Vec<Message>,
        settings: ReplySettings,
    ) -> Result<Arc<Reply>> {
        self.start(settings, move |chat| {
            let messages = to_engine(messages)?;
            #[cfg(feature = "provoke-panics")]
            for message in &messages {
                crate::provoke::in_reply(&message.text(), chat.options_mut());
            }
            Ok(chat.send_messages(messages)?)
        })
        .await
    }

    /// Drops the last answer and starts another.
    ///
    /// # Errors
    /// As [`ChatHandle::send`]; [`Error::InvalidOptions`] when there is nothing to answer.
    pub async fn regenerate(self: Arc<Self>, settings: ReplySettings) -> Result<Arc<Reply>> {
        self.start(settings, |chat| Ok(chat.regenerate()?)).await
    }

    /// Replaces the user's message at `index` of the history, drops all after it and starts the
    /// answer.
    ///
    /// # Errors
    /// As [`ChatHandle::send`]; [`Error::InvalidOptions`] when that is not a message of the user.
    pub async fn edit(
        self: Arc<Self>,
        index: u32,
        message: Message,
        settings: ReplySettings,
    ) -> Result<Arc<Reply>> {
        self.start(settings, move |chat| {
            Ok(chat.edit_message(index as usize, message.try_into()?)?)
        })
        .await
    }

    /// The history, an answer that is being computed as far as it has come.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn messages(&self) -> Result<Vec<Message>> {
        self.with(|chat| Ok(chat.messages().into_iter().map(Into::into).collect()))
    }

    /// Replaces the history, the system message included.
    ///
    /// # Errors
    /// [`Error::Busy`] while an answer runs, [`Error::InvalidOptions`], [`Error::Closed`].
    pub fn set_messages(&self, messages: Vec<Message>) -> Result<()> {
        self.with(|chat| {
            let messages = to_engine(messages)?;
            Ok(chat.set_messages(messages)?)
        })
    }

    /// Sets, replaces or (with none) removes the system message.
    ///
    /// # Errors
    /// [`Error::Busy`] while an answer runs, [`Error::Closed`].
    pub fn set_system(&self, text: Option<String>) -> Result<()> {
        self.with(|chat| Ok(chat.set_system(text.as_deref())?))
    }

    /// Forgets all messages but the system message.
    ///
    /// # Errors
    /// [`Error::Busy`] while an answer runs, [`Error::Closed`].
    pub fn reset(&self) -> Result<()> {
        self.with(|chat| Ok(chat.reset()?))
    }

    /// Writes the history to a file, which is replaced as a whole or left as it is.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NotFound`] when its folder is not there, [`Error::Closed`].
    pub async fn save(self: Arc<Self>, path: String) -> Result<()> {
        offload("dormouse-save", move || {
            self.with(|chat| Ok(chat.save(Path::new(&path))?))
        })
        .await
    }

    /// Replaces the history by that of a file which [`ChatHandle::save`] wrote.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Io`] for a file that is no saved chat, [`Error::Busy`] while
    /// an answer runs, [`Error::Closed`]. The history is then as it was.
    pub async fn restore(self: Arc<Self>, path: String) -> Result<()> {
        offload("dormouse-restore", move || {
            self.with(|chat| Ok(chat.load(Path::new(&path))?))
        })
        .await
    }

    /// Tokens that the context holds.
    pub fn context_length(&self) -> u32 {
        u32::try_from(self.session.context_length()).unwrap_or(u32::MAX)
    }

    /// Tokens of the context that are filled.
    ///
    /// # Errors
    /// [`Error::Busy`] while an answer runs, [`Error::Closed`].
    pub fn context_used(&self) -> Result<u32> {
        guarded(|| Ok(u32::try_from(self.session.tokens()?.len()).unwrap_or(u32::MAX)))
    }

    /// Cancels the answer that runs, if one does, within one token.
    pub fn cancel(&self) {
        self.session.cancel();
    }

    /// Cancels what runs, waits until its step has ended and gives the memory back. From then on
    /// every call fails with [`Error::Closed`]; to close again does nothing.
    pub fn close(&self) {
        self.session.close();
        let chat = self.lock().take();
        drop(chat);
    }

    /// Whether it was closed, by itself or with its model.
    pub fn is_closed(&self) -> bool {
        self.session.is_closed()
    }
}

impl Drop for ChatHandle {
    fn drop(&mut self) {
        self.close();
    }
}

fn to_engine(messages: Vec<Message>) -> Result<Vec<dormouse::template::Message>> {
    messages.into_iter().map(TryInto::try_into).collect()
}
