//! Both tries are what they say: a list of subscriptions and a map of names, whatever is done to them in any order.
//!
//! The input is lines, one step each: a letter, a digit that is the key or the budget, and a filter or a name.
#![no_main]
use libfuzzer_sys::fuzz_target;
use mqtt_topic::{Cursor, HashSeed, Next, RetainedTrie, SubscriptionTrie, TopicFilter, TopicName};
use std::collections::{BTreeMap, BTreeSet};

mod naive;

fuzz_target!(|data: &[u8]| {
    let (mut subscriptions, mut names) = (Subscriptions::new(), Names::new());
    for line in data.split(|&byte| byte == b'\n').take(400) {
        let [step, digit, text @ ..] = line else { continue };
        let text = text.get(..text.len().min(200)).unwrap_or_default();
        let (filter, name) = (TopicFilter::from_bytes(text), TopicName::from_bytes(text));
        match (step, filter, name) {
            (b'i', Ok(filter), _) => subscriptions.insert(filter, digit % 4),
            (b'r', Ok(filter), _) => subscriptions.remove(filter, digit % 4),
            (b'x', ..) => subscriptions.remove_nth(usize::from(*digit)),
            (b'l', _, Ok(name)) => subscriptions.lookup(name),
            (b'k', _, Ok(name)) => names.insert(name),
            (b'd', _, Ok(name)) => names.remove(name),
            (b'y', ..) => names.remove_nth(usize::from(*digit)),
            (b'c', Ok(filter), _) => names.start(filter),
            (b'n', ..) => names.step(usize::from(*digit) / 8, u32::from(digit % 8)),
            (b'#', Ok(filter), _) => names.count(filter),
            _ => {}
        }
    }
    subscriptions.end();
    names.end();
});

struct Subscriptions {
    trie: SubscriptionTrie<u8, u32>,
    empty: usize,
    model: BTreeMap<(String, u8), u32>,
    steps: u32,
}

impl Subscriptions {
    fn new() -> Self {
        let trie = SubscriptionTrie::new(HashSeed::new(1, 2));
        Self { empty: trie.memory(), trie, model: BTreeMap::new(), steps: 0 }
    }

    fn insert(&mut self, filter: TopicFilter<'_>, key: u8) {
        self.steps += 1;
        let old = self.trie.insert(filter, key, self.steps);
        assert_eq!(old, Ok(self.model.insert((filter.as_str().to_owned(), key), self.steps)));
        assert_eq!(self.trie.get(filter, key), Some(&self.steps));
        assert_eq!(self.trie.len(), self.model.len());
    }

    fn remove(&mut self, filter: TopicFilter<'_>, key: u8) {
        let value = self.model.remove(&(filter.as_str().to_owned(), key));
        assert_eq!(self.trie.remove(filter, key), value);
        assert_eq!(self.trie.get(filter, key), None);
    }

    fn remove_nth(&mut self, n: usize) {
        let Some((filter, key)) = self.model.keys().nth(n % self.model.len().max(1)).cloned() else { return };
        self.remove(TopicFilter::new(&filter).unwrap(), key);
    }

    fn lookup(&self, name: TopicName<'_>) {
        let mut found = Vec::new();
        self.trie.lookup(name, |key, value| found.push((key, *value)));
        found.sort_unstable();
        let matching = self.model.iter().filter(|((filter, _), _)| naive::matches(filter, name.as_str()));
        let mut expected: Vec<(u8, u32)> = matching.map(|((_, key), value)| (*key, *value)).collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "{name}");
        // no node twice: each filter has at most as many as it has levels, and there is the root
        let nodes: usize = self.model.keys().map(|(filter, _)| filter.split('/').count()).sum();
        assert!(self.trie.lookup_visits(name) <= nodes + 1);
    }

    fn end(mut self) {
        let mut told = BTreeMap::new();
        self.trie.for_each(|filter, key, value| {
            assert_eq!(told.insert((filter.as_str().to_owned(), key), *value), None);
        });
        assert_eq!(told, self.model);
        while !self.model.is_empty() {
            self.remove_nth(7);
        }
        assert_eq!(self.trie.memory(), self.empty);
    }
}

struct Names {
    trie: RetainedTrie<()>,
    model: BTreeSet<Vec<String>>,
    walks: Vec<Walk>,
}

/// A cursor, and what it has promised.
struct Walk {
    cursor: Cursor,
    filter: String,
    /// Matching names that have been there since the start.
    steadfast: BTreeSet<Vec<String>>,
    found: BTreeSet<Vec<String>>,
}

fn levels(name: &str) -> Vec<String> {
    name.split('/').map(str::to_owned).collect()
}

impl Names {
    fn new() -> Self {
        Self { trie: RetainedTrie::new(), model: BTreeSet::new(), walks: Vec::new() }
    }

    fn insert(&mut self, name: TopicName<'_>) {
        let is_new = self.model.insert(levels(name.as_str()));
        assert_eq!(self.trie.insert(name, ()).is_none(), is_new);
        assert_eq!(self.trie.len(), self.model.len());
    }

    fn remove(&mut self, name: TopicName<'_>) {
        let name_levels = levels(name.as_str());
        assert_eq!(self.trie.remove(name).is_some(), self.model.remove(&name_levels));
        for walk in &mut self.walks {
            walk.steadfast.remove(&name_levels);
        }
    }

    fn remove_nth(&mut self, n: usize) {
        let Some(name) = self.model.iter().nth(n % self.model.len().max(1)).map(|name| name.join("/")) else { return };
        self.remove(TopicName::new(&name).unwrap());
    }

    fn matching(&self, filter: &str) -> BTreeSet<Vec<String>> {
        self.model.iter().filter(|name| naive::matches(filter, &name.join("/"))).cloned().collect()
    }

    fn start(&mut self, filter: TopicFilter<'_>) {
        if self.walks.len() < 8 {
            let steadfast = self.matching(filter.as_str());
            let filter_text = filter.as_str().to_owned();
            self.walks.push(Walk {
                cursor: Cursor::new(filter),
                filter: filter_text,
                steadfast,
                found: BTreeSet::new(),
            });
        }
    }

    fn step(&mut self, nth: usize, mut budget: u32) {
        let place = nth % self.walks.len().max(1);
        let Some(walk) = self.walks.get_mut(place) else { return };
        match self.trie.next(&mut walk.cursor, &mut budget) {
            Next::Found(name, ()) => {
                let name_levels = levels(name.as_str());
                assert!(naive::matches(&walk.filter, name.as_str()) && self.model.contains(&name_levels));
                assert!(walk.found.last().is_none_or(|last| *last < name_levels), "in order, and none twice");
                walk.found.insert(name_levels);
            }
            Next::OutOfBudget => assert_eq!(budget, 0),
            Next::Done => {
                assert!(walk.steadfast.is_subset(&walk.found), "one was there all the time and not found");
                self.walks.remove(place);
            }
        }
    }

    fn count(&self, filter: TopicFilter<'_>) {
        let expected = (!filter.as_str().contains('+')).then(|| self.matching(filter.as_str()).len());
        assert_eq!(self.trie.count(filter), expected);
    }

    fn end(mut self) {
        assert!(self.trie.iter().map(|(name, ())| levels(name.as_str())).eq(self.model.iter().cloned()));
        while !self.walks.is_empty() {
            self.step(0, 7);
        }
        while !self.model.is_empty() {
            self.remove_nth(5);
        }
        assert!(self.trie.is_empty());
    }
}
