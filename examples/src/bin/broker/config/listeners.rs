//! The key `listen`: where to listen, and what is different for those who come in there.

use super::HowDurable;
use super::limits::{HighestQos, Served, seconds};
use crate::transport::TlsFiles;
use mqtt_broker_core::session::ServerConfig;
use mqtt_broker_core::{Config, ListenerConfig, PublishRates, Rate};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;

/// A socket to listen on. What is left out is as everywhere.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listener {
    /// Where.
    #[serde(deserialize_with = "address")]
    pub(crate) address: Address,
    /// MQTT in WebSocket frames.
    #[serde(default)]
    pub(crate) websocket: bool,
    /// A proxy stands before it and says where each client comes from.
    #[serde(default)]
    pub(crate) proxy_protocol: bool,
    /// Certificates, if it is under TLS.
    pub(crate) tls: Option<TlsFiles>,
    /// What is written about clients without a password.
    pub(crate) allow_anonymous: Option<bool>,
    /// Who may connect here.
    pub(crate) password_file: Option<PathBuf>,
    /// Who may do what here.
    pub(crate) acl_file: Option<PathBuf>,
    /// Whether the hook is asked about its clients.
    hook: Option<bool>,
    versions: Option<Served>,
    max_connections: Option<NonZeroUsize>,
    connections_per_s: Option<NonZeroU32>,
    messages_per_s: Option<NonZeroU32>,
    bytes_per_s: Option<NonZeroU32>,
    client_messages_per_s: Option<NonZeroU32>,
    client_bytes_per_s: Option<NonZeroU32>,
    max_packet_size: Option<NonZeroU32>,
    max_connect_size: Option<NonZeroU32>,
    connect_timeout_s: Option<NonZeroU32>,
    min_keep_alive_s: Option<u16>,
    max_keep_alive_s: Option<NonZeroU16>,
    receive_maximum: Option<NonZeroU16>,
    topic_alias_maximum: Option<u16>,
    topic_alias_maximum_outgoing: Option<u16>,
    max_inflight: Option<NonZeroU16>,
    max_qos: Option<HighestQos>,
    retained: Option<bool>,
    wildcard_subscriptions: Option<bool>,
    subscription_identifiers: Option<bool>,
    shared_subscriptions: Option<bool>,
    durability: Option<HowDurable>,
}

impl Listener {
    /// A listener that has no rule of its own.
    pub(crate) fn new(address: Address) -> Self {
        Self { address, ..Self::default() }
    }

    /// Whether the hook is asked about its clients.
    pub(crate) fn asks_hook(&self) -> bool {
        self.hook.unwrap_or(true)
    }

    /// What the core is told of it, where `everywhere` is what holds for all; nothing if nothing is different.
    pub(super) fn own(&self, everywhere: &Config) -> Option<ListenerConfig> {
        let rate = |per_second: Option<NonZeroU32>| per_second.map(|count| Rate::per_second(count.get()));
        let of_clients = [rate(self.client_messages_per_s), rate(self.client_bytes_per_s)];
        let of_all = [rate(self.messages_per_s), rate(self.bytes_per_s)];
        let mut own = ListenerConfig::default();
        own.versions = self.versions.map(|Served(versions)| versions);
        own.server = self.server(&everywhere.server);
        own.max_connections = self.max_connections.map(NonZeroUsize::get);
        own.connection_rate = rate(self.connections_per_s);
        own.client_rates = of_clients.iter().any(Option::is_some).then(|| PublishRates {
            messages: of_clients[0].or(everywhere.client_rates.messages),
            bytes: of_clients[1].or(everywhere.client_rates.bytes),
        });
        own.publish_rates = PublishRates { messages: of_all[0], bytes: of_all[1] };
        own.durability = self.durability.map(Into::into);
        let is_different = own.versions.is_some()
            || own.durability.is_some()
            || own.server.is_some()
            || own.max_connections.is_some()
            || own.connection_rate.is_some()
            || own.client_rates.is_some()
            || of_all.iter().any(Option::is_some);
        is_different.then_some(own)
    }

    /// What its clients are offered, if it is something else than everywhere.
    fn server(&self, everywhere: &ServerConfig) -> Option<ServerConfig> {
        let mut server = everywhere.clone();
        let changes = [
            set(&mut server.maximum_packet_size, self.max_packet_size.map(NonZeroU32::get)),
            set(&mut server.maximum_connect_size, self.max_connect_size.map(NonZeroU32::get)),
            set(&mut server.connect_timeout, self.connect_timeout_s.map(seconds)),
            set(&mut server.minimum_keep_alive, self.min_keep_alive_s),
            set(&mut server.maximum_keep_alive, self.max_keep_alive_s.map(|longest| Some(longest.get()))),
            set(&mut server.receive_maximum, self.receive_maximum.map(NonZeroU16::get)),
            set(&mut server.topic_alias_maximum, self.topic_alias_maximum),
            set(&mut server.topic_alias_maximum_outgoing, self.topic_alias_maximum_outgoing),
            set(&mut server.maximum_inflight, self.max_inflight.map(NonZeroU16::get)),
            set(&mut server.maximum_qos, self.max_qos.map(|HighestQos(qos)| qos)),
            set(&mut server.retain_available, self.retained),
            set(&mut server.wildcard_subscription_available, self.wildcard_subscriptions),
            set(&mut server.subscription_identifiers_available, self.subscription_identifiers),
            set(&mut server.shared_subscription_available, self.shared_subscriptions),
        ];
        changes.contains(&true).then_some(server)
    }
}

/// Puts in `own` if it was written; whether it was.
fn set<T>(place: &mut T, own: Option<T>) -> bool {
    own.map(|own| *place = own).is_some()
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// IP address and port.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl Default for Address {
    fn default() -> Self {
        Self::Tcp((Ipv4Addr::LOCALHOST, 1883).into())
    }
}

impl Address {
    /// Whether nobody but this machine can connect.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => IpAddr::to_canonical(&address.ip()).is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Address {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some("") => Err(format!("`{text}` names no file, as in unix:/run/mqtt.sock")),
            Some(_) if cfg!(not(unix)) => Err(format!("`{text}`: there are no unix sockets here")),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Tcp).map_err(|_| {
                format!("`{text}` is no IP address with a port, such as 127.0.0.1:1883 or [::]:1883, and no unix:/path")
            }),
        }
    }
}

/// A listener as it may be written: an address, or a table.
#[derive(Debug)]
pub(super) struct Listen(pub(super) Listener);

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct AddressOrTable;
        impl<'de> Visitor<'de> for AddressOrTable {
            type Value = Listener;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address such as \"127.0.0.1:1883\", or a table with `address`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Listener, E> {
                parse_address(text).map(Listener::new)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Listener, A::Error> {
                let listener = Listener::deserialize(MapAccessDeserializer::new(map))?;
                if listener.proxy_protocol && matches!(listener.address, Address::Unix(_)) {
                    return Err(A::Error::custom("`proxy_protocol` is for IP addresses, not for unix sockets"));
                }
                Ok(listener)
            }
        }
        from.deserialize_any(AddressOrTable).map(Self)
    }
}

pub(super) fn listeners<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Listen>, D::Error> {
    let listeners = Vec::<Listen>::deserialize(from)?;
    if listeners.is_empty() {
        return Err(D::Error::custom("nowhere to listen: nobody could connect"));
    }
    Ok(listeners)
}

fn address<'de, D: Deserializer<'de>>(from: D) -> Result<Address, D::Error> {
    parse_address(&String::deserialize(from)?)
}

fn parse_address<E: Error>(text: &str) -> Result<Address, E> {
    text.parse().map_err(E::custom)
}
