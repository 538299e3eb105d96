//! A whole broker driven by arbitrary operations: clients of all versions that keep to the rules, slow sockets, late and changing decisions,
//! clients of the embedding program, administration, time.
//!
//! It accuses nobody, loops for nothing, keeps its counters within their limits and knows nothing of handles that are gone; what was
//! acknowledged at QoS 1 and 2 arrives unless it says that it was dropped; and when everybody takes everything nobody waits any more.
#![no_main]

#[path = "broker_operations/clients.rs"]
mod clients;
#[path = "broker_operations/hearing.rs"]
mod hearing;
#[path = "broker_operations/host.rs"]
mod host;
#[path = "broker_operations/keeper.rs"]
mod keeper;
#[path = "broker_operations/packets.rs"]
mod packets;

use keeper::{Allowed, Keeper, NO};
use libfuzzer_sys::fuzz_target;
use mqtt_broker_core::codec::{
    Ack, AckKind, Connect, Disconnect, Filters, OutBuf, Packet, PacketId, Properties, Property, Publish, Qos, Reader,
    ReasonCode, RetainHandling, Subscribe, SubscribeOptions, Subscription, Subscriptions, Unsubscribe, Utf8, Version,
    Will,
};
use mqtt_broker_core::session::{ProtocolErrorKind, QueueLimits};
use mqtt_broker_core::topic::{HashSeed, TopicFilter, TopicName};
use mqtt_broker_core::{
    Ban, Broker, Cause, ClientInfo, Config, ConnectRequest, ConnectionId, Decision, Event, Instant, LocalError,
    LocalId, Origin, OverRate, Overflow, Overlap, Peer, Policy, Publication, PublishRequest, Rate, Read,
    ReceiveRequest, Refusal, RetainedCursor, Strategy, SubscribeRequest, Ticket, UnsubscribeRequest,
};
use mqtt_fuzz::Script;
use packets::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

const NAMES: [&str; 5] = ["c0", "c1", "c2", "c3", "c4"];
const LINKS: usize = 7;
const LOCALS: usize = 2;
/// What a client may have unfinished.
const WINDOW: usize = 4;
/// A loop that goes on for longer does not end.
const FOREVER: usize = 100_000;
const SECOND: u64 = 1_000;
const ALL: usize = usize::MAX;
/// By their first letter: `b` can be revoked, `d` is decided later, `n` denied, `r` becomes `a`, `s` is not for everybody.
const TOPICS: [&str; 8] = ["a", "b/c", "b/d", "d/x", "n/x", "r/x", "s/x", "a/b/c"];
const FILTERS: [&str; 16] = [
    "a",
    "b/c",
    "b/+",
    "#",
    "+/c",
    "$share/g/a",
    "$share/g/b/#",
    "$share/h/#",
    "d/x",
    "n/x",
    "r/x",
    "s/x",
    "$SYS/#",
    "+/+/c",
    "$share/h/d/x",
    "a/#",
];
const QOS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];
const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

fuzz_target!(|data: &[u8]| {
    let mut script = Script(data);
    let mut world = World::new(&mut script);
    while script.goes_on() {
        world.step(&mut script);
        world.check();
    }
    world.settle();
    world.probe();
    world.all_ends();
});

// --- the clients -------------------------------------------------------------------------------------------------------

/// What a client knows over all its connections.
#[derive(Default)]
struct Who {
    /// Where it is connected, as the broker has said.
    link: Option<usize>,
    last_id: u16,
    /// What it has published at QoS 1 and 2, and is not finished.
    pending: BTreeMap<u16, Sent>,
    /// QoS 2 that it has taken, and for which PUBREL has not come.
    taken: BTreeSet<u16>,
    /// What it is subscribed to for certain, not shared, at QoS 1 or 2; and whether with No Local.
    sure: BTreeMap<&'static str, bool>,
    /// Numbers of the messages that must come.
    owed: BTreeSet<u32>,
    /// Numbers of the messages that came.
    came: Vec<u32>,
}

struct Sent {
    qos: Qos,
    topic: &'static str,
    number: u32,
    released: bool,
}

enum Asked {
    Subscribe(&'static str, SubscribeOptions),
    Unsubscribe(&'static str),
}

struct Link {
    id: ConnectionId,
    who: usize,
    version: Version,
    reader: Option<Reader>,
    out: OutBuf,
    /// Bytes its socket takes before it is full.
    takes: usize,
    reading: bool,
    connected: bool,
    /// It acknowledges only when told to.
    lazy: bool,
    answers: VecDeque<(AckKind, u16)>,
    aliases: BTreeMap<u16, String>,
    own_aliases: BTreeMap<u16, &'static str>,
    asked: BTreeMap<u16, Asked>,
    pings: usize,
}

struct World {
    broker: Broker<Keeper>,
    config: Config,
    now: Instant,
    whos: [Who; NAMES.len()],
    links: Vec<Option<Link>>,
    locals: [Option<LocalId>; LOCALS],
    number: u32,
}

impl World {
    fn new(script: &mut Script<'_>) -> Self {
        let (head, more) = (script.byte(), script.byte());
        let mut config = Config::default();
        config.server.receive_maximum = WINDOW as u16;
        config.server.maximum_inflight = 3;
        config.server.topic_alias_maximum = 2;
        config.server.topic_alias_maximum_outgoing = 2;
        config.max_subscriptions = 10;
        config.queue = QueueLimits { messages: 8, bytes: 4096 };
        config.max_queued_bytes = 8192;
        config.max_held_bytes = 2048;
        config.max_retained = 5;
        config.max_retained_bytes = 4096;
        config.max_local_clients = LOCALS;
        config.max_bans = 3;
        config.high_water = 512;
        config.max_session_expiry = 1_000;
        config.session_expiry_v3 = 500;
        config.overflow = [Overflow::DropNewest, Overflow::DropOldest, Overflow::DropQos0, Overflow::Disconnect]
            [usize::from(head & 3)];
        config.queue_qos0_offline = head & 4 != 0;
        config.overlap = if head & 8 != 0 { Overlap::Each } else { Overlap::Merge };
        config.shared.max_groups = 3;
        config.shared.strategy = [
            Strategy::RoundRobin,
            Strategy::Random,
            Strategy::Sticky,
            Strategy::HashClient,
            Strategy::HashTopic,
            Strategy::LeastInflight,
        ][usize::from(head >> 4) % 6];
        if more & 1 != 0 {
            config.client_rates.messages = Some(Rate { per_second: 100, burst: 2 });
            config.over_rate = if more & 2 != 0 { OverRate::Drop } else { OverRate::Pause };
        }
        config.sys_interval = (more & 4 != 0).then_some(Duration::from_secs(7));
        if more & 8 != 0 {
            config.queue = QueueLimits { messages: 1_000, bytes: 1 << 20 };
            config.max_queued_bytes = 1 << 22;
        }
        config.events.drops = true;
        let broker = Broker::new(config.clone(), Keeper::default(), HashSeed::new(1, 2)).unwrap();
        let mut links = Vec::new();
        links.resize_with(LINKS, || None);
        let (whos, locals) = Default::default();
        Self { broker, config, now: Instant::from_millis(1_000_000), whos, links, locals, number: 0 }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let op = script.byte();
        let (which, slot) = (usize::from(op >> 5) % NAMES.len(), usize::from(op >> 5) % LINKS);
        match op & 31 {
            0 | 1 => self.connect(which, script.byte(), script.byte()),
            2 | 3 => self.subscribe(which, FILTERS[script.below(FILTERS.len())], script.byte()),
            4 => self.unsubscribe(which, FILTERS[script.below(FILTERS.len())]),
            5..=8 => self.publish(which, TOPICS[script.below(TOPICS.len())], script.byte(), script.byte()),
            9 => self.answer(slot, 1),
            10 => self.answer(slot, ALL),
            11 => self.cut(slot),
            12 => self.goodbye(which, script.byte()),
            13 => self.take(slot, 0),
            14 => self.take(slot, usize::from(script.byte())),
            15 => self.take(slot, ALL),
            16 => self.advance(u64::from(script.byte())),
            17 => self.advance(u64::from(script.byte()) * 10 * SECOND),
            18 => self.decide(script.byte()),
            19 => self.host_publishes(script.byte()),
            20..=22 => self.local(usize::from(op >> 5) % LOCALS, script.byte()),
            23 | 24 => self.administrate(which, script.byte()),
            25 => self.broker.policy_mut().mask = script.byte(),
            26 => self.revoke(op & 0x80 != 0),
            27 => self.ping(slot),
            28 => drop(self.open(slot, which, VERSIONS[which % 3])),
            _ => self.reauthorize(which),
        }
        self.turn();
        // what is due at once: a request over the limit of bytes waits for that
        if self.broker.poll_timeout().is_some_and(|at| at <= self.now) {
            self.advance(0);
        }
    }

    // --- transports --------------------------------------------------------------------------------------------------

    /// The slot, if the transport was taken; what was there before is cut.
    fn open(&mut self, slot: usize, who: usize, version: Version) -> Option<usize> {
        self.cut(slot);
        let id = self.broker.handle_open(self.now, Peer::new(None, 0)).ok()?;
        self.links[slot] = Some(Link {
            id,
            who,
            version,
            reader: Some(Reader::of_server(version, u32::MAX)),
            out: OutBuf::default(),
            takes: ALL,
            reading: true,
            connected: false,
            lazy: false,
            answers: VecDeque::new(),
            aliases: BTreeMap::new(),
            own_aliases: BTreeMap::new(),
            asked: BTreeMap::new(),
            pings: 0,
        });
        Some(slot)
    }

    fn cut(&mut self, slot: usize) {
        let Some(link) = self.links[slot].take() else { return };
        let who = &mut self.whos[link.who];
        if who.link == Some(slot) {
            who.link = None;
        }
        self.broker.handle_closed(self.now, link.id);
        self.note();
        self.is_stale(link.id);
    }

    /// A handle that is gone finds nothing.
    fn is_stale(&mut self, id: ConnectionId) {
        let before = self.broker.stats();
        let mut out = OutBuf::default();
        self.broker.handle_input(self.now, id, b"\xC0\x00");
        self.broker.poll_transmit(self.now, id, &mut out);
        self.broker.handle_closed(self.now, id);
        self.broker.set_peer(id, Peer::new(None, 1));
        let after = self.broker.stats();
        assert!(out.is_empty());
        assert_eq!((before.packets_in, before.connections), (after.packets_in, after.connections));
        self.note();
    }

    fn send(&mut self, slot: usize, packet: &Packet<'_>) {
        let Some(link) = &self.links[slot] else { return };
        let mut bytes = Vec::new();
        packet.encode(link.version, &mut bytes).expect("a packet of a client");
        self.broker.handle_input(self.now, link.id, &bytes);
        self.note();
    }

    fn take(&mut self, slot: usize, bytes: usize) {
        if let Some(link) = &mut self.links[slot] {
            link.takes = bytes;
            self.flush(slot);
        }
    }

    /// One turn of the host's loop, until nothing is left to do.
    fn turn(&mut self) {
        let mut turns = 0;
        loop {
            turns += 1;
            assert!(turns < FOREVER, "the broker keeps its host busy for nothing");
            self.note();
            if let Some(ready) = self.broker.poll_ready() {
                let slot = self.links.iter().position(|link| link.as_ref().is_some_and(|link| link.id == ready.id));
                let slot = slot.expect("only an open connection is ready");
                self.links[slot].as_mut().unwrap().reading = ready.read == Read::Read;
                if ready.transmit || ready.read == Read::Close {
                    self.flush(slot);
                }
                if ready.read == Read::Close {
                    self.cut(slot);
                }
                continue;
            }
            let eager = |link: &&Option<Link>| link.as_ref().is_some_and(|link| !link.lazy && !link.answers.is_empty());
            match self.links.iter().position(|link| eager(&link)) {
                Some(slot) => self.answer(slot, 1),
                None => return,
            }
        }
    }

    /// Sends what the socket takes.
    fn flush(&mut self, slot: usize) {
        for round in 0.. {
            assert!(round < FOREVER, "the broker never stops writing");
            let Some(link) = &mut self.links[slot] else { return };
            self.broker.poll_transmit(self.now, link.id, &mut link.out);
            let len = link.out.chunk().len().min(link.takes);
            let bytes = link.out.chunk()[..len].to_vec();
            link.out.advance(len);
            if link.takes != ALL {
                link.takes -= len;
            }
            self.note();
            if len == 0 {
                return;
            }
            self.hear(slot, &bytes);
        }
    }

    // --- what must hold ----------------------------------------------------------------------------------------------

    fn check(&self) {
        let (stats, config) = (self.broker.stats(), &self.config);
        assert_eq!(stats.connections, self.links.iter().flatten().count());
        assert!(stats.subscriptions <= (stats.sessions + LOCALS) * config.max_subscriptions, "{stats:?}");
        assert!(stats.groups <= config.shared.max_groups, "{stats:?}");
        assert!(stats.held_bytes <= config.max_held_bytes, "{stats:?}");
        assert!(
            stats.retained <= config.max_retained && stats.retained_bytes <= config.max_retained_bytes,
            "{stats:?}"
        );
        let replays = stats.subscriptions * config.max_retained_bytes;
        assert!(stats.queued_bytes <= config.max_queued_bytes + replays, "{stats:?}");
        assert_eq!(stats.events_lost, 0);
    }

    /// Everybody is there, reads and answers, and nothing is put off any more: then all that was owed has come, and nobody waits.
    fn settle(&mut self) {
        self.broker.set_draining(false);
        let keeper = self.broker.policy_mut();
        (keeper.mask, keeper.revoked) = (0, false);
        while !self.broker.policy().tickets.is_empty() {
            self.decide(2);
            self.turn();
        }
        for slot in 0..LINKS {
            if let Some(link) = &mut self.links[slot] {
                link.lazy = false;
            }
            self.take(slot, ALL);
            self.turn();
        }
        for (who, name) in NAMES.iter().enumerate() {
            self.broker.unban(&Ban::ClientId((*name).into()));
            if self.at(who).is_none() {
                if let Some(slot) = self.links.iter().position(|link| link.as_ref().is_none_or(|link| !link.connected))
                {
                    self.cut(slot);
                }
                self.connect(who, 1, 3);
                self.turn();
            }
        }
        // what waits for a rate, a share of retained messages or a judgement; keep alive would end those who do not ping
        for _ in 0..20 {
            (0..LINKS).for_each(|slot| self.ping(slot));
            self.locals_receive();
            self.advance(SECOND);
        }
        for (who, name) in self.whos.iter().zip(NAMES) {
            assert!(who.owed.is_empty(), "{name} never got {:?}: {:?}", who.owed, self.broker.stats());
            assert!(who.link.is_none() || who.pending.is_empty(), "{name} waits for acknowledgements");
        }
        for link in self.links.iter().flatten().filter(|link| link.connected) {
            assert!(link.reading, "{} is paused for ever", NAMES[link.who]);
            assert_eq!((link.pings, link.asked.len(), link.answers.len()), (0, 0, 0), "{} waits", NAMES[link.who]);
        }
    }

    /// Each of those who are there gets a message at QoS 1, and one member of their group another one.
    fn probe(&mut self) {
        let Some(publisher) = (0..NAMES.len()).find(|who| self.at(*who).is_some()) else { return };
        let mut granted = Vec::new();
        // room for one more group
        self.close_locals();
        for who in 0..NAMES.len() {
            let Some(slot) = self.at(who) else { continue };
            // room for the probe
            FILTERS.iter().for_each(|filter| self.unsubscribe(who, filter));
            self.subscribe(who, "probe", 1);
            self.subscribe(who, "$share/probes/shared", 1);
            self.turn();
            assert!(self.links[slot].as_ref().is_some_and(|link| link.asked.is_empty()), "{} waits", NAMES[who]);
            granted.push(who);
        }
        self.number = PROBES;
        self.advance(SECOND);
        self.publish(publisher, "probe", 1, 0);
        self.publish(publisher, "shared", 1, 0);
        self.turn();
        (0..10).for_each(|_| self.advance(SECOND));
        let came = |number: u32| granted.iter().filter(|who| self.whos[**who].came.contains(&number)).count();
        let (all, one) = (came(PROBES + 1), came(PROBES + 2));
        assert_eq!(all, granted.len(), "{:?}", self.broker.stats());
        assert_eq!(one, 1, "{:?}", self.broker.stats());
    }

    /// Everybody goes, and what was kept for them with them; time has an end.
    fn all_ends(&mut self) {
        self.broker.shutdown(self.now);
        self.turn();
        assert!(self.broker.handle_open(self.now, Peer::new(None, 0)).is_err());
        (0..LINKS).for_each(|slot| self.cut(slot));
        self.turn();
        assert_eq!(self.broker.connections(), 0);
        self.close_locals();
        self.advance(3_000 * SECOND);
        // and beyond, at one stride: $SYS goes on for ever
        self.now = self.now.plus_millis(u64::from(u32::MAX) * SECOND);
        self.broker.handle_timeout(self.now);
        self.turn();
        for filter in ["#", "$SYS/#"] {
            self.broker.clear_retained(RetainedCursor::new(TopicFilter::new(filter).unwrap()), 1_000);
        }
        let stats = self.broker.stats();
        assert_eq!((stats.sessions, stats.subscriptions, stats.groups), (0, 0, 0), "{stats:?}");
        assert_eq!((stats.queued_bytes, stats.held_bytes), (0, 0), "{stats:?}");
        assert_eq!((stats.retained, stats.retained_bytes), (0, 0), "{stats:?}");
    }
}
