//! Embeddings, adapters and how a file is reached, through the surface that Kotlin and Swift use.
#![allow(clippy::unwrap_used)]

mod common;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use common::{
    block_on, chat, finish, greedy, load, load_settings, message, scripted, send, source, starting,
    tiny_models, try_load,
};
use dormouse::gguf::Source;
use dormouse::model::{EmbedOptions, LoadOptions, Model};
use dormouse_ffi::{
    AdapterHandle, CallToken, ChatHandle, Failure, FileAccess, LoadSettings, MemoryNeeds,
    ModelHandle, Plan, Pooling, Role, ScaledAdapter, plan,
};

fn tiny() -> Arc<ModelHandle> {
    load(&tiny_models().join("tiny.gguf"))
}

fn embed(model: &ModelHandle, text: &str, pooling: Option<Pooling>) -> Result<Vec<f32>, Failure> {
    block_on(model.begin_embed(text.to_owned(), pooling)?.vector())
}

#[test]
fn embeddings_are_the_engines_own() {
    let model = tiny();
    let engine = Source::path(tiny_models().join("tiny.gguf"));
    let engine = Model::load(&engine, LoadOptions::default()).unwrap();
    for text in ["Dormice sleep.", "a", "<|im_end|>", "冬眠 🐭"] {
        let mut vectors = Vec::new();
        for pooling in [
            None,
            Some(Pooling::Mean),
            Some(Pooling::First),
            Some(Pooling::Last),
        ] {
            let vector = embed(&model, text, pooling).unwrap();
            let mut options = EmbedOptions::default();
            options.pooling = pooling.map(Into::into);
            assert_eq!(vector, engine.embed(text, &options).unwrap(), "{text}");
            assert_eq!(vector.len(), model.info().embedding_length as usize);
            vectors.push(vector);
        }
        // The file asks for the mean.
        assert_eq!(vectors[0], vectors[1]);
        assert_eq!(vectors[1] == vectors[2], text.len() == 1);
    }
}

#[test]
fn what_cannot_be_embedded_says_why() {
    let unsaid = embed(&scripted(), "a", None);
    assert!(
        matches!(&unsaid, Err(Failure::InvalidOptions { what }) if what.contains("pool")),
        "{unsaid:?}"
    );
    embed(&scripted(), "a", Some(Pooling::Last)).unwrap();
    let model = tiny();
    let empty = embed(&model, "", None);
    assert!(
        matches!(empty, Err(Failure::InvalidOptions { .. })),
        "{empty:?}"
    );
    assert_eq!(embed(&model, &"x".repeat(512), None).unwrap().len(), 64);
    match embed(&model, &"x".repeat(513), None) {
        Err(Failure::ContextFull { used, max }) => assert_eq!((used, max), (513, 512)),
        other => panic!("{other:?}"),
    }
    // The model fits, and a KV cache for all of the text does not.
    let path = tiny_models().join("tiny.gguf");
    let needs = needs(&path, FileAccess::Auto);
    let settings = LoadSettings {
        memory_budget: Some(needs.total - needs.kv_cache / 2),
        context_length: Some(16),
        ..load_settings()
    };
    let model = try_load(source(&path), settings).unwrap();
    embed(&model, "x", None).unwrap();
    let large = embed(&model, &"x".repeat(500), None);
    assert!(
        matches!(large, Err(Failure::OutOfMemory { .. })),
        "{large:?}"
    );
}

#[test]
fn an_embedding_can_be_ended() {
    let model = tiny();
    let text = "x".repeat(500);
    let task = model.begin_embed(text.clone(), None).unwrap();
    block_on(task.vector()).unwrap();
    assert!(matches!(block_on(task.vector()), Err(Failure::Closed)));

    // Cancelled at once it seldom gets to its end; over many tries some are cut short.
    let cut = (0..100).filter(|_| {
        let task = model.begin_embed(text.clone(), None).unwrap();
        task.cancel();
        match block_on(task.vector()) {
            Ok(_) => false,
            Err(Failure::Cancelled) => true,
            Err(other) => panic!("{other}"),
        }
    });
    assert!(cut.count() > 0, "no embedding was ever cut short");

    let closed = (0..20).filter(|_| {
        let model = tiny();
        let tasks: Vec<_> = (0..4)
            .map(|_| model.begin_embed(text.clone(), None).unwrap())
            .collect();
        model.close();
        assert!(matches!(embed(&model, "a", None), Err(Failure::Closed)));
        let ends = tasks.iter().map(|task| block_on(task.vector()));
        ends.fold(false, |closed, end| match end {
            Ok(_) => closed,
            Err(Failure::Closed) => true,
            Err(other) => panic!("{other}"),
        })
    });
    assert!(closed.count() > 0, "no model was closed while it computed");
}

fn adapter(model: &ModelHandle) -> Arc<AdapterHandle> {
    let file = source(&tiny_models().join("adapter.gguf"));
    block_on(model.load_adapter(file)).unwrap()
}

fn set(chat: &Arc<ChatHandle>, adapters: &[(&Arc<AdapterHandle>, f32)]) -> Result<(), Failure> {
    let adapters = adapters.iter().map(|&(adapter, scale)| ScaledAdapter {
        adapter: adapter.clone(),
        scale,
    });
    block_on(
        chat.clone()
            .set_adapters(adapters.collect(), CallToken::new()),
    )
}

/// What a chat that has said nothing yet answers.
fn answer(chat: &Arc<ChatHandle>) -> String {
    let mut settings = greedy();
    settings.max_tokens = Some(24);
    let messages = vec![message(Role::User, "Why do dormice sleep?")];
    let reply = block_on(chat.clone().send(messages, settings, CallToken::new())).unwrap();
    let text = finish(&reply).unwrap().0;
    chat.reset().unwrap();
    text
}

#[test]
fn an_adapter_changes_the_answers_of_its_chats() {
    let model = tiny();
    let (first, second) = (chat(&model), chat(&model));
    let plain = answer(&first);
    let adapter = adapter(&model);
    set(&first, &[(&adapter, 1.0)]).unwrap();
    let adapted = answer(&first);
    assert_ne!(adapted, plain);
    assert_eq!(answer(&second), plain);
    assert_eq!(answer(&first), adapted);

    // Closed while a chat has it, it is only refused anew.
    set(&second, &[(&adapter, 0.0)]).unwrap();
    assert_eq!(answer(&second), plain);
    adapter.close();
    adapter.close();
    assert!(adapter.is_closed());
    assert_eq!(answer(&first), adapted);
    assert!(matches!(
        set(&second, &[(&adapter, 1.0)]),
        Err(Failure::Closed)
    ));
    set(&first, &[]).unwrap();
    assert_eq!(answer(&first), plain);
}

#[test]
fn adapters_that_do_not_fit_are_refused_and_the_former_ones_stay() {
    let model = tiny();
    let chat = chat(&model);
    let own = adapter(&model);
    set(&chat, &[(&own, 1.0)]).unwrap();
    let adapted = answer(&chat);
    let refused = |scaled: &[(&Arc<AdapterHandle>, f32)], word: &str| match set(&chat, scaled) {
        Err(Failure::InvalidOptions { what }) => assert!(what.contains(word), "{what}"),
        other => panic!("{other:?}"),
    };
    // Of another model, if one of the same file.
    refused(&[(&own, 1.0), (&adapter(&tiny()), 1.0)], "another model");
    refused(&[(&own, f32::NAN)], "scale");
    refused(&[(&own, f32::INFINITY)], "scale");
    assert_eq!(answer(&chat), adapted);

    let open = |model: &ModelHandle, name: &str| {
        let path = tiny_models().join(name);
        block_on(model.load_adapter(source(&path))).map(drop)
    };
    let missing = open(&model, "nothing.gguf");
    assert!(
        matches!(&missing, Err(Failure::NotFound { what }) if what.contains("nothing.gguf")),
        "{missing:?}"
    );
    for (model, name) in [(&model, "tiny.gguf"), (&scripted(), "adapter.gguf")] {
        let refused = open(model, name);
        assert!(
            matches!(
                refused,
                Err(Failure::UnsupportedModel { .. } | Failure::CorruptModel { .. })
            ),
            "{refused:?}"
        );
    }
}

#[test]
fn adapters_are_not_changed_while_the_chat_answers_or_when_it_is_closed() {
    let model = scripted();
    let chat = chat(&model);
    let reply = send(&chat, "forever").unwrap();
    assert!(matches!(set(&chat, &[]), Err(Failure::Busy)));
    // One that was cancelled is waited for.
    reply.cancel();
    set(&chat, &[]).unwrap();
    chat.close();
    assert!(matches!(set(&chat, &[]), Err(Failure::Closed)));
    model.close();
    let file = source(&tiny_models().join("adapter.gguf"));
    let closed = block_on(model.load_adapter(file)).map(drop);
    assert!(matches!(closed, Err(Failure::Closed)), "{closed:?}");
}

#[test]
fn adapters_of_a_call_that_was_given_up_are_not_set_later() {
    let model = tiny();
    let chat = chat(&model);
    let plain = answer(&chat);
    let adapter = adapter(&model);
    let set_then = |then: &dyn Fn(&CallToken)| {
        // One that was cancelled while it starts has to be waited for.
        let (_sending, start) = starting(&chat);
        start.cancel();
        let mut context = Context::from_waker(Waker::noop());
        let token = CallToken::new();
        let scaled = vec![ScaledAdapter {
            adapter: adapter.clone(),
            scale: 1.0,
        }];
        let mut setting = pin!(chat.clone().set_adapters(scaled, token.clone()));
        let is_pending = setting.as_mut().poll(&mut context).is_pending();
        then(&token);
        is_pending
    };
    for then in [&|token: &CallToken| token.cancel(), &|_: &CallToken| {}] as [&dyn Fn(&_); 2] {
        // On a machine with other work the start can be over, and then they are set.
        let given_up = (0..20).any(|_| {
            let is_pending = set_then(then);
            while Arc::strong_count(&chat) > 1 {
                std::thread::sleep(Duration::from_millis(1));
            }
            chat.reset().unwrap();
            if is_pending {
                assert_eq!(answer(&chat), plain);
                chat.reset().unwrap();
            } else {
                set(&chat, &[]).unwrap();
            }
            is_pending
        });
        assert!(given_up, "every start was over before it was seen");
    }
}

fn needs(path: &Path, access: FileAccess) -> MemoryNeeds {
    let settings = LoadSettings {
        file_access: access,
        ..load_settings()
    };
    match block_on(plan(source(path), settings)).unwrap() {
        Plan::Fits { needs, .. } => needs,
        other => panic!("{other:?}"),
    }
}

/// `tiny.gguf` with these permissions.
#[cfg(unix)]
fn with_mode(name: &str, mode: u32) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::copy(tiny_models().join("tiny.gguf"), &path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[cfg(unix)]
#[test]
fn a_file_that_others_can_write_is_read_in_and_counts_as_long_as_it_is() {
    let (own, open) = (
        with_mode("own.gguf", 0o600),
        with_mode("open-to-all.gguf", 0o666),
    );
    let length = std::fs::metadata(&own).unwrap().len();
    let mapped = needs(&own, FileAccess::Auto).weights;
    assert!(mapped < length, "{mapped} of {length}");
    for (path, access, weights) in [
        (&own, FileAccess::Map, mapped),
        (&own, FileAccess::ReadIn, length),
        (&open, FileAccess::Auto, length),
        (&open, FileAccess::Map, mapped),
        (&open, FileAccess::ReadIn, length),
    ] {
        let needs = needs(path, access);
        assert_eq!(needs.weights, weights, "{path:?} {access:?}");
        assert_eq!(
            needs.total,
            needs.weights + needs.kv_cache + needs.buffers,
            "{access:?}"
        );
        // What is planned is what is loaded.
        let with = |budget| LoadSettings {
            memory_budget: Some(budget),
            file_access: access,
            ..load_settings()
        };
        assert!(matches!(
            try_load(source(path), with(needs.weights + needs.buffers - 1)),
            Err(Failure::OutOfMemory { .. })
        ));
        let model = try_load(source(path), with(needs.total)).unwrap();
        embed(&model, "a", None).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn a_model_that_was_read_in_outlives_its_file() {
    let path = with_mode("cut-later.gguf", 0o600);
    let settings = LoadSettings {
        file_access: FileAccess::ReadIn,
        ..load_settings()
    };
    let model = try_load(source(&path), settings).unwrap();
    let before = embed(&model, "a", None).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(0).unwrap();
    assert_eq!(embed(&model, "a", None).unwrap(), before);
}

#[test]
fn a_plan_refuses_what_is_no_template_as_loading_does() {
    let settings = LoadSettings {
        chat_template: Some("{% if".into()),
        ..load_settings()
    };
    let path = tiny_models().join("scripted.gguf");
    let refused = block_on(plan(source(&path), settings));
    assert!(
        matches!(refused, Err(Failure::Template { .. })),
        "{refused:?}"
    );
}
