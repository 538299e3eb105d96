//! 10,000 lookups for an instruction counter: `cargo bench --bench instructions -- FILTERS` under
//! `valgrind --tool=callgrind --toggle-collect='*lookups*'`; `.ci/callgrind-topic` does it for a thousand and a million.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]
use mqtt_topic::{HashSeed, SubscriptionTrie, TopicFilter, TopicName};
use workload::Random;

mod workload;

/// How many filters match each name, whatever there is besides.
const HITS: u64 = 8;

fn main() {
    let count = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(1_000_u64);
    let mut trie = SubscriptionTrie::new(HashSeed::new(1, 2));
    // each group has the shapes of the other benches, and the same hits in a small trie as in a large one
    let groups = count / HITS;
    for group in 0..groups {
        let (site, device) = (group % 50, group / 50);
        let filters = [
            format!("site/{site}/dev/{device}/temp"),
            format!("site/+/dev/{device}/temp"),
            format!("site/{site}/dev/{device}/+"),
            format!("site/{site}/dev/{device}/#"),
        ];
        let text = |n: u64| filters.get(n as usize % 4).unwrap();
        // "site/+/dev/M/temp" matches the names of all 50 sites, so it comes once for 50
        let key = group * HITS;
        for entry in 0..HITS {
            let (filter, subscriber) = if entry % 4 == 1 { (text(1), entry) } else { (text(entry), key + entry) };
            trie.insert(TopicFilter::new(filter).unwrap(), subscriber, 0_u64).unwrap();
        }
    }
    let mut random = Random(2);
    let names: Vec<String> = (0..10_000)
        .map(|_| {
            let group = random.below(groups);
            format!("site/{}/dev/{}/temp", group % 50, group / 50)
        })
        .collect();
    let names: Vec<_> = names.iter().map(|name| TopicName::new(name).unwrap()).collect();
    let hits = lookups(&trie, &names);
    println!("{} filters' entries, {} names, {hits} hits", trie.len(), names.len());
}

#[inline(never)]
fn lookups(trie: &SubscriptionTrie<u64, u64>, names: &[TopicName<'_>]) -> u64 {
    let mut hits = 0;
    for name in names {
        trie.lookup(*name, |_, _| hits += 1);
    }
    hits
}
