//! `dormouse chat`: a conversation in the terminal, or over a pipe.

mod command;
mod history;
mod input;
mod totals;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use dormouse::model::Model;
use dormouse::session::FinishReason;
use dormouse::{Chat, Done, Error, Generation};

use crate::args::ChatArgs;
use crate::failure::{Failure, Result};
use crate::interrupt::{self, Otherwise};
use crate::tell::{self, tell};
use crate::{report, setup, stream};
use command::{Command, HELP};
use input::{Input, Line};
use totals::Totals;

pub(crate) fn run(args: ChatArgs) -> Result<ExitCode> {
    let options = setup::generate_options(&args.generate)?;
    let (model, load) = setup::load(&args.model, |_| {})?;
    let model = setup::with_template(model, args.generate.template.as_deref())?;
    let session = setup::session(&model, &args.session)?;
    let mut talk = Talk {
        chat: Chat::new(session, options),
        last: None,
        totals: Totals::default(),
        file: None,
    };
    if let Some(file) = &args.load {
        talk.load(file)?;
    }
    if let Some(system) = &args.generate.system {
        talk.chat.set_system(Some(system))?;
    }
    let mut input = Input::open(!args.no_history)?;
    interrupt::install(if input.is_terminal() {
        Otherwise::Nothing
    } else {
        Otherwise::ExitWhenIdle
    })?;
    if input.is_terminal() {
        greet(&model, &args.model.model, load, &talk);
    }
    let mut quitting = false;
    loop {
        match input.read()? {
            Line::End => return Ok(ExitCode::SUCCESS),
            Line::Interrupted if quitting => return Ok(ExitCode::SUCCESS),
            Line::Interrupted => {
                quitting = true;
                tell!("(Ctrl-C again, Ctrl-D or /quit ends the chat)");
            }
            Line::Text(line) => {
                quitting = false;
                match talk.answer(&line) {
                    // Room between what was answered and the next prompt.
                    Ok(true) if input.is_terminal() => tell!(""),
                    Ok(true) => {}
                    Ok(false) => return Ok(ExitCode::SUCCESS),
                    // A person reads the message and tries again; a script cannot.
                    Err(failure) if input.is_terminal() && !failure.is_quiet() => failure.print(),
                    Err(failure) => return Err(failure),
                }
            }
        }
    }
}

fn greet(model: &Model, path: &Path, load: Duration, talk: &Talk) {
    tell!(
        "{} · {} · context {} tokens · {} threads · loaded in {}",
        report::model_name(model, path),
        model.config().arch,
        talk.chat.session().context_length(),
        model.options().threads(),
        report::duration(load),
    );
    tell!("/help lists the commands, Ctrl-C stops an answer, Ctrl-D quits\n");
}

/// The conversation and what it has cost.
struct Talk {
    chat: Chat,
    last: Option<Done>,
    totals: Totals,
    /// Where it was last saved to or loaded from.
    file: Option<PathBuf>,
}

impl Talk {
    /// Does what a line asks for. False when that is to quit.
    fn answer(&mut self, line: &str) -> Result<bool> {
        if line.trim().is_empty() {
            return Ok(true);
        }
        match Command::parse(line)? {
            None => {
                let generation = self.chat.send(line).map_err(full)?;
                self.stream(generation)?;
            }
            Some(Command::Regenerate) => {
                let generation = self.chat.regenerate().map_err(full)?;
                self.stream(generation)?;
            }
            Some(Command::Quit) => return Ok(false),
            Some(Command::Help) => tell::write(format_args!("{HELP}")),
            Some(Command::Stats) => self.stats()?,
            Some(Command::Reset) => {
                self.chat.reset()?;
                // The session keeps its tokens, to use again what comes again.
                self.last = None;
                tell!("the conversation is forgotten, but for the system message");
            }
            Some(Command::System(text)) => {
                self.chat.set_system(text.as_deref())?;
                tell!(
                    "the system message is {}",
                    if text.is_some() { "set" } else { "removed" }
                );
            }
            Some(Command::Save(file)) => self.save(file)?,
            Some(Command::Load(file)) => self.load(&file)?,
        }
        Ok(true)
    }

    fn stream(&mut self, generation: Generation) -> Result<()> {
        let done = stream::to_stdout(generation)?;
        match done.finish {
            FinishReason::Cancelled if interrupt::stopped() => tell!("(stopped)"),
            FinishReason::MaxTokens => tell!("(stopped at the limit of --max-tokens)"),
            FinishReason::ContextFull => tell!(
                "(stopped: the context is full; /reset forgets the conversation, or start with a \
                 larger --context or --context-full shift)"
            ),
            _ => {}
        }
        if done.metrics.dropped_tokens > 0 {
            tell!(
                "({} of the oldest tokens were dropped to make room)",
                done.metrics.dropped_tokens
            );
        }
        self.totals.add(&done);
        self.last = Some(done);
        Ok(())
    }

    fn stats(&self) -> Result<()> {
        let Some(done) = &self.last else {
            tell!("there was no answer yet in this conversation");
            if !self.totals.is_empty() {
                tell!("all answers  {}", self.totals);
            }
            return Ok(());
        };
        let m = &done.metrics;
        let session = self.chat.session();
        let first = m.time_to_first_token.map_or("-".into(), report::duration);
        tell!(
            "last answer  prompt {} tokens ({} new, {} reused) · answer {} tokens · {} · seed {}",
            m.prompt_tokens,
            m.prefill_tokens,
            m.reused_tokens,
            m.generated_tokens,
            done.finish,
            done.seed,
        );
        tell!(
            "             first token after {first} · prefill {} · decode {}",
            report::rate(m.prefill_rate()),
            report::rate(m.decode_rate()),
        );
        tell!("all answers  {}", self.totals);
        tell!(
            "context      {} of {} tokens · KV cache {} · peak memory {}",
            session.tokens()?.len(),
            session.context_length(),
            report::bytes(m.kv_bytes),
            m.peak_memory.map_or("-".into(), report::bytes),
        );
        Ok(())
    }

    fn save(&mut self, file: Option<PathBuf>) -> Result<()> {
        let file = match (file, &self.file) {
            (Some(file), _) => file,
            (None, Some(file)) => file.clone(),
            (None, None) => unused_name(),
        };
        // What is replaced must be a conversation, not whatever else has that name.
        if file.exists() && self.file.as_ref() != Some(&file) && !is_saved_chat(&file) {
            return Err(Failure::new(format!(
                "{} exists and is no saved chat, so it is not replaced",
                file.display()
            )));
        }
        self.chat.save(&file)?;
        tell!("saved to {}", file.display());
        self.file = Some(file);
        Ok(())
    }

    fn load(&mut self, file: &Path) -> Result<()> {
        self.chat.load(file)?;
        tell!(
            "{} messages loaded from {}",
            self.chat.messages().len(),
            file.display()
        );
        self.file = Some(file.to_owned());
        Ok(())
    }
}

/// In a chat there is one more way out of a full context.
fn full(error: Error) -> Failure {
    match error {
        Error::ContextFull { .. } => Failure::from(error).hint(
            "/reset forgets the conversation; start with a larger --context for longer ones, or \
             with --context-full shift to drop the oldest tokens",
        ),
        other => other.into(),
    }
}

/// The first of `dormouse-chat.json`, `dormouse-chat-2.json`, ... that does not exist.
fn unused_name() -> PathBuf {
    let mut file = PathBuf::from("dormouse-chat.json");
    for number in 2u32.. {
        if !file.exists() {
            break;
        }
        file = PathBuf::from(format!("dormouse-chat-{number}.json"));
    }
    file
}

/// Whether the file begins as those do that `Chat::save` writes.
fn is_saved_chat(file: &Path) -> bool {
    use std::io::Read;
    let mut start = String::new();
    let read =
        std::fs::File::open(file).and_then(|opened| opened.take(64).read_to_string(&mut start));
    // A character that the limit cuts in two is an error, too, but comes later in a saved chat.
    let tokens: String = start.split_whitespace().collect();
    read.is_ok() && tokens.starts_with("{\"version\":")
}
