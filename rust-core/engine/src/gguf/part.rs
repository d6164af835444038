//! One file of a model: its beginning, in which the metadata and the tensor table are, and the way
//! to the rest.

use std::cell::Cell;
use std::sync::Arc;

use super::contents::Contents;
use super::source::Opened;
use crate::error::Result;

/// As much is read of a file that is not mapped before it is known how long its beginning is.
const HEAD: usize = 1 << 20;

/// One file of a model, or the only one.
#[derive(Debug)]
pub struct Part {
    opened: Opened,
    /// All of it if it is mapped.
    head: Arc<Contents>,
}

impl Part {
    /// Opens what `read` needs of a file: it is given the bytes and told to say by the cell when
    /// they are too few, although the file is longer.
    pub(super) fn open<T>(
        opened: Opened,
        read: impl Fn(&Arc<Contents>, usize, &Cell<bool>) -> Result<T>,
    ) -> Result<(Self, T)> {
        let length = opened.len()?;
        let mut wanted = if opened.mapped {
            length
        } else {
            length.min(HEAD)
        };
        loop {
            let head = if opened.mapped {
                Contents::map(&opened)?
            } else {
                Contents::read(&opened, wanted, &mut |_| Ok(()))?
            };
            let short = Cell::new(false);
            match read(&head, length, &short) {
                Err(_) if short.get() && wanted < length => {
                    wanted = wanted.saturating_mul(2).min(length);
                }
                result => return result.map(|value| (Self { opened, head }, value)),
            }
        }
    }

    /// Length in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.opened.length
    }

    /// Whether [`Part::contents`] are the file's own pages.
    pub fn is_mapped(&self) -> bool {
        self.head.is_mapped()
    }

    /// All bytes of the file. They are read in by this call unless the file is mapped: `watch` is
    /// told the share that is done, and ends it by its error.
    ///
    /// # Errors
    /// [`crate::Error::Io`], [`crate::Error::CorruptModel`] when the file has become shorter,
    /// [`crate::Error::OutOfMemory`], and that of `watch`.
    pub fn contents(&self, watch: &mut dyn FnMut(f32) -> Result<()>) -> Result<Arc<Contents>> {
        if self.is_mapped() || self.head.len() as u64 == self.opened.length {
            return Ok(self.head.clone());
        }
        Contents::read(&self.opened, self.opened.len()?, watch)
    }
}
