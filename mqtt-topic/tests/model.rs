//! Both tries against the obvious loop, under any sequence of changes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]
use mqtt_topic::{Cursor, HashSeed, Next, RetainedTrie, SubscriptionTrie, TopicFilter, TopicName};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Section 4.7 once more, level by level. v5 [MQTT-4.7.2-1], [X5-SUB-12], [X5-SUB-13]
fn obviously_matches(filter: &str, name: &str) -> bool {
    let filter: Vec<&str> = filter.split('/').collect();
    let name: Vec<&str> = name.split('/').collect();
    if name[0].starts_with('$') && ["+", "#"].contains(&filter[0]) {
        return false;
    }
    if let Some((&"#", parent)) = filter.split_last() {
        return name.len() >= parent.len() && parent.iter().zip(&name).all(|(f, n)| *f == "+" || f == n);
    }
    filter.len() == name.len() && filter.iter().zip(&name).all(|(f, n)| *f == "+" || f == n)
}

fn name() -> impl Strategy<Value = String> {
    let level = prop_oneof![4 => Just("a"), 3 => Just("b"), 1 => Just("a!"), 1 => Just("$"), 1 => Just(""), 1 => Just("longer-than-a-slot")];
    vec(level, 1..5).prop_map(|levels| levels.join("/")).prop_filter("a character", |name| !name.is_empty())
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![
        3 => Just("a"), 2 => Just("b"), 1 => Just("a!"), 1 => Just("$"), 1 => Just(""), 4 => Just("+"), 1 => Just("longer-than-a-slot"),
    ];
    (vec(level, 0..5), proptest::bool::weighted(0.3))
        .prop_map(|(mut levels, hash)| {
            if hash {
                levels.push("#");
            }
            levels.join("/")
        })
        .prop_filter("a character", |filter| !filter.is_empty())
}

/// Any text at all of the characters that matter.
fn anything() -> impl Strategy<Value = String> {
    "[ab$+#/]{0,6}"
}

#[derive(Clone, Debug)]
enum Change {
    Insert(String, u8, u16),
    Remove(String, u8),
    /// Takes out the nth of what is there.
    RemoveNth(usize),
    Lookup(String),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        5 => (filter(), 0..4_u8, any::<u16>()).prop_map(|(filter, key, value)| Change::Insert(filter, key, value)),
        2 => (filter(), 0..4_u8).prop_map(|(filter, key)| Change::Remove(filter, key)),
        3 => any::<usize>().prop_map(Change::RemoveNth),
        3 => name().prop_map(Change::Lookup),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn matching_agrees_with_the_obvious_loop(filter in filter(), name in name()) {
        let got = TopicFilter::new(&filter).unwrap().matches(TopicName::new(&name).unwrap());
        prop_assert_eq!(got, obviously_matches(&filter, &name));
    }

    #[test]
    fn the_grammar_is_that_of_the_levels(text in anything()) {
        let levels: Vec<&str> = text.split('/').collect();
        let good = !text.is_empty() && levels.iter().enumerate().all(|(place, level)| match *level {
            "+" => true,
            "#" => place + 1 == levels.len(),
            level => !level.contains(['+', '#']),
        });
        prop_assert_eq!(TopicFilter::new(&text).is_ok(), good);
        prop_assert_eq!(TopicName::new(&text).is_ok(), !text.is_empty() && !text.contains(['+', '#']));
    }

    #[test]
    fn a_subscription_trie_is_a_list_of_subscriptions(changes in vec(change(), 1..120)) {
        let mut trie = SubscriptionTrie::new(HashSeed::new(1, 2));
        let empty = trie.memory();
        let mut model = BTreeMap::<(String, u8), u16>::new();
        for change in changes {
            match change {
                Change::Insert(filter, key, value) => {
                    let old = trie.insert(TopicFilter::new(&filter).unwrap(), key, value);
                    prop_assert_eq!(old, Ok(model.insert((filter.clone(), key), value)));
                    prop_assert_eq!(trie.get(TopicFilter::new(&filter).unwrap(), key), Some(&value));
                }
                Change::Remove(filter, key) => {
                    let old = trie.remove(TopicFilter::new(&filter).unwrap(), key);
                    prop_assert_eq!(old, model.remove(&(filter, key)));
                }
                Change::RemoveNth(n) => {
                    let Some((filter, key)) = model.keys().nth(n % model.len().max(1)).cloned() else { continue };
                    let filter_ref = TopicFilter::new(&filter).unwrap();
                    prop_assert_eq!(trie.get_mut(filter_ref, key).copied(), model.get(&(filter.clone(), key)).copied());
                    prop_assert_eq!(trie.remove(filter_ref, key), model.remove(&(filter.clone(), key)));
                    prop_assert_eq!(trie.get(filter_ref, key), None);
                }
                Change::Lookup(name) => {
                    let mut found = Vec::new();
                    trie.lookup(TopicName::new(&name).unwrap(), |key, value| found.push((key, *value)));
                    let mut expected: Vec<(u8, u16)> = model.iter()
                        .filter(|((filter, _), _)| obviously_matches(filter, &name))
                        .map(|((_, key), value)| (*key, *value))
                        .collect();
                    found.sort_unstable();
                    expected.sort_unstable();
                    prop_assert_eq!(found, expected, "{}", name);
                }
            }
            prop_assert_eq!(trie.len(), model.len());
        }
        let mut told = BTreeMap::new();
        trie.for_each(|filter, key, value| {
            told.insert((filter.as_str().to_owned(), key), *value);
        });
        prop_assert_eq!(&told, &model);
        for (filter, key) in model.keys() {
            trie.remove(TopicFilter::new(filter).unwrap(), *key).unwrap();
        }
        prop_assert_eq!(trie.memory(), empty);
    }

    #[test]
    fn a_walk_finds_what_matches_once_and_in_order(
        names in proptest::collection::btree_set(name(), 0..60), filter in filter(), budget in 1..5_u32,
    ) {
        let mut trie = RetainedTrie::new();
        for name in &names {
            trie.insert(TopicName::new(name).unwrap(), name.clone());
        }
        let mut cursor = Cursor::new(TopicFilter::new(&filter).unwrap());
        let mut found = Vec::new();
        let mut steps = 0;
        loop {
            let mut left = budget;
            match trie.next(&mut cursor, &mut left) {
                Next::Found(name, value) => {
                    prop_assert_eq!(name.as_str(), value);
                    found.push(value.clone());
                }
                Next::OutOfBudget => prop_assert_eq!(left, 0),
                Next::Done => break,
            }
            steps += 1;
            prop_assert!(steps <= 3 * names.len() + 3, "the walk does not end");
        }
        let mut expected: Vec<String> = names.into_iter().filter(|name| obviously_matches(&filter, name)).collect();
        expected.sort_by_key(|name| name.split('/').map(str::to_owned).collect::<Vec<_>>());
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn a_walk_keeps_its_word_whatever_happens_in_between(
        names in proptest::collection::btree_set(name(), 0..40),
        filter in filter(),
        turns in vec((0..4_u32, vec((name(), any::<bool>()), 0..4)), 0..60),
    ) {
        let mut trie = RetainedTrie::new();
        for name in &names {
            trie.insert(TopicName::new(name).unwrap(), ());
        }
        let mut steadfast: BTreeSet<String> = names.iter().filter(|name| obviously_matches(&filter, name)).cloned().collect();
        let mut present: BTreeSet<String> = names;
        let mut found = BTreeSet::new();
        let mut cursor = Cursor::new(TopicFilter::new(&filter).unwrap());
        let mut turns = turns.into_iter();
        loop {
            // when the changes have run out the walk goes on alone
            let (mut budget, changes) = turns.next().unwrap_or((100, Vec::new()));
            match trie.next(&mut cursor, &mut budget) {
                Next::Found(name, ()) => {
                    let name = name.as_str().to_owned();
                    prop_assert!(obviously_matches(&filter, &name));
                    prop_assert!(present.contains(&name), "{} is not there", name);
                    prop_assert!(found.insert(name.clone()), "{} was found twice", name);
                }
                Next::OutOfBudget => {}
                Next::Done => break,
            }
            for (name, insert) in changes {
                if insert {
                    let old = trie.insert(TopicName::new(&name).unwrap(), ());
                    prop_assert_eq!(old.is_none(), present.insert(name));
                } else {
                    let old = trie.remove(TopicName::new(&name).unwrap());
                    prop_assert_eq!(old.is_some(), present.remove(&name));
                    steadfast.remove(&name);
                }
            }
        }
        for name in &steadfast {
            prop_assert!(found.contains(name), "{} was there all the time and not found", name);
        }
        prop_assert!(trie.iter().map(|(name, ())| name.as_str()).collect::<BTreeSet<_>>() == present.iter().map(String::as_str).collect());
    }
}

/// Names by the thousand lie in many chunks, so that a walk has to leap from one to the next.
#[test]
fn a_walk_over_thousands_of_names_misses_none_while_others_come_and_go() {
    let mut trie = RetainedTrie::new();
    let text = |site: u32, device: u32| format!("site/{site}/dev/{device}/temp");
    for site in 0..50 {
        for device in 0..200 {
            trie.insert(TopicName::new(&text(site, device)).unwrap(), (site, device));
        }
    }
    for (filter, expected) in
        [("site/+/dev/7/#", 50), ("site/7/+/+/temp", 200), ("#", 10_000), ("+/+/+/+/temp", 10_000), ("site/+", 0)]
    {
        let mut cursor = Cursor::new(TopicFilter::new(filter).unwrap());
        let (mut found, mut turn) = (BTreeSet::new(), 0_u32);
        loop {
            match trie.next(&mut cursor, &mut 7) {
                Next::Found(_, (site, device)) if *device < 200 => {
                    assert!(found.insert((*site, *device)))
                }
                Next::Found(..) | Next::OutOfBudget => {}
                Next::Done => break,
            }
            // a name comes and an earlier one goes, all over the place
            turn += 1;
            let strange = |turn: u32| text(turn * 7919 % 50, 200 + turn * 104_729 % 1000);
            trie.insert(TopicName::new(&strange(turn)).unwrap(), (turn * 7919 % 50, 200));
            if turn > 300 {
                trie.remove(TopicName::new(&strange(turn - 300)).unwrap());
            }
        }
        assert_eq!(found.len(), expected, "{filter}");
    }
}

#[test]
fn a_walk_that_matches_nothing_leaps_over_what_cannot_match() {
    let mut trie = RetainedTrie::new();
    for site in 0..20 {
        for device in 0..500 {
            trie.insert(TopicName::new(&format!("site/{site}/dev/{device}")).unwrap(), ());
        }
    }
    for n in 0..1000 {
        trie.insert(TopicName::new(&format!("$SYS/{n}")).unwrap(), ());
    }
    for (filter, most) in
        [("site/+/none", 45), ("site/3/none/#", 3), ("+/none", 5), ("zzz/#", 2), ("site/+/dev/none", 45)]
    {
        let mut budget = 1000;
        let mut cursor = Cursor::new(TopicFilter::new(filter).unwrap());
        assert!(matches!(trie.next(&mut cursor, &mut budget), Next::Done), "{filter}");
        assert!(1000 - budget <= most, "{filter} took {} steps", 1000 - budget);
        assert!(matches!(trie.next(&mut cursor, &mut 0), Next::Done), "done stays done");
    }
}

/// `{+,a}^12`, and `{+,a}^11/x`: the shapes on which a lookup has most to do.
fn shapes(levels: usize, last: &str) -> SubscriptionTrie<u32, ()> {
    let mut trie = SubscriptionTrie::new(HashSeed::new(1, 2));
    for shape in 0..1 << levels {
        let text: String = (0..levels).map(|bit| if shape >> bit & 1 == 0 { "+/" } else { "a/" }).collect();
        let text = if last.is_empty() { text.trim_end_matches('/').to_owned() } else { text + last };
        trie.insert(TopicFilter::new(&text).unwrap(), shape, ()).unwrap();
    }
    trie
}

fn visits(trie: &SubscriptionTrie<u32, ()>, name: &str) -> usize {
    trie.lookup_visits(TopicName::new(name).unwrap())
}

#[test]
fn a_name_that_is_too_shallow_or_too_deep_is_turned_away_at_once() {
    let mut trie = shapes(12, "");
    assert_eq!(visits(&trie, &["a"; 11].join("/")), 1);
    assert_eq!(visits(&trie, &["a"; 13].join("/")), 1);
    assert_eq!(visits(&trie, &["a"; 12].join("/")), (1 << 13) - 2); // all nodes; "a/a/.." is no wildcard filter

    // a deeper filter beside does not open the others' subtrees
    trie.insert(TopicFilter::new("b/+/+/+/+/+/+/+/+/+/+/+/+").unwrap(), 1, ()).unwrap();
    assert_eq!(visits(&trie, &["a"; 13].join("/")), 3);
    // one with `#` is open to every name that is deep enough, on its own way only
    trie.insert(TopicFilter::new("a/a/#").unwrap(), 1, ()).unwrap();
    assert!(visits(&trie, &["a"; 40].join("/")) <= 7);
    assert_eq!(visits(&trie, "a"), 1);
}

#[test]
fn what_is_removed_does_not_keep_subtrees_open() {
    let mut trie = shapes(8, "");
    let deep = TopicFilter::new("+/+/+/+/+/+/+/+/+/+").unwrap();
    let name = ["a"; 10].join("/");
    let before = visits(&trie, &name);
    for key in 0..1_000 {
        trie.insert(deep, key, ()).unwrap();
    }
    assert!(visits(&trie, &name) > before);
    for key in 0..1_000 {
        trie.remove(deep, key).unwrap();
    }
    // at the latest when half as many filters went as there are nodes
    let other = TopicFilter::new("c/+").unwrap();
    for _ in 0..300 {
        trie.insert(other, 1, ()).unwrap();
        trie.remove(other, 1).unwrap();
    }
    assert_eq!(visits(&trie, &name), before);
    assert_eq!(visits(&trie, &["a"; 8].join("/")), (1 << 9) - 2);
}

#[test]
fn the_worst_shape_costs_its_nodes_and_no_more() {
    let trie = shapes(11, "x");
    // every filter has the depth of the name, and each way ends one step before its last level
    assert_eq!(visits(&trie, &["a"; 12].join("/")), (1 << 12) - 2);
    assert_eq!(visits(&trie, &["a"; 11].join("/")), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_count_is_what_a_walk_finds(names in proptest::collection::btree_set(name(), 0..60), filter in filter()) {
        let mut trie = RetainedTrie::new();
        for name in &names {
            trie.insert(TopicName::new(name).unwrap(), ());
        }
        let expected = names.iter().filter(|name| obviously_matches(&filter, name)).count();
        let expected = (!filter.contains('+')).then_some(expected);
        prop_assert_eq!(trie.count(TopicFilter::new(&filter).unwrap()), expected);
    }
}
