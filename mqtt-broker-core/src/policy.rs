//! Questions to the host: who may connect, publish, subscribe, receive. The answers are [`Decision`]s.
use crate::store::LoadError;
use crate::{ConnectionId, Decision};
use alloc::sync::Arc;
use core::net::SocketAddr;
use mqtt_session::codec::{Connect, ReasonCode, SubscribeOptions, Version};
use mqtt_session::topic::TopicFilter;
use mqtt_session::{Instant, Publication};

/// Where a connection comes from, as the host knows it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Peer {
    /// The remote address, if there is one.
    pub address: Option<SocketAddr>,
    /// Which of the host's listeners took it: the host's own number.
    pub listener: u32,
    /// Who the transport has proven it to be: the name in a TLS client certificate, say. It stands in the place of the user name.
    pub identity: Option<Arc<str>>,
}

impl Peer {
    /// A connection from `address`, taken by `listener`.
    pub const fn new(address: Option<SocketAddr>, listener: u32) -> Self {
        Self { address, listener, identity: None }
    }

    /// The same, proven to be `identity` by its transport.
    #[must_use]
    pub fn with_identity(mut self, identity: impl Into<Arc<str>>) -> Self {
        self.identity = Some(identity.into());
        self
    }
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
    /// Its user name, or the identity its transport has proven.
    pub user_name: Option<&'a str>,
    /// Where it comes from.
    pub peer: &'a Peer,
    /// The version it speaks.
    pub version: Version,
}

impl<'a> ClientInfo<'a> {
    /// A client, to ask a policy about without a broker.
    pub const fn new(client_id: &'a str, user_name: Option<&'a str>, peer: &'a Peer, version: Version) -> Self {
        Self { client_id, user_name, peer, version }
    }
}

/// A CONNECT.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ConnectRequest<'a> {
    /// Who.
    pub client: ClientInfo<'a>,
    /// Its connection.
    pub connection: ConnectionId,
    /// The packet: password, will, properties.
    pub connect: &'a Connect<'a>,
    /// To put the decision off.
    pub ticket: Ticket,
}

/// One step of an enhanced authentication (5.0, section 4.12), or of another one later on.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AuthRequest<'a> {
    /// Who it says it is: a client identifier, and perhaps a user name, that are not proven yet.
    pub client: ClientInfo<'a>,
    /// Its connection: what to keep the state of the exchange under, until [`Policy::forget`].
    pub connection: ConnectionId,
    /// The Authentication Method, the same in every step.
    pub method: &'a str,
    /// The Authentication Data.
    pub data: Option<&'a [u8]>,
    /// Where the exchange stands.
    pub step: AuthStep,
    /// To put the decision off.
    pub ticket: Ticket,
}

/// Where an authentication stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthStep {
    /// The first, out of CONNECT, which [`Policy::connect`] allowed.
    Connect,
    /// An answer to [`Decision::Continue`].
    Answer,
    /// The first of a connected client that proves anew who it is.
    Again,
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
    /// Whether this is what the policy itself put in the message's place: it is then asked once more, and may not do so again. Of its
    /// expiry only the moment is kept by then, so it is not among the properties.
    pub rewritten: bool,
    /// The time, to make a [`NewMessage`](crate::NewMessage) with.
    pub now: Instant,
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
    /// Whether this is what the policy itself put in the subscription's place: it is then asked once more, and may not do so
    /// again.
    pub rewritten: bool,
    /// Whether it was granted once, and is [judged anew](crate::Broker::reauthorize).
    pub again: bool,
    /// To put the decision off.
    pub ticket: Ticket,
}

/// One filter of an UNSUBSCRIBE.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct UnsubscribeRequest<'a> {
    /// Who.
    pub client: ClientInfo<'a>,
    /// The filter, as the client wrote it.
    pub filter: TopicFilter<'a>,
    /// To put the decision off.
    pub ticket: Ticket,
}

/// A message on its way to one client.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ReceiveRequest<'a> {
    /// For whom.
    pub client: ClientInfo<'a>,
    /// The message.
    pub publication: &'a Publication<'a>,
}

/// Who may do what. There are no defaults: what is allowed has to be written out.
///
/// Methods are called inside the broker's own calls and must not block: what takes long answers [`Decision::Defer`].
///
/// # Examples
///
/// Everybody may use the topics below their own user name, and read `news/#`:
///
/// ```
/// use mqtt_broker_core::{
///     ClientInfo, ConnectRequest, Decision, Origin, Policy, PublishRequest, ReceiveRequest, SubscribeRequest,
///     UnsubscribeRequest, codec::ReasonCode, topic::TopicFilter,
/// };
///
/// struct Homes;
///
/// fn is_home(client: &ClientInfo<'_>, text: &str) -> bool {
///     client.user_name.is_some_and(|user| text.split_once('/').is_some_and(|(first, _)| first == user))
/// }
///
/// fn answer(yes: bool) -> Decision {
///     if yes { Decision::Allow } else { Decision::Deny(ReasonCode::NOT_AUTHORIZED) }
/// }
///
/// impl Policy for Homes {
///     fn connect(&mut self, request: &ConnectRequest<'_>) -> Decision {
///         answer(request.client.user_name.is_some_and(|user| !user.contains(['+', '#', '/'])))
///     }
///     fn publish(&mut self, request: &PublishRequest<'_>) -> Decision {
///         match &request.origin {
///             Origin::Client(client) | Origin::Will(client) => answer(is_home(client, request.publication.topic.as_str())),
///             _ => Decision::Allow,
///         }
///     }
///     fn subscribe(&mut self, request: &SubscribeRequest<'_>) -> Decision {
///         let filter = request.filter.as_str();
///         answer(is_home(&request.client, filter) || filter.starts_with("news/"))
///     }
///     fn unsubscribe(&mut self, _: &UnsubscribeRequest<'_>) -> Decision {
///         Decision::Allow
///     }
///     fn receives_all(&mut self, _: &ClientInfo<'_>, _: TopicFilter<'_>) -> bool {
///         true // whoever may subscribe may receive
///     }
///     fn receive(&mut self, request: &ReceiveRequest<'_>) -> bool {
///         let topic = request.publication.topic.as_str();
///         is_home(&request.client, topic) || topic.starts_with("news/")
///     }
/// }
/// ```
pub trait Policy {
    /// May this client connect? The user name it gave becomes the identity its session is bound to.
    fn connect(&mut self, request: &ConnectRequest<'_>) -> Decision;
    /// Is this client who it says it is? Asked when CONNECT names an Authentication Method, after [`connect`](Self::connect) has allowed
    /// it, and for every AUTH of the client: [`Decision::Continue`] asks it for more, [`Decision::Allow`] and
    /// [`Decision::AllowWith`] end the exchange. A connected client that proves itself anew cannot become somebody else, and is
    /// judged anew. Unless written otherwise, no method is known (0x8C).
    fn authenticate(&mut self, request: &AuthRequest<'_>) -> Decision {
        let _ = request;
        Decision::Deny(ReasonCode::BAD_AUTHENTICATION_METHOD)
    }
    /// A connection is over: what was kept of its authentication can go. Called once for each that named a method.
    fn forget(&mut self, connection: ConnectionId) {
        let _ = connection;
    }
    /// May this message be published? Asked for every origin.
    fn publish(&mut self, request: &PublishRequest<'_>) -> Decision;
    /// May this client subscribe to this filter? Asked for every filter.
    fn subscribe(&mut self, request: &SubscribeRequest<'_>) -> Decision;
    /// May this client end its subscription to this filter? Asked for every filter. Before 5.0 a client cannot be told that it
    /// may not.
    fn unsubscribe(&mut self, request: &UnsubscribeRequest<'_>) -> Decision;
    /// May this client receive every message that comes by its subscription to `filter`, which it was allowed? The answer is
    /// kept with the subscription: with `true` a message costs nothing, with `false` [`receive`](Self::receive) is asked about
    /// each.
    fn receives_all(&mut self, client: &ClientInfo<'_>, filter: TopicFilter<'_>) -> bool;
    /// May this client receive this message? Asked for each message of a subscription whose messages it may not all receive,
    /// retained ones too. Cannot be put off.
    fn receive(&mut self, request: &ReceiveRequest<'_>) -> bool;
    /// The records that the host has stored under [`Table::Sessions`](crate::store::Table::Sessions) and this client identifier, in their order:
    /// asked once for a session that was [restored](crate::Broker::restore), when its client comes or a message does. Until then nothing is written there.
    ///
    /// To read one key while everybody waits is what lets a broker with many sessions start at once; a host that would rather not
    /// reads them all beforehand. No record means that the session is lost ([`Event::SessionLost`](crate::Event::SessionLost)).
    /// The default cannot read any, so that nothing is lost by a host that has not thought of it.
    ///
    /// # Errors
    /// They cannot be read now: the client is turned away (0x88), the message's publisher is not acknowledged and closed, and both may come again.
    fn load_session(&mut self, client_id: &str, each: &mut dyn FnMut(&[u8])) -> Result<(), LoadError> {
        let _ = (client_id, each);
        Err(LoadError)
    }
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
    fn unsubscribe(&mut self, _: &UnsubscribeRequest<'_>) -> Decision {
        Decision::Allow
    }
    fn receives_all(&mut self, _: &ClientInfo<'_>, _: TopicFilter<'_>) -> bool {
        true
    }
    fn receive(&mut self, _: &ReceiveRequest<'_>) -> bool {
        true
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
    fn unsubscribe(&mut self, _: &UnsubscribeRequest<'_>) -> Decision {
        Decision::Deny(ReasonCode::NOT_AUTHORIZED)
    }
    fn receives_all(&mut self, _: &ClientInfo<'_>, _: TopicFilter<'_>) -> bool {
        false
    }
    fn receive(&mut self, _: &ReceiveRequest<'_>) -> bool {
        false
    }
}
