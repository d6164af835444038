//! Models split into several files: opened by any part, the same as the whole; and every way in
//! which the parts can fail to fit together.
#![allow(clippy::unwrap_used)]

mod common;
mod tiny;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dormouse::gguf::{Builder, Gguf, Part, Source};
use dormouse::model::{ContextOptions, LoadOptions, Model};
use dormouse::{Error, Result};
use tiny::{Tiny, f32_bytes};

/// A folder that is gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("dormouse-split-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn part(&self, no: u16, count: u16) -> PathBuf {
        self.0.join(format!("m-{:05}-of-{count:05}.gguf", no + 1))
    }

    /// Writes the parts under the names that they ought to have.
    fn with(parts: &[Builder]) -> Self {
        let folder = Self::new();
        for (no, part) in parts.iter().enumerate() {
            part.write(folder.part(no as u16, parts.len() as u16))
                .unwrap();
        }
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn open(path: &Path) -> Result<Gguf> {
    Gguf::open(&Source::path(path))
}

fn keyed(builder: Builder, no: u16, count: u16, tensors: i32) -> Builder {
    builder
        .u16("split.no", no)
        .u16("split.count", count)
        .i32("split.tensors.count", tensors)
}

/// Three parts with a tensor each.
fn three() -> [Builder; 3] {
    let base = Builder::new().str("general.architecture", "llama");
    [
        keyed(base, 0, 3, 3).tensor("a", &[4], 0, &[1; 16]),
        // An alignment of its own.
        keyed(Builder::new().alignment(64), 1, 3, 3).tensor("b", &[4], 0, &[2; 16]),
        keyed(Builder::new(), 2, 3, 3).tensor("c", &[4], 0, &[3; 16]),
    ]
}

/// The error's kind and sentence, which must name `place`; the same whichever part is given.
fn refused(parts: &[Builder; 3], kind: &str, place: &str) {
    let folder = Folder::with(parts);
    let result = open(&folder.part(0, 3));
    check(result, kind, place);
}

fn check<T: std::fmt::Debug>(result: Result<T>, kind: &str, place: &str) {
    let error = result.expect_err(place);
    let debug = format!("{error:?}");
    assert!(
        debug.starts_with(kind),
        "{kind} is wanted for {place}: {debug}"
    );
    assert!(error.to_string().contains(place), "{place}: {error}");
}

#[test]
fn any_part_opens_the_whole_model() {
    let folder = Folder::with(&three());
    for no in 0..3 {
        let gguf = open(&folder.part(no, 3)).unwrap();
        assert_eq!(gguf.architecture().unwrap(), "llama");
        let whole = |part: &Arc<Part>| part.contents(&mut |_| Ok(())).unwrap();
        let contents: Vec<_> = gguf.parts().iter().map(whole).collect();
        let found: Vec<(&str, usize, &[u8])> = gguf
            .tensors()
            .iter()
            .map(|tensor| {
                let start = tensor.offset as usize;
                let bytes = &contents[tensor.part][start..start + 16];
                (&*tensor.name, tensor.part, bytes)
            })
            .collect();
        let expected = [
            ("a", 0, &[1; 16][..]),
            ("b", 1, &[2; 16]),
            ("c", 2, &[3; 16]),
        ];
        assert_eq!(found, expected, "by part {no}");
        assert_eq!(gguf.tensor("c").unwrap().part, 2);
        let sizes = (0..3).map(|no| std::fs::metadata(folder.part(no, 3)).unwrap().len());
        assert_eq!(gguf.file_bytes(), sizes.sum::<u64>());
    }
}

#[test]
fn one_part_is_a_model_in_one_file() {
    let base = || Builder::new().str("general.architecture", "llama");
    for file in [keyed(base(), 0, 1, 0), keyed(base(), 0, 0, 0)] {
        assert_eq!(common::open(&file).unwrap().parts().len(), 1);
    }
}

#[test]
fn a_split_model_computes_what_the_whole_one_does() {
    let tiny = Tiny::llama(1);
    let run = |model: Model| {
        let mut decoder = model.decoder(&ContextOptions::default()).unwrap();
        let mut logits = vec![0.0; 3 * decoder.vocab_size()];
        decoder.forward_all(&[1, 2, 3], &mut logits).unwrap();
        logits.iter().map(|x| x.to_bits()).collect::<Vec<u32>>()
    };
    let expected = run(tiny.load().unwrap());
    // Metadata alone, then the tensors by turns.
    let mut parts: Vec<Tiny> = vec![tiny.clone(); 3];
    for (no, part) in parts.iter_mut().enumerate() {
        let mut index = 0;
        part.tensors.retain(|_| {
            index += 1;
            no > 0 && index % 2 == no % 2
        });
    }
    let total = tiny.tensors.len() as i32;
    let folder = Folder::with(&[
        keyed(parts[0].build(f32_bytes), 0, 3, total),
        keyed(parts[1].build_bare(f32_bytes), 1, 3, total),
        keyed(parts[2].build_bare(f32_bytes), 2, 3, total),
    ]);
    for no in 0..3 {
        let source = Source::path(folder.part(no, 3));
        let model = Model::load(&source, LoadOptions::default()).unwrap();
        assert!(run(model) == expected, "by part {no}");
    }
}

#[test]
fn missing_parts_are_named_at_once() {
    let folder = Folder::with(&three());
    std::fs::remove_file(folder.part(0, 3)).unwrap();
    std::fs::remove_file(folder.part(2, 3)).unwrap();
    let error = open(&folder.part(1, 3)).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("m-00001-of-00003.gguf"), "{text}");
    assert!(text.contains("m-00003-of-00003.gguf"), "{text}");
    assert!(!text.contains("m-00002"), "{text}");

    // As many as can be claimed: neither a long wait nor a long list.
    let folder = Folder::new();
    let many = keyed(Builder::new(), 7, u16::MAX, 1);
    let path = folder.part(7, u16::MAX);
    many.write(&path).unwrap();
    let started = Instant::now();
    let error = open(&path).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(1));
    let text = error.to_string();
    assert!(text.contains("of the 65535") && text.contains("and more"));
    assert!(text.len() < 1000, "{text}");
}

#[test]
fn parts_that_do_not_belong_together_are_named() {
    let sound = three;
    let tensor = |builder: Builder| builder.tensor("b", &[4], 0, &[2; 16]);
    let with = |part: Builder| {
        let [a, _, c] = sound();
        [a, part, c]
    };
    let at = "m-00002-of-00003.gguf: ";
    for (part, place) in [
        (keyed(Builder::new(), 2, 3, 3), "split.no: it is 2, but 1"),
        (keyed(Builder::new(), 0, 3, 3), "split.no: it is 0, but 1"),
        (
            keyed(Builder::new(), 1, 4, 3),
            "split.count: it is 4, but 3",
        ),
        (
            keyed(Builder::new(), 1, 1, 3),
            "split.count: it is missing, but 3",
        ),
        (Builder::new(), "split.count: it is missing, but 3"),
        (
            Builder::new().u16("split.count", 3),
            "split.no: the key is missing",
        ),
        (
            Builder::new().u16("split.no", 3).u16("split.count", 3),
            "split.no: part 3, counted from 0, of 3",
        ),
        (
            Builder::new().str("split.no", "1").u16("split.count", 3),
            "split.no: an integer is wanted",
        ),
        (
            keyed(Builder::new(), 1, 3, 4),
            "split.tensors.count: it is 4, but 3 in the first part",
        ),
        (
            keyed(Builder::new(), 1, 3, -1),
            "split.tensors.count: a count is wanted",
        ),
    ] {
        refused(&with(tensor(part)), "CorruptModel", &format!("{at}{place}"));
    }
    let twice = keyed(Builder::new(), 1, 3, 3).tensor("a", &[4], 0, &[2; 16]);
    refused(
        &with(twice),
        "CorruptModel",
        &format!("{at}a: part 1 has it too"),
    );
    let none = keyed(Builder::new(), 1, 3, 3);
    refused(
        &with(none),
        "CorruptModel",
        "split.tensors.count: it is 3, but all parts together have 2 tensors",
    );
    // The keys of the parts after the first may be few, those of the first not.
    let lean = tensor(Builder::new().u16("split.no", 1).u16("split.count", 3));
    open(&Folder::with(&with(lean)).part(0, 3)).unwrap();
    let [_, b, c] = sound();
    let lean = Builder::new().u16("split.no", 0).u16("split.count", 3);
    refused(
        &[lean.tensor("a", &[4], 0, &[1; 16]), b, c],
        "CorruptModel",
        "m-00001-of-00003.gguf: split.tensors.count: the key is missing",
    );
}

#[test]
fn counts_that_cannot_be_are_refused() {
    for count in [1 << 16, u32::MAX] {
        let file = Builder::new().u32("split.no", 0).u32("split.count", count);
        check(common::open(&file), "CorruptModel", "split.count");
    }
    let file = Builder::new().str("split.count", "2");
    check(common::open(&file), "CorruptModel", "split.count");
}

#[test]
fn a_part_under_another_name_is_told_what_it_should_be() {
    let folder = Folder::with(&three());
    for name in [
        "m.gguf",
        "m-00001-of-00003.gguf",
        "m-00002-of-00004.gguf",
        "m-2-of-3.gguf",
        "m-00002-of-00003.gguf.bak",
    ] {
        let other = Folder::new();
        let path = other.0.join(name);
        std::fs::copy(folder.part(1, 3), &path).unwrap();
        check(open(&path), "CorruptModel", "-00002-of-00003.gguf");
    }
}

#[test]
fn a_window_cannot_have_the_other_parts() {
    let folder = Folder::with(&three());
    let path = folder.part(1, 3);
    let length = std::fs::metadata(&path).unwrap().len();
    let window = Source::Window {
        file: File::open(&path).unwrap(),
        offset: 0,
        length,
    };
    check(
        Gguf::open(&window),
        "InvalidArgument",
        "this is part 2 of 3 of a split model",
    );
}

#[test]
fn a_damaged_part_is_named() {
    let folder = Folder::with(&three());
    let path = folder.part(2, 3);
    let bytes = std::fs::read(&path).unwrap();
    for length in 0..bytes.len() {
        std::fs::write(&path, &bytes[..length]).unwrap();
        check(
            open(&folder.part(0, 3)),
            "CorruptModel",
            "m-00003-of-00003.gguf",
        );
    }
    std::fs::write(&path, [b"GGUF\x09\0\0\0", &bytes[8..]].concat()).unwrap();
    check(
        open(&folder.part(0, 3)),
        "UnsupportedModel",
        "m-00003-of-00003.gguf: GGUF version 9",
    );
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    check(
        open(&folder.part(0, 3)),
        "InvalidArgument",
        "m-00003-of-00003.gguf is not a regular file",
    );
}

#[test]
fn no_byte_changed_in_a_part_panics() {
    let (mut read, mut failed) = (0, 0);
    for changed in 0..2 {
        let folder = Folder::with(&three());
        let path = folder.part(changed, 3);
        let sound = std::fs::read(&path).unwrap();
        for at in 0..sound.len() {
            for change in [1, 2, 0x80, 0xff] {
                let mut bytes = sound.clone();
                bytes[at] ^= change;
                std::fs::write(&path, &bytes).unwrap();
                match open(&folder.part(2 * changed, 3)) {
                    Ok(_) => read += 1,
                    Err(Error::Internal { what, .. }) => panic!("byte {at}: {what}"),
                    Err(_) => failed += 1,
                }
            }
        }
    }
    // Names and weights may change, what holds the parts together may not.
    assert!(read > 100 && failed > 100, "{read} read, {failed} refused");
}

#[cfg(unix)]
#[test]
fn parts_may_be_links_but_not_to_one_another() {
    // As download caches keep them: names in one folder, contents in another.
    let (blobs, names) = (Folder::with(&three()), Folder::new());
    for no in 0..3 {
        std::os::unix::fs::symlink(blobs.part(no, 3), names.part(no, 3)).unwrap();
    }
    assert_eq!(open(&names.part(1, 3)).unwrap().parts().len(), 3);
    std::fs::remove_file(names.part(1, 3)).unwrap();
    std::os::unix::fs::symlink(blobs.part(0, 3), names.part(1, 3)).unwrap();
    check(
        open(&names.part(0, 3)),
        "CorruptModel",
        "m-00002-of-00003.gguf: split.no: it is 0, but 1",
    );
}
