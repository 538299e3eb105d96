//! What several tests share: the notation of the vectors, and how they are read.
#![allow(dead_code, reason = "each test uses a part")]
use mqtt_codec::{Role, Version};

/// One row of `vectors/*.txt`, for one version and one sender.
///
/// A row is `versions | sender | statement and note | bytes | verdict`. The bytes are hexadecimal; `"x"` are the bytes of a text, `s"x"` is
/// a text behind its length of two bytes, `{n 61}` are n bytes and `s{n 61}` the same behind their length, `( .. )` is a section behind its length as a variable byte integer, `LL` is the Remaining Length.
///
/// The verdict is `ok` and the packet as `Display` shows it (`{n a}` is a character n times), `noncanonical` and the same for bytes that are read but never written, `filter`
/// and the same for a packet with a filter that cannot be parsed, a reason code, `not-mqtt`, or `level` and a number. The statement that the error names must be in the note.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) place: String,
    pub(crate) version: Version,
    pub(crate) from: Role,
    pub(crate) note: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) verdict: String,
}

const FILES: [(&str, &str); 11] = [
    ("connect", include_str!("../vectors/connect.txt")),
    ("connack", include_str!("../vectors/connack.txt")),
    ("publish", include_str!("../vectors/publish.txt")),
    ("ack", include_str!("../vectors/ack.txt")),
    ("subscribe", include_str!("../vectors/subscribe.txt")),
    ("suback", include_str!("../vectors/suback.txt")),
    ("unsubscribe", include_str!("../vectors/unsubscribe.txt")),
    ("unsuback", include_str!("../vectors/unsuback.txt")),
    ("ping", include_str!("../vectors/ping.txt")),
    ("disconnect", include_str!("../vectors/disconnect.txt")),
    ("auth", include_str!("../vectors/auth.txt")),
];

/// All rows.
pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (file, text) in FILES {
        for (number, line) in text.lines().enumerate() {
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let place = format!("{file}.txt:{}", number + 1);
            let fields: Vec<_> = line.split(" | ").map(str::trim).collect();
            let [versions, sender, note, bytes, verdict] = fields[..] else { panic!("{place}: five fields, please") };
            for version in versions.split_whitespace() {
                let version = match version {
                    "3.1" => Version::V31,
                    "3.1.1" => Version::V311,
                    "5.0" => Version::V5,
                    _ => panic!("{place}: {version}?"),
                };
                let senders: &[Role] = match sender {
                    "client" => &[Role::Client],
                    "server" => &[Role::Server],
                    "both" => &[Role::Client, Role::Server],
                    _ => panic!("{place}: {sender}?"),
                };
                for &from in senders {
                    rows.push(Row {
                        place: place.clone(),
                        version,
                        from,
                        note: note.into(),
                        bytes: parse(bytes),
                        verdict: repeated(verdict),
                    });
                }
            }
        }
    }
    rows
}

/// The text with `{n a}` written out.
fn repeated(text: &str) -> String {
    let written_out = |rest: &str| {
        let (count, rest) = rest.split_once(' ')?;
        let (character, rest) = rest.split_once('}')?;
        Some((character.repeat(count.parse().ok()?), rest.to_owned()))
    };
    let mut text = text.to_owned();
    while let Some((at, (run, rest))) =
        text.match_indices('{').find_map(|(at, _)| Some((at, written_out(&text[at + 1..])?)))
    {
        text.truncate(at);
        text.push_str(&run);
        text.push_str(&rest);
    }
    text
}

/// The bytes of the notation.
pub(crate) fn parse(text: &str) -> Vec<u8> {
    let mut stack = vec![Vec::new()];
    let mut remaining_length = None;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let out = stack.last_mut().unwrap();
        if let Some(behind) = rest.strip_prefix("s\"") {
            let (string, behind) = behind.split_once('"').expect("an end of the text");
            out.extend(u16::try_from(string.len()).unwrap().to_be_bytes());
            out.extend(string.bytes());
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix("s{").or(rest.strip_prefix('{')) {
            let (run, behind) = behind.split_once('}').expect("an end of the run");
            let (count, byte) = run.split_once(' ').expect("a count and a byte");
            let count: usize = count.parse().unwrap();
            if rest.starts_with('s') {
                out.extend(u16::try_from(count).unwrap().to_be_bytes());
            }
            out.extend(std::iter::repeat_n(u8::from_str_radix(byte, 16).unwrap(), count));
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix('"') {
            let (string, behind) = behind.split_once('"').expect("an end of the text");
            out.extend(string.bytes());
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix('(') {
            stack.push(Vec::new());
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix(')') {
            let section = stack.pop().unwrap();
            let out = stack.last_mut().expect("an open bracket");
            out.extend(vbi(section.len()));
            out.extend(section);
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix("LL") {
            assert_eq!(stack.len(), 1);
            remaining_length = Some(stack[0].len());
            rest = behind;
        } else {
            let (byte, behind) = rest.split_at(2);
            out.push(u8::from_str_radix(byte, 16).unwrap_or_else(|_| panic!("{byte} in {text}")));
            rest = behind;
        }
        rest = rest.trim_start();
    }
    let [bytes] = &stack[..] else { panic!("a bracket is open in {text}") };
    let Some(at) = remaining_length else {
        return bytes.clone();
    };
    let (head, body) = bytes.split_at(at);
    [head, &vbi(body.len()), body].concat()
}

/// A variable byte integer, as section 1.5.5 writes it.
pub(crate) fn vbi(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = u8::try_from(value % 128).unwrap();
        value /= 128;
        if value == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

/// A CONNECT of `version`.
pub(crate) fn connect(version: Version) -> Vec<u8> {
    parse(match version {
        Version::V31 => r#"10 LL s"MQIsdp" 03 02 00 3C s"c""#,
        Version::V311 => r#"10 LL s"MQTT" 04 02 00 3C s"c""#,
        Version::V5 => r#"10 LL s"MQTT" 05 02 00 3C () s"c""#,
    })
}
