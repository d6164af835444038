//! What the tests of the FFI surface share.
#![allow(dead_code, reason = "each test takes its part")]

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use dormouse_ffi::{
    CallToken, ChatHandle, ChatSettings, EnergyPolicy, Event, Failure, FileAccess, FinishReason,
    LoadSettings, Message, ModelHandle, ModelSource, Part, Reply, ReplySettings, Role,
    SamplerSettings, WhenFull, begin_load,
};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future, as a foreign executor would.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// A folder with `tiny.gguf`, `scripted.gguf` and `adapter.gguf`, written by the engine's example once a run.
pub fn tiny_models() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tiny-models");
        let mut cargo = std::process::Command::new(env!("CARGO"));
        cargo.args(["run", "--quiet", "--package", "dormouse"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        cargo.args(["--example", "tiny_models", "--"]).arg(&folder);
        assert!(cargo.status().unwrap().success(), "no tiny models");
        folder
    })
}

pub fn load_settings() -> LoadSettings {
    LoadSettings {
        memory_budget: None,
        context_length: None,
        threads: Some(2),
        energy: EnergyPolicy::Performance,
        chat_template: None,
        file_access: FileAccess::Auto,
    }
}

pub fn source(path: &Path) -> ModelSource {
    ModelSource::Path {
        path: path.to_str().unwrap().to_owned(),
    }
}

pub fn load(path: &Path) -> Arc<ModelHandle> {
    let task = begin_load(source(path), load_settings()).unwrap();
    block_on(task.model()).unwrap()
}

pub fn greedy() -> ReplySettings {
    ReplySettings {
        sampler: SamplerSettings {
            temperature: 0.0,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            penalty_last_n: 64,
            logit_bias: HashMap::new(),
            seed: None,
        },
        max_tokens: None,
        stop: Vec::new(),
        tools: Vec::new(),
        template_variables: String::new(),
    }
}

pub fn message(role: Role, text: &str) -> Message {
    Message {
        role,
        content: vec![Part::Text { text: text.into() }],
        reasoning: None,
        tool_calls: Vec::new(),
        tool_call_id: None,
        name: None,
    }
}

/// Says what its script has it say; see the engine's example `tiny_models`.
pub fn scripted() -> Arc<ModelHandle> {
    load(&tiny_models().join("scripted.gguf"))
}

pub fn chat(model: &ModelHandle) -> Arc<ChatHandle> {
    chat_of(model, None).unwrap()
}

pub fn chat_of(model: &ModelHandle, length: Option<u32>) -> Result<Arc<ChatHandle>, Failure> {
    model.chat(ChatSettings {
        system: None,
        context_length: length,
        when_full: WhenFull::Stop,
    })
}

pub fn send(chat: &Arc<ChatHandle>, text: &str) -> Result<Arc<Reply>, Failure> {
    block_on(
        chat.clone()
            .send(vec![message(Role::User, text)], greedy(), CallToken::new()),
    )
}

/// The text of a reply, how it ended, and the tokens computed after it was cancelled.
pub fn finish(reply: &Reply) -> Result<(String, FinishReason, u64), Failure> {
    let mut text = String::new();
    loop {
        for event in block_on(reply.next())? {
            match event {
                Event::Token { text: more } => text.push_str(&more),
                Event::Done {
                    finish_reason,
                    metrics,
                    ..
                } => {
                    assert!(
                        block_on(reply.next())?.is_empty(),
                        "something after the end"
                    );
                    return Ok((text, finish_reason, metrics.tokens_after_cancel));
                }
                _ => {}
            }
        }
    }
}

pub fn try_load(source: ModelSource, settings: LoadSettings) -> Result<Arc<ModelHandle>, Failure> {
    block_on(begin_load(source, settings)?.model())
}

/// An answer that is being started, and what ends that.
pub type Sending = (
    Pin<Box<dyn Future<Output = Result<Arc<Reply>, Failure>>>>,
    Arc<CallToken>,
);

/// Has an answer started which takes the template and the tokenizer a while. The chat is empty before.
pub fn starting(chat: &Arc<ChatHandle>) -> Sending {
    let text = "never too much. ".repeat(20_000);
    let mut context = Context::from_waker(Waker::noop());
    // On a machine with other work it can be over before this thread has its turn.
    for _ in 0..20 {
        let token = CallToken::new();
        let messages = vec![message(Role::User, &text)];
        let mut sending = Box::pin(chat.clone().send(messages, greedy(), token.clone()));
        while sending.as_mut().poll(&mut context).is_pending() {
            if matches!(chat.reset(), Err(Failure::Busy)) {
                return (sending, token);
            }
        }
    }
    panic!("every start was over before it was seen");
}
