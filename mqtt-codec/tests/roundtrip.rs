//! What is built comes back as it was, in every version; no bytes whatever make the decoder panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]
mod common;

use mqtt_codec::{
    Ack, AckKind, Auth, Connack, Connect, Disconnect, Filters, Packet, PacketId, Properties, Property, Publish, Qos,
    Reader, ReasonCode, ReasonCodes, RetainHandling, Role, Suback, Subscribe, SubscribeOptions, Subscription,
    Subscriptions, TopicFilter, TopicName, Unsuback, Unsubscribe, Utf8, Version, Will, frame_len,
};
use proptest::prelude::*;
use proptest::sample::select;

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// Everything a packet can be built of; the borrowed packet is made in the test.
#[derive(Clone, Debug)]
struct Parts {
    version: Version,
    kind: usize,
    flags: [bool; 5],
    qos: Qos,
    id: u16,
    number: u16,
    topic: String,
    texts: [String; 3],
    blob: Vec<u8>,
    payload: Vec<u8>,
    filters: Vec<(String, [bool; 2], Qos, RetainHandling)>,
    numbers: [u32; 3],
    users: Vec<(String, String)>,
    choice: usize,
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z/ ]{0,12}", "[^\u{0}]{0,8}", "[a-zäß漢🦀\u{FEFF}\u{1}]{0,40}"]
}

fn topic() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z/]{1,20}", "[^\u{0}+#]{1,30}", "\\$SYS/[a-z]{1,50}"]
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![Just("+".to_string()), "[a-zü]{0,5}"];
    (prop::collection::vec(level, 1..5), any::<bool>(), any::<bool>()).prop_map(|(levels, hash, shared)| {
        let mut text = levels.join("/");
        if hash {
            text.push_str("/#");
        }
        match shared {
            true => format!("$share/g/x{}", text.replace(['+', '#'], "y")),
            false if text.is_empty() => "#".into(),
            false => text,
        }
    })
}

fn parts() -> impl Strategy<Value = Parts> {
    let qos = || select(vec![Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce]);
    let handling = select(vec![RetainHandling::Always, RetainHandling::IfNew, RetainHandling::Never]);
    let filters = prop::collection::vec((filter(), any::<[bool; 2]>(), qos(), handling), 1..5);
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    let numbers = [1_u32..=268_435_455, 1..=u32::MAX, 1..=u32::MAX];
    (
        (select(VERSIONS.to_vec()), 0_usize..15, any::<[bool; 5]>(), qos(), 1_u16.., 1_u16..),
        (topic(), [text(), text(), text()], bytes(), prop::collection::vec(any::<u8>(), 0..300)),
        (filters, numbers, prop::collection::vec((text(), text()), 0..4), any::<usize>()),
    )
        .prop_map(
            |(
                (version, kind, flags, qos, id, number),
                (topic, texts, blob, payload),
                (filters, numbers, users, choice),
            )| Parts {
                version,
                kind,
                flags,
                qos,
                id,
                number,
                topic,
                texts,
                blob,
                payload,
                filters,
                numbers,
                users,
                choice,
            },
        )
}

/// The properties of the packet, some of them left out.
fn properties<'a>(parts: &'a Parts, all: &[Property<'a>], must: usize) -> Vec<Property<'a>> {
    let mut list: Vec<_> =
        all.iter().enumerate().filter(|(i, _)| *i < must || parts.choice >> i & 1 == 1).map(|(_, p)| *p).collect();
    list.extend(
        parts
            .users
            .iter()
            .map(|(name, value)| Property::UserProperty(Utf8::new(name).unwrap(), Utf8::new(value).unwrap())),
    );
    list
}

/// Builds the packet, gives it to `check`.
#[allow(clippy::too_many_lines, reason = "a list of all packets")]
fn with_packet(parts: &Parts, check: impl FnOnce(Packet<'_>, Role)) {
    use Property as P;
    let version = parts.version;
    let v5 = version == Version::V5;
    let [a, b, c] = [0, 1, 2].map(|i| Utf8::new(&parts.texts[i]).unwrap());
    let topic = TopicName::new(&parts.topic).unwrap();
    let packet_id = PacketId::new(parts.id).unwrap();
    let [vbi, x, y] = parts.numbers;
    let blob = &parts.blob[..];
    let flags = parts.flags;
    let message = [
        P::TopicAlias(parts.number),
        P::PayloadFormatIndicator(flags[0]),
        P::MessageExpiryInterval(x),
        P::ContentType(a),
        P::ResponseTopic(topic),
        P::CorrelationData(blob),
    ];
    let why = [P::ReasonString(a)];
    let list = match parts.kind {
        0 => properties(
            parts,
            &[
                P::AuthenticationMethod(a),
                P::AuthenticationData(blob),
                P::SessionExpiryInterval(x),
                P::ReceiveMaximum(parts.number),
                P::MaximumPacketSize(y),
                P::TopicAliasMaximum(parts.id),
                P::RequestProblemInformation(flags[3]),
                P::RequestResponseInformation(flags[4]),
            ],
            1,
        ),
        1 => properties(
            parts,
            &[
                P::AuthenticationMethod(a),
                P::AuthenticationData(blob),
                P::SessionExpiryInterval(x),
                P::AssignedClientIdentifier(b),
                P::ServerKeepAlive(parts.number),
                P::ResponseInformation(c),
                P::ServerReference(a),
                P::ReasonString(b),
                P::ReceiveMaximum(parts.number),
                P::TopicAliasMaximum(parts.id),
                P::MaximumQos(flags[0]),
                P::RetainAvailable(flags[1]),
                P::MaximumPacketSize(y),
                P::WildcardSubscriptionAvailable(flags[2]),
                P::SubscriptionIdentifierAvailable(flags[3]),
                P::SharedSubscriptionAvailable(flags[4]),
            ],
            1,
        ),
        2 => {
            let mut list = properties(parts, &message, usize::from(flags[2]));
            list.extend([P::SubscriptionIdentifier(vbi), P::SubscriptionIdentifier(1)]);
            list
        }
        3..=6 | 8 | 10 | 14 => properties(parts, &why, 0),
        7 => properties(parts, &[P::SubscriptionIdentifier(vbi)], 0),
        9 => properties(parts, &[], 0),
        13 => properties(parts, &[P::AuthenticationMethod(b), P::AuthenticationData(blob), P::ReasonString(a)], 1),
        _ => Vec::new(),
    };
    let will_list = properties(parts, &[&message[1..], &[P::WillDelayInterval(y)]].concat(), 0);
    let section = |list| {
        if v5 { Properties::from_slice(list) } else { Properties::EMPTY }
    };
    let properties = section(&list);
    let reason = |codes: &[u8]| ReasonCode(if v5 { codes[parts.choice % codes.len()] } else { 0 });
    let subscriptions: Vec<_> = parts
        .filters
        .iter()
        .map(|(filter, [no_local, retain_as_published], qos, retain_handling)| Subscription {
            filter: TopicFilter::new(filter).unwrap(),
            options: if v5 {
                let no_local = *no_local && !filter.starts_with("$share/");
                SubscribeOptions {
                    qos: *qos,
                    no_local,
                    retain_as_published: *retain_as_published,
                    retain_handling: *retain_handling,
                }
            } else {
                SubscribeOptions { qos: *qos, ..Default::default() }
            },
        })
        .collect();
    let filters: Vec<_> = subscriptions.iter().map(|subscription| subscription.filter).collect();
    let codes: Vec<u8> = match (parts.kind, version) {
        (8, Version::V5) => {
            parts.blob.iter().map(|byte| [0, 1, 2, 0x80, 0x87, 0xA2][usize::from(*byte) % 6]).chain([0]).collect()
        }
        (8, Version::V311) => {
            parts.blob.iter().map(|byte| [0, 1, 2, 0x80][usize::from(*byte) % 4]).chain([0]).collect()
        }
        (8, Version::V31) => parts.blob.iter().map(|byte| byte % 3).chain([0]).collect(),
        (10, Version::V5) => parts.blob.iter().map(|byte| [0, 0x11, 0x87][usize::from(*byte) % 3]).chain([0]).collect(),
        _ => Vec::new(),
    };
    let ack = |kind, codes: &[u8]| Packet::Ack(Ack { kind, packet_id, reason: reason(codes), properties });
    let will =
        Will { topic, payload: &parts.payload, qos: parts.qos, retain: flags[0], properties: section(&will_list) };
    let (packet, from) = match parts.kind {
        0 => {
            let user_name = flags[2].then_some(b);
            let password = (flags[3] && (v5 || flags[2])).then_some(blob);
            let connect = Connect {
                version,
                clean_start: flags[4],
                keep_alive: parts.number,
                properties,
                client_id: c,
                will: flags[1].then_some(will),
                user_name,
                password,
            };
            (Packet::Connect(connect), Role::Client)
        }
        1 => {
            let code = ReasonCode::from_connack_return_code((parts.choice % 6) as u8);
            let session_present = flags[0] && version != Version::V31;
            (Packet::Connack(Connack { session_present, reason: code, properties }), Role::Server)
        }
        2 => {
            let with_id = parts.qos != Qos::AtMostOnce;
            let publish = Publish {
                dup: flags[0] && with_id,
                qos: parts.qos,
                retain: flags[1],
                topic: if v5 && flags[2] { None } else { Some(topic) },
                packet_id: with_id.then_some(packet_id),
                properties,
                payload: &parts.payload,
            };
            (Packet::Publish(publish), Role::Server)
        }
        3 => (ack(AckKind::Puback, &[0, 0x10, 0x87]), Role::Client),
        4 => (ack(AckKind::Pubrec, &[0, 0x10, 0x97]), Role::Server),
        5 => (ack(AckKind::Pubrel, &[0, 0x92]), Role::Client),
        6 => (ack(AckKind::Pubcomp, &[0, 0x92]), Role::Server),
        7 => (
            Packet::Subscribe(Subscribe {
                packet_id,
                properties,
                subscriptions: Subscriptions::from_slice(&subscriptions),
            }),
            Role::Client,
        ),
        8 => (Packet::Suback(Suback { packet_id, properties, codes: ReasonCodes::new(&codes) }), Role::Server),
        9 => (
            Packet::Unsubscribe(Unsubscribe { packet_id, properties, filters: Filters::from_slice(&filters) }),
            Role::Client,
        ),
        10 => (Packet::Unsuback(Unsuback { packet_id, properties, codes: ReasonCodes::new(&codes) }), Role::Server),
        11 => (Packet::Pingreq, Role::Client),
        12 => (Packet::Pingresp, Role::Server),
        13 if v5 => (Packet::Auth(Auth { reason: reason(&[0, 0x18, 0x19]), properties }), Role::Server),
        _ => (
            Packet::Disconnect(Disconnect { reason: reason(&[0, 4, 0x81, 0x9D]), properties: section(&[]) }),
            Role::Client,
        ),
    };
    check(packet, from);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_built_comes_back(parts in parts()) {
        with_packet(&parts, |packet, from| {
            let mut out = Vec::new();
            packet.encode(parts.version, &mut out).unwrap_or_else(|error| panic!("{packet:?}: {error}"));
            assert_eq!(packet.encoded_len(parts.version), Ok(out.len()));
            assert_eq!(frame_len(&out, u32::MAX), Ok(Some(out.len())));
            let decoded = Packet::decode(&out, parts.version, from).unwrap_or_else(|error| panic!("{packet:?}: {error}"));
            assert_eq!(decoded, packet);
            // And once more, from the sections of the wire.
            let mut again = Vec::new();
            decoded.encode(parts.version, &mut again).unwrap();
            assert_eq!(again, out);
            assert_eq!(packet.fit(parts.version, u32::try_from(out.len()).unwrap()), Some(packet));
            let _ = (packet.to_string(), format!("{decoded:?}"));
        });
    }

    #[test]
    fn one_wrong_byte_never_makes_it_panic(parts in parts(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        with_packet(&parts, |packet, from| {
            let mut out = Vec::new();
            packet.encode(parts.version, &mut out).unwrap();
            let at = at.index(out.len());
            out[at] = byte;
            look(&out, from);
            look(&out[..at], from);
        });
    }

    #[test]
    fn no_bytes_make_it_panic(first in any::<u8>(), body in prop::collection::vec(any::<u8>(), 0..200), from in select(vec![Role::Client, Role::Server])) {
        let frame = [&[first][..], &common::vbi(body.len()), &body].concat();
        look(&frame, from);
        look(&body, from);
        for version in VERSIONS {
            let mut reader = Reader::of_server(version, 1000);
            let mut packets = reader.read(&frame);
            while let Ok(Some(_)) = packets.next() {}
        }
    }
}

/// Decodes, and if it is a packet reads all of it and encodes it again.
fn look(frame: &[u8], from: Role) {
    for version in VERSIONS {
        match Packet::decode(frame, version, from) {
            Ok(packet) => {
                let mut out = Vec::new();
                if packet.encode(version, &mut out).is_ok() {
                    assert_eq!(Packet::decode(&out, version, from), Ok(packet));
                }
                let _ = (packet.to_string(), format!("{packet:?}"), packet.fit(version, 20));
            }
            Err(error) => {
                assert!(error.offset <= frame.len(), "{error}");
                assert!(error.statement.len() > 2, "a rule of the version in use: {error}");
            }
        }
    }
}
