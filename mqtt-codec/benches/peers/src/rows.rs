//! The rows: the same packets and bytes for all.
use mqtt_codec::{
    Ack, AckKind, Connect, Packet, PacketId, Properties, Property, Publish, Qos, ReasonCode, Subscribe,
    SubscribeOptions, Subscription, Subscriptions, TopicFilter, TopicName, Utf8, Version, Will,
};

/// What is done in a row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Decode what lies in the buffer.
    Decode,
    /// The same, which comes in chunks of so many bytes.
    Chunks(usize),
    /// Encode.
    Encode,
}

/// One row of the table at one version.
pub struct Row {
    /// What it is called.
    pub title: &'static str,
    /// The version of the protocol.
    pub version: Version,
    /// What is done.
    pub work: Work,
    /// With what.
    pub packets: Vec<Packet<'static>>,
    /// Their bytes.
    pub stream: Vec<u8>,
    /// The length of each, if all are alike.
    pub frame: Option<usize>,
}

impl Row {
    /// The version in words.
    pub fn level(&self) -> &'static str {
        if self.version == Version::V5 { "5.0" } else { "3.1.1" }
    }
}

const VERSIONS: [Version; 2] = [Version::V311, Version::V5];
const ID: PacketId = PacketId::new(4711).unwrap();
/// About a full segment of TCP.
const CHUNK: usize = 1460;

/// How much work there is in a row.
#[derive(Clone, Copy)]
pub struct Size {
    /// Bytes of packets that are all alike: about what a read of a socket brings.
    pub buffer: usize,
    /// Mixed packets.
    pub mixed: usize,
}

/// What is timed.
pub const WHOLE: Size = Size { buffer: 64 * 1024, mixed: 10_000 };
/// For an instruction counter, to which one packet is like another.
pub const SMALL: Size = Size { buffer: 8 * 1024, mixed: 500 };

/// All rows, made once and never freed.
pub fn rows(size: Size) -> &'static [Row] {
    let payload: &[u8] = &[b'x'; 1024];
    let five: &[Property<'_>] = Vec::leak(five().into());
    let mut rows = Vec::new();
    let [small, large, typed] = [
        publish(&payload[..64], Qos::AtMostOnce, &[]),
        publish(payload, Qos::AtLeastOnce, &[]),
        publish(&payload[..256], Qos::AtMostOnce, five),
    ];
    let puback = ack(AckKind::Puback);
    for (title, packet) in [
        ("decode PUBLISH QoS 0, 64 B", small),
        ("decode PUBLISH QoS 1, 1 KiB", large),
        ("decode PUBLISH 256 B, 5 properties", typed),
        ("decode PUBACK", puback),
        ("decode CONNECT with will, user, password", connect(Version::V311)),
        ("decode SUBSCRIBE of 10 filters, grammar checked", subscribe()),
    ] {
        rows.extend(VERSIONS.map(|version| alike(title, version, Work::Decode, packet, size)));
    }
    for (title, work) in
        [("decode mixed 10,000", Work::Decode), ("decode mixed 10,000 in 1,460-byte chunks", Work::Chunks(CHUNK))]
    {
        rows.extend(VERSIONS.map(|version| row(title, version, work, mixed(version, payload, five, size.mixed))));
    }
    for (title, packet) in [
        ("encode PUBLISH QoS 0, 64 B", small),
        ("encode PUBLISH QoS 0, 1 KiB", publish(payload, Qos::AtMostOnce, &[])),
        ("encode PUBLISH 256 B, 5 properties", typed),
        ("encode CONNECT with will, user, password", connect(Version::V311)),
    ] {
        rows.extend(VERSIONS.map(|version| alike(title, version, Work::Encode, packet, size)));
    }
    rows.extend(
        VERSIONS.map(|version| {
            row("encode mixed 10,000", version, Work::Encode, mixed(version, payload, five, size.mixed))
        }),
    );
    // properties are of 5.0
    rows.retain(|row| row.version == Version::V5 || !row.title.contains("properties"));
    Vec::leak(rows)
}

/// As many of one packet as a buffer holds.
fn alike(title: &'static str, version: Version, work: Work, mut packet: Packet<'static>, size: Size) -> Row {
    if let Packet::Connect(connect) = &mut packet {
        connect.version = version;
    }
    let len = packet.encoded_len(version).expect("a good packet");
    let frame = Some(len);
    Row { frame, ..row(title, version, work, vec![packet; (size.buffer / len).min(1000)]) }
}

fn row(title: &'static str, version: Version, work: Work, packets: Vec<Packet<'static>>) -> Row {
    let mut stream = Vec::new();
    for packet in &packets {
        packet.encode(version, &mut stream).expect("a good packet");
    }
    Row { title, version, work, packets, stream, frame: None }
}

fn text(text: &str) -> Utf8<'_> {
    Utf8::new(text).expect("good text")
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

fn ack(kind: AckKind) -> Packet<'static> {
    Packet::Ack(Ack { kind, packet_id: ID, reason: ReasonCode::SUCCESS, properties: Properties::EMPTY })
}

fn connect(version: Version) -> Packet<'static> {
    Packet::Connect(Connect {
        version,
        clean_start: true,
        keep_alive: 60,
        properties: Properties::EMPTY,
        client_id: text("device-345-of-site-12"),
        will: Some(Will {
            topic: TopicName::new("site/12/device/345/gone").expect("a good name"),
            payload: b"gone",
            qos: Qos::AtLeastOnce,
            retain: true,
            properties: Properties::EMPTY,
        }),
        user_name: Some(text("device")),
        password: Some(b"correct horse"),
    })
}

fn subscribe() -> Packet<'static> {
    let list = (0..10).map(|i| {
        let filter: &'static str = String::leak(format!("site/{i}/device/+/temperature"));
        Subscription { filter: TopicFilter::new(filter).expect("a good filter"), options: SubscribeOptions::default() }
    });
    Packet::Subscribe(Subscribe {
        packet_id: ID,
        properties: Properties::EMPTY,
        subscriptions: Subscriptions::from_slice(Vec::leak(list.collect())),
    })
}

/// What a broker reads in its day: mostly small PUBLISH, and their acknowledgements.
fn mixed(
    version: Version,
    payload: &'static [u8],
    five: &'static [Property<'static>],
    count: usize,
) -> Vec<Packet<'static>> {
    let five = if version == Version::V5 { five } else { &[] };
    let puback = ack(AckKind::Puback);
    let turn = [
        publish(&payload[..64], Qos::AtMostOnce, &[]),
        publish(&payload[..64], Qos::AtLeastOnce, &[]),
        puback,
        publish(&payload[..256], Qos::AtLeastOnce, five),
        puback,
        publish(&payload[..16], Qos::AtMostOnce, &[]),
        publish(payload, Qos::AtMostOnce, &[]),
        Packet::Pingreq,
        publish(&payload[..100], Qos::ExactlyOnce, &[]),
        ack(AckKind::Pubrel),
    ];
    (0..count).map(|i| turn[i % turn.len()]).collect()
}
