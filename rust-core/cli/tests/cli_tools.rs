//! The commands that look at models (inspect, bench, tokenize, perplexity), on a tiny one.
#![allow(clippy::unwrap_used)]

mod common;

use dormouse::gguf::Builder;
use dormouse::model::GgmlType;

use common::{Folder, dormouse_reading, expect, tiny_chat_model, tiny_model};

#[test]
fn what_cannot_run_can_be_inspected() {
    let folder = Folder::new("inspect-unsupported");
    let path = folder.file("iq.gguf");
    let iq2_xxs = 16;
    let builder = tiny_model().tensor("extra.weight", &[256, 2], iq2_xxs, &[0; 132]);
    builder.write(&path).unwrap();
    let text = expect(0, &["inspect", &path, "--tensors"]).stdout;
    assert!(text.contains("unsupported tensor types: IQ2_XXS"), "{text}");
    assert!(text.contains("extra.weight"), "{text}");

    let builder = Builder::new().str("general.architecture", "alien");
    builder.write(&path).unwrap();
    let json = expect(0, &["inspect", &path, "--json"]).json();
    assert_eq!(json["supported"], false);
    assert_eq!(json["memory"], serde_json::Value::Null);
    let problem = json["problem"].as_str().unwrap();
    assert!(problem.contains("known: gemma, gemma2, "), "{problem}");
}

#[test]
fn a_split_model_is_inspected_as_one() {
    let folder = Folder::new("inspect-split");
    let part = |no: u16| folder.file(&format!("m-{:05}-of-00002.gguf", no + 1));
    let keyed = |builder: Builder, no: u16| {
        let builder = builder.u16("split.no", no).u16("split.count", 2);
        builder.i32("split.tensors.count", 13)
    };
    keyed(tiny_model(), 0).write(part(0)).unwrap();
    let missing = expect(3, &["inspect", &part(0)]).stderr;
    assert!(missing.contains("m-00002-of-00002.gguf"), "{missing}");

    let ty = GgmlType::MXFP4;
    let second = keyed(Builder::new(), 1).tensor("extra.weight", &[32, 2], ty.id(), &[0; 34]);
    second.write(part(1)).unwrap();
    let text = expect(0, &["inspect", &part(1)]).stdout;
    assert!(text.contains(" in 2 files"), "{text}");
    let json = expect(0, &["inspect", &part(1), "--json", "--tensors"]).json();
    assert_eq!(json["supported"], true);
    assert_eq!(json["files"], 2);
    assert_eq!(json["tensor_types"]["MXFP4"]["bytes"], 34);
    let tensors = json["tensors"].as_array().unwrap();
    let extra = tensors.last().unwrap();
    assert_eq!(
        (&extra["name"], &extra["part"]),
        (&"extra.weight".into(), &1.into())
    );
}

#[test]
fn inspect_counts_memory_for_the_context() {
    let folder = Folder::new("inspect");
    let model = tiny_chat_model(&folder);
    let json = |args: &[&str]| {
        let mut all = vec!["inspect", "--json", "-m", &model];
        all.extend(args);
        expect(0, &all).json()
    };
    let short = json(&["--context", "100"]);
    assert_eq!(short["supported"], true);
    assert_eq!(short["chat_template"], true);
    // Keys and values of one head of 16 in f16.
    assert_eq!(short["memory"]["kv_cache_bytes"], 100 * 2 * 16 * 2);
    let exact = json(&["--context", "100", "--kv", "f32"]);
    assert_eq!(exact["memory"]["kv_cache_bytes"], 100 * 2 * 16 * 4);
    assert_eq!(short["tensor_types"]["F32"]["tensors"], 11);
    if cfg!(target_os = "linux") {
        assert_eq!(short["memory"]["fits"], "yes");
    }
    let text = expect(0, &["inspect", &model]).stdout;
    assert!(text.contains("(258 elements)"), "{text}");
    assert!(text.contains("byte-level BPE"), "{text}");
    assert!(text.lines().all(|line| line.len() < 200), "{text}");
}

#[test]
fn bench_measures_each_test() {
    let folder = Folder::new("bench");
    let model = tiny_chat_model(&folder);
    let args = [
        "bench", "-m", &model, "-p", "16,32", "-n", "4", "-t", "1,2", "-d", "0,8", "-r", "3",
    ];
    let json = expect(0, &[&args[..], &["--json"]].concat());
    assert_eq!(json.stdout.lines().count(), 1);
    let json = json.json();
    let results = json["results"].as_array().unwrap();
    assert_eq!(results.len(), 3 * 2 * 2);
    for result in results {
        let samples = result["samples_tokens_per_s"].as_array().unwrap();
        assert_eq!(samples.len(), 3);
        assert!(result["tokens_per_s"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(results[0]["test"], "pp16");
    assert_eq!(results[11]["test"], "tg4");
    assert_eq!(
        (&results[11]["threads"], &results[11]["n_depth"]),
        (&2.into(), &8.into())
    );
    assert_eq!(json["model"], "Tiny test model");
    let table = expect(0, &args).stdout;
    assert!(table.contains("| pp32 @ d8"), "{table}");
    assert!(table.contains(" ± "), "{table}");
}

#[test]
fn tokenize_goes_there_and_back() {
    let folder = Folder::new("tokenize");
    let model = tiny_chat_model(&folder);
    let m = ["tokenize", "-m", &model];
    let all = |more: &[&str]| expect(0, &[&m[..], more].concat()).stdout;
    assert_eq!(all(&["--ids", "ab"]), "256 97 98\n");
    assert_eq!(all(&["--ids", "--no-bos", "ab"]), "97 98\n");
    assert_eq!(
        all(&["a "]),
        "    256  \"<|begin|>\"\n     97  \"a\"\n     32  \" \"\n"
    );
    assert_eq!(
        all(&["--ids", "--no-bos", "--parse-special", "<|end|>"]),
        "257\n"
    );
    assert_eq!(all(&["--ids", "--no-bos", "<|end|>"]).split(' ').count(), 7);
    assert_eq!(all(&["--decode", "97, 98"]), "ab\n");
    let stdin = dormouse_reading(&["tokenize", "-m", &model, "--ids"], "ä\n");
    assert_eq!(stdin.stdout, "256 195 164 10\n");
}

#[test]
fn embed_prints_a_vector_of_length_one() {
    let folder = Folder::new("embed");
    let model = tiny_chat_model(&folder);
    let vector = |args: &[&str]| {
        let args = [&["embed", "-m", &model, "--pooling", "mean"], args].concat();
        let json = expect(0, &args).json();
        let values = json.as_array().unwrap().iter();
        values.map(|v| v.as_f64().unwrap()).collect::<Vec<_>>()
    };
    let (fox, dog) = (vector(&["a fox"]), vector(&["a dog"]));
    let length: f64 = fox.iter().map(|v| v * v).sum();
    assert!((length - 1.0).abs() < 1e-5, "{length}");
    assert_eq!(fox.len(), dog.len());
    assert_ne!(fox, dog);
    // The file asks for no pooling.
    let unsaid = expect(2, &["embed", "-m", &model, "a fox"]);
    assert!(
        unsaid.stderr.contains("choose a pooling"),
        "{}",
        unsaid.stderr
    );
}

#[test]
fn an_adapter_that_is_none_exits_with_3() {
    let folder = Folder::new("lora");
    let model = tiny_chat_model(&folder);
    let run = |lora: &str| {
        let args = [
            "run", "-m", &model, "--raw", "--prompt", "a", "--lora", lora,
        ];
        expect(3, &args).stderr
    };
    assert!(run(&format!("{model}=0.5")).contains("adapter"));
    assert!(run("/no/such/file=2").contains("there is no file /no/such/file"));
    let empty = [
        "run", "-m", &model, "--raw", "--prompt", "a", "--lora", "=2",
    ];
    assert!(expect(2, &empty).stderr.contains("want FILE"));
}

/// The perplexity is taken again from the distributions that the command itself writes.
#[test]
fn perplexity_is_that_of_the_saved_distributions() {
    let folder = Folder::new("perplexity");
    let model = tiny_chat_model(&folder);
    let text = folder.file("text");
    std::fs::write(&text, "the quick brown fox jumps over the lazy dog").unwrap();
    let logits = folder.file("text.logits");
    let base = [
        "perplexity",
        "-m",
        &model,
        "--file",
        &text,
        "--context",
        "32",
        "--kv",
        "f32",
    ];
    let more = ["--save-logits", &logits, "--json"];
    let json = expect(0, &[&base[..], &more].concat()).json();
    assert_eq!((&json["windows"], &json["tokens"]), (&1.into(), &15.into()));

    let bytes = std::fs::read(&logits).unwrap();
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let (vocab, positions) = (word(12) as usize, word(16) as usize);
    assert_eq!((vocab, positions), (258, 32));
    let tokens = 24;
    let records = tokens + 4 * positions;
    let sum: f64 = (16..31)
        .map(|p| {
            let next = word(tokens + 4 * (p + 1)) as usize;
            -f64::from(f32::from_bits(word(records + 4 * (p * vocab + next))))
        })
        .sum();
    let (expected, got) = ((sum / 15.0).exp(), json["perplexity"].as_f64().unwrap());
    assert!((got / expected - 1.0).abs() < 1e-6, "{got} {expected}");

    let against = |more: &[&str]| {
        let args = ["perplexity", "-m", &model, "--against", &logits, "--json"];
        expect(0, &[&args[..], more].concat()).json()["against"].clone()
    };
    let same = against(&["--kv", "f32"]);
    assert!(
        same["mean_kl_nats"].as_f64().unwrap().abs() < 1e-6,
        "{same}"
    );
    assert_eq!(
        (&same["top1_agreement"], &same["positions"]),
        (&1.0.into(), &32.into())
    );
    let scalar = against(&["--kv", "f32", "--isa", "scalar"]);
    assert_eq!(same, scalar, "every instruction set gives the same bits");
    let exact = against(&["--kv", "f32", "--activations", "f32"]);
    assert_ne!(same["mean_kl_nats"], exact["mean_kl_nats"]);

    let lines = expect(0, &[&base[..], &["--against", &logits]].concat()).stdout;
    assert!(
        lines.contains("perplexity ") && lines.contains("mean KL"),
        "{lines}"
    );
    let long = [
        "perplexity",
        "-m",
        &model,
        "--file",
        &text,
        "--context",
        "512",
    ];
    assert!(expect(2, &long).stderr.contains("44 tokens"));
    let wrong = ["perplexity", "-m", &model, "--against", &text];
    assert!(expect(1, &wrong).stderr.contains("no logits file"));
}

#[test]
fn a_text_that_is_too_short_for_any_window_is_no_wrong_command_line() {
    let folder = Folder::new("short");
    let model = tiny_chat_model(&folder);
    let text = folder.file("empty");
    std::fs::write(&text, "").unwrap();
    let ran = expect(1, &["perplexity", "-m", &model, "--file", &text]);
    assert!(ran.stderr.contains("too short"), "{}", ran.stderr);
}
