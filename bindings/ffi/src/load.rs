//! Loading, with progress and an end at any time.

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use dormouse::gguf::Gguf;
use dormouse::model::Model;

use crate::error::{Error, Result};
use crate::guard::guarded;
use crate::model::ModelHandle;
use crate::offload;
use crate::options::{LoadSettings, ModelSource};
use crate::plan;

/// A model being loaded. Dropping it cancels.
#[derive(uniffi::Object)]
pub struct LoadTask {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    cancelled: AtomicBool,
}

#[derive(Default)]
struct State {
    progress: f32,
    /// What the caller was last told.
    told: Option<f32>,
    result: Option<Result<Arc<ModelHandle>>>,
    ended: bool,
    wakers: Vec<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Starts to load a model, away from the calling thread.
///
/// # Errors
/// [`Error::InvalidOptions`] for settings outside their range or a descriptor that is none,
/// [`Error::Io`] when no thread can be started. All else comes from [`LoadTask::model`].
#[uniffi::export]
pub fn begin_load(source: ModelSource, settings: LoadSettings) -> Result<Arc<LoadTask>> {
    guarded(|| {
        let options = settings.to_engine()?;
        let source = source.open()?;
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        offload::run(move || {
            let result = guarded(|| {
                let mut watch = |share: f32| {
                    theirs.change(|state| state.progress = share);
                    if theirs.cancelled.load(Ordering::Relaxed) {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                };
                if watch(0.0).is_break() {
                    return Err(Error::Cancelled);
                }
                let gguf = Gguf::open_as(&source, options.file_access)?;
                plan::check(&gguf, &settings)?.within(settings.memory_budget)?;
                let mut model = Model::load_opened(gguf, options, &mut watch)?;
                if let Some(template) = &settings.chat_template {
                    model = model.with_template(template)?;
                }
                ModelHandle::new(model, &settings)
            });
            theirs.change(|state| {
                state.result = Some(result);
                state.ended = true;
            });
        })?;
        Ok(Arc::new(LoadTask { shared }))
    })
}

#[uniffi::export]
impl LoadTask {
    /// Waits until there is more progress, and tells the share that is done, from 0 to 1; none
    /// once the load has ended, however it ended.
    pub async fn progress(&self) -> Option<f32> {
        poll_fn(|context| {
            let mut state = self.shared.lock();
            if state.ended {
                Poll::Ready(None)
            } else if state.told != Some(state.progress) {
                state.told = Some(state.progress);
                Poll::Ready(state.told)
            } else {
                state.wakers.push(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// Waits for the end and takes the model.
    ///
    /// # Errors
    /// Why it could not be loaded; [`Error::Cancelled`]; [`Error::Closed`] when the model was
    /// taken already.
    pub async fn model(&self) -> Result<Arc<ModelHandle>> {
        poll_fn(|context| {
            let mut state = self.shared.lock();
            if !state.ended {
                state.wakers.push(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(state.result.take().unwrap_or(Err(Error::Closed)))
        })
        .await
    }

    /// Ends the load soon; [`LoadTask::model`] then fails with [`Error::Cancelled`], unless it was
    /// over already.
    pub fn cancel(&self) {
        self.shared.cancelled.store(true, Ordering::Relaxed);
    }
}

impl Drop for LoadTask {
    fn drop(&mut self) {
        self.cancel();
    }
}
