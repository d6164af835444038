//! The file of lines that were typed: one a line, `\n` and `\\` escaped, for its owner's eyes
//! only.
//!
//! The line editor could keep such a file, but locks it in a way that needs a newer Rust than we
//! promise to build with. Ours is appended to line by line, so several chats can share it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// More than this from the end of the file is not read.
const MAX_BYTES: u64 = 1 << 20;

/// The open file.
#[derive(Debug)]
pub(super) struct HistoryFile(File);

impl HistoryFile {
    /// Opens the user's file, makes it if need be, and reads its last `max` lines. None when the
    /// user has no folder for it.
    pub(super) fn open(max: usize) -> io::Result<Option<(Self, Vec<String>)>> {
        match folder(|name| std::env::var_os(name)) {
            None => Ok(None),
            Some(folder) => {
                fs::create_dir_all(&folder)?;
                Self::open_at(&folder.join("history"), max).map(Some)
            }
        }
    }

    fn open_at(path: &Path, max: usize) -> io::Result<(Self, Vec<String>)> {
        let mut file = open_private(path)?;
        let length = file.metadata()?.len();
        let start = length.saturating_sub(MAX_BYTES);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        (&mut file).take(MAX_BYTES).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        // If we began in the middle, the first line is a part of one.
        let mut lines: Vec<&str> = text.lines().skip(usize::from(start > 0)).collect();
        let too_many = lines.len().saturating_sub(max);
        lines.drain(..too_many);
        // Rewritten only now and then, as another chat may append at the same moment.
        if start > 0 || too_many > max {
            let mut kept = lines.join("\n");
            kept.push('\n');
            file.set_len(0)?;
            file.write_all(kept.as_bytes())?;
        }
        let lines = lines.into_iter().map(unescape).collect();
        Ok((Self(file), lines))
    }

    /// Adds a line at the end.
    pub(super) fn append(&mut self, line: &str) -> io::Result<()> {
        let mut line = line.replace('\\', "\\\\").replace('\n', "\\n");
        line.push('\n');
        self.0.write_all(line.as_bytes())
    }
}

fn unescape(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.as_str().starts_with('n') => {
                chars.next();
                out.push('\n');
            }
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(file)
}

/// The user's folder for what programs remember between runs.
fn folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    // A relative path would mean another file in every folder.
    let path = |name| {
        variable(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    let state = if cfg!(windows) {
        path("LOCALAPPDATA")
    } else {
        path("XDG_STATE_HOME").or_else(|| path("HOME").map(|home| home.join(".local/state")))
    };
    state.map(|state| state.join("dormouse"))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("dormouse-history-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn lines(&self, max: usize) -> Vec<String> {
            HistoryFile::open_at(&self.0.join("history"), max)
                .unwrap()
                .1
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn lines_come_back_as_they_were() {
        let folder = Folder::new("lines");
        let typed = ["one", "two\nlines", "C:\\new\\", "grüß dich \\"];
        let (mut file, before) = HistoryFile::open_at(&folder.0.join("history"), 10).unwrap();
        assert!(before.is_empty());
        // A second chat at the same time.
        let (mut other, _) = HistoryFile::open_at(&folder.0.join("history"), 10).unwrap();
        file.append(typed[0]).unwrap();
        other.append(typed[1]).unwrap();
        file.append(typed[2]).unwrap();
        other.append(typed[3]).unwrap();
        assert_eq!(folder.lines(10), typed);
        assert_eq!(folder.lines(3), typed[1..]);
    }

    #[test]
    fn the_file_does_not_grow_for_ever() {
        let folder = Folder::new("growth");
        let (mut file, _) = HistoryFile::open_at(&folder.0.join("history"), 4).unwrap();
        for number in 0..9 {
            file.append(&number.to_string()).unwrap();
        }
        assert_eq!(folder.lines(4), ["5", "6", "7", "8"]);
        assert_eq!(folder.lines(100), ["5", "6", "7", "8"]);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::new("private");
        let path = folder.0.join("history");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        folder.lines(1);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[cfg(unix)]
    #[test]
    fn the_folder_is_the_users() {
        let with = |pairs: &'static [(&str, &str)]| {
            folder(move |name| {
                let found = pairs.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| value.into())
            })
        };
        assert_eq!(
            with(&[("HOME", "/h"), ("XDG_STATE_HOME", "/s")]),
            Some("/s/dormouse".into())
        );
        assert_eq!(
            with(&[("HOME", "/h"), ("XDG_STATE_HOME", "relative")]),
            Some("/h/.local/state/dormouse".into())
        );
        assert_eq!(with(&[]), None);
    }
}
