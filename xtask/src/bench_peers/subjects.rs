//! The models that engines are compared on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::build;
use crate::failure::{Failure, Result};
use crate::fetch::{Fetcher, TempDir, only_ours_to_write, sha256, sweep};
use crate::models;
use crate::process;

/// A kind of model that has targets of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    SmolLm2,
    Gemma3,
    /// A random model of the shape of Llama 3.2 1B.
    Llama1b,
    /// Any other, without targets.
    Other,
}

impl Class {
    fn of(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default();
        if name == models::SMOLLM2.file {
            Self::SmolLm2
        } else if name == models::GEMMA3.file {
            Self::Gemma3
        } else if RANDOM.iter().any(|model| name == model.file) {
            Self::Llama1b
        } else {
            Self::Other
        }
    }
}

/// A model that a program of ours makes.
struct Made {
    file: &'static str,
    /// What the program calls its type.
    ty: &'static str,
    /// Lower-case hexadecimal SHA-256: it is the same everywhere.
    sha256: &'static str,
}

/// 16 layers, 2048 wide, 32 heads on 8, feed-forward 8192, 32000 tokens, a head of its own; see
/// `rust-core/engine/examples/llama_1b.rs`.
const RANDOM: [Made; 2] = [
    Made {
        file: "random-llama-1b-Q4_0.gguf",
        ty: "q4_0",
        sha256: "702e3aba671c9d82d23c7957d7076fa45efbd838cae700690d263ebc3750c727",
    },
    Made {
        file: "random-llama-1b-Q4_K.gguf",
        ty: "q4_k",
        sha256: "bc1c4daca25b48573d3b535514ad151a1e38a1d04feaa22150d5deb98afcdb29",
    },
];

/// A model to measure on.
#[derive(Debug, PartialEq)]
pub(crate) struct Subject {
    pub(crate) path: PathBuf,
    /// For the report.
    pub(crate) name: String,
    pub(crate) class: Class,
}

/// The files named, or else all that have targets, fetched or made where they are missing.
///
/// # Errors
/// If a file is not there or cannot be had.
pub(crate) fn subjects(named: &[PathBuf]) -> Result<Vec<Subject>> {
    // Said before the build, which may take minutes.
    if let Some(file) = named.iter().find(|file| !file.is_file()) {
        return Err(Failure(format!("there is no file {}", file.display())));
    }
    let files = if named.is_empty() {
        let fetcher = Fetcher::from_env()?;
        let real = [&models::SMOLLM2, &models::GEMMA3];
        let real = real.into_iter().map(|model| fetcher.model(model));
        let made = RANDOM.iter().map(|model| make(&fetcher.folder, model));
        real.chain(made).collect::<Result<Vec<_>>>()?
    } else {
        named.to_vec()
    };
    let names = names(&files);
    let subject = |(path, name): (PathBuf, String)| Subject {
        class: Class::of(&path),
        path,
        name,
    };
    Ok(files.into_iter().zip(names).map(subject).collect())
}

/// The path of a model whose content was checked, made if it is not there.
fn make(folder: &Path, model: &Made) -> Result<PathBuf> {
    let path = folder.join(model.file);
    match sha256(&path) {
        Ok(digest) if digest == model.sha256 => return Ok(path),
        Ok(_) => eprintln!("{} is damaged: making it again", path.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Failure::io("read", &path, &error)),
    }
    fs::create_dir_all(folder).map_err(|error| Failure::io("create", folder, &error))?;
    let program = build::example("dormouse", "llama_1b")?;
    sweep(folder);
    let temp = TempDir::new(folder)?;
    let part = temp.path().join(model.file);
    process::run(Command::new(program).arg(model.ty).arg(&part))?;
    check(&part, model)?;
    fs::rename(&part, &path).map_err(|error| Failure::io("create", &path, &error))?;
    Ok(path)
}

fn check(part: &Path, model: &Made) -> Result<()> {
    let digest = sha256(part).map_err(|error| Failure::io("read", part, &error))?;
    if digest != model.sha256 {
        return Err(Failure(format!(
            "the program llama_1b made another {} than expected (sha256 {digest}, expected {})",
            model.file, model.sha256
        )));
    }
    only_ours_to_write(part).map_err(|error| Failure::io("change the mode of", part, &error))
}

/// A name for each file: the last part of its path, or all of it where that is not unique.
fn names(files: &[PathBuf]) -> Vec<String> {
    let same = |file: &&PathBuf, other: &&PathBuf| file.file_name() == other.file_name();
    files
        .iter()
        .map(|file| {
            let unique = files.iter().filter(|other| same(&file, other)).count() == 1;
            let short = file.file_name().filter(|_| unique).map(Path::new);
            short.unwrap_or(file).display().to_string()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_is_not_there_is_named_before_anything_is_built() {
        let message = subjects(&["no/such.gguf".into()]).unwrap_err().to_string();
        assert_eq!(message, "there is no file no/such.gguf");
    }

    #[test]
    fn files_go_by_their_last_part_unless_two_share_it() {
        let files = ["a/x.gguf", "b/x.gguf", "b/y.gguf"].map(PathBuf::from);
        assert_eq!(names(&files), ["a/x.gguf", "b/x.gguf", "y.gguf"]);
    }

    #[test]
    fn a_known_file_has_its_class_wherever_it_lies() {
        let class = |name: &str| Class::of(&Path::new("/some/where").join(name));
        assert_eq!(class(models::SMOLLM2.file), Class::SmolLm2);
        assert_eq!(class(models::GEMMA3.file), Class::Gemma3);
        assert_eq!(class("random-llama-1b-Q4_K.gguf"), Class::Llama1b);
        assert_eq!(class("mine.gguf"), Class::Other);
    }
}
