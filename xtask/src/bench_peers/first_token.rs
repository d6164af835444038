//! From the start of a process to its first byte of text.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::figures::FIRST_PROMPT;
use crate::failure::{Failure, Result};
use crate::process;

const WORDS: &str =
    "the dormouse sleeps all winter long in a nest of moss and leaves under the old oak tree";
/// A token of its own after anything, in any vocabulary of English.
const FILLER: &str = " a";

/// Starts the command and waits for the first byte on its stdout, then for its end, which is not timed.
///
/// # Errors
/// If it cannot be started, prints nothing or fails.
pub(crate) fn time(command: &mut Command) -> Result<Duration> {
    let shown = process::show(command);
    let cannot = |error| Failure(format!("cannot start `{shown}`: {error}"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn().map_err(cannot)?;
    let mut stdout = child
        .stdout
        .take()
        .ok_or_else(|| Failure(format!("`{shown}` has no stdout")))?;
    let first = stdout.read(&mut [0]);
    let elapsed = start.elapsed();
    // What is left is short, and a closed pipe would end the process with an error.
    let rest = stdout.read_to_end(&mut Vec::new());
    let status = child
        .wait()
        .map_err(|error| Failure(format!("cannot wait for `{shown}`: {error}")))?;
    if !status.success() {
        return Err(Failure(format!("`{shown}` failed: {status}")));
    }
    match (first, rest) {
        (Ok(1), Ok(_)) => Ok(elapsed),
        (Ok(_), Ok(_)) => Err(Failure(format!("`{shown}` printed nothing"))),
        (Err(error), _) | (_, Err(error)) => {
            Err(Failure(format!("cannot read from `{shown}`: {error}")))
        }
    }
}

/// A text of [`FIRST_PROMPT`] tokens: as many words as there is room for, then filled up. `count` gives
/// the tokens of a text, the one that begins every text included.
///
/// # Errors
/// Those of `count`; if no text of so many tokens is found.
pub(crate) fn prompt(mut count: impl FnMut(&str) -> Result<usize>) -> Result<String> {
    let mut text = String::new();
    for word in WORDS.split(' ') {
        let longer = match text.as_str() {
            "" => word.to_owned(),
            text => format!("{text} {word}"),
        };
        match count(&longer)? {
            FIRST_PROMPT => return Ok(longer),
            tokens if tokens > FIRST_PROMPT => break,
            _ => text = longer,
        }
    }
    for _ in 0..FIRST_PROMPT {
        text.push_str(FILLER);
        if count(&text)? == FIRST_PROMPT {
            return Ok(text);
        }
    }
    Err(Failure(format!(
        "no prompt of {FIRST_PROMPT} tokens was found for this vocabulary"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_has_sixteen_tokens_in_any_vocabulary() {
        let words = prompt(|text| Ok(1 + text.split(' ').count())).unwrap();
        assert_eq!(words.split(' ').count(), 15);
        // A token for two letters: words do not come out even, and are filled up.
        let pieces = |text: &str| text.split(' ').map(|word| word.len().div_ceil(2)).sum();
        let filled = prompt(|text| Ok(pieces(text))).unwrap();
        assert_eq!(pieces(&filled), 16);
        assert!(filled.starts_with("the dormouse"), "{filled}");
        assert!(prompt(|_| Ok(3)).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn the_first_byte_counts_and_the_end_does_not() {
        let run = |script: &str| time(Command::new("sh").args(["-c", script]));
        let early = run("sleep 0.2; printf x; sleep 2").unwrap();
        assert!(early >= Duration::from_millis(200), "{early:?}");
        assert!(early < Duration::from_secs(2), "{early:?}");
        let message = run("true").unwrap_err().to_string();
        assert!(message.ends_with("printed nothing"), "{message}");
        let message = run("echo x; exit 4").unwrap_err().to_string();
        assert!(message.ends_with("failed: exit status: 4"), "{message}");
    }
}
