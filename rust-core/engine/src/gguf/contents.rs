//! The bytes of a model file: mapped, or read in where others could change the file.
//!
//! Mapped weights are read in place, so that the system can drop their pages under pressure and
//! several processes share them.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::sync::Arc;

use memmap2::{Mmap, MmapOptions};

use super::source::Opened;
use crate::error::{Error, Result};
use crate::metrics::available_memory;

/// Bytes that are read at a time, between which a load can be ended.
const CHUNK: usize = 8 << 20;

/// The bytes of one model file or window of a file, or of its beginning.
#[derive(Debug)]
pub struct Contents(Held);

#[derive(Debug)]
enum Held {
    Mapped(Mmap),
    Read(Vec<u8>),
}

impl Contents {
    /// Maps the whole of `opened`. Nothing is read until it is touched.
    pub(super) fn map(opened: &Opened) -> Result<Arc<Self>> {
        let length = opened.len()?;
        // SAFETY: the mapping is private and read-only. Its one hazard is somebody who changes or
        // cuts the file while it is mapped: `FileAccess` has it mapped only where no other user
        // can, or where the caller answers for it.
        let map = unsafe {
            MmapOptions::new()
                .offset(opened.offset)
                .len(length)
                .map(&opened.file)
        };
        let map = map.map_err(|e| Error::io(format!("cannot map {}", opened.name), e))?;
        Ok(Arc::new(Self(Held::Mapped(map))))
    }

    /// Reads the first `length` bytes of `opened` in. `watch` is told the share that is done, and
    /// ends it by its error.
    pub(super) fn read(
        opened: &Opened,
        length: usize,
        watch: &mut dyn FnMut(f32) -> Result<()>,
    ) -> Result<Arc<Self>> {
        let fail = |e| Error::io(format!("cannot read {}", opened.name), e);
        let needed = length as u64;
        // The system would promise more than it has, and end the process later.
        if let Some(budget) = available_memory().filter(|&budget| budget < needed) {
            return Err(Error::OutOfMemory { needed, budget });
        }
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(length)
            .map_err(|_| Error::OutOfMemory { needed, budget: 0 })?;
        while bytes.len() < length {
            watch(bytes.len() as f32 / length as f32)?;
            let at = bytes.len();
            let end = length.min(at + CHUNK);
            bytes.resize(end, 0);
            read_at(&opened.file, &mut bytes[at..], opened.offset + at as u64).map_err(
                |e| match e.kind() {
                    io::ErrorKind::UnexpectedEof => {
                        Error::corrupt(&opened.name, "it was cut short while it was read")
                    }
                    _ => fail(e),
                },
            )?;
        }
        Ok(Arc::new(Self(Held::Read(bytes))))
    }

    /// Whether the bytes are the file's own pages, which the system can drop and read again.
    pub fn is_mapped(&self) -> bool {
        matches!(self.0, Held::Mapped(_))
    }
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(bytes)
}

impl Deref for Contents {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Held::Mapped(map) => map,
            Held::Read(bytes) => bytes,
        }
    }
}
