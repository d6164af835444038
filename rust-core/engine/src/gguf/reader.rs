//! A bounds-checked cursor over the bytes of a GGUF file.

use crate::error::{Error, Result};

/// Reads little-endian values from `bytes`, never past their end.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
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
        let slice = &self.bytes[self.at..self.at + count];
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
