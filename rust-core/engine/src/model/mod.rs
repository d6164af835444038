//! One transformer, assembled from parts by a configuration per architecture, and the forward
//! pass over it, written once over a `backend::Backend`.

mod arch;
mod backend;
#[cfg(feature = "reference")]
mod candle_backend;
mod config;
mod decoder;
mod fair;
mod forward;
mod kernels_backend;
mod load;
mod options;
mod plan;
mod runner;

use std::sync::Arc;

pub use config::{Activation, Config, LayerKind, RopeConfig};
pub use decoder::Decoder;
pub use dormouse_kernels::{GgmlType, Isa, Precision, RopeStyle};
pub use kernels_backend::KvType;
pub use options::{BackendKind, ContextOptions, LoadOptions};
pub use plan::{MemoryPlan, memory_plan};

use crate::error::{Error, Result};
use crate::gguf::{Gguf, Source};
use crate::template::ChatTemplate;
use crate::tokenize::Tokenizer;
use crate::weights::WeightStore;
use backend::Backend;
use fair::FairMutex;
use kernels_backend::{KernelOptions, KernelsBackend};
use runner::{Runner, Shared};

/// A loaded model. Cheap to clone; clones share the weights and the compute pool.
#[derive(Clone)]
pub struct Model {
    inner: Arc<Inner>,
    /// In place of the file's own.
    template: Option<Arc<ChatTemplate>>,
}

struct Inner {
    gguf: Gguf,
    config: Arc<Config>,
    tokenizer: Arc<Tokenizer>,
    /// Or why there is none.
    template: Result<ChatTemplate, String>,
    options: LoadOptions,
    network: Network,
}

enum Network {
    Kernels(Arc<Shared<KernelsBackend>>),
    #[cfg(feature = "reference")]
    Reference(Arc<Shared<candle_backend::CandleBackend>>),
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

impl Model {
    /// Opens a GGUF file and takes its weights over, mapped: the time this takes is that of
    /// reading the vocabulary.
    ///
    /// # Errors
    /// [`crate::Error::Io`], [`crate::Error::CorruptModel`], [`crate::Error::UnsupportedModel`], or
    /// [`crate::Error::OutOfMemory`] for the work buffers.
    pub fn load(source: &Source, options: LoadOptions) -> Result<Self> {
        let gguf = Gguf::open(source)?;
        let config = Arc::new(arch::configure(&gguf)?);
        let tokenizer = Arc::new(Tokenizer::from_gguf(&gguf)?);
        let template = match ChatTemplate::from_gguf(&gguf, &tokenizer) {
            Ok(template) => Ok(template),
            // The model can still complete text.
            Err(Error::Template { why }) => Err(why),
            Err(other) => return Err(other),
        };
        let store = WeightStore::new(&gguf);
        load::check_widths(&config, &store)?;
        let network = match options.backend {
            BackendKind::Kernels => {
                let backend = KernelsBackend::new(
                    config.clone(),
                    KernelOptions {
                        threads: options.threads(),
                        isa: options.isa,
                        precision: options.precision,
                        kv_type: options.kv_type,
                    },
                )?;
                let max_chunk = backend.max_chunk();
                Network::Kernels(Arc::new(shared(backend, max_chunk, &config, &store)?))
            }
            #[cfg(feature = "reference")]
            BackendKind::Reference => {
                let backend = candle_backend::CandleBackend::new(config.clone());
                let shared = shared(backend, options::REFERENCE_CHUNK, &config, &store)?;
                Network::Reference(Arc::new(shared))
            }
        };
        Ok(Self {
            inner: Arc::new(Inner {
                gguf,
                config,
                tokenizer,
                template,
                options,
                network,
            }),
            template: None,
        })
    }

    /// The same model with another chat template, given as its source: for a file that has none,
    /// or a broken one.
    ///
    /// # Errors
    /// As [`ChatTemplate::new`].
    pub fn with_template(self, source: &str) -> Result<Self> {
        let template = ChatTemplate::for_tokenizer(source, self.tokenizer())?;
        Ok(Self {
            template: Some(Arc::new(template)),
            ..self
        })
    }

    /// The model's shape.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.inner.tokenizer
    }

    /// The model's chat template: the one given to it, or the file's own.
    ///
    /// # Errors
    /// [`crate::Error::Template`] when it has none, or one that cannot be read.
    pub fn template(&self) -> Result<&ChatTemplate> {
        if let Some(template) = &self.template {
            return Ok(template);
        }
        let template = self.inner.template.as_ref();
        template.map_err(|why| Error::Template { why: why.clone() })
    }

    /// The opened file: metadata and tensor table.
    pub fn gguf(&self) -> &Gguf {
        &self.inner.gguf
    }

    /// How it was loaded.
    pub fn options(&self) -> &LoadOptions {
        &self.inner.options
    }

    /// An empty KV cache over this model.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] for a context length of zero or beyond what the model was
    /// trained for.
    pub fn decoder(&self, options: &ContextOptions) -> Result<Box<dyn Decoder>> {
        let context_length = options.resolve(&self.inner.config)?;
        Ok(match &self.inner.network {
            Network::Kernels(shared) => Box::new(Runner::new(shared.clone(), context_length)?),
            #[cfg(feature = "reference")]
            Network::Reference(shared) => Box::new(Runner::new(shared.clone(), context_length)?),
        })
    }
}

fn shared<B: Backend>(
    mut backend: B,
    max_chunk: usize,
    config: &Arc<Config>,
    store: &WeightStore<'_>,
) -> Result<Shared<B>> {
    let transformer = load::transformer(&mut backend, config, store)?;
    Ok(Shared {
        transformer,
        backend: FairMutex::new(backend),
        max_chunk,
    })
}
