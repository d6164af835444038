//! From the arguments to a loaded model, a session and the settings of its answers.

use std::path::Path;
use std::time::{Duration, Instant};

use dormouse::gguf::{Gguf, Source};
use dormouse::model::{ContextOptions, LoadOptions, Model};
use dormouse::session::ContextPolicy;
use dormouse::{Error, GenerateOptions, SamplerOptions, Session, SessionOptions};

use crate::args::{ContextFull, GenerateArgs, ModelArgs, SessionArgs};
use crate::failure::{Failure, Result, code};

/// Loads the model that `args` name; `change` has the last word on the options. Also gives the
/// time that it took.
pub(crate) fn load(
    args: &ModelArgs,
    change: impl FnOnce(&mut LoadOptions),
) -> Result<(Model, Duration)> {
    let started = Instant::now();
    let mut options = LoadOptions::default();
    options.backend = args.backend.into();
    options.threads = args.threads.map(usize::from);
    options.kv_type = args.kv.into();
    options.file_access = args.file_access.into();
    change(&mut options);
    let model = Model::load(&Source::path(&args.model), options)
        .map_err(|error| unusable(&args.model, error))?;
    Ok((model, started.elapsed()))
}

/// Opens a model file without loading it.
pub(crate) fn open(path: &Path) -> Result<Gguf> {
    Gguf::open(&Source::path(path)).map_err(|error| unusable(path, error))
}

/// The failure of a model file: whatever is wrong with it has one exit code.
pub(crate) fn unusable(path: &Path, error: Error) -> Failure {
    let name = path.display();
    let failure = |message: String| Failure::with_code(code::MODEL, message);
    match error {
        // The file itself; of missing parts of a split model the error has the names.
        Error::Io { source, .. }
            if source.kind() == std::io::ErrorKind::NotFound && !path.exists() =>
        {
            failure(format!("there is no file {name}")).hint(
                "--model takes the path of a GGUF file; \
                 `cargo xtask chat` fetches a small model",
            )
        }
        Error::Io { .. } => failure(error.to_string()),
        Error::InvalidArgument { what } => failure(what),
        Error::CorruptModel { ref at, .. } if at == "header" => failure(format!("{name}: {error}"))
            .hint(
                "models are read in the GGUF format; \
                 llama.cpp's convert_hf_to_gguf.py makes such a file of others",
            ),
        Error::CorruptModel { .. } => failure(format!("{name}: {error}"))
            .hint("`dormouse inspect` shows what is readable; if in doubt, fetch the file again"),
        Error::UnsupportedModel { .. } => failure(format!("{name}: {error}")),
        other => other.into(),
    }
}

/// A session on `model`.
pub(crate) fn session(model: &Model, args: &SessionArgs) -> Result<Session> {
    let mut options = SessionOptions::default();
    options.context = context(args.context);
    options.policy = match args.context_full {
        ContextFull::Stop => ContextPolicy::Stop,
        ContextFull::Shift => ContextPolicy::Shift { keep: None },
    };
    let session = Session::new(model, options)?;
    let mut adapters = Vec::with_capacity(args.lora.len());
    for (file, scale) in &args.lora {
        let adapter = model.adapter(&Source::path(file));
        adapters.push((adapter.map_err(|e| unusable(file, e))?, *scale));
    }
    if !adapters.is_empty() {
        session.set_adapters(&adapters)?;
    }
    Ok(session)
}

/// A context of this length, or of the engine's default.
pub(crate) fn context(length: Option<usize>) -> ContextOptions {
    length.map_or_else(ContextOptions::default, ContextOptions::of_length)
}

/// The settings of answers, checked as far as that goes without a model.
pub(crate) fn generate_options(args: &GenerateArgs) -> Result<GenerateOptions> {
    let mut sampler = SamplerOptions::default();
    sampler.temperature = args.temperature;
    sampler.top_k = args.top_k;
    sampler.top_p = args.top_p;
    sampler.min_p = args.min_p;
    sampler.repetition_penalty = args.repetition_penalty;
    sampler.presence_penalty = args.presence_penalty;
    sampler.frequency_penalty = args.frequency_penalty;
    sampler.logit_bias.clone_from(&args.logit_bias);
    sampler.seed = args.seed;
    sampler.validate(usize::MAX)?;
    let mut options = GenerateOptions::default();
    options.sampler = sampler;
    options.max_tokens = args.max_tokens;
    options.stop.clone_from(&args.stop);
    options.template.variables.extend(args.var.iter().cloned());
    Ok(options)
}

/// The model with the chat template that was asked for.
///
/// # Errors
/// When it has none, with the ways out; when the template's file cannot be read.
pub(crate) fn with_template(model: Model, file: Option<&Path>) -> Result<Model> {
    let model = match file {
        None => model,
        Some(file) => {
            let source = std::fs::read_to_string(file)
                .map_err(|e| Failure::file("read the chat template", file, &e))?;
            model.with_template(&source)?
        }
    };
    if let Err(error) = model.template() {
        return Err(Failure::from(error).hint(
            "`dormouse run --raw --prompt TEXT` completes raw text; \
             `--template FILE` takes a chat template (Jinja) from a file",
        ));
    }
    Ok(model)
}
