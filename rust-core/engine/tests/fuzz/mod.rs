//! The random strings of `fixtures/golden/fuzz.py`, made again, and the hash of what came of them.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::Path;

use dormouse::tokenize::{EncodeOptions, Tokenizer};
use serde_json::Value;

/// A file of golden data.
pub fn fixture(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    serde_json::from_str(&std::fs::read_to_string(path.join(name)).unwrap()).unwrap()
}

pub fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().unwrap().iter();
    list.map(|text| text.as_str().unwrap().to_owned()).collect()
}

pub fn ids(value: &Value) -> Vec<u32> {
    let list = value.as_array().unwrap().iter();
    list.map(|id| id.as_u64().unwrap() as u32).collect()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    fn pick<'a>(&mut self, items: &'a [String]) -> &'a [u8] {
        items[self.below(items.len())].as_bytes()
    }
}

/// FNV-1a over whole numbers.
#[derive(Clone, Copy)]
pub struct Hash(u64);

impl Hash {
    pub fn new() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }

    pub fn numbers<T: Into<u64> + Copy>(&mut self, values: &[T]) {
        let mut add = |value: u64| self.0 = (self.0 ^ value).wrapping_mul(0x100_0000_01B3);
        add(values.len() as u64);
        for &value in values {
            add(value.into());
        }
    }

    pub fn hex(self) -> String {
        format!("{:016x}", self.0)
    }
}

/// Makes strings; `specials` are written out in some of them.
pub struct Strings {
    pieces: Vec<String>,
    separators: Vec<String>,
    runs: Vec<String>,
    ranges: Vec<(u32, u32)>,
    specials: Vec<String>,
}

/// UTF-8 of a code point; of a surrogate, the three bytes that UTF-8 forbids.
fn push_code(out: &mut Vec<u8>, code: u32) {
    match char::from_u32(code) {
        Some(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        None => out.extend(
            [0xE0, 0x80, 0x80]
                .iter()
                .zip([12, 6, 0])
                .map(|(head, shift)| {
                    let mask = if shift == 12 { 0x0F } else { 0x3F };
                    head | (code >> shift & mask) as u8
                }),
        ),
    }
}

impl Strings {
    pub fn new(specials: Vec<String>) -> Self {
        let tables = fixture("fuzz.json");
        let ranges = tables["ranges"].as_array().unwrap().iter().map(ids);
        Self {
            pieces: texts(&tables["pieces"]),
            separators: texts(&tables["separators"]),
            runs: texts(&tables["runs"]),
            ranges: ranges.map(|range| (range[0], range[1])).collect(),
            specials: if specials.is_empty() {
                vec!["<s>".to_owned()]
            } else {
                specials
            },
        }
    }

    fn chunk(&self, rng: &mut Random, out: &mut Vec<u8>) {
        match rng.below(16) {
            0..4 => out.extend_from_slice(rng.pick(&self.pieces)),
            4..6 => out.extend_from_slice(rng.pick(&self.specials)),
            6..8 => out.extend_from_slice(rng.pick(&self.separators)),
            8..14 => {
                let (low, high) = self.ranges[rng.below(self.ranges.len())];
                for _ in 0..1 + rng.below(6) {
                    push_code(out, low + rng.below((high - low + 1) as usize) as u32);
                }
            }
            14 => {
                let mut count = 1 + rng.below(24);
                if rng.below(32) == 0 {
                    count *= 40;
                }
                out.extend(rng.pick(&self.runs).repeat(count));
            }
            _ => {
                for _ in 0..1 + rng.below(5) {
                    out.push(rng.below(256) as u8);
                }
            }
        }
    }

    /// Batch `seed`. Bytes that are no UTF-8 have become U+FFFD.
    pub fn batch(&self, seed: u64, count: usize) -> Vec<String> {
        let mut rng = Random(seed);
        let text = |_| {
            let mut raw = Vec::new();
            for _ in 0..1 + rng.below(7) {
                self.chunk(&mut rng, &mut raw);
            }
            String::from_utf8_lossy(&raw).into_owned()
        };
        (0..count).map(text).collect()
    }
}

/// Compares the tokenizer with a row of hashes that llama.cpp's results gave; says what differs.
pub fn compare(tokenizer: &Tokenizer, row: &Value, per_batch: usize) -> Vec<String> {
    let encode = |text: &str, add_special, parse_special| {
        let options = EncodeOptions {
            add_special,
            parse_special,
        };
        tokenizer.encode(text, options).unwrap()
    };
    let name = row["name"].as_str().unwrap();
    let mut wrong = Vec::new();
    let empty = encode("", true, false);
    if empty != ids(&row["empty"]) {
        wrong.push(format!("{name}: an empty text gives {empty:?}"));
    }
    let specials = row.get("specials").map_or(Vec::new(), texts);
    let strings = Strings::new(specials);
    let mut all = Hash::new();
    let batches = texts(&row["batches"]);
    assert!(!batches.is_empty());
    for (seed, expected) in batches.iter().enumerate() {
        let mut batch = Hash::new();
        for text in strings.batch(seed as u64, per_batch) {
            all.numbers(text.as_bytes());
            let plain = encode(&text, false, false);
            batch.numbers(&plain);
            batch.numbers(&encode(&text, false, true));
            batch.numbers(&tokenizer.decode(&plain, true));
        }
        if batch.hex() != *expected {
            wrong.push(format!("{name}: batch {seed}"));
        }
    }
    assert_eq!(
        row["texts"].as_str().unwrap(),
        all.hex(),
        "{name}: the strings are not those of the fixture"
    );
    wrong
}
