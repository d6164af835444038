//! What a session's thread and the holder of a reply share: the events on their way, the wish to
//! cancel, and the wait of one for the other.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::generation::{Done, Event};
use crate::error::Result;
use crate::template::{Message, Role, ToolCall};

/// Tokens that may wait for the caller. Enough that a caller who looks at the reply once per
/// frame, or is held up for a second or two on a phone, never makes the engine wait; few enough
/// that a caller who went away does not have a whole reply computed for nobody.
pub(super) const MAX_WAITING: usize = 64;

/// A task that waits for events is woken at most this often, every second frame of a screen: to
/// wake one across a language's border costs as much as part of a token. What comes sooner is handed
/// over with the next event, so nothing waits longer than this and one token more.
const WAKE_INTERVAL: Duration = Duration::from_millis(32);

/// The queue of one reply's events.
#[derive(Default)]
pub(super) struct Channel {
    state: Mutex<State>,
    changed: Condvar,
    /// Beside the lock, as the thread looks at it before every step, and the decoder between
    /// layers.
    cancelled: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    /// What was not pulled yet, and the tokens that each came from. Neighbours of one kind of
    /// text are one event.
    events: VecDeque<(Event, usize)>,
    /// The tokens of all these.
    waiting: usize,
    /// The session's thread waits until the caller has pulled.
    stalled: bool,
    /// The whole reply, where the session's user wants it kept.
    transcript: Option<Transcript>,
    end: Option<Result<Done>>,
    finished: bool,
    start: Start,
    waker: Option<std::task::Waker>,
    last_wake: Option<Instant>,
}

/// How far the reply has come that a [`Chat`](super::Chat) starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Start {
    /// Its prompt is being made.
    #[default]
    Preparing,
    Done,
    /// It never began.
    Refused,
}

/// A reply as it joins a history.
#[derive(Clone, Default)]
pub(super) struct Transcript {
    text: String,
    reasoning: String,
    calls: Vec<ToolCall>,
}

impl Transcript {
    pub(super) fn add(&mut self, event: &Event) {
        match event {
            Event::Text(text) => self.text.push_str(text),
            Event::Reasoning(text) => self.reasoning.push_str(text),
            Event::ToolCall(call) => self.calls.push(call.clone()),
            Event::Done(_) => {}
        }
    }

    pub(super) fn into_message(self) -> Message {
        Message {
            reasoning: Some(self.reasoning).filter(|text| !text.is_empty()),
            tool_calls: self.calls,
            ..Message::new(Role::Assistant, self.text)
        }
    }
}

impl State {
    fn push(&mut self, event: Event, tokens: usize) {
        if let Some(transcript) = &mut self.transcript {
            transcript.add(&event);
        }
        self.waiting += tokens;
        match (self.events.back_mut(), event) {
            (Some((Event::Text(last), count)), Event::Text(more))
            | (Some((Event::Reasoning(last), count)), Event::Reasoning(more)) => {
                last.push_str(&more);
                *count += tokens;
            }
            (_, event) => self.events.push_back((event, tokens)),
        }
    }

    fn take(&mut self) -> Poll<Option<Result<Event>>> {
        if let Some((event, tokens)) = self.events.pop_front() {
            self.waiting -= tokens;
            Poll::Ready(Some(Ok(event)))
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
    /// A channel that also keeps the whole reply.
    pub(super) fn with_transcript() -> Self {
        let channel = Self::default();
        channel.lock().transcript = Some(Transcript::default());
        channel
    }

    // Nothing that can panic runs under the lock, so the state is whole even if it is poisoned.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_on<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn cancel(&self) {
        // Under the lock, or a thread that is about to wait for room would miss it.
        let state = self.lock();
        self.cancelled.store(true, Ordering::Release);
        drop(state);
        self.changed.notify_all();
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// What is set once the reply is cancelled.
    pub(super) fn stop_flag(&self) -> Arc<AtomicBool> {
        self.cancelled.clone()
    }

    /// Adds an event that `tokens` further tokens made.
    pub(super) fn push(&self, event: Event, tokens: usize) {
        let mut state = self.lock();
        state.push(event, tokens);
        let now = Instant::now();
        let soon = |last: Instant| now.duration_since(last) < WAKE_INTERVAL;
        // A queue that is filling up is never left to wait for one more push.
        if state.last_wake.is_some_and(soon) && state.waiting < MAX_WAITING {
            drop(state);
            self.changed.notify_all();
            return;
        }
        state.last_wake = Some(now);
        self.wake(state);
    }

    /// Waits while [`MAX_WAITING`] tokens are not pulled, and returns how long that took. Ends at
    /// once when the reply is cancelled.
    pub(super) fn wait_for_room(&self) -> Duration {
        let mut state = self.lock();
        if state.waiting < MAX_WAITING || self.is_cancelled() {
            return Duration::ZERO;
        }
        let start = Instant::now();
        state.stalled = true;
        while state.waiting >= MAX_WAITING && !self.is_cancelled() {
            state = self.wait_on(state);
        }
        state.stalled = false;
        start.elapsed()
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

    /// Says that the reply began.
    pub(super) fn began(&self) {
        self.lock().start = Start::Done;
    }

    /// Says that the reply will not begin: whoever waits for its end need not.
    pub(super) fn refuse(&self) {
        let mut state = self.lock();
        state.start = Start::Refused;
        state.finished = true;
        self.wake(state);
    }

    pub(super) fn start(&self) -> Start {
        self.lock().start
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let waker = state.waker.take();
        drop(state);
        self.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The next event; where there is none yet, the task of `context` is woken once there is.
    pub(super) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Result<Event>>> {
        let mut state = self.lock();
        let next = state.take();
        if next.is_pending() {
            state.waker = Some(context.waker().clone());
        }
        self.release(state);
        next
    }

    /// Waits for the next event; none after the end.
    pub(super) fn next(&self) -> Option<Result<Event>> {
        let mut state = self.lock();
        loop {
            match state.take() {
                Poll::Ready(event) => {
                    self.release(state);
                    return event;
                }
                Poll::Pending => state = self.wait_on(state),
            }
        }
    }

    /// Lets the session's thread go on if it waits for room.
    fn release(&self, state: MutexGuard<'_, State>) {
        let go_on = state.stalled && state.waiting < MAX_WAITING;
        drop(state);
        if go_on {
            self.changed.notify_all();
        }
    }

    /// The reply so far as a message; an empty one where it is not kept.
    pub(super) fn message(&self) -> Message {
        let transcript = self.lock().transcript.clone();
        transcript.unwrap_or_default().into_message()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.lock().finished
    }

    /// Waits until the reply has ended. Only for one that was cancelled: any other may itself be
    /// waiting for somebody to pull.
    pub(super) fn wait(&self) {
        let mut state = self.lock();
        while !state.finished {
            state = self.wait_on(state);
        }
    }

    /// Tokens whose events wait for the caller.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting
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
