//! What a caller chooses, with the names that users know.

use std::collections::HashMap;

use dormouse::gguf::Source;
use dormouse::model::{ContextOptions, LoadOptions};
use dormouse::session::ContextPolicy;
use dormouse::template::RenderOptions;
use dormouse::{GenerateOptions, SamplerOptions, SessionOptions};

use crate::error::{Error, Result};
use crate::messages::json_object;

/// No machine that runs this has more; a larger number is a mistake.
const MAX_THREADS: u32 = 256;

/// Where a model file is.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum ModelSource {
    /// A file by its path.
    Path {
        /// The path.
        path: String,
    },
    /// A window of an open file, as Android's content URIs and stored assets come. The descriptor
    /// is duplicated: the caller keeps theirs and closes it when it likes.
    Descriptor {
        /// The open file.
        fd: i32,
        /// Where the GGUF begins, in bytes.
        offset: u64,
        /// How long it is, in bytes.
        length: u64,
    },
}

impl ModelSource {
    pub(crate) fn open(self) -> Result<Source> {
        match self {
            Self::Path { path } => Ok(Source::path(path)),
            Self::Descriptor { fd, offset, length } => {
                Ok(Source::descriptor(duplicate(fd)?, offset, length))
            }
        }
    }
}

/// A descriptor of our own for the caller's open file.
#[cfg(unix)]
fn duplicate(fd: i32) -> Result<std::os::fd::OwnedFd> {
    use std::os::fd::BorrowedFd;
    if fd < 0 {
        return Err(Error::invalid(format!("{fd} is not a file descriptor")));
    }
    // SAFETY: the number is not -1. If it names no open file, `dup` says so and nothing else
    // happens; the borrow ends with this statement.
    let theirs = unsafe { BorrowedFd::borrow_raw(fd) };
    theirs.try_clone_to_owned().map_err(|e| Error::Io {
        what: format!("cannot use file descriptor {fd}: {e}"),
        code: e.raw_os_error(),
    })
}

/// How the engine weighs speed against battery and heat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum EnergyPolicy {
    /// As fast as it goes.
    Performance,
    /// The default.
    Balanced,
    /// As far as the battery lasts.
    Saver,
}

/// How a model file's bytes are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum FileAccess {
    /// Mapped where no other user can write the file, read in elsewhere. The default.
    Auto,
    /// Mapped, whoever can write it: the caller answers for nobody cutting it short, upon which the
    /// system ends the process.
    Map,
    /// Read in: as much memory as the file is long, and none of it can be dropped.
    ReadIn,
}

impl From<FileAccess> for dormouse::gguf::FileAccess {
    fn from(access: FileAccess) -> Self {
        match access {
            FileAccess::Auto => Self::Auto,
            FileAccess::Map => Self::Map,
            FileAccess::ReadIn => Self::ReadIn,
        }
    }
}

/// How a model is loaded.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct LoadSettings {
    /// Most bytes for weights, work buffers and the KV caches of all chats; none: no limit.
    pub memory_budget: Option<u64>,
    /// Tokens that the context of a chat holds unless it asks for its own.
    pub context_length: Option<u32>,
    /// Compute threads; none: as many as the system gives.
    pub threads: Option<u32>,
    /// Speed or battery.
    pub energy: EnergyPolicy,
    /// A chat template in place of the file's own.
    pub chat_template: Option<String>,
    /// Whether the file is mapped or read in; those of adapters, too.
    pub file_access: FileAccess,
}

impl LoadSettings {
    pub(crate) fn to_engine(&self) -> Result<LoadOptions> {
        if let Some(threads) = self.threads
            && !(1..=MAX_THREADS).contains(&threads)
        {
            return Err(Error::invalid(format!(
                "the number of threads is {threads}, want 1 to {MAX_THREADS}"
            )));
        }
        if self.context_length == Some(0) {
            return Err(Error::invalid("the context length is 0, want at least 1"));
        }
        let mut options = LoadOptions::default();
        options.threads = self.threads.map(|n| n as usize);
        options.memory_budget = self.memory_budget;
        options.file_access = self.file_access.into();
        Ok(options)
    }

    /// What was asked for and has no effect in this version, in words.
    pub(crate) fn not_in_force(&self) -> Vec<String> {
        let mut out = Vec::new();
        if self.energy != EnergyPolicy::Performance {
            out.push(
                "energy: this version has no governor yet; it runs as with performance".to_owned(),
            );
        }
        out
    }
}

/// What happens when the context is full.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum WhenFull {
    /// The reply ends; a prompt that does not fit is an error.
    Stop,
    /// The oldest tokens go, those at the front stay.
    Shift {
        /// Tokens at the front that always stay; none: those of the system message.
        keep: Option<u32>,
    },
}

/// How a chat is opened.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct ChatSettings {
    /// Instructions to the model.
    pub system: Option<String>,
    /// Tokens that the context holds; none: as the model was loaded with.
    pub context_length: Option<u32>,
    /// What happens when they are used up.
    pub when_full: WhenFull,
}

impl ChatSettings {
    pub(crate) fn to_engine(&self, default_length: Option<u32>) -> SessionOptions {
        let mut options = SessionOptions::default();
        let length = self.context_length.or(default_length);
        options.context = context(length);
        options.policy = match self.when_full {
            WhenFull::Stop => ContextPolicy::Stop,
            WhenFull::Shift { keep } => ContextPolicy::Shift {
                keep: keep.map(|n| n as usize),
            },
        };
        options
    }
}

/// The context of this length, or of the engine's choice.
pub(crate) fn context(length: Option<u32>) -> ContextOptions {
    length.map_or_else(ContextOptions::default, |n| {
        ContextOptions::of_length(n as usize)
    })
}

/// How tokens are chosen; see the engine's `SamplerOptions` for each.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct SamplerSettings {
    /// 0 always takes the likeliest token.
    pub temperature: f32,
    /// 0 switches it off.
    pub top_k: u32,
    /// 1 switches it off.
    pub top_p: f32,
    /// 0 switches it off.
    pub min_p: f32,
    /// 1 switches it off.
    pub repetition_penalty: f32,
    /// 0 switches it off.
    pub presence_penalty: f32,
    /// 0 switches it off.
    pub frequency_penalty: f32,
    /// Of how many last tokens the penalties look at.
    pub penalty_last_n: u32,
    /// Added to the logits of single tokens.
    pub logit_bias: HashMap<u32, f32>,
    /// The same seed gives the same text; none: a new one for each reply.
    pub seed: Option<u64>,
}

/// A tool that the model may call.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does, in words for the model.
    pub description: String,
    /// Its parameters, a JSON schema of an object.
    pub parameters: String,
}

/// How a reply is made.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct ReplySettings {
    /// How tokens are chosen.
    pub sampler: SamplerSettings,
    /// Most tokens of the reply; none: until the model ends it or the context is full.
    pub max_tokens: Option<u32>,
    /// Texts that end the reply.
    pub stop: Vec<String>,
    /// Tools that the model may call.
    pub tools: Vec<Tool>,
    /// Variables for the chat template, a JSON object; empty: none.
    pub template_variables: String,
}

impl ReplySettings {
    pub(crate) fn to_engine(&self) -> Result<GenerateOptions> {
        let s = &self.sampler;
        let mut sampler = SamplerOptions::default();
        sampler.temperature = s.temperature;
        sampler.top_k = s.top_k as usize;
        sampler.top_p = s.top_p;
        sampler.min_p = s.min_p;
        sampler.repetition_penalty = s.repetition_penalty;
        sampler.presence_penalty = s.presence_penalty;
        sampler.frequency_penalty = s.frequency_penalty;
        sampler.penalty_last_n = s.penalty_last_n as usize;
        // In the order of ids, so that a map's own order has no effect.
        sampler.logit_bias = s.logit_bias.iter().map(|(&id, &bias)| (id, bias)).collect();
        sampler.logit_bias.sort_unstable_by_key(|&(id, _)| id);
        sampler.seed = s.seed;

        let mut template = RenderOptions::default();
        for tool in &self.tools {
            let parameters = json_object(
                &format!("the parameters of tool {}", tool.name),
                &tool.parameters,
            )?;
            template.tools.push(serde_json::json!({
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": parameters,
                },
            }));
        }
        if !self.template_variables.is_empty() {
            template.variables = json_object(
                "what is given as template variables",
                &self.template_variables,
            )?;
        }

        let mut options = GenerateOptions::default();
        options.sampler = sampler;
        options.max_tokens = self.max_tokens.map(|n| n as usize);
        options.stop = self.stop.clone();
        options.template = template;
        Ok(options)
    }
}
