//! The tables under `vectors/`: the grammar of names and filters, and which match which.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]
use mqtt_topic::{Cursor, FilterError, HashSeed, Next, RetainedTrie, SubscriptionTrie, TopicFilter, TopicName};

/// The rows of a table, each split into columns, with its line number.
fn rows(table: &'static str) -> impl Iterator<Item = (usize, Vec<Vec<u8>>)> {
    table
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with(';'))
        .map(|(number, line)| (number + 1, line.split('|').map(|column| bytes(column.trim())).collect()))
}

/// `\s` is a space, `\xNN` a byte, `{3*a}` is aaa.
fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let mut length = next.len_utf8();
        if let Some(escape) = rest.strip_prefix("\\x") {
            out.push(u8::from_str_radix(&escape[..2], 16).unwrap());
            length = 4;
        } else if rest.starts_with("\\s") {
            out.push(b' ');
            length = 2;
        } else if next == '{' {
            length = rest.find('}').unwrap() + 1;
            let (count, what) = rest[1..length - 1].split_once('*').unwrap();
            out.extend_from_slice(what.repeat(count.parse().unwrap()).as_bytes());
        } else {
            out.extend_from_slice(&rest.as_bytes()[..length]);
        }
        rest = &rest[length..];
    }
    out
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn names_obey_the_grammar() {
    let mut count = 0;
    for (line, row) in rows(include_str!("vectors/name.txt")) {
        let got = match TopicName::from_bytes(&row[0]) {
            Ok(name) => {
                assert_eq!(name.as_bytes(), row[0], "line {line}");
                assert_eq!(name.as_str().as_bytes(), row[0], "line {line}");
                assert!(TopicFilter::from_bytes(&row[0]).is_ok(), "line {line}: a name is a filter too");
                "ok".to_owned()
            }
            Err(error) => format!("{:?} @ {}", error.kind, error.offset),
        };
        assert_eq!(got, text(&row[1]), "name.txt line {line}");
        count += 1;
    }
    assert!(count >= 50, "{count} rows");
}

#[test]
fn filters_obey_the_grammar() {
    let fault = |error: FilterError| format!("{:?} @ {}", error.kind, error.offset);
    let mut count = 0;
    for (line, row) in rows(include_str!("vectors/filter.txt")) {
        let (got, shared) = match TopicFilter::from_bytes(&row[0]) {
            Ok(filter) => {
                assert_eq!(filter.as_str().as_bytes(), row[0], "line {line}");
                let shared = match filter.shared() {
                    Ok(None) => "-".to_owned(),
                    Ok(Some(shared)) => {
                        // the whole text is the identity, and the filter inside is a filter by itself
                        assert_eq!(shared.text(), filter, "line {line}");
                        assert_eq!(TopicFilter::from_bytes(shared.filter().as_bytes()), Ok(shared.filter()));
                        format!("{} {}", text(shared.group()), shared.filter())
                    }
                    Err(error) => fault(error),
                };
                ("ok".to_owned(), shared)
            }
            Err(error) => (fault(error), "-".to_owned()),
        };
        assert_eq!(got, text(&row[1]), "filter.txt line {line}");
        assert_eq!(shared, text(&row[2]), "filter.txt line {line}, as a shared filter");
        count += 1;
    }
    assert!(count >= 150, "{count} rows");
}

#[test]
fn every_way_to_match_gives_the_answer_of_the_table() {
    let mut count = 0;
    for (line, row) in rows(include_str!("vectors/match.txt")) {
        let filter = TopicFilter::from_bytes(&row[0]).unwrap_or_else(|error| panic!("line {line}: {error}"));
        let name = TopicName::from_bytes(&row[1]).unwrap_or_else(|error| panic!("line {line}: {error}"));
        let expected = match &*text(&row[2]) {
            "yes" => true,
            "no" => false,
            other => panic!("match.txt line {line}: {other}"),
        };
        assert_eq!(filter.matches(name), expected, "match.txt line {line}");
        assert_eq!(in_a_subscription_trie(filter, name), expected, "match.txt line {line}, subscription trie");
        assert_eq!(in_a_retained_trie(filter, name), expected, "match.txt line {line}, retained trie");
        count += 1;
    }
    assert!(count >= 300, "{count} rows");
}

// What a server sends is what the filter matches: v5 [MQTT-3.3.2-3], v4 [MQTT-3.3.2-3].
fn in_a_subscription_trie(filter: TopicFilter<'_>, name: TopicName<'_>) -> bool {
    let mut trie = SubscriptionTrie::new(HashSeed::new(1, 2));
    trie.insert(filter, 1, ()).unwrap();
    let mut found = 0;
    trie.lookup(name, |_, ()| found += 1);
    assert!(found <= 1);
    found == 1
}

fn in_a_retained_trie(filter: TopicFilter<'_>, name: TopicName<'_>) -> bool {
    let mut trie = RetainedTrie::new();
    trie.insert(name, ());
    match trie.next(&mut Cursor::new(filter), &mut 10) {
        Next::Found(found, ()) => found == name,
        Next::Done => false,
        Next::OutOfBudget => panic!("one name takes no ten steps"),
    }
}

#[test]
fn inside_a_shared_filter_the_dollar_rule_holds_for_the_filter_inside() {
    // v5 [MQTT-4.7.2-1]
    for inner in ["#", "+/x", "+/#"] {
        let text = format!("$share/g/{inner}");
        let shared = TopicFilter::new(&text).unwrap().shared().unwrap().unwrap();
        assert!(!shared.filter().matches(TopicName::new("$SYS/x").unwrap()), "{inner}");
        assert!(shared.filter().matches(TopicName::new("SYS/x").unwrap()), "{inner}");
    }
}

#[test]
fn a_subscription_is_known_to_be_shared_before_its_options_are_judged() {
    // v5 [MQTT-3.8.3-4]: No Local on a shared subscription is an error; this is how its decoder tells.
    assert!(TopicFilter::new("$share/g/a").unwrap().shared().unwrap().is_some());
    assert!(TopicFilter::new("g/a").unwrap().shared().unwrap().is_none());
    assert!(TopicFilter::new("$share/g").unwrap().shared().is_err());
}

#[test]
fn two_shared_filters_are_the_same_by_their_whole_text() {
    let shared = |text| TopicFilter::new(text).unwrap().shared().unwrap().unwrap();
    assert_eq!(shared("$share/g/a"), shared("$share/g/a"));
    assert_ne!(shared("$share/g/a"), shared("$share/h/a"));
    assert_ne!(shared("$share/g/a"), shared("$share/g/b"));
}

#[test]
fn a_server_without_wildcards_can_tell_which_filters_to_refuse() {
    // v4 [MQTT-3.8.3-2]
    for (filter, wild) in [("a/#", true), ("+/a", true), ("#", true), ("a/b", false), ("$share/g/a", false)] {
        assert_eq!(TopicFilter::new(filter).unwrap().has_wildcard(), wild, "{filter}");
    }
}

#[test]
fn unsubscribing_goes_by_the_text_and_not_by_what_would_match() {
    // v5 [MQTT-3.10.4-1], v4 [MQTT-3.10.4-1]
    let filter = |text| TopicFilter::new(text).unwrap();
    let mut trie = SubscriptionTrie::new(HashSeed::new(1, 2));
    trie.insert(filter("a/+"), 7, "options").unwrap();
    for other in ["a/b", "a/#", "+/+", "a", "a/+/", "#", "A/+"] {
        assert_eq!(trie.remove(filter(other), 7), None, "{other}");
    }
    assert_eq!(trie.remove(filter("a/+"), 8), None);
    assert_eq!(trie.len(), 1);
    assert_eq!(trie.remove(filter("a/+"), 7), Some("options"));
    assert!(trie.is_empty());
}

#[test]
fn an_error_reads_like_a_sentence() {
    let error = TopicFilter::new("a/b#").unwrap_err();
    assert_eq!(error.to_string(), "'#' must be the whole last level of a topic filter (at byte 3)");
    let error = TopicName::new("a/+").unwrap_err();
    assert_eq!(error.to_string(), "a topic name must not hold a wildcard, '+' or '#' (at byte 2)");
    let error = mqtt_topic::check_text(b"a\xFF").unwrap_err();
    assert_eq!(error.to_string(), "the string is not well-formed UTF-8 (at byte 1)");
}

#[test]
fn levels_come_one_by_one_and_empty_ones_too() {
    // [X5-SUB-13]
    let levels = |text| TopicName::new(text).unwrap().levels().map(<[u8]>::to_vec).collect::<Vec<_>>();
    assert_eq!(levels("/a"), [&b""[..], b"a"]);
    assert_eq!(levels("a//b"), [&b"a"[..], b"", b"b"]);
    assert_eq!(levels("/"), [b"", b""]);
    assert_eq!(levels("a"), [b"a"]);
}
