//! An answer on its way to stdout.

use std::io::{self, IsTerminal, Write};

use dormouse::{Done, Event, Generation};

use crate::failure::{Failure, Result};
use crate::interrupt::Guard;

/// Writes the answer to stdout as it comes, and ends it with a newline. Calls of tools are lines
/// of JSON there. What the model thinks goes to stderr, dimmed on a terminal, so that a pipe gets
/// the answer alone. Ctrl-C stops it.
///
/// # Errors
/// That of the answer, or of stdout; the answer is then cancelled.
pub(crate) fn to_stdout(generation: Generation) -> Result<Done> {
    let _guard = Guard::new(generation.cancel_handle());
    let stdout = io::stdout();
    let terminal = stdout.is_terminal();
    let mut thoughts = Thoughts::new(io::stderr());
    to(generation, &mut stdout.lock(), terminal, &mut thoughts)
}

fn to<T: Write>(
    events: impl Iterator<Item = dormouse::Result<Event>>,
    out: &mut impl Write,
    terminal: bool,
    thoughts: &mut Thoughts<T>,
) -> Result<Done> {
    let mut on_new_line = false;
    let mut empty = true;
    for event in events {
        if !matches!(event, Ok(Event::Reasoning(_))) {
            thoughts.end();
        }
        match event {
            Ok(Event::Reasoning(text)) => thoughts.add(&text),
            Ok(Event::ToolCall(call)) => {
                let mut line = serde_json::json!({
                    "name": call.name,
                    "arguments": call.arguments,
                });
                if let (Some(id), Some(fields)) = (call.id, line.as_object_mut()) {
                    fields.insert("id".into(), id.into());
                }
                let before = if on_new_line || empty { "" } else { "\n" };
                put(out, &format!("{before}{line}\n"))?;
                on_new_line = true;
                empty = false;
            }
            Ok(Event::Text(text)) => {
                let text = if terminal { printable(&text) } else { text };
                if !text.is_empty() {
                    on_new_line = text.ends_with('\n');
                    empty = false;
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

/// Where the model's thinking goes; never a reason to fail.
struct Thoughts<T> {
    out: T,
    terminal: bool,
    open: bool,
}

impl Thoughts<io::Stderr> {
    fn new(out: io::Stderr) -> Self {
        Self {
            terminal: out.is_terminal(),
            out,
            open: false,
        }
    }
}

impl<T: Write> Thoughts<T> {
    fn add(&mut self, text: &str) {
        let text = if self.terminal {
            // Dimmed anew for each piece: whatever interrupts is not.
            format!("\u{1b}[2m{}\u{1b}[0m", printable(text))
        } else {
            text.to_owned()
        };
        let _ = self.out.write_all(text.as_bytes());
        let _ = self.out.flush();
        self.open = true;
    }

    /// The answer begins on a line of its own, as both may be one terminal.
    fn end(&mut self) {
        if std::mem::take(&mut self.open) {
            let _ = self.out.write_all(b"\n\n");
        }
    }
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
    use dormouse::template::ToolCall;

    fn told(events: &[Event], terminal: bool) -> (String, String) {
        let mut out = Vec::new();
        let mut thoughts = Thoughts {
            out: Vec::new(),
            terminal,
            open: false,
        };
        let events = events.iter().cloned().map(Ok);
        // The events have no end, as only the engine can make one.
        to(events, &mut out, terminal, &mut thoughts).unwrap_err();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(out), text(thoughts.out))
    }

    #[test]
    fn thinking_is_kept_apart_and_calls_are_lines() {
        let call = ToolCall {
            id: None,
            name: "weather".into(),
            arguments: serde_json::json!({"city": "Graz"}),
        };
        let events = [
            Event::Reasoning("hm\u{1b}".into()),
            Event::Reasoning("!".into()),
            Event::Text("so".into()),
            Event::ToolCall(call.clone()),
            Event::ToolCall(call),
        ];
        let line = r#"{"name":"weather","arguments":{"city":"Graz"}}"#;
        let (out, thoughts) = told(&events, false);
        assert_eq!(out, format!("so\n{line}\n{line}\n"));
        assert_eq!(thoughts, "hm\u{1b}!\n\n");
        let (_, thoughts) = told(&events, true);
        assert_eq!(thoughts, "\u{1b}[2mhm\u{1b}[0m\u{1b}[2m!\u{1b}[0m\n\n");
    }

    #[test]
    fn a_terminal_gets_no_control_characters() {
        assert_eq!(printable("a\tb\nc"), "a\tb\nc");
        assert_eq!(printable("\u{1b}[2Jx\r\u{9b}1my\u{7}"), "[2Jx1my");
    }
}
