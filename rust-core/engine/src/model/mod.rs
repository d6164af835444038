//! One transformer, assembled from parts by a configuration per architecture, and the forward
//! pass over it, written once over a `backend::Backend`.

mod arch;
mod backend;
mod budget;
#[cfg(feature = "reference")]
mod candle_backend;
mod config;
mod decoder;
mod embed;
mod fair;
mod forward;
mod kernels_backend;
mod load;
mod lora;
mod options;
mod plan;
mod rope;
mod runner;

use std::ops::ControlFlow;
use std::sync::Arc;

pub use config::{Activation, Config, Gate, LayerKind, NormKind, QkNorm};
pub use decoder::Decoder;
pub use dormouse_kernels::{GgmlType, Isa, Precision, RopeStyle};
pub use embed::{EmbedOptions, Pooling};
pub use kernels_backend::KvType;
pub use lora::Adapter;
pub use options::{BackendKind, ContextOptions, LoadOptions};
pub use plan::{Fits, MemoryPlan, memory_plan};
pub use rope::{RopeConfig, Yarn};

use crate::error::{Error, Result};
use crate::gguf::{Gguf, Source};
use crate::template::ChatTemplate;
use crate::tokenize::Tokenizer;
use crate::weights::WeightStore;
use backend::Backend;
use budget::{Budget, Reservation};
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
    /// Weights and work buffers, off the memory budget as long as the model lives.
    _reserved: Reservation,
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
    /// Opens a GGUF file and takes its weights over, mapped where nobody else can write it
    /// ([`LoadOptions::file_access`]): the time this takes is then that of reading the vocabulary.
    ///
    /// # Errors
    /// [`crate::Error::Io`], [`crate::Error::CorruptModel`], [`crate::Error::UnsupportedModel`], or
    /// [`crate::Error::OutOfMemory`] for the work buffers.
    pub fn load(source: &Source, options: LoadOptions) -> Result<Self> {
        Self::load_watched(source, options, &mut |_| ControlFlow::Continue(()))
    }

    /// As [`Model::load`]; `watch` is told now and then how much of the work is done, a share that
    /// grows from 0 to 1, and ends the load by its answer.
    ///
    /// # Errors
    /// As [`Model::load`], and [`crate::Error::Cancelled`] when `watch` ended it.
    pub fn load_watched(
        source: &Source,
        options: LoadOptions,
        watch: &mut dyn FnMut(f32) -> ControlFlow<()>,
    ) -> Result<Self> {
        if watch(0.0).is_break() {
            return Err(Error::Cancelled);
        }
        let gguf = Gguf::open_as(source, options.file_access)?;
        Self::load_opened(gguf, options, watch)
    }

    /// As [`Model::load_watched`], of a file that was opened, and maybe looked at, before;
    /// [`LoadOptions::file_access`] then holds for adapters alone.
    ///
    /// # Errors
    /// As [`Model::load_watched`].
    pub fn load_opened(
        gguf: Gguf,
        options: LoadOptions,
        watch: &mut dyn FnMut(f32) -> ControlFlow<()>,
    ) -> Result<Self> {
        let mut progress = |share| match watch(share) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Cancelled),
        };
        let config = Arc::new(arch::configure(&gguf)?);
        options.kv_type.check(&config)?;
        let budget = Budget::new(options.memory_budget);
        let reserved = budget.reserve(plan::resident_bytes(&gguf, &config))?;
        progress(PROGRESS_HEADER)?;
        let tokenizer = Arc::new(Tokenizer::from_gguf(&gguf)?);
        let template = match ChatTemplate::from_gguf(&gguf, &tokenizer) {
            Ok(template) => Ok(template),
            // The model can still complete text.
            Err(Error::Template { why }) => Err(why),
            Err(other) => return Err(other),
        };
        progress(PROGRESS_TOKENIZER)?;
        let reading = PROGRESS_READ - PROGRESS_TOKENIZER;
        let store = WeightStore::open(&gguf, &mut |share| {
            progress(PROGRESS_TOKENIZER + reading * share)
        })?;
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
                let parts = Parts {
                    max_chunk,
                    config: &config,
                    store: &store,
                    budget: &budget,
                };
                Network::Kernels(Arc::new(parts.share(backend, &mut progress)?))
            }
            #[cfg(feature = "reference")]
            BackendKind::Reference => {
                let backend = candle_backend::CandleBackend::new(config.clone());
                let parts = Parts {
                    max_chunk: options::REFERENCE_CHUNK,
                    config: &config,
                    store: &store,
                    budget: &budget,
                };
                Network::Reference(Arc::new(parts.share(backend, &mut progress)?))
            }
        };
        progress(1.0)?;
        log::info!(
            "loaded a model: {}, {} layers, {} MiB {}, {} threads, {:?}",
            gguf.architecture()?,
            config.n_layer,
            gguf.file_bytes() >> 20,
            if gguf.is_mapped() {
                "mapped"
            } else {
                "read in"
            },
            options.threads(),
            options.isa
        );
        Ok(Self {
            inner: Arc::new(Inner {
                _reserved: reserved,
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

    /// Opens a LoRA adapter for this model, for [`Decoder::set_adapters`] and
    /// [`Session::set_adapters`](crate::Session::set_adapters). The base stays as it is; any number
    /// of adapters can be open. Other models do not take it, not even of the same file.
    ///
    /// # Errors
    /// [`crate::Error::Io`], [`crate::Error::UnsupportedModel`] for a file that is no LoRA adapter or
    /// one of another architecture, [`crate::Error::CorruptModel`] for one of other shapes.
    pub fn adapter(&self, source: &Source) -> Result<Adapter> {
        let inner = &self.inner;
        Adapter::open(
            source,
            inner.options.file_access,
            &inner.gguf,
            &inner.config,
        )
    }

    /// An empty KV cache over this model.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] for a context length of zero or beyond what the model was
    /// trained for.
    pub fn decoder(&self, options: &ContextOptions) -> Result<Box<dyn Decoder>> {
        let config = &self.inner.config;
        let length = options.resolve(config)?;
        let kv_bytes = config.kv_bytes_per_position(self.inner.options.kv_type) * length as u64;
        Ok(match &self.inner.network {
            Network::Kernels(shared) => Box::new(Runner::new(shared.clone(), length, kv_bytes)?),
            #[cfg(feature = "reference")]
            Network::Reference(shared) => Box::new(Runner::new(shared.clone(), length, kv_bytes)?),
        })
    }
}

/// Shares of a load that are done after reading the header, after building the tokenizer, which
/// takes most of the time where weights are mapped, and after reading them in where they are not.
const PROGRESS_HEADER: f32 = 0.1;
const PROGRESS_TOKENIZER: f32 = 0.4;
const PROGRESS_READ: f32 = 0.8;

/// What a network is made of.
struct Parts<'a, 'g> {
    max_chunk: usize,
    config: &'a Arc<Config>,
    store: &'a WeightStore<'g>,
    budget: &'a Arc<Budget>,
}

impl Parts<'_, '_> {
    fn share<B: Backend>(
        &self,
        mut backend: B,
        progress: &mut dyn FnMut(f32) -> Result<()>,
    ) -> Result<Shared<B>> {
        let rest = 1.0 - PROGRESS_READ;
        let mut of_layers = |share| progress(PROGRESS_READ + rest * share);
        let transformer = load::transformer(&mut backend, self.config, self.store, &mut of_layers)?;
        Ok(Shared {
            transformer,
            backend: FairMutex::new(backend),
            max_chunk: self.max_chunk,
            budget: self.budget.clone(),
        })
    }
}
