//! What is timed, and what is not: loading and one warm-up pass lie outside the clock.

use std::time::Instant;

use candle_core::Result;

/// A model with its KV cache.
pub trait Network {
    /// Computes the logits after `tokens`, which stand at `position` of the KV cache; position 0
    /// empties the cache first.
    fn forward(&mut self, tokens: &[u32], position: usize) -> Result<()>;
}

/// Tokens per second.
pub struct Rates {
    pub prefill: f64,
    pub decode: f64,
}

/// `count` token ids below `vocabulary`, the same on every call: Knuth's MMIX generator.
pub fn tokens(count: u32, vocabulary: u32) -> Vec<u32> {
    let mut state = 1u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 32) % u64::from(vocabulary.max(1))) as u32
    };
    (0..count).map(|_| next()).collect()
}

/// Times `prompt` in batches of `chunk` from an empty cache, then `decode` one by one from an
/// empty cache. The warm-up makes the weights resident and lets candle repack them, which it does
/// at the first product with each.
pub fn measure(
    network: &mut impl Network,
    prompt: &[u32],
    chunk: usize,
    decode: &[u32],
) -> Result<Rates> {
    feed(network, prompt, chunk)?;
    feed(network, &decode[..decode.len().min(2)], 1)?;
    Ok(Rates {
        prefill: timed(network, prompt, chunk)?,
        decode: timed(network, decode, 1)?,
    })
}

fn timed(network: &mut impl Network, tokens: &[u32], chunk: usize) -> Result<f64> {
    let start = Instant::now();
    feed(network, tokens, chunk)?;
    Ok(tokens.len() as f64 / start.elapsed().as_secs_f64())
}

fn feed(network: &mut impl Network, tokens: &[u32], chunk: usize) -> Result<()> {
    let chunks = tokens.chunks(chunk).enumerate();
    for (index, batch) in chunks {
        network.forward(batch, index * chunk)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Calls(Vec<(usize, usize)>);

    impl Network for Calls {
        fn forward(&mut self, tokens: &[u32], position: usize) -> Result<()> {
            self.0.push((tokens.len(), position));
            Ok(())
        }
    }

    #[test]
    fn a_prompt_is_one_batch_and_decoding_goes_by_ones_each_from_position_0() {
        let mut calls = Calls::default();
        let rates = measure(&mut calls, &[1; 5], 5, &[2; 3]).unwrap();
        assert!(rates.prefill > 0.0 && rates.decode > 0.0);
        let warm_up = [(5, 0), (1, 0), (1, 1)];
        let timed = [(5, 0), (1, 0), (1, 1), (1, 2)];
        assert_eq!(calls.0, [warm_up.as_slice(), &timed].concat());
    }

    #[test]
    fn chunks_follow_one_another() {
        let mut calls = Calls::default();
        feed(&mut calls, &[0; 5], 2).unwrap();
        assert_eq!(calls.0, [(2, 0), (2, 2), (1, 4)]);
    }

    #[test]
    fn token_ids_are_fixed_and_inside_the_vocabulary() {
        let ids = tokens(1000, 100);
        assert_eq!(ids, tokens(1000, 100));
        assert!(ids.iter().all(|&id| id < 100));
        let seen: std::collections::HashSet<_> = ids.iter().collect();
        assert!(seen.len() > 90);
    }
}
