//! DISCONNECT (section 3.14).
use super::{Sections, kind};
use crate::read::{Cursor, Parsed};
use crate::write::Sink;
use crate::{EncodeError, Properties, ReasonCode, Role, Version, rules};

/// DISCONNECT (section 3.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// Always 0 before 5.0.
    pub reason: ReasonCode,
    /// 5.0 only: not written before.
    pub properties: Properties<'a>,
}

impl<'a> Disconnect<'a> {
    pub(super) fn decode(mut cursor: Cursor<'a>, version: Version, from: Role) -> Parsed<Self> {
        let mut disconnect = Self { reason: ReasonCode::SUCCESS, properties: Properties::EMPTY };
        // v5 [X5-DISC-1]: the short forms.
        if cursor.is_empty() {
            return Ok(disconnect);
        }
        if version != Version::V5 {
            return Err(cursor.fault(&rules::LENGTH_LONG));
        }
        let code_at = cursor;
        disconnect.reason = ReasonCode(cursor.u8()?);
        // v5 [MQTT-3.14.2-1]
        if !disconnect.reason.is_of(kind::DISCONNECT) {
            return Err(code_at.fault(&rules::DISCONNECT_CODE));
        }
        if !cursor.is_empty() {
            disconnect.properties = Properties::decode(&mut cursor, kind::DISCONNECT, from)?;
            cursor.finish()?;
        }
        Ok(disconnect)
    }

    pub(super) fn plan(&self, version: Version) -> Result<Sections, EncodeError> {
        // v5 [MQTT-3.14.2-1]; before 5.0 there is no room for a code, and leaving out 0x04 would lose the will.
        let known = if version == Version::V5 {
            self.reason.is_of(kind::DISCONNECT)
        } else {
            self.reason == ReasonCode::SUCCESS
        };
        if !known {
            return Err(EncodeError::ReasonCode(self.reason));
        }
        self.properties.plan(version, kind::DISCONNECT).map(Sections::own)
    }

    pub(super) fn write(&self, version: Version, sections: Sections, out: &mut impl Sink) {
        let plain = sections.own == 0;
        // v5 [X5-DISC-1]: nothing is written that goes without saying.
        if version != Version::V5 || (plain && self.reason == ReasonCode::SUCCESS) {
            return;
        }
        out.u8(self.reason.0);
        if !plain {
            self.properties.write(sections.own, out);
        }
    }
}
