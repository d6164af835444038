//! `cargo xtask chat`: a model, a build, and the dormouse command in our place.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::build;
use crate::failure::{Failure, Result};
use crate::fetch::Fetcher;
use crate::models;
use crate::process;

const HELP: &str = "\
Chat with a model in the terminal.

Usage: cargo xtask chat [--model FILE.gguf] [--prompt TEXT] [ARGUMENTS OF dormouse]

  --model FILE   any GGUF model; without it SmolLM2-135M-Instruct (94 MiB) is fetched once
                 into the user's cache folder (DORMOUSE_CACHE names another folder)
  --prompt TEXT  answer once, with the answer alone on stdout
  --help         this text

All other arguments go to `dormouse chat`, or with --prompt to `dormouse run`, as they are.
";

/// The arguments, parted into ours and dormouse's.
#[derive(Debug, Default, PartialEq, Eq)]
struct Arguments {
    model: Option<PathBuf>,
    prompt: Option<OsString>,
    help: bool,
    rest: Vec<OsString>,
}

impl Arguments {
    /// Takes `--model` and `--prompt` (as `--name value` or `--name=value`) out, wherever they
    /// stand, and leaves all else in its order. What follows `--` is not looked at.
    fn parse(arguments: Vec<OsString>) -> Result<Self> {
        let mut parsed = Self::default();
        let mut left = arguments.into_iter();
        while let Some(word) = left.next() {
            if word == "--" {
                parsed.rest.extend(left);
                break;
            } else if word == "--help" || word == "-h" {
                parsed.help = true;
            } else if let Some(value) = option(&word, "--model", &mut left)? {
                parsed.model = Some(value.into());
            } else if let Some(value) = option(&word, "--prompt", &mut left)? {
                parsed.prompt = Some(value);
            } else {
                parsed.rest.push(word);
            }
        }
        Ok(parsed)
    }

    /// The command line of dormouse, without the program.
    fn for_dormouse(&self, model: &Path) -> Vec<OsString> {
        let mut words: Vec<OsString> = match &self.prompt {
            None => vec!["chat".into()],
            // One word, so that a text that starts with a hyphen is not taken for an option.
            Some(text) => {
                let mut prompt = OsString::from("--prompt=");
                prompt.push(text);
                vec!["run".into(), prompt]
            }
        };
        words.extend(["--model".into(), model.into()]);
        words.extend(self.rest.iter().cloned());
        words
    }
}

/// The value of option `name` if `word` is it.
fn option(
    word: &OsStr,
    name: &str,
    left: &mut impl Iterator<Item = OsString>,
) -> Result<Option<OsString>> {
    if word == name {
        return match left.next() {
            Some(value) => Ok(Some(value)),
            None => Err(Failure(format!(
                "{name} needs a value (cargo xtask chat --help)"
            ))),
        };
    }
    let bytes = word.as_encoded_bytes();
    let Some(value) = bytes
        .strip_prefix(name.as_bytes())
        .and_then(|rest| rest.strip_prefix(b"="))
    else {
        return Ok(None);
    };
    match std::str::from_utf8(value) {
        Ok(value) => Ok(Some(value.into())),
        Err(_) => Err(Failure(format!(
            "{name}=VALUE is not UTF-8: write it as two words, {name} VALUE"
        ))),
    }
}

/// Runs the command; on Unix it only comes back if something failed before dormouse started.
pub(crate) fn run(arguments: Vec<OsString>) -> Result<ExitCode> {
    let arguments = Arguments::parse(arguments)?;
    if arguments.help {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    }
    let model = match &arguments.model {
        Some(file) if file.is_file() => file.clone(),
        // Said before the build, which may take minutes.
        Some(file) => return Err(Failure(format!("there is no file {}", file.display()))),
        None => Fetcher::from_env()?.model(&models::SMOLLM2)?,
    };
    let mut dormouse = Command::new(build::dormouse()?);
    dormouse.args(arguments.for_dormouse(&model));
    replace(dormouse)
}

/// Puts the program in our place, so that Ctrl-C reaches it and it alone.
#[cfg(unix)]
fn replace(mut command: Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    let error = command.exec();
    Err(Failure(format!(
        "cannot start `{}`: {error}",
        process::show(&command)
    )))
}

#[cfg(not(unix))]
fn replace(mut command: Command) -> Result<ExitCode> {
    let status = command.status().map_err(|error| {
        Failure(format!(
            "cannot start `{}`: {error}",
            process::show(&command)
        ))
    })?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Arguments> {
        Arguments::parse(words.iter().map(OsString::from).collect())
    }

    fn line(words: &[&str]) -> Vec<OsString> {
        parse(words).unwrap().for_dormouse(Path::new("m.gguf"))
    }

    #[test]
    fn without_a_prompt_it_is_a_chat_and_with_one_a_run() {
        assert_eq!(line(&[]), ["chat", "--model", "m.gguf"]);
        let words = ["run", "--prompt=- x\ny", "--model", "m.gguf"];
        assert_eq!(line(&["--prompt", "- x\ny"]), words);
        assert_eq!(line(&["--prompt=- x\ny"]), words);
    }

    #[test]
    fn other_arguments_pass_through_in_order_wherever_they_stand() {
        let all = [
            "--temperature",
            "0.5",
            "--model",
            "a.gguf",
            "--seed=7",
            "-v",
            "--prompt=hi",
        ];
        let parsed = parse(&all).unwrap();
        assert_eq!(parsed.model.as_deref(), Some(Path::new("a.gguf")));
        assert_eq!(parsed.prompt.as_deref(), Some(OsStr::new("hi")));
        assert_eq!(parsed.rest, ["--temperature", "0.5", "--seed=7", "-v"]);
        assert_eq!(
            parse(&["--", "--model", "x", "-h"]).unwrap().rest,
            ["--model", "x", "-h"]
        );
        assert_eq!(
            parse(&["--modelled", "--prompts=1"]).unwrap().rest,
            ["--modelled", "--prompts=1"]
        );
    }

    #[test]
    fn an_option_without_its_value_is_an_error() {
        let message = parse(&["--seed", "1", "--model"]).unwrap_err().to_string();
        assert!(message.contains("--model needs a value"), "{message}");
    }

    #[test]
    fn a_model_that_is_not_there_is_named_before_anything_is_built() {
        let message = run(vec!["--model".into(), "no/such.gguf".into()])
            .unwrap_err()
            .to_string();
        assert_eq!(message, "there is no file no/such.gguf");
    }
}
