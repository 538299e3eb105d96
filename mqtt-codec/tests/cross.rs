//! Every property in every packet, every reason code in every packet, judged by tables written apart from the source.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]
mod common;

use common::parse;
use mqtt_codec::{
    Ack, AckKind, Auth, Connack, Connect, DecodeErrorKind, Disconnect, EncodeError, Packet, PacketId, Properties,
    Property, Publish, Qos, ReasonCode, ReasonCodes, Role, Suback, Subscribe, SubscribeOptions, Subscription,
    Subscriptions, TopicFilter, TopicName, Unsuback, Unsubscribe, Utf8, Version, Will,
};

/// The packets with properties: name, sender(s), bytes around the section (`@`), allowed identifiers.
const PACKETS: [(&str, &str, &str, &[u8]); 14] = [
    ("CONNECT", "C", r#"10 LL s"MQTT" 05 02 00 3C (@) s"c""#, &[0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27]),
    ("will", "C", r#"10 LL s"MQTT" 05 06 00 3C () s"c" (@) s"w" s"x""#, &[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26]),
    (
        "CONNACK",
        "S",
        "20 LL 00 00 (@)",
        &[0x11, 0x12, 0x13, 0x15, 0x16, 0x1A, 0x1C, 0x1F, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A],
    ),
    ("PUBLISH", "CS", r#"30 LL s"a" (@) "x""#, &[0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26]),
    ("PUBACK", "CS", "40 LL 00 01 00 (@)", &[0x1F, 0x26]),
    ("PUBREC", "CS", "50 LL 00 01 00 (@)", &[0x1F, 0x26]),
    ("PUBREL", "CS", "62 LL 00 01 00 (@)", &[0x1F, 0x26]),
    ("PUBCOMP", "CS", "70 LL 00 01 00 (@)", &[0x1F, 0x26]),
    ("SUBSCRIBE", "C", r#"82 LL 00 01 (@) s"a" 00"#, &[0x0B, 0x26]),
    ("SUBACK", "S", "90 LL 00 01 (@) 00", &[0x1F, 0x26]),
    ("UNSUBSCRIBE", "C", r#"A2 LL 00 01 (@) s"a""#, &[0x26]),
    ("UNSUBACK", "S", "B0 LL 00 01 (@) 00", &[0x1F, 0x26]),
    ("DISCONNECT", "CS", "E0 LL 00 (@)", &[0x11, 0x1C, 0x1F, 0x26]),
    ("AUTH", "CS", "F0 LL 18 (@)", &[0x15, 0x16, 0x1F, 0x26]),
];

fn text(text: &str) -> Utf8<'_> {
    Utf8::new(text).unwrap()
}

type PropertyRow = (u8, &'static str, Property<'static>, Option<(&'static str, u8)>);

/// Each property: identifier, bytes, value, and bytes that are out of range with the reason that answers them.
fn properties() -> Vec<PropertyRow> {
    use Property as P;
    vec![
        (0x01, "01 01", P::PayloadFormatIndicator(true), Some(("01 02", 0x82))),
        (0x02, "02 00 00 00 3C", P::MessageExpiryInterval(60), None),
        (0x03, "03 s\"t\"", P::ContentType(text("t")), Some(("03 00 01 FF", 0x81))),
        (0x08, "08 s\"r\"", P::ResponseTopic(TopicName::new("r").unwrap()), Some(("08 s\"#\"", 0x82))),
        (0x09, "09 00 02 FF 00", P::CorrelationData(&[0xFF, 0]), None),
        (0x0B, "0B FF FF FF 7F", P::SubscriptionIdentifier(268_435_455), Some(("0B 00", 0x82))),
        (0x11, "11 FF FF FF FF", P::SessionExpiryInterval(u32::MAX), None),
        (0x12, "12 s\"id\"", P::AssignedClientIdentifier(text("id")), Some(("12 00 01 00", 0x81))),
        (0x13, "13 00 0A", P::ServerKeepAlive(10), None),
        (0x15, "15 s\"m\"", P::AuthenticationMethod(text("m")), Some(("15 00 01 80", 0x81))),
        (0x16, "16 s\"d\"", P::AuthenticationData(b"d"), None),
        (0x17, "17 00", P::RequestProblemInformation(false), Some(("17 02", 0x82))),
        (0x18, "18 00 00 00 05", P::WillDelayInterval(5), None),
        (0x19, "19 01", P::RequestResponseInformation(true), Some(("19 80", 0x82))),
        (0x1A, "1A s\"ri\"", P::ResponseInformation(text("ri")), Some(("1A 00 01 FE", 0x81))),
        (0x1C, "1C s\"sr\"", P::ServerReference(text("sr")), Some(("1C 00 01 FE", 0x81))),
        (0x1F, "1F s\"why\"", P::ReasonString(text("why")), Some(("1F 00 01 FE", 0x81))),
        (0x21, "21 00 01", P::ReceiveMaximum(1), Some(("21 00 00", 0x82))),
        (0x22, "22 00 00", P::TopicAliasMaximum(0), None),
        (0x23, "23 FF FF", P::TopicAlias(65_535), Some(("23 00 00", 0x94))),
        (0x24, "24 01", P::MaximumQos(true), Some(("24 02", 0x82))),
        (0x25, "25 00", P::RetainAvailable(false), Some(("25 02", 0x82))),
        (0x26, "26 s\"k\" s\"v\"", P::UserProperty(text("k"), text("v")), Some(("26 s\"k\" 00 01 FF", 0x81))),
        (0x27, "27 00 00 00 01", P::MaximumPacketSize(1), Some(("27 00 00 00 00", 0x82))),
        (0x28, "28 00", P::WildcardSubscriptionAvailable(false), Some(("28 02", 0x82))),
        (0x29, "29 01", P::SubscriptionIdentifierAvailable(true), Some(("29 02", 0x82))),
        (0x2A, "2A 01", P::SharedSubscriptionAvailable(true), Some(("2A 02", 0x82))),
    ]
}

fn senders(which: &str) -> Vec<Role> {
    which.chars().map(|c| if c == 'C' { Role::Client } else { Role::Server }).collect()
}

/// The properties of the packet, or the will's.
fn properties_of<'a>(name: &str, packet: &Packet<'a>) -> Properties<'a> {
    match packet {
        Packet::Connect(packet) if name == "will" => packet.will.unwrap().properties,
        Packet::Connect(packet) => packet.properties,
        Packet::Connack(packet) => packet.properties,
        Packet::Publish(packet) => packet.properties,
        Packet::Ack(packet) => packet.properties,
        Packet::Subscribe(packet) => packet.properties,
        Packet::Suback(packet) => packet.properties,
        Packet::Unsubscribe(packet) => packet.properties,
        Packet::Unsuback(packet) => packet.properties,
        Packet::Disconnect(packet) => packet.properties,
        Packet::Auth(packet) => packet.properties,
        Packet::Pingreq | Packet::Pingresp => panic!("no properties"),
    }
}

/// What a packet of this name with this section is answered with; `None` if it is accepted.
fn verdict(template: &str, section: &str, from: Role) -> Option<u8> {
    let bytes = parse(&template.replace('@', section));
    match Packet::decode(&bytes, Version::V5, from) {
        Ok(_) => None,
        Err(error) => {
            let kind = if error.reason.0 == 0x81 { DecodeErrorKind::Malformed } else { DecodeErrorKind::ProtocolError };
            assert_eq!(error.kind, kind, "{error}");
            Some(error.reason.0)
        }
    }
}

#[test]
fn every_property_is_accepted_in_its_packets_and_no_other() {
    // [X5-PROP-1], v5 [MQTT-3.3.4-6], v5 [MQTT-3.14.2-2], [X5-CON-7], [X5-AUTH-2]
    for (name, from, template, allowed) in PACKETS {
        for (id, wire, value, _) in properties() {
            for from in senders(from) {
                let (section, mut wanted) = match (name, id) {
                    ("AUTH", 0x15) => (wire.to_string(), vec![]),
                    ("AUTH", _) => (format!("15 s\"m\" {wire}"), vec![Property::AuthenticationMethod(text("m"))]),
                    (_, 0x16) if allowed.contains(&0x16) => (format!("{wire} 15 s\"m\""), vec![]),
                    _ => (wire.to_string(), vec![]),
                };
                let expected = match (name, id, from) {
                    ("PUBLISH", 0x0B, Role::Client)
                    | ("DISCONNECT", 0x11, Role::Server)
                    | ("DISCONNECT", 0x1C, Role::Client) => Some(0x82),
                    _ if allowed.contains(&id) => None,
                    _ => Some(0x81),
                };
                assert_eq!(verdict(template, &section, from), expected, "{name} {id:02X} {from:?}");
                if expected.is_some() {
                    continue;
                }
                let bytes = parse(&template.replace('@', &section));
                let packet = Packet::decode(&bytes, Version::V5, from).unwrap();
                let read: Vec<_> = properties_of(name, &packet).iter().collect();
                wanted.push(value);
                if id == 0x16 && name != "AUTH" {
                    wanted.push(Property::AuthenticationMethod(text("m")));
                }
                assert_eq!(read, wanted, "{name} {id:02X}");
                assert_eq!(properties_of(name, &packet), Properties::from_slice(&wanted), "{name} {id:02X}");
                // S2: cut anywhere, the section is broken.
                for cut in 1..parse(wire).len() {
                    let part: String = parse(&section)[..parse(&section).len() - cut]
                        .iter()
                        .map(|byte| format!("{byte:02X} "))
                        .collect();
                    if id != 0x16 {
                        assert_eq!(verdict(template, &part, from), Some(0x81), "{name} {id:02X} cut by {cut}");
                    }
                }
            }
        }
    }
}

#[test]
fn no_unknown_identifier_is_accepted_anywhere() {
    let known: Vec<u8> = properties().iter().map(|row| row.0).collect();
    for (name, from, template, _) in PACKETS {
        for id in (0..=255).filter(|id| !known.contains(id)) {
            let section = format!("{id:02X} 00 00 00 00");
            assert_eq!(verdict(template, &section, senders(from)[0]), Some(0x81), "{name} {id:02X}");
        }
    }
}

#[test]
fn every_property_is_refused_twice_and_out_of_range() {
    // [X5-PROP-2], [X5-SUB-3], [X5-AUTH-2]; User Property, and the Subscription Identifier in PUBLISH, may be repeated.
    for (name, from, template, allowed) in PACKETS {
        for (id, wire, _, bad) in properties().into_iter().filter(|row| allowed.contains(&row.0)) {
            let from = match (name, id) {
                ("PUBLISH", 0x0B) | ("DISCONNECT", 0x1C) => Role::Server,
                _ => senders(from)[0],
            };
            let method = if matches!((name, id), ("AUTH", 0x15)) || !allowed.contains(&0x15) || id == 0x15 {
                ""
            } else {
                "15 s\"m\""
            };
            let repeated = matches!((name, id), (_, 0x26) | ("PUBLISH", 0x0B));
            let expected = if repeated { None } else { Some(0x82) };
            assert_eq!(verdict(template, &format!("{method} {wire} {wire}"), from), expected, "{name} {id:02X} twice");
            assert_eq!(
                verdict(template, &format!("{method} {wire} 26 s\"\" s\"\" {wire}"), from),
                expected,
                "{name} {id:02X} twice"
            );
            if let Some((bad, reason)) = bad {
                assert_eq!(
                    verdict(template, &format!("{method} {bad}"), from),
                    Some(reason),
                    "{name} {id:02X} out of range"
                );
            }
        }
    }
}

/// A packet of this name with these properties.
fn build<'a>(name: &str, properties: Properties<'a>) -> Packet<'a> {
    const ID: PacketId = PacketId::new(1).unwrap();
    let ack = |kind| Packet::Ack(Ack { kind, packet_id: ID, reason: ReasonCode::SUCCESS, properties });
    let topic = TopicName::new("a").unwrap();
    let connect = Connect {
        version: Version::V5,
        clean_start: true,
        keep_alive: 0,
        properties: Properties::EMPTY,
        client_id: Utf8::EMPTY,
        will: None,
        user_name: None,
        password: None,
    };
    match name {
        "CONNECT" => Packet::Connect(Connect { properties, ..connect }),
        "will" => Packet::Connect(Connect {
            will: Some(Will { topic, payload: b"", qos: Qos::AtMostOnce, retain: false, properties }),
            ..connect
        }),
        "CONNACK" => Packet::Connack(Connack { session_present: false, reason: ReasonCode::SUCCESS, properties }),
        "PUBLISH" => Packet::Publish(Publish {
            dup: false,
            qos: Qos::AtMostOnce,
            retain: false,
            topic: Some(topic),
            packet_id: None,
            properties,
            payload: b"x",
        }),
        "PUBACK" => ack(AckKind::Puback),
        "PUBREC" => ack(AckKind::Pubrec),
        "PUBREL" => ack(AckKind::Pubrel),
        "PUBCOMP" => ack(AckKind::Pubcomp),
        "SUBSCRIBE" => {
            static LIST: std::sync::OnceLock<[Subscription<'static>; 1]> = std::sync::OnceLock::new();
            let list = LIST.get_or_init(|| {
                [Subscription { filter: TopicFilter::new("a").unwrap(), options: SubscribeOptions::default() }]
            });
            Packet::Subscribe(Subscribe { packet_id: ID, properties, subscriptions: Subscriptions::from_slice(list) })
        }
        "SUBACK" => Packet::Suback(Suback { packet_id: ID, properties, codes: ReasonCodes::new(&[0]) }),
        "UNSUBSCRIBE" => {
            static LIST: std::sync::OnceLock<[TopicFilter<'static>; 1]> = std::sync::OnceLock::new();
            let list = LIST.get_or_init(|| [TopicFilter::new("a").unwrap()]);
            Packet::Unsubscribe(Unsubscribe {
                packet_id: ID,
                properties,
                filters: mqtt_codec::Filters::from_slice(list),
            })
        }
        "UNSUBACK" => Packet::Unsuback(Unsuback { packet_id: ID, properties, codes: ReasonCodes::new(&[0]) }),
        "DISCONNECT" => Packet::Disconnect(Disconnect { reason: ReasonCode::SUCCESS, properties }),
        "AUTH" => Packet::Auth(Auth { reason: ReasonCode::CONTINUE_AUTHENTICATION, properties }),
        _ => panic!("{name}?"),
    }
}

#[test]
fn what_is_built_is_refused_as_what_is_read() {
    let refused = |packet: &Packet<'_>| packet.encoded_len(Version::V5) == Err(EncodeError::Property);
    for (name, _, _, allowed) in PACKETS {
        for (id, wire, value, _) in properties() {
            let method = Property::AuthenticationMethod(text("m"));
            let list = if (name == "AUTH" || id == 0x16) && id != 0x15 && allowed.contains(&0x15) {
                vec![method, value]
            } else {
                vec![value]
            };
            let packet = build(name, Properties::from_slice(&list));
            assert_eq!(refused(&packet), !allowed.contains(&id), "{name} {id:02X}");
            if !allowed.contains(&id) {
                continue;
            }
            // What was built goes over the wire as it is ..
            let mut out = Vec::new();
            packet.encode(Version::V5, &mut out).unwrap();
            let from = if matches!((name, id), ("PUBLISH", 0x0B) | ("DISCONNECT", 0x1C)) || packet_is_servers(name) {
                Role::Server
            } else {
                Role::Client
            };
            assert_eq!(Packet::decode(&out, Version::V5, from), Ok(packet), "{name} {id:02X}");
            // .. twice only where it may be repeated ..
            let twice = [list.clone(), vec![value]].concat();
            let repeated = matches!((name, id), (_, 0x26) | ("PUBLISH", 0x0B));
            assert_eq!(refused(&build(name, Properties::from_slice(&twice))), !repeated, "{name} {id:02X} twice");
            // .. and before 5.0 not at all.
            if name != "AUTH" && name != "CONNECT" && name != "will" {
                let bare = build(name, Properties::EMPTY);
                assert_eq!(packet.encoded_len(Version::V311), bare.encoded_len(Version::V311), "{name} {id:02X}");
            }
            // The section of another packet is judged again.
            for (other, _, _, theirs) in PACKETS {
                let decoded = Packet::decode(&out, Version::V5, from).unwrap();
                let moved = build(other, properties_of(name, &decoded));
                let fits = list.iter().all(|property| theirs.contains(&(property.id() as u8)))
                    && (other != "AUTH" || list.contains(&method));
                assert_eq!(refused(&moved), !fits, "{name} -> {other} {id:02X}");
            }
            let trusted = parse(wire);
            let packet = build(name, Properties::from_wire_unchecked(&trusted));
            if name != "AUTH" {
                assert!(packet.encoded_len(Version::V5).is_ok(), "its owner vouches for it");
            }
        }
    }
    for (name, value) in [
        ("CONNECT", Property::ReceiveMaximum(0)),
        ("CONNECT", Property::MaximumPacketSize(0)),
        ("CONNECT", Property::AuthenticationData(b"x")),
        ("PUBLISH", Property::TopicAlias(0)),
        ("PUBLISH", Property::SubscriptionIdentifier(0)),
        ("PUBLISH", Property::SubscriptionIdentifier(268_435_456)),
        ("AUTH", Property::ReasonString(Utf8::EMPTY)),
    ] {
        assert!(refused(&build(name, Properties::from_slice(&[value]))), "{name} {value:?}");
    }
    let long = vec![0; 65_536];
    let list = [Property::CorrelationData(&long)];
    assert_eq!(
        build("PUBLISH", Properties::from_slice(&list)).encoded_len(Version::V5),
        Err(EncodeError::StringTooLong)
    );
}

fn packet_is_servers(name: &str) -> bool {
    matches!(name, "CONNACK" | "SUBACK" | "UNSUBACK")
}

/// The reason codes of each packet at level 5: name, statement, bytes around the code (`@`), the codes.
const CODES: [(&str, &str, &str); 9] = [
    ("v5 [MQTT-3.2.2-8]", "20 LL 00 @ 00", "00 80-8A 8C 90 95 97 99 9A 9B 9C 9D 9F"),
    ("v5 [MQTT-3.4.2-1]", "40 LL 00 01 @", "00 10 80 83 87 90 91 97 99"),
    ("v5 [MQTT-3.5.2-1]", "50 LL 00 01 @", "00 10 80 83 87 90 91 97 99"),
    ("v5 [MQTT-3.6.2-1]", "62 LL 00 01 @", "00 92"),
    ("v5 [MQTT-3.7.2-1]", "70 LL 00 01 @", "00 92"),
    ("v5 [MQTT-3.9.3-2]", "90 LL 00 01 00 @", "00 01 02 80 83 87 8F 91 97 9E A1 A2"),
    ("v5 [MQTT-3.11.3-2]", "B0 LL 00 01 00 @", "00 11 80 83 87 8F 91"),
    ("v5 [MQTT-3.14.2-1]", "E0 LL @", "00 04 80-83 87 89 8B 8D 8E 8F 90 93-9F A0 A1 A2"),
    ("v5 [MQTT-3.15.2-1]", "F0 LL @ (15 s\"m\")", "00 18 19"),
];

fn with_code<'a>(packet: Packet<'a>, reason: ReasonCode, code: &'a [u8]) -> Packet<'a> {
    let codes = ReasonCodes::new(code);
    match packet {
        Packet::Connack(packet) => Packet::Connack(Connack { reason, ..packet }),
        Packet::Ack(packet) => Packet::Ack(Ack { reason, ..packet }),
        Packet::Suback(packet) => Packet::Suback(Suback { codes, ..packet }),
        Packet::Unsuback(packet) => Packet::Unsuback(Unsuback { codes, ..packet }),
        Packet::Disconnect(packet) => Packet::Disconnect(Disconnect { reason, ..packet }),
        Packet::Auth(packet) => Packet::Auth(Auth { reason, ..packet }),
        _ => panic!("no reason code"),
    }
}

#[test]
fn every_reason_code_is_accepted_in_its_packets_and_no_other() {
    for (statement, template, list) in CODES {
        let from = if template.starts_with('2') || template.starts_with('9') || template.starts_with('B') {
            Role::Server
        } else {
            Role::Client
        };
        let mut allowed = Vec::new();
        for item in list.split(' ') {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            allowed.extend(u8::from_str_radix(first, 16).unwrap()..=u8::from_str_radix(last, 16).unwrap());
        }
        let good = parse(&template.replace('@', "00"));
        let good = Packet::decode(&good, Version::V5, from).unwrap();
        for code in 0..=255 {
            let bytes = parse(&template.replace('@', &format!("{code:02X}")));
            let decoded = Packet::decode(&bytes, Version::V5, from);
            let code = [code];
            let reason = ReasonCode(code[0]);
            let encoded = with_code(good, reason, &code).encoded_len(Version::V5);
            if allowed.contains(&reason.0) {
                assert!(decoded.is_ok() && encoded.is_ok(), "{template} {reason:?}");
            } else {
                let error = decoded.unwrap_err();
                assert_eq!(
                    (error.statement, error.reason),
                    (statement, ReasonCode::PROTOCOL_ERROR),
                    "{template} {reason:?}"
                );
                assert_eq!(encoded, Err(EncodeError::ReasonCode(reason)), "{template} {reason:?}");
            }
        }
    }
}

#[test]
fn the_older_versions_have_their_few_codes_and_no_other() {
    // v4 [MQTT-3.9.3-2], [X31-SUB-1]; v4 section 3.2.2.3 reserves the return codes from 6 on.
    for code in 0..=255 {
        for (version, suback) in [(Version::V311, &[0, 1, 2, 0x80][..]), (Version::V31, &[0, 1, 2])] {
            let accepted = |bytes: &[u8]| Packet::decode(bytes, version, Role::Server).is_ok();
            assert_eq!(accepted(&[0x90, 3, 0, 1, code]), suback.contains(&code), "{version} {code:02X}");
            assert_eq!(accepted(&[0x90, 4, 0, 1, 0, code]), suback.contains(&code), "{version} {code:02X}, second");
            assert_eq!(accepted(&[0x20, 2, 0, code]), code <= 5, "{version} {code:02X}");
        }
    }
}

#[test]
fn every_property_has_a_getter_that_finds_it_behind_the_others() {
    let rows = properties();
    let list: Vec<_> = rows.iter().map(|row| row.2).collect();
    let wire: Vec<u8> = rows.iter().flat_map(|row| parse(row.1)).collect();
    for all in [Properties::from_slice(&list), Properties::from_wire_unchecked(&wire)] {
        assert_eq!(all.iter().count(), 27);
        assert_eq!(all.encoded_len(), wire.len());
        assert_eq!(all.payload_format_indicator(), Some(true));
        assert_eq!(all.message_expiry_interval(), Some(60));
        assert_eq!(all.content_type(), Some(text("t")));
        assert_eq!(all.response_topic(), TopicName::new("r").ok());
        assert_eq!(all.correlation_data(), Some(&[0xFF, 0][..]));
        assert_eq!(all.subscription_identifiers().collect::<Vec<_>>(), [268_435_455]);
        assert_eq!(all.session_expiry_interval(), Some(u32::MAX));
        assert_eq!(all.assigned_client_identifier(), Some(text("id")));
        assert_eq!(all.server_keep_alive(), Some(10));
        assert_eq!(all.authentication_method(), Some(text("m")));
        assert_eq!(all.authentication_data(), Some(&b"d"[..]));
        assert_eq!(all.request_problem_information(), Some(false));
        assert_eq!(all.will_delay_interval(), Some(5));
        assert_eq!(all.request_response_information(), Some(true));
        assert_eq!(all.response_information(), Some(text("ri")));
        assert_eq!(all.server_reference(), Some(text("sr")));
        assert_eq!(all.reason_string(), Some(text("why")));
        assert_eq!(all.receive_maximum(), Some(1));
        assert_eq!(all.topic_alias_maximum(), Some(0));
        assert_eq!(all.topic_alias(), Some(65_535));
        assert_eq!(all.maximum_qos(), Some(true));
        assert_eq!(all.retain_available(), Some(false));
        assert_eq!(all.user_properties().collect::<Vec<_>>(), [(text("k"), text("v"))]);
        assert_eq!(all.maximum_packet_size(), Some(1));
        assert_eq!(all.wildcard_subscription_available(), Some(false));
        assert_eq!(all.subscription_identifier_available(), Some(true));
        assert_eq!(all.shared_subscription_available(), Some(true));
        assert_eq!(Properties::EMPTY.content_type(), None);

        let quiet = all.without_diagnostics();
        assert_eq!((quiet.reason_string(), quiet.user_properties().count(), quiet.iter().count()), (None, 0, 25));
        assert_eq!(quiet.wire(), None);
        assert_eq!(quiet.encoded_len(), wire.len() - parse("1F s\"why\" 26 s\"k\" s\"v\"").len());
        assert!(quiet != all && quiet == quiet.without_diagnostics());
    }
}

#[test]
fn what_does_not_parse_ends_the_iteration_of_an_unchecked_section() {
    let wire = parse("02 00 00 00 01 1F 00 03 61 26 00");
    let properties = Properties::from_wire_unchecked(&wire);
    assert_eq!(properties.iter().collect::<Vec<_>>(), [Property::MessageExpiryInterval(1)]);
    assert_eq!(properties.reason_string(), None);
    for garbage in [
        &[0xFF][..],
        &[0x04, 0],
        &[0x01, 2],
        &[0x0B, 0x80, 0x80, 0x80, 0x80, 1],
        &[0x08, 0, 1, b'#'],
        &[0x1F, 0, 1, 0xFF],
    ] {
        assert_eq!(Properties::from_wire_unchecked(garbage).iter().count(), 0, "{garbage:?}");
    }
}
