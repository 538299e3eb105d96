//! The rows of the README, ours and the peers' side by side.
use cpu_time::ThreadTime;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mqtt_topic::{Cursor, Next, RetainedTrie, TopicFilter, TopicName};
use mqtt_topic_engine::{CacheStrategy, TopicPath, TopicPatternPath};
use mqtt_topic_peers::{Engine, Index, Ours, Quill, Rmqtt};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;
use workload::{filters, names, plus_or_a, retained};

#[path = "../../workload/mod.rs"]
mod workload;

/// The time this thread had a processor: what others do on the machine counts less.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = ThreadTime;
    type Value = Duration;

    fn start(&self) -> ThreadTime {
        ThreadTime::now()
    }

    fn end(&self, start: ThreadTime) -> Duration {
        start.elapsed()
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// 1,000 filters against one name each: what a peer can parse beforehand is parsed beforehand. `quill-pubsub` takes
/// names that are split into levels beforehand too, each a `String`.
fn single(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("one filter against one name");
    let (filters, names) = (filters(1_000), names(1_000));
    let names: Vec<&str> = names.iter().take(100).map(|name| &**name).collect();
    group.throughput(Throughput::Elements((filters.len() * names.len()) as u64));

    // each answers how many of the 100,000 pairs match
    macro_rules! row {
        ($name:literal, $filters:expr, $names:expr, |$filter:ident, $topic:ident| $matches:expr) => {{
            let (filters, names): (Vec<_>, Vec<_>) = ($filters, $names);
            let count = || {
                names.iter().map(|$topic| black_box(&filters).iter().filter(|$filter| $matches).count()).sum::<usize>()
            };
            group.bench_function($name, |b| b.iter(count));
            count()
        }};
    }
    let text = || filters.iter().map(|filter| &**filter).collect::<Vec<&str>>();
    let expected = row!(
        "mqtt-topic",
        text().into_iter().map(|text| TopicFilter::new(text).unwrap()).collect(),
        names.iter().map(|name| TopicName::new(name).unwrap()).collect(),
        |filter, name| filter.matches(*name)
    );
    let peers = [
        row!("rumqttc", text(), names.clone(), |filter, name| rumqttc::matches(name, filter)),
        row!("mqttbytes", text(), names.clone(), |filter, name| mqttbytes::matches(name, filter)),
        row!("rmqtt", parsed_by_rmqtt(&filters), names.clone(), |filter, name| filter.matches_str(*name)),
        row!(
            "ntex-mqtt",
            text().into_iter().map(|text| text.parse::<ntex_mqtt::TopicFilter>().unwrap()).collect(),
            names.clone(),
            |filter, name| filter.matches_topic(*name)
        ),
        row!("mqtt5-protocol", text(), names.clone(), |filter, name| {
            mqtt5_protocol::topic_matching::matches(name, filter)
        }),
        row!(
            "mqtt-topic-engine",
            text()
                .into_iter()
                .map(|text| TopicPatternPath::new_from_string(text, CacheStrategy::NoCache).unwrap())
                .collect(),
            names.iter().map(|name| Arc::new(TopicPath::new(*name).unwrap())).collect(),
            |filter, name| filter.try_match(Arc::clone(name)).is_ok()
        ),
        row!(
            "quill-pubsub",
            text().into_iter().map(|text| quill::Pattern::parse(text).unwrap()).collect(),
            names.iter().map(|name| quill::Topic::parse(name).unwrap()).collect(),
            |filter, name| filter.matches(name)
        ),
    ];
    assert_eq!(peers, [expected; 7], "all do the same work");
    group.finish();
}

fn parsed_by_rmqtt(filters: &[String]) -> Vec<rmqtt::topic::Topic> {
    filters.iter().map(|text| text.parse().unwrap()).collect()
}

/// How long a lookup and a removal with the insertion of what was removed take among `filters`.
fn index<I: Index>(
    c: &mut Criterion<CpuTime>,
    title: &str,
    filters: &[String],
    names: &[String],
    churn: bool,
) -> usize {
    let mut index = I::default();
    for (id, filter) in filters.iter().enumerate() {
        index.insert(filter, id as u64);
    }
    let mut found = Vec::new();
    let hits = names
        .iter()
        .map(|name| {
            found.clear();
            index.lookup(name, &mut found);
            found.len()
        })
        .sum();
    let mut group = c.benchmark_group(format!("lookup among {title}"));
    let mut next = names.iter().cycle();
    group.bench_function(I::NAME, |b| {
        b.iter(|| {
            found.clear();
            if let Some(name) = next.next() {
                index.lookup(black_box(name), &mut found);
            }
            found.len()
        });
    });
    group.finish();
    if churn {
        let mut group = c.benchmark_group(format!("remove and insert among {title}"));
        let mut next = (0..filters.len()).cycle().step_by(7919);
        group.bench_function(I::NAME, |b| {
            b.iter(|| {
                let place = next.next().unwrap_or_default();
                index.remove(&filters[place], place as u64);
                index.insert(&filters[place], place as u64);
            });
        });
        group.finish();
    }
    hits
}

fn indexes(c: &mut Criterion<CpuTime>) {
    for (count, title) in [(1_000, "1,000"), (100_000, "100,000"), (1_000_000, "1,000,000")] {
        let (filters, names) = (filters(count), names(count));
        let hits = [
            index::<Ours>(c, title, &filters, &names, true),
            index::<Quill>(c, title, &filters, &names, true),
            index::<Rmqtt>(c, title, &filters, &names, true),
            index::<Engine>(c, title, &filters, &names, true),
        ];
        assert_eq!(hits, [hits[0]; 4], "all do the same work");
    }
    for (title, filters) in [("{+,a}^12", plus_or_a(12, "")), ("{+,a}^11 with x behind", plus_or_a(11, "/x"))] {
        for levels in [11, 12] {
            let title = format!("{title}, a name of {levels}");
            let names = [["a"; 12][..levels].join("/")];
            index::<Ours>(c, &title, &filters, &names, false);
            index::<Quill>(c, &title, &filters, &names, false);
            index::<Rmqtt>(c, &title, &filters, &names, false);
            index::<Engine>(c, &title, &filters, &names, false);
        }
    }
}

fn retained_names(c: &mut Criterion<CpuTime>) {
    let names = retained();
    let mut ours = RetainedTrie::new();
    let mut theirs = rmqtt::retain::RetainTree::default();
    for name in &names {
        ours.insert(TopicName::new(name).unwrap(), 0_u64);
        theirs.insert(&name.parse().unwrap(), 0_u64);
    }
    for text in ["site/+/dev/7/#", "site/7/#", "#"] {
        let mut group = c.benchmark_group(format!("retained, 1,000,000 names, {text}"));
        group.sample_size(10);
        let filter = TopicFilter::new(text).unwrap();
        let walk = || {
            let (mut cursor, mut found) = (Cursor::new(filter), 0);
            while let Next::Found(name, value) = ours.next(&mut cursor, &mut u32::MAX.clone()) {
                black_box((name, value));
                found += 1;
            }
            found
        };
        let pattern: rmqtt::topic::Topic = text.parse().unwrap();
        let ask = || theirs.matches(&pattern).len();
        let scan = || names.iter().filter(|name| filter.matches(TopicName::from_checked(name.as_bytes()))).count();
        assert_eq!([walk(), scan()], [ask(); 2], "all do the same work");
        group.bench_function("mqtt-topic", |b| b.iter(walk));
        group.bench_function("rmqtt", |b| b.iter(ask));
        group.bench_function("flat scan", |b| b.iter(scan));
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .with_measurement(CpuTime)
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1_000));
    targets = single, indexes, retained_names
}
criterion_main!(benches);
