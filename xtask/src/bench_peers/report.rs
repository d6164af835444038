//! Medians, ratios and targets, as a table and as JSON.

use serde_json::{Map, Value, json};
use std::fmt::Write as _;

use super::peer::Rates;

/// Dormouse's rate over a peer's must be at least this, in every cell.
pub(crate) const TARGET: f64 = 1.0;

/// Where and how it was measured.
#[derive(Debug)]
pub(crate) struct Setting {
    /// The processor's name.
    pub(crate) cpu: String,
    /// The instruction set of Dormouse's kernels.
    pub(crate) isa: String,
    pub(crate) threads: u32,
    pub(crate) prompt: u32,
    pub(crate) decode: u32,
    pub(crate) rounds: u32,
    /// The system's load average of one minute before the first run, where there is one: above
    /// about half a core it means that something else ran too.
    pub(crate) load: Option<f64>,
}

/// What one engine did on a model, a value for each counted round.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) peer: &'static str,
    pub(crate) rates: Vec<Rates>,
}

/// All engines on one model: Dormouse first, then those it is compared with.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) file: String,
    pub(crate) dormouse: Series,
    pub(crate) peers: Vec<Series>,
}

/// The two figures of an engine on a model.
#[derive(Clone, Copy, Debug)]
enum Figure {
    Prefill,
    Decode,
}

impl Figure {
    const ALL: [Self; 2] = [Self::Prefill, Self::Decode];

    fn name(self) -> &'static str {
        match self {
            Self::Prefill => "prefill",
            Self::Decode => "decode",
        }
    }

    fn of(self, rates: &Rates) -> f64 {
        match self {
            Self::Prefill => rates.prefill,
            Self::Decode => rates.decode,
        }
    }

    fn count(self, setting: &Setting) -> u32 {
        match self {
            Self::Prefill => setting.prompt,
            Self::Decode => setting.decode,
        }
    }
}

/// Median and range of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Summary {
    median: f64,
    min: f64,
    max: f64,
}

impl Summary {
    /// None of no values.
    fn of(series: &Series, figure: Figure) -> Option<Self> {
        let mut values: Vec<f64> = series.rates.iter().map(|rates| figure.of(rates)).collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self {
            median: (low + high) / 2.0,
            min,
            max,
        })
    }

    fn json(self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

/// One comparison.
#[derive(Debug)]
struct Cell<'a> {
    file: &'a str,
    figure: Figure,
    peer: &'static str,
    ours: Summary,
    theirs: Summary,
}

impl Cell<'_> {
    fn ratio(&self) -> f64 {
        self.ours.median / self.theirs.median
    }

    fn held(&self) -> bool {
        self.ratio() >= TARGET
    }
}

fn cells(measured: &[Measured]) -> impl Iterator<Item = Cell<'_>> {
    measured.iter().flat_map(|model| {
        model.peers.iter().flat_map(move |peer| {
            Figure::ALL.into_iter().filter_map(move |figure| {
                Some(Cell {
                    file: &model.file,
                    figure,
                    peer: peer.peer,
                    ours: Summary::of(&model.dormouse, figure)?,
                    theirs: Summary::of(peer, figure)?,
                })
            })
        })
    })
}

/// The table in Markdown, with a paragraph above that says where and how it was measured.
pub(crate) fn table(setting: &Setting, measured: &[Measured]) -> String {
    let mut text = format!(
        "{}, instruction set {}, {} threads; medians of {} interleaved rounds (lowest to highest), tokens/s",
        setting.cpu, setting.isa, setting.threads, setting.rounds
    );
    // Writing to a String cannot fail.
    if let Some(load) = setting.load {
        let _ = write!(text, "; load average before {load:.2}");
    }
    text.push_str("\n\n| model | figure | Dormouse | peer | its rate | ratio | target |\n");
    text.push_str("|---|---|---:|---|---:|---:|---|\n");
    for cell in cells(measured) {
        let _ = writeln!(
            text,
            "| {} | {} {} | {} | {} | {} | {:.2} | >= {TARGET:.1} {} |",
            cell.file,
            cell.figure.name(),
            cell.figure.count(setting),
            show(cell.ours),
            cell.peer,
            show(cell.theirs),
            cell.ratio(),
            if cell.held() { "held" } else { "MISSED" }
        );
    }
    text
}

fn show(summary: Summary) -> String {
    let Summary { median, min, max } = summary;
    format!("{median:.1} ({min:.1} to {max:.1})")
}

/// One line for programs; `targets` has an object `{figure, target, held}` for each ratio.
pub(crate) fn json(setting: &Setting, measured: &[Measured]) -> String {
    let mut targets = Map::new();
    let mut models = Map::new();
    for cell in cells(measured) {
        let name = format!("{} {} / {}", cell.file, cell.figure.name(), cell.peer);
        let target = json!({ "figure": cell.ratio(), "target": TARGET, "held": cell.held() });
        targets.insert(name, target);
        let rates = &mut models
            .entry(cell.file)
            .or_insert_with(|| json!({ "prefill": {}, "decode": {} }))[cell.figure.name()];
        rates["dormouse"] = cell.ours.json();
        rates[cell.peer] = cell.theirs.json();
    }
    json!({
        "cpu": setting.cpu,
        "isa": setting.isa,
        "threads": setting.threads,
        "rounds": setting.rounds,
        "prompt": setting.prompt,
        "decode": setting.decode,
        "load_before": setting.load,
        "tok_s": models,
        "targets": targets,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(peer: &'static str, rates: &[(f64, f64)]) -> Series {
        let rates = rates
            .iter()
            .map(|&(prefill, decode)| Rates { prefill, decode });
        Series {
            peer,
            rates: rates.collect(),
        }
    }

    fn setting(load: Option<f64>) -> Setting {
        Setting {
            cpu: "A CPU".into(),
            isa: "avx2".into(),
            threads: 2,
            prompt: 512,
            decode: 128,
            rounds: 3,
            load,
        }
    }

    fn measured() -> [Measured; 1] {
        [Measured {
            file: "m.gguf".into(),
            dormouse: series("dormouse", &[(300.0, 9.0), (100.0, 10.0), (200.0, 50.0)]),
            peers: vec![series("candle", &[(90.0, 40.0), (80.0, 40.0), (10.0, 8.0)])],
        }]
    }

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two_middle_ones() {
        let median = |values: &[f64]| {
            let rates: Vec<_> = values.iter().map(|&value| (value, 0.0)).collect();
            Summary::of(&series("x", &rates), Figure::Prefill).map(|summary| summary.median)
        };
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[10.0, 2.0, 9.0]), Some(9.0));
        assert_eq!(median(&[8.0, 1.0, 2.0, 100.0]), Some(5.0));
    }

    #[test]
    fn the_table_holds_medians_ranges_and_ratios() {
        let expected = "\
A CPU, instruction set avx2, 2 threads; medians of 3 interleaved rounds (lowest to highest), tokens/s; load average before 0.50

| model | figure | Dormouse | peer | its rate | ratio | target |
|---|---|---:|---|---:|---:|---|
| m.gguf | prefill 512 | 200.0 (100.0 to 300.0) | candle | 80.0 (10.0 to 90.0) | 2.50 | >= 1.0 held |
| m.gguf | decode 128 | 10.0 (9.0 to 50.0) | candle | 40.0 (8.0 to 40.0) | 0.25 | >= 1.0 MISSED |
";
        assert_eq!(table(&setting(Some(0.5)), &measured()), expected);
    }

    #[test]
    fn the_json_is_one_line_with_a_target_for_each_ratio() {
        let line = json(&setting(None), &measured());
        assert!(!line.contains('\n'));
        let value: Value = serde_json::from_str(&line).unwrap();
        let targets = json!({
            "m.gguf prefill / candle": { "figure": 2.5, "target": 1.0, "held": true },
            "m.gguf decode / candle": { "figure": 0.25, "target": 1.0, "held": false },
        });
        assert_eq!(value["targets"], targets);
        let decode = json!({
            "dormouse": { "median": 10.0, "min": 9.0, "max": 50.0 },
            "candle": { "median": 40.0, "min": 8.0, "max": 40.0 },
        });
        assert_eq!(value["tok_s"]["m.gguf"]["decode"], decode);
        assert_eq!(value["isa"], "avx2");
        assert_eq!(value["load_before"], Value::Null);
    }

    #[test]
    fn an_equal_rate_holds_the_target() {
        let equal = [Measured {
            file: "m".into(),
            dormouse: series("dormouse", &[(5.0, 5.0)]),
            peers: vec![series("candle", &[(5.0, 5.1)])],
        }];
        let held: Vec<bool> = cells(&equal).map(|cell| cell.held()).collect();
        assert_eq!(held, [true, false]);
    }
}
