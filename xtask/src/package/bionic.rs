//! The names of Android's C library that ours may use (`android/link/bionic-26.txt`): what the
//! artefact is checked against and, where there is no NDK, what it is linked against.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::failure::{Failure, Result};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Function,
    Data,
}

/// The reviewed libraries and their names.
#[derive(Debug)]
pub(crate) struct Bionic(BTreeMap<String, BTreeMap<String, Kind>>);

impl Bionic {
    /// Reads the committed list.
    ///
    /// # Errors
    /// If it cannot be read, or a line of it.
    pub(crate) fn committed(root: &Path) -> Result<Self> {
        let path = root.join("android/link/bionic-26.txt");
        let text = fs::read_to_string(&path).map_err(|error| Failure::io("read", &path, &error))?;
        Self::parse(&text)
    }

    /// Reads lines of `library symbol` or `library symbol data`; `#` starts a comment.
    ///
    /// # Errors
    /// If a line is neither.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut libraries: BTreeMap<String, BTreeMap<String, Kind>> = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (library, symbol, kind) = match words[..] {
                [] => continue,
                [first, ..] if first.starts_with('#') => continue,
                [library, symbol] => (library, symbol, Kind::Function),
                [library, symbol, "data"] => (library, symbol, Kind::Data),
                _ => {
                    let number = index + 1;
                    return Err(Failure(format!(
                        "the list of bionic's names is broken in line {number}: {line}"
                    )));
                }
            };
            let names = libraries.entry(library.to_owned()).or_default();
            names.insert(symbol.to_owned(), kind);
        }
        Ok(Self(libraries))
    }

    /// Whether it knows a library, by file name.
    pub(crate) fn has_library(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether one of its libraries has a name.
    pub(crate) fn has_symbol(&self, name: &str) -> bool {
        self.0.values().any(|names| names.contains_key(name))
    }

    /// A library of empty functions for each, as assembly, for a linker to resolve names in.
    pub(crate) fn stubs(&self) -> Vec<(&str, String)> {
        let stub = |names: &BTreeMap<String, Kind>| {
            let mut text = String::new();
            for (name, kind) in names {
                let (section, kind) = match kind {
                    Kind::Function => (".text", "@function"),
                    Kind::Data => (".data", "@object"),
                };
                // Writing to a String cannot fail.
                let _ = writeln!(
                    text,
                    "{section}\n.globl {name}\n.type {name}, {kind}\n{name}: .quad 0\n.size {name}, 8"
                );
            }
            text
        };
        let libraries = self.0.iter();
        libraries
            .map(|(library, names)| (library.as_str(), stub(names)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process;

    #[test]
    fn the_committed_list_has_the_four_libraries() {
        let bionic = Bionic::committed(&process::root()).unwrap();
        let libraries: Vec<&str> = bionic.stubs().iter().map(|(name, _)| *name).collect();
        assert_eq!(libraries, ["libc.so", "libdl.so", "liblog.so", "libm.so"]);
        assert!(bionic.has_symbol("pthread_create") && !bionic.has_symbol("getrandom"));
    }

    #[test]
    fn a_stub_defines_each_name_as_what_it_is() {
        let bionic = Bionic::parse("# names\nlibc.so free\n\nlibc.so stderr data\n").unwrap();
        let [(name, text)] = &bionic.stubs()[..] else {
            panic!("one library");
        };
        assert_eq!(*name, "libc.so");
        assert!(text.contains(".type free, @function") && text.contains(".type stderr, @object"));
        assert!(bionic.has_library("libc.so") && !bionic.has_library("libc.so.6"));
    }

    #[test]
    fn a_broken_line_is_named() {
        let message = Bionic::parse("libc.so free\nlibc.so\n")
            .unwrap_err()
            .to_string();
        assert!(message.contains("line 2: libc.so"), "{message}");
    }
}
