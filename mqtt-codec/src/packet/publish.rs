//! PUBLISH (section 3.3): the hot path.
use super::{Packet, Sections, kind};
use crate::profile::Leniency;
use crate::read::{Cursor, Parsed};
use crate::write::{Sink, len_bytes};
use crate::{EncodeError, PacketId, Properties, Qos, Role, TopicName, Version, rules};
use bytes::BufMut;

/// PUBLISH (section 3.3).
#[derive(Clone, Copy, PartialEq, Eq)]
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
    #[inline(always)]
    pub(crate) fn decode(
        flags: u8,
        mut cursor: Cursor<'a>,
        version: Version,
        from: Role,
        leniency: impl Leniency,
    ) -> Parsed<Self> {
        let start = cursor;
        // v5 [MQTT-3.3.1-4], v4 [MQTT-3.3.1-4]
        let Some(qos) = Qos::new((flags >> 1) & 3) else {
            return Err(start.fault(&rules::QOS_3));
        };
        let mut dup = flags & DUP != 0;
        // v5 [MQTT-3.3.1-2], v4 [MQTT-3.3.1-2]
        if dup && qos == Qos::AtMostOnce {
            if !leniency.ignores_flags(version) {
                return Err(start.fault(&rules::DUP_QOS_0));
            }
            dup = false;
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

    /// Appends all of the packet but its payload, which is to be `payload_len` bytes and to follow: sent from where it lies, or as it
    /// comes. [`payload`](Self::payload) is not looked at.
    ///
    /// # Errors
    ///
    /// Those of [`Packet::encode`]. Nothing was written then.
    ///
    /// # Examples
    ///
    /// ```
    /// use mqtt_codec::{Packet, Properties, Publish, Qos, TopicName, Version};
    ///
    /// let payload = vec![0; 100_000];
    /// let publish = Publish {
    ///     dup: false,
    ///     qos: Qos::AtMostOnce,
    ///     retain: false,
    ///     topic: Some(TopicName::new("camera/7")?),
    ///     packet_id: None,
    ///     properties: Properties::EMPTY,
    ///     payload: &[],
    /// };
    /// let mut head = Vec::new();
    /// publish.encode_head(Version::V311, payload.len(), &mut head)?;
    /// // .. write_vectored(&[IoSlice::new(&head), IoSlice::new(&payload)])
    /// # let mut whole = Vec::new();
    /// # Packet::Publish(Publish { payload: &payload, ..publish }).encode(Version::V311, &mut whole)?;
    /// # assert_eq!([head, payload].concat(), whole);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn encode_head(&self, version: Version, payload_len: usize, out: &mut impl BufMut) -> Result<(), EncodeError> {
        let head = Packet::Publish(Publish { payload: &[], ..*self });
        let plan = head.plan(version)?.with_payload(payload_len)?;
        if out.remaining_mut() < plan.total() - payload_len {
            return Err(EncodeError::NoRoom);
        }
        head.write(version, plan, out);
        Ok(())
    }

    pub(super) fn flags(&self) -> u8 {
        let dup = if self.dup { DUP } else { 0 };
        dup | (self.qos as u8) << 1 | u8::from(self.retain)
    }

    #[inline(always)]
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

    #[inline(always)]
    pub(super) fn topic_bytes(&self) -> &'a [u8] {
        self.topic.map_or(&[], TopicName::as_bytes)
    }

    #[inline(always)]
    pub(super) fn write(&self, version: Version, sections: Sections, out: &mut impl Sink) {
        out.put(&len_bytes(self.topic_bytes()));
        self.write_behind_len(version, sections, out);
    }

    /// All but the length of the topic name.
    #[inline(always)]
    pub(super) fn write_behind_len(&self, version: Version, sections: Sections, out: &mut impl Sink) {
        out.put(self.topic_bytes());
        if let Some(id) = self.packet_id {
            out.u16(id.get());
        }
        if version == Version::V5 {
            self.properties.write(sections.own, out);
        }
        out.put(self.payload);
    }
}
