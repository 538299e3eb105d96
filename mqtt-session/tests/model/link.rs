//! Two ends and their references, packet by packet.
use crate::reference::{Number, Reference, Seen, Wire};
use mqtt_session::codec::{
    AckKind, Connect, OutBuf, Packet, Properties, Property, Qos, Reader, ReasonCode, Role, Utf8, Version,
};
use mqtt_session::topic::TopicName;
use mqtt_session::{
    Accept, AckToken, Connection, Delivery, Epoch, Event, Instant, Message, Publication, PublishToken, QueueLimits,
    ServerConfig, Session, Snapshot, Transmit,
};
use std::collections::{BTreeMap, VecDeque};

const LIMITS: QueueLimits = QueueLimits { messages: 100, bytes: 100_000 };
const NOW: Instant = Instant::ZERO;
const ROLES: [Role; 2] = [Role::Client, Role::Server];

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Publish(Role, u8),
    /// The next packet that this end has written arrives.
    Carry(Role),
    /// The host of this end answers what has waited longest, or not as long as any.
    Answer(Role, Which),
    /// The same, with a refusal.
    Refuse(Role),
    /// What is on its way is lost, and the session is resumed.
    Cut,
    /// The same, and the end starts again from its snapshot.
    Restart(Role),
    /// The same, and the server comes back with nothing.
    Forget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    First,
    Last,
}

/// With what a run begins, and what can happen in it.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) version: Version,
    /// The client's host acknowledges by itself.
    pub(crate) manual: bool,
    /// Receive Maximum of both.
    pub(crate) maximum: u16,
    /// The QoS of each message that is there at the start.
    pub(crate) from_client: &'static [u8],
    pub(crate) from_server: &'static [u8],
    pub(crate) cuts: usize,
    pub(crate) refuses: bool,
    pub(crate) forgets: bool,
}

struct End {
    role: Role,
    connection: Connection,
    reader: Reader,
    reference: Reference,
    /// On its way to the other end.
    wire: VecDeque<(Wire, Vec<u8>)>,
    waiting: Vec<AckToken>,
    numbers: BTreeMap<PublishToken, Number>,
    published: Vec<(Number, u8)>,
    arrived: Vec<Number>,
    accepted: BTreeMap<Number, usize>,
    refused: Vec<Number>,
    completed: BTreeMap<Number, usize>,
}

pub(crate) struct Link {
    setup: Setup,
    client: End,
    server: End,
    next: Number,
    cuts: usize,
    forgotten: bool,
}

impl Link {
    pub(crate) fn new(setup: &Setup) -> Self {
        let mut link = Self {
            client: End::new(Role::Client, setup),
            server: End::new(Role::Server, setup),
            setup: setup.clone(),
            next: 0,
            cuts: 0,
            forgotten: false,
        };
        link.connect(Session::new(), Session::new(), false);
        setup.from_client.iter().for_each(|&qos| link.publish(Role::Client, qos));
        setup.from_server.iter().for_each(|&qos| link.publish(Role::Server, qos));
        link.write();
        link
    }

    /// What can happen now, publishing apart.
    pub(crate) fn possible(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        for role in ROLES {
            let end = self.end(role);
            if !end.wire.is_empty() {
                actions.push(Action::Carry(role));
            }
            let waiting = end.reference.waiting();
            if waiting > 0 {
                actions.push(Action::Answer(role, Which::First));
            }
            if waiting > 1 {
                actions.push(Action::Answer(role, Which::Last));
            }
            if waiting > 0 && self.setup.refuses && self.setup.version == Version::V5 {
                actions.push(Action::Refuse(role));
            }
        }
        if self.cuts < self.setup.cuts {
            actions.extend([Action::Cut, Action::Restart(Role::Client), Action::Restart(Role::Server)]);
            if self.setup.forgets {
                actions.push(Action::Forget);
            }
        }
        actions
    }

    pub(crate) fn act(&mut self, action: Action) {
        match action {
            Action::Publish(role, qos) => self.publish(role, qos),
            Action::Carry(role) => self.carry(role),
            Action::Answer(role, which) => self.answer(role, which, false),
            Action::Refuse(role) => self.answer(role, Which::First, true),
            Action::Cut | Action::Restart(_) => {
                self.cuts += 1;
                let [client, server] = ROLES.map(|role| {
                    let session = self.end_mut(role).leave();
                    if action == Action::Restart(role) { restart(&session) } else { session }
                });
                self.connect(client, server, true);
            }
            Action::Forget => {
                self.cuts += 1;
                self.forgotten = true;
                let [client, _] = ROLES.map(|role| self.end_mut(role).leave());
                self.server.reference = self.setup.reference(Role::Server);
                self.connect(client, Session::new(), false);
            }
        }
        self.write();
        for role in ROLES {
            self.end(role).check();
        }
    }

    /// Everything arrives and is answered, and then all must be as it should be.
    pub(crate) fn finish(&mut self) {
        for _ in 0..1_000 {
            let mut quiet = true;
            for role in ROLES {
                while !self.end(role).wire.is_empty() {
                    quiet = false;
                    self.act(Action::Carry(role));
                }
                while self.end(role).reference.waiting() > 0 {
                    quiet = false;
                    self.act(Action::Answer(role, Which::First));
                }
            }
            if quiet {
                return self.check_end();
            }
        }
        panic!("no end");
    }

    fn check_end(&self) {
        for (from, to) in [(&self.client, &self.server), (&self.server, &self.client)] {
            assert!(from.reference.is_empty(), "{:?}", from.reference);
            assert!(from.connection.session().is_empty(), "{:?}", from.connection.session());
            if self.forgotten && from.role == Role::Server {
                continue;
            }
            for &(number, qos) in &from.published {
                let (times, refused) = (to.accepted.get(&number).copied().unwrap_or(0), to.refused.contains(&number));
                let right = match (qos, self.forgotten) {
                    (2, false) => times == 1 || (times == 0 && refused),
                    _ => times >= 1 || refused,
                };
                assert!(right, "message {number} at QoS {qos} was accepted {times} times");
                assert!(self.forgotten || from.completed.get(&number) == Some(&1), "message {number} at QoS {qos}");
            }
            // by first arrival
            for qos in [1, 2] {
                let sent: Vec<_> = from.published.iter().filter(|sent| sent.1 == qos).map(|sent| sent.0).collect();
                let mut arrived = to.arrived.clone();
                arrived.retain(|number| sent.contains(number));
                let mut seen = Vec::new();
                arrived.retain(|number| {
                    !seen.contains(number) && {
                        seen.push(*number);
                        true
                    }
                });
                assert_eq!(arrived, sent, "order at QoS {qos} from the {:?}", from.role);
            }
        }
    }

    fn end(&self, role: Role) -> &End {
        if role == Role::Client { &self.client } else { &self.server }
    }

    fn end_mut(&mut self, role: Role) -> &mut End {
        if role == Role::Client { &mut self.client } else { &mut self.server }
    }

    fn publish(&mut self, role: Role, qos: u8) {
        self.next += 1;
        let number = self.next;
        self.end_mut(role).publish(number, qos);
    }

    fn carry(&mut self, from: Role) {
        let (wire, bytes) = self.end_mut(from).wire.pop_front().unwrap();
        let to = if from == Role::Client { &mut self.server } else { &mut self.client };
        let seen = to.hear(&bytes);
        let expected = to.reference.receive(wire);
        assert_eq!(seen, Vec::from_iter(expected), "{wire:?} at the {:?}", to.role);
        if let Some(Seen::Publish(number)) = expected
            && !to.reference.manual
        {
            *to.accepted.entry(number).or_default() += 1;
        }
    }

    fn answer(&mut self, role: Role, which: Which, refuse: bool) {
        let end = self.end_mut(role);
        let at = match which {
            Which::First => 0,
            Which::Last => end.waiting.len() - 1,
        };
        let token = end.waiting.remove(at);
        end.connection.acknowledge(token, if refuse { ReasonCode::NOT_AUTHORIZED } else { ReasonCode::SUCCESS });
        // a release is no message
        let Some(number) = end.reference.answer(at, refuse) else { return };
        if refuse {
            end.refused.push(number);
        } else {
            *end.accepted.entry(number).or_default() += 1;
        }
    }

    /// Both ends write all they have.
    fn write(&mut self) {
        let version = self.setup.version;
        for role in ROLES {
            self.end_mut(role).write(version);
        }
    }

    /// A new connection: the handshake is not what is tried here.
    fn connect(&mut self, client: Session, server: Session, present: bool) {
        let v5 = self.setup.version == Version::V5;
        let properties = [Property::SessionExpiryInterval(1000), Property::ReceiveMaximum(self.setup.maximum)];
        let connect = Connect {
            version: self.setup.version,
            clean_start: false,
            keep_alive: 0,
            properties: if v5 { Properties::from_slice(&properties) } else { Properties::EMPTY },
            client_id: Utf8::new("c").unwrap(),
            will: None,
            user_name: None,
            password: None,
        };
        let mut config = ServerConfig::default();
        config.maximum_inflight = self.setup.maximum;
        if v5 {
            config.receive_maximum = self.setup.maximum;
        }
        self.client.join(Connection::client(NOW, &connect, client).unwrap());
        self.client.connection.set_manual_acknowledgement(self.setup.manual);
        self.server.join(Connection::server(NOW, &config));
        let hello = one(&mut self.client.connection);
        assert!(self.server.hear(&hello).is_empty());
        self.server.connection.accept(NOW, server, &config, &Accept { session_present: present, ..Accept::default() });
        let connack = one(&mut self.server.connection);
        assert!(self.client.hear(&connack).is_empty());
        // a server that remembers, or a client that was told it does not
        if present {
            self.client.reference.resume();
            self.server.reference.resume();
        } else {
            self.client.reference.begin_anew();
        }
    }
}

/// What another process goes on with.
fn restart(session: &Session) -> Session {
    let epoch = Epoch::from_unix_millis(1_700_000_000_000);
    let stored = Snapshot::from_bytes(session.snapshot(epoch).as_bytes()).unwrap();
    Session::restore(&stored, epoch).unwrap()
}

impl Setup {
    fn reference(&self, role: Role) -> Reference {
        // before 5.0 a client is told of no maximum
        let told = role == Role::Server || self.version == Version::V5;
        let maximum = if told { self.maximum.into() } else { usize::from(u16::MAX) };
        Reference::new(maximum, self.manual || role == Role::Server)
    }
}

impl End {
    fn new(role: Role, setup: &Setup) -> Self {
        let connection = Connection::server(NOW, &ServerConfig::default());
        Self {
            role,
            reader: connection.reader(),
            connection,
            reference: setup.reference(role),
            wire: VecDeque::new(),
            waiting: Vec::new(),
            numbers: BTreeMap::new(),
            published: Vec::new(),
            arrived: Vec::new(),
            accepted: BTreeMap::new(),
            refused: Vec::new(),
            completed: BTreeMap::new(),
        }
    }

    fn join(&mut self, connection: Connection) {
        self.reader = connection.reader();
        self.connection = connection;
    }

    /// The connection is over: what is left of it.
    fn leave(&mut self) -> Session {
        self.wire.clear();
        self.waiting.clear();
        let none = Connection::server(NOW, &ServerConfig::default());
        std::mem::replace(&mut self.connection, none).into_session()
    }

    fn publish(&mut self, number: Number, qos: u8) {
        let payload = [number];
        let mut publication = Publication::new(TopicName::new("a").unwrap(), &payload);
        publication.qos = if qos == 1 { Qos::AtLeastOnce } else { Qos::ExactlyOnce };
        let token = match self.role {
            Role::Client => self.connection.publish(NOW, &publication, &LIMITS).unwrap(),
            Role::Server => {
                let delivery = Delivery::new(Message::new(NOW, &publication), publication.qos, false);
                self.connection.deliver(delivery, &LIMITS).unwrap();
                self.connection.session().last_token()
            }
        };
        self.numbers.insert(token, number);
        self.published.push((number, qos));
        self.reference.publish(number, qos);
    }

    fn hear(&mut self, bytes: &[u8]) -> Vec<Seen> {
        let mut seen = Vec::new();
        let mut input = self.connection.read(NOW, &mut self.reader, bytes);
        while let Some(event) = input.next().expect("neither end breaks a rule") {
            match event {
                Event::Publish(received, token) => {
                    seen.push(Seen::Publish(received.payload[0]));
                    self.arrived.push(received.payload[0]);
                    self.waiting.extend(token.is_awaited().then_some(token));
                }
                Event::Released(token) => {
                    seen.push(Seen::Released);
                    self.waiting.push(token);
                }
                Event::Completed { token, reason, .. } => {
                    let number = self.numbers[&token];
                    *self.completed.entry(number).or_default() += 1;
                    seen.push(Seen::Completed { number, refused: reason.is_error() });
                }
                Event::Handled | Event::Connect(_) | Event::Connected(_) => {}
                other => panic!("{other:?}"),
            }
        }
        seen
    }

    fn write(&mut self, version: Version) {
        let mut written = Vec::new();
        loop {
            let bytes = one(&mut self.connection);
            if bytes.is_empty() {
                break;
            }
            let wire = wire(&Packet::decode(&bytes, version, self.role).unwrap());
            written.push(wire);
            self.wire.push_back((wire, bytes));
        }
        self.reference.check_written(&written);
    }

    /// What can be seen of the state is as in the reference.
    fn check(&self) {
        let session = self.connection.session();
        let seen = (session.inflight(), session.queued(), self.connection.unacknowledged());
        let reference = &self.reference;
        assert_eq!(seen, (reference.inflight(), reference.queued(), reference.waiting()), "{reference:?}");
        assert_eq!(self.waiting.len(), reference.waiting());
    }
}

/// One packet, or nothing.
fn one(connection: &mut Connection) -> Vec<u8> {
    let (mut out, mut bytes) = (OutBuf::with_limit(1 << 16), Vec::new());
    let _: Transmit = connection.poll_transmit(NOW, &mut out);
    while !out.is_empty() {
        bytes.extend_from_slice(out.chunk());
        out.advance(out.chunk().len());
    }
    bytes
}

fn wire(packet: &Packet<'_>) -> Wire {
    match packet {
        Packet::Publish(publish) => Wire::Publish {
            id: publish.packet_id.unwrap().get(),
            number: publish.payload[0],
            qos: publish.qos as u8,
            dup: publish.dup,
        },
        Packet::Ack(ack) => {
            let (id, refused) = (ack.packet_id.get(), ack.reason.is_error());
            match ack.kind {
                AckKind::Puback => Wire::Puback { id, refused },
                AckKind::Pubrec => Wire::Pubrec { id, refused },
                AckKind::Pubrel => Wire::Pubrel { id },
                AckKind::Pubcomp => Wire::Pubcomp { id },
            }
        }
        other => panic!("{other:?}"),
    }
}
