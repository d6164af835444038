//! From logits to the next token.

mod mask;
mod options;
mod rng;
mod select;
#[cfg(test)]
mod tests;

pub use mask::{TokenMask, TokenSet};
pub use options::SamplerOptions;

use std::hash::{BuildHasher, Hasher};

use crate::error::{Error, Result};
use rng::{Rng, exp, least_exponent};
use select::{Candidate, select};

/// Chooses tokens by [`SamplerOptions`], one after another from one seed.
///
/// The steps, in the order of llama.cpp's default chain:
/// 1. logit bias, 2. repetition, then presence and frequency penalties, 3. the token mask,
///    4. top-k, 5. top-p over what is left, 6. min-p, 7. temperature, 8. the draw.
///
/// So top-p and min-p look at the probabilities before the temperature. At temperature 0 the
/// likeliest token after step 3 is taken, of equals the one with the lowest id.
///
/// The same seed, settings and logits choose the same tokens on every platform: weights are
/// summed in f64 in a fixed order, and neither the exponential nor the random numbers (xoshiro256++
/// seeded by splitmix64) come from the platform's libraries.
///
/// Nothing is allocated once the first token was chosen, unless top-p must keep more tokens than
/// ever before.
#[derive(Debug, Clone)]
pub struct Sampler {
    options: SamplerOptions,
    seed: u64,
    rng: Rng,
    /// How far below the likeliest a logit may lie for min-p.
    min_p_margin: f64,
    candidates: Vec<Candidate>,
    weights: Vec<f64>,
    window: Vec<u32>,
}

impl Sampler {
    /// A sampler for a model of `vocab_size` tokens.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a setting outside its range.
    pub fn new(options: SamplerOptions, vocab_size: usize) -> Result<Self> {
        options.validate(vocab_size)?;
        let seed = options.seed.unwrap_or_else(fresh_seed);
        Ok(Self {
            seed,
            rng: Rng::new(seed),
            min_p_margin: least_exponent(f64::from(options.min_p)),
            candidates: Vec::new(),
            weights: Vec::new(),
            window: Vec::new(),
            options,
        })
    }

    /// The seed in use: the one given, or the one taken in its place.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Chooses the token after `history`, the tokens of the context from oldest to newest.
    /// `logits` are `[vocab_size]` and are worked on in place: afterwards they are of no use.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when `mask` and logit bias leave no token,
    /// [`Error::CorruptModel`] when the logits are not numbers (NaN or positive infinity).
    pub fn sample(
        &mut self,
        logits: &mut [f32],
        history: &[u32],
        mask: Option<&TokenSet>,
    ) -> Result<u32> {
        // Without an early exit the loop is vectorised.
        if logits
            .iter()
            .fold(false, |bad, l| bad | l.is_nan() | (*l == f32::INFINITY))
        {
            return Err(Error::corrupt(
                "the weights",
                "a logit computed from them is not a finite number",
            ));
        }
        self.bias(logits)?;
        self.penalise(logits, history);
        if let Some(mask) = mask {
            mask.forbid_others(logits);
        }
        let (likeliest, max) = argmax(logits);
        if max == f32::NEG_INFINITY {
            return Err(Error::invalid(
                "the token mask and logit_bias leave no token to choose",
            ));
        }
        if self.options.temperature == 0.0 {
            return Ok(likeliest);
        }
        if self.options.top_k == 0 && self.options.top_p >= 1.0 {
            return Ok(self.draw_from_all(logits, max));
        }
        self.keep_candidates(logits, max);
        Ok(self.draw_from_candidates(max))
    }

    fn bias(&self, logits: &mut [f32]) -> Result<()> {
        for &(token, bias) in &self.options.logit_bias {
            let logit = logits
                .get_mut(token as usize)
                .ok_or_else(|| Error::internal("fewer logits than the vocabulary has tokens"))?;
            *logit = bounded(*logit + bias);
        }
        Ok(())
    }

    fn penalise(&mut self, logits: &mut [f32], history: &[u32]) {
        let options = &self.options;
        if !options.penalises() {
            return;
        }
        let from = history.len().saturating_sub(options.penalty_last_n);
        self.window.clear();
        self.window.extend_from_slice(&history[from..]);
        self.window.sort_unstable();
        for run in self.window.chunk_by(|a, b| a == b) {
            let Some(logit) = logits.get_mut(run[0] as usize) else {
                continue;
            };
            let scaled = if *logit > 0.0 {
                *logit / options.repetition_penalty
            } else {
                *logit * options.repetition_penalty
            };
            let taken_off = run.len() as f32 * options.frequency_penalty + options.presence_penalty;
            *logit = bounded(scaled - taken_off);
        }
    }

    /// Top-k, top-p and min-p: leaves in `candidates` what may be drawn, likelier first.
    fn keep_candidates(&mut self, logits: &[f32], max: f32) {
        let top_p = f64::from(self.options.top_p);
        if self.options.top_k > 0 {
            select(logits, self.options.top_k, &mut self.candidates);
            if top_p < 1.0 {
                let total: f64 = self.candidates.iter().map(|c| weight(c.logit, max)).sum();
                let kept = nucleus(&self.candidates, max, top_p * total);
                self.candidates.truncate(kept.unwrap_or(usize::MAX));
            }
        } else {
            // The nucleus is mostly small: look for it among ever more of the likeliest.
            let total = total_weight(logits, max);
            let mut k = 256;
            loop {
                select(logits, k, &mut self.candidates);
                if let Some(kept) = nucleus(&self.candidates, max, top_p * total) {
                    self.candidates.truncate(kept);
                    break;
                }
                if k >= logits.len() {
                    break;
                }
                k *= 8;
            }
        }
        let likely_enough = self
            .candidates
            .partition_point(|c| f64::from(c.logit) - f64::from(max) >= self.min_p_margin);
        self.candidates.truncate(likely_enough.max(1));
    }

    fn draw_from_candidates(&mut self, max: f32) -> u32 {
        let temperature = f64::from(self.options.temperature);
        self.weights.clear();
        self.weights.reserve(self.candidates.capacity());
        self.weights.extend(
            self.candidates
                .iter()
                .map(|c| exp((f64::from(c.logit) - f64::from(max)) / temperature)),
        );
        let mut left = self.rng.next_f64() * self.weights.iter().sum::<f64>();
        for (candidate, weight) in self.candidates.iter().zip(&self.weights) {
            left -= weight;
            if left < 0.0 {
                return candidate.token;
            }
        }
        // Only rounding leads here: the sum, taken off in pieces, left a last grain over.
        self.candidates.first().map_or(0, |c| c.token)
    }

    /// Min-p, temperature and draw when neither top-k nor top-p needs an order: in order of the
    /// ids, the weights taking the place of the logits.
    fn draw_from_all(&mut self, logits: &mut [f32], max: f32) -> u32 {
        let temperature = f64::from(self.options.temperature);
        let margin = self.min_p_margin;
        for slot in logits.iter_mut() {
            let below = f64::from(*slot) - f64::from(max);
            let weight = exp(below / temperature) as f32;
            *slot = if below >= margin { weight } else { 0.0 };
        }
        let total: f64 = logits.iter().map(|&weight| f64::from(weight)).sum();
        let mut left = self.rng.next_f64() * total;
        for (token, &weight) in logits.iter().enumerate() {
            left -= f64::from(weight);
            if left < 0.0 {
                return token as u32;
            }
        }
        argmax(logits).0
    }
}

/// A token's weight relative to the likeliest, at temperature 1.
fn weight(logit: f32, max: f32) -> f64 {
    exp(f64::from(logit) - f64::from(max))
}

/// The sum of the weights, in the order of the ids.
fn total_weight(logits: &[f32], max: f32) -> f64 {
    // In blocks, as a sum in one order cannot be vectorised, but the weights can.
    let mut block = [0.0; 128];
    let mut total = 0.0;
    for logits in logits.chunks(block.len()) {
        for (slot, &logit) in block.iter_mut().zip(logits) {
            *slot = weight(logit, max);
        }
        for weight in &block[..logits.len()] {
            total += weight;
        }
    }
    total
}

/// How many of the sorted candidates are needed for their weights to reach `goal`.
fn nucleus(candidates: &[Candidate], max: f32, goal: f64) -> Option<usize> {
    let mut sum = 0.0;
    for (index, candidate) in candidates.iter().enumerate() {
        sum += weight(candidate.logit, max);
        if sum >= goal {
            return Some(index + 1);
        }
    }
    None
}

/// Keeps an adjusted logit from overflowing to positive infinity; negative infinity stays.
fn bounded(logit: f32) -> f32 {
    logit.min(f32::MAX)
}

/// The likeliest token, of equals the lowest id, and its logit.
fn argmax(logits: &[f32]) -> (u32, f32) {
    // The maximum in lanes first, as a fold over one number would wait for itself.
    let mut lanes = [f32::NEG_INFINITY; 16];
    let (chunks, rest) = logits.as_chunks::<16>();
    for chunk in chunks {
        for (lane, &logit) in lanes.iter_mut().zip(chunk) {
            *lane = if logit > *lane { logit } else { *lane };
        }
    }
    let max = lanes
        .iter()
        .chain(rest)
        .fold(f32::NEG_INFINITY, |max, &l| if l > max { l } else { max });
    let token = logits.iter().position(|&l| l == max).unwrap_or(0);
    (token as u32, max)
}

/// A seed from the randomness that the standard library keys its hash maps with.
fn fresh_seed() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}
