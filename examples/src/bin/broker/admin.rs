//! The admin listener: `/healthz`, `/metrics` and `/trace` over HTTP, on a thread of its own, answered by the loop when somebody asks.

mod metrics;
mod traces;

use crate::Failure;
use crate::config::Admin;
use mio::Waker;
use mqtt_broker_core::Stats;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;
use tiny_http::{Header, Method, Request, Response, Server};
pub(crate) use traces::Wish;
use tracing::warn;

/// A loop that has not answered within this time is not well.
const PATIENCE: Duration = Duration::from_secs(2);
/// The largest body of a request, in bytes.
const BODY: u64 = 4096;
/// What there is to say when the loop does not answer.
const UNWELL: &str = "the broker does not answer\n";

/// Somebody asks the loop.
pub(crate) enum Question {
    /// For the counters.
    Counters(SyncSender<Counters>),
    /// To follow somebody.
    Trace(Wish, SyncSender<Result<String, &'static str>>),
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
    /// If there is a store: how that is.
    pub(crate) store: Option<StoreHealth>,
}

/// How the store is.
pub(crate) struct StoreHealth {
    /// Why nothing is stored any more, if so.
    pub(crate) failed: Option<String>,
    /// For how long it has had something to do and has not said a word.
    pub(crate) silence: Duration,
}

/// A disk that takes longer for a commit is not well.
const SILENCE: Duration = Duration::from_secs(10);

impl StoreHealth {
    fn complaint(self) -> Option<String> {
        match (self.failed, self.silence) {
            (Some(why), _) => Some(format!("nothing is stored: {why}")),
            (None, silence) if silence > SILENCE => {
                Some(format!("nothing was stored for {} s: the disk does not answer", silence.as_secs()))
            }
            _ => None,
        }
    }
}

/// The way to the loop.
struct Asker {
    questions: Sender<Question>,
    waker: Arc<Waker>,
    /// What who asks must show in `Authorization`.
    expected: Option<String>,
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
    let asker = Asker { questions, waker, expected };
    std::thread::Builder::new()
        .name("admin".into())
        .spawn(move || {
            for request in server.incoming_requests() {
                serve(request, &asker);
            }
        })
        .map_err(|error| cannot(&error))?;
    Ok((address, asked))
}

/// What is answered: a status, what kind of text, and the text.
type Answer = (u16, &'static str, String);

fn serve(mut request: Request, asker: &Asker) {
    let (status, kind, body) = answer(&mut request, asker);
    let mut response = Response::from_string(body).with_status_code(status);
    if let Ok(header) = Header::from_bytes("Content-Type", kind) {
        response.add_header(header);
    }
    if let Err(error) = request.respond(response) {
        warn!("an answer to a request for administration was not taken: {error}");
    }
}

fn answer(request: &mut Request, asker: &Asker) -> Answer {
    let plain = |status, text: &str| (status, "text/plain", text.to_owned());
    let given = request.headers().iter().find(|header| header.field.equiv("Authorization"));
    let known = asker
        .expected
        .as_deref()
        .is_none_or(|expected| given.is_some_and(|given| same(given.value.as_str(), expected)));
    match (known, request.method(), request.url()) {
        (false, ..) => plain(401, "a bearer token is asked for\n"),
        (true, Method::Get, "/healthz") => match asker.ask(Question::Counters) {
            Some(Counters { store, .. }) => match store.and_then(StoreHealth::complaint) {
                Some(why) => plain(503, &format!("{why}\n")),
                None => plain(200, "ok\n"),
            },
            None => plain(503, UNWELL),
        },
        (true, Method::Get, "/metrics") => match asker.ask(Question::Counters).map(|all| metrics::metrics(&all)) {
            Some(Ok(text)) => (200, "application/openmetrics-text; version=1.0.0; charset=utf-8", text),
            Some(Err(_)) | None => plain(503, UNWELL),
        },
        // it shows what clients do: not to whoever is on this machine, nor to a page in a browser on it
        (true, _, "/trace") if asker.expected.is_none() => plain(403, "the admin listener has no token\n"),
        (true, Method::Get, "/trace") => asker.trace(Wish::List),
        (true, Method::Delete, "/trace") => asker.trace(Wish::Clear),
        (true, Method::Post, "/trace") => {
            let mut body = Vec::new();
            let read = request.as_reader().take(BODY).read_to_end(&mut body);
            match read.map_err(|error| error.to_string()).and_then(|_| Wish::parse(&body)) {
                Ok(wish) => asker.trace(wish),
                Err(wrong) => plain(400, &format!("{wrong}\n")),
            }
        }
        (true, Method::Get, _) => plain(404, "there are /healthz, /metrics and /trace\n"),
        (true, ..) => plain(405, "only GET, and POST and DELETE for /trace\n"),
    }
}

impl Asker {
    fn ask<T>(&self, question: impl FnOnce(SyncSender<T>) -> Question) -> Option<T> {
        let (answer, answered) = sync_channel(1);
        self.questions.send(question(answer)).ok()?;
        self.waker.wake().ok()?;
        answered.recv_timeout(PATIENCE).ok()
    }

    fn trace(&self, wish: Wish) -> Answer {
        match self.ask(|answer| Question::Trace(wish, answer)) {
            Some(Ok(list)) => (200, "application/json", list),
            Some(Err(full)) => (409, "text/plain", format!("{full}\n")),
            None => (503, "text/plain", UNWELL.to_owned()),
        }
    }
}

/// Compares in a time that does not tell how much of it was right.
fn same(given: &str, expected: &str) -> bool {
    let differences = given.bytes().zip(expected.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    given.len() == expected.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_well_while_it_answers() {
        let complaint = |failed: Option<&str>, seconds| {
            StoreHealth { failed: failed.map(Into::into), silence: Duration::from_secs(seconds) }.complaint()
        };
        assert_eq!((complaint(None, 0), complaint(None, 10)), (None, None));
        assert_eq!(complaint(None, 11).unwrap(), "nothing was stored for 11 s: the disk does not answer");
        assert_eq!(complaint(Some("no room"), 11).unwrap(), "nothing is stored: no room");
    }
}
