//! Decoding takes time in proportion to the packet's length whatever is in it: counted in steps, not in seconds (S13).
use crate::{Packet, Profile, Reader, Role, Version};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;

std::thread_local! {
    static STEPS: Cell<usize> = const { Cell::new(0) };
}

/// Called by what reads.
pub(crate) fn count(steps: usize) {
    STEPS.with(|count| count.set(count.get() + steps));
}

fn steps(run: impl FnOnce()) -> usize {
    let before = STEPS.with(Cell::get);
    run();
    STEPS.with(Cell::get) - before
}

/// A packet of this first byte; its body is `head`, `n` times `item`, `foot`.
fn packet(first: u8, head: &[u8], item: &[u8], n: usize, foot: &[u8]) -> Vec<u8> {
    let body = [head, &item.repeat(n), foot].concat();
    [&[first][..], &vbi(body.len()), &body].concat()
}

/// The same with a property section of `n` times `item` between head and foot.
fn with_section(first: u8, head: &[u8], item: &[u8], n: usize, foot: &[u8]) -> Vec<u8> {
    let section = item.repeat(n);
    packet(first, &[head, &vbi(section.len()), &section].concat(), &[], 0, foot)
}

fn vbi(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// What an attacker repeats: a name, who sends it, and the packet with `n` of them.
type Family = (&'static str, Role, fn(usize) -> Vec<u8>);

const FAMILIES: [Family; 14] = [
    ("User Properties", Role::Client, |n| with_section(0x30, b"\0\x01a", b"\x26\0\x01k\0\x01v", n, b"")),
    ("empty User Properties", Role::Client, |n| with_section(0x30, b"\0\x01a", b"\x26\0\0\0\0", n, b"")),
    ("User Properties behind an alias", Role::Client, |n| with_section(0x30, b"\0\0", b"\x26\0\0\0\0", n, b"x")),
    ("User Properties of a CONNECT", Role::Client, |n| {
        with_section(0x10, b"\0\x04MQTT\x05\x02\0\0", b"\x26\0\x01k\0\x01v", n, b"\0\x01c")
    }),
    ("User Properties of an acknowledgement", Role::Client, |n| {
        with_section(0x40, b"\0\x01\0", b"\x26\0\x01k\0\x01v", n, b"")
    }),
    ("Subscription Identifiers", Role::Server, |n| with_section(0x30, b"\0\x01a", b"\x0B\x01", n, b"")),
    ("a property that may not be repeated", Role::Client, |n| with_section(0x30, b"\0\x01a", b"\x01\0", n, b"")),
    ("filters", Role::Client, |n| packet(0x82, b"\0\x01\0", b"\0\x03a/b\0", n, b"")),
    ("bad filters", Role::Client, |n| packet(0x82, b"\0\x01\0", b"\0\x03a#b\0", n, b"")),
    ("shared filters", Role::Client, |n| packet(0x82, b"\0\x01\0", b"\0\x0A$share/g/a\0", n, b"")),
    ("filters to unsubscribe", Role::Client, |n| packet(0xA2, b"\0\x01\0", b"\0\x01a", n, b"")),
    ("empty filters", Role::Client, |n| packet(0xA2, b"\0\x01\0", b"\0\0", n, b"")),
    ("codes", Role::Server, |n| packet(0x90, b"\0\x01\0", b"\x01", n, b"")),
    ("codes, the last of them wrong", Role::Server, |n| packet(0xB0, b"\0\x01\0", b"\x11", n, b"\x01")),
];

#[test]
fn twice_as_long_takes_at_most_twice_the_steps() {
    let mut profile = Profile::STRICT;
    profile.refuse_control_characters = true;
    profile.refuse_non_characters = true;
    for (name, from, make) in FAMILIES {
        let refused = Packet::decode(&make(500), Version::V5, from).is_err();
        let cost = |n: usize| {
            let bytes = make(n);
            let decoded = steps(|| assert!(Packet::decode(&bytes, Version::V5, from).is_ok() || refused));
            let judged = steps(|| assert!(Packet::decode_with(&bytes, Version::V5, from, &profile).is_ok() || refused));
            let shown = steps(|| {
                if let Ok(packet) = Packet::decode(&bytes, Version::V5, from) {
                    let _: String = format!("{packet} {packet:?}");
                    let _ = (packet.encoded_len(Version::V5), packet.fit(Version::V5, 5));
                }
            });
            assert!(decoded <= 2 * bytes.len() + 32, "{name}: {decoded} steps for {} bytes", bytes.len());
            assert!(judged <= 8 * bytes.len() + 64, "{name}: {judged} steps for {} bytes", bytes.len());
            [decoded, judged, shown]
        };
        for n in [500, 1000, 5000] {
            for (once, twice) in cost(n).into_iter().zip(cost(2 * n)) {
                assert!(twice <= 2 * once + 64, "{name}: {once} steps for {n}, {twice} for twice as many");
            }
        }
    }
}

#[test]
fn one_byte_at_a_time_is_decoded_once() {
    for (name, from, make) in FAMILIES {
        let refused = Packet::decode(&make(500), Version::V5, from).is_err();
        let bytes = make(500);
        let mut reader = match from {
            Role::Server => Reader::of_server(Version::V5, 1 << 20),
            Role::Client => {
                let mut reader = Reader::of_client(1 << 20, 1 << 20);
                if bytes.first() != Some(&0x10) {
                    let connect = b"\x10\x0E\0\x04MQTT\x05\x02\0\0\0\0\x01c";
                    assert!(matches!(reader.read(connect).next(), Ok(Some(_))));
                }
                reader
            }
        };
        let whole = steps(|| assert!(Packet::decode(&bytes, Version::V5, from).is_ok() || refused));
        let in_bytes = steps(|| {
            for byte in &bytes {
                assert!(reader.read(core::slice::from_ref(byte)).next().is_ok() || refused);
            }
        });
        assert!(in_bytes <= whole + 32, "{name}: {in_bytes} steps, {whole} when it comes as one");
    }
}

#[test]
fn the_payload_is_not_looked_at() {
    let cost = |len: usize| {
        let bytes = packet(0x30, b"\0\x01a\0", &vec![0xFF; len], 1, b"");
        steps(|| assert!(Packet::decode(&bytes, Version::V5, Role::Client).is_ok()))
    };
    assert_eq!(cost(1 << 20), cost(1000) + 1, "but for the longer length in front");
}
