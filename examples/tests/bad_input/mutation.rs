//! Streams of bytes that were once good MQTT: the same for the same seed.

use std::ops::Range;

/// Numbers by chance, the same for the same seed (SplitMix64).
pub struct Chance(u64);

impl Chance {
    /// Of one stream of many.
    pub fn of(seed: u64, number: u64) -> Self {
        Self(seed ^ number.wrapping_mul(0xA24B_AED4_963E_E407))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// From 0 to `end`, which is not among them unless it is 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub fn one_of<'t, T>(&mut self, things: &'t [T]) -> &'t T {
        &things[self.below(things.len())]
    }

    pub fn range(&mut self, len: usize) -> Range<usize> {
        let (one, other) = (self.below(len + 1), self.below(len + 1));
        one.min(other)..one.max(other)
    }
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

fn whole(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut len = body.len();
    while len > 127 {
        packet.push((len & 0x7F) as u8 | 0x80);
        len >>= 7;
    }
    packet.push(len as u8);
    packet.extend_from_slice(body);
    packet
}

/// CONNECT of a level, with all it can hold or with little.
fn connect(level: u8, rich: bool, id: &str) -> Vec<u8> {
    let (will, user): (u8, u8) = if rich { (0x2C, 0xC0) } else { (0, 0) };
    let clean = if rich { 0 } else { 2 };
    let mut body = [text(if level == 3 { "MQIsdp" } else { "MQTT" }), vec![level, will | user | clean, 0, 60]].concat();
    if level == 5 {
        // Session Expiry 2 s, Receive Maximum 10, Topic Alias Maximum 5, a user property
        let rich = b"\x16\x11\x00\x00\x00\x02\x21\x00\x0a\x22\x00\x05\x26\x00\x01k\x00\x01v\x19\x01";
        body.extend_from_slice(if will > 0 { rich } else { b"\x00" });
    }
    body.extend(text(id));
    if will > 0 {
        if level == 5 {
            body.extend_from_slice(b"\x05\x18\x00\x00\x00\x01"); // Will Delay 1 s
        }
        body.extend([text("bad/will"), text("gone"), text("user"), text("secret")].concat());
    }
    whole(0x10, &body)
}

/// What a client says after CONNECT.
fn talk(level: u8) -> Vec<Vec<u8>> {
    let none: &[u8] = if level == 5 { b"\x00" } else { b"" };
    let alias: &[u8] = if level == 5 { b"\x03\x23\x00\x01" } else { b"" };
    let id = |id: u16| id.to_be_bytes().to_vec();
    let filters = |id: &[u8], filters: &[(&str, u8)]| {
        let filters = filters.iter().flat_map(|(filter, options)| [text(filter), vec![*options]].concat());
        [id, none, &filters.collect::<Vec<_>>()].concat()
    };
    let publish = |topic: &str, id: &[u8], properties: &[u8]| [&text(topic), id, properties, b"payload"].concat();
    vec![
        whole(0x82, &filters(&id(1), &[("bad/#", 0), ("bad/+/x", 1), ("$SYS/#", 2)])),
        whole(0x82, &filters(&id(2), &[("$share/g/bad/shared", 1)])),
        whole(0x30, &publish("bad/a", &[], none)),
        whole(0x31, &publish("bad/kept", &[], none)),
        whole(0x31, &publish("bad/aliased", &[], alias)),
        whole(0x32, &publish("bad/b", &id(3), none)),
        whole(0x34, &publish("bad/c", &id(4), none)),
        whole(0x62, &id(4)),
        whole(0x3D, &publish("bad/kept", &id(4), none)),
        whole(0x40, &id(1)),
        whole(0x50, &id(2)),
        whole(0xA2, &[&id(5), none, &text("bad/#")].concat()),
        whole(0xC0, &[]),
        whole(0x32, &publish(&"deep/".repeat(200), &id(6), none)),
        whole(0x30, &[&text("bad/large"), none, &[b'x'; 5_000][..]].concat()),
        whole(0xE0, &[]),
    ]
}

/// A stream of a client, with mistakes.
pub fn stream(chance: &mut Chance) -> Vec<u8> {
    let level = *chance.one_of(&[3, 4, 5, 5]);
    let id = format!("bad{}", chance.below(500));
    let mut bytes = connect(level, chance.below(2) == 0, &id);
    let talk = talk(level);
    for _ in 0..chance.below(12) {
        let packet: &Vec<u8> = chance.one_of(&talk);
        bytes.extend_from_slice(packet);
    }
    mutate(chance, &mut bytes);
    bytes
}

/// Makes from none to eight mistakes.
pub fn mutate(chance: &mut Chance, bytes: &mut Vec<u8>) {
    for _ in 0..chance.below(9) {
        let at = chance.below(bytes.len());
        match chance.below(11) {
            _ if bytes.is_empty() => bytes.push(0x10),
            0 => bytes[at] ^= 1 << chance.below(8),
            1 => bytes[at] = chance.next() as u8,
            2 => bytes[at] = *chance.one_of(&[0, 1, 0x7F, 0x80, 0xFF]),
            3 => bytes.insert(at, chance.next() as u8),
            4 => drop(bytes.remove(at)),
            5 => bytes.truncate(at),
            6 => {
                let range = chance.range(bytes.len());
                let again = bytes[range].to_vec();
                let times = 1 + chance.below(4);
                for _ in 0..times {
                    bytes.splice(at..at, again.iter().copied());
                }
            }
            7 => drop(bytes.drain(chance.range(bytes.len().min(40)))),
            // lengths that promise much
            8 => drop(bytes.splice(at..at, [0xFF, 0xFF, 0xFF, 0x7F])),
            9 => drop(bytes.splice(at..at, [0xFF, 0xFF])),
            _ => bytes.extend((0..chance.below(300)).map(|_| chance.next() as u8).collect::<Vec<_>>()),
        }
        bytes.truncate(64 << 10);
    }
}
