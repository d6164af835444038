//! Reads GGUF files (versions 2 and 3, little-endian) safely.
//!
//! The format is described in ggml's `docs/gguf.md`. Every count and size is checked against the
//! file before anything is allocated; whatever is wrong is an [`Error::CorruptModel`] that names
//! the place. A model that is split into several files is opened by the path of any of them.

mod access;
mod builder;
mod contents;
mod metadata;
mod part;
mod reader;
mod source;
mod split;
mod tensor;

use std::cell::Cell;
use std::sync::Arc;

pub use access::FileAccess;
pub use builder::{Builder, StreamedTensor};
pub use contents::Contents;
pub use metadata::{ArrayRef, Metadata, Value};
pub use part::Part;
pub use source::Source;
pub use tensor::{TensorInfo, TensorType};

use crate::error::{Error, Result};
use reader::Reader;
use source::Opened;

const MAGIC: &[u8; 4] = b"GGUF";
const DEFAULT_ALIGNMENT: u64 = 32;

/// Tensors that one file may have. A model with a tensor for each of its many experts has some
/// 50,000.
const MAX_TENSORS: usize = 1 << 16;

/// An opened GGUF file, or all files of a split model: metadata, tensor table, and the way to the bytes.
#[derive(Debug, Clone)]
pub struct Gguf {
    /// One, but for split models.
    parts: Vec<Arc<Part>>,
    version: u32,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    /// Indices of the tensors, in the order of their names.
    by_name: Vec<u32>,
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
        Self::open_as(source, FileAccess::default())
    }

    /// As [`Gguf::open`], with a say in how the file is reached.
    ///
    /// # Errors
    /// As [`Gguf::open`].
    pub fn open_as(source: &Source, access: FileAccess) -> Result<Self> {
        let file = Self::parse(source.open(access)?)?;
        match (split::Place::of(&file)?, source) {
            (None, _) => Ok(file),
            (Some(place), Source::Path(path)) => split::join(file, &place, path, access),
            (Some(place), Source::Window { .. }) => Err(Error::invalid(format!(
                "{place}, which is opened by its path and not as a window: the other parts are found \
                 by their names"
            ))),
        }
    }

    fn parse(opened: Opened) -> Result<Self> {
        let (part, head) = Part::open(opened, Head::parse)?;
        Ok(Self {
            parts: vec![Arc::new(part)],
            version: head.version,
            metadata: head.metadata,
            tensors: head.tensors,
            by_name: head.by_name,
        })
    }

    /// The format's version, 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Length of the file (or window) in bytes; of all files of a split model.
    pub fn file_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.file_bytes()).sum()
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
        let tensor = |index: &u32| &self.tensors[*index as usize];
        let find = |index: &u32| tensor(index).name.as_str().cmp(name);
        let at = self.by_name.binary_search_by(find).ok()?;
        Some(tensor(&self.by_name[at]))
    }

    /// The file, or the files of a split model in their order.
    pub fn parts(&self) -> &[Arc<Part>] {
        &self.parts
    }

    /// Whether all weights are the files' own pages, which the system can drop and read again.
    pub fn is_mapped(&self) -> bool {
        self.parts.iter().all(|part| part.is_mapped())
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

/// What the beginning of a file says.
struct Head {
    version: u32,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    by_name: Vec<u32>,
}

impl Head {
    /// Reads it out of the first bytes of a file of `length` bytes.
    fn parse(data: &Arc<Contents>, length: usize, short: &Cell<bool>) -> Result<Self> {
        let mut reader = Reader::of_head(data, length, short);
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
        let metadata = Metadata::parse(data, &mut reader, metadata_count)?;
        let tensor_count = reader.check_count(tensor_count, 32, "tensor count")?;
        if tensor_count > MAX_TENSORS {
            let why = format!("{tensor_count} tensors (at most {MAX_TENSORS} are allowed)");
            return Err(Error::corrupt("tensor count", why));
        }

        let alignment = metadata
            .u32("general.alignment")?
            .map_or(DEFAULT_ALIGNMENT, u64::from);
        if !alignment.is_power_of_two() {
            return Err(Error::corrupt("general.alignment", "it is no power of two"));
        }
        // A row in memory is larger than in the file, so memory is taken when all are known to be there.
        let mut ahead = reader.clone();
        for index in 0..tensor_count {
            TensorInfo::parse(&mut ahead, index)?;
        }
        let mut tensors = Vec::with_capacity(tensor_count);
        for index in 0..tensor_count {
            tensors.push(TensorInfo::parse(&mut reader, index)?);
        }
        let data_start = (reader.position() as u64)
            .checked_next_multiple_of(alignment)
            .ok_or_else(|| Error::corrupt("header", "the data offset overflows"))?;
        for tensor in &mut tensors {
            tensor.place(data_start, alignment, length as u64)?;
        }
        let by_name = order_by_name(&tensors);
        if let Some(twice) = twins(&tensors, &by_name) {
            return Err(Error::corrupt(&twice.name, "the tensor stands twice"));
        }
        check_overlap(&tensors)?;
        Ok(Self {
            version,
            metadata,
            tensors,
            by_name,
        })
    }
}

/// Indices of `tensors` in the order of their names, equal ones in their own order.
fn order_by_name(tensors: &[TensorInfo]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..tensors.len() as u32).collect();
    order.sort_unstable_by(|&a, &b| {
        let name = |index: u32| &tensors[index as usize].name;
        name(a).cmp(name(b)).then(a.cmp(&b))
    });
    order
}

/// The later of two tensors of the same name, if there are such.
fn twins<'t>(tensors: &'t [TensorInfo], by_name: &[u32]) -> Option<&'t TensorInfo> {
    let pairs = by_name.windows(2);
    let mut pairs = pairs.map(|pair| [pair[0], pair[1]].map(|index| &tensors[index as usize]));
    pairs
        .find(|[a, b]| a.name == b.name)
        .map(|[_, later]| later)
}

/// No two tensors share bytes.
fn check_overlap(tensors: &[TensorInfo]) -> Result<()> {
    let tensor = |index: u32| &tensors[index as usize];
    let mut order: Vec<u32> = (0..tensors.len() as u32).collect();
    order.sort_unstable_by_key(|&index| (tensor(index).offset, tensor(index).bytes, index));
    for pair in order.windows(2) {
        let (first, second) = (tensor(pair[0]), tensor(pair[1]));
        // Both were found to lie in the file, so this does not overflow.
        if first.offset + first.bytes > second.offset {
            let why = format!("its bytes overlap those of {}", first.name);
            return Err(Error::corrupt(&second.name, why));
        }
    }
    Ok(())
}
