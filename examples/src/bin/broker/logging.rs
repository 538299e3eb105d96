//! What is logged on standard error: a line for each event, for people, or as JSON for programs.
//!
//! In the text there is the message alone; in JSON its parts have names as well. No password and no payload comes here.

use mqtt_broker_core::{Cause, Event};
use mqtt_codec::ReasonCode;
use mqtt_session::ProtocolErrorKind;
use serde::Deserialize;
use std::fmt;
use std::net::SocketAddr;
use tracing::level_filters::LevelFilter;
use tracing::{Level, debug, info};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{format, layer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// For whom log lines are written.
#[derive(Clone, Copy, Debug, Default, Deserialize, clap::ValueEnum, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: an object for each line.
    Json,
}

/// Lines that may wait to be written. Whoever reads too slowly misses lines; the loop never waits.
const WAITING: usize = 8192;

/// Starts logging, from `level` on. What is followed is always logged: somebody has asked for it. What waits to be written is written
/// when the answer is dropped.
pub(crate) fn start(level: Level, format: LogFormat) -> WorkerGuard {
    let writer = NonBlockingBuilder::default().buffered_lines_limit(WAITING).lossy(true).thread_name("log");
    let (writer, guard) = writer.finish(std::io::stderr());
    let targets = Targets::new().with_default(level).with_target("trace", LevelFilter::INFO);
    let registry = tracing_subscriber::registry().with(targets);
    // refused only if there is a subscriber already, and then that one serves
    let _ = match format {
        LogFormat::Text => {
            let message = format::debug_fn(|writer, field, value| match field.name() {
                "message" => write!(writer, "{value:?}"),
                _ => Ok(()),
            });
            let lines = layer().with_writer(writer).with_target(false).with_ansi(false).fmt_fields(message);
            registry.with(lines).try_init()
        }
        LogFormat::Json => {
            let lines = layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
            registry.with(lines.with_writer(writer).with_target(false)).try_init()
        }
    };
    guard
}

/// Logs an event. `peer` is where its connection comes from, if it has one.
///
/// Client identifiers and filters are the clients' own words: they are logged escaped.
pub(crate) fn report(event: &Event, peer: Option<SocketAddr>) {
    let (from, peer) = (Peer(peer), peer.map(tracing::field::display));
    match event {
        Event::Connected { client, version, session_present, .. } => {
            let session = if *session_present { "its session goes on" } else { "a new session" };
            let (client, version) = (client.as_str(), version.to_string());
            info!(
                event = "connected",
                peer, client, version, session_present, "{from} connected as {client:?}, MQTT {version}, {session}"
            );
        }
        Event::Refused { cause, .. } => info!(event = "refused", peer, "{from} refused: {}", Why(*cause)),
        Event::Disconnected { client, cause, .. } => {
            let client = client.as_str();
            info!(event = "disconnected", peer, client, "{from} disconnected, {client:?}: {}", Why(*cause));
        }
        Event::SessionEnded { client } => {
            let client = client.as_str();
            debug!(event = "session_ended", client, "the session of {client:?} ended");
        }
        Event::Subscribed { client, filter } => {
            let (client, filter) = (client.as_str(), filter.as_filter().as_str());
            debug!(event = "subscribed", client, filter, "{client:?} subscribed to {filter:?}");
        }
        Event::Unsubscribed { client, filter } => {
            let (client, filter) = (client.as_str(), filter.as_filter().as_str());
            debug!(event = "unsubscribed", client, filter, "{client:?} unsubscribed from {filter:?}");
        }
        Event::WillPublished { client } => {
            let client = client.as_str();
            debug!(event = "will_published", client, "the will of {client:?} was published");
        }
        Event::Dropped { client, why } => {
            let client = client.as_ref().map(|client| client.as_str());
            debug!(event = "dropped", client, "a message was dropped, {client:?}: {why:?}");
        }
        // a trace is on, and logs those it is about
        Event::Published { .. } | Event::Delivered { .. } | Event::Acked { .. } => {}
        Event::Limited { client, limit, .. } => {
            let client = client.as_ref().map(|client| client.as_str());
            debug!(event = "limited", client, "a limit was met, {client:?}: {limit:?}");
        }
        other => debug!("{other:?}"),
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
