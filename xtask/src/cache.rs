//! Where fetched models and the tools of suites live: a folder of the user's, by the custom of each system.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::failure::{Failure, Result};

/// The system whose custom decides the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// XDG base directories.
    Unix,
    /// `~/Library/Caches`.
    MacOs,
    /// `%LOCALAPPDATA%`.
    Windows,
}

impl System {
    /// The one this program was built for.
    pub(crate) const HERE: Self = if cfg!(windows) {
        Self::Windows
    } else if cfg!(target_os = "macos") {
        Self::MacOs
    } else {
        Self::Unix
    };
}

/// The folder of fetched models. `DORMOUSE_CACHE` names it outright; otherwise it is
/// `dormouse/models` in the user's cache folder. `env` looks a variable up.
pub(crate) fn models_dir(
    system: System,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<PathBuf> {
    let set = |name: &str| {
        env(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    match set("DORMOUSE_CACHE") {
        Some(dir) => Ok(dir),
        None => Ok(user_dir(system, env)?.join("models")),
    }
}

/// The folder of tools that suites set up for themselves. Nothing in it is needed: what is missing
/// is made anew.
pub(crate) fn tools_dir(system: System, env: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    Ok(user_dir(system, env)?.join("tools"))
}

fn user_dir(system: System, env: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    let set = |name: &str| {
        env(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = match system {
        System::Windows => set("LOCALAPPDATA"),
        System::MacOs => set("HOME").map(|home| home.join("Library/Caches")),
        // The XDG specification tells readers to ignore a relative path.
        System::Unix => set("XDG_CACHE_HOME")
            .filter(|dir| dir.is_absolute())
            .or_else(|| set("HOME").map(|home| home.join(".cache"))),
    };
    base.map(|dir| dir.join("dormouse")).ok_or_else(|| {
        Failure(
            "no cache folder: neither HOME nor its like is set; name one with DORMOUSE_CACHE"
                .into(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn dir(system: System, vars: &[(&str, &str)]) -> Result<PathBuf> {
        models_dir(system, |name| {
            vars.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.into())
        })
    }

    #[test]
    fn each_system_has_its_folder() {
        let home = ("HOME", "/home/u");
        let unix = dir(System::Unix, &[home]).unwrap();
        assert_eq!(unix, Path::new("/home/u/.cache/dormouse/models"));
        let xdg = dir(System::Unix, &[home, ("XDG_CACHE_HOME", "/c")]).unwrap();
        assert_eq!(xdg, Path::new("/c/dormouse/models"));
        let mac = dir(System::MacOs, &[home, ("XDG_CACHE_HOME", "/c")]).unwrap();
        assert_eq!(mac, Path::new("/home/u/Library/Caches/dormouse/models"));
        let windows = dir(System::Windows, &[home, ("LOCALAPPDATA", "/l")]).unwrap();
        assert_eq!(windows, Path::new("/l/dormouse/models"));
    }

    #[test]
    fn an_override_wins_and_an_empty_or_relative_variable_does_not_count() {
        let all = [
            ("HOME", "/h"),
            ("XDG_CACHE_HOME", "/c"),
            ("DORMOUSE_CACHE", "/d"),
        ];
        assert_eq!(dir(System::Unix, &all).unwrap(), Path::new("/d"));
        let empty = [
            ("HOME", "/h"),
            ("XDG_CACHE_HOME", "rel"),
            ("DORMOUSE_CACHE", ""),
        ];
        assert_eq!(
            dir(System::Unix, &empty).unwrap(),
            Path::new("/h/.cache/dormouse/models")
        );
    }

    #[test]
    fn without_a_home_the_message_names_the_variable() {
        let message = dir(System::Unix, &[]).unwrap_err().to_string();
        assert!(message.contains("DORMOUSE_CACHE"), "{message}");
    }
}
