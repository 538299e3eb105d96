//! Decoding and encoding, packet by packet and mixed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mqtt_codec::{
    Ack, AckKind, Connect, Packet, PacketId, Properties, Property, Publish, Qos, Reader, ReasonCode, Role, Subscribe,
    SubscribeOptions, Subscription, Subscriptions, TopicFilter, TopicName, Utf8, Version, Will,
};
use std::hint::black_box;

const VERSIONS: [(&str, Version); 2] = [("3.1.1", Version::V311), ("5.0", Version::V5)];
const ID: PacketId = PacketId::new(4711).unwrap();

fn text(text: &str) -> Utf8<'_> {
    Utf8::new(text).unwrap()
}

fn publish<'a>(payload: &'a [u8], qos: Qos, list: &'a [Property<'a>]) -> Packet<'a> {
    Packet::Publish(Publish {
        dup: false,
        qos,
        retain: false,
        topic: TopicName::new("site/12/device/345/temperature").ok(),
        packet_id: (qos != Qos::AtMostOnce).then_some(ID),
        properties: Properties::from_slice(list),
        payload,
    })
}

fn connect<'a>(version: Version) -> Packet<'a> {
    let topic = TopicName::new("site/12/device/345/gone").unwrap();
    Packet::Connect(Connect {
        version,
        clean_start: true,
        keep_alive: 60,
        properties: Properties::EMPTY,
        client_id: text("device-345-of-site-12"),
        will: Some(Will {
            topic,
            payload: b"gone",
            qos: Qos::AtLeastOnce,
            retain: true,
            properties: Properties::EMPTY,
        }),
        user_name: Some(text("device")),
        password: Some(b"correct horse"),
    })
}

fn five() -> [Property<'static>; 5] {
    [
        Property::PayloadFormatIndicator(true),
        Property::MessageExpiryInterval(3600),
        Property::ContentType(text("application/json")),
        Property::CorrelationData(b"12345678"),
        Property::UserProperty(text("trace"), text("4bf92f3577b34da6")),
    ]
}

fn encoded(packet: &Packet<'_>, version: Version) -> Vec<u8> {
    let mut out = Vec::new();
    packet.encode(version, &mut out).unwrap();
    out
}

/// What a broker reads in its day: mostly small PUBLISH, and their acknowledgements. How many packets, and their bytes.
fn mixed(version: Version) -> (u64, Vec<u8>) {
    let payload = [b'x'; 1024];
    let list = five();
    let puback = Packet::Ack(Ack {
        kind: AckKind::Puback,
        packet_id: ID,
        reason: ReasonCode::SUCCESS,
        properties: Properties::EMPTY,
    });
    let turn = [
        publish(&payload[..64], Qos::AtMostOnce, &[]),
        publish(&payload[..64], Qos::AtLeastOnce, &[]),
        puback,
        publish(&payload[..256], Qos::AtLeastOnce, &list),
        puback,
        publish(&payload[..16], Qos::AtMostOnce, &[]),
        publish(&payload, Qos::AtMostOnce, &[]),
        Packet::Pingreq,
        publish(&payload[..100], Qos::ExactlyOnce, &[]),
        Packet::Ack(Ack {
            kind: AckKind::Pubrel,
            packet_id: ID,
            reason: ReasonCode::SUCCESS,
            properties: Properties::EMPTY,
        }),
    ];
    (10_000, (0..10_000).flat_map(|i| encoded(&turn[i % turn.len()], version)).collect())
}

fn decode(c: &mut Criterion) {
    let payload = [b'x'; 1024];
    let list = five();
    let filters: Vec<_> = (0..10).map(|i| format!("site/{i}/device/+/temperature")).collect();
    let subscriptions: Vec<_> = filters
        .iter()
        .map(|filter| Subscription { filter: TopicFilter::new(filter).unwrap(), options: SubscribeOptions::default() })
        .collect();
    let subscribe = Packet::Subscribe(Subscribe {
        packet_id: ID,
        properties: Properties::EMPTY,
        subscriptions: Subscriptions::from_slice(&subscriptions),
    });
    let puback = Packet::Ack(Ack {
        kind: AckKind::Puback,
        packet_id: ID,
        reason: ReasonCode::SUCCESS,
        properties: Properties::EMPTY,
    });
    let mut group = c.benchmark_group("decode");
    for (name, version) in VERSIONS {
        for (row, packet) in [
            ("publish q0 64 B", publish(&payload[..64], Qos::AtMostOnce, &[])),
            ("publish q1 1 KiB", publish(&payload, Qos::AtLeastOnce, &[])),
            ("publish 256 B, 5 properties", publish(&payload[..256], Qos::AtMostOnce, &list)),
            ("puback", puback),
            ("connect", connect(version)),
        ] {
            let frame = encoded(&packet, version);
            group.bench_function(BenchmarkId::new(row, name), |b| {
                b.iter(|| Packet::decode(black_box(&frame), version, Role::Client).is_ok())
            });
        }
        let frame = encoded(&subscribe, version);
        group.bench_function(BenchmarkId::new("subscribe, 10 filters parsed", name), |b| {
            b.iter(|| {
                let Ok(Packet::Subscribe(packet)) = Packet::decode(black_box(&frame), version, Role::Client) else {
                    panic!()
                };
                packet.subscriptions.iter().filter(Result::is_ok).count()
            });
        });
        let (count, stream) = mixed(version);
        group.throughput(Throughput::Elements(count));
        for (row, size) in [("mixed 10,000", stream.len()), ("mixed 10,000 in 1,460 B", 1460)] {
            group.bench_function(BenchmarkId::new(row, name), |b| {
                b.iter_batched_ref(
                    || {
                        let mut reader = Reader::of_client(1000, 1 << 20);
                        let connect = encoded(&connect(version), version);
                        reader.read(&connect).next().unwrap();
                        reader
                    },
                    |reader| {
                        let mut payloads = 0;
                        for bytes in stream.chunks(size) {
                            let mut packets = reader.read(bytes);
                            while let Some(packet) = packets.next().unwrap() {
                                if let Packet::Publish(publish) = packet {
                                    payloads += publish.payload.len();
                                }
                            }
                        }
                        payloads
                    },
                    BatchSize::SmallInput,
                );
            });
        }
        group.throughput(Throughput::Elements(1));
    }
    group.finish();
}

fn encode(c: &mut Criterion) {
    let payload = [b'x'; 1024];
    let list = five();
    let mut group = c.benchmark_group("encode");
    for (name, version) in VERSIONS {
        let mut out = Vec::with_capacity(1 << 21);
        for (row, packet) in [
            ("publish q0 64 B", publish(&payload[..64], Qos::AtMostOnce, &[])),
            ("publish q0 1 KiB", publish(&payload, Qos::AtMostOnce, &[])),
            ("publish 256 B, 5 properties", publish(&payload[..256], Qos::AtMostOnce, &list)),
            ("connect", connect(version)),
        ] {
            group.bench_function(BenchmarkId::new(row, name), |b| {
                b.iter(|| {
                    out.clear();
                    black_box(&packet).encode(version, &mut out).unwrap();
                    out.len()
                });
            });
        }
        let (count, stream) = mixed(version);
        let mut packets = Vec::new();
        let mut rest = &stream[..];
        while let Ok(Some(len)) = mqtt_codec::frame_len(rest, u32::MAX) {
            let (frame, behind) = rest.split_at(len);
            packets.push(Packet::decode(frame, version, Role::Client).unwrap());
            rest = behind;
        }
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::new("mixed 10,000", name), |b| {
            b.iter(|| {
                out.clear();
                for packet in &packets {
                    packet.encode(version, &mut out).unwrap();
                }
                out.len()
            });
        });
        group.throughput(Throughput::Elements(1));
    }
    group.finish();
}

criterion_group!(benches, decode, encode);
criterion_main!(benches);
