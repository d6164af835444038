//! One reply as its caller sees it: events to pull, a way to cancel.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::{Error, Result};
use crate::metrics::Metrics;

/// Something that happened in a reply.
///
/// Kinds to come, each with the part of the engine that makes it: reasoning text, tool calls, and
/// the governor's pauses.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// More of the reply's text: whole characters, never empty, all that came since the last
    /// event.
    Text(String),
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
            Self::StopString => "stop string",
            Self::MaxTokens => "token limit",
            Self::ContextFull => "context full",
            Self::Cancelled => "cancelled",
        })
    }
}

/// A reply that is being computed on its session's thread.
///
/// The computation does not wait for the caller: [`Generation::next`] gives all the text since the
/// last call in one piece. Dropping a generation cancels it.
#[derive(Debug)]
pub struct Generation {
    channel: Arc<Channel>,
}

impl Generation {
    pub(super) fn new(channel: Arc<Channel>) -> Self {
        Self { channel }
    }

    pub(super) fn channel(&self) -> Arc<Channel> {
        self.channel.clone()
    }

    /// Polls for the next event, for a future to be made of: like [`Iterator::next`], but where
    /// that would wait, the task is woken once there is something.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Event>>> {
        let mut state = self.channel.lock();
        let next = state.take();
        if next.is_pending() {
            state.waker = Some(context.waker().clone());
        }
        next
    }

    /// Ends the reply within one token, or one chunk of the prompt. Its events so far and
    /// [`FinishReason::Cancelled`] can still be pulled.
    pub fn cancel(&self) {
        self.channel.cancel();
    }

    /// A handle that cancels this reply from elsewhere.
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle {
            channel: self.channel.clone(),
        }
    }

    /// Waits for the end, and returns the text that was not pulled yet.
    ///
    /// # Errors
    /// That of the reply, if it failed; its text is then lost.
    pub fn text(self) -> Result<String> {
        self.finish().map(|(text, _)| text)
    }

    /// Waits for the end, and returns the text that was not pulled yet with how it ended.
    ///
    /// # Errors
    /// As [`Generation::text`]; [`Error::Closed`] when the end was already pulled.
    pub fn finish(mut self) -> Result<(String, Done)> {
        let mut text = String::new();
        for event in &mut self {
            match event? {
                Event::Text(more) => text.push_str(&more),
                Event::Done(done) => return Ok((text, done)),
            }
        }
        Err(Error::Closed)
    }
}

impl Iterator for Generation {
    type Item = Result<Event>;

    /// Waits for the next event; none after [`Event::Done`] or an error.
    fn next(&mut self) -> Option<Self::Item> {
        let mut state = self.channel.lock();
        loop {
            match state.take() {
                Poll::Ready(event) => return event,
                Poll::Pending => {
                    state = self
                        .channel
                        .changed
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
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
    /// As [`Generation::cancel`].
    pub fn cancel(&self) {
        self.channel.cancel();
    }
}

/// What a session's thread and the holder of a [`Generation`] share.
#[derive(Default)]
pub(super) struct Channel {
    state: Mutex<State>,
    changed: Condvar,
    cancelled: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Text that was not pulled yet.
    text: String,
    /// All the text of the reply, where the session's user wants it kept.
    transcript: Option<String>,
    end: Option<Result<Done>>,
    finished: bool,
    waker: Option<Waker>,
}

impl State {
    fn take(&mut self) -> Poll<Option<Result<Event>>> {
        if !self.text.is_empty() {
            Poll::Ready(Some(Ok(Event::Text(std::mem::take(&mut self.text)))))
        } else if let Some(end) = self.end.take() {
            Poll::Ready(Some(end.map(Event::Done)))
        } else if self.finished {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    }
}

impl Channel {
    /// A channel that also keeps the whole text of the reply.
    pub(super) fn with_transcript() -> Self {
        let channel = Self::default();
        channel.lock().transcript = Some(String::new());
        channel
    }

    // Nothing that can panic runs under the lock, so the state is whole even if it is poisoned.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    pub(super) fn push(&self, text: &str) {
        if text.is_empty() {
            return;
        }
        let mut state = self.lock();
        state.text.push_str(text);
        if let Some(transcript) = &mut state.transcript {
            transcript.push_str(text);
        }
        self.wake(state);
    }

    /// The last that happens: later ends are passed over.
    pub(super) fn finish(&self, end: Result<Done>) {
        let mut state = self.lock();
        if !state.finished {
            state.finished = true;
            state.end = Some(end);
        }
        self.wake(state);
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let waker = state.waker.take();
        drop(state);
        self.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The reply's text so far; empty where it is not kept.
    pub(super) fn transcript(&self) -> String {
        self.lock().transcript.clone().unwrap_or_default()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.lock().finished
    }

    /// Waits until the reply has ended.
    pub(super) fn wait(&self) {
        let mut state = self.lock();
        while !state.finished {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl fmt::Debug for Channel {
    // Without the text, which has no place in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}
