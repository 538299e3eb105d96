//! Wills (sections 3.1.2.5 and 3.1.3.2; wire reference 10).
use crate::harness::*;
use mqtt_broker_core::AllowAll;
use mqtt_broker_core::codec::{Disconnect, Packet, Properties, Property, Qos, ReasonCode, Version, Will};

/// A world with a watcher of everything.
fn watched() -> (World<AllowAll>, Name) {
    let mut world = World::new();
    let watcher = world.join(Version::V5, "watcher");
    world.subscribe(watcher, "#", Qos::AtLeastOnce);
    (world, watcher)
}

fn join(world: &mut World<AllowAll>, version: Version, clean: bool, expiry: u32, delay: u32) -> Name {
    let (session, delay) = ([Property::SessionExpiryInterval(expiry)], [Property::WillDelayInterval(delay)]);
    let name = world.try_join(version, "c", |connect| {
        connect.clean_start = clean;
        connect.will = Some(Will { properties: Properties::from_slice(&delay), ..will("gone", "c") });
        connect.properties = Properties::from_slice(&session);
    });
    world.received(name);
    name
}

#[test]
fn a_cut_connection_publishes_its_will_once() {
    // v5 [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.2-10] v4 [MQTT-3.1.2-8] [MQTT-3.1.2-10]
    for version in [Version::V31, Version::V311, Version::V5] {
        let (mut world, watcher) = watched();
        let client = join(&mut world, version, true, 0, 0);
        world.cut(client);
        assert_eq!(world.messages(watcher), ["gone c"]);
        world.advance(HOUR);
        assert!(world.messages(watcher).is_empty());
    }
}

#[test]
fn only_a_plain_goodbye_takes_the_will_away() {
    // v5 [MQTT-3.14.4-3] [X5-DISC-4] v4 [MQTT-3.14.4-3]; pitfall 16
    for (version, reason, heard) in
        [(Version::V311, 0, 0), (Version::V5, 0, 0), (Version::V5, 4, 1), (Version::V5, 0x80, 1)]
    {
        let (mut world, watcher) = watched();
        let client = join(&mut world, version, true, 0, 0);
        world
            .send(client, Packet::Disconnect(Disconnect { reason: ReasonCode(reason), properties: Properties::EMPTY }));
        assert_eq!(world.messages(watcher).len(), heard, "{version:?} {reason}");
    }
}

#[test]
fn every_other_end_publishes_it() {
    // [X5-WILL-1]
    type End = fn(&mut World<AllowAll>, Name);
    let ends: [(&str, End); 4] = [
        ("a fault", |world, client| world.send_bytes(client, &[0xC1, 0])),
        ("a second connect", |world, client| world.send(client, Packet::Connect(connect(Version::V5, "c")))),
        ("silence", |world, _| world.advance(20 * SECOND)),
        ("takeover", |world, _| {
            world.join(Version::V5, "c");
        }),
    ];
    for (name, end) in ends {
        let (mut world, watcher) = watched();
        let client = world.join_with(Version::V5, "c", |connect| {
            connect.will = Some(will("gone", "c"));
            connect.keep_alive = 10;
        });
        end(&mut world, client);
        assert_eq!(world.messages(watcher), ["gone c"], "{name}");
    }
}

#[test]
fn the_delay_and_the_session_decide_when() {
    // v5 [MQTT-3.1.2-8] [X5-WILL-3] S13; pitfall 13
    for (delay, expiry, after) in [(5, 100, 5), (60, 1, 1), (60, 0, 0), (0, 100, 0)] {
        let (mut world, watcher) = watched();
        let client = join(&mut world, Version::V5, true, expiry, delay);
        world.cut(client);
        if after > 0 {
            world.advance(after * SECOND - 1);
            assert!(world.messages(watcher).is_empty(), "delay {delay} expiry {expiry}");
            world.advance(1);
        }
        assert_eq!(world.messages(watcher), ["gone c"], "delay {delay} expiry {expiry}");
        world.advance(HOUR);
        assert!(world.messages(watcher).is_empty());
    }
}

#[test]
fn coming_back_in_time_cancels_it_unless_the_session_is_begun_anew() {
    // v5 [MQTT-3.1.3-9] [X5-WILL-2]; pitfalls 14 and 15
    for (clean, delay, expiry, taken_over, heard) in [
        (false, 5, 100, false, 0),
        (true, 5, 100, false, 1),
        (false, 5, 100, true, 0),
        (true, 5, 100, true, 1),
        (false, 0, 100, true, 1),
        (false, 5, 0, true, 1),
    ] {
        let (mut world, watcher) = watched();
        let client = join(&mut world, Version::V5, true, expiry, delay);
        if !taken_over {
            world.cut(client);
            world.advance(2 * SECOND);
        }
        let again = world.try_join(Version::V5, "c", |connect| connect.clean_start = clean);
        assert!(!world.is_closed(again));
        world.advance(HOUR);
        assert_eq!(
            world.messages(watcher).len(),
            heard,
            "clean {clean} delay {delay} expiry {expiry} taken over {taken_over}"
        );
    }
}

#[test]
fn a_will_is_retained_if_it_asked_for_that() {
    // v5 [MQTT-3.1.2-14] [MQTT-3.1.2-15] v4 [MQTT-3.1.2-16] [MQTT-3.1.2-17]
    for retain in [false, true] {
        let (mut world, _) = watched();
        let client = world.join_with(Version::V311, "c", |connect| {
            connect.will = Some(Will { retain, qos: Qos::AtLeastOnce, ..will("gone", "c") })
        });
        world.cut(client);
        let late = world.join(Version::V311, "late");
        let received = world.subscribe(late, "gone", Qos::AtMostOnce);
        assert_eq!(received.len(), 1 + usize::from(retain));
    }
}

#[test]
fn its_properties_go_with_it_and_its_age_counts_from_publication() {
    // v5 [MQTT-3.1.3-10] [X5-WILL-4]
    let (mut world, watcher) = watched();
    let text = |text| mqtt_broker_core::codec::Utf8::new(text).unwrap();
    let session = [Property::SessionExpiryInterval(100)];
    let properties = [
        Property::UserProperty(text("a"), text("1")),
        Property::WillDelayInterval(3),
        Property::UserProperty(text("b"), text("2")),
        Property::MessageExpiryInterval(10),
        Property::UserProperty(text("a"), text("3")),
    ];
    let client = world.join_with(Version::V5, "c", |connect| {
        connect.properties = Properties::from_slice(&session);
        connect.will = Some(Will { properties: Properties::from_slice(&properties), ..will("gone", "c") });
    });
    world.cut(client);
    world.advance(3 * SECOND);
    let line = world.received(watcher).remove(0);
    assert!(line.contains("a=1 b=2 a=3") && line.contains("expiry10") && !line.contains("WillDelay"), "{line}");
}

#[test]
fn wills_go_out_before_everybody_is_sent_away() {
    let (mut world, watcher) = watched();
    join(&mut world, Version::V5, true, 0, 0);
    world.broker.shutdown(world.now);
    world.turn();
    assert_eq!(world.received(watcher), ["PUBLISH gone c q0", "DISCONNECT 0x8B"]);
}

#[test]
fn a_client_without_a_will_leaves_nothing_behind() {
    // v4 [MQTT-3.1.2-12]
    let (mut world, watcher) = watched();
    let client = world.join(Version::V311, "c");
    world.cut(client);
    assert!(world.messages(watcher).is_empty());
}
