//! What happens in a world: all of it is decided by the seed before anything runs, so that steps can be left out and the rest stays as it is.
use mqtt_broker_core::codec::{Qos, RetainHandling, Version};
use mqtt_broker_core::{Durability, Overflow, Overlap, Strategy};

/// By their first letter: `b` can be revoked, `d` is decided later, `n` is denied, `s` is for nobody who asks for everything.
pub(super) const TOPICS: [&str; 8] = ["a", "a/b", "b/c", "b/d", "d/x", "n/x", "s/x", "a/b/c"];
pub(super) const FILTERS: [&str; 17] = [
    "a",
    "a/b",
    "a/+",
    "a/#",
    "#",
    "+/+",
    "+/c",
    "b/c",
    "b/+",
    "d/x",
    "n/x",
    "s/x",
    "$share/g/a",
    "$share/g/a/#",
    "$share/h/#",
    "$share/h/b/#",
    "$share/i/+/x",
];
const QOS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];
const VERSIONS: [Version; 4] = [Version::V31, Version::V311, Version::V5, Version::V5];
const HANDLING: [RetainHandling; 3] = [RetainHandling::Always, RetainHandling::IfNew, RetainHandling::Never];

const DURABILITY: [Durability; 6] = [
    Durability::Synced,
    Durability::Synced,
    Durability::Synced,
    Durability::Buffered,
    Durability::None,
    Durability::None,
];

/// splitmix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 33) as usize % n
    }
    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// How a world is made.
#[derive(Clone, Debug)]
pub struct Shape {
    pub clients: usize,
    pub overflow: Overflow,
    pub overlap: Overlap,
    pub strategy: Strategy,
    pub queue_messages: usize,
    pub max_subscriptions: usize,
    pub max_retained: usize,
    /// Bytes of all queues together.
    pub max_queued_bytes: usize,
    pub high_water: usize,
    /// What clients may have unfinished.
    pub receive_maximum: u16,
    /// What the broker has unfinished with one client.
    pub inflight: u16,
    pub queue_qos0_offline: bool,
    /// Messages a second of one client.
    pub rate: Option<u32>,
    pub max_session_expiry: u32,
    pub session_expiry_v3: u32,
    pub max_message_expiry: Option<u32>,
    /// Whether sessions are stored, and whether what rests on that waits for it.
    pub durability: Durability,
}

impl Shape {
    /// Whether there is something that another process finds.
    pub fn is_stored(&self) -> bool {
        self.durability != Durability::None
    }

    /// Room for everything, and all of it is stored.
    pub fn durable(clients: usize) -> Self {
        Self {
            clients,
            overflow: Overflow::DropNewest,
            overlap: Overlap::Merge,
            strategy: Strategy::RoundRobin,
            queue_messages: 1_000,
            max_subscriptions: 1_000,
            max_retained: 1_000,
            max_queued_bytes: 1 << 30,
            high_water: 64 << 10,
            receive_maximum: 100,
            inflight: 100,
            queue_qos0_offline: false,
            rate: None,
            max_session_expiry: u32::MAX,
            session_expiry_v3: 500,
            max_message_expiry: None,
            durability: Durability::Synced,
        }
    }
}

/// Everything that can be asked for besides clients that keep to the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Connections break, clients say nothing, sockets take nothing, connections are taken over.
    pub links: bool,
    /// Clients break rules.
    pub rules: bool,
    /// The policy puts decisions off and takes rights back.
    pub policy: bool,
    /// The process dies, and another begins with what it had stored.
    pub crashes: bool,
}

impl Faults {
    pub const NONE: Self = Self { links: false, rules: false, policy: false, crashes: false };
    pub const ALL: Self = Self { links: true, rules: true, policy: true, crashes: true };

    /// `none`, `all`, or the names of some with commas between them.
    pub fn named(text: &str) -> Option<Self> {
        let mut faults = Self::NONE;
        for name in text.split(',') {
            match name {
                "none" => {}
                "all" => faults = Self::ALL,
                "links" => faults.links = true,
                "rules" => faults.rules = true,
                "policy" => faults.policy = true,
                "crashes" => faults.crashes = true,
                _ => return None,
            }
        }
        Some(faults)
    }
}

/// One thing that happens. Who cannot do it at that moment does nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Connect(Connect),
    Subscribe {
        who: usize,
        filters: Vec<Asked>,
        id: Option<u32>,
    },
    Unsubscribe {
        who: usize,
        filter: &'static str,
    },
    Publish(Publish),
    HostPublish(Publish),
    /// A client that acknowledges late sends so many acknowledgements.
    Answer {
        who: usize,
        most: usize,
    },
    Ping {
        who: usize,
    },
    Goodbye {
        who: usize,
        with_will: bool,
        expiry: Option<u32>,
    },
    Cut {
        who: usize,
    },
    /// The socket of a client takes so many bytes more; `None` for any number.
    Takes {
        who: usize,
        bytes: Option<usize>,
    },
    /// Bytes that break a rule.
    Breaks {
        who: usize,
        how: Fault,
    },
    Kick {
        who: usize,
    },
    Purge {
        who: usize,
    },
    /// From now on the policy puts off connecting, publishing below `d`, subscribing to `d`.
    Defers {
        connect: bool,
        publish: bool,
        subscribe: bool,
    },
    /// The policy speaks on something that it put off.
    Decide {
        which: usize,
        allow: bool,
    },
    /// What is below `b` is for nobody any more, or again.
    Revoke {
        revoked: bool,
    },
    Advance {
        millis: u64,
    },
    /// From now on the host lets what it has written wait, or makes it durable after every turn.
    Holds {
        holds: bool,
    },
    /// The host makes durable what it has written.
    Sync,
    /// The process dies and another begins: with what was durable, and what `how` leaves of the rest. Of a broker that waits for nothing
    /// the machine goes on, so that what was written is all there.
    Crash {
        how: Loss,
        at: usize,
    },
}

/// What a crash does to what was written and is not durable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    Tail,
    Tear,
    Drop,
    Reorder,
    Flip,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    ReservedFlags,
    EmptyTopic,
    UnknownAlias,
    SecondConnect,
    TooManyUnreleased,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Connect {
    pub who: usize,
    pub version: Version,
    pub clean_start: bool,
    pub expiry: u32,
    pub keep_alive: u16,
    pub receive_maximum: Option<u16>,
    pub aliases: Option<u16>,
    pub max_packet: Option<u32>,
    /// It acknowledges only when told to.
    pub lazy: bool,
    pub will: Option<Will>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Will {
    pub number: u32,
    pub topic: &'static str,
    pub qos: Qos,
    pub retain: bool,
    pub delay: u32,
    pub expiry: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asked {
    pub filter: &'static str,
    pub qos: Qos,
    pub no_local: bool,
    pub retain_as_published: bool,
    pub handling: RetainHandling,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    pub who: usize,
    /// What it is known by; 0 for one with an empty payload.
    pub number: u32,
    pub topic: &'static str,
    pub qos: Qos,
    pub retain: bool,
    pub expiry: Option<u32>,
    pub alias: Option<u16>,
    /// Bytes of payload beyond the number.
    pub more: usize,
}

impl Publish {
    pub fn payload(&self) -> Vec<u8> {
        if self.number == 0 {
            return Vec::new();
        }
        let mut payload = self.number.to_be_bytes().to_vec();
        payload.resize(4 + self.more * 2, b'x');
        payload
    }
}

impl Will {
    /// Of an odd length, which no other message has, and of its own if it can be.
    pub fn payload(&self) -> Vec<u8> {
        let mut payload = self.number.to_be_bytes().to_vec();
        payload.resize(5 + (self.number as usize % 200) * 2, b'w');
        payload
    }
}

/// Decides everything.
pub fn plan(seed: u64, clients: usize, steps: usize, faults: Faults, day: bool) -> (Shape, Vec<Step>) {
    let mut random = Random(seed.wrapping_mul(0xA076_1D64_78BD_642F));
    let shape = shape(&mut random, clients, faults, day);
    let mut list: Vec<_> = (1..=steps).map(|number| step(&mut random, &shape, faults, day, number as u32)).collect();
    if seed % 5 == 4 {
        narrow(&mut random, &mut list);
    }
    (shape, list)
}

/// Leaves few topics and filters, so that steps meet more often.
fn narrow(random: &mut Random, steps: &mut [Step]) {
    let topics: Vec<_> = (0..2).map(|_| random.of(&TOPICS)).collect();
    let filters: Vec<_> = (0..3).map(|_| random.of(&FILTERS)).collect();
    for step in steps {
        match step {
            Step::Subscribe { filters: list, .. } => {
                let mut fewer: Vec<Asked> = Vec::new();
                for asked in list.iter() {
                    let filter = random.of(&filters);
                    let no_local = asked.no_local && !filter.starts_with('$');
                    if fewer.iter().all(|other| other.filter != filter) {
                        fewer.push(Asked { filter, no_local, ..*asked });
                    }
                }
                *list = fewer;
            }
            Step::Unsubscribe { filter, .. } => *filter = random.of(&filters),
            Step::Publish(publish) | Step::HostPublish(publish) => publish.topic = random.of(&topics),
            _ => {}
        }
    }
}

fn shape(random: &mut Random, clients: usize, faults: Faults, day: bool) -> Shape {
    let strategies = [
        Strategy::RoundRobin,
        Strategy::Random,
        Strategy::Sticky,
        Strategy::HashClient,
        Strategy::HashTopic,
        Strategy::LeastInflight,
    ];
    // two of three worlds have room for everything, so that nothing may be dropped at all
    let tight = random.one_in(3);
    Shape {
        clients,
        overflow: random.of(&[Overflow::DropNewest, Overflow::DropOldest, Overflow::DropQos0, Overflow::Disconnect]),
        overlap: random.of(&[Overlap::Merge, Overlap::Merge, Overlap::Each]),
        strategy: random.of(&strategies),
        queue_messages: if tight { random.of(&[3, 6, 12]) } else { 100_000 },
        max_subscriptions: if tight { 3 } else { 1_000 },
        max_retained: if tight { 3 } else { 1_000 },
        max_queued_bytes: if tight && random.one_in(3) { 3_000 } else { 1 << 30 },
        high_water: random.of(&[300, 2_000, 64 << 10]),
        receive_maximum: random.of(&[2, 5, 100]),
        inflight: random.of(&[1, 3, 100]),
        queue_qos0_offline: random.one_in(3),
        rate: random.one_in(6).then_some(20),
        max_session_expiry: random.of(if day { &[1_000, 50_000, u32::MAX] } else { &[60, 1_000, u32::MAX] }),
        session_expiry_v3: random.of(if day { &[500, 50_000] } else { &[30, 500] }),
        max_message_expiry: random.one_in(4).then_some(40),
        durability: if faults.crashes { random.of(&DURABILITY) } else { Durability::None },
    }
}

fn step(random: &mut Random, shape: &Shape, faults: Faults, day: bool, number: u32) -> Step {
    let who = random.below(shape.clients);
    match random.below(100) {
        0..12 => Step::Connect(connect(random, faults, day, who, number)),
        12..25 => subscribe(random, who),
        25..29 => Step::Unsubscribe { who, filter: random.of(&FILTERS) },
        29..57 => Step::Publish(publish(random, who, number)),
        57..60 => Step::HostPublish(publish(random, who, number)),
        60..70 => Step::Answer { who, most: random.of(&[1, 2, 5, 1_000]) },
        70..72 => Step::Ping { who },
        72..74 => {
            let expiry = random.one_in(3).then(|| random.of(&[0, 20, 5_000]));
            Step::Goodbye { who, with_will: random.one_in(2), expiry }
        }
        74..78 if faults.links => Step::Cut { who },
        78..83 if faults.links => {
            Step::Takes { who, bytes: random.of(&[Some(0), Some(20), Some(200), None, None, None]) }
        }
        83 if faults.rules => {
            let all = [
                Fault::ReservedFlags,
                Fault::EmptyTopic,
                Fault::UnknownAlias,
                Fault::SecondConnect,
                Fault::TooManyUnreleased,
            ];
            Step::Breaks { who, how: random.of(&all) }
        }
        84 if faults.rules => {
            if random.one_in(3) {
                Step::Purge { who }
            } else {
                Step::Kick { who }
            }
        }
        85 | 86 if faults.policy => {
            let (connect, publish, subscribe) = (random.one_in(4), random.one_in(2), random.one_in(2));
            Step::Defers { connect, publish, subscribe }
        }
        87 if faults.policy => Step::Revoke { revoked: random.one_in(2) },
        88..91 if faults.policy => Step::Decide { which: random.below(8), allow: !random.one_in(3) },
        91 if shape.is_stored() => Step::Holds { holds: random.one_in(2) },
        92 if shape.is_stored() => Step::Sync,
        // one that many have to come back after, some times a day
        93 if shape.is_stored() && (!day || random.one_in(30)) => {
            let how = random.of(&[Loss::Tail, Loss::Tear, Loss::Tear, Loss::Drop, Loss::Reorder, Loss::Flip]);
            Step::Crash { how, at: random.below(10_000) }
        }
        _ => {
            let short = [1, 60, 150, 999, 1_000, 2_500, 6_000, 15_000, 40_000, 200_000];
            let long = [10, 1_000, 5_000, 60_000, 200_000];
            Step::Advance { millis: if day { random.of(&long) } else { random.of(&short) } }
        }
    }
}

fn connect(random: &mut Random, faults: Faults, day: bool, who: usize, number: u32) -> Connect {
    let version = random.of(&VERSIONS);
    let v5 = version == Version::V5;
    let will = random.one_in(2).then(|| Will {
        number: number + 1_000_000,
        topic: random.of(&["a", "a/b", "b/c", "d/x", "s/x", "a/b/c"]),
        qos: random.of(&QOS),
        retain: random.one_in(3),
        delay: if v5 { random.of(if day { &[0, 0, 30, 500, 20_000] } else { &[0, 0, 2, 30, 500] }) } else { 0 },
        expiry: if v5 && random.one_in(3) { Some(random.of(&[1, 10, 100])) } else { None },
    });
    let expiries = if day { &[0, 100, 5_000, 50_000, 50_000, 50_000] } else { &[0, 5, 100, 2_000, 2_000, 2_000] };
    let keep_alives = if day { &[0, 0, 0, 0, 600] } else { &[0, 0, 0, 4, 60] };
    Connect {
        who,
        version,
        clean_start: random.one_in(4),
        expiry: if v5 { random.of(expiries) } else { 0 },
        keep_alive: if faults.links { random.of(keep_alives) } else { 0 },
        receive_maximum: if v5 { random.of(&[None, Some(1), Some(2), Some(20)]) } else { None },
        aliases: if v5 { random.of(&[None, Some(2)]) } else { None },
        max_packet: if v5 && random.one_in(5) { Some(150) } else { None },
        lazy: random.one_in(3),
        will,
    }
}

fn subscribe(random: &mut Random, who: usize) -> Step {
    let mut filters: Vec<Asked> = Vec::new();
    for _ in 0..random.of(&[1, 1, 1, 2, 3]) {
        let filter = random.of(&FILTERS);
        let asked = Asked {
            filter,
            qos: random.of(&QOS),
            no_local: random.one_in(3) && !filter.starts_with('$'),
            retain_as_published: random.one_in(2),
            handling: random.of(&HANDLING),
        };
        if filters.iter().all(|other| other.filter != filter) {
            filters.push(asked);
        }
    }
    Step::Subscribe { who, filters, id: random.one_in(2).then(|| random.below(5) as u32 + 1) }
}

fn publish(random: &mut Random, who: usize, number: u32) -> Publish {
    let empty = random.one_in(12);
    Publish {
        who,
        number: if empty { 0 } else { number },
        topic: random.of(&TOPICS),
        qos: random.of(&QOS),
        retain: random.one_in(3) || empty,
        expiry: random.one_in(4).then(|| random.of(&[1, 5, 100])),
        alias: random.one_in(3).then(|| random.of(&[1, 2])),
        more: random.of(&[0, 0, 1, 8, 100]),
    }
}
