//! Whatever is done to a session while its changes are recorded, the changes make the same of the snapshot before them, and nothing
//! that waits to be stored waits for ever.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{End, LIMITS, Seen, connect, filter};
use mqtt_session::codec::{
    AckKind, OutBuf, Packet, Properties, Property, Qos, Role, SubscribeOptions, Subscription, Version, frame_len,
};
use mqtt_session::topic::TopicName;
use mqtt_session::{
    Change, Connection, Delivery, Epoch, Message, Place, Publication, ServerConfig, Session, Share, Transmit,
};
use std::collections::VecDeque;
use std::collections::btree_map::{BTreeMap, Entry};

const EPOCH: Epoch = Epoch::from_unix_millis(1_700_000_000_000);
const QOS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];

/// The same numbers for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

struct World {
    random: Random,
    client: End,
    /// What was recorded, applied.
    replayed: Session,
    made: u64,
    stored: u64,
    places: Vec<Place>,
    /// What the server is to say.
    owed: VecDeque<Vec<u8>>,
    /// QoS 2 of the server's, by identifier: whether the client had it (PUBREC).
    theirs: BTreeMap<u16, bool>,
    /// How often what.
    done: [u32; 4],
}

impl World {
    fn new(seed: u64) -> Self {
        let client = End::client_of(&connect(Version::V5, &[]), Session::resumable(), "20 03 01 00 00");
        let (places, owed, theirs) = (Vec::new(), VecDeque::new(), BTreeMap::new());
        let (replayed, made, stored) = (Session::new(), 0, 0);
        Self { random: Random(seed), client, replayed, made, stored, places, owed, theirs, done: [0; 4] }
    }

    fn session(&mut self) -> &mut Session {
        self.client.connection.session_mut()
    }

    fn delivery(&mut self) -> Delivery {
        let qos = QOS[self.random.below(3) as usize];
        let expiry = [Property::MessageExpiryInterval(self.random.below(20) as u32)];
        let properties = if self.random.below(4) == 0 { Properties::from_slice(&expiry) } else { Properties::EMPTY };
        let payload = "x".repeat(self.random.below(40) as usize);
        let topic = TopicName::new(["a", "bb"][self.random.below(2) as usize]).unwrap();
        let publication = Publication { properties, ..Publication::new(topic, payload.as_bytes()) };
        let delivery = Delivery::new(Message::new(self.client.now, &publication), qos, false);
        match self.random.below(5) {
            group @ 1..3 => delivery.shared(&Share::new(group), qos, false, 0),
            _ => delivery,
        }
    }

    fn act(&mut self) {
        match self.random.below(24) {
            0..=7 => {
                let delivery = self.delivery();
                let _ = self.session().deliver(delivery, &LIMITS);
            }
            8 if self.places.len() < 3 => {
                let place = self.session().hold_place();
                self.places.push(place);
            }
            9 | 10 if !self.places.is_empty() => {
                let (at, delivery) = (self.random.below(self.places.len() as u64) as usize, self.delivery());
                let place = self.places[at];
                self.session().fill_place(place, delivery);
            }
            11 if !self.places.is_empty() => {
                let at = self.random.below(self.places.len() as u64) as usize;
                let place = self.places.swap_remove(at);
                self.session().close_place(place);
            }
            12 => drop(self.session().drop_oldest()),
            13 => {
                let taken = self.session().retain(|delivery| delivery.message.payload().len() < 35);
                self.done[0] += taken as u32;
            }
            14 => self.done[1] += self.session().take_shared(1).len() as u32,
            15 => {
                let asked = [Subscription { filter: filter("f"), options: SubscribeOptions::default() }];
                let _ = self.client.connection.subscribe(self.client.now, &asked, &[]);
            }
            16 => self.client.now = self.client.now.plus_millis(self.random.below(5_000)),
            17 if self.random.below(3) == 0 => self.reconnect(),
            18 => {
                let up_to = self.stored + self.random.below(self.made - self.stored + 1);
                self.stored(up_to);
            }
            19 => {
                let id = self.random.below(9) as u16 + 1;
                if let Entry::Vacant(new) = self.theirs.entry(id) {
                    new.insert(false);
                    self.owed.push_back(common::bytes(&format!("34 07 00 01 61 00 {id:02X} 00 78")));
                }
            }
            _ => self.answer(),
        }
        self.settle();
    }

    /// From here on changes are recorded, behind this moment's snapshot.
    fn records(&mut self) {
        self.replayed = Session::restore(&self.session().snapshot(EPOCH), EPOCH).unwrap();
        self.session().record_changes();
    }

    /// The server says what it is to say next.
    fn answer(&mut self) {
        let Some(packet) = self.owed.pop_front() else { return };
        let seen = self.client.gets_bytes(&packet);
        assert!(!matches!(seen[..], [Seen::Broken(_)]), "{packet:02X?}: {seen:?}");
    }

    fn stored(&mut self, up_to: u64) {
        self.stored = up_to;
        self.client.connection.stored(up_to);
    }

    /// What is recorded is applied, what is written goes to the server.
    fn settle(&mut self) {
        while let Some((number, change)) = self.client.connection.poll_change() {
            self.made += 1;
            assert_eq!(number, self.made);
            let mut bytes = Vec::new();
            change.encode(EPOCH, &mut bytes);
            let change = Change::decode(&bytes, EPOCH).unwrap();
            self.replayed.apply(change.clone()).unwrap_or_else(|error| panic!("{change:?}: {error}"));
        }
        if self.client.connection.session().is_recording() {
            assert_eq!(self.replayed.snapshot(EPOCH), self.client.connection.session().snapshot(EPOCH));
        }
        let mut out = OutBuf::with_limit(1 << 20);
        while self.client.connection.poll_transmit(self.client.now, &mut out) == Transmit::Wrote {}
        while !out.is_empty() {
            let written = out.chunk().to_vec();
            out.advance(written.len());
            self.take(&written);
        }
    }

    /// The server reads.
    fn take(&mut self, mut written: &[u8]) {
        while let Some(len) = frame_len(written, u32::MAX).unwrap() {
            let (packet, rest) = written.split_at(len);
            written = rest;
            let answer = match Packet::decode(packet, Version::V5, Role::Client).unwrap() {
                Packet::Publish(publish) => {
                    let Some(id) = publish.packet_id else { continue };
                    (if publish.qos == Qos::AtLeastOnce { 0x40 } else { 0x50 }, id)
                }
                Packet::Ack(ack) => match ack.kind {
                    AckKind::Pubrel => (0x70, ack.packet_id),
                    AckKind::Pubrec => {
                        self.theirs.insert(ack.packet_id.get(), true);
                        (0x62, ack.packet_id)
                    }
                    _ => {
                        self.theirs.remove(&ack.packet_id.get());
                        continue;
                    }
                },
                Packet::Subscribe(subscribe) => {
                    let [high, low] = subscribe.packet_id.get().to_be_bytes();
                    self.owed.push_back(vec![0x90, 4, high, low, 0, 0]);
                    continue;
                }
                _ => continue,
            };
            let [high, low] = answer.1.get().to_be_bytes();
            self.owed.push_back(vec![answer.0, 2, high, low]);
        }
    }

    fn reconnect(&mut self) {
        let lost = self.random.below(4) == 0;
        let window = self.random.below(4) + 1;
        let largest = [30, 60, 255][self.random.below(3) as usize];
        let connack = format!("20 0B {:02X} 00 08 21 00 {window:02X} 27 00 00 00 {largest:02X}", u8::from(!lost));
        let now = self.client.now;
        let session =
            core::mem::replace(&mut self.client.connection, Connection::server(now, &ServerConfig::default()));
        self.client = End::client_of(&connect(Version::V5, &[]), session.into_session(), &connack);
        self.client.now = now;
        self.owed.clear();
        self.done[2] += 1;
        if lost {
            self.theirs.clear();
            self.done[3] += 1;
        }
        // what it has unfinished it says again
        for (id, received) in &self.theirs {
            let again =
                if *received { format!("62 02 00 {id:02X}") } else { format!("3C 07 00 01 61 00 {id:02X} 00 78") };
            self.owed.push_back(common::bytes(&again));
        }
    }

    /// Everything is stored and answered.
    fn ends(&mut self) {
        for place in core::mem::take(&mut self.places) {
            self.session().close_place(place);
        }
        self.settle();
        while self.made > self.stored || !self.owed.is_empty() {
            let made = self.made;
            self.stored(made);
            self.settle();
            self.answer();
            self.settle();
        }
        let session = self.client.connection.session();
        assert_eq!((session.queued(), session.inflight(), session.bytes()), (0, 0, 0), "{session:?}");
        assert!(session.is_empty() && self.theirs.is_empty() && !self.client.connection.has_output());
        assert_eq!(self.client.connection.control_backlog(), 0);
    }
}

#[test]
fn whatever_is_done_to_a_session_its_changes_repeat_and_nothing_waits_for_ever() {
    let mut done = [0; 4];
    for seed in 0..300 {
        let mut world = World::new(seed);
        let begin = if seed % 2 == 0 { 0 } else { seed % 100 };
        for step in 0..300 {
            if step == begin {
                world.records();
            }
            world.act();
        }
        world.ends();
        done.iter_mut().zip(world.done).for_each(|(sum, done)| *sum += done);
    }
    assert!(done.iter().all(|done| *done > 100), "{done:?}");
}
