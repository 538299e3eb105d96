//! What a string check, a match, a lookup and a walk over retained names cost.
#![allow(clippy::unwrap_used, missing_docs)]
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use mqtt_topic::{Cursor, HashSeed, Next, RetainedTrie, SubscriptionTrie, TopicFilter, TopicName};
use std::hint::black_box;

/// A small generator, so that runs repeat.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// 80% exact `site/N/dev/M/temp`, 15% with one `+`, 5% with `#`.
fn filters(count: u64) -> Vec<String> {
    let mut random = Random(1);
    let devices = (count / 50).max(10);
    (0..count)
        .map(|_| {
            let (site, device) = (random.below(50), random.below(devices));
            match random.below(100) {
                0..80 => format!("site/{site}/dev/{device}/temp"),
                80..88 => format!("site/+/dev/{device}/temp"),
                88..95 => format!("site/{site}/dev/{device}/+"),
                _ => format!("site/{site}/dev/{device}/#"),
            }
        })
        .collect()
}

fn names(count: u64) -> Vec<String> {
    let mut random = Random(2);
    let devices = (count / 50).max(10);
    (0..10_000)
        .map(|_| {
            format!(
                "site/{}/dev/{}/temp",
                random.below(50),
                random.below(devices)
            )
        })
        .collect()
}

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
    let filters: Vec<_> = filters
        .iter()
        .map(|text| TopicFilter::new(text).unwrap())
        .collect();
    let name = TopicName::new(names.first().unwrap()).unwrap();
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("1,000 filters against one name", |b| {
        b.iter(|| {
            filters
                .iter()
                .filter(|filter| filter.matches(black_box(name)))
                .count()
        });
    });
    group.finish();
}

fn subscriptions(c: &mut Criterion) {
    let mut group = c.benchmark_group("subscriptions");
    for count in [1_000, 100_000, 1_000_000] {
        let (filters, names) = (filters(count), names(count));
        let filters: Vec<_> = filters
            .iter()
            .map(|text| TopicFilter::new(text).unwrap())
            .collect();
        let names: Vec<_> = names
            .iter()
            .map(|text| TopicName::new(text).unwrap())
            .collect();
        let mut trie = SubscriptionTrie::new(HashSeed::new(1, 2));
        for (key, filter) in filters.iter().enumerate() {
            trie.insert(*filter, key as u64, 0_u64).unwrap();
        }
        let mut hits = 0;
        names
            .iter()
            .for_each(|name| trie.lookup(*name, |_, _| hits += 1));
        println!(
            "{count} filters: {} bytes each, {} hits a name",
            trie.memory() as u64 / count,
            hits / names.len()
        );
        let mut next = names.iter().cycle();
        group.bench_function(format!("lookup among {count}"), |b| {
            b.iter(|| {
                let mut hits = 0;
                next.by_ref()
                    .take(1)
                    .for_each(|name| trie.lookup(*name, |_, _| hits += 1));
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
    let mut trie = SubscriptionTrie::new(HashSeed::new(1, 2));
    for shape in 0..4096_u32 {
        let levels: Vec<&str> = (0..12)
            .map(|bit| if shape >> bit & 1 == 0 { "+" } else { "a" })
            .collect();
        trie.insert(TopicFilter::new(&levels.join("/")).unwrap(), shape, ())
            .unwrap();
    }
    let name = ["a"; 11].join("/");
    group.bench_function("4,096 filters {+,a}^12, one level short", |b| {
        b.iter(|| {
            trie.lookup(
                black_box(TopicName::new(&name).unwrap()),
                |_, ()| unreachable!(),
            )
        });
    });
    group.finish();
}

fn retained(c: &mut Criterion) {
    let mut group = c.benchmark_group("retained");
    group.sample_size(10);
    let mut trie = RetainedTrie::new();
    let names: Vec<String> = (0..1_000_000_u32)
        .map(|n| {
            format!(
                "site/{}/dev/{}/temp{}",
                n % 1000,
                n / 1000 % 200,
                n / 200_000
            )
        })
        .collect();
    for name in &names {
        trie.insert(TopicName::new(name).unwrap(), 0_u64);
    }
    println!(
        "{} names: {} bytes each without values",
        trie.len(),
        trie.memory() / trie.len()
    );
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
