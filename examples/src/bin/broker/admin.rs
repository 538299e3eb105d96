//! The admin listener: `/healthz` and `/metrics` over HTTP, on a thread of its own, answered by the loop when somebody asks.

use crate::Failure;
use crate::config::Admin;
use mio::Waker;
use mqtt_broker_core::{Limit, Stats};
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;
use tiny_http::{Header, Request, Response, Server};
use tracing::warn;

/// A loop that has not answered within this time is not well.
const PATIENCE: Duration = Duration::from_secs(2);

/// Somebody wants to know the counters.
pub(crate) struct Question {
    answer: SyncSender<Counters>,
}

/// All that is counted.
pub(crate) struct Counters {
    /// By the broker.
    pub(crate) stats: Stats,
    /// By the loop: connections whose TLS, WebSocket or PROXY header was broken.
    pub(crate) transport_errors: u64,
    /// By the listeners: how often the system had none to give.
    pub(crate) accept_failures: u64,
    /// Who was asked about clients, and how often to what end.
    pub(crate) decisions: Vec<(&'static str, [(&'static str, u64); 5])>,
    /// If there is a store: why nothing is stored any more, if so.
    pub(crate) store: Option<Option<String>>,
}

impl Question {
    /// Answers it; one whose asker has gone needs no answer.
    pub(crate) fn answer(self, counters: Counters) {
        let _ = self.answer.send(counters);
    }
}

/// Opens the listener; gives its address, and the questions for the loop, which `waker` wakes.
pub(crate) fn start(admin: &Admin, waker: Arc<Waker>) -> Result<(SocketAddr, Receiver<Question>), Failure> {
    let cannot = |error: &dyn std::fmt::Display| {
        Failure::Runtime(format!("cannot listen on {} for administration: {error}", admin.address))
    };
    let socket = std::net::TcpListener::bind(admin.address).map_err(|error| cannot(&error))?;
    let address = socket.local_addr().map_err(|error| cannot(&error))?;
    let server = Server::from_listener(socket, None).map_err(|error| cannot(&error))?;
    let (questions, asked) = channel();
    let expected = admin.token.as_ref().map(|token| format!("Bearer {token}"));
    std::thread::Builder::new()
        .name("admin".into())
        .spawn(move || {
            for request in server.incoming_requests() {
                serve(request, expected.as_deref(), || ask(&questions, &waker));
            }
        })
        .map_err(|error| cannot(&error))?;
    Ok((address, asked))
}

fn serve(request: Request, expected: Option<&str>, ask: impl FnOnce() -> Option<Counters>) {
    let given = request.headers().iter().find(|header| header.field.equiv("Authorization"));
    let known = expected.is_none_or(|expected| given.is_some_and(|given| same(given.value.as_str(), expected)));
    let (status, kind, body) = match (known, request.method(), request.url()) {
        (false, ..) => (401, "text/plain", "a bearer token is asked for\n".to_owned()),
        (true, tiny_http::Method::Get, "/healthz") => match ask() {
            Some(Counters { store: Some(Some(why)), .. }) => (503, "text/plain", format!("nothing is stored: {why}\n")),
            Some(_) => (200, "text/plain", "ok\n".to_owned()),
            None => (503, "text/plain", "the broker does not answer\n".to_owned()),
        },
        (true, tiny_http::Method::Get, "/metrics") => match ask().map(|counters| metrics(&counters)) {
            Some(Ok(text)) => (200, "application/openmetrics-text; version=1.0.0; charset=utf-8", text),
            Some(Err(_)) | None => (503, "text/plain", "the broker does not answer\n".to_owned()),
        },
        (true, tiny_http::Method::Get, _) => (404, "text/plain", "there are /healthz and /metrics\n".to_owned()),
        (true, ..) => (405, "text/plain", "only GET\n".to_owned()),
    };
    let mut response = Response::from_string(body).with_status_code(status);
    if let Ok(header) = Header::from_bytes("Content-Type", kind) {
        response.add_header(header);
    }
    if let Err(error) = request.respond(response) {
        warn!("an answer to a request for administration was not taken: {error}");
    }
}

/// Compares in a time that does not tell how much of it was right.
fn same(given: &str, expected: &str) -> bool {
    let differences = given.bytes().zip(expected.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    given.len() == expected.len() && differences == 0
}

fn ask(questions: &Sender<Question>, waker: &Waker) -> Option<Counters> {
    let (answer, answered) = sync_channel(1);
    questions.send(Question { answer }).ok()?;
    waker.wake().ok()?;
    answered.recv_timeout(PATIENCE).ok()
}

/// The counters as Prometheus reads them.
fn metrics(counters: &Counters) -> Result<String, std::fmt::Error> {
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
    if let Some(failure) = store {
        let failed = ConstGauge::new(u64::from(failure.is_some()));
        registry.register("store_failed", "1: nothing is stored any more, and nothing acknowledged", failed);
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
