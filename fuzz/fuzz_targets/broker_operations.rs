//! A whole broker driven by arbitrary operations: clients of all versions that keep to the rules, slow sockets, late and changing decisions,
//! clients of the embedding program, administration, time.
//!
//! It accuses nobody, loops for nothing, keeps its counters within their limits and knows nothing of handles that are gone; what was
//! acknowledged at QoS 1 and 2 arrives unless it says that it was dropped; and when everybody takes everything nobody waits any more.
#![no_main]

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

// --- the policy --------------------------------------------------------------------------------------------------------

/// Decides by the first letter, puts off what its mask says, and remembers which messages of clients it has allowed.
#[derive(Default)]
struct Keeper {
    mask: u8,
    revoked: bool,
    tickets: Vec<Ticket>,
    allowed: Vec<Allowed>,
}

/// A message on its way to those who have asked for it.
struct Allowed {
    from: String,
    topic: String,
    number: u32,
}

const NO: Decision = Decision::Deny(ReasonCode::NOT_AUTHORIZED);

impl Keeper {
    fn decide(&mut self, bit: u8, ticket: Ticket) -> Decision {
        if self.mask & bit == 0 {
            return Decision::Allow;
        }
        self.tickets.push(ticket);
        Decision::Defer(ticket)
    }
}

impl Policy for Keeper {
    fn connect(&mut self, request: &ConnectRequest<'_>) -> Decision {
        if self.mask & 8 != 0 && request.client.client_id == NAMES[4] {
            return Decision::DenyWith(Box::new(Refusal::use_another_server("elsewhere")));
        }
        self.decide(1, request.ticket)
    }

    fn publish(&mut self, request: &PublishRequest<'_>) -> Decision {
        let publication = request.publication;
        match publication.topic.as_bytes().first() {
            Some(b'n') => return NO,
            Some(b'b') if self.revoked => return NO,
            Some(b'd') if self.mask & 2 != 0 => return self.decide(2, request.ticket),
            Some(b'r') if !request.rewritten => {
                let new = Publication { topic: TopicName::new("a").unwrap(), ..*publication };
                return Decision::publish_as(request.now, &new);
            }
            _ => {}
        }
        if let Origin::Client(client) = request.origin
            && let Some(number) = number(publication.payload)
            && publication.qos != Qos::AtMostOnce
            && publication.properties.message_expiry_interval().is_none()
        {
            let (from, topic) = (client.client_id.to_owned(), publication.topic.as_str().to_owned());
            self.allowed.push(Allowed { from, topic, number });
        }
        Decision::Allow
    }

    fn subscribe(&mut self, request: &SubscribeRequest<'_>) -> Decision {
        match plain(request.filter.as_str()).as_bytes().first() {
            Some(b'n') => NO,
            Some(b'b') if self.revoked => NO,
            Some(b'd') => self.decide(4, request.ticket),
            // one that nobody asks for by its own name: it would be replaced, and end, with the other
            Some(b'r') if !request.rewritten => {
                Decision::subscribe_as(TopicFilter::new("w/x").unwrap(), request.options)
            }
            _ => Decision::Allow,
        }
    }

    fn unsubscribe(&mut self, request: &UnsubscribeRequest<'_>) -> Decision {
        if request.filter.as_bytes().starts_with(b"d") { self.decide(4, request.ticket) } else { Decision::Allow }
    }

    fn receives_all(&mut self, _: &ClientInfo<'_>, filter: TopicFilter<'_>) -> bool {
        !filter.begins_with_wildcard()
    }

    fn receive(&mut self, request: &ReceiveRequest<'_>) -> bool {
        let topic = request.publication.topic.as_bytes();
        !topic.starts_with(b"s") && !(self.revoked && topic.starts_with(b"b"))
    }
}

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

    // --- what clients hear -------------------------------------------------------------------------------------------

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
        let Some(link) = &mut self.links[slot] else { return };
        let who = &mut self.whos[link.who];
        let is_current = who.link == Some(slot);
        match packet {
            Packet::Connack(connack) => {
                link.connected = !connack.reason.is_error();
                if link.connected && is_current {
                    self.send_again(slot);
                }
            }
            Packet::Publish(publish) => {
                let alias = publish.properties.iter().find_map(|property| match property {
                    Property::TopicAlias(alias) => Some(alias),
                    _ => None,
                });
                if let (Some(alias), Some(topic)) = (alias, publish.topic) {
                    link.aliases.insert(alias, topic.as_str().to_owned());
                }
                assert!(
                    publish.topic.is_some() || alias.is_some_and(|alias| link.aliases.contains_key(&alias)),
                    "an alias that stands for nothing"
                );
                if let Some(number) = number(publish.payload).filter(|_| is_current) {
                    who.owed.remove(&number);
                    let is_new = publish.qos != Qos::ExactlyOnce
                        || publish.packet_id.is_some_and(|id| !who.taken.contains(&id.get()));
                    if is_new && number >= PROBES {
                        who.came.push(number);
                    }
                }
                match (publish.qos, publish.packet_id) {
                    (Qos::AtLeastOnce, Some(id)) => link.answers.push_back((AckKind::Puback, id.get())),
                    (Qos::ExactlyOnce, Some(id)) => {
                        link.answers.push_back((AckKind::Pubrec, id.get()));
                        who.taken.insert(id.get());
                    }
                    _ => {}
                }
            }
            Packet::Ack(ack) => {
                let id = ack.packet_id.get();
                match ack.kind {
                    AckKind::Pubrel => {
                        who.taken.remove(&id);
                        link.answers.push_back((AckKind::Pubcomp, id));
                    }
                    AckKind::Pubrec if !ack.reason.is_error() => {
                        if let Some(sent) = who.pending.get_mut(&id) {
                            sent.released = true;
                        }
                        link.answers.push_back((AckKind::Pubrel, id));
                    }
                    _ if is_current => drop(who.pending.remove(&id)),
                    _ => {}
                }
            }
            Packet::Suback(suback) => {
                let code = suback.codes.iter().next().unwrap();
                if let Some(Asked::Subscribe(filter, options)) = link.asked.remove(&suback.packet_id.get())
                    && is_current
                    && (code == ReasonCode::GRANTED_QOS_1 || code == ReasonCode::GRANTED_QOS_2)
                    && !filter.starts_with('$')
                    && !filter.starts_with('r')
                {
                    who.sure.insert(filter, options.no_local);
                }
            }
            Packet::Unsuback(unsuback) => {
                // a SUBACK that was late may have made it sure again
                if let Some(Asked::Unsubscribe(filter)) = link.asked.remove(&unsuback.packet_id.get()) {
                    who.sure.remove(filter);
                }
            }
            Packet::Pingresp => link.pings = link.pings.checked_sub(1).expect("an answer to a ping"),
            Packet::Disconnect(_) => link.connected = false,
            other => panic!("a server sent {other:?}"),
        }
    }

    /// A session goes on: what is not finished is sent again.
    fn send_again(&mut self, slot: usize) {
        let Some(link) = &mut self.links[slot] else { return };
        let who = &self.whos[link.who];
        let mut bytes = Vec::new();
        for (&id, sent) in &who.pending {
            if sent.released {
                ack(AckKind::Pubrel, id).encode(link.version, &mut bytes).unwrap();
            } else {
                let payload = sent.number.to_be_bytes();
                let (name, qos) = (Some(sent.topic), sent.qos);
                let again = Outgoing { name, payload: &payload, qos, id, dup: true, retain: false, properties: &[] };
                bytes.extend(again.encoded(link.version));
            }
        }
        self.broker.handle_input(self.now, link.id, &bytes);
        self.note();
    }

    /// What the policy has allowed is owed to those who asked for it; what the broker says it has dropped or ended no longer.
    fn note(&mut self) {
        for Allowed { from, topic, number } in std::mem::take(&mut self.broker.policy_mut().allowed) {
            let name = TopicName::new(&topic).unwrap();
            for (who, of) in self.whos.iter_mut().zip(NAMES) {
                let matches = |(filter, no_local): (&&str, &bool)| {
                    (!no_local || from != of) && TopicFilter::new(filter).unwrap().matches(name)
                };
                if !topic.starts_with('s') && who.sure.iter().any(matches) {
                    who.owed.insert(number);
                }
            }
        }
        while let Some(event) = self.broker.poll_event() {
            let who = |client: &str| NAMES.iter().position(|name| *name == client).unwrap();
            match event {
                Event::Connected { connection, client, session_present, .. } => {
                    let slot =
                        self.links.iter().position(|link| link.as_ref().is_some_and(|link| link.id == connection));
                    let who = &mut self.whos[who(client.as_str())];
                    who.link = slot;
                    if !session_present {
                        *who = Who { link: slot, last_id: who.last_id, ..Who::default() };
                    }
                }
                Event::Disconnected { connection, client, cause } => {
                    assert!(is_fair(cause), "{client:?} is accused: {cause:?}");
                    let who = &mut self.whos[who(client.as_str())];
                    let is_it = |slot: &usize| self.links[*slot].as_ref().is_some_and(|link| link.id == connection);
                    if who.link.as_ref().is_some_and(is_it) {
                        who.link = None;
                    }
                }
                Event::Refused { cause, .. } => assert!(is_fair(cause), "a CONNECT is accused: {cause:?}"),
                Event::SessionEnded { client } => {
                    let who = &mut self.whos[who(client.as_str())];
                    (who.sure, who.owed) = Default::default();
                }
                Event::Dropped { client: Some(client), .. } if !client.as_str().is_empty() => {
                    self.whos[who(client.as_str())].owed.clear();
                }
                _ => {}
            }
        }
    }

    // --- what clients do ---------------------------------------------------------------------------------------------

    /// Where a client is connected and may speak.
    fn at(&self, who: usize) -> Option<usize> {
        let slot = self.whos[who].link?;
        self.links[slot].as_ref().filter(|link| link.connected && link.who == who)?;
        Some(slot)
    }

    fn next_id(&mut self, who: usize) -> u16 {
        let who = &mut self.whos[who];
        loop {
            who.last_id = who.last_id.wrapping_add(1).max(1);
            if !who.pending.contains_key(&who.last_id) {
                return who.last_id;
            }
        }
    }

    fn connect(&mut self, who: usize, how: u8, more: u8) {
        let version = VERSIONS[usize::from(how) % 3];
        let free = self.links.iter().position(Option::is_none).unwrap_or(usize::from(more) % LINKS);
        let Some(slot) = self.open(free, who, version) else { return };
        self.links[slot].as_mut().unwrap().lazy = how & 16 != 0;
        let mut properties = Vec::new();
        let will_properties = [Property::WillDelayInterval(u32::from(more >> 4))];
        if version == Version::V5 {
            properties.push(Property::SessionExpiryInterval([0, 5, 100, 2_000][usize::from(more & 3)]));
            if more & 4 != 0 {
                properties.push(Property::ReceiveMaximum(1));
            }
            if more & 8 != 0 {
                properties.push(Property::TopicAliasMaximum(2));
            }
            if more & 16 != 0 {
                properties.push(Property::MaximumPacketSize(150));
            }
        }
        let will = (how & 32 != 0).then(|| Will {
            topic: TopicName::new(TOPICS[usize::from(more >> 5)]).unwrap(),
            payload: b"gone",
            qos: QOS[usize::from(how >> 6) % 3],
            retain: how & 64 != 0,
            properties: if version == Version::V5 {
                Properties::from_slice(&will_properties)
            } else {
                Properties::EMPTY
            },
        });
        let connect = Connect {
            version,
            clean_start: how & 8 != 0,
            keep_alive: if how & 128 != 0 { 20 } else { 0 },
            properties: Properties::from_slice(&properties),
            client_id: Utf8::new(NAMES[who]).unwrap(),
            will,
            user_name: None,
            password: None,
        };
        self.send(slot, &Packet::Connect(connect));
    }

    fn subscribe(&mut self, who: usize, filter: &'static str, how: u8) {
        let Some(slot) = self.at(who) else { return };
        let id = self.next_id(who);
        let link = self.links[slot].as_mut().unwrap();
        let v5 = link.version == Version::V5;
        let options = SubscribeOptions {
            qos: QOS[usize::from(how & 3) % 3],
            no_local: v5 && how & 4 != 0 && !filter.starts_with("$share"),
            retain_as_published: v5 && how & 8 != 0,
            retain_handling: match how >> 4 & 3 {
                1 if v5 => RetainHandling::IfNew,
                2 if v5 => RetainHandling::Never,
                _ => RetainHandling::Always,
            },
        };
        link.asked.insert(id, Asked::Subscribe(filter, options));
        self.whos[who].sure.remove(filter);
        let identifier = [Property::SubscriptionIdentifier(u32::from(how))];
        let list = [Subscription { filter: TopicFilter::new(filter).unwrap(), options }];
        let packet = Packet::Subscribe(Subscribe {
            packet_id: PacketId::new(id).unwrap(),
            properties: if v5 && how > 127 { Properties::from_slice(&identifier) } else { Properties::EMPTY },
            subscriptions: Subscriptions::from_slice(&list),
        });
        self.send(slot, &packet);
    }

    fn unsubscribe(&mut self, who: usize, filter: &'static str) {
        let Some(slot) = self.at(who) else { return };
        let id = self.next_id(who);
        self.links[slot].as_mut().unwrap().asked.insert(id, Asked::Unsubscribe(filter));
        self.whos[who].sure.remove(filter);
        let list = [TopicFilter::new(filter).unwrap()];
        let packet = Packet::Unsubscribe(Unsubscribe {
            packet_id: PacketId::new(id).unwrap(),
            properties: Properties::EMPTY,
            filters: Filters::from_slice(&list),
        });
        self.send(slot, &packet);
    }

    fn publish(&mut self, who: usize, topic: &'static str, how: u8, more: u8) {
        let Some(slot) = self.at(who) else { return };
        let mut qos = QOS[usize::from(how & 3) % 3];
        if self.whos[who].pending.len() >= WINDOW {
            qos = Qos::AtMostOnce;
        }
        let id = if qos == Qos::AtMostOnce { 0 } else { self.next_id(who) };
        self.number += 1;
        let number = self.number;
        if id != 0 {
            self.whos[who].pending.insert(id, Sent { qos, topic, number, released: false });
        }
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(4 + usize::from(more >> 2) * 8, b'x');
        if how & 192 == 192 {
            payload.clear();
        }
        let link = self.links[slot].as_mut().unwrap();
        let mut properties = Vec::new();
        let mut name = Some(topic);
        if link.version == Version::V5 {
            if how & 8 != 0 {
                properties.push(Property::MessageExpiryInterval(u32::from(more & 3) + 1));
            }
            if how & 16 != 0 {
                let alias = 1 + u16::from(more & 1);
                if link.own_aliases.insert(alias, topic) == Some(topic) {
                    name = None;
                }
                properties.push(Property::TopicAlias(alias));
            }
        }
        let packet =
            Outgoing { name, payload: &payload, qos, id, dup: false, retain: how & 4 != 0, properties: &properties };
        let bytes = packet.encoded(link.version);
        self.broker.handle_input(self.now, link.id, &bytes);
        self.note();
    }

    /// Sends up to `most` of the acknowledgements that a connection owes.
    fn answer(&mut self, slot: usize, most: usize) {
        for _ in 0..most {
            let Some(link) = &mut self.links[slot] else { return };
            let Some((kind, id)) = link.answers.pop_front() else { return };
            if link.connected {
                self.send(slot, &ack(kind, id));
            }
        }
    }

    fn goodbye(&mut self, who: usize, how: u8) {
        let Some(slot) = self.at(who) else { return };
        let link = self.links[slot].as_mut().unwrap();
        link.connected = false;
        let with_will = link.version == Version::V5 && how % 2 == 0;
        let reason = if with_will { ReasonCode::DISCONNECT_WITH_WILL } else { ReasonCode::SUCCESS };
        self.send(slot, &Packet::Disconnect(Disconnect { reason, properties: Properties::EMPTY }));
    }

    fn ping(&mut self, slot: usize) {
        if let Some(link) = self.links[slot].as_mut().filter(|link| link.connected) {
            link.pings += 1;
            self.send(slot, &Packet::Pingreq);
        }
    }

    // --- the host ----------------------------------------------------------------------------------------------------

    /// Lets time pass, deadline by deadline.
    fn advance(&mut self, millis: u64) {
        let end = self.now.plus_millis(millis);
        let mut wakes = 0;
        while let Some(at) = self.broker.poll_timeout().filter(|at| *at <= end) {
            wakes += 1;
            assert!(wakes < FOREVER, "time stands still");
            self.now = self.now.max(at);
            self.broker.handle_timeout(self.now);
            self.turn();
        }
        self.now = end;
        self.broker.handle_timeout(end);
        self.turn();
    }

    /// Decides one of the requests that were put off, stale ones among them; a second answer changes nothing.
    fn decide(&mut self, how: u8) {
        let tickets = &mut self.broker.policy_mut().tickets;
        if tickets.is_empty() {
            return;
        }
        let ticket = tickets.remove(usize::from(how >> 2) % tickets.len());
        let decision = match how & 3 {
            0 => NO,
            1 => Decision::Defer(ticket),
            _ => Decision::Allow,
        };
        self.broker.resume(self.now, ticket, decision);
        self.note();
        let before = self.broker.stats();
        self.broker.resume(self.now, ticket, Decision::Allow);
        let after = self.broker.stats();
        assert_eq!((before.held_bytes, before.messages_out), (after.held_bytes, after.messages_out), "decided twice");
    }

    fn host_publishes(&mut self, how: u8) {
        let payload = vec![b'h'; usize::from(how >> 4)];
        let mut publication = Publication::new(TopicName::new(TOPICS[usize::from(how) % 8]).unwrap(), &payload);
        (publication.retain, publication.qos) = (how & 8 != 0, QOS[usize::from(how) % 3]);
        let _ = self.broker.publish(self.now, &publication);
    }

    fn local(&mut self, which: usize, how: u8) {
        let argument = usize::from(how >> 3);
        let Some(id) = self.locals[which] else {
            self.locals[which] = self.broker.local_open(QueueLimits { messages: 4, bytes: 2048 }).ok();
            return;
        };
        let filter = TopicFilter::new(FILTERS[argument % FILTERS.len()]).unwrap();
        match how & 7 {
            0..=2 => {
                let options = SubscribeOptions { qos: QOS[argument % 3], no_local: false, ..Default::default() };
                let _ = self.broker.local_subscribe(self.now, id, filter, options);
            }
            3 => drop(self.broker.local_unsubscribe(id, filter)),
            4 => {
                let topic = TopicName::new(TOPICS[argument % TOPICS.len()]).unwrap();
                let _ = self.broker.local_publish(self.now, id, &Publication::new(topic, b"local"));
            }
            5 | 6 => self.locals_receive(),
            _ => {
                self.locals[which] = None;
                self.broker.local_close(id);
                self.note();
                // it is stale
                assert!(self.broker.local_receive(self.now, id).is_none());
                assert!(!self.broker.local_unsubscribe(id, filter));
                let again = self.broker.local_subscribe(self.now, id, filter, SubscribeOptions::default());
                assert_eq!(again, Err(LocalError::Stale));
                self.broker.local_close(id);
            }
        }
    }

    fn locals_receive(&mut self) {
        for round in 0.. {
            assert!(round < FOREVER, "there is always something for the host's own clients");
            let Some(id) = self.broker.poll_local() else { return };
            assert!(self.locals.contains(&Some(id)), "a client that was closed has something to receive");
            while self.broker.local_receive(self.now, id).is_some() {}
        }
    }

    fn close_locals(&mut self) {
        for id in std::mem::take(&mut self.locals).into_iter().flatten() {
            self.broker.local_close(id);
        }
    }

    fn administrate(&mut self, who: usize, how: u8) {
        let (name, now) = (NAMES[who], self.now);
        let ban = || Ban::ClientId(name.into());
        match how % 10 {
            0 => drop(self.broker.kick(now, name, ReasonCode::ADMINISTRATIVE_ACTION)),
            1 => {
                let until = Some(now.plus_millis(u64::from(how) * SECOND / 10));
                let _ = self.broker.ban(now, ban(), until);
            }
            2 => drop(self.broker.unban(&ban())),
            3 => {
                self.broker.purge_session(now, name);
                assert!(self.broker.client(name).is_none());
            }
            4 => drop(self.broker.clear_retained(RetainedCursor::new(TopicFilter::new("#").unwrap()), 2)),
            5 => self.broker.set_draining(how & 128 != 0),
            6 => drop(self.broker.redirect(now, name, &Refusal::use_another_server("elsewhere"))),
            7 => {
                let listed = self.broker.clients(0, ALL).items.len();
                assert_eq!(listed, self.broker.stats().sessions);
            }
            8 => {
                let page = self.broker.subscriptions(name, 0, 3);
                assert!(page.items.len() <= 3);
            }
            _ => {
                let all = RetainedCursor::new(TopicFilter::new("#").unwrap());
                assert!(self.broker.list_retained(now, all, 3).items.len() <= 3);
            }
        }
        self.note();
    }

    fn revoke(&mut self, revoked: bool) {
        self.broker.policy_mut().revoked = revoked;
        self.broker.reauthorize_all(self.now);
        self.forget();
    }

    fn reauthorize(&mut self, who: usize) {
        self.broker.reauthorize(self.now, NAMES[who]);
        self.note();
        self.forget();
    }

    /// What anybody may receive has changed: nothing is certain any more.
    fn forget(&mut self) {
        for who in &mut self.whos {
            (who.sure, who.owed) = Default::default();
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

/// The numbers from here on are probes.
const PROBES: u32 = 1 << 30;

/// A PUBLISH as a client sends it.
struct Outgoing<'a> {
    /// None where an alias stands for it.
    name: Option<&'a str>,
    payload: &'a [u8],
    qos: Qos,
    id: u16,
    dup: bool,
    retain: bool,
    properties: &'a [Property<'a>],
}

impl Outgoing<'_> {
    fn encoded(&self, version: Version) -> Vec<u8> {
        let publish = Publish {
            dup: self.dup,
            qos: self.qos,
            retain: self.retain,
            topic: self.name.map(|name| TopicName::new(name).unwrap()),
            packet_id: PacketId::new(self.id),
            properties: Properties::from_slice(self.properties),
            payload: self.payload,
        };
        let mut bytes = Vec::new();
        Packet::Publish(publish).encode(version, &mut bytes).expect("a PUBLISH of a client");
        bytes
    }
}

fn ack(kind: AckKind, id: u16) -> Packet<'static> {
    let packet_id = PacketId::new(id).expect("a server uses no 0");
    Packet::Ack(Ack { kind, packet_id, reason: ReasonCode::SUCCESS, properties: Properties::EMPTY })
}

/// A client may be silent for too long, and breaks no other rule.
fn is_fair(cause: Cause) -> bool {
    match cause {
        Cause::Protocol(error) => {
            matches!(error.kind, ProtocolErrorKind::KeepAlive | ProtocolErrorKind::ConnectTimeout)
        }
        _ => true,
    }
}

/// What a filter matches, shared or not.
fn plain(filter: &str) -> &str {
    filter.strip_prefix("$share/").and_then(|shared| shared.split_once('/')).map_or(filter, |(_, plain)| plain)
}

/// The number a payload begins with.
fn number(payload: &[u8]) -> Option<u32> {
    payload
        .first_chunk()
        .map(|bytes| u32::from_be_bytes(*bytes))
        .filter(|number| [0, PROBES >> 24].contains(&(number >> 24)))
}
