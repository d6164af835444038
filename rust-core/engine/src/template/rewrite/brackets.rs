//! Brackets and other symbols: what they begin and end.

use super::frame::{Frame, Index, Targets, Test};
use super::tag::{COMPARISONS, Tag};
use crate::template::lex::Unread;

/// Arguments that a call of `changed` may have.
const MAX_CHANGED: usize = 8;

impl Tag {
    pub(super) fn open(&mut self, bracket: &str, start: usize, test: Test) -> Result<(), Unread> {
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

    pub(super) fn close(&mut self, bracket: &str, start: usize) -> Result<(), Unread> {
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
    pub(super) fn end_part(&mut self, colon: usize) -> Result<(), Unread> {
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
    pub(super) fn pay_for_index(&mut self, index: Index, close: usize) -> Result<(), Unread> {
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
    pub(super) fn end_bare(&mut self) -> Result<(), Unread> {
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
    pub(super) fn assign(&mut self, symbol: &str, start: usize) -> Result<(), Unread> {
        let outermost = self.frames.len() == 1;
        match (symbol, self.targets) {
            (".", Targets::Set { .. }) => self.targets = Targets::Set { attribute: true },
            // Where targets are expected, none has a keyword's value.
            ("=", Targets::Set { .. } | Targets::With) if !outermost => return Err(Unread),
            ("=", Targets::Set { attribute }) => {
                self.value = Some((start + symbol.len(), attribute));
                self.targets = Targets::None;
            }
            ("=", Targets::With) => self.targets = Targets::None,
            (",", Targets::None) if outermost && self.with => self.targets = Targets::With,
            (",", Targets::None) => {
                let frame = self.frame()?;
                frame.comma = true;
                if let Some(arguments) = &mut frame.changed {
                    *arguments += 1;
                    if *arguments > MAX_CHANGED {
                        return Err(Unread);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn symbol(&mut self, symbol: &str, start: usize, test: Test) -> Result<(), Unread> {
        self.assign(symbol, start)?;
        let changed = std::mem::take(&mut self.changed);
        match symbol {
            "(" | "[" | "{" => {
                self.open(symbol, start, test)?;
                if changed && symbol == "(" {
                    self.insert(start + 1, "0|__tick,");
                    self.frame()?.changed = Some(0);
                }
            }
            ")" | "]" | "}" => self.close(symbol, start)?,
            "." | "|" if !self.ended && self.frame()?.pending => return Err(Unread),
            "." | "|" => {
                if symbol == "|" {
                    // An index cannot follow a filter.
                    self.frame()?.primary = None;
                    // The filters of a block that is put into a namespace.
                    if let Targets::Set { attribute } = self.targets {
                        self.targets = Targets::None;
                        self.filtered = attribute;
                    }
                }
                self.name_next = true;
                self.test = if symbol == "." { test } else { Test::None };
                self.ended = false;
            }
            "*" | "**" if !self.ended => {
                self.delimit()?;
                // The keys of a dict are hashed.
                self.frame()?.compared |= symbol == "**";
            }
            "~" => {
                let before = self.end_join()?;
                let frame = self.frame()?;
                frame.joining = true;
                let first = frame.joined.ok_or(Unread)?;
                // After the first, what is joined so far is one operand.
                if !before {
                    self.insert(first, "(");
                    self.insert(self.last_end, ")");
                }
                self.replace(start, "|__join(");
                self.ended = false;
            }
            "%" | "*" => {
                self.close_factor()?;
                let frame = self.frame()?;
                frame.factor = true;
                let term = frame.term.ok_or(Unread)?;
                self.insert(term, "(");
                self.insert(self.last_end, ")");
                self.replace(
                    start,
                    if symbol == "%" {
                        "|__rem("
                    } else {
                        "|__times("
                    },
                );
                self.ended = false;
            }
            "/" | "//" => {
                self.close_factor()?;
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
                let frame = self.frame()?;
                // The key of a dict is hashed.
                frame.compared |= symbol == ":" && frame.open == "{";
                self.delimit()?;
                self.frame()?.compared |= COMPARISONS.contains(&symbol);
            }
        }
        Ok(())
    }
}
