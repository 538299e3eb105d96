//! Session state (section 4.1): what outlives a connection, moved in and out by value.
use crate::inbound::Received;
use crate::outbound::Outbound;
use crate::{Delivery, PublishToken, QueueFull, QueueLimits};

/// Messages in flight and queued, identifiers of received QoS 2 messages, places held open.
///
/// What is not here ends with its connection: aliases, quotas, limits, keep alive (v5 [X5-SESS-2]), a SUBSCRIBE that was not answered, and
/// a message that the host had been given and had not acknowledged: the peer will send it again.
///
/// # Examples
///
/// ```
/// use mqtt_session::{Delivery, Instant, Message, Publication, QueueLimits, Session, codec::Qos, topic::TopicName};
///
/// let limits = QueueLimits { messages: 1, bytes: 1_000_000 };
/// let mut session = Session::new();
/// let message = Message::new(Instant::ZERO, &Publication::new(TopicName::new("a").unwrap(), b"1"));
/// session.deliver(Delivery::new(message.clone(), Qos::AtLeastOnce, false), &limits).unwrap();
/// assert_eq!((session.queued(), session.bytes()), (1, message.size()));
/// assert!(session.deliver(Delivery::new(message, Qos::AtLeastOnce, false), &limits).is_err(), "full: the delivery comes back");
/// ```
#[derive(Debug, Default)]
pub struct Session {
    pub(crate) outbound: Outbound,
    pub(crate) received: Received,
}

/// A place in a session's queue that the host holds open: deliveries behind it wait until it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place(pub(crate) u32);

/// What was dropped while sending, since last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drops {
    /// Message expiry had passed.
    pub expired: u32,
    /// Over the peer's Maximum Packet Size.
    pub too_large: u32,
    /// Published by a client before CONNACK, and then not served by the server (QoS, retain).
    pub not_supported: u32,
}

/// Why a message that a client published was not sent, so that its token never completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// Its expiry came before its turn.
    Expired,
    /// It is over the server's Maximum Packet Size. If it was sent on an earlier connection, the server may have had it.
    TooLarge,
    /// The server does not serve its QoS, or RETAIN.
    NotSupported,
    /// QoS 2: the server had it (PUBREC), and lost the session before it was released. Whether it was passed on is not known.
    SessionLost,
}

impl Drops {
    pub(crate) fn count(&mut self, why: DropReason) {
        let count = match why {
            DropReason::Expired => &mut self.expired,
            DropReason::TooLarge => &mut self.too_large,
            DropReason::NotSupported => &mut self.not_supported,
            DropReason::SessionLost => return,
        };
        *count = count.saturating_add(1);
    }
}

impl Session {
    /// A fresh session.
    pub fn new() -> Self {
        Self::default()
    }

    /// A session whose other half a server may have kept, though nothing is left of this one: what a client has after a
    /// restart. With [`Session::new`] a server that claims to know the session is refused (v5 [MQTT-3.2.2-4]).
    pub fn resumable() -> Self {
        let mut session = Self::default();
        session.outbound.known = true;
        session
    }

    /// Queues a delivery (while offline; a live connection has its own `deliver`).
    ///
    /// # Errors
    /// The session is at one of `limits`; nothing has changed, and the delivery comes back.
    #[allow(clippy::result_large_err)]
    pub fn deliver(&mut self, delivery: Delivery, limits: &QueueLimits) -> Result<(), QueueFull> {
        self.outbound.deliver(delivery, limits).map(drop)
    }

    /// The token of the delivery that was queued last: tokens count up by one with every delivery taken.
    pub fn last_token(&self) -> PublishToken {
        self.outbound.last_token()
    }

    /// Drops the oldest delivery that was never sent; `None` if there is none.
    pub fn drop_oldest(&mut self) -> Option<Delivery> {
        self.outbound.drop_oldest()
    }

    /// Drops the QoS 0 delivery that has waited longest and waits for nothing but the socket; `None` if there is none. O(1).
    pub fn drop_oldest_qos0(&mut self) -> Option<Delivery> {
        self.outbound.drop_oldest_qos0()
    }

    /// Drops the QoS 0 deliveries that wait (those behind a place stay); how many they were.
    pub fn drop_qos0(&mut self) -> usize {
        self.outbound.drop_qos0()
    }

    /// Takes back what `keep` does not want of what was never sent, or was sent on an earlier connection and is to be sent again;
    /// how many messages that was. Of QoS 2 that was begun only the identifier goes on, to be released.
    ///
    /// What was sent on the connection that lasts cannot be taken back, and is taken back once that has ended. Takes time for all
    /// that waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use mqtt_session::{Delivery, Instant, Message, Publication, QueueLimits, Session, codec::Qos, topic::TopicName};
    ///
    /// let limits = QueueLimits { messages: 10, bytes: 1_000_000 };
    /// let mut session = Session::new();
    /// for topic in ["open", "secret", "open"] {
    ///     let message = Message::new(Instant::ZERO, &Publication::new(TopicName::new(topic).unwrap(), b"1"));
    ///     session.deliver(Delivery::new(message, Qos::AtLeastOnce, false), &limits).unwrap();
    /// }
    /// assert_eq!(session.retain(|delivery| delivery.message.topic().as_str() != "secret"), 1);
    /// assert_eq!(session.queued(), 2);
    /// ```
    pub fn retain(&mut self, keep: impl FnMut(&Delivery) -> bool) -> usize {
        self.outbound.retain(keep)
    }

    /// Keeps a place at the end of the queue.
    pub fn hold_place(&mut self) -> Place {
        self.outbound.hold_place()
    }

    /// Puts a delivery in front of a place. If the place is closed the delivery is dropped.
    pub fn fill_place(&mut self, place: Place, delivery: Delivery) {
        self.outbound.fill_place(place, delivery);
    }

    /// Lets what waits behind the place go on.
    pub fn close_place(&mut self, place: Place) {
        self.outbound.close_place(place);
    }

    /// Messages queued, never sent.
    pub fn queued(&self) -> usize {
        self.outbound.queued()
    }

    /// Messages sent and not finished.
    pub fn inflight(&self) -> usize {
        self.outbound.inflight()
    }

    /// Bytes of messages queued and in flight.
    pub fn bytes(&self) -> usize {
        self.outbound.bytes()
    }

    /// Whether nothing is kept: no message, no identifier, no place.
    pub fn is_empty(&self) -> bool {
        self.outbound.is_empty() && self.received.is_empty()
    }

    /// Heap bytes held by the session itself, messages not counted.
    pub fn memory(&self) -> usize {
        self.outbound.memory() + self.received.memory()
    }

    pub(crate) fn shrink(&mut self) {
        self.outbound.shrink();
        self.received.shrink();
    }

    /// The connection is over.
    pub(crate) fn detach(&mut self) {
        self.outbound.detach();
        self.received.detach();
        self.shrink();
    }

    /// The peer knows nothing of the session.
    pub(crate) fn restart(&mut self) {
        // v5 [MQTT-3.2.2-5].
        self.outbound.restart();
        self.received.restart();
    }
}
