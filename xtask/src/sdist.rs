//! Fetching files out of a source package: what its program was tested with, which is not ours to
//! commit. Each group of members lies in a folder of its own in the cache, which gets its name
//! when all of it is there.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};
use crate::fetch::{Fetcher, TempDir, only_file, sha256, sweep};
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
    /// How their paths begin, below the archive's one folder. What is left has no further folder.
    pub(crate) prefix: &'static str,
    /// How they end: one of these.
    pub(crate) suffixes: &'static [&'static str],
    /// How many there are.
    pub(crate) count: usize,
}

/// The tests of llama.cpp, whose sources come with its Python package.
pub(crate) const LLAMA_CPP: Sdist = Sdist {
    package: "llama-cpp-python",
    version: "0.3.36",
    sha256: "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e",
    groups: &[Group {
        folder: "llama.cpp-templates",
        prefix: "vendor/llama.cpp/models/templates/",
        suffixes: &[".jinja"],
        count: 70,
    }],
};

/// Copies the members of sdist argv[1] whose path begins with argv[3] and ends with one of
/// argv[4:] into folder argv[2].
const UNTAR: &str = "\
import os, shutil, sys, tarfile
archive, folder, prefix, *suffixes = sys.argv[1:]
with tarfile.open(archive) as sdist:
    for member in sdist:
        path = member.name.partition('/')[2]
        name = path[len(prefix):]
        if member.isfile() and path.startswith(prefix) and path.endswith(tuple(suffixes)) and '/' not in name:
            with sdist.extractfile(member) as source, open(os.path.join(folder, name), 'xb') as target:
                shutil.copyfileobj(source, target)
";

impl Fetcher {
    /// Makes sure that every group of a source package is in the cache; gives the folder in which
    /// their folders are. The archive was checked before anything was taken out of it.
    pub(crate) fn sdist(&self, sdist: &Sdist) -> Result<PathBuf> {
        sweep(&self.folder);
        let missing: Vec<&Group> = sdist
            .groups
            .iter()
            .filter(|group| files_in(&self.folder.join(group.folder)) != Some(group.count))
            .collect();
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

    fn archive(&self, sdist: &Sdist, temp: &TempDir) -> Result<PathBuf> {
        let folder = temp.0.join("sdist");
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
        let folder = temp.0.join(group.folder);
        fs::create_dir_all(&folder).map_err(|error| Failure::io("create", &folder, &error))?;
        process::run(
            self.python()
                .args(["-c", UNTAR])
                .args([archive, folder.as_path()])
                .arg(group.prefix)
                .args(group.suffixes),
        )
        .map_err(|_| {
            Failure(format!(
                "{} cannot be unpacked (python's message is above); nothing was kept",
                archive.display()
            ))
        })?;
        let found = files_in(&folder).unwrap_or(0);
        if found != group.count {
            return Err(Failure(format!(
                "{} has {found} files {}*, not {}",
                archive.display(),
                group.prefix,
                group.count
            )));
        }
        let path = self.folder.join(group.folder);
        if path.exists() {
            fs::remove_dir_all(&path).map_err(|error| Failure::io("remove", &path, &error))?;
        }
        match fs::rename(&folder, &path) {
            // Another run was faster.
            Err(_) if files_in(&path) == Some(group.count) => Ok(()),
            renamed => renamed.map_err(|error| Failure::io("create", &path, &error)),
        }
    }
}

/// How many files are in a folder, if it is there.
fn files_in(folder: &Path) -> Option<usize> {
    Some(fs::read_dir(folder).ok()?.flatten().count())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// The real `tarfile`, on an archive made here; pip is played by a script that copies it.
    #[test]
    fn the_members_of_a_group_are_taken_out_and_a_wrong_archive_leaves_nothing() {
        let temp = TempDir::new(&std::env::temp_dir()).unwrap();
        let source = temp.0.join("toy-1");
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
        let archive = temp.0.join("toy-1.tar.gz");
        process::run(
            std::process::Command::new("tar")
                .args(["-czf", "toy-1.tar.gz", "toy-1"])
                .current_dir(&temp.0),
        )
        .unwrap();
        let group = Group {
            folder: "toys",
            prefix: "a/",
            suffixes: &[".jinja"],
            count: 2,
        };
        let fetcher = Fetcher {
            folder: temp.0.join("cache"),
            python: "python3".into(),
        };
        fs::create_dir_all(&fetcher.folder).unwrap();
        fetcher.group(&group, &archive, &temp).unwrap();
        let toys = fetcher.folder.join("toys");
        assert_eq!(
            fs::read_to_string(toys.join("x.jinja")).unwrap(),
            "a/x.jinja"
        );
        assert_eq!(files_in(&toys), Some(2));

        let other = Group {
            folder: "others",
            count: 3,
            ..group
        };
        let message = fetcher
            .group(&other, &archive, &temp)
            .unwrap_err()
            .to_string();
        assert!(message.contains("2 files a/*, not 3"), "{message}");
        assert!(!fetcher.folder.join("others").exists());
    }
}
