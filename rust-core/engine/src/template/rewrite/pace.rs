//! Where a template is to look at the time, so that no way through it goes far without.
//!
//! Loops and macros look at the beginning of each turn and call. Elsewhere ways go forward alone, so
//! it is enough to count the tokens since the last look, on the way that has the most of them.
//! Printing looks by itself.

/// Tokens that may be passed without a look. One takes at most as long as to look for a name in all
/// scopes that are open.
const MOST: usize = 64;

/// Tokens since the last look.
#[derive(Default)]
pub(super) struct Pace {
    since: usize,
    open: Vec<Open>,
}

struct Open {
    end: &'static str,
    /// On the way that leaves out what comes next.
    beside: usize,
    /// On the ways that ended.
    most: usize,
}

impl Pace {
    pub(super) fn printed(&mut self) {
        self.since = 0;
    }

    /// Passes a tag of this name; says whether to look at the time there.
    pub(super) fn passed(&mut self, name: &str, tokens: usize) -> bool {
        match name {
            "elif" | "else" => {
                if let Some(open) = self.open.last_mut() {
                    open.most = open.most.max(self.since);
                    self.since = open.beside;
                }
            }
            "endif" | "endfor" | "endmacro" | "endcall" => {
                if let Some(open) = self.open.pop_if(|open| open.end == name) {
                    self.since = match name {
                        "endif" => self.since.max(open.most).max(open.beside),
                        // A loop can be left from everywhere in it.
                        "endfor" => MOST,
                        _ => open.beside,
                    };
                }
            }
            _ => {}
        }
        self.since += tokens;
        let beside = self.since;
        let look = self.since > MOST || matches!(name, "for" | "macro" | "call");
        if look {
            self.since = 0;
        }
        let end = match name {
            "if" => "endif",
            "for" => "endfor",
            "macro" => "endmacro",
            "call" => "endcall",
            _ => {
                if let ("elif" | "else", Some(open)) = (name, self.open.last_mut()) {
                    open.beside = self.since;
                }
                return look;
            }
        };
        self.open.push(Open {
            end,
            beside: if name == "if" { self.since } else { beside },
            most: 0,
        });
        look
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_way_counts() {
        let mut pace = Pace::default();
        assert!(!pace.passed("set", MOST - 10));
        assert!(!pace.passed("if", 5));
        assert!(pace.passed("set", 6));
        assert!(!pace.passed("set", 20));
        // The branch that looked may not be the one that is taken.
        assert!(!pace.passed("elif", 5));
        assert!(pace.passed("elif", 5));
        // Nor is it the second that looked.
        assert!(pace.passed("endif", 1));
        assert!(!pace.passed("set", MOST - 30));
        assert!(pace.passed("set", 40));
        pace.printed();
        assert!(!pace.passed("set", MOST));
    }

    #[test]
    fn loops_and_macros_look_in_each_turn() {
        let mut pace = Pace::default();
        assert!(!pace.passed("set", MOST - 10));
        assert!(pace.passed("macro", 4));
        assert!(!pace.passed("set", MOST));
        assert!(!pace.passed("endmacro", 1));
        assert!(!pace.passed("set", 5));
        assert!(pace.passed("for", 4));
        assert!(!pace.passed("break", 1));
        assert!(pace.passed("endfor", 1));
        assert!(!pace.passed("set", MOST));
    }
}
