//! What observers are told.
use crate::{ClientId, ConnectionId, Limit, Peer};
use mqtt_session::PublishToken;
use mqtt_session::codec::{Qos, ReasonCode, Version};
use mqtt_session::topic::{TopicFilterBuf, TopicNameBuf};

/// Something happened. Owned; polled from a bounded queue.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A client was let in.
    Connected {
        /// Its connection.
        connection: ConnectionId,
        /// Its client identifier.
        client: ClientId,
        /// The version it speaks.
        version: Version,
        /// Whether its stored session goes on.
        session_present: bool,
    },
    /// A connection ended before it became a client's.
    Refused {
        /// The connection.
        connection: ConnectionId,
        /// Why.
        cause: Cause,
    },
    /// A client's connection ended.
    Disconnected {
        /// The connection.
        connection: ConnectionId,
        /// Its client identifier.
        client: ClientId,
        /// Why.
        cause: Cause,
    },
    /// A subscription was made or replaced.
    Subscribed {
        /// Whose.
        client: ClientId,
        /// To what.
        filter: TopicFilterBuf,
    },
    /// A subscription was ended by its client.
    Unsubscribed {
        /// Whose.
        client: ClientId,
        /// To what.
        filter: TopicFilterBuf,
    },
    /// A session ended: expired, or begun anew.
    SessionEnded {
        /// Whose.
        client: ClientId,
    },
    /// A session ended because what was stored of it is damaged, or gone.
    SessionLost {
        /// Whose.
        client: ClientId,
    },
    /// A will was published.
    WillPublished {
        /// Whose.
        client: ClientId,
    },
    /// A limit was met, and something was refused for it.
    Limited {
        /// Which.
        limit: Limit,
        /// Who met it, if that is known.
        client: Option<ClientId>,
        /// Where they come from, if that is known.
        peer: Option<Peer>,
    },
    /// A message was taken and is being routed.
    Published {
        /// Whose, its will included; `None` for a message of the host, or of a session that is gone.
        client: Option<ClientId>,
        /// Its topic.
        topic: TopicNameBuf,
        /// Its QoS.
        qos: Qos,
        /// Whether it is retained.
        retain: bool,
        /// Bytes of its payload.
        size: usize,
    },
    /// A copy of a message was handed to a session's queue, or encoded for a client that keeps up.
    Delivered {
        /// For whom; an empty identifier for a client of the embedding program.
        client: ClientId,
        /// Its topic.
        topic: TopicNameBuf,
        /// The QoS of this copy.
        qos: Qos,
    },
    /// A client has finished the exchange of a QoS 1 or 2 message that it was sent.
    Acked {
        /// Who.
        client: ClientId,
        /// The number of the delivery in its session.
        token: PublishToken,
        /// Its word.
        reason: ReasonCode,
    },
    /// A message did not reach a client, or was not taken from one.
    Dropped {
        /// For whom, or from whom; `None` for a message of the host or of a session that is gone.
        client: Option<ClientId>,
        /// Why.
        why: Drop,
    },
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The client said goodbye, with this reason.
    Goodbye(ReasonCode),
    /// The transport closed or failed without one.
    Lost,
    /// The peer broke a rule.
    Protocol(mqtt_session::ProtocolError),
    /// The broker ended it, with this reason.
    Ended(ReasonCode),
}

/// Why a message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Drop {
    /// The session's queue, or all queues together, were full.
    QueueFull,
    /// Over the client's Maximum Packet Size.
    TooLarge,
    /// Its expiry had passed.
    Expired,
    /// The policy denied it.
    Denied(ReasonCode),
    /// Its group has no members any more, or none that could keep it.
    NoMember,
    /// As many members of its group as [`max_handovers`](crate::SharedConfig::max_handovers) allows had it and lost their session.
    HandedOver,
    /// There was no room for a further retained message; it was forwarded but not kept.
    RetainedFull,
    /// The session it was for could not be read from the host's store; its publisher was not told that it arrived.
    NotLoaded,
}

/// Which events are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventMask {
    /// Connected, refused, disconnected, sessions ended.
    pub connections: bool,
    /// Subscribed, unsubscribed.
    pub subscriptions: bool,
    /// Wills published.
    pub wills: bool,
    /// Limits met: one event for each refusal.
    pub limits: bool,
    /// Messages published: one event each.
    pub published: bool,
    /// Messages delivered: one event for each copy.
    pub delivered: bool,
    /// Messages acknowledged by those they were sent to: one event each.
    pub acked: bool,
    /// Messages dropped: one event each.
    pub drops: bool,
}

impl EventMask {
    /// No events at all.
    pub const fn none() -> Self {
        Self {
            connections: false,
            subscriptions: false,
            wills: false,
            limits: false,
            published: false,
            delivered: false,
            acked: false,
            drops: false,
        }
    }
}

impl Default for EventMask {
    fn default() -> Self {
        Self { connections: true, subscriptions: true, wills: true, limits: true, ..Self::none() }
    }
}
