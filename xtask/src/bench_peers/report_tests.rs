use super::*;

fn series(engine: &'static str, values: &[(Figure, &[f64])]) -> Series {
    Series {
        engine,
        values: values.iter().map(|(f, v)| (*f, v.to_vec())).collect(),
        choices: Vec::new(),
    }
}

fn setting(load: Option<f64>) -> Setting {
    Setting {
        cpu: "A CPU".into(),
        isa: "avx2".into(),
        threads: 2,
        rounds: 3,
        load,
        machine: Machine {
            read: 20e9,
            int8: Some(("avx2".into(), 400e9)),
        },
        engines: vec![("llama.cpp", "1.2.3".into())],
    }
}

fn measured(class: Class) -> [Measured; 1] {
    let mut peer = series(
        "llama.cpp",
        &[
            (Figure::Prefill, &[90.0, 80.0, 10.0]),
            (Figure::Decode, &[8.0, 8.0, 8.0]),
            (Figure::FirstToken, &[300.0, 300.0, 310.0]),
        ],
    );
    peer.choices = vec!["flash attention on (prefill, decode)".into()];
    [Measured {
        name: "m.gguf".into(),
        class,
        facts: Facts {
            file_bytes: 1 << 30,
            context: 8192,
            tokenizer_bytes: 0,
            tokenizer_s: 0.25,
            decode_bytes: 1_600_000_000,
            prefill_ops: 1_000_000_000,
        },
        own: Own {
            peak: Some(1 << 30),
            limit: 2 << 30,
            load_s: 0.2,
        },
        dormouse: series(
            "dormouse",
            &[
                (Figure::Prefill, &[300.0, 100.0, 200.0]),
                (Figure::Decode, &[9.0, 10.0, 50.0]),
                (Figure::Deep, &[5.0]),
                (Figure::FirstToken, &[250.0, 250.0, 250.0]),
            ],
        ),
        peers: vec![peer],
    }]
}

#[test]
fn the_tables_hold_medians_ranges_ratios_and_what_was_reached() {
    let expected = "\
A CPU, instruction set avx2, 2 threads; medians of 3 interleaved rounds (lowest to highest); load average before 0.50
machine: read bandwidth 20.0 GB/s, int8 peak 400 Gop/s (avx2)
llama.cpp: 1.2.3

| model | figure | Dormouse | peer | its figure | ratio | target |
|---|---|---:|---|---:|---:|---|
| m.gguf | prefill 512, tok/s | 200.0 (100.0 to 300.0) | llama.cpp | 80.0 (10.0 to 90.0) | 2.50 | >= 1.3 held |
| m.gguf | decode 128, tok/s | 10.0 (9.0 to 50.0) | llama.cpp | 8.0 (8.0 to 8.0) | 1.25 | >= 1.15 held |
| m.gguf | start to first token, prompt of 16, ms | 250.0 (250.0 to 250.0) | llama.cpp | 300.0 (300.0 to 310.0) | 1.20 | >= 1.5 MISSED |

llama.cpp on m.gguf: flash attention on (prefill, decode)

| model | decode reads | of the bandwidth | prefill | of the int8 peak | peak memory | load without tokenizer |
|---|---:|---:|---:|---:|---:|---:|
| m.gguf | 16.0 GB/s | 80% (>= 75% held) | 200.0 Gop/s | 50% | 1024.0 MiB (<= 2048.0 MiB held) | 200 ms (<= 150 ms MISSED) |
";
    assert_eq!(
        table(&setting(Some(0.5)), &measured(Class::Llama1b)),
        expected
    );
}

#[test]
fn the_json_is_one_line_with_an_object_for_each_target() {
    let line = json(&setting(None), &measured(Class::Llama1b));
    assert!(!line.contains('\n'));
    let value: Value = serde_json::from_str(&line).unwrap();
    let targets = json!({
        "m.gguf prefill / llama.cpp": { "figure": 2.5, "target": 1.3, "held": true },
        "m.gguf decode / llama.cpp": { "figure": 1.25, "target": 1.15, "held": true },
        "m.gguf first-token / llama.cpp": { "figure": 1.2, "target": 1.5, "held": false },
        "m.gguf decode / bandwidth": { "figure": 0.8, "target": 0.75, "held": true },
        "m.gguf peak memory bytes": {
            "figure": f64::from(1 << 30), "target": (2u64 << 30) as f64, "held": true,
        },
        "m.gguf load s": { "figure": 0.2, "target": 0.15, "held": false },
    });
    assert_eq!(value["targets"], targets);
    let model = &value["models"]["m.gguf"];
    let decode = json!({ "median": 10.0, "min": 9.0, "max": 50.0 });
    assert_eq!(model["dormouse"]["decode"], decode);
    assert_eq!(model["llama.cpp"]["prefill"]["max"], 90.0);
    assert_eq!(model["llama.cpp"]["deep"], Value::Null);
    assert_eq!(model["reached"]["of_int8_peak"], 0.5);
    assert_eq!(value["isa"], "avx2");
    assert_eq!(value["machine"]["read_bytes_per_s"], 20e9);
    assert_eq!(value["load_before"], Value::Null);
}

#[test]
fn a_model_without_targets_has_only_its_memory_judged() {
    let models = measured(Class::Other);
    let value: Value = serde_json::from_str(&json(&setting(None), &models)).unwrap();
    let names: Vec<&String> = value["targets"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["m.gguf peak memory bytes"]);
    let text = table(&setting(None), &models);
    assert!(text.contains("| 2.50 | - |"), "{text}");
    assert!(!text.contains("MISSED"), "{text}");
}

#[test]
fn where_a_figure_was_not_measured_nothing_is_said() {
    let mut models = measured(Class::Llama1b);
    models[0].dormouse.values.remove(&Figure::Decode);
    models[0].own.peak = None;
    let mut setting = setting(None);
    setting.machine.int8 = None;
    let text = table(&setting, &models);
    let row = "| m.gguf | - | - | 200.0 Gop/s | - | - | 200 ms (<= 150 ms MISSED) |";
    assert!(text.contains(row), "{text}");
    let value: Value = serde_json::from_str(&json(&setting, &models)).unwrap();
    assert_eq!(
        value["models"]["m.gguf"]["reached"]["of_int8_peak"],
        Value::Null
    );
}
