//! Panics on purpose, for tests of what becomes of one: feature `provoke-panics`, never shipped.
//!
//! No calls of their own, so that the surface is the same with and without: certain texts do it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dormouse::GenerateOptions;
use dormouse::session::{TokenMask, TokenSet};
use dormouse_kernels::Pool;

/// Sent, completed or tokenized: a panic on the thread that does it.
const HERE: &str = "\u{0}provoke a panic";
/// Sent or completed: a panic in a task of a compute pool, on a thread that is the pool's own.
const IN_POOL: &str = "\u{0}provoke a panic in a pool task";

/// Panics if `text` asks for it.
pub(crate) fn here(text: &str) {
    if text == HERE {
        panic!("provoked by {text:?}");
    }
}

/// Makes the reply to `text` panic on its session's thread, if `text` asks for it.
pub(crate) fn in_reply(text: &str, options: &mut GenerateOptions) {
    if text == HERE || text == IN_POOL {
        options.mask = Some(Arc::new(Panics(text.to_owned())));
    }
}

struct Panics(String);

impl TokenMask for Panics {
    fn apply(&self, _: &[u32], _: &mut TokenSet) -> dormouse::Result<()> {
        here(&self.0);
        let entered = AtomicBool::new(false);
        Pool::with_on_start(2, dormouse::threads::started).run(2, &|_, worker| {
            if worker > 0 {
                entered.store(true, Ordering::Relaxed);
                panic!("provoked by {:?}", self.0);
            }
            // The caller's own task waits, or it would take both.
            let start = Instant::now();
            while !entered.load(Ordering::Relaxed) && start.elapsed() < Duration::from_secs(10) {
                std::thread::yield_now();
            }
        });
        Ok(())
    }
}
