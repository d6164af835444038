//! An answer on its way to stdout.

use std::io::{self, IsTerminal, Write};

use dormouse::{Done, Event, Generation};

use crate::failure::{Failure, Result};
use crate::interrupt::Guard;

/// Writes the answer to stdout as it comes, and ends it with a newline. Ctrl-C stops it.
///
/// # Errors
/// That of the answer, or of stdout; the answer is then cancelled.
pub(crate) fn to_stdout(generation: Generation) -> Result<Done> {
    let _guard = Guard::new(generation.cancel_handle());
    let stdout = io::stdout();
    let terminal = stdout.is_terminal();
    to(generation, &mut stdout.lock(), terminal)
}

fn to(generation: Generation, out: &mut impl Write, terminal: bool) -> Result<Done> {
    let mut on_new_line = false;
    for event in generation {
        match event {
            Ok(Event::Text(text)) => {
                let text = if terminal { printable(&text) } else { text };
                if !text.is_empty() {
                    on_new_line = text.ends_with('\n');
                }
                put(out, &text)?;
            }
            Ok(Event::Done(done)) => {
                if !on_new_line {
                    put(out, "\n")?;
                }
                return Ok(done);
            }
            Ok(_) => {}
            Err(error) => {
                // The message that follows on stderr begins on a line of its own.
                let _ = put(out, "\n");
                return Err(error.into());
            }
        }
    }
    Err(Failure::new("the answer has no end"))
}

fn put(out: &mut impl Write, text: &str) -> Result<()> {
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|e| Failure::stdout(&e))
}

/// The text without control characters: what a model writes must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_no_control_characters() {
        assert_eq!(printable("a\tb\nc"), "a\tb\nc");
        assert_eq!(printable("\u{1b}[2Jx\r\u{9b}1my\u{7}"), "[2Jx1my");
    }
}
