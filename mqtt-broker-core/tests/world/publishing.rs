//! PUBLISH and its acknowledgements (sections 3.3 to 3.7, 4.3, 4.5, 4.6).
use crate::harness::*;
use mqtt_broker_core::codec::{AckKind, Packet, Properties, Property, Qos, TopicName, Utf8, Version};

#[test]
fn each_qos_is_answered_in_its_way() {
    // v5 [MQTT-3.3.4-1] [MQTT-4.3.2-4] [MQTT-4.3.3-8] [MQTT-4.3.3-11] v4 [MQTT-3.3.4-1]
    for version in [Version::V31, Version::V311, Version::V5] {
        let mut world = World::new();
        let sub = world.join(version, "sub");
        world.subscribe(sub, "t", Qos::ExactlyOnce);
        let client = world.join(version, "c");
        world.publish(client, "t", "x", Qos::AtMostOnce);
        assert!(world.received(client).is_empty());
        world.publish(client, "t", "x", Qos::AtLeastOnce);
        assert_eq!(world.received(client), ["PUBACK id1"]);
        world.publish_with(client, "t", "x", |publish| set_qos(publish, Qos::ExactlyOnce, 0x1234));
        assert_eq!(world.received(client), ["PUBREC id4660"]);
        world.ack(client, AckKind::Pubrel, 0x1234);
        assert_eq!(world.received(client), ["PUBCOMP id4660"]);
        assert_eq!(world.messages(sub).len(), 3);
    }
}

#[test]
fn a_release_of_nothing_is_answered_all_the_same() {
    // [X5-ACK-3]; pitfall 40
    let mut world = World::new();
    let new = world.join(Version::V5, "new");
    world.ack(new, AckKind::Pubrel, 99);
    assert_eq!(world.received_bytes(new), [0x70, 3, 0, 99, 0x92]);
    let old = world.join(Version::V311, "old");
    world.ack(old, AckKind::Pubrel, 99);
    assert_eq!(world.received_bytes(old), [0x70, 2, 0, 99]);
}

#[test]
fn a_publisher_learns_that_nobody_listens() {
    let mut world = World::new();
    let client = world.join(Version::V5, "c");
    world.publish(client, "t", "x", Qos::AtLeastOnce);
    assert_eq!(world.received(client), ["PUBACK id1 0x10"]);
    let old = world.join(Version::V311, "old");
    world.publish(old, "t", "x", Qos::AtLeastOnce);
    assert_eq!(world.received(old), ["PUBACK id1"]);
}

#[test]
fn nothing_of_the_publishers_own_packet_leaks_to_subscribers() {
    // v5 [MQTT-3.3.1-3] v4 [MQTT-3.3.1-3]; pitfalls 2 and 46
    let mut world = World::new();
    let sub = world.join(Version::V5, "sub");
    world.subscribe(sub, "t/#", Qos::AtLeastOnce);
    let client = world.join(Version::V5, "c");
    let alias = [Property::TopicAlias(3)];
    world.publish_with(client, "t/long", "one", |publish| {
        set_qos(publish, Qos::AtLeastOnce, 500);
        publish.dup = true;
        publish.properties = Properties::from_slice(&alias);
    });
    world.publish_with(client, "t/long", "two", |publish| {
        publish.topic = None;
        publish.properties = Properties::from_slice(&alias);
    });
    assert_eq!(world.received(sub), ["PUBLISH t/long one q1 id1", "PUBLISH t/long two q0"]);
}

#[test]
fn an_alias_dies_with_its_connection() {
    // v5 [MQTT-3.3.2-7]; pitfall 1
    let mut world = World::new();
    let alias = [Property::TopicAlias(1)];
    let keep = [Property::SessionExpiryInterval(100)];
    let join = |world: &mut World<_>| {
        world.try_join(Version::V5, "c", |connect| {
            connect.clean_start = false;
            connect.properties = Properties::from_slice(&keep);
        })
    };
    let client = join(&mut world);
    world.publish_with(client, "t", "x", |publish| publish.properties = Properties::from_slice(&alias));
    world.cut(client);
    let client = join(&mut world);
    world.received(client);
    world.publish_with(client, "t", "x", |publish| {
        publish.topic = None;
        publish.properties = Properties::from_slice(&alias);
    });
    assert_eq!(world.received(client), ["DISCONNECT 0x82"]);
    // above what was announced (v5 [MQTT-3.2.2-17]): its own code
    let client = join(&mut world);
    world.received(client);
    let high = [Property::TopicAlias(17)];
    world.publish_with(client, "t", "x", |publish| publish.properties = Properties::from_slice(&high));
    assert_eq!(world.received(client), ["DISCONNECT 0x94"]);
}

#[test]
fn what_belongs_to_the_message_is_forwarded_unchanged_and_in_order() {
    // v5 [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]; pitfall 59
    let mut world = World::new();
    let text = |text| Utf8::new(text).unwrap();
    let properties = [
        Property::UserProperty(text("b"), text("1")),
        Property::PayloadFormatIndicator(true),
        Property::UserProperty(text("a"), text("2")),
        Property::ResponseTopic(TopicName::new("r/1").unwrap()),
        Property::CorrelationData(&[0, 0xFF, 0x10]),
        Property::ContentType(text("text/plain")),
        Property::UserProperty(text("b"), text("1")),
    ];
    // one that is encoded at once, one that comes out of the queue
    for offline in [false, true] {
        let keep = [Property::SessionExpiryInterval(100)];
        let join = |world: &mut World<_>| {
            world.try_join(Version::V5, "sub", |connect| {
                connect.clean_start = false;
                connect.properties = Properties::from_slice(&keep);
            })
        };
        let mut sub = join(&mut world);
        world.subscribe(sub, "t", Qos::AtLeastOnce);
        if offline {
            world.cut(sub);
        }
        let client = world.join(Version::V5, "c");
        let qos = if offline { Qos::AtLeastOnce } else { Qos::AtMostOnce };
        world.publish_with(client, "t", "x", |publish| {
            set_qos(publish, qos, 1);
            publish.properties = Properties::from_slice(&properties);
        });
        if offline {
            sub = join(&mut world);
        }
        let bytes = world.received_bytes(sub);
        let at = bytes.windows(2).position(|pair| pair == [0x26, 0]).expect("a user property");
        let mut expected = Vec::new();
        expected.extend([0x26, 0, 1, b'b', 0, 1, b'1', 1, 1, 0x26, 0, 1, b'a', 0, 1, b'2', 8, 0, 3, b'r', b'/', b'1']);
        expected.extend([9, 0, 3, 0, 0xFF, 0x10, 3, 0, 10]);
        expected.extend(b"text/plain");
        expected.extend([0x26, 0, 1, b'b', 0, 1, b'1', b'x']);
        assert_eq!(bytes[at..], expected, "offline {offline}");
        // a 3.1.1 subscriber gets the message without them
        let old = world.join(Version::V311, "old");
        world.subscribe(old, "t", Qos::AtMostOnce);
        world.publish_with(client, "t", "x", |publish| publish.properties = Properties::from_slice(&properties));
        assert_eq!(world.received(old), ["PUBLISH t x q0"]);
        world.cut(old);
        world.received(sub);
    }
}

#[test]
fn a_message_that_waits_grows_old() {
    // v5 [MQTT-3.3.2-5] [MQTT-3.3.2-6]; pitfall 30
    let mut world = World::new();
    let keep = [Property::SessionExpiryInterval(100)];
    let sub = world.join_with(Version::V5, "sub", |connect| connect.properties = Properties::from_slice(&keep));
    world.subscribe(sub, "t", Qos::AtLeastOnce);
    world.cut(sub);
    let client = world.join(Version::V311, "c");
    let new = world.join(Version::V5, "new");
    for (seconds, text) in [(10, "later"), (2, "now")] {
        let expiry = [Property::MessageExpiryInterval(seconds)];
        world.publish_with(new, "t", text, |publish| {
            set_qos(publish, Qos::AtLeastOnce, 1);
            publish.properties = Properties::from_slice(&expiry);
        });
    }
    world.publish(client, "t", "never", Qos::AtLeastOnce);
    world.advance(3 * SECOND);
    let sub = world.try_join(Version::V5, "sub", |connect| connect.clean_start = false);
    assert_eq!(world.received(sub)[1..], ["PUBLISH t later q1 id1 expiry7", "PUBLISH t never q1 id2"]);
    assert_eq!(world.broker.stats().dropped_expired, 1);
}

#[test]
fn a_message_too_large_for_one_client_reaches_the_others() {
    // v5 [MQTT-3.1.2-24] [MQTT-3.1.2-25]; pitfalls 32 and 33
    let mut world = World::new();
    let limits = [Property::MaximumPacketSize(20), Property::ReceiveMaximum(1)];
    let small = world.join_with(Version::V5, "small", |connect| connect.properties = Properties::from_slice(&limits));
    let other = world.join(Version::V5, "other");
    for sub in [small, other] {
        world.subscribe(sub, "t", Qos::AtLeastOnce);
    }
    let client = world.join(Version::V311, "c");
    // 2 header, 3 topic, 2 identifier, 1 property length: 12 bytes of payload make 20
    for payload in ["thirteen byte", "twelve bytes"] {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce] {
            world.publish(client, "t", payload, qos);
        }
    }
    world.publish(client, "t", "ten, fifteen.", Qos::AtMostOnce);
    // at QoS 0 there is no identifier, so that one byte more fits
    assert_eq!(world.messages(small), ["t thirteen byte", "t twelve bytes", "t twelve bytes", "t ten, fifteen."]);
    assert_eq!(world.messages(other).len(), 5);
    assert_eq!(world.broker.stats().dropped_too_large, 1);
}

#[test]
fn one_publishers_messages_arrive_in_the_order_it_sent_them() {
    // v5 [MQTT-4.6.0-5] [MQTT-4.6.0-6] v4 [MQTT-4.6.0-5] [MQTT-4.6.0-6]
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let mut world = World::new();
        let sub = world.join(Version::V311, "sub");
        world.subscribe(sub, "t", qos);
        let client = world.join(Version::V311, "c");
        let (mut got, mut expected) = (Vec::new(), Vec::new());
        for n in 1..=1000u16 {
            world.publish_with(client, "t", &n.to_string(), |publish| set_qos(publish, qos, n));
            expected.push(n.to_string());
            for line in world.received(sub) {
                let mut words = line.split(' ');
                if words.next() == Some("PUBLISH") {
                    got.push(words.nth(1).unwrap().to_string());
                    if let Some(id) = line.split(" id").nth(1).map(|id| id.parse().unwrap()) {
                        let kind = if qos == Qos::AtLeastOnce { AckKind::Puback } else { AckKind::Pubrec };
                        world.ack(sub, kind, id);
                        if kind == AckKind::Pubrec {
                            world.ack(sub, AckKind::Pubcomp, id);
                        }
                    }
                }
            }
            if qos == Qos::ExactlyOnce {
                world.ack(client, AckKind::Pubrel, n);
            }
        }
        assert_eq!(got, expected);
    }
}

#[test]
fn more_unfinished_messages_than_announced_end_the_connection() {
    // v5 [MQTT-3.3.4-7] [X5-PUB-6]; pitfall 8
    let mut world = World::configured(|config| config.server.receive_maximum = 2);
    let client = world.join(Version::V5, "c");
    for n in 1..=2 {
        world.publish_with(client, "t", "x", |publish| set_qos(publish, Qos::ExactlyOnce, n));
    }
    assert_eq!(world.received(client).len(), 2);
    world.publish_with(client, "t", "x", |publish| set_qos(publish, Qos::ExactlyOnce, 3));
    assert_eq!(world.received(client), ["DISCONNECT 0x93"]);
}

#[test]
fn what_the_server_does_not_offer_is_refused_with_its_code() {
    // v5 [MQTT-3.2.2-9] [MQTT-3.2.2-11] [MQTT-3.2.2-12] [MQTT-3.2.2-13] [MQTT-3.2.2-14] [X5-CACK-4] [X5-CACK-5]
    let narrow = |config: &mut mqtt_broker_core::Config| {
        config.server.maximum_qos = Qos::AtLeastOnce;
        config.server.retain_available = false;
    };
    let mut world = World::configured(narrow);
    let client = world.try_join(Version::V5, "c", |_| {});
    let announced = connack_properties(Version::V5, &world.received_bytes(client));
    assert!(announced.iter().any(|line| line.starts_with("MaximumQos")), "{announced:?}");
    assert!(announced.contains(&"RetainAvailable(false)".to_string()), "{announced:?}");
    // v5 [MQTT-3.2.2-10]: a subscription is granted what there is
    assert_eq!(world.subscribe(client, "t", Qos::ExactlyOnce), ["SUBACK [0x01]"]);
    world.publish(client, "t", "x", Qos::ExactlyOnce);
    assert_eq!(world.received(client), ["DISCONNECT 0x9B"]);
    let client = world.join(Version::V5, "c");
    world.retain(client, "t", "x");
    assert_eq!(world.received(client), ["DISCONNECT 0x9A"]);
    for (qos, retain, code) in [(Qos::ExactlyOnce, false, "CONNACK 0x9B"), (Qos::AtMostOnce, true, "CONNACK 0x9A")] {
        let client = world.try_join(Version::V5, "w", |connect| {
            connect.will = Some(mqtt_broker_core::codec::Will { qos, retain, ..will("w", "x") })
        });
        assert_eq!(world.received(client), [code]);
    }
}

#[test]
fn the_embedding_program_publishes_like_anybody() {
    let mut world = World::new();
    let sub = world.join(Version::V5, "sub");
    world.subscribe(sub, "t/#", Qos::AtLeastOnce);
    let name = TopicName::new("t/local").unwrap();
    let mut publication = mqtt_broker_core::Publication::new(name, b"hello");
    publication.qos = Qos::AtLeastOnce;
    assert_eq!(world.broker.publish(world.now, &publication), Ok(1));
    world.turn();
    assert_eq!(world.received(sub), ["PUBLISH t/local hello q1 id1"]);
}

#[test]
fn a_ping_is_answered_whatever_waits() {
    // v5 [MQTT-3.3.4-9] [MQTT-3.3.4-10] [MQTT-4.9.0-2] [MQTT-4.9.0-3] [MQTT-3.12.4-1] v4 [MQTT-3.12.4-1]; pitfalls 4 to 7
    let mut world = World::new();
    let window = [Property::ReceiveMaximum(2)];
    let sub = world.join_with(Version::V5, "sub", |connect| connect.properties = Properties::from_slice(&window));
    world.subscribe(sub, "t", Qos::ExactlyOnce);
    let client = world.join(Version::V311, "c");
    for n in 1..=5 {
        world.publish_with(client, "t", &n.to_string(), |publish| set_qos(publish, Qos::ExactlyOnce, n));
    }
    assert_eq!(world.messages(sub), ["t 1", "t 2"]);
    world.send(sub, Packet::Pingreq);
    assert_eq!(world.received(sub), ["PINGRESP"]);
    world.ack(sub, AckKind::Pubrec, 1);
    assert_eq!(world.received(sub), ["PUBREL id1"], "a slot is free at PUBCOMP, not before");
    world.ack(sub, AckKind::Pubcomp, 1);
    assert_eq!(world.messages(sub), ["t 3"]);
    // a refusal frees the slot too (v5 [MQTT-4.4.0-2]; pitfall 42)
    let refused = mqtt_broker_core::codec::Ack {
        kind: AckKind::Pubrec,
        packet_id: id(2),
        reason: mqtt_broker_core::codec::ReasonCode::UNSPECIFIED_ERROR,
        properties: Properties::EMPTY,
    };
    world.send(sub, Packet::Ack(refused));
    assert_eq!(world.messages(sub), ["t 4"]);
}
