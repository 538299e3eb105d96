//! One bad client touches nobody else (S1, S2, S15; wire reference 15).
use crate::harness::*;
use mqtt_broker_core::codec::{
    Packet, Properties, Property, Qos, Subscribe, SubscribeOptions, Subscription, Subscriptions, TopicFilter, Version,
};
use mqtt_broker_core::{AllowAll, Cause, Event};

fn bystander(world: &mut World<AllowAll>) -> Name {
    let name = world.join(Version::V311, "bystander");
    world.subscribe(name, "calm", Qos::AtMostOnce);
    name
}

fn is_calm(world: &mut World<AllowAll>, name: Name) {
    world.publish(name, "calm", "still here", Qos::AtMostOnce);
    assert_eq!(world.received(name), ["PUBLISH calm still here q0"]);
}

#[test]
fn each_fault_is_answered_with_its_code_and_ends_that_connection_alone() {
    // v5 [MQTT-3.14.4-2] [MQTT-4.13.1-1] [MQTT-4.13.2-1] [X5-ERR-1] v4 [MQTT-4.8.0-1]; S15
    let rows: [(&str, &[u8], u8); 16] = [
        ("flags of PINGREQ", &[0xC1, 0], 0x81),
        ("reserved type", &[0x00, 0], 0x81),
        ("qos 3", &[0x36, 6, 0, 1, b'a', 0, 1, 0], 0x81),
        ("bad UTF-8", &[0x30, 4, 0, 1, 0xFF, 0], 0x81),
        ("length of five bytes", &[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 1], 0x81),
        ("length not minimal", &[0xC0, 0x80, 0], 0x81),
        ("bytes left over", &[0xC0, 1, 0], 0x81),
        ("truncated", &[0x82, 4, 0, 1, 0, 0], 0x81),
        ("subscribe without filter", &[0x82, 3, 0, 1, 0], 0x82),
        ("bad filter", &[0x82, 8, 0, 1, 0, 0, 2, b'a', b'#', 0], 0x81),
        ("a server's packet", &[0xD0, 0], 0x82),
        ("packet identifier 0", &[0x32, 6, 0, 1, b'a', 0, 0, 0], 0x82),
        ("empty topic, no alias", &[0x30, 3, 0, 0, 0], 0x82),
        ("AUTH out of nowhere", &[0xF0, 0], 0x82),
        ("subscription identifier from a client", &[0x30, 6, 0, 1, b'a', 2, 0x0B, 1], 0x82),
        (
            "no local on a shared filter",
            &[0x82, 16, 0, 1, 0, 0, 10, b'$', b's', b'h', b'a', b'r', b'e', b'/', b'g', b'/', b'a', 4],
            0x82,
        ),
    ];
    for (name, bytes, code) in rows {
        let mut world = World::new();
        let calm = bystander(&mut world);
        let client = world.join(Version::V5, "c");
        world.send_bytes(client, bytes);
        assert_eq!(world.received(client), [format!("DISCONNECT 0x{code:02X}")], "{name}");
        assert!(world.is_closed(client), "{name}");
        is_calm(&mut world, calm);
        // the same before 5.0: closed without a word
        let old = world.join(Version::V311, "old");
        if !["AUTH out of nowhere", "subscription identifier from a client", "no local on a shared filter"]
            .contains(&name)
        {
            let bytes: Vec<u8> =
                if name == "bad filter" { vec![0x82, 7, 0, 1, 0, 2, b'a', b'#', 0] } else { bytes.to_vec() };
            let bytes = if name == "empty topic, no alias" { vec![0x30, 2, 0, 0] } else { bytes };
            let bytes = if name == "subscribe without filter" { vec![0x82, 2, 0, 1] } else { bytes };
            world.send_bytes(old, &bytes);
            assert!(world.received(old).is_empty() && world.is_closed(old), "{name} at 3.1.1");
        }
        is_calm(&mut world, calm);
    }
}

#[test]
fn what_does_not_begin_like_mqtt_is_closed_at_its_first_byte() {
    // S1; v5 [MQTT-3.1.0-1] v4 [MQTT-3.1.0-1]
    for byte in [b'G', 0x00, 0x30, 0xC0, 0x16] {
        let mut world = World::new();
        let calm = bystander(&mut world);
        let client = world.open(Version::V5);
        world.send_bytes(client, &[byte]);
        assert!(world.is_closed(client) && world.received_bytes(client).is_empty(), "{byte:#x}");
        assert!(world.events().iter().any(|event| matches!(event, Event::Refused { cause: Cause::Protocol(_), .. })));
        is_calm(&mut world, calm);
    }
}

#[test]
fn an_oversize_packet_is_judged_from_its_header() {
    // [X5-CACK-6]; pitfall 56; S1: before CONNECT the limit is smaller
    let mut world = World::configured(|config| config.server.maximum_packet_size = 100);
    let client = world.join(Version::V5, "c");
    world.send_bytes(client, &[0x30, 99]);
    assert_eq!(world.received(client), ["DISCONNECT 0x95"]);
    // the limit itself is allowed, header included
    let client = world.join(Version::V5, "c");
    world.publish(client, "t", &"x".repeat(94), Qos::AtMostOnce);
    assert!(!world.is_closed(client));
    world.publish(client, "t", &"x".repeat(95), Qos::AtMostOnce);
    assert_eq!(world.received(client), ["DISCONNECT 0x95"]);
    let mut world = World::new();
    let client = world.open(Version::V5);
    world.send_bytes(client, &[0x10, 0x80, 0x80, 0x10]);
    assert!(world.is_closed(client));
}

#[test]
fn a_second_connect_is_a_fault() {
    // v5 [MQTT-3.1.0-2] v4 [MQTT-3.1.0-2]
    let mut world = World::new();
    let client = world.join(Version::V5, "c");
    world.send(client, Packet::Connect(connect(Version::V5, "c")));
    assert_eq!(world.received(client), ["DISCONNECT 0x82"]);
    let old = world.join(Version::V311, "c");
    world.send(old, Packet::Connect(connect(Version::V311, "c")));
    assert!(world.received(old).is_empty() && world.is_closed(old));
}

#[test]
fn every_split_of_what_a_client_sends_comes_to_the_same() {
    // S2
    let mut script = Vec::new();
    let mut first = connect(Version::V5, "c");
    first.will = Some(will("gone", "c"));
    Packet::Connect(first).encode(Version::V5, &mut script).unwrap();
    script.extend([0x82, 9, 0, 1, 0, 0, 3, b'a', b'/', b'#', 1]);
    script.extend([0x32, 10, 0, 3, b'a', b'/', b'b', 0, 5, 0, b'!', b'?']);
    script.extend([0x34, 10, 0, 3, b'a', b'/', b'c', 0, 6, 0, b'!', b'?', 0x62, 2, 0, 6, 0xC0, 0, 0xC1, 0]);
    let run = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut world = World::new();
        let watcher = world.join(Version::V311, "watcher");
        world.subscribe(watcher, "#", Qos::AtMostOnce);
        let client = world.open(Version::V5);
        for piece in pieces {
            world.send_bytes(client, piece);
        }
        (world.received_bytes(client), world.received(watcher), world.is_closed(client))
    };
    let whole = run(&mut [script.as_slice()].into_iter());
    assert_eq!(whole.1, ["PUBLISH a/b !? q0", "PUBLISH a/c !? q0", "PUBLISH gone c q0"]);
    for at in 1..script.len() {
        let (left, right) = script.split_at(at);
        let split = run(&mut [left, right].into_iter());
        assert_eq!((&split.1, split.2), (&whole.1, whole.2), "split at {at}");
    }
    let bytes = run(&mut script.chunks(1));
    assert_eq!((&bytes.1, bytes.2), (&whole.1, whole.2));
}

#[test]
fn deep_topics_are_refused_without_a_fuss() {
    // S3
    let mut world = World::configured(|config| config.max_topic_levels = 40_000);
    let client = world.join(Version::V5, "c");
    let deep = "/".repeat(32_768);
    assert_eq!(world.subscribe(client, &deep, Qos::AtLeastOnce), ["SUBACK [0x01]"]);
    world.publish_with(client, &deep, "x", |publish| {
        set_qos(publish, Qos::AtLeastOnce, 1);
        publish.retain = true;
    });
    assert_eq!(world.messages(client).len(), 1);
    assert_eq!(world.unsubscribe(client, &deep), ["UNSUBACK [0x00]"]);
    let mut world = World::new();
    let client = world.join(Version::V5, "c");
    assert_eq!(world.subscribe(client, &deep, Qos::AtLeastOnce), ["SUBACK [0x8F]"]);
    world.publish(client, &deep, "x", Qos::AtLeastOnce);
    assert_eq!(world.received(client), ["PUBACK id1 0x90"]);
}

#[test]
fn releases_that_never_come_hold_a_bounded_memory() {
    // S12
    let mut world = World::configured(|config| config.server.receive_maximum = 50);
    let client = world.try_join(Version::V311, "c", |connect| connect.clean_start = false);
    world.received(client);
    for n in 1..=50 {
        world.publish_with(client, "t", "x", |publish| set_qos(publish, Qos::ExactlyOnce, n));
    }
    assert!(!world.is_closed(client));
    world.publish_with(client, "t", "x", |publish| set_qos(publish, Qos::ExactlyOnce, 51));
    assert!(world.is_closed(client));
}

#[test]
fn a_client_that_subscribes_again_and_again_leaves_no_heap_of_replays() {
    let mut world = World::new();
    let publisher = world.join(Version::V311, "pub");
    for n in 0..50 {
        world.publish_with(publisher, &format!("a/{n}"), "x", |publish| {
            set_qos(publish, Qos::AtLeastOnce, 1);
            publish.retain = true;
        });
    }
    // it acknowledges nothing, so that its window is full and no place in its queue is ever reached
    let client = world.join(Version::V311, "c");
    for _ in 0..10_000 {
        world.subscribe(client, "a/#", Qos::AtLeastOnce);
    }
    assert!(!world.is_closed(client));
    assert!(world.broker.stats().queued_bytes < 100_000);
}

#[test]
fn a_client_too_small_for_its_answers_is_closed_and_not_left_waiting() {
    for (limit, connected) in [(4, false), (5, true)] {
        let mut world = World::configured(|config| {
            config.server.receive_maximum = u16::MAX;
            config.server.topic_alias_maximum = 0;
            config.server.maximum_packet_size = u32::MAX;
        });
        let size = [Property::MaximumPacketSize(limit)];
        let client = world.try_join(Version::V5, "c", |connect| connect.properties = Properties::from_slice(&size));
        assert_eq!(!world.is_closed(client), connected, "{:?}", world.received(client));
        if connected {
            let list = ["a", "b", "c"].map(|filter| Subscription {
                filter: TopicFilter::new(filter).unwrap(),
                options: SubscribeOptions::default(),
            });
            let subscriptions = Subscriptions::from_slice(&list);
            world.send(
                client,
                Packet::Subscribe(Subscribe { packet_id: id(1), properties: Properties::EMPTY, subscriptions }),
            );
            assert!(world.is_closed(client));
        }
        assert_eq!(world.broker.stats().sessions, 0);
    }
}
