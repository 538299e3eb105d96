//! The fields of one packet, as far as they can be told apart: what each byte is, good or bad. Judging is the codec's.
use mqtt_codec::{PropertyId, ReasonCode, Version};
use std::ops::Range;

/// A field and what it says.
pub(crate) struct Field {
    pub(crate) range: Range<usize>,
    pub(crate) text: String,
}

/// The fields of the packet; what cannot be told is one field at the end.
pub(crate) fn fields(frame: &[u8], version: Version) -> Vec<Field> {
    let mut walk = Walk { frame, at: 0, end: frame.len(), version, fields: Vec::new() };
    // where it stops, something is missing: the rest is shown as it is
    let _ = walk.packet();
    walk.end = frame.len();
    if walk.at < walk.end {
        let rest = walk.end - walk.at;
        walk.field(rest, |bytes| format!("? {} bytes", bytes.len()));
    }
    walk.fields
}

/// The version that a CONNECT asks for.
pub(crate) fn version_of(frame: &[u8]) -> Option<Version> {
    if frame.first()? >> 4 != 1 {
        return None;
    }
    let body = frame.get(1 + frame.iter().skip(1).position(|byte| byte & 0x80 == 0)? + 1..)?;
    let name_len = usize::from(*body.get(1)?);
    Version::of_level(*body.get(2 + name_len)?)
}

/// A place in the packet.
struct Walk<'f> {
    frame: &'f [u8],
    at: usize,
    end: usize,
    version: Version,
    fields: Vec<Field>,
}

impl<'f> Walk<'f> {
    /// Takes `len` bytes as a field.
    fn field(&mut self, len: usize, text: impl FnOnce(&'f [u8]) -> String) -> Option<&'f [u8]> {
        let range = self.at..self.at.checked_add(len).filter(|&end| end <= self.end)?;
        let bytes = self.frame.get(range.clone())?;
        self.at = range.end;
        if len > 0 {
            self.fields.push(Field { range, text: text(bytes) });
        }
        Some(bytes)
    }

    fn u8(&mut self, text: impl FnOnce(u8) -> String) -> Option<u8> {
        self.field(1, |bytes| text(bytes[0])).map(|bytes| bytes[0])
    }

    fn u16(&mut self, name: &str) -> Option<u16> {
        let value = |bytes: &[u8]| u16::from_be_bytes([bytes[0], bytes[1]]);
        self.field(2, |bytes| format!("{name}: {}", value(bytes))).map(value)
    }

    fn vbi(&mut self, name: &str) -> Option<usize> {
        let rest = self.frame.get(self.at..self.end)?;
        let len = rest.iter().take(4).position(|byte| byte & 0x80 == 0)? + 1;
        let value = |bytes: &[u8]| bytes.iter().rev().fold(0, |value, byte| value << 7 | usize::from(byte & 0x7F));
        self.field(len, |bytes| format!("{name}: {}", value(bytes))).map(value)
    }

    /// Bytes behind their length.
    fn binary(&mut self, name: &str, show: impl FnOnce(&[u8]) -> String) -> Option<&'f [u8]> {
        let len = self.frame.get(self.at..self.end)?.first_chunk::<2>()?;
        let len = usize::from(u16::from_be_bytes(*len));
        self.field(2 + len, |bytes| format!("{name}: {}", show(&bytes[2..]))).map(|bytes| &bytes[2..])
    }

    fn text(&mut self, name: &str) -> Option<&'f [u8]> {
        self.binary(name, text)
    }

    fn reason(&mut self) -> Option<u8> {
        self.u8(|code| format!("Reason Code: {}", ReasonCode(code)))
    }

    fn packet(&mut self) -> Option<()> {
        let first = self.u8(header)?;
        let len = self.vbi("Remaining Length")?;
        self.end = self.end.min(self.at + len);
        let v5 = self.version == Version::V5;
        match first >> 4 {
            1 => self.connect(),
            2 => {
                self.u8(|flags| format!("Acknowledge Flags: session present {}", flags & 1))?;
                if v5 {
                    self.reason()?;
                    self.properties("")
                } else {
                    self.u8(|code| format!("Return Code: {}", return_code(code))).map(drop)
                }
            }
            3 => {
                self.text("Topic Name")?;
                if first & 0x06 != 0 {
                    self.u16("Packet Identifier")?;
                }
                self.properties("")?;
                let rest = self.end - self.at;
                self.field(rest, |bytes| format!("Payload: {}", blob(bytes))).map(drop)
            }
            4..=7 => {
                self.u16("Packet Identifier")?;
                self.reason()?;
                self.properties("")
            }
            8 | 10 => {
                self.u16("Packet Identifier")?;
                self.properties("")?;
                while self.at < self.end {
                    self.text("Topic Filter")?;
                    if first >> 4 == 8 {
                        self.u8(|options| self::options(options, v5))?;
                    }
                }
                Some(())
            }
            9 | 11 => {
                self.u16("Packet Identifier")?;
                self.properties("")?;
                while self.at < self.end {
                    self.reason()?;
                }
                Some(())
            }
            14 | 15 => {
                self.reason()?;
                self.properties("")
            }
            _ => Some(()),
        }
    }

    fn connect(&mut self) -> Option<()> {
        self.text("Protocol Name")?;
        self.version = Version::of_level(self.u8(|level| format!("Protocol Level: {level}"))?)?;
        let flags = self.u8(connect_flags)?;
        self.u16("Keep Alive")?;
        self.properties("")?;
        self.text("Client Identifier")?;
        if flags & 0x04 != 0 {
            self.properties("Will ")?;
            self.text("Will Topic")?;
            self.binary("Will Payload", blob)?;
        }
        if flags & 0x80 != 0 {
            self.text("User Name")?;
        }
        if flags & 0x40 != 0 {
            self.binary("Password", |bytes| format!("{} bytes", bytes.len()))?;
        }
        Some(())
    }

    /// A property section of 5.0, with its length.
    fn properties(&mut self, whose: &str) -> Option<()> {
        if self.version != Version::V5 {
            return Some(());
        }
        let len = self.vbi(&format!("{whose}Property Length"))?;
        let end = self.end;
        self.end = end.min(self.at + len);
        let whole = self.at + len <= end;
        while self.at < self.end {
            self.property()?;
        }
        self.end = end;
        whole.then_some(())
    }

    fn property(&mut self) -> Option<()> {
        let (start, before) = (self.at, self.fields.len());
        let id = *self.frame.get(start)?;
        let name = PropertyId::new(id)?.name();
        self.at += 1;
        let done = match id {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2A => self.u8(|value| format!("{name}: {value}")).map(drop),
            0x13 | 0x21..=0x23 => self.u16(name).map(drop),
            0x02 | 0x11 | 0x18 | 0x27 => {
                let value = |bytes: &[u8]| bytes.iter().fold(0_u32, |value, &byte| value << 8 | u32::from(byte));
                self.field(4, |bytes| format!("{name}: {}", value(bytes))).map(drop)
            }
            0x0B => self.vbi(name).map(drop),
            0x09 | 0x16 => self.binary(name, blob).map(drop),
            0x26 => {
                let first = self.text(name)?;
                let pair = self.text("").map(|value| format!("{name}: {} = {}", text(first), text(value)));
                // both halves are one field
                if let (Some(pair), Some(second)) = (pair, self.fields.pop()) {
                    let first = self.fields.last_mut()?;
                    first.range.end = second.range.end;
                    first.text = pair;
                    Some(())
                } else {
                    None
                }
            }
            _ => self.text(name).map(drop),
        };
        // the identifier is part of the field
        match done {
            Some(()) => self.fields.last_mut()?.range.start = start,
            None => {
                self.at = start;
                self.fields.truncate(before);
            }
        }
        done
    }
}

fn header(first: u8) -> String {
    const NAMES: [&str; 16] = [
        "reserved",
        "CONNECT",
        "CONNACK",
        "PUBLISH",
        "PUBACK",
        "PUBREC",
        "PUBREL",
        "PUBCOMP",
        "SUBSCRIBE",
        "SUBACK",
        "UNSUBSCRIBE",
        "UNSUBACK",
        "PINGREQ",
        "PINGRESP",
        "DISCONNECT",
        "AUTH",
    ];
    let name = NAMES[usize::from(first >> 4)];
    let flags = first & 0x0F;
    if first >> 4 == 3 {
        return format!("{name}, DUP {}, QoS {}, RETAIN {}", flags >> 3, flags >> 1 & 3, flags & 1);
    }
    format!("{name}, flags {flags:04b}")
}

fn connect_flags(flags: u8) -> String {
    let mut words = vec![format!("Connect Flags: clean {}", flags >> 1 & 1)];
    if flags & 0x3C != 0 {
        words.push(format!("will {} (QoS {}, RETAIN {})", flags >> 2 & 1, flags >> 3 & 3, flags >> 5 & 1));
    }
    for (bit, word) in [(0x80, "user name"), (0x40, "password"), (0x01, "reserved")] {
        if flags & bit != 0 {
            words.push(word.into());
        }
    }
    words.join(", ")
}

fn options(options: u8, v5: bool) -> String {
    if !v5 {
        return format!("Requested QoS: {options}");
    }
    format!(
        "Options: QoS {}, No Local {}, Retain As Published {}, Retain Handling {}",
        options & 3,
        options >> 2 & 1,
        options >> 3 & 1,
        options >> 4 & 3
    )
}

fn return_code(code: u8) -> String {
    let words = match code {
        0 => "accepted",
        1 => "unacceptable protocol version",
        2 => "identifier rejected",
        3 => "server unavailable",
        4 => "bad user name or password",
        5 => "not authorized",
        _ => "reserved",
    };
    format!("{code}, {words}")
}

fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => format!("{text:?}"),
        Err(_) => format!("\"{}\", not UTF-8", bytes.escape_ascii()),
    }
}

/// The first bytes of what may be anything.
fn blob(bytes: &[u8]) -> String {
    let shown = bytes.get(..40).unwrap_or(bytes);
    let more = if shown.len() < bytes.len() { " .." } else { "" };
    format!("{} bytes \"{}\"{more}", bytes.len(), shown.escape_ascii())
}
