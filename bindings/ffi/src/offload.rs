//! Makes a future of work that takes its time, without an async runtime: a thread does it.
//!
//! The threads are kept for a while, as a Java VM pays for each that calls into it for the first
//! time; and their stacks are large, so that chat templates need no further ones. There is no limit
//! on their number: work may wait for other work, such as for the end of a cancelled reply.

use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use dormouse::threads;

use crate::error::{Error, Result};
use crate::guard::guarded;

/// How long a thread waits for more work before it ends.
const IDLE: Duration = Duration::from_secs(10);

type Task = Box<dyn FnOnce() + Send>;

struct Queue {
    /// Never more than there are idle threads.
    tasks: Vec<Task>,
    idle: usize,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue {
    tasks: Vec::new(),
    idle: 0,
});
static CHANGED: Condvar = Condvar::new();

fn queue() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `task`, which does not panic, away from the calling thread.
///
/// # Errors
/// [`Error::Io`] when a further thread is needed and the system gives none.
pub(crate) fn run(task: impl FnOnce() + Send + 'static) -> Result<()> {
    let task: Task = Box::new(task);
    let mut waiting = queue();
    if waiting.tasks.len() < waiting.idle {
        waiting.tasks.push(task);
        drop(waiting);
        CHANGED.notify_one();
        return Ok(());
    }
    drop(waiting);
    threads::spawn_with_large_stack("dormouse-task", move || {
        let mut next = Some(task);
        while let Some(task) = next {
            task();
            next = wait();
        }
    })
    .map(drop)
    .map_err(|e| Error::Io {
        what: format!("cannot start a thread: {e}"),
        code: e.raw_os_error(),
    })
}

/// The next task; none after [`IDLE`].
fn wait() -> Option<Task> {
    let mut queue = queue();
    queue.idle += 1;
    let (mut queue, _) = CHANGED
        .wait_timeout_while(queue, IDLE, |queue| queue.tasks.is_empty())
        .unwrap_or_else(PoisonError::into_inner);
    queue.idle -= 1;
    queue.tasks.pop()
}

struct Slot<T> {
    result: Option<Result<T>>,
    waker: Option<Waker>,
}

/// Makes a future of `work`. If the future is dropped `work` still runs to its end, and what it
/// returns is dropped with it.
pub(crate) async fn offload<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let slot = Arc::new(Mutex::new(Slot {
        result: None,
        waker: None,
    }));
    let theirs = slot.clone();
    run(move || {
        let result = guarded(work);
        let waker = {
            let mut slot = theirs.lock().unwrap_or_else(PoisonError::into_inner);
            slot.result = Some(result);
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::mpsc;
    use std::thread;

    #[test]
    fn work_that_waits_for_other_work_ends_and_threads_are_used_again() {
        let (done, end) = mpsc::channel();
        let mut senders = Vec::new();
        for _ in 0..20 {
            let (go, waits) = mpsc::channel::<()>();
            senders.push(go);
            let done = done.clone();
            run(move || {
                let _ = waits.recv();
                done.send(thread::current().id()).unwrap();
            })
            .unwrap();
        }
        let (go, first) = mpsc::channel();
        run(move || go.send(()).unwrap()).unwrap();
        first.recv().unwrap();
        drop(senders);
        let many: HashSet<_> = end.iter().take(20).collect();
        assert_eq!(many.len(), 20);

        let mut seen = HashSet::new();
        for _ in 0..50 {
            let done = done.clone();
            run(move || done.send(thread::current().id()).unwrap()).unwrap();
            seen.insert(end.recv().unwrap());
        }
        assert!(seen.len() <= 22, "{} threads for 50 tasks", seen.len());
    }
}
