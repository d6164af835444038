//! Greedy continuations of both real models against llama.cpp's, of two sets of 20 prompts:
//! chosen ones on the quantized file, and plain ones, which nobody chose, on its weights in f32.
#![cfg(feature = "real-models")]
#![allow(clippy::unwrap_used)]

mod real;

use dormouse::model::{ContextOptions, Decoder, KvType, LoadOptions, Model, Precision};
use real::{GEMMA3, Real, SMOLLM2, ids};
use serde_json::Value;

const CASES: usize = 20;
const STEPS: usize = 32;
/// A greedy continuation may part from llama.cpp's where its top two logits lie this close.
const CLOSE_CALL: f64 = 0.1;
/// Of the 20 chosen continuations, those that must be equal to the last token.
const MIN_EQUAL: usize = 12;
/// Of the 20 plain ones, the same.
const MIN_EQUAL_PLAIN: usize = 18;
/// How far our gaps may lie from llama.cpp's, in terms of what its own rounding moves them: two
/// independent roundings of that size lie sqrt(2) apart.
const MAX_NOISE_RATIO: f64 = 1.6;

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

/// One case of a greedy file.
struct Case {
    prompt: Vec<u32>,
    generated: Vec<u32>,
    second: Vec<u32>,
    gap: Vec<f64>,
}

impl Case {
    fn from_json(case: &Value) -> Self {
        let case = Self {
            prompt: ids(&case["prompt_ids"]),
            generated: ids(&case["generated"]),
            second: ids(&case["second"]),
            gap: serde_json::from_value(case["gap"].clone()).unwrap(),
        };
        assert_eq!(case.second.len(), case.generated.len());
        assert_eq!(case.gap.len(), case.generated.len());
        case
    }

    /// Whether the continuation has all its steps, or ends where the model ends its turn.
    fn is_whole(&self, model: &Model) -> bool {
        let is_end = |id: &u32| model.tokenizer().is_end_of_generation(*id);
        match self.generated.iter().position(is_end) {
            None => self.generated.len() == STEPS,
            Some(step) => self.generated.len() == step + 1 && step < STEPS,
        }
    }
}

/// How our continuations compare with those of a greedy file.
struct Comparison {
    /// The cases that are equal to the last token.
    equal: usize,
    /// Case and step, where llama.cpp's two best lie within [`CLOSE_CALL`].
    parted: Vec<(usize, usize)>,
    /// Case, step and llama.cpp's gap, where they do not.
    faults: Vec<(usize, usize, f64)>,
    /// Our gap minus llama.cpp's, at every step that both came to by the same tokens.
    differences: Vec<f64>,
}

impl Comparison {
    fn new(model: &Model, cases: &[Case]) -> Self {
        let mut all = Self {
            equal: 0,
            parted: Vec::new(),
            faults: Vec::new(),
            differences: Vec::new(),
        };
        for (index, case) in cases.iter().enumerate() {
            let steps = case.generated.len();
            let mut differences = Vec::new();
            let mut decoder = model.decoder(&ContextOptions::default()).unwrap();
            let ours = greedy(&mut *decoder, &case.prompt, steps, |step, logits| {
                let [best, second] =
                    [case.generated[step], case.second[step]].map(|id| logits[id as usize]);
                differences.push(f64::from(best - second) - case.gap[step]);
            });
            let part = (0..steps).find(|&step| ours[step] != case.generated[step]);
            // Up to where they part, both saw the same tokens.
            let shared = part.map_or(steps, |step| step + 1);
            all.differences.extend(&differences[..shared]);
            match part {
                None => all.equal += 1,
                Some(step) if case.gap[step] <= CLOSE_CALL => all.parted.push((index, step)),
                Some(step) => all.faults.push((index, step, case.gap[step])),
            }
        }
        all
    }

    fn rms(&self) -> f64 {
        let squares: f64 = self.differences.iter().map(|d| d * d).sum();
        (squares / self.differences.len() as f64).sqrt()
    }
}

/// Runs the cases of a greedy file on a model with an f32 KV cache, prints the counts and denies
/// any parting but at a close call.
fn check(
    real: Real,
    suffix: &str,
    change: impl FnOnce(&mut LoadOptions),
    are_right: impl Fn(&Model, &[Case]),
) -> Comparison {
    let model = real.load(|options| {
        options.kv_type = KvType::F32;
        change(options);
    });
    let golden = real.json(suffix);
    let cases = golden["cases"].as_array().unwrap();
    let cases: Vec<Case> = cases.iter().map(Case::from_json).collect();
    assert_eq!(cases.len(), CASES);
    are_right(&model, &cases);
    let found = Comparison::new(&model, &cases);
    println!(
        "{}{suffix}: {} equal, parted at a close call (case, step): {:?}; gaps differ by {:.2e} \
         rms over {} steps",
        real.fixtures,
        found.equal,
        found.parted,
        found.rms(),
        found.differences.len()
    );
    assert!(
        found.faults.is_empty(),
        "{}: parted where llama.cpp is decided (case, step, gap): {:?}",
        real.file,
        found.faults
    );
    found
}

#[test]
fn greedy_continuations_are_those_of_llama_cpp() {
    for real in [SMOLLM2, GEMMA3] {
        let found = check(
            real,
            ".greedy.json",
            |_| {},
            |_, cases| {
                assert!(cases.iter().all(|case| case.generated.len() == STEPS));
            },
        );
        let noise = real.json(".greedy.json")["noise"]["rms"].as_f64().unwrap();
        assert!(
            found.equal >= MIN_EQUAL,
            "{}: {} equal",
            real.file,
            found.equal
        );
        assert!(
            found.rms() <= MAX_NOISE_RATIO * noise,
            "{}: the gaps differ by {} rms, llama.cpp's from f32 by {noise}",
            real.file,
            found.rms()
        );
    }
}

/// f32 activations on plain prompts; `largest` bounds how far any gap lies from llama.cpp's.
fn check_plain(real: Real, largest: f64) {
    let exact = |options: &mut LoadOptions| options.precision = Precision::F32;
    let found = check(real, ".greedy-f32.json", exact, |model, cases| {
        assert!(cases.iter().all(|case| case.is_whole(model)));
        assert!(cases.iter().any(|case| case.prompt.len() > 512));
    });
    let worst = found.differences.iter().fold(0.0f64, |a, d| a.max(d.abs()));
    println!("{}: largest difference of a gap {worst:.2e}", real.file);
    assert!(worst <= largest, "{}: a gap differs by {worst}", real.file);
    assert!(
        found.equal >= MIN_EQUAL_PLAIN,
        "{}: {} equal",
        real.file,
        found.equal
    );
}

/// The golden gaps are rounded to 4 digits, which alone moves them by 5e-5.
#[test]
fn smollm2_continues_plain_prompts_as_llama_cpp_in_f32() {
    check_plain(SMOLLM2, 1e-3);
}

/// llama.cpp looks GELU up in a table of half-precision values.
#[test]
fn gemma3_continues_plain_prompts_as_llama_cpp_in_f32() {
    check_plain(GEMMA3, 3e-2);
}
