//! What can be set otherwise: expiry of messages, overlapping subscriptions, payload checks, wildcards, overflow.
use crate::harness::*;
use mqtt_broker_core::codec::{Properties, Property, Qos, Version};
use mqtt_broker_core::{AllowAll, Limit, Overflow, Overlap};

fn publish_with(world: &mut World<AllowAll>, name: Name, payload: &str, properties: &[Property<'_>]) {
    // the harness wants what it sends to live as long as the topic
    let properties = Properties::from_slice(properties);
    let publish = mqtt_broker_core::codec::Publish {
        dup: false,
        qos: Qos::AtLeastOnce,
        retain: false,
        topic: Some(mqtt_broker_core::codec::TopicName::new("t").unwrap()),
        packet_id: Some(id(1)),
        properties,
        payload: payload.as_bytes(),
    };
    world.send(name, mqtt_broker_core::codec::Packet::Publish(publish));
}

#[test]
fn messages_without_an_expiry_get_the_default_and_none_lives_longer_than_the_cap() {
    let mut world = World::configured(|config| {
        config.message_expiry = Some(60);
        config.max_message_expiry = Some(100);
    });
    let sub = world.join(Version::V5, "sub");
    world.subscribe(sub, "t", Qos::AtMostOnce);
    let client = world.join(Version::V5, "c");
    let expiry = |seconds| {
        [
            Property::MessageExpiryInterval(seconds),
            Property::ContentType(mqtt_broker_core::codec::Utf8::new("x").unwrap()),
        ]
    };
    publish_with(&mut world, client, "default", &[]);
    publish_with(&mut world, client, "shorter", &expiry(30));
    publish_with(&mut world, client, "capped", &expiry(1_000));
    let old = world.join(Version::V311, "old");
    world.publish(old, "t", "before 5.0", Qos::AtMostOnce);
    let lines = world.received(sub);
    let expected = ["expiry60", "expiry30", "expiry100", "expiry60"];
    assert_eq!(lines.len(), 4);
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.contains(expected), "{line}");
    }
    assert!(lines[2].contains("ContentType"), "the others stay: {}", lines[2]);
    // what waits too long is gone
    let away = world.join_with(Version::V5, "away", |connect| {
        connect.clean_start = false;
        connect.properties = Properties::from_slice(&[Property::SessionExpiryInterval(1_000)]);
    });
    world.subscribe(away, "t", Qos::AtLeastOnce);
    world.cut(away);
    world.publish(old, "t", "late", Qos::AtLeastOnce);
    world.advance(61 * SECOND);
    let away = world.try_join(Version::V5, "away", |connect| connect.clean_start = false);
    assert_eq!(world.messages(away), [""; 0]);
}

#[test]
fn a_will_has_the_default_expiry_too() {
    let mut world = World::configured(|config| config.message_expiry = Some(60));
    let sub = world.join(Version::V5, "sub");
    world.subscribe(sub, "will", Qos::AtMostOnce);
    let client = world.join_with(Version::V5, "c", |connect| connect.will = Some(will("will", "gone")));
    world.cut(client);
    assert!(world.received(sub)[0].contains("expiry60"));
}

#[test]
fn overlapping_subscriptions_may_each_get_a_copy() {
    // v5 section 3.3.4: one copy with all identifiers, or a copy for each
    for overlap in [Overlap::Merge, Overlap::Each] {
        let mut world = World::configured(|config| config.overlap = overlap);
        let sub = world.join(Version::V5, "sub");
        for (filter, qos, number) in [("t", Qos::AtMostOnce, 1), ("+", Qos::AtLeastOnce, 2), ("#", Qos::AtMostOnce, 3)]
        {
            let options = mqtt_broker_core::codec::SubscribeOptions { qos, ..Default::default() };
            world.subscribe_with(sub, filter, options, &[Property::SubscriptionIdentifier(number)]);
        }
        let client = world.join(Version::V5, "c");
        world.publish(client, "t", "x", Qos::AtLeastOnce);
        let mut lines = world.received(sub);
        lines.sort();
        match overlap {
            Overlap::Merge => {
                assert_eq!(lines.len(), 1);
                for id in ["sub1", "sub2", "sub3"] {
                    assert!(lines[0].contains(id), "{lines:?}");
                }
            }
            _ => {
                assert_eq!(lines.len(), 3, "{lines:?}");
                let ids = |id: &str| lines.iter().filter(|line| line.contains(id)).count();
                assert_eq!((ids("sub1"), ids("sub2"), ids("sub3")), (1, 1, 1));
                assert_eq!(lines.iter().filter(|line| line.contains("q1") && line.contains("sub2")).count(), 1);
            }
        }
    }
}

#[test]
fn a_payload_that_claims_to_be_text_is_looked_at_if_that_is_asked_for() {
    // [X5-PUB-8]
    for check in [true, false] {
        let mut world = World::configured(|config| config.check_payload_format = check);
        let client = world.join(Version::V5, "c");
        let sub = world.join(Version::V5, "sub");
        world.subscribe(sub, "t", Qos::AtMostOnce);
        // PUBLISH, QoS 1, topic t, id 5, Payload Format Indicator 1, payload FF
        let bad = [0x32, 0x08, 0, 1, b't', 0, 5, 2, 1, 1, 0xFF];
        world.send_bytes(client, &[&[0x32, 0x09][..], &bad[2..]].concat());
        let (answer, came) = (world.received(client), world.received_bytes(sub).len());
        if check {
            assert_eq!((answer[0].as_str(), came), ("PUBACK id5 0x99", 0));
        } else {
            assert_eq!(answer, ["PUBACK id5"]);
            assert!(came > 0);
        }
        publish_with(&mut world, client, "text", &[Property::PayloadFormatIndicator(true)]);
        assert_eq!(world.received(client), ["PUBACK id1"]);
        // a will is looked at when it is left
        let text = [Property::PayloadFormatIndicator(true)];
        let other = world.try_join(Version::V5, "w", |connect| {
            let mut will = will("w", "x");
            (will.payload, will.properties) = (&[0xFF], Properties::from_slice(&text));
            connect.will = Some(will);
        });
        let expected = if check { "CONNACK 0x99" } else { "CONNACK 0x00" };
        assert_eq!(world.received(other), [expected]);
    }
}

#[test]
fn filters_that_are_too_wide_can_be_refused() {
    let mut world = World::configured(|config| config.min_wildcard_level = 2);
    let client = world.join(Version::V5, "c");
    for (filter, code) in
        [("#", "0x8F"), ("a/#", "0x8F"), ("+/b/c", "0x8F"), ("a/b/#", "0x00"), ("a/b/+", "0x00"), ("a", "0x00")]
    {
        // of a shared one the filter behind the share name counts
        for filter in [filter.to_string(), format!("$share/g/{filter}")] {
            assert_eq!(world.subscribe(client, &filter, Qos::AtMostOnce), [format!("SUBACK [{code}]")], "{filter}");
        }
    }
    assert_eq!(world.broker.stats().limited(Limit::TopicLevels), 6);
}

#[test]
fn qos_0_makes_room_where_that_is_the_policy() {
    let mut world = World::configured(|config| {
        config.overflow = Overflow::DropQos0;
        config.queue.messages = 3;
        config.queue_qos0_offline = true;
    });
    let join =
        |world: &mut World<AllowAll>| world.try_join(Version::V311, "sub", |connect| connect.clean_start = false);
    let sub = join(&mut world);
    world.subscribe(sub, "t", Qos::AtLeastOnce);
    world.cut(sub);
    let client = world.join(Version::V311, "c");
    for (payload, qos) in [("a", Qos::AtMostOnce), ("b", Qos::AtLeastOnce), ("c", Qos::AtMostOnce)] {
        world.publish(client, "t", payload, qos);
    }
    world.publish(client, "t", "no room for one of QoS 0", Qos::AtMostOnce);
    assert_eq!(world.broker.stats().dropped_full, 1);
    world.publish(client, "t", "d", Qos::AtLeastOnce); // in the place of a
    world.publish(client, "t", "e", Qos::AtLeastOnce); // in the place of c
    world.publish(client, "t", "f", Qos::AtLeastOnce); // there is no QoS 0 left
    assert_eq!(world.broker.stats().dropped_full, 4);
    let sub = join(&mut world);
    assert_eq!(world.messages(sub), ["t b", "t d", "t e"]);
}

#[test]
fn the_keep_alive_has_a_lower_and_an_upper_bound() {
    // v5 [MQTT-3.2.2-22] pitfall 50
    let mut world = World::configured(|config| {
        config.server.minimum_keep_alive = 10;
        config.server.maximum_keep_alive = Some(60);
    });
    for (asked, lost_after) in [(1, 15), (30, 45), (600, 90), (0, 90)] {
        let client = world.join_with(Version::V5, "c", |connect| connect.keep_alive = asked);
        world.advance(lost_after * SECOND - 1);
        assert!(!world.is_closed(client), "{asked}");
        world.advance(1);
        assert!(world.is_closed(client), "{asked}");
        assert_eq!(world.received(client), ["DISCONNECT 0x8D"]);
    }
    assert_eq!(world.broker.stats().limited(Limit::ConnectTimeout), 0);
}

#[test]
fn a_client_that_ignores_receive_maximum_is_borne_as_far_as_the_tolerance_goes() {
    // S12 pitfall 8
    for (tolerance, borne) in [(0, 4), (3, 7)] {
        let mut world = World::configured(|config| {
            config.server.receive_maximum = 4;
            config.server.receive_maximum_tolerance = tolerance;
        });
        let client = world.join(Version::V5, "c");
        for n in 1..=borne {
            world.publish_with(client, "t", "x", |publish| set_qos(publish, Qos::ExactlyOnce, n));
        }
        assert!(!world.is_closed(client));
        world.publish_with(client, "t", "x", |publish| set_qos(publish, Qos::ExactlyOnce, 100));
        assert_eq!(world.received(client).last().unwrap(), "DISCONNECT 0x93");
    }
}

#[test]
fn topics_that_come_again_are_sent_by_an_alias_where_that_is_asked_for() {
    for (offered, asked) in [(2, 2), (0, 2), (2, 0)] {
        let mut world = World::configured(|config| config.server.topic_alias_maximum_outgoing = offered);
        let takes = [Property::TopicAliasMaximum(asked)];
        let sub = world.join_with(Version::V5, "sub", |connect| {
            if asked > 0 {
                connect.properties = Properties::from_slice(&takes);
            }
        });
        world.subscribe(sub, "#", Qos::AtMostOnce);
        let client = world.join(Version::V311, "c");
        let sizes = [(); 4].map(|()| {
            world.publish(client, "a/rather/long/topic/name", "x", Qos::AtMostOnce);
            world.received_bytes(sub).len()
        });
        let last = sizes[3];
        if offered > 0 && asked > 0 {
            assert!(last < 12, "{sizes:?}");
        } else {
            assert_eq!(sizes, [sizes[0]; 4]);
        }
    }
}
