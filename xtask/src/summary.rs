//! The closing table of a test run: one line a suite.

use std::fmt::Write as _;
use std::time::Duration;

/// How a suite ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All of it ran and nothing failed.
    Passed,
    /// What failed.
    Failed(String),
    /// Why it could not run.
    NotRun(String),
}

/// A suite's line.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) outcome: Outcome,
    /// The last lines of the last command, where they were kept.
    pub(crate) tail: Vec<String>,
    pub(crate) took: Duration,
    pub(crate) budget: Duration,
}

/// Whether the run as a whole is good; with `require_all` a suite that did not run is not.
pub(crate) fn good(lines: &[Line], require_all: bool) -> bool {
    lines.iter().all(|line| match line.outcome {
        Outcome::Passed => true,
        Outcome::Failed(_) => false,
        Outcome::NotRun(_) => !require_all,
    })
}

/// The last words of what failed, where they were kept: a log is read from its end.
pub(crate) fn ends(lines: &[Line]) -> String {
    lines
        .iter()
        .filter(|line| matches!(line.outcome, Outcome::Failed(_)) && !line.tail.is_empty())
        .map(|line| format!("\n== {} ended so:\n{}\n", line.name, line.tail.join("\n")))
        .collect()
}

/// The table, and a line that counts.
pub(crate) fn table(lines: &[Line]) -> String {
    let width = lines.iter().map(|line| line.name.len()).max().unwrap_or(0);
    let (mut passed, mut failed, mut not_run) = (0, 0, 0);
    let mut text = String::new();
    for line in lines {
        let (result, mut why) = match &line.outcome {
            Outcome::Passed => {
                passed += 1;
                ("passed ", String::new())
            }
            Outcome::Failed(why) => {
                failed += 1;
                ("failed ", why.clone())
            }
            Outcome::NotRun(why) => {
                not_run += 1;
                ("not run", why.clone())
            }
        };
        if line.took > line.budget {
            let gap = if why.is_empty() { "" } else { "; " };
            why = format!("over its budget{gap}{why}");
        }
        let (took, budget) = (line.took.as_secs_f64().round(), line.budget.as_secs());
        let row = format!(
            "{:width$}  {result}  {took:>4} s of {budget:>4} s  {why}",
            line.name
        );
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", row.trim_end());
    }
    let _ = writeln!(text, "{passed} passed, {failed} failed, {not_run} not run");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &'static str, outcome: Outcome, took: u64) -> Line {
        let (took, budget) = (Duration::from_secs(took), Duration::from_secs(10));
        Line {
            name,
            outcome,
            tail: vec!["last".into(), "words".into()],
            took,
            budget,
        }
    }

    #[test]
    fn each_suite_has_a_line() {
        let lines = [
            line("fmt", Outcome::Passed, 1),
            line("deny", Outcome::NotRun("no cargo-deny".into()), 0),
            line("unit", Outcome::Failed("`cargo test` failed".into()), 12),
            line("docs", Outcome::Passed, 11),
        ];
        let expected = "\
fmt   passed      1 s of   10 s
deny  not run     0 s of   10 s  no cargo-deny
unit  failed     12 s of   10 s  over its budget; `cargo test` failed
docs  passed     11 s of   10 s  over its budget
2 passed, 1 failed, 1 not run
";
        assert_eq!(table(&lines), expected);
        assert_eq!(ends(&lines), "\n== unit ended so:\nlast\nwords\n");
    }

    #[test]
    fn a_suite_that_did_not_run_fails_only_where_all_are_required() {
        let passed = line("fmt", Outcome::Passed, 1);
        let not_run = line("deny", Outcome::NotRun("why".into()), 0);
        let failed = line("unit", Outcome::Failed("why".into()), 0);
        assert!(good(&[passed, not_run], false));
        assert!(!good(
            &[line("deny", Outcome::NotRun("why".into()), 0)],
            true
        ));
        assert!(!good(&[failed], false));
    }
}
