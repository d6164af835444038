//! The places of special tokens, beside a search of the text for one token after the other.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::metrics::thread_cpu_time;

/// Cuts every token out of the text where it stands free, from the longest to the shortest.
fn one_by_one(
    vocabulary: &Vocabulary,
    strips: &Strips,
    text: &str,
    control: &impl Fn(Range<usize>) -> bool,
) -> Vec<Fragment> {
    let bytes = text.as_bytes();
    let piece = |id: u32| vocabulary.piece(id).as_bytes();
    let counts = |id: u32, range: Range<usize>| match vocabulary.kind(id) {
        Kind::UserDefined => true,
        Kind::Control | Kind::Unknown => control(range),
        _ => false,
    };
    let mut ids: Vec<u32> = (0..vocabulary.len() as u32).collect();
    ids.retain(|&id| !piece(id).is_empty());
    ids.sort_by_key(|&id| (Reverse(piece(id).len()), id));
    let mut owner = vec![None; bytes.len()];
    for &id in &ids {
        for at in 0..bytes.len() {
            let range = at..at + piece(id).len();
            let later = |&other: &u32| {
                other > id && piece(other) == piece(id) && counts(other, range.clone())
            };
            if !bytes[at..].starts_with(piece(id))
                || !counts(id, range.clone())
                || ids.iter().any(later)
                || owner[range.clone()].iter().any(Option::is_some)
            {
                continue;
            }
            let (mut start, mut end) = (range.start, range.end);
            let free = |at: usize| owner[at].is_none() && is_space(bytes[at]);
            while strips.before(id) && start > 0 && free(start - 1) {
                start -= 1;
            }
            while strips.after(id) && end < bytes.len() && free(end) {
                end += 1;
            }
            owner[start..end].fill(Some((start, end, id)));
        }
    }
    let mut fragments = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if let Some((_, end, id)) = owner[at] {
            fragments.push(Fragment::Token(id));
            at = end;
        } else {
            let free = owner[at..].iter().take_while(|owner| owner.is_none());
            let end = at + free.count();
            fragments.push(Fragment::Text(at..end));
            at = end;
        }
    }
    fragments
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::UserDefined),
        Just(Kind::Control),
        Just(Kind::Unknown),
        Just(Kind::Normal)
    ]
}

/// Few letters, so that pieces begin, end and are one another.
fn pieces() -> impl Strategy<Value = Vec<(String, Kind)>> {
    let letters = prop_oneof!["[ab ]{0,6}", "a{1,9}", "[aé]{1,4}"];
    prop::collection::vec((letters, kind()), 1..24)
}

fn ids() -> impl Strategy<Value = Vec<u32>> {
    let ids = prop::collection::btree_set(0u32..24, 0..8);
    ids.prop_map(|ids| ids.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn tokens_are_found_as_if_one_after_the_other(
        pieces in pieces(),
        text in prop_oneof!["[ab ]{0,24}", "a{0,40}", "[abé]{0,16}"],
        before in ids(),
        after in ids(),
        forbidden in prop::collection::btree_set(0usize..40, 0..4),
        none in any::<bool>(),
    ) {
        let vocabulary = Vocabulary::of(&pieces);
        let strips = || Strips::of(before.clone(), after.clone());
        let control = |range: Range<usize>| !none && forbidden.range(range).next().is_none();
        let expected = one_by_one(&vocabulary, &strips(), &text, &control);
        let specials = Specials::new(&vocabulary, strips()).unwrap();
        prop_assert_eq!(specials.partition(&vocabulary, &text, control), expected);

        let begins = |rest: &str| pieces.iter().any(|(piece, kind)| {
            matches!(kind, Kind::Control | Kind::Unknown)
                && !piece.is_empty()
                && (rest.starts_with(piece.as_str()) || piece.starts_with(rest))
        });
        let starts: Vec<usize> = text
            .char_indices()
            .map(|(at, _)| at)
            .filter(|&at| begins(&text[at..]))
            .collect();
        prop_assert_eq!(specials.control_starts(&vocabulary, &text), starts);
    }
}

/// However the pieces begin one another, and whichever of them count.
#[test]
fn a_long_text_takes_little_time_with_any_vocabulary() {
    let many = |make: &dyn Fn(usize) -> String, count: usize, kind| {
        let pieces: Vec<_> = (1..=count).map(|n| (make(n), kind)).collect();
        let vocabulary = Vocabulary::of(&pieces);
        let specials = Specials::new(&vocabulary, Strips::default()).unwrap();
        (vocabulary, specials)
    };
    let a = |n: usize| "a".repeat(n);
    let text = a(100_000);
    let mixed = format!("{}b", a(999)).repeat(100);
    let chained = (a(2000) + &"b".repeat(3000)).repeat(20);
    for (what, text, (vocabulary, specials), control) in [
        ("a, aa, ...", &text, many(&a, 3000, Kind::UserDefined), true),
        ("control", &text, many(&a, 3000, Kind::Control), true),
        ("none of them", &text, many(&a, 3000, Kind::Control), false),
        (
            "all but the end",
            &text,
            many(&|n| a(n + 8000) + "b", 2000, Kind::UserDefined),
            true,
        ),
        (
            "blocked by others",
            &chained,
            many(
                &|n| match n {
                    2000.. => "b".repeat(3000),
                    n => a(n) + &"b".repeat(999),
                },
                2000,
                Kind::UserDefined,
            ),
            true,
        ),
        (
            "ends",
            &mixed,
            many(&|n| a(n) + "b", 3000, Kind::UserDefined),
            true,
        ),
    ] {
        let begun = thread_cpu_time();
        let fragments = specials.partition(&vocabulary, text, |_| control);
        let starts = specials.control_starts(&vocabulary, text);
        let took = thread_cpu_time() - begun;
        println!(
            "{what}: {took:?}, {} parts, {}",
            fragments.len(),
            starts.len()
        );
        assert!(took < Duration::from_secs(1), "{what}: {took:?}");
        assert!(!fragments.is_empty());
    }
}

#[test]
fn endless_special_tokens_are_refused() {
    let of_length = |len| Vocabulary::of(&[("a".repeat(len), Kind::Control)]);
    let build = |len| Specials::new(&of_length(len), Strips::default());
    assert!(build(16 << 10).is_ok());
    let error = build((16 << 10) + 1).err().unwrap().to_string();
    assert!(
        error.contains("piece 0") && error.contains("16385 bytes"),
        "{error}"
    );
}
