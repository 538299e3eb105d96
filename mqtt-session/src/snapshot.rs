//! A session's state as a value: taken, restored, and brought up to date by the changes that followed.
use crate::record::{self, Kind};
use crate::{Change, Epoch, RecordError, RecordWriter, Session};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// All that has to outlive a process of one session (section 4.1): QoS 1 and 2 messages in flight and queued, identifiers, the last
/// token; a checked record of bytes, for a file or a table.
///
/// QoS 0 messages, places, and what the host was given and has not taken are not in it. What has a packet identifier may have been sent,
/// and will be sent again with DUP 1.
///
/// # Examples
///
/// ```
/// use mqtt_session::{Delivery, Epoch, Instant, Message, Publication, QueueLimits, Session, Snapshot};
/// use mqtt_session::{codec::Qos, topic::TopicName};
///
/// let mut session = Session::new();
/// let message = Message::new(Instant::ZERO, &Publication::new(TopicName::new("a").unwrap(), b"1"));
/// let limits = QueueLimits { messages: 10, bytes: 1_000 };
/// session.deliver(Delivery::new(message, Qos::AtLeastOnce, false), &limits).unwrap();
///
/// let epoch = Epoch::from_unix_millis(1_700_000_000_000); // the Unix time of Instant::ZERO
/// let stored = session.snapshot(epoch).as_bytes().to_vec();
///
/// let later = Epoch::from_unix_millis(1_700_000_360_000); // another process, another zero
/// let restored = Session::restore(&Snapshot::from_bytes(stored)?, later)?;
/// assert_eq!(restored.queued(), 1);
/// # Ok::<(), mqtt_session::RecordError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Snapshot(Box<[u8]>);

impl Snapshot {
    /// Takes what [`as_bytes`](Self::as_bytes) once gave, in this process or another.
    ///
    /// # Errors
    /// Another version, torn, damaged, or no snapshot.
    pub fn from_bytes(bytes: impl Into<Box<[u8]>>) -> Result<Self, RecordError> {
        let bytes = bytes.into();
        match record::open(&bytes)? {
            (Kind::Snapshot, _) => Ok(Self(bytes)),
            _ => Err(RecordError::Malformed),
        }
    }

    /// The record: what a store keeps.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl core::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Snapshot({} bytes)", self.0.len())
    }
}

impl Session {
    /// What has to outlive the process. Takes time in proportion to what is kept.
    ///
    /// While changes are recorded it stands for all changes made so far, those that [`poll_change`](Self::poll_change) has not given out
    /// yet among them.
    pub fn snapshot(&self, epoch: Epoch) -> Snapshot {
        let mut bytes = Vec::new();
        let mut writer = RecordWriter::new(&mut bytes, Kind::Snapshot as u8);
        self.outbound.write(&mut writer, epoch);
        writer.count(self.received.kept().count());
        self.received.kept().for_each(|id| writer.u16(id.get()));
        writer.finish();
        Snapshot(bytes.into())
    }

    /// The session that `snapshot` was taken of. A server may have kept its part of it ([`Session::resumable`]).
    ///
    /// # Errors
    /// The snapshot contradicts itself.
    pub fn restore(snapshot: &Snapshot, epoch: Epoch) -> Result<Self, RecordError> {
        let (Kind::Snapshot, mut body) = record::open(&snapshot.0)? else { return Err(RecordError::Malformed) };
        let mut session = Self::resumable();
        session.outbound.read(&mut body, epoch)?;
        let mut before = 0;
        for _ in 0..body.u32()? {
            let id = body.id()?;
            if id.get() <= core::mem::replace(&mut before, id.get()) {
                return Err(RecordError::Malformed);
            }
            session.received.restore(id);
        }
        body.finish()?;
        Ok(session)
    }

    /// Makes a change that was recorded after the snapshot this session was restored from: all of them, in order, give the state
    /// after the last. Takes O(1) time for nearly all. For sessions that have no connection and record nothing yet.
    ///
    /// # Errors
    /// The change does not follow from the state: something is missing before it. The session is as it was.
    pub fn apply(&mut self, change: Change) -> Result<(), RecordError> {
        let follows = match change {
            Change::Received { id } => self.received.restore(id),
            Change::Forgotten { id } => self.received.forget(id),
            Change::Restarted => {
                self.restart();
                true
            }
            Change::Queued { .. }
            | Change::Begun { .. }
            | Change::Released { .. }
            | Change::Finished { .. }
            | Change::Dropped { .. } => self.outbound.apply(change),
        };
        if follows { Ok(()) } else { Err(RecordError::OutOfPlace) }
    }

    /// From here on every change of what is kept can be asked for ([`poll_change`](Self::poll_change)), and what a restart would
    /// contradict is not said before [`stored`](Self::stored): the first sending of a QoS 2 PUBLISH, PUBREL, PUBREC and PUBCOMP, and what is
    /// sent again after a resume.
    ///
    /// The state of this moment is the [`snapshot`](Self::snapshot) that the changes follow. Begin before the session comes to a
    /// connection.
    ///
    /// # Examples
    ///
    /// ```
    /// use mqtt_session::{Change, Delivery, Instant, Message, Publication, QueueLimits, Session, codec::Qos, topic::TopicName};
    ///
    /// let mut session = Session::new();
    /// session.record_changes();
    /// let message = Message::new(Instant::ZERO, &Publication::new(TopicName::new("a").unwrap(), b"1"));
    /// let limits = QueueLimits { messages: 10, bytes: 1_000 };
    /// session.deliver(Delivery::new(message, Qos::ExactlyOnce, false), &limits).unwrap();
    ///
    /// let mut last = 0;
    /// while let Some((number, change)) = session.poll_change() {
    ///     assert!(matches!(change, Change::Queued { .. })); // change.encode(epoch, &mut log)
    ///     last = number;
    /// }
    /// session.stored(last); // when the log is on the disk
    /// ```
    pub fn record_changes(&mut self) {
        self.outbound.record_changes();
    }

    /// Whether changes are recorded.
    pub fn is_recording(&self) -> bool {
        self.outbound.journal.is_some()
    }

    /// The next change and its number: 1 for the first, and one more for each. Takes O(1) time; ask until there is none, after whatever
    /// was done to the session or its connection, or they pile up.
    pub fn poll_change(&mut self) -> Option<(u64, Change)> {
        self.outbound.journal.as_mut()?.poll()
    }

    /// The number of the last change made, asked for or not: what a [`snapshot`](Self::snapshot) taken now stands for.
    pub fn last_change(&self) -> u64 {
        self.outbound.journal.as_ref().map_or(0, |journal| journal.made())
    }

    /// All changes up to this one survive a crash now: what waited for them goes out with the next `poll_transmit`. Takes O(1) time.
    pub fn stored(&mut self, up_to: u64) {
        if let Some(journal) = &mut self.outbound.journal {
            journal.stored(up_to);
        }
    }
}

#[cfg(feature = "serde")]
mod serde {
    //! A snapshot in `serde`'s formats: its bytes, checked when they come in.
    use super::Snapshot;
    use alloc::vec::Vec;
    use core::fmt;
    use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
    use serde::ser::{Serialize, Serializer};

    impl Serialize for Snapshot {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(self.as_bytes())
        }
    }

    impl<'de> Deserialize<'de> for Snapshot {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_bytes(Bytes)
        }
    }

    struct Bytes;

    impl<'de> Visitor<'de> for Bytes {
        type Value = Snapshot;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the bytes of a session's snapshot")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Snapshot, E> {
            Snapshot::from_bytes(bytes).map_err(E::custom)
        }

        /// Formats without bytes, such as JSON, have lists of numbers. No size hint is believed.
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Snapshot, A::Error> {
            let mut bytes = Vec::new();
            while let Some(byte) = list.next_element::<u8>()? {
                bytes.push(byte);
            }
            Snapshot::from_bytes(bytes).map_err(A::Error::custom)
        }
    }
}
