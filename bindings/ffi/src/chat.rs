//! A conversation.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dormouse::session::{AnswerStart, CancelHandle};
use dormouse::{Chat, Session};

use crate::adapter::ScaledAdapter;
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
    /// What is being started, for whoever cancels meanwhile: one answer, or several when one that
    /// was cancelled is waited for.
    starts: Mutex<Vec<Arc<Mutex<Start>>>>,
}

/// An answer that is being started.
#[derive(Default)]
struct Start {
    cancelled: bool,
    /// None until the chat has taken the messages.
    answer: Option<CancelHandle>,
}

impl Start {
    fn cancel(&mut self) {
        self.cancelled = true;
        if let Some(answer) = &self.answer {
            answer.cancel();
        }
    }
}

/// Strikes a start off the list when it is over, however it ends.
struct Listed {
    chat: Arc<ChatHandle>,
    start: Arc<Mutex<Start>>,
}

impl Listed {
    fn new(chat: Arc<ChatHandle>) -> Self {
        let start = Arc::<Mutex<Start>>::default();
        lock(&chat.starts).push(start.clone());
        Self { chat, start }
    }

    /// Lets the answer be cancelled, which it is at once if that was asked for before.
    fn begun(&self, answer: CancelHandle) {
        let mut start = lock(&self.start);
        if start.cancelled {
            answer.cancel();
        }
        start.answer = Some(answer);
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        lock(&self.chat.starts).retain(|start| !Arc::ptr_eq(start, &self.start));
    }
}

// Each of these values is whole whatever panics around it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ChatHandle {
    pub(crate) fn new(session: Arc<Session>, chat: Chat) -> Arc<Self> {
        Arc::new(Self {
            session,
            chat: Mutex::new(Some(chat)),
            starts: Mutex::default(),
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Chat) -> Result<T>) -> Result<T> {
        guarded(|| {
            // Its model may have been closed, or it broke in a panic.
            if self.session.is_closed() {
                return Err(Error::Closed);
            }
            work(lock(&self.chat).as_mut().ok_or(Error::Closed)?)
        })
    }

    /// As [`ChatHandle::with`] for what changes the history: an answer that was cancelled is waited
    /// for, and without the lock, so that who only reads or closes does not wait with it.
    fn change<T>(&self, work: impl FnOnce(&mut Chat) -> Result<T>) -> Result<T> {
        while let Some(answer) = self.with(|chat| Ok(chat.cancelled_answer()))? {
            answer.wait();
        }
        self.with(work)
    }

    /// Starts an answer away from the caller's thread: the template and the tokenizer take their
    /// time, without the lock, and a cancelled answer is waited for.
    async fn start(
        self: Arc<Self>,
        settings: ReplySettings,
        begin: impl FnOnce(&mut Chat) -> Result<AnswerStart> + Send + 'static,
    ) -> Result<Arc<Reply>> {
        let listed = Listed::new(self);
        offload(move || {
            let chat = &listed.chat;
            let options = settings.to_engine()?;
            let start = chat.change(|chat| {
                *chat.options_mut() = options;
                let start = begin(chat)?;
                // Still under the lock: whoever is told Busy from now on can cancel what it is.
                listed.begun(start.cancel_handle());
                Ok(start)
            })?;
            let generation = start.run().map_err(|error| match error {
                // Whatever else was wrong with it, nobody will answer.
                _ if chat.session.is_closed() => Error::Closed,
                other => other.into(),
            })?;
            Ok(Reply::new(generation, chat.session.clone()))
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
            Ok(chat.begin_send(messages)?)
        })
        .await
    }

    /// Drops the last answer and starts another.
    ///
    /// # Errors
    /// As [`ChatHandle::send`]; [`Error::InvalidOptions`] when there is nothing to answer.
    pub async fn regenerate(self: Arc<Self>, settings: ReplySettings) -> Result<Arc<Reply>> {
        self.start(settings, |chat| Ok(chat.begin_regenerate()?))
            .await
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
            Ok(chat.begin_edit(index as usize, message.try_into()?)?)
        })
        .await
    }

    /// The history, an answer that is being computed as far as it has come; one that is being
    /// started is no part of it yet, nor is what it answers.
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
        self.change(|chat| {
            let messages = to_engine(messages)?;
            Ok(chat.set_messages(messages)?)
        })
    }

    /// Sets, replaces or (with none) removes the system message.
    ///
    /// # Errors
    /// [`Error::Busy`] while an answer runs, [`Error::Closed`].
    pub fn set_system(&self, text: Option<String>) -> Result<()> {
        self.change(|chat| Ok(chat.set_system(text.as_deref())?))
    }

    /// Forgets all messages but the system message.
    ///
    /// # Errors
    /// [`Error::Busy`] while an answer runs, [`Error::Closed`].
    pub fn reset(&self) -> Result<()> {
        self.change(|chat| Ok(chat.reset()?))
    }

    /// Replaces the chat's adapters; none takes all off. The history stays, and the next answer
    /// evaluates all of it, as what the cache held was computed with others.
    ///
    /// # Errors
    /// [`Error::Busy`] while an answer runs, [`Error::InvalidOptions`] for an adapter of another
    /// model or a scale that is no number, [`Error::Closed`], also for an adapter that is. The
    /// former adapters then stay.
    pub async fn set_adapters(self: Arc<Self>, adapters: Vec<ScaledAdapter>) -> Result<()> {
        offload(move || {
            self.change(|chat| Ok(chat.settle()?))?;
            let adapters: Vec<_> = adapters
                .iter()
                .map(ScaledAdapter::to_engine)
                .collect::<Result<_>>()?;
            // Without the lock, as it may wait for a step of another chat.
            Ok(self.session.set_adapters(&adapters)?)
        })
        .await
    }

    /// Writes the history to a file, which is replaced as a whole or left as it is.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NotFound`] when its folder is not there, [`Error::Closed`].
    pub async fn save(self: Arc<Self>, path: String) -> Result<()> {
        offload(move || self.with(|chat| Ok(chat.save(Path::new(&path))?))).await
    }

    /// Replaces the history by that of a file which [`ChatHandle::save`] wrote.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Io`] for a file that is no saved chat, [`Error::Busy`] while
    /// an answer runs, [`Error::Closed`]. The history is then as it was.
    pub async fn restore(self: Arc<Self>, path: String) -> Result<()> {
        offload(move || self.change(|chat| Ok(chat.load(Path::new(&path))?))).await
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

    /// Cancels the answer that runs, if one does, within one token; one that is being started ends
    /// as soon as it begins.
    pub fn cancel(&self) {
        for start in lock(&self.starts).iter() {
            lock(start).cancel();
        }
        self.session.cancel();
    }

    /// Cancels what runs, waits until its step has ended and gives the memory back. From then on
    /// every call fails with [`Error::Closed`]; to close again does nothing.
    pub fn close(&self) {
        self.session.close();
        let chat = lock(&self.chat).take();
        drop(chat);
    }

    /// Whether it was closed, by itself or with its model, or broke in a panic.
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
