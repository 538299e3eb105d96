//! A stream of packets in pieces of any size, large PUBLISH packets in parts, by any profile: the same packets as in one piece, and the
//! same as when they come whole; nothing is kept of a payload.
//!
//! The first four bytes say which version and sender, which switches, the threshold, and how many bytes follow that say where the
//! stream is cut; the rest is the stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mqtt_codec::{DecodeError, DecodeErrorKind, Level3, Packet, Part, Profile, Reader, Role, Version};
use mqtt_fuzz::Script;

const LIMIT: u32 = 1 << 16;
/// CONNECT of MQTT 3.1, 3.1.1 and 5.0.
const CONNECTS: [&[u8]; 3] = [
    b"\x10\x0F\x00\x06MQIsdp\x03\x02\x00\x3C\x00\x01c",
    b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x3C\x00\x01c",
    b"\x10\x0E\x00\x04MQTT\x05\x02\x00\x3C\x00\x00\x01c",
];

fuzz_target!(|data: &[u8]| {
    let mut script = Script(data);
    let head = script.byte();
    let which = usize::from(head % 3);
    let from = if head / 3 % 2 == 0 { Role::Client } else { Role::Server };
    let profile = profile(script.byte());
    let threshold = u32::from(script.byte());
    let cuts = script.bytes();
    let stream = script.0;

    let reader = || {
        let version = [Version::V31, Version::V311, Version::V5][which];
        let mut reader = match from {
            Role::Server => Reader::of_server(version, LIMIT),
            Role::Client => Reader::of_client(LIMIT, LIMIT),
        };
        reader = reader.with_profile(profile);
        if from == Role::Client && stream.first() != Some(&0x10) {
            assert!(matches!(reader.read(CONNECTS[which]).next(), Ok(Some(Packet::Connect(_)))));
        }
        reader
    };

    let mut in_parts = Log::default();
    in_parts.read(&mut reader().with_streaming(threshold), stream);

    // in pieces
    let (mut pieces, mut reader_of_pieces) = (Log::default(), reader().with_streaming(threshold));
    let (mut rest, mut given, mut cuts) = (stream, 0, cuts.iter().cycle());
    while !rest.is_empty() && pieces.error.is_none() {
        let len = cuts.next().map_or(7, |&cut| usize::from(cut)).clamp(1, rest.len());
        let (piece, behind) = rest.split_at(len);
        rest = behind;
        given += piece.len();
        pieces.read(&mut reader_of_pieces, piece);
        let (kept, memory) = (reader_of_pieces.buffered(), reader_of_pieces.memory());
        assert!(kept <= given && memory <= 2 * given + 4096, "{memory} of {given}");
        assert!(reader_of_pieces.payload_left() == 0 || kept == 0, "nothing is kept of a payload");
    }
    assert_eq!(pieces, in_parts, "in pieces");

    // whole: the same packets, as long as no head is refused for its size
    let mut whole = Log::default();
    whole.read(&mut reader(), stream);
    if in_parts.error.is_none() {
        assert!(in_parts.packets.starts_with(&whole.packets), "whole");
        // a payload whose end has not come is no packet yet; a fault behind it is another packet's, which was not looked at
        assert!(whole.error.is_none() && whole.packets.len() == in_parts.packets.len(), "{whole:?} {in_parts:?}");
    } else if in_parts.error.is_some_and(|error| error.kind != DecodeErrorKind::TooLarge)
        && in_parts.under_way.is_none()
    {
        // of several faults another may be found first, and sooner: a head is judged before its packet is whole
        assert!(whole.packets == in_parts.packets, "{whole:?} {in_parts:?}");
    }
});

/// A profile of these switches.
fn profile(bits: u8) -> Profile {
    let mut profile = Profile::STRICT;
    profile.refuse_control_characters = bits & 1 != 0;
    profile.refuse_non_characters = bits & 2 != 0;
    profile.refuse_bad_filters = bits & 4 != 0;
    profile.ignore_flags = bits & 8 != 0;
    profile.bridge_levels = bits & 16 != 0;
    profile.level_3 =
        [Level3::AsWritten, Level3::As311, Level3::Lenient][usize::from(bits >> 5 & 1) + usize::from(bits >> 6 & 1)];
    if bits & 128 != 0 {
        profile.max_user_properties = 3;
        profile.max_user_property_bytes = 40;
        profile.max_filters = 3;
    }
    profile
}

/// The packets of a stream as bytes, those that came in parts put together.
#[derive(Debug, Default, PartialEq)]
struct Log {
    packets: Vec<Vec<u8>>,
    under_way: Option<Vec<u8>>,
    error: Option<DecodeError>,
}

impl Log {
    fn read(&mut self, reader: &mut Reader, bytes: &[u8]) {
        // the first CONNECT decides; another one is for the session to refuse
        let mut known = reader.version();
        let mut packets = reader.read(bytes);
        loop {
            match packets.next_part() {
                Ok(Some(Part::Packet(packet))) => {
                    if let Packet::Connect(connect) = &packet {
                        known.get_or_insert(connect.version);
                    }
                    let version = known.unwrap_or(Version::V5);
                    let mut out = Vec::new();
                    if packet.encode(version, &mut out).is_err() {
                        out = format!("{packet:?}").into_bytes(); // what only leniency takes, or a bad filter
                    }
                    self.packets.push(out);
                }
                Ok(Some(Part::Head { publish, payload_len })) => {
                    assert!(publish.payload.is_empty() && payload_len > 0);
                    let (mut out, version) = (Vec::new(), known.unwrap_or(Version::V5));
                    publish.encode_head(version, payload_len as usize, &mut out).expect("what was read can be written");
                    self.under_way = Some(out);
                }
                Ok(Some(Part::Payload { bytes, left })) => {
                    let packet = self.under_way.as_mut().expect("behind a head");
                    packet.extend_from_slice(bytes);
                    if left == 0 {
                        self.packets.extend(self.under_way.take());
                    }
                }
                Ok(Some(_)) => unreachable!("there are no other parts"),
                Ok(None) => return,
                Err(error) => {
                    assert_eq!(packets.next_part(), Err(error), "a fault is for good");
                    self.error = Some(error);
                    return;
                }
            }
        }
    }
}
