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
        std::panic::set_hook(Box::new(|info| {
            let place = info
                .location()
                .map_or_else(|| UNKNOWN.to_owned(), ToString::to_string);
            log::error!("panic at {place}");
            note_panic_place(Some(place));
        }));
    });
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
