//! Records as bytes: a frame with version, kind and checksum, and what stands in one; for sessions, and for hosts that keep records beside theirs.
//!
//! ```text
//! record    version u8 = 1 | kind u8 | body | CRC-32 (IEEE) of all before it, u32; numbers are little-endian
//! ```
//!
//! No length is believed: everything is read out of the bytes that are there, and a record that is too short, too long, of another
//! version or damaged is an error (`S20`).
use crate::message::Aside;
use crate::{Delivery, Epoch, Message, Publication};
use alloc::sync::Arc;
use alloc::vec::Vec;
use mqtt_codec::{Packet, Properties, Property, Publish, Qos, Role, Version};
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

// --- writing ---------------------------------------------------------------------------------------------------------

/// A record being written: [`finish`](Self::finish) puts the checksum behind it.
///
/// Kinds from 0x40 on are the host's own; those below are of sessions.
///
/// # Examples
///
/// ```
/// use mqtt_session::{RecordError, RecordReader, RecordWriter};
///
/// let mut bytes = Vec::new();
/// let mut writer = RecordWriter::new(&mut bytes, 0x41);
/// writer.u32(7);
/// writer.bytes(b"kitchen");
/// writer.finish();
///
/// let (kind, mut reader) = RecordReader::open(&bytes)?;
/// assert_eq!((kind, reader.u32()?, reader.bytes()?), (0x41, 7, &b"kitchen"[..]));
/// reader.finish()?;
/// # Ok::<(), RecordError>(())
/// ```
#[derive(Debug)]
pub struct RecordWriter<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> RecordWriter<'a> {
    /// Begins a record behind what `out` has.
    pub fn new(out: &'a mut Vec<u8>, kind: u8) -> Self {
        let start = out.len();
        out.extend_from_slice(&[VERSION, kind]);
        Self { out, start }
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// A number of things, none of which are there in billions: four bytes.
    pub fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// Bytes, their number before them.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.out.extend_from_slice(bytes);
    }

    /// A message and how it is to be delivered. Properties that no packet may have are left out.
    pub fn delivery(&mut self, delivery: &Delivery, epoch: Epoch) {
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

    /// Puts the checksum behind it.
    pub fn finish(self) {
        let checksum = crc32(self.out.get(self.start..).unwrap_or_default());
        self.out.extend_from_slice(&checksum.to_le_bytes());
    }
}

/// What a Subscription Identifier may be.
const SUBSCRIPTION_IDS: core::ops::RangeInclusive<u32> = 1..=268_435_455;

// --- reading ---------------------------------------------------------------------------------------------------------

/// What of a record is still to be read.
#[derive(Clone, Copy, Debug)]
pub struct RecordReader<'a>(&'a [u8]);

impl<'a> RecordReader<'a> {
    /// Checks version and checksum of a whole record; its kind and what stands in it.
    ///
    /// # Errors
    /// It is of another version, torn or damaged.
    pub fn open(record: &'a [u8]) -> Result<(u8, Self), RecordError> {
        let Some((&version, _)) = record.split_first() else { return Err(RecordError::Damaged) };
        if version != VERSION {
            return Err(RecordError::Version(version));
        }
        let (content, checksum) = record.split_last_chunk::<CHECKSUM>().ok_or(RecordError::Damaged)?;
        if crc32(content) != u32::from_le_bytes(*checksum) {
            return Err(RecordError::Damaged);
        }
        let [_, kind, body @ ..] = content else { return Err(RecordError::Damaged) };
        Ok((*kind, Self(body)))
    }

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

    /// One byte.
    ///
    /// # Errors
    /// The record has no more.
    pub fn u8(&mut self) -> Result<u8, RecordError> {
        self.chunk::<1>().map(|[byte]| byte)
    }

    /// Two bytes.
    ///
    /// # Errors
    /// The record has no more.
    pub fn u16(&mut self) -> Result<u16, RecordError> {
        self.chunk().map(u16::from_le_bytes)
    }

    /// Four bytes.
    ///
    /// # Errors
    /// The record has no more.
    pub fn u32(&mut self) -> Result<u32, RecordError> {
        self.chunk().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// The record has no more.
    pub fn u64(&mut self) -> Result<u64, RecordError> {
        self.chunk().map(u64::from_le_bytes)
    }

    /// Bytes with their number before them.
    ///
    /// # Errors
    /// The record has no more.
    pub fn bytes(&mut self) -> Result<&'a [u8], RecordError> {
        let len = usize::try_from(self.u32()?).map_err(|_| RecordError::Malformed)?;
        self.take(len)
    }

    /// A message and how it is to be delivered.
    ///
    /// # Errors
    /// There is none here.
    pub fn delivery(&mut self, epoch: Epoch) -> Result<Delivery, RecordError> {
        let head = self.u8()?;
        let qos = match head & !SHARED {
            0 => Qos::AtMostOnce,
            1 => Qos::AtLeastOnce,
            2 => Qos::ExactlyOnce,
            _ => return Err(RecordError::Malformed),
        };
        let shared = if head & SHARED == 0 { None } else { Some((self.u64()?, self.u8()?, self.u8()?)) };
        let expires = match self.u64()? {
            NEVER => None,
            expires => Some(epoch.from_unix(expires)),
        };
        let packet = Packet::decode(self.bytes()?, Version::V5, Role::Server);
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
    ///
    /// # Errors
    /// Something does.
    pub fn finish(self) -> Result<(), RecordError> {
        if self.0.is_empty() { Ok(()) } else { Err(RecordError::Malformed) }
    }
}

/// CRC-32 as in IEEE 802.3, four bytes at a time: every message that is stored passes here.
fn crc32(bytes: &[u8]) -> u32 {
    let [zero, one, two, three] = &TABLES;
    let at = |table: &[u32; 256], byte: u8| table.get(usize::from(byte)).copied().unwrap_or_default();
    let (words, rest) = bytes.as_chunks::<4>();
    let mut crc = u32::MAX;
    for word in words {
        let [a, b, c, d] = (crc ^ u32::from_le_bytes(*word)).to_le_bytes();
        crc = at(three, a) ^ at(two, b) ^ at(one, c) ^ at(zero, d);
    }
    for byte in rest {
        let [low, ..] = crc.to_le_bytes();
        crc = (crc >> 8) ^ at(zero, low ^ byte);
    }
    !crc
}

/// What a byte does to the checksum, and what it does with one, two and three bytes behind it.
static TABLES: [[u32; 256]; 4] = tables();

#[expect(clippy::indexing_slicing, reason = "at compile time, where nothing else can be done to an array")]
const fn tables() -> [[u32; 256]; 4] {
    let mut tables = [[0_u32; 256]; 4];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut behind = 1;
    while behind < 4 {
        let mut byte = 0;
        while byte < 256 {
            let crc = tables[behind - 1][byte];
            tables[behind][byte] = (crc >> 8) ^ tables[0][(crc & 0xFF) as usize];
            byte += 1;
        }
        behind += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_that_everybody_has() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
        assert_eq!(crc32(b"The quick brown fox jumps over the lazy dog"), 0x414F_A339);
        assert_eq!(crc32(&[0xFF; 32]), 0xFF6C_AB0B);
    }
}
