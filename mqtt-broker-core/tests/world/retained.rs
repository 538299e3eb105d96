//! Retained messages (section 3.3.1.3).
use crate::harness::*;
use mqtt_broker_core::AllowAll;
use mqtt_broker_core::codec::{AckKind, Properties, Property, Qos, RetainHandling, SubscribeOptions, Version};

#[test]
fn the_last_retained_message_greets_a_late_subscriber() {
    // v5 [MQTT-3.3.1-5] [MQTT-3.3.1-8] v4 [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-7] [MQTT-3.3.1-8] [MQTT-3.3.1-12]
    let mut world = World::new();
    let client = world.join(Version::V311, "c");
    world.publish_with(client, "t/a", "old", |publish| {
        set_qos(publish, Qos::ExactlyOnce, 1);
        publish.retain = true;
    });
    world.retain(client, "t/a", "x");
    world.publish(client, "t/a", "y", Qos::AtMostOnce);
    world.publish_with(client, "t/b", "z", |publish| {
        set_qos(publish, Qos::AtLeastOnce, 2);
        publish.retain = true;
    });
    let late = world.join(Version::V311, "late");
    assert_eq!(
        world.subscribe(late, "t/+", Qos::ExactlyOnce),
        ["SUBACK [0x02]", "PUBLISH t/a x q0 retain", "PUBLISH t/b z q1 id1 retain"]
    );
    // v4 [X311-RET-1]; pitfall 20: every subscribe brings it again
    world.ack(late, AckKind::Puback, 1);
    assert_eq!(world.subscribe(late, "t/a", Qos::AtMostOnce), ["SUBACK [0x00]", "PUBLISH t/a x q0 retain"]);
}

#[test]
fn an_empty_payload_removes_and_is_forwarded() {
    // v5 [MQTT-3.3.1-6] [MQTT-3.3.1-7] v4 [MQTT-3.3.1-10] [MQTT-3.3.1-11]; pitfall 21
    let mut world = World::new();
    let live = world.join(Version::V311, "live");
    world.subscribe(live, "t", Qos::AtMostOnce);
    let client = world.join(Version::V311, "c");
    world.retain(client, "t", "x");
    world.retain(client, "t", "");
    world.retain(client, "fresh", "");
    assert_eq!(world.received(live), ["PUBLISH t x q0", "PUBLISH t  q0"]);
    assert_eq!(world.broker.stats().retained, 0);
    let late = world.join(Version::V311, "late");
    assert_eq!(world.subscribe(late, "#", Qos::AtMostOnce), ["SUBACK [0x00]"]);
}

#[test]
fn a_retained_message_grows_old_and_goes() {
    // [X5-PUB-11] [X5-PUB-12]
    let mut world = World::new();
    let client = world.join(Version::V5, "c");
    let expiry = [Property::MessageExpiryInterval(10)];
    world.publish_with(client, "t", "x", |publish| {
        publish.retain = true;
        publish.properties = Properties::from_slice(&expiry);
    });
    world.advance(4 * SECOND);
    let late = world.join(Version::V5, "late");
    assert_eq!(world.subscribe(late, "t", Qos::AtMostOnce)[1..], ["PUBLISH t x q0 retain expiry6"]);
    world.advance(7 * SECOND);
    assert_eq!(world.broker.stats().retained, 0);
    assert_eq!(world.broker.stats().retained_bytes, 0);
    assert!(world.subscribe(late, "#", Qos::AtMostOnce).len() == 1);
}

#[test]
fn it_survives_the_session_that_published_it() {
    // v4 [MQTT-3.1.2-7]
    let mut world = World::new();
    let client = world.join(Version::V311, "c");
    world.retain(client, "t", "x");
    world.goodbye(client);
    let late = world.join(Version::V311, "late");
    assert_eq!(world.subscribe(late, "t", Qos::AtMostOnce).len(), 2);
}

#[test]
fn a_retained_copy_has_the_subscriptions_identifier() {
    let mut world = World::new();
    let client = world.join(Version::V5, "c");
    world.retain(client, "t/a", "x");
    for filter in ["t/a", "t/#"] {
        let late = world.join(Version::V5, "late");
        let received =
            world.subscribe_with(late, filter, SubscribeOptions::default(), &[Property::SubscriptionIdentifier(9)]);
        assert_eq!(received[1..], ["PUBLISH t/a x q0 retain sub9"]);
    }
}

#[test]
fn many_retained_messages_come_as_fast_as_they_are_taken_and_before_what_is_newer() {
    // pitfall 47; no burst: what waits is a cursor, not copies
    let mut world = World::configured(|config| config.high_water = 2_000);
    let client = world.join(Version::V311, "c");
    for n in 0..5_000 {
        world.retain(client, &format!("t/{n:04}"), "0123456789");
    }
    let late = world.join(Version::V311, "late");
    world.links[late].takes = Some(500);
    let mut lines = world.subscribe(late, "t/#", Qos::AtLeastOnce);
    world.publish(client, "t/9999", "live", Qos::AtLeastOnce);
    assert!(world.broker.stats().queued_bytes < 1_000, "the retained ones are not queued");
    let mut got = Vec::new();
    for _ in 0..1000 {
        world.take(late, 1_000);
        lines.extend(world.received(late));
        for line in lines.drain(..) {
            got.extend(line.strip_prefix("PUBLISH ").map(|line| line.split(' ').next().unwrap().to_string()));
        }
    }
    let expected: Vec<String> = (0..5_000).map(|n| format!("t/{n:04}")).chain(["t/9999".to_string()]).collect();
    assert_eq!(got.len(), expected.len());
    assert_eq!(got, expected);
}

#[test]
fn a_replay_goes_on_after_a_reconnect_and_stops_when_unsubscribed() {
    let mut world = World::configured(|config| config.high_water = 300);
    let client = world.join(Version::V311, "c");
    for n in 0..100 {
        world.publish_with(client, &format!("t/{n:02}"), "x", |publish| {
            set_qos(publish, Qos::AtLeastOnce, 1);
            publish.retain = true;
        });
    }
    let join = |world: &mut World<_>| world.try_join(Version::V311, "late", |connect| connect.clean_start = false);
    let late = join(&mut world);
    world.links[late].takes = Some(200);
    world.subscribe(late, "t/#", Qos::AtMostOnce);
    let before = world.messages(late).len();
    assert!(before < 20, "{before}");
    world.cut(late);
    let late = join(&mut world);
    world.links[late].takes = Some(300);
    world.flush(late);
    let after = world.messages(late);
    assert!(!after.is_empty() && before + after.len() < 100, "{before} {after:?}");
    assert!(after[0] > format!("t/{before:02}"), "it goes on where it was: {after:?}");
    world.links[late].takes = None;
    world.broker.handle_input(world.now, world.links[late].id, &[0xA2, 7, 0, 1, 0, 3, b't', b'/', b'#']);
    world.turn();
    world.flush(late);
    assert!(world.messages(late).len() < 40);
    world.retain(client, "t/50", "y");
    assert!(world.messages(late).is_empty());
}

/// Retains a message of QoS 1 on each of `t/1`, `t/2` .. and has a client that takes one at a time begin to subscribe to them.
fn begin_replay(many: usize) -> (World<AllowAll>, usize, usize) {
    let mut world = World::new();
    let client = world.join(Version::V5, "c");
    for n in 1..=many {
        world.publish_with(client, &format!("t/{n}"), "x", |publish| {
            set_qos(publish, Qos::AtLeastOnce, 1);
            publish.retain = true;
        });
    }
    let one = [Property::ReceiveMaximum(1)];
    let late = world.join_with(Version::V5, "late", |connect| connect.properties = Properties::from_slice(&one));
    let options = SubscribeOptions { qos: Qos::AtLeastOnce, ..Default::default() };
    let lines = world.subscribe_with(late, "t/+", options, &[Property::SubscriptionIdentifier(7)]);
    assert_eq!(lines, ["SUBACK [0x01]", "PUBLISH t/1 x q1 id1 retain sub7"]);
    (world, client, late)
}

#[test]
fn a_replay_goes_on_as_the_subscription_is_now() {
    // v5 [MQTT-3.8.4-4] [MQTT-3.8.4-8] [X5-SUB-4]: what is queued already is not touched
    let (mut world, _, late) = begin_replay(4);
    let options = SubscribeOptions { retain_handling: RetainHandling::Never, ..Default::default() };
    let mut lines = world.subscribe_with(late, "t/+", options, &[]);
    world.ack(late, AckKind::Puback, 1);
    lines.extend(world.received(late));
    assert_eq!(
        lines,
        ["SUBACK [0x00]", "PUBLISH t/2 x q1 id2 retain sub7", "PUBLISH t/3 x q0 retain", "PUBLISH t/4 x q0 retain"]
    );
}

#[test]
fn a_replay_that_begins_anew_when_nothing_is_retained_has_ended() {
    // Found by the simulation: what came before the last one, by the old replay.
    let (mut world, client, late) = begin_replay(3);
    for n in 1..=3 {
        world.retain(client, &format!("t/{n}"), "");
    }
    let mut lines = world.subscribe(late, "t/+", Qos::AtMostOnce);
    world.publish(client, "t/4", "older", Qos::AtMostOnce);
    world.retain(client, "t/4", "newer");
    world.ack(late, AckKind::Puback, 1);
    lines.extend(world.received(late));
    lines.retain(|line| line.contains("t/4"));
    assert_eq!(lines, ["PUBLISH t/4 older q0", "PUBLISH t/4 newer q0"]);
}

#[test]
fn there_is_a_limit_to_what_is_retained() {
    let mut world = World::configured(|config| {
        config.max_retained = 3;
        config.max_retained_bytes = 1_000;
    });
    let client = world.join(Version::V311, "c");
    for n in 0..5 {
        world.retain(client, &format!("t/{n}"), "x");
    }
    assert_eq!((world.broker.stats().retained, world.broker.stats().dropped_retained), (3, 2));
    world.retain(client, "t/0", &"x".repeat(1_000));
    // what could not be kept leaves no older message behind
    assert_eq!((world.broker.stats().retained, world.broker.stats().dropped_retained), (2, 3));
    world.retain(client, "t/1", "new");
    assert_eq!((world.broker.stats().retained, world.broker.stats().dropped_retained), (2, 3));
}
