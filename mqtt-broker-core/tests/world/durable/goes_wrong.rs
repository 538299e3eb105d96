//! Stores that are damaged, cannot be read, or grow; and the end of a broker.
use super::*;

// v4 [MQTT-4.8.0-2] v5 [MQTT-4.13.1-1]
#[test]
fn a_message_for_a_session_that_cannot_be_read_is_not_acknowledged() {
    let mut world = kept(Durability::Synced);
    let reader = stay(&mut world, "reader");
    world.subscribe(reader, "a", Qos::AtLeastOnce);
    let mut world = crash(world, 0);
    world.broker.policy_mut().fails = true;
    for version in [Version::V311, Version::V5] {
        let writer = world.join(version, "writer");
        world.publish(writer, "a", "1", Qos::AtLeastOnce);
        let came = world.received(writer);
        assert!(!came.iter().any(|line| line.starts_with("PUBACK")), "{came:?}");
        assert!(world.is_closed(writer));
    }
    assert_eq!(world.broker.stats().dropped_not_loaded, 2);
    let (reader, came) = come_back(&mut world, "reader");
    assert_eq!(came, ["CONNACK 0x88"], "it may come again");
    assert!(world.is_closed(reader));
    world.broker.policy_mut().fails = false;
    let writer = world.join(Version::V5, "writer");
    world.publish(writer, "a", "1", Qos::AtLeastOnce);
    assert_eq!(world.received(writer), ["PUBACK id1"]);
    assert_eq!(come_back(&mut world, "reader").1, ["CONNACK 0x00 present", "PUBLISH a 1 q1 id1"]);
}

// S20
#[test]
fn a_session_whose_records_are_damaged_is_lost_alone_and_told() {
    let mut world = kept(Durability::Synced);
    for id in ["broken", "whole"] {
        let name = stay(&mut world, id);
        world.subscribe(name, "a", Qos::AtLeastOnce);
    }
    let key = StoreKey::new(Table::Sessions, b"broken");
    let junk = mqtt_broker_core::store::StoreRecord::Bytes(b"junk".as_slice().into());
    let ops = [StoreOp { key, action: StoreAction::Put(junk) }];
    world.broker.policy().store.lock().unwrap().write(&ops, Epoch::default()).unwrap();
    world.broker.policy().store.lock().unwrap().sync().unwrap();
    let mut world = crash(world, 0);
    assert_eq!(come_back(&mut world, "broken").1, ["CONNACK 0x00"], "not present");
    assert_eq!(come_back(&mut world, "whole").1, ["CONNACK 0x00 present"]);
    assert_eq!(world.broker.stats().sessions_lost, 1);
    let lost = |event: &Event| matches!(event, Event::SessionLost { client } if client.as_str() == "broken");
    assert!(world.events().iter().any(lost));
}

// S20
#[test]
fn records_torn_at_every_byte_or_with_any_bit_turned_are_refused() {
    let mut world = kept(Durability::Synced);
    let name = world.join_with(Version::V5, "c", |connect| {
        connect.will = Some(will("will", "1"));
        connect.user_name = Some(mqtt_broker_core::codec::Utf8::new("ada").unwrap());
    });
    world.subscribe(name, "my/own", Qos::AtLeastOnce);
    world.retain(name, "kept", "1");
    world.broker.ban(world.now, Ban::User("u".into()), None).unwrap();
    world.turn();
    let mut store = world.broker.policy().store.lock().unwrap().clone();
    for table in [Table::Clients, Table::Retained, Table::Bans] {
        let mut names = Vec::new();
        store.names(table, &mut |name| names.push(name.to_vec())).unwrap();
        for name in names {
            let key = StoreKey::new(table, &name);
            let mut list = Vec::new();
            store.load(&key, &mut |record| list.push(record.to_vec())).unwrap();
            let fresh = || {
                Broker::new(Config::default(), mqtt_broker_core::AllowAll, mqtt_broker_core::topic::HashSeed::new(1, 2))
                    .unwrap()
            };
            let epoch = Epoch::default();
            fresh().restore(Instant::ZERO, epoch, &key, &list).unwrap();
            for at in 0..list.len() {
                for cut in 0..list[at].len() {
                    let mut torn = list.clone();
                    torn[at].truncate(cut);
                    assert!(fresh().restore(Instant::ZERO, epoch, &key, &torn).is_err(), "{table:?} {at} cut at {cut}");
                    for bit in 0..8 {
                        let mut turned = list.clone();
                        turned[at][cut] ^= 1 << bit;
                        assert!(fresh().restore(Instant::ZERO, epoch, &key, &turned).is_err());
                    }
                }
            }
        }
    }
}

#[test]
fn lists_are_written_anew_before_they_grow() {
    let mut world = kept(Durability::Synced);
    let reader = stay(&mut world, "reader");
    world.subscribe(reader, "a", Qos::AtLeastOnce);
    let writer = world.join(Version::V5, "writer");
    for turn in 0..1_000 {
        world.publish(writer, "a", "1", Qos::AtLeastOnce);
        let number = turn % 65_535 + 1;
        assert_eq!(world.received(reader), [format!("PUBLISH a 1 q1 id{number}")]);
        world.ack(reader, AckKind::Puback, number);
        world.subscribe(reader, "a", Qos::AtLeastOnce);
        world.received(writer);
    }
    assert!(records(&world, Table::Sessions, "reader") < 100);
    assert!(records(&world, Table::Clients, "reader") < 100);
    let mut world = crash(world, 0);
    assert_eq!(come_back(&mut world, "reader").1, ["CONNACK 0x00 present"]);
}

#[test]
fn a_shutdown_leaves_the_wills_of_those_who_may_come_back() {
    let mut world = kept(Durability::Synced);
    let delay = [Property::WillDelayInterval(100)];
    let expiry = [Property::SessionExpiryInterval(3_600)];
    world.join_with(Version::V5, "c", |connect| {
        connect.will = Some(will("will", "1"));
        connect.will.as_mut().unwrap().properties = Properties::from_slice(&delay);
        connect.properties = Properties::from_slice(&expiry);
    });
    world.broker.shutdown(world.now);
    world.turn();
    assert!(!world.events().iter().any(|event| matches!(event, Event::WillPublished { .. })));
    let mut world = crash(world, 100 * SECOND);
    world.advance(0);
    assert!(world.events().iter().any(|event| matches!(event, Event::WillPublished { .. })));
}
