use super::*;
use serde_json::json;

fn candle() -> Candle {
    Candle {
        program: "candle-peer".into(),
    }
}

fn dormouse() -> Dormouse {
    Dormouse {
        program: "dormouse".into(),
    }
}

#[test]
fn candles_line_is_read() {
    let line = json!({ "prefill_tok_s": 100.5, "decode_tok_s": 20, "threads": 2 });
    let expected = Report {
        rates: vec![(Figure::Prefill, 100.5), (Figure::Decode, 20.0)],
        isa: None,
    };
    assert_eq!(candle().read(&line, Work::shallow(2)), Some(expected));
    assert!(candle().bench(Path::new("m"), Work::deep(2)).is_none());
}

#[test]
fn dormouses_line_is_read() {
    let line = json!({ "isa": "avx2", "results": [
        { "n_prompt": 512, "n_gen": 0, "n_depth": 0, "tokens_per_s": 300.0 },
        { "n_prompt": 0, "n_gen": 128, "n_depth": 0, "tokens_per_s": 50.0 },
    ]});
    let expected = Report {
        rates: vec![(Figure::Prefill, 300.0), (Figure::Decode, 50.0)],
        isa: Some("avx2".into()),
    };
    assert_eq!(dormouse().read(&line, Work::shallow(2)), Some(expected));
    // At another depth nothing was measured.
    assert_eq!(dormouse().read(&line, Work::deep(2)), None);
}

#[test]
fn a_rate_that_is_missing_or_no_rate_is_refused() {
    for line in [
        json!({ "prefill_tok_s": 1.0 }),
        json!({ "prefill_tok_s": 1.0, "decode_tok_s": 0.0 }),
        json!({ "prefill_tok_s": 1.0, "decode_tok_s": null }),
        json!([]),
    ] {
        assert_eq!(candle().read(&line, Work::shallow(1)), None, "{line}");
    }
}

#[test]
fn the_work_is_on_the_command_line() {
    let command = dormouse()
        .bench(Path::new("m.gguf"), Work::deep(2))
        .unwrap();
    assert_eq!(
        process::show(&command),
        "dormouse bench -m m.gguf -p 0 -n 64 -d 4096 -t 2 -r 1 --json"
    );
}

/// An engine that is a shell script.
#[cfg(unix)]
struct Script(&'static str);

#[cfg(unix)]
impl Engine for Script {
    fn name(&self) -> &'static str {
        "script"
    }

    fn about(&self) -> String {
        String::new()
    }

    fn bench(&self, _: &Path, _: Work) -> Option<Command> {
        let mut command = Command::new("sh");
        command.args(["-c", self.0, "sh"]);
        Some(command)
    }

    fn read(&self, json: &Value, work: Work) -> Option<Report> {
        candle().read(json, work)
    }

    fn first_token(&self, _: &Path, _: &str, _: u32) -> Option<Command> {
        None
    }
}

#[cfg(unix)]
#[test]
fn the_last_line_counts_the_choice_is_passed_on_and_a_failed_run_is_named() {
    let run = |text| {
        let choice = Choice {
            name: "two",
            arguments: &["2"],
        };
        let report = measure(&Script(text), Path::new("m"), Work::shallow(1), choice);
        report.map(Option::unwrap)
    };
    let report = run("echo hello; echo \"{\\\"prefill_tok_s\\\":$1,\\\"decode_tok_s\\\":1}\"");
    assert_eq!(report.unwrap().rates[0], (Figure::Prefill, 2.0));
    let message = run("exit 3").unwrap_err().to_string();
    assert!(message.contains("failed: exit status: 3"), "{message}");
    let message = run("echo nothing").unwrap_err().to_string();
    let expected = "printed no rates but: nothing";
    assert!(message.ends_with(expected), "{message}");
}

#[test]
fn json_may_take_several_lines() {
    assert_eq!(json_in("[\n1\n]\n"), Some(json!([1])));
    assert_eq!(json_in("x\n[1]\n"), Some(json!([1])));
    assert_eq!(json_in(""), None);
}
