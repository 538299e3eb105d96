//! PUBACK, PUBREC, PUBREL and PUBCOMP (sections 3.4 to 3.7): one shape, four names.
use super::Sections;
use super::kind::{self, Kinds};
use crate::read::{Cursor, Parsed};
use crate::rules::{self, Rule};
use crate::write::Sink;
use crate::{EncodeError, PacketId, Properties, ReasonCode, Role, Version};

/// Which of the four acknowledgements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum AckKind {
    Puback,
    Pubrec,
    Pubrel,
    Pubcomp,
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP (sections 3.4 to 3.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack<'a> {
    /// Which.
    pub kind: AckKind,
    /// Of the PUBLISH it belongs to.
    pub packet_id: PacketId,
    /// Always success before 5.0, which has no room for another: not written then.
    pub reason: ReasonCode,
    /// 5.0 only: not written before.
    pub properties: Properties<'a>,
}

impl AckKind {
    pub(super) const fn packet(self) -> Kinds {
        match self {
            Self::Puback => kind::PUBACK,
            Self::Pubrec => kind::PUBREC,
            Self::Pubrel => kind::PUBREL,
            Self::Pubcomp => kind::PUBCOMP,
        }
    }

    pub(super) const fn first_byte(self) -> u8 {
        match self {
            Self::Puback => 0x40,
            Self::Pubrec => 0x50,
            Self::Pubrel => 0x62, // v5 [MQTT-3.6.1-1], v4 [MQTT-3.6.1-1]
            Self::Pubcomp => 0x70,
        }
    }

    const fn code_rule(self) -> &'static Rule {
        match self {
            Self::Puback => &rules::PUBACK_CODE,
            Self::Pubrec => &rules::PUBREC_CODE,
            Self::Pubrel => &rules::PUBREL_CODE,
            Self::Pubcomp => &rules::PUBCOMP_CODE,
        }
    }
}

impl<'a> Ack<'a> {
    #[inline(always)]
    pub(super) fn decode(kind: AckKind, mut cursor: Cursor<'a>, version: Version, from: Role) -> Parsed<Self> {
        let packet_id = cursor.packet_id()?;
        let mut ack = Self { kind, packet_id, reason: ReasonCode::SUCCESS, properties: Properties::EMPTY };
        // v5 [X5-ACK-1]: the short form is success.
        if cursor.is_empty() {
            return Ok(ack);
        }
        if version != Version::V5 {
            // v4 [X311-ACK-1]: there is only the short form.
            return Err(cursor.fault(&rules::ACK_LENGTH));
        }
        let code_at = cursor;
        ack.reason = ReasonCode(cursor.u8()?);
        // v5 [MQTT-3.4.2-1], v5 [MQTT-3.5.2-1], v5 [MQTT-3.6.2-1], v5 [MQTT-3.7.2-1]
        if !ack.reason.is_of(kind.packet()) {
            return Err(code_at.fault(kind.code_rule()));
        }
        if !cursor.is_empty() {
            ack.properties = Properties::decode(&mut cursor, kind.packet(), from)?;
            cursor.finish()?;
        }
        Ok(ack)
    }

    /// The short form, which is most of them: two bytes behind one of the four headers.
    #[inline(always)]
    pub(super) fn short(first: u8, body: &[u8]) -> Option<Self> {
        let kind = match first {
            0x40 => AckKind::Puback,
            0x50 => AckKind::Pubrec,
            0x62 => AckKind::Pubrel,
            0x70 => AckKind::Pubcomp,
            _ => return None,
        };
        let packet_id = PacketId::new(u16::from_be_bytes(body.try_into().ok()?))?;
        Some(Self { kind, packet_id, reason: ReasonCode::SUCCESS, properties: Properties::EMPTY })
    }

    #[inline(always)]
    pub(super) fn plan(&self, version: Version) -> Result<Sections, EncodeError> {
        // v5 [MQTT-3.4.2-1], v5 [MQTT-3.5.2-1], v5 [MQTT-3.6.2-1], v5 [MQTT-3.7.2-1]
        if !self.reason.is_of(self.kind.packet()) {
            return Err(EncodeError::ReasonCode(self.reason));
        }
        self.properties.plan(version, self.kind.packet()).map(Sections::own)
    }

    #[inline(always)]
    pub(super) fn write(&self, version: Version, sections: Sections, out: &mut impl Sink) {
        let [a, b] = self.packet_id.get().to_be_bytes();
        let plain = sections.own == 0;
        // v4 [X311-ACK-1], v5 [X5-ACK-1]: nothing is written that goes without saying.
        if version != Version::V5 || (plain && self.reason == ReasonCode::SUCCESS) {
            return out.put(&[a, b]);
        }
        out.put(&[a, b, self.reason.0]);
        if !plain {
            self.properties.write(sections.own, out);
        }
    }
}
