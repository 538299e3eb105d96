//! The client's end over a real socket that is closed in the middle, at any byte, again and again: against Debian's mosquitto, and against
//! our own broker. What is published comes back as its QoS says, over all of it.
//!
//! `MQTT_REQUIRE_CLIENTS=1` makes it a failure that mosquitto is not installed; `MQTT_SEED` begins with another seed.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    dead_code,
    unused_imports,
    missing_docs,
    unreachable_pub
)]

#[path = "clients/mod.rs"]
mod harness;

use harness::{Broker, Row, rows};
use mqtt_codec::{
    AckKind, Connect, OutBuf, Packet, Properties, Property, Qos, Reader, Role, SubscribeOptions, Subscription, Utf8,
    Version,
};
use mqtt_examples::words;
use mqtt_session::{Connection, Event, Instant, Publication, PublishToken, QueueLimits, Session, State, Transmit};
use mqtt_topic::{TopicFilter, TopicName};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

const QOS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];
const LIMITS: QueueLimits = QueueLimits { messages: 10_000, bytes: 10_000_000 };

/// Messages in one story, QoS 0, 1 and 2 in turn.
const MESSAGES: usize = 240;
/// A connection whose turn it is to break carries at most so many bytes, both ways together.
const CARRIES: u64 = 2_000;
/// How many packets are shown of a story that fails.
const LOG: usize = 200;
/// Nothing takes a tenth of it on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a connection lasts.
#[derive(Clone, Copy, Debug)]
enum Life {
    /// Until one more message has gone round.
    Whole,
    /// So many bytes, both ways together.
    Bytes(u64),
    /// So many bytes from the first answer on.
    BytesOnceAnswered(u64),
}

/// A client that hears what it publishes.
struct Echo {
    version: Version,
    /// The broker is mosquitto.
    gentle: bool,
    id: String,
    topic: String,
    random: Random,
    begin: std::time::Instant,
    subscribed: bool,
    published: usize,
    /// Of QoS 1 and 2: not completed yet.
    open: BTreeSet<PublishToken>,
    /// How often each message came.
    came: BTreeMap<usize, usize>,
    order: BTreeMap<u8, Vec<usize>>,
    connections: usize,
    /// The latest packets, for the message of a failure.
    log: VecDeque<String>,
}

/// A socket that breaks when its time has come.
struct Frayed {
    stream: TcpStream,
    /// How many bytes it still carries; `None`: it holds.
    left: Option<u64>,
}

/// The connection is over.
struct Broken;

impl Frayed {
    /// Writes all, or as much as it carries.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let len = self.left.map_or(bytes.len(), |left| bytes.len().min(left as usize));
        self.stream.write_all(&bytes[..len]).map_err(|_| Broken)?;
        self.carried(len)
    }

    /// Some bytes, once there are any.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Broken> {
        let most = self.left.map_or(buffer.len(), |left| buffer.len().min(left as usize));
        match self.stream.read(&mut buffer[..most]) {
            Ok(0) => Err(Broken),
            Ok(len) => Ok(len),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("nothing comes for {PATIENCE:?}"),
            Err(_) => Err(Broken),
        }
    }

    fn carried(&mut self, len: usize) -> Result<(), Broken> {
        let Some(left) = &mut self.left else { return Ok(()) };
        *left -= len as u64;
        if *left == 0 {
            // what lies unread makes this a reset
            let _ = self.stream.shutdown(Shutdown::Both);
            return Err(Broken);
        }
        Ok(())
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:?}: {:#?}", self.version, self.log);
        }
    }
}

impl Echo {
    fn new(row: Row, seed: u64, gentle: bool) -> Self {
        Self {
            version: match row.version {
                harness::Version::V31 => Version::V31,
                harness::Version::V311 => Version::V311,
                harness::Version::V5 => Version::V5,
            },
            gentle,
            id: row.id(&format!("cuts{seed}")),
            topic: row.topic(&format!("cuts{seed}")),
            random: Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            begin: std::time::Instant::now(),
            subscribed: false,
            published: 0,
            open: BTreeSet::new(),
            came: BTreeMap::new(),
            order: BTreeMap::new(),
            connections: 0,
            log: VecDeque::new(),
        }
    }

    /// The whole story; every second connection holds long enough to get somewhere.
    fn run(&mut self, broker: SocketAddr) {
        let mut session = Session::new();
        while !self.is_done() {
            let life = self.next_life();
            session = self.connection(broker, session, life);
        }
        // whatever would come twice comes before this, on a connection that holds
        let last = self.published;
        session = self.connection(broker, session, Life::Whole);
        assert_eq!(self.came.get(&last), Some(&1), "the last message");
        assert!(session.is_empty(), "{session:?}");
    }

    /// mosquitto 2.0.11 sends a PUBLISH again after its PUBREL if a connection ends while it sends again what was in flight when the one
    /// before ended, so there a connection breaks within CONNECT, or when something said on it has been answered.
    fn next_life(&mut self) -> Life {
        let bytes = 1 + self.random.below(CARRIES) * (1 + self.connections as u64 % 2);
        match (self.gentle, self.random.below(5)) {
            (false, _) => Life::Bytes(bytes),
            (true, 0) => Life::Bytes(1 + bytes % 20),
            (true, _) => Life::BytesOnceAnswered(bytes),
        }
    }

    fn is_done(&self) -> bool {
        let missing = |number: usize| !self.came.contains_key(&number);
        let all = self.published == MESSAGES && self.open.is_empty();
        all && (0..MESSAGES).filter(|number| number % 3 > 0).all(|number| !missing(number))
    }

    /// One connection until it breaks, or, where it holds, until one more message has come back.
    fn connection(&mut self, broker: SocketAddr, session: Session, life: Life) -> Session {
        self.connections += 1;
        self.note(format!("connection {}, {life:?}", self.connections));
        let stream = TcpStream::connect(broker).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let left = if let Life::Bytes(bytes) = life { Some(bytes) } else { None };
        let mut socket = Frayed { stream, left };
        let id = self.id.clone();
        // nor does it keep to a Receive Maximum when it sends again
        let properties =
            [Property::SessionExpiryInterval(600), Property::ReceiveMaximum(if self.gentle { 100 } else { 7 })];
        let connect = Connect {
            version: self.version,
            clean_start: false,
            keep_alive: 60,
            properties: Properties::from_slice(if self.version == Version::V5 { &properties } else { &[] }),
            client_id: Utf8::new(&id).unwrap(),
            will: None,
            user_name: None,
            password: None,
        };
        let mut client = Connection::client(self.now(), &connect, session).unwrap();
        let mut reader = client.reader();
        let holds = matches!(life, Life::Whole);
        let until = self.published;
        let mut turns = || -> Result<(), Broken> {
            if holds {
                self.publish(&mut client);
            }
            loop {
                self.command(&mut client);
                self.send(&mut client, &mut socket)?;
                let quiet = self.open.is_empty() && client.session().is_empty() && !client.has_output();
                if quiet && if holds { self.came.contains_key(&until) } else { self.is_done() } {
                    return Ok(());
                }
                let mut bytes = [0; 512];
                let len = socket.read(&mut bytes)?;
                let answered = self.hear(&mut client, &mut reader, &bytes[..len]);
                socket.carried(len)?;
                match life {
                    Life::BytesOnceAnswered(bytes) if answered && socket.left.is_none() => socket.left = Some(bytes),
                    Life::Whole | Life::Bytes(_) | Life::BytesOnceAnswered(_) => {}
                }
            }
        };
        let _: Result<(), Broken> = turns();
        client.into_session()
    }

    /// Subscribes where that is not done, and publishes a few more.
    fn command(&mut self, client: &mut Connection) {
        if client.state() != State::Connected || !self.subscribed {
            return;
        }
        while self.published < MESSAGES && self.open.len() < 12 {
            self.publish(client);
        }
    }

    fn publish(&mut self, client: &mut Connection) {
        let number = self.published;
        let payload = format!("{number}{}", " ".repeat(self.random.below(60) as usize));
        let mut message = Publication::new(TopicName::new(&self.topic).unwrap(), payload.as_bytes());
        message.qos = if number == MESSAGES { Qos::ExactlyOnce } else { QOS[number % 3] };
        let token = client.publish(self.now(), &message, &LIMITS).unwrap();
        if message.qos != Qos::AtMostOnce {
            self.open.insert(token);
        }
        self.published += 1;
    }

    fn send(&mut self, client: &mut Connection, socket: &mut Frayed) -> Result<(), Broken> {
        let mut bytes = Vec::new();
        loop {
            // a buffer of no size takes one packet: so each can be noted
            let (mut one, start) = (OutBuf::default(), bytes.len());
            let done = client.poll_transmit(self.now(), &mut one);
            if done != Transmit::Wrote {
                return socket.write(&bytes);
            }
            while !one.is_empty() {
                bytes.extend_from_slice(one.chunk());
                one.advance(one.chunk().len());
            }
            let packet = Packet::decode(&bytes[start..], self.version, Role::Client).unwrap();
            self.note(format!("-> {}", shown(&packet)));
        }
    }

    fn note(&mut self, line: String) {
        if self.log.len() == LOG {
            self.log.pop_front();
        }
        self.log.push_back(line);
    }

    /// Whether an answer was among it.
    fn hear(&mut self, client: &mut Connection, reader: &mut Reader, bytes: &[u8]) -> bool {
        let (now, mut subscribes, mut answered) = (self.now(), false, false);
        let mut packets = reader.read(bytes);
        while let Some(packet) = packets.next().expect("packets") {
            self.note(format!("<- {}", shown(&packet)));
            answered |= match packet {
                Packet::Ack(ack) => ack.kind != AckKind::Pubrel,
                _ => matches!(packet, Packet::Suback(_)),
            };
            match client.handle_packet(now, &packet).expect("the broker keeps to the protocol") {
                Event::Connected(_) => subscribes = !self.subscribed,
                Event::Suback(answer) => {
                    assert_eq!(answer.codes.iter().map(|code| code.0).collect::<Vec<_>>(), [2]);
                    self.subscribed = true;
                }
                Event::Publish(received, _) => {
                    let text = std::str::from_utf8(received.payload).unwrap();
                    let number: usize = text.trim_end().parse().unwrap();
                    let times = self.came.entry(number).or_default();
                    *times += 1;
                    if *times == 1 {
                        self.order.entry(received.qos as u8).or_default().push(number);
                    }
                }
                Event::Completed { token, reason, .. } => {
                    assert!(!reason.is_error(), "{reason:?}");
                    assert!(self.open.remove(&token), "{token:?} completes twice");
                }
                Event::Handled => {}
                other => panic!("{other:?}"),
            }
        }
        drop(packets);
        if subscribes {
            let options = SubscribeOptions { qos: Qos::ExactlyOnce, ..SubscribeOptions::default() };
            let filter = TopicFilter::new(&self.topic).unwrap();
            client.subscribe(now, &[Subscription { filter, options }], &[]).unwrap();
        }
        answered
    }

    fn check(&self) {
        for number in 0..MESSAGES {
            let times = self.came.get(&number).copied().unwrap_or(0);
            let right = match number % 3 {
                0 => times <= 1,
                1 => times >= 1,
                _ => times == 1,
            };
            assert!(right, "message {number} at QoS {} came {times} times", number % 3);
        }
        for (qos, numbers) in &self.order {
            assert!(numbers.is_sorted(), "order at QoS {qos}: {numbers:?}");
        }
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.begin.elapsed()
    }
}

/// A packet in words, with the number of the message.
fn shown(packet: &Packet<'_>) -> String {
    match packet {
        Packet::Publish(publish) => {
            format!("{} {}", words::packet(packet), String::from_utf8_lossy(publish.payload).trim_end())
        }
        _ => words::packet(packet),
    }
}

/// A small generator (xorshift64*), so that a failure can be told by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }
}

fn tell_with(broker: &Broker, gentle: bool) {
    let first: u64 = std::env::var("MQTT_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    for seed in first..first + 3 {
        let all = [harness::Version::V31, harness::Version::V311, harness::Version::V5];
        rows(&all.map(|version| (seed, Row { kind: harness::Kind::Ours, version })), |(seed, row)| {
            let mut echo = Echo::new(row, seed, gentle);
            echo.run(broker.address());
            echo.check();
            assert!(echo.connections > 10, "{} connections", echo.connections);
        });
    }
}

// S16. v5 [MQTT-4.4.0-1], v4 [MQTT-4.4.0-1], v5 [MQTT-4.3.3-1], v4 [MQTT-4.3.3-1].
#[test]
fn over_cuts_at_any_byte_mosquitto_gets_and_gives_what_each_qos_promises() {
    if let Some(broker) = Broker::mosquitto() {
        tell_with(&broker, true);
    }
}

#[test]
fn over_cuts_at_any_byte_our_broker_gets_and_gives_what_each_qos_promises() {
    tell_with(&Broker::start(), false);
}
