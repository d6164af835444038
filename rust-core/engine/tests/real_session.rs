//! Sessions on the real models: the same text on every run, chats that reuse the cache, forks,
//! several sessions at once.
#![cfg(feature = "real-models")]
#![allow(clippy::unwrap_used)]

mod real;
mod sessions;

use std::num::NonZeroUsize;

use dormouse::template::Message;
use dormouse::{Chat, Done, Error, GenerateOptions, Session, SessionOptions};
use real::{GEMMA3, SMOLLM2};
use sessions::{QUESTION, chat, greedy, seeded, session, session_with};

#[test]
fn one_seed_gives_one_text_on_any_run_thread_count_and_chunk() {
    let options = seeded(42, 40);
    let expected = chat(&session(), QUESTION, &options).0;
    assert!(expected.len() > 40);
    assert_eq!(chat(&session(), QUESTION, &options).0, expected);
    assert_ne!(chat(&session(), QUESTION, &seeded(43, 40)).0, expected);
    for chunk in [1, 7, 32] {
        let other = session_with(|o| o.prefill_chunk = NonZeroUsize::new(chunk));
        assert_eq!(
            chat(&other, QUESTION, &options).0,
            expected,
            "chunks of {chunk}"
        );
    }
    for threads in 1..=3 {
        let model = SMOLLM2.load(|o| o.threads = Some(threads));
        let other = Session::new(&model, SessionOptions::default()).unwrap();
        assert_eq!(
            chat(&other, QUESTION, &options).0,
            expected,
            "{threads} threads"
        );
    }
}

/// The answer of a session that has seen nothing before, to the messages up to the last answer.
fn fresh(chat: &Chat, options: &GenerateOptions) -> (String, Done) {
    let mut messages = chat.messages();
    messages.pop();
    // A session that is dropped cancels its reply, so it has a name.
    let session = session();
    let generation = session.chat(&messages, options).unwrap();
    generation.finish().unwrap()
}

#[test]
fn turns_edits_and_regenerated_answers_equal_those_of_a_fresh_session() {
    let options = seeded(7, 16);
    let mut chat = Chat::new(session(), options.clone());
    chat.set_system(Some("You answer in few words.")).unwrap();
    let check = |turn: usize, reply: (String, Done), chat: &Chat| {
        let (expected, alone) = fresh(chat, &options);
        assert_eq!(reply.0, expected, "turn {turn}");
        let (ours, alone) = (reply.1.metrics, alone.metrics);
        assert_eq!(
            (alone.reused_tokens, ours.prompt_tokens),
            (0, alone.prompt_tokens)
        );
        assert_eq!(ours.reused_tokens + ours.prefill_tokens, ours.prompt_tokens);
        if turn > 0 {
            // At least the system message; a regenerated answer reuses all but one token.
            assert!(ours.reused_tokens > 8, "turn {turn}: {ours:?}");
        }
        ours
    };
    for (turn, text) in ["Name a colour.", "Another one.", "And a third."]
        .iter()
        .enumerate()
    {
        let reply = chat.send(text).unwrap().finish().unwrap();
        let metrics = check(turn, reply, &chat);
        if turn > 0 {
            assert!(
                metrics.reused_tokens > metrics.prefill_tokens,
                "{metrics:?}"
            );
        }
    }
    let reply = chat.regenerate().unwrap().finish().unwrap();
    let metrics = check(3, reply, &chat);
    assert_eq!(metrics.prefill_tokens, 1);
    assert_eq!(chat.messages().len(), 7);
    let reply = chat.edit(3, "Name a fruit.").unwrap().finish().unwrap();
    check(4, reply, &chat);
    assert_eq!(chat.messages().len(), 5);
}

#[test]
fn gemma_completes_and_says_what_a_chat_needs() {
    let model = GEMMA3.load(|_| {});
    let gemma = Session::new(&model, SessionOptions::default()).unwrap();
    let text = gemma
        .complete("One, two, three, four,", &greedy(6))
        .unwrap()
        .text()
        .unwrap();
    assert!(text.contains("five, six"), "{text}");
    let error = gemma
        .chat(&[Message::user("hello")], &greedy(8))
        .unwrap_err();
    assert!(matches!(error, Error::Template { .. }), "{error:?}");
    // It names what to do instead.
    assert!(error.to_string().contains("pass a template"), "{error}");
    assert!(
        gemma
            .complete("One, two,", &greedy(4))
            .unwrap()
            .text()
            .is_ok()
    );
}

#[test]
fn four_sessions_at_once_give_the_texts_that_each_gives_alone() {
    let texts = ["Name a bird.", "What is rain?", "Count to five.", QUESTION];
    let alone = texts.map(|text| chat(&session(), text, &seeded(9, 24)).0);
    std::thread::scope(|scope| {
        for (text, alone) in texts.iter().zip(&alone) {
            scope.spawn(move || {
                assert_eq!(chat(&session(), text, &seeded(9, 24)).0, *alone, "{text}");
            });
        }
    });
}

#[test]
fn forks_go_their_own_way_on_the_same_cache() {
    let session = session();
    chat(&session, QUESTION, &greedy(70));
    let tokens = session.tokens().unwrap();
    let fork = session.fork().unwrap();
    assert_eq!(fork.tokens().unwrap(), tokens);
    let other = chat(&fork, "Name a bird.", &greedy(12)).0;
    assert_eq!(session.tokens().unwrap(), tokens);
    assert_eq!(
        other,
        chat(&sessions::session(), "Name a bird.", &greedy(12)).0
    );
    let (again, done) = chat(&session, QUESTION, &greedy(70));
    assert_eq!(done.metrics.prefill_tokens, 1);
    assert_eq!(again, chat(&sessions::session(), QUESTION, &greedy(70)).0);
}
