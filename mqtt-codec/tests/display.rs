//! What people read of packets, properties and errors: one line each, and nothing secret.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]
mod common;

use common::{parse, rows};
use mqtt_codec::{Packet, PacketId, Property, PropertyId, Qos, ReasonCode, Role, Utf8, Version};

#[test]
fn whatever_is_in_a_packet_it_is_shown_on_one_line() {
    for row in rows() {
        match Packet::decode(&row.bytes, row.version, row.from) {
            Ok(packet) => {
                for shown in [packet.to_string(), format!("{packet:?}")] {
                    assert!(!shown.is_empty() && !shown.chars().any(char::is_control), "{}: {shown}", row.place);
                }
                // Each packet shows itself as the enum does.
                let own = match packet {
                    Packet::Connect(packet) => packet.to_string(),
                    Packet::Connack(packet) => packet.to_string(),
                    Packet::Publish(packet) => packet.to_string(),
                    Packet::Ack(packet) => packet.to_string(),
                    Packet::Subscribe(packet) => packet.to_string(),
                    Packet::Suback(packet) => packet.to_string(),
                    Packet::Unsubscribe(packet) => packet.to_string(),
                    Packet::Unsuback(packet) => packet.to_string(),
                    Packet::Disconnect(packet) => packet.to_string(),
                    Packet::Auth(packet) => packet.to_string(),
                    Packet::Pingreq => "PINGREQ".into(),
                    Packet::Pingresp => "PINGRESP".into(),
                };
                assert_eq!(own, packet.to_string());
            }
            Err(error) => {
                let shown = error.to_string();
                assert!(shown.contains(error.statement) && !shown.contains('\n'), "{}: {shown}", row.place);
            }
        }
    }
}

#[test]
fn no_password_and_no_authentication_data_are_shown() {
    let bytes = parse(r#"10 LL s"MQTT" 05 C2 00 3C (15 s"m" 16 s"hunter2") s"c" s"u" s"hunter2""#);
    let packet = Packet::decode(&bytes, Version::V5, Role::Client).unwrap();
    for shown in [packet.to_string(), format!("{packet:?}"), format!("{packet:#?}")] {
        assert!(!shown.contains("hunter2") && !shown.contains("104, 117"), "{shown}");
    }
    assert!(packet.to_string().contains("password"), "that there is one may be known");
}

#[test]
fn a_payload_is_shown_to_developers_as_text() {
    let bytes = parse(r#"30 LL s"a" () "21.5" 00 FF"#);
    let packet = Packet::decode(&bytes, Version::V5, Role::Client).unwrap();
    assert_eq!(packet.to_string(), "PUBLISH q0 r0 d0 a 6 bytes");
    assert_eq!(
        format!("{packet:?}"),
        "Publish(Publish { dup: false, qos: AtMostOnce, retain: false, topic: Some(\"a\"), packet_id: None, \
         properties: [], payload: b\"21.5\\x00\\xff\" })"
    );
}

#[test]
fn names_are_those_of_the_standard() {
    assert_eq!(ReasonCode::NOT_AUTHORIZED.to_string(), "0x87 Not authorized");
    assert_eq!(ReasonCode(0x7F).to_string(), "0x7F");
    assert_eq!((0..=255).filter(|&code| ReasonCode(code).name().is_some()).count(), 43);
    assert_eq!((0..=255).filter_map(PropertyId::new).count(), 27);
    for id in (0..=255).filter_map(PropertyId::new) {
        // A name is the identifier with spaces: no two were mixed up.
        assert_eq!(id.name().replace(' ', "").to_lowercase(), format!("{id:?}").to_lowercase());
        assert_eq!(PropertyId::new(id as u8), Some(id));
    }
    let versions = [Version::V31, Version::V311, Version::V5].map(|version| version.to_string());
    assert_eq!(versions, ["3.1", "3.1.1", "5.0"]);
    for level in 0..=255 {
        assert!(Version::of_level(level).is_none_or(|version| version.level() == level));
    }
    assert_eq!(format!("{} {}", Role::Client, Role::Server), "client server");
    assert_eq!(format!("{} {}", Qos::ExactlyOnce, PacketId::new(7).unwrap()), "2 7");
}

#[test]
fn a_property_is_its_name_and_its_value() {
    let text = |text| Utf8::new(text).unwrap();
    for (property, shown, debug) in [
        (Property::TopicAlias(5), "Topic Alias 5", "TopicAlias(5)"),
        (Property::RetainAvailable(false), "Retain Available false", "RetainAvailable(false)"),
        (Property::ContentType(text("a\nb")), r#"Content Type "a\nb""#, r#"ContentType("a\nb")"#),
        (Property::CorrelationData(&[0, b'a']), r#"Correlation Data b"\x00a""#, r#"CorrelationData(b"\x00a")"#),
        (Property::UserProperty(text("k"), text("v")), r#"User Property "k", "v""#, r#"UserProperty("k", "v")"#),
        (
            Property::AuthenticationData(b"secret"),
            "Authentication Data 6 bytes, not shown",
            "AuthenticationData(6 bytes, not shown)",
        ),
    ] {
        assert_eq!((property.to_string().as_str(), format!("{property:?}").as_str()), (shown, debug));
    }
}
