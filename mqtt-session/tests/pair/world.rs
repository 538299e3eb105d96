//! A client and a server, the bytes between them, and what their hosts have seen.
use crate::random::Random;
use mqtt_session::codec::{
    AckKind, Connect, OutBuf, Packet, Properties, Property, Qos, Reader, ReasonCode, Role, Utf8, Version,
};
use mqtt_session::topic::TopicName;
use mqtt_session::{
    Accept, AckToken, Connection, Delivery, Event, Instant, Message, Publication, PublishToken, QueueLimits,
    ServerConfig, Session, State, Transmit,
};
use std::collections::{BTreeMap, BTreeSet};

const LIMITS: QueueLimits = QueueLimits { messages: 10_000, bytes: 100_000_000 };
const TOPICS: [&str; 3] = ["a", "b/c", "b/d"];

/// What can happen in a world.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) version: Version,
    pub(crate) faults: bool,
    /// Bytes handed over at once; random if `None`.
    pub(crate) chunk: Option<usize>,
    pub(crate) only_from_client: bool,
    pub(crate) receive_maximum: u16,
    pub(crate) maximum_inflight: u16,
    /// The client's hosts acknowledges by itself.
    pub(crate) manual: bool,
}

impl Plan {
    pub(crate) fn calm() -> Self {
        let version = Version::V5;
        Self {
            version,
            faults: false,
            chunk: None,
            only_from_client: false,
            receive_maximum: 20,
            maximum_inflight: 20,
            manual: false,
        }
    }

    pub(crate) fn wild(seed: u64) -> Self {
        let mut random = Random::new(!seed);
        Self {
            version: [Version::V31, Version::V311, Version::V5][random.below(3) as usize],
            faults: true,
            chunk: None,
            only_from_client: false,
            receive_maximum: 1 + random.below(6) as u16,
            maximum_inflight: 1 + random.below(6) as u16,
            manual: random.chance(50),
        }
    }
}

/// One message: its number, topic and QoS.
type Number = u32;

/// One end and its host.
struct End {
    role: Role,
    connection: Option<Connection>,
    reader: Option<Reader>,
    /// Kept while there is no connection.
    session: Option<Session>,
    /// Written, not yet arrived.
    wire: Vec<u8>,
    /// What its host was given and has not acknowledged.
    waiting: Vec<(AckToken, Option<Number>)>,
    /// All messages that came, in order.
    arrived: Vec<(Number, usize, Qos)>,
    /// How often each was accepted, and whether it was refused.
    accepted: BTreeMap<Number, u32>,
    refused: BTreeSet<Number>,
    /// What this end published.
    published: Vec<(Number, usize, Qos)>,
    tokens: BTreeMap<PublishToken, u32>,
    /// Identifiers on their way from this end that the other has not finished, on this connection.
    unfinished: BTreeSet<u16>,
    /// All that was ever written.
    written: Vec<u8>,
}

impl End {
    fn new(role: Role) -> Self {
        Self {
            role,
            connection: None,
            reader: None,
            session: Some(Session::new()),
            wire: Vec::new(),
            waiting: Vec::new(),
            arrived: Vec::new(),
            accepted: BTreeMap::new(),
            refused: BTreeSet::new(),
            published: Vec::new(),
            tokens: BTreeMap::new(),
            unfinished: BTreeSet::new(),
            written: Vec::new(),
        }
    }

    /// The connection is gone: what the host did not take is forgotten.
    fn cut(&mut self) {
        if let Some(connection) = self.connection.take() {
            // Before it was accepted, a server's session lies beside its connection still.
            self.session.get_or_insert_with(|| connection.into_session());
        }
        self.reader = None;
        self.wire.clear();
        self.waiting.clear();
        self.unfinished.clear();
    }
}

pub(crate) struct World {
    random: Random,
    plan: Plan,
    config: ServerConfig,
    now: Instant,
    client: End,
    server: End,
    next_number: Number,
    server_has_session: bool,
}

impl World {
    pub(crate) fn new(seed: u64, plan: Plan) -> Self {
        let mut config = ServerConfig::default();
        config.maximum_inflight = plan.maximum_inflight;
        if plan.version == Version::V5 {
            config.receive_maximum = plan.receive_maximum;
        }
        let (client, server) = (End::new(Role::Client), End::new(Role::Server));
        Self {
            random: Random::new(seed),
            plan,
            config,
            now: Instant::ZERO,
            client,
            server,
            next_number: 0,
            server_has_session: false,
        }
    }

    // --- what happens ------------------------------------------------------------------------------------------------

    /// One random thing happens.
    pub(crate) fn step(&mut self) {
        self.now = self.now.plus_millis(self.random.below(50));
        if self.client.connection.is_none() {
            self.connect();
        }
        match self.random.below(100) {
            0..15 => {
                let qos = self.random_qos();
                self.publish_from_client(qos);
            }
            15..30 if !self.plan.only_from_client => {
                let qos = self.random_qos();
                self.publish_from_server(qos);
            }
            30..32 if self.plan.faults => self.cut(),
            32..50 => self.acknowledge(Role::Client, false),
            50..65 => self.acknowledge(Role::Server, false),
            65..82 => self.transfer(Role::Client),
            _ => self.transfer(Role::Server),
        }
    }

    pub(crate) fn connect(&mut self) {
        let session = self.client.session.take().unwrap();
        let properties = [Property::SessionExpiryInterval(1000), Property::ReceiveMaximum(self.plan.receive_maximum)];
        let v5 = self.plan.version == Version::V5;
        let connect = Connect {
            version: self.plan.version,
            clean_start: false,
            keep_alive: 0,
            properties: if v5 { Properties::from_slice(&properties) } else { Properties::EMPTY },
            client_id: Utf8::new("client").unwrap(),
            will: None,
            user_name: None,
            password: None,
        };
        let mut client = Connection::client(self.now, &connect, session).unwrap();
        client.set_manual_acknowledgement(self.plan.manual);
        self.client.reader = Some(client.reader());
        self.client.connection = Some(client);
        let server = Connection::server(self.now, &self.config);
        self.server.reader = Some(server.reader());
        self.server.connection = Some(server);
    }

    /// The link breaks: what is on it is lost, but for what may just have arrived.
    pub(crate) fn cut(&mut self) {
        for role in [Role::Client, Role::Server] {
            if self.random.chance(50) {
                self.transfer(role);
            }
        }
        self.client.cut();
        self.server.cut();
    }

    pub(crate) fn lose_server_session(&mut self) {
        self.server.session = Some(Session::new());
        self.server_has_session = false;
    }

    pub(crate) fn publish_from_client(&mut self, qos: Qos) {
        let (number, topic, payload) = self.next_message();
        let mut publication = Publication::new(TopicName::new(TOPICS[topic]).unwrap(), &payload);
        publication.qos = qos;
        let token = self.client.connection.as_mut().unwrap().publish(self.now, &publication, &LIMITS).unwrap();
        self.client.published.push((number, topic, qos));
        if qos != Qos::AtMostOnce {
            self.client.tokens.insert(token, 0);
        }
    }

    pub(crate) fn publish_from_server(&mut self, qos: Qos) {
        let (number, topic, payload) = self.next_message();
        let message = Message::new(self.now, &Publication::new(TopicName::new(TOPICS[topic]).unwrap(), &payload));
        let delivery = Delivery::new(message, qos, false);
        // While CONNECT is on its way the session lies beside the connection.
        let session = match (&mut self.server.session, &mut self.server.connection) {
            (Some(session), _) => session,
            (None, Some(connection)) => connection.session_mut(),
            (None, None) => panic!("no session"),
        };
        session.deliver(delivery, &LIMITS).unwrap();
        let token = session.last_token();
        self.server.published.push((number, topic, qos));
        if qos != Qos::AtMostOnce {
            self.server.tokens.insert(token, 0);
        }
    }

    /// The host of one end acknowledges one of the messages it was given, any of them; `all`: all of them.
    fn acknowledge(&mut self, role: Role, all: bool) {
        loop {
            let refuse = self.plan.faults && self.random.chance(10);
            let end = if role == Role::Client { &mut self.client } else { &mut self.server };
            if end.waiting.is_empty() {
                return;
            }
            let (token, number) = end.waiting.swap_remove(self.random.below(end.waiting.len() as u64) as usize);
            let reason = match number {
                Some(number) if refuse => {
                    end.refused.insert(number);
                    ReasonCode::NOT_AUTHORIZED
                }
                Some(number) => {
                    *end.accepted.entry(number).or_default() += 1;
                    ReasonCode::SUCCESS
                }
                None => ReasonCode::SUCCESS,
            };
            end.connection.as_mut().unwrap().acknowledge(token, reason);
            if !all {
                return;
            }
        }
    }

    /// Lets one end write, and a part of what it wrote arrive.
    fn transfer(&mut self, from: Role) {
        self.write(from);
        let (sender, receiver) = match from {
            Role::Client => (&mut self.client, &mut self.server),
            Role::Server => (&mut self.server, &mut self.client),
        };
        let len = sender.wire.len();
        let some = match self.plan.chunk {
            Some(chunk) => len.min(chunk),
            None if self.plan.faults => self.random.below(len as u64 + 1) as usize,
            None => len,
        };
        let bytes: Vec<u8> = sender.wire.drain(..some).collect();
        let (Some(connection), Some(reader)) = (&mut receiver.connection, &mut receiver.reader) else { return };
        let mut bytes = bytes.as_slice();
        loop {
            let mut wants_in = None;
            let mut input = connection.read(self.now, reader, bytes);
            while let Some(event) = input.next().expect("neither end breaks a rule") {
                match event {
                    Event::Handled => {}
                    Event::Connect(connect) => wants_in = Some(connect.clean_start),
                    Event::Connected(_) => {}
                    Event::Publish(received, token) => {
                        let number = Number::from_be_bytes(received.payload[..4].try_into().unwrap());
                        let topic = TOPICS
                            .iter()
                            .position(|topic| topic.as_bytes() == received.topic.as_name().as_bytes())
                            .unwrap();
                        receiver.arrived.push((number, topic, received.qos));
                        if token.is_awaited() {
                            receiver.waiting.push((token, Some(number)));
                        } else {
                            *receiver.accepted.entry(number).or_default() += 1;
                        }
                    }
                    Event::Released(token) => receiver.waiting.push((token, None)),
                    Event::Completed { token, .. } => {
                        *receiver.tokens.get_mut(&token).expect("a token that was given out") += 1
                    }
                    other => panic!("unexpected {other:?}"),
                }
            }
            drop(input);
            match wants_in {
                Some(clean) => {
                    assert!(!clean);
                    let accept = Accept { session_present: self.server_has_session, ..Accept::default() };
                    let session = receiver.session.take().unwrap();
                    connection.accept(self.now, session, &self.config, &accept);
                    self.server_has_session = true;
                    bytes = &[];
                }
                None => break,
            }
        }
    }

    /// Writes all that an end has to say, watching it packet by packet.
    fn write(&mut self, from: Role) {
        let (maximum, version, now) = (self.plan.receive_maximum, self.plan.version, self.now);
        let (end, other) = match from {
            Role::Client => (&mut self.client, &mut self.server),
            Role::Server => (&mut self.server, &mut self.client),
        };
        let Some(connection) = &mut end.connection else { return };
        let mut out = OutBuf::with_limit(1 << 20);
        while connection.poll_transmit(now, &mut out) == Transmit::Wrote {
            let mut bytes = Vec::new();
            while !out.is_empty() {
                bytes.extend_from_slice(out.chunk());
                out.advance(out.chunk().len());
            }
            match Packet::decode(&bytes, version, from).unwrap() {
                Packet::Publish(publish) if publish.qos != Qos::AtMostOnce => {
                    end.unfinished.insert(publish.packet_id.unwrap().get());
                    // pitfall 5: the quota never rises above where it began. Before 5.0 only the server's own window holds.
                    let start = match (version, from) {
                        (Version::V5, Role::Client) => maximum,
                        (Version::V5, Role::Server) => maximum.min(self.plan.maximum_inflight),
                        (_, Role::Client) => u16::MAX,
                        (_, Role::Server) => self.plan.maximum_inflight,
                    };
                    assert!(end.unfinished.len() <= usize::from(start), "more than {start} unfinished");
                }
                Packet::Ack(ack) => {
                    let finished = match ack.kind {
                        AckKind::Puback | AckKind::Pubcomp => true,
                        AckKind::Pubrec => ack.reason.is_error(),
                        AckKind::Pubrel => false,
                    };
                    if finished {
                        other.unfinished.remove(&ack.packet_id.get());
                    }
                }
                _ => {}
            }
            end.written.extend_from_slice(&bytes);
            end.wire.extend(bytes);
        }
    }

    /// No more faults: all that waits is carried over and acknowledged.
    pub(crate) fn settle(&mut self) {
        if self.client.connection.is_none() {
            self.connect();
        }
        for _ in 0..100_000 {
            let before = self.client.written.len() + self.server.written.len();
            let nothing_on_the_way = self.client.wire.is_empty() && self.server.wire.is_empty();
            for role in [Role::Client, Role::Server] {
                self.transfer(role);
                self.acknowledge(role, true);
                self.write(role);
            }
            let quiet = before == self.client.written.len() + self.server.written.len();
            if quiet && nothing_on_the_way && self.client.waiting.is_empty() && self.server.waiting.is_empty() {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    // --- what must hold ----------------------------------------------------------------------------------------------

    /// QoS 0 at most once, QoS 1 at least once, QoS 2 exactly once; a refused message may be missing.
    pub(crate) fn check_deliveries(&self) {
        for (from, to) in [(&self.client, &self.server), (&self.server, &self.client)] {
            for &(number, _, qos) in &from.published {
                let times = to.accepted.get(&number).copied().unwrap_or(0);
                let refused = to.refused.contains(&number);
                let right = match qos {
                    Qos::AtMostOnce => times <= 1,
                    Qos::AtLeastOnce => times >= 1 || refused,
                    Qos::ExactlyOnce => times == 1 || (times == 0 && refused),
                };
                assert!(right, "message {number} of the {:?} at {qos:?} was accepted {times} times", from.role);
            }
        }
    }

    /// Per topic and QoS, by first arrival.
    pub(crate) fn check_order(&self) {
        for (from, to) in [(&self.client, &self.server), (&self.server, &self.client)] {
            for topic in 0..TOPICS.len() {
                for qos in crate::QOS {
                    let mut seen = BTreeSet::new();
                    let of = |list: &[(Number, usize, Qos)]| -> Vec<Number> {
                        list.iter().filter(|(_, t, q)| (*t, *q) == (topic, qos)).map(|(number, ..)| *number).collect()
                    };
                    let arrived: Vec<_> = of(&to.arrived).into_iter().filter(|number| seen.insert(*number)).collect();
                    let sent: Vec<_> = of(&from.published).into_iter().filter(|number| seen.contains(number)).collect();
                    assert_eq!(arrived, sent, "order of topic {topic} at {qos:?} from the {:?}", from.role);
                }
            }
        }
    }

    /// Every QoS 1 and 2 message completes exactly once.
    pub(crate) fn check_completions(&self) {
        for end in [&self.client, &self.server] {
            for (token, times) in &end.tokens {
                assert_eq!(*times, 1, "completions of {token:?} at the {:?}", end.role);
            }
        }
    }

    pub(crate) fn check_at_least_once(&self) {
        for &(number, _, qos) in &self.client.published {
            let came = self.server.accepted.contains_key(&number) || self.server.refused.contains(&number);
            assert!(came || qos == Qos::AtMostOnce, "message {number} at {qos:?} is lost");
        }
    }

    pub(crate) fn check_each_arrived_once(&self) {
        for (from, to) in [(&self.client, &self.server), (&self.server, &self.client)] {
            for (number, ..) in &from.published {
                assert_eq!(to.accepted.get(number), Some(&1), "message {number} of the {:?}", from.role);
            }
        }
    }

    /// Nothing is kept when all is said (pitfall 42: no identifier leaks).
    pub(crate) fn check_idle(&self) {
        for end in [&self.client, &self.server] {
            let connection = end.connection.as_ref().unwrap();
            assert_eq!(connection.state(), State::Connected);
            assert!(connection.session().is_empty(), "{:?}", connection.session());
            assert_eq!(connection.session().bytes(), 0);
            assert_eq!(connection.session().inflight(), 0);
            assert_eq!(connection.unacknowledged(), 0);
            assert_eq!(connection.control_backlog(), 0);
            assert!(end.unfinished.is_empty(), "{:?}", end.unfinished);
        }
    }

    pub(crate) fn arrivals(&self) -> Vec<(Number, usize, Qos)> {
        self.client.arrived.iter().chain(&self.server.arrived).copied().collect()
    }

    pub(crate) fn wire(&self) -> Vec<u8> {
        [self.client.written.as_slice(), &self.server.written].concat()
    }

    fn random_qos(&mut self) -> Qos {
        crate::QOS[self.random.below(3) as usize]
    }

    fn next_message(&mut self) -> (Number, usize, Vec<u8>) {
        self.next_number += 1;
        let mut payload = self.next_number.to_be_bytes().to_vec();
        payload.resize(4 + self.random.below(40) as usize * 60, 0x5A);
        (self.next_number, self.random.below(TOPICS.len() as u64) as usize, payload)
    }
}
