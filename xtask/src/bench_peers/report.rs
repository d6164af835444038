//! What was measured, as tables and as JSON.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::figures::{DECODE, DEEP, DEPTH, FIRST_PROMPT, Figure, PROMPT, Summary};
use super::machine::Machine;
use super::own::{Facts, Own};
use super::subjects::Class;
use super::targets::{self, Target};

/// Where and how it was measured.
#[derive(Debug)]
pub(crate) struct Setting {
    /// The processor's name.
    pub(crate) cpu: String,
    /// The instruction set of Dormouse's kernels.
    pub(crate) isa: String,
    pub(crate) threads: u32,
    pub(crate) rounds: u32,
    /// The system's load average of one minute before the first run, where there is one: above
    /// about half a core it means that something else ran too.
    pub(crate) load: Option<f64>,
    pub(crate) machine: Machine,
    /// Each engine's name, and how it was built and called.
    pub(crate) engines: Vec<(&'static str, String)>,
}

/// What one engine did on a model, a value for each counted round.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) engine: &'static str,
    pub(crate) values: BTreeMap<Figure, Vec<f64>>,
    /// How it was set where there was a choice, and for which figures.
    pub(crate) choices: Vec<String>,
}

impl Series {
    pub(crate) fn new(engine: &'static str) -> Self {
        Self {
            engine,
            values: BTreeMap::new(),
            choices: Vec::new(),
        }
    }

    fn summary(&self, figure: Figure) -> Option<Summary> {
        Summary::of(self.values.get(&figure)?)
    }
}

/// All engines on one model: Dormouse first, then those it is compared with.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) name: String,
    pub(crate) class: Class,
    pub(crate) facts: Facts,
    pub(crate) own: Own,
    pub(crate) dormouse: Series,
    pub(crate) peers: Vec<Series>,
}

/// One comparison.
#[derive(Debug)]
struct Cell<'a> {
    model: &'a Measured,
    figure: Figure,
    peer: &'static str,
    ours: Summary,
    theirs: Summary,
    ratio: f64,
    target: Option<Target>,
}

fn cells<'a>(isa: &str, measured: &'a [Measured]) -> Vec<Cell<'a>> {
    let mut cells = Vec::new();
    for model in measured {
        for peer in &model.peers {
            for figure in Figure::ALL {
                let ours = model.dormouse.summary(figure);
                let Some((ours, theirs)) = ours.zip(peer.summary(figure)) else {
                    continue;
                };
                let ratio = figure.ratio(ours.median, theirs.median);
                let target = targets::ratio(peer.engine, model.class, figure, isa);
                cells.push(Cell {
                    model,
                    figure,
                    peer: peer.engine,
                    ours,
                    theirs,
                    ratio,
                    target: target.map(|target| Target::at_least(ratio, target)),
                });
            }
        }
    }
    cells
}

/// What Dormouse reaches of what the machine can do.
#[derive(Clone, Copy, Debug)]
struct Reached {
    /// Bytes of weights per second that decoding reads, and their share of the read bandwidth.
    read: Option<(f64, f64)>,
    /// Operations per second of prefill, and their share of the int8 peak, where that is known.
    ops: Option<(f64, Option<f64>)>,
}

impl Reached {
    fn of(model: &Measured, machine: &Machine) -> Self {
        let median = |figure| Some(model.dormouse.summary(figure)?.median);
        let read = median(Figure::Decode).map(|rate| rate * model.facts.decode_bytes as f64);
        let ops = median(Figure::Prefill).map(|rate| rate * model.facts.prefill_ops as f64);
        let peak = machine.int8.as_ref().map(|(_, peak)| *peak);
        Self {
            read: read.map(|read| (read, read / machine.read)),
            ops: ops.map(|ops| (ops, peak.map(|peak| ops / peak))),
        }
    }
}

/// The tables in Markdown, with a paragraph above that says where and how it was measured.
pub(crate) fn table(setting: &Setting, measured: &[Measured]) -> String {
    let mut text = format!(
        "{}, instruction set {}, {} threads; medians of {} interleaved rounds (lowest to highest)",
        setting.cpu, setting.isa, setting.threads, setting.rounds
    );
    // Writing to a String cannot fail.
    if let Some(load) = setting.load {
        let _ = write!(text, "; load average before {load:.2}");
    }
    let _ = writeln!(text, "\nmachine: {}", setting.machine.line());
    for (engine, about) in &setting.engines {
        let _ = writeln!(text, "{engine}: {about}");
    }
    text.push_str("\n| model | figure | Dormouse | peer | its figure | ratio | target |\n");
    text.push_str("|---|---|---:|---|---:|---:|---|\n");
    for cell in cells(&setting.isa, measured) {
        let target = cell.target.map_or("-".to_owned(), |target| {
            format!(">= {} {}", target.target, target.verdict())
        });
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {:.2} | {target} |",
            cell.model.name,
            cell.figure.title(),
            show(cell.ours),
            cell.peer,
            show(cell.theirs),
            cell.ratio,
        );
    }
    for model in measured {
        for series in std::iter::once(&model.dormouse).chain(&model.peers) {
            if !series.choices.is_empty() {
                let choices = series.choices.join("; ");
                let _ = writeln!(text, "\n{} on {}: {choices}", series.engine, model.name);
            }
        }
    }
    text + &own_table(setting, measured)
}

/// What Dormouse reaches of the machine, and what it takes.
fn own_table(setting: &Setting, measured: &[Measured]) -> String {
    let mut text = String::from(
        "\n| model | decode reads | of the bandwidth | prefill | of the int8 peak | peak memory | load without tokenizer |\n\
         |---|---:|---:|---:|---:|---:|---:|\n",
    );
    let percent = |share: f64| format!("{:.0}%", share * 100.0);
    let judged = |figure: String, limit: String, target: Option<Target>| {
        target.map_or(figure.clone(), |target| {
            let sign = if target.at_most { "<=" } else { ">=" };
            format!("{figure} ({sign} {limit} {})", target.verdict())
        })
    };
    for model in measured {
        let reached = Reached::of(model, &setting.machine);
        let dash = || "-".to_owned();
        let giga = |value: f64, unit| format!("{:.1} {unit}", value / 1e9);
        let read = reached.read.map_or(dash(), |(read, _)| giga(read, "GB/s"));
        let share = reached.read.map_or(dash(), |(_, share)| {
            let target = targets::read_share(model.class, share);
            let limit = target.map_or(0.0, |target| target.target);
            judged(percent(share), percent(limit), target)
        });
        let ops = reached.ops.map_or(dash(), |(ops, _)| giga(ops, "Gop/s"));
        let of_peak = reached.ops.and_then(|(_, share)| share);
        let of_peak = of_peak.map_or(dash(), percent);
        let mib = |bytes: f64| format!("{:.1} MiB", bytes / f64::from(1 << 20));
        let peak = memory(&model.own).map_or(dash(), |target| {
            judged(mib(target.figure), mib(target.target), Some(target))
        });
        let milliseconds = |seconds: f64| format!("{:.0} ms", seconds * 1e3);
        let target = targets::load(model.class, model.own.load_s);
        let limit = target.map_or(0.0, |target| target.target);
        let load = judged(milliseconds(model.own.load_s), milliseconds(limit), target);
        let name = &model.name;
        let _ = writeln!(
            text,
            "| {name} | {read} | {share} | {ops} | {of_peak} | {peak} | {load} |"
        );
    }
    text
}

fn memory(own: &Own) -> Option<Target> {
    Some(Target::at_most(own.peak? as f64, own.limit as f64))
}

fn show(summary: Summary) -> String {
    let Summary { median, min, max } = summary;
    format!("{median:.1} ({min:.1} to {max:.1})")
}

/// One line for programs; `targets` has an object `{figure, target, held}` for each that there is.
pub(crate) fn json(setting: &Setting, measured: &[Measured]) -> String {
    let mut all_targets = Map::new();
    let mut models = Map::new();
    for cell in cells(&setting.isa, measured) {
        let (model, figure) = (&cell.model.name, cell.figure.name());
        if let Some(target) = cell.target {
            let name = format!("{model} {figure} / {}", cell.peer);
            all_targets.insert(name, target.json());
        }
    }
    for model in measured {
        let mut figures = Map::new();
        for series in std::iter::once(&model.dormouse).chain(&model.peers) {
            let summaries = Figure::ALL.into_iter().filter_map(|figure| {
                let summary = series.summary(figure)?;
                Some((figure.name().to_owned(), summary.json()))
            });
            let mut values: Map<String, Value> = summaries.collect();
            values.insert("choices".into(), json!(series.choices));
            figures.insert(series.engine.into(), Value::Object(values));
        }
        let reached = Reached::of(model, &setting.machine);
        let of_peak = reached.ops.and_then(|(_, share)| share);
        let (read, share) = reached.read.unzip();
        let named = [
            (
                "decode / bandwidth",
                share.and_then(|share| targets::read_share(model.class, share)),
            ),
            ("peak memory bytes", memory(&model.own)),
            ("load s", targets::load(model.class, model.own.load_s)),
        ];
        for (name, target) in named {
            if let Some(target) = target {
                all_targets.insert(format!("{} {name}", model.name), target.json());
            }
        }
        figures.insert(
            "reached".into(),
            json!({
                "decode_bytes_per_s": read,
                "of_read_bandwidth": share,
                "prefill_ops_per_s": reached.ops.map(|(ops, _)| ops),
                "of_int8_peak": of_peak,
                "peak_memory_bytes": model.own.peak,
                "load_s": model.own.load_s,
                "tokenizer_s": model.facts.tokenizer_s,
            }),
        );
        models.insert(model.name.clone(), Value::Object(figures));
    }
    json!({
        "cpu": setting.cpu,
        "isa": setting.isa,
        "threads": setting.threads,
        "rounds": setting.rounds,
        "prompt": PROMPT,
        "decode": DECODE,
        "deep": { "decode": DEEP, "depth": DEPTH },
        "first_token_prompt": FIRST_PROMPT,
        "load_before": setting.load,
        "machine": setting.machine.json(),
        "engines": setting.engines.iter().map(|(name, about)| json!({ "name": name, "about": about })).collect::<Value>(),
        "models": models,
        "targets": all_targets,
    })
    .to_string()
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
