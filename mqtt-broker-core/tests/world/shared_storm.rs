//! A group whose members do everything at once, by seed: every message is taken exactly once, whatever happens to who had it.
use crate::harness::*;
use mqtt_broker_core::codec::{AckKind, Disconnect, Packet, Properties, Property, Qos, ReasonCode, Version};
use mqtt_broker_core::{AllowAll, Strategy};
use std::collections::BTreeMap;

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 33) as usize % n
    }
    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

struct Worker {
    id: &'static str,
    link: Option<Name>,
    /// What it has and has not acknowledged on this connection: payload and identifier.
    pending: Vec<(String, u16)>,
}

struct Storm {
    world: World<AllowAll>,
    workers: Vec<Worker>,
    /// How often each message was acknowledged.
    taken: BTreeMap<String, u32>,
}

impl Storm {
    fn join(&mut self, at: usize, clean_start: bool, expiry: u32) {
        let (id, properties) =
            (self.workers[at].id, [Property::SessionExpiryInterval(expiry), Property::ReceiveMaximum(3)]);
        let name = self.world.try_join(Version::V5, id, |connect| {
            (connect.clean_start, connect.properties) = (clean_start, Properties::from_slice(&properties));
        });
        (self.workers[at].link, self.workers[at].pending) = (Some(name), Vec::new());
        self.read(at);
    }

    fn read(&mut self, at: usize) {
        let Some(name) = self.workers[at].link else { return };
        for line in self.world.received(name) {
            if let Some(rest) = line.strip_prefix("PUBLISH jobs ") {
                let mut words = rest.split(' ');
                let payload = words.next().unwrap().to_string();
                let id = words.find_map(|word| word.strip_prefix("id")?.parse().ok()).unwrap();
                self.workers[at].pending.push((payload, id));
            }
        }
        if self.world.is_closed(name) {
            (self.workers[at].link, self.workers[at].pending) = (None, Vec::new());
        }
    }

    /// Acknowledges up to `most` of what a worker has.
    fn work(&mut self, at: usize, most: usize) -> bool {
        self.read(at);
        let Some(name) = self.workers[at].link else { return false };
        let mut did = false;
        for _ in 0..most.min(self.workers[at].pending.len()) {
            let (payload, id) = self.workers[at].pending.remove(0);
            self.world.ack(name, AckKind::Puback, id);
            *self.taken.entry(payload).or_default() += 1;
            did = true;
        }
        self.read(at);
        did
    }
}

fn storm(seed: u64) {
    let mut random = Random(seed);
    let strategies = [
        Strategy::RoundRobin,
        Strategy::Random,
        Strategy::Sticky,
        Strategy::HashClient,
        Strategy::HashTopic,
        Strategy::LeastInflight,
    ];
    let strategy = random.of(&strategies);
    let world = World::configured(|config| {
        (config.shared.strategy, config.shared.max_handovers) = (strategy, 255);
        config.high_water = 500;
    });
    let workers =
        ["anchor", "one", "two", "three", "four"].map(|id| Worker { id, link: None, pending: Vec::new() }).into();
    let mut storm = Storm { world, workers, taken: BTreeMap::new() };
    // one session stays whatever happens: there is always somebody to hand over to
    storm.join(0, false, u32::MAX);
    let anchor = storm.workers[0].link.unwrap();
    storm.world.subscribe(anchor, "$share/g/+", Qos::AtLeastOnce);
    let publisher = storm.world.join(Version::V5, "publisher");
    let mut published = 0u32;
    for _ in 0..300 {
        let at = random.below(storm.workers.len());
        let link = storm.workers[at].link;
        match (random.below(12), link) {
            (0..=3, _) => {
                let qos = random.of(&[Qos::AtLeastOnce, Qos::ExactlyOnce]);
                let number = u16::try_from(published % 60_000 + 1).unwrap();
                storm.world.publish_with(publisher, "jobs", &published.to_string(), |publish| {
                    set_qos(publish, qos, number);
                });
                if qos == Qos::ExactlyOnce {
                    storm.world.ack(publisher, AckKind::Pubrel, number);
                }
                storm.world.received(publisher);
                published += 1;
            }
            (4, Some(name)) => {
                storm.world.cut(name);
                (storm.workers[at].link, storm.workers[at].pending) = (None, Vec::new());
            }
            (5, Some(name)) if at > 0 => {
                let expiry = [Property::SessionExpiryInterval(0)];
                let properties = Properties::from_slice(&expiry);
                let reason = random.of(&[ReasonCode::SUCCESS, ReasonCode(0x04)]);
                storm.world.send(name, Packet::Disconnect(Disconnect { reason, properties }));
                storm.read(at);
            }
            (6, Some(name)) if at > 0 => {
                let lines = storm.world.unsubscribe(name, "$share/g/+");
                // what came before the answer is still its own
                let came = lines.iter().filter_map(|line| line.strip_prefix("PUBLISH jobs "));
                for rest in came {
                    let mut words = rest.split(' ');
                    let payload = words.next().unwrap().to_string();
                    let id = words.find_map(|word| word.strip_prefix("id")?.parse().ok()).unwrap();
                    storm.workers[at].pending.push((payload, id));
                }
            }
            (7, Some(name)) => {
                storm.world.links[name].takes = random.of(&[Some(0), Some(60), None]);
                storm.world.flush(name);
                storm.world.turn();
            }
            (8, _) => storm.world.advance(random.of(&[50, 3_000, 40_000])),
            (9 | 10, Some(_)) => {
                storm.work(at, random.of(&[1, 2, 9]));
            }
            // joins, takes over, or begins anew
            _ => {
                let expiry = if at == 0 { u32::MAX } else { random.of(&[0, 20, 500]) };
                let clean_start = at > 0 && random.below(3) == 0;
                storm.join(at, clean_start, expiry);
                let Some(name) = storm.workers[at].link else { continue };
                storm.read(at);
                let lines = storm.world.subscribe(name, "$share/g/+", random.of(&[Qos::AtLeastOnce, Qos::AtLeastOnce]));
                for rest in lines.iter().filter_map(|line| line.strip_prefix("PUBLISH jobs ")) {
                    let mut words = rest.split(' ');
                    let payload = words.next().unwrap().to_string();
                    let id = words.find_map(|word| word.strip_prefix("id")?.parse().ok()).unwrap();
                    storm.workers[at].pending.push((payload, id));
                }
            }
        }
    }
    // all but the anchor go, and what they had is handed over
    for at in 1..storm.workers.len() {
        if let Some(name) = storm.workers[at].link.take()
            && !storm.world.is_closed(name)
        {
            storm.world.cut(name);
        }
    }
    storm.world.advance(600 * SECOND);
    storm.join(0, false, u32::MAX);
    while storm.work(0, 100) {}
    let missing: Vec<_> = (0..published).filter(|n| storm.taken.get(&n.to_string()) != Some(&1)).collect();
    assert!(missing.is_empty(), "seed {seed}, {strategy:?}: not taken exactly once: {missing:?} of {:?}", storm.taken);
    let stats = storm.world.broker.stats();
    let left = (stats.groups, stats.sessions, stats.queued_bytes, stats.dropped_no_member, stats.dropped_full);
    assert_eq!(left, (1, 2, 0, 0, 0), "seed {seed}: {stats:?}");
}

#[test]
fn every_message_of_a_group_is_taken_exactly_once_whatever_its_members_do() {
    // S14, S16; one seed: MQTT_SEED=n, more of them: MQTT_STORMS=n
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("MQTT_SEED") {
        return storm(seed);
    }
    for seed in 0..number("MQTT_STORMS").unwrap_or(500) {
        let run = std::panic::catch_unwind(|| storm(seed));
        assert!(run.is_ok(), "MQTT_SEED={seed} repeats it");
    }
}
