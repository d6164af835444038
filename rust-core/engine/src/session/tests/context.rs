//! A context that is full.

use std::sync::atomic::Ordering::SeqCst;

use super::*;
use crate::session::testing::Bytes;
use crate::template::{Message, RenderOptions, Role};

fn shift(keep: Option<usize>) -> SessionOptions {
    SessionOptions {
        policy: ContextPolicy::Shift { keep },
        ..SessionOptions::default()
    }
}

/// Options under which the model does not end its turn.
fn endless(max_tokens: usize) -> GenerateOptions {
    let mut options = seeded(3, max_tokens);
    options.sampler.logit_bias = vec![(END, f32::NEG_INFINITY)];
    options
}

/// A reply in a window: whenever `context` tokens are there, the oldest half after the first
/// `keep` goes, and the rest is a fresh prompt.
fn naive_shift(prompt: &[u32], context: usize, keep: usize, options: &GenerateOptions) -> Vec<u32> {
    let mut sampler = Sampler::new(options.sampler.clone(), VOCABULARY).unwrap();
    let mut window = prompt.to_vec();
    let mut reply = Vec::new();
    let mut logits = vec![0.0; VOCABULARY];
    while reply.len() < options.max_tokens.unwrap() {
        while window.len() > context {
            window.drain(keep..keep + (context - keep).div_ceil(2));
        }
        let (mut fresh, _) = Hasher::new(context, usize::MAX);
        fresh.forward(&window, Some(&mut logits)).unwrap();
        let token = sampler.sample(&mut logits, &window, None).unwrap();
        window.push(token);
        reply.push(token);
    }
    reply
}

#[test]
fn a_full_context_ends_the_reply() {
    let (session, spy) = session(20, 8, SessionOptions::default());
    let prompt: Vec<u32> = (0..15).collect();
    let (got, done) = session
        .complete(&prompt[..], &endless(100))
        .unwrap()
        .finish()
        .unwrap();
    assert_eq!(done.finish, FinishReason::ContextFull);
    // 5 more fit the cache, and the token after the last of them needs no place.
    assert_eq!(done.metrics.generated_tokens, 6);
    assert_eq!(got, text(&naive(&prompt, &endless(6))));
    assert_eq!(session.tokens().unwrap().len(), 20);
    assert_in_step(&session, &spy);

    let (_, done) = session
        .complete(vec![1; 20], &endless(100))
        .unwrap()
        .finish()
        .unwrap();
    assert_eq!(done.finish, FinishReason::ContextFull);
    assert_eq!(done.metrics.generated_tokens, 1);
    let (_, done) = session
        .complete(vec![1; 20], &endless(1))
        .unwrap()
        .finish()
        .unwrap();
    assert_eq!(done.finish, FinishReason::MaxTokens);
}

#[test]
fn a_shifted_reply_is_that_of_fresh_prompts() {
    for keep in [0, 1, 7, 18, 19] {
        for length in [5, 19, 20, 21, 33, 200] {
            let (session, spy) = session(20, 8, shift(Some(keep)));
            let prompt: Vec<u32> = (0..length).collect();
            let options = endless(60);
            let (got, done) = session
                .complete(&prompt[..], &options)
                .unwrap()
                .finish()
                .unwrap();
            assert_eq!(done.finish, FinishReason::MaxTokens);
            assert_eq!(
                got,
                text(&naive_shift(&prompt, 20, keep, &options)),
                "keep {keep}, prompt {length}"
            );
            let cached = session.tokens().unwrap();
            assert_eq!(
                prompt.len() + 59,
                cached.len() + done.metrics.dropped_tokens,
                "no token is lost without being counted"
            );
            assert_eq!(
                cached[..keep.min(prompt.len())],
                prompt[..keep.min(prompt.len())]
            );
            assert_in_step(&session, &spy);
        }
    }
}

#[test]
fn what_to_keep_must_leave_room() {
    let (decoder, _) = Hasher::new(20, 8);
    let made = Session::from_parts(Arc::new(Bytes), Box::new(decoder), shift(Some(20)));
    assert!(matches!(made, Err(Error::InvalidArgument { .. })));
}

#[test]
fn the_system_message_is_kept_and_the_turns_reuse_the_cut() {
    let (session, spy) = session(100, 8, shift(None));
    let mut messages = vec![Message::new(Role::System, "0?0?0?")];
    // Up to the user's first words, which begin as the system message does.
    let kept = "BS0?0?0?EU".len();
    let mut options = endless(20);
    options.sampler.logit_bias = (0..VOCABULARY as u32)
        .filter(|t| !(97..123).contains(t))
        .map(|t| (t, f32::NEG_INFINITY))
        .collect();
    let mut cut_turns = 0;
    for turn in 0..12 {
        messages.push(Message::new(Role::User, format!("0?{turn}")));
        let all = Bytes
            .encode_chat(&messages, &RenderOptions::default())
            .unwrap();
        let (answer, done) = session.chat(&messages, &options).unwrap().finish().unwrap();
        assert_eq!(answer, text(&naive_shift(&all, 100, kept, &options)));
        let cached = session.tokens().unwrap();
        assert_eq!(cached[..kept], all[..kept]);
        assert_in_step(&session, &spy);
        if done.metrics.dropped_tokens > 0 && done.metrics.reused_tokens > kept {
            cut_turns += 1;
        }
        messages.push(Message::new(Role::Assistant, answer));
    }
    assert!(
        cut_turns >= 5,
        "{cut_turns} turns after a cut reused the cache"
    );
}

#[test]
fn a_system_message_larger_than_the_context_is_refused() {
    let (session, spy) = session(20, 8, shift(None));
    let messages = [
        Message::new(Role::System, "x".repeat(30)),
        Message::new(Role::User, "hello"),
    ];
    let error = session.chat(&messages, &endless(5)).unwrap_err();
    assert!(
        matches!(error, Error::ContextFull { used: 41, max: 20 }),
        "{error}"
    );
    assert_eq!(spy.calls.load(SeqCst), 0);
}

#[test]
fn a_completion_keeps_the_begin_token() {
    let (session, _) = session(20, 8, shift(None));
    session
        .complete("a text longer than the context", &endless(30))
        .unwrap()
        .text()
        .unwrap();
    let cached = session.tokens().unwrap();
    assert_eq!(cached[0], crate::session::testing::BEGIN);
}

#[test]
fn a_shift_can_be_cancelled() {
    let (session, spy) = session(2000, 1, shift(None));
    // Not periodic, or the rest would begin as the dropped part did, and be reused.
    let prompt: Vec<u32> = (0..2000).map(|i| i * i % 251).collect();
    session
        .complete(&prompt[..], &endless(0))
        .unwrap()
        .text()
        .unwrap();
    // The second token needs the shift, which evaluates 1,000 tokens one by one.
    let calls = spy.calls.load(SeqCst);
    spy.delay.store(1000, SeqCst);
    let generation = session.complete(&prompt[..], &endless(5)).unwrap();
    while spy.calls.load(SeqCst) < calls + 20 {
        std::thread::yield_now();
    }
    generation.cancel();
    let (_, done) = generation.finish().unwrap();
    assert_eq!(done.finish, FinishReason::Cancelled);
    assert_eq!(done.metrics.generated_tokens, 1);
    assert!(spy.calls.load(SeqCst) < calls + 900);
    assert_in_step(&session, &spy);
    spy.delay.store(0, SeqCst);
    let got = session
        .complete(&prompt[..50], &endless(5))
        .unwrap()
        .text()
        .unwrap();
    assert_eq!(got, text(&naive(&prompt[..50], &endless(5))));
}
