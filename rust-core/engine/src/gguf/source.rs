//! Where a model file is found: a path, or a window of an open file descriptor.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A place to read a model file from.
///
/// The file is mapped, so it must not be cut short or rewritten while a model of it is loaded: the
/// system ends a process that touches a page which is no longer there. Keep models where only
/// their owner writes. (Reading a file in, or adopting it, comes with a later version.)
///
/// Android hands out content URIs and stored assets as (descriptor, offset, length), so a window
/// of a file is as good as a whole one.
#[derive(Debug)]
pub enum Source {
    /// A file by its path.
    Path(PathBuf),
    /// `length` bytes from `offset` of an open file; the descriptor is owned and closed with it.
    Window {
        /// The open file.
        file: File,
        /// Where the GGUF begins, in bytes; need not be aligned.
        offset: u64,
        /// How long it is, in bytes.
        length: u64,
    },
}

impl Source {
    /// A file by its path.
    pub fn path(path: impl AsRef<Path>) -> Self {
        Self::Path(path.as_ref().to_path_buf())
    }

    /// A window of an open file descriptor, as Android's `AssetFileDescriptor` gives it.
    #[cfg(unix)]
    pub fn descriptor(fd: std::os::fd::OwnedFd, offset: u64, length: u64) -> Self {
        Self::Window {
            file: File::from(fd),
            offset,
            length,
        }
    }

    /// How errors call this source.
    pub fn name(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Window { offset, length, .. } => {
                format!("descriptor window at {offset} of {length} bytes")
            }
        }
    }

    /// Opens the source: the file, the window's offset and its length in bytes, checked against
    /// the file's own length.
    pub(crate) fn open(&self) -> Result<(File, u64, u64)> {
        let name = self.name();
        let fail = |e| Error::io(format!("cannot open {name}"), e);
        let (file, offset, length) = match self {
            Self::Path(path) => {
                let kind = std::fs::metadata(path).map_err(fail)?;
                if !kind.is_file() {
                    return Err(Error::invalid(format!("{name} is not a regular file")));
                }
                (File::open(path).map_err(fail)?, 0, kind.len())
            }
            Self::Window {
                file,
                offset,
                length,
            } => (file.try_clone().map_err(fail)?, *offset, *length),
        };
        let size = file.metadata().map_err(fail)?;
        if !size.is_file() {
            return Err(Error::invalid(format!("{name} is not a regular file")));
        }
        match offset.checked_add(length) {
            Some(end) if end <= size.len() => Ok((file, offset, length)),
            _ => Err(Error::corrupt(
                &name,
                format!("the window ends past the file's {} bytes", size.len()),
            )),
        }
    }
}
