//! The limits that somebody can meet: each refusal is counted and reported.
use crate::core_state::Core;
use crate::slots::Id;
use crate::{ClientId, Event, Peer, Policy};
use mqtt_session::codec::{Properties, Property, ReasonCode};

/// A limit that was met, and what was refused for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// [`Config::max_connections`](crate::Config::max_connections), or a listener's: the transport was not taken.
    Connections,
    /// [`Config::max_handshakes`](crate::Config::max_handshakes): the transport was not taken.
    Handshakes,
    /// A connection did not finish its CONNECT within
    /// [`connect_timeout`](mqtt_session::ServerConfig::connect_timeout), and was closed.
    ConnectTimeout,
    /// [`ListenerConfig::connection_rate`](crate::ListenerConfig::connection_rate) or
    /// [`Config::address_rate`](crate::Config::address_rate): the transport was not taken, or closed when a proxy told the address.
    ConnectionRate,
    /// A ban kept a transport or a client out.
    Banned,
    /// [`Config::max_bans`](crate::Config::max_bans): a ban that flapping asked for was not made.
    Bans,
    /// [`Config::flapping`](crate::Config::flapping): the client was turned away and banned.
    Flapping,
    /// [`Config::admission_rate`](crate::Config::admission_rate): the client was turned away.
    Admission,
    /// [`PublishRates::messages`](crate::PublishRates::messages): the client waits, loses the message or is disconnected.
    MessageRate,
    /// [`PublishRates::bytes`](crate::PublishRates::bytes): the same.
    ByteRate,
    /// [`Config::max_client_id`](crate::Config::max_client_id): the client was turned away.
    ClientId,
    /// [`Config::max_sessions`](crate::Config::max_sessions): the client was turned away.
    Sessions,
    /// [`Config::max_subscriptions`](crate::Config::max_subscriptions): the filter was refused.
    Subscriptions,
    /// [`SharedConfig::max_groups`](crate::SharedConfig::max_groups): the filter was refused.
    Groups,
    /// [`Config::max_subscriptions_total`](crate::Config::max_subscriptions_total), or the most the subscription table can
    /// hold: the filter was refused.
    SubscriptionsTotal,
    /// [`Config::max_held_bytes`](crate::Config::max_held_bytes): a filter, a client with a will, or a request was refused.
    HeldBytes,
    /// [`Config::max_user_properties`](crate::Config::max_user_properties): the message, or the client with the will, was refused.
    UserProperties,
    /// [`Config::max_retained`](crate::Config::max_retained) or
    /// [`Config::max_retained_bytes`](crate::Config::max_retained_bytes): the message was forwarded and not kept.
    Retained,
    /// [`Config::max_retained_payload`](crate::Config::max_retained_payload): the same.
    RetainedPayload,
    /// [`Config::max_topic_levels`](crate::Config::max_topic_levels): a filter, a message or a will was refused; or
    /// [`Config::min_wildcard_level`](crate::Config::min_wildcard_level): a filter was.
    TopicLevels,
    /// [`Config::max_unstored_bytes`](crate::Config::max_unstored_bytes): a client whose CONNACK rests on what is stored was turned away (0x88).
    Unstored,
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::Connections,
        Self::Handshakes,
        Self::ConnectTimeout,
        Self::ConnectionRate,
        Self::Banned,
        Self::Bans,
        Self::Flapping,
        Self::Admission,
        Self::MessageRate,
        Self::ByteRate,
        Self::ClientId,
        Self::Sessions,
        Self::Subscriptions,
        Self::Groups,
        Self::SubscriptionsTotal,
        Self::HeldBytes,
        Self::UserProperties,
        Self::Retained,
        Self::RetainedPayload,
        Self::TopicLevels,
        Self::Unstored,
    ];
    /// How many there are.
    pub(crate) const COUNT: usize = Self::ALL.len();
}

/// Each has its counter.
const _: () = assert!(Limit::Unstored as usize + 1 == Limit::COUNT);

impl<P: Policy> Core<P> {
    /// Whether a message or a will has no more User Properties than the limit.
    pub(crate) fn vet_properties(&mut self, properties: Properties<'_>) -> Result<(), ReasonCode> {
        let most = self.config.max_user_properties;
        let is_user = |property: &Property<'_>| matches!(property, Property::UserProperty(..));
        // one takes 5 bytes: most messages need no look
        let few = properties.wire().is_some_and(|wire| wire.len() / 5 <= most);
        if few || properties.iter().filter(is_user).nth(most).is_none() {
            return Ok(());
        }
        self.limited(Limit::UserProperties, None, None);
        Err(ReasonCode::QUOTA_EXCEEDED)
    }

    /// Whether clients may have so many bytes more kept for them, beside messages.
    pub(crate) fn may_hold(&self, bytes: usize) -> bool {
        self.held_bytes.saturating_add(bytes) <= self.config.max_held_bytes
    }

    pub(crate) fn hold(&mut self, bytes: usize) {
        self.held_bytes = self.held_bytes.saturating_add(bytes);
    }

    pub(crate) fn unhold(&mut self, bytes: usize) {
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
    }

    /// Whether a listener has as many connections as it may.
    pub(crate) fn listener_is_full(&self, listener: u32) -> bool {
        let most = self.config.listeners.get(&listener).and_then(|config| config.max_connections);
        let has = self.rates.listeners.get(&listener).map_or(0, |state| state.connections);
        most.is_some_and(|most| has >= most)
    }

    /// A connection of a listener has come or gone.
    pub(crate) fn count_connection(&mut self, listener: u32, came: bool) {
        if let Some(state) = self.rates.listeners.get_mut(&listener) {
            state.connections = if came { state.connections + 1 } else { state.connections.saturating_sub(1) };
        }
    }

    /// The largest packet that is taken now on a connection behind its CONNECT, bytes: of one that nobody has let in yet no larger
    /// one than a CONNECT.
    pub(crate) fn read_limit(&self, id: Id, live: bool) -> u32 {
        let listener = self.connections.get(id).map_or(0, |conn| conn.peer.listener);
        let server = self.config.server_of(listener);
        let most = if live { u32::MAX } else { server.maximum_connect_size };
        server.maximum_packet_size.min(most)
    }

    /// The largest packet that is ever taken on a connection, bytes.
    pub(crate) fn packet_limit(&self, id: Id) -> usize {
        let listener = self.connections.get(id).map_or(0, |conn| conn.peer.listener);
        self.config.server_of(listener).maximum_packet_size as usize
    }

    /// Counts and reports a refusal.
    pub(crate) fn limited(&mut self, limit: Limit, client: Option<&ClientId>, peer: Option<&Peer>) {
        if let Some(count) = self.stats.limited.get_mut(limit as usize) {
            *count += 1;
        }
        if self.config.events.limits {
            let (client, peer) = (client.cloned(), peer.cloned());
            self.events.push(&mut self.stats, Event::Limited { limit, client, peer });
        }
    }

    /// The same, for what a connection asked for.
    pub(crate) fn limited_at(&mut self, limit: Limit, id: Id) {
        let conn = self.connections.get(id);
        let peer = conn.map(|conn| (*conn.peer).clone());
        let client = conn.and_then(|conn| conn.client()).and_then(|index| self.client_id(index));
        self.limited(limit, client.as_ref(), peer.as_ref());
    }
}
