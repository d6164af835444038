//! Fetching files out of a source package: what its program was tested with, which is not ours to
//! commit. Each group of members lies in a folder of its own in the cache, which gets its name
//! when all of it is there.

use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};
use crate::fetch::{Fetcher, TempDir, hex, only_file, sha256, sweep};
use crate::process;

/// A source package and what is taken from it.
#[derive(Debug)]
pub(crate) struct Sdist {
    /// A package on the index, and its version.
    pub(crate) package: &'static str,
    pub(crate) version: &'static str,
    /// Lower-case hexadecimal SHA-256 of the archive.
    pub(crate) sha256: &'static str,
    pub(crate) groups: &'static [Group],
}

/// Members that lie together.
#[derive(Debug)]
pub(crate) struct Group {
    /// Their folder's name in the cache.
    pub(crate) folder: &'static str,
    /// The folder that they are in, below the archive's one folder.
    pub(crate) from: &'static str,
    /// How their names begin.
    pub(crate) prefix: &'static str,
    /// How they end: one of these.
    pub(crate) suffixes: &'static [&'static str],
    /// Lower-case hexadecimal SHA-256 of the lines that `sha256sum *` prints in their folder.
    pub(crate) sha256: &'static str,
}

/// The tests of llama.cpp, whose sources come with its Python package.
pub(crate) const LLAMA_CPP: Sdist = Sdist {
    package: "llama-cpp-python",
    version: "0.3.36",
    sha256: "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e",
    groups: &[
        // Chat templates of models.
        Group {
            folder: "llama.cpp-templates",
            from: "vendor/llama.cpp/models/templates",
            prefix: "",
            suffixes: &[".jinja"],
            sha256: "17f129a359ec13d82f8206464cfe457355ebc284f66568ebf3056236ef794ca3",
        },
        // Models without tensors, with the cases of the tokenizer tests.
        Group {
            folder: "vocabularies",
            from: "vendor/llama.cpp/models",
            prefix: "ggml-vocab-",
            suffixes: &[".gguf", ".inp", ".out"],
            sha256: "f94989e10403d3109c67b3386af1cd349e370248be6b65d37e9cf4265ec94eda",
        },
    ],
};

/// Copies the members of sdist argv[1] in folder argv[3] whose name begins with argv[4] and ends with
/// one of argv[5:] into folder argv[2].
const UNTAR: &str = "\
import os, shutil, sys, tarfile
archive, target, wanted, prefix, *suffixes = sys.argv[1:]
with tarfile.open(archive) as sdist:
    for member in sdist:
        folder, name = os.path.split(member.name.partition('/')[2])
        if member.isfile() and folder == wanted and name.startswith(prefix) and name.endswith(tuple(suffixes)):
            with sdist.extractfile(member) as source, open(os.path.join(target, name), 'xb') as copy:
                shutil.copyfileobj(source, copy)
";

/// Copies all files of sdist argv[1] below folder argv[3] into folder argv[2].
const UNTAR_TREE: &str = "\
import os, shutil, sys, tarfile
archive, target, wanted = sys.argv[1:]
found = 0
with tarfile.open(archive) as sdist:
    for member in sdist:
        path = member.name.partition('/')[2]
        if not member.isfile() or not path.startswith(wanted + '/'):
            continue
        path = path[len(wanted) + 1:]
        if '..' in path.split('/'):
            sys.exit(f'{member.name} lies outside')
        path = os.path.join(target, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with sdist.extractfile(member) as source, open(path, 'xb') as copy:
            shutil.copyfileobj(source, copy)
        found += 1
if not found:
    sys.exit(f'nothing is in {wanted}')
";

impl Fetcher {
    /// Takes all files below `from` out of a source package into the new folder `into`, which gets its
    /// name when all of them are there. The archive was checked before.
    pub(crate) fn tree(&self, sdist: &Sdist, from: &str, into: &Path) -> Result<()> {
        self.check_python()?;
        let parent = into.parent().unwrap_or(into);
        fs::create_dir_all(parent).map_err(|error| Failure::io("create", parent, &error))?;
        sweep(parent);
        let temp = TempDir::new(parent)?;
        eprintln!(
            "fetching the sources in {} {} into {}",
            sdist.package,
            sdist.version,
            parent.display()
        );
        let archive = self.archive(sdist, &temp)?;
        self.untar_tree(&archive, from, &temp, into)
    }

    fn untar_tree(&self, archive: &Path, from: &str, temp: &TempDir, into: &Path) -> Result<()> {
        let folder = temp.path().join("tree");
        fs::create_dir_all(&folder).map_err(|error| Failure::io("create", &folder, &error))?;
        process::run(
            self.python()
                .args(["-c", UNTAR_TREE])
                .args([archive, folder.as_path()])
                .arg(from),
        )
        .map_err(|_| {
            Failure(format!(
                "{} cannot be unpacked (python's message is above); nothing was kept",
                archive.display()
            ))
        })?;
        fs::rename(&folder, into).map_err(|error| Failure::io("create", into, &error))
    }

    /// Makes sure that every group of a source package is in the cache; gives the folder in which
    /// their folders are. The archive was checked before anything was taken out of it.
    pub(crate) fn sdist(&self, sdist: &Sdist) -> Result<PathBuf> {
        sweep(&self.folder);
        let mut missing = Vec::new();
        for group in sdist.groups {
            if !self.has(group)? {
                missing.push(group);
            }
        }
        if missing.is_empty() {
            return Ok(self.folder.clone());
        }
        self.check_python()?;
        fs::create_dir_all(&self.folder)
            .map_err(|error| Failure::io("create", &self.folder, &error))?;
        let temp = TempDir::new(&self.folder)?;
        eprintln!(
            "fetching what llama.cpp is tested with into {}",
            self.folder.display()
        );
        let archive = self.archive(sdist, &temp)?;
        for group in missing {
            self.group(group, &archive, &temp)?;
        }
        Ok(self.folder.clone())
    }

    /// Whether a group is there, whole and as it should be.
    fn has(&self, group: &Group) -> Result<bool> {
        let folder = self.folder.join(group.folder);
        Ok(folder.is_dir() && digest(&folder)? == group.sha256)
    }

    fn archive(&self, sdist: &Sdist, temp: &TempDir) -> Result<PathBuf> {
        let folder = temp.path().join("sdist");
        let pinned = format!("{}=={}", sdist.package, sdist.version);
        // pip reads the metadata of a source package by its build tool, which it gets as a wheel.
        process::run(
            self.python()
                .args(["-m", "pip", "download", "--no-deps", "--no-cache-dir"])
                .arg(format!("--no-binary={}", sdist.package))
                .args(["--disable-pip-version-check", "--dest"])
                .arg(&folder)
                .arg(&pinned),
        )
        .map_err(|_| {
            Failure(format!(
                "pip could not download the sources of {pinned} (its own message is above): is the network up?"
            ))
        })?;
        let archive = only_file(&folder)?;
        let digest = sha256(&archive).map_err(|error| Failure::io("read", &archive, &error))?;
        if digest != sdist.sha256 {
            return Err(Failure(format!(
                "the sources of {pinned} are not the expected file (sha256 {digest}, expected {}); nothing was kept",
                sdist.sha256
            )));
        }
        Ok(archive)
    }

    /// Takes a group out of the archive and gives its folder its name.
    fn group(&self, group: &Group, archive: &Path, temp: &TempDir) -> Result<()> {
        let folder = temp.path().join(group.folder);
        fs::create_dir_all(&folder).map_err(|error| Failure::io("create", &folder, &error))?;
        process::run(
            self.python()
                .args(["-c", UNTAR])
                .args([archive, folder.as_path()])
                .args([group.from, group.prefix])
                .args(group.suffixes),
        )
        .map_err(|_| {
            Failure(format!(
                "{} cannot be unpacked (python's message is above); nothing was kept",
                archive.display()
            ))
        })?;
        let found = digest(&folder)?;
        if found != group.sha256 {
            return Err(Failure(format!(
                "the files {}/{}* in {} are not the expected ones (sha256 {found}, expected {}); nothing was kept",
                group.from,
                group.prefix,
                archive.display(),
                group.sha256
            )));
        }
        let path = self.folder.join(group.folder);
        if path.exists() {
            fs::remove_dir_all(&path).map_err(|error| Failure::io("remove", &path, &error))?;
        }
        match fs::rename(&folder, &path) {
            // Another run was faster.
            Err(_) if self.has(group)? => Ok(()),
            renamed => renamed.map_err(|error| Failure::io("create", &path, &error)),
        }
    }
}

/// One SHA-256 for a folder of files: that of the lines `sha256sum *` prints.
fn digest(folder: &Path) -> Result<String> {
    let read = |error| Failure::io("read", folder, &error);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        files.push(entry.map_err(read)?.path());
    }
    files.sort();
    let mut hasher = Sha256::new();
    for file in files {
        let one = sha256(&file).map_err(|error| Failure::io("read", &file, &error))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        hasher.update(format!("{one}  {name}\n"));
    }
    Ok(hex(&hasher.finalize()))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const TOYS: &str = "f75bb2288d6667f18b332a8d42554b0eeb7d882260d545b56e0e9b344071f64a";

    /// An archive made here, of files whose content is their path.
    fn archive(temp: &TempDir) -> PathBuf {
        let source = temp.path().join("toy-1");
        fs::create_dir_all(source.join("a/deep")).unwrap();
        for name in [
            "a/x.jinja",
            "a/y.jinja",
            "a/z.txt",
            "a/deep/w.jinja",
            "v.jinja",
        ] {
            fs::write(source.join(name), name).unwrap();
        }
        let archive = temp.path().join("toy-1.tar.gz");
        process::run(
            std::process::Command::new("tar")
                .args(["-czf", "toy-1.tar.gz", "toy-1"])
                .current_dir(temp.path()),
        )
        .unwrap();
        archive
    }

    /// The real `tarfile`.
    #[test]
    fn a_tree_is_taken_out_whole_and_a_wrong_one_leaves_nothing() {
        let temp = TempDir::new(&std::env::temp_dir()).unwrap();
        let archive = archive(&temp);
        let fetcher = Fetcher {
            folder: temp.path().join("cache"),
            python: "python3".into(),
        };
        let into = temp.path().join("tools");
        fetcher.untar_tree(&archive, "a", &temp, &into).unwrap();
        for name in ["x.jinja", "z.txt", "deep/w.jinja"] {
            let text = fs::read_to_string(into.join(name)).unwrap();
            assert_eq!(text, format!("a/{name}"));
        }
        assert!(!into.join("v.jinja").exists());
        let other = temp.path().join("other");
        fs::remove_dir_all(temp.path().join("tree")).ok();
        let message = fetcher.untar_tree(&archive, "b", &temp, &other);
        let message = message.unwrap_err().to_string();
        assert!(message.contains("cannot be unpacked"), "{message}");
        assert!(!other.exists());
    }

    #[test]
    fn the_members_of_a_group_are_taken_out_and_a_wrong_archive_leaves_nothing() {
        let temp = TempDir::new(&std::env::temp_dir()).unwrap();
        let archive = archive(&temp);
        let group = Group {
            folder: "toys",
            from: "a",
            prefix: "",
            suffixes: &[".jinja"],
            // sha256sum of `x.jinja` and `y.jinja`, whose content is their path.
            sha256: TOYS,
        };
        let fetcher = Fetcher {
            folder: temp.path().join("cache"),
            python: "python3".into(),
        };
        fs::create_dir_all(&fetcher.folder).unwrap();
        fetcher.group(&group, &archive, &temp).unwrap();
        let toys = fetcher.folder.join("toys");
        assert_eq!(
            fs::read_to_string(toys.join("x.jinja")).unwrap(),
            "a/x.jinja"
        );
        assert_eq!(fs::read_dir(&toys).unwrap().count(), 2);
        assert!(fetcher.has(&group).unwrap());
        fs::write(toys.join("x.jinja"), "damaged").unwrap();
        assert!(!fetcher.has(&group).unwrap());

        let other = Group {
            folder: "others",
            prefix: "x",
            ..group
        };
        let message = fetcher
            .group(&other, &archive, &temp)
            .unwrap_err()
            .to_string();
        assert!(message.contains("the files a/x* in"), "{message}");
        assert!(!fetcher.folder.join("others").exists());
    }
}
