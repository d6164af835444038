//! Zip files that are the same bytes whenever they are made from the same files: names in order,
//! one date, no traces of the machine.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::failure::{Failure, Result};

/// A file of a zip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its path, with slashes.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// Its bytes lie as they are, at a multiple of this; otherwise they are compressed.
    pub(crate) stored_at: Option<u16>,
}

impl Entry {
    /// A compressed file.
    pub(crate) fn new(name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.to_owned(),
            bytes: bytes.into(),
            stored_at: None,
        }
    }

    /// A file on disk, compressed.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn file(name: &str, path: &Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(|error| Failure::io("read", path, &error))?;
        Ok(Self::new(name, bytes))
    }

    /// The same, stored.
    pub(crate) fn stored(mut self, align: u16) -> Self {
        self.stored_at = Some(align);
        self
    }
}

/// Writes a zip; the order of `entries` does not matter.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write(path: &Path, mut entries: Vec<Entry>) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| Failure::io("create", folder, &error))?;
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let failed = |error: &dyn std::fmt::Display| {
        Failure(format!("cannot write {}: {error}", path.display()))
    };
    let file = File::create(path).map_err(|error| failed(&error))?;
    let mut zip = ZipWriter::new(BufWriter::new(file));
    for entry in entries {
        // The default date is the first that the format knows.
        let options = SimpleFileOptions::default()
            .last_modified_time(DateTime::default())
            .unix_permissions(0o644);
        let options = match entry.stored_at {
            Some(align) => options
                .compression_method(CompressionMethod::Stored)
                .with_alignment(align),
            None => options.compression_method(CompressionMethod::Deflated),
        };
        zip.start_file(entry.name.as_str(), options)
            .map_err(|error| failed(&error))?;
        zip.write_all(&entry.bytes)
            .map_err(|error| failed(&error))?;
    }
    let mut file = zip.finish().map_err(|error| failed(&error))?;
    file.flush().map_err(|error| failed(&error))
}

/// All files below a folder, with their paths from it.
///
/// # Errors
/// If one cannot be read.
pub(crate) fn tree(folder: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    walk(folder, "", &mut entries)?;
    Ok(entries)
}

fn walk(folder: &Path, prefix: &str, entries: &mut Vec<Entry>) -> Result<()> {
    let failed = |error: std::io::Error| Failure::io("read", folder, &error);
    for found in fs::read_dir(folder).map_err(failed)? {
        let path = found.map_err(failed)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(Failure(format!(
                "a name that is no text: {}",
                path.display()
            )));
        };
        let name = format!("{prefix}{name}");
        if path.is_dir() {
            walk(&path, &format!("{name}/"), entries)?;
        } else {
            entries.push(Entry::file(&name, &path)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use zip::ZipArchive;

    #[test]
    fn the_same_files_are_the_same_bytes_and_stored_ones_are_aligned() {
        let folder = std::env::temp_dir().join(format!("xtask-archive-{}", std::process::id()));
        let entries = vec![
            Entry::new("b/text", "so it is ".repeat(100)),
            Entry::new("a.so", vec![7; 5000]).stored(0x4000),
        ];
        let (one, two) = (folder.join("one.zip"), folder.join("two.zip"));
        write(&one, entries.clone()).unwrap();
        write(&two, entries.into_iter().rev().collect()).unwrap();
        let bytes = fs::read(&one).unwrap();
        assert_eq!(bytes, fs::read(&two).unwrap());

        let mut zip = ZipArchive::new(std::io::Cursor::new(&bytes)).unwrap();
        assert_eq!(zip.file_names().collect::<Vec<_>>(), ["a.so", "b/text"]);
        let stored = zip.by_name("a.so").unwrap();
        let start = stored.data_start().unwrap() as usize;
        assert_eq!(start % 0x4000, 0);
        assert_eq!(bytes[start..start + 5000], [7; 5000]);
        drop(stored);
        let mut text = String::new();
        let mut file = zip.by_name("b/text").unwrap();
        assert!(file.compressed_size() < 100);
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text.len(), 900);
        drop(file);

        let mut names: Vec<_> = tree(&folder).unwrap();
        names.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(names[0].name, "one.zip");
        assert!(tree(&folder.join("no")).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
