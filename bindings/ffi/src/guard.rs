//! Turns panics into errors that say where, and never what: a panic's own words may quote a
//! prompt ("byte index 3 is not a char boundary; it is inside ...").

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use dormouse::threads::{note_panic_place, take_panic_place};

use crate::error::{Error, Result};

const UNKNOWN: &str = "an unknown place";

/// Notes where a panic happens instead of printing its words. The standard library is linked into
/// this library, so the hook is ours alone; an app's own Rust code keeps its own.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        #[cfg(feature = "provoke-panics")]
        let printing = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            #[cfg(feature = "provoke-panics")]
            if !within() {
                // An assertion of a test, which is not to fail without a word.
                return printing(info);
            }
            let place = info
                .location()
                .map_or_else(|| UNKNOWN.to_owned(), ToString::to_string);
            log::error!("panic at {place}");
            note_panic_place(Some(place));
        }));
    });
}

#[cfg(feature = "provoke-panics")]
std::thread_local! {
    static DEPTH: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// How many calls of [`guarded`] this thread is in.
#[cfg(feature = "provoke-panics")]
struct Depth;

#[cfg(feature = "provoke-panics")]
impl Depth {
    fn deeper() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self
    }
}

#[cfg(feature = "provoke-panics")]
impl Drop for Depth {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Whether this thread runs the library's code.
#[cfg(feature = "provoke-panics")]
fn within() -> bool {
    let ours = |thread: &std::thread::Thread| {
        thread
            .name()
            .is_some_and(|name| name.starts_with("dormouse"))
    };
    DEPTH.get() > 0 || ours(&std::thread::current())
}

/// The error for a panic that began at `place`.
pub(crate) fn panicked(place: Option<String>) -> Error {
    Error::Internal {
        place: place.unwrap_or_else(|| UNKNOWN.to_owned()),
        what: "a panic".to_owned(),
    }
}

/// Runs `work`; a panic in it is [`Error::Internal`] with its place.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    install();
    #[cfg(feature = "provoke-panics")]
    let _depth = Depth::deeper();
    // What `work` holds may be half changed after a panic. All of it is behind handles whose locks
    // are checked, and the engine closes what it cannot trust.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(panicked(take_panic_place())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_place_and_without_its_words() {
        let secret = "the user's words";
        let result: Result<()> = guarded(|| panic!("{secret}"));
        let Err(Error::Internal { place, what }) = result else {
            panic!("not an internal error");
        };
        assert!(place.contains("guard.rs:"), "{place}");
        assert!(!format!("{place}{what}").contains(secret));
        assert_eq!(take_panic_place(), None, "told twice");
    }
}
