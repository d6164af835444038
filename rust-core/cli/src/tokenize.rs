//! `dormouse tokenize`: text to token ids, or back.

use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::process::ExitCode;

use dormouse::tokenize::{EncodeOptions, Tokenizer};

use crate::args::TokenizeArgs;
use crate::failure::{Failure, Result};
use crate::setup;

pub(crate) fn run(args: &TokenizeArgs) -> Result<ExitCode> {
    let gguf = setup::open(&args.model)?;
    let tokenizer = Tokenizer::from_gguf(&gguf).map_err(|e| setup::unusable(&args.model, e))?;
    let out = match &args.decode {
        Some(ids) => {
            let mut text = tokenizer.decode(&parse_ids(ids, tokenizer.vocab_size())?, true);
            text.push(b'\n');
            text
        }
        None => {
            let text = given(args.text.as_deref())?;
            let options = EncodeOptions {
                add_special: !args.no_bos,
                parse_special: args.parse_special,
            };
            let ids = tokenizer.encode(&text, options)?;
            if args.ids {
                let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
                format!("{}\n", ids.join(" ")).into_bytes()
            } else {
                list(&tokenizer, &ids).into_bytes()
            }
        }
    };
    io::stdout()
        .write_all(&out)
        .map_err(|e| Failure::stdout(&e))?;
    Ok(ExitCode::SUCCESS)
}

/// The text of an argument, or of stdin.
pub(crate) fn given(text: Option<&str>) -> Result<String> {
    if let Some(text) = text.filter(|text| *text != "-") {
        return Ok(text.to_owned());
    }
    let mut text = String::new();
    io::stdin()
        .read_to_string(&mut text)
        .map_err(|e| Failure::new(format!("cannot read the text from stdin: {e}")))?;
    Ok(text)
}

/// Ids parted by commas or white space, as this command and JSON write them.
fn parse_ids(text: &str, vocabulary: usize) -> Result<Vec<u32>> {
    text.split(|c: char| c == ',' || c.is_whitespace() || matches!(c, '[' | ']'))
        .filter(|word| !word.is_empty())
        .map(|word| match word.parse::<u32>() {
            Ok(id) if (id as usize) < vocabulary => Ok(id),
            _ => Err(Failure::usage(format!(
                "{word:?} is no token id (this model has 0 to {})",
                vocabulary.saturating_sub(1)
            ))),
        })
        .collect()
}

/// A line for each token: its id and its text.
fn list(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let mut out = String::new();
    for &id in ids {
        let bytes = tokenizer.token_bytes(id).unwrap_or_default();
        let _ = writeln!(out, "{id:>7}  {}", quoted(&bytes));
    }
    out
}

/// The bytes in quotes, with escapes for what is not printable or no whole character.
fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        out.extend(chunk.valid().escape_debug());
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_parted_by_commas_or_spaces() {
        assert_eq!(parse_ids("[1, 2,3 4\n]", 5).unwrap(), [1, 2, 3, 4]);
        assert!(parse_ids("", 5).unwrap().is_empty());
        for wrong in ["5", "-1", "x", "1.5"] {
            parse_ids(wrong, 5).unwrap_err();
        }
    }

    #[test]
    fn half_characters_are_shown_as_bytes() {
        assert_eq!(quoted(b" a\n\"\xc3\xa4\xc3"), "\" a\\n\\\"ä\\xc3\"");
    }
}
