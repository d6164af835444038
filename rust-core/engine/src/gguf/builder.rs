//! Writes GGUF files: for tests, for random models, and for tools that convert.

use std::io::{self, Write};
use std::path::Path;

use crate::error::{Error, Result};

/// Builds a GGUF file (version 3, little-endian) in memory, from metadata and tensors.
///
/// Values are written as they are given, also wrong ones: tests of the reader need that. Keys
/// and tensors keep the order in which they were added.
///
/// ```
/// use dormouse::gguf::Builder;
/// let bytes = Builder::new()
///     .str("general.architecture", "llama")
///     .u32("llama.block_count", 1)
///     .tensor("output_norm.weight", &[2], 0, &[0; 8])
///     .build();
/// assert_eq!(&bytes[..4], b"GGUF");
/// ```
#[derive(Debug, Clone)]
pub struct Builder {
    alignment: usize,
    entries: u64,
    metadata: Vec<u8>,
    tensors: Vec<Tensor>,
}

#[derive(Debug, Clone)]
struct Tensor {
    name: String,
    dims: Vec<u64>,
    type_id: u32,
    data: Vec<u8>,
}

/// A tensor of [`Builder::write_streamed`], whose bytes are not there yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamedTensor {
    /// Its name.
    pub name: String,
    /// Its dimensions in GGUF's order (columns first).
    pub dims: Vec<u64>,
    /// The id of its ggml type.
    pub type_id: u32,
    /// How many bytes it has in that type's layout.
    pub bytes: u64,
}

const UNSIGNED_16: u32 = 2;
const UNSIGNED: u32 = 4;
const SIGNED: u32 = 5;
const FLOAT: u32 = 6;
const BOOL: u32 = 7;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text);
}

impl Builder {
    /// An empty file.
    pub fn new() -> Self {
        Self {
            alignment: 32,
            entries: 0,
            metadata: Vec::new(),
            tensors: Vec::new(),
        }
    }

    /// Sets the alignment of tensors in bytes, and says so in the metadata.
    ///
    /// # Panics
    /// When it is no power of two.
    pub fn alignment(mut self, alignment: u32) -> Self {
        assert!(alignment.is_power_of_two());
        self.alignment = alignment as usize;
        self.u32("general.alignment", alignment)
    }

    fn entry(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        put_string(&mut self.metadata, key.as_bytes());
        self.metadata.extend(kind.to_le_bytes());
        self.metadata.extend(value);
        self.entries += 1;
        self
    }

    /// Adds a string.
    pub fn str(self, key: &str, value: &str) -> Self {
        let mut bytes = Vec::new();
        put_string(&mut bytes, value.as_bytes());
        self.entry(key, STRING, &bytes)
    }

    /// Adds an unsigned 16-bit integer.
    pub fn u16(self, key: &str, value: u16) -> Self {
        self.entry(key, UNSIGNED_16, &value.to_le_bytes())
    }

    /// Adds a signed 32-bit integer.
    pub fn i32(self, key: &str, value: i32) -> Self {
        self.entry(key, SIGNED, &value.to_le_bytes())
    }

    /// Adds an unsigned 32-bit integer.
    pub fn u32(self, key: &str, value: u32) -> Self {
        self.entry(key, UNSIGNED, &value.to_le_bytes())
    }

    /// Adds a 32-bit float.
    pub fn f32(self, key: &str, value: f32) -> Self {
        self.entry(key, FLOAT, &value.to_le_bytes())
    }

    /// Adds a boolean.
    pub fn bool(self, key: &str, value: bool) -> Self {
        self.entry(key, BOOL, &[u8::from(value)])
    }

    fn array<T>(
        self,
        key: &str,
        kind: u32,
        values: impl ExactSizeIterator<Item = T>,
        put: impl Fn(&mut Vec<u8>, T),
    ) -> Self {
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend((values.len() as u64).to_le_bytes());
        for value in values {
            put(&mut bytes, value);
        }
        self.entry(key, ARRAY, &bytes)
    }

    /// Adds an array of strings, which need not be UTF-8.
    pub fn strings<S: AsRef<[u8]>>(self, key: &str, values: &[S]) -> Self {
        self.array(key, STRING, values.iter(), |out, value| {
            put_string(out, value.as_ref());
        })
    }

    /// Adds an array of signed 32-bit integers.
    pub fn i32s(self, key: &str, values: &[i32]) -> Self {
        self.array(key, SIGNED, values.iter(), |out, value| {
            out.extend(value.to_le_bytes());
        })
    }

    /// Adds an array of 32-bit floats.
    pub fn f32s(self, key: &str, values: &[f32]) -> Self {
        self.array(key, FLOAT, values.iter(), |out, value| {
            out.extend(value.to_le_bytes());
        })
    }

    /// Adds a tensor: `dims` in GGUF's order (columns first), the id of its ggml type, and its
    /// bytes in that type's layout.
    pub fn tensor(mut self, name: &str, dims: &[u64], type_id: u32, data: &[u8]) -> Self {
        self.tensors.push(Tensor {
            name: name.to_owned(),
            dims: dims.to_vec(),
            type_id,
            data: data.to_vec(),
        });
        self
    }

    /// The file's bytes.
    pub fn build(&self) -> Vec<u8> {
        let mut table = self.table();
        for tensor in &self.tensors {
            table.add(
                &tensor.name,
                &tensor.dims,
                tensor.type_id,
                tensor.data.len() as u64,
            );
        }
        let mut out = self.head(&table);
        for tensor in &self.tensors {
            out.resize(out.len().next_multiple_of(self.alignment), 0);
            out.extend(&tensor.data);
        }
        out
    }

    /// Writes the file to `path`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        std::fs::write(path, self.build()).map_err(|e| cannot_write(path, e))
    }

    /// Writes a file that is too large to be held in memory: of this metadata, and of `tensors` in
    /// place of those that were added. `fill` is called for each in turn and writes its bytes.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::InvalidArgument`] when `fill` writes more or fewer bytes than the tensor
    /// has. What was written then stays.
    pub fn write_streamed(
        &self,
        path: impl AsRef<Path>,
        tensors: &[StreamedTensor],
        mut fill: impl FnMut(&StreamedTensor, &mut dyn Write) -> io::Result<()>,
    ) -> Result<()> {
        let path = path.as_ref();
        let failed = |e| cannot_write(path, e);
        let mut table = self.table();
        for tensor in tensors {
            table.add(&tensor.name, &tensor.dims, tensor.type_id, tensor.bytes);
        }
        let file = std::fs::File::create(path).map_err(failed)?;
        let mut out = Counted {
            inner: io::BufWriter::new(file),
            written: 0,
        };
        out.write_all(&self.head(&table)).map_err(failed)?;
        for tensor in tensors {
            let start = out.written.next_multiple_of(self.alignment as u64);
            let padding = vec![0; (start - out.written) as usize];
            out.write_all(&padding).map_err(failed)?;
            fill(tensor, &mut out).map_err(failed)?;
            let written = out.written - start;
            if written != tensor.bytes {
                return Err(Error::invalid(format!(
                    "{written} bytes were written for tensor {}, which has {}",
                    tensor.name, tensor.bytes
                )));
            }
        }
        out.flush().map_err(failed)
    }

    fn table(&self) -> Table {
        Table {
            alignment: self.alignment as u64,
            count: 0,
            offset: 0,
            entries: Vec::new(),
        }
    }

    /// All that comes before the tensors' bytes, without the padding.
    fn head(&self, table: &Table) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend(table.count.to_le_bytes());
        out.extend(self.entries.to_le_bytes());
        out.extend(&self.metadata);
        out.extend(&table.entries);
        out
    }
}

/// The tensor table as it grows.
struct Table {
    alignment: u64,
    count: u64,
    /// Where the next tensor begins.
    offset: u64,
    entries: Vec<u8>,
}

impl Table {
    fn add(&mut self, name: &str, dims: &[u64], type_id: u32, bytes: u64) {
        put_string(&mut self.entries, name.as_bytes());
        self.entries.extend((dims.len() as u32).to_le_bytes());
        for dim in dims {
            self.entries.extend(dim.to_le_bytes());
        }
        self.entries.extend(type_id.to_le_bytes());
        self.entries.extend(self.offset.to_le_bytes());
        self.count += 1;
        self.offset = (self.offset + bytes).next_multiple_of(self.alignment);
    }
}

/// Counts what is written.
struct Counted<W> {
    inner: W,
    written: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn cannot_write(path: &Path, error: io::Error) -> Error {
    Error::io(format!("cannot write {}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streamed(name: &str, bytes: u64) -> StreamedTensor {
        StreamedTensor {
            name: name.into(),
            dims: vec![bytes],
            type_id: 24,
            bytes,
        }
    }

    #[test]
    fn a_streamed_file_is_the_one_built_in_memory() {
        let path = std::env::temp_dir().join(format!("dormouse-stream-{}", std::process::id()));
        let head = Builder::new().str("general.architecture", "x");
        let whole = head
            .clone()
            .tensor("a", &[5], 24, &[7; 5])
            .tensor("b", &[33], 24, &[9; 33])
            .build();
        let tensors = [streamed("a", 5), streamed("b", 33)];
        head.write_streamed(&path, &tensors, |tensor, out| {
            let byte = if tensor.name == "a" { 7 } else { 9 };
            (0..tensor.bytes).try_for_each(|_| out.write_all(&[byte]))
        })
        .unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        let error = head
            .write_streamed(&path, &tensors, |_, out| out.write_all(&[0; 5]))
            .unwrap_err();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            error.to_string(),
            "invalid argument: 5 bytes were written for tensor b, which has 33"
        );
    }
}
