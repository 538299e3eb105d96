//! What is not said before it is stored.
use super::*;

// v5 [MQTT-4.3.2-4] v4 [MQTT-4.3.2-2]: ownership is taken with the acknowledgement
#[test]
fn nothing_is_acknowledged_before_it_is_stored() {
    let mut world = kept(Durability::Synced);
    world.broker.policy_mut().holds = true;
    let reader = world.open(Version::V5);
    let expiry = [Property::SessionExpiryInterval(3_600)];
    let mut hello = connect(Version::V5, "reader");
    hello.properties = Properties::from_slice(&expiry);
    world.send(reader, mqtt_broker_core::codec::Packet::Connect(hello));
    assert_eq!(world.received(reader), [""; 0], "CONNACK");
    store(&mut world);
    assert_eq!(world.received(reader), ["CONNACK 0x00"]);
    assert_eq!(world.subscribe(reader, "a", Qos::ExactlyOnce), [""; 0], "SUBACK");
    store(&mut world);
    assert_eq!(world.received(reader), ["SUBACK [0x02]"]);

    let writer = world.join(Version::V311, "writer"); // its session is not kept: nothing is to be stored
    world.publish(writer, "a", "1", Qos::AtLeastOnce);
    assert_eq!(world.received(writer), [""; 0], "PUBACK");
    assert_eq!(world.messages(reader), ["a 1"], "QoS 1 may come twice, so it need not wait");
    world.publish_with(writer, "a", "2", |publish| set_qos(publish, Qos::ExactlyOnce, 2));
    assert_eq!(world.received(writer), [""; 0], "PUBREC");
    assert_eq!(world.messages(reader), [""; 0], "the first sending of QoS 2");
    world.publish_with(writer, "nobody", "3", |publish| set_qos(publish, Qos::AtLeastOnce, 3));
    store(&mut world);
    assert_eq!(world.received(writer), ["PUBACK id1", "PUBREC id2", "PUBACK id3"], "in the order they came");
    assert_eq!(world.messages(reader), ["a 2"]);

    world.ack(reader, AckKind::Pubrec, 2);
    assert_eq!(world.received(reader), [""; 0], "PUBREL");
    store(&mut world);
    assert_eq!(world.received(reader), ["PUBREL id2"]);
    assert_eq!(world.unsubscribe(reader, "a"), [""; 0], "UNSUBACK");
    store(&mut world);
    assert_eq!(world.received(reader), ["UNSUBACK [0x00]"]);
    world.publish(reader, "b", "4", Qos::ExactlyOnce);
    assert_eq!(world.received(reader), [""; 0], "PUBREC of a session that is recorded");
    store(&mut world);
    assert_eq!(world.received(reader), ["PUBREC id1 0x10"]);
    world.ack(reader, AckKind::Pubrel, 1);
    assert_eq!(world.received(reader), [""; 0], "PUBCOMP");
    store(&mut world);
    assert_eq!(world.received(reader), ["PUBCOMP id1"]);
    assert_eq!(world.broker.stats().held_answers, 0);
}

#[test]
fn what_changes_nothing_waits_for_nothing() {
    let mut world = kept(Durability::Synced);
    let reader = stay(&mut world, "reader");
    world.subscribe(reader, "kept", Qos::AtLeastOnce);
    let other = world.join(Version::V5, "other");
    world.subscribe(other, "live", Qos::AtLeastOnce);
    world.broker.policy_mut().holds = true;
    let writer = world.join(Version::V5, "writer");
    world.publish(writer, "kept", "1", Qos::AtLeastOnce);
    world.publish_with(writer, "live", "2", |publish| set_qos(publish, Qos::AtLeastOnce, 2));
    world.publish(other, "live", "3", Qos::AtLeastOnce);
    assert_eq!(world.received(other), ["PUBLISH live 2 q1 id1", "PUBACK id1", "PUBLISH live 3 q1 id2"]);
    world.send(writer, mqtt_broker_core::codec::Packet::Pingreq);
    assert_eq!(world.received(writer), ["PINGRESP"], "behind what waits of its own, acknowledgements keep their order");
}

#[test]
fn what_is_buffered_waits_for_nothing() {
    let mut world = kept(Durability::Buffered);
    world.broker.policy_mut().holds = true;
    let reader = stay(&mut world, "reader");
    assert_eq!(world.subscribe(reader, "a", Qos::ExactlyOnce), ["SUBACK [0x02]"]);
    let writer = stay(&mut world, "writer");
    world.publish(writer, "a", "1", Qos::ExactlyOnce);
    assert_eq!(world.received(writer), ["PUBREC id1"]);
    assert_eq!(world.messages(reader), ["a 1"]);
    world.ack(reader, AckKind::Pubrec, 1);
    assert_eq!(world.received(reader), ["PUBREL id1"]);
    assert!(world.broker.policy().ops.len() >= 6, "but it is recorded");
}

#[test]
fn without_durability_nothing_is_recorded() {
    let mut world = kept(Durability::None);
    let reader = stay(&mut world, "reader");
    world.subscribe(reader, "a", Qos::ExactlyOnce);
    world.retain(reader, "a", "1");
    world.broker.ban(world.now, Ban::User("u".into()), None).unwrap();
    world.cut(reader);
    world.advance(2 * HOUR);
    assert!(world.broker.policy().ops.is_empty());
}

#[test]
fn a_listener_and_the_policy_s_terms_decide_for_their_clients() {
    let mut world = kept_with(|config| {
        let mut listener = ListenerConfig::default();
        listener.durability = Some(Durability::Synced);
        config.listeners.insert(7, listener);
    });
    world.broker.policy_mut().holds = true;
    assert_eq!(come_back(&mut world, "plain").1, ["CONNACK 0x00"]);
    let expiry = [Property::SessionExpiryInterval(3_600)];
    let kept = world.try_join_from(Peer::new(None, 7), Version::V5, "kept", |connect| {
        connect.properties = Properties::from_slice(&expiry);
    });
    assert_eq!(world.received(kept), [""; 0]);
    store(&mut world);
    assert_eq!(world.received(kept), ["CONNACK 0x00"]);
    assert_eq!(tables(&world)[0], (Table::Clients, 1));
}

#[test]
fn a_connection_that_ends_before_its_connack_is_stored_says_nothing() {
    let mut world = kept(Durability::Synced);
    world.broker.policy_mut().holds = true;
    let (old, came) = come_back(&mut world, "c");
    assert_eq!(came, [""; 0]);
    let (new, came) = come_back(&mut world, "c");
    assert_eq!(came, [""; 0]);
    assert_eq!((world.received(old), world.is_closed(old)), (vec![], true), "it is closed without a word");
    store(&mut world);
    assert_eq!(world.received(new), ["CONNACK 0x00 present"]);
}

#[test]
fn who_publishes_more_than_is_stored_is_not_read() {
    let mut world = kept_with(|config| {
        config.durability = Durability::Synced;
        config.max_unstored_bytes = 10_000;
    });
    let reader = stay(&mut world, "reader");
    world.subscribe(reader, "a", Qos::AtLeastOnce);
    let writer = world.join(Version::V311, "writer");
    let other = world.join(Version::V311, "other");
    world.broker.policy_mut().holds = true;
    let payload = "x".repeat(1_000);
    let mut sent = 0;
    while world.links[writer].reading {
        sent += 1;
        assert!(sent < 100, "it was read for ever");
        world.publish_with(writer, "a", &payload, |publish| set_qos(publish, Qos::AtLeastOnce, sent));
    }
    assert!(sent >= 10);
    assert!(world.broker.stats().unstored_bytes < 13_000);
    world.publish(other, "nobody", "1", Qos::AtLeastOnce);
    assert_eq!(world.received(other), ["PUBACK id1"], "who changes nothing is not in the way");
    assert_eq!(come_back(&mut world, "late").1, ["CONNACK 0x88"], "the store is behind: later");
    assert_eq!(world.broker.stats().limited(Limit::Unstored), 1);
    // silence while it is not read is not its own
    world.advance(1_000 * SECOND);
    store(&mut world);
    assert!(world.links[writer].reading);
    assert_eq!(world.received(writer).len(), usize::from(sent));
    assert_eq!(world.broker.stats().unstored_bytes, 0);
}

#[test]
fn answers_that_wait_are_bounded() {
    let mut world = kept(Durability::Synced);
    let name = stay(&mut world, "c");
    world.broker.policy_mut().holds = true;
    let mut asked = 0;
    while world.links[name].reading {
        asked += 1;
        assert!(asked < 10_000, "it was read for ever");
        world.subscribe(name, &format!("a/{}", asked % 100), Qos::AtLeastOnce);
    }
    assert_eq!(asked, 1_024);
    store(&mut world);
    assert!(world.links[name].reading);
    assert_eq!(world.received(name).len(), 1_024);
}
