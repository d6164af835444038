//! Any template over a conversation: a prompt or an error, in bounded time and memory.
#![no_main]

use dormouse::template::{ChatTemplate, Message, RenderOptions};
use dormouse::{Error, Result};
use libfuzzer_sys::fuzz_target;

fn run(source: &str) -> Result<String> {
    let template = ChatTemplate::new(source, "<s>", "</s>")?;
    let conversation = [
        Message::system("be brief"),
        Message::user("hello"),
        Message::assistant("hi there"),
        Message::user("and \u{1F42D} now?"),
    ];
    template.render(&conversation, &RenderOptions::default())
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(source) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Err(Error::Internal { what, .. }) = run(source) {
        panic!("internal: {what}");
    }
});
