//! The rows of the README, ours and the peers' side by side; `cargo bench --bench table` then prints the table.
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mqtt_codec_peers::{WHOLE, jobs};
use std::time::{Duration, Instant};

fn rows(c: &mut Criterion) {
    jobs(WHOLE, |row, codec, job| {
        let Ok(mut job) = job else { return };
        let mut group = c.benchmark_group(row.title);
        group.throughput(Throughput::Elements(row.packets.len() as u64));
        group.bench_function(BenchmarkId::new(codec, row.level()), |b| {
            b.iter_custom(|times| {
                let mut taken = Duration::ZERO;
                for _ in 0..times {
                    job.prepare();
                    let start = Instant::now();
                    job.run();
                    taken += start.elapsed();
                }
                taken
            });
        });
        group.finish();
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .nresamples(5_000)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(1_000));
    targets = rows
}
criterion_main!(benches);
