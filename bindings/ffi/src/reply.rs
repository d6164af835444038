//! One reply: events to pull, a way to cancel.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use dormouse::session::CancelHandle;
use dormouse::threads::take_panic_place;
use dormouse::{Generation, Session};

#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::events::Event;
use crate::guard::panicked;

/// A reply that is being computed. Dropping it cancels.
#[derive(uniffi::Object)]
pub struct Reply {
    generation: Mutex<Generation>,
    cancel: CancelHandle,
    /// A completion has no chat that would keep its session.
    _session: Arc<Session>,
}

impl Reply {
    pub(crate) fn new(generation: Generation, session: Arc<Session>) -> Arc<Self> {
        Arc::new(Self {
            cancel: generation.cancel_handle(),
            generation: Mutex::new(generation),
            _session: session,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Generation> {
        self.generation
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn caught(&self, context: &mut Context<'_>) -> Poll<Result<Vec<Event>>> {
        catch_unwind(AssertUnwindSafe(|| self.poll_events(context)))
            .unwrap_or_else(|_| Poll::Ready(Err(panicked(take_panic_place()))))
    }

    /// All that has happened; at least one event, or an empty list once all were given.
    fn poll_events(&self, context: &mut Context<'_>) -> Poll<Result<Vec<Event>>> {
        let mut generation = self.lock();
        let mut events = Vec::new();
        loop {
            match generation.poll_next(context) {
                Poll::Ready(Some(Ok(event))) => {
                    let event = Event::of(event);
                    let last = matches!(event, Some(Event::Done { .. }));
                    events.extend(event);
                    if last {
                        return Poll::Ready(Ok(events));
                    }
                }
                // Events that came before a failure are lost to the caller, who gets the error.
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error.into())),
                Poll::Ready(None) => return Poll::Ready(Ok(events)),
                Poll::Pending if events.is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Ok(events)),
            }
        }
    }
}

/// Wakes a thread that waits for events.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[uniffi::export]
impl Reply {
    /// Waits for something to happen and returns all that has, in order; an empty list once the
    /// reply's end was returned. One caller at a time.
    ///
    /// # Errors
    /// Why the reply failed; the chat stays usable, but for [`Error::Internal`].
    pub async fn next(&self) -> Result<Vec<Event>> {
        poll_fn(|context| self.caught(context)).await
    }

    /// [`next`](Self::next), which the calling thread waits for: where a call from another thread
    /// is dear, as into a Java VM, it costs less than to be called back. Cancelling ends the wait.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn await_events(&self) -> Result<Vec<Event>> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            match self.caught(&mut context) {
                Poll::Ready(events) => return events,
                Poll::Pending => thread::park(),
            }
        }
    }

    /// Ends the reply within one token. Its events so far and its end can still be pulled.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }
}
