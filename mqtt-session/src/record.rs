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
use crate::{Change, Delivery, Epoch, Instant, PublishToken, RecordError, RecordReader, RecordWriter};
use alloc::vec::Vec;
use mqtt_codec::{PacketId, Qos, Version};

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
        let mut writer = RecordWriter::new(out, self.kind() as u8);
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
            Kind::Queued => Self::Queued {
                token: body.token()?,
                id: PacketId::new(body.u16()?),
                delivery: body.kept_delivery(epoch)?,
            },
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

/// Checks the frame of a record of a session.
pub(crate) fn open(record: &[u8]) -> Result<(Kind, RecordReader<'_>), RecordError> {
    let (kind, body) = RecordReader::open(record)?;
    Ok((Kind::of(kind).ok_or(RecordError::Malformed)?, body))
}

impl RecordReader<'_> {
    pub(crate) fn token(&mut self) -> Result<PublishToken, RecordError> {
        self.u32().map(PublishToken)
    }

    pub(crate) fn id(&mut self) -> Result<PacketId, RecordError> {
        PacketId::new(self.u16()?).ok_or(RecordError::Malformed)
    }

    /// What a session keeps: QoS 1 and 2.
    pub(crate) fn kept_delivery(&mut self, epoch: Epoch) -> Result<Delivery, RecordError> {
        let delivery = self.delivery(epoch)?;
        if delivery.qos == Qos::AtMostOnce { Err(RecordError::Malformed) } else { Ok(delivery) }
    }
}
