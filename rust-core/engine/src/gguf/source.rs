//! Where a model file is found: a path, or a window of an open file descriptor.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::access::FileAccess;
use crate::error::{Error, Result};

/// A place to read a model file from.
///
/// A file that nobody else can write is mapped, any other is read in; see [`FileAccess`]. Keep
/// models where only the app writes, and put a new version beside the old one, not over it.
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

    /// Opens the source: the window's offset and length are checked against the file's own length.
    pub(super) fn open(&self, access: FileAccess) -> Result<Opened> {
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
            Some(end) if end <= size.len() => Ok(Opened {
                file,
                offset,
                length,
                mapped: access.maps(&size),
                name,
            }),
            _ => Err(Error::corrupt(
                &name,
                format!("the window ends past the file's {} bytes", size.len()),
            )),
        }
    }
}

/// An opened file, or window of one.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) offset: u64,
    pub(super) length: u64,
    /// Whether it is to be mapped.
    pub(super) mapped: bool,
    /// How errors call it.
    pub(super) name: String,
}

impl Opened {
    /// Its length, which is not zero.
    pub(super) fn len(&self) -> Result<usize> {
        match usize::try_from(self.length) {
            Ok(0) => Err(Error::corrupt(&self.name, "the file is empty")),
            Ok(length) => Ok(length),
            Err(_) => Err(Error::unsupported(
                "the file is larger than the address space",
            )),
        }
    }
}
