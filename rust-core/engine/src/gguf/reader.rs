//! A bounds-checked cursor over the bytes of a GGUF file.

use std::cell::Cell;

use crate::error::{Error, Result};

/// How long a file's beginning may be, metadata and tensor table together. Those of large models have
/// some 20 MiB; walking over gigabytes would only keep the caller.
pub(super) const MAX_HEAD: usize = 256 << 20;

/// Elements that all arrays of the metadata may have together; large vocabularies come to 2 million.
pub(super) const MAX_ELEMENTS: usize = 8 << 20;

/// Reads little-endian values from `bytes`, never past their end.
#[derive(Clone)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Of the file, of which `bytes` may be the beginning.
    length: usize,
    /// Set when bytes are wanted that the file has, but `bytes` has not.
    short: Option<&'a Cell<bool>>,
    /// What may still be read, in bytes and in elements of arrays.
    room: usize,
    elements: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self {
            bytes,
            at,
            length: bytes.len(),
            short: None,
            room: usize::MAX,
            elements: usize::MAX,
        }
    }

    /// A cursor over the beginning of a file of `length` bytes; `short` tells in the end whether an
    /// error came of the beginning being too short.
    pub(super) fn of_head(bytes: &'a [u8], length: usize, short: &'a Cell<bool>) -> Self {
        Self {
            length,
            short: Some(short),
            room: MAX_HEAD,
            elements: MAX_ELEMENTS,
            ..Self::new(bytes, 0)
        }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn remaining(&self) -> usize {
        self.length - self.at
    }

    pub(super) fn take(&mut self, count: usize, what: &str) -> Result<&'a [u8]> {
        if count > self.remaining() {
            return Err(Error::corrupt(
                what,
                format!(
                    "{count} bytes wanted at offset {}, {} are left (is the file cut off?)",
                    self.at,
                    self.remaining()
                ),
            ));
        }
        if count > self.room {
            return Err(Error::corrupt(
                what,
                format!(
                    "{count} bytes wanted at offset {}, but metadata and tensor table together may \
                     have {MAX_HEAD}",
                    self.at
                ),
            ));
        }
        let Some(slice) = self.bytes.get(self.at..self.at + count) else {
            if let Some(short) = self.short {
                short.set(true);
            }
            return Err(Error::corrupt(
                what,
                "the beginning of the file is too short",
            ));
        };
        self.at += count;
        self.room -= count;
        Ok(slice)
    }

    /// Counts the elements of one more array.
    pub(super) fn add_elements(&mut self, count: usize, what: &str) -> Result<()> {
        self.elements = self.elements.checked_sub(count).ok_or_else(|| {
            let why = format!(
                "an array of {count} elements, but all arrays together may have {MAX_ELEMENTS}"
            );
            Error::corrupt(what, why)
        })?;
        Ok(())
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N, what)?);
        Ok(out)
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A count of things that take at least `each` bytes: checked against what is left, so that
    /// nothing is allocated on the word of a damaged file.
    pub(super) fn count(&mut self, each: usize, what: &str) -> Result<usize> {
        let count = self.u64(what)?;
        self.check_count(count, each, what)
    }

    pub(super) fn check_count(&self, count: u64, each: usize, what: &str) -> Result<usize> {
        let most = self.remaining() / each.max(1);
        match usize::try_from(count) {
            Ok(count) if count <= most => Ok(count),
            _ => Err(Error::corrupt(
                what,
                format!(
                    "a count of {count} cannot fit the {} bytes left",
                    self.remaining()
                ),
            )),
        }
    }

    /// A GGUF string: u64 length, then UTF-8 bytes.
    pub(super) fn string_bytes(&mut self, what: &str) -> Result<&'a [u8]> {
        let length = self.count(1, what)?;
        self.take(length, what)
    }
}
