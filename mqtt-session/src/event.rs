//! What a packet from the peer means to the host.
use crate::requests::FilterList;
use crate::{Publication, Redirect, Topic};
use mqtt_codec::{
    Auth, Connack, Connect, Disconnect, PacketId, Properties, Qos, ReasonCode, ReasonCodes, Subscribe, TopicFilter,
    Unsubscribe,
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
        /// As they came with it: Reason String and User Properties (5.0).
        properties: Properties<'p>,
    },
    /// Server: answer with [`suback`](crate::Connection::suback).
    Subscribe(Subscribe<'p>, RequestToken),
    /// Server: answer with [`unsuback`](crate::Connection::unsuback).
    Unsubscribe(Unsubscribe<'p>, RequestToken),
    /// Client: the answer to a subscribe, a code for each filter.
    Suback(Answered<'p>),
    /// Client: the answer to an unsubscribe; without codes before 5.0.
    Unsuback(Answered<'p>),
    /// The peer said goodbye. Flush nothing, close.
    Disconnect(Disconnect<'p>),
}

impl<'p> Event<'p> {
    /// Client: where the server sends us, if that is why it refused us or said goodbye (5.0, section 4.11).
    pub fn redirect(&self) -> Option<Redirect<'p>> {
        match self {
            Self::Refused(connack) => Redirect::of(connack.reason, connack.properties),
            Self::Disconnect(disconnect) => Redirect::of(disconnect.reason, disconnect.properties),
            _ => None,
        }
    }
}

/// The server's answer to a SUBSCRIBE or UNSUBSCRIBE.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Answered<'p> {
    /// What [`subscribe`](crate::Connection::subscribe) or [`unsubscribe`](crate::Connection::unsubscribe) gave.
    pub token: RequestToken,
    /// One for each filter, in their order; none in an UNSUBACK before 5.0.
    pub codes: ReasonCodes<'p>,
    /// As they came.
    pub properties: Properties<'p>,
    pub(crate) filters: FilterList,
}

impl Answered<'_> {
    /// Each filter of the request with the code that answers it (0x80 and above: refused). Before 5.0 an UNSUBACK has no codes, and
    /// each filter goes with success.
    pub fn pairs(&self) -> impl Iterator<Item = (TopicFilter<'_>, ReasonCode)> {
        let codes = self.codes.iter().chain(core::iter::repeat(ReasonCode::SUCCESS));
        self.filters.iter().zip(codes)
    }
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
