//! `covers` and `overlaps` against brute force over all names of a small alphabet.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]
use mqtt_topic::{LimitErrorKind, TopicFilter, TopicLimits, TopicName};

/// All texts of up to `depth` levels out of `levels`.
fn texts(levels: &[&str], depth: usize) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut last: Vec<String> = levels.iter().map(|&level| level.to_owned()).collect();
    for _ in 1..depth {
        let next = last.iter().flat_map(|text| levels.iter().map(move |level| format!("{text}/{level}"))).collect();
        all.append(&mut last);
        last = next;
    }
    all.append(&mut last);
    all.retain(|text| !text.is_empty());
    all
}

/// All filters of up to three levels: an empty one, two texts, one with `$`, and the wildcards.
fn filters() -> Vec<String> {
    let mut all = texts(&["", "a", "b", "$a", "+"], 2);
    let parents = all.clone();
    all.extend(texts(&["", "a", "+"], 3));
    all.push("#".to_owned());
    all.push("/#".to_owned());
    all.extend(parents.iter().map(|parent| format!("{parent}/#")));
    all.sort();
    all.dedup();
    all
}

#[test]
fn covers_and_overlaps_agree_with_all_names_there_are() {
    // one level deeper than the filters, and with a text that no filter knows: so each filter's limits show
    let names = texts(&["", "a", "b", "$a", "z"], 4);
    let names: Vec<TopicName> = names.iter().map(|name| TopicName::new(name).unwrap()).collect();
    let filters = filters();
    let filters: Vec<TopicFilter> = filters.iter().map(|filter| TopicFilter::new(filter).unwrap()).collect();
    let matched: Vec<Vec<bool>> =
        filters.iter().map(|filter| names.iter().map(|name| filter.matches(*name)).collect()).collect();
    let (mut covered, mut overlapping) = (0, 0);
    for (a, by_a) in filters.iter().zip(&matched) {
        for (b, by_b) in filters.iter().zip(&matched) {
            let covers = by_a.iter().zip(by_b).all(|(a, b)| *a || !*b);
            let overlaps = by_a.iter().zip(by_b).any(|(a, b)| *a && *b);
            assert_eq!(a.covers(*b), covers, "{a} covers {b}");
            assert_eq!(a.overlaps(*b), overlaps, "{a} overlaps {b}");
            covered += usize::from(covers);
            overlapping += usize::from(overlaps);
        }
    }
    assert!(filters.len() > 80 && covered > 3 * filters.len() && overlapping > covered);
}

#[test]
fn the_cases_that_are_easily_wrong() {
    let filter = |text| TopicFilter::new(text).unwrap();
    for (a, b, covers, overlaps) in [
        ("#", "$SYS/#", false, false), // v5 [MQTT-4.7.2-1], v4 [MQTT-4.7.2-1]
        ("$SYS/#", "#", false, false),
        ("+/#", "#", true, true), // no name is without a level
        ("#", "+/#", true, true),
        ("+", "/#", false, false), // nor is one empty: v5 [MQTT-4.7.3-1], v4 [MQTT-4.7.3-1]
        ("+/+/#", "/#", true, true),
        ("a/+/#", "a/#", false, true), // "a" [X5-SUB-12]
        ("a/#", "a", true, true),
        ("a", "a/#", false, true),
        ("a/+", "a", false, false),
        ("a/+", "a/", true, true), // [X5-SUB-13]
        ("a/+/c", "a/b/+", false, true),
        ("+/a", "$SYS/a", false, false),
        ("$share/g/#", "$share/g/a", true, true), // as they stand
        ("$share/g/#", "a", false, false),
        ("#", "$share/g/a", false, false),
    ] {
        assert_eq!(filter(a).covers(filter(b)), covers, "{a} covers {b}");
        assert_eq!(filter(a).overlaps(filter(b)), overlaps, "{a} overlaps {b}");
        assert_eq!(filter(b).overlaps(filter(a)), overlaps, "{b} overlaps {a}");
    }
}

#[test]
fn filters_of_32768_levels_are_compared_level_by_level() {
    let (plus, text, hash) = ("+/".repeat(32_767) + "+", "a/".repeat(32_767) + "a", "a/".repeat(32_767) + "#");
    let [plus, text, hash] = [&plus, &text, &hash].map(|filter| TopicFilter::new(filter).unwrap());
    assert!(plus.covers(text) && !text.covers(plus) && plus.overlaps(text));
    assert!(hash.covers(text) && !plus.covers(hash) && plus.overlaps(hash));
}

#[test]
fn limits_say_at_which_byte_they_are_passed() {
    for (bytes, levels, text, expected) in [
        (5, 9, "a/b/c", None),
        (4, 9, "a/b/c", Some((LimitErrorKind::Bytes, 4))),
        (9, 3, "a/b/c", None),
        (9, 2, "a/b/c", Some((LimitErrorKind::Levels, 3))),
        (9, 1, "a/b/c", Some((LimitErrorKind::Levels, 1))),
        (9, 0, "a/b/c", Some((LimitErrorKind::Levels, 0))),
        (9, 1, "abc", None),
        (9, 1, "/", Some((LimitErrorKind::Levels, 0))),
        (9, 2, "//", Some((LimitErrorKind::Levels, 1))),
        (2, 1, "a/b", Some((LimitErrorKind::Bytes, 2))),
        (0, 0, "a", Some((LimitErrorKind::Bytes, 0))),
    ] {
        let limits = TopicLimits::new(bytes, levels);
        let fault = |got: Result<(), mqtt_topic::LimitError>| got.err().map(|error| (error.kind, error.offset));
        assert_eq!(fault(TopicName::new(text).unwrap().within(limits)), expected, "{text}");
        assert_eq!(fault(TopicFilter::new(text).unwrap().within(limits)), expected, "{text}");
    }
    let deepest = "/".repeat(65_535);
    assert_eq!(TopicName::new(&deepest).unwrap().within(TopicLimits::default()), Ok(()));
}
