//! The reading half: limits judged from the header, memory that follows the bytes, pauses.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]
mod common;

use common::{connect, parse, vbi};
use mqtt_codec::{DecodeError, DecodeErrorKind, Packet, Reader, ReasonCode, Version, frame_len};

/// All packets of `bytes`, as text.
fn all(reader: &mut Reader, bytes: &[u8]) -> Result<Vec<String>, DecodeError> {
    let mut packets = reader.read(bytes);
    let mut seen = Vec::new();
    while let Some(packet) = packets.next()? {
        seen.push(packet.to_string());
    }
    Ok(seen)
}

fn publish(payload: usize) -> Vec<u8> {
    [&[0x30][..], &vbi(3 + payload), &[0, 1, b'a'], &vec![b'x'; payload]].concat()
}

#[test]
fn a_length_is_read_from_one_to_four_bytes() {
    // v5 [MQTT-1.5.5-1], [X5-VBI-1]
    for (length, frame) in [
        ("00", 2),
        ("7F", 129),
        ("80 01", 131),
        ("FF 7F", 16_386),
        ("80 80 01", 16_388),
        ("FF FF 7F", 2_097_155),
        ("80 80 80 01", 2_097_157),
        ("FF FF FF 7F", 268_435_460),
    ] {
        let header = parse(&format!("30 {length}"));
        assert_eq!(frame_len(&header, u32::MAX), Ok(Some(frame)), "{length}");
        for len in 0..header.len() {
            assert_eq!(frame_len(&header[..len], u32::MAX), Ok(None), "{length}");
        }
    }
    for length in ["80 00", "FF 00", "80 80 00", "FF FF FF 80", "80 80 80 00", "FF FF FF FF 01", "80 80 80 80 00"] {
        let error = frame_len(&parse(&format!("30 {length}")), u32::MAX).unwrap_err();
        assert_eq!((error.kind, error.reason), (DecodeErrorKind::Malformed, ReasonCode::MALFORMED_PACKET), "{length}");
    }
}

#[test]
fn the_limit_counts_the_whole_packet_and_is_allowed_itself() {
    // v5 [MQTT-3.2.2-15], [X5-CACK-6]
    let frame = publish(200);
    let limit = u32::try_from(frame.len()).unwrap();
    for version in [Version::V31, Version::V311] {
        let mut reader = Reader::of_server(version, limit);
        assert_eq!(all(&mut reader, &frame).unwrap().len(), 1);
        let mut reader = Reader::of_server(version, limit - 1);
        let error = all(&mut reader, &frame).unwrap_err();
        assert_eq!((error.kind, error.reason), (DecodeErrorKind::TooLarge, ReasonCode::PACKET_TOO_LARGE));
    }
    // From the header alone, before anything of the packet is there.
    let mut reader = Reader::of_server(Version::V5, limit - 1);
    let error = all(&mut reader, &frame[..3]).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::TooLarge);
    assert_eq!(reader.memory(), 0);
    // A limit can be changed on the way.
    let mut reader = Reader::of_server(Version::V311, 5);
    reader.set_limit(limit);
    assert!(all(&mut reader, &frame).is_ok());
}

#[test]
fn before_connect_a_small_limit_holds_and_one_byte_tells_a_stranger() {
    // S1
    for first in (0..=255).filter(|&first| first != 0x10) {
        let mut reader = Reader::of_client(1000, 1 << 20);
        let error = all(&mut reader, &[first]).unwrap_err();
        assert_eq!((error.kind, error.offset), (DecodeErrorKind::NotMqtt, 0));
        assert_eq!(reader.memory(), 0);
    }
    let mut reader = Reader::of_client(1000, 1 << 20);
    assert_eq!(all(&mut reader, &parse("10 E6 07")).unwrap_err().kind, DecodeErrorKind::TooLarge); // 998 + 3
    let mut reader = Reader::of_client(1000, 1 << 20);
    assert_eq!(all(&mut reader, &parse("10 E5 07")), Ok(vec![]));
    let mut reader = Reader::of_client(1000, 1 << 20);
    assert_eq!(all(&mut reader, &connect(Version::V311)).unwrap().len(), 1);
    assert_eq!(reader.version(), Some(Version::V311));
    assert_eq!(all(&mut reader, &publish(5000)).unwrap().len(), 1);
}

#[test]
fn the_version_is_known_even_of_a_connect_that_is_refused() {
    let mut reader = Reader::of_client(1000, 1000);
    assert_eq!(reader.version(), None);
    let error = all(&mut reader, &parse(r#"10 LL s"MQTT" 05 03 00 3C () s"c""#)).unwrap_err();
    assert_eq!((reader.version(), error.statement), (Some(Version::V5), "v5 [MQTT-3.1.2-3]"));
    let mut reader = Reader::of_client(1000, 1000);
    let error = all(&mut reader, &parse(r#"10 LL s"MQTT" 06 02 00 3C () s"c""#)).unwrap_err();
    assert_eq!((reader.version(), error.kind), (None, DecodeErrorKind::UnsupportedLevel(6)));
}

#[test]
fn an_error_is_for_good_and_frees_everything() {
    let mut reader = Reader::of_server(Version::V311, 1000);
    let first = all(&mut reader, &parse("D0 00 D1")).unwrap();
    assert_eq!((first, reader.buffered()), (vec!["PINGRESP".to_string()], 1));
    let error = all(&mut reader, &[0x00, 0xD0, 0x00]).unwrap_err();
    assert_eq!(error.statement, "v4 [MQTT-2.2.2-2]");
    assert_eq!(all(&mut reader, &[0xD0, 0x00]), Err(error));
    assert_eq!(all(&mut reader, &[]), Err(error));
    assert_eq!((reader.buffered(), reader.memory()), (0, 0));
}

#[test]
fn memory_follows_the_bytes_that_came_and_not_the_length_that_was_claimed() {
    // S1
    let mut reader = Reader::of_server(Version::V311, u32::MAX);
    let header = parse("30 FF FF FF 7F 00 01 61");
    all(&mut reader, &header).unwrap();
    assert!(reader.memory() < 100, "{}", reader.memory());
    let mut received = header.len();
    for _ in 0..1000 {
        all(&mut reader, &[b'x'; 97]).unwrap();
        received += 97;
        assert_eq!(reader.buffered(), received);
        assert!(reader.memory() <= 2 * received + 100, "{} for {received}", reader.memory());
    }
}

#[test]
fn whole_packets_leave_no_memory_behind() {
    let mut reader = Reader::of_server(Version::V311, 1 << 20);
    for size in [0, 1, 1000, 100_000] {
        assert_eq!(all(&mut reader, &publish(size)).unwrap().len(), 1);
        assert_eq!((reader.buffered(), reader.memory()), (0, 0));
    }
    // A big packet in two parts needs room, and gives it back.
    let frame = publish(100_000);
    all(&mut reader, &frame[..60_000]).unwrap();
    assert!(reader.memory() >= 60_000);
    assert_eq!(all(&mut reader, &frame[60_000..]).unwrap().len(), 1);
    assert_eq!(reader.memory(), 0);
    // A small one may keep a little.
    let frame = publish(100);
    all(&mut reader, &frame[..60]).unwrap();
    all(&mut reader, &frame[60..]).unwrap();
    assert!(reader.memory() <= 4096);
}

#[test]
fn one_byte_at_a_time_gives_every_packet_and_stays_small() {
    let mut reader = Reader::of_client(1000, 1 << 20);
    let mut seen = Vec::new();
    let stream = [connect(Version::V311), publish(300), parse("40 02 00 01"), publish(0), parse("E0 00")].concat();
    for byte in &stream {
        seen.extend(all(&mut reader, std::slice::from_ref(byte)).unwrap());
        assert!(reader.memory() <= 1024);
    }
    assert_eq!(seen.len(), 5);
    assert_eq!(reader.buffered(), 0);
    // A packet of a megabyte, byte by byte: what takes minutes if each byte costs a walk over what is there.
    let frame = publish(1_000_000);
    let mut packets = 0;
    for byte in &frame {
        packets += all(&mut reader, std::slice::from_ref(byte)).unwrap().len();
    }
    assert_eq!(packets, 1);
}

#[test]
fn a_paused_connection_goes_on_where_it_was() {
    let mut stream = Vec::new();
    for id in 1..=100_u8 {
        stream.extend([0x40, 2, 0, id]);
    }
    stream.extend([0xD0]); // and the beginning of another
    let mut reader = Reader::of_server(Version::V5, 1000);
    let mut seen = Vec::new();
    {
        let mut packets = reader.read(&stream);
        for _ in 0..10 {
            seen.push(packets.next().unwrap().unwrap().to_string());
        }
    }
    assert_eq!(reader.buffered(), 90 * 4 + 1);
    for _ in 0..40 {
        seen.push(reader.read(&[]).next().unwrap().unwrap().to_string());
    }
    assert_eq!(reader.buffered(), 50 * 4 + 1);
    seen.extend(all(&mut reader, &[]).unwrap());
    assert_eq!(reader.buffered(), 1);
    seen.extend(all(&mut reader, &[0x00, 0xD0, 0x00]).unwrap());
    assert_eq!(seen.len(), 102);
    assert!((1..=100).all(|id| seen[id - 1] == format!("PUBACK id {id} 0x00")));
    assert_eq!(reader.buffered(), 0);
}

#[test]
fn a_reader_that_was_behind_lets_go_as_it_catches_up() {
    let stream: Vec<u8> = std::iter::repeat_n(publish(100), 10_000).flatten().collect();
    let mut reader = Reader::of_server(Version::V311, 1000);
    drop(reader.read(&stream));
    assert_eq!(reader.buffered(), stream.len());
    for left in (0..10_000).rev() {
        assert!(reader.read(&[]).next().unwrap().is_some());
        assert_eq!(reader.buffered(), left * publish(100).len());
        assert!(reader.memory() <= 4 * reader.buffered() + 4096 || left > 5_000, "{left} {}", reader.memory());
    }
    assert!(reader.memory() <= 4096);
}

#[test]
fn packets_are_lent_from_where_they_lie() {
    let bytes = publish(3000);
    let mut reader = Reader::of_server(Version::V311, 1 << 20);
    let mut packets = reader.read(&bytes);
    let Some(Packet::Publish(publish)) = packets.next().unwrap() else { panic!() };
    assert!(bytes.as_ptr_range().contains(&publish.payload.as_ptr()), "nothing was copied");
}
