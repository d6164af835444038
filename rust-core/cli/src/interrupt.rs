//! Ctrl-C: stops the answer that is being computed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dormouse::session::CancelHandle;

use crate::failure::{Failure, Result, code};

/// The answer that Ctrl-C stops.
static ANSWER: Mutex<Option<CancelHandle>> = Mutex::new(None);
static STOPPED: AtomicBool = AtomicBool::new(false);

/// What Ctrl-C does besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Otherwise {
    /// Ends the program: when there is no answer, or it was told before to stop.
    Exit,
    /// Ends the program when there is no answer.
    ExitWhenIdle,
    /// Nothing: at a prompt, the line editor sees the key itself.
    Nothing,
}

/// From now on, Ctrl-C (SIGINT) is ours. To be called once.
///
/// # Errors
/// When the system refuses the handler.
pub(crate) fn install(otherwise: Otherwise) -> Result<()> {
    ctrlc::set_handler(move || {
        let exit = match &*lock() {
            Some(answer) => {
                answer.cancel();
                STOPPED.swap(true, Ordering::AcqRel) && otherwise == Otherwise::Exit
            }
            None => otherwise != Otherwise::Nothing,
        };
        if exit {
            std::process::exit(i32::from(code::STOPPED));
        }
    })
    .map_err(|e| Failure::new(format!("cannot take over Ctrl-C: {e}")))
}

/// While it lives, Ctrl-C stops one answer.
pub(crate) struct Guard(());

impl Guard {
    pub(crate) fn new(answer: CancelHandle) -> Self {
        let mut current = lock();
        STOPPED.store(false, Ordering::Release);
        *current = Some(answer);
        Self(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        *lock() = None;
    }
}

/// Whether Ctrl-C stopped the present or the last answer.
pub(crate) fn stopped() -> bool {
    STOPPED.load(Ordering::Acquire)
}

fn lock() -> MutexGuard<'static, Option<CancelHandle>> {
    ANSWER.lock().unwrap_or_else(PoisonError::into_inner)
}
