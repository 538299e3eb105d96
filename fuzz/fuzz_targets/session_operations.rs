//! A client's and a server's end joined in memory, driven by arbitrary operations: messages both ways, pieces of the stream, acknowledgements
//! in any order, topic aliases, authentication, time, cuts, goodbyes, places, and bytes that are no packets at all.
//!
//! Neither end may accuse the other, as long as nobody put bytes on the wire that are not theirs; nothing loops, nothing grows beyond its
//! limits; and when all is said QoS 1 has arrived and QoS 2 exactly once, over all cuts.
#![no_main]

#[path = "session_operations/wire.rs"]
mod wire;

use libfuzzer_sys::fuzz_target;
use mqtt_fuzz::Script;
use mqtt_session::codec::{
    Connect, OutBuf, Properties, Property, Qos, Reader, ReasonCode, SubscribeOptions, Subscription, Utf8, Version,
};
use mqtt_session::topic::{TopicFilter, TopicName};
use mqtt_session::{
    Accept, AckToken, ClientConfig, Connection, Delivery, Event, Forwarded, Instant, Message, Publication, QueueLimits,
    RequestToken, ServerConfig, Session, State, Transmit,
};
use std::collections::BTreeMap;

const LIMITS: QueueLimits = QueueLimits { messages: 64, bytes: 1 << 16 };
/// Heap bytes one end may hold beside its messages: every queue here is short.
const MEMORY: usize = 1 << 18;
/// A loop that goes on for longer does not end.
const FOREVER: usize = 100_000;
const TOPICS: [&str; 3] = ["a", "b/c", "$d"];
const FILTERS: [&str; 4] = ["a", "b/+", "#", "$share/g/a"];
const QOS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];
const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

fuzz_target!(|data: &[u8]| {
    let mut script = Script(data);
    let mut pair = Pair::new(&mut script);
    pair.connect();
    while script.goes_on() {
        pair.step(&mut script);
        pair.check();
    }
    pair.settle();
    pair.check_messages();
});

#[derive(Clone, Copy, Debug, PartialEq)]
enum Role {
    Client,
    Server,
}

enum Asked {
    Subscribe(RequestToken, usize),
    Unsubscribe(RequestToken, usize),
}

/// A message of one end.
struct Sent {
    qos: Qos,
    topic: usize,
    /// It may be missing: dropped on purpose, or too old.
    may_miss: bool,
    accepted: u32,
}

#[derive(Default)]
struct End {
    connection: Option<Connection>,
    reader: Option<Reader>,
    /// Kept while there is no connection.
    session: Option<Session>,
    wire: Vec<u8>,
    /// What the host has not answered: the token, and the number of the message unless it is counted already.
    waiting: Vec<(AckToken, Option<u32>)>,
    asked: Vec<Asked>,
    sent: BTreeMap<u32, Sent>,
}

struct Pair {
    version: Version,
    manual: bool,
    keep_alive: u16,
    receive_maximum: u16,
    config: ServerConfig,
    now: Instant,
    client: End,
    server: End,
    server_has_session: bool,
    rejects: bool,
    /// Topic aliases that the client takes, and that it sets by itself.
    aliases: (u16, u16),
    /// CONNECT names an authentication method; how often the server asks before it lets the client in.
    authenticates: Option<u8>,
    /// How often it still asks on this connection.
    challenges: u8,
    /// The server owes an answer to a re-authentication.
    owes_auth: bool,
    /// How many messages still go into places.
    fills: usize,
    /// Somebody else's bytes were on the wire: either end may accuse the other, and messages may be lost.
    spoiled: bool,
    number: u32,
}

impl Pair {
    fn new(script: &mut Script<'_>) -> Self {
        let head = script.byte();
        let (features, inflight) = (script.byte(), 1 + u16::from(script.byte() % 4));
        let receive_maximum = 1 + u16::from(features % 4);
        let version = VERSIONS[usize::from(head % 3)];
        let mut config = ServerConfig::default();
        config.maximum_inflight = inflight;
        config.shared_subscription_available = true;
        if version == Version::V5 {
            config.receive_maximum = receive_maximum;
        }
        config.topic_alias_maximum_outgoing = u16::from(features >> 4 & 1) * 2;
        let end = || End { session: Some(Session::new()), ..End::default() };
        Self {
            version,
            manual: head & 0x40 != 0,
            keep_alive: if head & 0x80 != 0 { 10 } else { 0 },
            receive_maximum,
            config,
            now: Instant::ZERO,
            client: end(),
            server: end(),
            server_has_session: false,
            rejects: false,
            aliases: (u16::from(features >> 4 & 1) * 2, u16::from(features >> 5 & 1) * 2),
            authenticates: (features & 0x40 != 0 && version == Version::V5).then_some(features >> 7),
            challenges: 0,
            owes_auth: false,
            fills: 0,
            spoiled: false,
            number: 0,
        }
    }

    fn ends(&mut self, from: Role) -> (&mut End, &mut End) {
        match from {
            Role::Client => (&mut self.client, &mut self.server),
            Role::Server => (&mut self.server, &mut self.client),
        }
    }

    // --- what happens ------------------------------------------------------------------------------------------------

    fn step(&mut self, script: &mut Script<'_>) {
        if self.client.connection.is_none() {
            self.connect();
        }
        let op = script.byte();
        let role = if op & 0x10 == 0 { Role::Client } else { Role::Server };
        match op & 0x2F {
            0..=2 => self.publish(role, QOS[usize::from(op & 0x0F)], script),
            3 | 4 => self.transfer(role, usize::from(script.byte()) * 4),
            5 => self.transfer(role, usize::MAX),
            6 => self.acknowledge(role, script.below(256), script.byte() > 0xF0),
            7 => self.ask(script),
            8 => self.answer(),
            9 => self.advance(u64::from(script.byte()).pow(2)),
            10 => self.cut(),
            11 => self.spoil(role, script.bytes()),
            12 => self.goodbye(role, script.byte()),
            13 => self.hold(),
            14 => self.drop_some(role, script.byte()),
            15 if role == Role::Server => self.take(script.below(256)),
            15 => self.rejects = true,
            0x20 => self.set_alias(script.below(20) as u16, script.below(TOPICS.len())),
            0x21 => self.reauthenticate(),
            0x22 => self.answer_auth(script.byte() % 2 == 0),
            0x23 => self.forward(script.below(TOPICS.len())),
            0x24 => self.pause(script.byte() % 2 == 0),
            _ => {}
        }
    }

    fn connect(&mut self) {
        let session = self.client.session.take().unwrap();
        let properties = [
            Property::SessionExpiryInterval(1000),
            Property::ReceiveMaximum(self.receive_maximum),
            Property::TopicAliasMaximum(self.aliases.0),
            Property::AuthenticationMethod(Utf8::new("m").unwrap()),
        ];
        let properties = if self.authenticates.is_some() { &properties[..] } else { &properties[..3] };
        self.challenges = self.authenticates.unwrap_or_default();
        self.owes_auth = false;
        let v5 = self.version == Version::V5;
        let connect = Connect {
            version: self.version,
            clean_start: false,
            keep_alive: self.keep_alive,
            properties: if v5 { Properties::from_slice(properties) } else { Properties::EMPTY },
            client_id: Utf8::new("client").unwrap(),
            will: None,
            user_name: None,
            password: None,
        };
        let mut config = ClientConfig::default();
        (config.manual_acknowledgement, config.topic_alias_maximum_outgoing) = (self.manual, self.aliases.1);
        let client = Connection::client_with(self.now, &connect, session, &config).unwrap();
        self.client.reader = Some(client.reader());
        self.client.connection = Some(client);
        let server = Connection::server(self.now, &self.config);
        self.server.reader = Some(server.reader());
        self.server.connection = Some(server);
    }

    fn cut(&mut self) {
        for end in [&mut self.client, &mut self.server] {
            if let Some(connection) = end.connection.take() {
                // before it was accepted, a server's session lies beside its connection still
                end.session.get_or_insert_with(|| connection.into_session());
            }
            end.reader = None;
            end.wire.clear();
            end.waiting.clear();
            end.asked.clear();
        }
    }

    fn publish(&mut self, role: Role, qos: Qos, script: &mut Script<'_>) {
        let (shape, now) = (script.byte(), self.now);
        let mut payload = (self.number + 1).to_be_bytes().to_vec();
        payload.resize(4 + usize::from(shape >> 4) * 100, 0x5A);
        let expiry = [Property::MessageExpiryInterval(u32::from(shape % 5))];
        let expires = shape % 4 == 3 && self.version == Version::V5;
        let publication = Publication {
            topic: TopicName::new(TOPICS[usize::from(shape) % 3]).unwrap(),
            payload: &payload,
            qos,
            retain: false,
            properties: if expires { Properties::from_slice(&expiry) } else { Properties::EMPTY },
        };
        let (end, _) = self.ends(role);
        let taken = match (role, &mut end.connection, &mut end.session) {
            (Role::Client, Some(client), _) => client.publish(now, &publication, &LIMITS).is_ok(),
            // while CONNECT is on its way the session lies beside the connection
            (_, _, Some(session)) => session.deliver(delivery(now, &publication), &LIMITS).is_ok(),
            (_, Some(server), None) => server.deliver(delivery(now, &publication), &LIMITS).is_ok(),
            (_, None, None) => false,
        };
        if taken {
            self.number += 1;
            let number = self.number;
            let topic = usize::from(shape) % 3;
            self.ends(role).0.sent.insert(number, Sent { qos, topic, may_miss: expires, accepted: 0 });
        }
    }

    fn acknowledge(&mut self, role: Role, which: usize, refuse: bool) {
        let (end, other) = self.ends(role);
        let Some(connection) = &mut end.connection else { return };
        if end.waiting.is_empty() {
            return;
        }
        let (token, number) = end.waiting.swap_remove(which % end.waiting.len());
        let mut reason = ReasonCode::SUCCESS;
        if let Some(sent) = number.and_then(|number| other.sent.get_mut(&number)) {
            if refuse {
                sent.may_miss = true;
                reason = ReasonCode::NOT_AUTHORIZED;
            } else {
                sent.accepted += 1;
            }
        }
        connection.acknowledge(token, reason);
    }

    /// The server's host makes a message its own before it answers.
    fn take(&mut self, which: usize) {
        let Some(connection) = &mut self.server.connection else { return };
        let len = self.server.waiting.len().max(1);
        let Some((token, number)) = self.server.waiting.get_mut(which % len) else { return };
        let Some(sent) = number.and_then(|number| self.client.sent.get_mut(&number)) else { return };
        if sent.qos == Qos::ExactlyOnce {
            connection.take(*token);
            sent.accepted += 1;
            *number = None;
        }
    }

    fn ask(&mut self, script: &mut Script<'_>) {
        let Some(client) = &mut self.client.connection else { return };
        let (count, first) = (1 + script.below(3), script.below(4));
        let filters: Vec<_> =
            (0..count).map(|i| TopicFilter::new(FILTERS[(first + i) % FILTERS.len()]).unwrap()).collect();
        let _ = if script.byte() % 2 == 0 {
            let options = SubscribeOptions::default();
            let list: Vec<_> = filters.into_iter().map(|filter| Subscription { filter, options }).collect();
            client.subscribe(self.now, &list, &[])
        } else {
            client.unsubscribe(self.now, &filters, &[])
        };
    }

    fn answer(&mut self) {
        let Some(server) = &mut self.server.connection else { return };
        for asked in self.server.asked.drain(..) {
            match asked {
                Asked::Subscribe(token, len) => {
                    server.suback(token, &vec![ReasonCode::SUCCESS; len], Properties::EMPTY);
                }
                Asked::Unsubscribe(token, len) => {
                    server.unsuback(token, &vec![ReasonCode::SUCCESS; len], Properties::EMPTY);
                }
            }
        }
    }

    fn goodbye(&mut self, role: Role, reason: u8) {
        let now = self.now;
        let reason = if reason % 2 == 0 { ReasonCode::SUCCESS } else { ReasonCode::UNSPECIFIED_ERROR };
        // a server never says that all is well
        let reason = if role == Role::Server { ReasonCode::SERVER_SHUTTING_DOWN } else { reason };
        if let Some(connection) = &mut self.ends(role).0.connection {
            connection.disconnect(now, reason, &[]);
        }
    }

    fn hold(&mut self) {
        if let Some(session) = session(&mut self.server) {
            session.hold_place();
            self.fills = (self.fills + 3).min(30);
        }
    }

    /// Drops what was never sent: it may be missing then, and nothing that was sent may.
    fn drop_some(&mut self, role: Role, how: u8) {
        let (end, _) = self.ends(role);
        let Some(session) = session(end) else { return };
        if how % 2 == 0 {
            session.drop_qos0();
        } else if let Some(delivery) = session.drop_oldest() {
            // what fills a place has no number
            if let Some(sent) = number(delivery.message.payload()).and_then(|number| end.sent.get_mut(&number)) {
                sent.may_miss = true;
            }
        }
    }

    /// The client's host says which alias stands for a topic.
    fn set_alias(&mut self, alias: u16, topic: usize) {
        if let Some(client) = &mut self.client.connection {
            let _ = client.set_topic_alias(alias, TopicName::new(TOPICS[topic]).unwrap());
        }
    }

    fn reauthenticate(&mut self) {
        if let Some(client) = &mut self.client.connection {
            let _ = client.reauthenticate(self.now, Some(b"proof"), &[]);
        }
    }

    /// The server's host takes the proof of a client that is in already, or asks for more.
    fn answer_auth(&mut self, enough: bool) {
        let Some(server) = self.server.connection.as_mut().filter(|_| self.owes_auth) else { return };
        self.owes_auth = false;
        let _ = if enough { server.authenticated(self.now, None, &[]) } else { server.challenge(self.now, None, &[]) };
    }

    /// A QoS 0 copy past the queue.
    fn forward(&mut self, topic: usize) {
        let payload = (self.number + 1).to_be_bytes();
        let publication = Publication::new(TopicName::new(TOPICS[topic]).unwrap(), &payload);
        let mut out = OutBuf::with_limit(1 << 20);
        let Some(server) = &mut self.server.connection else { return };
        if server.forward(self.now, &publication, false, &[], &mut out) == Forwarded::Wrote {
            self.number += 1;
            let sent = Sent { qos: Qos::AtMostOnce, topic, may_miss: true, accepted: 0 };
            self.server.sent.insert(self.number, sent);
            while !out.is_empty() {
                let len = out.chunk().len();
                self.server.wire.extend_from_slice(out.chunk());
                out.advance(len);
            }
        }
    }

    /// The server's host does not read for a while.
    fn pause(&mut self, pauses: bool) {
        if let Some(server) = &mut self.server.connection {
            if pauses { server.pause_keep_alive(self.now) } else { server.resume_keep_alive(self.now) }
        }
    }

    fn spoil(&mut self, from: Role, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.spoiled = true;
            self.write(from);
            self.ends(from).0.wire.extend_from_slice(bytes);
        }
    }

    /// Time passes, deadline by deadline. Whoever is silent for too long is cut off.
    fn advance(&mut self, millis: u64) {
        let until = self.now.plus_millis(millis);
        for role in [Role::Client, Role::Server] {
            let Some(connection) = &mut self.ends(role).0.connection else { continue };
            let mut wakes = 0;
            while let Some(at) = connection.poll_timeout().filter(|at| *at <= until) {
                wakes += 1;
                assert!(wakes < 1_000, "time stands still");
                let lost = connection.handle_timeout(at).is_err();
                assert_eq!(lost, connection.state() == State::Closing);
                assert!(connection.poll_timeout().is_none_or(|next| next > at), "the same deadline again");
            }
        }
        self.now = until;
    }

    // --- what must hold ----------------------------------------------------------------------------------------------

    fn check(&mut self) {
        for end in [&mut self.client, &mut self.server] {
            if let Some(connection) = &end.connection {
                assert!(connection.memory() <= MEMORY, "{} bytes held", connection.memory());
            }
            if let Some(session) = session(end) {
                assert!(session.queued() + session.inflight() <= LIMITS.messages + 2 * FILTERS.len() + 64);
                assert!(session.bytes() <= 2 * LIMITS.bytes);
            }
        }
    }

    /// No more faults: all that waits is carried over and answered.
    fn settle(&mut self) {
        self.rejects = false;
        for _ in 0..1_000 {
            if self.client.connection.is_none() {
                self.connect();
            }
            for role in [Role::Client, Role::Server] {
                self.transfer(role, usize::MAX);
                while !self.ends(role).0.waiting.is_empty() {
                    self.acknowledge(role, 0, false);
                }
                self.answer();
                self.answer_auth(true);
            }
            let mut quiet = true;
            for role in [Role::Client, Role::Server] {
                self.write(role);
                let (end, _) = self.ends(role);
                quiet &= end.wire.is_empty()
                    && end.waiting.is_empty()
                    && end.connection.as_ref().is_some_and(|connection| connection.state() == State::Connected);
            }
            if quiet {
                return;
            }
        }
        assert!(self.spoiled, "the two never come to rest");
    }

    fn check_messages(&self) {
        if self.spoiled {
            return;
        }
        for (role, end) in [(Role::Client, &self.client), (Role::Server, &self.server)] {
            for (number, Sent { qos, may_miss, accepted, .. }) in &end.sent {
                let right = match qos {
                    Qos::AtMostOnce => *accepted <= 1,
                    Qos::AtLeastOnce => *accepted >= 1 || *may_miss,
                    Qos::ExactlyOnce => *accepted == 1 || (*accepted == 0 && *may_miss),
                };
                assert!(right, "message {number} of the {role:?} at {qos:?} was accepted {accepted} times");
            }
            let connection = end.connection.as_ref().unwrap();
            assert!(connection.session().is_empty(), "{role:?} keeps {:?}", connection.session());
            assert_eq!((connection.unacknowledged(), connection.control_backlog()), (0, 0), "{role:?}");
        }
    }
}

/// The session of an end, wherever it lives.
fn session(end: &mut End) -> Option<&mut Session> {
    match &mut end.session {
        Some(session) => Some(session),
        None => end.connection.as_mut().map(Connection::session_mut),
    }
}

fn delivery(now: Instant, publication: &Publication<'_>) -> Delivery {
    Delivery::new(Message::new(now, publication), publication.qos, publication.retain)
}

/// The number a payload begins with.
fn number(payload: &[u8]) -> Option<u32> {
    payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}
