//! The rounds on a model: every engine does the same in turns.

use std::path::Path;
use std::process::{Command, Stdio};

use super::figures::{DEEP, DEPTH, Figure};
use super::first_token;
use super::own::{Facts, Own};
use super::peer::{self, Choice, Dormouse, Engine, Work};
use super::report::{Measured, Series};
use super::subjects::Subject;
use crate::failure::{Failure, Result};
use crate::process;

/// Processes of each engine that are timed to their first token in a round.
const FIRST_TOKENS: u32 = 3;
/// How much faster than the default another choice must be to be taken.
const CLEARLY: f64 = 1.02;

/// Who runs, and how.
pub(crate) struct Race<'a> {
    pub(crate) dormouse: &'a Dormouse,
    pub(crate) peers: &'a [Box<dyn Engine>],
    pub(crate) figures: Vec<Figure>,
    pub(crate) threads: u32,
    /// Rounds that count; one more comes before.
    pub(crate) rounds: u32,
}

/// An engine on its way through the rounds.
struct Runner<'a> {
    engine: &'a dyn Engine,
    series: Series,
}

impl Runner<'_> {
    /// Notes how the engine is set from here on, where there was a choice.
    fn chose(&mut self, choice: Choice, figures: &[Figure]) {
        if !choice.name.is_empty() {
            let figures: Vec<_> = figures.iter().map(|figure| figure.name()).collect();
            let line = format!("{} ({})", choice.name, figures.join(", "));
            self.series.choices.push(line);
        }
    }
}

impl Race<'_> {
    /// All rounds on one model. Sets `isa` to what Dormouse names.
    ///
    /// # Errors
    /// If a run fails.
    pub(crate) fn run(&self, subject: Subject, isa: &mut Option<String>) -> Result<Measured> {
        let Subject { path, name, class } = subject;
        let facts = Facts::of(&self.dormouse.program, &path)?;
        let mut runners: Vec<Runner<'_>> = self
            .engines()
            .map(|engine| Runner {
                engine,
                series: Series::new(engine.name()),
            })
            .collect();
        for work in self.works(&facts) {
            let choices = self.warm_up(&mut runners, &path, &name, work)?;
            for round in 1..=self.rounds {
                for (runner, choice) in runners.iter_mut().zip(&choices) {
                    let report = peer::measure(runner.engine, &path, work, *choice)?;
                    let Some(report) = report else { continue };
                    *isa = report.isa.or(isa.take());
                    for (figure, rate) in report.rates {
                        tell(&name, round, runner.engine, figure, rate);
                        runner.series.values.entry(figure).or_default().push(rate);
                    }
                }
            }
        }
        if self.figures.contains(&Figure::FirstToken) {
            self.first_tokens(&mut runners, &path, &name)?;
        }
        let own = Own::measure(&self.dormouse.program, &path, &facts, self.threads)?;
        let mut series = runners.into_iter().map(|runner| runner.series);
        let dormouse = series
            .next()
            .ok_or_else(|| Failure("no engine ran".into()))?;
        Ok(Measured {
            name,
            class,
            facts,
            own,
            dormouse,
            peers: series.collect(),
        })
    }

    /// Dormouse first.
    fn engines(&self) -> impl Iterator<Item = &dyn Engine> {
        std::iter::once(self.dormouse as &dyn Engine).chain(self.peers.iter().map(AsRef::as_ref))
    }

    /// What is to be done for the figures that are wanted, as far as the model's context goes.
    fn works(&self, facts: &Facts) -> Vec<Work> {
        let wanted = |figure| self.figures.contains(&figure);
        let mut works = vec![Work::shallow(self.threads)];
        if facts.context >= u64::from(DEPTH + DEEP) {
            works.push(Work::deep(self.threads));
        }
        for work in &mut works {
            for figure in work.figures() {
                match figure {
                    Figure::Prefill if !wanted(figure) => work.prompt = 0,
                    Figure::Decode | Figure::Deep if !wanted(figure) => work.decode = 0,
                    _ => {}
                }
            }
        }
        works.retain(|work| !work.figures().is_empty());
        works
    }

    /// The round that does not count: each engine once in every way that it can be set. Gives the
    /// fastest way of each.
    fn warm_up(
        &self,
        runners: &mut [Runner<'_>],
        path: &Path,
        name: &str,
        work: Work,
    ) -> Result<Vec<Choice>> {
        let mut fastest = Vec::new();
        for runner in runners {
            let mut tried = Vec::new();
            for &choice in runner.engine.choices() {
                let Some(report) = peer::measure(runner.engine, path, work, choice)? else {
                    continue;
                };
                for &(figure, rate) in &report.rates {
                    tell(name, 0, runner.engine, figure, rate);
                }
                tried.push((choice, mean(report.rates.iter().map(|(_, rate)| *rate))));
            }
            let choice = best(&tried).unwrap_or(runner.engine.choices()[0]);
            if !tried.is_empty() {
                runner.chose(choice, &work.figures());
            }
            fastest.push(choice);
        }
        Ok(fastest)
    }

    fn first_tokens(&self, runners: &mut [Runner<'_>], path: &Path, name: &str) -> Result<()> {
        let prompt = first_token::prompt(|text| self.count_tokens(path, text))?;
        let time = |runner: &Runner<'_>, choice: Choice, round| -> Result<Option<f64>> {
            let command = runner.engine.first_token(path, &prompt, self.threads);
            let Some(mut command) = command else {
                return Ok(None);
            };
            let seconds = first_token::time(command.args(choice.arguments))?.as_secs_f64();
            let (figure, milliseconds) = (Figure::FirstToken, seconds * 1e3);
            tell(name, round, runner.engine, figure, milliseconds);
            Ok(Some(milliseconds))
        };
        let mut choices = Vec::new();
        for runner in runners.iter_mut() {
            let mut tried = Vec::new();
            let ways = runner.engine.first_token_choices();
            for &choice in ways {
                for _ in 0..FIRST_TOKENS {
                    if let Some(milliseconds) = time(runner, choice, 0)? {
                        tried.push((choice, 1e3 / milliseconds));
                    }
                }
            }
            let choice = best(&tried).unwrap_or(ways[0]);
            if !tried.is_empty() {
                runner.chose(choice, &[Figure::FirstToken]);
            }
            choices.push(choice);
        }
        for round in 1..=self.rounds {
            for _ in 0..FIRST_TOKENS {
                for (runner, choice) in runners.iter_mut().zip(&choices) {
                    if let Some(milliseconds) = time(runner, *choice, round)? {
                        let values = &mut runner.series.values;
                        let values = values.entry(Figure::FirstToken).or_default();
                        values.push(milliseconds);
                    }
                }
            }
        }
        Ok(())
    }

    /// How many tokens a text has, by `dormouse tokenize`.
    fn count_tokens(&self, model: &Path, text: &str) -> Result<usize> {
        let mut command = Command::new(&self.dormouse.program);
        command.args(["tokenize", "--ids", "-m"]).arg(model);
        command.arg(text);
        let shown = process::show(&command);
        let output = command
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| Failure(format!("cannot start `{shown}`: {error}")))?;
        if !output.status.success() {
            return Err(Failure(format!("`{shown}` failed: {}", output.status)));
        }
        let ids = String::from_utf8_lossy(&output.stdout);
        let id = |c: char| c == ',' || c.is_whitespace();
        Ok(ids.split(id).filter(|id| !id.is_empty()).count())
    }
}

fn tell(model: &str, round: u32, engine: &dyn Engine, figure: Figure, value: f64) {
    let counted = match round {
        0 => "warm-up".to_owned(),
        round => format!("round {round}"),
    };
    let (engine, figure) = (engine.name(), figure.title());
    eprintln!("{model} {counted}: {engine} {figure}: {value:.1}");
}

/// The geometric mean, in which a figure of small numbers counts as much as one of large ones.
fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    (values.map(f64::ln).sum::<f64>() / count).exp()
}

/// The fastest choice, but the first unless another is clearly faster. Each may have been tried
/// several times; its best counts.
fn best(tried: &[(Choice, f64)]) -> Option<Choice> {
    let (first, _) = *tried.first()?;
    let same = tried.iter().filter(|(choice, _)| *choice == first);
    let rate = same.map(|(_, rate)| *rate).fold(0.0, f64::max);
    let (other, fastest) = *tried.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(if fastest > rate * CLEARLY {
        other
    } else {
        first
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_kept_unless_another_is_clearly_faster() {
        let choice = |name| Choice {
            name,
            arguments: &[],
        };
        let [a, b, c] = ["a", "b", "c"].map(choice);
        assert_eq!(best(&[(a, 100.0), (b, 101.0)]), Some(a));
        assert_eq!(best(&[(a, 100.0), (b, 110.0), (c, 120.0)]), Some(c));
        assert_eq!(best(&[(a, 50.0), (a, 119.0), (b, 120.0)]), Some(a));
        assert_eq!(best(&[]), None);
        assert!((mean([4.0, 9.0].into_iter()) - 6.0).abs() < 1e-12);
    }

    #[test]
    fn a_model_with_a_short_context_is_not_asked_for_depth() {
        let dormouse = Dormouse {
            program: "dormouse".into(),
        };
        let mut race = Race {
            dormouse: &dormouse,
            peers: &[],
            figures: Figure::ALL.to_vec(),
            threads: 1,
            rounds: 1,
        };
        let mut facts = Facts {
            file_bytes: 0,
            context: 4160,
            tokenizer_bytes: 0,
            tokenizer_s: 0.0,
            decode_bytes: 0,
            prefill_ops: 0,
        };
        assert_eq!(race.works(&facts), [Work::shallow(1), Work::deep(1)]);
        facts.context = 4159;
        assert_eq!(race.works(&facts), [Work::shallow(1)]);
        race.figures = vec![Figure::Deep, Figure::FirstToken];
        assert!(race.works(&facts).is_empty());
        // What is not wanted is not run.
        race.figures = vec![Figure::Decode];
        let decode = Work {
            prompt: 0,
            ..Work::shallow(1)
        };
        assert_eq!(race.works(&facts), [decode]);
    }
}
