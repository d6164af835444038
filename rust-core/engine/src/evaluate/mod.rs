//! How well a model predicts a text, and how far its distributions lie from a yardstick's.
//!
//! Perplexity is exp of the mean negative log-likelihood of the next token. The divergence is
//! KL(yardstick || model) in nats; where the yardstick keeps only its most likely ids, all others
//! are one outcome, which makes the figure a lower bound of the full one.

mod logits_file;

pub use logits_file::{Distribution, LogitsReader, LogitsWriter};

use crate::error::{Error, Result};
use crate::model::Decoder;

/// Rows of logits that are held at once.
const ROWS: usize = 32;

/// Sums over scored positions.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Score {
    /// Positions whose next token was known.
    pub predicted: usize,
    /// Sum of their negative log-likelihoods, in nats.
    pub negative_log_likelihood: f64,
    /// Positions compared with a yardstick.
    pub compared: usize,
    /// Sum of KL(yardstick || model) over them, in nats.
    pub divergence: f64,
    /// How many of them have the same most likely token.
    pub same_top: usize,
}

impl Score {
    /// exp(mean negative log-likelihood); `None` before anything was predicted.
    pub fn perplexity(&self) -> Option<f64> {
        (self.predicted > 0).then(|| (self.negative_log_likelihood / self.predicted as f64).exp())
    }

    /// Mean divergence in nats; `None` without a yardstick.
    pub fn mean_kl(&self) -> Option<f64> {
        (self.compared > 0).then(|| self.divergence / self.compared as f64)
    }

    /// Share of positions with the same most likely token; `None` without a yardstick.
    pub fn top1_agreement(&self) -> Option<f64> {
        (self.compared > 0).then(|| self.same_top as f64 / self.compared as f64)
    }
}

/// Runs `tokens` through an empty decoder and hands each position's logits to `visit`, in order.
///
/// # Errors
/// Those of [`Decoder::forward_all`] and of `visit`.
pub fn for_each_position(
    decoder: &mut dyn Decoder,
    tokens: &[u32],
    mut visit: impl FnMut(usize, &[f32]) -> Result<()>,
) -> Result<()> {
    let n_vocab = decoder.vocab_size();
    let rows = ROWS.min(decoder.max_chunk());
    let mut logits = vec![0.0; rows * n_vocab];
    for (chunk_index, chunk) in tokens.chunks(rows).enumerate() {
        let out = &mut logits[..chunk.len() * n_vocab];
        decoder.forward_all(chunk, out)?;
        for (row, logits) in out.chunks_exact(n_vocab).enumerate() {
            visit(chunk_index * rows + row, logits)?;
        }
    }
    Ok(())
}

/// Adds the likelihood of the tokens that follow positions `from..` of one window to `score`.
///
/// # Errors
/// As [`for_each_position`].
pub fn score_window(
    decoder: &mut dyn Decoder,
    tokens: &[u32],
    from: usize,
    score: &mut Score,
) -> Result<()> {
    for_each_position(decoder, tokens, |position, logits| {
        if position >= from {
            score.predict(logits, tokens.get(position + 1));
        }
        Ok(())
    })
}

/// Runs the yardstick's tokens through an empty decoder and compares every position.
///
/// # Errors
/// [`Error::InvalidArgument`] when the vocabularies differ in size; those of the reader and of
/// [`for_each_position`].
pub fn compare(decoder: &mut dyn Decoder, yardstick: &mut LogitsReader) -> Result<Score> {
    let n_vocab = decoder.vocab_size();
    if yardstick.n_vocab() != n_vocab {
        return Err(Error::invalid(format!(
            "the logits file has a vocabulary of {}, the model one of {n_vocab}",
            yardstick.n_vocab()
        )));
    }
    let tokens = yardstick.tokens().to_vec();
    let mut score = Score::default();
    let mut expected = Distribution::default();
    for_each_position(decoder, &tokens, |position, logits| {
        if !yardstick.read(&mut expected)? {
            return Err(Error::internal("the logits file ended early"));
        }
        score.predict(logits, tokens.get(position + 1));
        score.compare(logits, &expected);
        Ok(())
    })?;
    Ok(score)
}

impl Score {
    fn predict(&mut self, logits: &[f32], next: Option<&u32>) {
        if let Some(&next) = next {
            let log_prob = f64::from(logits[next as usize]) - log_sum_exp(logits);
            self.predicted += 1;
            self.negative_log_likelihood -= log_prob;
        }
    }

    fn compare(&mut self, logits: &[f32], expected: &Distribution) {
        let total = log_sum_exp(logits);
        let mut divergence = 0.0;
        let mut mass = 0.0;
        for (&id, &log_p) in expected.ids.iter().zip(&expected.log_probs) {
            let log_p = f64::from(log_p);
            let log_q = f64::from(logits[id as usize]) - total;
            mass += log_q.exp();
            divergence += term(log_p, log_q);
        }
        if let Some(log_rest) = expected.log_rest.map(f64::from) {
            let rest = (1.0 - mass).max(f64::MIN_POSITIVE);
            divergence += term(log_rest, rest.ln());
        }
        let best = top(&expected.log_probs).and_then(|index| expected.ids.get(index as usize));
        self.compared += 1;
        self.divergence += divergence;
        self.same_top += usize::from(best.is_some() && best.copied() == top(logits));
    }
}

/// p (ln p - ln q) for one outcome; an impossible one adds nothing.
fn term(log_p: f64, log_q: f64) -> f64 {
    if log_p == f64::NEG_INFINITY {
        0.0
    } else {
        log_p.exp() * (log_p - log_q)
    }
}

/// The log-probabilities that `logits` mean.
pub fn log_probs(logits: &[f32]) -> impl Iterator<Item = f32> {
    let total = log_sum_exp(logits);
    logits
        .iter()
        .map(move |&logit| (f64::from(logit) - total) as f32)
}

fn log_sum_exp(logits: &[f32]) -> f64 {
    let highest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits
        .iter()
        .map(|&logit| (f64::from(logit) - highest).exp())
        .sum();
    sum.ln() + highest
}

/// Index of the highest value; the first of equals.
fn top(values: &[f32]) -> Option<u32> {
    let mut best: Option<(usize, f32)> = None;
    for (index, &value) in values.iter().enumerate() {
        if best.is_none_or(|(_, highest)| value > highest) {
            best = Some((index, value));
        }
    }
    best.map(|(index, _)| index as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_of_equal_distributions_is_zero_and_of_others_is_not() {
        let logits = [0.0f32, 1.0, 2.0, -1.0];
        let all: Vec<f32> = log_probs(&logits).collect();
        let same = Distribution {
            ids: (0..4).collect(),
            log_probs: all.clone(),
            log_rest: None,
        };
        let mut score = Score::default();
        score.compare(&logits, &same);
        assert!(score.divergence.abs() < 1e-7, "{score:?}");
        assert_eq!(score.same_top, 1);

        // The same with two ids and a bucket for the rest.
        let rest = (f64::from(all[0]).exp() + f64::from(all[3]).exp()).ln() as f32;
        let bucketed = Distribution {
            ids: vec![2, 1],
            log_probs: vec![all[2], all[1]],
            log_rest: Some(rest),
        };
        let mut score = Score::default();
        score.compare(&logits, &bucketed);
        assert!(score.divergence.abs() < 1e-6, "{score:?}");

        // By hand: p = (1/2, 1/2), q = (1/4, 3/4).
        let mut score = Score::default();
        let p = Distribution {
            ids: vec![0, 1],
            log_probs: vec![0.5f32.ln(); 2],
            log_rest: None,
        };
        score.compare(&[0.25f32.ln(), 0.75f32.ln()], &p);
        let by_hand = 0.5 * (0.5f64 / 0.25).ln() + 0.5 * (0.5f64 / 0.75).ln();
        assert!((score.divergence - by_hand).abs() < 1e-6);
        assert_eq!(score.same_top, 0);

        // What the yardstick holds impossible adds nothing.
        let mut score = Score::default();
        let p = Distribution {
            ids: vec![0, 1],
            log_probs: vec![0.0, f32::NEG_INFINITY],
            log_rest: Some(f32::NEG_INFINITY),
        };
        score.compare(&[0.5f32.ln(); 2], &p);
        assert!((score.divergence - 2f64.ln()).abs() < 1e-6, "{score:?}");
    }

    #[test]
    fn logits_file_round_trip_and_damage() {
        let dir = std::env::temp_dir().join(format!("dormouse-logits-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("a.logits");
        let mut writer = LogitsWriter::create(&path, 3, &[2, 0]).unwrap();
        writer.write([-1.0f32, -2.0, -3.0].into_iter()).unwrap();
        writer.write([-0.5f32, -0.25, -9.0].into_iter()).unwrap();
        writer.finish().unwrap();

        let mut reader = LogitsReader::open(&path).unwrap();
        assert_eq!(reader.tokens(), [2, 0]);
        let mut record = Distribution::default();
        assert!(reader.read(&mut record).unwrap());
        assert_eq!(record.log_probs, [-1.0, -2.0, -3.0]);
        assert!(reader.read(&mut record).unwrap());
        assert_eq!(record.log_probs, [-0.5, -0.25, -9.0]);
        assert!(!reader.read(&mut record).unwrap());

        let bytes = std::fs::read(&path).unwrap();
        for wrong in [f32::NAN, f32::INFINITY, 0.5] {
            let mut bytes = bytes.clone();
            let last = bytes.len() - 4;
            bytes[last..].copy_from_slice(&wrong.to_le_bytes());
            std::fs::write(&path, &bytes).unwrap();
            let mut reader = LogitsReader::open(&path).unwrap();
            reader.read(&mut record).unwrap();
            let error = reader.read(&mut record).unwrap_err().to_string();
            assert!(error.contains("no logarithm"), "{error}");
        }
        for cut in 0..bytes.len() {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            assert!(LogitsReader::open(&path).is_err(), "cut at {cut}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
