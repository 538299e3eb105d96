//! A packet that owns its bytes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]
mod common;

use bytes::Bytes;
use common::{connect, parse, rows};
use mqtt_codec::{EncodeError, Level3, OwnedPacket, Packet, Profile, Role, Version};

#[test]
fn every_packet_can_be_kept_and_lent_again() {
    for row in rows() {
        let decoded = Packet::decode(&row.bytes, row.version, row.from);
        let owned = OwnedPacket::decode(&row.bytes, row.version, row.from);
        let (packet, owned) = match (decoded, owned) {
            (Ok(packet), Ok(owned)) => (packet, owned),
            (decoded, owned) => {
                assert_eq!(decoded.unwrap_err(), owned.unwrap_err(), "{}", row.place);
                continue;
            }
        };
        assert_eq!(owned.packet(), packet, "{}", row.place);
        assert_eq!((owned.as_ref(), owned.from()), (&row.bytes[..], row.from), "{}", row.place);
        let version = if let Packet::Connect(connect) = packet { connect.version } else { row.version };
        assert_eq!(owned.version(), version, "{}", row.place);
        assert_eq!(owned.to_string(), packet.to_string());
        assert_eq!(owned.clone().into_bytes(), row.bytes);
        if row.verdict.starts_with("ok") {
            assert_eq!(OwnedPacket::new(&packet, row.version, row.from), Ok(owned), "{}", row.place);
        }
    }
}

#[test]
fn an_owned_packet_is_of_its_exact_size_or_lies_where_it_came() {
    let buffer = Bytes::from([&connect(Version::V5)[..], &[0; 1000]].concat());
    let frame = buffer.slice(..connect(Version::V5).len());
    let shared = OwnedPacket::from_bytes(frame.clone(), Version::V5, Role::Client).unwrap();
    assert!(buffer.as_ptr_range().contains(&shared.as_bytes().as_ptr()), "nothing was copied");
    let own = OwnedPacket::decode(&frame, Version::V5, Role::Client).unwrap();
    assert!(!buffer.as_ptr_range().contains(&own.as_bytes().as_ptr()), "the buffer is not held");
    assert_eq!(shared, own);
}

#[test]
fn parts_of_an_owned_packet_share_its_bytes() {
    let owned = OwnedPacket::decode(&parse(r#"30 LL s"a/b" "payload""#), Version::V311, Role::Server).unwrap();
    let Packet::Publish(publish) = owned.packet() else { panic!() };
    let payload = owned.slice(publish.payload).unwrap();
    assert_eq!(payload, &b"payload"[..]);
    assert_eq!(payload.as_ptr(), publish.payload.as_ptr());
    assert_eq!(owned.slice(publish.topic.unwrap().as_bytes()).unwrap(), &b"a/b"[..]);
    assert_eq!(owned.slice(owned.as_bytes()).unwrap(), owned.as_bytes());
    assert_eq!(owned.slice(b"payload"), None, "equal bytes elsewhere are no part of it");
}

#[test]
fn only_what_its_sender_may_send_is_owned() {
    assert_eq!(OwnedPacket::new(&Packet::Pingreq, Version::V5, Role::Server), Err(EncodeError::Invalid));
    assert!(OwnedPacket::new(&Packet::Pingreq, Version::V5, Role::Client).is_ok());
}

#[test]
fn what_only_leniency_takes_is_put_in_its_proper_form() {
    let mut profile = Profile::STRICT;
    profile.ignore_flags = true;
    profile.bridge_levels = true;
    profile.level_3 = Level3::Lenient;
    let owned = |text: &str, version, from| {
        OwnedPacket::decode_with(&parse(text), version, from, &profile).map(OwnedPacket::into_bytes)
    };
    assert_eq!(owned("60 02 00 01", Version::V311, Role::Client).unwrap()[..], parse("62 02 00 01"));
    assert_eq!(owned("62 02 00 01", Version::V311, Role::Client).unwrap()[..], parse("62 02 00 01"));
    assert_eq!(
        owned(r#"10 LL s"MQTT" 84 03 00 3C s"c""#, Version::V311, Role::Client).unwrap()[..],
        parse(r#"10 LL s"MQTT" 04 02 00 3C s"c""#)
    );
    let error = owned("90 03 00 01 80", Version::V31, Role::Server).unwrap_err();
    assert_eq!(error.statement, "v4 [MQTT-3.9.3-2]", "there is no way to write it");
}
