//! Getting tools on Debian: as root they are installed, and what runs is shown; otherwise the
//! message names them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::failure::{Failure, Result};
use crate::process;

/// Whether packages are installed without being asked to: as [`can_install`], and on Debian itself,
/// as what is set up there does not all work on its relatives.
pub(crate) fn installs_unasked() -> bool {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    can_install() && names_debian(&release)
}

/// Whether an os-release file (freedesktop.org's format) is that of Debian.
fn names_debian(release: &str) -> bool {
    release
        .lines()
        .filter_map(|line| line.trim().strip_prefix("ID="))
        .any(|id| id.trim_matches('"') == "debian")
}

/// Whether packages can be installed: this is Debian or a relative, and we are root.
fn can_install() -> bool {
    let debian = Path::new("/etc/debian_version").is_file();
    let user = Command::new("id").arg("-u").output();
    debian && user.is_ok_and(|output| output.stdout == b"0\n")
}

/// Another process of the machine may hold apt's lock for a while.
fn apt_get(words: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-q", "-o", "DPkg::Lock::Timeout=300"])
        .args(words);
    command
}

/// Installs packages.
///
/// # Errors
/// If this is not Debian or we are not root (the message then says what to type), or apt fails.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let words = [&["install", "-y", "--no-install-recommends"], packages].concat();
    if !can_install() {
        return Err(Failure(format!(
            "on Debian 12, as root: apt-get {}",
            words.join(" ")
        )));
    }
    // The lists may be old, or not there at all.
    if process::run(&mut apt_get(&words)).is_err() {
        process::run(&mut apt_get(&["update"]))?;
        process::run(&mut apt_get(&words))?;
    }
    Ok(())
}

/// Unpacks a package of another architecture in a folder, without installing it.
///
/// # Errors
/// If this is not Debian or we are not root, or apt fails.
pub(crate) fn unpack(package: &str, architecture: &str, folder: &Path) -> Result<()> {
    if !can_install() {
        return Err(Failure(format!(
            "{package} for {architecture} can be had on Debian 12, as root, alone"
        )));
    }
    let known = |option: &str| {
        let output = Command::new("dpkg").arg(option).output();
        output.is_ok_and(|output| {
            let known = String::from_utf8_lossy(&output.stdout).into_owned();
            known.lines().any(|line| line == architecture)
        })
    };
    if !known("--print-architecture") && !known("--print-foreign-architectures") {
        process::run(Command::new("dpkg").args(["--add-architecture", architecture]))?;
        process::run(&mut apt_get(&["update"]))?;
    }
    fs::create_dir_all(folder).map_err(|error| Failure::io("create", folder, &error))?;
    let name = format!("{package}:{architecture}");
    process::run(apt_get(&["download", &name]).current_dir(folder))?;
    let archive = fs::read_dir(folder)
        .map_err(|error| Failure::io("read", folder, &error))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|ext| ext == "deb"))
        .ok_or_else(|| Failure(format!("apt-get left no archive of {name}")))?;
    process::run(Command::new("dpkg").arg("-x").arg(&archive).arg(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_is_told_from_its_relatives() {
        assert!(names_debian(
            "PRETTY_NAME=\"Debian\"\nID=debian\nVERSION_ID=\"12\"\n"
        ));
        assert!(names_debian("ID=\"debian\""));
        assert!(!names_debian("ID=ubuntu\nID_LIKE=debian\n"));
        assert!(!names_debian("VERSION_ID=debian\n"));
        assert!(!names_debian(""));
    }
}
