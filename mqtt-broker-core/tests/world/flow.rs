//! Who waits for whom: slow consumers, stalled sockets, floods (S17; ARCHITECTURE.md, back-pressure).
use crate::harness::*;
use mqtt_broker_core::codec::{Packet, Qos, TopicName, Version};
use mqtt_broker_core::{AllowAll, Overflow, Publication};

const KIB: usize = 1024;

/// A world with little room: 4 KiB unsent per connection, 20 messages per session.
fn tight() -> World<AllowAll> {
    World::configured(|config| {
        config.high_water = 4 * KIB;
        config.queue.messages = 20;
    })
}

fn payload() -> String {
    "x".repeat(KIB)
}

#[test]
fn a_target_that_reads_slowly_slows_its_publisher_and_loses_nothing() {
    let mut world = tight();
    let sub = world.join(Version::V311, "sub");
    world.subscribe(sub, "t", Qos::AtMostOnce);
    world.links[sub].takes = Some(0);
    let client = world.join(Version::V311, "c");
    let mut sent = 0;
    while world.links[client].reading {
        world.publish(client, "t", &payload(), Qos::AtMostOnce);
        sent += 1;
        assert!(sent < 20, "nobody pauses the publisher");
    }
    // what the host had read already is kept
    for _ in 0..3 {
        world.publish(client, "t", &payload(), Qos::AtMostOnce);
        sent += 1;
    }
    let mut got = 0;
    while got < sent {
        world.advance(50);
        world.take(sub, KIB + 100);
        got += world.messages(sub).len();
    }
    assert!(world.links[client].reading, "the publisher goes on");
    assert_eq!((got, world.broker.stats().dropped_full), (sent, 0));
}

#[test]
fn a_stalled_target_stops_nobody() {
    // S17: its own queue fills and overflows, the others go on
    let mut world = tight();
    let stalled = world.join(Version::V311, "stalled");
    let healthy = world.join(Version::V311, "healthy");
    for sub in [stalled, healthy] {
        world.subscribe(sub, "t", Qos::AtMostOnce);
    }
    world.links[stalled].takes = Some(0);
    let client = world.join(Version::V311, "c");
    let mut got = 0;
    for _ in 0..10_000 {
        if !world.links[client].reading {
            world.advance(100);
            assert!(world.links[client].reading, "a stalled target pauses nobody for longer than 100 ms");
        }
        world.publish(client, "t", &payload(), Qos::AtMostOnce);
        got += world.messages(healthy).len();
    }
    assert_eq!(got, 10_000);
    let stats = world.broker.stats();
    assert!(stats.dropped_full > 9_900, "{stats:?}");
    assert!(stats.queued_bytes <= 21 * 1100, "{stats:?}");
}

#[test]
fn a_subscriber_that_does_not_acknowledge_pauses_nobody() {
    let mut world = tight();
    let sub = world.join(Version::V311, "sub");
    world.subscribe(sub, "t", Qos::AtLeastOnce);
    let client = world.join(Version::V311, "c");
    for n in 1..=200 {
        world.publish_with(client, "t", &payload(), |publish| set_qos(publish, Qos::AtLeastOnce, n));
        assert!(world.links[client].reading, "message {n}");
    }
    assert_eq!(world.received(client).len(), 200);
    assert!(world.broker.stats().dropped_full > 100);
}

#[test]
fn each_overflow_policy_does_what_it_says() {
    for (overflow, expected) in
        [(Overflow::DropNewest, vec!["t 1", "t 2", "t 3"]), (Overflow::DropOldest, vec!["t 3", "t 4", "t 5"])]
    {
        let mut world = World::configured(|config| {
            config.overflow = overflow;
            config.queue.messages = 3;
        });
        let join =
            |world: &mut World<AllowAll>| world.try_join(Version::V311, "sub", |connect| connect.clean_start = false);
        let sub = join(&mut world);
        world.subscribe(sub, "t", Qos::AtLeastOnce);
        world.cut(sub);
        let client = world.join(Version::V311, "c");
        for n in 1..=5 {
            world.publish(client, "t", &n.to_string(), Qos::AtLeastOnce);
        }
        assert_eq!(world.broker.stats().dropped_full, 2);
        let sub = join(&mut world);
        assert_eq!(world.messages(sub), expected, "{overflow:?}");
    }
    let mut world = World::configured(|config| {
        config.overflow = Overflow::Disconnect;
        config.queue.messages = 3;
    });
    let sub = world.join(Version::V5, "sub");
    world.subscribe(sub, "t", Qos::AtLeastOnce);
    let client = world.join(Version::V311, "c");
    for n in 1..=4 {
        world.publish_with(client, "t", "x", |publish| set_qos(publish, Qos::AtLeastOnce, n));
    }
    assert_eq!(world.received(sub).last().unwrap(), "DISCONNECT 0x97");
    assert_eq!(world.received(client).len(), 4, "the publisher does not notice");
}

#[test]
fn all_queues_together_have_a_budget() {
    let mut world = World::configured(|config| config.max_queued_bytes = 10 * KIB);
    for n in 0..10 {
        let sub = world.try_join(Version::V311, &format!("sub{n}"), |connect| connect.clean_start = false);
        world.subscribe(sub, "t", Qos::AtLeastOnce);
        world.cut(sub);
    }
    let client = world.join(Version::V311, "c");
    for _ in 0..100 {
        world.publish(client, "t", &payload(), Qos::AtLeastOnce);
    }
    let stats = world.broker.stats();
    assert!(stats.queued_bytes <= 10 * KIB && stats.queued_bytes > 8 * KIB, "{stats:?}");
    assert!(stats.dropped_full > 900);
}

#[test]
fn two_clients_that_flood_each_other_and_themselves_come_to_an_end() {
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let mut world = tight();
        let names = ["a", "b"].map(|id| {
            let client = world.join(Version::V311, id);
            world.subscribe(client, "flood/#", qos);
            client
        });
        // both write without reading for a while, then read without writing: as a careless blocking client does
        for client in names {
            world.links[client].takes = Some(2 * KIB);
        }
        for n in 1..=300u16 {
            for client in names {
                world.publish_with(client, "flood/x", &payload(), |publish| set_qos(publish, qos, n));
            }
            world.advance(10);
        }
        for _ in 0..2_000 {
            for client in names {
                world.take(client, 64 * KIB);
                world.received(client);
            }
            world.advance(10);
        }
        for client in names {
            assert!(world.links[client].reading && !world.is_closed(client), "{qos:?}");
            world.links[client].takes = None;
            world.send(client, Packet::Pingreq);
            assert!(world.received(client).contains(&"PINGRESP".to_string()), "{qos:?}");
        }
    }
}

#[test]
fn one_who_does_not_take_its_own_answers_is_not_read() {
    let mut world = tight();
    let client = world.join(Version::V311, "c");
    world.links[client].takes = Some(0);
    let pings: Vec<u8> = [0xC0, 0].repeat(1000);
    let mut sent = 0;
    while world.links[client].reading {
        world.send_bytes(client, &pings);
        sent += 1000;
        assert!(sent < 100_000, "its answers pile up");
    }
    let other = world.join(Version::V311, "other");
    world.send(other, Packet::Pingreq);
    assert_eq!(world.received(other), ["PINGRESP"]);
    world.take(client, usize::MAX);
    assert!(world.links[client].reading);
    assert_eq!(world.received(client).len(), sent);
}

#[test]
fn a_paused_publisher_is_not_taken_for_dead() {
    let mut world = World::configured(|config| {
        config.high_water = 4 * KIB;
        config.stall_after = core::time::Duration::from_secs(60);
    });
    let sub = world.join(Version::V311, "sub");
    world.subscribe(sub, "t", Qos::AtMostOnce);
    world.links[sub].takes = Some(0);
    let client = world.join_with(Version::V311, "c", |connect| connect.keep_alive = 1);
    while world.links[client].reading {
        world.publish(client, "t", &payload(), Qos::AtMostOnce);
    }
    world.advance(30 * SECOND);
    assert!(!world.is_closed(client));
    world.take(sub, usize::MAX);
    assert!(world.links[client].reading);
    world.advance(2 * SECOND);
    assert!(world.is_closed(client), "from here on its silence counts again");
}

#[test]
fn the_end_of_a_slow_target_frees_those_who_waited_for_it() {
    let mut world = tight();
    let sub = world.join(Version::V311, "sub");
    world.subscribe(sub, "t", Qos::AtMostOnce);
    world.links[sub].takes = Some(0);
    let client = world.join(Version::V311, "c");
    while world.links[client].reading {
        world.publish(client, "t", &payload(), Qos::AtMostOnce);
    }
    world.cut(sub);
    assert!(world.links[client].reading);
}

#[test]
fn a_target_that_is_closed_for_its_full_queue_keeps_nobody_waiting() {
    // S17
    let mut world = World::configured(|config| {
        config.high_water = KIB;
        config.queue.messages = 2;
        config.overflow = Overflow::Disconnect;
    });
    let sub = world.join(Version::V311, "sub");
    world.subscribe(sub, "#", Qos::AtMostOnce);
    world.links[sub].takes = Some(0);
    let (topic, payload) = (TopicName::new("t").unwrap(), payload());
    while world.broker.stats().queued_bytes < 2 * payload.len() {
        world.broker.publish(world.now, &Publication::new(topic, payload.as_bytes())).unwrap();
        world.turn();
    }
    let client = world.join(Version::V311, "c");
    world.publish(client, "t", "the one too many", Qos::AtMostOnce);
    assert!(world.is_closed(sub));
    world.send(client, Packet::Pingreq);
    assert_eq!(world.received(client), ["PINGRESP"]);
}
