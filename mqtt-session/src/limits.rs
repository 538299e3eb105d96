//! What the two ends have told each other about this connection; nothing of it outlives the connection (section 4.9).
use crate::auth::Exchange;
use crate::rare::Rare;
use crate::terms::{Terms, Words};
use crate::{ClientConfig, DropReason, PublishToken, ServerConfig};
use alloc::boxed::Box;
use mqtt_codec::{Connack, Connect, Qos, Role, Version};

/// What holds on this connection.
#[derive(Debug)]
pub(crate) struct Limits {
    /// This end.
    pub(crate) role: Role,
    /// Before CONNECT: any.
    pub(crate) version: Version,
    pub(crate) version_known: bool,
    /// The client's end: the host acknowledges by itself.
    pub(crate) manual: bool,
    /// The largest CONNECT read, bytes.
    pub(crate) connect_size: u32,
    /// The largest packet read, bytes.
    pub(crate) packet_size: u32,
    /// The largest packet the peer takes, bytes with fixed header.
    pub(crate) peer_packet_size: u32,
    /// Unfinished incoming QoS 1 and 2 messages, at most: what was announced and, at the server's end, what is borne beyond.
    pub(crate) receive_maximum: u16,
    /// Topic aliases the peer may set.
    pub(crate) alias_maximum: u16,
    /// Topic aliases that we may set: the peer's Topic Alias Maximum.
    pub(crate) peer_alias_maximum: u16,
    /// Topic aliases that are set without being asked for, at most.
    pub(crate) automatic_aliases: u16,
    /// What the server serves: ours to enforce on the server's end, ours to obey on the client's.
    pub(crate) offer: Offer,
    /// What was asked for in CONNECT.
    pub(crate) asked: Asked,
    /// Where the send quota starts.
    pub(crate) send_maximum: u16,
    rare: Option<Box<Rare>>,
}

/// What a server may leave out (section 3.2.2.3).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    pub(crate) maximum_qos: Qos,
    pub(crate) retain: bool,
    pub(crate) wildcards: bool,
    pub(crate) subscription_ids: bool,
    pub(crate) shared: bool,
}

/// What of CONNECT is needed later.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    /// Seconds.
    pub(crate) keep_alive: u16,
    pub(crate) clean_start: bool,
    pub(crate) problem_information: bool,
    pub(crate) response_information: bool,
    /// The Session Expiry Interval was 0, or absent.
    pub(crate) no_expiry: bool,
}

impl Offer {
    /// All there is: what a CONNACK without a word about it offers.
    const ALL: Self =
        Self { maximum_qos: Qos::ExactlyOnce, retain: true, wildcards: true, subscription_ids: true, shared: true };

    fn of_server(config: &ServerConfig) -> Self {
        Self {
            maximum_qos: config.maximum_qos,
            retain: config.retain_available,
            wildcards: config.wildcard_subscription_available,
            subscription_ids: config.subscription_identifiers_available,
            shared: config.shared_subscription_available,
        }
    }
}

impl Limits {
    /// The server's end before CONNECT.
    pub(crate) fn server(config: &ServerConfig) -> Self {
        Self {
            role: Role::Server,
            version: Version::V5,
            version_known: false,
            manual: false,
            connect_size: config.maximum_connect_size.min(config.maximum_packet_size),
            packet_size: config.maximum_packet_size.max(1),
            peer_packet_size: u32::MAX,
            receive_maximum: borne(config),
            alias_maximum: config.topic_alias_maximum,
            peer_alias_maximum: 0,
            automatic_aliases: 0,
            offer: Offer::of_server(config),
            asked: Asked::default(),
            send_maximum: 1,
            rare: None,
        }
    }

    /// The client's end before CONNACK.
    pub(crate) fn client(connect: &Connect<'_>, config: &ClientConfig) -> Self {
        let properties = connect.properties;
        let size = match connect.version {
            Version::V5 => properties.maximum_packet_size().unwrap_or(u32::MAX),
            Version::V31 | Version::V311 => config.maximum_packet_size,
        };
        Self {
            role: Role::Client,
            version: connect.version,
            version_known: true,
            manual: config.manual_acknowledgement,
            connect_size: size,
            packet_size: size,
            peer_packet_size: u32::MAX,
            receive_maximum: properties.receive_maximum().unwrap_or(u16::MAX),
            // v5 [X5-CON-4]: absent means none. v5 [MQTT-3.3.2-10]: from 1 to what was announced.
            alias_maximum: properties.topic_alias_maximum().unwrap_or(0),
            peer_alias_maximum: 0,
            automatic_aliases: config.topic_alias_maximum_outgoing,
            offer: Offer::ALL,
            asked: Asked::of(connect),
            send_maximum: 1,
            rare: None,
        }
    }

    /// The server's end takes the client's word.
    pub(crate) fn take_connect(&mut self, connect: &Connect<'_>) {
        (self.version, self.version_known) = (connect.version, true);
        self.peer_packet_size = connect.properties.maximum_packet_size().unwrap_or(u32::MAX);
        // v5 [MQTT-3.1.2-26], v5 [MQTT-3.1.2-27]: absent means none.
        self.peer_alias_maximum = connect.properties.topic_alias_maximum().unwrap_or(0);
        self.send_maximum = connect.properties.receive_maximum().unwrap_or(u16::MAX);
        self.asked = Asked::of(connect);
    }

    /// The server's end has decided. v5 [X5-SESS-2]: all of this is of the connection, none of the session.
    pub(crate) fn accept(&mut self, config: &ServerConfig) {
        self.receive_maximum = borne(config);
        // v5 [MQTT-3.3.2-12]: from 1 to what is announced.
        self.alias_maximum = config.topic_alias_maximum;
        self.automatic_aliases = config.topic_alias_maximum_outgoing.min(self.peer_alias_maximum);
        self.offer = Offer::of_server(config);
        // v5 [MQTT-4.9.0-1], v5 [MQTT-3.3.4-9]: between 1 and the client's Receive Maximum.
        self.send_maximum = self.send_maximum.min(config.maximum_inflight);
    }

    /// The client's end takes the server's word.
    pub(crate) fn take_connack(&mut self, connack: &Connack<'_>) {
        let properties = connack.properties;
        self.peer_packet_size = properties.maximum_packet_size().unwrap_or(u32::MAX);
        // v5 [MQTT-3.2.2-17], v5 [MQTT-3.2.2-18]: absent means none.
        self.peer_alias_maximum = properties.topic_alias_maximum().unwrap_or(0);
        self.automatic_aliases = self.automatic_aliases.min(self.peer_alias_maximum);
        self.offer = Offer {
            maximum_qos: match properties.maximum_qos() {
                None => Qos::ExactlyOnce,
                Some(true) => Qos::AtLeastOnce,
                Some(false) => Qos::AtMostOnce,
            },
            retain: properties.retain_available().unwrap_or(true),
            wildcards: properties.wildcard_subscription_available().unwrap_or(true),
            subscription_ids: properties.subscription_identifier_available().unwrap_or(true),
            shared: properties.shared_subscription_available().unwrap_or(true),
        };
        if let Some(words) = Words::of(properties) {
            self.rare_mut().words = words;
        }
        // v5 [MQTT-4.9.0-1], v5 [MQTT-3.3.4-7]: between 1 and the server's Receive Maximum.
        self.send_maximum = properties.receive_maximum().unwrap_or(u16::MAX);
    }

    /// What few connections have, made when it is first needed.
    pub(crate) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// The authentication exchange, if CONNECT began one.
    pub(crate) fn exchange(&self) -> Option<&Exchange> {
        self.rare.as_ref()?.exchange.as_ref()
    }

    pub(crate) fn exchange_mut(&mut self) -> Option<&mut Exchange> {
        self.rare.as_mut()?.exchange.as_mut()
    }

    /// What was agreed on, as the host sees it.
    pub(crate) fn terms(&self, keep_alive: u16) -> Terms<'_> {
        let words = self.rare.as_ref().map(|rare| &rare.words);
        let text = |of: fn(&Words) -> &Option<Box<str>>| words.and_then(|words| of(words).as_deref());
        Terms {
            keep_alive,
            receive_maximum: self.send_maximum,
            maximum_packet_size: self.peer_packet_size,
            topic_alias_maximum: self.peer_alias_maximum,
            maximum_qos: self.offer.maximum_qos,
            retain_available: self.offer.retain,
            wildcard_subscription_available: self.offer.wildcards,
            subscription_identifiers_available: self.offer.subscription_ids,
            shared_subscription_available: self.offer.shared,
            session_expiry_interval: words.and_then(|words| words.session_expiry),
            assigned_client_id: text(|words| &words.client_id),
            response_information: text(|words| &words.response_information),
            server_reference: text(|words| &words.server_reference),
        }
    }

    /// Whether an outgoing message may have an alias.
    pub(crate) fn gives_aliases(&self) -> bool {
        self.peer_alias_maximum > 0 && (self.automatic_aliases > 0 || self.rare.is_some())
    }

    /// Remembers what a client published and does not send. A server has no tokens, and remembers nothing.
    #[cold]
    pub(crate) fn note_dropped(&mut self, token: PublishToken, why: DropReason) {
        /// Whoever never asks does not gather more than this.
        const MOST: usize = 1024;
        if self.role == Role::Client && self.rare_mut().dropped.len() < MOST {
            self.rare_mut().dropped.push_back((token, why));
        }
    }

    pub(crate) fn pop_dropped(&mut self) -> Option<(PublishToken, DropReason)> {
        self.rare.as_mut()?.dropped.pop_front()
    }

    /// Heap bytes held.
    pub(crate) fn memory(&self) -> usize {
        self.rare.as_ref().map_or(0, |rare| rare.memory())
    }

    /// Whether the peer serves a message of `qos` and `retain`.
    ///
    /// v5 [MQTT-3.2.2-11], v5 [MQTT-3.2.2-14]: a client does not publish what the server said it does not serve.
    pub(crate) fn may_send(&self, qos: Qos, retain: bool) -> bool {
        self.role == Role::Server || (qos <= self.offer.maximum_qos && (self.offer.retain || !retain))
    }

    /// Whether the peer takes packets of any size.
    pub(crate) fn takes_all(&self) -> bool {
        self.peer_packet_size == u32::MAX
    }

    /// Whether the peer takes a packet of `size` bytes.
    pub(crate) fn fits(&self, size: usize) -> bool {
        u32::try_from(size).is_ok_and(|size| size <= self.peer_packet_size)
    }
}

impl Asked {
    fn of(connect: &Connect<'_>) -> Self {
        let properties = connect.properties;
        Self {
            keep_alive: connect.keep_alive,
            clean_start: connect.clean_start,
            problem_information: properties.request_problem_information().unwrap_or(true),
            response_information: properties.request_response_information().unwrap_or(false),
            // v5 [X5-CON-1]: absent means 0.
            no_expiry: properties.session_expiry_interval().unwrap_or(0) == 0,
        }
    }
}

/// Unfinished messages that a server bears.
fn borne(config: &ServerConfig) -> u16 {
    config.receive_maximum.max(1).saturating_add(config.receive_maximum_tolerance)
}

/// The send quota: how many more QoS 1 and 2 messages may be begun (section 4.9). Closed while there is no connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    start: u16,
    left: u16,
}

impl Window {
    /// At least 1.
    pub(crate) fn new(start: u16) -> Self {
        let start = start.max(1);
        Self { start, left: start }
    }

    pub(crate) fn start(&self) -> u16 {
        self.start
    }

    pub(crate) fn left(&self) -> u16 {
        self.left
    }

    /// v5 [MQTT-4.9.0-2]: at zero no more are sent.
    pub(crate) fn is_open(&self) -> bool {
        self.left > 0
    }

    pub(crate) fn take(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// v5 [X5-ACK-4]: never above where it started.
    pub(crate) fn give(&mut self) {
        self.left = self.left.saturating_add(1).min(self.start);
    }
}
