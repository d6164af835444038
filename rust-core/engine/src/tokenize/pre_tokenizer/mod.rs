//! How byte-level BPE cuts text into words before it merges: one row per `tokenizer.ggml.pre`.
//!
//! A row is a list of stages, each of which cuts what the stage before left. A stage is a list
//! of patterns; at each place the first that matches takes its longest match, and text that
//! none matches is a word too. To add a pre-tokenizer, add a row; the tests compare every row
//! with llama.cpp's vocabularies.
//!
//! The published patterns end in `\s+(?!\S)`: a run of white space leaves its last character to
//! the word that follows. Here that is the pattern [`SPACES`], whose meaning is built in. The
//! regex engine then needs no look-around, so its time is linear in the text, where a
//! backtracking engine gives up on long runs.
//!
//! Letters and numbers are those of Unicode 15.1, as in llama.cpp. Without that bound, an update
//! of the regex crate's tables would change the tokens of texts.

use std::ops::Range;

use regex_automata::Input;
use regex_automata::meta::Regex;

use crate::error::{Error, Result};
use rows::ROWS;
pub(super) use rows::{Alphabet, Bos, Row, Whole};

mod rows;

/// A run of white space, which gives its last character back if a word follows and something
/// stays behind.
const SPACES: &str = r"\s+";

/// A run of ASCII digits, cut before each group of three counted from its end; what stands
/// beside it is no word of its own.
const THREES: &[&str] = &["[0-9]+"];

/// The compiled row of one name.
pub(super) struct PreTokenizer {
    stages: Vec<Stage>,
    pub(super) row: &'static Row,
}

struct Stage {
    regex: Regex,
    /// Index of [`SPACES`] among the stage's patterns.
    spaces: Option<usize>,
    /// Whether the stage is [`THREES`].
    threes: bool,
}

impl PreTokenizer {
    /// The pre-tokenizer that `tokenizer.ggml.pre` calls `name`.
    pub(super) fn by_name(name: &str) -> Result<Self> {
        let row = ROWS
            .iter()
            .find(|row| row.names.contains(&name))
            .ok_or_else(|| {
                let known: Vec<&str> = ROWS.iter().flat_map(|row| row.names).copied().collect();
                Error::unsupported(format!(
                    "pre-tokenizer {name:?} (known: {})",
                    known.join(", ")
                ))
            })?;
        let stages = row
            .stages
            .iter()
            .map(|patterns| Stage::new(patterns))
            .collect::<Result<_>>()?;
        Ok(Self { stages, row })
    }

    /// Calls `word` with each word of `text`, in order; together they are the whole text.
    pub(super) fn split<'t>(&self, text: &'t str, word: &mut dyn FnMut(&'t str)) {
        split_by(&self.stages, text, 0..text.len(), word);
    }
}

fn split_by<'t>(
    stages: &[Stage],
    text: &'t str,
    range: Range<usize>,
    word: &mut dyn FnMut(&'t str),
) {
    match stages {
        [] => word(&text[range]),
        [stage, rest @ ..] => stage.split(text, range, &mut |part| {
            split_by(rest, text, part, word);
        }),
    }
}

/// Compiles patterns whose classes L, M, N, P and S end with Unicode 15.1.
pub(super) fn compile(patterns: &[&str]) -> Result<Regex> {
    let dated: Vec<String> = patterns
        .iter()
        .map(|pattern| {
            ["L", "M", "N", "P", "S"]
                .iter()
                .fold((*pattern).to_owned(), |text, class| {
                    text.replace(
                        &format!(r"\p{{{class}}}"),
                        &format!(r"[\p{{{class}}}&&\p{{Age=15.1}}]"),
                    )
                })
        })
        .collect();
    Regex::new_many(&dated)
        .map_err(|e| Error::internal(format!("a pre-tokenizer does not compile: {e}")))
}

impl Stage {
    fn new(patterns: &[&str]) -> Result<Self> {
        let regex = compile(patterns)?;
        Ok(Self {
            regex,
            spaces: patterns.iter().position(|&pattern| pattern == SPACES),
            threes: patterns == THREES,
        })
    }

    fn split(&self, text: &str, range: Range<usize>, part: &mut dyn FnMut(Range<usize>)) {
        // An end that a pattern asks for is the end of the range.
        let text = &text[..range.end];
        if self.threes {
            return self.split_threes(text, range.start, part);
        }
        let mut at = range.start;
        while at < text.len() {
            let Some(found) = self.regex.find(Input::new(text).range(at..)) else {
                part(at..text.len());
                return;
            };
            if found.start() > at {
                part(at..found.start());
            }
            let mut end = found.end();
            if Some(found.pattern().as_usize()) == self.spaces && end < text.len() {
                let last = text[found.range()].chars().next_back();
                let kept = end - last.map_or(0, char::len_utf8);
                if kept > found.start() {
                    end = kept;
                }
            }
            part(found.start()..end);
            at = end;
        }
    }

    fn split_threes(&self, text: &str, start: usize, part: &mut dyn FnMut(Range<usize>)) {
        let (mut from, mut at) = (start, start);
        while let Some(run) = self.regex.find(Input::new(text).range(at..)) {
            for cut in (run.start() + run.len() % 3..run.end()).step_by(3) {
                if cut > from {
                    part(from..cut);
                    from = cut;
                }
            }
            at = run.end();
        }
        if from < text.len() {
            part(from..text.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words<'t>(name: &str, text: &'t str) -> Vec<&'t str> {
        let mut out = Vec::new();
        PreTokenizer::by_name(name)
            .unwrap()
            .split(text, &mut |word| out.push(word));
        assert_eq!(out.concat(), text);
        out
    }

    #[test]
    fn a_space_goes_to_the_word_that_follows() {
        assert_eq!(words("gpt-2", "a  b c"), ["a", " ", " b", " c"]);
        assert_eq!(words("gpt-2", "a \t\n b  "), ["a", " \t\n", " b", "  "]);
        assert_eq!(words("gpt-2", "\tx"), ["\t", "x"]);
        assert_eq!(words("gpt-2", "it's 12?!"), ["it", "'s", " 12", "?!"]);
    }

    #[test]
    fn digits_stand_alone_where_the_row_says_so() {
        assert_eq!(words("smollm", "a 123"), ["a", " ", "1", "2", "3"]);
        assert_eq!(words("smollm", "a  1"), ["a", "  ", "1"]);
        assert_eq!(words("llama-bpe", "12345"), ["123", "45"]);
        assert_eq!(words("qwen2", "12"), ["1", "2"]);
        assert_eq!(
            words("superbpe", "1234567 123"),
            ["1", "234", "567", " ", "123"]
        );
    }

    #[test]
    fn newlines_take_the_spaces_before_them() {
        assert_eq!(
            words("llama-bpe", "a \n  \n  b"),
            ["a", " \n  \n", " ", " b"]
        );
        assert_eq!(words("llama-bpe", "(x)\n\ny"), ["(x", ")\n\n", "y"]);
        assert_eq!(words("llama-bpe", "I'LL"), ["I", "'LL"]);
    }

    #[test]
    fn an_unknown_name_lists_the_known() {
        let error = PreTokenizer::by_name("nonsense").err().unwrap().to_string();
        assert!(
            error.contains("nonsense") && error.contains("smollm"),
            "{error}"
        );
    }
}
