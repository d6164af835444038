//! LoRA adapters, which lie beside a model's weights.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dormouse::model::Adapter;

use crate::error::{Error, Result};

/// An adapter that was opened for a model. It keeps its own weights alive, and nothing of the
/// model.
#[derive(uniffi::Object)]
pub struct AdapterHandle {
    /// None once closed.
    adapter: Mutex<Option<Adapter>>,
}

/// An adapter, and how much of it.
#[derive(uniffi::Record)]
pub struct ScaledAdapter {
    /// The adapter.
    pub adapter: Arc<AdapterHandle>,
    /// 1 is as it was trained, 0 has no effect.
    pub scale: f32,
}

impl ScaledAdapter {
    pub(crate) fn to_engine(&self) -> Result<(Adapter, f32)> {
        let adapter = self.adapter.lock().clone().ok_or(Error::Closed)?;
        Ok((adapter, self.scale))
    }
}

impl AdapterHandle {
    pub(crate) fn new(adapter: Adapter) -> Arc<Self> {
        Arc::new(Self {
            adapter: Mutex::new(Some(adapter)),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Adapter>> {
        self.adapter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[uniffi::export]
impl AdapterHandle {
    /// Gives the adapter's memory back, as soon as no chat has it any more. From then on it is
    /// refused with [`Error::Closed`]; to close again does nothing.
    pub fn close(&self) {
        let adapter = self.lock().take();
        drop(adapter);
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.lock().is_none()
    }
}
