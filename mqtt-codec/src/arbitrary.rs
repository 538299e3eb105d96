//! Valid packets of every type and version out of a fuzzer's bytes, written field by field as section 3 lays them out.
use crate::packet::kind::{self, Kinds};
use crate::property::{Form, PROPERTIES, Row};
use crate::{OwnedPacket, PropertyId, ReasonCode, Role, Version};
use alloc::vec::Vec;
use arbitrary::{Arbitrary, Error, Result, Unstructured};
use mqtt_topic::{TopicFilterBuf, TopicNameBuf};

impl<'a> Arbitrary<'a> for OwnedPacket {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let version = *u.choose(&[Version::V5, Version::V311, Version::V31])?;
        let number = u.int_in_range(1..=if version == Version::V5 { 15 } else { 14 })?;
        let from = match number {
            1 | 8 | 10 | 12 => Role::Client,
            2 | 9 | 11 | 13 => Role::Server,
            14 if version != Version::V5 => Role::Client,
            _ => *u.choose(&[Role::Client, Role::Server])?,
        };
        let mut writer = Writer { u, version, from, body: Vec::new() };
        let flags = writer.write(number)?;
        let body = writer.body;
        let mut frame = Vec::with_capacity(body.len() + 5);
        frame.push(number << 4 | flags);
        put_vbi(&mut frame, body.len());
        frame.extend_from_slice(&body);
        Self::decode(&frame, version, from).map_err(|_| Error::IncorrectFormat)
    }
}

fn put_vbi(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes the body of one packet.
struct Writer<'u, 'a> {
    u: &'u mut Unstructured<'a>,
    version: Version,
    from: Role,
    body: Vec<u8>,
}

impl<'a> Writer<'_, 'a> {
    /// Writes the body of a packet of this type; its flags.
    fn write(&mut self, number: u8) -> Result<u8> {
        let v5 = self.version == Version::V5;
        match number {
            1 => self.connect()?,
            2 => self.connack()?,
            3 => return self.publish(),
            4..=7 => self.ack(1 << number)?,
            8 | 10 => {
                self.packet_id()?;
                self.section(1 << number)?;
                self.filters(number == 8)?;
            }
            9 | 11 => {
                self.packet_id()?;
                self.section(1 << number)?;
                if number == 9 || v5 {
                    self.codes(1 << number)?;
                }
            }
            14 if v5 && self.u.arbitrary()? => self.reasoned(kind::DISCONNECT)?,
            15 => {
                self.reason(kind::AUTH)?;
                self.section(kind::AUTH)?;
            }
            _ => {}
        }
        Ok(if matches!(number, 6 | 8 | 10) { 0b0010 } else { 0 })
    }

    fn connect(&mut self) -> Result<()> {
        let name: &[u8] = if self.version == Version::V31 { b"MQIsdp" } else { b"MQTT" };
        self.put(name);
        self.body.push(self.version.level());
        let (clean, will, user): (bool, bool, bool) = self.u.arbitrary()?;
        let password = (user || self.version == Version::V5) && self.u.arbitrary()?;
        let will_flags = if will { 4 | self.u.int_in_range(0..=2)? << 3 | self.u.int_in_range(0..=1)? << 5 } else { 0 };
        self.body.push(u8::from(clean) << 1 | will_flags | u8::from(password) << 6 | u8::from(user) << 7);
        self.number(2, false)?;
        self.section(kind::CONNECT)?;
        self.text()?;
        if will {
            self.section(kind::WILL)?;
            self.topic()?;
            self.binary()?;
        }
        if user {
            self.text()?;
        }
        if password {
            self.binary()?;
        }
        Ok(())
    }

    fn connack(&mut self) -> Result<()> {
        let present = self.version != Version::V31 && self.u.arbitrary()?;
        self.body.push(u8::from(present));
        if self.version == Version::V5 {
            self.reason(kind::CONNACK)?;
            self.section(kind::CONNACK)?;
        } else {
            let code = self.u.int_in_range(0..=5)?;
            self.body.push(code);
        }
        Ok(())
    }

    fn publish(&mut self) -> Result<u8> {
        let qos = self.u.int_in_range(0..=2_u8)?;
        let dup = qos > 0 && self.u.arbitrary()?;
        let retain: bool = self.u.arbitrary()?;
        // What follows the topic decides whether there must be one.
        self.section(kind::PUBLISH)?;
        let section = core::mem::take(&mut self.body);
        let alias = crate::Properties::from_wire_unchecked(behind_length(&section)).topic_alias().is_some();
        if alias && self.u.arbitrary()? {
            self.body.extend_from_slice(&[0, 0]);
        } else {
            self.topic()?;
        }
        if qos > 0 {
            self.packet_id()?;
        }
        self.body.extend_from_slice(&section);
        let payload = self.u.arbitrary::<&[u8]>()?;
        self.body.extend_from_slice(payload);
        Ok(u8::from(dup) << 3 | qos << 1 | u8::from(retain))
    }

    fn ack(&mut self, packet: Kinds) -> Result<()> {
        self.packet_id()?;
        if self.version == Version::V5 && self.u.arbitrary()? {
            self.reasoned(packet)?;
        }
        Ok(())
    }

    /// A reason, and perhaps properties.
    fn reasoned(&mut self, packet: Kinds) -> Result<()> {
        self.reason(packet)?;
        if self.u.arbitrary()? { self.section(packet) } else { Ok(()) }
    }

    fn filters(&mut self, options: bool) -> Result<()> {
        for _ in 0..=self.u.int_in_range(0..=4)? {
            let filter: TopicFilterBuf = self.u.arbitrary()?;
            let filter = filter.as_filter();
            let shared = self.version == Version::V5 && self.u.ratio(1, 4_u8)?;
            let text = if shared { [b"$share/g/", filter.as_bytes()].concat() } else { filter.as_bytes().to_vec() };
            self.put(&text);
            if options {
                let mut byte = self.u.int_in_range(0..=2)?;
                if self.version == Version::V5 {
                    let no_local = !text.starts_with(b"$share/") && self.u.arbitrary()?;
                    byte |= u8::from(no_local) << 2;
                    byte |= u8::from(self.u.arbitrary::<bool>()?) << 3 | self.u.int_in_range(0..=2)? << 4;
                }
                self.body.push(byte);
            }
        }
        Ok(())
    }

    fn codes(&mut self, packet: Kinds) -> Result<()> {
        for _ in 0..=self.u.int_in_range(0..=4)? {
            match self.version {
                Version::V5 => self.reason(packet)?,
                Version::V311 => {
                    let code = *self.u.choose(&[0, 1, 2, 0x80])?;
                    self.body.push(code);
                }
                Version::V31 => {
                    let code = self.u.int_in_range(0..=2)?;
                    self.body.push(code);
                }
            }
        }
        Ok(())
    }

    fn reason(&mut self, packet: Kinds) -> Result<()> {
        let codes: Vec<u8> = (0..=255).filter(|&code| ReasonCode(code).is_of(packet)).collect();
        let code = *self.u.choose(&codes)?;
        self.body.push(code);
        Ok(())
    }

    /// A property section with its length; nothing before 5.0.
    fn section(&mut self, packet: Kinds) -> Result<()> {
        if self.version != Version::V5 {
            return Ok(());
        }
        let before = core::mem::take(&mut self.body);
        // A method where there must be one, or where there may be data.
        let method =
            packet == kind::AUTH || (packet & (kind::CONNECT | kind::CONNACK) != 0 && self.u.ratio(1, 4_u8)?);
        for row in &PROPERTIES {
            let wanted = match row.id {
                PropertyId::AuthenticationMethod => method,
                PropertyId::AuthenticationData => method && self.u.arbitrary()?,
                _ => row.is_for(packet, self.from) && self.u.ratio(1, 4_u8)?,
            };
            if !wanted {
                continue;
            }
            let more = if row.repeats & packet == 0 { 0 } else { self.u.int_in_range(0..=2)? };
            for _ in 0..=more {
                self.property(row)?;
            }
        }
        let section = core::mem::replace(&mut self.body, before);
        put_vbi(&mut self.body, section.len());
        self.body.extend_from_slice(&section);
        Ok(())
    }

    fn property(&mut self, row: &Row) -> Result<()> {
        self.body.push(row.id as u8);
        match row.form {
            Form::Flag(_) => {
                let flag = self.u.int_in_range(0..=1)?;
                self.body.push(flag);
                Ok(())
            }
            Form::U16(not_zero) => self.number(2, not_zero.is_some()),
            Form::U32(not_zero) => self.number(4, not_zero.is_some()),
            Form::Vbi(_) => {
                let value = *self.u.choose(&[1, 127, 128, 16_384, 2_097_152, 268_435_455])?;
                put_vbi(&mut self.body, value);
                Ok(())
            }
            Form::Text => self.text(),
            Form::Topic => self.topic(),
            Form::Binary => self.binary(),
            Form::Pair => self.text().and_then(|()| self.text()),
        }
    }

    fn packet_id(&mut self) -> Result<()> {
        self.number(2, true)
    }

    /// A big-endian number of so many bytes.
    fn number(&mut self, bytes: usize, not_zero: bool) -> Result<()> {
        let start = self.body.len();
        for _ in 0..bytes {
            let byte = self.u.arbitrary()?;
            self.body.push(byte);
        }
        let zero = self.body.iter().skip(start).all(|&byte| byte == 0);
        if let (true, true, Some(last)) = (not_zero, zero, self.body.last_mut()) {
            *last = 1;
        }
        Ok(())
    }

    fn text(&mut self) -> Result<()> {
        let text = self.u.arbitrary::<&str>()?;
        let text: Vec<u8> = text.bytes().filter(|&byte| byte != 0).collect();
        self.put(if text.len() > usize::from(u16::MAX) { b"long" } else { &text });
        Ok(())
    }

    fn binary(&mut self) -> Result<()> {
        let bytes: &'a [u8] = self.u.arbitrary()?;
        self.put(if bytes.len() > usize::from(u16::MAX) { b"long" } else { bytes });
        Ok(())
    }

    fn topic(&mut self) -> Result<()> {
        let topic: TopicNameBuf = self.u.arbitrary()?;
        self.put(topic.as_name().as_bytes());
        Ok(())
    }

    /// Bytes behind their length.
    fn put(&mut self, bytes: &[u8]) {
        self.body.extend_from_slice(&crate::write::len_bytes(bytes));
        self.body.extend_from_slice(bytes);
    }
}

/// A section without its length.
fn behind_length(section: &[u8]) -> &[u8] {
    let end = section.iter().position(|byte| byte & 0x80 == 0).map_or(section.len(), |last| last + 1);
    section.get(end..).unwrap_or_default()
}
