//! Decisions are the host's: who may connect, publish, subscribe.
use core::net::SocketAddr;
use mqtt_session::Publication;
use mqtt_session::codec::{Connect, ReasonCode, SubscribeOptions, Version};
use mqtt_session::topic::TopicFilter;

/// Where a connection comes from, as the host knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Peer {
    /// The remote address, if there is one.
    pub address: Option<SocketAddr>,
    /// Which of the host's listeners took it: the host's own number.
    pub listener: u32,
}

impl Peer {
    /// A connection from `address`, taken by `listener`.
    pub const fn new(address: Option<SocketAddr>, listener: u32) -> Self {
        Self { address, listener }
    }
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow,
    /// No; 5.0 clients are told why.
    Deny(ReasonCode),
    /// Later: that connection alone is paused until [`Broker::resume`](crate::Broker::resume), or denied after
    /// [`Config::decision_timeout`](crate::Config::decision_timeout). The ticket is the one of the request.
    Defer(Ticket),
}

/// Names one request; valid until it is decided. A stale one does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub(crate) u64);

/// A client that is connecting or connected.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ClientInfo<'a> {
    /// Its client identifier, assigned or its own.
    pub client_id: &'a str,
    /// Its user name.
    pub user_name: Option<&'a str>,
    /// Where it comes from.
    pub peer: &'a Peer,
    /// The version it speaks.
    pub version: Version,
}

/// A CONNECT.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ConnectRequest<'a> {
    /// Who.
    pub client: ClientInfo<'a>,
    /// The packet: password, will, properties.
    pub connect: &'a Connect<'a>,
    /// To put the decision off.
    pub ticket: Ticket,
}

/// Where a message comes from.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Origin<'a> {
    /// A client's PUBLISH.
    Client(ClientInfo<'a>),
    /// A client's will: asked when it connects and when the will fires.
    Will(ClientInfo<'a>),
    /// The embedding program.
    Local,
}

/// A message about to be routed.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PublishRequest<'a> {
    /// Where it comes from.
    pub origin: Origin<'a>,
    /// The message.
    pub publication: &'a Publication<'a>,
    /// To put the decision off.
    pub ticket: Ticket,
}

/// One filter of a SUBSCRIBE.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SubscribeRequest<'a> {
    /// Who.
    pub client: ClientInfo<'a>,
    /// The filter.
    pub filter: TopicFilter<'a>,
    /// What is asked of it.
    pub options: SubscribeOptions,
    /// To put the decision off.
    pub ticket: Ticket,
}

/// Who may do what. There are no defaults: what is allowed has to be written out.
///
/// Methods are called inside the broker's own calls and must not block: what takes long answers [`Decision::Defer`].
pub trait Policy {
    /// May this client connect? The user name it gave becomes the identity its session is bound to.
    fn connect(&mut self, request: &ConnectRequest<'_>) -> Decision;
    /// May this message be published? Asked for every origin.
    fn publish(&mut self, request: &PublishRequest<'_>) -> Decision;
    /// May this client subscribe to this filter? Asked for every filter.
    fn subscribe(&mut self, request: &SubscribeRequest<'_>) -> Decision;
}

/// Allows everything to everybody. For tests, and for networks where everybody is trusted.
#[derive(Clone, Copy, Debug)]
pub struct AllowAll;

impl Policy for AllowAll {
    fn connect(&mut self, _: &ConnectRequest<'_>) -> Decision {
        Decision::Allow
    }
    fn publish(&mut self, _: &PublishRequest<'_>) -> Decision {
        Decision::Allow
    }
    fn subscribe(&mut self, _: &SubscribeRequest<'_>) -> Decision {
        Decision::Allow
    }
}

/// Denies everything to everybody.
#[derive(Clone, Copy, Debug, Default)]
pub struct DenyAll;

impl Policy for DenyAll {
    fn connect(&mut self, _: &ConnectRequest<'_>) -> Decision {
        Decision::Deny(ReasonCode::NOT_AUTHORIZED)
    }
    fn publish(&mut self, _: &PublishRequest<'_>) -> Decision {
        Decision::Deny(ReasonCode::NOT_AUTHORIZED)
    }
    fn subscribe(&mut self, _: &SubscribeRequest<'_>) -> Decision {
        Decision::Deny(ReasonCode::NOT_AUTHORIZED)
    }
}
