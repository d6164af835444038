//! Peak memory, measured in a process of its own: at most the weights that were touched, the KV
//! cache, the tokenizer and 64 MiB.
#![cfg(feature = "real-models")]
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod real;

use std::process::Command;

use dormouse::gguf::{Gguf, Source};
use dormouse::model::{ContextOptions, KvType, memory_plan};
use dormouse::tokenize::Tokenizer;
use real::{GEMMA3, Real, SMOLLM2};

const MIB: u64 = 1 << 20;
const SLACK: u64 = 64 * MIB;
/// What a tokenizer may take, with the peak of building it.
const TOKENIZER: u64 = 40 * MIB;
const TASK: &str = "DORMOUSE_TEST_MEMORY_TASK";
const POSITIONS: usize = 600;

/// This process's own figure from `/proc/self/status`, in bytes.
fn status(key: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

/// Runs one task of [`child`] in a fresh process; it prints its figures after `=`.
fn in_child(task: &str, real: Real) -> Vec<u64> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(TASK, format!("{task} {}", real.file))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let figures = text
        .lines()
        .find_map(|line| line.split_once("figures="))
        .expect("figures")
        .1;
    figures
        .split_whitespace()
        .map(|figure| figure.parse().unwrap())
        .collect()
}

/// Does nothing unless [`in_child`] started it.
#[test]
fn child() {
    let Ok(task) = std::env::var(TASK) else {
        return;
    };
    let (task, file) = task.split_once(' ').unwrap();
    let real = if file == SMOLLM2.file {
        SMOLLM2
    } else {
        GEMMA3
    };
    match task {
        "tokenizer" => {
            let gguf = Gguf::open(&Source::path(real.path())).unwrap();
            let before = status("VmHWM:");
            let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
            let peak = status("VmHWM:") - before;
            let kept = status("VmRSS:").saturating_sub(before);
            assert!(tokenizer.vocab_size() > 0);
            println!("\nfigures={peak} {kept}");
        }
        _ => {
            let model = real.load(|_| {});
            let mut decoder = model.decoder(&ContextOptions::default()).unwrap();
            let prompt: Vec<u32> = (0..POSITIONS as u32 - 8).map(|n| 300 + n % 50).collect();
            for chunk in prompt.chunks(decoder.max_chunk()) {
                decoder.forward(chunk, None).unwrap();
            }
            let mut logits = vec![0.0; decoder.vocab_size()];
            for token in 300..308 {
                decoder.forward(&[token], Some(&mut logits)).unwrap();
            }
            println!("\nfigures={} {}", status("VmHWM:"), decoder.kv_bytes());
        }
    }
}

#[test]
fn peak_memory_is_weights_cache_tokenizer_and_64_mib() {
    for real in [SMOLLM2, GEMMA3] {
        let gguf = Gguf::open(&Source::path(real.path())).unwrap();
        let plan = memory_plan(
            &gguf,
            &ContextOptions::of_length(POSITIONS),
            KvType::default(),
        )
        .unwrap();
        let tokenizer = in_child("tokenizer", real);
        let (tokenizer_peak, tokenizer_kept) = (tokenizer[0], tokenizer[1]);
        let whole = in_child("whole", real);
        let (peak, kv) = (whole[0], whole[1]);
        println!(
            "{}: peak {:.1} MiB; weights {:.1}, KV cache {:.1}, tokenizer {:.1} (kept {:.1}), other {:.1}",
            real.file,
            peak as f64 / MIB as f64,
            plan.weights as f64 / MIB as f64,
            kv as f64 / MIB as f64,
            tokenizer_peak as f64 / MIB as f64,
            tokenizer_kept as f64 / MIB as f64,
            (peak as f64 - (plan.weights + kv + tokenizer_kept) as f64) / MIB as f64,
        );
        assert!(tokenizer_peak <= TOKENIZER, "tokenizer {tokenizer_peak}");
        assert!(
            peak <= plan.weights + kv + tokenizer_peak + SLACK,
            "peak {peak}"
        );
        // The cache takes no more than was planned, but for the last block's rounding.
        assert!(
            kv <= plan.kv_cache + plan.kv_cache / 8,
            "cache {kv}, plan {}",
            plan.kv_cache
        );
    }
}
