//! Messages through a client and a server joined in memory: this crate, and `mqtt-protocol-core` doing the same work.
//!
//! `cargo bench --bench peers`
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mqtt_session_peers::{MESSAGES, Ours, Pair, ProtocolCore, VERSIONS, Version, check, turn};
use std::time::Duration;

fn row<P: Pair>(criterion: &mut Criterion, version: Version, name: &str, qos: u8) {
    let mut group = criterion.benchmark_group(format!("through a pair, 64 B, {name}, QoS {qos}"));
    group.throughput(Throughput::Elements(MESSAGES));
    let mut pair = P::new(version);
    group.bench_function(P::NAME, |bencher| bencher.iter(|| turn(&mut pair, qos)));
    group.finish();
}

fn messages(criterion: &mut Criterion) {
    check();
    for (version, name) in VERSIONS {
        for qos in 0..=2 {
            row::<Ours>(criterion, version, name, qos);
            row::<ProtocolCore>(criterion, version, name, qos);
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(2)).measurement_time(Duration::from_secs(8));
    targets = messages
}
criterion_main!(benches);
