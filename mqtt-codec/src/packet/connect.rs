//! CONNECT (section 3.1).
use super::{Sections, kind};
use crate::profile::Leniency;
use crate::read::{Cursor, Parsed};
use crate::write::Sink;
use crate::{EncodeError, Level3, Properties, Qos, Role, TopicName, Utf8, Version, rules};

/// CONNECT (section 3.1).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The protocol version; its level byte and protocol name follow from it.
    pub version: Version,
    /// Clean Start; Clean Session before 5.0.
    pub clean_start: bool,
    /// Seconds; 0 turns it off.
    pub keep_alive: u16,
    /// 5.0 only: not written before.
    pub properties: Properties<'a>,
    /// May be empty.
    pub client_id: Utf8<'a>,
    /// The will message.
    pub will: Option<Will<'a>>,
    /// The user name.
    pub user_name: Option<Utf8<'a>>,
    /// Binary.
    pub password: Option<&'a [u8]>,
}

/// The will of a CONNECT (section 3.1.2.5).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Will<'a> {
    /// Where it is published.
    pub topic: TopicName<'a>,
    /// What is published.
    pub payload: &'a [u8],
    /// At which QoS.
    pub qos: Qos,
    /// Whether it is retained.
    pub retain: bool,
    /// 5.0 only: not written before.
    pub properties: Properties<'a>,
}

const USER_NAME: u8 = 0x80;
const PASSWORD: u8 = 0x40;
const WILL_RETAIN: u8 = 0x20;
const WILL_QOS: u8 = 0x18;
const WILL: u8 = 0x04;
const CLEAN_START: u8 = 0x02;
const RESERVED: u8 = 0x01;

/// The version that the CONNECT in `frame` asks for, however wrong the rest of it may be; `None` if it is none of ours.
pub(crate) fn version_of(frame: &[u8], leniency: impl Leniency) -> Option<Version> {
    let mut cursor = Cursor::new(frame);
    if cursor.u8().ok()? >> 4 != 1 {
        return None;
    }
    cursor.vbi().ok()?;
    read_version(&mut cursor, leniency).ok()
}

#[inline(always)]
fn read_version(cursor: &mut Cursor<'_>, leniency: impl Leniency) -> Parsed<Version> {
    let at = *cursor;
    let wrong_name = at.fault(&rules::PROTOCOL_NAME);
    // v5 [MQTT-3.1.2-1], v4 [MQTT-3.1.2-1]: another name is another protocol, and is not answered.
    let name = cursor.binary().map_err(|_| wrong_name)?;
    let level_at = *cursor;
    match (name, cursor.u8().map_err(|_| wrong_name)?) {
        // v3 [X31-CON-1]
        (b"MQIsdp", 3) => Ok(Version::V31),
        (b"MQTT", 4) => Ok(Version::V311),
        (b"MQTT", 5) => Ok(Version::V5),
        (b"MQIsdp", 0x83) if leniency.takes_bridges() => Ok(Version::V31),
        (b"MQTT", 0x84) if leniency.takes_bridges() => Ok(Version::V311),
        // v5 [MQTT-3.1.2-2], v4 [MQTT-3.1.2-2]: the level goes out with the error, so that the answer can be in the right form.
        (b"MQIsdp" | b"MQTT", _) => Err(level_at.fault(&rules::LEVEL)),
        _ => Err(wrong_name),
    }
}

impl<'a> Connect<'a> {
    #[inline(always)]
    pub(super) fn decode(mut cursor: Cursor<'a>, leniency: impl Leniency) -> Parsed<Self> {
        let version = read_version(&mut cursor, leniency)?;
        let flags_at = cursor;
        let mut flags = cursor.u8()?;
        if leniency.ignores_flags(version) {
            flags = meaningful(flags);
        }
        check_flags(flags, version, leniency).map_err(|rule| flags_at.fault(rule))?;
        let keep_alive = cursor.u16()?;
        let properties = read_properties(&mut cursor, version, kind::CONNECT)?;
        // v5 [MQTT-3.1.3-1], v4 [MQTT-3.1.3-1]: the order of the payload is fixed.
        // v5 [MQTT-3.1.3-3], v5 [MQTT-3.1.3-4], v4 [MQTT-3.1.3-3], v4 [MQTT-3.1.3-4]: the client identifier is always there, and a UTF-8 string.
        let client_id = cursor.text_or(&rules::CLIENT_ID_UTF8).map_err(|fault| fault.or_missing(&rules::CLIENT_ID))?;
        let will = if flags & WILL == 0 { None } else { Some(read_will(&mut cursor, flags, version)?) };
        // v3 [X31-CON-3]: the flag may be set and the field absent; the length of the packet decides.
        let may_be_absent = version == Version::V31 && leniency.level_3() != Level3::As311;
        let there = |cursor: Cursor<'_>| !may_be_absent || !cursor.is_empty();
        let user_name = if flags & USER_NAME != 0 && there(cursor) {
            // v5 [MQTT-3.1.2-17], v5 [MQTT-3.1.3-12], v4 [MQTT-3.1.2-19], v4 [MQTT-3.1.3-11]
            Some(cursor.text_or(&rules::USER_NAME_UTF8).map_err(|fault| fault.or_missing(&rules::USER_NAME))?)
        } else {
            None
        };
        let password = if flags & PASSWORD != 0 && there(cursor) {
            // v5 [MQTT-3.1.2-19], v4 [MQTT-3.1.2-21]: a password is binary.
            Some(cursor.binary().map_err(|fault| fault.or_missing(&rules::PASSWORD))?)
        } else {
            None
        };
        // v5 [MQTT-3.1.2-16], v5 [MQTT-3.1.2-18], v4 [MQTT-3.1.2-18], v4 [MQTT-3.1.2-20]: no flag, no field.
        let no_field = match (flags & USER_NAME, flags & PASSWORD) {
            (_, PASSWORD) => &rules::LENGTH_LONG,
            (USER_NAME, _) => &rules::NO_PASSWORD,
            _ => &rules::NO_USER_NAME,
        };
        cursor.finish_or(no_field)?;
        Ok(Self {
            version,
            clean_start: flags & CLEAN_START != 0,
            keep_alive,
            properties,
            client_id,
            will,
            user_name,
            password,
        })
    }

    #[inline]
    pub(super) fn plan(&self) -> Result<Sections, EncodeError> {
        // v4 [MQTT-3.1.2-22]: a password needs a user name (5.0 lets it stand alone).
        if self.version != Version::V5 && self.password.is_some() && self.user_name.is_none() {
            return Err(EncodeError::Invalid);
        }
        if self.password.is_some_and(too_long) || self.will.as_ref().is_some_and(|will| too_long(will.payload)) {
            return Err(EncodeError::StringTooLong);
        }
        let own = self.properties.plan(self.version, kind::CONNECT)?;
        let will = match &self.will {
            Some(will) => will.properties.plan(self.version, kind::WILL)?,
            None => 0,
        };
        Ok(Sections { own, will })
    }

    #[inline]
    pub(super) fn write(&self, sections: Sections, out: &mut impl Sink) {
        match self.version {
            // v3 [X31-CON-1]
            Version::V31 => out.put(b"\0\x06MQIsdp\x03"),
            Version::V311 => out.put(b"\0\x04MQTT\x04"),
            Version::V5 => out.put(b"\0\x04MQTT\x05"),
        }
        let [a, b] = self.keep_alive.to_be_bytes();
        out.put(&[self.flags(), a, b]);
        if self.version == Version::V5 {
            self.properties.write(sections.own, out);
        }
        // v5 [MQTT-3.1.3-1], v4 [MQTT-3.1.3-1]
        out.binary(self.client_id.as_bytes());
        if let Some(will) = &self.will {
            // v5 [MQTT-3.1.2-9], v4 [MQTT-3.1.2-9]: the flag and the fields go together.
            if self.version == Version::V5 {
                will.properties.write(sections.will, out);
            }
            out.binary(will.topic.as_bytes());
            out.binary(will.payload);
        }
        if let Some(user_name) = self.user_name {
            out.binary(user_name.as_bytes());
        }
        if let Some(password) = self.password {
            out.binary(password);
        }
    }

    fn flags(&self) -> u8 {
        let flag = |bit: u8, set: bool| if set { bit } else { 0 };
        let will = match &self.will {
            Some(will) => WILL | (will.qos as u8) << 3 | flag(WILL_RETAIN, will.retain),
            None => 0,
        };
        will | flag(CLEAN_START, self.clean_start)
            | flag(USER_NAME, self.user_name.is_some())
            | flag(PASSWORD, self.password.is_some())
    }
}

fn too_long(bytes: &[u8]) -> bool {
    bytes.len() > usize::from(u16::MAX)
}

/// The flags without those that have no meaning.
fn meaningful(flags: u8) -> u8 {
    if flags & WILL == 0 { flags & !(RESERVED | WILL_QOS | WILL_RETAIN) } else { flags & !RESERVED }
}

#[inline]
fn check_flags(flags: u8, version: Version, leniency: impl Leniency) -> Result<(), &'static rules::Rule> {
    // v5 [MQTT-3.1.2-3], v4 [MQTT-3.1.2-3]
    if flags & RESERVED != 0 {
        return Err(&rules::CONNECT_RESERVED);
    }
    if flags & WILL == 0 {
        // v4 [MQTT-3.1.2-11]: without a will there is neither a QoS nor a retain flag for it.
        // v5 [MQTT-3.1.2-11], v4 [MQTT-3.1.2-13]
        if flags & WILL_QOS != 0 {
            return Err(&rules::NO_WILL_QOS);
        }
        // v5 [MQTT-3.1.2-13], v4 [MQTT-3.1.2-15]
        if flags & WILL_RETAIN != 0 {
            return Err(&rules::NO_WILL_RETAIN);
        }
    }
    // v5 [MQTT-3.1.2-12], v4 [MQTT-3.1.2-14]
    if flags & WILL_QOS == WILL_QOS {
        return Err(&rules::WILL_QOS);
    }
    let may_be_alone = match version {
        Version::V5 => true,
        Version::V311 => false,
        Version::V31 => leniency.level_3() == Level3::Lenient,
    };
    // v4 [MQTT-3.1.2-22]
    if !may_be_alone && flags & (USER_NAME | PASSWORD) == PASSWORD {
        return Err(&rules::PASSWORD_ALONE);
    }
    Ok(())
}

/// v5 [MQTT-3.1.2-9], v4 [MQTT-3.1.2-9]: the flag announces properties, topic and payload.
#[inline(always)]
fn read_will<'a>(cursor: &mut Cursor<'a>, flags: u8, version: Version) -> Parsed<Will<'a>> {
    let missing = |fault: crate::error::Fault| fault.or_missing(&rules::WILL_MISSING);
    let properties = read_properties(cursor, version, kind::WILL).map_err(missing)?;
    // v5 [MQTT-3.1.3-11], v4 [MQTT-3.1.3-10]: a UTF-8 string, and a topic name.
    let topic =
        cursor.topic(&rules::WILL_TOPIC_EMPTY, &rules::TOPIC_WILDCARD, &rules::WILL_TOPIC_UTF8).map_err(missing)?;
    // v5 [X5-CON-10]: whether the payload is the text it claims to be is the server's to judge; it may be any bytes here.
    let payload = cursor.binary().map_err(missing)?;
    let qos = Qos::new((flags & WILL_QOS) >> 3).unwrap_or_default();
    Ok(Will { topic, payload, qos, retain: flags & WILL_RETAIN != 0, properties })
}

#[inline(always)]
fn read_properties<'a>(cursor: &mut Cursor<'a>, version: Version, packet: kind::Kinds) -> Parsed<Properties<'a>> {
    match version {
        Version::V5 => Properties::decode(cursor, packet, Role::Client),
        Version::V31 | Version::V311 => Ok(Properties::EMPTY),
    }
}
