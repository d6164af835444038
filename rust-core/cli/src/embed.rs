//! `dormouse embed`: a text's embedding.

use std::io::{self, Write};
use std::process::ExitCode;

use dormouse::model::EmbedOptions;
use serde_json::json;

use crate::args::EmbedArgs;
use crate::failure::{Failure, Result};
use crate::{setup, tokenize};

pub(crate) fn run(args: &EmbedArgs) -> Result<ExitCode> {
    let text = tokenize::given(args.text.as_deref())?;
    let (model, _) = setup::load(&args.model, |_| {})?;
    let mut options = EmbedOptions::default();
    options.pooling = args.pooling.map(Into::into);
    let vector = model.embed(&text, &options)?;
    writeln!(io::stdout(), "{}", json!(vector)).map_err(|e| Failure::stdout(&e))?;
    Ok(ExitCode::SUCCESS)
}
