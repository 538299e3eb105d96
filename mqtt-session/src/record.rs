//! Session state as bytes: the records a store keeps, versioned, little-endian, loaded strictly.
//!
//! ```text
//! record    version u8 = 1 | kind u8 | body | CRC-32 (IEEE) of all before it, u32
//!
//! kind 0x00 snapshot   last token u32 | next identifier u16
//!                      | count u32 | count x (identifier u16 | token u32 | awaits u8 | delivery if awaits is 1 or 2)
//!                      | count u32 | count x (token u32 | delivery)
//!                      | count u32 | count x (received identifier u16), ascending
//!                      in flight in the order they were sent; awaits: 1 PUBACK, 2 PUBREC, 3 PUBCOMP; then what waits, in order
//! kind 0x01 queued     token u32 | identifier u16, 0 for none | delivery
//! kind 0x02 begun      token u32 | identifier u16
//! kind 0x03 released   identifier u16
//! kind 0x04 finished   identifier u16
//! kind 0x05 dropped    token u32
//! kind 0x06 received   identifier u16
//! kind 0x07 forgotten  identifier u16
//! kind 0x08 restarted  nothing
//!
//! delivery  QoS u8 (1 or 2), 0x80 added if it was shared out; then: group u64 (not 0) | published u8 | handovers u8
//!           | expiry u64 (Unix milliseconds, all ones: never)
//!           | length u32 | a PUBLISH of version 5.0 with QoS 0: topic, RETAIN, subscription identifiers, properties and payload
//! ```
//!
//! A message is kept as the packet that carries it, so that what is loaded passes the codec's checks like anything from outside.
//! No length is believed: everything is read out of the bytes that are there, and a record that is too short, too long, of another
//! version or damaged is an error (`S20`).
use crate::message::Aside;
use crate::{Change, Delivery, Epoch, Instant, Message, Publication, PublishToken};
use alloc::sync::Arc;
use alloc::vec::Vec;
use mqtt_codec::{Packet, PacketId, Properties, Property, Publish, Qos, Role, Version};
use thiserror::Error;

/// Why bytes are no record, or not one for this session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Written by another version of the format; the number is that version.
    #[error("the record has version {0}, which is not known")]
    Version(u8),
    /// Torn or damaged: the checksum does not agree.
    #[error("the record is torn or damaged")]
    Damaged,
    /// Not a record of this kind, or a field that cannot be.
    #[error("the record is malformed")]
    Malformed,
    /// A change that does not follow from the state it is applied to: records are missing, or in another order.
    #[error("the change does not follow from the session's state")]
    OutOfPlace,
}

/// The format written.
const VERSION: u8 = 1;
const NEVER: u64 = u64::MAX;
const CHECKSUM: usize = 4;
/// In the first byte of a delivery that was shared out.
const SHARED: u8 = 0x80;
/// QoS 2 and RETAIN.
const PUBLISHED_MOST: u8 = 6;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Snapshot = 0,
    Queued = 1,
    Begun = 2,
    Released = 3,
    Finished = 4,
    Dropped = 5,
    Received = 6,
    Forgotten = 7,
    Restarted = 8,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        use Kind::{Begun, Dropped, Finished, Forgotten, Queued, Received, Released, Restarted, Snapshot};
        let kinds = [Snapshot, Queued, Begun, Released, Finished, Dropped, Received, Forgotten, Restarted];
        kinds.into_iter().find(|kind| *kind as u8 == byte)
    }
}

impl Change {
    /// Appends the change to `out`, in the form that [`decode`](Self::decode) reads; `epoch` makes Unix time of its message's expiry.
    ///
    /// The record does not say where it ends: the store frames it.
    ///
    /// # Examples
    ///
    /// ```
    /// use mqtt_session::{Change, Epoch, RecordError, codec::PacketId};
    ///
    /// let epoch = Epoch::from_unix_millis(1_700_000_000_000);
    /// let mut bytes = Vec::new();
    /// Change::Finished { id: PacketId::new(7).unwrap() }.encode(epoch, &mut bytes);
    /// assert!(matches!(Change::decode(&bytes, epoch), Ok(Change::Finished { id }) if id.get() == 7));
    /// assert_eq!(Change::decode(&bytes[..5], epoch).unwrap_err(), RecordError::Damaged, "torn");
    /// ```
    pub fn encode(&self, epoch: Epoch, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out, self.kind());
        match self {
            Self::Queued { token, id, delivery } => {
                writer.u32(token.0);
                writer.u16(id.map_or(0, PacketId::get));
                writer.delivery(delivery, epoch);
            }
            Self::Begun { token, id } => {
                writer.u32(token.0);
                writer.u16(id.get());
            }
            Self::Released { id } | Self::Finished { id } | Self::Received { id } | Self::Forgotten { id } => {
                writer.u16(id.get());
            }
            Self::Dropped { token } => writer.u32(token.0),
            Self::Restarted => {}
        }
        writer.finish();
    }

    /// Reads one whole record of a change.
    ///
    /// # Errors
    /// It is none: another version, torn, damaged, or a snapshot.
    pub fn decode(record: &[u8], epoch: Epoch) -> Result<Self, RecordError> {
        let (kind, mut body) = open(record)?;
        let change = match kind {
            Kind::Queued => {
                Self::Queued { token: body.token()?, id: PacketId::new(body.u16()?), delivery: body.delivery(epoch)? }
            }
            Kind::Begun => Self::Begun { token: body.token()?, id: body.id()? },
            Kind::Released => Self::Released { id: body.id()? },
            Kind::Finished => Self::Finished { id: body.id()? },
            Kind::Dropped => Self::Dropped { token: body.token()? },
            Kind::Received => Self::Received { id: body.id()? },
            Kind::Forgotten => Self::Forgotten { id: body.id()? },
            Kind::Restarted => Self::Restarted,
            Kind::Snapshot => return Err(RecordError::Malformed),
        };
        body.finish()?;
        Ok(change)
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Queued { .. } => Kind::Queued,
            Self::Begun { .. } => Kind::Begun,
            Self::Released { .. } => Kind::Released,
            Self::Finished { .. } => Kind::Finished,
            Self::Dropped { .. } => Kind::Dropped,
            Self::Received { .. } => Kind::Received,
            Self::Forgotten { .. } => Kind::Forgotten,
            Self::Restarted => Kind::Restarted,
        }
    }
}

/// Whether a record can hold `delivery`: only what no packet could hold either cannot.
pub(crate) fn can_hold(delivery: &Delivery) -> bool {
    crate::outgoing::Outgoing::kept(delivery, Instant::ZERO, None, false).size(Version::V5).is_some()
}

// --- writing ---------------------------------------------------------------------------------------------------------

/// A record being written.
pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>, kind: Kind) -> Self {
        let start = out.len();
        out.extend_from_slice(&[VERSION, kind as u8]);
        Self { out, start }
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// A number of things, none of which are there in billions.
    pub(crate) fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    pub(crate) fn delivery(&mut self, delivery: &Delivery, epoch: Epoch) {
        match delivery.share() {
            None => self.u8(delivery.qos as u8),
            Some(group) => {
                self.u8(delivery.qos as u8 | SHARED);
                self.u64(group);
                self.u8(delivery.published);
                self.u8(delivery.handovers);
            }
        }
        let expires = delivery.message.expires().map_or(NEVER, |at| epoch.to_unix_millis(at));
        self.u64(expires);
        let message = &delivery.message;
        let ids = delivery.ids().iter().copied().filter(|id| SUBSCRIPTION_IDS.contains(id));
        let mut list: Vec<_> = ids.map(Property::SubscriptionIdentifier).collect();
        list.extend(message.properties().iter());
        let packet = |list| {
            Packet::Publish(Publish {
                dup: false,
                qos: Qos::AtMostOnce,
                retain: delivery.retain,
                topic: Some(message.topic()),
                packet_id: None,
                properties: Properties::from_slice(list),
                payload: message.payload(),
            })
        };
        // A host can put together properties that no packet may have; the message is worth more than they are.
        let packet = if packet(&list).encoded_len(Version::V5).is_ok() { packet(&list) } else { packet(&[]) };
        self.count(packet.encoded_len(Version::V5).unwrap_or_default());
        let _ = packet.encode(Version::V5, self.out);
    }

    pub(crate) fn finish(self) {
        let checksum = crc32(self.out.get(self.start..).unwrap_or_default());
        self.out.extend_from_slice(&checksum.to_le_bytes());
    }
}

/// What a Subscription Identifier may be.
const SUBSCRIPTION_IDS: core::ops::RangeInclusive<u32> = 1..=268_435_455;

// --- reading ---------------------------------------------------------------------------------------------------------

/// Checks the frame of a record.
pub(crate) fn open(record: &[u8]) -> Result<(Kind, Body<'_>), RecordError> {
    let Some((&version, _)) = record.split_first() else { return Err(RecordError::Damaged) };
    if version != VERSION {
        return Err(RecordError::Version(version));
    }
    let (content, checksum) = record.split_last_chunk::<CHECKSUM>().ok_or(RecordError::Damaged)?;
    if crc32(content) != u32::from_le_bytes(*checksum) {
        return Err(RecordError::Damaged);
    }
    let [_, kind, body @ ..] = content else { return Err(RecordError::Damaged) };
    let kind = Kind::of(*kind).ok_or(RecordError::Malformed)?;
    Ok((kind, Body(body)))
}

/// What of a record is still to be read.
#[derive(Clone, Copy)]
pub(crate) struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(RecordError::Malformed)?;
        self.0 = rest;
        Ok(head)
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(RecordError::Malformed)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, RecordError> {
        self.chunk::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, RecordError> {
        self.chunk().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, RecordError> {
        self.chunk().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, RecordError> {
        self.chunk().map(u64::from_le_bytes)
    }

    pub(crate) fn token(&mut self) -> Result<PublishToken, RecordError> {
        self.u32().map(PublishToken)
    }

    pub(crate) fn id(&mut self) -> Result<PacketId, RecordError> {
        PacketId::new(self.u16()?).ok_or(RecordError::Malformed)
    }

    pub(crate) fn delivery(&mut self, epoch: Epoch) -> Result<Delivery, RecordError> {
        let head = self.u8()?;
        let qos = match head & !SHARED {
            1 => Qos::AtLeastOnce,
            2 => Qos::ExactlyOnce,
            _ => return Err(RecordError::Malformed),
        };
        let shared = if head & SHARED == 0 { None } else { Some((self.u64()?, self.u8()?, self.u8()?)) };
        let expires = match self.u64()? {
            NEVER => None,
            expires => Some(epoch.from_unix(expires)),
        };
        let len = usize::try_from(self.u32()?).map_err(|_| RecordError::Malformed)?;
        let packet = Packet::decode(self.take(len)?, Version::V5, Role::Server);
        let Ok(Packet::Publish(Publish {
            qos: Qos::AtMostOnce, retain, topic: Some(topic), properties, payload, ..
        })) = packet
        else {
            return Err(RecordError::Malformed);
        };
        let message = Message::with_expiry(expires, &Publication { topic, payload, qos, retain, properties });
        let ids: Vec<_> = properties.subscription_identifiers().collect();
        let mut delivery = Delivery::new(message, qos, retain).with_ids(&ids);
        if let Some((group, published, handovers)) = shared {
            // [X5-PUB-10]: one identifier at most.
            if group == 0 || published > PUBLISHED_MOST || ids.len() > 1 {
                return Err(RecordError::Malformed);
            }
            delivery.aside = Some(Arc::new(Aside { ids: Vec::new(), group }));
            (delivery.published, delivery.handovers) = (published, handovers);
        }
        Ok(delivery)
    }

    /// Nothing may follow.
    pub(crate) fn finish(self) -> Result<(), RecordError> {
        if self.0.is_empty() { Ok(()) } else { Err(RecordError::Malformed) }
    }
}

/// CRC-32 as in IEEE 802.3, four bits at a time.
fn crc32(bytes: &[u8]) -> u32 {
    #[rustfmt::skip]
    const TABLE: [u32; 16] = [
        0x0000_0000, 0x1DB7_1064, 0x3B6E_20C8, 0x26D9_30AC, 0x76DC_4190, 0x6B6B_51F4, 0x4DB2_6158, 0x5005_713C,
        0xEDB8_8320, 0xF00F_9344, 0xD6D6_A3E8, 0xCB61_B38C, 0x9B64_C2B0, 0x86D3_D2D4, 0xA00A_E278, 0xBDBD_F21C,
    ];
    let step = |crc: u32| (crc >> 4) ^ TABLE.get((crc & 0xF) as usize).copied().unwrap_or_default();
    !bytes.iter().fold(u32::MAX, |crc, &byte| step(step(crc ^ u32::from(byte))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_that_everybody_has() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
    }
}
