//! A file of any bytes is opened, loaded, tokenized with, templated with and run: an answer or a
//! typed error, and never an internal one.
#![no_main]

use dormouse::gguf::Source;
use dormouse::model::{ContextOptions, EmbedOptions, LoadOptions, Model, Pooling};
use dormouse::template::{Message, RenderOptions};
use dormouse::tokenize::EncodeOptions;
use dormouse::{Error, Result};
use libfuzzer_sys::fuzz_target;

fn run(source: &Source) -> Result<()> {
    let mut options = LoadOptions::default();
    options.threads = Some(1);
    let model = Model::load(source, options)?;
    let tokenizer = model.tokenizer();
    let encode = |parse_special| EncodeOptions {
        add_special: true,
        parse_special,
    };
    let mut tokens = tokenizer.encode("abcab a\nz\u{e4}\u{1F42D}", encode(false))?;
    tokenizer.decode(&tokens, true);
    let rendered = model
        .template()
        .and_then(|template| template.render(&[Message::user("ab")], &RenderOptions::default()));
    if let Ok(prompt) = rendered {
        tokens.extend(tokenizer.encode(&prompt, encode(true))?);
    }
    tokens.truncate(4);
    let mut decoder = model.decoder(&ContextOptions::default())?;
    let mut logits = vec![0.0; decoder.vocab_size()];
    decoder.forward(&tokens, Some(&mut logits))?;
    let mut options = EmbedOptions::default();
    options.pooling = Some(Pooling::Mean);
    model.embed("ab", &options).map(drop)
}

fuzz_target!(|bytes: &[u8]| {
    let result = dormouse_fuzz::with_file(bytes, run);
    if let Err(Error::Internal { what, .. }) = result {
        panic!("internal: {what}");
    }
});
