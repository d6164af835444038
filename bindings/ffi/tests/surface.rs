//! Each kind of error raised for real, loading watched and ended, replies pulled and cancelled:
//! through the surface that Kotlin and Swift use.
#![allow(clippy::unwrap_used)]

mod common;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use common::{
    block_on, chat, chat_of, finish, greedy, load, load_settings, message, scripted, send, source,
    tiny_models, try_load,
};
use dormouse_ffi::{
    ChatHandle, ChatSettings, EnergyPolicy, Event, Failure, FinishReason, LoadSettings,
    ModelHandle, ModelSource, Part, Plan, ReplySettings, Role, Tool, WhenFull, begin_load, plan,
};

/// `tiny.gguf` changed by `change`, as a file of its own.
fn altered(name: &str, change: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
    let mut bytes = std::fs::read(tiny_models().join("tiny.gguf")).unwrap();
    change(&mut bytes);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len());
    let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to);
}

#[test]
fn files_that_cannot_be_loaded_say_why() {
    let missing = try_load(source(Path::new("/no/such/model.gguf")), load_settings());
    assert!(matches!(missing, Err(Failure::NotFound { what }) if what.contains("model.gguf")));

    let corrupt = altered("corrupt.gguf", |bytes| bytes.truncate(bytes.len() / 2));
    let corrupt = try_load(source(&corrupt), load_settings());
    assert!(
        matches!(corrupt, Err(Failure::CorruptModel { .. })),
        "{:?}",
        corrupt.err()
    );

    let strange = altered("strange.gguf", |bytes| {
        let key = b"general.architecture";
        let at = bytes.windows(key.len()).position(|w| w == key).unwrap();
        replace(&mut bytes[at..], b"llama", b"lemon");
    });
    let strange = try_load(source(&strange), load_settings());
    assert!(matches!(strange, Err(Failure::UnsupportedModel { what }) if what.contains("lemon")));

    let directory = try_load(source(tiny_models()), load_settings());
    assert!(
        matches!(directory, Err(Failure::InvalidOptions { .. })),
        "{:?}",
        directory.err()
    );
}

#[test]
fn options_outside_their_range_are_named() {
    let file = tiny_models().join("scripted.gguf");
    let refused = |settings: LoadSettings, word: &str| match try_load(source(&file), settings) {
        Err(Failure::InvalidOptions { what }) => assert!(what.contains(word), "{what}"),
        other => panic!("{:?}", other.err()),
    };
    refused(
        LoadSettings {
            threads: Some(0),
            ..load_settings()
        },
        "threads",
    );
    refused(
        LoadSettings {
            context_length: Some(0),
            ..load_settings()
        },
        "the context length",
    );
    refused(
        LoadSettings {
            context_length: Some(1 << 30),
            ..load_settings()
        },
        "context",
    );
    let bad_fd = ModelSource::Descriptor {
        fd: -1,
        offset: 0,
        length: 1,
    };
    assert!(matches!(
        try_load(bad_fd, load_settings()),
        Err(Failure::InvalidOptions { .. })
    ));
    let no_fd = ModelSource::Descriptor {
        fd: 99_999,
        offset: 0,
        length: 1,
    };
    assert!(matches!(
        try_load(no_fd, load_settings()),
        Err(Failure::Io { .. })
    ));

    let model = scripted();
    let chat = chat(&model);
    let with = |change: &dyn Fn(&mut ReplySettings)| {
        let mut settings = greedy();
        change(&mut settings);
        block_on(chat.clone().send(vec![message(Role::User, "hi")], settings)).map(drop)
    };
    let refused = |change: &dyn Fn(&mut ReplySettings), word: &str| match with(change) {
        Err(Failure::InvalidOptions { what }) => assert!(what.contains(word), "{what}"),
        other => panic!("{word}: {other:?}"),
    };
    refused(&|s| s.sampler.temperature = -1.0, "temperature");
    refused(&|s| s.sampler.top_p = 2.0, "top-p is 2");
    refused(
        &|s| s.template_variables = "[]".into(),
        "template variables",
    );
    let broken = Tool {
        name: "t".into(),
        description: String::new(),
        parameters: "{".into(),
    };
    refused(&|s| s.tools.push(broken.clone()), "parameters of tool t");
    assert!(
        chat.messages().unwrap().is_empty(),
        "a refused message stays out"
    );
}

#[test]
fn the_memory_budget_holds_for_the_model_and_all_its_chats() {
    let file = tiny_models().join("scripted.gguf");
    let settings = |budget| LoadSettings {
        memory_budget: Some(budget),
        context_length: Some(256),
        ..load_settings()
    };
    let Ok(Plan::Fits { needs, .. }) = block_on(plan(source(&file), settings(u64::MAX))) else {
        panic!("does not fit");
    };
    assert_eq!(needs.total, needs.weights + needs.kv_cache + needs.buffers);
    assert_eq!(needs.context_length, 256);
    match block_on(plan(source(&file), settings(needs.total - 1))) {
        Ok(Plan::Refused { allowed, .. }) => assert_eq!(allowed, needs.total - 1),
        other => panic!("{other:?}"),
    }
    match try_load(source(&file), settings(needs.total - 1)) {
        Err(Failure::OutOfMemory { needed, budget }) => {
            assert_eq!((needed, budget), (needs.total, needs.total - 1));
        }
        other => panic!("{:?}", other.err()),
    }
    let model = try_load(source(&file), settings(needs.total)).unwrap();
    let first = chat(&model);
    assert!(matches!(
        chat_of(&model, None),
        Err(Failure::OutOfMemory { .. })
    ));
    first.close();
    let second = chat(&model);
    assert_eq!(
        finish(&send(&second, "think").unwrap()).unwrap().0,
        "It is 42."
    );
    drop(second);
    chat(&model).close();
}

#[test]
fn a_window_of_an_open_file_is_as_good_as_a_path() {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    let model = std::fs::read(tiny_models().join("scripted.gguf")).unwrap();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("asset.bin");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(&[7; 13]).unwrap();
    file.write_all(&model).unwrap();
    file.write_all(&[7; 5]).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    let window = ModelSource::Descriptor {
        fd: file.as_raw_fd(),
        offset: 13,
        length: model.len() as u64,
    };
    let model = try_load(window, load_settings()).unwrap();
    // The caller's descriptor is the caller's to close.
    drop(file);
    let reply = finish(&send(&chat(&model), "think").unwrap()).unwrap();
    assert_eq!(reply.0, "It is 42.");
    assert_eq!(reply.1, FinishReason::EndOfTurn);
}

#[test]
fn loading_reports_progress_and_can_be_ended() {
    let file = tiny_models().join("scripted.gguf");
    let task = begin_load(source(&file), load_settings()).unwrap();
    let mut last = -1.0;
    while let Some(share) = block_on(task.progress()) {
        assert!(
            (0.0..=1.0).contains(&share) && share > last,
            "{share} after {last}"
        );
        last = share;
    }
    block_on(task.model()).unwrap();
    assert!(
        matches!(block_on(task.model()), Err(Failure::Closed)),
        "taken twice"
    );

    // Cancelled at once it seldom gets to its end; over many tries some are cut short.
    let cut = (0..200).filter(|_| {
        let task = begin_load(source(&file), load_settings()).unwrap();
        task.cancel();
        match block_on(task.model()) {
            Ok(_) => false,
            Err(Failure::Cancelled) => true,
            Err(other) => panic!("{other}"),
        }
    });
    assert!(cut.count() > 0, "no load was ever cut short");
}

#[test]
fn a_cancelled_reply_stops_within_a_token_and_the_chat_goes_on() {
    let model = scripted();
    let chat = chat(&model);
    let mut late = Vec::new();
    for round in 0..200 {
        let reply = send(&chat, "forever").unwrap();
        while !block_on(reply.next())
            .unwrap()
            .iter()
            .any(|e| matches!(e, Event::Token { .. }))
        {}
        if round % 2 == 0 {
            reply.cancel();
        } else {
            chat.cancel();
        }
        let (_, reason, after) = finish(&reply).unwrap();
        assert_eq!(reason, FinishReason::Cancelled);
        late.push(after);
        chat.reset().unwrap();
    }
    assert!(late.iter().all(|&after| after <= 1), "{late:?}");
    assert_eq!(
        finish(&send(&chat, "think").unwrap()).unwrap().0,
        "It is 42."
    );
}

#[test]
fn dropping_a_reply_cancels_it_and_a_second_send_meanwhile_is_busy() {
    let model = scripted();
    let chat = chat(&model);
    let reply = send(&chat, "forever").unwrap();
    assert!(matches!(send(&chat, "hi"), Err(Failure::Busy)));
    assert!(matches!(chat.reset(), Err(Failure::Busy)));
    drop(reply);
    let next = send(&chat, "hi").unwrap();
    assert_eq!(finish(&next).unwrap().1, FinishReason::EndOfTurn);
    assert_eq!(chat.messages().unwrap().len(), 4);
}

#[test]
fn closing_ends_what_runs_and_all_else_says_closed() {
    let model = scripted();
    let first = chat(&model);
    let second = chat(&model);
    let reply = send(&first, "forever").unwrap();
    first.close();
    first.close();
    assert_eq!(finish(&reply).unwrap().1, FinishReason::Cancelled);
    assert!(first.is_closed());
    let closed = |result: Result<(), Failure>| assert!(matches!(result, Err(Failure::Closed)));
    closed(send(&first, "hi").map(drop));
    closed(first.messages().map(drop));
    closed(first.reset());
    closed(block_on(first.clone().save("/tmp/never".into())));

    let running = send(&second, "forever").unwrap();
    model.close();
    model.close();
    assert!(model.is_closed() && second.is_closed());
    assert_eq!(finish(&running).unwrap().1, FinishReason::Cancelled);
    closed(send(&second, "hi").map(drop));
    closed(second.messages().map(drop));
    closed(second.set_messages(Vec::new()));
    closed(second.set_system(None));
    closed(second.reset());
    closed(block_on(second.clone().save("/tmp/never".into())));
    closed(block_on(second.clone().restore("/tmp/never".into())));
    closed(chat_of(&model, None).map(drop));
    closed(block_on(model.tokenize("x".into(), false)).map(drop));
    closed(block_on(model.clone().complete("x".into(), greedy())).map(drop));
    assert_eq!(model.info().architecture, "llama");
}

#[test]
fn a_prompt_that_does_not_fit_says_by_how_much() {
    let model = scripted();
    let chat = chat_of(&model, Some(64)).unwrap();
    match send(&chat, &"x".repeat(100)) {
        Err(Failure::ContextFull { used, max }) => assert!(used > 100 && max == 64),
        other => panic!("{:?}", other.err()),
    }
    assert_eq!(chat.context_length(), 64);
    assert_eq!(chat.context_used().unwrap(), 0);
}

#[test]
fn a_model_without_a_template_completes_and_does_not_chat() {
    let bare = altered("bare.gguf", |bytes| {
        replace(
            bytes,
            b"tokenizer.chat_template",
            b"tokenizer.chat_templaze",
        );
    });
    let model = load(&bare);
    assert!(!model.info().has_chat_template);
    assert!(matches!(
        chat_of(&model, None),
        Err(Failure::Template { .. })
    ));
    let mut settings = greedy();
    settings.max_tokens = Some(4);
    let reply = block_on(model.clone().complete("Once".into(), settings)).unwrap();
    assert_eq!(finish(&reply).unwrap().1, FinishReason::MaxTokens);

    let given = LoadSettings {
        chat_template: Some("{{ messages[-1].content }}".into()),
        ..load_settings()
    };
    let model = try_load(source(&bare), given).unwrap();
    chat(&model).close();
    let broken = LoadSettings {
        chat_template: Some("{% if %}".into()),
        ..load_settings()
    };
    assert!(matches!(
        try_load(source(&bare), broken),
        Err(Failure::Template { .. })
    ));
}

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
    block_on(first.clone().save(path.clone())).unwrap();

    let second = chat(&model);
    block_on(second.clone().restore(path)).unwrap();
    assert_eq!(second.messages().unwrap(), messages);
    let missing = block_on(second.clone().restore("/no/such/chat.json".into()));
    assert!(matches!(missing, Err(Failure::NotFound { .. })));
    assert_eq!(second.messages().unwrap(), messages);
    second.set_messages(messages[..1].to_vec()).unwrap();
    let edited = block_on(second.clone().edit(0, message(Role::User, "x"), greedy()));
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
    block_on(chat.clone().save(path.to_str().unwrap().to_owned()))
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
    block_on(chat.clone().restore(file.to_str().unwrap().to_owned())).unwrap();
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

#[test]
fn what_the_engine_lacks_is_said() {
    let file = tiny_models().join("scripted.gguf");
    let saver = LoadSettings {
        energy: EnergyPolicy::Saver,
        ..load_settings()
    };
    let model = try_load(source(&file), saver).unwrap();
    let info = model.info();
    assert!(info.not_in_force.iter().any(|line| line.contains("energy")));
    assert!(info.reasons && info.takes_tools && info.has_chat_template);
    assert!(scripted().info().not_in_force.is_empty());
}

#[test]
fn text_and_tokens() {
    let model = scripted();
    let tokens = block_on(model.tokenize("think".into(), false)).unwrap();
    assert_eq!(model.detokenize(tokens).unwrap(), "think");
    assert!(matches!(
        model.detokenize(vec![1 << 30]),
        Err(Failure::InvalidOptions { .. })
    ));
}

#[test]
fn a_template_that_refuses_does_not_quote_the_conversation() {
    let secret = "xyzzy-plugh";
    let settings = LoadSettings {
        chat_template: Some(
            "{{ raise_exception('cannot handle: ' + messages[-1].content) }}".into(),
        ),
        ..load_settings()
    };
    let model = try_load(source(&tiny_models().join("scripted.gguf")), settings).unwrap();
    match send(&chat(&model), secret) {
        Err(Failure::Template { why }) => assert_eq!(why, "cannot handle:…"),
        other => panic!("{:?}", other.err()),
    }
}

/// A chat whose prompts may be of any length.
fn long_chat(model: &ModelHandle) -> Arc<ChatHandle> {
    let settings = ChatSettings {
        system: None,
        context_length: None,
        when_full: WhenFull::Shift { keep: None },
    };
    model.chat(settings).unwrap()
}

/// About 1,500 tokens, which take the scripted model a while.
fn long_text() -> String {
    "all work and no play. ".repeat(70)
}

#[test]
fn a_cancel_while_an_answer_starts_is_not_lost() {
    let model = scripted();
    let chat = long_chat(&model);
    let text = format!("{}forever", long_text());
    let mut early = 0;
    let mut context = Context::from_waker(Waker::noop());
    for round in 0..40u64 {
        chat.set_messages(Vec::new()).unwrap();
        let messages = vec![message(Role::User, &text)];
        let mut sending = pin!(chat.clone().send(messages, greedy()));
        if sending.as_mut().poll(&mut context).is_ready() {
            continue;
        }
        std::thread::sleep(Duration::from_micros(round % 8 * 400));
        let reply = match sending.as_mut().poll(&mut context) {
            Poll::Ready(reply) => {
                chat.cancel();
                reply.unwrap()
            }
            Poll::Pending => {
                early += 1;
                chat.cancel();
                block_on(sending).unwrap()
            }
        };
        let (_, reason, after) = finish(&reply).unwrap();
        assert_eq!(reason, FinishReason::Cancelled, "round {round}");
        assert!(after <= 1, "round {round}: {after} tokens later");
    }
    assert!(early > 0, "every start was over before it was cancelled");
    chat.set_messages(Vec::new()).unwrap();
    assert_eq!(
        finish(&send(&chat, "think").unwrap()).unwrap().0,
        "It is 42."
    );
}

#[test]
fn nobody_waits_while_an_answer_starts() {
    let model = scripted();
    let chat = chat(&model);
    // Too long for the context: the template and the tokenizer have all of it to do first.
    let text = "never too much. ".repeat(200_000);
    let started = Instant::now();
    let mut slowest = Duration::ZERO;
    let result = std::thread::scope(|scope| {
        let sending = scope.spawn(|| send(&chat, &text).map(drop));
        while !sending.is_finished() {
            let asked = Instant::now();
            assert!(chat.messages().unwrap().is_empty());
            slowest = slowest.max(asked.elapsed());
            std::thread::sleep(Duration::from_millis(1));
        }
        sending.join().unwrap()
    });
    assert!(matches!(result, Err(Failure::ContextFull { .. })));
    let whole = started.elapsed();
    assert!(slowest < whole / 3, "waited {slowest:?} of {whole:?}");
    assert!(chat.messages().unwrap().is_empty());

    // The start that is under way fails as any call on a closed chat.
    let (closing, result) = std::thread::scope(|scope| {
        let sending = scope.spawn(|| send(&chat, &text).map(drop));
        std::thread::sleep(whole / 4);
        let asked = Instant::now();
        chat.close();
        (asked.elapsed(), sending.join().unwrap())
    });
    assert!(matches!(result, Err(Failure::Closed)), "{result:?}");
    assert!(closing < whole / 3, "closing took {closing:?} of {whole:?}");
}

#[test]
fn a_second_answer_is_refused_while_one_starts_and_waits_once_that_is_cancelled() {
    let model = scripted();
    let chat = long_chat(&model);
    let text = "never too much. ".repeat(60_000);
    // On a machine with other work the start can be over before this thread has its turn.
    let seen = (0..20).any(|_| {
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| send(&chat, &text).map(|reply| finish(&reply)));
            let mut busy = false;
            while !busy && !sending.is_finished() {
                std::thread::sleep(Duration::from_millis(1));
                busy = matches!(chat.reset(), Err(Failure::Busy));
            }
            if !busy {
                return false;
            }
            chat.cancel();
            chat.reset().unwrap();
            let (_, reason, _) = sending.join().unwrap().unwrap().unwrap();
            assert_eq!(reason, FinishReason::Cancelled);
            true
        })
    });
    assert!(seen, "nothing was ever under way");
    assert!(chat.messages().unwrap().is_empty());
}

#[cfg(feature = "provoke-panics")]
#[test]
fn a_panic_is_an_error_with_its_place_and_the_library_lives() {
    let model = scripted();
    let told = |result: Result<(), Failure>| match result {
        Err(Failure::Internal { place, what }) => {
            assert!(place.contains("provoke.rs:"), "{place}");
            assert!(!format!("{place}{what}").contains("provoked"), "{what}");
        }
        other => panic!("{other:?}"),
    };
    let other = chat(&model);
    for text in [
        "\u{0}provoke a panic",
        "\u{0}provoke a panic in a pool task",
    ] {
        for _ in 0..2 {
            let chat = chat(&model);
            told(finish(&send(&chat, text).unwrap()).map(drop));
            assert!(chat.is_closed());
            assert!(matches!(send(&chat, "hi"), Err(Failure::Closed)));
            assert!(matches!(chat.messages(), Err(Failure::Closed)));
            let reply = block_on(model.clone().complete(text.into(), greedy())).unwrap();
            told(finish(&reply).map(drop));
            if !text.ends_with("task") {
                told(block_on(model.tokenize(text.into(), false)).map(drop));
            }
        }
    }
    assert_eq!(
        finish(&send(&other, "think").unwrap()).unwrap().0,
        "It is 42."
    );
}
