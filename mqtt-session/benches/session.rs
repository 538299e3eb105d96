//! Messages through a client and a server joined in memory: publish, carry, acknowledge, to the end of the exchange.
#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mqtt_session::codec::{Connect, OutBuf, Properties, Qos, Reader, ReasonCode, Utf8, Version};
use mqtt_session::topic::TopicName;
use mqtt_session::{Accept, Connection, Event, Instant, Publication, QueueLimits, ServerConfig, Session, Transmit};
use std::hint::black_box;

const LIMITS: QueueLimits = QueueLimits { messages: 100_000, bytes: 100_000_000 };
const MESSAGES: u64 = 50;

struct Pair {
    client: Connection,
    server: Connection,
    from_client: Reader,
    from_server: Reader,
    out: OutBuf,
}

impl Pair {
    fn new(version: Version) -> Self {
        let client_id = Utf8::new("bench").unwrap();
        let connect = Connect {
            version,
            clean_start: true,
            keep_alive: 0,
            properties: Properties::EMPTY,
            client_id,
            will: None,
            user_name: None,
            password: None,
        };
        let client = Connection::client(Instant::ZERO, &connect, Session::new()).unwrap();
        let server = Connection::server(Instant::ZERO, &ServerConfig::default());
        let (from_client, from_server) = (server.reader(), client.reader());
        let mut pair = Self { client, server, from_client, from_server, out: OutBuf::with_limit(1 << 20) };
        pair.carry();
        pair.server.accept(Instant::ZERO, Session::new(), &ServerConfig::default(), &Accept::default());
        pair.carry();
        pair
    }

    /// Until both have said all; how many messages came.
    fn carry(&mut self) -> u64 {
        let mut came = 0;
        loop {
            while self.client.poll_transmit(Instant::ZERO, &mut self.out) == Transmit::Wrote {}
            let quiet = self.out.is_empty();
            while !self.out.is_empty() {
                let len = self.out.chunk().len();
                let mut input = self.server.read(Instant::ZERO, &mut self.from_client, self.out.chunk());
                while let Some(event) = input.next().unwrap() {
                    match event {
                        Event::Publish(received, token) => {
                            black_box(received.payload);
                            came += 1;
                            input.acknowledge(token, ReasonCode::SUCCESS);
                        }
                        Event::Released(token) => input.acknowledge(token, ReasonCode::SUCCESS),
                        _ => {}
                    }
                }
                drop(input);
                self.out.advance(len);
            }
            while self.server.poll_transmit(Instant::ZERO, &mut self.out) == Transmit::Wrote {}
            if quiet && self.out.is_empty() {
                return came;
            }
            while !self.out.is_empty() {
                let len = self.out.chunk().len();
                let mut input = self.client.read(Instant::ZERO, &mut self.from_server, self.out.chunk());
                while let Some(event) = input.next().unwrap() {
                    black_box(&event);
                }
                drop(input);
                self.out.advance(len);
            }
        }
    }
}

fn messages(c: &mut Criterion) {
    for (version, name) in [(Version::V311, "3.1.1"), (Version::V5, "5.0")] {
        let mut group = c.benchmark_group(format!("through a pair, 64 B, {name}"));
        group.throughput(Throughput::Elements(MESSAGES));
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mut pair = Pair::new(version);
            let mut publication = Publication::new(TopicName::new("site/1/dev/2/temp").unwrap(), &[0x5A; 64]);
            publication.qos = qos;
            group.bench_function(format!("QoS {}", qos as u8), |b| {
                b.iter(|| {
                    for _ in 0..MESSAGES {
                        pair.client.publish(Instant::ZERO, &publication, &LIMITS).unwrap();
                    }
                    assert_eq!(pair.carry(), MESSAGES);
                });
            });
        }
        group.finish();
    }

    let mut pair = Pair::new(Version::V311);
    let publication = Publication::new(TopicName::new("site/1/dev/2/temp").unwrap(), &[0x5A; 64]);
    let mut out = OutBuf::with_limit(1 << 20);
    c.bench_function("forward, QoS 0, 64 B, 3.1.1", |b| {
        b.iter(|| {
            let done = pair.server.forward(Instant::ZERO, black_box(&publication), false, &[], &mut out);
            if out.len() > 60_000 {
                out.advance(out.len());
            }
            done
        });
    });
}

criterion_group!(benches, messages);
criterion_main!(benches);
