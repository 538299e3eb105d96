//! Owned packets with all features: kept, stored and validated when they come back, made by a fuzzer, framed by tokio-util.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]
mod common;

use arbitrary::{Arbitrary, Unstructured};
use common::{connect, parse, rows};
use futures_util::{SinkExt, StreamExt};
use mqtt_codec::{
    Ack, AckKind, CodecError, DecodeErrorKind, EncodeError, OwnedPacket, Packet, PacketCodec, PacketId, Profile,
    Properties, Publish, Qos, ReasonCode, Role, TopicName, Version,
};
use proptest::prelude::*;
use std::collections::BTreeSet;
use tokio::io::AsyncWriteExt;
use tokio_util::codec::{Decoder, Encoder, Framed};

/// Every vector that is a packet.
fn all_owned() -> Vec<OwnedPacket> {
    rows()
        .iter()
        .filter(|row| row.bytes.len() < 1000)
        .filter_map(|row| OwnedPacket::decode(&row.bytes, row.version, row.from).ok())
        .collect()
}

#[test]
fn what_is_stored_comes_back_the_same() {
    let all = all_owned();
    assert!(all.len() > 150, "{}", all.len());
    for owned in &all {
        let text = serde_json::to_string(owned).unwrap();
        assert_eq!(serde_json::from_str::<OwnedPacket>(&text).unwrap(), *owned, "{text}");
        let value = serde_json::to_value(owned).unwrap();
        assert_eq!(serde_json::from_value::<OwnedPacket>(value).unwrap(), *owned, "{text}");
        let bytes = postcard::to_allocvec(owned).unwrap();
        assert_eq!(postcard::from_bytes::<OwnedPacket>(&bytes).unwrap(), *owned, "{text}");
        assert!(bytes.len() <= owned.as_bytes().len() + 12, "a binary format takes the bytes as they are");
    }
    let ping = OwnedPacket::new(&Packet::Pingreq, Version::V311, Role::Client).unwrap();
    let text = serde_json::to_string(&ping).unwrap();
    assert_eq!(text, r#"{"level":4,"from":"client","bytes":"c000"}"#);
}

#[test]
fn what_was_stored_is_validated_again() {
    for (text, why) in [
        (r#"{"level":4,"from":"server","bytes":"c000"}"#, "this end may not send this packet"),
        (r#"{"level":4,"from":"client","bytes":"c001"}"#, "a field runs past the end"),
        (r#"{"level":6,"from":"client","bytes":"c000"}"#, "level 6"),
        (r#"{"level":4,"from":"both","bytes":"c000"}"#, "unknown variant `both`"),
        (r#"{"level":4,"from":"client","bytes":"c00"}"#, "hexadecimal"),
        (r#"{"level":4,"from":"client","bytes":"c0+0"}"#, "hexadecimal"),
        (r#"{"level":4,"from":"client","bytes":"cö"}"#, "hexadecimal"),
        (r#"{"level":4,"from":"client"}"#, "missing field `bytes`"),
        (r#"{"level":4,"from":"client","bytes":"c000","x":1}"#, "unknown field `x`"),
    ] {
        let error = serde_json::from_str::<OwnedPacket>(text).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
    // S20: no byte of a stored packet can be changed into something that is not a packet.
    let stored = postcard::to_allocvec(&all_owned()[0]).unwrap();
    for at in 0..stored.len() {
        for byte in 0..=255 {
            let mut torn = stored.clone();
            torn[at] = byte;
            if let Ok(owned) = postcard::from_bytes::<OwnedPacket>(&torn) {
                assert!(Packet::decode(owned.as_bytes(), owned.version(), owned.from()).is_ok());
            }
        }
        assert!(postcard::from_bytes::<OwnedPacket>(&stored[..at]).is_err());
    }
}

/// What kind of packet it is.
fn kind(owned: &OwnedPacket) -> (u8, Version, bool) {
    (owned.as_bytes()[0] >> 4, owned.version(), owned.from() == Role::Client)
}

fn bytes_of(seed: u64) -> Vec<u8> {
    // xorshift: the fuzzer's bytes
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::new();
    for _ in 0..100 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes
}

#[test]
fn a_fuzzer_makes_valid_packets_of_every_type_version_and_sender() {
    let mut seen = BTreeSet::new();
    let mut properties = BTreeSet::new();
    for seed in 0..20_000 {
        let bytes = bytes_of(seed);
        let owned = OwnedPacket::arbitrary(&mut Unstructured::new(&bytes)).expect("never an invalid one");
        seen.insert(format!("{:?}", kind(&owned)));
        let packet = owned.packet();
        if let Some(section) = packet.properties() {
            properties.extend(section.iter().map(|property| property.id() as u8));
        }
        if let Packet::Connect(connect) = packet
            && let Some(will) = connect.will
        {
            properties.extend(will.properties.iter().map(|property| property.id() as u8));
        }
        // What it makes can be encoded, and is the same packet then.
        let again = OwnedPacket::new(&packet, owned.version(), owned.from())
            .unwrap_or_else(|error| panic!("{owned:?}: {error}"));
        assert_eq!(again.packet(), packet);
    }
    // Eight types of one end each, five of both, and DISCONNECT, which with AUTH is of both at 5.0.
    assert_eq!(seen.len(), (8 + 5 * 2 + 1) * 2 + 8 + 5 * 2 + 2 * 2, "{seen:?}");
    assert_eq!(properties.len(), 27);
}

#[test]
fn a_fuzzer_that_has_run_out_of_bytes_still_makes_a_packet() {
    for len in 0..200 {
        for byte in [0, 1, 0x7F, 0xFF] {
            let bytes = vec![byte; len];
            assert!(OwnedPacket::arbitrary(&mut Unstructured::new(&bytes)).is_ok(), "{len} of {byte:02X}");
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_packets_come_back(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let owned = OwnedPacket::arbitrary(&mut Unstructured::new(&bytes)).unwrap();
        let again = OwnedPacket::new(&owned.packet(), owned.version(), owned.from()).unwrap();
        prop_assert_eq!(again.packet(), owned.packet());
        prop_assert_eq!(OwnedPacket::from_bytes(again.as_bytes().clone(), again.version(), again.from()).unwrap(), again);
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test)
}

fn publish(payload: &[u8]) -> Packet<'_> {
    Packet::Publish(Publish {
        dup: false,
        qos: Qos::AtLeastOnce,
        retain: false,
        topic: Some(TopicName::new("a/b").unwrap()),
        packet_id: PacketId::new(7),
        properties: Properties::EMPTY,
        payload,
    })
}

#[test]
fn both_ends_talk_through_framed() {
    run(async {
        for version in [Version::V31, Version::V311, Version::V5] {
            let (near, far) = tokio::io::duplex(7); // every packet in pieces
            let mut client = Framed::new(near, PacketCodec::of_client(version, 100_000));
            let mut server = Framed::new(far, PacketCodec::of_server(1000, 100_000));
            let connect = OwnedPacket::decode(&connect(version), version, Role::Client).unwrap();
            let payload = vec![b'x'; 20_000];
            let talk = async {
                client.send(connect.clone()).await.unwrap();
                client.send(publish(&payload)).await.unwrap();
                let ack = client.next().await.unwrap().unwrap();
                assert_eq!(ack.to_string(), "PUBACK id 7 0x00");
                client.send(Packet::Pingreq).await.unwrap();
                client
            };
            let listen = async {
                assert_eq!(server.codec().version(), None);
                assert_eq!(server.next().await.unwrap().unwrap(), connect);
                assert_eq!(server.codec().version(), Some(version));
                let owned = server.next().await.unwrap().unwrap();
                let Packet::Publish(publish) = owned.packet() else { panic!("{owned}") };
                assert_eq!(publish.payload, vec![b'x'; 20_000]);
                let ack = Packet::Ack(Ack {
                    kind: AckKind::Puback,
                    packet_id: publish.packet_id.unwrap(),
                    reason: ReasonCode::SUCCESS,
                    properties: Properties::EMPTY,
                });
                server.send(&ack).await.unwrap();
                assert_eq!(server.next().await.unwrap().unwrap().packet(), Packet::Pingreq);
                assert!(server.next().await.is_none(), "the client has gone");
            };
            tokio::join!(async { drop(talk.await) }, listen);
        }
    });
}

#[test]
fn a_peer_that_breaks_the_rules_ends_the_stream_with_the_rule() {
    run(async {
        let (mut near, far) = tokio::io::duplex(1000);
        let mut server = Framed::new(far, PacketCodec::of_server(1000, 1000));
        near.write_all(&[connect(Version::V311), parse("36 05 00 01 61 00 01")].concat()).await.unwrap();
        assert!(server.next().await.unwrap().is_ok());
        let Some(Err(CodecError::Decode(error))) = server.next().await else { panic!() };
        assert_eq!(error.statement, "v4 [MQTT-3.3.1-4]");
        assert!(server.next().await.is_none());
    });
    // S1: a stranger at the first byte, a packet too large by its header.
    let mut codec = PacketCodec::of_server(1000, 1000);
    let Err(CodecError::Decode(error)) = codec.decode(&mut b"G"[..].into()) else { panic!() };
    assert_eq!(error.kind, DecodeErrorKind::NotMqtt);
    let mut codec = PacketCodec::of_client(Version::V5, 1000);
    let mut bytes = b"\x30\xFF\xFF\xFF\x7F"[..].into();
    let Err(CodecError::Decode(error)) = codec.decode(&mut bytes) else { panic!() };
    assert_eq!(error.kind, DecodeErrorKind::TooLarge);
    codec.set_limit(u32::MAX);
    assert!(matches!(codec.decode(&mut bytes), Ok(None)));
    assert!(bytes.capacity() < 1000, "nothing is reserved for a promise");
}

#[test]
fn the_codec_reads_by_its_profile() {
    let mut profile = Profile::STRICT;
    profile.ignore_flags = true;
    let mut bytes = [connect(Version::V311), parse(r#"80 LL 00 01 s"a" 00"#)].concat()[..].into();
    let mut codec = PacketCodec::of_server(1000, 1000).with_profile(profile);
    assert!(codec.decode(&mut bytes).unwrap().is_some());
    let owned = codec.decode(&mut bytes).unwrap().unwrap();
    assert_eq!(owned.as_bytes()[0], 0x82, "what strict decoding would refuse is put in its proper form");
    assert_eq!(owned.to_string(), "SUBSCRIBE id 1 a q0");
    assert!(bytes.is_empty());
}

#[test]
fn only_what_this_end_may_send_is_written() {
    let mut codec = PacketCodec::of_client(Version::V311, 1000);
    let mut out = bytes::BytesMut::new();
    let theirs = OwnedPacket::new(&Packet::Pingresp, Version::V311, Role::Server).unwrap();
    assert!(matches!(codec.encode(theirs, &mut out), Err(CodecError::Encode(EncodeError::Invalid))));
    let other = OwnedPacket::new(&Packet::Pingreq, Version::V5, Role::Client).unwrap();
    assert!(matches!(codec.encode(other, &mut out), Err(CodecError::Encode(EncodeError::Invalid))));
    let long = vec![0; 1 << 28];
    assert!(matches!(codec.encode(publish(&long), &mut out), Err(CodecError::Encode(EncodeError::PacketTooLarge))));
    assert!(out.is_empty());
    let ours = OwnedPacket::new(&Packet::Pingreq, Version::V311, Role::Client).unwrap();
    codec.encode(ours, &mut out).unwrap();
    assert_eq!(out[..], [0xC0, 0x00]);
}
