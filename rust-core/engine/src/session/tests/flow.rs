//! A caller that is slower than the engine, and what still happens after a cancel.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use super::*;
use crate::session::channel::MAX_WAITING;

fn endless() -> GenerateOptions {
    let mut options = greedy(usize::MAX);
    // Letters alone, so that every token is a character of its own.
    options.sampler.logit_bias = (0..VOCABULARY as u32)
        .filter(|t| !(97..123).contains(t))
        .map(|t| (t, f32::NEG_INFINITY))
        .collect();
    options
}

/// Waits until the thread has filled the channel, and has then stood still for a while.
fn until_stalled(events: &Generation, spy: &Spy) -> usize {
    let start = Instant::now();
    while events.channel().waiting() < MAX_WAITING {
        assert!(start.elapsed() < Duration::from_secs(20), "no stall");
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(Duration::from_millis(30));
    let calls = spy.calls.load(SeqCst);
    thread::sleep(Duration::from_millis(30));
    assert_eq!(spy.calls.load(SeqCst), calls, "the engine goes on");
    calls
}

#[test]
fn an_engine_that_nobody_listens_to_waits() {
    let (session, spy) = session(100_000, 16, SessionOptions::default());
    let mut options = endless();
    options.max_tokens = Some(200);
    let mut events = session.complete("abc", &options).unwrap();
    // The prompt, and a step for each token but the last.
    assert_eq!(until_stalled(&events, &spy), MAX_WAITING);
    // Longer than a busy machine takes for the work.
    thread::sleep(Duration::from_secs(1));
    let mut got = String::new();
    let Some(Ok(Event::Text(first))) = events.next() else {
        panic!("text is wanted");
    };
    assert_eq!(first.len(), MAX_WAITING);
    got.push_str(&first);
    assert_eq!(until_stalled(&events, &spy), 2 * MAX_WAITING);
    let (rest, done) = events.finish().unwrap();
    got.push_str(&rest);
    assert_eq!(got, text(&naive(&[256, 97, 98, 99], &options)));
    assert_eq!(done.finish, FinishReason::MaxTokens);
    let metrics = done.metrics;
    assert!(
        metrics.stalled_duration >= Duration::from_millis(1120),
        "{:?}",
        metrics.stalled_duration
    );
    assert!(metrics.total_duration >= metrics.stalled_duration + metrics.decode_duration);
    assert!(
        metrics.decode_duration < metrics.stalled_duration / 2,
        "the wait is not counted as work: {:?}",
        metrics.decode_duration
    );
}

#[test]
fn a_caller_that_keeps_up_never_stalls_the_engine() {
    let (session, spy) = session(100_000, 16, SessionOptions::default());
    spy.delay.store(1000, SeqCst);
    let mut options = endless();
    options.max_tokens = Some(300);
    // On a machine with other work the caller may not have its turn for as long as 64 tokens take.
    let kept_up = (0..10).any(|_| {
        let (_, done) = session.complete("abc", &options).unwrap().finish().unwrap();
        done.metrics.stalled_duration == Duration::ZERO
    });
    assert!(kept_up);
}

#[test]
fn whatever_ends_a_reply_ends_the_wait() {
    type End = fn(&Session, &Generation);
    let ends: [End; 3] = [
        |_, events| events.cancel(),
        |session, _| session.cancel(),
        |session, _| session.close(),
    ];
    for end in ends {
        let (session, spy) = session(100_000, 16, SessionOptions::default());
        let events = session.complete("abc", &endless()).unwrap();
        let calls = until_stalled(&events, &spy);
        let start = Instant::now();
        end(&session, &events);
        let (got, done) = events.finish().unwrap();
        assert!(start.elapsed() < Duration::from_secs(10));
        assert_eq!(done.finish, FinishReason::Cancelled);
        assert_eq!(done.metrics.tokens_after_cancel, 0);
        assert_eq!(got.len(), MAX_WAITING, "what came before can be pulled");
        assert_eq!(spy.calls.load(SeqCst), calls, "no step after it");
    }
    // Dropped: the next reply does not wait.
    let (session, spy) = session(100_000, 16, SessionOptions::default());
    let events = session.complete("abc", &endless()).unwrap();
    until_stalled(&events, &spy);
    drop(events);
    let got = session.complete("abc", &greedy(3)).unwrap().text().unwrap();
    assert_eq!(got, text(&naive(&[256, 97, 98, 99], &greedy(3))));
    // A session that is dropped while it waits ends its thread.
    let events = session.complete("abc", &endless()).unwrap();
    until_stalled(&events, &spy);
    drop(session);
    assert_eq!(spy.alive.load(SeqCst), 0);
}

#[test]
fn a_chat_whose_answer_nobody_pulls_goes_on_after_a_cancel() {
    let (session, spy) = session(100_000, 16, SessionOptions::default());
    let mut chat = Chat::new(session, endless());
    let events = chat.send("one").unwrap();
    until_stalled(&events, &spy);
    assert!(matches!(chat.send("two"), Err(Error::Busy)));
    events.cancel();
    chat.options_mut().max_tokens = Some(3);
    let answer = chat.send("two").unwrap().text().unwrap();
    assert_eq!(answer.len(), 3);
    assert_eq!(chat.messages()[1].text().len(), MAX_WAITING);
}

/// Cancels its own reply within the choice of the token `at`.
struct Canceller {
    reply: OnceLock<CancelHandle>,
    at: usize,
}

impl TokenMask for Canceller {
    fn apply(&self, generated: &[u32], _: &mut TokenSet) -> Result<()> {
        if generated.len() == self.at {
            self.reply.wait_for_it().cancel();
        }
        Ok(())
    }
}

trait WaitForIt<T> {
    fn wait_for_it(&self) -> &T;
}

impl<T> WaitForIt<T> for OnceLock<T> {
    fn wait_for_it(&self) -> &T {
        loop {
            match self.get() {
                Some(value) => return value,
                None => thread::yield_now(),
            }
        }
    }
}

#[test]
fn a_token_chosen_after_the_cancel_is_counted_and_the_last() {
    for at in [0, 1, 7] {
        let (session, spy) = session(100_000, 16, SessionOptions::default());
        let mask = Arc::new(Canceller {
            reply: OnceLock::new(),
            at,
        });
        let mut options = endless();
        options.mask = Some(mask.clone());
        let events = session.complete("abc", &options).unwrap();
        mask.reply.set(events.cancel_handle()).unwrap();
        let (got, done) = events.finish().unwrap();
        assert_eq!(done.finish, FinishReason::Cancelled);
        assert_eq!(done.metrics.tokens_after_cancel, 1);
        assert_eq!(got.len(), at + 1);
        assert_eq!(spy.calls.load(SeqCst), at + 1, "no step after it");
    }
}

#[test]
fn no_more_than_one_token_follows_a_cancel_from_any_thread() {
    let (session, spy) = session(1_000_000, 16, SessionOptions::default());
    let after = Mutex::new(Vec::new());
    for round in 0..300u64 {
        spy.delay.store(round % 3 * 40, SeqCst);
        let mut events = session.complete("abc", &endless()).unwrap();
        let handle = events.cancel_handle();
        thread::scope(|scope| {
            scope.spawn(move || {
                let start = Instant::now();
                while start.elapsed() < Duration::from_micros(50 + round * 7 % 400) {
                    std::hint::spin_loop();
                }
                handle.cancel();
            });
            let done = events.find_map(|event| match event.unwrap() {
                Event::Done(done) => Some(done),
                _ => None,
            });
            let done = done.unwrap();
            assert_eq!(done.finish, FinishReason::Cancelled);
            after.lock().unwrap().push(done.metrics.tokens_after_cancel);
        });
    }
    let after = after.into_inner().unwrap();
    assert_eq!(after.len(), 300);
    assert!(after.iter().all(|&tokens| tokens <= 1), "{after:?}");
}
