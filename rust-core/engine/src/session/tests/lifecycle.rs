//! Threads: cancel, close, drop, panic, and many sessions at once.

use std::sync::Mutex;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use super::*;

fn slow(micros: u64) -> (Session, Arc<Spy>) {
    let (session, spy) = session(100_000, 16, SessionOptions::default());
    spy.delay.store(micros, SeqCst);
    (session, spy)
}

fn endless() -> GenerateOptions {
    let mut options = greedy(usize::MAX);
    options.sampler.logit_bias = vec![(END, f32::NEG_INFINITY)];
    options
}

fn first_text(events: &mut Generation) -> String {
    match events.next() {
        Some(Ok(Event::Text(text))) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn public_handles_may_cross_threads() {
    fn sent<T: Send + Sync>() {}
    sent::<Session>();
    sent::<Generation>();
    sent::<CancelHandle>();
    sent::<Chat>();
}

#[test]
fn cancel_takes_effect_within_one_token() {
    let (session, spy) = slow(2000);
    for from_session in [false, true] {
        let mut events = session.complete("abc", &endless()).unwrap();
        let mut got = first_text(&mut events);
        let calls = spy.calls.load(SeqCst);
        if from_session {
            session.cancel();
        } else {
            events.cancel();
        }
        let (rest, done) = events.finish().unwrap();
        got.push_str(&rest);
        assert_eq!(done.finish, FinishReason::Cancelled);
        assert!(spy.calls.load(SeqCst) <= calls + 1);
        let mut options = endless();
        options.max_tokens = Some(done.metrics.generated_tokens);
        assert_eq!(got, text(&naive(&[256, 97, 98, 99], &options)));
        assert_in_step(&session, &spy);
    }
    session.cancel();
    let got = session.complete("abc", &greedy(3)).unwrap().text().unwrap();
    assert_eq!(got, text(&naive(&[256, 97, 98, 99], &greedy(3))));
}

#[test]
fn a_session_computes_one_reply_at_a_time() {
    let (session, _) = slow(1000);
    let mut events = session.complete("abc", &endless()).unwrap();
    first_text(&mut events);
    assert!(matches!(
        session.complete("x", &greedy(1)),
        Err(Error::Busy)
    ));
    assert!(matches!(session.tokens(), Err(Error::Busy)));
    assert!(matches!(session.truncate(0), Err(Error::Busy)));
    assert!(matches!(session.fork(), Err(Error::Busy)));
    // A dropped reply is cancelled, and the next call waits for its step to end.
    drop(events);
    let got = session.complete("x", &greedy(3)).unwrap().text().unwrap();
    assert_eq!(got, text(&naive(&[256, 120], &greedy(3))));
}

#[test]
fn the_end_of_a_reply_means_that_the_session_is_free() {
    let (session, _) = session(100_000, 16, SessionOptions::default());
    for _ in 0..2000 {
        session.complete("abc", &greedy(2)).unwrap().text().unwrap();
    }
}

#[test]
fn close_while_decoding_ends_all() {
    let (session, spy) = slow(1000);
    let mut events = session.complete("abc", &endless()).unwrap();
    first_text(&mut events);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                session.close();
                assert_eq!(spy.alive.load(SeqCst), 0, "close frees the cache");
            });
        }
    });
    let (_, done) = events.finish().unwrap();
    assert_eq!(done.finish, FinishReason::Cancelled);
    session.close();
    session.cancel();
    assert!(matches!(
        session.complete("x", &greedy(1)),
        Err(Error::Closed)
    ));
    assert!(matches!(session.tokens(), Err(Error::Closed)));
    assert!(matches!(session.truncate(0), Err(Error::Closed)));
    assert!(matches!(session.fork(), Err(Error::Closed)));
}

#[test]
fn a_session_that_never_worked_closes() {
    let (session, spy) = slow(0);
    session.close();
    assert_eq!(spy.alive.load(SeqCst), 0);
}

#[test]
fn a_caller_that_waits_for_events_sees_the_close() {
    let (session, _) = slow(1000);
    let mut events = session.complete(vec![1; 50_000], &greedy(1)).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(move || events.next());
        thread::sleep(Duration::from_millis(20));
        session.close();
        let event = waiting.join().unwrap().unwrap().unwrap();
        assert!(matches!(event, Event::Done(d) if d.finish == FinishReason::Cancelled));
    });
}

#[test]
fn dropping_a_session_ends_its_thread() {
    let (session, spy) = slow(1000);
    let mut events = session.complete("abc", &endless()).unwrap();
    first_text(&mut events);
    drop(session);
    assert_eq!(spy.alive.load(SeqCst), 0);
    let last = events.last().unwrap().unwrap();
    assert!(matches!(last, Event::Done(d) if d.finish == FinishReason::Cancelled));
}

#[test]
fn a_panic_is_an_error_and_closes_the_session() {
    let (session, spy) = slow(0);
    spy.panic_at.store(4, SeqCst);
    let result = session.complete("abc", &endless()).unwrap().finish();
    assert!(matches!(result, Err(Error::Internal { .. })));
    assert!(matches!(
        session.complete("x", &greedy(1)),
        Err(Error::Closed)
    ));
    assert!(matches!(session.tokens(), Err(Error::Closed)));
    assert!(session.is_closed());
    assert_eq!(spy.alive.load(SeqCst), 0);
    session.close();
}

#[test]
fn a_mask_may_own_its_session() {
    struct Owner(Mutex<Option<Arc<Session>>>);
    impl TokenMask for Owner {
        fn apply(&self, _: &[u32], _: &mut TokenSet) -> Result<()> {
            // The last handle goes here, on the session's own thread.
            self.0.lock().unwrap().take();
            Ok(())
        }
    }
    let (session, spy) = slow(0);
    let session = Arc::new(session);
    let mut options = endless();
    let mask = Arc::new(Owner(Mutex::new(None)));
    options.mask = Some(mask.clone());
    let slot = mask.0.lock().unwrap();
    let events = session.complete("abc", &options).unwrap();
    let mut slot = slot;
    *slot = Some(session);
    drop(slot);
    let (_, done) = events.finish().unwrap();
    assert_eq!(done.finish, FinishReason::Cancelled);
    while spy.alive.load(SeqCst) > 0 {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn threads_that_start_cancel_and_close_at_random_do_not_hang() {
    let start = Instant::now();
    thread::scope(|scope| {
        for worker in 0..8u64 {
            scope.spawn(move || {
                let mut random = worker + 1;
                let mut next = move |bound: u64| {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    (random >> 33) % bound
                };
                for _ in 0..60 {
                    let (session, spy) = slow(next(300));
                    thread::scope(|scope| {
                        // Two callers of one session, and one who closes it at some point.
                        for caller in 0..2 {
                            let (session, pause, steps) = (&session, next(500), next(6));
                            scope.spawn(move || use_at_random(session, caller, pause, steps));
                        }
                        let pause = next(3000);
                        let session = &session;
                        scope.spawn(move || {
                            thread::sleep(Duration::from_micros(pause));
                            session.close();
                        });
                    });
                    assert_eq!(spy.alive.load(SeqCst), 0);
                    assert!(matches!(session.tokens(), Err(Error::Closed)));
                }
            });
        }
    });
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
}

fn use_at_random(session: &Session, caller: u64, pause: u64, steps: u64) {
    for step in 0..=steps {
        let mut events = match session.complete("some prompt", &endless()) {
            Ok(events) => events,
            Err(Error::Busy | Error::Closed) => {
                session.cancel();
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        thread::sleep(Duration::from_micros(pause));
        match (step + caller) % 4 {
            0 => drop(events),
            1 => {
                let _ = events.next();
            }
            2 => {
                events.cancel();
                let (_, done) = events.finish().unwrap();
                assert_eq!(done.finish, FinishReason::Cancelled);
            }
            _ => {
                session.cancel();
                let fork = session.fork();
                assert!(fork.is_ok() || matches!(fork, Err(Error::Closed | Error::Busy)));
            }
        }
    }
}

#[test]
fn sessions_work_side_by_side() {
    let prompts: Vec<Vec<u32>> = (0..8).map(|i| (i..i + 30).collect()).collect();
    thread::scope(|scope| {
        for prompt in &prompts {
            scope.spawn(move || {
                let (session, spy) = slow(50);
                for seed in 0..3 {
                    let options = seeded(seed, 25);
                    let got = session
                        .complete(&prompt[..], &options)
                        .unwrap()
                        .text()
                        .unwrap();
                    assert_eq!(got, text(&naive(prompt, &options)));
                }
                assert_in_step(&session, &spy);
            });
        }
    });
}
