//! A conversation.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use dormouse::session::{AnswerStart, CancelledAnswer, load_messages, save_messages_if};
use dormouse::{Chat, Session};

use crate::adapter::ScaledAdapter;
use crate::call::CallToken;
use crate::error::{Error, Result};
use crate::guard::guarded;
use crate::messages::Message;
use crate::options::ReplySettings;
use crate::reply::Reply;

/// A conversation with a model.
#[derive(uniffi::Object)]
pub struct ChatHandle {
    /// Beside the lock, so that cancelling and closing never wait for it.
    session: Arc<Session>,
    /// None once closed.
    chat: Mutex<Option<Chat>>,
    /// The calls that are about to start an answer or do so, for whoever cancels meanwhile. Those
    /// that are never made go with their tokens.
    starts: Mutex<Vec<Weak<CallToken>>>,
    /// Held while the adapters are changed, so that the last who was not cancelled has the last
    /// word.
    adapting: Mutex<()>,
    /// Held from the look at the history until that is in its file, so that no save puts an older
    /// history in the place of a later one's.
    saving: Mutex<()>,
}

/// Strikes a start off the list when it is over, however it ends.
struct Listed {
    chat: Arc<ChatHandle>,
    token: Arc<CallToken>,
}

impl Listed {
    fn new(chat: Arc<ChatHandle>, token: Arc<CallToken>) -> Self {
        chat.list(&token);
        Self { chat, token }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let token = Arc::as_ptr(&self.token);
        lock(&self.chat.starts).retain(|listed| listed.as_ptr() != token);
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
            adapting: Mutex::default(),
            saving: Mutex::default(),
        })
    }

    /// Has [`ChatHandle::cancel`] cancel the answer that the call will start.
    fn list(&self, token: &Arc<CallToken>) {
        let mut starts = lock(&self.starts);
        starts.retain(|listed| listed.strong_count() > 0);
        if !starts
            .iter()
            .any(|listed| listed.as_ptr() == Arc::as_ptr(token))
        {
            starts.push(Arc::downgrade(token));
        }
    }

    fn check_open(&self) -> Result<()> {
        // Its model may have been closed, or it broke in a panic.
        if self.session.is_closed() {
            return Err(Error::Closed);
        }
        Ok(())
    }

    fn with<T>(&self, work: impl FnOnce(&mut Chat) -> Result<T>) -> Result<T> {
        guarded(|| {
            self.check_open()?;
            work(lock(&self.chat).as_mut().ok_or(Error::Closed)?)
        })
    }

    /// As [`ChatHandle::with`] for what changes the history: an answer that was cancelled is waited
    /// for, and without the lock, so that who only reads or closes does not wait with it.
    fn change<T>(&self, work: impl FnOnce(&mut Chat) -> Result<T>) -> Result<T> {
        let mut work = Some(work);
        loop {
            // The look and the work are under one lock: else somebody could cancel in between,
            // and the work would do the waiting.
            let step = self.with(|chat| {
                if let Some(answer) = chat.try_settle()? {
                    return Ok(Step::Wait(answer));
                }
                let work = work.take().ok_or(Error::Cancelled)?;
                work(chat).map(Step::Done)
            })?;
            match step {
                Step::Wait(answer) => answer.wait(),
                Step::Done(done) => return Ok(done),
            }
        }
    }

    /// Starts an answer away from the caller's thread: the template and the tokenizer take their
    /// time, without the lock, and a cancelled answer is waited for.
    async fn start(
        self: Arc<Self>,
        settings: ReplySettings,
        token: Arc<CallToken>,
        begin: impl FnOnce(&mut Chat) -> Result<AnswerStart> + Send + 'static,
    ) -> Result<Arc<Reply>> {
        let listed = Listed::new(self, token.clone());
        let work = move || {
            let Listed { chat, token } = &listed;
            chat.check_open()?;
            let options = settings.to_engine()?;
            let start = chat.change(|chat| {
                token.check()?;
                *chat.options_mut() = options;
                let start = begin(chat)?;
                // Still under the lock: whoever is told Busy from now on can cancel what it is.
                token.begun(start.cancel_handle());
                Ok(start)
            })?;
            let generation = start.run().map_err(|error| match error {
                // Whatever else was wrong with it, nobody will answer.
                _ if chat.session.is_closed() => Error::Closed,
                other => other.into(),
            })?;
            Ok(Reply::new(generation, chat.session.clone()))
        };
        token.offload(work).await
    }
}

/// How far a change has come.
enum Step<T> {
    Wait(CancelledAnswer),
    Done(T),
}

#[uniffi::export]
impl ChatHandle {
    /// A token for a call that starts an answer: from now on, before the call is made,
    /// [`ChatHandle::cancel`] cancels that answer. With any other token it does so only from when the
    /// call's future is polled.
    pub fn new_call(&self) -> Arc<CallToken> {
        let token = CallToken::new();
        self.list(&token);
        token
    }

    /// Adds messages (the user's, or results of tools) to the history and starts the answer, which
    /// joins the history at its end, however it ends.
    ///
    /// # Errors
    /// [`Error::Busy`] while another answer runs (one that was cancelled is waited for),
    /// [`Error::ContextFull`], [`Error::Template`], [`Error::InvalidOptions`], [`Error::Closed`];
    /// the history is then as it was. [`Error::Cancelled`] when the token is, the answer then being
    /// one that was cancelled; before it was begun nothing is said.
    pub async fn send(
        self: Arc<Self>,
        messages: Vec<Message>,
        settings: ReplySettings,
        token: Arc<CallToken>,
    ) -> Result<Arc<Reply>> {
        self.start(settings, token, move |chat| {
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
    pub async fn regenerate(
        self: Arc<Self>,
        settings: ReplySettings,
        token: Arc<CallToken>,
    ) -> Result<Arc<Reply>> {
        self.start(settings, token, |chat| Ok(chat.begin_regenerate()?))
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
        token: Arc<CallToken>,
    ) -> Result<Arc<Reply>> {
        self.start(settings, token, move |chat| {
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
    /// model or a scale that is no number, [`Error::Cancelled`], [`Error::Closed`], also for an
    /// adapter that is. The former adapters then stay.
    pub async fn set_adapters(
        self: Arc<Self>,
        adapters: Vec<ScaledAdapter>,
        token: Arc<CallToken>,
    ) -> Result<()> {
        let theirs = token.clone();
        let work = move || {
            self.change(|_| Ok(()))?;
            let adapters: Vec<_> = adapters
                .iter()
                .map(ScaledAdapter::to_engine)
                .collect::<Result<_>>()?;
            // Without the chat's lock, as it may wait for a step of another chat.
            let _one_at_a_time = lock(&self.adapting);
            theirs.commit()?;
            Ok(self.session.set_adapters(&adapters)?)
        };
        token.offload(work).await
    }

    /// Writes the history to a file, which is replaced as a whole or left as it is. Saves of a chat
    /// are made one after the other, so that what is in the file is never older than the last of
    /// them.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NotFound`] when its folder is not there, [`Error::Cancelled`],
    /// [`Error::Closed`]. The file is then as it was.
    pub async fn save(self: Arc<Self>, path: String, token: Arc<CallToken>) -> Result<()> {
        let theirs = token.clone();
        let work = move || {
            let _one_at_a_time = lock(&self.saving);
            theirs.check()?;
            let messages = self.with(|chat| Ok(chat.messages()))?;
            let commit = || theirs.commit().is_ok();
            match save_messages_if(Path::new(&path), &messages, commit)? {
                true => Ok(()),
                false => Err(Error::Cancelled),
            }
        };
        token.offload(work).await
    }

    /// Replaces the history by that of a file which [`ChatHandle::save`] wrote.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Io`] for a file that is no saved chat, [`Error::Busy`] while
    /// an answer runs, [`Error::Cancelled`], [`Error::Closed`]. The history is then as it was.
    pub async fn restore(self: Arc<Self>, path: String, token: Arc<CallToken>) -> Result<()> {
        let theirs = token.clone();
        let work = move || {
            // Nothing is read for nothing: an answer that runs will run for longer.
            self.change(|_| Ok(()))?;
            let messages = load_messages(Path::new(&path))?;
            self.change(|chat| {
                theirs.commit()?;
                Ok(chat.set_messages(messages)?)
            })
        };
        token.offload(work).await
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
        // A token whose last holder this is goes without the lock.
        let starts = lock(&self.starts).clone();
        for start in starts.iter().filter_map(Weak::upgrade) {
            start.cancel_answer();
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
