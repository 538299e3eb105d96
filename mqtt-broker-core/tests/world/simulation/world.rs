//! The broker under test with its host and its clients, and the reference beside it: each step is done, and what comes of it is judged.
use super::keeper::{About, Keeper, Message};
use super::plan::{Asked, Connect, Fault, Loss, Publish, Shape, Step, TOPICS};
use super::reference::{Got, Known, Reference};
use super::wire::{self, number_of};
use mqtt_broker_core::codec::{
    AckKind, Disconnect, OutBuf, Packet, Properties, Property, Publish as PublishPacket, Qos, Reader, ReasonCode,
    SubscribeOptions, Version,
};
use mqtt_broker_core::session::{Epoch, ProtocolErrorKind, QueueLimits};
use mqtt_broker_core::store::{
    Fault as StoreFault, MemoryStore, Store, StoreAction, StoreKey, StoreOp, StoreRecord, StoreTicket, Table, restore,
};
use mqtt_broker_core::topic::{HashSeed, TopicFilter, TopicName};
use mqtt_broker_core::{
    Broker, Cause, Config, ConnectionId, Decision, Drop, Durability, Event, EventMask, Instant, Limit, Peer,
    Publication, Rate, Read, RetainedCursor,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// A loop that goes on for longer does not end.
const FOREVER: usize = 100_000;
const SECOND: u64 = 1_000;
const START: u64 = 1_000_000;
const EPOCH: Epoch = Epoch::from_unix_millis(1_700_000_000_000);

/// What a client knows over all its connections.
#[derive(Default)]
struct Client {
    /// The connection it uses.
    link: Option<usize>,
    /// The session it was told of last.
    session: Option<u64>,
    last_id: u16,
    /// What it has published at QoS 1 and 2 and is not finished, in order.
    pending: Vec<Sent>,
    /// What it has at QoS 1 and 2, and the broker may not know that it is finished.
    unfinished: Vec<Taken>,
}

struct Sent {
    id: u16,
    publish: Publish,
    released: bool,
    /// Whether the policy has put it off or denied it, or may have.
    times: u32,
}

/// A message of QoS 1 or 2 that a client has.
struct Taken {
    id: u16,
    order: Option<u64>,
    by_group: bool,
    number: u32,
    qos: Qos,
    /// It has acknowledged (PUBACK, PUBCOMP): the broker may know.
    answered: bool,
    /// The broker knows.
    known: bool,
    topic: String,
    /// The right to it was taken back while the client was away.
    revoked: bool,
}

enum Request {
    Subscribe(Vec<(Asked, bool)>, Option<u32>),
    Unsubscribe(&'static str, bool),
}

struct Link {
    id: ConnectionId,
    who: usize,
    plan: Connect,
    reader: Option<Reader>,
    out: OutBuf,
    takes: Option<usize>,
    /// It took everything at once, always.
    clear: bool,
    reading: bool,
    /// It was not read for a time.
    was_paused: bool,
    /// What the host has not read, because it should not.
    wire: Vec<u8>,
    connected: bool,
    /// It has broken a rule.
    broken: bool,
    /// It said goodbye: with its will or not, and its word on expiry.
    goodbye: Option<(bool, Option<u32>)>,
    session: Option<u64>,
    /// The order of things when it was made.
    since: u64,
    answers: VecDeque<(AckKind, u16)>,
    aliases: BTreeMap<u16, String>,
    own_aliases: BTreeMap<u16, &'static str>,
    asked: BTreeMap<u16, Request>,
    /// The identifiers of what it has and has not acknowledged.
    inflight: Vec<u16>,
    /// How far the orders of QoS 0 and of QoS 1 and 2 have got.
    orders: [u64; 2],
    pings: usize,
    spoke: u64,
    /// When its CONNACK came: until then its silence is not its own doing, for that may wait for the store.
    welcomed: u64,
    /// What it will send again.
    later: Vec<u8>,
}

pub(super) struct World {
    broker: Broker<Keeper>,
    shape: Shape,
    now: u64,
    names: Vec<String>,
    clients: Vec<Client>,
    links: Vec<Option<Link>>,
    reference: Reference,
    /// Bytes that went anywhere, and when: two runs of one seed have the same.
    pub(super) trace: u64,
    purged: Option<usize>,
    settling: bool,
    known: Known,
    host: Host,
}

/// The host's store, and what it has not said to the broker yet.
struct Host {
    store: Rc<RefCell<MemoryStore>>,
    holds: bool,
    /// What was written and is not durable.
    waiting: Option<StoreTicket>,
    /// How things stood behind each batch that a crash may leave: the first is durable.
    stood: VecDeque<(u64, Reference)>,
    batches: u64,
}

/// Under this key the host counts its batches, to know after a crash which was the last.
const BATCHES: &[u8] = b"\0batches";

impl World {
    pub(super) fn new(shape: &Shape) -> Self {
        let store = Rc::new(RefCell::new(MemoryStore::with_limit(1 << 30)));
        let reference = Reference::new(shape);
        let host = Host {
            store: Rc::clone(&store),
            holds: false,
            waiting: None,
            stood: VecDeque::from([(0, reference.clone())]),
            batches: 0,
        };
        Self {
            broker: broker(shape, store),
            shape: shape.clone(),
            now: START,
            names: (0..shape.clients).map(|at| format!("c{at}")).collect(),
            clients: (0..shape.clients).map(|_| Client::default()).collect(),
            links: Vec::new(),
            reference,
            trace: 0xCBF2_9CE4_8422_2325,
            purged: None,
            settling: false,
            known: Known::default(),
            host,
        }
    }

    fn at(&self) -> Instant {
        Instant::from_millis(self.now)
    }

    fn note_bytes(&mut self, slot: usize, bytes: &[u8]) {
        let mut hash = self.trace ^ self.now ^ ((slot as u64) << 48);
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
        self.trace = hash.wrapping_mul(0x0100_0000_01B3);
    }

    // --- steps -----------------------------------------------------------------------------------------------------

    pub(super) fn step(&mut self, step: &Step) {
        if super::tells() {
            println!("{:>9} {step:?}", self.now - START);
        }
        match step {
            Step::Connect(plan) => self.connect(plan.clone()),
            Step::Subscribe { who, filters, id } => self.subscribe(*who, filters, *id),
            Step::Unsubscribe { who, filter } => self.unsubscribe(*who, filter),
            Step::Publish(plan) => self.publish(plan),
            Step::HostPublish(plan) => self.host_publishes(plan),
            Step::Answer { who, most } => {
                if let Some(slot) = self.clients[*who].link {
                    self.answer(slot, *most);
                }
            }
            Step::Ping { who } => self.ping(*who),
            Step::Goodbye { who, with_will, expiry } => self.goodbye(*who, *with_will, *expiry),
            Step::Cut { who } => {
                if let Some(slot) = self.clients[*who].link {
                    self.cut(slot);
                }
            }
            Step::Takes { who, bytes } => self.takes(*who, *bytes),
            Step::Breaks { who, how } => self.breaks(*who, *how),
            Step::Kick { who } => {
                self.broker.kick(self.at(), &self.names[*who], ReasonCode::ADMINISTRATIVE_ACTION);
            }
            Step::Purge { who } => {
                self.purged = Some(*who);
                self.broker.purge_session(self.at(), &self.names[*who]);
            }
            Step::Defers { connect, publish, subscribe } => {
                let keeper = self.broker.policy_mut();
                (keeper.defers_connect, keeper.defers_publish, keeper.defers_subscribe) =
                    (*connect, *publish, *subscribe);
            }
            Step::Decide { which, allow } => self.decide(*which, *allow),
            Step::Revoke { revoked } => self.revoke(*revoked),
            Step::Advance { millis } => self.advance(*millis),
            Step::Holds { holds } => self.host.holds = *holds,
            Step::Sync => self.sync(),
            Step::Crash { how, at } => self.crash(*how, *at),
        }
        self.turn();
        self.advance(0);
        self.purged = None;
        self.check();
    }

    fn connect(&mut self, plan: Connect) {
        let who = plan.who;
        let Ok(id) = self.broker.handle_open(self.at(), Peer::new(None, 0)) else { panic!("there is room") };
        let slot = self.links.iter().position(Option::is_none).unwrap_or(self.links.len());
        if slot == self.links.len() {
            self.links.push(None);
        }
        let bytes = wire::connect(&plan, &self.names[who]);
        self.links[slot] = Some(Link {
            id,
            who,
            reader: Some(Reader::of_server(plan.version, plan.max_packet.unwrap_or(u32::MAX))),
            plan,
            out: OutBuf::default(),
            takes: None,
            clear: true,
            reading: true,
            was_paused: false,
            wire: Vec::new(),
            connected: false,
            broken: false,
            goodbye: None,
            session: None,
            since: 0,
            answers: VecDeque::new(),
            aliases: BTreeMap::new(),
            own_aliases: BTreeMap::new(),
            asked: BTreeMap::new(),
            inflight: Vec::new(),
            orders: [0; 2],
            pings: 0,
            spoke: self.now,
            welcomed: self.now,
            later: Vec::new(),
        });
        self.clients[who].link = Some(slot);
        self.send(slot, &bytes);
    }

    /// Where a client is connected and may speak.
    fn live(&self, who: usize) -> Option<usize> {
        let slot = self.clients[who].link?;
        self.links[slot].as_ref().filter(|link| link.connected && !link.broken && link.goodbye.is_none())?;
        Some(slot)
    }

    fn link(&mut self, slot: usize) -> &mut Link {
        self.links[slot].as_mut().expect("a connection that is there")
    }

    fn next_id(&mut self, slot: usize) -> u16 {
        let who = self.link(slot).who;
        loop {
            let last = self.clients[who].last_id.wrapping_add(1).max(1);
            self.clients[who].last_id = last;
            let free = self.clients[who].pending.iter().all(|sent| sent.id != last);
            if free && !self.link(slot).asked.contains_key(&last) {
                return last;
            }
        }
    }

    fn subscribe(&mut self, who: usize, filters: &[Asked], identifier: Option<u32>) {
        let Some(slot) = self.live(who) else { return };
        let v5 = self.link(slot).plan.version == Version::V5;
        let asked: Vec<_> = filters
            .iter()
            .filter(|asked| !self.waits_for(slot, asked.filter))
            .map(|asked| {
                if v5 {
                    return *asked;
                }
                let handling = Default::default();
                Asked { no_local: false, retain_as_published: false, handling, ..*asked }
            })
            .collect();
        if asked.is_empty() {
            return;
        }
        let identifier = identifier.filter(|_| v5);
        let list: Vec<_> = asked
            .iter()
            .map(|asked| {
                let options = SubscribeOptions {
                    qos: asked.qos,
                    no_local: asked.no_local,
                    retain_as_published: asked.retain_as_published,
                    retain_handling: asked.handling,
                };
                (asked.filter, options)
            })
            .collect();
        let id = self.next_id(slot);
        let version = self.link(slot).plan.version;
        let request = Request::Subscribe(asked.into_iter().map(|asked| (asked, false)).collect(), identifier);
        for (filter, _) in &list {
            self.known.granted.remove(&(who, *filter));
            self.known.gone.remove(&(who, *filter));
        }
        self.link(slot).asked.insert(id, request);
        self.send(slot, &wire::subscribe(&list, identifier, id, version));
    }

    /// Whether a client has asked something about a filter and has no answer yet.
    fn waits_for(&mut self, slot: usize, filter: &str) -> bool {
        self.link(slot).asked.values().any(|request| match request {
            Request::Subscribe(list, _) => list.iter().any(|(asked, _)| asked.filter == filter),
            Request::Unsubscribe(other, _) => *other == filter,
        })
    }

    fn unsubscribe(&mut self, who: usize, filter: &'static str) {
        let Some(slot) = self.live(who) else { return };
        if self.waits_for(slot, filter) {
            return;
        }
        let id = self.next_id(slot);
        let version = self.link(slot).plan.version;
        self.known.granted.remove(&(who, filter));
        self.link(slot).asked.insert(id, Request::Unsubscribe(filter, false));
        self.send(slot, &wire::unsubscribe(filter, id, version));
    }

    fn publish(&mut self, plan: &Publish) {
        let who = plan.who;
        let Some(slot) = self.live(who) else { return };
        let mut plan = plan.clone();
        let full = self.clients[who].pending.len() >= usize::from(self.shape.receive_maximum);
        if full {
            plan.qos = Qos::AtMostOnce;
        }
        let link = self.link(slot);
        let version = link.plan.version;
        let mut known = false;
        if version != Version::V5 {
            (plan.expiry, plan.alias) = (None, None);
        } else if let Some(alias) = plan.alias {
            known = link.own_aliases.insert(alias, plan.topic) == Some(plan.topic);
        }
        let id = if plan.qos == Qos::AtMostOnce { 0 } else { self.next_id(slot) };
        let bytes = wire::publish(&plan, id, false, known, version);
        if id != 0 {
            self.clients[who].pending.push(Sent { id, publish: plan, released: false, times: 1 });
        }
        self.send(slot, &bytes);
    }

    fn host_publishes(&mut self, plan: &Publish) {
        let payload = plan.payload();
        let mut publication = Publication::new(TopicName::new(plan.topic).unwrap(), &payload);
        (publication.retain, publication.qos) = (plan.retain, plan.qos);
        let _ = self.broker.publish(self.at(), &publication);
        self.note();
    }

    fn ping(&mut self, who: usize) {
        if let Some(slot) = self.live(who) {
            self.link(slot).pings += 1;
            let version = self.link(slot).plan.version;
            self.send(slot, &wire::encode(&Packet::Pingreq, version));
        }
    }

    fn goodbye(&mut self, who: usize, with_will: bool, expiry: Option<u32>) {
        let Some(slot) = self.live(who).filter(|slot| self.links[*slot].as_ref().is_some_and(|link| link.reading))
        else {
            return;
        };
        let link = self.link(slot);
        let v5 = link.plan.version == Version::V5;
        // v5 [MQTT-3.14.2-2]: a session that was to end with its connection cannot be kept any more
        let expiry = expiry.filter(|_| v5 && link.plan.expiry > 0);
        let with_will = with_will && v5;
        link.goodbye = Some((with_will, expiry));
        let reason = if with_will { ReasonCode::DISCONNECT_WITH_WILL } else { ReasonCode::SUCCESS };
        let properties: Vec<_> = expiry.into_iter().map(Property::SessionExpiryInterval).collect();
        let packet = Packet::Disconnect(Disconnect { reason, properties: Properties::from_slice(&properties) });
        let version = link.plan.version;
        self.send(slot, &wire::encode(&packet, version));
    }

    fn takes(&mut self, who: usize, bytes: Option<usize>) {
        let Some(slot) = self.clients[who].link else { return };
        let link = self.link(slot);
        link.takes = bytes;
        link.clear &= bytes.is_none();
        if let Some(name) = link.session.filter(|_| bytes.is_some())
            && let Some(session) = self.reference.named(name)
        {
            session.clear = false;
        }
        self.flush(slot);
    }

    fn breaks(&mut self, who: usize, how: Fault) {
        let Some(slot) = self.live(who) else { return };
        let pending = self.clients[who].pending.len();
        let receive_maximum = usize::from(self.shape.receive_maximum);
        let v5 = self.link(slot).plan.version == Version::V5;
        let mut bytes = match how {
            Fault::ReservedFlags => vec![0xC1, 0],
            Fault::EmptyTopic => vec![0x30, 2, 0, 0],
            Fault::UnknownAlias if v5 => vec![0x30, 6, 0, 0, 3, 35, 0, 9],
            Fault::UnknownAlias => vec![0xF0, 0],
            Fault::SecondConnect => wire::connect(&self.link(slot).plan.clone(), "other"),
            Fault::TooManyUnreleased => Vec::new(),
        };
        if how == Fault::TooManyUnreleased {
            // one more than it may: the last is not taken
            if pending > 0 || self.clients[who].unfinished.len() > 1_000 || receive_maximum > 10 {
                return;
            }
            let version = self.link(slot).plan.version;
            for _ in 0..=receive_maximum {
                let id = self.next_id(slot);
                let publish = Publish {
                    who,
                    number: 0,
                    topic: "t",
                    qos: Qos::ExactlyOnce,
                    retain: false,
                    expiry: None,
                    alias: None,
                    more: 0,
                };
                bytes.extend(wire::publish(&publish, id, false, false, version));
                if self.clients[who].pending.len() < receive_maximum {
                    self.clients[who].pending.push(Sent { id, publish, released: false, times: 1 });
                }
            }
        }
        self.link(slot).broken = true;
        self.send(slot, &bytes);
    }

    fn decide(&mut self, which: usize, allow: bool) {
        let waiting = &mut self.broker.policy_mut().waiting;
        if waiting.is_empty() {
            return;
        }
        let at = which % waiting.len();
        let (ticket, about) = waiting.remove(at);
        if let About::Message(message) = about
            && self.now < message.at + 10 * SECOND
        {
            let keeper = self.broker.policy_mut();
            if allow { &mut keeper.allowed } else { &mut keeper.denied }.push(message);
        }
        let decision = if allow { Decision::Allow } else { Decision::Deny(ReasonCode::NOT_AUTHORIZED) };
        self.broker.resume(self.at(), ticket, decision);
        self.note();
    }

    fn revoke(&mut self, revoked: bool) {
        self.broker.policy_mut().revoked = revoked;
        self.reference.revoked = revoked;
        self.broker.reauthorize_all(self.at());
        self.reference.judged_anew(None, None);
        for (who, client) in self.clients.iter_mut().enumerate() {
            if self.reference.of(who).is_some_and(|session| !session.connected && !session.unread) {
                for taken in &mut client.unfinished {
                    taken.revoked |= !super::keeper::may_receive(&taken.topic, revoked);
                }
            }
        }
    }

    /// Lets time pass, deadline by deadline.
    pub(super) fn advance(&mut self, millis: u64) {
        let end = self.now + millis;
        let mut wakes = 0;
        while let Some(at) = self.broker.poll_timeout().map(Instant::as_millis).filter(|at| *at <= end) {
            wakes += 1;
            assert!(wakes < FOREVER, "time stands still");
            self.now = self.now.max(at);
            self.broker.handle_timeout(self.at());
            self.turn();
            self.reference.nothing_is_overdue(self.now);
        }
        self.now = end;
        self.broker.handle_timeout(self.at());
        self.turn();
        self.reference.nothing_is_overdue(self.now);
    }

    // --- transports ------------------------------------------------------------------------------------------------

    /// Whether the broker has it now; else it may never get there.
    fn send(&mut self, slot: usize, bytes: &[u8]) -> bool {
        let now = self.now;
        let link = self.link(slot);
        link.spoke = now;
        if !link.reading || !link.wire.is_empty() {
            link.wire.extend_from_slice(bytes);
            return false;
        }
        let id = link.id;
        if super::tells() {
            println!(
                "{:>9} from c{} ({slot}): {:02x?}",
                self.now - START,
                self.link(slot).who,
                &bytes[..bytes.len().min(24)]
            );
        }
        self.note_bytes(slot, bytes);
        self.broker.handle_input(self.at(), id, bytes);
        self.note();
        true
    }

    /// The transport fails.
    fn cut(&mut self, slot: usize) {
        let Some(link) = self.links[slot].take() else { return };
        let client = &mut self.clients[link.who];
        if client.link == Some(slot) {
            client.link = None;
        }
        self.broker.handle_closed(self.at(), link.id);
        self.note_of(Some(&link));
    }

    /// One turn of the host's loop, until nothing is left to do.
    fn turn(&mut self) {
        for turns in 0.. {
            assert!(turns < FOREVER, "the broker keeps its host busy for nothing");
            self.note();
            if let Some(ready) = self.broker.poll_ready() {
                let slot = self.links.iter().position(|link| link.as_ref().is_some_and(|link| link.id == ready.id));
                let slot = slot.expect("only an open connection is ready");
                let link = self.link(slot);
                link.reading = ready.read == Read::Read;
                link.was_paused |= ready.read == Read::Pause;
                if ready.transmit || ready.read == Read::Close {
                    self.flush(slot);
                }
                if ready.read == Read::Close {
                    self.cut(slot);
                } else {
                    self.read(slot);
                }
                continue;
            }
            let eager = |link: &Link| !link.plan.lazy && link.connected && !link.answers.is_empty();
            match self.links.iter().position(|link| link.as_ref().is_some_and(eager)) {
                Some(slot) => self.answer(slot, 1),
                None if self.keep() => {}
                None => return,
            }
        }
    }

    // --- the store -------------------------------------------------------------------------------------------------

    /// Writes what the broker gives out, and makes it durable unless the host holds that back; whether there was something.
    fn keep(&mut self) -> bool {
        let mut batch = Vec::new();
        let Some(ticket) = self.broker.poll_store(EPOCH, &mut batch) else { return false };
        self.note();
        self.host.batches += 1;
        self.host.stood.push_back((self.host.batches, self.reference.clone()));
        let count = self.host.batches.to_le_bytes();
        let action = StoreAction::Put(StoreRecord::Bytes(count[..].into()));
        batch.push(StoreOp { key: StoreKey::new(Table::Sessions, BATCHES), action });
        self.host.store.borrow_mut().write(&batch, EPOCH).expect("there is room");
        self.host.waiting = Some(ticket);
        if !self.host.holds {
            self.sync();
        }
        true
    }

    fn sync(&mut self) {
        self.host.store.borrow_mut().sync().expect("it can");
        let last = self.host.batches;
        self.host.stood.retain(|(batch, _)| *batch == last);
        if let Some(ticket) = self.host.waiting.take() {
            self.broker.stored(self.at(), ticket);
            self.note();
        }
    }

    /// The process dies, and the next begins with what is left of its store.
    fn crash(&mut self, how: Loss, at: usize) {
        if !self.shape.durable {
            return;
        }
        let store = self.host.store.borrow().clone();
        let (frames, bytes) = (store.unsynced() + 1, store.unsynced_bytes() + 1);
        let mut store = store.crash(match how {
            Loss::Tail => StoreFault::LoseTail,
            Loss::Tear => StoreFault::Tear(at % bytes),
            Loss::Drop => StoreFault::Drop(at % frames),
            Loss::Reorder => StoreFault::Reorder(at as u64),
            Loss::Flip => StoreFault::Flip(at % bytes),
        });
        let mut left = 0;
        let key = StoreKey::new(Table::Sessions, BATCHES);
        let each = &mut |record: &[u8]| left = record.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        store.load(&key, each).expect("it can be read");
        let stood = self.host.stood.iter().find(|(batch, _)| *batch == left);
        let (_, stood) = stood.expect("a store loses nothing that is durable").clone();
        let mut reference = stood.clone();
        reference.begin_anew(self.now, &self.reference, &self.known);
        self.reference = reference;
        self.links.clear();
        for client in &mut self.clients {
            client.link = None;
            // what came at QoS 1 before it was stored may come under another identifier, and that one with something else
            for taken in &mut client.unfinished {
                taken.answered |= taken.qos == Qos::AtLeastOnce;
                taken.known = false;
                // that it was taken back may not be stored: it is judged by what holds when its client comes
                taken.revoked = false;
            }
        }
        let was = self.broker.policy();
        let (revoked, connect, publish, subscribe) =
            (was.revoked, was.defers_connect, was.defers_publish, was.defers_subscribe);
        let store = Rc::new(RefCell::new(store));
        self.broker = broker(&self.shape, Rc::clone(&store));
        let keeper = self.broker.policy_mut();
        (keeper.revoked, keeper.defers_connect) = (revoked, connect);
        (keeper.defers_publish, keeper.defers_subscribe) = (publish, subscribe);
        self.host = Host {
            store: Rc::clone(&store),
            holds: self.host.holds,
            waiting: None,
            // the beginning of this process is not stored either
            stood: VecDeque::from([(left, stood)]),
            batches: left,
        };
        let now = self.at();
        let unrestored = restore(&mut self.broker, &mut *store.borrow_mut(), now, EPOCH).expect("it can be read");
        assert!(unrestored.is_empty(), "{unrestored:?}");
        if revoked {
            // that a right was taken away may not have been stored
            self.revoke(true);
        }
        self.note();
    }

    /// Reads what waits in a transport, if the host may.
    fn read(&mut self, slot: usize) {
        let Some(link) = &mut self.links[slot] else { return };
        if link.reading && !link.wire.is_empty() {
            let (id, bytes) = (link.id, std::mem::take(&mut link.wire));
            self.note_bytes(slot, &bytes);
            self.broker.handle_input(self.at(), id, &bytes);
            self.note();
        }
    }

    /// Sends what the socket takes.
    fn flush(&mut self, slot: usize) {
        for round in 0.. {
            assert!(round < FOREVER, "the broker never stops writing");
            let now = self.at();
            let Some(link) = &mut self.links[slot] else { return };
            self.broker.poll_transmit(now, link.id, &mut link.out);
            let len = link.out.chunk().len().min(link.takes.unwrap_or(usize::MAX));
            let bytes = link.out.chunk()[..len].to_vec();
            link.out.advance(len);
            if let Some(takes) = &mut link.takes {
                *takes -= len;
            }
            self.note();
            if len == 0 {
                return;
            }
            self.note_bytes(slot, &bytes);
            self.hear(slot, &bytes);
        }
    }

    // --- what clients hear -----------------------------------------------------------------------------------------

    fn hear(&mut self, slot: usize, bytes: &[u8]) {
        let Some(mut reader) = self.links[slot].as_mut().and_then(|link| link.reader.take()) else { return };
        let mut packets = reader.read(bytes);
        while let Some(packet) = packets.next().expect("the broker breaks no rule") {
            self.handle(slot, &packet);
        }
        drop(packets);
        if let Some(link) = &mut self.links[slot] {
            link.reader = Some(reader);
        }
    }

    fn handle(&mut self, slot: usize, packet: &Packet<'_>) {
        if super::tells() {
            println!("{:>9}    to c{} ({slot}): {packet}", self.now - START, self.link(slot).who);
        }
        match packet {
            Packet::Connack(connack) => {
                let ok = !connack.reason.is_error();
                self.link(slot).connected = ok;
                self.link(slot).welcomed = self.now;
                let session = self.link(slot).session.filter(|_| ok);
                self.known.told.extend(session);
                if ok {
                    self.resume(slot, connack.session_present);
                }
            }
            Packet::Publish(publish) => self.hear_publish(slot, publish),
            Packet::Ack(ack) => self.hear_ack(slot, ack.kind, ack.packet_id.get(), ack.reason),
            Packet::Suback(suback) => {
                let codes: Vec<_> = suback.codes.iter().collect();
                self.hear_suback(slot, suback.packet_id.get(), &codes);
            }
            Packet::Unsuback(unsuback) => {
                let link = self.link(slot);
                let Some(Request::Unsubscribe(filter, made)) = link.asked.remove(&unsuback.packet_id.get()) else {
                    panic!("an UNSUBACK that nobody waits for")
                };
                // what the policy may have taken away before the request was read tells nothing
                if link.plan.version == Version::V5 && !super::keeper::plain(filter).starts_with(['b', 'd']) {
                    let code = unsuback.codes.iter().next().expect("a code for each filter");
                    assert_eq!(code == ReasonCode::SUCCESS, made, "UNSUBACK {code:?} for {filter}");
                }
                let who = link.who;
                if made {
                    self.known.gone.insert((who, filter));
                }
            }
            Packet::Pingresp => {
                let link = self.link(slot);
                link.pings = link.pings.checked_sub(1).expect("an answer to a ping");
            }
            Packet::Disconnect(_) => self.link(slot).connected = false,
            other => panic!("a server sent {other:?}"),
        }
    }

    /// A client was let in: what is not finished is sent again.
    fn resume(&mut self, slot: usize, present: bool) {
        let link = self.link(slot);
        let (who, version) = (link.who, link.plan.version);
        // MQTT 3.1 has no word for it: what the reference knows stands for what the client has kept
        let since = link.since;
        let name = link.session;
        let present = present || (version == Version::V31 && name.is_some_and(|name| name < since));
        // one that was let in late has taken the other over
        self.clients[who].link = Some(slot);
        let client = &mut self.clients[who];
        // That the session began anew may have been said in a CONNACK that got lost. No client can know that, and what it sends again is
        // then new to the broker; here it does know, so that QoS 2 can be judged.
        let is_new = std::mem::replace(&mut client.session, name) != name;
        if !present || is_new {
            client.pending.clear();
            client.unfinished.clear();
            return;
        }
        // QoS 2 that the broker knows of, and whose end it may not know of, is released again
        let mut all = Vec::new();
        for sent in &mut client.pending {
            if sent.released {
                all.push(wire::ack(AckKind::Pubrel, sent.id, version));
            } else {
                sent.times += 1;
                let plain = Publish { alias: None, ..sent.publish.clone() };
                all.push(wire::publish(&plain, sent.id, true, false, version));
            }
        }
        if self.settling {
            // else a full queue would have it disconnected again, for ever
            self.link(slot).later = all.concat();
            return;
        }
        for bytes in all {
            if self.links[slot].is_some() {
                self.send(slot, &bytes);
            }
        }
    }

    fn hear_suback(&mut self, slot: usize, id: u16, codes: &[ReasonCode]) {
        let link = self.link(slot);
        let Some(Request::Subscribe(list, _)) = link.asked.remove(&id) else {
            panic!("a SUBACK that nobody waits for")
        };
        assert_eq!(list.len(), codes.len(), "a code for each filter");
        let (who, version) = (link.who, link.plan.version);
        for ((asked, made), code) in list.iter().zip(codes) {
            if version != Version::V31 || *made {
                assert_eq!(!code.is_error(), *made, "SUBACK {code:?} for {}", asked.filter);
            }
            assert!(!made || code.0 == asked.qos as u8, "granted {code:?} for {asked:?}");
            if *made {
                self.known.granted.insert((who, asked.filter));
            }
        }
    }

    fn hear_ack(&mut self, slot: usize, kind: AckKind, id: u16, reason: ReasonCode) {
        let who = self.link(slot).who;
        let v5 = self.link(slot).plan.version == Version::V5;
        match kind {
            AckKind::Pubrel => {
                self.link(slot).answers.push_back((AckKind::Pubcomp, id));
            }
            AckKind::Pubrec => {
                let sent = self.clients[who].pending.iter_mut().find(|sent| sent.id == id);
                let sent = sent.expect("a PUBREC for what was published");
                assert_eq!(sent.publish.qos, Qos::ExactlyOnce);
                let (number, topic, again) = (sent.publish.number, sent.publish.topic, sent.times > 1);
                if !sent.released {
                    self.is_fair_answer(number, topic, reason, v5, again);
                }
                if reason.is_error() {
                    self.clients[who].pending.retain(|sent| sent.id != id);
                    return;
                }
                if let Some(sent) = self.clients[who].pending.iter_mut().find(|sent| sent.id == id) {
                    sent.released = true;
                }
                self.link(slot).answers.push_back((AckKind::Pubrel, id));
            }
            AckKind::Puback | AckKind::Pubcomp => {
                let pending = &mut self.clients[who].pending;
                let Some(at) = pending.iter().position(|sent| sent.id == id) else {
                    // what was sent again may be answered twice
                    return;
                };
                let Sent { publish, released, times, .. } = pending.remove(at);
                assert_eq!(publish.qos == Qos::ExactlyOnce, kind == AckKind::Pubcomp);
                assert_eq!(released, kind == AckKind::Pubcomp, "PUBCOMP before PUBREL");
                if kind == AckKind::Puback {
                    self.is_fair_answer(publish.number, publish.topic, reason, v5, times > 1);
                }
            }
        }
    }

    /// **An acknowledgement says what is true**: that the message was routed, to somebody or nobody, or that the policy has denied it.
    fn is_fair_answer(&mut self, number: u32, topic: &str, reason: ReasonCode, v5: bool, again: bool) {
        if number == 0 {
            return;
        }
        if !reason.is_error() {
            self.known.acknowledged.insert(number);
        }
        let routed = self.reference.routed.get(&number).copied();
        let may_be_denied = topic.starts_with(['n', 'b', 'd']);
        match (routed, reason) {
            (Some((_, matched)), ReasonCode::SUCCESS | ReasonCode::NO_MATCHING_SUBSCRIBERS) if v5 && !again => {
                assert_eq!(matched == 0, reason == ReasonCode::NO_MATCHING_SUBSCRIBERS, "message {number}: {matched}");
            }
            (Some(_), reason) if !reason.is_error() || (again && may_be_denied) => {}
            (None, reason) if may_be_denied && (reason.is_error() == v5 || again) => {}
            _ => panic!("message {number} on {topic} is answered {reason:?}, and was routed: {routed:?}"),
        }
    }

    fn hear_publish(&mut self, slot: usize, publish: &PublishPacket<'_>) {
        let now = self.now;
        let link = self.link(slot);
        let who = link.who;
        let v5 = link.plan.version == Version::V5;
        let mut ids: Vec<u32> = publish.properties.subscription_identifiers().collect();
        ids.sort_unstable();
        let alias = publish.properties.iter().find_map(|property| match property {
            Property::TopicAlias(alias) => Some(alias),
            _ => None,
        });
        if let Some(alias) = alias {
            assert!((1..=link.plan.aliases.unwrap_or(0)).contains(&alias), "an alias that it may not use");
            if let Some(topic) = publish.topic {
                link.aliases.insert(alias, topic.as_str().to_owned());
            }
        }
        let topic = match (publish.topic, alias) {
            (Some(topic), _) => topic.as_str().to_owned(),
            (None, alias) => {
                alias.and_then(|alias| link.aliases.get(&alias)).expect("an alias that stands for something").clone()
            }
        };
        let size = wire::encode(&Packet::Publish(*publish), link.plan.version).len();
        assert!(link.plan.max_packet.is_none_or(|most| size <= most as usize), "it is too large");
        let got = Got {
            number: number_of(publish.payload),
            topic: &topic,
            qos: publish.qos,
            retain: publish.retain,
            dup: publish.dup,
            ids: v5.then_some(ids),
            expiry: v5.then(|| publish.properties.message_expiry_interval()),
            clear: link.clear,
            since: link.since,
            behind: link.orders[usize::from(publish.qos != Qos::AtMostOnce)],
        };
        let session = link.session.expect("whoever was let in has a session");
        let Some(id) = publish.packet_id.map(|id| id.get()) else {
            let found = self.reference.received(now, session, &got);
            return self.in_order(slot, 0, found.order);
        };
        self.window(slot, id, &got);
        let known = self.clients[who].unfinished.iter_mut().position(|taken| taken.id == id);
        match known.map(|at| &self.clients[who].unfinished[at]) {
            Some(taken) if got.dup && (taken.number, taken.qos) == (got.number, got.qos) => {
                assert!(!taken.known, "c{who} gets {got:?} again, which it has acknowledged");
                assert!(!taken.revoked, "c{who} gets {got:?} again, though it may not any more");
                let order = taken.order;
                if let Some(at) = known {
                    let taken = &mut self.clients[who].unfinished[at];
                    taken.answered = false;
                }
                self.in_order(slot, 1, order);
            }
            other => {
                if let Some(taken) = other {
                    assert!(taken.answered, "the identifier {id} of c{who} is in use, by {}: {got:?}", taken.number);
                }
                let found = self.reference.received(now, session, &got);
                self.known.received.insert(found.name);
                self.in_order(slot, 1, found.order);
                let client = &mut self.clients[who];
                client.unfinished.retain(|taken| taken.id != id);
                client.unfinished.push(Taken {
                    id,
                    order: found.order,
                    by_group: found.by_group,
                    number: got.number,
                    qos: got.qos,
                    answered: false,
                    known: false,
                    topic: topic.clone(),
                    revoked: false,
                });
            }
        }
        let kind = if got.qos == Qos::AtLeastOnce { AckKind::Puback } else { AckKind::Pubrec };
        self.link(slot).answers.push_back((kind, id));
    }

    /// **No more is in flight than the client takes, nor than the broker is to have**, and no identifier twice.
    fn window(&mut self, slot: usize, id: u16, got: &Got<'_>) {
        let most = self.shape.inflight;
        let link = self.link(slot);
        assert!(!link.inflight.contains(&id), "the identifier {id} is in use: {got:?}");
        link.inflight.push(id);
        let most = most.min(link.plan.receive_maximum.unwrap_or(u16::MAX));
        assert!(link.inflight.len() <= usize::from(most), "{} of {most} in flight", link.inflight.len());
    }

    /// **What a session gets of one kind comes in the order in which it was published.**
    fn in_order(&mut self, slot: usize, lane: usize, order: Option<u64>) {
        let Some(order) = order else { return };
        let link = self.link(slot);
        assert!(order >= link.orders[lane], "c{} gets what came before the last", link.who);
        link.orders[lane] = order;
    }

    /// Sends up to `most` of the acknowledgements that a client owes.
    fn answer(&mut self, slot: usize, most: usize) {
        for _ in 0..most {
            let Some(link) = &mut self.links[slot] else { return };
            let Some((kind, id)) = link.answers.pop_front() else { return };
            let (who, version) = (link.who, link.plan.version);
            if !link.connected || link.goodbye.is_some() || link.broken || self.clients[who].link != Some(slot) {
                continue;
            }
            if kind == AckKind::Pubcomp || kind == AckKind::Puback {
                self.link(slot).inflight.retain(|other| *other != id);
            }
            let session = self.link(slot).session;
            let arrives = self.send(slot, &wire::ack(kind, id, version));
            if kind == AckKind::Pubrel || kind == AckKind::Pubrec {
                continue;
            }
            let client = &mut self.clients[who];
            let Some(at) = client.unfinished.iter().position(|taken| taken.id == id) else { continue };
            if kind == AckKind::Pubcomp {
                client.unfinished.remove(at); // whatever the broker knows: a second one would be a message of its own
                continue;
            }
            client.unfinished[at].answered = true;
            let arrives = arrives && self.links[slot].as_ref().is_some_and(|link| link.session == session);
            let taken = &mut client.unfinished[at];
            // the broker may forget that in a crash
            taken.known = arrives;
            let (by_group, number) = (taken.by_group, taken.number);
            if arrives && !self.shape.durable {
                client.unfinished.remove(at);
            }
            if let Some(session) = session.filter(|_| by_group) {
                self.reference.acknowledged(session, number, arrives);
            }
        }
    }

    // --- what the broker says --------------------------------------------------------------------------------------

    fn note(&mut self) {
        self.note_of(None);
    }

    /// Tells the reference what has happened, in order. `closed`: the connection that was just closed.
    fn note_of(&mut self, closed: Option<&Link>) {
        while let Some(event) = self.broker.poll_event() {
            if super::tells() {
                println!("{:>9} broker: {event:?}", self.now - START);
            }
            match event {
                Event::Connected { connection, client, session_present, .. } => {
                    self.is_connected(connection, client.as_str(), session_present);
                }
                Event::Disconnected { connection, client, cause } => {
                    let who = self.who(client.as_str());
                    let slot =
                        self.links.iter().position(|link| link.as_ref().is_some_and(|link| link.id == connection));
                    let link = match slot {
                        Some(slot) => self.links[slot].as_ref(),
                        None => closed.filter(|link| link.id == connection),
                    };
                    // what was put off for it is decided by nobody any more
                    for (_, about) in &mut self.broker.policy_mut().waiting {
                        if matches!(about, About::Message(message) if !message.is_will && message.from.as_deref() == Some(client.as_str()))
                        {
                            *about = About::Other;
                        }
                    }
                    let link = link.expect("a connection that was there");
                    let goodbye = self.is_fair_end(link, cause);
                    let expiry = goodbye.and_then(|(_, expiry)| expiry);
                    let plainly = goodbye.is_some_and(|(with_will, _)| !with_will);
                    self.reference.disconnected(self.now, who, plainly, expiry);
                }
                Event::Refused { cause, .. } => {
                    assert!(!matches!(cause, Cause::Protocol(_)), "a CONNECT is accused: {cause:?}");
                }
                Event::SessionEnded { client } => {
                    let who = self.who(client.as_str());
                    let starts = |link: &Link| link.who == who && !link.connected && link.plan.clean_start;
                    let cleared = self.purged == Some(who) || self.links.iter().flatten().any(starts);
                    self.reference.session_ended(self.now, who, cleared);
                }
                Event::Subscribed { client, filter } => {
                    self.is_subscribed(client.as_str(), filter.as_filter().as_str())
                }
                Event::Unsubscribed { client, filter } => {
                    let who = self.who(client.as_str());
                    let filter = filter.as_filter().as_str().to_owned();
                    let mut asked = false;
                    for request in self
                        .links
                        .iter_mut()
                        .flatten()
                        .filter(|link| link.who == who)
                        .flat_map(|link| link.asked.values_mut())
                    {
                        if let Request::Unsubscribe(other, made) = request
                            && *other == filter
                        {
                            (*made, asked) = (true, true);
                        }
                    }
                    let policy = super::keeper::plain(&filter).starts_with(['b', 'd']);
                    assert!(asked || policy, "{client} did not ask to lose {filter}");
                    self.reference.unsubscribed(who, &filter, asked);
                }
                Event::Published { client, topic, qos, retain, size } => {
                    let client = client.map(|client| client.as_str().to_owned());
                    self.is_published(client, topic.as_name().as_str(), qos, retain, size);
                }
                Event::Dropped { client, why } => {
                    let who = client.map(|client| self.who(client.as_str()));
                    self.is_dropped(who, why);
                }
                Event::Limited { limit, .. } => {
                    let may = matches!(
                        limit,
                        Limit::Subscriptions | Limit::Retained | Limit::MessageRate | Limit::ConnectTimeout
                    );
                    assert!(may, "{limit:?} was met");
                }
                _ => {}
            }
        }
        for message in std::mem::take(&mut self.broker.policy_mut().denied) {
            if message.is_will {
                self.reference.will_denied(self.now, message.number);
            }
        }
    }

    fn who(&self, name: &str) -> usize {
        self.names.iter().position(|other| other == name).expect("a client of this world")
    }

    fn is_connected(&mut self, connection: ConnectionId, name: &str, present: bool) {
        let who = self.who(name);
        let slot = self.links.iter().position(|link| link.as_ref().is_some_and(|link| link.id == connection));
        let slot = slot.expect("a connection that was there");
        let plan = self.link(slot).plan.clone();
        let asked = match plan.version {
            Version::V5 => plan.expiry,
            _ if plan.clean_start => 0,
            _ => self.shape.session_expiry_v3,
        };
        let expiry = asked.min(self.shape.max_session_expiry);
        let since = self.reference.next;
        if !present {
            self.known.granted.retain(|(client, _)| *client != who);
            self.known.gone.retain(|(client, _)| *client != who);
        }
        let session = self.reference.connected(self.now, who, &plan, expiry, present);
        let link = self.link(slot);
        (link.session, link.since) = (Some(session), since);
        let clear = link.clear;
        if let Some(session) = self.reference.named(session) {
            session.clear = clear;
        }
    }

    /// **Nobody is accused who keeps to the rules, nor too early**; the goodbye, if that was it.
    fn is_fair_end(&self, link: &Link, cause: Cause) -> Option<(bool, Option<u32>)> {
        match cause {
            Cause::Goodbye(_) => Some(link.goodbye.expect("it has said goodbye")),
            Cause::Protocol(error) => {
                let silent = (self.now - link.spoke) * 2 >= u64::from(link.plan.keep_alive) * 3 * SECOND;
                let overdue = error.kind == ProtocolErrorKind::KeepAlive && link.plan.keep_alive > 0 && silent;
                assert!(link.broken || overdue, "c{} is accused: {error:?}", link.who);
                None
            }
            _ => None,
        }
    }

    fn is_subscribed(&mut self, name: &str, filter: &str) {
        let who = self.who(name);
        let mut found = None;
        for link in self.links.iter_mut().flatten().filter(|link| link.who == who) {
            for request in link.asked.values_mut() {
                if let Request::Subscribe(list, id) = request
                    && let Some((asked, made)) = list.iter_mut().find(|(asked, made)| asked.filter == filter && !made)
                {
                    *made = true;
                    found = Some((*asked, *id));
                }
            }
        }
        let Some((asked, id)) = found else { panic!("{name} did not ask for {filter}") };
        self.reference.subscribed(self.now, who, &asked, id);
    }

    /// **What is routed is what was published, as the policy allowed it, and as often as it was sent.**
    fn is_published(&mut self, client: Option<String>, topic: &str, qos: Qos, retain: bool, size: usize) {
        let allowed = &mut self.broker.policy_mut().allowed;
        let of_will = size % 2 == 1;
        let is_it = |message: &Message| {
            (message.topic.as_str(), message.qos, message.retain, message.size) == (topic, qos, retain, size)
                && message.is_will == of_will
                && (of_will || message.from == client)
        };
        // of a will the last: it was asked about when it was left, too
        let at = if of_will { allowed.iter().rposition(is_it) } else { allowed.iter().position(is_it) };
        let Some(at) = at else { panic!("nobody has allowed what is published on {topic}, {size} bytes") };
        let message = allowed.remove(at);
        let from = if of_will {
            Some(self.reference.will_fired(self.now, &message))
        } else {
            message.from.as_deref().map(|name| self.who(name))
        };
        if let Some(most) = self.shape.max_message_expiry.filter(|_| from.is_some()) {
            assert!(message.expiry.is_some_and(|expiry| expiry <= most), "it may live for {most} s: {message:?}");
        }
        self.reference.routed(self.now, &message, from);
        if let Some(who) = from.filter(|_| !of_will && message.number != 0) {
            let (times, _) = self.reference.routed[&message.number];
            let sent = self.clients[who].pending.iter().find(|sent| sent.publish.number == message.number);
            let most = match message.qos {
                Qos::AtLeastOnce => sent.map_or(1, |sent| sent.times),
                _ => 1,
            };
            assert!(times <= most, "message {} was published {most} times, and routed {times} times", message.number);
        }
    }

    fn is_dropped(&mut self, who: Option<usize>, why: Drop) {
        match (why, who) {
            (Drop::QueueFull, Some(who)) => {
                let unfinished = self.clients[who].unfinished.iter().filter(|taken| !taken.known).count();
                self.reference.dropped_full(who, unfinished);
            }
            (Drop::TooLarge, Some(who)) => self.reference.dropped_too_large(who),
            (Drop::Expired, who) => self.reference.dropped_expired(self.now, who),
            (Drop::RetainedFull, _) => {
                let left = self.reference.unkept.checked_sub(1);
                self.reference.unkept = left.expect("there is room for a retained message");
            }
            (Drop::NoMember | Drop::HandedOver, _) => self.reference.dropped_of_group(),
            (Drop::Denied(_), _) => {}
            (why, who) => panic!("{why:?} of {who:?}"),
        }
    }

    // --- what must hold at every moment ----------------------------------------------------------------------------

    /// **The broker's own counters are the reference's, and within their limits.**
    fn check(&mut self) {
        let stats = self.broker.stats();
        let alive = || self.reference.sessions.iter().filter(|session| !session.ended);
        assert_eq!(stats.events_lost, 0);
        assert_eq!(stats.connections, self.links.iter().flatten().count(), "connections");
        assert_eq!(stats.sessions, alive().count(), "sessions");
        assert_eq!(stats.connected, alive().filter(|session| session.connected).count(), "connected");
        let subscriptions: usize = alive().map(|session| session.subscriptions.len()).sum();
        assert_eq!(stats.subscriptions, subscriptions, "subscriptions");
        let replays: usize = subscriptions * 4_096 * 8;
        assert!(stats.queued_bytes <= self.shape.max_queued_bytes.saturating_add(replays), "{stats:?}");
        assert_eq!(stats.retained, self.reference.retained.len(), "retained");
        self.retained_is_as_it_should_be();
        self.keep_alive_is_kept();
        let clients = &self.clients;
        self.reference.queues_keep_their_limits(self.now, |who| {
            clients[who].unfinished.iter().filter(|taken| !taken.answered).count()
        });
        let all_stored = self.host.waiting.is_none();
        for who in 0..self.clients.len() {
            let Some(slot) = self.clients[who].link else { continue };
            let most = self.shape.inflight;
            let link = self.link(slot);
            let most = most.min(link.plan.receive_maximum.unwrap_or(u16::MAX));
            if all_stored
                && link.connected
                && link.clear
                && link.wire.is_empty()
                && link.inflight.len() < usize::from(most)
            {
                self.reference.caught_up(who);
            }
        }
        // what was denied or never decided will not be published any more
        if self.reference.routed.len() > 4_000 {
            let oldest = self.reference.routed.keys().nth(2_000).copied().unwrap_or(0);
            self.reference.routed = self.reference.routed.split_off(&oldest);
        }
        let names: Vec<u64> = self.links.iter().flatten().filter_map(|link| link.session).collect();
        // what one got for a group that has ended since may yet turn out to have been for another group
        let lately = self.reference.next.saturating_sub(2_000);
        let sessions = &mut self.reference.sessions;
        sessions.retain(|session| !session.ended || names.contains(&session.name) || session.name > lately);
    }

    /// **What is retained is the last of each topic.**
    fn retained_is_as_it_should_be(&mut self) {
        let all = RetainedCursor::new(TopicFilter::new("#").unwrap());
        let page = self.broker.list_retained(self.at(), all, 1_000);
        let mut listed: Vec<_> = page
            .items
            .iter()
            .map(|record| {
                let expires = record.message.expires().map(Instant::as_millis);
                (record.message.topic().as_str().to_owned(), number_of(record.message.payload()), record.qos, expires)
            })
            .collect();
        listed.sort_by(|one, other| one.0.cmp(&other.0));
        let kept = self.reference.retained.iter();
        let mut expected: Vec<_> = kept.map(|kept| (kept.topic.clone(), kept.number, kept.qos, kept.expires)).collect();
        expected.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(listed, expected, "retained");
    }

    /// **Who is silent for too long is disconnected.**
    fn keep_alive_is_kept(&self) {
        for link in
            self.links.iter().flatten().filter(|link| link.connected && !link.was_paused && link.plan.keep_alive > 0)
        {
            let silent = (self.now - link.spoke.max(link.welcomed)) * 2;
            assert!(silent <= u64::from(link.plan.keep_alive) * 3 * SECOND, "c{} is silent and connected", link.who);
        }
    }

    // --- the end ---------------------------------------------------------------------------------------------------

    /// Everybody is there, reads and answers, and nothing is put off any more: then what was owed has come, and nobody waits.
    pub(super) fn settle(&mut self) {
        let keeper = self.broker.policy_mut();
        (keeper.defers_connect, keeper.defers_publish, keeper.defers_subscribe) = (false, false, false);
        while !self.broker.policy().waiting.is_empty() {
            self.decide(0, true);
            self.turn();
        }
        self.revoke(false);
        self.turn();
        self.advance(0);
        for slot in 0..self.links.len() {
            if let Some(link) = &mut self.links[slot] {
                (link.takes, link.plan.lazy) = (None, false);
                self.flush(slot);
                self.turn();
            }
        }
        (self.settling, self.host.holds) = (true, false);
        self.sync();
        self.turn();
        for _ in 0..20 {
            for who in 0..self.clients.len() {
                self.is_there(who);
                self.ping(who);
                self.turn();
            }
            self.advance(SECOND);
        }
        self.check();
        self.reference.everything_has_come(self.now);
        self.nobody_waits();
    }

    /// A client is connected, and sends again what it has to.
    fn is_there(&mut self, who: usize) {
        let Some(slot) = self.live(who) else {
            self.connect(Connect {
                who,
                version: Version::V5,
                clean_start: false,
                expiry: 100,
                keep_alive: 0,
                receive_maximum: None,
                aliases: None,
                max_packet: None,
                lazy: false,
                will: None,
            });
            return self.turn();
        };
        let later = std::mem::take(&mut self.link(slot).later);
        if !later.is_empty() {
            self.send(slot, &later);
        }
    }

    /// **Nobody is paused for ever, and everything is answered.**
    fn nobody_waits(&self) {
        for (at, client) in self.clients.iter().enumerate() {
            let pending: Vec<_> = client.pending.iter().map(|sent| (sent.id, sent.released)).collect();
            assert!(pending.is_empty(), "c{at} waits for acknowledgements: {pending:?}");
            let waits = |taken: &Taken| taken.qos == Qos::ExactlyOnce && !taken.answered;
            assert!(!client.unfinished.iter().any(waits), "c{at} waits for PUBREL");
        }
        for link in self.links.iter().flatten() {
            assert!(link.connected, "c{} is neither let in nor closed", link.who);
            assert!(link.reading && link.wire.is_empty(), "c{} is paused for ever", link.who);
            assert_eq!((link.pings, link.asked.len(), link.answers.len()), (0, 0, 0), "c{} waits", link.who);
        }
        assert!(self.broker.policy().waiting.is_empty());
        assert_eq!(self.broker.stats().held_answers, 0);
    }

    /// **Everybody goes, and what was kept for them with them.**
    pub(super) fn all_ends(&mut self) {
        for slot in 0..self.links.len() {
            self.cut(slot);
            self.turn();
        }
        self.advance(10_000 * SECOND);
        self.check();
        for topic in TOPICS {
            let _ = self.broker.clear_retained(RetainedCursor::new(TopicFilter::new(topic).unwrap()), 10);
        }
        let stats = self.broker.stats();
        let left = (stats.connections, stats.sessions, stats.subscriptions, stats.groups);
        assert_eq!(left, (0, 0, 0, 0), "{stats:?}");
        assert_eq!((stats.queued_bytes, stats.held_bytes), (0, 0), "{stats:?}");
        assert_eq!((stats.retained, stats.retained_bytes), (0, 0), "{stats:?}");
        assert!(self.reference.wills.is_empty(), "a will was never published: {:?}", self.reference.wills);
        assert_eq!(self.broker.poll_timeout(), None, "something is due, though nobody is there");
        self.turn();
        for table in Table::ALL {
            let mut left = Vec::new();
            let each = &mut |name: &[u8]| left.push(String::from_utf8_lossy(name).into_owned());
            self.host.store.borrow_mut().names(table, each).expect("it can be read");
            left.retain(|name| name.as_bytes() != BATCHES);
            assert!(left.is_empty(), "{table:?} keeps {left:?}");
        }
    }
}

fn broker(shape: &Shape, store: Rc<RefCell<MemoryStore>>) -> Broker<Keeper> {
    let mut config = Config::default();
    config.server.receive_maximum = shape.receive_maximum;
    config.server.maximum_inflight = shape.inflight;
    config.server.topic_alias_maximum = 2;
    config.server.topic_alias_maximum_outgoing = 2;
    config.max_subscriptions = shape.max_subscriptions;
    config.queue = QueueLimits { messages: shape.queue_messages, bytes: 1 << 30 };
    config.max_queued_bytes = shape.max_queued_bytes;
    config.max_retained = shape.max_retained;
    config.high_water = shape.high_water;
    config.max_session_expiry = shape.max_session_expiry;
    config.session_expiry_v3 = shape.session_expiry_v3;
    config.max_message_expiry = shape.max_message_expiry;
    config.overflow = shape.overflow;
    config.overlap = shape.overlap;
    config.queue_qos0_offline = shape.queue_qos0_offline;
    config.shared.strategy = shape.strategy;
    config.shared.max_handovers = u8::MAX;
    config.client_rates.messages = shape.rate.map(|per_second| Rate { per_second, burst: 3 });
    let mut events = EventMask::default();
    (events.published, events.drops) = (true, true);
    config.events = events;
    config.durability = if shape.durable { Durability::Synced } else { Durability::None };
    Broker::new(config, Keeper { store, ..Keeper::default() }, HashSeed::new(1, 2))
        .expect("a configuration that can be")
}
