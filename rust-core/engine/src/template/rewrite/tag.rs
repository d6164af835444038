//! Reads a tag token by token and notes where its source is to be edited.

use super::frame::{Edit, Frame, Targets, Test};
use crate::template::lex::{Kind, Unread};

pub(super) const COMPARISONS: [&str; 6] = ["<", ">", "<=", ">=", "==", "!="];

/// A tag that looks at the time and prints nothing. It trims what comes after it as the one before
/// it would have done.
const fn tick_after(turn: bool, mark: Option<char>) -> &'static str {
    match (turn, mark) {
        (true, Some('-')) => "{%if 0|__turn%}{%endif-%}",
        (true, Some('+')) => "{%if 0|__turn%}{%endif+%}",
        (true, _) => "{%if 0|__turn%}{%endif%}",
        (false, Some('-')) => "{%if 0|__tick%}{%endif-%}",
        (false, Some('+')) => "{%if 0|__tick%}{%endif+%}",
        (false, _) => "{%if 0|__tick%}{%endif%}",
    }
}

pub(super) struct Tag {
    pub(super) edits: Vec<Edit>,
    pub(super) frames: Vec<Frame>,
    /// The first word of `{% … %}` is still to come.
    pub(super) statement: bool,
    /// The last token ends an operand.
    pub(super) ended: bool,
    /// The last token is `.` or `|`, after which any word is a name.
    pub(super) name_next: bool,
    pub(super) after_string: bool,
    /// The last token is an operator that binds tighter than `not`.
    pub(super) operator: bool,
    pub(super) test: Test,
    pub(super) targets: Targets,
    /// After a comma come targets again.
    pub(super) with: bool,
    /// Where the value of `{% set … = value %}` begins, and whether an attribute is set.
    pub(super) value: Option<(usize, bool)>,
    /// The attribute of a namespace is set to a block that goes through filters.
    pub(super) filtered: bool,
    /// Where what a loop walks begins.
    pub(super) walked: Option<usize>,
    /// Where the condition of an `if`, an `elif` or a loop begins.
    pub(super) condition: Option<usize>,
    /// It is a loop, whose `if` is a condition.
    pub(super) looping: bool,
    /// It begins what is done many times.
    pub(super) turns: bool,
    /// It is a loop with a condition.
    pub(super) filters: bool,
    /// The last token is the name `changed` of a method, which compares.
    pub(super) changed: bool,
    /// Tokens so far.
    pub(super) tokens: usize,
    /// Its first word stands for another one if it is the only one: place, length, the other.
    pub(super) instead: Option<(usize, usize, &'static str)>,
    pub(super) last_end: usize,
}

impl Tag {
    pub(super) fn new(block: bool) -> Self {
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
            filtered: false,
            walked: None,
            condition: None,
            looping: false,
            changed: false,
            tokens: 0,
            instead: None,
            filters: false,
            turns: false,
            last_end: 0,
        }
    }

    pub(super) fn frame(&mut self) -> Result<&mut Frame, Unread> {
        self.frames.last_mut().ok_or(Unread)
    }

    pub(super) fn insert(&mut self, at: usize, insert: &'static str) {
        self.edits.push(Edit {
            at,
            remove: 0,
            insert,
        });
    }

    pub(super) fn replace(&mut self, at: usize, insert: &'static str) {
        self.edits.push(Edit {
            at,
            remove: 1,
            insert,
        });
    }

    /// Closes the bracket of the filter for `%` or `*` after the operand that the last token ended.
    pub(super) fn close_factor(&mut self) -> Result<(), Unread> {
        if std::mem::take(&mut self.frame()?.factor) {
            if !self.ended {
                return Err(Unread);
            }
            self.insert(self.last_end, ")");
        }
        Ok(())
    }

    /// Ends what is joined so far, and the factors; says whether anything was joined.
    pub(super) fn end_join(&mut self) -> Result<bool, Unread> {
        self.close_factor()?;
        let frame = self.frame()?;
        frame.term = None;
        let joining = std::mem::take(&mut frame.joining);
        if joining {
            if !self.ended {
                return Err(Unread);
            }
            self.insert(self.last_end, ")");
        }
        Ok(joining)
    }

    /// Closes the filter's bracket after the operand that the last token ended.
    pub(super) fn close_sum(&mut self) -> Result<(), Unread> {
        self.end_join()?;
        self.frame()?.joined = None;
        if std::mem::take(&mut self.frame()?.pending) {
            if !self.ended {
                return Err(Unread);
            }
            self.insert(self.last_end, ")");
        }
        Ok(())
    }

    /// Ends the chain: what comes binds looser than `+`.
    pub(super) fn delimit(&mut self) -> Result<(), Unread> {
        self.end_chain()?;
        self.ended = false;
        Ok(())
    }

    pub(super) fn end_chain(&mut self) -> Result<(), Unread> {
        self.close_sum()?;
        let frame = self.frame()?;
        let start = frame.start.take();
        let varied = std::mem::take(&mut frame.varied);
        frame.summed = false;
        let index = frame.open == "[" && frame.literal.is_none();
        let compared = std::mem::replace(&mut frame.compared, index) && varied;
        if let Some(start) = start.filter(|_| compared) {
            self.insert(start, "(");
            self.insert(self.last_end, ")|__compared");
        }
        Ok(())
    }

    /// A token that is part of an operand, or begins one.
    pub(super) fn operand(&mut self, start: usize, ends: bool) -> Result<(), Unread> {
        let frame = self.frame()?;
        frame.start.get_or_insert(start);
        frame.term.get_or_insert(start);
        frame.joined.get_or_insert(start);
        self.ended = ends;
        Ok(())
    }

    pub(super) fn take(&mut self, kind: Kind, text: &str, start: usize) -> Result<(), Unread> {
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
        self.tokens += 1;
        if kind != Kind::Symbol {
            self.changed = named && text == "changed";
        }
        match kind {
            Kind::Word if statement => self.statement(text, start),
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
    pub(super) fn end_walked(&mut self) -> Result<(), Unread> {
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

    /// Ends a condition.
    pub(super) fn end_condition(&mut self) -> Result<(), Unread> {
        if let Some(start) = self.condition.take_if(|_| self.frames.len() == 1) {
            // Brackets around nothing, or around a comma, would be a tuple.
            if self.last_end <= start || self.frame()?.comma {
                return Err(Unread);
            }
            self.insert(start, "(");
            self.insert(self.last_end, ")|__tick");
        }
        Ok(())
    }

    pub(super) fn statement(&mut self, name: &str, start: usize) {
        self.targets = match name {
            "for" => Targets::For,
            "set" => Targets::Set { attribute: false },
            "with" => Targets::With,
            _ => Targets::None,
        };
        self.with = name == "with";
        // The brackets after it are parameters.
        self.ended = name == "call";
        self.looping = name == "for";
        self.turns = matches!(name, "for" | "macro" | "call");
        if matches!(name, "if" | "elif") {
            self.condition = Some(start + name.len());
        }
        self.instead = match name {
            "generation" => Some((start, name.len(), "with")),
            "endgeneration" => Some((start, name.len(), "endwith")),
            _ => None,
        };
    }

    pub(super) fn word(&mut self, word: &str, start: usize, test: Test) -> Result<(), Unread> {
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
                // What is looked for may be hashed.
                let sought = word == "in" || (word == "not" && self.ended);
                self.frame()?.compared |= sought && self.targets != Targets::For;
                self.delimit()?;
                if word == "if" {
                    self.end_walked()?;
                    if self.frames.len() == 1 && std::mem::take(&mut self.looping) {
                        self.condition = Some(start + word.len());
                        self.filters = true;
                    }
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
                    self.end_condition()?;
                }
                self.frame()?.primary = Some(start);
                self.operand(start, true)?;
            }
        }
        Ok(())
    }

    /// `look` says whether to look at the time, `end` is where the tag ends, and `mark` what says
    /// there how to trim what comes.
    pub(super) fn finish(
        mut self,
        look: bool,
        end: usize,
        mark: Option<char>,
    ) -> Result<Vec<Edit>, Unread> {
        self.end_bare()?;
        self.end_chain()?;
        if self.frames.len() != 1 {
            return Err(Unread);
        }
        self.end_walked()?;
        let mut look = look;
        if look || self.filters {
            look &= self.condition.is_none() || self.filters;
            self.end_condition()?;
        }
        let tuple = self.frame()?.comma;
        if let Some((start, attribute)) = self.value {
            if !(self.ended || tuple) {
                return Err(Unread);
            }
            let filter = match (tuple, attribute) {
                (true, _) => ")|__held",
                // A tuple is no namespace.
                (false, true) => ")|__kept",
                (false, false) => ")|__tick",
            };
            if tuple || attribute || look {
                self.insert(start, "(");
                self.insert(self.last_end, filter);
                look = false;
            }
        }
        if self.filtered {
            self.insert(self.last_end, "|__kept");
        }
        if look {
            self.insert(end, tick_after(self.turns, mark));
        }
        if let Some((at, remove, insert)) = self.instead.filter(|_| self.tokens == 1) {
            self.edits.push(Edit { at, remove, insert });
        }
        Ok(self.edits)
    }
}
