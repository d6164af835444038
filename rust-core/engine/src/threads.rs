//! Starts the engine's threads, and lets a host know of each.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::thread::{Builder, JoinHandle};

pub use dormouse_kernels::{note_panic_place, take_panic_place};

use crate::error::{Error, Result};

/// Stack for what recurses, such as the compiling and rendering of chat templates. Only what is
/// touched takes memory.
pub(crate) const LARGE_STACK: usize = 16 << 20;

static ON_START: OnceLock<fn(&str)> = OnceLock::new();

thread_local! {
    static HAS_LARGE_STACK: Cell<bool> = const { Cell::new(false) };
}

/// From now on `hook` runs first on every thread that the engine starts, with the thread's name:
/// for hosts that must make a thread known to them, as a Java VM must. The first hook stays.
pub fn set_on_start(hook: fn(&str)) {
    let _ = ON_START.set(hook);
}

/// Tells the host of the present thread, which is named `name` and has just begun.
pub fn started(name: &str) {
    if let Some(hook) = ON_START.get() {
        hook(name);
    }
}

/// Starts a thread named `name` as the engine does. Linux cuts names after 15 bytes.
///
/// # Errors
/// When the system gives no thread.
pub fn spawn<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.into()).spawn(move || {
        started(name);
        work()
    })
}

/// As [`spawn`], with a stack on which chat templates render in place: elsewhere each takes a
/// thread for the time.
///
/// # Errors
/// When the system gives no thread.
pub fn spawn_with_large_stack<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let builder = Builder::new().name(name.into()).stack_size(LARGE_STACK);
    builder.spawn(move || {
        HAS_LARGE_STACK.set(true);
        started(name);
        work()
    })
}

/// Runs `work` where the stack is large: here, or on a thread of its own named `name`, as callers'
/// stacks can be small (512 KiB on iOS).
///
/// # Errors
/// [`Error::Io`] when the system gives no thread, [`Error::Internal`] when `work` panics on it.
pub(crate) fn on_large_stack<T: Send>(
    name: &'static str,
    work: impl FnOnce() -> T + Send,
) -> Result<T> {
    if HAS_LARGE_STACK.get() {
        return Ok(work());
    }
    let life = || {
        started(name);
        catch_unwind(AssertUnwindSafe(work)).map_err(|_| take_panic_place())
    };
    let end = std::thread::scope(|scope| -> Result<_> {
        let builder = Builder::new().name(name.into()).stack_size(LARGE_STACK);
        let thread = builder
            .spawn_scoped(scope, life)
            .map_err(|e| Error::io(format!("cannot start the thread {name}"), e))?;
        Ok(thread.join())
    })?;
    let broken = |place| Error::Internal {
        what: format!("a panic on the thread {name}"),
        place,
    };
    match end {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(place)) => Err(broken(place)),
        Err(_) => Err(broken(None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_stack_is_not_left_for_another() {
        let here = || std::thread::current().id();
        let (at, below) = spawn_with_large_stack("dormouse-test", move || {
            (here(), on_large_stack("dormouse-test", here).unwrap())
        })
        .unwrap()
        .join()
        .unwrap();
        assert_eq!(at, below);
        assert_ne!(here(), on_large_stack("dormouse-test", here).unwrap());
    }

    #[test]
    fn a_panic_there_comes_back_with_its_place() {
        let result = on_large_stack("dormouse-test", || {
            note_panic_place(Some("there".to_owned()));
            panic!("the caller's words");
        });
        let Err(Error::Internal { what, place }) = result else {
            panic!("not an internal error");
        };
        assert_eq!(place.as_deref(), Some("there"));
        assert!(!what.contains("words"));
    }
}
