//! Makes a future of work that takes its time, without an async runtime: a thread does it.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use crate::error::{Error, Result};
use crate::guard::guarded;

struct Slot<T> {
    result: Option<Result<T>>,
    waker: Option<Waker>,
}

/// Runs `work` on a thread of its own named `name`. If the future is dropped `work` still runs to
/// its end, and what it returns is dropped with it.
pub(crate) async fn offload<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let slot = Arc::new(Mutex::new(Slot {
        result: None,
        waker: None,
    }));
    let theirs = slot.clone();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let result = guarded(work);
            let waker = {
                let mut slot = theirs.lock().unwrap_or_else(PoisonError::into_inner);
                slot.result = Some(result);
                slot.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        })
        .map_err(|e| Error::Io {
            what: format!("cannot start a thread: {e}"),
            code: e.raw_os_error(),
        })?;
    poll_fn(move |context| {
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        match slot.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    })
    .await
}
