//! The thread of a session, and the state that it shares with the session's callers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::cache::Cache;
use super::channel::Channel;
use super::generation::Done;
use super::run::{Job, log_end, run};
use crate::error::{Error, Result};
use crate::threads;

/// Where the cache is: it moves to the thread for a reply and back at its end.
enum Phase {
    /// With the session, at rest.
    Idle(Cache),
    /// Handed over, not yet taken.
    Queued(Cache, Box<Job>),
    /// With the thread, or with a caller that forks or cuts it.
    Away,
    Closed,
}

struct State {
    phase: Phase,
    /// The reply that is queued or running.
    running: Option<Arc<Channel>>,
    /// The reply whose cache is back, and whose end is about to be told: for whoever waits for that
    /// end it still runs.
    ending: Option<Arc<Channel>>,
    closing: bool,
    /// The thread runs, or is about to.
    alive: bool,
    thread: Option<JoinHandle<()>>,
}

/// A cache, the thread that computes on it, and who may touch it when.
pub(super) struct Worker {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Worker {
    pub(super) fn new(cache: Cache) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    phase: Phase::Idle(cache),
                    running: None,
                    ending: None,
                    closing: false,
                    alive: false,
                    thread: None,
                }),
                changed: Condvar::new(),
            }),
        }
    }

    /// Fails as [`Worker::with_cache`] would, to save the work of preparing a reply.
    pub(super) fn check_idle(&self) -> Result<()> {
        self.shared.idle().map(drop)
    }

    /// Hands `job` to the thread, starting it if need be. Its events come through `channel`.
    ///
    /// # Errors
    /// [`Error::Busy`] while another reply runs that was not cancelled, [`Error::Closed`],
    /// [`Error::Io`] when no thread can be started.
    pub(super) fn start(&self, job: Box<Job>, channel: Arc<Channel>) -> Result<()> {
        let mut state = self.shared.idle()?;
        if !state.alive {
            let shared = self.shared.clone();
            let thread = threads::spawn("dormouse-reply", move || shared.serve())
                .map_err(|e| Error::io("start the session's thread", e))?;
            state.alive = true;
            state.thread = Some(thread);
        }
        state.phase = match std::mem::replace(&mut state.phase, Phase::Away) {
            Phase::Idle(cache) => Phase::Queued(cache, job),
            other => other,
        };
        state.running = Some(channel);
        drop(state);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Lets the caller at the cache while no reply runs.
    ///
    /// # Errors
    /// As [`Worker::start`]; [`Error::Internal`] when the decoder panicked, after which the
    /// session is closed; or what `work` returns.
    pub(super) fn with_cache<T>(&self, work: impl FnOnce(&mut Cache) -> Result<T>) -> Result<T> {
        let mut state = self.shared.idle()?;
        let Phase::Idle(mut cache) = std::mem::replace(&mut state.phase, Phase::Away) else {
            return Err(Error::internal("an idle session without a cache"));
        };
        drop(state);
        // The place is asked for at once: freeing what is broken may panic again.
        let result = catch_unwind(AssertUnwindSafe(|| work(&mut cache))).map_err(|_| panicked());
        self.shared.put_back(cache, result.is_err());
        result.and_then(|result| result)
    }

    /// Whether it is closed, by its user or by a panic.
    pub(super) fn is_closed(&self) -> bool {
        let state = self.shared.lock();
        state.closing || matches!(state.phase, Phase::Closed)
    }

    pub(super) fn cancel(&self) {
        let state = self.shared.lock();
        for channel in [&state.running, &state.ending].into_iter().flatten() {
            channel.cancel();
        }
    }

    /// Cancels what runs, waits until the thread has let go of the cache, and frees it. Any
    /// number of callers may close at the same time; each returns when all is over.
    pub(super) fn close(&self) {
        let shared = &self.shared;
        let mut state = shared.lock();
        state.closing = true;
        if let Some(channel) = &state.running {
            channel.cancel();
        }
        shared.changed.notify_all();
        // A mask may own the last handle of its own session, and is dropped on its thread, which
        // cannot wait for itself. It will see `closing` and end.
        let own_thread = state.thread.as_ref().map(|t| t.thread().id());
        if own_thread == Some(thread::current().id()) {
            return;
        }
        loop {
            match std::mem::replace(&mut state.phase, Phase::Closed) {
                Phase::Closed => break,
                Phase::Idle(cache) => {
                    drop(state);
                    drop_quietly(cache);
                    state = shared.lock();
                    break;
                }
                other => {
                    state.phase = other;
                    state = shared.wait(state);
                }
            }
        }
        while state.alive {
            state = shared.wait(state);
        }
        let thread = state.thread.take();
        drop(state);
        if let Some(thread) = thread {
            // It ended already or is about to; a panic in it was caught and reported.
            let _ = thread.join();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    // The state is whole between any two statements that change it, so poison means nothing.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The state with the cache at rest. Waits for what ends by itself soon: a cancelled reply,
    /// another caller's fork.
    fn idle(&self) -> Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        loop {
            if state.closing {
                return Err(Error::Closed);
            }
            match (&state.phase, &state.running) {
                (Phase::Idle(_), _) => return Ok(state),
                (Phase::Closed, _) => return Err(Error::Closed),
                (_, Some(channel)) if !channel.is_cancelled() => return Err(Error::Busy),
                _ => state = self.wait(state),
            }
        }
    }

    /// Returns the cache at the end of work on it, or frees it when the session is at its end.
    fn put_back(&self, cache: Cache, broken: bool) {
        let mut state = self.lock();
        if broken || state.closing {
            drop(state);
            drop_quietly(cache);
            state = self.lock();
            state.phase = Phase::Closed;
        } else {
            state.phase = Phase::Idle(cache);
        }
        if let Some(channel) = state.running.take() {
            state.ending = Some(channel);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// The life of the thread.
    fn serve(&self) {
        let _end = End(self);
        let mut state = self.lock();
        loop {
            match std::mem::replace(&mut state.phase, Phase::Away) {
                Phase::Queued(mut cache, job) => {
                    let channel = state.running.clone().unwrap_or_default();
                    drop(state);
                    let result = catch_unwind(AssertUnwindSafe(|| run(&mut cache, *job, &channel)))
                        .map_err(|_| panicked());
                    // First the cache, then the end: who sees the end may start the next reply.
                    self.put_back(cache, result.is_err());
                    let end = result.and_then(|result| result);
                    let told = end.as_ref().map(Done::clone).map_err(Error::kind);
                    channel.finish(end);
                    log_end(told);
                    state = self.lock();
                    state.ending = None;
                }
                Phase::Closed => {
                    state.phase = Phase::Closed;
                    return;
                }
                Phase::Idle(cache) if state.closing => {
                    drop(state);
                    self.put_back(cache, false);
                    state = self.lock();
                }
                other => {
                    state.phase = other;
                    state = self.wait(state);
                }
            }
        }
    }
}

/// Says that the thread is over, however it came to that.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.alive = false;
        let left = std::mem::replace(&mut state.phase, Phase::Closed);
        let running = state.running.take();
        drop(state);
        if let Phase::Idle(cache) | Phase::Queued(cache, _) = left {
            drop_quietly(cache);
        }
        if let Some(channel) = running {
            channel.finish(Err(Error::internal("the session's thread ended early")));
        }
        self.0.changed.notify_all();
    }
}

/// Drops a cache whose decoder may be broken, for which a second panic would end the process.
fn drop_quietly(cache: Cache) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(cache)));
}

/// The panic's own words stay out: they might quote what was being worked on.
fn panicked() -> Error {
    Error::panicked("a panic while computing; the session is closed")
}
