//! Histories kept, changed, saved and restored, through the surface that Kotlin and Swift use.
#![allow(clippy::unwrap_used)]

mod common;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use common::{block_on, chat, finish, greedy, message, scripted, send};
use dormouse_ffi::{CallToken, ChatHandle, Failure, ModelHandle, Part, Role};

#[test]
fn history_is_kept_changed_saved_and_restored() {
    let model = scripted();
    let first = chat(&model);
    first.set_system(Some("Be brief.".into())).unwrap();
    finish(&send(&first, "think").unwrap()).unwrap();
    let messages = first.messages().unwrap();
    assert_eq!(messages.len(), 3);
    assert_eq!(messages[2].reasoning.as_deref(), Some("Hm, let me see."));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("history.json");
    let path = path.to_str().unwrap().to_owned();
    block_on(first.clone().save(path.clone(), CallToken::new())).unwrap();

    let second = chat(&model);
    block_on(second.clone().restore(path, CallToken::new())).unwrap();
    assert_eq!(second.messages().unwrap(), messages);
    let missing = block_on(
        second
            .clone()
            .restore("/no/such/chat.json".into(), CallToken::new()),
    );
    assert!(matches!(missing, Err(Failure::NotFound { .. })));
    assert_eq!(second.messages().unwrap(), messages);
    second.set_messages(messages[..1].to_vec()).unwrap();
    let edited = block_on(second.clone().edit(
        0,
        message(Role::User, "x"),
        greedy(),
        CallToken::new(),
    ));
    assert!(
        matches!(edited, Err(Failure::InvalidOptions { .. })),
        "the system's message"
    );
    assert_eq!(second.messages().unwrap().len(), 1);
    second.reset().unwrap();
    assert!(
        matches!(&second.messages().unwrap()[0].content[0], Part::Text { text } if text == "Be brief.")
    );
}

/// A folder of the test's own, empty.
fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn save(chat: &Arc<ChatHandle>, path: &Path) -> Result<(), Failure> {
    let path = path.to_str().unwrap().to_owned();
    block_on(chat.clone().save(path, CallToken::new()))
}

fn restore(chat: &Arc<ChatHandle>, path: &Path) -> Result<(), Failure> {
    let path = path.to_str().unwrap().to_owned();
    block_on(chat.clone().restore(path, CallToken::new()))
}

/// A saved chat that takes a while to read.
fn long_history(model: &ModelHandle, name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let chat = chat(model);
    let messages = (0..20_000).map(|n| message(Role::User, &format!("old words {n}")));
    chat.set_messages(messages.collect()).unwrap();
    save(&chat, &path).unwrap();
    path
}

/// Waits until no work that was begun on the chat holds it any more.
fn until_at_rest(chat: &Arc<ChatHandle>) {
    while Arc::strong_count(chat) > 1 {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What is done until it comes out as wanted: on a machine with other work a thread may not have its
/// turn for as long as the work beside it takes.
fn until(mut wanted: impl FnMut() -> bool) {
    assert!((0..20).any(|_| wanted()), "never in 20 tries");
}

#[test]
fn a_restore_that_was_given_up_does_not_happen_later() {
    let model = scripted();
    let path = long_history(&model, "given-up.json");
    let path = path.to_str().unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let fresh = vec![message(Role::User, "fresh")];

    let chat = chat(&model);
    until(|| {
        let restoring = chat.clone().restore(path.to_owned(), CallToken::new());
        let is_pending = pin!(restoring).as_mut().poll(&mut context).is_pending();
        chat.set_messages(fresh.clone()).unwrap();
        until_at_rest(&chat);
        assert_eq!(chat.messages().unwrap(), fresh, "dropped");
        is_pending
    });

    until(|| {
        let token = CallToken::new();
        let mut restoring = Box::pin(chat.clone().restore(path.to_owned(), token.clone()));
        let is_pending = restoring.as_mut().poll(&mut context).is_pending();
        token.cancel();
        let result = match is_pending {
            true => block_on(restoring),
            false => Ok(()),
        };
        until_at_rest(&chat);
        match result {
            Err(Failure::Cancelled) => {
                assert_eq!(chat.messages().unwrap(), fresh, "cancelled");
                true
            }
            // It had its effect before.
            result => {
                result.unwrap();
                assert_eq!(chat.messages().unwrap().len(), 20_000);
                chat.set_messages(fresh.clone()).unwrap();
                false
            }
        }
    });

    restore(&chat, Path::new(path)).unwrap();
    assert_eq!(chat.messages().unwrap().len(), 20_000);
}

#[test]
fn a_save_that_was_given_up_does_not_happen_later() {
    let model = scripted();
    let folder = scratch("save-given-up");
    let path = folder.join("chat.json");
    let text = path.to_str().unwrap();
    let chat = chat(&model);
    let old: Vec<_> = (0..20_000)
        .map(|n| message(Role::User, &format!("old words {n}")))
        .collect();
    let fresh = vec![message(Role::User, "fresh")];
    let mut context = Context::from_waker(Waker::noop());
    let saved = || {
        let other = common::chat(&model);
        restore(&other, &path).unwrap();
        other.messages().unwrap()
    };

    // Dropped: neither it nor the save after it is overtaken by the other.
    for _ in 0..5 {
        chat.set_messages(old.clone()).unwrap();
        let mut saving = Box::pin(chat.clone().save(text.to_owned(), CallToken::new()));
        let _ = saving.as_mut().poll(&mut context);
        std::thread::sleep(Duration::from_millis(5));
        drop(saving);
        chat.set_messages(fresh.clone()).unwrap();
        save(&chat, &path).unwrap();
        until_at_rest(&chat);
        assert_eq!(saved(), fresh, "dropped");
    }

    until(|| {
        chat.set_messages(old.clone()).unwrap();
        let token = CallToken::new();
        let mut saving = Box::pin(chat.clone().save(text.to_owned(), token.clone()));
        let is_pending = saving.as_mut().poll(&mut context).is_pending();
        token.cancel();
        let result = match is_pending {
            true => block_on(saving),
            false => Ok(()),
        };
        until_at_rest(&chat);
        match result {
            Err(Failure::Cancelled) => {
                assert_eq!(saved(), fresh, "cancelled");
                true
            }
            // It was done before.
            result => {
                result.unwrap();
                assert_eq!(saved().len(), 20_000);
                chat.set_messages(fresh.clone()).unwrap();
                save(&chat, &path).unwrap();
                false
            }
        }
    });
    let left: Vec<_> = std::fs::read_dir(&folder).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing beside the file");
}

#[test]
fn nobody_waits_while_a_history_is_read_or_written() {
    let model = scripted();
    let path = long_history(&model, "slow.json");
    let chat = chat(&model);
    let waits = |work: &(dyn Fn() + Sync)| {
        let started = Instant::now();
        let mut slowest = Duration::ZERO;
        std::thread::scope(|scope| {
            let working = scope.spawn(work);
            while !working.is_finished() {
                let asked = Instant::now();
                chat.set_system(None).unwrap();
                slowest = slowest.max(asked.elapsed());
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        slowest >= started.elapsed() / 3
    };
    until(|| !waits(&|| restore(&chat, &path).unwrap()));
    assert_eq!(chat.messages().unwrap().len(), 20_000);
    until(|| !waits(&|| save(&chat, &path).unwrap()));
}

#[cfg(unix)]
#[test]
fn a_pipe_is_no_saved_chat_and_is_not_waited_for() {
    let folder = scratch("pipe");
    let pipe = folder.join("chat.json");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let model = scripted();
    let chat = chat(&model);
    for path in [pipe.as_path(), Path::new("/dev/zero"), &folder] {
        match restore(&chat, path) {
            Err(Failure::Io { what, .. }) => assert!(what.contains("regular file"), "{what}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(chat.messages().unwrap().is_empty());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_and_leaves_the_file_and_the_chat() {
    /// "No space left on device".
    const ENOSPC: i32 = 28;
    let folder = scratch("full-disk");
    let file = folder.join("chat.json");
    let model = scripted();
    let chat = chat(&model);
    finish(&send(&chat, "think of my secret").unwrap()).unwrap();
    save(&chat, &file).unwrap();
    let saved = std::fs::read(&file).unwrap();
    finish(&send(&chat, "hi").unwrap()).unwrap();

    match save(&chat, Path::new("/dev/full")) {
        Err(Failure::Io { what, code }) => {
            assert_eq!(code, Some(ENOSPC), "{what}");
            assert!(
                what.contains("/dev/full") && !what.contains("secret"),
                "{what}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(std::fs::read(&file).unwrap(), saved, "the old file stays");

    assert_eq!(
        finish(&send(&chat, "think").unwrap()).unwrap().0,
        "It is 42."
    );
    save(&chat, &file).unwrap();
    let messages = chat.messages().unwrap();
    assert_eq!(messages.len(), 6);
    chat.reset().unwrap();
    restore(&chat, &file).unwrap();
    assert_eq!(chat.messages().unwrap(), messages);
}

#[test]
fn a_path_that_cannot_be_saved_to_is_told_and_the_chat_goes_on() {
    let folder = scratch("no-path");
    let model = scripted();
    let chat = chat(&model);
    finish(&send(&chat, "hi").unwrap()).unwrap();
    match save(&chat, &folder.join("missing").join("chat.json")) {
        Err(Failure::NotFound { what }) => assert!(what.contains("missing"), "{what}"),
        other => panic!("{other:?}"),
    }
    let in_the_way = folder.join("folder");
    std::fs::create_dir(&in_the_way).unwrap();
    match save(&chat, &in_the_way) {
        Err(Failure::Io { code: Some(_), .. }) => {}
        other => panic!("{other:?}"),
    }
    let names: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["folder"]);
    assert_eq!(
        finish(&send(&chat, "think").unwrap()).unwrap().0,
        "It is 42."
    );
}
