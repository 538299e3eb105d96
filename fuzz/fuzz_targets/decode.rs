//! Bytes of a peer, as one frame and as a stream in pieces: no panic, faults that lie inside, and the same packets however they are cut.
//!
//! The first byte says which version, which sender and how long the pieces are; the rest are the bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mqtt_codec::{Packet, Reader, Role, Version};

const LIMIT: u32 = 1 << 16;
/// CONNECT of MQTT 3.1, 3.1.1 and 5.0.
const CONNECTS: [&[u8]; 3] = [
    b"\x10\x0F\x00\x06MQIsdp\x03\x02\x00\x3C\x00\x01c",
    b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x3C\x00\x01c",
    b"\x10\x0E\x00\x04MQTT\x05\x02\x00\x3C\x00\x00\x01c",
];

fuzz_target!(|data: &[u8]| {
    let Some((&head, bytes)) = data.split_first() else { return };
    let which = usize::from(head % 3);
    let version = [Version::V31, Version::V311, Version::V5][which];
    let from = if head / 3 % 2 == 0 { Role::Client } else { Role::Server };
    let piece = usize::from(head / 6) + 1;

    match Packet::decode(bytes, version, from) {
        Ok(packet) => {
            // reads every list to its end
            let _ = (packet.to_string(), format!("{packet:?}"), packet.fit(version, 20));
            assert_eq!(packet, packet.clone());
        }
        Err(error) => {
            assert!(error.offset <= bytes.len(), "{error}");
            assert!(error.reason.is_error(), "{error}");
            assert!(!error.statement.is_empty(), "{error}");
        }
    }

    let reader = || match from {
        Role::Server => Reader::of_server(version, LIMIT),
        Role::Client => {
            let mut reader = Reader::of_client(LIMIT, LIMIT);
            if bytes.first() != Some(&0x10) {
                assert!(matches!(reader.read(CONNECTS[which]).next(), Ok(Some(Packet::Connect(_)))));
            }
            reader
        }
    };
    let mut whole = Vec::new();
    read(&mut reader(), bytes, &mut whole);
    let (mut reader, mut log) = (reader(), Vec::new());
    let mut given = 0;
    for piece in bytes.chunks(piece) {
        given += piece.len();
        let failed = read(&mut reader, piece, &mut log);
        // memory follows the bytes that came, never the length that a header claims
        assert!(reader.buffered() <= given && reader.memory() <= 2 * given + 4096, "{} of {given}", reader.memory());
        if failed {
            assert_eq!(reader.buffered(), 0, "nothing is kept of what cannot be read");
            break;
        }
    }
    assert_eq!(log, whole, "in pieces of {}", piece);
});

/// What there is to say about the packets of some bytes; whether they ended in a fault.
fn read(reader: &mut Reader, bytes: &[u8], log: &mut Vec<String>) -> bool {
    let mut packets = reader.read(bytes);
    loop {
        match packets.next() {
            Ok(Some(packet)) => {
                let mut bytes = Vec::new();
                let _ = packet.encode(Version::V5, &mut bytes); // with what `Debug` does not show
                log.push(format!("{packet:?} {bytes:?}"));
            }
            Ok(None) => return false,
            Err(error) => {
                log.push(format!("{error:?}"));
                assert_eq!(packets.next(), Err(error), "a fault is for good");
                return true;
            }
        }
    }
}
