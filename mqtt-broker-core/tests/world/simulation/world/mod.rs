//! The broker under test with its host and its clients, and the reference beside it: each step is done, and what comes of it is judged.
use super::Played;
use super::keeper::{About, Keeper, Message};
use super::plan::{Asked, Connect, FILTERS, Fault, Loss, Publish, Shape, Step, TOPICS};
use super::reference::{Got, Known, Owed, Reference};
use super::wire::{self, as_sent, number_of};
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
    Broker, Cause, Config, ConnectionId, Decision, Drop, Durability, Event, EventMask, Instant, Limit, Overflow, Peer,
    Publication, Rate, Read, RetainedCursor,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

mod hearing;
mod holding;
mod host;
mod saying;
mod steps;

/// A loop that goes on for longer does not end.
const FOREVER: usize = 100_000;
const SECOND: u64 = 1_000;
const START: u64 = 1_000_000;
/// The Unix time of the zero of `now`.
const UNIX: u64 = 1_700_000_000_000;

/// What a client knows over all its connections.
#[derive(Default)]
struct Client {
    /// The connection it uses.
    link: Option<usize>,
    /// The session it was told of last.
    session: Option<u64>,
    /// What it has published at QoS 1 and 2 and is not finished, in order.
    pending: Vec<Sent>,
    /// What it has at QoS 1 and 2, and the broker may not know that it is finished.
    unfinished: Vec<Taken>,
    /// How often it has finished a message of QoS 2 in this session and the broker may not know.
    unsure: usize,
    /// The last message of its own that was routed.
    routed: u32,
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
    receipt: usize,
    /// The places in the order that it may have.
    orders: Vec<u64>,
    number: u32,
    qos: Qos,
    /// It has acknowledged (PUBACK, PUBCOMP): the broker may know.
    answered: bool,
    /// The broker knows.
    known: bool,
    topic: String,
    /// It may be too large for a connection that comes.
    is_large: bool,
    /// The right to it was taken back while the client was away.
    revoked: bool,
}

impl Taken {
    /// Whether the broker may not send it again, though it is not acknowledged: it was taken back, or is too large for the next connection.
    fn may_be_lost(&self) -> bool {
        self.topic.starts_with(['b', 'd', 's']) || self.is_large
    }
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
    /// When the clock of this process began: each counts from a zero of its own.
    zero: u64,
    names: Vec<String>,
    clients: Vec<Client>,
    links: Vec<Option<Link>>,
    reference: Reference,
    pub(super) played: Played,
    purged: Option<usize>,
    settling: bool,
    /// How many steps there were.
    steps: u32,
    known: Known,
    /// Messages that the policy has denied.
    denied: BTreeSet<u32>,
    host: Host,
}

/// The host's store, and what it has not said to the broker yet.
struct Host {
    store: Rc<RefCell<MemoryStore>>,
    holds: bool,
    /// When it was synced last.
    synced: u64,
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
            synced: START,
            waiting: None,
            stood: VecDeque::from([(0, reference.clone())]),
            batches: 0,
        };
        Self {
            broker: broker(shape, store),
            shape: shape.clone(),
            now: START,
            zero: 0,
            names: (0..shape.clients).map(|at| format!("c{at}")).collect(),
            clients: (0..shape.clients).map(|_| Client::default()).collect(),
            links: Vec::new(),
            reference,
            played: Played { trace: 0xCBF2_9CE4_8422_2325, ..Played::default() },
            purged: None,
            settling: false,
            steps: 0,
            known: Known::default(),
            denied: BTreeSet::new(),
            host,
        }
    }

    pub(super) fn time(&self) -> u64 {
        self.now - START
    }

    fn at(&self) -> Instant {
        Instant::from_millis(self.now - self.zero)
    }

    fn epoch(&self) -> Epoch {
        Epoch::from_unix_millis(UNIX + self.zero)
    }

    fn note_bytes(&mut self, slot: usize, bytes: &[u8]) {
        let mut hash = self.played.trace ^ self.now ^ ((slot as u64) << 48);
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
        self.played.trace = hash.wrapping_mul(0x0100_0000_01B3);
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
    config.durability = shape.durability;
    Broker::new(config, Keeper { store, ..Keeper::default() }, HashSeed::new(1, 2))
        .expect("a configuration that can be")
}
