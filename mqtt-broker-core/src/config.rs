//! What a broker offers and how much it holds: every limit is finite by default.
use crate::{Durability, EventMask, Flapping, OverRate, PublishRates, Rate, SharedConfig};
use alloc::collections::BTreeMap;
use core::time::Duration;
use mqtt_session::codec::Profile;
use mqtt_session::{QueueLimits, ServerConfig};

/// The settings of a [`Broker`](crate::Broker).
///
/// ```
/// let mut config = mqtt_broker_core::Config::default();
/// config.max_connections = 200;
/// config.queue.messages = 100;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// What clients are offered: packet sizes, Receive Maximum, keep alive, QoS.
    pub server: ServerConfig,
    /// Connections at once. Default 10,000.
    pub max_connections: usize,
    /// Connections at once that have not finished CONNECT. Default 1,000.
    pub max_handshakes: usize,
    /// Sessions, connected or not. Default 100,000.
    pub max_sessions: usize,
    /// Clients of the embedding program. Default 1,000.
    pub max_local_clients: usize,
    /// Bans. Default 10,000.
    pub max_bans: usize,
    /// Bytes of a client identifier. Default 1,024.
    pub max_client_id: usize,
    /// Whether MQTT 3.1 clients must keep to 1 to 23 characters of client identifier ([X31-CON-2]). Default true.
    pub strict_v31_client_id: bool,
    /// Which versions are served: 3.1, 3.1.1, 5.0. Default all.
    pub versions: Versions,
    /// Subscriptions of one session. Default 1,000.
    pub max_subscriptions: usize,
    /// Subscriptions of all sessions together. Default 1,000,000.
    pub max_subscriptions_total: usize,
    /// Bytes that clients may have the broker keep beside messages queued and retained, together: the filters of their
    /// subscriptions (and their own names for those that the policy rewrote), their wills, and requests that wait for a
    /// decision. Default 256 MiB. What is over it is refused: a filter and a client with a will by 0x97, a request that would
    /// wait is denied so at once.
    pub max_held_bytes: usize,
    /// The first level on which a filter may have a wildcard, counted from 0: with 1, `#` and `+/a` are refused (0x8F).
    /// Default 0.
    pub min_wildcard_level: usize,
    /// What a session gets that matches a message by several subscriptions. Default: one copy.
    pub overlap: Overlap,
    /// The expiry of messages whose publisher gave none, in seconds. Default: none.
    pub message_expiry: Option<u32>,
    /// The longest message expiry, in seconds; messages without one get it too. Default: any. Neither is for what the
    /// embedding program publishes.
    pub max_message_expiry: Option<u32>,
    /// User Properties of one message or will (0x97). Default 100.
    pub max_user_properties: usize,
    /// How packets are read otherwise than by default, for old or strange clients; it costs a second pass over strings and
    /// lists. Default: `None`.
    pub profile: Option<Profile>,
    /// Whether a payload that says that it is UTF-8 text is looked at, and refused (0x99) if it is not. Default false.
    pub check_payload_format: bool,
    /// Levels of a topic name or filter. Default 128.
    pub max_topic_levels: usize,
    /// Messages and bytes waiting in one session. Default 10,000 messages, 16 MiB.
    pub queue: QueueLimits,
    /// Bytes waiting in all sessions together; a message counts once per session. Default 1 GiB.
    pub max_queued_bytes: usize,
    /// How fast each client may publish. Default: as it likes.
    pub client_rates: PublishRates,
    /// What happens to a client that publishes faster. Default: it is not read until it may go on.
    pub over_rate: OverRate,
    /// Connections from one address (of IPv6: from one /64), also one that [`set_peer`](crate::Broker::set_peer) tells. Default: any
    /// number.
    pub address_rate: Option<Rate>,
    /// Clients let in, over all: what protects a broker that was just started from all its clients at once. Default: any number.
    pub admission_rate: Option<Rate>,
    /// When a client identifier that connects again and again is banned for a time. Default: never.
    pub flapping: Option<Flapping>,
    /// What is different for the connections of a listener, by the number in [`Peer::listener`](crate::Peer::listener).
    pub listeners: BTreeMap<u32, ListenerConfig>,
    /// What happens to a session whose queue is full. Default: the newest message is dropped.
    pub overflow: Overflow,
    /// Whether QoS 0 messages are kept for a session that is not connected. Default false.
    pub queue_qos0_offline: bool,
    /// Retained messages. Default 100,000.
    pub max_retained: usize,
    /// Payload bytes of one retained message; a larger one is forwarded and not kept. Default 1 MiB.
    pub max_retained_payload: usize,
    /// Bytes of retained messages, their names counted as often as they are kept. Default 256 MiB.
    pub max_retained_bytes: usize,
    /// The longest session expiry granted, in seconds; `u32::MAX` is for ever. Default: 7 days, so that sessions that nobody
    /// comes back for cannot fill `max_sessions` for good.
    pub max_session_expiry: u32,
    /// The expiry of sessions of MQTT 3.1 and 3.1.1 clients that keep them, in seconds; `u32::MAX` is for ever, as these
    /// versions have it. Default: 7 days, for the same reason. `max_session_expiry` holds for them too.
    pub session_expiry_v3: u32,
    /// Unsent bytes of one connection above which what comes for it waits, and those who publish to it are paused. Default 64 KiB.
    pub high_water: usize,
    /// How long a socket may take less than a sixteenth of `high_water` before it no longer pauses those who publish to it.
    /// Default 100 ms.
    pub stall_after: Duration,
    /// How shared subscriptions share.
    pub shared: SharedConfig,
    /// How long a deferred decision may take before it counts as denied. Default 10 s.
    pub decision_timeout: Duration,
    /// How often the `$SYS` topics are published, if at all. Default: never.
    ///
    /// `$SYS/broker/version`, `uptime`, `clients/total`, `clients/connected`, `clients/disconnected`, `clients/maximum`,
    /// `clients/expired`, `messages/received`, `publish/messages/received`, `publish/messages/sent`,
    /// `publish/messages/dropped`, `bytes/received`, `bytes/sent`, `retained messages/count`, `subscriptions/count` and
    /// `store/messages/bytes` mean what they mean in mosquitto. They are retained, published only when they have changed, and
    /// pass the [`Policy`](crate::Policy) as messages of the embedding program.
    pub sys_interval: Option<Duration>,
    /// What becomes of sessions when the process ends, where neither listener nor [`Terms`](crate::Terms) say otherwise. Default: they end too.
    ///
    /// Retained messages, wills that wait for the policy and bans are recorded if this or that of any listener is not
    /// [`Durability::None`]; else nothing is recorded at all, whatever `Terms` say.
    pub durability: Durability,
    /// Bytes that are given out to be stored and not [stored](crate::Broker::stored) yet, and of answers that wait for that, about: beyond them, clients that change something that is recorded are not
    /// read, and new ones turned away. Default 64 MiB.
    pub max_unstored_bytes: usize,
    /// Which events are reported. Default: all but those per message.
    pub events: EventMask,
}

/// What is different for the connections of one listener. `None` is as everywhere.
///
/// ```
/// use mqtt_broker_core::{Config, ListenerConfig, Rate, Versions};
///
/// let mut public = ListenerConfig::default();
/// public.versions = Some(Versions { v31: false, v311: true, v5: true });
/// public.max_connections = Some(1_000);
/// public.connection_rate = Some(Rate::per_second(50));
/// let mut config = Config::default();
/// config.listeners.insert(1, public); // those whose `Peer` says listener 1
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ListenerConfig {
    /// Which versions it serves.
    pub versions: Option<Versions>,
    /// What its clients are offered.
    pub server: Option<ServerConfig>,
    /// Its connections at once, within [`Config::max_connections`].
    pub max_connections: Option<usize>,
    /// Connections it takes.
    pub connection_rate: Option<Rate>,
    /// How fast each of its clients may publish.
    pub client_rates: Option<PublishRates>,
    /// How fast its clients may publish together.
    pub publish_rates: PublishRates,
    /// What becomes of its clients' sessions when the process ends.
    pub durability: Option<Durability>,
}

/// What happens to a message for a session whose queue is full. Each is counted and reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Overflow {
    /// The message that came last is dropped.
    #[default]
    DropNewest,
    /// The message that has waited longest (and was never sent) is dropped.
    DropOldest,
    /// The QoS 0 message that has waited longest makes room for one of QoS 1 or 2; where there is none, and for QoS 0, the
    /// message that came last is dropped.
    DropQos0,
    /// The client is disconnected (0x97); its session stays.
    Disconnect,
}

/// What a session gets that matches a message by several subscriptions (v5 section 3.3.4 allows both).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Overlap {
    /// One copy, at the highest QoS granted, with the identifiers of all of them.
    #[default]
    Merge,
    /// A copy for each of them, at its QoS and with its identifier.
    Each,
}

/// Which versions are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// MQTT 3.1.
    pub v31: bool,
    /// MQTT 3.1.1.
    pub v311: bool,
    /// MQTT 5.0.
    pub v5: bool,
}

impl Default for Versions {
    fn default() -> Self {
        Self { v31: true, v311: true, v5: true }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: ServerConfig::default(),
            max_connections: 10_000,
            max_handshakes: 1_000,
            max_sessions: 100_000,
            max_local_clients: 1_000,
            max_bans: 10_000,
            max_client_id: 1_024,
            strict_v31_client_id: true,
            versions: Versions::default(),
            max_subscriptions: 1_000,
            max_subscriptions_total: 1_000_000,
            max_held_bytes: 256 << 20,
            min_wildcard_level: 0,
            overlap: Overlap::default(),
            message_expiry: None,
            max_message_expiry: None,
            max_user_properties: 100,
            profile: None,
            check_payload_format: false,
            max_topic_levels: 128,
            queue: QueueLimits { messages: 10_000, bytes: 16 << 20 },
            max_queued_bytes: 1 << 30,
            client_rates: PublishRates::default(),
            over_rate: OverRate::default(),
            address_rate: None,
            admission_rate: None,
            flapping: None,
            listeners: BTreeMap::new(),
            overflow: Overflow::default(),
            queue_qos0_offline: false,
            max_retained: 100_000,
            max_retained_payload: 1 << 20,
            max_retained_bytes: 256 << 20,
            max_session_expiry: 7 * 24 * 3_600,
            session_expiry_v3: 7 * 24 * 3_600,
            high_water: 64 << 10,
            stall_after: Duration::from_millis(100),
            shared: SharedConfig::default(),
            decision_timeout: Duration::from_secs(10),
            sys_interval: None,
            durability: Durability::None,
            max_unstored_bytes: 64 << 20,
            events: EventMask::default(),
        }
    }
}

/// Why a configuration is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A limit that must be above zero is zero.
    #[error("`{0}` is 0: nobody could connect")]
    Zero(&'static str),
    /// No version is served.
    #[error("no version is served")]
    NoVersion,
}

impl Config {
    /// What the clients of a listener are offered.
    pub(crate) fn server_of(&self, listener: u32) -> &ServerConfig {
        self.listeners.get(&listener).and_then(|listener| listener.server.as_ref()).unwrap_or(&self.server)
    }

    /// Which versions a listener serves.
    pub(crate) fn versions_of(&self, listener: u32) -> Versions {
        self.listeners.get(&listener).and_then(|listener| listener.versions).unwrap_or(self.versions)
    }

    /// The expiry of a message whose publisher asked for this one.
    pub(crate) fn expiry_of_message(&self, asked: Option<u32>) -> Option<u32> {
        let wanted = asked.or(self.message_expiry);
        self.max_message_expiry.map_or(wanted, |most| Some(wanted.map_or(most, |wanted| wanted.min(most))))
    }

    /// Whether anything is recorded.
    pub(crate) fn records(&self) -> bool {
        let listeners = self.listeners.values().filter_map(|listener| listener.durability);
        listeners.chain([self.durability]).any(|durability| durability != Durability::None)
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let limits = [
            ("max_connections", self.max_connections),
            ("max_handshakes", self.max_handshakes),
            ("max_sessions", self.max_sessions),
            ("max_client_id", self.max_client_id),
            ("max_topic_levels", self.max_topic_levels),
            ("high_water", self.high_water),
        ];
        let servers = self.listeners.values().filter_map(|listener| listener.server.as_ref());
        let of_servers = core::iter::once(&self.server).chain(servers).flat_map(|server| {
            [
                ("server.receive_maximum", usize::from(server.receive_maximum)),
                ("server.maximum_packet_size", server.maximum_packet_size as usize),
                ("server.maximum_inflight", usize::from(server.maximum_inflight)),
            ]
        });
        let rates = [("address_rate", self.address_rate), ("admission_rate", self.admission_rate)]
            .into_iter()
            .chain([
                ("client_rates.messages", self.client_rates.messages),
                ("client_rates.bytes", self.client_rates.bytes),
            ])
            .chain(self.listeners.values().flat_map(|listener| {
                let own = listener.client_rates.unwrap_or_default();
                [
                    ("connection_rate", listener.connection_rate),
                    ("publish_rates.messages", listener.publish_rates.messages),
                    ("publish_rates.bytes", listener.publish_rates.bytes),
                    ("client_rates.messages", own.messages),
                    ("client_rates.bytes", own.bytes),
                ]
            }))
            .filter_map(|(name, rate)| Some((name, rate?.per_second as usize)));
        let mut all = limits.into_iter().chain(of_servers).chain(rates);
        if let Some((name, _)) = all.find(|(_, limit)| *limit == 0) {
            return Err(ConfigError::Zero(name));
        }
        if self.versions == (Versions { v31: false, v311: false, v5: false }) {
            return Err(ConfigError::NoVersion);
        }
        Ok(())
    }
}
