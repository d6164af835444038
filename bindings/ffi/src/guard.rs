//! Turns panics into errors that say where, and never what: a panic's own words may quote a
//! prompt ("byte index 3 is not a char boundary; it is inside ...").

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, Once, PoisonError};

use crate::error::{Error, Result};

/// The place of the last panic of each thread, by the thread's name, until it is reported.
static PLACES: Mutex<Option<HashMap<String, String>>> = Mutex::new(None);

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
            let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
            places
                .get_or_insert_default()
                .insert(thread_name().to_owned(), place);
        }));
    });
}

fn thread_name() -> String {
    std::thread::current().name().map_or_else(
        || format!("{:?}", std::thread::current().id()),
        str::to_owned,
    )
}

/// Where the last panic on a thread of this name was; each is told once.
pub(crate) fn take_place_of(thread: &str) -> String {
    let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
    places
        .as_mut()
        .and_then(|places| places.remove(thread))
        .unwrap_or_else(|| UNKNOWN.to_owned())
}

/// Runs `work`; a panic in it is [`Error::Internal`] with its place.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    install();
    // What `work` holds may be half changed after a panic. All of it is behind handles whose locks
    // are checked, and the engine closes what it cannot trust.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Error::Internal {
            place: take_place_of(&thread_name()),
            what: "a panic".to_owned(),
        })
    })
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
        assert_eq!(take_place_of(&thread_name()), UNKNOWN, "told twice");
    }
}
