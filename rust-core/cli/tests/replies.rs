//! What `run` and `chat` answer, on a tiny model with random weights.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use common::{
    Folder, TEMPLATE, command, dormouse_reading, expect, finish, tiny_chat_model, tiny_model,
};

/// The tiny model has a token for each byte, and begins each text with one more.
const BOS: usize = 1;

#[test]
fn run_puts_the_answer_alone_on_stdout() {
    let folder = Folder::new("run");
    let model = tiny_chat_model(&folder);
    let args = [
        "run", "-m", &model, "-p", "hello", "-n", "50", "--seed", "5",
    ];
    let ran = expect(0, &args);
    assert_eq!(ran.stdout.len(), 51, "{:?}", ran.stdout);
    assert!(ran.stdout.ends_with('\n'));
    let letters = |c: char| c.is_ascii_lowercase() || c == ' ';
    assert!(ran.stdout.trim_end_matches('\n').chars().all(letters));
    assert!(ran.stderr.contains("answer 50 tokens"), "{}", ran.stderr);
    assert!(ran.stderr.contains("seed 5"), "{}", ran.stderr);

    let again = |more: &[&str]| expect(0, &[&args[..], more].concat());
    assert_eq!(again(&[]).stdout, ran.stdout);
    assert_eq!(again(&["--threads", "1"]).stdout, ran.stdout);
    assert_eq!(again(&["--threads", "2"]).stdout, ran.stdout);
    let silent = again(&["--stats", "none"]);
    assert_eq!(
        (silent.stdout, silent.stderr.as_str()),
        (ran.stdout.clone(), "")
    );
    let other = [
        "run", "-m", &model, "-p", "hello", "-n", "50", "--seed", "6",
    ];
    assert_ne!(expect(0, &other).stdout, ran.stdout);

    let from_stdin = dormouse_reading(&["run", "-m", &model, "-n", "50", "--seed", "5"], "hello\n");
    assert_eq!(from_stdin.stdout, ran.stdout);
    let word = &ran.stdout[..2];
    let stopped = again(&["--stop", word, "--stats", "json"]);
    assert_eq!(stopped.stdout, "\n");
    assert_eq!(stopped.stats()["finish"], "stop string");
}

#[test]
fn statistics_count_the_tokens() {
    let folder = Folder::new("stats");
    let model = tiny_chat_model(&folder);
    let args = [
        "run", "-m", &model, "-p", "hello", "-n", "7", "--stats", "json",
    ];
    let plain = expect(0, &args).stats();
    let tokens = BOS + "user:hello|assistant:".len();
    assert_eq!(plain["prompt_tokens"], tokens);
    assert_eq!(plain["prefill_tokens"], tokens);
    assert_eq!(plain["generated_tokens"], 7);
    assert_eq!(plain["finish"], "token limit");
    assert!(plain["decode_tokens_per_s"].as_f64().unwrap() > 0.0);
    assert!(plain["load_s"].as_f64().unwrap() > 0.0);
    let more = ["--var", "note=\"abc\"", "--system", "be"];
    let with = expect(0, &[&args[..], &more].concat()).stats();
    assert_eq!(
        with["prompt_tokens"],
        tokens + "abc".len() + "system:be|".len()
    );
    let raw = expect(0, &[&args[..], &["--raw"]].concat()).stats();
    assert_eq!(raw["prompt_tokens"], BOS + "hello".len());
    assert_eq!(raw["backend"], "kernels");
}

#[test]
fn a_model_without_a_template_has_two_ways_out() {
    let folder = Folder::new("template");
    let model = folder.file("base.gguf");
    tiny_model().write(&model).unwrap();
    for args in [
        &["run", "-p", "x", "-m", &model][..],
        &["chat", "-m", &model],
    ] {
        let ran = expect(1, args);
        assert!(ran.stderr.contains("--raw"), "{}", ran.stderr);
        assert!(ran.stderr.contains("--template FILE"), "{}", ran.stderr);
    }
    let file = folder.file("chat.jinja");
    std::fs::write(&file, TEMPLATE).unwrap();
    let run = ["run", "-p", "x", "-m", &model, "-n", "3", "--stats", "json"];
    let with = expect(0, &[&run[..], &["--template", &file]].concat());
    assert_eq!(
        with.stats()["prompt_tokens"],
        BOS + "user:x|assistant:".len()
    );
    let raw = expect(0, &[&run[..], &["--raw"]].concat());
    assert_eq!(raw.stats()["prompt_tokens"], BOS + "x".len());
    std::fs::write(&file, "{% if %}").unwrap();
    expect(1, &[&run[..], &["--template", &file]].concat());
    expect(
        1,
        &[&run[..], &["--template", &folder.file("none")]].concat(),
    );
}

#[test]
fn a_prompt_that_does_not_fit_exits_with_4() {
    let folder = Folder::new("full");
    let model = tiny_chat_model(&folder);
    let long = "x".repeat(100);
    let args = ["run", "-m", &model, "-p", &long, "-c", "64", "-n", "100"];
    let ran = expect(4, &args);
    assert!(ran.stderr.contains("--context"), "{}", ran.stderr);
    let shift = [&args[..], &["--context-full", "shift", "--stats", "json"]].concat();
    let stats = expect(0, &shift).stats();
    assert_eq!(stats["generated_tokens"], 100);
    assert!(stats["dropped_tokens"].as_u64().unwrap() > 0);
}

#[cfg(feature = "reference")]
#[test]
fn the_reference_backend_gives_the_same_greedy_answer() {
    let folder = Folder::new("reference");
    let model = tiny_chat_model(&folder);
    let args = [
        "run",
        "-m",
        &model,
        "-p",
        "hello",
        "-n",
        "8",
        "--temperature",
        "0",
    ];
    let kernels = expect(0, &args);
    let reference = expect(0, &[&args[..], &["--backend", "reference"]].concat());
    assert_eq!(kernels.stdout, reference.stdout);
}

#[test]
fn the_end_of_the_reader_is_no_error() {
    let folder = Folder::new("pipe");
    let model = tiny_chat_model(&folder);
    // Until the context is full: it would take long.
    let args = ["run", "-m", &model, "-p", "hello", "-c", "1000000"];
    let mut child = command(&args).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).unwrap();
    drop(stdout);
    let ran = finish(child);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_an_answer_and_shows_its_statistics() {
    let folder = Folder::new("interrupt");
    let model = tiny_chat_model(&folder);
    let args = [
        "run", "-m", &model, "-p", "hello", "-c", "1000000", "--stats", "json",
    ];
    let mut child = command(&args).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).unwrap();
    common::interrupt(&child);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with('\n'));
    let ran = finish(child);
    assert_eq!(ran.code, 130, "{}", ran.stderr);
    let stats = ran.stats();
    assert_eq!(stats["finish"], "cancelled");
    let written = 10 + rest.len() as u64 - 1;
    assert_eq!(stats["generated_tokens"], written, "one letter a token");
}

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
