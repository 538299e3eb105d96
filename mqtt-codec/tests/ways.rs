//! The ways to one packet agree whatever the bytes are: decoded by default or by the strict profile, kept and lent again, planned and
//! written, written in one or as a head and a payload. The bytes are those of the vectors with a few of them changed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use mqtt_codec::{OwnedPacket, Packet, Profile, Role, Version};

/// The same numbers for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    /// Up to three bytes changed, put in or taken out; mostly with a Remaining Length that agrees.
    fn change(&mut self, frame: &mut Vec<u8>) {
        for _ in 0..self.below(4) {
            let at = self.below(frame.len());
            match self.below(4) {
                0 => frame[at] = self.below(256) as u8,
                1 => frame[at] ^= 1 << self.below(8),
                2 => frame.insert(at, [0, 1, 2, 0x26, 0x80, 0xFF][self.below(6)]),
                _ if frame.len() > 2 => drop(frame.remove(at)),
                _ => {}
            }
        }
        if self.below(4) > 0 && frame.len() < 2 + 0x80 {
            frame[1] = (frame.len() - 2) as u8;
        }
    }
}

/// Whether a filter of the packet, which decoding does not judge, is wrong.
fn has_bad_filter(packet: &Packet<'_>) -> bool {
    match packet {
        Packet::Subscribe(packet) => packet.subscriptions.iter().any(|subscription| subscription.is_err()),
        Packet::Unsubscribe(packet) => packet.filters.iter().any(|filter| filter.is_err()),
        _ => false,
    }
}

#[test]
fn every_way_to_decode_and_encode_a_packet_gives_the_same() {
    let rows: Vec<_> = common::rows().into_iter().filter(|row| (2..300).contains(&row.bytes.len())).collect();
    let (mut random, mut taken) = (Random(1), 0);
    for _ in 0..200_000 {
        let row = &rows[random.below(rows.len())];
        let (mut frame, mut version, mut from) = (row.bytes.clone(), row.version, row.from);
        random.change(&mut frame);
        if random.below(4) == 0 {
            version = [Version::V31, Version::V311, Version::V5][random.below(3)];
            from = [Role::Client, Role::Server][random.below(2)];
        }
        let told = format!("{} as {version:?} of {from:?}: {frame:02X?}", row.place);
        let decoded = Packet::decode(&frame, version, from);
        assert_eq!(decoded, Packet::decode_with(&frame, version, from, &Profile::STRICT), "{told}");
        let owned = OwnedPacket::decode(&frame, version, from);
        assert_eq!(decoded, owned.as_ref().map(OwnedPacket::packet).map_err(|error| *error), "{told}");
        let Ok(packet) = decoded else { continue };
        taken += 1;
        let version = if let Packet::Connect(connect) = packet { connect.version } else { version };
        let mut written = Vec::new();
        if packet.encode(version, &mut written).is_err() {
            // what 3.1 reads and does not write
            assert!(written.is_empty() && (has_bad_filter(&packet) || version == Version::V31), "{told}");
            continue;
        }
        // no way takes flags that are not written; but at 3.1 a repetition may say so
        assert!(written[0] == frame[0] || (version == Version::V31 && frame[0] & 0x0F == 0x0A), "{told}");
        assert_eq!(packet.encoded_len(version), Ok(written.len()), "{told}");
        assert_eq!(Packet::decode(&written, version, from), Ok(packet), "{told}");
        if let Packet::Publish(publish) = packet {
            let mut parts = Vec::new();
            publish.encode_head(version, publish.payload.len(), &mut parts).unwrap();
            assert_eq!([&parts[..], publish.payload].concat(), written, "{told}");
        }
    }
    assert!(taken > 20_000, "{taken}");
}
