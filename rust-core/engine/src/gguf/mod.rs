//! Reads GGUF files (versions 2 and 3, little-endian) safely.
//!
//! The format is described in ggml's `docs/gguf.md`. Every count and size is checked against the
//! file before anything is allocated; whatever is wrong is an [`Error::CorruptModel`] that names
//! the place. A model that is split into several files is opened by the path of any of them.

mod builder;
mod mapping;
mod metadata;
mod reader;
mod source;
mod split;
mod tensor;

use std::collections::HashMap;
use std::sync::Arc;

pub use builder::Builder;
pub use mapping::Mapping;
pub use metadata::{ArrayRef, Metadata, Value};
pub use source::Source;
pub use tensor::{TensorInfo, TensorType};

use crate::error::{Error, Result};
use reader::Reader;

const MAGIC: &[u8; 4] = b"GGUF";
const DEFAULT_ALIGNMENT: u64 = 32;

/// An opened GGUF file, or all files of a split model: metadata, tensor table, mapped bytes.
#[derive(Debug, Clone)]
pub struct Gguf {
    /// One, but for split models.
    parts: Vec<Arc<Mapping>>,
    version: u32,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    by_name: HashMap<String, usize>,
}

impl Gguf {
    /// Opens and checks a file. Only the header, metadata and tensor table are read.
    ///
    /// A file that its metadata calls a part of a split model (`split.count`) is joined with the
    /// other parts, which stand beside it as `NAME-00001-of-0000N.gguf`; any of them may be given.
    /// The first part has the model's metadata.
    ///
    /// # Errors
    /// [`Error::Io`], also for missing parts; [`Error::CorruptModel`], also for parts that do not
    /// belong together; [`Error::UnsupportedModel`] for a version or byte order that is not read
    /// here; [`Error::InvalidArgument`] for what is no file, and for a part of a split model in a
    /// window, from which the others cannot be found.
    pub fn open(source: &Source) -> Result<Self> {
        let file = Self::parse(Mapping::open(source)?)?;
        match (split::Part::of(&file)?, source) {
            (None, _) => Ok(file),
            (Some(part), Source::Path(path)) => split::join(file, &part, path),
            (Some(part), Source::Window { .. }) => Err(Error::invalid(format!(
                "{part}, which is opened by its path and not as a window: the other parts are found \
                 by their names"
            ))),
        }
    }

    fn parse(data: Arc<Mapping>) -> Result<Self> {
        let mut reader = Reader::new(&data, 0);
        if reader.take(4, "header")? != MAGIC {
            return Err(Error::corrupt(
                "header",
                "this is no GGUF file (wrong magic)",
            ));
        }
        let version = reader.u32("header")?;
        match version {
            2 | 3 => {}
            v if v.swap_bytes() == 2 || v.swap_bytes() == 3 => {
                return Err(Error::unsupported("a big-endian GGUF file"));
            }
            v => {
                return Err(Error::unsupported(format!(
                    "GGUF version {v} (known: 2, 3)"
                )));
            }
        }
        let tensor_count = reader.u64("header")?;
        let metadata_count = reader.count(13, "metadata count")?;
        let metadata = Metadata::parse(&data, &mut reader, metadata_count)?;
        let tensor_count = reader.check_count(tensor_count, 32, "tensor count")?;

        let alignment = metadata
            .u32("general.alignment")?
            .map_or(DEFAULT_ALIGNMENT, u64::from);
        if !alignment.is_power_of_two() {
            return Err(Error::corrupt("general.alignment", "it is no power of two"));
        }
        let mut tensors = Vec::with_capacity(tensor_count);
        for index in 0..tensor_count {
            tensors.push(TensorInfo::parse(&mut reader, index)?);
        }
        let data_start = (reader.position() as u64)
            .checked_next_multiple_of(alignment)
            .ok_or_else(|| Error::corrupt("header", "the data offset overflows"))?;
        let mut by_name = HashMap::with_capacity(tensor_count);
        for (index, tensor) in tensors.iter_mut().enumerate() {
            tensor.place(data_start, alignment, data.len() as u64)?;
            if by_name.insert(tensor.name.clone(), index).is_some() {
                return Err(Error::corrupt(&tensor.name, "the tensor stands twice"));
            }
        }
        Ok(Self {
            parts: vec![data],
            version,
            metadata,
            tensors,
            by_name,
        })
    }

    /// The format's version, 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Length of the file (or window) in bytes; of all files of a split model.
    pub fn file_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.len() as u64).sum()
    }

    /// All metadata.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The tensor table, in the order of the file or of the parts.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor called `name`, if it is there.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.by_name.get(name).map(|&index| &self.tensors[index])
    }

    /// The mapped bytes of the whole file, or of each part of a split model, in their order.
    pub fn parts(&self) -> &[Arc<Mapping>] {
        &self.parts
    }

    /// `general.architecture`.
    ///
    /// # Errors
    /// [`Error::CorruptModel`] when it is missing.
    pub fn architecture(&self) -> Result<&str> {
        self.metadata
            .str("general.architecture")?
            .ok_or_else(|| Error::corrupt("general.architecture", "the key is missing"))
    }
}
