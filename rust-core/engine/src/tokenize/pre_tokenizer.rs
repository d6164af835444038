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

/// A run of white space, which gives its last character back if a word follows and something
/// stays behind.
const SPACES: &str = r"\s+";

const GPT2: &[&str] = &[
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+",
    SPACES,
];
const DIGITS: &[&str] = &[r"\p{N}"];
const NUMBERS: &[&str] = &[r"\p{N}+"];
const THREE_DIGITS: &[&str] = &["[0-9][0-9][0-9]"];
const PUNCTUATION: &[&str] = &[r"[\p{P}$+<=>^~|]+"];
const LLAMA3: &[&str] = &[
    r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]",
    r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+",
    SPACES,
];
const QWEN2: &[&str] = &[
    r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]",
    r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+",
    SPACES,
];

/// One way of cutting words, and what else llama.cpp ties to its name.
struct Row {
    names: &'static [&'static str],
    stages: &'static [&'static [&'static str]],
    /// A word that is a piece as a whole becomes that piece, whatever the merges say.
    whole_words: bool,
    /// Whether BOS is added when the metadata does not say.
    add_bos: bool,
}

const ROWS: &[Row] = &[
    // What llama.cpp takes for a file that names no pre-tokenizer.
    Row {
        names: &["default"],
        stages: &[PUNCTUATION, GPT2, NUMBERS, THREE_DIGITS],
        whole_words: false,
        add_bos: false,
    },
    Row {
        names: &["gpt-2", "phi-2", "mpt", "olmo", "exaone4"],
        stages: &[GPT2],
        whole_words: false,
        add_bos: false,
    },
    Row {
        names: &["smollm", "starcoder", "refact", "command-r", "codeshell"],
        stages: &[DIGITS, GPT2],
        whole_words: false,
        add_bos: false,
    },
    Row {
        names: &["llama-bpe", "llama3", "llama-v3", "falcon3", "lfm2"],
        stages: &[LLAMA3],
        whole_words: true,
        add_bos: true,
    },
    Row {
        names: &["dbrx", "smaug-bpe"],
        stages: &[LLAMA3],
        whole_words: false,
        add_bos: false,
    },
    Row {
        names: &["qwen2", "deepseek-r1-qwen", "stablelm2", "megrez"],
        stages: &[QWEN2],
        whole_words: false,
        add_bos: false,
    },
];

/// The compiled row of one name.
pub(super) struct PreTokenizer {
    stages: Vec<Stage>,
    pub(super) whole_words: bool,
    pub(super) add_bos: bool,
}

struct Stage {
    regex: Regex,
    /// Index of [`SPACES`] among the stage's patterns.
    spaces: Option<usize>,
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
        Ok(Self {
            stages,
            whole_words: row.whole_words,
            add_bos: row.add_bos,
        })
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

impl Stage {
    fn new(patterns: &[&str]) -> Result<Self> {
        let dated: Vec<String> = patterns
            .iter()
            .map(|pattern| {
                ["L", "N", "P"]
                    .iter()
                    .fold((*pattern).to_owned(), |text, class| {
                        text.replace(
                            &format!(r"\p{{{class}}}"),
                            &format!(r"[\p{{{class}}}&&\p{{Age=15.1}}]"),
                        )
                    })
            })
            .collect();
        let regex = Regex::new_many(&dated)
            .map_err(|e| Error::internal(format!("a pre-tokenizer does not compile: {e}")))?;
        Ok(Self {
            regex,
            spaces: patterns.iter().position(|&pattern| pattern == SPACES),
        })
    }

    fn split(&self, text: &str, range: Range<usize>, part: &mut dyn FnMut(Range<usize>)) {
        let mut at = range.start;
        while at < range.end {
            let Some(found) = self.regex.find(Input::new(text).range(at..range.end)) else {
                part(at..range.end);
                return;
            };
            if found.start() > at {
                part(at..found.start());
            }
            let mut end = found.end();
            if Some(found.pattern().as_usize()) == self.spaces && end < range.end {
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
