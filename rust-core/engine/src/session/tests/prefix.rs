//! What one reply leaves in the cache and the next reuses.

use std::sync::atomic::Ordering::SeqCst;

use proptest::prelude::*;

use super::*;
use crate::session::testing::{BEGIN, Bytes};
use crate::template::{Message, RenderOptions, Role};

#[test]
fn a_turn_evaluates_only_what_is_new() {
    let (session, spy) = session(1000, 8, SessionOptions::default());
    let mut options = greedy(12);
    options.sampler.logit_bias = (0..256)
        .filter(|t| !(97..123).contains(t))
        .map(|t| (t, f32::NEG_INFINITY))
        .collect();
    let mut messages = vec![
        Message::new(Role::System, "be brief"),
        Message::user("hello"),
    ];
    let (answer, first) = session.chat(&messages, &options).unwrap().finish().unwrap();
    let prompt = first.metrics.prompt_tokens;
    assert_eq!(first.metrics.reused_tokens, 0);
    assert_eq!(first.metrics.prefill_tokens, prompt);

    // Again: all but the last token is there.
    let (same, again) = session.chat(&messages, &options).unwrap().finish().unwrap();
    assert_eq!(same, answer);
    assert_eq!(again.metrics.reused_tokens, prompt - 1);
    assert_eq!(again.metrics.prefill_tokens, 1);

    // The next turn: the prompt and the answer but its last token, which was never evaluated.
    messages.push(Message::new(Role::Assistant, answer.as_str()));
    messages.push(Message::user("go on"));
    let before = spy.evaluated.load(SeqCst);
    let (_, next) = session.chat(&messages, &options).unwrap().finish().unwrap();
    let evaluated_answer = again.metrics.generated_tokens - 1;
    assert_eq!(next.metrics.reused_tokens, prompt + evaluated_answer);
    assert_eq!(
        next.metrics.prefill_tokens + next.metrics.reused_tokens,
        next.metrics.prompt_tokens
    );
    assert_eq!(
        spy.evaluated.load(SeqCst) - before,
        next.metrics.prefill_tokens + next.metrics.generated_tokens - 1
    );

    // An edit of the first message: what is before it.
    messages[1] = Message::user("hellas");
    let (_, edited) = session.chat(&messages, &options).unwrap().finish().unwrap();
    assert_eq!(
        edited.metrics.reused_tokens,
        "BS".len() + "be brief".len() + "EUhell".len()
    );
    assert_in_step(&session, &spy);
}

#[test]
fn truncate_and_fork_keep_the_front() {
    let (session, spy) = session(1000, 64, SessionOptions::default());
    let prompt: Vec<u32> = (0..50).collect();
    session
        .complete(&prompt[..], &greedy(5))
        .unwrap()
        .text()
        .unwrap();
    session.truncate(30).unwrap();
    session.truncate(900).unwrap();
    assert_eq!(session.tokens().unwrap(), prompt[..30]);
    assert_in_step(&session, &spy);
    let fork = session.fork().unwrap();
    assert_eq!(fork.tokens().unwrap(), prompt[..30]);

    let other: Vec<u32> = prompt[..40].iter().copied().chain([99, 98]).collect();
    let ours = session.complete(&prompt[..], &greedy(9)).unwrap();
    let theirs = fork.complete(&other[..], &greedy(9)).unwrap();
    let (theirs, done) = theirs.finish().unwrap();
    assert_eq!(done.metrics.reused_tokens, 30);
    assert_eq!(theirs, text(&naive(&other, &greedy(9))));
    assert_eq!(ours.text().unwrap(), text(&naive(&prompt, &greedy(9))));
    assert_in_step(&session, &spy);
    session.close();
    assert_eq!(fork.tokens().unwrap()[..42], other);
}

#[test]
fn a_decoder_that_goes_back_further_is_followed() {
    let (session, spy) = session(1000, 64, SessionOptions::default());
    spy.coarse.store(16, SeqCst);
    let prompt: Vec<u32> = (0..50).collect();
    session
        .complete(&prompt[..], &greedy(5))
        .unwrap()
        .text()
        .unwrap();
    let (got, done) = session
        .complete(&prompt[..40], &greedy(5))
        .unwrap()
        .finish()
        .unwrap();
    assert_eq!(done.metrics.reused_tokens, 32);
    assert_eq!(got, text(&naive(&prompt[..40], &greedy(5))));
    assert_in_step(&session, &spy);
}

#[test]
fn a_cancelled_prefill_leaves_a_cache_to_go_on_from() {
    let (session, spy) = session(10_000, 10, SessionOptions::default());
    spy.delay.store(2000, SeqCst);
    let prompt: Vec<u32> = (0..5000).map(|i| i % 250).collect();
    let generation = session.complete(&prompt[..], &greedy(5)).unwrap();
    while spy.calls.load(SeqCst) < 5 {
        std::thread::yield_now();
    }
    generation.cancel_handle().cancel();
    let calls = spy.calls.load(SeqCst);
    let (got, done) = generation.finish().unwrap();
    assert_eq!((got.as_str(), done.finish), ("", FinishReason::Cancelled));
    assert!(spy.calls.load(SeqCst) <= calls + 1, "within one chunk");
    let evaluated = session.tokens().unwrap();
    assert_eq!(evaluated.len(), done.metrics.prefill_tokens);
    assert_eq!(evaluated, prompt[..evaluated.len()]);
    assert_in_step(&session, &spy);

    spy.delay.store(0, SeqCst);
    let (got, done) = session
        .complete(&prompt[..], &greedy(5))
        .unwrap()
        .finish()
        .unwrap();
    assert_eq!(done.metrics.reused_tokens, evaluated.len());
    assert_eq!(got, text(&naive(&prompt, &greedy(5))));
}

#[test]
fn chunks_of_the_prompt_are_as_small_as_asked() {
    let options = SessionOptions {
        prefill_chunk: std::num::NonZeroUsize::new(3),
        ..SessionOptions::default()
    };
    let (session, spy) = session(1000, 64, options);
    session
        .complete(vec![1; 30], &greedy(0))
        .unwrap()
        .text()
        .unwrap();
    assert_eq!(spy.calls.load(SeqCst), 10);
}

#[test]
fn errors_of_the_decoder_leave_the_list_in_step() {
    let (session, spy) = session(1000, 4, SessionOptions::default());
    let prompt: Vec<u32> = (0..20).collect();
    for late in [false, true] {
        // In the prompt, at its end, in the reply.
        for call in [2, 5, 8] {
            session.truncate(0).unwrap();
            let setting = if late {
                &spy.fail_late_at
            } else {
                &spy.fail_at
            };
            setting.store(spy.calls.load(SeqCst) + call, SeqCst);
            let error = session.complete(&prompt[..], &greedy(9)).unwrap().finish();
            assert!(matches!(error, Err(Error::InvalidArgument { .. })));
            setting.store(0, SeqCst);
            assert_in_step(&session, &spy);
            assert!(session.tokens().unwrap().len() >= 4);
            let got = session
                .complete(&prompt[..], &greedy(9))
                .unwrap()
                .text()
                .unwrap();
            assert_eq!(got, text(&naive(&prompt, &greedy(9))));
        }
    }
}

/// What a user may do to a conversation.
#[derive(Debug, Clone)]
enum Step {
    Send(String),
    Regenerate,
    Edit(usize, String),
    Truncate(usize),
    CancelledSend(String, usize),
    FailingSend(String, usize),
    Fork,
}

fn step() -> impl Strategy<Value = Step> {
    let text = "[a-c]{0,6}";
    prop_oneof![
        3 => text.prop_map(Step::Send),
        1 => Just(Step::Regenerate),
        2 => (0usize..9, text).prop_map(|(at, t)| Step::Edit(at, t)),
        1 => (0usize..90).prop_map(Step::Truncate),
        1 => (text, 1usize..9).prop_map(|(t, n)| Step::CancelledSend(t, n)),
        1 => (text, 1usize..9).prop_map(|(t, n)| Step::FailingSend(t, n)),
        1 => Just(Step::Fork),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_way_to_a_prompt_gives_the_answer_of_a_fresh_session(
        steps in prop::collection::vec(step(), 1..15),
        chunk in 1usize..9,
        seed in any::<u64>(),
    ) {
        let (mut session, mut spy) = session(100_000, chunk, SessionOptions::default());
        let options = seeded(seed, 8);
        let mut messages = vec![Message::new(Role::System, "sys")];
        for step in steps {
            match step {
                Step::Send(text) => messages.push(Message::user(text.as_str())),
                Step::Regenerate => {
                    messages.pop();
                    if messages.is_empty() {
                        messages.push(Message::system("other"));
                    }
                }
                Step::Edit(at, text) => {
                    messages.truncate(2 * at + 1);
                    messages.push(Message::user(text.as_str()));
                }
                Step::Truncate(length) => {
                    session.truncate(length).unwrap();
                    continue;
                }
                Step::CancelledSend(text, calls) => {
                    messages.push(Message::user(text.as_str()));
                    let goal = spy.calls.load(SeqCst) + calls;
                    let generation = session.chat(&messages, &options).unwrap();
                    let start = Instant::now();
                    while spy.calls.load(SeqCst) < goal && start.elapsed().as_millis() < 20 {
                        std::hint::spin_loop();
                    }
                    generation.cancel();
                    let (partial, _) = generation.finish().unwrap();
                    messages.push(Message::new(Role::Assistant, partial));
                    assert_in_step(&session, &spy);
                    continue;
                }
                Step::FailingSend(text, calls) => {
                    let mut attempt = messages.clone();
                    attempt.push(Message::user(text.as_str()));
                    spy.fail_at.store(spy.calls.load(SeqCst) + calls, SeqCst);
                    let _ = session.chat(&attempt, &options).unwrap().finish();
                    spy.fail_at.store(0, SeqCst);
                    assert_in_step(&session, &spy);
                    continue;
                }
                Step::Fork => {
                    session = session.fork().unwrap();
                    let fork = spy.forks.lock().unwrap().pop().unwrap();
                    spy = fork;
                    continue;
                }
            }
            let (answer, done) = session.chat(&messages, &options).unwrap().finish().unwrap();
            let prompt = Bytes.encode_chat(&messages, &RenderOptions::default()).unwrap();
            prop_assert_eq!(prompt[0], BEGIN);
            prop_assert_eq!(done.metrics.reused_tokens + done.metrics.prefill_tokens, prompt.len());
            prop_assert_eq!(&answer, &text(&naive(&prompt, &options)));
            assert_in_step(&session, &spy);
            messages.push(Message::new(Role::Assistant, answer));
        }
    }
}
