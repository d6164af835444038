//! Reads a template's source into tags and tokens, exactly as minijinja cuts it.

/// The source is not what minijinja takes for a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unread;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    Number,
    String,
    Symbol,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'s> {
    pub(super) kind: Kind,
    pub(super) text: &'s str,
    /// Byte of the source.
    pub(super) start: usize,
}

pub(super) struct Lexer<'s> {
    source: &'s str,
    at: usize,
    /// What closes the open tag.
    close: &'static str,
    /// Brackets open in the tag.
    depth: usize,
}

fn is_word_start(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphabetic()
}

/// Bytes of `{% raw %}` or `{% endraw %}` after its opening bracket and mark.
fn bare_tag(text: &str, name: &str) -> Option<usize> {
    let space = |c: char| c.is_ascii_whitespace();
    let rest = text
        .trim_start_matches(space)
        .strip_prefix(name)?
        .trim_start_matches(space);
    let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    Some(text.len() - rest.strip_prefix("%}")?.len())
}

impl<'s> Lexer<'s> {
    pub(super) fn new(source: &'s str) -> Self {
        Self {
            source,
            at: 0,
            close: "",
            depth: 0,
        }
    }

    /// Where the reading is.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The mark that says how to trim what comes after the tag that was just read to its end.
    pub(super) fn mark(&self) -> Option<char> {
        let tag = self.source[..self.at].strip_suffix(self.close)?;
        tag.chars().next_back().filter(|c| matches!(c, '-' | '+'))
    }

    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn skip_mark(&mut self) {
        if self.rest().starts_with(['-', '+']) {
            self.at += 1;
        }
    }

    /// Goes into the next tag that is no comment and not in a raw block; `true` for `{% … %}`.
    pub(super) fn next_tag(&mut self) -> Result<Option<bool>, Unread> {
        while let Some(open) = self.rest().find('{') {
            self.at += open;
            let block = match self.rest().as_bytes().get(1) {
                Some(b'{') => false,
                Some(b'%') => true,
                Some(b'#') => {
                    self.at += 2;
                    self.skip_mark();
                    self.at += self.rest().find("#}").ok_or(Unread)? + 2;
                    continue;
                }
                _ => {
                    self.at += 1;
                    continue;
                }
            };
            self.at += 2;
            self.skip_mark();
            if let Some(raw) = bare_tag(self.rest(), "raw").filter(|_| block) {
                self.at += raw;
                self.skip_raw()?;
                continue;
            }
            self.close = if block { "%}" } else { "}}" };
            self.depth = 0;
            return Ok(Some(block));
        }
        Ok(None)
    }

    fn skip_raw(&mut self) -> Result<(), Unread> {
        loop {
            self.at += self.rest().find("{%").ok_or(Unread)? + 2;
            let rest = self.rest();
            let unmarked = rest.strip_prefix(['-', '+']).unwrap_or(rest);
            if let Some(end) = bare_tag(unmarked, "endraw") {
                self.at += rest.len() - unmarked.len() + end;
                return Ok(());
            }
        }
    }

    /// The next token of the tag; `None` after the last, outside of the tag.
    pub(super) fn next_token(&mut self) -> Result<Option<Token<'s>>, Unread> {
        self.at += self
            .rest()
            .bytes()
            .take_while(u8::is_ascii_whitespace)
            .count();
        let rest = self.rest();
        if self.depth == 0 {
            let unmarked = rest.strip_prefix(['-', '+']).unwrap_or(rest);
            for text in [unmarked, rest] {
                if text.starts_with(self.close) {
                    self.at += rest.len() - text.len() + self.close.len();
                    return Ok(None);
                }
            }
        }
        let bytes = rest.as_bytes();
        let (kind, len) = match *bytes.first().ok_or(Unread)? {
            quote @ (b'\'' | b'"') => (Kind::String, string_len(bytes, quote)?),
            b'0'..=b'9' => {
                let index = self.source.as_bytes()[..self.at].last() == Some(&b'.');
                (Kind::Number, number_len(bytes, index))
            }
            byte if is_word_start(byte) => {
                let inside = |&&byte: &&u8| byte == b'_' || byte.is_ascii_alphanumeric();
                (Kind::Word, bytes.iter().take_while(inside).count())
            }
            byte => {
                match byte {
                    b'(' | b'[' | b'{' => self.depth += 1,
                    b')' | b']' | b'}' => self.depth = self.depth.checked_sub(1).ok_or(Unread)?,
                    _ => {}
                }
                let double = ["//", "**", "==", "!=", ">=", "<="];
                if double.iter().any(|symbol| rest.starts_with(symbol)) {
                    (Kind::Symbol, 2)
                } else if b"+-*/%.,:~|=><()[]{}".contains(&byte) {
                    (Kind::Symbol, 1)
                } else {
                    return Err(Unread);
                }
            }
        };
        let start = self.at;
        self.at += len;
        Ok(Some(Token {
            kind,
            text: &rest[..len],
            start,
        }))
    }
}

fn string_len(bytes: &[u8], quote: u8) -> Result<usize, Unread> {
    let mut escaped = false;
    for (at, &byte) in bytes.iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            _ if byte == quote => return Ok(at + 1),
            _ => {}
        }
    }
    Err(Unread)
}

/// Bytes of a number; one after a dot is an index and has no fraction.
fn number_len(bytes: &[u8], index: bool) -> usize {
    #[derive(Clone, Copy)]
    enum State {
        Radix { hex: bool },
        Integer,
        Fraction,
        Exponent,
        Signed,
    }
    let (mut state, mut len) = match bytes {
        [b'0', b'x' | b'X', ..] => (State::Radix { hex: true }, 2),
        [b'0', b'b' | b'B' | b'o' | b'O', ..] => (State::Radix { hex: false }, 2),
        _ => (State::Integer, 0),
    };
    while let Some(&byte) = bytes.get(len) {
        state = match (byte, state) {
            (b'.', State::Integer) if index => break,
            (b'.', State::Integer) => {
                let after = |n: usize| bytes.get(len + n).copied().unwrap_or(b' ');
                let exponent = matches!(after(1), b'e' | b'E')
                    && matches!(after(2), b'+' | b'-' | b'0'..=b'9');
                if !exponent && is_word_start(after(1)) {
                    break;
                }
                State::Fraction
            }
            (b'e' | b'E', State::Integer | State::Fraction) => State::Exponent,
            (b'+' | b'-' | b'0'..=b'9', State::Exponent) => State::Signed,
            (b'0'..=b'9' | b'_', state) => state,
            (b'a'..=b'f' | b'A'..=b'F', State::Radix { hex: true }) => state,
            _ => break,
        };
        len += 1;
    }
    len
}
