//! Models split into several files, as llama.cpp's `gguf-split` and gguf-py write them.
//!
//! Part i of n is called `NAME-0000i-of-0000n.gguf` and says so in its metadata: `split.no` (from
//! 0), `split.count`, and `split.tensors.count`, the tensors of all parts together. The first part
//! has the metadata of the model, each part a table of its own tensors and an alignment of its own.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::access::FileAccess;
use super::source::Source;
use super::{Gguf, TensorInfo, order_by_name, twins};
use crate::error::{Error, Result};

const NO: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";

/// The keys are 16 bits wide by definition, whatever type a file gives them.
const MAX_PARTS: u32 = u16::MAX as u32;

/// Missing parts that an error names.
const NAMED: usize = 4;

/// What a file says of its place in a split model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Counted from 0.
    no: u32,
    count: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this is part {} of {}", self.no + 1, self.count)?;
        f.write_str(" of a split model")
    }
}

impl Place {
    /// `None` for a model in one file.
    pub(super) fn of(file: &Gguf) -> Result<Option<Self>> {
        let metadata = file.metadata();
        let count = match metadata.u32(COUNT)? {
            None | Some(0 | 1) => return Ok(None),
            Some(count) if count <= MAX_PARTS => count,
            Some(count) => {
                let why = format!("{count} parts (at most {MAX_PARTS} are allowed)");
                return Err(Error::corrupt(COUNT, why));
            }
        };
        let no = metadata
            .u32(NO)?
            .ok_or_else(|| Error::corrupt(NO, "the key is missing"))?;
        if no >= count {
            let why = format!("part {no}, counted from 0, of {count}");
            return Err(Error::corrupt(NO, why));
        }
        Ok(Some(Self { no, count }))
    }

    /// What the file's name ends in.
    fn suffix(&self) -> String {
        format!("-{:05}-of-{:05}.gguf", self.no + 1, self.count)
    }

    /// The paths of all parts, of which `path` is this one.
    fn paths(&self, path: &Path) -> Result<Vec<PathBuf>> {
        let suffix = self.suffix();
        let stem = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_suffix(&suffix))
            .ok_or_else(|| {
                let why = format!("{self}, so its name must end in {suffix}");
                Error::corrupt(name_of(path), why)
            })?;
        let count = self.count;
        let name = |no| format!("{stem}{}", Place { no, count }.suffix());
        Ok((0..count).map(|no| path.with_file_name(name(no))).collect())
    }
}

/// Opens all parts beside `file`, found at `path`, and puts them together.
///
/// # Errors
/// [`Error::Io`] that names missing parts, [`Error::CorruptModel`] for parts that are damaged or
/// do not fit together.
pub(super) fn join(file: Gguf, place: &Place, path: &Path, access: FileAccess) -> Result<Gguf> {
    let paths = place.paths(path)?;
    check_presence(&paths)?;
    let mut given = Some(file);
    let mut open = |no: u32, path: &Path| match given.take_if(|_| no == place.no) {
        Some(file) => Ok(file),
        None => open_part(no, place.count, path, access).map_err(|error| inside(path, error)),
    };
    let mut numbered = (0..).zip(&paths);
    let Some((_, first)) = numbered.next() else {
        return Err(Error::internal("a split model without parts"));
    };
    let mut whole = open(0, first)?;
    let total = tensor_count(&whole)
        .and_then(|total| total.ok_or_else(|| Error::corrupt(TENSORS, "the key is missing")))
        .map_err(|error| inside(first, error))?;
    for (no, path) in numbered {
        let next = open(no, path)?;
        append(&mut whole, next, total).map_err(|error| inside(path, error))?;
    }
    whole.by_name = order_by_name(&whole.tensors);
    if let Some(twice) = twins(&whole.tensors, &whole.by_name) {
        let earlier = whole.tensors.iter().find(|other| other.name == twice.name);
        let part = earlier.map_or(0, |earlier| earlier.part);
        let error = Error::corrupt(&twice.name, format!("part {} has it too", part + 1));
        return Err(inside(&paths[twice.part], error));
    }
    let found = whole.tensors.len() as u64;
    if found != total {
        let why = format!("it is {total}, but all parts together have {found} tensors");
        return Err(Error::corrupt(TENSORS, why));
    }
    Ok(whole)
}

/// An error that names the parts that are not there: better than one at a time.
fn check_presence(paths: &[PathBuf]) -> Result<()> {
    let absent = |path: &&PathBuf| match std::fs::metadata(path) {
        Err(error) => error.kind() == io::ErrorKind::NotFound,
        Ok(_) => false,
    };
    let mut names: Vec<String> = paths
        .iter()
        .filter(absent)
        .map(|path| path.display().to_string())
        .take(NAMED + 1)
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    if names.len() > NAMED {
        names[NAMED] = "and more".to_owned();
    }
    let what = format!(
        "parts of the {} of this split model are missing: {}",
        paths.len(),
        names.join(", ")
    );
    Err(Error::io(what, io::ErrorKind::NotFound.into()))
}

fn open_part(no: u32, count: u32, path: &Path, access: FileAccess) -> Result<Gguf> {
    let file = Gguf::parse(Source::path(path).open(access)?)?;
    let wrong = |key, found: String, wanted| {
        Error::corrupt(key, format!("it is {found}, but {wanted} is wanted here"))
    };
    match Place::of(&file)? {
        None => Err(wrong(COUNT, "missing".to_owned(), count)),
        Some(place) if place.count != count => Err(wrong(COUNT, place.count.to_string(), count)),
        Some(place) if place.no != no => Err(wrong(NO, place.no.to_string(), no)),
        Some(_) => Ok(file),
    }
}

fn tensor_count(file: &Gguf) -> Result<Option<u64>> {
    file.metadata().u64(TENSORS)
}

/// Adds the tensors of the next part.
fn append(whole: &mut Gguf, next: Gguf, total: u64) -> Result<()> {
    // Only the first part must have the key.
    if let Some(other) = tensor_count(&next)?.filter(|&other| other != total) {
        let why = format!("it is {other}, but {total} in the first part");
        return Err(Error::corrupt(TENSORS, why));
    }
    let part = whole.parts.len();
    whole.parts.extend(next.parts);
    let next = next.tensors.into_iter();
    whole
        .tensors
        .extend(next.map(|tensor| TensorInfo { part, ..tensor }));
    Ok(())
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .display()
        .to_string()
}

/// The error with the name of the part that it is about; those of opening a file have it.
fn inside(path: &Path, error: Error) -> Error {
    let name = name_of(path);
    match error {
        Error::CorruptModel { at, why } => Error::corrupt(format!("{name}: {at}"), why),
        Error::UnsupportedModel { what } => Error::unsupported(format!("{name}: {what}")),
        other => other,
    }
}
