//! Two ends that crash: each has a store that may lose the end of its log, and is built anew from what is left.
use crate::random::Random;
use mqtt_session::codec::{
    AckKind, Connect, OutBuf, Packet, Properties, Property, Qos, Reader, ReasonCode, Role, Utf8, Version,
};
use mqtt_session::topic::TopicName;
use mqtt_session::{
    Accept, AckToken, Change, Connection, Delivery, Epoch, Event, Instant, Message, Place, Publication, QueueLimits,
    ServerConfig, Session, Snapshot, Transmit,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(crate) const LIMITS: QueueLimits = QueueLimits { messages: 1_000, bytes: 1_000_000 };
pub(crate) const EPOCH: Epoch = Epoch::from_unix_millis(1_700_000_000_000);

/// A message by its payload.
pub(crate) type Number = u32;

/// What one call of the host changed: it is stored whole or not at all.
#[derive(Clone, Default)]
struct Batch {
    changes: Vec<Vec<u8>>,
    /// The number of the last change.
    last: u64,
    /// Messages that the application has taken.
    taken: Vec<Number>,
    /// Messages that are to be sent.
    queued: Vec<Number>,
}

/// A log behind a snapshot.
struct Store {
    base: Vec<u8>,
    /// What the application knew at the snapshot.
    base_facts: Facts,
    log: Vec<Batch>,
    /// How much of the log survives a crash.
    synced: usize,
}

#[derive(Clone, Default)]
pub(crate) struct Facts {
    pub(crate) taken: BTreeMap<Number, u32>,
    pub(crate) queued: BTreeSet<Number>,
}

impl Facts {
    fn add(&mut self, batch: &Batch) {
        for &number in &batch.taken {
            *self.taken.entry(number).or_default() += 1;
        }
        self.queued.extend(&batch.queued);
    }
}

impl Store {
    fn facts(&self, batches: usize) -> Facts {
        let mut facts = self.base_facts.clone();
        self.log[..batches].iter().for_each(|batch| facts.add(batch));
        facts
    }

    fn restore(&self) -> Session {
        let snapshot = Snapshot::from_bytes(self.base.as_slice()).unwrap();
        let mut session = Session::restore(&snapshot, EPOCH).unwrap();
        for record in self.log.iter().flat_map(|batch| &batch.changes) {
            session.apply(Change::decode(record, EPOCH).unwrap()).unwrap();
        }
        session
    }
}

pub(crate) struct End {
    pub(crate) role: Role,
    pub(crate) connection: Option<Connection>,
    reader: Option<Reader>,
    session: Option<Session>,
    /// Packets written and not arrived.
    wire: VecDeque<Vec<u8>>,
    waiting: Vec<(AckToken, Option<(Number, Qos)>)>,
    /// QoS 1 messages that are acknowledged when the application's word on them is confirmed: nothing of theirs is in the session.
    owed: Vec<AckToken>,
    store: Store,
    batch: Batch,
    place: Option<(Place, u32)>,
    /// Given up by the host: they need not arrive.
    dropped: BTreeSet<Number>,
    /// QoS of all that was ever published.
    qos: BTreeMap<Number, Qos>,
    /// Watching the wire: the QoS 2 message that was sent last under an identifier.
    under: BTreeMap<u16, Number>,
    /// All that was written.
    written: Vec<u8>,
}

impl End {
    fn new(role: Role, recording: bool) -> Self {
        let mut session = Session::new();
        let base = session.snapshot(EPOCH).as_bytes().to_vec();
        if recording {
            session.record_changes();
        }
        Self {
            role,
            connection: None,
            reader: None,
            session: Some(session),
            wire: VecDeque::new(),
            waiting: Vec::new(),
            owed: Vec::new(),
            store: Store { base, base_facts: Facts::default(), log: Vec::new(), synced: 0 },
            batch: Batch::default(),
            place: None,
            dropped: BTreeSet::new(),
            qos: BTreeMap::new(),
            under: BTreeMap::new(),
            written: Vec::new(),
        }
    }

    pub(crate) fn session(&mut self) -> &mut Session {
        match (&mut self.session, &mut self.connection) {
            (Some(session), _) => session,
            (None, Some(connection)) => connection.session_mut(),
            (None, None) => panic!("no session"),
        }
    }

    fn cut(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.session.get_or_insert_with(|| connection.into_session());
        }
        if let Some((place, _)) = self.place.take() {
            self.session().close_place(place);
        }
        self.reader = None;
        self.wire.clear();
        self.waiting.clear();
        self.owed.clear();
    }

    /// What the call changed goes to the log.
    fn commit(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        while let Some((number, change)) = self.session().poll_change() {
            assert!(number > batch.last);
            batch.last = number;
            if let Change::Queued { delivery, .. } = &change {
                batch.queued.push(number_of(delivery.message.payload()));
            }
            let mut record = Vec::new();
            change.encode(EPOCH, &mut record);
            batch.changes.push(record);
        }
        if !batch.changes.is_empty() || !batch.taken.is_empty() {
            self.store.log.push(batch);
        }
    }

    /// Changes that a crash would lose.
    pub(crate) fn unsynced(&self) -> usize {
        self.store.log.len() - self.store.synced
    }

    pub(crate) fn sync(&mut self) {
        self.store.synced = self.store.log.len();
        let last = self.store.log.iter().map(|batch| batch.last).max().unwrap_or(0);
        self.session().stored(last);
        for token in std::mem::take(&mut self.owed) {
            self.connection.as_mut().unwrap().acknowledge(token, ReasonCode::SUCCESS);
        }
    }

    /// The process dies; of what was not confirmed the first `tail` batches survive.
    fn crash(&mut self, tail: usize) {
        self.cut();
        self.batch = Batch::default();
        self.store.log.truncate(self.store.synced + tail);
        let mut session = self.store.restore();
        self.store.base = session.snapshot(EPOCH).as_bytes().to_vec();
        self.store.base_facts = self.store.facts(self.store.log.len());
        self.store.log.clear();
        self.store.synced = 0;
        session.record_changes();
        self.session = Some(session);
    }

    /// `apply(snapshot, changes) == the snapshot after them`.
    fn check_log(&mut self) {
        let now = self.session().snapshot(EPOCH);
        assert_eq!(self.store.restore().snapshot(EPOCH).as_bytes(), now.as_bytes());
    }

    fn synced_facts(&self) -> Facts {
        self.store.facts(self.store.synced)
    }

    pub(crate) fn facts(&self) -> Facts {
        self.store.facts(self.store.log.len())
    }
}

fn number_of(payload: &[u8]) -> Number {
    Number::from_be_bytes(payload[..4].try_into().unwrap())
}

#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) version: Version,
    pub(crate) window: u16,
    pub(crate) recording: bool,
    /// At every cut, both sessions go through their snapshots.
    pub(crate) through_snapshots: bool,
}

pub(crate) struct World {
    pub(crate) random: Random,
    plan: Plan,
    now: Instant,
    pub(crate) client: End,
    pub(crate) server: End,
    next: Number,
    server_knows: bool,
}

impl World {
    pub(crate) fn new(seed: u64, plan: Plan) -> Self {
        Self {
            random: Random::new(seed),
            plan,
            now: Instant::ZERO,
            client: End::new(Role::Client, plan.recording),
            server: End::new(Role::Server, plan.recording),
            next: 0,
            server_knows: false,
        }
    }

    pub(crate) fn end(&mut self, role: Role) -> &mut End {
        if role == Role::Client { &mut self.client } else { &mut self.server }
    }

    // --- what happens ------------------------------------------------------------------------------------------------

    pub(crate) fn connect(&mut self) {
        let Some(session) = self.client.session.take() else { return };
        let v5 = self.plan.version == Version::V5;
        let properties = [Property::SessionExpiryInterval(1000), Property::ReceiveMaximum(self.plan.window)];
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
        client.set_manual_acknowledgement(true);
        self.client.reader = Some(client.reader());
        self.client.connection = Some(client);
        let server = Connection::server(self.now, &self.config());
        self.server.reader = Some(server.reader());
        self.server.connection = Some(server);
    }

    fn config(&self) -> ServerConfig {
        let mut config = ServerConfig::default();
        config.maximum_inflight = self.plan.window;
        config
    }

    pub(crate) fn publish(&mut self, role: Role, qos: Qos) {
        let delivery = self.message(role, qos);
        let end = self.end(role);
        end.session().deliver(delivery, &LIMITS).unwrap();
        end.commit();
    }

    fn message(&mut self, role: Role, qos: Qos) -> Delivery {
        self.next += 1;
        let (number, now) = (self.next, self.now);
        let payload = number.to_be_bytes();
        let message = Message::new(now, &Publication::new(TopicName::new("t").unwrap(), &payload));
        self.end(role).qos.insert(number, qos);
        Delivery::new(message, qos, false)
    }

    /// A replay begins: so many messages are put into a place.
    pub(crate) fn hold_place(&mut self, messages: u32) {
        let Some(connection) = self.server.connection.as_mut().filter(|_| self.server.session.is_none()) else {
            return;
        };
        if self.server.place.is_none() {
            self.server.place = Some((connection.session_mut().hold_place(), messages));
        }
    }

    pub(crate) fn drop_oldest(&mut self, role: Role) {
        let end = self.end(role);
        if let Some(delivery) = end.session().drop_oldest() {
            end.dropped.insert(number_of(delivery.message.payload()));
        }
        end.commit();
    }

    /// One end writes all it may.
    pub(crate) fn write(&mut self, role: Role) {
        let (now, version) = (self.now, self.plan.version);
        let mut out = OutBuf::with_limit(1 << 20);
        loop {
            let Some(connection) = &mut self.end(role).connection else { return };
            match connection.poll_transmit(now, &mut out) {
                Transmit::Wrote => {}
                Transmit::Place(place) => {
                    self.fill(place);
                    continue;
                }
                Transmit::Full | Transmit::Empty => break,
            }
            let mut bytes = Vec::new();
            while !out.is_empty() {
                bytes.extend_from_slice(out.chunk());
                out.advance(out.chunk().len());
            }
            let recording = self.plan.recording;
            let (end, peer) = match role {
                Role::Client => (&mut self.client, &self.server),
                Role::Server => (&mut self.server, &self.client),
            };
            end.written.extend_from_slice(&bytes);
            let packet = Packet::decode(&bytes, version, role).unwrap();
            if recording {
                end.watch(&packet, peer);
            }
            end.wire.push_back(bytes);
        }
        self.end(role).commit();
    }

    fn fill(&mut self, place: Place) {
        let Some((held, left)) = self.server.place else { panic!("a place nobody holds") };
        assert_eq!(place, held);
        if left == 0 {
            self.server.place = None;
            return self.server.session().close_place(place);
        }
        self.server.place = Some((held, left - 1));
        let qos = if left % 2 == 0 { Qos::ExactlyOnce } else { Qos::AtLeastOnce };
        let delivery = self.message(Role::Server, qos);
        self.server.session().fill_place(place, delivery);
    }

    /// Whether a packet arrived at the other end.
    pub(crate) fn carry(&mut self, from: Role) -> bool {
        let (version, now, config) = (self.plan.version, self.now, self.config());
        let (sender, receiver) = match from {
            Role::Client => (&mut self.client, &mut self.server),
            Role::Server => (&mut self.server, &mut self.client),
        };
        let Some(packet) = sender.wire.pop_front() else { return false };
        if let Packet::Ack(ack) = Packet::decode(&packet, version, from).unwrap()
            && ack.kind == AckKind::Pubrel
            && self.plan.recording
        {
            // a PUBREL is only ever for a message that the other end has taken
            let number = sender.under[&ack.packet_id.get()];
            assert!(receiver.facts().taken.contains_key(&number), "PUBREL for {number}, which is not known");
        }
        let (Some(connection), Some(reader)) = (&mut receiver.connection, &mut receiver.reader) else { return true };
        let mut wants_in = false;
        let mut input = connection.read(now, reader, &packet);
        while let Some(event) = input.next().expect("neither end breaks a rule") {
            match event {
                Event::Connect(_) => wants_in = true,
                Event::Publish(received, token) => {
                    receiver.waiting.push((token, Some((number_of(received.payload), received.qos))));
                }
                Event::Released(token) => receiver.waiting.push((token, None)),
                _ => {}
            }
        }
        drop(input);
        if wants_in {
            let accept = Accept { session_present: self.server_knows, ..Accept::default() };
            connection.accept(now, receiver.session.take().unwrap(), &config, &accept);
            self.server_knows = true;
        }
        receiver.commit();
        true
    }

    /// The host of one end answers one thing, the one at `at`; `take` first, in a call of its own.
    pub(crate) fn answer(&mut self, role: Role, at: usize, take: bool) -> bool {
        let recording = self.plan.recording;
        let end = self.end(role);
        if end.waiting.is_empty() {
            return false;
        }
        let (token, message) = end.waiting.remove(at % end.waiting.len());
        let connection = end.connection.as_mut().unwrap();
        end.batch.taken.extend(message.map(|(number, _)| number));
        if recording && message.is_some_and(|(_, qos)| qos == Qos::AtLeastOnce) {
            end.owed.push(token);
            end.commit();
            return true;
        }
        if take {
            connection.take(token);
            end.commit();
        }
        let connection = end.connection.as_mut().unwrap();
        connection.acknowledge(token, ReasonCode::SUCCESS);
        end.commit();
        true
    }

    pub(crate) fn cut(&mut self) {
        self.client.cut();
        self.server.cut();
        for end in [&mut self.client, &mut self.server] {
            if self.plan.recording {
                end.commit();
            } else if self.plan.through_snapshots {
                let later = Epoch::from_unix_millis(EPOCH.to_unix_millis(Instant::ZERO));
                let snapshot = end.session().snapshot(EPOCH);
                let bytes = snapshot.as_bytes().to_vec();
                end.session = Some(Session::restore(&Snapshot::from_bytes(bytes).unwrap(), later).unwrap());
            }
        }
    }

    /// One end dies, and keeps `tail` of what was not confirmed; the link goes with it.
    pub(crate) fn crash(&mut self, role: Role, tail: usize) {
        self.client.cut();
        self.server.cut();
        self.client.commit();
        self.server.commit();
        self.end(role).crash(tail);
    }

    /// A random thing happens.
    pub(crate) fn step(&mut self) {
        self.now = self.now.plus_millis(10);
        if self.client.connection.is_none() {
            self.connect();
        }
        let role = if self.random.chance(50) { Role::Client } else { Role::Server };
        match self.random.below(100) {
            0..18 => {
                let qos = if self.random.chance(50) { Qos::AtLeastOnce } else { Qos::ExactlyOnce };
                self.publish(role, qos);
            }
            18..45 => self.write(role),
            45..72 => {
                self.carry(role);
            }
            72..82 => {
                let (at, take) = (self.random.below(8) as usize, self.random.chance(30));
                self.answer(role, at, take);
            }
            82..92 if self.plan.recording => self.end(role).sync(),
            92..94 if self.plan.recording => {
                let unsynced = self.end(role).unsynced() as u64;
                let tail = self.random.below(unsynced + 1) as usize;
                self.crash(role, tail);
            }
            94..96 => self.cut(),
            96 => {
                let messages = self.random.below(6) as u32;
                self.hold_place(messages);
            }
            97 if self.plan.recording => self.drop_oldest(role),
            _ => {}
        }
        if self.plan.recording {
            self.client.check_log();
            self.server.check_log();
        }
    }

    /// Everything is carried, answered and confirmed.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10_000 {
            if self.client.connection.is_none() {
                self.connect();
            }
            let mut busy = false;
            for role in [Role::Client, Role::Server] {
                self.write(role);
                if self.plan.recording {
                    self.end(role).sync();
                }
                self.write(role);
                while self.carry(role) {
                    busy = true;
                }
                while self.answer(role, 0, false) {
                    busy = true;
                }
            }
            if !busy && self.client.session().is_empty() && self.server.session().is_empty() {
                return;
            }
        }
        panic!("the world does not come to rest: {:?} {:?}", self.client.connection, self.server.connection);
    }

    // --- what must hold ----------------------------------------------------------------------------------------------

    /// QoS 2 exactly once, QoS 1 at least once, of all that the publisher's store knows.
    pub(crate) fn check(&mut self) {
        for (from, to) in [(&self.client, &self.server), (&self.server, &self.client)] {
            let (queued, taken) = (from.facts().queued, to.facts().taken);
            for (&number, &qos) in &from.qos {
                let times = taken.get(&number).copied().unwrap_or(0);
                let must = queued.contains(&number) && !from.dropped.contains(&number);
                assert!(times > 0 || !must, "{number} of the {:?} is lost", from.role);
                assert!(times < 2 || qos == Qos::AtLeastOnce, "{number} of the {:?} came {times} times", from.role);
            }
        }
        for end in [&mut self.client, &mut self.server] {
            assert_eq!(end.session().bytes(), 0);
            assert_eq!((end.session().queued(), end.session().inflight()), (0, 0));
        }
    }

    pub(crate) fn written(&self) -> (Vec<u8>, Vec<u8>) {
        (self.client.written.clone(), self.server.written.clone())
    }
}

impl End {
    /// Nothing is said that a restart from what is confirmed would contradict.
    fn watch(&mut self, packet: &Packet<'_>, peer: &End) {
        let facts = self.synced_facts();
        match packet {
            Packet::Publish(publish) if publish.qos == Qos::ExactlyOnce => {
                let (id, number) = (publish.packet_id.unwrap().get(), number_of(publish.payload));
                assert!(facts.queued.contains(&number), "{number} is sent and not stored");
                self.under.insert(id, number);
            }
            Packet::Ack(ack) if ack.kind == AckKind::Pubrec && !ack.reason.is_error() => {
                let number = peer.under[&ack.packet_id.get()];
                assert!(facts.taken.contains_key(&number), "{number} is acknowledged and not stored");
            }
            _ => {}
        }
    }
}
