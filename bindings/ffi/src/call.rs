//! A call that its caller can end early, from any thread and before it has begun.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use dormouse::session::CancelHandle;

use crate::error::{Error, Result};
use crate::offload::offload;

/// Ends one call, and that one alone. It is made before the call and passed to it, so that there
/// is no moment at which the call could not be ended: a language's own cancellation drops the
/// call's future some time later (Kotlin), or never (Swift).
#[derive(uniffi::Object, Default)]
pub struct CallToken {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    phase: Phase,
    /// The call's answer ends as soon as it begins.
    answer_cancelled: bool,
    /// The answer that the call has begun.
    answer: Option<CancelHandle>,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Open,
    Cancelled,
    /// The work has its effect, and is to be waited for.
    Committed,
}

#[uniffi::export]
impl CallToken {
    /// A token for one call.
    #[uniffi::constructor]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Has the call fail with [`Error::Cancelled`] and without an effect, unless it is over or has
    /// its effect already. The answer that it started or is starting is cancelled, and from now on
    /// is one that others wait for. Does not wait.
    pub fn cancel(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Cancelled;
        }
        let (answer, waker) = (state.answer.clone(), state.waker.take());
        drop(state);
        answer.iter().for_each(CancelHandle::cancel);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl CallToken {
    // Nothing that can panic runs under the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_cancelled(&self) -> bool {
        self.lock().phase == Phase::Cancelled
    }

    /// To be asked before the work does what others can see.
    ///
    /// # Errors
    /// [`Error::Cancelled`] once that was asked for.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            return Err(Error::Cancelled);
        }
        Ok(())
    }

    /// As [`CallToken::check`]; from then on the call cannot be ended any more.
    pub(crate) fn commit(&self) -> Result<()> {
        let mut state = self.lock();
        if state.phase == Phase::Cancelled {
            return Err(Error::Cancelled);
        }
        state.phase = Phase::Committed;
        Ok(())
    }

    /// Lets the call's answer be cancelled, which it is at once if that was asked for before.
    pub(crate) fn begun(&self, answer: CancelHandle) {
        let mut state = self.lock();
        if state.answer_cancelled || state.phase == Phase::Cancelled {
            answer.cancel();
        }
        state.answer = Some(answer);
    }

    /// Cancels the call's answer, also before it has begun; the call itself goes on.
    pub(crate) fn cancel_answer(&self) {
        let mut state = self.lock();
        state.answer_cancelled = true;
        let answer = state.answer.clone();
        drop(state);
        answer.iter().for_each(CancelHandle::cancel);
    }

    /// Makes a future of `work`, which [`CallToken::cancel`] ends at once with [`Error::Cancelled`];
    /// to drop the future is to cancel. `work` still runs to its end, and must ask
    /// [`CallToken::check`] or [`CallToken::commit`] before it has an effect.
    pub(crate) async fn offload<T: Send + 'static>(
        self: Arc<Self>,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.check()?;
        let mut dropped = Dropped(Some(&self));
        let mut working = pin!(offload(work));
        let result = poll_fn(|context| {
            // Before the look at the work, whose end must not be missed.
            let mut state = self.lock();
            if state.phase == Phase::Cancelled {
                return Poll::Ready(Err(Error::Cancelled));
            }
            state.waker = Some(context.waker().clone());
            drop(state);
            working.as_mut().poll(context)
        })
        .await;
        dropped.0 = None;
        result
    }
}

/// Cancels a call whose future is dropped before its end.
struct Dropped<'a>(Option<&'a Arc<CallToken>>);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        if let Some(token) = self.0 {
            token.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::sync::mpsc;
    use std::task::{Context, Wake};

    use super::*;

    struct Told(mpsc::Sender<()>);

    impl Wake for Told {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(());
        }
    }

    #[test]
    fn a_cancelled_call_ends_at_once_and_its_work_learns_of_it() {
        let (told, woken) = mpsc::channel();
        let waker = Waker::from(Arc::new(Told(told)));
        let mut context = Context::from_waker(&waker);
        let token = CallToken::new();
        let (go, waits) = mpsc::channel::<()>();
        let (saw, seen) = mpsc::channel();
        let theirs = token.clone();
        let mut call = pin!(token.clone().offload(move || {
            let _ = waits.recv();
            saw.send(theirs.commit().is_err()).unwrap();
            Ok(())
        }));
        assert!(call.as_mut().poll(&mut context).is_pending());
        token.cancel();
        woken.recv().unwrap();
        assert!(matches!(
            call.as_mut().poll(&mut context),
            Poll::Ready(Err(Error::Cancelled))
        ));
        drop(go);
        assert!(seen.recv().unwrap(), "the work was not told");
    }

    #[test]
    fn what_has_its_effect_is_waited_for() {
        let (told, woken) = mpsc::channel();
        let waker = Waker::from(Arc::new(Told(told)));
        let mut context = Context::from_waker(&waker);
        let token = CallToken::new();
        let (go, waits) = mpsc::channel::<()>();
        let (committed, has_committed) = mpsc::channel();
        let theirs = token.clone();
        let mut call = pin!(token.clone().offload(move || {
            theirs.commit()?;
            committed.send(()).unwrap();
            let _ = waits.recv();
            Ok(7)
        }));
        assert!(call.as_mut().poll(&mut context).is_pending());
        has_committed.recv().unwrap();
        token.cancel();
        woken.recv().unwrap();
        assert!(call.as_mut().poll(&mut context).is_pending());
        drop(go);
        woken.recv().unwrap();
        assert!(matches!(
            call.as_mut().poll(&mut context),
            Poll::Ready(Ok(7))
        ));
    }

    #[test]
    fn a_dropped_call_is_a_cancelled_one_and_a_finished_one_is_not() {
        let mut context = Context::from_waker(Waker::noop());
        let token = CallToken::new();
        {
            let (go, waits) = mpsc::channel::<()>();
            let mut call = pin!(token.clone().offload(move || {
                let _ = waits.recv();
                Ok(())
            }));
            assert!(call.as_mut().poll(&mut context).is_pending());
            assert!(token.check().is_ok());
            drop(go);
        }
        assert!(token.check().is_err());

        let (told, woken) = mpsc::channel();
        let waker = Waker::from(Arc::new(Told(told)));
        let mut context = Context::from_waker(&waker);
        let token = CallToken::new();
        {
            let mut call = pin!(token.clone().offload(|| Ok(())));
            while call.as_mut().poll(&mut context).is_pending() {
                woken.recv().unwrap();
            }
        }
        assert!(token.check().is_ok());
    }
}
