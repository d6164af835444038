//! Long conversations: what an honest template takes for them, it gets, and a hostile one little
//! more.

use std::time::Duration;

use dormouse::Error;
use dormouse::template::{ChatTemplate, Message, RenderOptions};

use crate::often;
use crate::spent::spent;

/// What a conversation of so many messages gives, the time and the bytes that it took.
fn of_messages(count: usize, source: &str) -> (Result<String, Error>, Duration, usize) {
    let template = ChatTemplate::new(source, "", "").unwrap();
    let messages: Vec<Message> = (0..count)
        .map(|turn| Message::user(format!("message {turn}")))
        .collect();
    spent(move || template.render(&messages, &RenderOptions::default()))
}

#[test]
fn a_template_may_walk_all_messages_for_each() {
    let walks = "{% for m in messages %}{% set ns = namespace(found=0) %}\
        {% for other in messages %}{% if other.content == m.content %}\
        {% set ns.found = loop.index %}{% endif %}{% endfor %}{{ ns.found }} {% endfor %}";
    let after = "{% for m in messages %}{{ messages[loop.index0:]|length }} {% endfor %}";
    let forward: String = (1..=500).map(|n| format!("{n} ")).collect();
    let backward: String = (1..=500).rev().map(|n| format!("{n} ")).collect();
    for (source, expected) in [(walks, forward), (after, backward)] {
        assert_eq!(of_messages(500, source).0.unwrap(), expected);
    }
}

#[test]
fn a_long_conversation_gives_a_hostile_template_bounded_time_and_memory() {
    let slow = if cfg!(debug_assertions) { 10 } else { 1 };
    let endless = "{% for i in range(10000) %}{% for j in range(10000) %}x{% endfor %}{% endfor %}";
    let grows = "{% set ns = namespace(s=['aaaaaaaa']) %}{% for i in range(10000) %}\
        {% set ns.s = ns.s + [ns.s[-1] ~ 'aaaaaaaa' * 64] %}{% endfor %}";
    let doubles = "{% set ns = namespace(s=['aaaaaaaa']) %}{% for i in range(10000) %}\
        {% set ns.s = ns.s + [ns.s[-1] ~ ns.s[-1]] %}{% endfor %}";
    for source in [
        endless.to_owned(),
        often("{% set x = messages|tojson %}"),
        grows.into(),
        doubles.into(),
    ] {
        // The budget stops growing, so twice as many messages take not much more.
        for count in [500, 1000, 2000] {
            let (result, took, bytes) = of_messages(count, &source);
            assert!(
                matches!(result, Err(Error::Template { .. })),
                "{source:.80}"
            );
            assert!(
                took < Duration::from_millis(2000) * slow,
                "{took:?}: {source:.80}"
            );
            assert!(bytes < 1 << 30, "{bytes}: {source:.80}");
        }
    }
}
