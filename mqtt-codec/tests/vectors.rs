//! Every row of `vectors/*.txt`, through the decoder, the encoder and the reader.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]
mod common;

use common::{Row, connect, rows};
use mqtt_codec::{DecodeErrorKind, EncodeError, Packet, Reader, Role, Version};

const LIMIT: u32 = 1 << 24;

/// Where to cut: anywhere in what is short, near the ends of what is long.
fn places(len: usize) -> impl Iterator<Item = usize> {
    (0..len).filter(move |&at| at < 40 || at + 20 > len || len < 300)
}

/// What there is to say about the packets of a stream.
fn read(reader: &mut Reader, bytes: &[u8], log: &mut Vec<String>) {
    let mut packets = reader.read(bytes);
    loop {
        match packets.next() {
            Ok(Some(packet)) => {
                let mut bytes = Vec::new();
                let _ = packet.encode(Version::V5, &mut bytes); // with what `Debug` does not show
                log.push(format!("{packet:?} {bytes:?}"));
            }
            Ok(None) => return,
            Err(error) => {
                log.push(format!("{error:?}"));
                assert_eq!(packets.next(), Err(error), "an error is for good");
                return;
            }
        }
    }
}

/// A reader that waits for the packet of `row`.
fn reader(row: &Row) -> Reader {
    match row.from {
        Role::Server => Reader::of_server(row.version, LIMIT),
        Role::Client => {
            let mut reader = Reader::of_client(LIMIT, LIMIT);
            if row.bytes.first() != Some(&0x10) {
                read(&mut reader, &connect(row.version), &mut Vec::new());
                assert_eq!(reader.version(), Some(row.version));
            }
            reader
        }
    }
}

#[test]
fn every_row_is_judged_as_written() {
    let rows = rows();
    assert!(rows.len() > 1000, "{}", rows.len());
    for row in rows {
        let Row { place, version, from, note, bytes, verdict } = &row;
        let told = format!("{place} {version:?} {from:?}: {note}");
        let decoded = Packet::decode(bytes, *version, *from);
        let (verdict, rest) = verdict.split_once(' ').unwrap_or((verdict, ""));
        match (verdict, decoded) {
            ("ok" | "noncanonical", Ok(packet)) => {
                assert_eq!(packet.to_string().trim_end(), rest, "{told}");
                let mut out = Vec::new();
                packet.encode(*version, &mut out).unwrap_or_else(|error| panic!("{told}: {error}"));
                assert_eq!(packet.encoded_len(*version), Ok(out.len()), "{told}");
                assert_eq!(out == *bytes, verdict == "ok", "{told}: {out:02X?}");
                assert_eq!(Packet::decode(&out, *version, *from), Ok(packet), "{told}");
            }
            ("filter", Ok(packet)) => {
                assert_eq!(packet.to_string(), rest, "{told}");
                assert_eq!(packet.encoded_len(*version), Err(EncodeError::Invalid), "{told}");
            }
            ("not-mqtt", Err(error)) => {
                assert_eq!(error.kind, DecodeErrorKind::NotMqtt, "{told}: {error}")
            }
            ("level", Err(error)) => {
                assert_eq!(error.kind, DecodeErrorKind::UnsupportedLevel(rest.parse().unwrap()), "{told}: {error}");
            }
            (reason, Err(error)) if reason.len() == 2 => {
                assert_eq!(format!("{:02X}", error.reason.0), reason, "{told}: {error}");
                let malformed =
                    if reason == "81" { DecodeErrorKind::Malformed } else { DecodeErrorKind::ProtocolError };
                assert_eq!(error.kind, malformed, "{told}: {error}");
                assert!(note.contains(error.statement), "{told}: {error}");
                assert!(error.offset <= bytes.len(), "{told}: {error}");
            }
            (_, decoded) => panic!("{told}: {decoded:?}"),
        }
    }
}

#[test]
fn every_proper_prefix_is_not_a_packet_yet() {
    for row in rows().iter().filter(|row| row.verdict.starts_with("ok")) {
        for len in places(row.bytes.len()) {
            let mut reader = reader(row);
            let mut log = Vec::new();
            read(&mut reader, &row.bytes[..len], &mut log);
            assert_eq!(log, [""; 0], "{} {len}", row.place);
            assert_eq!(reader.buffered(), len);
            // S2: the same bytes, said to be a whole packet, are a broken one; never a reason to wait.
            assert!(Packet::decode(&row.bytes[..len], row.version, row.from).is_err(), "{} {len}", row.place);
        }
    }
}

#[test]
fn every_split_gives_the_same_packets() {
    for row in rows().iter().filter(|row| row.bytes.len() < 20_000) {
        let stream = [&row.bytes[..], &[0xC0, 0x00, 0x40, 0x02, 0x00, 0x01]].concat();
        let mut whole = Vec::new();
        read(&mut reader(row), &stream, &mut whole);
        assert!(!whole.is_empty(), "{}", row.place);
        for first in places(stream.len()) {
            for second in [first, first + 1, (first + stream.len()) / 2] {
                let (a, rest) = stream.split_at(first);
                let (b, c) = rest.split_at(second - first);
                let mut reader = reader(row);
                let mut log = Vec::new();
                for part in [a, b, c] {
                    if !log.last().is_some_and(|last: &String| last.starts_with("DecodeError")) {
                        read(&mut reader, part, &mut log);
                    }
                }
                assert_eq!(log, whole, "{} {first} {second}", row.place);
            }
        }
    }
}

#[test]
fn a_level_3_connection_is_told_from_the_others_by_its_connect_alone() {
    for version in [Version::V31, Version::V311, Version::V5] {
        let bytes = connect(version);
        for said in [Version::V31, Version::V311, Version::V5] {
            let Ok(Packet::Connect(connect)) = Packet::decode(&bytes, said, Role::Client) else { panic!() };
            assert_eq!(connect.version, version);
        }
    }
}

#[test]
fn an_error_says_what_where_and_which_rule() {
    let error = Packet::decode(&[0x36, 0x05, 0, 1, b'a', 0, 1], Version::V311, Role::Client).unwrap_err();
    assert_eq!(error.to_string(), "malformed packet: a PUBLISH of QoS 3 (byte 2, v4 [MQTT-3.3.1-4], reason code 0x81)");
    let error = Packet::decode(&[0x30, 0x05, 0, 3, b'a', b'+', b'b'], Version::V311, Role::Client).unwrap_err();
    assert_eq!((error.offset, error.statement), (5, "v4 [MQTT-3.3.2-2]"));
    let bytes = common::parse(r#"30 LL s"a" (01 00 26 s"k" 00 02 76 00) "payload""#);
    let error = Packet::decode(&bytes, Version::V5, Role::Client).unwrap_err();
    assert_eq!((error.offset, error.statement), (bytes.len() - 8, "v5 [MQTT-1.5.4-2]"));
}
