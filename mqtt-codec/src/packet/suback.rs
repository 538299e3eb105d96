//! SUBACK and UNSUBACK (sections 3.9 and 3.11).
use super::Sections;
use super::kind::{self, Kinds};
use crate::profile::Leniency;
use crate::read::{Cursor, Parsed};
use crate::rules;
use crate::write::Sink;
use crate::{EncodeError, Level3, PacketId, Properties, ReasonCode, Role, Version};
use core::fmt;

/// SUBACK (section 3.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suback<'a> {
    /// Of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// 5.0 only: not written before.
    pub properties: Properties<'a>,
    /// One per filter, and at least one. Every failure is written as 0x80 at level 4; level 3 has no failure.
    pub codes: ReasonCodes<'a>,
}

/// UNSUBACK (section 3.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsuback<'a> {
    /// Of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// 5.0 only: not written before.
    pub properties: Properties<'a>,
    /// One per filter at 5.0; none before, where they are not written.
    pub codes: ReasonCodes<'a>,
}

/// The reason codes of a SUBACK or UNSUBACK.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ReasonCodes<'a>(&'a [u8]);

impl<'a> ReasonCodes<'a> {
    /// One byte per filter; checked against the packet when it is encoded.
    pub const fn new(codes: &'a [u8]) -> Self {
        Self(codes)
    }

    /// In the order of the filters.
    pub fn iter(self) -> impl ExactSizeIterator<Item = ReasonCode> + Clone + use<'a> {
        self.0.iter().map(|&code| ReasonCode(code))
    }

    /// How many.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// The first that is not one of `packet`'s, and where it is.
    fn stranger(self, packet: Kinds) -> Option<(usize, ReasonCode)> {
        self.iter().enumerate().find(|(_, code)| !code.is_of(packet))
    }
}

impl fmt::Debug for ReasonCodes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Whether SUBACK has `code` in `version`.
fn is_suback_code(code: ReasonCode, version: Version, leniency: impl Leniency) -> bool {
    match version {
        Version::V5 => code.is_of(kind::SUBACK),         // v5 [MQTT-3.9.3-2]
        Version::V311 => matches!(code.0, 0..=2 | 0x80), // v4 [MQTT-3.9.3-2]
        // v3 [X31-SUB-1]
        Version::V31 => matches!(code.0, 0..=2) || (code.0 == 0x80 && leniency.level_3() == Level3::Lenient),
    }
}

impl<'a> Suback<'a> {
    pub(super) fn decode(mut cursor: Cursor<'a>, version: Version, leniency: impl Leniency) -> Parsed<Self> {
        let packet_id = cursor.packet_id()?;
        let properties = match version {
            Version::V5 => Properties::decode(&mut cursor, kind::SUBACK, Role::Server)?,
            Version::V31 | Version::V311 => Properties::EMPTY,
        };
        // v5 [MQTT-3.8.4-6], v4 [MQTT-3.8.4-5]: no SUBSCRIBE is without a filter, so no SUBACK is without a code.
        if cursor.is_empty() {
            return Err(cursor.fault(&rules::SUBACK_EMPTY));
        }
        let codes = ReasonCodes(cursor.rest());
        while !cursor.is_empty() {
            let at = cursor;
            if !is_suback_code(ReasonCode(cursor.u8()?), version, leniency) {
                return Err(at.fault(&rules::SUBACK_CODE));
            }
        }
        Ok(Self { packet_id, properties, codes })
    }

    pub(super) fn plan(&self, version: Version) -> Result<Sections, EncodeError> {
        if self.codes.len() == 0 {
            return Err(EncodeError::Invalid);
        }
        // v5 [MQTT-3.9.3-2], v4 [MQTT-3.9.3-2]
        if let Some((_, code)) = self.codes.stranger(kind::SUBACK) {
            return Err(EncodeError::ReasonCode(code));
        }
        // v3 [X31-SUB-1]: there is no way to say that a filter was refused.
        let failure = self.codes.iter().find(|code| code.is_error());
        if let (Version::V31, Some(code)) = (version, failure) {
            return Err(EncodeError::ReasonCode(code));
        }
        self.properties.plan(version, kind::SUBACK).map(Sections::own)
    }

    pub(super) fn write(&self, version: Version, sections: Sections, out: &mut impl Sink) {
        out.u16(self.packet_id.get());
        if version == Version::V5 {
            self.properties.write(sections.own, out);
            return out.put(self.codes.0);
        }
        for code in self.codes.iter() {
            // v4 [MQTT-3.9.3-2]: one failure stands for all.
            out.u8(if code.is_error() { ReasonCode::UNSPECIFIED_ERROR.0 } else { code.0 });
        }
    }
}

impl<'a> Unsuback<'a> {
    pub(super) fn decode(mut cursor: Cursor<'a>, version: Version) -> Parsed<Self> {
        let packet_id = cursor.packet_id()?;
        if version != Version::V5 {
            // v4 [X311-ACK-1]: an identifier and nothing else.
            cursor.finish_or(&rules::ACK_LENGTH)?;
            return Ok(Self { packet_id, properties: Properties::EMPTY, codes: ReasonCodes(&[]) });
        }
        let properties = Properties::decode(&mut cursor, kind::UNSUBACK, Role::Server)?;
        // v5 [MQTT-3.11.3-2]: one code per filter, so at least one.
        if cursor.is_empty() {
            return Err(cursor.fault(&rules::UNSUBACK_EMPTY));
        }
        let codes = ReasonCodes(cursor.rest());
        if let Some((offset, _)) = codes.stranger(kind::UNSUBACK) {
            cursor.take(offset)?;
            return Err(cursor.fault(&rules::UNSUBACK_CODE));
        }
        Ok(Self { packet_id, properties, codes })
    }

    pub(super) fn plan(&self, version: Version) -> Result<Sections, EncodeError> {
        // v5 [MQTT-3.11.3-2]
        if let Some((_, code)) = self.codes.stranger(kind::UNSUBACK) {
            return Err(EncodeError::ReasonCode(code));
        }
        if version == Version::V5 && self.codes.len() == 0 {
            return Err(EncodeError::Invalid);
        }
        self.properties.plan(version, kind::UNSUBACK).map(Sections::own)
    }

    pub(super) fn write(&self, version: Version, sections: Sections, out: &mut impl Sink) {
        out.u16(self.packet_id.get());
        if version == Version::V5 {
            self.properties.write(sections.own, out);
            out.put(self.codes.0);
        }
    }
}
