//! A bounds-checked cursor over the bytes of a GGUF file.

use std::cell::Cell;

use crate::error::{Error, Result};

/// Reads little-endian values from `bytes`, never past their end.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Of the file, of which `bytes` may be the beginning.
    length: usize,
    /// Set when bytes are wanted that the file has, but `bytes` has not.
    short: Option<&'a Cell<bool>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self {
            bytes,
            at,
            length: bytes.len(),
            short: None,
        }
    }

    /// A cursor over the beginning of a file of `length` bytes; `short` tells in the end whether an
    /// error came of the beginning being too short.
    pub(super) fn of_head(bytes: &'a [u8], length: usize, short: &'a Cell<bool>) -> Self {
        Self {
            length,
            short: Some(short),
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
        Ok(slice)
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
