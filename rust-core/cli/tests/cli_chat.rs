//! Chats over a pipe, with a tiny model.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use common::{Folder, command, dormouse_reading, finish, tiny_chat_model};

/// The tiny model has a token for each byte, and begins each text with one more.
const BOS: usize = 1;

#[test]
fn a_chat_over_a_pipe_obeys_its_commands() {
    let folder = Folder::new("chat");
    let model = tiny_chat_model(&folder);
    let saved = folder.file("saved.json");
    let input = format!(
        "hello\n\n/stats\nagain\n/stats\n/save {saved}\n/regenerate\n/reset\n/system be kind\n\
         new\n/stats\n/load {saved}\n/help\n/quit\nnot read\n"
    );
    let args = ["chat", "-m", &model, "-n", "20", "--seed", "1"];
    let ran = dormouse_reading(&args, &input);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let answers: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(answers.len(), 4, "answers alone: {answers:?}");
    assert!(answers.iter().all(|answer| answer.len() == 20));
    assert_eq!(answers[1], answers[2], "regenerated with the same seed");
    let prompts: Vec<&str> = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("last answer"))
        .collect();
    let first = BOS + "user:hello|assistant:".len();
    let second = first - "assistant:".len() + 20 + "assistant:|user:again|assistant:".len();
    let third = BOS + "system:be kind|user:new|assistant:".len();
    assert!(prompts[0].contains(&format!("prompt {first} tokens ({first} new, 0 reused)")));
    assert!(
        prompts[1].contains(&format!("prompt {second} tokens")),
        "{}",
        prompts[1]
    );
    // All of the first turn but its last token, which was chosen and not evaluated.
    let reused = first + 19;
    assert!(
        prompts[1].contains(&format!("{reused} reused")),
        "{}",
        prompts[1]
    );
    assert!(
        prompts[2].contains(&format!("prompt {third} tokens")),
        "{}",
        prompts[2]
    );
    for words in [
        "all answers",
        "context      ",
        "4 messages loaded",
        "/regenerate",
    ] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }

    let text = std::fs::read_to_string(&saved).unwrap();
    let chat: serde_json::Value = serde_json::from_str(&text).unwrap();
    let said = |index: usize| chat["messages"][index]["content"][0]["text"].clone();
    assert_eq!((said(0), said(2)), ("hello".into(), "again".into()));
    assert_eq!((said(1), said(3)), (answers[0].into(), answers[1].into()));
    let more = ["--load", &saved, "--system", "x"];
    let loaded = dormouse_reading(&[&args[..], &more].concat(), "/regenerate\n");
    assert_eq!(loaded.code, 0, "{}", loaded.stderr);
    assert_eq!(loaded.stdout.len(), 21);
}

#[test]
fn after_a_reset_there_is_no_answer_to_tell_of() {
    let folder = Folder::new("chat-reset");
    let model = tiny_chat_model(&folder);
    let args = ["chat", "-m", &model, "-n", "5"];
    let ran = dormouse_reading(&args, "hello\n/reset\n/stats\n");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("no answer yet in this conversation"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("all answers  1 "), "{}", ran.stderr);
    assert!(!ran.stderr.contains("context  "), "{}", ran.stderr);
}

#[test]
fn errors_end_a_chat_over_a_pipe() {
    let folder = Folder::new("chat-errors");
    let model = tiny_chat_model(&folder);
    let other = folder.file("precious.txt");
    std::fs::write(&other, "precious").unwrap();
    let long = "x".repeat(100);
    for (line, code, words) in [
        ("/nonsense", 1, "/help"),
        ("/load", 1, "name of a file"),
        ("/load /no/such/file", 1, "/no/such/file"),
        ("/regenerate", 2, "no message"),
        (&format!("/save {other}"), 1, "not replaced"),
        (&long, 4, "/reset"),
    ] {
        let input = format!("{line}\nhello\n");
        let ran = dormouse_reading(&["chat", "-m", &model, "-c", "64", "-n", "1"], &input);
        assert_eq!(ran.code, code, "{line}: {}", ran.stderr);
        assert!(ran.stderr.contains(words), "{line}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "{line}");
    }
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "precious");
}

/// A limit on the length of files stands for a disk that fills up while the chat is written.
#[cfg(unix)]
#[test]
fn a_disk_that_fills_up_leaves_the_old_file() {
    let folder = Folder::new("chat-full");
    let model = tiny_chat_model(&folder);
    let saved = folder.file("saved.json");
    let args = ["chat", "-m", &model, "-n", "1"];
    let ran = dormouse_reading(&args, &format!("hello\n/save {saved}\n"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let before = std::fs::read_to_string(&saved).unwrap();

    let limited = "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\"";
    let mut child = std::process::Command::new("sh")
        .args(["-c", limited, env!("CARGO_BIN_EXE_dormouse")])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let long = "x".repeat(3000);
    write!(child.stdin.take().unwrap(), "{long}\n/save {saved}\n").unwrap();
    let ran = finish(child);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("saved.json"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("xxx"), "{}", ran.stderr);
    assert_eq!(std::fs::read_to_string(&saved).unwrap(), before);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[cfg(unix)]
#[test]
fn ctrl_c_in_a_chat_keeps_the_conversation() {
    let folder = Folder::new("chat-interrupt");
    let model = tiny_chat_model(&folder);
    let saved = folder.file("saved.json");
    let args = ["chat", "-m", &model, "-c", "1000000"];
    let mut child = command(&args).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut answers = Vec::new();
    for message in ["hello", "more"] {
        writeln!(stdin, "{message}").unwrap();
        let mut answer = vec![0; 10];
        stdout.read_exact(&mut answer).unwrap();
        common::interrupt(&child);
        stdout.read_until(b'\n', &mut answer).unwrap();
        answers.push(
            String::from_utf8(answer)
                .unwrap()
                .trim_end_matches('\n')
                .to_owned(),
        );
    }
    writeln!(stdin, "/save {saved}").unwrap();
    drop(stdin);
    let ran = finish(child);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("(stopped)").count(), 2, "{}", ran.stderr);
    let text = std::fs::read_to_string(&saved).unwrap();
    let chat: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (index, answer) in [(1, &answers[0]), (3, &answers[1])] {
        assert_eq!(
            chat["messages"][index]["content"][0]["text"],
            answer.as_str()
        );
    }
}
