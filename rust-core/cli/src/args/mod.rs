//! The command line.

mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use dormouse::SamplerOptions;
use dormouse::model::Isa;
use serde_json::Value;

pub(crate) use values::{
    Access, Activations, BackendName, ContextFull, Kv, PoolingName, StatsFormat,
};
use values::{adapter, bias, isa, variable};

const EXIT_CODES: &str = "\
Exit codes:
  0    done (also when the reader of the output went away)
  1    something failed while running
  2    the command line is wrong
  3    the model file is missing, damaged or not supported
  4    it does not fit: the context is too small, or there is too little memory
  130  stopped by Ctrl-C

Environment:
  DORMOUSE_LOG   what is logged to stderr: error, warn (the default), info, debug, trace";

/// Runs language models on this machine: GGUF files, on the CPU, without a network.
#[derive(Debug, Parser)]
#[command(name = "dormouse", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Chat(ChatArgs),
    Run(RunArgs),
    Bench(BenchArgs),
    Inspect(InspectArgs),
    Tokenize(TokenizeArgs),
    Embed(EmbedArgs),
    Perplexity(PerplexityArgs),
}

/// Which model, and how it is run.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// The model, a GGUF file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) model: PathBuf,
    /// Compute threads [default: as many as this process may use at once]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub(crate) threads: Option<u16>,
    /// Type of the numbers in the KV cache: f32 is exact, f16 takes half of its memory, q8_0 about a quarter
    #[arg(long, value_enum, default_value_t = Kv::F16)]
    pub(crate) kv: Kv,
    /// How the file is reached: mapped unless other users can write it (auto), mapped in any case
    /// (it must not be cut short meanwhile), or read into memory
    #[arg(long, value_enum, default_value_t = Access::Auto)]
    pub(crate) file_access: Access,
    /// Who computes: the kernels, or (slow, in f32) the reference that they are tested against
    #[arg(long, value_enum, default_value_t = BackendName::Kernels)]
    pub(crate) backend: BackendName,
}

/// The context of a conversation.
#[derive(Debug, Args)]
pub(crate) struct SessionArgs {
    /// Length of the context in tokens [default: 4096, or the model's own if that is shorter]
    #[arg(short, long, value_name = "TOKENS")]
    pub(crate) context: Option<usize>,
    /// What happens when the context is full: the answer stops, or the oldest tokens after the
    /// system message are dropped
    #[arg(long, value_enum, default_value_t = ContextFull::Stop)]
    pub(crate) context_full: ContextFull,
    /// A LoRA adapter, a GGUF file, and its scale (1 without); may be repeated
    #[arg(long, value_name = "FILE[=SCALE]", value_parser = adapter)]
    pub(crate) lora: Vec<(PathBuf, f32)>,
}

/// How the model is addressed and its tokens are chosen.
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// The system message: instructions that come before the conversation
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) system: Option<String>,
    /// Take the chat template (Jinja) from this file, not from the model
    #[arg(long, value_name = "FILE")]
    pub(crate) template: Option<PathBuf>,
    /// A variable for the chat template, such as enable_thinking=false; the value is JSON
    #[arg(long, value_name = "KEY=JSON", value_parser = variable)]
    pub(crate) var: Vec<(String, Value)>,
    /// Most tokens of an answer [default: until the model ends it or the context is full]
    #[arg(short = 'n', long, value_name = "TOKENS")]
    pub(crate) max_tokens: Option<usize>,
    /// A text that ends the answer; can be given several times
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) stop: Vec<String>,
    /// 0 always takes the likeliest token; 1 draws from the model's own distribution
    #[arg(long, value_name = "X", allow_negative_numbers = true, help_heading = "Sampling",
          default_value_t = SamplerOptions::default().temperature)]
    pub(crate) temperature: f32,
    /// Only the K likeliest tokens; 0 is off
    #[arg(long, value_name = "K", help_heading = "Sampling",
          default_value_t = SamplerOptions::default().top_k)]
    pub(crate) top_k: usize,
    /// Only the fewest likeliest tokens whose probabilities sum to P; 1 is off
    #[arg(long, value_name = "P", allow_negative_numbers = true, help_heading = "Sampling",
          default_value_t = SamplerOptions::default().top_p)]
    pub(crate) top_p: f32,
    /// Only tokens at least P times as likely as the likeliest; 0 is off
    #[arg(long, value_name = "P", allow_negative_numbers = true, help_heading = "Sampling",
          default_value_t = SamplerOptions::default().min_p)]
    pub(crate) min_p: f32,
    /// Makes the last 64 tokens less likely to come again; 1 is off
    #[arg(long, value_name = "X", allow_negative_numbers = true, help_heading = "Sampling",
          default_value_t = SamplerOptions::default().repetition_penalty)]
    pub(crate) repetition_penalty: f32,
    /// Taken from the logit of each of the last 64 tokens; 0 is off
    #[arg(long, value_name = "X", allow_negative_numbers = true, help_heading = "Sampling",
          default_value_t = SamplerOptions::default().presence_penalty)]
    pub(crate) presence_penalty: f32,
    /// Taken from a token's logit once for each time it stands among the last 64; 0 is off
    #[arg(long, value_name = "X", allow_negative_numbers = true, help_heading = "Sampling",
          default_value_t = SamplerOptions::default().frequency_penalty)]
    pub(crate) frequency_penalty: f32,
    /// Added to the logit of a token, by its id; may be repeated
    #[arg(long, value_name = "ID=X", help_heading = "Sampling", value_parser = bias)]
    pub(crate) logit_bias: Vec<(u32, f32)>,
    /// Where the random numbers start: the same seed gives the same answer [default: a new one
    /// for each answer, which the statistics name]
    #[arg(long, value_name = "N", help_heading = "Sampling")]
    pub(crate) seed: Option<u64>,
}

/// Chats in the terminal: answers stream, Ctrl-C stops one, /help lists the commands
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse chat --model smollm2.gguf
  dormouse chat -m smollm2.gguf --system \"You are a pirate.\" --seed 7
  dormouse chat -m qwen3.gguf --var enable_thinking=false --context 16384
  printf 'Hello!\\n/stats\\n' | dormouse chat -m smollm2.gguf

From a pipe, each line is a message or a command; the answers alone go to stdout, and the first
error ends the chat.")]
pub(crate) struct ChatArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) session: SessionArgs,
    #[command(flatten)]
    pub(crate) generate: GenerateArgs,
    /// Go on with a conversation that /save wrote
    #[arg(long, value_name = "FILE")]
    pub(crate) load: Option<PathBuf>,
    /// Keep no history of what was typed
    #[arg(long)]
    pub(crate) no_history: bool,
}

/// Answers once: the answer alone on stdout, statistics on stderr
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse run -m smollm2.gguf --prompt \"Why do dormice sleep?\"
  dormouse run -m gemma-3-270m.gguf --raw --prompt \"The dormouse is\" --max-tokens 40
  git diff | dormouse run -m smollm2.gguf --system \"Summarise this change.\" --stats none

With the same seed and settings the answer is the same on every run and thread count.
Ctrl-C stops the answer (exit code 130); pressed again it ends the program at once.")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// What to answer; without it, or with -, it is read from stdin
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) prompt: Option<String>,
    /// Complete the text as it is, without the chat template
    #[arg(long, conflicts_with_all = ["system", "template", "var"])]
    pub(crate) raw: bool,
    /// How the statistics are written to stderr
    #[arg(long, value_enum, default_value_t = StatsFormat::Text)]
    pub(crate) stats: StatsFormat,
    #[command(flatten)]
    pub(crate) session: SessionArgs,
    #[command(flatten)]
    pub(crate) generate: GenerateArgs,
}

/// Measures the prompt and decode rates in tokens per second
#[derive(Debug, Args)]
#[command(after_help = "\
pp N: N random tokens evaluated as one prompt. tg N: N tokens evaluated one by one, without
sampling. Each begins with an empty context, or with --depth tokens that are not timed. Mean and
standard deviation over the repetitions, after a warm-up that is not counted; as llama-bench does.

Examples:
  dormouse bench -m smollm2.gguf
  dormouse bench -m smollm2.gguf -p 128,512 -n 0 -t 1,2 -r 10
  dormouse bench -m smollm2.gguf -p 0 -n 64 --depth 1024 --json")]
pub(crate) struct BenchArgs {
    /// The model, a GGUF file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) model: PathBuf,
    /// Tokens of the prompt; 0 leaves the test out; several with commas
    #[arg(
        short = 'p',
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "512"
    )]
    pub(crate) prompt: Vec<usize>,
    /// Tokens to decode; 0 leaves the test out; several with commas
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "128"
    )]
    pub(crate) generate: Vec<usize>,
    /// Tokens in the context before each test; several with commas
    #[arg(
        short = 'd',
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "0"
    )]
    pub(crate) depth: Vec<usize>,
    /// Compute threads; several with commas [default: as many as this process may use at once]
    #[arg(short, long, value_name = "N", value_delimiter = ',',
          value_parser = clap::value_parser!(u16).range(1..=512))]
    pub(crate) threads: Vec<u16>,
    /// How often each test is repeated
    #[arg(short, long, value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) repetitions: u32,
    /// Type of the numbers in the KV cache
    #[arg(long, value_enum, default_value_t = Kv::F16)]
    pub(crate) kv: Kv,
    /// Who computes
    #[arg(long, value_enum, default_value_t = BackendName::Kernels)]
    pub(crate) backend: BackendName,
    /// Instruction set of the kernels [default: the fastest of this processor]
    #[arg(long, value_name = "NAME", value_parser = isa)]
    pub(crate) isa: Option<Isa>,
    /// One line of JSON in place of the table
    #[arg(long)]
    pub(crate) json: bool,
}

/// Shows what is in a model file, the memory it needs, and whether that fits here
#[derive(Debug, Args)]
#[command(after_help = "\
Works on any GGUF file, also one that cannot be run here, and says why.

Examples:
  dormouse inspect smollm2.gguf
  dormouse inspect smollm2.gguf --context 8192 --kv f32
  dormouse inspect smollm2.gguf --tensors
  dormouse inspect smollm2.gguf --json")]
pub(crate) struct InspectArgs {
    /// The GGUF file
    #[arg(value_name = "FILE", required_unless_present = "model")]
    pub(crate) file: Option<PathBuf>,
    /// The same, as other commands name it
    #[arg(short, long, value_name = "FILE", conflicts_with = "file")]
    pub(crate) model: Option<PathBuf>,
    /// Length of the context in tokens that memory is counted for [default: 4096, or the model's
    /// own if that is shorter]
    #[arg(short, long, value_name = "TOKENS")]
    pub(crate) context: Option<usize>,
    /// Type of the numbers in the KV cache
    #[arg(long, value_enum, default_value_t = Kv::F16)]
    pub(crate) kv: Kv,
    /// List every tensor
    #[arg(long)]
    pub(crate) tensors: bool,
    /// All of it as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Turns text into token ids, or ids into text
#[derive(Debug, Args)]
#[command(after_help = "\
One token a line: its id and the text that it adds.

Examples:
  dormouse tokenize -m smollm2.gguf \"Hello, world\"
  dormouse tokenize -m smollm2.gguf --ids < letter.txt
  dormouse tokenize -m smollm2.gguf --parse-special \"<|im_start|>user\"
  dormouse tokenize -m smollm2.gguf --decode 19556,28,905")]
pub(crate) struct TokenizeArgs {
    /// The model whose tokenizer is used, a GGUF file (also one that cannot be run here)
    #[arg(short, long, value_name = "FILE")]
    pub(crate) model: PathBuf,
    /// The text; without it, or with -, it is read from stdin as it is
    #[arg(allow_hyphen_values = true)]
    pub(crate) text: Option<String>,
    /// The ids alone, on one line
    #[arg(long)]
    pub(crate) ids: bool,
    /// Add no token that begins (BOS) or ends (EOS) a text, also if the model asks for it
    #[arg(long)]
    pub(crate) no_bos: bool,
    /// Control tokens that are written out in the text become those tokens
    #[arg(long)]
    pub(crate) parse_special: bool,
    /// The text of these ids, which commas or spaces part
    #[arg(long, value_name = "IDS", conflicts_with_all = ["text", "ids", "no_bos", "parse_special"])]
    pub(crate) decode: Option<String>,
}

/// Prints a text's embedding: a vector of length 1, as a line of JSON
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse embed -m qwen3-embedding.gguf \"A dormouse sleeps in winter\"
  dormouse embed -m smollm2.gguf --pooling mean < letter.txt")]
pub(crate) struct EmbedArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// The text; without it, or with -, it is read from stdin as it is
    #[arg(allow_hyphen_values = true)]
    pub(crate) text: Option<String>,
    /// How the tokens' states become one vector [default: as the model's file asks]
    #[arg(long, value_enum)]
    pub(crate) pooling: Option<PoolingName>,
}

/// Measures how well the model predicts a text, and how far it is from a yardstick
#[derive(Debug, Args)]
#[command(after_help = "\
Perplexity (of --file) is taken as llama.cpp's tool does: over windows of --context tokens, each
begun with BOS if the model asks for it, counting the second half of each; a last window that is
not full is left out. With --against, the model reads the tokens in the logits file, and its
distribution at each position is compared with the one there: mean KL divergence (nats) and how
often both have the same most likely token.

Examples:
  dormouse perplexity -m smollm2.gguf --file prose.txt
  dormouse perplexity -m smollm2-f32.gguf --file prose.txt --save-logits prose.logits
  dormouse perplexity -m smollm2-q4.gguf --against prose.logits --json")]
pub(crate) struct PerplexityArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// The text, UTF-8
    #[arg(short, long, value_name = "TEXT", required_unless_present = "against")]
    pub(crate) file: Option<PathBuf>,
    /// Length of a window in tokens
    #[arg(short, long, value_name = "TOKENS", default_value_t = 512)]
    pub(crate) context: usize,
    /// Compare with the distributions in this logits file
    #[arg(long, value_name = "LOGITS")]
    pub(crate) against: Option<PathBuf>,
    /// Write the model's own distributions over the first --context tokens of the text
    #[arg(long, value_name = "LOGITS", requires = "file")]
    pub(crate) save_logits: Option<PathBuf>,
    /// How activations enter matrix products
    #[arg(long, value_enum, default_value_t = Activations::Int8)]
    pub(crate) activations: Activations,
    /// Instruction set of the kernels [default: the fastest of this processor]
    #[arg(long, value_name = "NAME", value_parser = isa)]
    pub(crate) isa: Option<Isa>,
    /// One line of JSON in place of the text
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_prompt_may_begin_with_a_hyphen() {
        let words = ["dormouse", "run", "--prompt=- x\ny", "--model", "m.gguf"];
        let Command::Run(args) = Cli::try_parse_from(words).unwrap().command else {
            panic!("not run");
        };
        assert_eq!(args.prompt.as_deref(), Some("- x\ny"));
    }
}
