//! One face for every client: subscribe, publish, look at what came.
use super::agent::{self, Agent};
use super::{PATIENCE, rumqtt};
use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// The clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The `rumqttc` crate, in this process.
    Rumqttc,
    /// paho-mqtt 1.6.1 in python.
    Paho1,
    /// paho-mqtt 2.x in python.
    Paho2,
    /// `mqtt` from npm, in node.
    Npm,
    /// `mosquitto_pub` and `mosquitto_sub`.
    Mosquitto,
    /// `pub` and `sub` of this package.
    Ours,
}

/// The protocol versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V31,
    V311,
    V5,
}

impl Version {
    pub fn level(self) -> u8 {
        match self {
            Self::V31 => 3,
            Self::V311 => 4,
            Self::V5 => 5,
        }
    }
}

impl Kind {
    const ALL: [Self; 6] = [Self::Rumqttc, Self::Paho1, Self::Paho2, Self::Npm, Self::Mosquitto, Self::Ours];

    fn versions(self) -> &'static [Version] {
        match self {
            Self::Rumqttc => &[Version::V311, Version::V5],
            Self::Paho1 | Self::Paho2 | Self::Npm | Self::Mosquitto | Self::Ours => {
                &[Version::V31, Version::V311, Version::V5]
            }
        }
    }

    /// Whether it is installed.
    pub fn is_there(self) -> bool {
        installed().contains(&self)
    }

    /// Why it cannot be used, if it cannot.
    fn missing(self) -> Option<String> {
        match self {
            Self::Rumqttc | Self::Ours => None,
            Self::Paho1 => agent::paho_missing("MQTT_PAHO_1", "1.6.1"),
            Self::Paho2 => agent::paho_missing("MQTT_PAHO_2", "2."),
            Self::Npm => agent::npm_missing(),
            Self::Mosquitto => agent::mosquitto_missing(),
        }
    }
}

/// The clients there are. The others are named on standard error, once, or are a panic if they are required.
fn installed() -> &'static [Kind] {
    static INSTALLED: OnceLock<Vec<Kind>> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let is_there = |kind: &Kind| {
            let Some(why) = kind.missing() else { return true };
            assert!(std::env::var("MQTT_REQUIRE_CLIENTS").as_deref() != Ok("1"), "{kind:?} is required: {why}");
            tell(&format!("passed over: {kind:?}: {why}"));
            false
        };
        Kind::ALL.into_iter().filter(is_there).collect()
    })
}

/// Says something on standard error, also from a test that passes.
pub fn tell(words: &str) {
    // `eprintln!` would be kept back by the test runner
    let _ = writeln!(std::io::stderr(), "{words}");
}

/// A client at a version: one row of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub kind: Kind,
    pub version: Version,
}

/// Every client that is installed, at every version it speaks.
pub fn everyone() -> Vec<Row> {
    installed().iter().flat_map(|&kind| kind.versions().iter().map(move |&version| Row { kind, version })).collect()
}

/// The rows of some clients.
pub fn everyone_at(kinds: &[Kind]) -> Vec<Row> {
    everyone().into_iter().filter(|row| kinds.contains(&row.kind)).collect()
}

/// Runs `test` for every row, all at once; a failure names its row.
pub fn rows<R: Copy + Send + std::fmt::Debug>(rows: &[R], test: impl Fn(R) + Sync) {
    let failed: Vec<_> = std::thread::scope(|scope| {
        let run = |row| catch_unwind(AssertUnwindSafe(|| test(row)));
        let threads: Vec<_> = rows.iter().map(|&row| (row, scope.spawn(move || run(row)))).collect();
        threads.into_iter().filter_map(|(row, thread)| Some((row, thread.join().unwrap().err()?))).collect()
    });
    for (row, _) in &failed {
        eprintln!("failed: {row:?}");
    }
    if let Some((_, panic)) = failed.into_iter().next() {
        resume_unwind(panic);
    }
}

impl Row {
    /// A client id of its own for this row and this run, within the 23 characters of 3.1.
    pub fn id(self, what: &str) -> String {
        format!("{what}-{:?}-{}-{:x}", self.kind, self.version.level(), std::process::id() & 0xffff)
    }

    /// A topic of its own for this row and this run.
    pub fn topic(self, what: &str) -> String {
        format!("{what}/{}/{:?}/{:?}", std::process::id(), self.kind, self.version)
    }

    /// Connects, subscribes and waits for the SUBACK; `Err` is the code of the CONNACK that refused.
    pub fn subscribe(self, broker: SocketAddr, options: &Options, filters: &[(&str, u8)]) -> Result<Subscriber, u8> {
        let source = match self.kind {
            Kind::Rumqttc => Source::Thread(rumqtt::subscribe(self.version, broker, options, filters)),
            _ => Source::Agent(Box::new(Agent::subscribe(self, broker, options, filters))),
        };
        let mut subscriber = Subscriber { row: self, source, waiting: VecDeque::new() };
        loop {
            match subscriber.seen(PATIENCE) {
                Some(Seen::Subscribed) => return Ok(subscriber),
                Some(Seen::Refused(code)) => return Err(code),
                // a session that goes on may bring what was queued before anything else
                Some(Seen::Message(message)) => subscriber.waiting.push_back(message),
                other @ (Some(Seen::Published | Seen::Lost(_)) | None) => {
                    panic!("{self:?}: {other:?} instead of SUBACK or a refusal")
                }
            }
        }
    }

    /// Connects, publishes, waits until the message is acknowledged as its QoS asks, disconnects; `Err` as in [`subscribe`](Self::subscribe).
    pub fn publish(self, broker: SocketAddr, options: &Options, message: &Message) -> Result<(), u8> {
        match self.kind {
            Kind::Rumqttc => rumqtt::publish(self.version, broker, options, message),
            _ => Agent::publish(self, broker, options, message),
        }
    }
}

/// How to connect.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Client identifier.
    pub id: String,
    /// Keep the session, and go on with the one there is.
    pub keep: bool,
    /// Come back when the connection is lost.
    pub reconnect: bool,
    /// User name and password.
    pub user: Option<(&'static str, &'static str)>,
    /// The will.
    pub will: Option<Message>,
    /// Under TLS, to a broker whose certificate this authority has signed.
    pub authority: Option<PathBuf>,
    /// In WebSocket frames.
    pub websocket: bool,
    /// Properties (5.0): of which packet, the name as `mosquitto_sub -D` has it, the value.
    pub properties: Vec<(&'static str, &'static str, u32)>,
    /// Retain Handling of the subscriptions (5.0): what our `sub` and Debian's `mosquitto_sub` have no option for.
    pub handling: u8,
    /// Retain As Published (5.0), the same.
    pub as_published: bool,
    /// Publish a second time, by the topic alias alone (5.0): what only the scripted clients do.
    pub again: bool,
    /// Enhanced authentication by the method `riddle` (5.0), with this answer: what only `mqtt` from npm has.
    pub riddle: Option<&'static str>,
}

impl Options {
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), ..Self::default() }
    }

    /// The same with a property.
    pub fn with(mut self, packet: &'static str, name: &'static str, value: u32) -> Self {
        self.properties.push((packet, name, value));
        self
    }

    /// The value of a property.
    pub fn property(&self, packet: &str, name: &str) -> Option<u32> {
        self.properties.iter().find(|(of, named, _)| (*of, *named) == (packet, name)).map(|(_, _, value)| *value)
    }
}

/// A message as it is published, and as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub payload: String,
    pub qos: u8,
    pub retain: bool,
    /// Subscription identifiers (5.0), with commas between; our `sub` does not print them.
    pub identifiers: String,
    /// Message expiry (5.0), seconds; the same.
    pub expiry: Option<u32>,
}

impl Message {
    pub fn new(topic: &str, payload: &str, qos: u8) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos,
            retain: false,
            identifiers: String::new(),
            expiry: None,
        }
    }

    pub fn retained(self) -> Self {
        Self { retain: true, ..self }
    }
}

/// What a client reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Subscribed,
    Message(Message),
    Published,
    /// The code of the CONNACK.
    Refused(u8),
    /// The connection is lost, and the client does not come back.
    Lost(String),
}

/// A client that has subscribed. Dropping it may or may not end it: to end it without a goodbye, cut its wire.
pub struct Subscriber {
    row: Row,
    source: Source,
    waiting: VecDeque<Message>,
}

enum Source {
    Agent(Box<Agent>),
    Thread(rumqtt::Running),
}

impl Subscriber {
    /// The next message.
    pub fn message(&mut self) -> Message {
        if let Some(message) = self.waiting.pop_front() {
            return message;
        }
        let end = Instant::now() + PATIENCE;
        loop {
            match self.seen(end.saturating_duration_since(Instant::now())) {
                Some(Seen::Message(message)) => return message,
                Some(Seen::Subscribed) => {}
                other => panic!("{:?}: {other:?} instead of a message", self.row),
            }
        }
    }

    /// All messages up to the one with payload `last`, without it.
    pub fn messages_until(&mut self, last: &str) -> Vec<Message> {
        std::iter::from_fn(|| Some(self.message()).filter(|message| message.payload != last)).collect()
    }

    fn seen(&mut self, patience: Duration) -> Option<Seen> {
        match &mut self.source {
            Source::Agent(agent) => agent.seen(patience),
            Source::Thread(running) => receive(&running.seen, patience),
        }
    }
}

pub(super) fn receive(seen: &Receiver<Seen>, patience: Duration) -> Option<Seen> {
    seen.recv_timeout(patience).ok()
}
