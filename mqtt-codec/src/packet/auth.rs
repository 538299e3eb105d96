//! AUTH (section 3.15).
use super::{Sections, kind};
use crate::read::{Cursor, Parsed};
use crate::write::Sink;
use crate::{EncodeError, Properties, ReasonCode, Role, Version, rules};

/// AUTH (section 3.15), 5.0 only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auth<'a> {
    /// 0x00, 0x18 or 0x19.
    pub reason: ReasonCode,
    /// The method must be there.
    pub properties: Properties<'a>,
}

impl<'a> Auth<'a> {
    pub(super) fn decode(mut cursor: Cursor<'a>, from: Role) -> Parsed<Self> {
        let code_at = cursor;
        // v5 [X5-AUTH-2]: the short forms of other packets would be success here, but they lack the method that must be there.
        let reason = ReasonCode(cursor.u8().map_err(|fault| fault.or_missing(&rules::AUTH_METHOD))?);
        // v5 [MQTT-3.15.2-1]
        if !reason.is_of(kind::AUTH) {
            return Err(code_at.fault(&rules::AUTH_CODE));
        }
        if cursor.is_empty() {
            return Err(cursor.fault(&rules::AUTH_METHOD));
        }
        let properties = Properties::decode(&mut cursor, kind::AUTH, from)?;
        if properties.is_empty() {
            return Err(cursor.fault(&rules::AUTH_METHOD));
        }
        cursor.finish()?;
        Ok(Self { reason, properties })
    }

    pub(super) fn plan(&self, version: Version) -> Result<Sections, EncodeError> {
        if version != Version::V5 {
            return Err(EncodeError::Invalid);
        }
        // v5 [MQTT-3.15.2-1]
        if !self.reason.is_of(kind::AUTH) {
            return Err(EncodeError::ReasonCode(self.reason));
        }
        let len = self.properties.plan(version, kind::AUTH)?;
        // v5 [X5-AUTH-2]
        if self.properties.authentication_method().is_none() {
            return Err(EncodeError::Property);
        }
        Ok(Sections::own(len))
    }

    pub(super) fn write(&self, sections: Sections, out: &mut impl Sink) {
        out.u8(self.reason.0);
        self.properties.write(sections.own, out);
    }
}
