//! The GGUF reader on sound files, on windows of files, and on everything a damaged or hostile
//! file can hold: always a typed error that names the place, never a panic, never a wait.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dormouse::gguf::{Builder, Gguf, Source, Value as MetaValue};
use dormouse::model::{ContextOptions, GgmlType, KvType, memory_plan};
use dormouse::{Error, Result};

/// A place for a file that is gone at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("dormouse-gguf-{}-{count}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn with(bytes: &[u8]) -> Self {
        let scratch = Self::new();
        std::fs::write(&scratch.0, bytes).unwrap();
        scratch
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn parse(bytes: &[u8]) -> Result<Gguf> {
    Gguf::open(&Source::path(&Scratch::with(bytes).0))
}

/// A file with every kind of value that the builder knows, and hyperparameters of a model.
fn sample() -> Builder {
    Builder::new()
        .str("general.architecture", "llama")
        .u32("llama.embedding_length", 32)
        .u32("llama.block_count", 1)
        .u32("llama.attention.head_count", 2)
        .u32("llama.feed_forward_length", 64)
        .u32("llama.context_length", 128)
        .f32("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .bool("flag", true)
        .strings("tokenizer.ggml.tokens", &["a", "b"])
        .i32s("ints", &[-1, 2])
        .f32s("floats", &[0.5])
        .tensor("vector", &[4], 0, &[1; 16])
        .tensor("matrix", &[32, 2], 2, &[2; 36])
}

fn numbers(gguf: &Gguf, key: &str) -> Option<Vec<f64>> {
    gguf.metadata().numbers(key).ok()?.map(Iterator::collect)
}

/// Everything in the file, read and in words.
fn contents(gguf: &Gguf) -> String {
    let mut out = String::new();
    for (key, value) in gguf.metadata().iter() {
        let value = match value {
            MetaValue::Array(_) => format!(
                "{:?} {:?}",
                gguf.metadata().strings(key).ok(),
                numbers(gguf, key)
            ),
            other => format!("{other:?}"),
        };
        out += &format!("{key}={value}\n");
    }
    for tensor in gguf.tensors() {
        let start = tensor.offset as usize;
        let all = gguf.parts()[tensor.part].contents(&mut |_| Ok(())).unwrap();
        let bytes = &all[start..start + tensor.bytes as usize];
        out += &format!(
            "{} {:?} {:?} {bytes:?}\n",
            tensor.name, tensor.dims, tensor.ty
        );
    }
    out
}

/// The error's kind and sentence, which must name `place`.
fn refused<T: std::fmt::Debug>(result: Result<T>, kind: &str, place: &str) {
    let error = result.expect_err(place);
    let debug = format!("{error:?}");
    assert!(
        debug.starts_with(kind),
        "{kind} is wanted for {place}: {debug}"
    );
    assert!(error.to_string().contains(place), "{place}: {error}");
}

fn replaced(bytes: &[u8], at: usize, with: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + with.len()].copy_from_slice(with);
    bytes
}

/// Where `needle` begins.
fn find(bytes: &[u8], needle: &str) -> usize {
    let mut windows = bytes.windows(needle.len());
    windows.position(|w| w == needle.as_bytes()).unwrap()
}

#[test]
fn versions_2_and_3_read_alike() {
    let three = sample().build();
    let two = replaced(&three, 4, &2u32.to_le_bytes());
    let (three, two) = (parse(&three).unwrap(), parse(&two).unwrap());
    assert_eq!((two.version(), three.version()), (2, 3));
    assert_eq!(contents(&two), contents(&three));
    let all = contents(&three);
    for part in [
        "flag=Bool(true)",
        "[-1.0, 2.0]",
        "[0.5]",
        "vector [4]",
        "[2, 2, 2",
    ] {
        assert!(all.contains(part), "{part} in {all}");
    }
}

#[test]
fn windows_at_any_offset_read_like_the_whole_file() {
    let bytes = sample().build();
    let expected = contents(&parse(&bytes).unwrap());
    for (before, after) in [(0, 0), (1, 0), (0, 5), (31, 7), (4095, 1), (4097, 8191)] {
        let mut file = vec![b'G'; before];
        file.extend(&bytes);
        file.extend(vec![0xff; after]);
        let scratch = Scratch::with(&file);
        let file = File::open(&scratch.0).unwrap();
        let source = Source::Window {
            file,
            offset: before as u64,
            length: bytes.len() as u64,
        };
        let gguf = Gguf::open(&source).unwrap();
        assert_eq!(contents(&gguf), expected, "window at {before}");
        assert_eq!(gguf.file_bytes(), bytes.len() as u64);
    }
}

#[test]
fn windows_outside_the_file_and_no_files_are_errors() {
    let scratch = Scratch::with(&sample().build());
    let length = std::fs::metadata(&scratch.0).unwrap().len();
    let window = |offset, length| {
        let file = File::open(&scratch.0).unwrap();
        Gguf::open(&Source::Window {
            file,
            offset,
            length,
        })
    };
    refused(window(1, length), "CorruptModel", "window");
    refused(window(length + 1, 0), "CorruptModel", "window");
    refused(window(u64::MAX, 2), "CorruptModel", "window");
    refused(window(0, u64::MAX), "CorruptModel", "window");
    refused(window(length, 0), "CorruptModel", "empty");

    refused(parse(b""), "CorruptModel", "empty");
    let folder = std::env::temp_dir();
    refused(
        Gguf::open(&Source::path(&folder)),
        "InvalidArgument",
        "not a regular file",
    );
    let missing = Gguf::open(&Source::path("no/such.gguf"));
    refused(missing, "Io", "no/such.gguf");
}

#[cfg(unix)]
#[test]
fn a_fifo_is_an_error_and_no_wait() {
    let scratch = Scratch::new();
    let status = std::process::Command::new("mkfifo")
        .arg(&scratch.0)
        .status();
    assert!(status.unwrap().success());
    let (sender, receiver) = std::sync::mpsc::channel();
    let path = scratch.0.clone();
    std::thread::spawn(move || {
        // Nobody listens any more once the test has failed.
        let _ = sender.send(Gguf::open(&Source::path(&path)));
    });
    let result = receiver.recv_timeout(Duration::from_secs(10));
    refused(
        result.expect("it hangs"),
        "InvalidArgument",
        "not a regular file",
    );

    let file = File::options()
        .read(true)
        .write(true)
        .open(&scratch.0)
        .unwrap();
    let window = Source::Window {
        file,
        offset: 0,
        length: 0,
    };
    refused(Gguf::open(&window), "InvalidArgument", "not a regular file");
}

#[test]
fn headers_that_are_not_ours_are_named() {
    let bytes = sample().build();
    refused(
        parse(&replaced(&bytes, 0, b"GGML")),
        "CorruptModel",
        "magic",
    );
    for (version, place) in [
        (1u32, "version 1"),
        (4, "version 4"),
        (0, "version 0"),
        (3u32.swap_bytes(), "big-endian"),
        (2u32.swap_bytes(), "big-endian"),
    ] {
        let changed = replaced(&bytes, 4, &version.to_le_bytes());
        refused(parse(&changed), "UnsupportedModel", place);
    }
}

#[test]
fn every_prefix_is_an_error() {
    let bytes = sample().build();
    let scratch = Scratch::with(&bytes);
    for length in 0..bytes.len() as u64 {
        let file = File::open(&scratch.0).unwrap();
        let result = Gguf::open(&Source::Window {
            file,
            offset: 0,
            length,
        });
        let error = result.expect_err("a prefix");
        assert!(
            matches!(error, Error::CorruptModel { .. }),
            "{length}: {error:?}"
        );
    }
}

#[test]
fn no_single_byte_changed_panics_or_takes_long() {
    let bytes = sample().build();
    let table_end = find(&bytes, "matrix") + "matrix".len() + 4 + 16 + 4 + 8;
    let scratch = Scratch::new();
    let (mut read, mut failed) = (0, 0);
    let started = Instant::now();
    for at in 0..table_end {
        // All changes of this byte one after the other in one file, opened as windows.
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&scratch.0)
            .unwrap();
        let mut all = Vec::with_capacity(255 * bytes.len());
        for change in 1..=255 {
            all.extend(replaced(&bytes, at, &[bytes[at] ^ change]));
        }
        file.write_all(&all).unwrap();
        for index in 0..255 {
            let source = Source::Window {
                file: file.try_clone().unwrap(),
                offset: index * bytes.len() as u64,
                length: bytes.len() as u64,
            };
            match Gguf::open(&source) {
                Ok(gguf) => {
                    read += 1;
                    contents(&gguf);
                    // The hyperparameters may be anything now; the plan must bear it.
                    let _ = memory_plan(&gguf, &ContextOptions::default(), KvType::F16);
                }
                Err(error) => {
                    failed += 1;
                    assert!(!matches!(error, Error::Internal { .. }), "{at}: {error:?}");
                }
            }
        }
    }
    // Both happen: names may change, sizes may not.
    assert!(
        read > 1000 && failed > 1000,
        "{read} read, {failed} refused"
    );
    assert!(
        started.elapsed() < Duration::from_secs(60),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn huge_counts_are_refused_before_anything_is_allocated() {
    let bytes = sample().build();
    let entry = find(&bytes, "tokenizer.ggml.tokens") + "tokenizer.ggml.tokens".len();
    let arch = find(&bytes, "general.architecture");
    let tensor = find(&bytes, "vector") + "vector".len();
    for (at, place) in [
        (8, "tensor count"),
        (16, "metadata count"),
        (arch - 8, "metadata entry 0"),
        (arch + 20 + 4, "general.architecture"),
        (entry + 8, "tokenizer.ggml.tokens"),
        (entry + 16, "tokenizer.ggml.tokens"),
        (find(&bytes, "ints") + 4 + 8, "ints"),
        (find(&bytes, "vector") - 8, "tensor 0"),
        (tensor + 4, "vector"),
        (tensor + 4 + 8 + 4, "vector"),
    ] {
        for count in [1u64 << 63, u64::MAX, 1 << 40, u64::MAX / 4] {
            refused(
                parse(&replaced(&bytes, at, &count.to_le_bytes())),
                "CorruptModel",
                place,
            );
        }
    }
}

#[test]
fn every_type_has_its_size_and_whole_blocks() {
    for ty in GgmlType::ALL {
        let (len, bytes) = (ty.block_len() as u64, ty.block_bytes());
        let file = |dims: &[u64], size| {
            common::open(&Builder::new().tensor("t", dims, ty.id(), &vec![0; size]))
        };
        let gguf = file(&[2 * len, 3], 6 * bytes).unwrap();
        let tensor = &gguf.tensors()[0];
        assert_eq!(tensor.ty.name(), ty.name());
        assert_eq!(tensor.bytes, 6 * bytes as u64, "{}", ty.name());
        refused(
            file(&[2 * len, 3], 6 * bytes - 1),
            "CorruptModel",
            &format!("t: its {} bytes end past", 6 * bytes),
        );
        if len > 1 {
            // As many weights, but rows that end within a block.
            refused(
                file(&[3 * len / 2, 4], 6 * bytes),
                "CorruptModel",
                &format!(
                    "t: {} columns are no multiple of {}'s block of {len}",
                    3 * len / 2,
                    ty.name()
                ),
            );
        }
    }
}

#[test]
fn tables_that_contradict_themselves_are_refused() {
    let base = Builder::new().str("general.architecture", "llama");
    let opened = |builder: Builder| common::open(&builder);
    refused(
        opened(base.clone().u32("k", 1).u32("k", 2)),
        "CorruptModel",
        "k: the key stands twice",
    );
    let twice = base
        .clone()
        .tensor("t", &[1], 0, &[0; 4])
        .tensor("t", &[1], 0, &[0; 4]);
    refused(opened(twice), "CorruptModel", "t: the tensor stands twice");
    let one = |dims: &[u64], ty| opened(base.clone().tensor("odd", dims, ty, &[0; 64]));
    let nameless = base.clone().tensor("", &[4], 0, &[0; 16]);
    refused(opened(nameless), "CorruptModel", "tensor 0: it has no name");
    let unkeyed = base.clone().u32("", 1).u32("", 2);
    refused(opened(unkeyed), "CorruptModel", "the empty key: the key");
    refused(one(&[4, 0], 0), "CorruptModel", "odd: a dimension is zero");
    refused(one(&[], 0), "CorruptModel", "odd: 0 dimensions");
    refused(one(&[1; 5], 0), "CorruptModel", "odd: 5 dimensions");
    refused(
        one(&[1 << 32, 1 << 32], 0),
        "CorruptModel",
        "odd: its size overflows",
    );
    refused(one(&[1 << 62], 0), "CorruptModel", "odd");
    refused(
        one(&[32, 1 << 33, 1 << 33, 2], 17),
        "CorruptModel",
        "odd: its size overflows",
    );
    refused(one(&[33], 2), "CorruptModel", "odd: 33 columns");
    refused(
        one(&[100], 0),
        "CorruptModel",
        "odd: its 400 bytes end past",
    );
    refused(
        opened(base.clone().u32("general.alignment", 24)),
        "CorruptModel",
        "general.alignment",
    );
    refused(
        opened(base.clone().u32("general.alignment", 0)),
        "CorruptModel",
        "general.alignment",
    );

    let bytes = base.clone().tensor("odd", &[8], 0, &[0; 32]).build();
    let offset = find(&bytes, "odd") + 3 + 4 + 8 + 4;
    let moved = |by: u64| parse(&replaced(&bytes, offset, &by.to_le_bytes()));
    assert!(moved(0).is_ok());
    refused(moved(1), "CorruptModel", "odd: its offset 1 is not aligned");
    refused(moved(32), "CorruptModel", "odd: its 32 bytes end past");
    refused(moved(u64::MAX - 31), "CorruptModel", "odd");
    let two = base
        .clone()
        .tensor("first", &[16], 0, &[0; 64])
        .tensor("second", &[16], 0, &[0; 64])
        .build();
    let offset = find(&two, "second") + 6 + 4 + 8 + 4;
    for (at, place) in [
        (0u64, "second: its bytes overlap those of first"),
        (32, "second: its bytes overlap those of first"),
    ] {
        refused(
            parse(&replaced(&two, offset, &at.to_le_bytes())),
            "CorruptModel",
            place,
        );
    }
    assert!(parse(&two).is_ok());
    assert!(opened(base.alignment(64).tensor("a", &[1], 0, &[0; 4])).is_ok());
}
