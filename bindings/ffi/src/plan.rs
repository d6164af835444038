//! Whether a model fits, told before it is loaded.

use dormouse::gguf::Gguf;
use dormouse::metrics::available_memory;
use dormouse::model::{Fits, KvType, MemoryPlan, memory_plan};
use dormouse::template::ChatTemplate;

use crate::error::{Error, Result};
use crate::offload::offload;
use crate::options::{LoadSettings, ModelSource, context};

/// Bytes that a model takes with one chat.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct MemoryNeeds {
    /// Weights: of a file that is mapped, clean pages that the system can drop and read again; of one
    /// that is read in ([`FileAccess`](crate::FileAccess)), memory as long as the file.
    pub weights: u64,
    /// The KV cache of one chat when its context is full.
    pub kv_cache: u64,
    /// Work buffers.
    pub buffers: u64,
    /// All of it.
    pub total: u64,
    /// Tokens that the context holds.
    pub context_length: u32,
}

/// What loading would come to. Complete from the start: `Pages` comes with models whose experts
/// are read from flash.
#[derive(Debug, Clone, PartialEq, uniffi::Enum)]
pub enum Plan {
    /// It fits. `tight` when only by dropping weights and reading them again, which is slow.
    Fits {
        /// What it takes.
        needs: MemoryNeeds,
        /// Just so.
        tight: bool,
    },
    /// It runs with its experts read from flash.
    Pages {
        /// What it takes with all of it in memory.
        needs: MemoryNeeds,
        /// Bytes below which it does not run.
        least: u64,
        /// Estimated decode rate.
        tokens_per_second: f32,
    },
    /// It does not fit.
    Refused {
        /// What it takes.
        needs: MemoryNeeds,
        /// What is allowed: the budget, or what the system can give.
        allowed: u64,
        /// Why, in words.
        reason: String,
    },
}

fn needs(plan: &MemoryPlan) -> MemoryNeeds {
    MemoryNeeds {
        weights: plan.weights,
        kv_cache: plan.kv_cache,
        buffers: plan.arena,
        total: plan.total(),
        context_length: u32::try_from(plan.context_length).unwrap_or(u32::MAX),
    }
}

/// What is wrong with `settings` for this file, in the order in which `plan` and `load` both tell it.
///
/// # Errors
/// [`Error::Template`], [`Error::InvalidOptions`] for the context length; those of the file.
pub(crate) fn check(gguf: &Gguf, settings: &LoadSettings) -> Result<Checked> {
    if let Some(template) = &settings.chat_template {
        ChatTemplate::new(template, "", "")?;
    }
    let context = context(settings.context_length);
    Ok(Checked(memory_plan(gguf, &context, KvType::default())?))
}

/// What settings come to that have nothing wrong with them.
pub(crate) struct Checked(MemoryPlan);

impl Checked {
    /// # Errors
    /// [`Error::OutOfMemory`] when the model and one chat take more than `budget` bytes.
    pub(crate) fn within(&self, budget: Option<u64>) -> Result<()> {
        let needed = self.0.total();
        match budget {
            Some(budget) if needed > budget => Err(Error::OutOfMemory { needed, budget }),
            _ => Ok(()),
        }
    }
}

/// What a plan comes to under a budget and what the system can give, both in bytes.
fn judge(plan: &MemoryPlan, budget: Option<u64>, available: Option<u64>) -> Plan {
    let needs = needs(plan);
    if let Some(budget) = budget.filter(|&budget| plan.total() > budget) {
        return Plan::Refused {
            reason: "the memory budget is smaller than what the model and one chat take".to_owned(),
            allowed: budget,
            needs,
        };
    }
    match (plan.fits(0, available), available) {
        (Fits::No, Some(allowed)) => Plan::Refused {
            reason: "the system has too little free memory".to_owned(),
            allowed,
            needs,
        },
        (fits, _) => Plan::Fits {
            needs,
            tight: fits == Fits::Tight,
        },
    }
}

/// Tells from the file's metadata whether `settings` let it be loaded; reads no weights.
///
/// # Errors
/// [`crate::Failure`] for a file whose header cannot be read, whose architecture is not known, or a
/// chat template in `settings` that is none. What only loading finds, such as a missing tensor or a
/// tokenizer that is not known, is for [`crate::begin_load`] to tell.
#[uniffi::export]
pub async fn plan(source: ModelSource, settings: LoadSettings) -> Result<Plan> {
    offload(move || {
        let options = settings.to_engine()?;
        let gguf = Gguf::open_as(&source.open()?, options.file_access)?;
        let Checked(plan) = check(&gguf, &settings)?;
        Ok(judge(&plan, settings.memory_budget, available_memory()))
    })
    .await
}
