//! Times the quantized models of candle-transformers on a GGUF file, as llama-bench defines its
//! two figures: prompt tokens in one batch, and tokens decoded one by one, each from an empty KV
//! cache. The token ids are fixed; there is no tokenizer and no sampling.

mod timing;

use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Result, Tensor};
use candle_transformers::models::{quantized_gemma3, quantized_llama};
use clap::Parser;

use timing::Network;

/// The variables from which candle takes its thread counts, once, at the first use of each pool.
const THREAD_VARIABLES: [&str; 2] = ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"];

/// Times candle-transformers on a quantized model; prints one line of JSON.
#[derive(Parser)]
struct Arguments {
    /// A GGUF file of architecture llama or gemma3.
    #[arg(long)]
    model: PathBuf,
    /// Tokens of the prompt.
    #[arg(short, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    prompt: u32,
    /// Tokens to decode.
    #[arg(short = 'n', default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    decode: u32,
    /// Threads.
    #[arg(short, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    threads: u32,
    /// Feed the prompt in batches of this many tokens; by default it is one batch.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    chunk: Option<u32>,
}

/// The models that candle-transformers has for the files we compare on.
enum Model {
    Llama(quantized_llama::ModelWeights),
    Gemma3(quantized_gemma3::ModelWeights),
}

impl Network for Model {
    fn forward(&mut self, tokens: &[u32], position: usize) -> Result<()> {
        let input = Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?;
        // At position 0 both models start a new KV cache.
        let logits = match self {
            Model::Llama(model) => model.forward(&input, position),
            Model::Gemma3(model) => model.forward(&input, position),
        }?;
        std::hint::black_box(logits);
        Ok(())
    }
}

/// The model in a file, and the size of its vocabulary.
fn load(path: &Path) -> std::result::Result<(Model, u32), Box<dyn Error>> {
    let file = File::open(path).map_err(|e| format!("cannot open {}: {e}", path.display()))?;
    let mut reader = BufReader::new(file);
    let content = Content::read(&mut reader)?;
    let text = |key: &str| content.metadata.get(key).and_then(|v| v.to_string().ok());
    let architecture = text("general.architecture").cloned().unwrap_or_default();
    let embedding = content.tensor_infos.get("token_embd.weight");
    let vocabulary = embedding
        .ok_or("the file has no token_embd.weight")?
        .shape
        .dims();
    let vocabulary = *vocabulary.first().ok_or("token_embd.weight has no rows")?;
    let device = Device::Cpu;
    let model = match architecture.as_str() {
        "llama" => Model::Llama(quantized_llama::ModelWeights::from_gguf(
            content,
            &mut reader,
            &device,
        )?),
        "gemma3" => Model::Gemma3(quantized_gemma3::ModelWeights::from_gguf(
            content,
            &mut reader,
            &device,
        )?),
        other => return Err(format!("architecture {other:?} is not among llama, gemma3").into()),
    };
    Ok((model, u32::try_from(vocabulary)?))
}

/// Whether candle will use this many threads in all its pools.
fn threads_are_set(threads: u32) -> bool {
    let wanted = threads.to_string();
    THREAD_VARIABLES
        .iter()
        .all(|name| std::env::var(name).is_ok_and(|value| value == wanted))
}

/// Runs this program once more with candle's variables set: a process cannot set its own safely.
fn again_with_threads(threads: u32) -> std::result::Result<ExitCode, Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1));
    for name in THREAD_VARIABLES {
        command.env(name, threads.to_string());
    }
    let code = command.status()?.code();
    Ok(ExitCode::from(
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
    ))
}

fn run(arguments: &Arguments) -> std::result::Result<ExitCode, Box<dyn Error>> {
    if !threads_are_set(arguments.threads) {
        return again_with_threads(arguments.threads);
    }
    let (mut model, vocabulary) = load(&arguments.model)?;
    let chunk = arguments.chunk.unwrap_or(arguments.prompt);
    let rates = timing::measure(
        &mut model,
        &timing::tokens(arguments.prompt, vocabulary),
        chunk as usize,
        &timing::tokens(arguments.decode, vocabulary),
    )?;
    let line = serde_json::json!({
        "prefill_tok_s": rates.prefill,
        "decode_tok_s": rates.decode,
        "threads": candle_core::utils::get_num_threads(),
    });
    println!("{line}");
    Ok(ExitCode::SUCCESS)
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
