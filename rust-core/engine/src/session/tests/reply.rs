//! One reply: its text, its end, its events and its metrics.

use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::*;
use crate::session::testing::BEGIN;

const PROMPT: &[u32] = &[BEGIN, 1, 2, 3, 4, 5, 6, 7, 8, 9];

#[test]
fn a_reply_is_the_naive_loop_whatever_the_chunk() {
    for chunk in [1, 3, 64] {
        for options in [greedy(40), seeded(5, 40)] {
            let (session, spy) = session(1000, chunk, SessionOptions::default());
            let (got, done) = session
                .complete(PROMPT, &options)
                .unwrap()
                .finish()
                .unwrap();
            let want = naive(PROMPT, &options);
            assert_eq!(got, text(&want));
            assert_eq!(done.metrics.generated_tokens, want.len());
            let ended = want.last() == Some(&END);
            let finish = if ended {
                FinishReason::EndOfTurn
            } else {
                FinishReason::MaxTokens
            };
            assert_eq!(done.finish, finish);
            assert_in_step(&session, &spy);
        }
    }
}

#[test]
fn the_model_may_end_its_turn() {
    let mut options = greedy(1000);
    options.sampler.logit_bias = vec![(END, 3.0)];
    let (session, _) = session(2000, 64, SessionOptions::default());
    let (got, done) = session
        .complete(PROMPT, &options)
        .unwrap()
        .finish()
        .unwrap();
    let want = naive(PROMPT, &options);
    assert_eq!(want.last(), Some(&END), "the test's model must end in time");
    assert_eq!(done.finish, FinishReason::EndOfTurn);
    assert_eq!(done.metrics.generated_tokens, want.len());
    assert_eq!(got, text(&want));
}

#[test]
fn the_seed_of_a_reply_repeats_it() {
    let (session, _) = session(1000, 64, SessionOptions::default());
    let mut options = seeded(0, 30);
    options.sampler.seed = None;
    let (first, done) = session
        .complete(PROMPT, &options)
        .unwrap()
        .finish()
        .unwrap();
    options.sampler.seed = Some(done.seed);
    let again = session.complete(PROMPT, &options).unwrap().text().unwrap();
    assert_eq!(first, again);
    options.sampler.seed = Some(done.seed + 1);
    assert_ne!(
        first,
        session.complete(PROMPT, &options).unwrap().text().unwrap()
    );
}

#[test]
fn a_stop_string_ends_the_reply_before_it() {
    let (session, spy) = session(1000, 64, SessionOptions::default());
    let mut options = greedy(40);
    let whole = text(&naive(PROMPT, &options));
    let chars: Vec<char> = whole.chars().collect();
    let stop: String = chars[10..13].iter().collect();
    let before = whole.find(&stop).unwrap();
    options.stop = vec!["not in it".into(), stop];
    let (got, done) = session
        .complete(PROMPT, &options)
        .unwrap()
        .finish()
        .unwrap();
    assert_eq!(done.finish, FinishReason::StopString);
    assert_eq!(got, whole[..before]);
    assert!(done.metrics.generated_tokens <= 14);
    assert_in_step(&session, &spy);
}

#[test]
fn the_mask_decides_what_may_come() {
    struct Digits;
    impl TokenMask for Digits {
        fn apply(&self, generated: &[u32], allowed: &mut TokenSet) -> Result<()> {
            assert_eq!(allowed.size(), VOCABULARY);
            allowed.clear();
            if generated.len() == 5 {
                allowed.insert(END);
            } else {
                (48..58).for_each(|digit| allowed.insert(digit));
            }
            Ok(())
        }
    }
    let (session, _) = session(1000, 64, SessionOptions::default());
    let mut options = seeded(1, 100);
    options.mask = Some(Arc::new(Digits));
    let (got, done) = session
        .complete(PROMPT, &options)
        .unwrap()
        .finish()
        .unwrap();
    assert_eq!(done.finish, FinishReason::EndOfTurn);
    assert!(
        got.len() == 5 && got.bytes().all(|b| b.is_ascii_digit()),
        "{got}"
    );
}

#[test]
fn an_error_of_the_mask_ends_the_reply_and_not_the_session() {
    struct Refuses;
    impl TokenMask for Refuses {
        fn apply(&self, generated: &[u32], allowed: &mut TokenSet) -> Result<()> {
            match generated.len() {
                3 => Err(Error::invalid("no more")),
                2 => {
                    allowed.clear();
                    allowed.insert(65);
                    Ok(())
                }
                _ => Ok(()),
            }
        }
    }
    let (session, spy) = session(1000, 64, SessionOptions::default());
    let mut options = greedy(100);
    options.mask = Some(Arc::new(Refuses));
    let mut events = session.complete(PROMPT, &options).unwrap();
    let error = events.find_map(|event| event.err()).unwrap();
    assert!(matches!(error, Error::InvalidArgument { .. }));
    assert!(events.next().is_none());
    assert_in_step(&session, &spy);
    options.mask = None;
    let again = session.complete(PROMPT, &options).unwrap().text().unwrap();
    assert_eq!(again, text(&naive(PROMPT, &options)));
}

#[test]
fn unusable_requests_are_refused_before_any_work() {
    let (session, spy) = session(20, 64, SessionOptions::default());
    let refusal = |prompt: Prompt, options: &GenerateOptions| {
        let error = session.complete(prompt, options).unwrap_err();
        assert_eq!(spy.calls.load(SeqCst), 0);
        error
    };
    for prompt in [Prompt::from(""), Prompt::from(Vec::new())] {
        let error = refusal(prompt, &greedy(1));
        assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
    }
    let error = refusal(vec![VOCABULARY as u32].into(), &greedy(1));
    assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
    let error = refusal(vec![1; 21].into(), &greedy(1));
    assert!(
        matches!(error, Error::ContextFull { used: 21, max: 20 }),
        "{error}"
    );
    let mut options = greedy(1);
    options.sampler.top_p = 2.0;
    let error = refusal(PROMPT.into(), &options);
    assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
    let mut options = greedy(1);
    options.stop = vec![String::new()];
    let error = refusal(PROMPT.into(), &options);
    assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
    assert!(matches!(
        session.chat(&[], &greedy(1)),
        Err(Error::InvalidArgument { .. })
    ));
}

#[test]
fn a_limit_of_no_tokens_prepares_the_cache() {
    let (session, spy) = session(1000, 64, SessionOptions::default());
    let (got, done) = session
        .complete(PROMPT, &greedy(0))
        .unwrap()
        .finish()
        .unwrap();
    assert_eq!((got.as_str(), done.finish), ("", FinishReason::MaxTokens));
    assert_eq!(done.metrics.time_to_first_token, None);
    assert_eq!(spy.tokens(), PROMPT);
    let (_, done) = session
        .complete(PROMPT, &greedy(3))
        .unwrap()
        .finish()
        .unwrap();
    assert_eq!(done.metrics.reused_tokens, PROMPT.len() - 1);
}

#[test]
fn text_waits_for_a_slow_caller_in_one_piece() {
    let (session, _) = session(1000, 64, SessionOptions::default());
    let mut events = session.complete(PROMPT, &greedy(30)).unwrap();
    // `tokens` is busy until the reply is over.
    while matches!(session.tokens(), Err(Error::Busy)) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let Some(Ok(Event::Text(got))) = events.next() else {
        panic!("text comes first");
    };
    assert_eq!(got, text(&naive(PROMPT, &greedy(30))));
    assert!(matches!(events.next(), Some(Ok(Event::Done(_)))));
    assert!(events.next().is_none());
    assert!(events.next().is_none());
    assert!(matches!(events.finish(), Err(Error::Closed)));
}

/// Pulls a reply of 20 tokens as a future does, each of which takes `delay` microseconds; returns how
/// often it had to wait.
fn waits_of_a_future(delay: usize) -> usize {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let (session, spy) = session(1000, 64, SessionOptions::default());
    spy.delay.store(delay.try_into().unwrap(), SeqCst);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut events = session.complete(PROMPT, &greedy(20)).unwrap();
    let mut got = String::new();
    let mut waits = 0;
    loop {
        match events.poll_next(&mut context) {
            Poll::Pending => {
                waits += 1;
                std::thread::park();
            }
            Poll::Ready(Some(Ok(Event::Text(text)))) => got.push_str(&text),
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(Some(Err(error))) => panic!("{error}"),
            Poll::Ready(None) => break,
        }
    }
    assert_eq!(got, text(&naive(PROMPT, &greedy(20))));
    waits
}

#[test]
fn a_future_can_be_made_of_it_and_is_woken_once_a_frame_at_most() {
    // Each takes longer than a frame.
    let slow = waits_of_a_future(50_000);
    assert!(slow > 10, "{slow} waits for 20 slow tokens");
    let fast = waits_of_a_future(0);
    assert!(
        fast < slow,
        "{fast} waits for 20 fast tokens, {slow} for slow ones"
    );
}

/// Whether two durations or rates are the same, but for what threads take to have their turns.
fn close(inside: f64, outside: f64) -> bool {
    (inside / outside - 1.0).abs() < 0.2
}

/// One reply of 40 tokens of prompt and 31 more, by a clock beside it. What holds on any machine is
/// asserted; whether what both clocks say is close is returned in words, none if it is.
fn apart_from_an_outside_clock() -> Option<String> {
    let (session, spy) = session(1000, 4, SessionOptions::default());
    spy.delay.store(20_000, SeqCst);
    let prompt = [1; 40];
    let mut options = greedy(31);
    options.sampler.logit_bias = vec![(END, f32::NEG_INFINITY)];
    let start = Instant::now();
    let mut events = session.complete(&prompt[..], &options).unwrap();
    let mut first = None;
    let done = loop {
        match events.next().unwrap().unwrap() {
            Event::Text(_) => first = first.or(Some(start.elapsed())),
            Event::Done(done) => break done,
            other => panic!("{other:?}"),
        }
    };
    let total = start.elapsed();
    let metrics = done.metrics;
    assert_eq!((metrics.prompt_tokens, metrics.prefill_tokens), (40, 40));
    assert_eq!((metrics.generated_tokens, metrics.reused_tokens), (31, 0));
    // 70 tokens, the last one of the reply not among them.
    assert_eq!(metrics.kv_bytes, 7000);
    #[cfg(target_os = "linux")]
    assert!(metrics.peak_memory.unwrap() > 1 << 20);
    // A call takes at least 20 ms: for 4 tokens of the prompt, or 1 of the reply.
    let (prefill, decode) = (
        metrics.prefill_rate().unwrap(),
        metrics.decode_rate().unwrap(),
    );
    assert!(prefill <= 200.0 && decode <= 50.0, "{prefill} {decode}");
    assert!(metrics.total_duration <= total);
    let (first, total) = (first.unwrap().as_secs_f64(), total.as_secs_f64());
    let told = metrics.time_to_first_token.unwrap().as_secs_f64();
    assert!(told <= first);
    let pairs = [
        (told, first),
        (metrics.total_duration.as_secs_f64(), total),
        (metrics.decode_duration.as_secs_f64(), total - first),
        (prefill, 40.0 / first),
        (decode, 30.0 / (total - first)),
    ];
    let apart = pairs
        .iter()
        .any(|&(inside, outside)| !close(inside, outside));
    apart.then(|| format!("{pairs:?}"))
}

#[test]
fn metrics_agree_with_an_outside_clock() {
    // On a machine with other work the thread with the outside clock may have its turn late.
    let rounds: Vec<_> = (0..10)
        .map_while(|_| apart_from_an_outside_clock())
        .collect();
    assert!(rounds.len() < 10, "{rounds:#?}");
}
