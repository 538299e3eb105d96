//! Messages through the whole broker, in memory: bytes in, bytes out, no sockets.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]
mod scene;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mqtt_broker_core::Durability;
use mqtt_broker_core::codec::{AckKind, Qos};
use scene::{Bench, ack, mixed_filters, publish};

fn one_to_one(c: &mut Criterion) {
    let mut group = c.benchmark_group("one to one, 64 B");
    group.throughput(Throughput::Elements(1));
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let mut bench = Bench::new();
        let to = bench.client("to", &["bench/a".into()], qos);
        let from = bench.client("from", &[], qos);
        let message = publish("bench/a", qos);
        let mut next = 0u16;
        group.bench_function(format!("{qos:?}"), |b| {
            b.iter(|| {
                bench.input(from, &message);
                next = if next == u16::MAX { 1 } else { next + 1 };
                let [high, low] = next.to_be_bytes();
                match qos {
                    Qos::AtMostOnce => {}
                    Qos::AtLeastOnce => bench.input(to, &[0x40, 2, high, low]),
                    Qos::ExactlyOnce => {
                        bench.input(to, &[0x50, 2, high, low]);
                        bench.input(to, &[0x70, 2, high, low]);
                        bench.input(from, &ack(AckKind::Pubrel));
                    }
                }
            });
        });
    }
    group.finish();
}

/// QoS 1 to a session that stays, and a store that is done at once.
fn durable(c: &mut Criterion) {
    let mut group = c.benchmark_group("one to one, 64 B, QoS 1, to a session that stays");
    group.throughput(Throughput::Elements(1));
    for durability in [Durability::None, Durability::Buffered, Durability::Synced] {
        let mut bench = Bench::durable(durability);
        let to = bench.join("to", &["bench/a".into()], Qos::AtLeastOnce, false);
        let from = bench.client("from", &[], Qos::AtLeastOnce);
        let message = publish("bench/a", Qos::AtLeastOnce);
        let mut next = 0u16;
        group.bench_function(format!("{durability:?}"), |b| {
            b.iter(|| {
                bench.input(from, &message);
                next = if next == u16::MAX { 1 } else { next + 1 };
                let [high, low] = next.to_be_bytes();
                bench.input(to, &[0x40, 2, high, low]);
            });
        });
    }
    group.finish();
}

fn in_one_piece(c: &mut Criterion) {
    let mut group = c.benchmark_group("one to one, 64 B, 100 in one read");
    group.throughput(Throughput::Elements(100));
    let mut bench = Bench::new();
    bench.client("to", &["bench/a".into()], Qos::AtMostOnce);
    let from = bench.client("from", &[], Qos::AtMostOnce);
    let messages = publish("bench/a", Qos::AtMostOnce).repeat(100);
    group.bench_function("AtMostOnce", |b| b.iter(|| bench.input(from, &messages)));
    group.finish();
}

fn nobody(c: &mut Criterion) {
    let mut group = c.benchmark_group("nobody wants it, 64 B");
    group.throughput(Throughput::Elements(1));
    let mut bench = Bench::new();
    let from = bench.client("from", &[], Qos::AtMostOnce);
    let message = publish("bench/a", Qos::AtMostOnce);
    group.bench_function("AtMostOnce", |b| b.iter(|| bench.input(from, &message)));
    group.finish();
}

fn shared(c: &mut Criterion) {
    let mut group = c.benchmark_group("one to a group of 100, 64 B");
    group.throughput(Throughput::Elements(1));
    let mut bench = Bench::new();
    for n in 0..100 {
        bench.client(&format!("to{n}"), &["$share/g/bench/+".into()], Qos::AtMostOnce);
    }
    let from = bench.client("from", &[], Qos::AtMostOnce);
    let message = publish("bench/a", Qos::AtMostOnce);
    group.bench_function("AtMostOnce", |b| b.iter(|| bench.input(from, &message)));
    group.finish();
}

fn fan_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("one to 1,000, 64 B");
    group.throughput(Throughput::Elements(1_000));
    let mut bench = Bench::new();
    for n in 0..1_000 {
        bench.client(&format!("to{n}"), &["bench/+".into()], Qos::AtMostOnce);
    }
    let from = bench.client("from", &[], Qos::AtMostOnce);
    let message = publish("bench/a", Qos::AtMostOnce);
    group.bench_function("AtMostOnce", |b| b.iter(|| bench.input(from, &message)));
    group.finish();
}

fn mixed(c: &mut Criterion) {
    let mut group = c.benchmark_group("10,000 filters of 1,000 clients, 64 B");
    group.throughput(Throughput::Elements(1));
    let mut bench = Bench::new();
    for n in 0..1_000 {
        bench.client(&format!("to{n}"), &mixed_filters(n), Qos::AtMostOnce);
    }
    let from = bench.client("from", &[], Qos::AtMostOnce);
    let messages: Vec<Vec<u8>> =
        (0..1_000).map(|n| publish(&format!("site/{}/dev/{}/temp", n % 89, n % 97), Qos::AtMostOnce)).collect();
    let mut next = messages.iter().cycle();
    group.bench_function("AtMostOnce", |b| b.iter(|| bench.input(from, next.next().unwrap())));
    group.finish();
}

criterion_group!(benches, one_to_one, durable, in_one_piece, nobody, shared, fan_out, mixed);
criterion_main!(benches);
