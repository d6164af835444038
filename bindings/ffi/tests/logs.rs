//! What the log is told, and that a sink may use what it is told of.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{
    block_on, chat_of, finish, load_settings, scripted, send, source, tiny_models, try_load,
};
use dormouse_ffi::{
    ChatHandle, Failure, LoadSettings, LogLevel, LogSink, LogSinkError, set_log_sink,
};

struct Sink {
    records: Mutex<Sender<String>>,
    /// Reset by the sink when a reply ends.
    chat: Mutex<Option<Arc<ChatHandle>>>,
}

impl LogSink for Sink {
    fn log(&self, level: LogLevel, _: String, message: String) -> Result<(), LogSinkError> {
        let record = format!("{level:?} {message}");
        if message.contains("a reply ended")
            && let Some(chat) = self.chat.lock().unwrap().take()
        {
            chat.reset().unwrap();
        }
        let _ = self.records.lock().unwrap().send(record);
        Ok(())
    }
}

fn wait_for(records: &Receiver<String>, begin: &str) -> String {
    loop {
        let record = records.recv_timeout(Duration::from_secs(60));
        let record = record.unwrap_or_else(|_| panic!("no record of: {begin}"));
        if record.starts_with(begin) {
            return record;
        }
    }
}

/// One test, as there is one sink.
#[test]
fn records_come_when_all_is_over_and_failures_have_theirs() {
    let (to, records) = channel();
    let sink = Arc::new(Sink {
        records: Mutex::new(to),
        chat: Mutex::default(),
    });
    set_log_sink(Some(sink.clone()), LogLevel::Trace);
    let file = tiny_models().join("scripted.gguf");
    for settings in [
        LoadSettings {
            chat_template: Some("{% if".into()),
            ..load_settings()
        },
        LoadSettings {
            context_length: Some(1 << 30),
            ..load_settings()
        },
        LoadSettings {
            memory_budget: Some(1 << 20),
            ..load_settings()
        },
    ] {
        try_load(source(&file), settings).map(drop).unwrap_err();
    }
    let told: Vec<String> = records.try_iter().collect();
    assert_eq!(told, [""; 0], "loads that failed");

    let model = scripted();
    wait_for(&records, "Info loaded a model");
    let chat = chat_of(&model, Some(64)).unwrap();
    let refused = send(&chat, &"secret ".repeat(100)).map(drop);
    assert!(matches!(refused, Err(Failure::ContextFull { .. })));
    let record = wait_for(&records, "Debug a reply was not started");
    assert_eq!(record, "Debug a reply was not started: context full");
    #[cfg(feature = "provoke-panics")]
    {
        let chat = chat_of(&model, None).unwrap();
        finish(&send(&chat, "\u{0}provoke a panic").unwrap()).unwrap_err();
        let record = wait_for(&records, "Warn a reply failed");
        assert_eq!(record, "Warn a reply failed: internal error");
    }

    // A sink that changes the chat waits for the reply that was cancelled, which must be over.
    let chat = chat_of(&model, None).unwrap();
    let reply = send(&chat, "forever").unwrap();
    block_on(reply.next()).unwrap();
    *sink.chat.lock().unwrap() = Some(chat.clone());
    chat.cancel();
    finish(&reply).unwrap();
    wait_for(&records, "Debug a reply ended (Cancelled)");
    assert!(chat.messages().unwrap().is_empty());
    set_log_sink(None, LogLevel::Error);
}
