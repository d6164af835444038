//! The tokens that may come next, decided outside the sampler (a grammar, a schema).

use crate::error::Result;

/// Decides which tokens may come next: how structured output and other constraints reach the
/// sampler.
///
/// It is asked once a token on the session's thread, between two steps of the model, so its time
/// adds to every token. An error or a panic in it ends the generation.
pub trait TokenMask: Send + Sync {
    /// Sets in `allowed` the tokens that may follow `generated`, the tokens of this reply so far.
    /// `allowed` comes with the vocabulary's size and every token allowed.
    ///
    /// # Errors
    /// Any: it ends the generation and is what the caller of it gets.
    fn apply(&self, generated: &[u32], allowed: &mut TokenSet) -> Result<()>;
}

/// A set of token ids below a fixed number: one bit each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSet {
    words: Vec<u64>,
    size: usize,
}

impl TokenSet {
    /// All the ids below `size`.
    pub fn full(size: usize) -> Self {
        let mut set = Self {
            words: vec![0; size.div_ceil(64)],
            size,
        };
        set.fill();
        set
    }

    /// The number that bounds the ids, `vocab_size` for a mask.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Takes every id in.
    pub fn fill(&mut self) {
        self.words.fill(u64::MAX);
        // No bit past the end is ever set, so whole words can be compared and counted.
        if !self.size.is_multiple_of(64)
            && let Some(last) = self.words.last_mut()
        {
            *last = (1 << (self.size % 64)) - 1;
        }
    }

    /// Takes every id out.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Takes `token` in; an id past the size is passed over.
    pub fn insert(&mut self, token: u32) {
        if (token as usize) < self.size {
            self.words[token as usize / 64] |= 1 << (token % 64);
        }
    }

    /// Takes `token` out.
    pub fn remove(&mut self, token: u32) {
        if (token as usize) < self.size {
            self.words[token as usize / 64] &= !(1 << (token % 64));
        }
    }

    /// Whether `token` is in.
    pub fn contains(&self, token: u32) -> bool {
        (token as usize) < self.size && self.words[token as usize / 64] >> (token % 64) & 1 == 1
    }

    /// Makes every logit outside the set impossible. A logit past the size is outside.
    pub(super) fn forbid_others(&self, logits: &mut [f32]) {
        for (index, group) in logits.chunks_mut(64).enumerate() {
            let word = self.words.get(index).copied().unwrap_or(0);
            if word == u64::MAX {
                continue;
            }
            for (bit, logit) in group.iter_mut().enumerate() {
                if word >> bit & 1 == 0 {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_keep_to_their_size() {
        for size in [0, 1, 63, 64, 65, 130] {
            let mut set = TokenSet::full(size);
            assert_eq!((0..200).filter(|&t| set.contains(t)).count(), size);
            set.insert(size as u32);
            assert!(!set.contains(size as u32));
            set.clear();
            assert!((0..200).all(|t| !set.contains(t)));
            if size > 0 {
                set.insert(size as u32 - 1);
                assert!(set.contains(size as u32 - 1));
                set.remove(size as u32 - 1);
                assert!(!set.contains(size as u32 - 1));
            }
        }
    }

    #[test]
    fn logits_outside_become_impossible() {
        let mut set = TokenSet::full(70);
        set.remove(3);
        set.remove(69);
        let mut logits = vec![1.0; 72];
        set.forbid_others(&mut logits);
        for (id, logit) in logits.iter().enumerate() {
            let allowed = id < 70 && id != 3 && id != 69;
            assert_eq!(logit.is_finite(), allowed, "{id}");
        }
    }
}
