//! Replies on a real model: cancel and close, full contexts, limits, masks, whole characters, and
//! metrics against outside clocks.
#![cfg(feature = "real-models")]
#![allow(clippy::unwrap_used)]

mod real;
mod sessions;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dormouse::model::ContextOptions;
use dormouse::session::ContextPolicy;
use dormouse::template::Message;
use dormouse::{Error, Event, FinishReason, Result, Session};
use sessions::{
    MODEL, QUESTION, Watch, chat, endless, greedy, seeded, session, session_with, wait_for,
};

#[test]
fn cancel_ends_within_one_token_and_the_session_goes_on() {
    let session = session();
    for round in 0..5 {
        let (options, watch) = endless();
        let generation = session.chat(&[Message::user(QUESTION)], &options).unwrap();
        wait_for(&watch, 3 + round);
        let handle = generation.cancel_handle();
        let at_cancel = std::thread::spawn({
            let watch = watch.clone();
            move || {
                handle.cancel();
                watch.asked.load(Ordering::SeqCst)
            }
        })
        .join()
        .unwrap();
        let (_, done) = generation.finish().unwrap();
        let after = watch.asked.load(Ordering::SeqCst);
        assert_eq!(done.finish, FinishReason::Cancelled);
        assert!(
            after <= at_cancel + 1,
            "{at_cancel} tokens at the call, {after} in the end"
        );
        assert!(done.metrics.generated_tokens <= after);
    }
    let options = seeded(5, 8);
    assert_eq!(
        chat(&session, "Hi!", &options).0,
        chat(&sessions::session(), "Hi!", &options).0
    );
}

#[test]
fn close_while_decoding_returns_and_later_calls_say_closed() {
    let session = Arc::new(session());
    let (options, watch) = endless();
    let generation = session.chat(&[Message::user(QUESTION)], &options).unwrap();
    wait_for(&watch, 3);
    let (sender, receiver) = std::sync::mpsc::channel();
    let other = session.clone();
    std::thread::spawn(move || {
        other.close();
        sender.send(()).unwrap();
    });
    receiver
        .recv_timeout(Duration::from_secs(20))
        .expect("close hangs");
    assert_eq!(
        generation.finish().unwrap().1.finish,
        FinishReason::Cancelled
    );
    session.close();
    let closed = |result: Result<()>| assert!(matches!(result, Err(Error::Closed)), "{result:?}");
    closed(session.chat(&[Message::user("x")], &greedy(1)).map(drop));
    closed(session.complete("x", &greedy(1)).map(drop));
    closed(session.tokens().map(drop));
    closed(session.truncate(0));
    closed(session.fork().map(drop));
}

fn near(ours: f64, outside: f64) -> bool {
    (ours - outside).abs() <= 0.05 * outside
}

#[test]
fn metrics_agree_with_an_outside_clock() {
    // The outside clock also counts the time until the system wakes this thread, which on a busy
    // machine may be any; so the best of three attempts counts. A wrong clock fails all three.
    let (options, _) = endless();
    let mut options = options;
    options.max_tokens = Some(60);
    options.mask = None;
    let attempt = || {
        let session = session();
        let started = Instant::now();
        let generation = session
            .chat(&[Message::user(QUESTION.repeat(8))], &options)
            .unwrap();
        let (mut first, mut metrics) = (None, None);
        for event in generation {
            match event.unwrap() {
                Event::Text(_) => {
                    first.get_or_insert_with(|| started.elapsed().as_secs_f64());
                }
                Event::Done(done) => metrics = Some(done.metrics),
                _ => {}
            }
        }
        let total = started.elapsed().as_secs_f64();
        let (first, ours) = (first.unwrap(), metrics.unwrap());
        assert_eq!(ours.generated_tokens, 60);
        let ttft = ours.time_to_first_token.unwrap().as_secs_f64();
        let decode = 59.0 / (total - first);
        let prefill = ours.prefill_tokens as f64 / first;
        println!(
            "first {ttft} {first}, total {:?} {total}",
            ours.total_duration
        );
        near(ttft, first)
            && near(ours.total_duration.as_secs_f64(), total)
            && near(ours.decode_rate().unwrap(), decode)
            && near(ours.prefill_rate().unwrap(), prefill)
    };
    assert!((0..3).any(|_| attempt()), "three times more than 5% off");
}

#[cfg(target_os = "linux")]
#[test]
fn peak_memory_agrees_with_the_system() {
    let ours = chat(&session(), "Hi!", &greedy(4))
        .1
        .metrics
        .peak_memory
        .unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    // Other tests of this process run on, so memory may have grown between two looks: a second
    // reply brackets the system's figure. It is not compared exactly, as the kernel sums its
    // counters per processor and may even go back by some pages.
    let later = chat(&session(), "Hi!", &greedy(1))
        .1
        .metrics
        .peak_memory
        .unwrap();
    let outside = kib * 1024.0;
    assert!(
        near(ours as f64, outside) || near(later as f64, outside),
        "{ours}, then {outside}, then {later}"
    );
}

fn small(policy: ContextPolicy) -> Session {
    session_with(|options| {
        options.context = ContextOptions::of_length(128);
        options.policy = policy;
    })
}

#[test]
fn a_full_context_stops_or_shifts_as_asked() {
    let (mut options, _) = endless();
    options.mask = None;
    options.max_tokens = Some(300);
    let messages = [
        Message::system("You are a poet who loves mice."),
        Message::user(QUESTION),
    ];

    let stopped = small(ContextPolicy::Stop);
    let (text, done) = stopped.chat(&messages, &options).unwrap().finish().unwrap();
    assert_eq!(done.finish, FinishReason::ContextFull);
    assert!(done.metrics.generated_tokens < 128 && !text.is_empty());
    assert_eq!(done.metrics.dropped_tokens, 0);
    let long = stopped.chat(&[Message::user(QUESTION.repeat(20))], &options);
    assert!(matches!(long, Err(Error::ContextFull { max: 128, .. })));

    let run = || {
        let session = small(ContextPolicy::Shift { keep: None });
        let (shifted, done) = session.chat(&messages, &options).unwrap().finish().unwrap();
        assert_eq!(done.finish, FinishReason::MaxTokens);
        assert_eq!(done.metrics.generated_tokens, 300);
        assert!(done.metrics.dropped_tokens > 128, "{:?}", done.metrics);
        // Until the first shift it is the text that the other policy gives.
        assert!(shifted.starts_with(&text));
        let tokens = session.tokens().unwrap();
        assert!(tokens.len() <= 128);
        let cache = String::from_utf8_lossy(&MODEL.tokenizer().decode(&tokens, true)).into_owned();
        assert!(
            cache.contains("You are a poet who loves mice."),
            "the system message is gone"
        );
        assert!(
            !cache.contains("through the winter."),
            "nothing was dropped"
        );
        shifted
    };
    assert_eq!(run(), run());
}

#[test]
fn replies_end_at_their_limits() {
    let (text, done) = chat(&session(), QUESTION, &greedy(10));
    assert_eq!(
        (done.finish, done.metrics.generated_tokens),
        (FinishReason::MaxTokens, 10)
    );
    let word = text.split_whitespace().nth(3).unwrap().to_owned();
    let mut options = greedy(10);
    options.stop = vec![word.clone()];
    let (cut, done) = chat(&session(), QUESTION, &options);
    assert_eq!(done.finish, FinishReason::StopString);
    assert_eq!(cut, text[..text.find(&word).unwrap()]);
    let (nothing, done) = chat(&session(), QUESTION, &greedy(0));
    assert_eq!((&*nothing, done.metrics.generated_tokens), ("", 0));
    let (_, done) = chat(&session(), "Say only: yes", &greedy(400));
    assert_eq!(done.finish, FinishReason::EndOfTurn);
}

#[test]
fn a_mask_of_digits_gives_digits() {
    let tokenizer = MODEL.tokenizer();
    let digits: Vec<u32> = (0..tokenizer.vocab_size() as u32)
        .filter(|&id| {
            tokenizer
                .token_bytes(id)
                .is_some_and(|b| b.len() == 1 && b[0].is_ascii_digit())
        })
        .collect();
    assert_eq!(digits.len(), 10);
    let mask = Watch {
        allowed: Some(digits),
        ..Watch::default()
    };
    let mut options = seeded(3, 20);
    options.mask = Some(Arc::new(mask));
    let (text, _) = chat(&session(), QUESTION, &options);
    assert!(
        text.len() == 20 && text.bytes().all(|b| b.is_ascii_digit()),
        "{text}"
    );
}

#[test]
fn pieces_of_the_stream_are_whole_characters_and_make_the_text() {
    let prompt = "🐭🌰😴 🐭🌰😴 🐭🌰😴 🐭🌰😴 🐭🌰😴 🐭";
    let options = greedy(40);
    let whole = session()
        .complete(prompt, &options)
        .unwrap()
        .text()
        .unwrap();
    let mut pieces = Vec::new();
    for event in session().complete(prompt, &options).unwrap() {
        if let Event::Text(text) = event.unwrap() {
            pieces.push(text);
        }
    }
    assert_eq!(pieces.concat(), whole);
    assert!(
        whole.chars().filter(|c| *c as u32 > 0xffff).count() >= 5,
        "{whole}"
    );
    assert!(pieces.len() > 3, "{pieces:?}");
    // An emoji is several tokens here. Only the token limit may cut one, and then the stream says
    // so with one U+FFFD at its end; between pieces there is never half a character.
    let cut = whole.strip_suffix('\u{fffd}').unwrap_or(&whole);
    assert!(!cut.contains('\u{fffd}'), "{pieces:?}");
    let shorter = (36..40).map(|limit| {
        let reply = session().complete(prompt, &greedy(limit)).unwrap().text();
        reply.unwrap()
    });
    let clean: Vec<String> = shorter.filter(|text| !text.contains('\u{fffd}')).collect();
    assert!(!clean.is_empty() && clean.iter().all(|text| cut.starts_with(text.as_str())));
}
