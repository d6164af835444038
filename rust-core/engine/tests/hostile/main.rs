//! Whole models from damaged files: loaded, tokenized, templated and run. Each ends in an answer or
//! in a typed error: no panic, no wait, no allocation beyond twice the file.
//!
//! The reader alone is in `gguf.rs`, sound files of impossible models in `model_files.rs`.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../tiny/mod.rs"]
mod tiny;

mod allocations;
mod headers;

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use dormouse::gguf::Source;
use dormouse::model::{ContextOptions, EmbedOptions, LoadOptions, Model, Pooling};
use dormouse::template::{Message, RenderOptions};
use dormouse::tokenize::EncodeOptions;
use dormouse::{Error, Result};
use tiny::{Tiny, Value, f32_bytes};

/// What a model of no more than these bytes may take beside twice its file: the work buffers of a
/// chunk, the template's source twice over, and what does not depend on the file.
const BESIDE: usize = 256 << 10;

/// And all of that together.
const BESIDE_TOGETHER: usize = 512 << 10;

/// No single file may keep us longer.
const LONGEST: Duration = Duration::from_secs(1);

/// 1 layer of width 32 and a head that is the embedding.
fn shape(n_vocab: u32) -> Tiny {
    let mut tiny = Tiny::bare("llama", 5);
    for (key, value) in [
        ("embedding_length", 32),
        ("block_count", 1),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
        ("feed_forward_length", 32),
        ("context_length", 64),
        ("rope.dimension_count", 16),
        ("vocab_size", n_vocab),
    ] {
        tiny.set(key, Value::U32(value));
    }
    tiny.set("attention.layer_norm_rms_epsilon", Value::F32(1e-5));
    tiny.set("rope.freq_base", Value::F32(1e4));
    tiny.matrix("token_embd.weight", u64::from(n_vocab), 32);
    tiny.vector("output_norm.weight", 32, 1.0, 0.1);
    tiny.vector("blk.0.attn_norm.weight", 32, 1.0, 0.1);
    tiny.vector("blk.0.ffn_norm.weight", 32, 1.0, 0.1);
    for (part, rows) in [
        ("attn_q", 32),
        ("attn_k", 16),
        ("attn_v", 16),
        ("attn_output", 32),
        ("ffn_gate", 32),
        ("ffn_up", 32),
        ("ffn_down", 32),
    ] {
        tiny.matrix(&format!("blk.0.{part}.weight"), rows, 32);
    }
    tiny
}

/// A model that has some of everything, and is small: a vocabulary of pieces, and a template.
fn model() -> Vec<u8> {
    let pieces = [
        "<unk>",
        "<s>",
        "</s>",
        "<|x|>",
        "\u{2581}",
        "a",
        "b",
        "c",
        "ab",
        "bc",
        "\u{2581}a",
        "aa",
        "\n",
        "<0x0A>",
    ];
    let types = [2, 3, 3, 4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 6];
    let scores = [
        0.0, 0.0, 0.0, 0.0, -9.0, -8.0, -8.0, -8.0, -2.0, -1.0, -3.0, -4.0, -8.0, 0.0,
    ];
    let template = "{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}";
    let file = common::spm_with(&pieces.map(String::from), &scores, &types)
        .u32("tokenizer.ggml.bos_token_id", 1)
        .u32("tokenizer.ggml.eos_token_id", 2)
        .u32("tokenizer.ggml.unknown_token_id", 0)
        .bool("tokenizer.ggml.add_bos_token", true)
        .str("tokenizer.chat_template", template);
    shape(14).build_on(file, f32_bytes).build()
}

/// Where the weights begin.
fn head(file: &[u8]) -> usize {
    let weights = 4 * (14 * 32 + 3 * 32 + 32 * (5 * 32 + 2 * 16));
    file.len() - weights
}

fn options() -> LoadOptions {
    let mut options = LoadOptions::default();
    options.threads = Some(1);
    options
}

/// Everything that a host does with a model.
fn use_it(source: &Source) -> Result<usize> {
    let model = Model::load(source, options())?;
    let tokenizer = model.tokenizer();
    let encode = |parse_special| EncodeOptions {
        add_special: true,
        parse_special,
    };
    let mut tokens = tokenizer.encode("abcab a\nzä\u{1F42D}", encode(false))?;
    tokenizer.decode(&tokens, true);
    let prompt = model
        .template()
        .and_then(|template| template.render(&[Message::user("ab")], &RenderOptions::default()));
    if let Ok(prompt) = prompt {
        tokens.extend(tokenizer.encode(&prompt, encode(true))?);
    }
    let mut decoder = model.decoder(&ContextOptions::default())?;
    tokens.truncate(8);
    let mut logits = vec![0.0; decoder.vocab_size()];
    decoder.forward(&tokens, Some(&mut logits))?;
    drop(decoder);
    let mut options = EmbedOptions::default();
    options.pooling = Some(Pooling::Mean);
    model.embed("ab", &options)?;
    Ok(logits.len())
}

/// How many files were used and how many were refused.
#[derive(Default)]
struct Count {
    used: usize,
    refused: usize,
    slowest: Duration,
    largest: usize,
    most: usize,
}

impl Count {
    /// Uses `source`, a file of `length` bytes; `what` is its story if it ends badly.
    fn take(&mut self, source: &Source, length: usize, what: impl Fn() -> String) {
        let begun = Instant::now();
        let (result, taken) = allocations::of(|| use_it(source));
        let took = begun.elapsed();
        self.slowest = self.slowest.max(took);
        self.largest = self.largest.max(taken.largest);
        self.most = self.most.max(taken.most);
        match result {
            Ok(_) => self.used += 1,
            Err(Error::Internal { what: why, .. }) => panic!("{}: internal: {why}", what()),
            Err(_) => self.refused += 1,
        }
        assert!(took < LONGEST, "{}: {took:?}", what());
        assert!(
            taken.largest <= 2 * length + BESIDE,
            "{}: {} bytes at once for a file of {length}",
            what(),
            taken.largest
        );
        assert!(
            taken.most <= 2 * length + BESIDE_TOGETHER,
            "{}: {} bytes together for a file of {length}",
            what(),
            taken.most
        );
    }

    fn tell(&self, what: &str) {
        println!(
            "{what}: {} used, {} refused; the slowest took {:?}, the largest block had {} bytes, all \
             together {}",
            self.used, self.refused, self.slowest, self.largest, self.most
        );
    }
}

/// A file that is written over again and again, and mapped by its descriptor: nobody cuts it.
struct Scratch {
    path: PathBuf,
    file: File,
}

impl Scratch {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let name = format!("dormouse-hostile-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        file.write_all(bytes).unwrap();
        Self { path, file }
    }

    fn window(&self, length: usize) -> Source {
        Source::Window {
            file: self.file.try_clone().unwrap(),
            offset: 0,
            length: length as u64,
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The whole of it in a long run, else about a tenth.
fn long() -> bool {
    std::env::var_os("DORMOUSE_LONG").is_some()
}

#[test]
fn the_sound_model_is_small_and_answers() {
    let file = model();
    assert!(head(&file) < 3000, "{}", head(&file));
    let scratch = Scratch::new("sound", &file);
    assert_eq!(use_it(&scratch.window(file.len())).unwrap(), 14);
}

#[test]
fn every_prefix_of_a_model_is_refused() {
    let file = model();
    let scratch = Scratch::new("prefix", &file);
    let mut count = Count::default();
    let step = if long() { 1 } else { 7 };
    let mut lengths: Vec<usize> = (0..head(&file)).collect();
    lengths.extend((head(&file)..file.len()).step_by(step));
    for length in lengths {
        count.take(&scratch.window(length), length, || {
            format!("{length} bytes")
        });
    }
    count.tell("prefixes");
    assert_eq!(count.used, 0);
}

#[test]
fn every_byte_of_the_beginning_may_be_another() {
    let file = model();
    let scratch = Scratch::new("byte", &file);
    let mut count = Count::default();
    for (at, &sound) in file[..head(&file)].iter().enumerate() {
        let few = [
            0x01,
            0x02,
            0x08,
            0x20,
            0x40,
            0x80,
            0xff,
            sound,
            sound ^ 0x7f,
        ];
        let all: Vec<u8> = (1..=255).collect();
        let changes = if long() { &all[..] } else { &few[..] };
        for &change in changes.iter().filter(|&&change| change != 0) {
            scratch
                .file
                .write_all_at(&[sound ^ change], at as u64)
                .unwrap();
            let story = || format!("byte {at} is {:#04x}, was {sound:#04x}", sound ^ change);
            count.take(&scratch.window(file.len()), file.len(), story);
        }
        scratch.file.write_all_at(&[sound], at as u64).unwrap();
    }
    count.tell("single bytes");
    assert!(count.used > 1000 && count.refused > 1000);
}

#[test]
fn numbers_that_files_lie_with_are_refused_or_borne() {
    let file = model();
    let scratch = Scratch::new("number", &file);
    let mut count = Count::default();
    let begin = head(&file);
    for at in 4..begin - 8 {
        for number in [
            0,
            1 << 63,
            u64::MAX,
            1 << 40,
            0x7fc0_0000,
            0x7f80_0000_7f80_0000,
            1 << 31,
        ] {
            scratch
                .file
                .write_all_at(&number.to_le_bytes(), at as u64)
                .unwrap();
            let story = || format!("{number:#x} at byte {at}");
            count.take(&scratch.window(file.len()), file.len(), story);
        }
        scratch
            .file
            .write_all_at(&file[at..at + 8], at as u64)
            .unwrap();
    }
    count.tell("numbers");
    assert!(count.used > 100 && count.refused > 1000);
}

#[test]
fn random_bytes_are_refused() {
    let mut state = 7u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as u8
    };
    let file = model();
    let mut count = Count::default();
    let rounds = if long() { 20_000 } else { 2000 };
    let scratch = Scratch::new("random", &file);
    for round in 0..rounds {
        // From nothing but the magic being ours to all of the beginning.
        let sound = (round * 7) % head(&file);
        let mut bytes = file.clone();
        bytes[sound.max(4)..].fill_with(&mut random);
        scratch.file.write_all_at(&bytes, 0).unwrap();
        count.take(&scratch.window(bytes.len()), bytes.len(), || {
            format!("round {round}: random from {sound} on")
        });
    }
    count.tell("random bytes");
    assert!(count.refused > rounds * 9 / 10);
}

#[test]
fn weights_of_every_bit_pattern_are_borne() {
    let file = model();
    let begin = head(&file);
    let scratch = Scratch::new("weights", &file);
    let mut count = Count::default();
    for pattern in [
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        f32::MIN_POSITIVE / 2.0,
        -0.0,
    ] {
        for at in (begin..file.len()).step_by(if long() { 64 } else { 640 }) {
            let end = (at + 64).min(file.len());
            let bytes: Vec<u8> = pattern
                .to_le_bytes()
                .into_iter()
                .cycle()
                .take(end - at)
                .collect();
            scratch.file.write_all_at(&bytes, at as u64).unwrap();
            count.take(&scratch.window(file.len()), file.len(), || {
                format!("{pattern} from byte {at} on")
            });
            scratch
                .file
                .write_all_at(&file[at..end], at as u64)
                .unwrap();
        }
    }
    count.tell("weights");
}

#[test]
fn weights_that_are_no_numbers_make_no_embedding() {
    let file = model();
    for pattern in [f32::NAN, f32::INFINITY] {
        let mut bytes = file.clone();
        // Those of the last norm, which all hidden states pass.
        let norm = head(&file) + 4 * 14 * 32;
        for weight in bytes[norm..norm + 4 * 32].chunks_exact_mut(4) {
            weight.copy_from_slice(&pattern.to_le_bytes());
        }
        let scratch = Scratch::new("embedding", &bytes);
        let model = Model::load(&scratch.window(bytes.len()), options()).unwrap();
        let mut options = EmbedOptions::default();
        options.pooling = Some(Pooling::Last);
        let error = model.embed("ab", &options).unwrap_err();
        assert!(matches!(error, Error::CorruptModel { .. }), "{error:?}");
        assert!(error.to_string().contains("no direction"), "{error}");
    }
}

#[test]
fn vocabularies_of_one_and_of_many_stay_in_bounds() {
    let many = 20_000;
    let numbered: Vec<String> = (0..many).map(|n| format!("{n:x}")).collect();
    let merges: Vec<String> = (16..many)
        .map(|n| format!("{:x} {:x}", n / 16, n % 16))
        .collect();
    let spm = |pieces: &[String]| {
        let scores = vec![0.0; pieces.len()];
        common::spm_with(pieces, &scores, &vec![1; pieces.len()])
            .u32("tokenizer.ggml.bos_token_id", 0)
            .u32("tokenizer.ggml.eos_token_id", 0)
    };
    for (what, pieces, file, usable) in [
        ("no pieces", 1, spm(&[]), false),
        ("one piece", 1, spm(&["a".into()]), true),
        (
            "one unknown piece",
            1,
            spm(&["a".into()]).u32(UNKNOWN, 0),
            true,
        ),
        (
            "empty pieces",
            many,
            spm(&vec![String::new(); many]).u32(UNKNOWN, 0),
            true,
        ),
        ("many pieces", many, spm(&numbered).u32(UNKNOWN, 0), true),
        (
            "many merges",
            many,
            common::bpe_with(&numbered, &vec![1; many], &merges),
            true,
        ),
    ] {
        let file = shape(pieces as u32).build_on(file, f32_bytes).build();
        let scratch = Scratch::new("vocabulary", &file);
        let mut count = Count::default();
        let source = scratch.window(file.len());
        count.take(&source, file.len(), || what.into());
        count.tell(what);
        assert_eq!(count.used == 1, usable, "{what}: {:?}", use_it(&source));
    }
}

const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";
