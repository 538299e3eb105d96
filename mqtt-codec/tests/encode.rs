//! What the encoder refuses, what it leaves out, and what it fits to the peer's limit.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]
mod common;

use common::{parse, rows};
use mqtt_codec::{
    Ack, AckKind, Auth, Connack, Connect, Disconnect, EncodeError, Filters, Packet, PacketId, Properties, Property,
    Publish, Qos, ReasonCode, ReasonCodes, Role, Suback, Subscribe, SubscribeOptions, Subscription, Subscriptions,
    TopicFilter, TopicName, Unsuback, Unsubscribe, Utf8, Version,
};

const ID: PacketId = PacketId::new(7).unwrap();

fn publish(topic: &str) -> Publish<'_> {
    Publish {
        dup: false,
        qos: Qos::AtMostOnce,
        retain: false,
        topic: TopicName::new(topic).ok(),
        packet_id: None,
        properties: Properties::EMPTY,
        payload: b"",
    }
}

fn bytes(packet: &Packet<'_>, version: Version) -> Vec<u8> {
    let mut out = Vec::new();
    packet.encode(version, &mut out).unwrap();
    out
}

#[test]
fn every_type_has_its_own_flags() {
    // v4 [MQTT-2.2.2-1], v5 [MQTT-2.1.3-1], v4 [MQTT-3.6.1-1], v5 [MQTT-3.8.1-1], v5 [MQTT-3.10.1-1]
    for row in rows().iter().filter(|row| row.verdict.starts_with("ok")) {
        let packet = Packet::decode(&row.bytes, row.version, row.from).unwrap();
        let first = bytes(&packet, row.version)[0];
        match first >> 4 {
            3 => {}
            6 | 8 | 10 => assert_eq!(first & 0x0F, 2, "{}", row.place),
            _ => assert_eq!(first & 0x0F, 0, "{}", row.place),
        }
    }
}

#[test]
fn a_publish_has_an_identifier_if_and_only_if_it_is_acknowledged() {
    // v5 [MQTT-2.2.1-2], v4 [MQTT-2.3.1-1], v4 [MQTT-2.3.1-5], v5 [MQTT-3.3.1-2], v4 [MQTT-3.3.1-2]
    for version in [Version::V31, Version::V311, Version::V5] {
        for (qos, packet_id, dup, good) in [
            (Qos::AtMostOnce, None, false, true),
            (Qos::AtMostOnce, Some(ID), false, false),
            (Qos::AtMostOnce, None, true, false),
            (Qos::AtLeastOnce, None, false, false),
            (Qos::AtLeastOnce, Some(ID), true, true),
            (Qos::ExactlyOnce, None, false, false),
            (Qos::ExactlyOnce, Some(ID), false, true),
        ] {
            let packet = Packet::Publish(Publish { qos, packet_id, dup, ..publish("a") });
            assert_eq!(packet.encoded_len(version).is_ok(), good, "{qos:?} {packet_id:?} {dup}");
            assert!(good || packet.encoded_len(version) == Err(EncodeError::Invalid));
        }
    }
    assert_eq!(PacketId::new(0), None);
}

#[test]
fn only_an_alias_stands_for_a_topic() {
    // [X5-PUB-1], [X311-PUB-1]
    let alias = [Property::TopicAlias(1)];
    let with_alias =
        Packet::Publish(Publish { topic: None, properties: Properties::from_slice(&alias), ..publish("a") });
    let without = Packet::Publish(Publish { topic: None, ..publish("a") });
    assert_eq!(bytes(&with_alias, Version::V5), parse(r#"30 LL s"" (23 00 01)"#));
    assert_eq!(with_alias.encoded_len(Version::V311), Err(EncodeError::Invalid));
    assert_eq!(without.encoded_len(Version::V5), Err(EncodeError::Invalid));
    assert_eq!(without.encoded_len(Version::V311), Err(EncodeError::Invalid));
}

#[test]
fn a_field_is_at_most_65535_bytes() {
    // v5 [MQTT-4.7.3-3], v4 [MQTT-4.7.3-3]
    let long = "x".repeat(65_535);
    let too_long = "x".repeat(65_536);
    assert!(
        TopicName::new(&too_long).is_err() && TopicFilter::new(&too_long).is_err() && Utf8::new(&too_long).is_none()
    );
    for version in [Version::V311, Version::V5] {
        let packet = Packet::Publish(publish(&long));
        let wire = bytes(&packet, version);
        assert_eq!(Packet::decode(&wire, version, Role::Client), Ok(packet));
        let list = [Subscription { filter: TopicFilter::new(&long).unwrap(), options: SubscribeOptions::default() }];
        let packet = Packet::Subscribe(Subscribe {
            packet_id: ID,
            properties: Properties::EMPTY,
            subscriptions: Subscriptions::from_slice(&list),
        });
        let wire = bytes(&packet, version);
        let Ok(Packet::Subscribe(read)) = Packet::decode(&wire, version, Role::Client) else { panic!() };
        assert_eq!(read.subscriptions.iter().next(), Some(Ok(list[0])));
    }
    let connect = connect(Version::V311);
    let password = too_long.as_bytes();
    let packet = Packet::Connect(Connect { user_name: Some(Utf8::EMPTY), password: Some(password), ..connect });
    assert_eq!(packet.encoded_len(Version::V311), Err(EncodeError::StringTooLong));
    let packet = Packet::Connect(Connect { user_name: Some(Utf8::EMPTY), password: Some(&password[1..]), ..connect });
    assert!(packet.encoded_len(Version::V311).is_ok());
}

fn connect(version: Version) -> Connect<'static> {
    Connect {
        version,
        clean_start: true,
        keep_alive: 60,
        properties: Properties::EMPTY,
        client_id: Utf8::EMPTY,
        will: None,
        user_name: None,
        password: None,
    }
}

#[test]
fn only_5_0_lets_a_password_stand_alone() {
    // v4 [MQTT-3.1.2-22], v5 [MQTT-3.1.2-19]
    for (version, good) in [(Version::V31, false), (Version::V311, false), (Version::V5, true)] {
        let packet = Packet::Connect(Connect { password: Some(b"x"), ..connect(version) });
        assert_eq!(packet.encoded_len(version), if good { Ok(18) } else { Err(EncodeError::Invalid) });
    }
}

#[test]
fn lengths_take_the_fewest_bytes() {
    // v5 [MQTT-1.5.5-1]
    let payload = vec![0; 2_097_200];
    for (body, header) in [(127, 2), (128, 3), (16_383, 3), (16_384, 4), (2_097_151, 4), (2_097_152, 5)] {
        let packet = Packet::Publish(Publish { payload: &payload[..body - 3], ..publish("a") });
        let wire = bytes(&packet, Version::V311);
        assert_eq!((wire.len(), packet.encoded_len(Version::V311)), (body + header, Ok(body + header)));
        assert_eq!(wire[1..header], common::vbi(body));
        assert_eq!(mqtt_codec::frame_len(&wire, u32::MAX), Ok(Some(wire.len())));
    }
    for (id, wire) in [(127, "0B 7F"), (128, "0B 80 01"), (16_384, "0B 80 80 01"), (268_435_455, "0B FF FF FF 7F")] {
        let list = [Property::SubscriptionIdentifier(id)];
        let packet = Packet::Publish(Publish { properties: Properties::from_slice(&list), ..publish("a") });
        assert_eq!(bytes(&packet, Version::V5), parse(&format!("30 LL s\"a\" ({wire})")));
    }
}

#[test]
fn a_packet_is_at_most_268_435_455_bytes_behind_its_header() {
    let payload = vec![0; 268_435_455];
    let len = |taken: usize| {
        Packet::Publish(Publish { payload: &payload[taken..], ..publish("a") }).encoded_len(Version::V311)
    };
    assert_eq!(len(3), Ok(5 + 268_435_455));
    assert_eq!(len(2), Err(EncodeError::PacketTooLarge));
}

#[test]
fn empty_properties_are_a_length_of_0() {
    // v5 [MQTT-2.2.2-1]
    let list = [Subscription { filter: TopicFilter::new("a").unwrap(), options: SubscribeOptions::default() }];
    let subscribe = Packet::Subscribe(Subscribe {
        packet_id: ID,
        properties: Properties::EMPTY,
        subscriptions: Subscriptions::from_slice(&list),
    });
    assert_eq!(bytes(&subscribe, Version::V5), parse(r#"82 LL 00 07 00 s"a" 00"#));
    assert_eq!(bytes(&subscribe, Version::V311), parse(r#"82 LL 00 07 s"a" 00"#));
}

#[test]
fn there_is_no_subscribe_without_a_filter_and_no_suback_without_a_code() {
    // v5 [MQTT-3.8.3-2], v4 [MQTT-3.8.3-3], v5 [MQTT-3.10.3-2], v4 [MQTT-3.10.3-2]
    let properties = Properties::EMPTY;
    for version in [Version::V31, Version::V311, Version::V5] {
        let codes = ReasonCodes::new(&[]);
        let packets = [
            Packet::Subscribe(Subscribe { packet_id: ID, properties, subscriptions: Subscriptions::from_slice(&[]) }),
            Packet::Unsubscribe(Unsubscribe { packet_id: ID, properties, filters: Filters::from_slice(&[]) }),
            Packet::Suback(Suback { packet_id: ID, properties, codes }),
        ];
        for packet in packets {
            assert_eq!(packet.encoded_len(version), Err(EncodeError::Invalid), "{packet}");
        }
        let unsuback = Packet::Unsuback(Unsuback { packet_id: ID, properties, codes }).encoded_len(version);
        assert_eq!(unsuback, if version == Version::V5 { Err(EncodeError::Invalid) } else { Ok(4) });
    }
}

#[test]
fn a_shared_subscription_is_built_by_the_rules() {
    // v5 [MQTT-3.8.3-4]: no local; a filter that is not one of a group is a plain one before 5.0.
    let subscribe = |filter, no_local, version| {
        let list = [Subscription {
            filter: TopicFilter::new(filter).unwrap(),
            options: SubscribeOptions { no_local, ..Default::default() },
        }];
        let subscriptions = Subscriptions::from_slice(&list);
        Packet::Subscribe(Subscribe { packet_id: ID, properties: Properties::EMPTY, subscriptions })
            .encoded_len(version)
    };
    assert!(subscribe("$share/g/a", false, Version::V5).is_ok());
    assert_eq!(subscribe("$share/g/a", true, Version::V5), Err(EncodeError::Invalid));
    assert_eq!(subscribe("$share//a", false, Version::V5), Err(EncodeError::Invalid));
    assert!(subscribe("$share//a", true, Version::V311).is_ok());
    assert!(subscribe("a", true, Version::V5).is_ok());
}

#[test]
fn the_older_versions_say_what_they_can() {
    let suback = |codes, version| {
        Packet::Suback(Suback { packet_id: ID, properties: Properties::EMPTY, codes: ReasonCodes::new(codes) })
            .encoded(version)
    };
    // v4 [MQTT-3.9.3-2]: every failure is 0x80; 03 is no code at all.
    assert_eq!(suback(&[0, 2, 0x87, 0x80], Version::V311), Ok(parse("90 06 00 07 00 02 80 80")));
    assert_eq!(suback(&[3], Version::V311), Err(EncodeError::ReasonCode(ReasonCode(3))));
    // [X31-SUB-1]: there is no failure to say.
    assert_eq!(suback(&[0, 0x87], Version::V31), Err(EncodeError::ReasonCode(ReasonCode(0x87))));
    assert_eq!(suback(&[0, 1], Version::V31), Ok(parse("90 04 00 07 00 01")));

    let connack = |session_present, reason, version| {
        Packet::Connack(Connack { session_present, reason, properties: Properties::EMPTY }).encoded(version)
    };
    // [X31-CACK-1]: the first byte stays 0. v5 [MQTT-3.2.2-1]: elsewhere it says whether there is a session, and no more.
    assert_eq!(connack(true, ReasonCode::SUCCESS, Version::V31), Ok(vec![0x20, 2, 0, 0]));
    assert_eq!(connack(true, ReasonCode::SUCCESS, Version::V311), Ok(vec![0x20, 2, 1, 0]));
    assert_eq!(connack(true, ReasonCode::SUCCESS, Version::V5), Ok(vec![0x20, 3, 1, 0, 0]));
    for (reason, code) in
        [(0x84, 1), (0x85, 2), (0x88, 3), (0x89, 3), (0x97, 3), (0x9F, 3), (0x86, 4), (0x87, 5), (0x8A, 5), (0x8C, 5)]
    {
        assert_eq!(connack(false, ReasonCode(reason), Version::V311), Ok(vec![0x20, 2, 0, code]), "{reason:02X}");
    }
    for reason in [ReasonCode::MALFORMED_PACKET, ReasonCode::UNSPECIFIED_ERROR, ReasonCode::SESSION_TAKEN_OVER] {
        assert_eq!(connack(false, reason, Version::V311), Err(EncodeError::ReasonCode(reason)));
    }
    for code in 0..=255 {
        let reason = ReasonCode::from_connack_return_code(code);
        assert_eq!(reason.to_connack_return_code() == Some(code), code <= 5, "{code}");
    }

    let puback = Packet::Ack(Ack {
        kind: AckKind::Puback,
        packet_id: ID,
        reason: ReasonCode::NOT_AUTHORIZED,
        properties: Properties::EMPTY,
    });
    assert_eq!(puback.encoded(Version::V311), Ok(parse("40 02 00 07")));
    let disconnect =
        |reason| Packet::Disconnect(Disconnect { reason, properties: Properties::EMPTY }).encoded(Version::V311);
    assert_eq!(disconnect(ReasonCode::SUCCESS), Ok(parse("E0 00")));
    assert_eq!(disconnect(ReasonCode::DISCONNECT_WITH_WILL), Err(EncodeError::ReasonCode(ReasonCode(4))));
    let method = [Property::AuthenticationMethod(Utf8::EMPTY)];
    let auth = Packet::Auth(Auth { reason: ReasonCode::SUCCESS, properties: Properties::from_slice(&method) });
    assert_eq!(auth.encoded(Version::V311), Err(EncodeError::Invalid));
    assert!(auth.encoded(Version::V5).is_ok());
    // What only 5.0 asks of a subscription is not written.
    let options = SubscribeOptions {
        qos: Qos::AtLeastOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: mqtt_codec::RetainHandling::Never,
    };
    let list = [Subscription { filter: TopicFilter::new("a").unwrap(), options }];
    let subscribe = Packet::Subscribe(Subscribe {
        packet_id: ID,
        properties: Properties::EMPTY,
        subscriptions: Subscriptions::from_slice(&list),
    });
    assert_eq!(subscribe.encoded(Version::V311), Ok(parse(r#"82 LL 00 07 s"a" 01"#)));
    assert_eq!(subscribe.encoded(Version::V5), Ok(parse(r#"82 LL 00 07 () s"a" 2D"#)));
}

trait Encoded {
    fn encoded(&self, version: Version) -> Result<Vec<u8>, EncodeError>;
}

impl Encoded for Packet<'_> {
    fn encoded(&self, version: Version) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::new();
        let result = self.encode(version, &mut out);
        assert_eq!(self.encoded_len(version), result.map(|()| out.len()));
        assert!(result.is_ok() || out.is_empty(), "on an error nothing is written");
        result.map(|()| out)
    }
}

#[test]
fn a_buffer_that_is_too_small_is_left_as_it_is() {
    let packet = Packet::Publish(publish("abc"));
    let mut small = [0xAA; 6];
    assert_eq!(packet.encode(Version::V311, &mut &mut small[..]), Err(EncodeError::NoRoom));
    assert_eq!(small, [0xAA; 6]);
    let mut enough = [0; 7];
    assert_eq!(packet.encode(Version::V311, &mut &mut enough[..]), Ok(()));
    assert_eq!(enough, [0x30, 5, 0, 3, b'a', b'b', b'c']);
}

#[test]
fn a_reason_string_and_user_properties_give_way_to_the_peers_limit() {
    // v5 [MQTT-3.2.2-19], v5 [MQTT-3.2.2-20], v5 [MQTT-3.4.2-2], v5 [MQTT-3.4.2-3], v5 [MQTT-3.5.2-2], v5 [MQTT-3.5.2-3],
    // v5 [MQTT-3.6.2-2], v5 [MQTT-3.6.2-3], v5 [MQTT-3.7.2-2], v5 [MQTT-3.7.2-3], v5 [MQTT-3.9.2-1], v5 [MQTT-3.9.2-2],
    // v5 [MQTT-3.11.2-1], v5 [MQTT-3.11.2-2], v5 [MQTT-3.14.2-3], v5 [MQTT-3.14.2-4], v5 [MQTT-3.15.2-2], v5 [MQTT-3.15.2-3]
    for (whole, no_user, bare) in [
        (r#"20 LL 00 87 (@ 11 00 00 00 05)"#, r#"(1F s"why" 11 00 00 00 05)"#, "(11 00 00 00 05)"),
        (r#"40 LL 00 07 87 (@)"#, r#"(1F s"why")"#, ""),
        (r#"50 LL 00 07 87 (@)"#, r#"(1F s"why")"#, ""),
        (r#"62 LL 00 07 92 (@)"#, r#"(1F s"why")"#, ""),
        (r#"70 LL 00 07 92 (@)"#, r#"(1F s"why")"#, ""),
        (r#"90 LL 00 07 (@) 87"#, r#"(1F s"why")"#, "()"),
        (r#"B0 LL 00 07 (@) 87"#, r#"(1F s"why")"#, "()"),
        (r#"E0 LL 9C (1C s"other" @)"#, r#"(1C s"other" 1F s"why")"#, r#"(1C s"other")"#),
        (r#"F0 LL 18 (15 s"m" @ 16 s"d")"#, r#"(15 s"m" 1F s"why" 16 s"d")"#, r#"(15 s"m" 16 s"d")"#),
    ] {
        let around = |section: &str| {
            let (before, rest) = whole.split_once('(').unwrap();
            let after = rest.split_once(')').unwrap().1;
            parse(&format!("{before} {section} {after}"))
        };
        let wire = parse(&whole.replace('@', r#"26 s"k" s"v" 1F s"why" 26 s"k" s"w""#));
        let from = Role::Server;
        let decoded = Packet::decode(&wire, Version::V5, from).unwrap();
        let stages = [wire.clone(), around(no_user), around(bare)];
        assert!(stages[0].len() > stages[1].len() && stages[1].len() > stages[2].len(), "{whole}");
        // The properties as they were read, and the same from a slice.
        let list: Vec<_> = properties(&decoded).iter().collect();
        for packet in [decoded, with_properties(decoded, Properties::from_slice(&list))] {
            for limit in 0..=wire.len() + 1 {
                let fitted = packet.fit(Version::V5, u32::try_from(limit).unwrap());
                let expected = stages.iter().find(|stage| stage.len() <= limit);
                assert_eq!(fitted.map(|packet| bytes(&packet, Version::V5)).as_ref(), expected, "{whole} {limit}");
            }
        }
    }
}

fn properties<'a>(packet: &Packet<'a>) -> Properties<'a> {
    match packet {
        Packet::Connack(packet) => packet.properties,
        Packet::Ack(packet) => packet.properties,
        Packet::Suback(packet) => packet.properties,
        Packet::Unsuback(packet) => packet.properties,
        Packet::Disconnect(packet) => packet.properties,
        Packet::Auth(packet) => packet.properties,
        _ => panic!("not one of these"),
    }
}

fn with_properties<'a>(packet: Packet<'a>, properties: Properties<'a>) -> Packet<'a> {
    match packet {
        Packet::Connack(packet) => Packet::Connack(Connack { properties, ..packet }),
        Packet::Ack(packet) => Packet::Ack(Ack { properties, ..packet }),
        Packet::Suback(packet) => Packet::Suback(Suback { properties, ..packet }),
        Packet::Unsuback(packet) => Packet::Unsuback(Unsuback { properties, ..packet }),
        Packet::Disconnect(packet) => Packet::Disconnect(Disconnect { properties, ..packet }),
        Packet::Auth(packet) => Packet::Auth(Auth { properties, ..packet }),
        _ => panic!("not one of these"),
    }
}

#[test]
fn a_publish_is_never_trimmed() {
    let list = [Property::UserProperty(Utf8::new("k").unwrap(), Utf8::new("v").unwrap())];
    let packet = Packet::Publish(Publish { properties: Properties::from_slice(&list), ..publish("a") });
    let len = u32::try_from(packet.encoded_len(Version::V5).unwrap()).unwrap();
    assert_eq!(packet.fit(Version::V5, len), Some(packet));
    assert_eq!(packet.fit(Version::V5, len - 1), None);
}
