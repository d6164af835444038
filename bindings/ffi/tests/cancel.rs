//! Answers that are cancelled, dropped and closed, while they start and while they run, through the
//! surface that Kotlin and Swift use.
#![allow(clippy::unwrap_used)]

mod common;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use common::{block_on, chat, chat_of, finish, greedy, message, scripted, send, starting};
use dormouse_ffi::{
    CallToken, ChatHandle, ChatSettings, Event, Failure, FinishReason, ModelHandle, ReplySettings,
    Role, WhenFull,
};

#[test]
fn a_cancelled_reply_stops_within_a_token_and_the_chat_goes_on() {
    let model = scripted();
    let chat = chat(&model);
    let mut late = Vec::new();
    for round in 0..200 {
        let reply = send(&chat, "forever").unwrap();
        while !block_on(reply.next())
            .unwrap()
            .iter()
            .any(|e| matches!(e, Event::Token { .. }))
        {}
        if round % 2 == 0 {
            reply.cancel();
        } else {
            chat.cancel();
        }
        let (_, reason, after) = finish(&reply).unwrap();
        assert_eq!(reason, FinishReason::Cancelled);
        late.push(after);
        chat.reset().unwrap();
    }
    assert!(late.iter().all(|&after| after <= 1), "{late:?}");
    assert_eq!(
        finish(&send(&chat, "think").unwrap()).unwrap().0,
        "It is 42."
    );
}

#[test]
fn dropping_a_reply_cancels_it_and_a_second_send_meanwhile_is_busy() {
    let model = scripted();
    let chat = chat(&model);
    let reply = send(&chat, "forever").unwrap();
    assert!(matches!(send(&chat, "hi"), Err(Failure::Busy)));
    assert!(matches!(chat.reset(), Err(Failure::Busy)));
    drop(reply);
    let next = send(&chat, "hi").unwrap();
    assert_eq!(finish(&next).unwrap().1, FinishReason::EndOfTurn);
    assert_eq!(chat.messages().unwrap().len(), 4);
}

#[test]
fn closing_ends_what_runs_and_all_else_says_closed() {
    let model = scripted();
    let first = chat(&model);
    let second = chat(&model);
    let reply = send(&first, "forever").unwrap();
    first.close();
    first.close();
    assert_eq!(finish(&reply).unwrap().1, FinishReason::Cancelled);
    assert!(first.is_closed());
    let closed = |result: Result<(), Failure>| assert!(matches!(result, Err(Failure::Closed)));
    closed(send(&first, "hi").map(drop));
    closed(first.messages().map(drop));
    closed(first.reset());
    closed(block_on(first.clone().save("/tmp/never".into())));

    let running = send(&second, "forever").unwrap();
    model.close();
    model.close();
    assert!(model.is_closed() && second.is_closed());
    assert_eq!(finish(&running).unwrap().1, FinishReason::Cancelled);
    closed(send(&second, "hi").map(drop));
    closed(second.messages().map(drop));
    closed(second.set_messages(Vec::new()));
    closed(second.set_system(None));
    closed(second.reset());
    closed(block_on(second.clone().save("/tmp/never".into())));
    closed(block_on(
        second
            .clone()
            .restore("/tmp/never".into(), CallToken::new()),
    ));
    closed(chat_of(&model, None).map(drop));
    closed(block_on(model.tokenize("x".into(), false)).map(drop));
    closed(
        block_on(
            model
                .clone()
                .complete("x".into(), greedy(), CallToken::new()),
        )
        .map(drop),
    );
    assert_eq!(model.info().architecture, "llama");

    // Whatever else is wrong with the call.
    let wrong = ReplySettings {
        template_variables: "no".into(),
        ..greedy()
    };
    for chat in [&first, &second] {
        let hi = vec![message(Role::User, "hi")];
        let sent = chat.clone().send(hi, wrong.clone(), CallToken::new());
        closed(block_on(sent).map(drop));
        let again = chat.clone().regenerate(wrong.clone(), CallToken::new());
        closed(block_on(again).map(drop));
    }
    let completed = model.clone().complete("x".into(), wrong, CallToken::new());
    closed(block_on(completed).map(drop));
}

/// A chat whose prompts may be of any length.
fn long_chat(model: &ModelHandle) -> Arc<ChatHandle> {
    let settings = ChatSettings {
        system: None,
        context_length: None,
        when_full: WhenFull::Shift { keep: None },
    };
    model.chat(settings).unwrap()
}

/// About 1,500 tokens, which take the scripted model a while.
fn long_text() -> String {
    "all work and no play. ".repeat(70)
}

#[test]
fn a_cancel_while_an_answer_starts_is_not_lost() {
    let model = scripted();
    let chat = long_chat(&model);
    let text = format!("{}forever", long_text());
    let mut early = 0;
    let mut context = Context::from_waker(Waker::noop());
    for round in 0..40u64 {
        chat.set_messages(Vec::new()).unwrap();
        let messages = vec![message(Role::User, &text)];
        let mut sending = pin!(chat.clone().send(messages, greedy(), CallToken::new()));
        if sending.as_mut().poll(&mut context).is_ready() {
            continue;
        }
        std::thread::sleep(Duration::from_micros(round % 8 * 400));
        let reply = match sending.as_mut().poll(&mut context) {
            Poll::Ready(reply) => {
                chat.cancel();
                reply.unwrap()
            }
            Poll::Pending => {
                early += 1;
                chat.cancel();
                block_on(sending).unwrap()
            }
        };
        let (_, reason, after) = finish(&reply).unwrap();
        assert_eq!(reason, FinishReason::Cancelled, "round {round}");
        assert!(after <= 1, "round {round}: {after} tokens later");
    }
    assert!(early > 0, "every start was over before it was cancelled");
    chat.set_messages(Vec::new()).unwrap();
    assert_eq!(
        finish(&send(&chat, "think").unwrap()).unwrap().0,
        "It is 42."
    );
}

#[test]
fn nobody_waits_while_an_answer_starts() {
    let model = scripted();
    let chat = chat(&model);
    // Too long for the context: the template and the tokenizer have all of it to do first.
    let text = "never too much. ".repeat(200_000);
    let started = Instant::now();
    let mut slowest = Duration::ZERO;
    let result = std::thread::scope(|scope| {
        let sending = scope.spawn(|| send(&chat, &text).map(drop));
        while !sending.is_finished() {
            let asked = Instant::now();
            assert!(chat.messages().unwrap().is_empty());
            slowest = slowest.max(asked.elapsed());
            std::thread::sleep(Duration::from_millis(1));
        }
        sending.join().unwrap()
    });
    assert!(matches!(result, Err(Failure::ContextFull { .. })));
    let whole = started.elapsed();
    assert!(slowest < whole / 3, "waited {slowest:?} of {whole:?}");
    assert!(chat.messages().unwrap().is_empty());

    // The start that is under way fails as any call on a closed chat.
    let (closing, result) = std::thread::scope(|scope| {
        let sending = scope.spawn(|| send(&chat, &text).map(drop));
        std::thread::sleep(whole / 4);
        let asked = Instant::now();
        chat.close();
        (asked.elapsed(), sending.join().unwrap())
    });
    assert!(matches!(result, Err(Failure::Closed)), "{result:?}");
    assert!(closing < whole / 3, "closing took {closing:?} of {whole:?}");
}

#[test]
fn a_second_answer_is_refused_while_one_starts_and_waits_once_that_is_cancelled() {
    let model = scripted();
    let chat = long_chat(&model);
    let text = "never too much. ".repeat(60_000);
    // On a machine with other work the start can be over before this thread has its turn.
    let seen = (0..20).any(|_| {
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| send(&chat, &text).map(|reply| finish(&reply)));
            let mut busy = false;
            while !busy && !sending.is_finished() {
                std::thread::sleep(Duration::from_millis(1));
                busy = matches!(chat.reset(), Err(Failure::Busy));
            }
            if !busy {
                return false;
            }
            chat.cancel();
            chat.reset().unwrap();
            let (_, reason, _) = sending.join().unwrap().unwrap().unwrap();
            assert_eq!(reason, FinishReason::Cancelled);
            true
        })
    });
    assert!(seen, "nothing was ever under way");
    assert!(chat.messages().unwrap().is_empty());
}

#[test]
fn who_gives_up_a_start_does_not_leave_the_chat_busy() {
    let model = scripted();
    let chat = long_chat(&model);

    drop(starting(&chat));
    chat.reset().unwrap();
    assert!(chat.messages().unwrap().is_empty());
    drop(starting(&chat));
    assert_eq!(
        finish(&send(&chat, "think").unwrap()).unwrap().0,
        "It is 42."
    );

    chat.reset().unwrap();

    let (sending, token) = starting(&chat);
    token.cancel();
    let asked = Instant::now();
    let cancelled = block_on(sending).map(drop);
    let told = asked.elapsed();
    assert!(
        matches!(cancelled, Err(Failure::Cancelled)),
        "{cancelled:?}"
    );
    chat.set_messages(Vec::new()).unwrap();
    let waited = asked.elapsed();
    assert!(told < waited / 3, "told after {told:?} of {waited:?}");
    assert!(chat.messages().unwrap().is_empty());
}

#[test]
fn a_token_ends_its_own_call_and_no_other() {
    let model = scripted();
    let chat = long_chat(&model);
    let with = |text: &str, token: &Arc<CallToken>| {
        let messages = vec![message(Role::User, text)];
        block_on(chat.clone().send(messages, greedy(), token.clone()))
    };
    let first = CallToken::new();
    finish(&with("think", &first).unwrap()).unwrap();
    let second = CallToken::new();
    let reply = with("forever", &second).unwrap();
    first.cancel();
    for _ in 0..3 {
        assert!(!block_on(reply.next()).unwrap().is_empty());
    }
    assert!(
        matches!(chat.reset(), Err(Failure::Busy)),
        "still answering"
    );
    second.cancel();
    assert_eq!(finish(&reply).unwrap().1, FinishReason::Cancelled);

    // Cancelled before the call nothing is said.
    let before = chat.messages().unwrap();
    let never = with("hi", &second).map(drop);
    assert!(matches!(never, Err(Failure::Cancelled)), "{never:?}");
    assert_eq!(chat.messages().unwrap(), before);
    let never = model.clone().complete("x".into(), greedy(), second);
    assert!(matches!(block_on(never), Err(Failure::Cancelled)));
}
