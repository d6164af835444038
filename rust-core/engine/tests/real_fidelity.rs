//! Both real models against llama.cpp: divergence from the f32 yardstick over 512 tokens of
//! prose, greedy continuations, and the kernels against the reference backend.
#![cfg(feature = "real-models")]
#![allow(clippy::unwrap_used)]

mod real;

use dormouse::evaluate::{LogitsReader, Score, compare};
use dormouse::model::{ContextOptions, Decoder, KvType, LoadOptions, Precision};
use real::{GEMMA3, Real, SMOLLM2, ids};

const MAX_KL: f64 = 3e-3;
const MAX_RATIO: f64 = 1.05;
const MIN_TOP1: f64 = 0.98;
const MAX_KL_F32: f64 = 1e-5;
/// A greedy continuation may part from llama.cpp's where its top two logits lie this close.
const CLOSE_CALL: f64 = 0.1;
/// Of the 20 continuations, those that must be equal to the last token.
const MIN_EQUAL: usize = 12;
/// How far our gaps may lie from llama.cpp's, in terms of what its own rounding moves them: two
/// independent roundings of that size lie sqrt(2) apart.
const MAX_NOISE_RATIO: f64 = 1.6;

fn measure(real: Real, change: impl FnOnce(&mut LoadOptions)) -> Score {
    let model = real.load(|options| {
        options.kv_type = KvType::F32;
        change(options);
    });
    let mut decoder = model.decoder(&ContextOptions::default()).unwrap();
    let mut yardstick = LogitsReader::open(&real.fixture(".logits")).unwrap();
    let score = compare(&mut *decoder, &mut yardstick).unwrap();
    println!(
        "{}: mean KL {:.3e}, top-1 {:.4}, perplexity {:.3}",
        real.file,
        score.mean_kl().unwrap(),
        score.top1_agreement().unwrap(),
        score.perplexity().unwrap()
    );
    score
}

fn check_quantized(real: Real) {
    let score = measure(real, |_| {});
    let theirs = &real.json(".json")["llama_cpp"];
    let their_kl = theirs["mean_kl_bucketed"].as_f64().unwrap();
    let kl = score.mean_kl().unwrap();
    assert_eq!(score.compared, 512);
    assert!(kl < MAX_KL, "mean KL {kl}");
    assert!(
        kl <= MAX_RATIO * their_kl,
        "mean KL {kl}, llama.cpp's is {their_kl}"
    );
    let top1 = score.top1_agreement().unwrap();
    assert!(top1 >= MIN_TOP1, "top-1 agreement {top1}");
}

#[test]
fn smollm2_is_as_near_to_the_yardstick_as_llama_cpp() {
    check_quantized(SMOLLM2);
}

#[test]
fn gemma3_is_as_near_to_the_yardstick_as_llama_cpp() {
    check_quantized(GEMMA3);
}

#[test]
fn f32_activations_meet_the_yardstick() {
    for real in [SMOLLM2, GEMMA3] {
        let score = measure(real, |options| options.precision = Precision::F32);
        let kl = score.mean_kl().unwrap();
        assert!(kl < MAX_KL_F32, "{}: mean KL {kl}", real.file);
    }
}

#[cfg(feature = "reference")]
#[test]
fn the_kernels_agree_with_the_reference_backend() {
    use dormouse::evaluate::for_each_position;
    use dormouse::model::BackendKind;
    for real in [SMOLLM2, GEMMA3] {
        let tokens = LogitsReader::open(&real.fixture(".logits"))
            .unwrap()
            .tokens()[..96]
            .to_vec();
        let logits = |change: fn(&mut LoadOptions)| {
            let model = real.load(|options| {
                options.kv_type = KvType::F32;
                change(options);
            });
            let mut decoder = model.decoder(&ContextOptions::default()).unwrap();
            let mut rows = Vec::new();
            for_each_position(&mut *decoder, &tokens, |_, logits| {
                rows.push(logits.to_vec());
                Ok(())
            })
            .unwrap();
            rows
        };
        let reference = logits(|options| options.backend = BackendKind::Reference);
        let kernels = logits(|options| options.precision = Precision::F32);
        let mut worst = 0.0f32;
        for (a, b) in reference.iter().zip(&kernels) {
            assert_eq!(a.len(), b.len());
            worst = a
                .iter()
                .zip(b)
                .fold(worst, |worst, (a, b)| worst.max((a - b).abs()));
        }
        println!("{}: largest difference {worst:e}", real.file);
        assert!(worst < 2e-3, "{}: largest difference {worst}", real.file);
    }
}

/// The greedy continuation; `see` is shown the step and its logits.
fn greedy(
    decoder: &mut dyn Decoder,
    prompt: &[u32],
    count: usize,
    mut see: impl FnMut(usize, &[f32]),
) -> Vec<u32> {
    let mut logits = vec![0.0; decoder.vocab_size()];
    let chunk = decoder.max_chunk();
    let (all_but_last, last) = prompt.split_at(prompt.len() - 1);
    for part in all_but_last.chunks(chunk) {
        decoder.forward(part, None).unwrap();
    }
    let mut next = last[0];
    let mut generated = Vec::new();
    for step in 0..count {
        decoder.forward(&[next], Some(&mut logits)).unwrap();
        see(step, &logits);
        let best =
            (0..logits.len()).reduce(|best, id| if logits[id] > logits[best] { id } else { best });
        next = best.unwrap() as u32;
        generated.push(next);
    }
    generated
}

#[test]
fn greedy_continuations_are_those_of_llama_cpp() {
    for real in [SMOLLM2, GEMMA3] {
        let model = real.load(|options| options.kv_type = KvType::F32);
        let golden = real.json(".greedy.json");
        let cases = golden["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 20);
        let (mut same, mut parted) = (0, Vec::new());
        let mut faults = Vec::new();
        let mut squares = Vec::new();
        for (index, case) in cases.iter().enumerate() {
            let prompt = ids(&case["prompt_ids"]);
            let expected = ids(&case["generated"]);
            let second = ids(&case["second"]);
            let gaps: Vec<f64> = serde_json::from_value(case["gap"].clone()).unwrap();
            assert_eq!(
                [expected.len(), second.len(), gaps.len()],
                [32; 3],
                "case {index}"
            );
            let mut differences = Vec::new();
            let mut decoder = model.decoder(&ContextOptions::default()).unwrap();
            let ours = greedy(&mut *decoder, &prompt, 32, |step, logits| {
                let [best, second] = [expected[step], second[step]].map(|id| logits[id as usize]);
                differences.push(f64::from(best - second) - gaps[step]);
            });
            let part = ours.iter().zip(&expected).position(|(a, b)| a != b);
            // Up to where they part, both saw the same tokens.
            let shared = part.map_or(32, |step| step + 1);
            squares.extend(differences[..shared].iter().map(|d| d * d));
            match part {
                None => same += 1,
                Some(step) if gaps[step] <= CLOSE_CALL => parted.push((index, step)),
                Some(step) => faults.push((index, step, gaps[step])),
            }
        }
        let rms = (squares.iter().sum::<f64>() / squares.len() as f64).sqrt();
        let noise = golden["noise"]["rms"].as_f64().unwrap();
        println!(
            "{}: {same} equal, parted at a close call (case, step): {parted:?}; gaps differ by \
             {rms:.3} rms over {} steps, llama.cpp's from f32 by {noise}",
            real.file,
            squares.len()
        );
        assert!(
            faults.is_empty(),
            "{}: parted where llama.cpp is decided (case, step, gap): {faults:?}",
            real.file
        );
        assert!(same >= MIN_EQUAL, "{}: {same} equal", real.file);
        assert!(
            rms <= MAX_NOISE_RATIO * noise,
            "{}: the gaps differ by {rms} rms, llama.cpp's from f32 by {noise}",
            real.file
        );
    }
}
