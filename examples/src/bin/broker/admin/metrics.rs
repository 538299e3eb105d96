//! The counters, as Prometheus reads them.

use super::Counters;
use mqtt_broker_core::Limit;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// All of them as a text.
pub(super) fn metrics(counters: &Counters) -> Result<String, std::fmt::Error> {
    let Counters { stats, transport_errors, accept_failures, decisions, store } = counters;
    let mut registry = Registry::with_prefix("mqtt");
    let now = [
        ("connections", "Connections, those before CONNECT included", stats.connections),
        ("clients", "Clients connected", stats.connected),
        ("sessions", "Sessions, connected or not", stats.sessions),
        ("subscriptions", "Subscriptions", stats.subscriptions),
        ("retained_messages", "Retained messages", stats.retained),
        ("retained_bytes", "Bytes of retained messages", stats.retained_bytes),
        ("queued_bytes", "Bytes of messages that wait in sessions", stats.queued_bytes),
        ("held_bytes", "Bytes kept for clients beside messages", stats.held_bytes),
        ("unstored_bytes", "Bytes on their way to the store", stats.unstored_bytes),
    ];
    for (name, help, value) in now {
        registry.register(name, help, ConstGauge::new(u64::try_from(value).unwrap_or(u64::MAX)));
    }
    if let Some(health) = store {
        let failed = ConstGauge::new(u64::from(health.failed.is_some()));
        registry.register("store_failed", "1: nothing is stored any more, and nothing acknowledged", failed);
        let silence = ConstGauge::new(health.silence.as_secs());
        let help = "Seconds for which the store has had something to do and not answered";
        registry.register("store_silence_seconds", help, silence);
    }
    let totals = [
        ("packets_received", "Packets taken, of all types", stats.packets_in),
        ("bytes_received", "Bytes taken", stats.bytes_in),
        ("bytes_sent", "Bytes handed to transports", stats.bytes_out),
        ("messages_received", "PUBLISH packets taken", stats.messages_in),
        ("messages_sent", "Messages handed to sessions or sockets, one per subscriber", stats.messages_out),
        ("sessions_expired", "Sessions that expired", stats.sessions_expired),
        ("sessions_lost", "Sessions whose records are damaged or gone", stats.sessions_lost),
        ("protocol_errors", "Connections ended because the client broke a rule", stats.protocol_errors),
        ("refused", "Connections turned away before they were a client's, though they broke no rule", stats.refused),
        ("ended", "Clients disconnected by the broker though they broke no rule", stats.ended),
        ("transport_errors", "Connections ended because TLS, WebSocket or PROXY header was broken", *transport_errors),
        ("accept_failures", "Times the system had no further connection to give", *accept_failures),
    ];
    for (name, help, value) in totals {
        registry.register(name, help, ConstCounter::new(value));
    }
    let dropped = labelled(
        "reason",
        [
            ("queue_full", stats.dropped_full),
            ("too_large", stats.dropped_too_large),
            ("expired", stats.dropped_expired),
            ("denied", stats.dropped_denied),
            ("retained_full", stats.dropped_retained),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    registry.register("messages_dropped", "Messages that did not reach somebody, or were not kept", dropped);
    let refused = Limit::ALL.map(|limit| (snake_case(&format!("{limit:?}")), stats.limited(limit)));
    registry.register("refusals", "What was refused because a limit was met", labelled("limit", refused));
    let asked = Family::<[(&'static str, &'static str); 2], Counter>::default();
    for (by, counts) in decisions {
        for (outcome, count) in counts {
            asked.get_or_create(&[("by", by), ("outcome", outcome)]).inc_by(*count);
        }
    }
    registry.register("decisions", "Questions about clients, by whom was asked and how they ended", asked);
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

type Labelled = Family<[(&'static str, String); 1], Counter>;

/// A counter with a value for each of several names.
fn labelled(label: &'static str, values: impl IntoIterator<Item = (String, u64)>) -> Labelled {
    let family = Labelled::default();
    for (name, value) in values {
        family.get_or_create(&[(label, name)]).inc_by(value);
    }
    family
}

/// `ConnectTimeout` as `connect_timeout`.
fn snake_case(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}
