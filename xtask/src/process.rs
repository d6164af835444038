//! Running other programs, and saying so.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::failure::{Failure, Result};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

/// The cargo that runs us, or the one on the path.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// A command as one would type it, with the environment that was set for it.
pub(crate) fn show(command: &Command) -> String {
    let quote = |word: &OsStr| {
        let word = word.to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word.into_owned()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    let program = Path::new(command.get_program());
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            words.push(format!("{}={}", name.to_string_lossy(), quote(value)));
        }
    }
    // A toolchain's full path says nothing to the reader.
    words.push(quote(program.file_name().unwrap_or(program.as_os_str())));
    words.extend(command.get_args().map(quote));
    words.join(" ")
}

/// Runs a command with its stdout on our stderr: stdout is for answers.
///
/// # Errors
/// If it cannot be started or does not succeed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    stream(command.stdout(Stdio::from(std::io::stderr())))
}

/// Runs a command whose output goes where ours goes.
///
/// # Errors
/// If it cannot be started or does not succeed.
pub(crate) fn stream(command: &mut Command) -> Result<()> {
    let shown = show(command);
    eprintln!("$ {shown}");
    let status = command
        .status()
        .map_err(|error| Failure(format!("cannot start `{shown}`: {error}")))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure(format!("`{shown}` failed: {status}")))
    }
}

/// As [`stream`], and keeps the last lines of what the command printed in `tail`, so that they can be
/// told once more where a long log is read: at its end. A terminal is left to the command itself.
///
/// # Errors
/// If it cannot be started or does not succeed.
pub(crate) fn stream_keeping(command: &mut Command, tail: &mut Vec<String>) -> Result<()> {
    if std::io::stderr().is_terminal() {
        return stream(command);
    }
    let shown = show(command);
    eprintln!("$ {shown}");
    let status =
        tee(command, tail).map_err(|error| Failure(format!("cannot start `{shown}`: {error}")))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure(format!("`{shown}` failed: {status}")))
    }
}

/// Lines that are kept of a command's output.
const TAIL: usize = 120;

fn tee(command: &mut Command, tail: &mut Vec<String>) -> std::io::Result<ExitStatus> {
    let (reader, writer) = std::io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // Ours are the last ends for writing but the child's.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let kept = Arc::new(Mutex::new(VecDeque::new()));
    let reading = std::thread::spawn({
        let kept = Arc::clone(&kept);
        move || {
            let mut lines = BufReader::new(reader);
            let mut line = Vec::new();
            while lines
                .read_until(b'\n', &mut line)
                .is_ok_and(|read| read > 0)
            {
                // Whoever reads us may have gone; the command is to end all the same.
                let _ = std::io::stderr().write_all(&line);
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                line.clear();
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == TAIL {
                    kept.pop_front();
                }
                kept.push_back(text);
            }
        }
    });
    let status = child.wait()?;
    // A daemon that the command left behind may hold the pipe open for ever.
    let ended = Instant::now();
    while !reading.is_finished() && ended.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(1));
    }
    tail.extend(
        kept.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..),
    );
    Ok(status)
}

/// Whether a command starts and succeeds; its output is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_command_can_be_typed() {
        let mut command = Command::new("/opt/bin/cargo");
        command
            .env("RUSTDOCFLAGS", "-D warnings")
            .args(["doc", "--no-deps", "", "it's"]);
        assert_eq!(
            show(&command),
            r"RUSTDOCFLAGS='-D warnings' cargo doc --no-deps '' 'it'\''s'"
        );
    }

    #[test]
    fn the_root_holds_the_workspace() {
        let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }

    #[test]
    fn the_last_lines_of_a_command_are_kept() {
        let mut tail = Vec::new();
        let script = "seq 1 200; echo 'and a word' >&2; sleep 60 & exit 3";
        let start = Instant::now();
        let status = tee(Command::new("sh").args(["-c", script]), &mut tail).unwrap();
        assert_eq!(status.code(), Some(3));
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "waited for a child's child"
        );
        assert_eq!(tail.len(), TAIL);
        assert_eq!(tail.last().unwrap(), "and a word");
        assert_eq!(tail[TAIL - 2], "200");
    }

    #[test]
    fn a_failing_command_is_named() {
        let message = run(cargo().arg("no-such-command-of-cargo"))
            .unwrap_err()
            .to_string();
        assert!(
            message.starts_with("`cargo no-such-command-of-cargo` failed"),
            "{message}"
        );
        let message = run(&mut Command::new("no-such-program-here"))
            .unwrap_err()
            .to_string();
        assert!(
            message.starts_with("cannot start `no-such-program-here`"),
            "{message}"
        );
    }
}
