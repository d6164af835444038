use super::*;
use proptest::prelude::*;

fn sampler(change: impl FnOnce(&mut SamplerOptions)) -> Sampler {
    let mut options = SamplerOptions {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        seed: Some(7),
        ..SamplerOptions::default()
    };
    change(&mut options);
    Sampler::new(options, usize::MAX).unwrap()
}

fn draw(sampler: &mut Sampler, logits: &[f32]) -> u32 {
    sampler.sample(&mut logits.to_vec(), &[], None).unwrap()
}

/// Pearson's statistic of `draws` draws against the softmax of `logits` over `kept`.
fn chi_square(sampler: &mut Sampler, logits: &[f32], kept: &[usize], temperature: f64) -> f64 {
    const DRAWS: usize = 40_000;
    let mut counts = vec![0usize; logits.len()];
    for _ in 0..DRAWS {
        counts[draw(sampler, logits) as usize] += 1;
    }
    let weight = |i: usize| (f64::from(logits[i]) / temperature).exp();
    let total: f64 = kept.iter().map(|&i| weight(i)).sum();
    let outside: usize = (0..logits.len())
        .filter(|i| !kept.contains(i))
        .map(|i| counts[i])
        .sum();
    assert_eq!(outside, 0, "a token was drawn that should not be possible");
    kept.iter()
        .map(|&i| {
            let expected = DRAWS as f64 * weight(i) / total;
            (counts[i] as f64 - expected).powi(2) / expected
        })
        .sum()
}

#[test]
fn draws_follow_the_distribution() {
    let logits = [0.3, -1.0, 2.0, 1.9, 0.0, -2.5, 1.0, 0.7];
    let all: Vec<usize> = (0..8).collect();
    // 99.9% of 7 degrees of freedom lies below 24.3; of 3 degrees below 16.3.
    assert!(chi_square(&mut sampler(|_| ()), &logits, &all, 1.0) < 24.3);
    assert!(chi_square(&mut sampler(|o| o.temperature = 2.0), &logits, &all, 2.0) < 24.3);
    assert!(chi_square(&mut sampler(|o| o.top_k = 8), &logits, &all, 1.0) < 24.3);
    assert!(chi_square(&mut sampler(|o| o.top_k = 4), &logits, &[2, 3, 6, 7], 1.0) < 16.3);
    // Probabilities: 2: .327, 3: .296, 6: .120, 7: .089, 0: .060, 4: .044, 1: .016, 5: .004.
    let nucleus = [2, 3, 6, 7];
    assert!(chi_square(&mut sampler(|o| o.top_p = 0.8), &logits, &nucleus, 1.0) < 16.3);
    let hot = |o: &mut SamplerOptions| {
        o.top_p = 0.8;
        o.temperature = 3.0;
    };
    assert!(
        chi_square(&mut sampler(hot), &logits, &nucleus, 3.0) < 16.3,
        "top-p looks at the probabilities before the temperature"
    );
    // e^(0.7 - 2.0) = 0.27, e^(0.3 - 2.0) = 0.18.
    assert!(chi_square(&mut sampler(|o| o.min_p = 0.2), &logits, &nucleus, 1.0) < 16.3);
    assert!(
        chi_square(
            &mut sampler(|o| (o.min_p, o.top_k) = (0.2, 7)),
            &logits,
            &nucleus,
            1.0
        ) < 16.3
    );
}

#[test]
fn greedy_takes_the_likeliest_and_of_equals_the_lowest() {
    let mut greedy = sampler(|o| o.temperature = 0.0);
    let mut logits = vec![0.5; 100];
    assert_eq!(draw(&mut greedy, &logits), 0);
    logits[40] = 3.0;
    logits[97] = 3.0;
    assert_eq!(draw(&mut greedy, &logits), 40);
    logits[98] = 3.5;
    assert_eq!(draw(&mut greedy, &logits), 98);
    assert_eq!(draw(&mut greedy, &[f32::MIN; 3]), 0);
    assert_eq!(draw(&mut greedy, &[f32::NEG_INFINITY, -1.0]), 1);
}

#[test]
fn the_draws_of_a_seed_are_pinned() {
    // The promise is the same text on every platform and in every release: a change of these
    // numbers breaks it.
    let logits: Vec<f32> = (0..1000).map(|i| ((i * 37 % 101) as f32) * 0.07).collect();
    let run = |change: fn(&mut SamplerOptions)| -> Vec<u32> {
        let mut sampler = sampler(change);
        (0..8).map(|_| draw(&mut sampler, &logits)).collect()
    };
    type Change = fn(&mut SamplerOptions);
    let pinned: [(Change, [u32; 8]); 3] = [
        (|_| (), PINNED_ALL),
        (|o| o.top_k = 40, PINNED_TOP_K),
        (|o| (o.top_p, o.temperature) = (0.9, 0.7), PINNED_TOP_P),
    ];
    for (change, want) in pinned {
        assert_eq!(run(change), want);
        assert_eq!(run(change), run(change));
    }
    assert_ne!(run(|_| ()), run(|o| o.seed = Some(8)));
}

// Computed by an independent program in Python, with its own `math.exp`.
const PINNED_ALL: [u32; 8] = [57, 169, 723, 431, 966, 464, 726, 333];
const PINNED_TOP_K: [u32; 8] = [131, 636, 797, 565, 827, 767, 797, 262];
const PINNED_TOP_P: [u32; 8] = [535, 868, 764, 281, 103, 988, 966, 726];

#[test]
fn seeds_are_taken_anew_when_none_is_given() {
    let seed = || sampler(|o| o.seed = None).seed();
    assert_ne!(seed(), seed());
    assert_eq!(sampler(|o| o.seed = Some(5)).seed(), 5);
}

#[test]
fn broken_logits_are_an_error() {
    for change in [
        (|_| ()) as fn(&mut SamplerOptions),
        |o| o.temperature = 0.0,
        |o| o.top_k = 2,
        |o| o.top_p = 0.5,
    ] {
        for bad in [f32::NAN, f32::INFINITY, -f32::NAN] {
            let error = sampler(change)
                .sample(&mut [0.0, bad, 1.0], &[], None)
                .unwrap_err();
            assert!(matches!(error, Error::CorruptModel { .. }), "{error}");
        }
        let error = sampler(change)
            .sample(&mut [f32::NEG_INFINITY; 3], &[], None)
            .unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
        assert!(sampler(change).sample(&mut [], &[], None).is_err());
    }
}

#[test]
fn a_mask_that_forbids_all_is_an_error() {
    let mut none = TokenSet::full(3);
    none.clear();
    let error = sampler(|_| ())
        .sample(&mut [0.0; 3], &[], Some(&none))
        .unwrap_err();
    assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
}

#[test]
fn bias_comes_first_and_may_forbid() {
    let mut biased = sampler(|o| {
        o.temperature = 0.0;
        o.logit_bias = vec![(0, -2.0), (1, f32::NEG_INFINITY), (2, 0.5)];
    });
    assert_eq!(draw(&mut biased, &[3.0, 9.0, 1.0]), 2);
    let mut huge = sampler(|o| {
        o.logit_bias = vec![(1, f32::MAX)];
    });
    assert_eq!(draw(&mut huge, &[0.0, f32::MAX, 1.0]), 1);
}

#[test]
fn penalties_weigh_the_recent_tokens() {
    let one = |change: fn(&mut SamplerOptions), history: &[u32]| -> Vec<f32> {
        let mut sampler = sampler(change);
        let mut logits = vec![2.0, -2.0, 1.0, f32::NEG_INFINITY];
        sampler.penalise(&mut logits, history);
        logits
    };
    let forbidden = f32::NEG_INFINITY;
    let history = [3, 0, 1, 1, 0, 1];
    assert_eq!(
        one(|o| o.repetition_penalty = 2.0, &history),
        [1.0, -4.0, 1.0, forbidden]
    );
    assert_eq!(
        one(|o| o.presence_penalty = 0.5, &history),
        [1.5, -2.5, 1.0, forbidden]
    );
    assert_eq!(
        one(|o| o.frequency_penalty = 0.5, &history),
        [1.0, -3.5, 1.0, forbidden]
    );
    assert_eq!(
        one(
            |o| (o.frequency_penalty, o.penalty_last_n) = (0.5, 2),
            &history
        ),
        [1.5, -2.5, 1.0, forbidden]
    );
    assert_eq!(
        one(
            |o| (o.presence_penalty, o.penalty_last_n) = (0.5, usize::MAX),
            &history
        ),
        [1.5, -2.5, 1.0, forbidden]
    );
    assert_eq!(
        one(
            |o| (o.presence_penalty, o.penalty_last_n) = (0.5, 0),
            &history
        ),
        [2.0, -2.0, 1.0, forbidden]
    );
    // Every sign is made less likely, near to zero as well.
    let mut near = vec![0.25, -0.25];
    sampler(|o| o.repetition_penalty = 2.0).penalise(&mut near, &[0, 1]);
    assert_eq!(near, [0.125, -0.5]);
    // A token of another vocabulary is no reason to panic.
    assert_eq!(one(|o| o.presence_penalty = 0.5, &[900])[0], 2.0);
}

/// The survivors of top-k, top-p and min-p by full sorts and the library's exponential, or
/// nothing when rounding could decide either way.
fn naive(logits: &[f32], top_k: usize, top_p: f64, min_p: f64) -> Option<Vec<u32>> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].partial_cmp(&logits[a]).unwrap().then(a.cmp(&b)));
    if top_k > 0 {
        order.truncate(top_k);
    }
    let weight = |i: usize| f64::from(logits[i]).exp();
    let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
    if top_p < 1.0 {
        let total: f64 = order.iter().map(|&i| weight(i)).sum();
        let mut sum = 0.0;
        let mut kept = order.len();
        for (rank, &i) in order.iter().enumerate() {
            sum += weight(i) / total;
            if near(sum, top_p) {
                return None;
            }
            if sum >= top_p {
                kept = rank + 1;
                break;
            }
        }
        order.truncate(kept);
    }
    let best = weight(order[0]);
    if order.iter().any(|&i| near(weight(i) / best, min_p)) {
        return None;
    }
    order.retain(|&i| weight(i) / best >= min_p);
    Some(order.into_iter().map(|i| i as u32).collect())
}

proptest! {
    #[test]
    fn survivors_match_the_naive_reference(
        logits in prop::collection::vec(-8f32..8.0, 1..3000),
        top_k in 0usize..200,
        top_p in 0f32..1.0,
        min_p in prop_oneof![Just(0f32), 0f32..1.0],
    ) {
        let mut sampler = sampler(|o| (o.top_k, o.top_p, o.min_p) = (top_k, top_p, min_p));
        let (_, max) = argmax(&logits);
        sampler.keep_candidates(&logits, max);
        let got: Vec<u32> = sampler.candidates.iter().map(|c| c.token).collect();
        if let Some(want) = naive(&logits, top_k, f64::from(top_p), f64::from(min_p)) {
            prop_assert_eq!(&got, &want);
        }
        let drawn = draw(&mut sampler, &logits);
        prop_assert!(got.contains(&drawn));
    }

    #[test]
    fn only_allowed_tokens_are_chosen(
        logits in prop::collection::vec(-8f32..8.0, 1..300),
        forbidden in prop::collection::vec(any::<bool>(), 300),
        seed in any::<u64>(),
        temperature in prop_oneof![Just(0f32), Just(1e-30f32), 0f32..50.0],
        top_k in 0usize..5,
        top_p in 0f32..=1.0,
    ) {
        let mut mask = TokenSet::full(logits.len());
        for (token, _) in forbidden.iter().enumerate().filter(|(_, f)| **f) {
            mask.remove(token as u32);
        }
        let mut sampler = sampler(|o| {
            (o.temperature, o.top_k, o.top_p, o.seed) = (temperature, top_k, top_p, Some(seed));
            o.logit_bias = vec![(0, 100.0)];
        });
        let possible = (0..logits.len() as u32).any(|t| mask.contains(t));
        match sampler.sample(&mut logits.clone(), &[], Some(&mask)) {
            Ok(token) => prop_assert!(mask.contains(token)),
            Err(_) => prop_assert!(!possible),
        }
    }
}
