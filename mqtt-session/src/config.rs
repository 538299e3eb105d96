//! What a server offers, and what it says when it accepts.
use core::time::Duration;
use mqtt_codec::{Property, Qos, Utf8};

/// What a server offers its clients; announced in CONNACK at 5.0 where it differs from the default, and enforced.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// How long a connection may stay without a whole CONNECT, and a client may take for each step of its authentication. Default 10 s.
    pub connect_timeout: Duration,
    /// The largest packet taken, bytes with fixed header. Default 1 MiB.
    pub maximum_packet_size: u32,
    /// The largest CONNECT taken, bytes. Default 64 KiB.
    pub maximum_connect_size: u32,
    /// Unfinished incoming QoS 1 and 2 messages per connection. Default 1,024. Enforced at every version (0x93 at 5.0).
    pub receive_maximum: u16,
    /// How many more than that are borne from a client that does not keep to it, before it is disconnected. Default 0: none.
    pub receive_maximum_tolerance: u16,
    /// Topic aliases a client may set. Default 16. Their names together may take 4,096 bytes for each (0x97 beyond).
    pub topic_alias_maximum: u16,
    /// Topic aliases that are set for a client by themselves, if its own Topic Alias Maximum allows for any: those of the topics that
    /// were used last. Each costs memory for its topic and about 100 bytes. Default 0: none.
    pub topic_alias_maximum_outgoing: u16,
    /// The highest QoS a client may publish. Default 2.
    pub maximum_qos: Qos,
    /// Whether retained messages are kept. Default true.
    pub retain_available: bool,
    /// Default true.
    pub wildcard_subscription_available: bool,
    /// Default true.
    pub subscription_identifiers_available: bool,
    /// Default true.
    pub shared_subscription_available: bool,
    /// Unacknowledged QoS 1 and 2 messages on their way to one client, at most (its Receive Maximum may be lower). Default 256.
    pub maximum_inflight: u16,
    /// The longest keep alive granted, seconds; a client that asks for more, or for none, gets this (Server Keep Alive at 5.0). `None`: as asked. Default `None`.
    pub maximum_keep_alive: Option<u16>,
    /// The shortest keep alive granted, seconds; a client that asks for less (other than none) gets this (Server Keep Alive at 5.0; before 5.0 its
    /// silence is borne as long). Default 0: as asked.
    pub minimum_keep_alive: u16,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            maximum_packet_size: 1 << 20,
            maximum_connect_size: 1 << 16,
            receive_maximum: 1024,
            receive_maximum_tolerance: 0,
            topic_alias_maximum: 16,
            topic_alias_maximum_outgoing: 0,
            maximum_qos: Qos::ExactlyOnce,
            retain_available: true,
            wildcard_subscription_available: true,
            subscription_identifiers_available: true,
            shared_subscription_available: true,
            maximum_inflight: 256,
            maximum_keep_alive: None,
            minimum_keep_alive: 0,
        }
    }
}

/// What a client's end does beside what its CONNECT says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// How long CONNACK, or the server's next AUTH, is waited for. Default 10 s.
    pub connack_timeout: Duration,
    /// How long PINGRESP is waited for, beginning anew with whatever else the server sends meanwhile. `None`: as long as the keep alive. Default `None`.
    pub ping_timeout: Option<Duration>,
    /// The largest packet taken before 5.0, bytes with fixed header (5.0 has Maximum Packet Size in CONNECT). Default 256 MiB, all there is.
    pub maximum_packet_size: u32,
    /// Topic aliases that are set by themselves, if the server's Topic Alias Maximum allows for any: those of the topics that were
    /// used last. Default 0: none.
    pub topic_alias_maximum_outgoing: u16,
    /// Whether [`Event::Publish`](crate::Event::Publish) waits for [`acknowledge`](crate::Connection::acknowledge). Default false.
    pub manual_acknowledgement: bool,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            connack_timeout: Duration::from_secs(10),
            ping_timeout: None,
            maximum_packet_size: u32::MAX,
            topic_alias_maximum_outgoing: 0,
            manual_acknowledgement: false,
        }
    }
}

/// What the CONNACK that accepts a client says beside what [`ServerConfig`] announces.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accept<'a> {
    /// Whether a stored session goes on.
    pub session_present: bool,
    /// For a client that sent an empty client id at 5.0.
    pub assigned_client_id: Option<Utf8<'a>>,
    /// The Session Expiry Interval in force, seconds, if it is not what the client asked for.
    pub session_expiry_interval: Option<u32>,
    /// What the authentication exchange ends with, for a client that named a method; the method goes with it by itself.
    pub authentication_data: Option<&'a [u8]>,
    /// Further properties (User Property, Response Information, ...).
    pub properties: &'a [Property<'a>],
}

/// How much may wait in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Messages, queued and in flight together.
    pub messages: usize,
    /// Bytes of those messages, shared or not.
    pub bytes: usize,
}
