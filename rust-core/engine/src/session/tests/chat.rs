//! The conversation with a history.

use std::sync::atomic::Ordering::SeqCst;

use super::*;
use crate::session::testing::Bytes;
use crate::template::{Message, RenderOptions, Role};

fn chat() -> (Chat, Arc<Spy>) {
    let (session, spy) = session(10_000, 16, SessionOptions::default());
    (Chat::new(session, seeded(4, 10)), spy)
}

fn told(chat: &Chat) -> Vec<(Role, String)> {
    chat.messages().iter().map(|m| (m.role, m.text())).collect()
}

fn answer_to(messages: &[Message]) -> String {
    let prompt = Bytes
        .encode_chat(messages, &RenderOptions::default())
        .unwrap();
    text(&naive(&prompt, &seeded(4, 10)))
}

#[test]
fn turns_build_a_history() {
    let (mut chat, _) = chat();
    chat.set_system(Some("sys")).unwrap();
    let one = chat.send("one").unwrap().text().unwrap();
    let two = chat.send("two").unwrap().text().unwrap();
    let want = vec![
        (Role::System, "sys".to_string()),
        (Role::User, "one".into()),
        (Role::Assistant, one),
        (Role::User, "two".into()),
        (Role::Assistant, two.clone()),
    ];
    assert_eq!(told(&chat), want);
    assert_eq!(two, answer_to(&chat.messages()[..4]));

    chat.options_mut().sampler.seed = Some(99);
    let other = chat.regenerate().unwrap().text().unwrap();
    assert_ne!(other, two);
    assert_eq!(told(&chat)[..4], want[..4]);
    assert_eq!(told(&chat)[4].1, other);

    chat.options_mut().sampler.seed = Some(4);
    let edited = chat.edit(1, "uno").unwrap().text().unwrap();
    assert_eq!(told(&chat).len(), 3);
    assert_eq!(edited, answer_to(&chat.messages()[..2]));

    chat.reset().unwrap();
    assert_eq!(told(&chat), want[..1]);
    chat.set_system(None).unwrap();
    assert!(told(&chat).is_empty());
    assert!(matches!(
        chat.regenerate(),
        Err(Error::InvalidArgument { .. })
    ));
    assert!(matches!(
        chat.edit(0, "x"),
        Err(Error::InvalidArgument { .. })
    ));
}

#[test]
fn a_cancelled_answer_can_be_waited_for_without_the_chat() {
    let (mut chat, _) = chat();
    let start = chat.begin_send(vec![Message::user("hi")]).unwrap();
    assert!(matches!(chat.try_settle(), Err(Error::Busy)));
    start.cancel_handle().cancel();
    // To wait here would be to wait for ever.
    let answer = chat.try_settle().unwrap().unwrap();
    drop(start);
    answer.wait();
    assert!(chat.try_settle().unwrap().is_none());
    assert!(chat.messages().is_empty());
}

#[test]
fn a_cancelled_answer_stays_as_far_as_it_came() {
    let (mut chat, spy) = chat();
    chat.options_mut().max_tokens = None;
    chat.options_mut().sampler.logit_bias = vec![(END, f32::NEG_INFINITY)];
    spy.delay.store(500, SeqCst);
    let mut events = chat.send("one").unwrap();
    let mut got = String::new();
    while got.len() < 5 {
        match events.next() {
            Some(Ok(Event::Text(more))) => got.push_str(&more),
            other => panic!("text is wanted, not {other:?}"),
        }
    }
    assert!(matches!(chat.send("two"), Err(Error::Busy)));
    assert!(matches!(chat.set_system(None), Err(Error::Busy)));
    assert!(told(&chat)[1].1.starts_with(&got));
    events.cancel();
    got.push_str(&events.text().unwrap());
    assert_eq!(told(&chat)[1], (Role::Assistant, got.clone()));

    // Dropped without a look at it.
    drop(chat.send("two").unwrap());
    drop(chat.send("three").unwrap());
    let roles: Vec<Role> = told(&chat).iter().map(|m| m.0).collect();
    let (user, model) = (Role::User, Role::Assistant);
    assert_eq!(roles, [user, model, user, model, user, model]);
    assert_eq!(told(&chat)[1].1, got);
}

#[test]
fn a_send_that_fails_leaves_the_history() {
    let (session, spy) = session(30, 16, SessionOptions::default());
    let mut chat = Chat::new(session, seeded(4, 3));
    chat.send("one").unwrap().text().unwrap();
    let before = told(&chat);
    let error = chat.send(&"x".repeat(50)).unwrap_err();
    assert!(matches!(error, Error::ContextFull { .. }));
    assert_eq!(told(&chat), before);
    let error = chat.edit(0, &"x".repeat(50)).unwrap_err();
    assert!(matches!(error, Error::ContextFull { .. }));
    assert_eq!(told(&chat), before);

    // A failure on the way keeps what was said, and the answer can be asked for again.
    spy.fail_at.store(spy.calls.load(SeqCst) + 2, SeqCst);
    chat.send("two").unwrap().finish().unwrap_err();
    assert_eq!(told(&chat).len(), before.len() + 2);
    let again = chat.regenerate().unwrap().text().unwrap();
    assert_eq!(
        told(&chat)[before.len()..],
        [(Role::User, "two".to_string()), (Role::Assistant, again)]
    );

    chat.session().close();
    assert!(matches!(chat.send("three"), Err(Error::Closed)));
    assert_eq!(told(&chat).len(), before.len() + 2);
}

#[test]
fn a_saved_chat_goes_on_as_if_nothing_had_happened() {
    let path = std::env::temp_dir().join(format!("dormouse-chat-{}.json", std::process::id()));
    let (mut first, _) = chat();
    first.set_system(Some("sys")).unwrap();
    first.send("one").unwrap().text().unwrap();
    first.save(&path).unwrap();
    let (mut second, _) = chat();
    second.send("to be replaced").unwrap().text().unwrap();
    second.load(&path).unwrap();
    assert_eq!(told(&second), told(&first));
    let ours = first.send("two").unwrap().text().unwrap();
    assert_eq!(second.send("two").unwrap().text().unwrap(), ours);

    std::fs::write(&path, "{").unwrap();
    let before = told(&second);
    assert!(matches!(second.load(&path), Err(Error::Io { .. })));
    assert_eq!(told(&second), before);
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(second.load(&path), Err(Error::Io { .. })));
}
