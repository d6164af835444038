//! Which files are mapped and which are read in, and what becomes of a model whose file changes.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;
mod tiny;

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use dormouse::gguf::{FileAccess, Gguf, Source};
use dormouse::model::{ContextOptions, Fits, KvType, LoadOptions, Model, memory_plan};
use dormouse::{Error, Result};
use tiny::{Tiny, f32_bytes};

/// A model's file that is gone at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn with_mode(bytes: &[u8], mode: u32) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("dormouse-access-{}-{count}.gguf", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        Self(path)
    }

    fn source(&self) -> Source {
        Source::path(&self.0)
    }

    fn cut(&self, length: u64) {
        File::options()
            .write(true)
            .open(&self.0)
            .unwrap()
            .set_len(length)
            .unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn file() -> Vec<u8> {
    Tiny::llama(3).build(f32_bytes).build()
}

fn load(source: &Source, access: FileAccess) -> Result<Model> {
    let mut options = LoadOptions::default();
    options.threads = Some(1);
    options.file_access = access;
    Model::load(source, options)
}

fn logits(model: &Model) -> Vec<f32> {
    let mut decoder = model.decoder(&ContextOptions::default()).unwrap();
    let mut out = vec![0.0; decoder.vocab_size()];
    decoder.forward(&[104, 101, 108], Some(&mut out)).unwrap();
    out
}

#[test]
fn files_that_others_can_write_are_read_in_and_compute_the_same() {
    let own = Scratch::with_mode(&file(), 0o644);
    let shared = Scratch::with_mode(&file(), 0o666);
    let (own_model, shared_model) = (
        load(&own.source(), FileAccess::Auto).unwrap(),
        load(&shared.source(), FileAccess::Auto).unwrap(),
    );
    assert!(own_model.gguf().is_mapped() && !shared_model.gguf().is_mapped());
    assert_eq!(logits(&own_model), logits(&shared_model));
    assert!(
        load(&shared.source(), FileAccess::Map)
            .unwrap()
            .gguf()
            .is_mapped()
    );
    assert!(
        !load(&own.source(), FileAccess::ReadIn)
            .unwrap()
            .gguf()
            .is_mapped()
    );
    let window = Source::Window {
        file: File::open(&shared.0).unwrap(),
        offset: 0,
        length: file().len() as u64,
    };
    let from_window = load(&window, FileAccess::Auto).unwrap();
    assert!(!from_window.gguf().is_mapped());
    assert_eq!(logits(&from_window), logits(&own_model));
}

#[test]
fn a_model_that_was_read_in_outlives_its_file() {
    for length in [0, 100, file().len() as u64 / 2] {
        let scratch = Scratch::with_mode(&file(), 0o666);
        let model = load(&scratch.source(), FileAccess::Auto).unwrap();
        let before = logits(&model);
        scratch.cut(length);
        assert_eq!(logits(&model), before);
        // Texts of the metadata are read when they are asked for.
        let strings = model.gguf().metadata().strings("tokenizer.ggml.tokens");
        assert!(!strings.unwrap().unwrap().is_empty());
        assert!(load(&scratch.source(), FileAccess::Auto).is_err());
    }
}

#[test]
fn a_file_that_is_cut_between_its_header_and_its_weights_is_an_error() {
    // Longer than what is read to find the header.
    let mut tiny = Tiny::llama(3);
    tiny.matrix("extra.weight", 2048, 256);
    let whole = tiny.build(f32_bytes).build();
    assert!(whole.len() > 2 << 20);
    let scratch = Scratch::with_mode(&whole, 0o666);
    let gguf = Gguf::open(&scratch.source()).unwrap();
    scratch.cut(whole.len() as u64 - 1);
    let error = gguf.parts()[0].contents(&mut |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("cut short"), "{error}");
    assert!(matches!(error, Error::CorruptModel { .. }), "{error:?}");
}

#[test]
fn reading_in_tells_how_far_it_is_and_can_be_ended() {
    let mut tiny = Tiny::llama(3);
    // More than two of the steps that it is read in.
    tiny.matrix("extra.weight", 20 << 10, 256);
    let scratch = Scratch::with_mode(&tiny.build(f32_bytes).build(), 0o666);
    let gguf = Gguf::open(&scratch.source()).unwrap();
    let mut told = Vec::new();
    gguf.parts()[0]
        .contents(&mut |share| {
            told.push(share);
            Ok(())
        })
        .unwrap();
    assert!(
        told.len() >= 3 && told.is_sorted() && told[0] == 0.0,
        "{told:?}"
    );
    let mut times = 0;
    let ended = gguf.parts()[0].contents(&mut |_| {
        times += 1;
        if times == 2 {
            Err(Error::Cancelled)
        } else {
            Ok(())
        }
    });
    assert!(matches!(ended, Err(Error::Cancelled)), "{ended:?}");
    assert_eq!(times, 2);
}

#[test]
fn headers_longer_than_the_first_look_are_read_whole() {
    let text = "x".repeat(5 << 20);
    let tiny = Tiny::llama(3);
    let bytes = tiny.build(f32_bytes).str("a.long.text", &text).build();
    let scratch = Scratch::with_mode(&bytes, 0o666);
    let gguf = Gguf::open(&scratch.source()).unwrap();
    assert_eq!(gguf.metadata().str("a.long.text").unwrap(), Some(&*text));
    load(&scratch.source(), FileAccess::Auto).unwrap();
    // The same damage is told of a file whether it is mapped or not.
    for length in [20, 4096, 1 << 20, (1 << 20) + 1, 3 << 20, bytes.len() - 1] {
        let cut = Scratch::with_mode(&bytes[..length], 0o666);
        let errors = [FileAccess::Auto, FileAccess::Map].map(|access| {
            Gguf::open_as(&cut.source(), access)
                .unwrap_err()
                .to_string()
        });
        assert_eq!(errors[0], errors[1], "{length} bytes");
    }
}

#[test]
fn what_is_read_in_counts_as_memory_that_cannot_be_dropped() {
    let scratch = Scratch::with_mode(&file(), 0o666);
    let plan = |access| {
        let gguf = Gguf::open_as(&scratch.source(), access).unwrap();
        memory_plan(&gguf, &ContextOptions::default(), KvType::F16).unwrap()
    };
    let (mapped, read) = (plan(FileAccess::Map), plan(FileAccess::Auto));
    assert_eq!(read.weights, file().len() as u64);
    assert!(mapped.weights < read.weights);
    let few = Some(mapped.total() - mapped.weights);
    assert_eq!(
        (mapped.fits(0, few), read.fits(0, few)),
        (Fits::Tight, Fits::No)
    );

    let mut options = LoadOptions::default();
    options.memory_budget = Some(file().len() as u64);
    let refused = Model::load(&scratch.source(), options);
    assert!(
        matches!(refused, Err(Error::OutOfMemory { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_file_without_permission_is_an_error() {
    let closed = Scratch::with_mode(&file(), 0o000);
    let open = Scratch::with_mode(&file(), 0o644);
    // A thread of its own: what it gives up is gone for good.
    let refused = std::thread::scope(|scope| {
        let work = || {
            // The administrator may read it all the same.
            if File::open(&closed.0).is_ok() {
                give_up_privileges();
            }
            assert!(File::open(&open.0).is_ok(), "nobody can reach the folder");
            load(&closed.source(), FileAccess::Auto)
        };
        scope.spawn(work).join().unwrap()
    });
    match refused {
        Err(Error::Io { source, .. }) => {
            assert_eq!(source.kind(), std::io::ErrorKind::PermissionDenied);
        }
        other => panic!("{other:?}"),
    }
}

/// Lets the calling thread open files as nobody does, who may read only what all may.
#[cfg(target_os = "linux")]
fn give_up_privileges() {
    const NOBODY: u32 = 65534;
    // SAFETY: the calls take no pointers, and change the rights of this thread alone.
    let now = unsafe {
        libc::setfsgid(NOBODY);
        libc::setfsuid(NOBODY);
        // Which changes nothing and tells what it is.
        libc::setfsuid(u32::MAX)
    };
    assert_eq!(now as u32, NOBODY, "the test may not become another user");
}

#[cfg(not(target_os = "linux"))]
fn give_up_privileges() {
    panic!("to be run as an ordinary user");
}
