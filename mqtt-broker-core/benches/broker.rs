//! Messages through the whole broker, in memory: bytes in, bytes out, no sockets.
#![allow(clippy::unwrap_used, missing_docs)]
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mqtt_broker_core::codec::{
    Ack, AckKind, Connect, OutBuf, Packet, PacketId, Properties, Publish, Qos, ReasonCode, Subscribe, SubscribeOptions,
    Subscription, Subscriptions, TopicFilter, TopicName, Utf8, Version,
};
use mqtt_broker_core::topic::HashSeed;
use mqtt_broker_core::{AllowAll, Broker, Config, ConnectionId, Instant, Peer};

const NOW: Instant = Instant::from_millis(1);

struct Bench {
    broker: Broker<AllowAll>,
    outs: Vec<OutBuf>,
    sent: usize,
}

fn encode(packet: Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(Version::V311, &mut bytes).unwrap();
    bytes
}

fn publish(topic: &str, qos: Qos) -> Vec<u8> {
    encode(Packet::Publish(Publish {
        dup: false,
        qos,
        retain: false,
        topic: Some(TopicName::new(topic).unwrap()),
        packet_id: if qos == Qos::AtMostOnce { None } else { PacketId::new(1) },
        properties: Properties::EMPTY,
        payload: &[7; 64],
    }))
}

fn ack(kind: AckKind) -> Vec<u8> {
    let packet_id = PacketId::new(1).unwrap();
    encode(Packet::Ack(Ack { kind, packet_id, reason: ReasonCode::SUCCESS, properties: Properties::EMPTY }))
}

impl Bench {
    fn new() -> Self {
        let mut config = Config::default();
        config.max_handshakes = 10_000;
        Self { broker: Broker::new(config, AllowAll, HashSeed::new(1, 2)).unwrap(), outs: Vec::new(), sent: 0 }
    }

    fn client(&mut self, id: &str, filters: &[String], qos: Qos) -> ConnectionId {
        let name = self.broker.handle_open(NOW, Peer::default()).unwrap();
        self.outs.resize_with(self.outs.len().max(name.index() + 1), OutBuf::default);
        let connect = Connect {
            version: Version::V311,
            clean_start: true,
            keep_alive: 0,
            properties: Properties::EMPTY,
            client_id: Utf8::new(id).unwrap(),
            will: None,
            user_name: None,
            password: None,
        };
        self.input(name, &encode(Packet::Connect(connect)));
        for filter in filters {
            let options = SubscribeOptions { qos, ..Default::default() };
            let list = [Subscription { filter: TopicFilter::new(filter).unwrap(), options }];
            let subscribe = Subscribe {
                packet_id: PacketId::new(1).unwrap(),
                properties: Properties::EMPTY,
                subscriptions: Subscriptions::from_slice(&list),
            };
            self.input(name, &encode(Packet::Subscribe(subscribe)));
        }
        name
    }

    /// Input, and everything it leads to out again; the packet identifier of a delivery stays with the broker.
    fn input(&mut self, name: ConnectionId, bytes: &[u8]) {
        self.broker.handle_input(NOW, name, bytes);
        while let Some(ready) = self.broker.poll_ready() {
            let Some(out) = self.outs.get_mut(ready.id.index()) else { continue };
            loop {
                self.broker.poll_transmit(NOW, ready.id, out);
                if out.is_empty() {
                    break;
                }
                self.sent += out.len();
                out.advance(out.len());
            }
        }
    }
}

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
        let filters: Vec<String> = (0..10)
            .map(|m| match m {
                8 => format!("site/+/dev/{}/temp", n % 97),
                9 => format!("site/{}/#", n % 89),
                _ => format!("site/{}/dev/{}/temp", n % 89, (n * 8 + m) % 997),
            })
            .collect();
        bench.client(&format!("to{n}"), &filters, Qos::AtMostOnce);
    }
    let from = bench.client("from", &[], Qos::AtMostOnce);
    let messages: Vec<Vec<u8>> =
        (0..1_000).map(|n| publish(&format!("site/{}/dev/{}/temp", n % 89, n % 97), Qos::AtMostOnce)).collect();
    let mut next = messages.iter().cycle();
    group.bench_function("AtMostOnce", |b| b.iter(|| bench.input(from, next.next().unwrap())));
    group.finish();
}

criterion_group!(benches, one_to_one, in_one_piece, nobody, fan_out, mixed);
criterion_main!(benches);
