//! The lines that begin with a slash.

use std::path::PathBuf;

use crate::failure::{Failure, Result};

pub(super) const HELP: &str = "\
/help           this list
/stats          what the last answer and all answers cost
/reset          forget the conversation, but for the system message
/regenerate     drop the last answer and give another
/system [TEXT]  set the system message; without TEXT remove it
/save [FILE]    write the conversation to FILE (JSON); without FILE where it was last saved
/load FILE      go on with a saved conversation
/quit           end the chat; so does Ctrl-D

Ctrl-C stops an answer; what came of it stays in the conversation. The arrow keys bring back
earlier lines. A message that begins with a slash: put a space before it.
";

/// A command of the chat.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Help,
    Stats,
    Reset,
    Regenerate,
    System(Option<String>),
    Save(Option<PathBuf>),
    Load(PathBuf),
    Quit,
}

impl Command {
    /// The command that a line is; none for a message.
    ///
    /// # Errors
    /// For a word that is no command, and for one without what it needs.
    pub(super) fn parse(line: &str) -> Result<Option<Self>> {
        let Some(rest) = line.strip_prefix('/') else {
            return Ok(None);
        };
        let (word, argument) = match rest.split_once(char::is_whitespace) {
            Some((word, argument)) => (word, argument.trim()),
            None => (rest, ""),
        };
        let argument = (!argument.is_empty()).then(|| argument.to_owned());
        let command = match word {
            "help" | "?" => Self::Help,
            "stats" => Self::Stats,
            "reset" => Self::Reset,
            "regenerate" => Self::Regenerate,
            "quit" | "exit" => Self::Quit,
            "system" => return Ok(Some(Self::System(argument))),
            "save" => return Ok(Some(Self::Save(argument.map(PathBuf::from)))),
            "load" => {
                let file =
                    argument.ok_or_else(|| Failure::new("/load wants the name of a file"))?;
                return Ok(Some(Self::Load(file.into())));
            }
            // Not repeated: it may be a message that happens to begin with a slash.
            _ => {
                return Err(Failure::new("there is no such command").hint(
                    "/help lists them; a message that begins with a slash needs a space before it",
                ));
            }
        };
        match argument {
            None => Ok(Some(command)),
            Some(_) => Err(Failure::new(format!("/{word} takes nothing after it"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_or_commands() {
        let parse = |line| Command::parse(line).unwrap();
        assert_eq!(parse("hello /quit"), None);
        assert_eq!(parse(" /quit"), None);
        assert_eq!(parse("/quit "), Some(Command::Quit));
        assert_eq!(parse("/save"), Some(Command::Save(None)));
        assert_eq!(
            parse("/save my chat.json "),
            Some(Command::Save(Some("my chat.json".into())))
        );
        assert_eq!(
            parse("/system be  kind"),
            Some(Command::System(Some("be  kind".into())))
        );
        assert_eq!(parse("/system"), Some(Command::System(None)));
    }

    #[test]
    fn what_is_no_command_is_an_error() {
        for line in ["/", "/nonsense", "/load", "/quit now", "/resetall"] {
            Command::parse(line).unwrap_err();
        }
    }

    #[test]
    fn help_names_every_command() {
        for word in [
            "help",
            "stats",
            "reset",
            "regenerate",
            "system",
            "save",
            "load",
            "quit",
        ] {
            assert!(HELP.contains(&format!("/{word}")), "{word}");
        }
    }
}
