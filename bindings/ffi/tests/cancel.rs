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
    CallToken, ChatHandle, ChatSettings, Event, Failure, FinishReason, ModelHandle, Reply,
    ReplySettings, Role, WhenFull,
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
    closed(block_on(
        first.clone().save("/tmp/never".into(), CallToken::new()),
    ));

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
    closed(block_on(
        second.clone().save("/tmp/never".into(), CallToken::new()),
    ));
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

/// An answer has let go of its context a moment before its end is told. Who cancels right then does
/// not find the chat busy.
#[test]
fn a_cancel_at_the_very_end_of_an_answer_is_not_lost() {
    let model = scripted();
    let chat = chat(&model);
    let one = ReplySettings {
        max_tokens: Some(1),
        ..greedy()
    };
    for round in 0..1500 {
        let messages = vec![message(Role::User, "forever")];
        let sent = chat.clone().send(messages, one.clone(), CallToken::new());
        let reply = block_on(sent).unwrap();
        while let Err(error) = chat.context_used() {
            assert!(matches!(error, Failure::Busy), "{error:?}");
        }
        chat.cancel();
        let reset = chat.reset();
        assert!(reset.is_ok(), "round {round}: {reset:?}");
        drop(reply);
    }
}

/// One start of a long text, and whether others waited for it; in words if they did.
fn waits_for_a_start(chat: &Arc<ChatHandle>, text: &str) -> Option<String> {
    let started = Instant::now();
    let mut slowest = Duration::ZERO;
    let result = std::thread::scope(|scope| {
        let sending = scope.spawn(|| send(chat, text).map(drop));
        while !sending.is_finished() {
            let asked = Instant::now();
            assert!(chat.messages().unwrap().is_empty());
            slowest = slowest.max(asked.elapsed());
            std::thread::sleep(Duration::from_millis(1));
        }
        sending.join().unwrap()
    });
    assert!(matches!(result, Err(Failure::ContextFull { .. })));
    assert!(chat.messages().unwrap().is_empty());
    let whole = started.elapsed();
    (slowest >= whole / 3).then(|| format!("waited {slowest:?} of {whole:?}"))
}

/// One start of a long text on a chat that is closed meanwhile, which is to fail as any call on a
/// closed chat; what was wrong, if something was.
fn waits_to_close(chat: &Arc<ChatHandle>, text: &str) -> Option<String> {
    let started = Instant::now();
    let (closing, result) = std::thread::scope(|scope| {
        let sending = scope.spawn(|| send(chat, text).map(drop));
        std::thread::sleep(Duration::from_millis(20));
        let asked = Instant::now();
        chat.close();
        (asked.elapsed(), sending.join().unwrap())
    });
    let whole = started.elapsed();
    let closed = matches!(result, Err(Failure::Closed));
    (!closed || closing >= whole / 3)
        .then(|| format!("closing took {closing:?} of {whole:?}: {result:?}"))
}

#[test]
fn nobody_waits_while_an_answer_starts() {
    let model = scripted();
    // Too long for the context: the template and the tokenizer have all of it to do first.
    let text = "never too much. ".repeat(200_000);
    // On a machine with other work a thread may not have its turn for as long. Who has to wait for
    // the start has to every time.
    let open = chat(&model);
    let tries: Vec<_> = (0..10)
        .map_while(|_| waits_for_a_start(&open, &text))
        .collect();
    assert!(tries.len() < 10, "{tries:#?}");
    let tries: Vec<_> = (0..10)
        .map_while(|_| waits_to_close(&chat(&model), &text))
        .collect();
    assert!(tries.len() < 10, "{tries:#?}");
}

#[test]
fn a_second_answer_is_refused_while_one_starts_and_waits_once_that_is_cancelled() {
    let model = scripted();
    let chat = long_chat(&model);
    let text = format!("{}forever", "never too much. ".repeat(60_000));
    // On a machine with other work the start can be over before this thread has its turn; the answer
    // then runs, and never ends by itself.
    let seen = (0..20).any(|_| {
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| send(&chat, &text).map(|reply| finish(&reply)));
            while !matches!(chat.reset(), Err(Failure::Busy)) {
                std::thread::sleep(Duration::from_millis(1));
            }
            let starting = chat.messages().unwrap().is_empty();
            chat.cancel();
            chat.reset().unwrap();
            let (_, reason, _) = sending.join().unwrap().unwrap().unwrap();
            assert_eq!(reason, FinishReason::Cancelled);
            starting
        })
    });
    assert!(seen, "every start was over before it was seen");
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

    // On a machine with other work the start can be over by the time that it is given up.
    let tries: Vec<_> = (0..20)
        .map_while(|_| {
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
            assert!(chat.messages().unwrap().is_empty());
            (told >= waited / 3).then(|| format!("told after {told:?} of {waited:?}"))
        })
        .collect();
    assert!(tries.len() < 20, "{tries:#?}");
}

/// A call may be asked for some time before its future is polled for the first time.
#[test]
fn a_cancel_before_the_start_is_polled_is_not_lost() {
    let model = scripted();
    let chat = chat(&model);
    let hi = || vec![message(Role::User, "hi")];

    let unused = chat.new_call();
    let sending = chat.clone().send(hi(), greedy(), chat.new_call());
    chat.cancel();
    assert_eq!(ends_of(sending), FinishReason::Cancelled);
    // That was for the calls of then, and not for any that are made later.
    let sending = chat.clone().send(hi(), greedy(), chat.new_call());
    assert_eq!(ends_of(sending), FinishReason::EndOfTurn);
    let again = chat.clone().regenerate(greedy(), unused);
    assert_eq!(ends_of(again), FinishReason::Cancelled);
    chat.cancel();
    assert_eq!(
        ends_of(chat.clone().regenerate(greedy(), chat.new_call())),
        FinishReason::EndOfTurn
    );
}

/// How the answer that is started ends.
fn ends_of(starting: impl Future<Output = Result<Arc<Reply>, Failure>>) -> FinishReason {
    finish(&block_on(starting).unwrap()).unwrap().1
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
