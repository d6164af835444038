//! One reply as its caller sees it: events to pull, a way to cancel.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::channel::{Channel, Transcript};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::template::{Message, ToolCall};

/// Something that happened in a reply.
///
/// One kind is to come: the governor's pauses.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// More of the answer's text: whole characters, never empty, all that came since the last
    /// event up to the next of another kind.
    Text(String),
    /// More of what the model thinks before it answers, in the same way. Only of chats whose
    /// template has markers for it.
    Reasoning(String),
    /// A call of a tool, complete. Only of chats with tools in
    /// [`RenderOptions::tools`](crate::template::RenderOptions::tools). What looks like a call
    /// but cannot be read as one comes as [`Event::Text`], unchanged.
    ToolCall(ToolCall),
    /// The reply is at its end; nothing follows.
    Done(Done),
}

/// How a reply ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Done {
    /// Why it ended.
    pub finish: FinishReason,
    /// What it cost.
    pub metrics: Metrics,
    /// The seed that was used: with it and the same settings the reply can be had again.
    pub seed: u64,
}

/// Why a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FinishReason {
    /// The model ended its turn.
    EndOfTurn,
    /// The model ended its turn after one or more calls of tools, and wants their results.
    ToolCalls,
    /// A stop string came.
    StopString,
    /// The limit on tokens was reached.
    MaxTokens,
    /// The context is full, and its policy is to stop.
    ContextFull,
    /// It was cancelled, or the session was closed.
    Cancelled,
}

impl fmt::Display for FinishReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndOfTurn => "end of turn",
            Self::ToolCalls => "tool calls",
            Self::StopString => "stop string",
            Self::MaxTokens => "token limit",
            Self::ContextFull => "context full",
            Self::Cancelled => "cancelled",
        })
    }
}

/// A reply that is being computed on its session's thread.
///
/// The computation runs ahead of the caller, who gets all the text since the last call of
/// [`Generation::next`] in one piece, but no further than 64 tokens: then the session's thread
/// waits, without holding anything that other sessions need, until an event is pulled or the reply
/// is cancelled, dropped or its session closed. So a reply ends only if somebody pulls its events
/// ([`Generation::text`], [`Generation::finish`] and [`Generation::message`] do): do not wait for
/// its end by other means, such as asking the session until it is no longer [`Error::Busy`].
///
/// Dropping a generation cancels it.
#[derive(Debug)]
pub struct Generation {
    channel: Arc<Channel>,
}

impl Generation {
    pub(super) fn new(channel: Arc<Channel>) -> Self {
        Self { channel }
    }

    #[cfg(test)]
    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Polls for the next event, for a future to be made of: like [`Iterator::next`], but where
    /// that would wait, the task is woken once there is something.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Event>>> {
        self.channel.poll_next(context)
    }

    /// Ends the reply within one token, or one layer of a chunk of the prompt. Its events so far and
    /// [`FinishReason::Cancelled`] can still be pulled.
    pub fn cancel(&self) {
        self.channel.cancel();
    }

    /// A handle that cancels this reply from elsewhere.
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle::new(self.channel.clone())
    }

    /// Waits for the end, and returns the answer's text that was not pulled yet.
    ///
    /// # Errors
    /// That of the reply, if it failed; its text is then lost.
    pub fn text(self) -> Result<String> {
        self.finish().map(|(text, _)| text)
    }

    /// Waits for the end, and returns the answer's text that was not pulled yet with how it ended.
    /// Reasoning and calls of tools are passed over.
    ///
    /// # Errors
    /// As [`Generation::text`]; [`Error::Closed`] when the end was already pulled.
    pub fn finish(self) -> Result<(String, Done)> {
        self.message().map(|(message, done)| (message.text(), done))
    }

    /// Waits for the end, and returns all that was not pulled yet, as the assistant's message with
    /// text, reasoning and calls of tools, and how it ended.
    ///
    /// # Errors
    /// As [`Generation::finish`].
    pub fn message(mut self) -> Result<(Message, Done)> {
        let mut reply = Transcript::default();
        for event in &mut self {
            match event? {
                Event::Done(done) => return Ok((reply.into_message(), done)),
                other => reply.add(&other),
            }
        }
        Err(Error::Closed)
    }
}

impl Iterator for Generation {
    type Item = Result<Event>;

    /// Waits for the next event; none after [`Event::Done`] or an error.
    fn next(&mut self) -> Option<Self::Item> {
        self.channel.next()
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// Cancels one reply, from any thread and as often as one likes.
#[derive(Debug, Clone)]
pub struct CancelHandle {
    channel: Arc<Channel>,
}

impl CancelHandle {
    pub(super) fn new(channel: Arc<Channel>) -> Self {
        Self { channel }
    }

    /// As [`Generation::cancel`].
    pub fn cancel(&self) {
        self.channel.cancel();
    }
}
