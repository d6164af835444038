//! Rewrites `a + b` to `(a)|__sum(b)` in a template's source, a filter that pays for what it makes:
//! minijinja's own `+` joins lists lazily and for free, so that forty doublings are a list of 2^40.
//!
//! What is read here is minijinja's syntax, which knows no unary `+`: outside of strings, numbers
//! and marks of whitespace each `+` in a tag adds, and none is left when this is done.

use super::lex::{Kind, Lexer, Unread};

/// The filter's name.
pub(super) const FILTER: &str = "__sum";

/// The source with its sums rewritten; the rest stays byte for byte, and lines stay where they are.
///
/// # Errors
/// [`Unread`] where a tag is not what minijinja's parser takes.
pub(super) fn with_sums_paid(source: &str) -> Result<String, Unread> {
    let mut lexer = Lexer::new(source);
    let mut edits = Vec::new();
    while let Some(block) = lexer.next_tag()? {
        let mut tag = Tag::new(block);
        while let Some(token) = lexer.next_token()? {
            tag.take(token.kind, token.text, token.start)?;
        }
        edits.append(&mut tag.finish()?);
    }
    edits.sort_by_key(|edit| edit.at);
    let mut out = String::with_capacity(source.len() + 10 * edits.len());
    let mut done = 0;
    for edit in edits {
        out.push_str(&source[done..edit.at]);
        out.push_str(edit.insert);
        done = edit.at + edit.remove;
    }
    out.push_str(&source[done..]);
    Ok(out)
}

struct Edit {
    at: usize,
    remove: usize,
    insert: &'static str,
}

/// What lies between two brackets, up to where the reading is.
struct Frame {
    open: &'static str,
    /// Where the chain of sums and differences began.
    start: Option<usize>,
    /// All of the chain so far is one operand: it ends with a sum.
    summed: bool,
    /// The filter's bracket is open.
    pending: bool,
}

impl Frame {
    const fn new(open: &'static str) -> Self {
        Self {
            open,
            start: None,
            summed: false,
            pending: false,
        }
    }
}

/// How much of `is [not] name argument` was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Test {
    None,
    Is,
    Named,
}

struct Tag {
    edits: Vec<Edit>,
    frames: Vec<Frame>,
    /// The first word of `{% … %}` is still to come.
    statement: bool,
    /// The last token ends an operand.
    ended: bool,
    /// The last token is `.` or `|`, after which any word is a name.
    name_next: bool,
    after_string: bool,
    test: Test,
    last_end: usize,
}

impl Tag {
    fn new(block: bool) -> Self {
        Self {
            edits: Vec::new(),
            frames: vec![Frame::new("")],
            statement: block,
            ended: false,
            name_next: false,
            after_string: false,
            test: Test::None,
            last_end: 0,
        }
    }

    fn frame(&mut self) -> Result<&mut Frame, Unread> {
        self.frames.last_mut().ok_or(Unread)
    }

    fn insert(&mut self, at: usize, insert: &'static str) {
        self.edits.push(Edit {
            at,
            remove: 0,
            insert,
        });
    }

    /// Closes the filter's bracket after the operand that the last token ended.
    fn close_sum(&mut self) -> Result<(), Unread> {
        if std::mem::take(&mut self.frame()?.pending) {
            if !self.ended {
                return Err(Unread);
            }
            self.insert(self.last_end, ")");
        }
        Ok(())
    }

    /// Ends the chain: what comes binds looser than `+`.
    fn delimit(&mut self) -> Result<(), Unread> {
        self.close_sum()?;
        let frame = self.frame()?;
        *frame = Frame::new(frame.open);
        self.ended = false;
        Ok(())
    }

    /// A token that is part of an operand, or begins one.
    fn operand(&mut self, start: usize, ends: bool) -> Result<(), Unread> {
        self.frame()?.start.get_or_insert(start);
        self.ended = ends;
        Ok(())
    }

    fn take(&mut self, kind: Kind, text: &str, start: usize) -> Result<(), Unread> {
        let named = std::mem::take(&mut self.name_next);
        let after_string = std::mem::take(&mut self.after_string);
        let statement = std::mem::take(&mut self.statement);
        let test = std::mem::replace(&mut self.test, Test::None);
        match kind {
            Kind::Word if statement => {}
            Kind::Word if named => {
                self.test = test;
                self.operand(start, true)?;
            }
            Kind::Word => self.word(text, start, test)?,
            Kind::Number | Kind::String => {
                let joined = kind == Kind::String && after_string;
                if self.ended && !joined && test != Test::Named {
                    self.delimit()?;
                }
                self.after_string = kind == Kind::String;
                self.operand(start, true)?;
            }
            Kind::Symbol => self.symbol(text, start, test)?,
        }
        self.last_end = start + text.len();
        Ok(())
    }

    fn word(&mut self, word: &str, start: usize, test: Test) -> Result<(), Unread> {
        match (test, word) {
            (Test::Is, "not") => self.test = Test::Is,
            (Test::Is, _) => {
                self.test = Test::Named;
                self.ended = true;
            }
            (_, "is") => {
                self.test = Test::Is;
                self.operand(start, false)?;
            }
            // A test takes one argument without brackets, whatever its name.
            (Test::Named, word) if !matches!(word, "and" | "or" | "else") => {
                self.ended = true;
            }
            (_, "and" | "or" | "not" | "in" | "if" | "else") => self.delimit()?,
            _ => {
                // Such as `recursive` and `ignore missing`.
                if self.ended {
                    self.delimit()?;
                }
                self.operand(start, true)?;
            }
        }
        Ok(())
    }

    fn symbol(&mut self, symbol: &str, start: usize, test: Test) -> Result<(), Unread> {
        match symbol {
            "(" | "[" | "{" => {
                if symbol == "{" && self.ended && test != Test::Named {
                    self.delimit()?;
                }
                self.operand(start, false)?;
                self.frames.push(Frame::new(match symbol {
                    "(" => "(",
                    "[" => "[",
                    _ => "{",
                }));
            }
            ")" | "]" | "}" => {
                let closes = matches!(
                    (self.frame()?.open, symbol),
                    ("(", ")") | ("[", "]") | ("{", "}")
                );
                if !closes {
                    return Err(Unread);
                }
                self.close_sum()?;
                self.frames.pop();
                self.ended = true;
            }
            "." | "|" => {
                self.name_next = true;
                self.test = if symbol == "." { test } else { Test::None };
                self.ended = false;
            }
            "*" | "**" if !self.ended => self.delimit()?,
            "~" | "*" | "/" | "//" | "%" | "**" => self.ended = false,
            "-" if !self.ended || test == Test::Named => self.operand(start, false)?,
            "-" => {
                self.close_sum()?;
                self.frame()?.summed = false;
                self.ended = false;
            }
            "+" => {
                if !self.ended || test == Test::Named {
                    return Err(Unread);
                }
                self.close_sum()?;
                let frame = self.frame()?;
                frame.pending = true;
                if !std::mem::replace(&mut frame.summed, true) {
                    let chain = frame.start.ok_or(Unread)?;
                    self.insert(chain, "(");
                    self.insert(self.last_end, ")");
                }
                self.edits.push(Edit {
                    at: start,
                    remove: 1,
                    insert: "|__sum(",
                });
                self.ended = false;
            }
            _ => self.delimit()?,
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Edit>, Unread> {
        self.close_sum()?;
        if self.frames.len() != 1 {
            return Err(Unread);
        }
        Ok(self.edits)
    }
}
