//! Rewrites a template's source so that it pays for what it makes.
//!
//! - `a + b` becomes `(a)|__sum(b)`: minijinja's own `+` joins lists lazily and for free, so that
//!   forty doublings are a list of 2^40.
//! - `[a, b]`, `{'k': a}`, `(a, b)` and `a * b` become `([a, b]|__held)` and so on, and what is put
//!   into a namespace goes through `__kept`: forty lists `[l, l]` are a tree of 2^40, which
//!   minijinja compares item by item (see `held`).
//! - `a == b` becomes `a == (b)|__compared`, and `a[b]` becomes `a[(b)|__compared]`: comparing and
//!   hashing take the time that a walk takes.
//! - `a[b]` becomes `((a)|__at(b))` unless `b` is a plain string, as finding a character takes the
//!   time that reading the text takes; `a[b:c]` becomes `((a)|__slice(b,c))`, as minijinja keeps a
//!   slice of a slice of a slice as such, and walks it on the stack.
//! - `a % b` becomes `(a)|__rem(b)`, which fills in texts as Python does, and `for x in a` becomes
//!   `for x in (a)|__walked`, which refuses to walk `none`.
//!
//! What is read here is minijinja's syntax, which knows no unary `+`: outside of strings, numbers
//! and marks of whitespace each `+` in a tag adds, and none is left when this is done.

use super::lex::{Kind, Lexer, Unread};

/// The filters' names.
pub(super) const SUM: &str = "__sum";
pub(super) const HELD: &str = "__held";
pub(super) const KEPT: &str = "__kept";
pub(super) const COMPARED: &str = "__compared";
pub(super) const REMAINDER: &str = "__rem";
pub(super) const WALKED: &str = "__walked";
pub(super) const AT: &str = "__at";
pub(super) const SLICE: &str = "__slice";

/// The source with what it makes paid for; the rest stays byte for byte, and lines stay where they
/// are.
///
/// # Errors
/// [`Unread`] where a tag is not what minijinja's parser takes.
pub(super) fn with_making_paid(source: &str) -> Result<String, Unread> {
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
    // As in `x==(y)if z`, where the brackets kept the words apart.
    let keep = |out: &mut String, kept: &str| {
        let word =
            |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
        if word(out.as_bytes().last()) && word(kept.as_bytes().first()) {
            out.push(' ');
        }
        out.push_str(kept);
    };
    for edit in edits {
        keep(&mut out, &source[done..edit.at]);
        out.push_str(edit.insert);
        done = edit.at + edit.remove;
    }
    keep(&mut out, &source[done..]);
    Ok(out)
}

const COMPARISONS: [&str; 6] = ["<", ">", "<=", ">=", "==", "!="];

struct Edit {
    at: usize,
    remove: usize,
    insert: &'static str,
}

/// What lies between two brackets, up to where the reading is.
struct Frame {
    open: &'static str,
    /// Where the bracket is, if it begins a list, a dict, or a tuple or grouping.
    literal: Option<usize>,
    /// It has a comma, which makes a tuple of a grouping.
    comma: bool,
    /// It holds nothing but numbers and strings.
    constant: bool,
    /// Where the chain of sums and differences began.
    start: Option<usize>,
    /// All of the chain so far is one operand: it ends with a sum.
    summed: bool,
    /// The filter's bracket is open.
    pending: bool,
    /// The chain has a product, which can be a list repeated.
    product: bool,
    /// The chain is compared with what is before it, or is an index.
    compared: bool,
    /// The chain has more than numbers and strings.
    varied: bool,
    /// Where the factors began: what `%` has on its left.
    term: Option<usize>,
    /// The bracket of the filter for `%` is open.
    remainder: bool,
    /// Where the operand began, without its sign: what an index has on its left.
    primary: Option<usize>,
    /// Where the argument of a test began that has no brackets, and whether it needs them.
    bare: Option<(usize, bool)>,
    index: Option<Index>,
    /// Strings alone are in it.
    named_key: bool,
}

/// An index or slice.
#[derive(Clone, Copy)]
struct Index {
    /// Where its bracket is.
    open: usize,
    slice: bool,
    /// The end of its bracket or last colon.
    part: usize,
}

impl Frame {
    const fn new(open: &'static str) -> Self {
        Self {
            open,
            literal: None,
            comma: false,
            constant: true,
            start: None,
            summed: false,
            pending: false,
            product: false,
            compared: false,
            varied: false,
            term: None,
            remainder: false,
            primary: None,
            bare: None,
            index: None,
            named_key: true,
        }
    }
}

/// Where in a statement its targets are, whose brackets and commas take values apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Targets {
    /// Not here.
    None,
    /// Up to `in`.
    For,
    /// Up to `=`; with a dot, one is an attribute of a namespace.
    Set { attribute: bool },
    /// Up to `=`, and again after the next comma.
    With,
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
    /// The last token is an operator that binds tighter than `not`.
    operator: bool,
    test: Test,
    targets: Targets,
    /// After a comma come targets again.
    with: bool,
    /// Where the value of `{% set … = value %}` begins, and whether an attribute is set.
    value: Option<(usize, bool)>,
    /// Where what a loop walks begins.
    walked: Option<usize>,
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
            operator: false,
            test: Test::None,
            targets: Targets::None,
            with: false,
            value: None,
            walked: None,
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

    fn replace(&mut self, at: usize, insert: &'static str) {
        self.edits.push(Edit {
            at,
            remove: 1,
            insert,
        });
    }

    /// Closes the bracket of the filter for `%` after the operand that the last token ended.
    fn close_remainder(&mut self) -> Result<(), Unread> {
        if std::mem::take(&mut self.frame()?.remainder) {
            if !self.ended {
                return Err(Unread);
            }
            self.insert(self.last_end, ")");
        }
        Ok(())
    }

    /// Ends the factors: what comes binds looser than `*`.
    fn end_term(&mut self) -> Result<(), Unread> {
        self.close_remainder()?;
        self.frame()?.term = None;
        Ok(())
    }

    /// Closes the filter's bracket after the operand that the last token ended.
    fn close_sum(&mut self) -> Result<(), Unread> {
        self.end_term()?;
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
        self.end_chain()?;
        self.ended = false;
        Ok(())
    }

    fn end_chain(&mut self) -> Result<(), Unread> {
        self.close_sum()?;
        let frame = self.frame()?;
        let start = frame.start.take();
        let varied = std::mem::take(&mut frame.varied);
        // A sum's filter has held its products already.
        let summed = std::mem::take(&mut frame.summed);
        let held = std::mem::take(&mut frame.product) && !summed;
        let index = frame.open == "[" && frame.literal.is_none();
        let compared = std::mem::replace(&mut frame.compared, index) && varied;
        if let Some(start) = start.filter(|_| held || compared) {
            self.insert(start, "(");
            self.insert(
                self.last_end,
                if held { ")|__held" } else { ")|__compared" },
            );
        }
        Ok(())
    }

    /// A token that is part of an operand, or begins one.
    fn operand(&mut self, start: usize, ends: bool) -> Result<(), Unread> {
        let frame = self.frame()?;
        frame.start.get_or_insert(start);
        frame.term.get_or_insert(start);
        self.ended = ends;
        Ok(())
    }

    fn take(&mut self, kind: Kind, text: &str, start: usize) -> Result<(), Unread> {
        let named = std::mem::take(&mut self.name_next);
        let after_string = std::mem::take(&mut self.after_string);
        let statement = std::mem::take(&mut self.statement);
        let operator = std::mem::take(&mut self.operator);
        let test = std::mem::replace(&mut self.test, Test::None);
        let goes_on = match kind {
            Kind::Word => named || !self.ended,
            Kind::Symbol => matches!(text, "." | "[" | "(") || !self.ended,
            Kind::Number => named || !self.ended,
            Kind::String => !self.ended,
        };
        if !goes_on {
            self.end_bare()?;
        }
        // What minijinja takes for an argument without brackets.
        let argument = match kind {
            Kind::Word => !matches!(text, "and" | "or" | "else" | "is"),
            Kind::Symbol => matches!(text, "-" | "[" | "{"),
            Kind::Number | Kind::String => true,
        };
        if test == Test::Named && argument {
            self.frame()?.bare = Some((start, false));
        }
        let plain = match kind {
            Kind::Word => false,
            Kind::Symbol => matches!(text, "," | ":" | "-" | "(" | "[" | "{" | ")" | "]" | "}"),
            Kind::Number | Kind::String => true,
        };
        self.frame()?.constant &= plain;
        let closing = matches!(text, ")" | "]" | "}") && kind == Kind::Symbol;
        self.frame()?.named_key &= kind == Kind::String || closing;
        if kind == Kind::Symbol && text == ":" {
            self.end_part(start)?;
        }
        match kind {
            Kind::Word if statement => self.statement(text),
            Kind::Word if named => {
                self.test = test;
                self.operand(start, true)?;
            }
            // minijinja reads a variable here, which would become a function.
            Kind::Word if operator && text == "not" => return Err(Unread),
            Kind::Word => self.word(text, start, test)?,
            Kind::Number | Kind::String => {
                let joined = kind == Kind::String && after_string;
                if self.ended && !joined && test != Test::Named {
                    self.delimit()?;
                }
                self.after_string = kind == Kind::String;
                if !joined && !named {
                    self.frame()?.primary = Some(start);
                }
                self.operand(start, true)?;
            }
            Kind::Symbol => self.symbol(text, start, test)?,
        }
        let frame = self.frame()?;
        frame.varied |= !plain && frame.start.is_some();
        self.operator = match kind {
            Kind::Word => text == "in" && !self.ended,
            Kind::Symbol => {
                matches!(text, "+" | "-" | "~" | "*" | "/" | "//" | "%" | "**")
                    || COMPARISONS.contains(&text)
            }
            _ => false,
        };
        self.last_end = start + text.len();
        Ok(())
    }

    /// Ends what a loop walks.
    fn end_walked(&mut self) -> Result<(), Unread> {
        if let Some(start) = self.walked.take_if(|_| self.frames.len() == 1) {
            // Brackets around nothing would be an empty tuple.
            if self.last_end <= start {
                return Err(Unread);
            }
            self.insert(start, "(");
            self.insert(self.last_end, ")|__walked");
        }
        Ok(())
    }

    fn statement(&mut self, name: &str) {
        self.targets = match name {
            "for" => Targets::For,
            "set" => Targets::Set { attribute: false },
            "with" => Targets::With,
            _ => Targets::None,
        };
        self.with = name == "with";
        // The brackets after it are parameters.
        self.ended = name == "call";
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
                self.frame()?.primary = Some(start);
                self.ended = true;
            }
            (_, "and" | "or" | "not" | "in" | "if" | "else") => {
                self.delimit()?;
                if word == "if" {
                    self.end_walked()?;
                }
                if self.targets == Targets::For {
                    self.targets = Targets::None;
                    self.walked = Some(start + word.len());
                } else {
                    self.frame()?.compared |= word == "in";
                }
            }
            _ => {
                // Such as `recursive` and `ignore missing`.
                if self.ended {
                    self.delimit()?;
                    self.end_walked()?;
                }
                self.frame()?.primary = Some(start);
                self.operand(start, true)?;
            }
        }
        Ok(())
    }

    fn open(&mut self, bracket: &str, start: usize, test: Test) -> Result<(), Unread> {
        if bracket == "{" && self.ended && test != Test::Named {
            self.delimit()?;
        }
        let argument = test == Test::Named;
        let literal = match bracket {
            "(" => !self.ended && !argument && self.targets == Targets::None,
            "[" => !self.ended || argument,
            _ => true,
        };
        if !self.ended || argument || bracket == "{" {
            self.frame()?.primary = Some(start);
        }
        self.operand(start, false)?;
        self.frames.push(Frame {
            index: (bracket == "[" && !literal).then_some(Index {
                open: start,
                slice: false,
                part: start + 1,
            }),
            literal: literal.then_some(start),
            compared: bracket == "[" && !literal,
            ..Frame::new(match bracket {
                "(" => "(",
                "[" => "[",
                _ => "{",
            })
        });
        Ok(())
    }

    fn close(&mut self, bracket: &str, start: usize) -> Result<(), Unread> {
        let closes = matches!(
            (self.frame()?.open, bracket),
            ("(", ")") | ("[", "]") | ("{", "}")
        );
        if !closes {
            return Err(Unread);
        }
        self.end_chain()?;
        let inner = self.frames.pop().ok_or(Unread)?;
        if let Some(index) = inner.index.filter(|_| !inner.named_key) {
            self.pay_for_index(index, start)?;
        }
        let outer = self.frame()?;
        outer.constant &= inner.constant;
        outer.varied |= !inner.constant;
        let making = !inner.constant && (bracket != ")" || inner.comma);
        if let Some(literal) = inner.literal.filter(|_| making) {
            self.insert(literal, "(");
            self.insert(start + bracket.len(), "|__held)");
        }
        self.ended = true;
        Ok(())
    }

    /// A colon, which separates the parts of a slice, becomes a comma.
    fn end_part(&mut self, colon: usize) -> Result<(), Unread> {
        let before = self.last_end;
        let Some(index) = &mut self.frame()?.index else {
            return Ok(());
        };
        let empty = before == index.part;
        index.slice = true;
        index.part = colon + 1;
        if !empty {
            self.end_chain()?;
        }
        self.replace(colon, if empty { "none," } else { "," });
        Ok(())
    }

    /// Makes a filter of an index that ends at `close`.
    fn pay_for_index(&mut self, index: Index, close: usize) -> Result<(), Unread> {
        let empty = self.last_end == index.part;
        // minijinja says best what is wrong with an index of nothing.
        if empty && !index.slice {
            return Err(Unread);
        }
        let frame = self.frame()?;
        let primary = frame.primary.ok_or(Unread)?;
        if let Some((_, wrapped)) = &mut frame.bare {
            *wrapped = true;
        }
        self.insert(primary, "((");
        let filter = if index.slice { ")|__slice(" } else { ")|__at(" };
        self.replace(index.open, filter);
        self.replace(close, if empty { "none))" } else { "))" });
        Ok(())
    }

    /// Puts the brackets around a test's argument that an index in it needs.
    fn end_bare(&mut self) -> Result<(), Unread> {
        let frame = self.frame()?;
        if let Some((start, wrapped)) = frame.bare.take() {
            frame.primary = None;
            if wrapped {
                self.insert(start, "(");
                self.insert(self.last_end, ")");
            }
        }
        Ok(())
    }

    /// What a symbol says about targets and the value of a `set`.
    fn assign(&mut self, symbol: &str, start: usize) -> Result<(), Unread> {
        let outermost = self.frames.len() == 1;
        match (symbol, self.targets) {
            (".", Targets::Set { .. }) => self.targets = Targets::Set { attribute: true },
            ("=", Targets::Set { attribute }) => {
                self.value = Some((start + symbol.len(), attribute));
                self.targets = Targets::None;
            }
            ("=", Targets::With) => self.targets = Targets::None,
            (",", Targets::None) if outermost && self.with => self.targets = Targets::With,
            (",", Targets::None) => self.frame()?.comma = true,
            _ => {}
        }
        Ok(())
    }

    fn symbol(&mut self, symbol: &str, start: usize, test: Test) -> Result<(), Unread> {
        self.assign(symbol, start)?;
        match symbol {
            "(" | "[" | "{" => self.open(symbol, start, test)?,
            ")" | "]" | "}" => self.close(symbol, start)?,
            "." | "|" if !self.ended && self.frame()?.pending => return Err(Unread),
            "." | "|" => {
                if symbol == "|" {
                    // An index cannot follow a filter.
                    self.frame()?.primary = None;
                }
                self.name_next = true;
                self.test = if symbol == "." { test } else { Test::None };
                self.ended = false;
            }
            "*" | "**" if !self.ended => self.delimit()?,
            "~" => {
                self.end_term()?;
                self.ended = false;
            }
            "%" => {
                self.close_remainder()?;
                let frame = self.frame()?;
                frame.remainder = true;
                let term = frame.term.ok_or(Unread)?;
                self.insert(term, "(");
                self.insert(self.last_end, ")");
                self.replace(start, "|__rem(");
                self.ended = false;
            }
            "*" | "/" | "//" => {
                self.close_remainder()?;
                self.frame()?.product |= symbol == "*";
                self.ended = false;
            }
            "**" => self.ended = false,
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
                self.replace(start, "|__sum(");
                self.ended = false;
            }
            _ => {
                self.delimit()?;
                self.frame()?.compared |= COMPARISONS.contains(&symbol);
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Edit>, Unread> {
        self.end_bare()?;
        self.end_chain()?;
        if self.frames.len() != 1 {
            return Err(Unread);
        }
        self.end_walked()?;
        let tuple = self.frame()?.comma;
        if let Some((start, attribute)) = self.value.filter(|(_, attribute)| tuple || *attribute) {
            if !(self.ended || tuple) {
                return Err(Unread);
            }
            self.insert(start, "(");
            // A tuple is no namespace.
            let attribute = attribute && !tuple;
            self.insert(
                self.last_end,
                if attribute { ")|__kept" } else { ")|__held" },
            );
        }
        Ok(self.edits)
    }
}

#[cfg(test)]
mod tests;
