//! Each kind of error raised for real, and loading watched and ended: through the surface that Kotlin
//! and Swift use.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};

use common::{
    block_on, chat, chat_of, finish, greedy, load, load_settings, message, scripted, send, source,
    tiny_models, try_load,
};
use dormouse_ffi::{
    CallToken, EnergyPolicy, Failure, FinishReason, LoadSettings, ModelSource, Plan, ReplySettings,
    Role, Tool, begin_load, plan,
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
        block_on(
            chat.clone()
                .send(vec![message(Role::User, "hi")], settings, CallToken::new()),
        )
        .map(drop)
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
fn plan_and_load_tell_the_same_of_what_is_wrong() {
    let file = tiny_models().join("scripted.gguf");
    let broken = Some("{% if".to_owned());
    let long = Some(1 << 30);
    let cases = [
        (broken.clone(), None, Some(1), "Template"),
        (broken, long, Some(1), "Template"),
        (None, long, Some(1), "InvalidOptions"),
    ];
    for (chat_template, context_length, memory_budget, kind) in cases {
        let settings = LoadSettings {
            chat_template,
            context_length,
            memory_budget,
            ..load_settings()
        };
        let planned = block_on(plan(source(&file), settings.clone())).unwrap_err();
        let loaded = try_load(source(&file), settings).map(drop).unwrap_err();
        assert!(format!("{planned:?}").starts_with(kind), "{planned:?}");
        assert!(format!("{loaded:?}").starts_with(kind), "{loaded:?}");
    }
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
    let reply = block_on(
        model
            .clone()
            .complete("Once".into(), settings, CallToken::new()),
    )
    .unwrap();
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
            let reply = block_on(
                model
                    .clone()
                    .complete(text.into(), greedy(), CallToken::new()),
            )
            .unwrap();
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
