//! CONNACK (section 3.2).
use super::{Sections, kind};
use crate::profile::Leniency;
use crate::read::{Cursor, Parsed};
use crate::write::Sink;
use crate::{EncodeError, Level3, Properties, ReasonCode, Role, Version, rules};

/// CONNACK (section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connack<'a> {
    /// Whether the server continues a stored session; 3.1 cannot say so.
    pub session_present: bool,
    /// Mapped to and from return codes at levels 3 and 4.
    pub reason: ReasonCode,
    /// 5.0 only: not written before.
    pub properties: Properties<'a>,
}

impl<'a> Connack<'a> {
    pub(super) fn decode(mut cursor: Cursor<'a>, version: Version, leniency: impl Leniency) -> Parsed<Self> {
        let flags_at = cursor;
        let flags = cursor.u8()?;
        // v5 [MQTT-3.2.2-1]; v3 [X31-CACK-1]: the byte has no meaning at all.
        let meaningful = version != Version::V31 || leniency.level_3() == Level3::As311;
        if meaningful && flags & !1 != 0 && !leniency.ignores_flags(version) {
            return Err(flags_at.fault(&rules::CONNACK_FLAGS));
        }
        let session_present = version != Version::V31 && flags & 1 == 1;
        let code_at = cursor;
        let code = cursor.u8()?;
        let (reason, properties) = if version == Version::V5 {
            let reason = ReasonCode(code);
            // v5 [MQTT-3.2.2-8]
            if !reason.is_of(kind::CONNACK) {
                return Err(code_at.fault(&rules::CONNACK_CODE));
            }
            (reason, Properties::decode(&mut cursor, kind::CONNACK, Role::Server)?)
        } else {
            if code > 5 {
                return Err(code_at.fault(&rules::CONNACK_CODE));
            }
            (ReasonCode::from_connack_return_code(code), Properties::EMPTY)
        };
        cursor.finish()?;
        Ok(Self { session_present, reason, properties })
    }

    pub(super) fn plan(&self, version: Version) -> Result<Sections, EncodeError> {
        // v5 [MQTT-3.2.2-8]; v4: a code that has no return code cannot be said (the server closes instead).
        let known = match version {
            Version::V5 => self.reason.is_of(kind::CONNACK),
            Version::V31 | Version::V311 => self.reason.to_connack_return_code().is_some(),
        };
        if !known {
            return Err(EncodeError::ReasonCode(self.reason));
        }
        self.properties.plan(version, kind::CONNACK).map(Sections::own)
    }

    pub(super) fn write(&self, version: Version, sections: Sections, out: &mut impl Sink) {
        // v5 [MQTT-3.2.2-1]; v3 [X31-CACK-1]: 3.1 keeps the whole byte at 0.
        let flags = u8::from(self.session_present && version != Version::V31);
        match (version, self.reason.to_connack_return_code()) {
            (Version::V31 | Version::V311, Some(code)) => out.put(&[flags, code]),
            _ => {
                out.put(&[flags, self.reason.0]);
                self.properties.write(sections.own, out);
            }
        }
    }
}
