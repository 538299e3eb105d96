//! Class S3: names and filters of 32,768 levels go through everything on a stack of 256 KiB.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]
use mqtt_topic::{Cursor, FilterLevel, HashSeed, Next, RetainedTrie, SubscriptionTrie, TopicFilter, TopicName};

fn on_a_small_stack(story: fn()) {
    std::thread::Builder::new().stack_size(256 * 1024).spawn(story).unwrap().join().unwrap();
}

/// 32,768 levels in 65,535 bytes.
fn deep(level: &str, last: &str) -> String {
    level.repeat(32_767) + last
}

#[test]
fn a_subscription_of_32768_levels_comes_matches_and_goes() {
    on_a_small_stack(|| {
        let texts = [deep("a/", "a"), deep("+/", "+"), deep("a/", "#"), deep("+/", "#"), deep("/", "a")];
        let filters = texts.each_ref().map(|text| TopicFilter::new(text).unwrap());
        let name = deep("a/", "a");
        let name = TopicName::new(&name).unwrap();
        assert_eq!(filters[2].levels().count(), 32_768);
        assert_eq!(filters[2].levels().last(), Some(FilterLevel::Hash));

        let mut trie = SubscriptionTrie::new(HashSeed::new(1, 2));
        let empty = trie.memory();
        for (key, filter) in filters.iter().enumerate() {
            assert_eq!(trie.insert(*filter, key, ()), Ok(None));
            assert_eq!(trie.get(*filter, key), Some(&()));
        }
        let mut found = Vec::new();
        trie.lookup(name, |key, ()| found.push(key));
        found.sort_unstable();
        assert_eq!(found, [0, 1, 2, 3]);
        for (key, filter) in filters.iter().enumerate() {
            assert_eq!(filter.matches(name), found.contains(&key));
        }
        let mut told = 0;
        trie.for_each(|filter, key, ()| {
            assert_eq!(filter, filters[key]);
            told += 1;
        });
        assert_eq!(told, 5);

        for (key, filter) in filters.iter().enumerate() {
            assert_eq!(trie.remove(*filter, key), Some(()));
        }
        assert_eq!(trie.memory(), empty);
        // and a full one is dropped
        for (key, filter) in filters.iter().enumerate() {
            trie.insert(*filter, key, ()).unwrap();
        }
        drop(trie);
    });
}

#[test]
fn a_retained_name_of_32768_levels_comes_is_walked_and_goes() {
    on_a_small_stack(|| {
        let names = [deep("a/", "a"), deep("a/", "b"), deep("b/", "a")];
        let names = names.each_ref().map(|name| TopicName::new(name).unwrap());
        let mut trie = RetainedTrie::new();
        for (value, name) in names.iter().enumerate() {
            assert_eq!(trie.insert(*name, value), None);
        }
        for (filter, expected) in
            [(deep("+/", "a"), vec![0, 2]), (deep("a/", "+"), vec![0, 1]), ("#".into(), vec![0, 1, 2])]
        {
            let mut cursor = Cursor::new(TopicFilter::new(&filter).unwrap());
            let mut found = Vec::new();
            while let Next::Found(name, value) = trie.next(&mut cursor, &mut 100) {
                assert_eq!(name, names[*value]);
                found.push(*value);
            }
            assert_eq!(found, expected);
        }
        assert_eq!(trie.remove(names[1]), Some(1));
        assert_eq!((trie.get(names[0]), trie.get(names[1])), (Some(&0), None));
        drop(trie);
    });
}
