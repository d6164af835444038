//! Writing a file so that its place has the old content or the new, whatever happens meanwhile.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Names that are tried for the new file: those of processes that were killed may be in the way.
const TRIES: usize = 100;

/// A file beside the saved one that nobody has written to for so long belongs to a process that was
/// killed: writing one takes seconds.
const STALE: Duration = Duration::from_secs(3600);

/// Writes a new file beside `path`, for the owner's eyes only, makes sure that it is on the disk, and
/// puts it in its place. A device (`/dev/null`) is written to where it is, and so is the file that a
/// link leads to. `commit` is asked last, when all but that is done, and for a device before anything
/// is written; where it says no, nothing is changed, and false is returned. What earlier processes left beside it when they were killed is removed after an hour.
pub(super) fn replace(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
    commit: impl FnOnce() -> bool,
) -> io::Result<bool> {
    if is_device(path) {
        let mut device = OpenOptions::new().write(true).open(path)?;
        if !commit() {
            return Ok(false);
        }
        return write(&mut device).map(|()| true);
    }
    let is_link = fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
    let path = &match fs::canonicalize(path) {
        Ok(target) if is_link => target,
        // A link to nowhere is replaced.
        _ => path.to_owned(),
    };
    remove_stale(path);
    let (beside, mut file) = create_beside(path)?;
    let result = write(&mut file)
        .and_then(|()| file.sync_all())
        .and_then(|()| {
            drop(file);
            if !commit() {
                return Ok(false);
            }
            fs::rename(&beside, path).map(|()| true)
        });
    if !matches!(result, Ok(true)) {
        let _ = fs::remove_file(&beside);
    }
    result
}

#[cfg(unix)]
fn is_device(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    fs::metadata(path).is_ok_and(|found| found.file_type().is_char_device())
}

#[cfg(not(unix))]
fn is_device(_: &Path) -> bool {
    false
}

/// Whether `beside` is what [`create_beside`] calls a new file for one of the name `name`.
fn is_beside(beside: &str, name: &str) -> bool {
    let numbers = beside
        .strip_prefix('.')
        .and_then(|rest| rest.strip_prefix(name))
        .and_then(|rest| rest.strip_prefix('.'))
        .and_then(|rest| rest.strip_suffix(".tmp"))
        .and_then(|numbers| numbers.split_once('-'));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    numbers.is_some_and(|(process, count)| is_number(process) && is_number(count))
}

/// Removes what killed processes left of this file. Not more than tidiness, so nothing that fails
/// here is an error.
fn remove_stale(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str()))
    else {
        return;
    };
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let ours = entry
            .file_name()
            .to_str()
            .is_some_and(|n| is_beside(n, name));
        let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        if ours && age().is_some_and(|age| age > STALE) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A file that was not there before, so that neither another save nor a link put there is written to.
fn create_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"))?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
    for _ in 0..TRIES {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}-{count}.tmp", std::process::id()));
        let beside = path.with_file_name(hidden);
        match options.open(&beside) {
            Ok(file) => return Ok((beside, file)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => last = e,
            Err(e) => return Err(e),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("dormouse-replace-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn names(&self) -> Vec<OsString> {
            let entries = fs::read_dir(&self.0).unwrap();
            entries.map(|entry| entry.unwrap().file_name()).collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn write(path: &Path, bytes: &[u8]) -> io::Result<bool> {
        replace(path, |file| file.write_all(bytes), || true)
    }

    #[test]
    fn a_write_that_is_given_up_last_leaves_the_old_content_and_nothing_else() {
        let folder = Folder::new("given-up");
        let path = folder.0.join("file");
        write(&path, b"old").unwrap();
        let mut content = Vec::new();
        let done = replace(
            &path,
            |file| file.write_all(b"new"),
            || {
                content = fs::read(&path).unwrap();
                false
            },
        );
        assert!(!done.unwrap());
        assert_eq!(content, b"old");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(folder.names(), ["file"]);
        assert!(write(&path, b"new").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_content_and_nothing_else() {
        let folder = Folder::new("fails");
        let path = folder.0.join("file");
        write(&path, b"old").unwrap();
        let error = replace(
            &path,
            |file| {
                file.write_all(b"half of the n")?;
                Err(io::Error::from(io::ErrorKind::StorageFull))
            },
            || true,
        );
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(folder.names(), ["file"]);
    }

    #[test]
    fn many_may_write_one_file_at_once() {
        let folder = Folder::new("many");
        let path = folder.0.join("file");
        std::thread::scope(|scope| {
            for thread in 0..8u8 {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..20 {
                        write(path, &[b'a' + thread; 10_000]).unwrap();
                    }
                });
            }
        });
        let content = fs::read(&path).unwrap();
        assert_eq!(content, [content[0]; 10_000]);
        assert_eq!(folder.names(), ["file"]);
    }

    #[test]
    fn what_was_left_behind_is_removed_once_it_is_old() {
        let folder = Folder::new("stale");
        let path = folder.0.join("file");
        let old = std::time::SystemTime::now() - 2 * STALE;
        for (name, is_old) in [
            (".file.17-0.tmp", true),
            (".file.17-1.tmp", false),
            (".file.2.17-0.tmp", true),
            (".file.x-0.tmp", true),
            ("file.17-0.tmp", true),
        ] {
            let file = File::create(folder.0.join(name)).unwrap();
            if is_old {
                file.set_modified(old).unwrap();
            }
        }
        write(&path, b"new").unwrap();
        let mut names = folder.names();
        names.sort();
        let left = [
            ".file.17-1.tmp",
            ".file.2.17-0.tmp",
            ".file.x-0.tmp",
            "file",
            "file.17-0.tmp",
        ];
        assert_eq!(names, left);
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_and_lead_to_the_new_content() {
        let folder = Folder::new("link");
        let (there, link) = (folder.0.join("there"), folder.0.join("link"));
        fs::create_dir(&there).unwrap();
        fs::write(there.join("file"), b"old").unwrap();
        std::os::unix::fs::symlink("there/file", &link).unwrap();
        write(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(there.join("file")).unwrap(), b"new");

        let nowhere = folder.0.join("nowhere");
        std::os::unix::fs::symlink("not there", &nowhere).unwrap();
        write(&nowhere, b"new").unwrap();
        assert_eq!(fs::read(&nowhere).unwrap(), b"new");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn devices_stay_what_they_are() {
        write(Path::new("/dev/null"), b"x").unwrap();
        assert!(is_device(Path::new("/dev/null")));
        let full = write(Path::new("/dev/full"), b"x");
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(is_device(Path::new("/dev/full")));
    }
}
