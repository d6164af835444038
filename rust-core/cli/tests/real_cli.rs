//! The command on both real models. DORMOUSE_MODELS names their folder.
#![cfg(feature = "real-models")]
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{dormouse_reading, expect};

const SMOLLM2: &str = "SmolLM2-135M-Instruct-Q4_1.gguf";
const GEMMA3: &str = "gemma-3-270m-Q4_K_M.gguf";

fn model(file: &str) -> String {
    let folder = std::env::var("DORMOUSE_MODELS")
        .expect("DORMOUSE_MODELS names the folder of models; run cargo xtask test --only models");
    Path::new(&folder).join(file).display().to_string()
}

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    path.join(name).display().to_string()
}

#[test]
fn a_question_is_answered_alike_on_every_run_and_thread_count() {
    let model = model(SMOLLM2);
    let args = [
        "run",
        "-m",
        &model,
        "--prompt=What is 2+2?",
        "-n",
        "40",
        "--temperature",
        "0",
    ];
    let greedy = expect(0, &args).stdout;
    assert!(greedy.contains('4'), "{greedy}");
    assert!(greedy.ends_with('\n'));
    let seeded = |threads: &str| {
        let args = ["run", "-m", &model, "-p", "Tell me a story.", "-n", "40"];
        let more = ["--seed", "9", "--temperature", "1.2", "-t", threads];
        expect(0, &[&args[..], &more].concat()).stdout
    };
    let story = seeded("2");
    assert_eq!(seeded("2"), story);
    assert_eq!(seeded("1"), story);
}

#[cfg(feature = "reference")]
#[test]
fn the_reference_backend_begins_alike() {
    for file in [SMOLLM2, GEMMA3] {
        let model = model(file);
        let args = [
            "run",
            "-m",
            &model,
            "--raw",
            "--temperature",
            "0",
            "-n",
            "3",
        ];
        // Three tokens: further on, the precision of activations may tip the scales.
        let args = [&args[..], &["-p", "The capital of France is"]].concat();
        let kernels = expect(0, &args);
        let reference = expect(0, &[&args[..], &["--backend", "reference"]].concat());
        assert!(kernels.stdout.len() > 3, "{}", kernels.stdout);
        assert_eq!(kernels.stdout, reference.stdout, "{file}");
    }
}

#[test]
fn a_chat_remembers_and_forgets() {
    let model = model(SMOLLM2);
    let args = ["chat", "-m", &model, "--temperature", "0", "-n", "30"];
    let input = "What is 2+2?\nAre you sure?\n/stats\n/reset\nHi\n/stats\n/quit\n";
    let ran = dormouse_reading(&args, input);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains('4'), "{}", ran.stdout);
    let stats: Vec<&str> = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("last answer"))
        .collect();
    assert_eq!(stats.len(), 2, "{}", ran.stderr);
    assert!(
        !stats[0].contains(" 0 reused"),
        "the first turn is reused: {}",
        stats[0]
    );
}

#[test]
fn a_base_model_completes_but_does_not_chat() {
    let model = model(GEMMA3);
    let ran = expect(1, &["chat", "-m", &model]);
    assert!(ran.stderr.contains("dormouse run --raw"), "{}", ran.stderr);
    let args = [
        "run",
        "-m",
        &model,
        "--raw",
        "-p",
        "1, 2, 3, 4,",
        "-n",
        "6",
        "--temperature",
        "0",
    ];
    assert!(expect(0, &args).stdout.contains('5'));
}

#[test]
fn perplexity_against_the_fixtures_is_small() {
    for (file, logits) in [
        (SMOLLM2, "smollm2-135m-instruct-q4_1.logits"),
        (GEMMA3, "gemma-3-270m-q4_k_m.logits"),
    ] {
        let (model, logits, text) = (model(file), fixture(logits), fixture("prose.txt"));
        let args = [
            "perplexity",
            "-m",
            &model,
            "--against",
            &logits,
            "--kv",
            "f32",
        ];
        let json = expect(0, &[&args[..], &["--file", &text, "--json"]].concat()).json();
        let kl = json["against"]["mean_kl_nats"].as_f64().unwrap();
        assert!((1e-6..3e-3).contains(&kl), "{json}");
        assert!(
            json["against"]["top1_agreement"].as_f64().unwrap() > 0.95,
            "{json}"
        );
        let perplexity = json["perplexity"].as_f64().unwrap();
        assert!((10.0..30.0).contains(&perplexity), "{json}");
        let lines = expect(0, &args).stdout;
        assert!(lines.contains("mean KL"), "{lines}");
    }
}

#[test]
fn bench_and_inspect_know_the_models() {
    for (file, architecture) in [(SMOLLM2, "llama"), (GEMMA3, "gemma3")] {
        let model = model(file);
        let args = [
            "bench", "-m", &model, "-p", "32", "-n", "4", "-r", "2", "--json",
        ];
        let json = expect(0, &args).json();
        assert_eq!(json["architecture"], architecture);
        assert!(json["results"][1]["tokens_per_s"].as_f64().unwrap() > 0.5);
        let json = expect(0, &["inspect", &model, "--json"]).json();
        assert_eq!(json["supported"], true, "{}", json["problem"]);
        assert_eq!(json["chat_template"], file == SMOLLM2);
    }
}

/// The metrics of a reply agree within 5% with a clock and a look at the process from outside.
#[cfg(target_os = "linux")]
#[test]
fn metrics_agree_with_the_outside() {
    use std::io::Read;
    use std::time::{Duration, Instant};

    let model = model(SMOLLM2);
    let prompt = std::fs::read_to_string(fixture("prose.txt")).unwrap();
    let args = [
        "run", "--raw", "-m", &model, "-n", "150", "--seed", "1", "--stats", "json",
    ];
    let started = Instant::now();
    let mut child = common::command(&[&args[..], &["-p", &prompt]].concat())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let watch = std::thread::spawn(move || {
        let mut peak = 0;
        // The figure never falls; the last reading before the end is the peak.
        while let Ok(text) = std::fs::read_to_string(&status) {
            let Some(line) = text.lines().find(|line| line.starts_with("VmHWM:")) else {
                break;
            };
            let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
            peak = kib * 1024;
            std::thread::sleep(Duration::from_millis(2));
        }
        peak
    });
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0]).unwrap();
    let first_text = started.elapsed();
    let mut text = Vec::new();
    stdout.read_to_end(&mut text).unwrap();
    let ran = common::finish(child);
    let whole = started.elapsed();
    let peak = watch.join().unwrap();

    let stats = ran.stats();
    let figure = |key: &str| stats[key].as_f64().expect(key);
    let agree = |name: &str, inside: f64, outside: f64| {
        println!("{name}: {inside:.4} inside, {outside:.4} outside");
        assert!(
            (inside / outside - 1.0).abs() < 0.05,
            "{name}: {inside} {outside}"
        );
    };
    // From outside, the program's start and end count as well: some milliseconds.
    let first = figure("load_s") + figure("time_to_first_token_s");
    agree("time to first token", first, first_text.as_secs_f64());
    agree(
        "total",
        figure("load_s") + figure("total_s"),
        whole.as_secs_f64(),
    );
    let decode = (whole - first_text).as_secs_f64();
    agree("decode", figure("decode_s"), decode);
    let rate = figure("generated_tokens") - 1.0;
    agree("decode rate", figure("decode_tokens_per_s"), rate / decode);
    let tokens = figure("prefill_tokens");
    let prefill = tokens / figure("prefill_tokens_per_s");
    agree(
        "prefill",
        prefill + figure("load_s"),
        first_text.as_secs_f64(),
    );
    agree("peak memory", figure("peak_memory_bytes"), peak as f64);
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_a_long_answer() {
    use std::io::Read;

    for file in [SMOLLM2, GEMMA3] {
        let model = model(file);
        let args = ["run", "-m", &model, "--raw", "-p", "Once upon a time"];
        let mut child = common::command(&args).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut [0; 4]).unwrap();
        common::interrupt(&child);
        let pressed = std::time::Instant::now();
        stdout.read_to_end(&mut Vec::new()).unwrap();
        let ran = common::finish(child);
        assert_eq!(ran.code, 130, "{}", ran.stderr);
        assert!(ran.stderr.contains("cancelled"), "{}", ran.stderr);
        assert!(pressed.elapsed().as_secs() < 5, "{:?}", pressed.elapsed());
    }
}
