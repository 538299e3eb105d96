//! The tables `[limits]` and `[offer]`: how much the broker holds, and what its clients are offered.

use mqtt_broker_core::{
    Config, Flapping, OverRate, Overflow, Overlap, PublishRates, Rate, SharedRule, Strategy, Versions,
};
use mqtt_codec::Qos;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::time::Duration;

/// How much the broker holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    max_connections: NonZeroUsize,
    max_handshakes: NonZeroUsize,
    max_sessions: NonZeroUsize,
    max_client_id: NonZeroUsize,
    max_subscriptions: usize,
    max_subscriptions_total: usize,
    max_held_bytes: usize,
    max_bans: usize,
    max_groups: usize,
    max_handovers: u8,
    max_topic_levels: NonZeroUsize,
    min_wildcard_level: usize,
    max_packet_size: NonZeroU32,
    max_connect_size: NonZeroU32,
    max_user_properties: usize,
    connect_timeout_s: NonZeroU32,
    min_keep_alive_s: u16,
    max_keep_alive_s: Option<NonZeroU16>,
    max_session_expiry_s: u32,
    session_expiry_v3_s: u32,
    message_expiry_s: Option<u32>,
    max_message_expiry_s: Option<u32>,
    receive_maximum: NonZeroU16,
    receive_maximum_tolerance: u16,
    topic_alias_maximum: u16,
    topic_alias_maximum_outgoing: u16,
    max_inflight: NonZeroU16,
    client_messages_per_s: Option<NonZeroU32>,
    client_bytes_per_s: Option<NonZeroU32>,
    over_rate: OverRateName,
    address_connections_per_s: Option<NonZeroU32>,
    admissions_per_s: Option<NonZeroU32>,
    queue_messages: usize,
    queue_bytes: usize,
    total_queue_bytes: usize,
    overflow: OverflowName,
    queue_qos0_offline: bool,
    max_retained: usize,
    max_retained_payload: usize,
    max_retained_bytes: usize,
    max_unstored_bytes: usize,
    high_water: NonZeroUsize,
    stall_after_ms: u32,
    decision_timeout_s: NonZeroU32,
}

/// What clients are offered.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Offer {
    versions: Served,
    strict_v31_client_id: bool,
    max_qos: HighestQos,
    retained: bool,
    wildcard_subscriptions: bool,
    subscription_identifiers: bool,
    shared_subscriptions: bool,
    share_by: ShareBy,
    share_by_group: BTreeMap<String, ShareBy>,
    overlap: OverlapName,
    check_payload_format: bool,
}

/// When a client identifier is banned for connecting again and again.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Flaps {
    connects: NonZeroU32,
    within_s: NonZeroU32,
    ban_s: NonZeroU32,
}

impl From<Flaps> for Flapping {
    fn from(flaps: Flaps) -> Self {
        let (within, ban_for) = (seconds(flaps.within_s), seconds(flaps.ban_s));
        Self { connects: flaps.connects.get(), within, ban_for }
    }
}

pub(super) fn seconds(seconds: NonZeroU32) -> Duration {
    Duration::from_secs(seconds.get().into())
}

/// A mirror in kebab case of one of the core's choices.
macro_rules! names {
    ($(#[$doc:meta])* $name:ident as $core:ident { $($variant:ident),* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        enum $name {
            $($variant),*
        }

        impl From<$name> for $core {
            fn from(name: $name) -> Self {
                match name {
                    $($name::$variant => Self::$variant),*
                }
            }
        }
    };
}

names!(OverflowName as Overflow { DropNewest, DropOldest, DropQos0, Disconnect });
names!(OverRateName as OverRate { Pause, Drop, Disconnect });
names!(OverlapName as Overlap { Merge, Each });
names!(ShareBy as Strategy { RoundRobin, Random, Sticky, HashClient, HashTopic, LeastInflight });

impl Default for Limits {
    fn default() -> Self {
        let core = Config::default();
        // no default of the core is zero where zero is refused
        let size = |limit: usize| NonZeroUsize::new(limit).unwrap_or(NonZeroUsize::MAX);
        let bytes = |limit: u32| NonZeroU32::new(limit).unwrap_or(NonZeroU32::MAX);
        let count = |limit: u16| NonZeroU16::new(limit).unwrap_or(NonZeroU16::MAX);
        let seconds = |time: Duration| bytes(u32::try_from(time.as_secs()).unwrap_or(u32::MAX));
        Self {
            max_connections: size(core.max_connections),
            max_handshakes: size(core.max_handshakes),
            max_sessions: size(core.max_sessions),
            max_client_id: size(core.max_client_id),
            max_subscriptions: core.max_subscriptions,
            max_subscriptions_total: core.max_subscriptions_total,
            max_held_bytes: core.max_held_bytes,
            max_bans: core.max_bans,
            max_groups: core.shared.max_groups,
            max_handovers: core.shared.max_handovers,
            max_topic_levels: size(core.max_topic_levels),
            min_wildcard_level: core.min_wildcard_level,
            max_packet_size: bytes(core.server.maximum_packet_size),
            max_connect_size: bytes(core.server.maximum_connect_size),
            max_user_properties: core.max_user_properties,
            connect_timeout_s: seconds(core.server.connect_timeout),
            min_keep_alive_s: core.server.minimum_keep_alive,
            max_keep_alive_s: core.server.maximum_keep_alive.and_then(NonZeroU16::new),
            max_session_expiry_s: core.max_session_expiry,
            session_expiry_v3_s: core.session_expiry_v3,
            message_expiry_s: core.message_expiry,
            max_message_expiry_s: core.max_message_expiry,
            receive_maximum: count(core.server.receive_maximum),
            receive_maximum_tolerance: core.server.receive_maximum_tolerance,
            topic_alias_maximum: core.server.topic_alias_maximum,
            topic_alias_maximum_outgoing: core.server.topic_alias_maximum_outgoing,
            max_inflight: count(core.server.maximum_inflight),
            client_messages_per_s: None,
            client_bytes_per_s: None,
            over_rate: OverRateName::Pause,
            address_connections_per_s: None,
            admissions_per_s: None,
            queue_messages: core.queue.messages,
            queue_bytes: core.queue.bytes,
            total_queue_bytes: core.max_queued_bytes,
            overflow: OverflowName::DropNewest,
            queue_qos0_offline: core.queue_qos0_offline,
            max_retained: core.max_retained,
            max_retained_payload: core.max_retained_payload,
            max_retained_bytes: core.max_retained_bytes,
            max_unstored_bytes: core.max_unstored_bytes,
            high_water: size(core.high_water),
            stall_after_ms: u32::try_from(core.stall_after.as_millis()).unwrap_or(u32::MAX),
            decision_timeout_s: seconds(core.decision_timeout),
        }
    }
}

impl Limits {
    pub(super) fn apply(self, core: &mut Config) {
        let rate = |per_second: Option<NonZeroU32>| per_second.map(|count| Rate::per_second(count.get()));
        core.max_connections = self.max_connections.get();
        core.max_handshakes = self.max_handshakes.get();
        core.max_sessions = self.max_sessions.get();
        core.max_client_id = self.max_client_id.get();
        core.max_subscriptions = self.max_subscriptions;
        core.max_subscriptions_total = self.max_subscriptions_total;
        core.max_held_bytes = self.max_held_bytes;
        core.max_bans = self.max_bans;
        core.shared.max_groups = self.max_groups;
        core.shared.max_handovers = self.max_handovers;
        core.max_topic_levels = self.max_topic_levels.get();
        core.min_wildcard_level = self.min_wildcard_level;
        core.server.maximum_packet_size = self.max_packet_size.get();
        core.server.maximum_connect_size = self.max_connect_size.get();
        core.max_user_properties = self.max_user_properties;
        core.server.connect_timeout = seconds(self.connect_timeout_s);
        core.server.minimum_keep_alive = self.min_keep_alive_s;
        core.server.maximum_keep_alive = self.max_keep_alive_s.map(NonZeroU16::get);
        core.max_session_expiry = self.max_session_expiry_s;
        core.session_expiry_v3 = self.session_expiry_v3_s;
        core.message_expiry = self.message_expiry_s;
        core.max_message_expiry = self.max_message_expiry_s;
        core.server.receive_maximum = self.receive_maximum.get();
        core.server.receive_maximum_tolerance = self.receive_maximum_tolerance;
        core.server.topic_alias_maximum = self.topic_alias_maximum;
        core.server.topic_alias_maximum_outgoing = self.topic_alias_maximum_outgoing;
        core.server.maximum_inflight = self.max_inflight.get();
        core.client_rates =
            PublishRates { messages: rate(self.client_messages_per_s), bytes: rate(self.client_bytes_per_s) };
        core.over_rate = self.over_rate.into();
        core.address_rate = rate(self.address_connections_per_s);
        core.admission_rate = rate(self.admissions_per_s);
        core.queue.messages = self.queue_messages;
        core.queue.bytes = self.queue_bytes;
        core.max_queued_bytes = self.total_queue_bytes;
        core.overflow = self.overflow.into();
        core.queue_qos0_offline = self.queue_qos0_offline;
        core.max_retained = self.max_retained;
        core.max_retained_payload = self.max_retained_payload;
        core.max_retained_bytes = self.max_retained_bytes;
        core.max_unstored_bytes = self.max_unstored_bytes;
        core.high_water = self.high_water.get();
        core.stall_after = Duration::from_millis(self.stall_after_ms.into());
        core.decision_timeout = seconds(self.decision_timeout_s);
    }
}

impl Default for Offer {
    fn default() -> Self {
        let core = Config::default();
        Self {
            versions: Served(core.versions),
            strict_v31_client_id: core.strict_v31_client_id,
            max_qos: HighestQos(core.server.maximum_qos),
            retained: core.server.retain_available,
            wildcard_subscriptions: core.server.wildcard_subscription_available,
            subscription_identifiers: core.server.subscription_identifiers_available,
            shared_subscriptions: core.server.shared_subscription_available,
            share_by: ShareBy::RoundRobin,
            share_by_group: BTreeMap::new(),
            overlap: OverlapName::Merge,
            check_payload_format: core.check_payload_format,
        }
    }
}

impl Offer {
    pub(super) fn apply(self, core: &mut Config) {
        core.versions = self.versions.0;
        core.strict_v31_client_id = self.strict_v31_client_id;
        core.server.maximum_qos = self.max_qos.0;
        core.server.retain_available = self.retained;
        core.server.wildcard_subscription_available = self.wildcard_subscriptions;
        core.server.subscription_identifiers_available = self.subscription_identifiers;
        core.server.shared_subscription_available = self.shared_subscriptions;
        core.shared.strategy = self.share_by.into();
        let rule = |(group, strategy): (String, ShareBy)| SharedRule::group(group, strategy.into());
        core.shared.rules = self.share_by_group.into_iter().map(rule).collect();
        core.overlap = self.overlap.into();
        core.check_payload_format = self.check_payload_format;
    }
}

/// The highest QoS, as a number.
#[derive(Clone, Copy, Debug)]
pub(super) struct HighestQos(pub(super) Qos);

impl<'de> Deserialize<'de> for HighestQos {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = u8::deserialize(from)?;
        let qos = Qos::new(number).ok_or_else(|| D::Error::custom(format!("`{number}` is no QoS: 0, 1 or 2")))?;
        Ok(Self(qos))
    }
}

/// The versions that are served, as a list of their names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Served(pub(super) Versions);

impl<'de> Deserialize<'de> for Served {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut versions = Versions { v31: false, v311: false, v5: false };
        let names = Vec::<String>::deserialize(from)?;
        if names.is_empty() {
            return Err(D::Error::custom("no version: nobody could connect"));
        }
        for name in names {
            match name.as_str() {
                "3.1" => versions.v31 = true,
                "3.1.1" => versions.v311 = true,
                "5.0" => versions.v5 = true,
                _ => {
                    return Err(D::Error::custom(format!("`{name}` is no version: \"3.1\", \"3.1.1\" or \"5.0\"")));
                }
            }
        }
        Ok(Self(versions))
    }
}
