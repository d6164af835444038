//! `dormouse run`: answers once.

use std::io::{self, IsTerminal, Read};
use std::process::ExitCode;

use dormouse::session::FinishReason;
use dormouse::template::Message;

use crate::args::{RunArgs, StatsFormat};
use crate::failure::{Failure, Result, code};
use crate::interrupt::{self, Otherwise};
use crate::tell::tell;
use crate::{report, setup, stream};

pub(crate) fn run(args: RunArgs) -> Result<ExitCode> {
    let options = setup::generate_options(&args.generate)?;
    let prompt = match args.prompt {
        Some(text) if text != "-" => text,
        _ => prompt_from_stdin()?,
    };
    if prompt.is_empty() {
        return Err(Failure::usage("the prompt is empty")
            .hint("give it with --prompt TEXT, or write it to stdin"));
    }
    let (mut model, load) = setup::load(&args.model, |_| {})?;
    if !args.raw {
        model = setup::with_template(model, args.generate.template.as_deref())?;
    }
    let session = setup::session(&model, &args.session)?;
    interrupt::install(Otherwise::Exit)?;
    let generation = if args.raw {
        session.complete(prompt, &options)?
    } else {
        let mut messages = Vec::new();
        messages.extend(args.generate.system.map(Message::system));
        messages.push(Message::user(prompt));
        session.chat(&messages, &options)?
    };
    let done = stream::to_stdout(generation)?;
    match args.stats {
        StatsFormat::Text => {
            tell!(
                "loaded in {} · {}",
                report::duration(load),
                report::reply(&done)
            );
        }
        StatsFormat::Json => tell!("{}", report::reply_json(&done, &model, load)),
        StatsFormat::None => {}
    }
    Ok(match done.finish {
        FinishReason::Cancelled => ExitCode::from(code::STOPPED),
        _ => ExitCode::SUCCESS,
    })
}

/// All of stdin, without the newline that ends it.
fn prompt_from_stdin() -> Result<String> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        tell!("type the prompt; Ctrl-D on a line of its own ends it");
    }
    let mut text = String::new();
    stdin
        .lock()
        .read_to_string(&mut text)
        .map_err(|e| Failure::new(format!("cannot read the prompt from stdin: {e}")))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}
