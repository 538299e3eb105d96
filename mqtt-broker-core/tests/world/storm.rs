//! Many clients doing everything at once, by seed: whatever they do, nobody is paused for ever and nothing is left behind.
use crate::harness::*;
use mqtt_broker_core::codec::{AckKind, Packet, Properties, Property, Qos, RetainHandling, SubscribeOptions, Version};
use mqtt_broker_core::{AllowAll, Overflow};

/// xorshift64*: enough for a test, the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }
    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

const TOPICS: [&str; 6] = ["a", "a/b", "a/b/c", "b", "b/c", "$x"];
const FILTERS: [&str; 7] = ["a", "a/+", "#", "+/b", "a/#", "b/c", "+"];
const QOS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];
const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

fn storm(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let overflow = random.of(&[Overflow::DropNewest, Overflow::DropOldest, Overflow::Disconnect]);
    let mut world = World::configured(|config| {
        config.overflow = overflow;
        config.high_water = 2_000;
        config.queue.messages = 15;
        config.max_queued_bytes = 20_000;
        config.max_retained = 5;
        config.server.maximum_inflight = 4;
        config.server.receive_maximum = 10;
    });
    let ids = ["one", "two", "three", "four", "five"];
    let mut live: Vec<Name> = Vec::new();
    for _ in 0..400 {
        live.retain(|&name| !world.is_closed(name));
        if live.len() < 3 || random.below(20) == 0 {
            live.push(join(&mut world, &mut random, ids));
            continue;
        }
        let name = random.of(&live);
        act(&mut world, &mut random, name);
    }
    // everybody reads what there is, and time passes: nobody may be left paused
    live.retain(|&name| !world.is_closed(name));
    for _ in 0..20 {
        live.retain(|&name| !world.is_closed(name));
        for &name in &live {
            if !world.is_closed(name) {
                world.take(name, usize::MAX);
                answer(&mut world, name);
            }
        }
        world.advance(200);
    }
    live.retain(|&name| !world.is_closed(name));
    for &name in &live {
        assert!(world.links[name].reading, "seed {seed}: a client is paused for ever");
        world.received(name);
        world.send(name, Packet::Pingreq);
        assert!(world.received(name).contains(&"PINGRESP".to_string()), "seed {seed}: a client is not answered");
    }
    // all go, the sessions expire
    for name in live {
        if !world.is_closed(name) {
            world.goodbye(name);
        }
    }
    world.advance(1_000 * SECOND);
    let stats = world.broker.stats();
    let left = (stats.connections, stats.sessions, stats.subscriptions, stats.queued_bytes);
    assert_eq!(left, (0, 0, 0, 0), "seed {seed}: something is left behind: {stats:?}");
}

fn join(world: &mut World<AllowAll>, random: &mut Random, ids: [&'static str; 5]) -> Name {
    let (version, id) = (random.of(&VERSIONS), random.of(&ids));
    let session = [Property::SessionExpiryInterval(random.of(&[0, 5, 500])), Property::ReceiveMaximum(3)];
    let delay = [Property::WillDelayInterval(random.of(&[0, 2, 50]))];
    let (clean, keep_alive, dies) = (random.below(2) == 0, random.of(&[0, 1, 60]), random.below(2) == 0);
    let clean = clean || version != Version::V5; // sessions of older clients never expire
    world.try_join(version, id, |connect| {
        (connect.clean_start, connect.keep_alive) = (clean, keep_alive);
        connect.properties = Properties::from_slice(&session);
        connect.will = dies.then(|| mqtt_broker_core::codec::Will {
            properties: Properties::from_slice(&delay),
            ..will("a/b", "will")
        });
    })
}

fn act(world: &mut World<AllowAll>, random: &mut Random, name: Name) {
    let version = world.version(name);
    match random.below(14) {
        0 => world.cut(name),
        1 => world.goodbye(name),
        2 => world.links[name].takes = Some(random.of(&[0, 50, 3_000])),
        3 => world.take(name, random.of(&[10, 500, usize::MAX])),
        4 => world.advance(random.of(&[10, 150, 3_000])),
        5 | 6 => {
            let retain_handling = random.of(&[RetainHandling::Always, RetainHandling::IfNew, RetainHandling::Never]);
            let asked = SubscribeOptions { no_local: random.below(4) == 0, retain_handling, ..Default::default() };
            let old = version != Version::V5;
            let options = SubscribeOptions { qos: random.of(&QOS), ..if old { Default::default() } else { asked } };
            world.subscribe_with(name, random.of(&FILTERS), options, &[]);
        }
        7 => {
            world.unsubscribe(name, random.of(&FILTERS));
        }
        8 | 9 => answer(world, name),
        10 => world.send_bytes(name, random.of(&[&[0xC0u8, 0][..], &[0xC1, 0], &[0x30, 0], &[0x62, 2, 0, 9]])),
        _ => {
            let payload = "x".repeat(random.of(&[0, 10, 900]));
            let (qos, number, retain) = (random.of(&QOS), random.of(&[1, 2, 3]), random.below(4) == 0);
            world.publish_with(name, random.of(&TOPICS), &payload, |publish| {
                set_qos(publish, qos, number);
                publish.retain = retain;
            });
        }
    }
}

/// Acknowledges what came, as a client would.
fn answer(world: &mut World<AllowAll>, name: Name) {
    for line in world.received(name) {
        let Some(number) = line.split(" id").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()) else {
            continue;
        };
        let kind = match line.split(' ').next() {
            Some("PUBLISH") if line.contains(" q1 ") => AckKind::Puback,
            Some("PUBLISH") => AckKind::Pubrec,
            Some("PUBREL") => AckKind::Pubcomp,
            Some("PUBREC") => AckKind::Pubrel,
            _ => continue,
        };
        if !world.is_closed(name) {
            world.ack(name, kind, number);
        }
    }
}

#[test]
fn whatever_many_clients_do_nobody_is_paused_for_ever_and_nothing_is_left_behind() {
    // S14, S15, S17; one seed: MQTT_SEED=n, more of them: MQTT_STORMS=n
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("MQTT_SEED") {
        return storm(seed);
    }
    for seed in 0..number("MQTT_STORMS").unwrap_or(1_000) {
        let run = std::panic::catch_unwind(|| storm(seed));
        assert!(run.is_ok(), "MQTT_SEED={seed} repeats it");
    }
}
