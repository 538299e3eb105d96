//! What a string check, a match, a lookup and a walk over retained names cost.
#![allow(clippy::unwrap_used, missing_docs)]
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use mqtt_topic::{Cursor, HashSeed, Next, RetainedTrie, SubscriptionTrie, TopicFilter, TopicName};
use std::hint::black_box;
use workload::{filters, names, plus_or_a};

mod workload;

fn strings(c: &mut Criterion) {
    let mut group = c.benchmark_group("string");
    let topic = b"site/17/dev/1234/temp".as_slice();
    group.bench_function("check a name of 21 bytes", |b| {
        b.iter(|| TopicName::from_bytes(black_box(topic)).is_ok());
    });
    let long = [b'a'; 1024];
    group.bench_function("check a name of 1,024 bytes", |b| {
        b.iter(|| TopicName::from_bytes(black_box(&long)).is_ok());
    });
    group.bench_function("check a name of 12 bytes that is not ASCII", |b| {
        b.iter(|| TopicName::from_bytes(black_box("k\u{fc}che/temper".as_bytes())).is_ok());
    });
    for filter in ["site/17/dev/1234/temp", "site/+/dev/1234/#", "a/+"] {
        group.bench_function(format!("check filter {filter}"), |b| {
            b.iter(|| TopicFilter::from_bytes(black_box(filter.as_bytes())).is_ok());
        });
    }
    let (filters, names) = (filters(1_000), names(1_000));
    let filters: Vec<_> = filters.iter().map(|text| TopicFilter::new(text).unwrap()).collect();
    let name = TopicName::new(names.first().unwrap()).unwrap();
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("1,000 filters against one name", |b| {
        b.iter(|| filters.iter().filter(|filter| filter.matches(black_box(name))).count());
    });
    group.finish();
}

fn subscriptions(c: &mut Criterion) {
    let mut group = c.benchmark_group("subscriptions");
    for count in [1_000, 100_000, 1_000_000] {
        let (filters, names) = (filters(count), names(count));
        let filters: Vec<_> = filters.iter().map(|text| TopicFilter::new(text).unwrap()).collect();
        let names: Vec<_> = names.iter().map(|text| TopicName::new(text).unwrap()).collect();
        let mut trie = SubscriptionTrie::new(HashSeed::new(1, 2));
        for (key, filter) in filters.iter().enumerate() {
            trie.insert(*filter, key as u64, 0_u64).unwrap();
        }
        let mut hits = 0;
        names.iter().for_each(|name| trie.lookup(*name, |_, _| hits += 1));
        println!("{count} filters: {} bytes each, {} hits a name", trie.memory() as u64 / count, hits / names.len());
        let mut next = names.iter().cycle();
        group.bench_function(format!("lookup among {count}"), |b| {
            b.iter(|| {
                let mut hits = 0;
                next.by_ref().take(1).for_each(|name| trie.lookup(*name, |_, _| hits += 1));
                hits
            });
        });
        let mut next = filters.iter().enumerate().cycle().step_by(7919);
        group.bench_function(format!("remove and insert among {count}"), |b| {
            b.iter(|| {
                let (key, filter) = next.next().unwrap();
                trie.remove(*filter, key as u64);
                trie.insert(*filter, key as u64, 0)
            });
        });
    }
    for (title, filters) in [("{+,a}^12", plus_or_a(12, "")), ("{+,a}^11/x", plus_or_a(11, "/x"))] {
        let mut trie = SubscriptionTrie::new(HashSeed::new(1, 2));
        for (key, filter) in filters.iter().enumerate() {
            trie.insert(TopicFilter::new(filter).unwrap(), key, ()).unwrap();
        }
        for levels in [11, 12] {
            let name = ["a"].repeat(levels).join("/");
            let name = TopicName::new(&name).unwrap();
            println!("{title}, a name of {levels} levels: {} visits", trie.lookup_visits(name));
            group.bench_function(format!("{title}, a name of {levels} levels"), |b| {
                b.iter(|| {
                    let mut hits = 0;
                    trie.lookup(black_box(name), |_, ()| hits += 1);
                    hits
                });
            });
        }
    }
    group.finish();
}

fn retained(c: &mut Criterion) {
    let mut group = c.benchmark_group("retained");
    group.sample_size(10);
    let mut trie = RetainedTrie::new();
    let names = workload::retained();
    for name in &names {
        trie.insert(TopicName::new(name).unwrap(), 0_u64);
    }
    println!("{} names: {} bytes each without values", trie.len(), trie.memory() / trie.len());
    for filter in ["site/+/dev/7/#", "site/7/#", "#", "site/7/+/none"] {
        let filter = TopicFilter::new(filter).unwrap();
        let walk = || {
            let (mut cursor, mut found) = (Cursor::new(filter), 0);
            while let Next::Found(..) = trie.next(&mut cursor, &mut u32::MAX.clone()) {
                found += 1;
            }
            found
        };
        println!("{filter}: {} hits", walk());
        group.bench_function(format!("walk {filter} among 1,000,000"), |b| b.iter(walk));
    }
    group.bench_function("count site/7/# among 1,000,000", |b| {
        b.iter(|| trie.count(black_box(TopicFilter::new("site/7/#").unwrap())));
    });
    group.bench_function("count # among 1,000,000", |b| {
        b.iter(|| trie.count(black_box(TopicFilter::new("#").unwrap())));
    });
    let mut next = names.iter().cycle().step_by(7919);
    group.bench_function("get among 1,000,000", |b| {
        b.iter_batched(
            || TopicName::new(next.next().unwrap()).unwrap(),
            |name| trie.get(name).copied(),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, strings, subscriptions, retained);
criterion_main!(benches);
