//! What a person reads on standard error: one line per event.

use mqtt_broker_core::{Cause, Event};
use mqtt_codec::{ReasonCode, Version};
use mqtt_session::ProtocolErrorKind;
use std::fmt;
use std::net::SocketAddr;
use tracing::{debug, info};

/// Starts logging, from `level` on.
pub(crate) fn start(level: tracing::Level) {
    // refused only if there is a subscriber already, and then that one serves
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(false)
        .try_init();
}

/// Logs an event. `peer` is where its connection comes from, if it has one.
///
/// Client identifiers and filters are the clients' own words: they are logged escaped.
pub(crate) fn report(event: &Event, peer: Option<SocketAddr>) {
    let peer = Peer(peer);
    match event {
        Event::Connected { client, version, session_present, .. } => {
            let session = if *session_present { "its session goes on" } else { "a new session" };
            info!("{peer} connected as {:?}, MQTT {}, {session}", client.as_str(), name(*version));
        }
        Event::Refused { cause, .. } => info!("{peer} refused: {}", Why(*cause)),
        Event::Disconnected { client, cause, .. } => {
            info!("{peer} disconnected, {:?}: {}", client.as_str(), Why(*cause))
        }
        Event::SessionEnded { client } => debug!("the session of {:?} ended", client.as_str()),
        Event::Subscribed { client, filter } => {
            debug!("{:?} subscribed to {filter:?}", client.as_str())
        }
        Event::Unsubscribed { client, filter } => {
            debug!("{:?} unsubscribed from {filter:?}", client.as_str())
        }
        Event::WillPublished { client } => {
            debug!("the will of {:?} was published", client.as_str())
        }
        Event::Dropped { client, why } => {
            debug!("a message was dropped, {:?}: {why:?}", client.as_ref().map(|client| client.as_str()))
        }
        other => debug!("{other:?}"),
    }
}

fn name(version: Version) -> &'static str {
    match version {
        Version::V31 => "3.1",
        Version::V311 => "3.1.1",
        Version::V5 => "5.0",
    }
}

/// Where a client comes from, for people.
pub(crate) struct Peer(pub(crate) Option<SocketAddr>);

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("a client"),
        }
    }
}

/// A cause in words.
struct Why(Cause);

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Cause::Goodbye(ReasonCode::SUCCESS) => f.write_str("it said goodbye"),
            Cause::Goodbye(reason) => write!(f, "it said goodbye, {reason:?}"),
            Cause::Lost => f.write_str("the connection was lost"),
            Cause::Ended(reason) => write!(f, "ended by the broker, {}", words(reason)),
            Cause::Protocol(error) => match error.kind {
                ProtocolErrorKind::KeepAlive => f.write_str("silent for longer than its keep alive"),
                ProtocolErrorKind::ConnectTimeout => f.write_str("no CONNECT in time"),
                ProtocolErrorKind::Decode(error) => write!(f, "it broke the protocol: {error}"),
                ProtocolErrorKind::Rule(rule, reason) => {
                    write!(f, "it broke the protocol: {rule}, {reason:?}")
                }
                other => write!(f, "it broke the protocol: {other:?}"),
            },
            other => write!(f, "{other:?}"),
        }
    }
}

/// The reasons a broker gives, for people.
fn words(reason: ReasonCode) -> String {
    let words = match reason {
        ReasonCode::UNSUPPORTED_PROTOCOL_VERSION => "its version is not served",
        ReasonCode::CLIENT_IDENTIFIER_NOT_VALID => "its client identifier is not taken",
        ReasonCode::BAD_USER_NAME_OR_PASSWORD => "bad user name or password",
        ReasonCode::NOT_AUTHORIZED => "not authorized",
        ReasonCode::SERVER_UNAVAILABLE => "not available",
        ReasonCode::SERVER_BUSY => "busy",
        ReasonCode::SERVER_SHUTTING_DOWN => "shutting down",
        ReasonCode::SESSION_TAKEN_OVER => "another connection took over its session",
        ReasonCode::QUOTA_EXCEEDED => "over its quota",
        _ => return format!("{reason:?}"),
    };
    format!("{words} ({reason:?})")
}
