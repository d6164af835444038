//! Stop strings: where a reply ends, and which text must wait until that is known.

use crate::error::{Error, Result};

/// Looks for stop strings in text that arrives in pieces.
///
/// The text ends at the first character with which any of the stop strings is complete, however
/// the text was cut into pieces. It is cut off before the stop string; where several are complete
/// with that character, before the longest, which begins leftmost. To wait for a longer one that
/// might still become complete would cost tokens only to drop them.
///
/// Text that may be the beginning of a stop string is held back until it is decided. So no part
/// of a stop string that ends the text is ever handed out, and no other text is lost.
#[derive(Debug)]
pub(super) struct StopMatcher {
    stops: Vec<String>,
    held: String,
}

impl StopMatcher {
    /// # Errors
    /// [`Error::InvalidArgument`] when a stop string is empty, as it would end any text at once.
    pub(super) fn new(stops: &[String]) -> Result<Self> {
        if stops.iter().any(String::is_empty) {
            return Err(Error::invalid("a stop string is empty"));
        }
        Ok(Self {
            stops: stops.to_vec(),
            held: String::new(),
        })
    }

    /// Takes `text` in and appends to `out` what is decided. True when a stop string is complete:
    /// the text ends here.
    pub(super) fn push(&mut self, text: &str, out: &mut String) -> bool {
        if self.stops.is_empty() {
            out.push_str(text);
            return false;
        }
        self.held.push_str(text);
        let found = self
            .stops
            .iter()
            // The first occurrence of a string is also the one that ends first.
            .filter_map(|stop| self.held.find(stop).map(|at| (at + stop.len(), at)))
            .min();
        if let Some((_, at)) = found {
            out.push_str(&self.held[..at]);
            self.held.clear();
            return true;
        }
        let undecided = self
            .held
            .char_indices()
            .map(|(at, _)| at)
            .find(|&at| self.stops.iter().any(|s| s.starts_with(&self.held[at..])))
            .unwrap_or(self.held.len());
        out.extend(self.held.drain(..undecided));
        false
    }

    /// The text ends without a stop string: appends what was held back.
    pub(super) fn finish(&mut self, out: &mut String) {
        out.push_str(&self.held);
        self.held.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let stops: Vec<String> = stops.iter().map(|s| s.to_string()).collect();
        let mut matcher = StopMatcher::new(&stops).unwrap();
        let mut out = String::new();
        for piece in pieces {
            if matcher.push(piece, &mut out) {
                return (out, true);
            }
        }
        matcher.finish(&mut out);
        (out, false)
    }

    #[test]
    fn stop_strings_are_found_across_pieces() {
        assert_eq!(run(&["END"], &["a E", "N", "D b"]), ("a ".into(), true));
        assert_eq!(run(&["END"], &["a E", "N", "d"]), ("a ENd".into(), false));
        assert_eq!(run(&["END"], &["a EN"]), ("a EN".into(), false));
        assert_eq!(run(&["END"], &["ENEND"]), ("EN".into(), true));
        assert_eq!(run(&["aab"], &["a", "a", "a", "b"]), ("a".into(), true));
        assert_eq!(run(&["é€"], &["é", "é", "€"]), ("é".into(), true));
        assert_eq!(run(&[], &["x", ""]), ("x".into(), false));
    }

    #[test]
    fn the_first_to_be_complete_wins_and_of_those_the_longest() {
        assert_eq!(run(&["\n", "\n\n"], &["a\n\nb"]), ("a".into(), true));
        assert_eq!(
            run(&["User:", "\n\nUser:"], &["a\n", "\nUser:"]),
            ("a".into(), true)
        );
        assert_eq!(run(&["abcd", "bc"], &["abcd"]), ("a".into(), true));
        assert_eq!(run(&["abcd", "bc"], &["ab", "cd"]), ("a".into(), true));
    }

    #[test]
    fn only_what_may_begin_a_stop_string_waits() {
        let mut matcher = StopMatcher::new(&["###".into()]).unwrap();
        let mut out = String::new();
        assert!(!matcher.push("one ##", &mut out));
        assert_eq!(out, "one ");
        assert!(!matcher.push(" two", &mut out));
        assert_eq!(out, "one ## two");
    }

    #[test]
    fn empty_stop_strings_are_refused() {
        assert!(StopMatcher::new(&["a".into(), String::new()]).is_err());
    }

    /// What the text ends as, looked at one character at a time.
    fn naive(stops: &[String], text: &str) -> (String, bool) {
        for (at, c) in text.char_indices() {
            let seen = &text[..at + c.len_utf8()];
            let longest = stops.iter().filter(|s| seen.ends_with(*s)).map(String::len);
            if let Some(longest) = longest.max() {
                return (seen[..seen.len() - longest].to_string(), true);
            }
        }
        (text.to_string(), false)
    }

    proptest! {
        #[test]
        fn the_split_does_not_matter(
            stops in prop::collection::vec("[abé]{1,4}", 0..4),
            pieces in prop::collection::vec("[abcé]{0,3}", 0..30),
        ) {
            let mut matcher = StopMatcher::new(&stops).unwrap();
            let (want, want_stopped) = naive(&stops, &pieces.concat());
            let mut out = String::new();
            let mut stopped = false;
            for piece in &pieces {
                stopped = matcher.push(piece, &mut out);
                // What was handed out is never taken back.
                prop_assert!(want.starts_with(&out));
                if stopped {
                    break;
                }
                // No more is held than could still become a stop string.
                prop_assert!(stops.iter().any(|s| s.starts_with(&matcher.held)) || matcher.held.is_empty());
            }
            if !stopped {
                matcher.finish(&mut out);
            }
            prop_assert_eq!((out, stopped), (want, want_stopped));
        }
    }
}
