//! Help, errors and exit codes, and single answers of a tiny model with random weights.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};

use common::{
    Folder, TEMPLATE, command, dormouse, dormouse_reading, expect, finish, tiny_chat_model,
    tiny_model,
};

/// The tiny model has a token for each byte, and begins each text with one more.
const BOS: usize = 1;

const COMMANDS: [&str; 6] = ["chat", "run", "bench", "inspect", "tokenize", "perplexity"];

#[test]
fn help_tells_a_stranger_what_to_do() {
    let help = expect(0, &["--help"]).stdout;
    assert!(help.contains("130  stopped by Ctrl-C"), "{help}");
    for name in COMMANDS {
        assert!(help.contains(name), "{name}");
        let help = expect(0, &[name, "--help"]).stdout;
        assert!(help.contains("Examples:"), "{name}");
        assert!(help.contains(&format!("dormouse {name} ")), "{name}");
    }
    assert!(expect(0, &["--version"]).stdout.starts_with("dormouse "));
}

#[test]
fn wrong_command_lines_exit_with_2() {
    let folder = Folder::new("usage");
    let model = tiny_chat_model(&folder);
    let m = model.as_str();
    for (args, word) in [
        (&["dance"][..], "dance"),
        (&["chat"], "--model"),
        (&["run", "-m", m, "--kv", "q4"], "q4"),
        (
            &["run", "-m", m, "-p", "x", "--temperature", "-1"],
            "temperature",
        ),
        (&["run", "-m", m, "-p", "x", "--top-p", "1.5"], "top-p"),
        (&["run", "-m", m, "-p", "x", "--threads", "0"], "threads"),
        (&["run", "-m", m, "-p", "x", "--var", "a=b"], "JSON"),
        (
            &["run", "-m", m, "-p", "x", "--raw", "--system", "y"],
            "--raw",
        ),
        (
            &["run", "-m", m, "-p", "x", "--context", "9999999"],
            "context",
        ),
        (&["run", "-m", m, "-p", ""], "empty"),
        (&["bench", "-m", m, "-p", "0", "-n", "0"], "nothing"),
        (&["bench", "-m", m, "-p", "2000000"], "context"),
        (&["inspect"], "FILE"),
        (&["inspect", m, "--context", "9999999"], "context"),
        (&["tokenize", "-m", m, "--decode", "1,999"], "999"),
        (&["perplexity", "-m", m], "--file"),
        (
            &["perplexity", "-m", m, "--against", m, "--isa", "z80"],
            "scalar",
        ),
    ] {
        let ran = expect(2, args);
        assert!(ran.stderr.contains(word), "{args:?}: {}", ran.stderr);
        assert!(
            ran.stderr.starts_with("error: ") || args.len() == 1,
            "{}",
            ran.stderr
        );
        assert_eq!(ran.stdout, "", "{args:?}");
    }
    expect(2, &[]);
}

#[test]
fn unusable_model_files_exit_with_3_and_say_why() {
    let folder = Folder::new("unusable");
    let whole = tiny_model().build();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.file(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let text = write("text", b"some text");
    let mut alien = tiny_model().build();
    let at = alien.windows(5).position(|w| w == b"llama").unwrap();
    alien[at..at + 5].copy_from_slice(b"alien");
    for (path, word) in [
        (folder.file("missing.gguf"), "there is no file"),
        (folder.path().display().to_string(), "not a regular file"),
        (write("empty", b""), "empty"),
        (write("garbage", &[b'x'; 4096]), "no GGUF file"),
        (write("header", &whole[..10]), "corrupt"),
        (write("metadata", &whole[..300]), "corrupt"),
        (write("weights", &whole[..whole.len() - 100]), "cut off"),
        (write("alien", &alien), "alien (known: gemma, gemma2, "),
    ] {
        for args in [
            &["run", "-p", "x", "-m", &path][..],
            &["chat", "-m", &path],
            &["bench", "-m", &path],
            &["perplexity", "--file", &text, "-m", &path],
        ] {
            let ran = expect(3, args);
            assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
            assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
            assert_eq!(ran.stdout, "");
        }
    }
    expect(3, &["inspect", &folder.file("garbage")]);
    expect(3, &["tokenize", "-m", &folder.file("garbage"), "x"]);
}

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
fn prompts_are_not_logged() {
    let folder = Folder::new("log");
    let model = tiny_chat_model(&folder);
    let secret = "xyzzy-secret";
    let mut run = command(&["run", "-m", &model, "-p", secret, "-n", "5"]);
    let ran = finish(run.env("DORMOUSE_LOG", "trace").spawn().unwrap());
    assert_eq!(ran.code, 0);
    assert!(!ran.stderr.contains(secret), "{}", ran.stderr);
    let ran = dormouse(&["run", "-m", &model, "-p", secret, "-c", "8"]);
    assert_eq!(ran.code, 4);
    assert!(!ran.stderr.contains(secret), "{}", ran.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_stderr_changes_neither_the_exit_code_nor_the_answer() {
    let folder = Folder::new("full-stderr");
    let m = tiny_chat_model(&folder);
    let missing = folder.file("missing.gguf");
    let saved = folder.file("saved.json");
    let script = format!("hello\n/stats\n/help\n/system be kind\n/reset\n/save {saved}\nagain\n");
    for (code, lines, args, input) in [
        (3, 0, &["run", "-m", &missing, "-p", "x"][..], ""),
        (2, 0, &["run", "-m", &m, "-p", ""], ""),
        (2, 0, &["dance"], ""),
        (
            0,
            1,
            &["run", "-m", &m, "-p", "x", "-n", "5", "--stats", "text"],
            "",
        ),
        (
            0,
            1,
            &["run", "-m", &m, "-p", "x", "-n", "5", "--stats", "json"],
            "",
        ),
        (0, 2, &["chat", "-m", &m, "-n", "5"], &script),
    ] {
        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let mut child = command(args)
            .stdin(std::process::Stdio::piped())
            .stderr(full)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // It may have ended before it read all of it.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let ran = finish(child);
        assert_eq!(
            (ran.code, ran.stdout.lines().count()),
            (code, lines),
            "{args:?}"
        );
    }
}
