//! Tells where a panic happened, and never its words, which may quote a prompt ("byte index 3 is not
//! a char boundary; it is inside ...").

use std::io::Write;

use dormouse::threads::note_panic_place;

/// Replaces what the standard library prints at a panic by its place. The engine is told of it, too,
/// for the error that it makes of the panic.
pub(crate) fn install() {
    std::panic::set_hook(Box::new(|info| {
        let place = info
            .location()
            .map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        // Nobody may be reading, which is no reason for a second panic.
        let _ = writeln!(std::io::stderr(), "dormouse: a panic at {place}");
        note_panic_place(Some(place));
    }));
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use dormouse::threads::take_panic_place;

    use super::*;

    /// Run by the other test, in a process of its own: the hook is the whole process's.
    #[test]
    #[ignore = "panics"]
    fn panic_with_a_secret() {
        install();
        let secret = std::env::var("SECRET").unwrap_or_default();
        let result = std::panic::catch_unwind(|| panic!("the user wrote {secret}"));
        assert!(result.is_err());
        assert!(take_panic_place().is_some_and(|place| place.contains("panics.rs")));
    }

    #[test]
    fn a_panic_tells_its_place_and_not_its_words() {
        let ran = Command::new(std::env::current_exe().unwrap())
            .args(["panic_with_a_secret", "--ignored", "--nocapture"])
            .env("SECRET", "xyzzy")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
        assert!(ran.status.success(), "{told}");
        assert!(
            told.contains("dormouse: a panic at ") && told.contains("panics.rs:"),
            "{told}"
        );
        assert!(
            !told.contains("xyzzy") && !told.contains("the user wrote"),
            "{told}"
        );
    }
}
