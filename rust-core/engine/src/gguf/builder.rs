//! Writes GGUF files: for tests, for random models, and for tools that convert.

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
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend(self.entries.to_le_bytes());
        out.extend(&self.metadata);
        let mut offset = 0usize;
        for tensor in &self.tensors {
            put_string(&mut out, tensor.name.as_bytes());
            out.extend((tensor.dims.len() as u32).to_le_bytes());
            for dim in &tensor.dims {
                out.extend(dim.to_le_bytes());
            }
            out.extend(tensor.type_id.to_le_bytes());
            out.extend((offset as u64).to_le_bytes());
            offset = (offset + tensor.data.len()).next_multiple_of(self.alignment);
        }
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
    pub fn write(&self, path: impl AsRef<std::path::Path>) -> Result<()> {
        let path = path.as_ref();
        std::fs::write(path, self.build())
            .map_err(|e| Error::io(format!("cannot write {}", path.display()), e))
    }
}
