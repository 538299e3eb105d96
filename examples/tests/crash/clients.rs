//! Writers and subscribers that keep their half of the sessions over every loss of the broker. Their rules are written out here once
//! more, so that what a library of ours gets wrong on both sides does not cancel out.
#![allow(unreachable_pub, reason = "a module of tests")]

use crate::program::PATIENCE;
use mqtt_codec::{Ack, AckKind, Packet, Reader, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Messages of a writer that wait for their acknowledgement.
const WINDOW: usize = 20;

/// What everybody knows.
pub struct Told {
    broker: Mutex<SocketAddr>,
    pub acknowledged: AtomicU64,
    pub subscribed: AtomicUsize,
    /// Writers begin nothing new.
    pub stop: AtomicBool,
    /// By writer: how many it has sent, when all are acknowledged.
    pub all_sent: OnceLock<BTreeMap<u32, u32>>,
}

impl Told {
    pub fn new(broker: SocketAddr) -> Self {
        Self {
            broker: Mutex::new(broker),
            acknowledged: AtomicU64::new(0),
            subscribed: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            all_sent: OnceLock::new(),
        }
    }

    pub fn moved(&self, broker: SocketAddr) {
        *self.broker.lock().unwrap() = broker;
    }

    pub fn wait_until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + 3 * PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "{what}");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

// --- writing ---------------------------------------------------------------------------------------------------------

/// What of a message is still to come.
#[derive(Clone, Copy, PartialEq)]
enum Awaits {
    Puback,
    Pubrec,
    Pubcomp,
}

/// Publishes 0, 1, 2 .. on a topic of its own.
pub struct Writer {
    pub number: u32,
    /// How many it has begun.
    pub sent: u32,
    level: u8,
    told: Arc<Told>,
    /// By the number of the message, which is the order: identifier and what it awaits.
    inflight: BTreeMap<u32, (u16, Awaits)>,
    was_connected: bool,
}

impl Writer {
    pub fn new(number: u32, level: u8, told: &Arc<Told>) -> Self {
        Self { number, sent: 0, level, told: told.clone(), inflight: BTreeMap::new(), was_connected: false }
    }

    pub fn is_exactly_once(number: u32) -> bool {
        number % 2 == 1
    }

    pub fn is_retained(number: u32) -> bool {
        number % 4 == 2
    }

    pub fn start(mut self) -> JoinHandle<Self> {
        thread::spawn(move || {
            while !self.is_finished() {
                let Some(mut wire) = Wire::connect(&self.told, &format!("w{}", self.number), self.level) else {
                    continue;
                };
                assert!(wire.session_present || !self.was_connected, "a session that was promised is gone");
                self.was_connected = true;
                // a wire that breaks is a broker that was killed
                let _ = self.serve(&mut wire);
            }
            self
        })
    }

    fn is_finished(&self) -> bool {
        self.told.stop.load(Ordering::SeqCst) && self.inflight.is_empty()
    }

    fn serve(&mut self, wire: &mut Wire) -> std::io::Result<()> {
        for (number, (id, awaits)) in &self.inflight {
            match awaits {
                Awaits::Pubcomp => wire.send(&ack(0x62, *id))?,
                _ => wire.send(&self.publish(*number, *id, true))?,
            }
        }
        while !self.is_finished() {
            while self.inflight.len() < WINDOW && !self.told.stop.load(Ordering::SeqCst) {
                let id = (1..=u16::MAX).find(|id| self.inflight.values().all(|(taken, _)| taken != id)).unwrap();
                let number = self.sent;
                let awaits = if Self::is_exactly_once(number) { Awaits::Pubrec } else { Awaits::Puback };
                // from here on it may have arrived
                self.inflight.insert(number, (id, awaits));
                self.sent += 1;
                wire.send(&self.publish(number, id, false))?;
            }
            for (kind, id) in wire.acks()? {
                self.hear(wire, kind, id)?;
            }
        }
        Ok(())
    }

    fn hear(&mut self, wire: &mut Wire, kind: AckKind, id: u16) -> std::io::Result<()> {
        let (number, awaits) =
            self.inflight.iter().find(|(_, (own, _))| *own == id).map(|(n, (_, a))| (*n, *a)).unwrap();
        match (kind, awaits) {
            (AckKind::Puback, Awaits::Puback) | (AckKind::Pubcomp, Awaits::Pubcomp) => {
                self.inflight.remove(&number);
            }
            // the broker is responsible from here on
            (AckKind::Pubrec, Awaits::Pubrec | Awaits::Pubcomp) => {
                self.inflight.insert(number, (id, Awaits::Pubcomp));
                wire.send(&ack(0x62, id))?;
            }
            _ => panic!("{kind:?} for {number}"),
        }
        if kind != AckKind::Pubcomp {
            self.told.acknowledged.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    fn publish(&self, number: u32, id: u16, again: bool) -> Vec<u8> {
        let qos = if Self::is_exactly_once(number) { 2 } else { 1 };
        let first = 0x30 | qos << 1 | u8::from(again) << 3 | u8::from(Self::is_retained(number));
        publish(first, &format!("t/{}", self.number), id, self.level, &number.to_be_bytes())
    }
}

fn ack(first: u8, id: u16) -> Vec<u8> {
    [&[first, 2], &id.to_be_bytes()[..]].concat()
}

fn publish(first: u8, topic: &str, id: u16, level: u8, payload: &[u8]) -> Vec<u8> {
    let properties: &[u8] = if level == 5 { &[0] } else { &[] };
    framed(first, &[&crate::program::string(topic), &id.to_be_bytes()[..], properties, payload].concat())
}

/// A PUBLISH at QoS 1, as 3.1.1 has it.
pub fn publish_once(topic: &str, id: u16, payload: &[u8]) -> Vec<u8> {
    publish(0x32, topic, id, 4, payload)
}

fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    while length > 127 {
        packet.push(length as u8 | 0x80);
        length >>= 7;
    }
    packet.push(length as u8);
    packet.extend_from_slice(body);
    packet
}

// --- receiving -------------------------------------------------------------------------------------------------------

/// Subscribes to all, and comes and goes.
pub struct Subscriber {
    pub name: String,
    /// By writer and number: how often it was handed on.
    pub received: BTreeMap<(u32, u32), u32>,
    /// How often a message came for the first time after a later one of its writer and QoS.
    pub disorders: u32,
    level: u8,
    /// About how many messages it stays for; 0: to the end.
    stays: u64,
    told: Arc<Told>,
    random: Random,
    latest: BTreeMap<(u32, bool), u32>,
    /// QoS 2 messages that were received and not released.
    unreleased: BTreeSet<u16>,
    is_subscribed: bool,
}

impl Subscriber {
    pub fn new(name: &str, level: u8, stays: u64, told: &Arc<Told>, seed: u64) -> Self {
        Self {
            name: name.into(),
            received: BTreeMap::new(),
            disorders: 0,
            level,
            stays,
            told: told.clone(),
            random: Random::new(seed),
            latest: BTreeMap::new(),
            unreleased: BTreeSet::new(),
            is_subscribed: false,
        }
    }

    pub fn start(mut self) -> JoinHandle<Self> {
        thread::spawn(move || {
            while !self.is_finished() {
                let Some(mut wire) = Wire::connect(&self.told, &self.name, self.level) else { continue };
                assert!(wire.session_present || !self.is_subscribed, "a session that was promised is gone");
                let _ = self.serve(&mut wire);
            }
            self
        })
    }

    /// Is subscribed from here on, and away.
    pub fn subscribe_and_leave(&mut self) {
        let mut wire = Wire::connect(&self.told, &self.name, self.level).unwrap();
        self.subscribe(&mut wire).unwrap();
    }

    fn is_finished(&self) -> bool {
        let Some(all) = self.told.all_sent.get() else { return false };
        let expected: usize = all.values().map(|sent| *sent as usize).sum();
        self.received.len() >= expected && self.unreleased.is_empty()
    }

    fn subscribe(&mut self, wire: &mut Wire) -> std::io::Result<()> {
        let properties: &[u8] = if self.level == 5 { &[0] } else { &[] };
        wire.send(&framed(0x82, &[&[0, 1], properties, &crate::program::string("t/#"), &[2]].concat()))?;
        // what is retained may come before the answer
        let mut answers = Vec::new();
        while !wire.read(&mut |packet| {
            let is_answer = matches!(packet, Packet::Suback(_));
            if !is_answer {
                answers.extend(self.hear(packet));
            }
            is_answer
        })? {}
        self.is_subscribed = true;
        self.told.subscribed.fetch_add(1, Ordering::SeqCst);
        wire.send(&answers)
    }

    fn serve(&mut self, wire: &mut Wire) -> std::io::Result<()> {
        if !self.is_subscribed {
            self.subscribe(wire)?;
        }
        let mut silent_since = Instant::now();
        wire.stream.set_read_timeout(Some(Duration::from_millis(100)))?;
        while !self.is_finished() {
            let mut answers = Vec::new();
            let mut leaves = false;
            match wire.read(&mut |packet| {
                answers.extend(self.hear(packet));
                leaves |= self.stays > 0 && self.random.below(self.stays) == 0;
                leaves
            }) {
                Ok(_) => silent_since = Instant::now(),
                // what should come does not: that is for the test to say, when all is counted
                Err(error) if is_silence(&error) => {
                    let over = self.told.all_sent.get().is_some() && silent_since.elapsed() > PATIENCE / 2;
                    assert!(!over, "{}: {} came, and nothing more", self.name, self.received.len());
                }
                Err(error) => return Err(error),
            }
            if leaves && self.random.below(2) == 0 {
                return Ok(()); // without an answer to the last ones
            }
            wire.send(&answers)?;
            if leaves {
                return wire.send(&[0xE0, 0]);
            }
        }
        Ok(())
    }

    fn hear(&mut self, packet: &Packet<'_>) -> Vec<u8> {
        match packet {
            Packet::Publish(publish) => {
                let number = u32::from_be_bytes(*publish.payload.first_chunk().unwrap());
                let topic = std::str::from_utf8(publish.topic.unwrap().as_bytes()).unwrap();
                let writer = topic.strip_prefix("t/").unwrap().parse().unwrap();
                let id = publish.packet_id.unwrap().get();
                if publish.qos as u8 == 1 {
                    self.take(writer, number);
                    return ack(0x40, id);
                }
                if self.unreleased.insert(id) {
                    self.take(writer, number);
                }
                ack(0x50, id)
            }
            Packet::Ack(Ack { kind: AckKind::Pubrel, packet_id, .. }) => {
                self.unreleased.remove(&packet_id.get());
                ack(0x70, packet_id.get())
            }
            packet => panic!("{packet:?}"),
        }
    }

    fn take(&mut self, writer: u32, number: u32) {
        let times = self.received.entry((writer, number)).or_default();
        *times += 1;
        if *times == 1 {
            let latest = self.latest.entry((writer, Writer::is_exactly_once(number))).or_default();
            // v4 [MQTT-4.6.0-6]
            self.disorders += u32::from(number < *latest);
            *latest = number.max(*latest);
        }
    }
}

/// What a new client gets of the topics of so many writers.
pub fn fresh_retained(broker: SocketAddr, writers: u32) -> BTreeMap<u32, u32> {
    let told = Arc::new(Told::new(broker));
    let mut subscriber = Subscriber::new("fresh", 4, 0, &told, 1);
    let mut wire = Wire::connect(&told, "fresh", 4).unwrap();
    subscriber.subscribe(&mut wire).unwrap();
    while subscriber.received.len() < writers as usize {
        wire.read(&mut |packet| {
            subscriber.hear(packet);
            false
        })
        .unwrap();
    }
    subscriber.received.into_keys().collect()
}

// --- on the wire -----------------------------------------------------------------------------------------------------

/// A connection whose session goes on.
struct Wire {
    stream: TcpStream,
    reader: Reader,
    session_present: bool,
}

impl Wire {
    /// Connects, if there is a broker now.
    fn connect(told: &Told, client_id: &str, level: u8) -> Option<Self> {
        let address = *told.broker.lock().unwrap();
        let Ok(stream) = TcpStream::connect_timeout(&address, PATIENCE) else {
            thread::sleep(Duration::from_millis(5));
            return None;
        };
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let version = if level == 5 { Version::V5 } else { Version::V311 };
        let mut wire = Self { stream, reader: Reader::of_server(version, 1 << 20), session_present: false };
        wire.greet(client_id, level).ok()?;
        Some(wire)
    }

    fn greet(&mut self, client_id: &str, level: u8) -> std::io::Result<()> {
        let mut body = [crate::program::string("MQTT"), vec![level, 0, 0, 60]].concat();
        if level == 5 {
            body.extend([5, 0x11, 0, 0, 14, 16]); // an hour
        }
        body.extend(crate::program::string(client_id));
        self.send(&framed(0x10, &body))?;
        let mut present = None;
        while present.is_none() {
            self.read(&mut |packet| match packet {
                Packet::Connack(connack) => {
                    present = Some(connack.session_present);
                    true
                }
                packet => panic!("{packet:?}"),
            })?;
        }
        self.session_present = present.unwrap();
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Hands on what is left of the last read, or else what one more brings, until a packet is what was waited for: what comes behind
    /// it is left.
    fn read(&mut self, each: &mut dyn FnMut(&Packet<'_>) -> bool) -> std::io::Result<bool> {
        let mut buffer = [0; 16 << 10];
        let mut length = 0;
        loop {
            let mut packets = self.reader.read(&buffer[..length]);
            let mut any = length > 0;
            while let Some(packet) = packets.next().unwrap() {
                any = true;
                if each(&packet) {
                    return Ok(true);
                }
            }
            drop(packets);
            if any {
                return Ok(false);
            }
            length = self.stream.read(&mut buffer)?;
            if length == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The acknowledgements of one read.
    fn acks(&mut self) -> std::io::Result<Vec<(AckKind, u16)>> {
        let mut acks = Vec::new();
        let read = self.read(&mut |packet| {
            acks.push(match packet {
                Packet::Ack(ack) => (ack.kind, ack.packet_id.get()),
                packet => panic!("{packet:?}"),
            });
            false
        });
        if let Err(error) = read {
            assert!(!is_silence(&error), "no acknowledgement in time");
            return Err(error);
        }
        Ok(acks)
    }
}

fn is_silence(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// A small generator (xorshift64*), so that a run is a number.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 20
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}
