//! Sessions that outlive connections (sections 3.1.2.4, 4.1, 4.4; wire reference 9).
use crate::harness::*;
use mqtt_broker_core::codec::{AckKind, Disconnect, Packet, Properties, Property, Qos, ReasonCode, Version};

const KEEP: [Property<'static>; 1] = [Property::SessionExpiryInterval(100)];

fn keep(world: &mut World<mqtt_broker_core::AllowAll>, version: Version, id: &str) -> Name {
    world.try_join(version, id, |connect| {
        connect.clean_start = false;
        connect.properties = Properties::from_slice(&KEEP);
    })
}

#[test]
fn a_kept_session_brings_its_subscriptions_and_messages_back_in_order() {
    // v5 [MQTT-3.1.2-5] [MQTT-3.1.2-6] [MQTT-3.1.2-23] [MQTT-3.1.3-2] [MQTT-4.5.0-1] [MQTT-3.2.2-3]
    // v4 [MQTT-3.1.2-4] [MQTT-3.1.2-5] [MQTT-3.1.3-2] [MQTT-3.2.2-2] [MQTT-3.2.2-3] [MQTT-4.5.0-1]; pitfall 47
    for version in [Version::V31, Version::V311, Version::V5] {
        let mut world = World::new();
        let sub = keep(&mut world, version, "sub");
        assert_eq!(world.received(sub), ["CONNACK 0x00"]);
        world.subscribe(sub, "t/+", Qos::ExactlyOnce);
        world.cut(sub);
        let publisher = world.join(Version::V311, "pub");
        for (n, qos) in [(1, Qos::AtLeastOnce), (2, Qos::ExactlyOnce), (3, Qos::AtLeastOnce), (4, Qos::AtMostOnce)] {
            world.publish(publisher, &format!("t/{n}"), "x", qos);
        }
        let sub = keep(&mut world, version, "sub");
        let received = world.received(sub);
        // 3.1 has no session present ([X31-CACK-1])
        assert_eq!(received[0], if version == Version::V31 { "CONNACK 0x00" } else { "CONNACK 0x00 present" });
        assert_eq!(
            received[1..],
            ["PUBLISH t/1 x q1 id1", "PUBLISH t/2 x q2 id2", "PUBLISH t/3 x q1 id3"],
            "{version:?}"
        );
    }
}

#[test]
fn a_clean_start_throws_the_session_away() {
    // v5 [MQTT-3.1.2-4] [MQTT-3.1.4-4] [MQTT-3.2.2-2] v4 [MQTT-3.1.2-6] [MQTT-3.1.4-3] [MQTT-3.2.2-1]; pitfall 9
    let mut world = World::new();
    let sub = keep(&mut world, Version::V311, "sub");
    world.subscribe(sub, "t", Qos::AtLeastOnce);
    world.cut(sub);
    let clean = world.try_join(Version::V311, "sub", |_| {});
    assert_eq!(world.received(clean), ["CONNACK 0x00"]);
    world.cut(clean);
    let again = keep(&mut world, Version::V311, "sub");
    assert_eq!(world.received(again), ["CONNACK 0x00"]);
    let publisher = world.join(Version::V311, "pub");
    world.publish(publisher, "t", "x", Qos::AtLeastOnce);
    assert!(world.received(again).is_empty());
}

#[test]
fn without_an_expiry_the_session_ends_with_its_connection() {
    // [X5-CON-1]; pitfalls 10 and 11
    let mut world = World::configured(|config| {
        config.session_expiry_v3 = u32::MAX;
        config.max_session_expiry = u32::MAX;
    });
    let client = world.try_join(Version::V5, "c", |connect| connect.clean_start = false);
    world.cut(client);
    assert_eq!(world.broker.stats().sessions, 0);
    let old = world.try_join(Version::V311, "c", |connect| connect.clean_start = false);
    world.cut(old);
    world.advance(1000 * HOUR);
    assert_eq!(world.broker.stats().sessions, 1, "3.1.1 keeps it without a limit");
}

#[test]
fn a_session_ends_when_its_expiry_has_run_out() {
    // v5 [MQTT-4.1.0-2]
    let mut world = World::new();
    let client = keep(&mut world, Version::V5, "c");
    world.subscribe(client, "t", Qos::AtLeastOnce);
    world.cut(client);
    world.advance(99 * SECOND);
    let back = keep(&mut world, Version::V5, "c");
    assert_eq!(world.received(back), ["CONNACK 0x00 present"]);
    world.cut(back);
    // the count begins anew with each close
    world.advance(99 * SECOND);
    assert_eq!(world.broker.stats().sessions, 1);
    world.advance(2 * SECOND);
    let stats = world.broker.stats();
    assert_eq!((stats.sessions, stats.subscriptions), (0, 0));
}

#[test]
fn the_expiry_is_capped_and_the_client_is_told() {
    // [X5-CACK-1]
    let mut world = World::configured(|config| config.max_session_expiry = 60);
    let client = keep(&mut world, Version::V5, "c");
    let bytes = world.received_bytes(client);
    assert!(connack_properties(Version::V5, &bytes).contains(&"SessionExpiryInterval(60)".to_string()));
    world.cut(client);
    world.advance(61 * SECOND);
    assert_eq!(world.broker.stats().sessions, 0);
}

#[test]
fn a_goodbye_may_change_the_expiry() {
    // [X5-DISC-3]
    let mut world = World::new();
    let client = keep(&mut world, Version::V5, "c");
    let now = [Property::SessionExpiryInterval(0)];
    world.send(
        client,
        Packet::Disconnect(Disconnect { reason: ReasonCode::SUCCESS, properties: Properties::from_slice(&now) }),
    );
    assert_eq!(world.broker.stats().sessions, 0);
}

#[test]
fn a_goodbye_may_not_raise_the_expiry_from_zero() {
    // [X5-DISC-2]; pitfall 12: it is a fault, so the will is published
    let mut world = World::new();
    let watcher = world.join(Version::V5, "watcher");
    world.subscribe(watcher, "#", Qos::AtMostOnce);
    let client = world.join_with(Version::V5, "c", |connect| connect.will = Some(will("gone", "c")));
    let raise = [Property::SessionExpiryInterval(10)];
    world.send(
        client,
        Packet::Disconnect(Disconnect { reason: ReasonCode::SUCCESS, properties: Properties::from_slice(&raise) }),
    );
    assert_eq!(world.received(client), ["DISCONNECT 0x82"]);
    assert_eq!(world.messages(watcher), ["gone c"]);
}

#[test]
fn what_was_in_flight_is_sent_again_after_a_resume_and_only_then() {
    // v5 [MQTT-4.4.0-1] [MQTT-3.3.1-1] [MQTT-4.3.3-6] v4 [MQTT-4.4.0-1] [MQTT-3.3.1-1]; pitfalls 44 and 45
    let mut world = World::new();
    let sub = keep(&mut world, Version::V311, "sub");
    world.subscribe(sub, "t", Qos::ExactlyOnce);
    let publisher = world.join(Version::V311, "pub");
    world.publish(publisher, "t", "one", Qos::AtLeastOnce);
    world.publish(publisher, "t", "two", Qos::ExactlyOnce);
    world.publish_with(publisher, "t", "three", |publish| set_qos(publish, Qos::ExactlyOnce, 2));
    assert_eq!(world.messages(sub).len(), 3);
    world.ack(sub, AckKind::Pubrec, 3);
    assert_eq!(world.received(sub), ["PUBREL id3"]);
    world.advance(10 * HOUR);
    assert!(world.received(sub).is_empty(), "nothing is sent again on a live connection");
    world.cut(sub);
    let sub = keep(&mut world, Version::V311, "sub");
    assert_eq!(world.received(sub)[1..], ["PUBLISH t one q1 id1 dup", "PUBLISH t two q2 id2 dup", "PUBREL id3"]);
}

#[test]
fn a_qos_2_message_is_routed_once_over_a_cut_in_the_middle() {
    // v5 [MQTT-4.3.3-10] v4 [MQTT-4.3.3-2]; pitfalls 41 and 43; S16
    let mut world = World::new();
    let watcher = world.join(Version::V311, "watcher");
    world.subscribe(watcher, "t", Qos::AtMostOnce);
    let publisher = keep(&mut world, Version::V311, "pub");
    world.received(publisher);
    world.publish(publisher, "t", "once", Qos::ExactlyOnce);
    assert_eq!(world.received(publisher), ["PUBREC id1"]);
    world.cut(publisher);
    let publisher = keep(&mut world, Version::V311, "pub");
    world.received(publisher);
    world.publish_with(publisher, "t", "once", |publish| {
        set_qos(publish, Qos::ExactlyOnce, 1);
        publish.dup = true;
    });
    assert_eq!(world.received(publisher), ["PUBREC id1"]);
    world.ack(publisher, AckKind::Pubrel, 1);
    assert_eq!(world.received(publisher), ["PUBCOMP id1"]);
    assert_eq!(world.messages(watcher), ["t once"]);
    // v5 [MQTT-4.3.3-12]: from here on the identifier names another message
    world.publish(publisher, "t", "another", Qos::ExactlyOnce);
    assert_eq!(world.messages(watcher), ["t another"]);
}

#[test]
fn a_taken_over_session_goes_on_where_it_was() {
    let mut world = World::new();
    let first = keep(&mut world, Version::V5, "sub");
    world.subscribe(first, "t", Qos::AtLeastOnce);
    let publisher = world.join(Version::V311, "pub");
    world.publish(publisher, "t", "x", Qos::AtLeastOnce);
    let second = keep(&mut world, Version::V5, "sub");
    assert_eq!(world.received(second), ["CONNACK 0x00 present", "PUBLISH t x q1 id1 dup"]);
    assert_eq!(world.received(first).last().unwrap(), "DISCONNECT 0x8E");
}

#[test]
fn the_end_of_a_taken_over_connection_changes_nothing() {
    let mut world = World::new();
    let first = world.open(Version::V311);
    let mut bytes = Vec::new();
    Packet::Connect(connect(Version::V311, "c")).encode(Version::V311, &mut bytes).unwrap();
    world.broker.handle_input(world.now, world.links[first].id, &bytes);
    let old = world.links[first].id;
    world.turn();
    let second = world.join(Version::V311, "c");
    // the host closes the old transport late, and says so late and twice
    world.broker.handle_closed(world.now, old);
    world.broker.handle_input(world.now, old, &[0xC0, 0]);
    world.turn();
    world.send(second, Packet::Pingreq);
    assert_eq!(world.received(second), ["PINGRESP"]);
}

#[test]
fn a_session_may_change_its_version() {
    let mut world = World::new();
    let old = keep(&mut world, Version::V311, "c");
    world.subscribe(old, "t", Qos::AtLeastOnce);
    world.cut(old);
    let new = keep(&mut world, Version::V5, "c");
    assert_eq!(world.received(new), ["CONNACK 0x00 present"]);
    let publisher = world.join(Version::V311, "pub");
    world.publish(publisher, "t", "x", Qos::AtLeastOnce);
    assert_eq!(world.received(new), ["PUBLISH t x q1 id1"]);
}

#[test]
fn what_a_session_holds_is_forgotten_with_it() {
    let mut world = World::new();
    let sub = keep(&mut world, Version::V5, "sub");
    world.subscribe(sub, "t", Qos::AtLeastOnce);
    world.cut(sub);
    let publisher = world.join(Version::V311, "pub");
    for _ in 0..50 {
        world.publish(publisher, "t", "x", Qos::AtLeastOnce);
    }
    assert!(world.broker.stats().queued_bytes > 0);
    world.advance(200 * SECOND);
    assert_eq!(world.broker.stats().queued_bytes, 0);
}
