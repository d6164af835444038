//! Turns tokens into text as they come, never giving out half a character.

use super::Tokenizer;

/// Bytes of a stream of tokens that are not yet a character.
///
/// It owns nothing but these bytes (three at most), so a session can keep it and move between
/// threads; the tokenizer is passed in. The text given out, joined, is what
/// [`String::from_utf8_lossy`] makes of [`Tokenizer::decode`].
#[derive(Debug, Clone, Default)]
pub struct StreamDecoder {
    pending: Vec<u8>,
    render_special: bool,
}

impl StreamDecoder {
    pub(super) fn new(render_special: bool) -> Self {
        Self {
            pending: Vec::new(),
            render_special,
        }
    }

    /// Adds a token and returns the text that is complete now, which may be empty.
    ///
    /// Bytes that can become a character are held back; bytes that no longer can become U+FFFD.
    /// An id outside the vocabulary adds nothing.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> String {
        tokenizer.append_bytes(id, self.render_special, &mut self.pending);
        let mut out = String::new();
        let mut at = 0;
        while at < self.pending.len() {
            match std::str::from_utf8(&self.pending[at..]) {
                Ok(text) => {
                    out.push_str(text);
                    at = self.pending.len();
                }
                Err(error) => {
                    let valid = at + error.valid_up_to();
                    out.push_str(&String::from_utf8_lossy(&self.pending[at..valid]));
                    at = valid;
                    let Some(bad) = error.error_len() else { break };
                    out.push(char::REPLACEMENT_CHARACTER);
                    at += bad;
                }
            }
        }
        self.pending.drain(..at);
        out
    }

    /// Ends the stream: what was held back can no longer be completed and becomes one U+FFFD.
    pub fn finish(&mut self) -> String {
        let out = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        out
    }
}
