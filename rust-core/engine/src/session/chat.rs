//! A conversation with its history.

use std::path::Path;
use std::sync::Arc;

use super::Session;
use super::channel::{Channel, Start};
use super::generation::{CancelHandle, Generation};
use super::history::{load_messages, save_messages};
use super::options::GenerateOptions;
use super::run::log_start;
use crate::error::{Error, Result};
use crate::template::{Message, Role};

/// A session with the messages of its conversation.
///
/// The answer joins the history when it ends, with its reasoning and its calls of tools, however it
/// ends: of a cancelled one the part that came, even if that is nothing, so that user and assistant keep taking turns. A call that needs
/// the history at rest waits for a cancelled answer and fails with [`Error::Busy`] while another
/// runs. A call that fails leaves the history as it was.
#[derive(Debug)]
pub struct Chat {
    session: Arc<Session>,
    messages: Vec<Message>,
    options: GenerateOptions,
    pending: Option<Pending>,
}

/// An answer that is not in the history yet, and the messages that it answers.
#[derive(Debug)]
struct Pending {
    messages: Arc<Vec<Message>>,
    channel: Arc<Channel>,
}

/// An answer that was cancelled; see [`Chat::try_settle`].
#[derive(Debug)]
pub struct CancelledAnswer {
    channel: Arc<Channel>,
}

impl CancelledAnswer {
    /// Waits until it has ended.
    pub fn wait(&self) {
        self.channel.wait();
    }
}

/// An answer that is about to start: [`AnswerStart::run`] makes the prompt, which takes its
/// time, without the [`Chat`]. To drop it is to give it up, which leaves the history as it was.
#[derive(Debug)]
pub struct AnswerStart {
    session: Arc<Session>,
    messages: Arc<Vec<Message>>,
    options: GenerateOptions,
    channel: Arc<Channel>,
    started: bool,
}

impl AnswerStart {
    /// Cancels the answer, also before it has begun: it then ends as soon as it begins.
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle::new(self.channel.clone())
    }

    /// Starts the answer.
    ///
    /// # Errors
    /// As [`Session::chat`]; the history is then as it was.
    pub fn run(mut self) -> Result<Generation> {
        let channel = self.channel.clone();
        let generation = self
            .session
            .chat_into(&self.messages, &self.options, channel);
        if generation.is_ok() {
            self.started = true;
            self.channel.began();
        } else {
            self.channel.refuse();
        }
        log_start(&generation);
        generation
    }
}

impl Drop for AnswerStart {
    fn drop(&mut self) {
        if !self.started {
            self.channel.refuse();
        }
    }
}

impl Chat {
    /// A conversation without messages. Use [`Chat::set_system`] to instruct the model.
    pub fn new(session: impl Into<Arc<Session>>, options: GenerateOptions) -> Self {
        Self {
            session: session.into(),
            messages: Vec::new(),
            options,
            pending: None,
        }
    }

    /// The session that computes the answers.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The settings of the answers to come.
    pub fn options_mut(&mut self) -> &mut GenerateOptions {
        &mut self.options
    }

    /// The history, the answer that is being computed as far as it has come.
    pub fn messages(&self) -> Vec<Message> {
        match &self.pending {
            Some(pending) if pending.channel.start() == Start::Done => {
                let mut messages = pending.messages.to_vec();
                messages.push(pending.channel.message());
                messages
            }
            // Until an answer has begun it may still be refused.
            _ => self.messages.clone(),
        }
    }

    /// Sets, replaces or (with none) removes the system message at the front.
    ///
    /// # Errors
    /// [`Error::Busy`] while an answer is being computed.
    pub fn set_system(&mut self, text: Option<&str>) -> Result<()> {
        self.settle()?;
        if self.has_system() {
            self.messages.remove(0);
        }
        if let Some(text) = text {
            self.messages.insert(0, Message::new(Role::System, text));
        }
        Ok(())
    }

    /// Forgets all messages but the system message.
    ///
    /// # Errors
    /// [`Error::Busy`] while an answer is being computed.
    pub fn reset(&mut self) -> Result<()> {
        self.settle()?;
        self.messages.truncate(usize::from(self.has_system()));
        Ok(())
    }

    /// Replaces the whole history. The cache stays: what the next prompt shares with it is reused.
    ///
    /// # Errors
    /// [`Error::Busy`] while an answer is being computed.
    pub fn set_messages(&mut self, messages: Vec<Message>) -> Result<()> {
        self.settle()?;
        self.messages = messages;
        Ok(())
    }

    /// Says `text` as the user and starts the answer.
    ///
    /// # Errors
    /// As [`Session::chat`]; the message is then not part of the history.
    pub fn send(&mut self, text: &str) -> Result<Generation> {
        self.send_message(Message::user(text))
    }

    /// Adds a message of the user, or the result of a tool, and starts the answer.
    ///
    /// # Errors
    /// As [`Session::chat`]; [`Error::InvalidArgument`] for a message of another role. The
    /// message is then not part of the history.
    pub fn send_message(&mut self, message: Message) -> Result<Generation> {
        self.send_messages(vec![message])
    }

    /// Adds messages of the user or results of tools, such as one for each call, and starts the
    /// answer to them all.
    ///
    /// # Errors
    /// As [`Chat::send_message`]; [`Error::InvalidArgument`] for no messages.
    pub fn send_messages(&mut self, more: Vec<Message>) -> Result<Generation> {
        self.begin_send(more)?.run()
    }

    /// As [`Chat::send_messages`], up to where the prompt is made: for callers who share the chat
    /// between threads and do not want the others to wait. While the answer starts,
    /// [`Chat::messages`] is the history as it was.
    ///
    /// # Errors
    /// [`Error::Busy`] while another answer is started or computed; [`Error::InvalidArgument`] as
    /// with [`Chat::send_messages`].
    pub fn begin_send(&mut self, more: Vec<Message>) -> Result<AnswerStart> {
        self.settle()?;
        if more.is_empty() {
            return Err(Error::invalid("there are no messages to send"));
        }
        more.iter().try_for_each(check_sent)?;
        let mut messages = self.messages.clone();
        messages.extend(more);
        Ok(self.answer(messages))
    }

    /// Drops the last answer and starts another; where the last message has none, starts one.
    ///
    /// # Errors
    /// As [`Session::chat`]; [`Error::InvalidArgument`] when the user has said nothing yet.
    pub fn regenerate(&mut self) -> Result<Generation> {
        self.begin_regenerate()?.run()
    }

    /// As [`Chat::regenerate`], up to where the prompt is made: see [`Chat::begin_send`].
    ///
    /// # Errors
    /// [`Error::Busy`] while another answer is started or computed; [`Error::InvalidArgument`] when
    /// the user has said nothing yet.
    pub fn begin_regenerate(&mut self) -> Result<AnswerStart> {
        self.settle()?;
        let last = self.messages.iter().rposition(is_sent);
        let last = last.ok_or_else(|| Error::invalid("there is no message to answer"))?;
        Ok(self.answer(self.messages[..=last].to_vec()))
    }

    /// Replaces the user's message at `index` of [`Chat::messages`] by `text`, drops all after it
    /// and starts the answer.
    ///
    /// # Errors
    /// As [`Session::chat`]; [`Error::InvalidArgument`] when that is not a message of the user.
    pub fn edit(&mut self, index: usize, text: &str) -> Result<Generation> {
        self.edit_message(index, Message::user(text))
    }

    /// Replaces the message at `index` of [`Chat::messages`], one of the user or the result of a
    /// tool, by another such, drops all after it and starts the answer.
    ///
    /// # Errors
    /// As [`Session::chat`]; [`Error::InvalidArgument`] when either is of another role. The
    /// history is then as it was.
    pub fn edit_message(&mut self, index: usize, message: Message) -> Result<Generation> {
        self.begin_edit(index, message)?.run()
    }

    /// As [`Chat::edit_message`], up to where the prompt is made: see [`Chat::begin_send`].
    ///
    /// # Errors
    /// [`Error::Busy`] while another answer is started or computed; [`Error::InvalidArgument`] as
    /// with [`Chat::edit_message`].
    pub fn begin_edit(&mut self, index: usize, message: Message) -> Result<AnswerStart> {
        self.settle()?;
        check_sent(&message)?;
        if !self.messages.get(index).is_some_and(is_sent) {
            return Err(Error::invalid(format!(
                "message {index} is not one of the user's or a tool's"
            )));
        }
        let mut messages = self.messages[..index].to_vec();
        messages.push(message);
        Ok(self.answer(messages))
    }

    /// Writes the history to a JSON file, the answer that is being computed as far as it has
    /// come. A file that is there is replaced as a whole or, when that fails, left as it is.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<()> {
        save_messages(path, &self.messages())
    }

    /// Replaces the history by that of a file which [`Chat::save`] wrote. The cache stays: what
    /// the next prompt shares with it is reused.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read or is not such a file, [`Error::Busy`] while an
    /// answer is being computed. The history is then as it was.
    pub fn load(&mut self, path: &Path) -> Result<()> {
        self.settle()?;
        self.messages = load_messages(path)?;
        Ok(())
    }

    fn has_system(&self) -> bool {
        self.messages.first().map(|m| m.role) == Some(Role::System)
    }

    fn answer(&mut self, messages: Vec<Message>) -> AnswerStart {
        let messages = Arc::new(messages);
        let channel = Arc::new(Channel::with_transcript());
        self.pending = Some(Pending {
            messages: messages.clone(),
            channel: channel.clone(),
        });
        AnswerStart {
            session: self.session.clone(),
            messages,
            options: self.options.clone(),
            channel,
            started: false,
        }
    }

    /// Waits for an answer that was cancelled, and takes the last one into the history, unless it
    /// never began.
    ///
    /// # Errors
    /// [`Error::Busy`] while an answer is started or computed.
    pub fn settle(&mut self) -> Result<()> {
        while let Some(answer) = self.try_settle()? {
            answer.wait();
        }
        Ok(())
    }

    /// As [`Chat::settle`], but an answer that was cancelled and has not ended yet is returned and
    /// not waited for: for callers who share the chat between threads and wait without it. After
    /// none is returned, nothing waits until the next answer is begun.
    ///
    /// # Errors
    /// As [`Chat::settle`].
    pub fn try_settle(&mut self) -> Result<Option<CancelledAnswer>> {
        let Some(Pending { channel, .. }) = &self.pending else {
            return Ok(None);
        };
        if !channel.has_ended() {
            if !channel.is_cancelled() {
                return Err(Error::Busy);
            }
            let channel = channel.clone();
            return Ok(Some(CancelledAnswer { channel }));
        }
        let Some(Pending { messages, channel }) = self.pending.take() else {
            return Ok(None);
        };
        if channel.start() != Start::Refused {
            self.messages = Arc::unwrap_or_clone(messages);
            self.messages.push(channel.message());
        }
        Ok(None)
    }
}

/// Whether a message is one that the model answers.
fn is_sent(message: &Message) -> bool {
    matches!(message.role, Role::User | Role::Tool)
}

fn check_sent(message: &Message) -> Result<()> {
    if is_sent(message) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "a message of role {} cannot be sent (user and tool can)",
        message.role.as_str()
    )))
}
