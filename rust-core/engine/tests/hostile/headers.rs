//! Files whose beginnings are large: they are refused soon, or take memory in proportion.

use std::io::Write as _;
use std::time::Duration;

use dormouse::gguf::{Builder, Gguf};
use dormouse::metrics::thread_cpu_time;
use dormouse::{Error, Result};

use super::{LONGEST, Scratch, allocations};

/// What opening a file may take beside a multiple of its length.
const BESIDE: usize = 64 << 10;

/// Opens a file of `bytes` that is `length` long, the rest being zeros that stand nowhere on the disk.
fn open(bytes: &[u8], length: u64) -> (Result<Gguf>, usize, Duration) {
    let scratch = Scratch::new("header", bytes);
    scratch.file.set_len(length).unwrap();
    let begun = thread_cpu_time();
    let (result, taken) = allocations::of(|| Gguf::open(&scratch.window(length as usize)));
    (result, taken.most, thread_cpu_time() - begun)
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.write_all(&(text.len() as u64).to_le_bytes()).unwrap();
    out.write_all(text.as_bytes()).unwrap();
}

/// The beginning of a file with one key of a type, and no tensors.
fn one_key(key: &str, kind: u32) -> Vec<u8> {
    let mut out = b"GGUF\x03\0\0\0".to_vec();
    out.extend([0u64, 1].map(u64::to_le_bytes).concat());
    text(&mut out, key);
    out.extend(kind.to_le_bytes());
    out
}

fn refused(result: Result<Gguf>, words: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::CorruptModel { .. }), "{error:?}");
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn gigabytes_of_metadata_are_refused_without_a_look_at_all_of_them() {
    const STRING: u32 = 8;
    const ARRAY: u32 = 9;
    let length = (4u64 << 30) + 4096;
    let array = |element: u32, count: u64| {
        let mut out = one_key("a.long.array", ARRAY);
        out.extend(element.to_le_bytes());
        out.extend(count.to_le_bytes());
        out
    };
    let mut string = one_key("a.long.text", STRING);
    string.extend((4u64 << 30).to_le_bytes());
    let mut key = one_key("", STRING)[..24].to_vec();
    key.extend((4u64 << 30).to_le_bytes());
    let elements = "all arrays together may have 8388608";
    let bytes = "metadata and tensor table together may have 268435456";
    for (file, place, words) in [
        (string, "a.long.text", bytes),
        (key, "metadata entry 0", bytes),
        (array(STRING, (4 << 30) / 8), "a.long.array", elements),
        (array(ARRAY, (4 << 30) / 12), "a.long.array", elements),
        (array(0, 4 << 30), "a.long.array", elements),
        (array(10, (8 << 20) + 1), "a.long.array", elements),
    ] {
        let (result, most, took) = open(&file, length);
        refused(result, &format!("{place}: "));
        refused(open(&file, length).0, words);
        assert!(took < LONGEST, "{place}: {took:?}");
        assert!(most < BESIDE, "{place}: {most}");
    }
    // Arrays in an array count as well: 12 bytes each, that are arrays of no bytes.
    let outer = 8u64 << 20;
    let (result, most, took) = open(&array(ARRAY, outer), length);
    assert!(result.is_ok(), "{result:?}");
    assert!(took < LONGEST && most < BESIDE, "{took:?}, {most}");
}

#[test]
fn many_keys_and_tensors_take_memory_in_proportion() {
    let keys = |count: u32| {
        let file = (0..count).fold(Builder::new(), |file, n| {
            file.bool(&format!("{n:05x}"), true)
        });
        file.build()
    };
    let tensors = |count: u32, prefix: &str, dims: &[u64]| {
        let name = |n| format!("{prefix}{n:05x}");
        // A type that is not known has no bytes.
        let file = (0..count).fold(Builder::new(), |file, n| {
            file.tensor(&name(n), dims, 99, &[])
        });
        file.build()
    };
    for (what, file, times, beside) in [
        ("keys", keys(8192), 2, 640 << 10),
        (
            "tensors",
            tensors(1 << 16, "blk.12.ffn_gate.", &[1, 1]),
            2,
            BESIDE,
        ),
        // Less could not be written of a tensor.
        ("bare tensors", tensors(1 << 16, "", &[1]), 3, BESIDE),
    ] {
        let (result, most, took) = open(&file, file.len() as u64);
        println!(
            "{what}: {most} bytes for a file of {}, {took:?}",
            file.len()
        );
        assert!(result.is_ok(), "{what}: {result:?}");
        assert!(
            most <= times * file.len() + beside,
            "{what}: {most} of {}",
            file.len()
        );
        assert!(took < LONGEST, "{what}: {took:?}");
    }
    let (result, most, _) = open(&keys(8193), keys(8193).len() as u64);
    refused(
        result,
        "metadata count: 8193 keys (at most 8192 are allowed)",
    );
    assert!(most < BESIDE);
    let file = tensors((1 << 16) + 1, "", &[1]);
    let (result, most, _) = open(&file, file.len() as u64);
    refused(
        result,
        "tensor count: 65537 tensors (at most 65536 are allowed)",
    );
    assert!(most < BESIDE);

    // As many as a file could have, of which only the first is there.
    let mut lying = b"GGUF\x03\0\0\0".to_vec();
    lying.extend([1u64 << 16, 0].map(u64::to_le_bytes).concat());
    let (result, most, _) = open(&lying, 32 * (1 << 16) + 64);
    refused(result, "tensor 0: it has no name");
    assert!(most < BESIDE, "{most}");
}
