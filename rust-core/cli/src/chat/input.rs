//! Where the lines of a chat come from: the line editor, or a pipe.

use std::io::{self, BufRead, IsTerminal};

use rustyline::error::ReadlineError;
use rustyline::history::{History as _, MemHistory};
use rustyline::{Config, Editor};

use super::history::HistoryFile;
use crate::failure::{Failure, Result};
use crate::tell::tell;

const PROMPT: &str = "> ";

/// Lines that the arrow keys bring back.
const HISTORY_LINES: usize = 1000;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Text(String),
    /// Ctrl-C at the prompt.
    Interrupted,
    /// The end of the input, or Ctrl-D.
    End,
}

pub(super) enum Input {
    Terminal {
        editor: Box<Editor<(), MemHistory>>,
        history: Option<HistoryFile>,
    },
    Pipe,
}

impl Input {
    /// The line editor if a person sits before us. `keep_history` keeps its lines in a file.
    pub(super) fn open(keep_history: bool) -> Result<Self> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let person = io::stdin().is_terminal() && io::stdout().is_terminal();
        if !person || (dumb && cfg!(unix)) {
            return Ok(Self::Pipe);
        }
        let failed = |e: ReadlineError| Failure::new(format!("cannot use the terminal: {e}"));
        let config = Config::builder()
            .max_history_size(HISTORY_LINES)
            .map_err(failed)?
            .auto_add_history(false)
            .build();
        let lines = MemHistory::with_config(&config);
        let mut editor = Editor::with_history(config, lines).map_err(failed)?;
        let mut history = None;
        if keep_history {
            match HistoryFile::open(HISTORY_LINES) {
                Ok(Some((file, lines))) => {
                    for line in lines {
                        editor.history_mut().add_owned(line).map_err(failed)?;
                    }
                    history = Some(file);
                }
                Ok(None) => {}
                Err(error) => warn(&error),
            }
        }
        Ok(Self::Terminal {
            editor: Box::new(editor),
            history,
        })
    }

    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal { .. })
    }

    /// Waits for the next line.
    pub(super) fn read(&mut self) -> Result<Line> {
        match self {
            Self::Pipe => {
                let mut line = String::new();
                let length = io::stdin()
                    .lock()
                    .read_line(&mut line)
                    .map_err(|e| Failure::new(format!("cannot read stdin: {e}")))?;
                if length == 0 {
                    return Ok(Line::End);
                }
                let line = line.strip_suffix('\n').unwrap_or(&line);
                Ok(Line::Text(line.strip_suffix('\r').unwrap_or(line).into()))
            }
            Self::Terminal { editor, history } => match editor.readline(PROMPT) {
                Ok(line) => {
                    // False for a line that repeats the one before.
                    let added = editor.add_history_entry(line.as_str()).unwrap_or(false);
                    if added
                        && let Some(file) = history
                        && let Err(error) = file.append(&line)
                    {
                        warn(&error);
                        *history = None;
                    }
                    Ok(Line::Text(line))
                }
                Err(ReadlineError::Interrupted) => Ok(Line::Interrupted),
                Err(ReadlineError::Eof) => Ok(Line::End),
                Err(error) => Err(Failure::new(format!("cannot read the terminal: {error}"))),
            },
        }
    }
}

fn warn(error: &io::Error) {
    tell!("warning: the history of lines is not kept: {error}");
}
