//! Embeddings, which can be ended at any time.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Poll, Waker};

use dormouse::model::{EmbedOptions, Model};

use crate::error::{Error, Result};
use crate::guard::guarded;
use crate::offload;

/// How the hidden states of a text's tokens become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// That of the first token.
    First,
    /// That of the last token.
    Last,
}

impl From<Pooling> for dormouse::model::Pooling {
    fn from(pooling: Pooling) -> Self {
        match pooling {
            Pooling::Mean => Self::Mean,
            Pooling::First => Self::First,
            Pooling::Last => Self::Last,
        }
    }
}

/// An embedding that is being computed. Dropping it cancels.
#[derive(uniffi::Object)]
pub struct EmbedTask {
    shared: Arc<Shared>,
}

/// What the task, the thread that computes and the model know of each other.
#[derive(Default)]
pub(crate) struct Shared {
    /// Looked at between layers.
    stop: Arc<AtomicBool>,
    /// Stopped because the model was closed.
    closed: AtomicBool,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    result: Option<Result<Vec<f32>>>,
    ended: bool,
    wakers: Vec<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the work because its model was closed, and waits until it holds nothing of the model:
    /// one layer.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.stop.store(true, Ordering::Relaxed);
        let mut state = self.lock();
        while !state.ended {
            state = self
                .ended
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The work, which has ended when this is dropped.
pub(crate) struct Work(Arc<Shared>);

impl Work {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// For whoever may have to end it.
    pub(crate) fn watched(&self) -> Weak<Shared> {
        Arc::downgrade(&self.0)
    }

    /// Begins the work, away from the calling thread.
    ///
    /// # Errors
    /// [`Error::Io`] when no thread can be started. All else comes from [`EmbedTask::vector`].
    pub(crate) fn begin(
        self,
        model: Model,
        text: String,
        pooling: Option<Pooling>,
    ) -> Result<Arc<EmbedTask>> {
        let shared = self.0.clone();
        offload::run(move || {
            let mut options = EmbedOptions::default();
            options.pooling = pooling.map(Into::into);
            let result = guarded(|| {
                #[cfg(feature = "provoke-panics")]
                crate::provoke::here(&text);
                Ok(model.embed_until(&text, &options, &self.0.stop)?)
            });
            // Before the end is told: whoever closed the model waits for its memory.
            drop(model);
            self.0.lock().result = Some(result);
        })?;
        Ok(Arc::new(EmbedTask { shared }))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.ended = true;
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.0.ended.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }
}

#[uniffi::export]
impl EmbedTask {
    /// Waits for the end and takes the vector, of length 1.
    ///
    /// # Errors
    /// [`Error::InvalidOptions`] for an empty text, or when neither the file nor the caller says
    /// how to pool; [`Error::ContextFull`] for a text longer than the model takes;
    /// [`Error::OutOfMemory`] when the memory budget is used up; [`Error::Cancelled`];
    /// [`Error::Closed`] when the model was closed meanwhile, or the vector was taken already.
    pub async fn vector(&self) -> Result<Vec<f32>> {
        poll_fn(|context| {
            let mut state = self.shared.lock();
            if !state.ended {
                state.wakers.push(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(match state.result.take() {
                Some(Err(Error::Cancelled)) if self.shared.closed.load(Ordering::Relaxed) => {
                    Err(Error::Closed)
                }
                Some(result) => result,
                None => Err(Error::Closed),
            })
        })
        .await
    }

    /// Ends the work within one layer; [`EmbedTask::vector`] then fails with
    /// [`Error::Cancelled`], unless it was over already.
    pub fn cancel(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl Drop for EmbedTask {
    fn drop(&mut self) {
        self.cancel();
    }
}
