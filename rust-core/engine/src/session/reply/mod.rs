//! Tells reasoning and calls of tools from the answer, by the markers of the model's own chat
//! template.
//!
//! The text of a reply comes in pieces of any size. What may be the beginning of a marker is held
//! back until it is decided, so the events are the same however the text was cut, but for how text
//! of one kind is spread over them.
//!
//! - Reasoning begins where nothing of the answer has come yet; later in an answer the marker is
//!   text like any other, for an answer may quote it. It ends with the first closing marker, or
//!   with the reply.
//! - Newlines beside a marker belong to the template's layout and are dropped, as the templates
//!   drop and set them themselves.
//! - What begins like a call but is none is given back as text, unchanged.

mod calls;
mod format;
#[cfg(test)]
mod tests;

use super::generation::Event;
use calls::{CallFormat, Scan};
pub(crate) use format::ReplyFormat;
pub use format::reasons;
use format::{Pair, could_begin};

/// Bytes of a call that is held back. Far more than any tool wants, and little beside a model.
const MAX_CALL: usize = 256 << 10;
/// Bytes of white space at the front that may still be layout before a marker.
const MAX_BLANK: usize = 256;

/// Where in a reply the parser is.
#[derive(Debug, Clone, Copy)]
enum State {
    /// Nothing of the answer has come: reasoning may begin.
    Start,
    Text,
    Reasoning(&'static Pair),
    /// What is held begins, after this many bytes of newlines, with the marker of a call.
    Call(usize),
    /// The reply as a whole may be a call.
    Whole,
}

/// Makes events of a reply's text.
#[derive(Debug)]
pub(super) struct ReplyParser {
    format: ReplyFormat,
    state: State,
    held: String,
    /// Newlines that come next belong to the marker before.
    after_marker: bool,
    calls: usize,
}

fn without_newlines(text: &str) -> &str {
    text.trim_end_matches(['\n', '\r'])
}

impl ReplyParser {
    pub(super) fn new(format: ReplyFormat) -> Self {
        let state = format.open.map_or(State::Start, State::Reasoning);
        Self {
            after_marker: format.open.is_some(),
            state,
            format,
            held: String::new(),
            calls: 0,
        }
    }

    /// Calls of tools so far.
    pub(super) fn calls(&self) -> usize {
        self.calls
    }

    /// Takes `text` in and appends to `out` what is decided.
    pub(super) fn push(&mut self, text: &str, out: &mut Vec<Event>) {
        self.held.push_str(text);
        self.advance(false, out);
    }

    /// Takes in a marker that came as a control token, which is no text: one without a meaning
    /// here is dropped.
    pub(super) fn push_marker(&mut self, marker: &str, out: &mut Vec<Event>) {
        if self.expects(marker) {
            self.push(marker, out);
        }
    }

    /// The reply is at its end: appends what was held back.
    pub(super) fn finish(&mut self, out: &mut Vec<Event>) {
        self.advance(true, out);
    }

    fn expects(&self, marker: &str) -> bool {
        let calls = self.format.calls.as_ref();
        let opens_call = calls.and_then(CallFormat::opening) == Some(marker);
        let blank = self.held.trim_start().is_empty();
        match self.state {
            State::Start => {
                let first = self.format.pairs.iter().any(|pair| pair.open == marker)
                    || calls.and_then(CallFormat::prefix) == Some(marker);
                opens_call || (blank && first)
            }
            State::Text => opens_call,
            State::Reasoning(pair) => pair.close == marker,
            State::Call(_) | State::Whole => true,
        }
    }

    fn advance(&mut self, last: bool, out: &mut Vec<Event>) {
        loop {
            let go_on = match self.state {
                State::Start => self.start(last),
                State::Text => self.text(last, out),
                State::Reasoning(pair) => self.reasoning(pair, last, out),
                State::Call(newlines) => self.call(newlines, last, out),
                State::Whole => self.whole(last, out),
            };
            if !go_on {
                return;
            }
        }
    }

    /// Drops the newlines after a marker. False when there was nothing else.
    fn drop_layout(&mut self) -> bool {
        if self.after_marker {
            let rest = self.held.trim_start_matches(['\n', '\r']).len();
            self.held.drain(..self.held.len() - rest);
            self.after_marker = self.held.is_empty();
        }
        !self.held.is_empty()
    }

    fn start(&mut self, last: bool) -> bool {
        let rest = self.held.trim_start();
        let blank = self.held.len() - rest.len();
        if blank > MAX_BLANK || (last && rest.is_empty()) {
            self.state = State::Text;
            return true;
        }
        let found = self.format.pairs.iter().find(|p| rest.starts_with(p.open));
        if let Some(pair) = found {
            self.held.drain(..blank + pair.open.len());
            self.after_marker = true;
            self.state = State::Reasoning(pair);
            return true;
        }
        let prefix = self.format.calls.as_ref().and_then(CallFormat::prefix);
        let whole = self.format.calls.as_ref().is_some_and(CallFormat::is_whole);
        if whole && (rest.starts_with('{') || prefix.is_some_and(|tag| rest.starts_with(tag))) {
            self.state = State::Whole;
            return true;
        }
        let openings = self.format.pairs.iter().map(|pair| pair.open);
        let undecided = if rest.is_empty() {
            whole || !self.format.pairs.is_empty() || self.after_marker
        } else {
            openings.chain(prefix).any(|open| open.starts_with(rest))
        };
        if undecided && !last {
            return false;
        }
        self.state = State::Text;
        true
    }

    fn text(&mut self, last: bool, out: &mut Vec<Event>) -> bool {
        if !self.drop_layout() {
            return false;
        }
        let opening = self.format.calls.as_ref().and_then(CallFormat::opening);
        let (decided, found) = match opening {
            None => (self.held.len(), false),
            Some(open) => self.decided(open, last),
        };
        let text: String = self.held.drain(..decided).collect();
        emit(Event::Text, text, out);
        if found {
            let newlines = self.held.len() - self.held.trim_start_matches(['\n', '\r']).len();
            self.state = State::Call(newlines);
        }
        found
    }

    fn reasoning(&mut self, pair: &'static Pair, last: bool, out: &mut Vec<Event>) -> bool {
        if !self.drop_layout() {
            return false;
        }
        let (decided, found) = self.decided(pair.close, last);
        let text: String = self.held.drain(..decided).collect();
        emit(Event::Reasoning, text, out);
        if found {
            let at = self.held.find(pair.close).unwrap_or(0);
            self.held.drain(..at + pair.close.len());
            self.after_marker = true;
            self.state = State::Start;
        }
        found
    }

    /// How much of what is held comes before the marker or the newlines that lead to it, and
    /// whether the marker is there.
    fn decided(&self, marker: &str, last: bool) -> (usize, bool) {
        match self.held.find(marker) {
            Some(at) => (without_newlines(&self.held[..at]).len(), true),
            None if last => (self.held.len(), false),
            None => {
                let at = could_begin(&self.held, marker);
                (without_newlines(&self.held[..at]).len(), false)
            }
        }
    }

    fn call(&mut self, newlines: usize, last: bool, out: &mut Vec<Event>) -> bool {
        let Some(format) = &self.format.calls else {
            self.state = State::Text;
            return true;
        };
        let held = &self.held[newlines..];
        // No more is looked at than may be held, so that the size of the pieces changes nothing.
        let end = (0..=held.len().min(MAX_CALL))
            .rev()
            .find(|&at| held.is_char_boundary(at));
        let scan = format.scan(&held[..end.unwrap_or(0)], self.calls);
        match scan {
            Scan::More if held.len() <= MAX_CALL && !last => false,
            Scan::Calls(calls, used) => {
                self.calls += calls.len();
                out.extend(calls.into_iter().map(Event::ToolCall));
                self.held.drain(..newlines + used);
                self.after_marker = true;
                self.state = State::Start;
                true
            }
            Scan::More | Scan::Malformed => {
                // The marker is text; another may follow in what it was thought to begin.
                let opening = format.opening().map_or(0, str::len);
                let text: String = self.held.drain(..newlines + opening).collect();
                emit(Event::Text, text, out);
                self.state = State::Text;
                true
            }
        }
    }

    fn whole(&mut self, last: bool, out: &mut Vec<Event>) -> bool {
        let format = self.format.calls.as_ref();
        let scan = match format {
            Some(format) if self.held.len() <= MAX_CALL => format.scan_whole(&self.held, last),
            _ => Scan::Malformed,
        };
        match scan {
            Scan::More => false,
            Scan::Calls(calls, _) => {
                self.calls += calls.len();
                out.extend(calls.into_iter().map(Event::ToolCall));
                self.held.clear();
                false
            }
            Scan::Malformed => {
                self.state = State::Text;
                true
            }
        }
    }
}

fn emit(kind: impl FnOnce(String) -> Event, text: String, out: &mut Vec<Event>) {
    if !text.is_empty() {
        out.push(kind(text));
    }
}
