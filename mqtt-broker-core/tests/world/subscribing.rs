//! SUBSCRIBE, UNSUBSCRIBE and what they match (sections 3.8 to 3.11, 4.7).
use crate::harness::*;
use mqtt_broker_core::codec::{
    Packet, Properties, Property, Qos, RetainHandling, Subscribe, SubscribeOptions, Subscription, Subscriptions,
    TopicFilter, Version,
};

#[test]
fn wildcards_choose_who_hears() {
    let mut world = World::new();
    let names = ["home/+/temp", "home/#", "home/kitchen/+", "home/door", "home/+", "#", "+/+/+"];
    let clients: Vec<Name> = names
        .iter()
        .enumerate()
        .map(|(n, filter)| {
            let client = world.join(Version::V311, &format!("c{n}"));
            world.subscribe(client, filter, Qos::AtMostOnce);
            client
        })
        .collect();
    let publisher = world.join(Version::V311, "pub");
    for (topic, heard) in [
        ("home/kitchen/temp", vec!["home/+/temp", "home/#", "home/kitchen/+", "#", "+/+/+"]),
        ("home/door", vec!["home/#", "home/door", "home/+", "#"]),
        ("home", vec!["home/#", "#"]),
        ("homes/kitchen/temp", vec!["#", "+/+/+"]),
    ] {
        world.publish(publisher, topic, "x", Qos::AtMostOnce);
        let got: Vec<&str> = names
            .iter()
            .zip(&clients)
            .filter(|&(_, &client)| !world.messages(client).is_empty())
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(got, heard, "{topic}");
    }
}

#[test]
fn the_granted_qos_and_the_published_one_meet_at_the_lower() {
    // v5 [MQTT-3.8.4-8] [MQTT-3.8.4-7] v4 [MQTT-3.8.4-6] [MQTT-3.8.4-5]; pitfall 29
    for (granted, expected) in [(0u8, ["q0", "q0", "q0"]), (1, ["q0", "q1", "q1"]), (2, ["q0", "q1", "q2"])] {
        let mut world = World::new();
        let client = world.join(Version::V311, "c");
        let qos = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce][granted as usize];
        assert_eq!(world.subscribe(client, "t", qos), [format!("SUBACK [0x{granted:02X}]")]);
        let publisher = world.join(Version::V311, "pub");
        for (n, qos) in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce].into_iter().enumerate() {
            world.publish(publisher, "t", "x", qos);
            let line = world.received(client).remove(0);
            assert!(line.contains(expected[n]), "{line}");
        }
    }
}

#[test]
fn overlapping_subscriptions_give_one_copy_at_the_highest_qos_with_all_identifiers() {
    // v5 [MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.3.4-4] [X5-PUB-9] v4 [MQTT-3.3.5-1]; pitfalls 25 and 28
    let mut world = World::new();
    let client = world.join(Version::V5, "c");
    for (filter, qos, id) in [("a/#", Qos::AtMostOnce, 1), ("a/b", Qos::ExactlyOnce, 2), ("+/b", Qos::AtLeastOnce, 1)] {
        let options = SubscribeOptions { qos, ..Default::default() };
        world.subscribe_with(client, filter, options, &[Property::SubscriptionIdentifier(id)]);
    }
    let publisher = world.join(Version::V5, "pub");
    world.publish(publisher, "a/b", "x", Qos::ExactlyOnce);
    let received = world.received(client);
    assert_eq!(received.len(), 1, "{received:?}");
    assert!(received[0].starts_with("PUBLISH a/b x q2 id1"), "{received:?}");
    let mut ids: Vec<&str> = received[0].split(' ').filter(|word| word.starts_with("sub")).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["sub1", "sub1", "sub2"]);
}

#[test]
fn subscribing_again_replaces_the_options() {
    // v5 [MQTT-3.8.4-3] [X5-SUB-4] v4 [MQTT-3.8.4-3]; pitfall 27
    let mut world = World::new();
    let client = world.join(Version::V5, "c");
    let options = SubscribeOptions { qos: Qos::ExactlyOnce, ..Default::default() };
    world.subscribe_with(client, "t", options, &[Property::SubscriptionIdentifier(268_435_455)]);
    let publisher = world.join(Version::V5, "pub");
    world.publish(publisher, "t", "x", Qos::AtLeastOnce);
    assert_eq!(world.received(client), ["PUBLISH t x q1 id1 sub268435455"]);
    world.subscribe(client, "t", Qos::AtMostOnce);
    world.publish(publisher, "t", "y", Qos::AtLeastOnce);
    assert_eq!(world.received(client), ["PUBLISH t y q0"]);
    assert_eq!(world.broker.stats().subscriptions, 1);
}

#[test]
fn several_filters_are_answered_together_in_order() {
    // v5 [MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.9.3-1] v4 [MQTT-3.8.4-4] [MQTT-3.9.3-1]
    let mut world = World::configured(|config| config.max_topic_levels = 3);
    let client = world.join(Version::V5, "c");
    let list = ["a", "a/b/c/d", "a", "#"].map(|filter| (filter, Qos::AtLeastOnce));
    let list = list.map(|(filter, qos)| Subscription {
        filter: TopicFilter::new(filter).unwrap(),
        options: SubscribeOptions { qos, ..Default::default() },
    });
    let subscribe = Subscribe {
        packet_id: id(0xBEEF),
        properties: Properties::EMPTY,
        subscriptions: Subscriptions::from_slice(&list),
    };
    world.send(client, Packet::Subscribe(subscribe));
    let bytes = world.received_bytes(client);
    // v5 [MQTT-3.8.4-2] v4 [MQTT-3.8.4-2]: the identifier comes back
    assert_eq!(bytes, [0x90, 7, 0xBE, 0xEF, 0, 1, 0x8F, 1, 1]);
}

#[test]
fn no_local_keeps_a_clients_own_messages_from_it() {
    // v5 [MQTT-3.8.3-3]; pitfall 24: also what was queued for it
    let mut world = World::new();
    let keep = [Property::SessionExpiryInterval(100)];
    let client = world.join_with(Version::V5, "c", |connect| connect.properties = Properties::from_slice(&keep));
    let options = SubscribeOptions { qos: Qos::AtLeastOnce, no_local: true, ..Default::default() };
    world.subscribe_with(client, "t", options, &[]);
    let other = world.join(Version::V5, "other");
    world.publish(client, "t", "mine", Qos::AtMostOnce);
    world.publish(other, "t", "theirs", Qos::AtMostOnce);
    assert_eq!(world.messages(client), ["t theirs"]);
}

#[test]
fn retain_as_published_shows_the_flag_on_live_messages() {
    // v5 [MQTT-3.3.1-12] [MQTT-3.3.1-13] v4 [MQTT-3.3.1-9]; pitfall 18
    let mut world = World::new();
    let plain = world.join(Version::V5, "plain");
    world.subscribe(plain, "t", Qos::AtMostOnce);
    let keeps = world.join(Version::V5, "keeps");
    world.subscribe_with(keeps, "t", SubscribeOptions { retain_as_published: true, ..Default::default() }, &[]);
    let publisher = world.join(Version::V5, "pub");
    world.retain(publisher, "t", "x");
    world.publish(publisher, "t", "y", Qos::AtMostOnce);
    assert_eq!(world.received(plain), ["PUBLISH t x q0", "PUBLISH t y q0"]);
    assert_eq!(world.received(keeps), ["PUBLISH t x q0 retain", "PUBLISH t y q0"]);
}

#[test]
fn unsubscribing_takes_the_very_filter_and_no_other() {
    // v5 [MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT-3.10.4-5] [MQTT-3.11.3-1] v4 [MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT-3.10.4-4] [MQTT-3.10.4-5]; pitfall 38
    let mut world = World::new();
    let client = world.join(Version::V5, "c");
    world.subscribe(client, "a/+", Qos::AtMostOnce);
    assert_eq!(world.unsubscribe(client, "a/b"), ["UNSUBACK [0x11]"]);
    let publisher = world.join(Version::V5, "pub");
    world.publish(publisher, "a/b", "x", Qos::AtMostOnce);
    assert_eq!(world.messages(client), ["a/b x"]);
    assert_eq!(world.unsubscribe(client, "a/+"), ["UNSUBACK [0x00]"]);
    world.publish(publisher, "a/b", "x", Qos::AtMostOnce);
    assert!(world.messages(client).is_empty());
    let old = world.join(Version::V311, "old");
    world.unsubscribe(old, "never");
    world.subscribe(old, "a", Qos::AtMostOnce);
    assert_eq!(world.unsubscribe(old, "a"), ["UNSUBACK []"]);
}

#[test]
fn a_delivery_that_was_begun_is_finished_after_unsubscribing() {
    // v5 [MQTT-3.10.4-3] v4 [MQTT-3.10.4-3]; pitfall 39
    let mut world = World::new();
    let client = world.join(Version::V311, "c");
    world.subscribe(client, "t", Qos::ExactlyOnce);
    let publisher = world.join(Version::V311, "pub");
    world.publish(publisher, "t", "x", Qos::ExactlyOnce);
    world.received(client);
    world.unsubscribe(client, "t");
    world.ack(client, mqtt_broker_core::codec::AckKind::Pubrec, 1);
    assert_eq!(world.received(client), ["PUBREL id1"]);
}

#[test]
fn shared_subscriptions_that_are_switched_off_are_announced_as_such_and_refused() {
    // [X5-CACK-9]; [X311-SHR-1]: before 5.0 it is a plain filter
    let mut world = World::configured(|config| config.server.shared_subscription_available = false);
    let client = world.try_join(Version::V5, "c", |_| {});
    let bytes = world.received_bytes(client);
    assert!(connack_properties(Version::V5, &bytes).contains(&"SharedSubscriptionAvailable(false)".to_string()));
    world.subscribe(client, "$share/g/a", Qos::AtMostOnce);
    assert!(world.is_closed(client));
    let old = world.join(Version::V311, "old");
    assert_eq!(world.subscribe(old, "$share/g/a", Qos::AtMostOnce), ["SUBACK [0x00]"]);
    let publisher = world.join(Version::V311, "pub");
    world.publish(publisher, "a", "x", Qos::AtMostOnce);
    assert!(world.messages(old).is_empty());
}

#[test]
fn dollar_topics_are_hidden_from_leading_wildcards_and_closed_to_clients() {
    // v5 [MQTT-4.7.2-1] v4 [MQTT-4.7.2-1]; S4; pitfall 48
    let mut world = World::new();
    let client = world.join(Version::V5, "c");
    for filter in ["#", "+/x", "$SYS/#"] {
        world.subscribe(client, filter, Qos::AtMostOnce);
    }
    let publisher = world.join(Version::V5, "pub");
    world.publish(publisher, "$SYS/x", "forged", Qos::AtLeastOnce);
    assert_eq!(world.received(publisher), ["PUBACK id1 0x90"]);
    world.retain(publisher, "$SYS/x", "forged");
    assert_eq!(world.broker.stats().retained, 0);
    assert!(world.messages(client).is_empty());
    let refused = world.try_join(Version::V5, "w", |connect| connect.will = Some(will("$SYS/x", "forged")));
    assert_eq!(world.received(refused), ["CONNACK 0x90"]);
    // the embedding program may
    let name = mqtt_broker_core::topic::TopicName::new("$SYS/x").unwrap();
    world.broker.publish(world.now, &mqtt_broker_core::Publication::new(name, b"true")).unwrap();
    world.turn();
    assert_eq!(world.received(client), ["PUBLISH $SYS/x true q0"]);
}

#[test]
fn retain_handling_decides_what_a_subscribe_brings() {
    // v5 [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]; pitfall 19
    for (handling, first, again) in
        [(RetainHandling::Always, 1, 1), (RetainHandling::IfNew, 1, 0), (RetainHandling::Never, 0, 0)]
    {
        for filter in ["t/a", "t/#"] {
            let mut world = World::new();
            let publisher = world.join(Version::V5, "pub");
            world.retain(publisher, "t/a", "kept");
            let client = world.join(Version::V5, "c");
            let options = SubscribeOptions { retain_handling: handling, ..Default::default() };
            for expected in [first, again] {
                let received = world.subscribe_with(client, filter, options, &[]);
                assert_eq!(received.len(), 1 + expected, "{handling:?} {received:?}");
            }
            world.publish(publisher, "t/a", "live", Qos::AtMostOnce);
            assert_eq!(world.messages(client), ["t/a live"]);
        }
    }
}

#[test]
fn nothing_is_lost_or_doubled_while_a_subscription_is_being_replaced() {
    // v5 [MQTT-3.8.4-4]
    for filters in [["a", "a"], ["a", "$share/g/a"]] {
        let mut world = World::new();
        let window = [Property::ReceiveMaximum(2)];
        let client = world.join_with(Version::V5, "c", |connect| connect.properties = Properties::from_slice(&window));
        let publisher = world.join(Version::V5, "pub");
        let filter = filters[1];
        let mut got = Vec::new();
        for n in 0..12u32 {
            // replaced with another identifier, some messages in flight and some waiting
            let options = SubscribeOptions {
                qos: if n % 3 == 0 { Qos::ExactlyOnce } else { Qos::AtLeastOnce },
                retain_handling: RetainHandling::Never,
                ..Default::default()
            };
            let lines = world.subscribe_with(client, filter, options, &[Property::SubscriptionIdentifier(n + 1)]);
            got.extend(lines);
            world.publish(publisher, "a", &n.to_string(), Qos::AtLeastOnce);
            got.extend(world.received(client));
            if n % 4 == 3 {
                for id in n - 2..n {
                    world.ack(client, mqtt_broker_core::codec::AckKind::Puback, u16::try_from(id / 2).unwrap().max(1));
                }
                got.extend(world.received(client));
            }
        }
        for id in 1..=12 {
            world.ack(client, mqtt_broker_core::codec::AckKind::Puback, id);
            got.extend(world.received(client));
        }
        let published: Vec<_> = got.iter().filter(|line| line.starts_with("PUBLISH")).collect();
        let expected: Vec<_> = (0..12).map(|n| format!("PUBLISH a {n} q1 id{} sub{}", n + 1, n + 1)).collect();
        assert_eq!(published, expected.iter().collect::<Vec<_>>(), "{filter}");
        assert_eq!(world.broker.stats().queued_bytes, 0);
    }
}
