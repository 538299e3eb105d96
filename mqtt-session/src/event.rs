//! What a packet from the peer means to the host.
use crate::{Publication, Topic};
use mqtt_codec::{
    Auth, Connack, Connect, Disconnect, PacketId, Properties, Qos, ReasonCode, ReasonCodes, Subscribe, Unsubscribe,
};

/// What happened. Borrows from the packet, never from the connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'p> {
    /// Nothing the host needs to act on: a step of an exchange, a ping.
    Handled,
    /// Server: a client wants in. Answer with [`accept`](crate::Connection::accept), [`reject`](crate::Connection::reject) or, if it has an Authentication Method, [`challenge`](crate::Connection::challenge); nothing else is read before.
    Connect(Connect<'p>),
    /// The peer's part of an authentication exchange; the method is the one of CONNECT, the data is in its properties.
    ///
    /// Server, before acceptance: answer as [`Event::Connect`], or with [`challenge`](crate::Connection::challenge); nothing else is
    /// read before. Server, on a live connection (0x19 began it): answer with [`challenge`](crate::Connection::challenge),
    /// [`authenticated`](crate::Connection::authenticated) or [`disconnect`](crate::Connection::disconnect); other traffic goes on.
    /// Client: answer 0x18 with [`answer_challenge`](crate::Connection::answer_challenge); 0x00 says that re-authentication has succeeded.
    Auth(Auth<'p>),
    /// Client: the server let us in.
    Connected(Connected<'p>),
    /// Client: the server did not; close.
    Refused(Connack<'p>),
    /// A message. Server: answer with [`acknowledge`](crate::Connection::acknowledge); the server role never acknowledges by itself. Client: answered already, unless acknowledgement is manual.
    Publish(Received<'p>, AckToken),
    /// The sender of a QoS 2 message has released its identifier (PUBREL). Server: answer with [`acknowledge`](crate::Connection::acknowledge) (PUBCOMP).
    Released(AckToken),
    /// A QoS 1 or 2 message of ours has reached the peer, or was refused by it (0x80 and above).
    Completed {
        /// What [`publish`](crate::Connection::publish) gave, or the sequence of a delivery.
        token: PublishToken,
        /// The peer's word.
        reason: ReasonCode,
    },
    /// Server: answer with [`suback`](crate::Connection::suback).
    Subscribe(Subscribe<'p>, RequestToken),
    /// Server: answer with [`unsuback`](crate::Connection::unsuback).
    Unsubscribe(Unsubscribe<'p>, RequestToken),
    /// Client: the answer to a subscribe.
    Suback(RequestToken, ReasonCodes<'p>, Properties<'p>),
    /// Client: the answer to an unsubscribe; no codes before 5.0.
    Unsuback(RequestToken, ReasonCodes<'p>, Properties<'p>),
    /// The peer said goodbye. Flush nothing, close.
    Disconnect(Disconnect<'p>),
}

/// An accepting CONNACK.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Connected<'p> {
    /// Whether the server continued the session; if not, what we had in flight was dropped or begun anew.
    pub session_present: bool,
    /// As they came.
    pub properties: Properties<'p>,
}

/// A message as it came, its topic alias resolved.
#[derive(Clone, Debug)]
pub struct Received<'p> {
    /// The topic.
    pub topic: Topic<'p>,
    /// The payload.
    pub payload: &'p [u8],
    /// Its QoS.
    pub qos: Qos,
    /// RETAIN.
    pub retain: bool,
    /// DUP.
    pub dup: bool,
    /// As they came: alias, expiry and subscription identifiers included.
    pub properties: Properties<'p>,
}

impl Received<'_> {
    /// What is to be forwarded.
    pub fn publication(&self) -> Publication<'_> {
        Publication {
            topic: self.topic.as_name(),
            payload: self.payload,
            qos: self.qos,
            retain: self.retain,
            properties: self.properties,
        }
    }
}

/// Names an incoming message that waits for its acknowledgement. Inert for QoS 0. A stale one does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AckToken(pub(crate) Option<u32>);

impl AckToken {
    /// Whether anything waits for it (QoS 1 and 2).
    pub fn is_awaited(self) -> bool {
        self.0.is_some()
    }
}

/// Names an outgoing message; unique within its session (they count up by one, and wrap).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublishToken(pub(crate) u32);

impl PublishToken {
    /// The sequence number of the message in its session: 1 for the first.
    pub fn sequence(self) -> u32 {
        self.0
    }

    /// Whether it was given out before `other`.
    pub(crate) fn is_before(self, other: Self) -> bool {
        other.0.wrapping_sub(self.0).wrapping_sub(1) < u32::MAX / 2
    }
}

/// Names a SUBSCRIBE or UNSUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestToken(pub(crate) PacketId);
