//! A read-only memory mapping of a model file.
//!
//! Weights are read in place from here, so that the system can drop their pages under pressure
//! and several processes share them.

use std::ops::Deref;
use std::sync::Arc;

use memmap2::{Mmap, MmapOptions};

use super::source::Source;
use crate::error::{Error, Result};

/// The mapped bytes of one model file (or window of a file).
#[derive(Debug)]
pub struct Mapping(Mmap);

impl Mapping {
    /// Maps `source` for reading. Nothing is read until it is touched.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be opened or mapped, [`Error::CorruptModel`] when it is empty
    /// or the window does not lie in the file.
    pub fn open(source: &Source) -> Result<Arc<Self>> {
        let (file, offset, length) = source.open()?;
        let length = usize::try_from(length)
            .map_err(|_| Error::unsupported("the file is larger than the address space"))?;
        if length == 0 {
            return Err(Error::corrupt(source.name(), "the file is empty"));
        }
        // SAFETY: the mapping is private and read-only. Its one hazard is another process that
        // changes or cuts the file while it is mapped; model files are opened from places that
        // their owner controls, which the caller of `Source` answers for.
        let map = unsafe { MmapOptions::new().offset(offset).len(length).map(&file) }
            .map_err(|e| Error::io(format!("cannot map {}", source.name()), e))?;
        Ok(Arc::new(Self(map)))
    }

    /// Tells the system that the range will be read soon, in bytes from the start. Best effort.
    pub fn advise_will_need(&self, offset: usize, length: usize) {
        #[cfg(unix)]
        if offset
            .checked_add(length)
            .is_some_and(|end| end <= self.0.len())
            && let Err(e) = self
                .0
                .advise_range(memmap2::Advice::WillNeed, offset, length)
        {
            log::debug!("read-ahead advice was refused: {e}");
        }
    }
}

impl Deref for Mapping {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}
