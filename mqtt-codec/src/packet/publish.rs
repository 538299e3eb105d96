//! PUBLISH (section 3.3): the hot path.
use super::{Sections, kind};
use crate::read::{Cursor, Parsed};
use crate::write::Sink;
use crate::{EncodeError, PacketId, Properties, Qos, Role, TopicName, Version, rules};

/// PUBLISH (section 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// A repetition.
    pub dup: bool,
    /// Its QoS.
    pub qos: Qos,
    /// RETAIN.
    pub retain: bool,
    /// `None`: the topic alias stands for it (5.0 only).
    pub topic: Option<TopicName<'a>>,
    /// There if, and only if, QoS is above 0.
    pub packet_id: Option<PacketId>,
    /// 5.0 only: not written before.
    pub properties: Properties<'a>,
    /// The application message.
    pub payload: &'a [u8],
}

const DUP: u8 = 0x08;
const RETAIN: u8 = 0x01;

impl<'a> Publish<'a> {
    /// `flags` are the low four bits of the first byte.
    #[inline]
    pub(super) fn decode(flags: u8, mut cursor: Cursor<'a>, version: Version, from: Role) -> Parsed<Self> {
        let start = cursor;
        // v5 [MQTT-3.3.1-4], v4 [MQTT-3.3.1-4]
        let Some(qos) = Qos::new((flags >> 1) & 3) else {
            return Err(start.fault(&rules::QOS_3));
        };
        let dup = flags & DUP != 0;
        // v5 [MQTT-3.3.1-2], v4 [MQTT-3.3.1-2]
        if dup && qos == Qos::AtMostOnce {
            return Err(start.fault(&rules::DUP_QOS_0));
        }
        // v5 [MQTT-3.3.2-1], v4 [MQTT-3.3.2-1]: the topic name comes first.
        let topic = match cursor.rest() {
            [0, 0, ..] => {
                cursor.take(2)?;
                None
            }
            _ => Some(cursor.topic(&rules::TOPIC_EMPTY, &rules::TOPIC_WILDCARD, &rules::TOPIC_UTF8)?),
        };
        // v5 [MQTT-2.2.1-2], v4 [MQTT-2.3.1-5]: QoS 0 has no identifier.
        let packet_id = if qos == Qos::AtMostOnce { None } else { Some(cursor.packet_id()?) };
        let properties = match version {
            Version::V5 => Properties::decode(&mut cursor, kind::PUBLISH, from)?,
            Version::V31 | Version::V311 => Properties::EMPTY,
        };
        // v5 [X5-PUB-1], v4 [X311-PUB-1]: only an alias can stand for a topic name.
        if topic.is_none() && properties.topic_alias().is_none() {
            return Err(start.fault(&rules::TOPIC_EMPTY));
        }
        Ok(Self { dup, qos, retain: flags & RETAIN != 0, topic, packet_id, properties, payload: cursor.take_all() })
    }

    pub(super) fn flags(&self) -> u8 {
        let dup = if self.dup { DUP } else { 0 };
        dup | (self.qos as u8) << 1 | u8::from(self.retain)
    }

    #[inline]
    pub(super) fn plan(&self, version: Version) -> Result<Sections, EncodeError> {
        let with_id = self.qos != Qos::AtMostOnce;
        // v5 [MQTT-2.2.1-2], v5 [MQTT-3.3.1-2], v4 [MQTT-2.3.1-1], v4 [MQTT-2.3.1-5], v4 [MQTT-3.3.1-2]
        if self.packet_id.is_some() != with_id || (self.dup && !with_id) {
            return Err(EncodeError::Invalid);
        }
        let len = self.properties.plan(version, kind::PUBLISH)?;
        // v5 [X5-PUB-1], v4 [X311-PUB-1]
        if self.topic.is_none() && (version != Version::V5 || self.properties.topic_alias().is_none()) {
            return Err(EncodeError::Invalid);
        }
        Ok(Sections::own(len))
    }

    #[inline]
    pub(super) fn write(&self, version: Version, sections: Sections, out: &mut impl Sink) {
        out.binary(self.topic.map_or(&[], TopicName::as_bytes));
        if let Some(id) = self.packet_id {
            out.u16(id.get());
        }
        if version == Version::V5 {
            self.properties.write(sections.own, out);
        }
        out.put(self.payload);
    }
}
