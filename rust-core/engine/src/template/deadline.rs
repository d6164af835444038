//! Ends renderings that take too long.
//!
//! The time is the processor's, of the rendering thread: an honest template must not fail because a
//! machine is busy. It is looked at before everything whose time grows with what it is given, and at
//! least once in each turn of a loop and call of a macro (see `rewrite`), so what lies between two
//! looks is bounded by the length of the source and one operation on values that the template could
//! pay for.

use std::cell::Cell;
use std::time::{Duration, Instant};

use minijinja::{Error, ErrorKind};

use super::refusal::with_words;
use crate::metrics::thread_cpu_time;

/// What a rendering may take for an empty conversation.
const LIMIT: Duration = Duration::from_millis(100);
/// What each unit of fuel that the conversation brings adds: one comes with each byte of text.
const LIMIT_PER_FUEL: Duration = Duration::from_nanos(100);
/// How much slower code is without optimization.
const SLOWNESS: u32 = if cfg!(debug_assertions) { 10 } else { 1 };

#[derive(Clone, Copy)]
struct Deadline {
    /// The thread's processor time at which the rendering ends.
    end: Duration,
    /// Before this instant the end cannot be reached, however much of the processor is ours. The
    /// wall clock is far cheaper to read than the thread's.
    not_before: Instant,
}

/// Turns of a loop of which one looks at the time.
const TURNS: u32 = 8;

thread_local! {
    static TURN: Cell<u32> = const { Cell::new(0) };
    static DEADLINE: Cell<Option<Deadline>> = const { Cell::new(None) };
}

/// The deadline holds as long as this lives, on this thread.
pub(super) struct Limited(Option<Deadline>);

impl Limited {
    /// `fuel` is what the conversation adds to the fuel.
    pub(super) fn new(fuel: u64) -> Self {
        let fuel = u32::try_from(fuel).unwrap_or(u32::MAX);
        let limit = (LIMIT + LIMIT_PER_FUEL.saturating_mul(fuel)).saturating_mul(SLOWNESS);
        let deadline = Deadline {
            end: thread_cpu_time() + limit,
            not_before: Instant::now() + limit,
        };
        Self(DEADLINE.replace(Some(deadline)))
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        DEADLINE.set(self.0);
    }
}

/// As [`check`], cheaper, for what is done often and is little each time.
pub(super) fn check_turn() -> Result<(), Error> {
    let turn = TURN.get().wrapping_add(1);
    TURN.set(turn);
    if turn.is_multiple_of(TURNS) {
        check()
    } else {
        Ok(())
    }
}

/// # Errors
/// When the rendering's time is over.
pub(super) fn check() -> Result<(), Error> {
    let Some(deadline) = DEADLINE.get() else {
        return Ok(());
    };
    let now = Instant::now();
    if now < deadline.not_before {
        return Ok(());
    }
    let left = deadline.end.saturating_sub(thread_cpu_time());
    if left.is_zero() {
        return Err(with_words(
            ErrorKind::OutOfFuel,
            "it takes too long (is there an endless loop?)",
        ));
    }
    DEADLINE.set(Some(Deadline {
        not_before: now + left,
        ..deadline
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_the_threads_and_ends_with_its_guard() {
        check().unwrap();
        let outer = Limited::new(0);
        check().unwrap();
        DEADLINE.set(Some(Deadline {
            end: Duration::ZERO,
            not_before: Instant::now(),
        }));
        assert_eq!(check().unwrap_err().kind(), ErrorKind::OutOfFuel);
        std::thread::spawn(|| check().unwrap()).join().unwrap();
        let inner = Limited::new(0);
        check().unwrap();
        drop(inner);
        check().unwrap_err();
        drop(outer);
        check().unwrap();
    }

    #[test]
    fn time_that_others_take_does_not_count() {
        let _limited = Limited::new(0);
        let end = thread_cpu_time() + Duration::from_millis(30);
        DEADLINE.set(Some(Deadline {
            end,
            not_before: Instant::now() + Duration::from_millis(30),
        }));
        std::thread::sleep(Duration::from_millis(60));
        // Past the instant, but the thread slept.
        if cfg!(any(target_os = "linux", target_vendor = "apple")) {
            check().unwrap();
        }
        while thread_cpu_time() < end {
            std::hint::spin_loop();
        }
        // The wall clock went at least as far.
        check().unwrap_err();
    }
}
