//! How a model file's bytes are reached, and who else could change them.

use std::fs::Metadata;

/// How a model file's bytes are reached.
///
/// A mapped file costs no memory that the system could not take back, but it must not be cut short
/// while it is mapped: the system ends a process that touches a page which is no longer there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FileAccess {
    /// Mapped where no other user can write the file, read in elsewhere. On Android that is
    /// mapped: the app's own files and what is stored in its package; read in: shared storage and
    /// most of what content URIs name. Files of the app's own user that another app of the same
    /// user changes cannot be told; iOS has such in its document providers.
    #[default]
    Auto,
    /// Mapped, whoever can write it: the caller answers for nobody cutting it short.
    Map,
    /// Read in: as much memory as the file is long, and none of it can be dropped. Whatever becomes
    /// of the file, the model stays as it was.
    ReadIn,
}

impl FileAccess {
    /// Whether a file is mapped.
    pub(super) fn maps(self, file: &Metadata) -> bool {
        match self {
            Self::Auto => !others_can_write(file),
            Self::Map => true,
            Self::ReadIn => false,
        }
    }
}

/// Whether the file's owner or mode let another user than this process's write it. The system's own
/// user is none: it can do worse.
#[cfg(unix)]
fn others_can_write(file: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    // SAFETY: takes nothing, changes nothing, and cannot fail.
    let user = unsafe { libc::geteuid() };
    writable_by_others(user, file.uid(), file.gid(), file.mode())
}

/// A mapped file cannot be cut short where there are no such modes.
#[cfg(not(unix))]
fn others_can_write(_: &Metadata) -> bool {
    false
}

#[cfg(unix)]
fn writable_by_others(user: u32, owner: u32, group: u32, mode: u32) -> bool {
    const GROUP_WRITES: u32 = 0o020;
    const ALL_WRITE: u32 = 0o002;
    let trusted = owner == user || owner == 0 || (cfg!(target_os = "android") && owner == ANDROID);
    // A group with the user's own number is the user's alone, by the custom of Linux distributions
    // and of Android.
    let by_group = mode & GROUP_WRITES != 0 && group != user;
    !trusted || by_group || mode & ALL_WRITE != 0
}

/// The user that Android itself runs as, and that owns the packages it has installed.
#[cfg(unix)]
const ANDROID: u32 = 1000;

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn who_can_write_a_file_is_told_from_owner_and_mode() {
        let me = 10_123;
        for (owner, group, mode, others) in [
            (me, me, 0o600, false),
            (me, me, 0o644, false),
            (me, me, 0o664, false),
            (me, 100, 0o664, true),
            (me, me, 0o666, true),
            (0, 0, 0o644, false),
            (0, 0, 0o664, true),
            (0, 9997, 0o660, true),
            (10_124, 10_124, 0o644, true),
            (10_124, 10_124, 0o444, true),
        ] {
            let found = writable_by_others(me, owner, group, mode);
            assert_eq!(found, others, "{owner} {group} {mode:o}");
        }
        // An installed package on Android; another person's file elsewhere.
        let package = writable_by_others(me, 1000, 1000, 0o644);
        assert_eq!(package, !cfg!(target_os = "android"));
    }
}
