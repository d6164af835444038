//! Starts the engine's threads, and lets a host know of each.

use std::io;
use std::sync::OnceLock;
use std::thread::{Builder, JoinHandle};

static ON_START: OnceLock<fn(&str)> = OnceLock::new();

/// From now on `hook` runs first on every thread that computes replies, with the thread's name:
/// for hosts that must make a thread known to them, as a Java VM must. The first hook stays.
pub fn set_on_start(hook: fn(&str)) {
    let _ = ON_START.set(hook);
}

/// Starts a thread named `name` as the engine does.
///
/// # Errors
/// When the system gives no thread.
pub fn spawn<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.into()).spawn(move || {
        if let Some(hook) = ON_START.get() {
            hook(name);
        }
        work()
    })
}
