//! CONNECT, CONNACK, takeover (sections 3.1, 3.2; wire reference 9 and 15).
use crate::harness::*;
use mqtt_broker_core::codec::{Packet, Properties, Property, Utf8, Version};
use mqtt_broker_core::{AllowAll, Cause, Event, Peer};

const ALL: [Version; 3] = [Version::V31, Version::V311, Version::V5];

#[test]
fn every_version_is_let_in_and_pinged() {
    for version in ALL {
        let mut world = World::new();
        let client = world.join(version, "c1");
        world.send(client, Packet::Pingreq);
        assert_eq!(world.received(client), ["PINGRESP"]);
    }
}

#[test]
fn a_version_that_is_switched_off_is_told_so() {
    // v5 [MQTT-3.1.2-2] v4 [MQTT-3.1.2-2]
    let mut world = World::configured(|config| config.versions.v5 = false);
    let client = world.try_join(Version::V5, "c1", |_| {});
    assert_eq!(world.received_bytes(client), [0x20, 3, 0, 0x84, 0]);
    assert!(world.is_closed(client));
    let mut world = World::configured(|config| config.versions.v311 = false);
    let client = world.try_join(Version::V311, "c1", |_| {});
    assert_eq!(world.received_bytes(client), [0x20, 2, 0, 1]);
    assert!(world.is_closed(client));
}

#[test]
fn an_unknown_level_gets_the_answer_of_its_time() {
    for (level, answer) in [(6, vec![0x20, 3, 0, 0x84, 0]), (2, vec![0x20, 2, 0, 1])] {
        let mut world = World::new();
        let client = world.open(Version::V5);
        world.send_bytes(client, &[0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', level, 2, 0, 0, 0, 1, b'a']);
        assert_eq!(world.received_bytes(client), answer);
        assert!(world.is_closed(client));
    }
}

#[test]
fn a_second_client_with_the_same_id_takes_over() {
    // v5 [MQTT-3.1.4-3] v4 [MQTT-3.1.4-2]
    let mut world = World::new();
    let first = world.join(Version::V5, "c1");
    let second = world.join(Version::V5, "c1");
    assert_eq!(world.received(first), ["DISCONNECT 0x8E"]);
    assert!(world.is_closed(first) && !world.is_closed(second));
    // an older client is only closed
    let third = world.join(Version::V311, "c1");
    let fourth = world.join(Version::V311, "c1");
    assert!(world.received(third).is_empty() && world.is_closed(third) && !world.is_closed(fourth));
    assert_eq!(world.broker.stats().sessions, 1);
}

#[test]
fn a_storm_of_clients_with_one_id_leaves_one_connection_and_one_session() {
    // S14
    let mut world = World::new();
    let mut names = Vec::new();
    for round in 0..200u32 {
        let version = ALL[(round as usize * 7) % 3];
        names.push(world.try_join(version, "c1", |connect| connect.clean_start = round % 2 == 0));
    }
    assert_eq!(names.iter().filter(|&&name| !world.is_closed(name)).count(), 1);
    let stats = world.broker.stats();
    assert_eq!((stats.connections, stats.sessions), (1, 1));
}

#[test]
fn an_empty_client_id_is_given_one_to_come_back_with() {
    // v5 [MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16] v4 [MQTT-3.1.3-6]; pitfall 36
    let mut world = World::new();
    let mut assigned = std::collections::BTreeSet::new();
    for _ in 0..1000 {
        let client = world.try_join(Version::V5, "", |_| {});
        let properties = connack_properties(Version::V5, &world.received_bytes(client));
        let id = properties.iter().find(|line| line.starts_with("AssignedClientIdentifier")).unwrap().clone();
        assert!(assigned.insert(id), "given twice");
        world.goodbye(client);
    }
    // before 5.0 nobody is told, and two of them do not meet
    let first = world.join(Version::V311, "");
    let second = world.join(Version::V311, "");
    assert!(!world.is_closed(first) && !world.is_closed(second));
}

#[test]
fn an_assigned_id_can_be_used_to_resume() {
    // v5 [MQTT-3.1.3-7]
    let mut world = World::new();
    let expiry = [Property::SessionExpiryInterval(60)];
    let client = world.try_join(Version::V5, "", |connect| connect.properties = Properties::from_slice(&expiry));
    let properties = connack_properties(Version::V5, &world.received_bytes(client));
    let id = properties
        .iter()
        .find_map(|line| line.strip_prefix("AssignedClientIdentifier(\"")?.strip_suffix("\")"))
        .unwrap()
        .to_string();
    world.cut(client);
    let again = world.try_join(Version::V5, &id, |connect| connect.clean_start = false);
    assert_eq!(world.received(again), ["CONNACK 0x00 present"]);
}

#[test]
fn client_ids_that_a_version_does_not_allow_are_rejected() {
    // v4 [MQTT-3.1.3-7] [MQTT-3.1.3-8] [MQTT-3.1.3-9] [X31-CON-2] v5 [MQTT-3.1.3-8]; pitfall 37
    let mut world = World::configured(|config| config.max_client_id = 30);
    let long = "x".repeat(31);
    for (version, id, clean, answer) in [
        (Version::V311, "", false, [0x20, 2, 0, 2].as_slice()),
        (Version::V31, "", true, &[0x20, 2, 0, 2]),
        (Version::V31, "123456789012345678901234", true, &[0x20, 2, 0, 2]),
        (Version::V311, &long, true, &[0x20, 2, 0, 2]),
        (Version::V5, &long, true, &[0x20, 3, 0, 0x85, 0]),
    ] {
        let client = world.try_join(version, id, |connect| connect.clean_start = clean);
        assert_eq!(world.received_bytes(client), answer, "{version:?} {id:?}");
        assert!(world.is_closed(client));
    }
    // v5 [MQTT-3.1.3-5] v4 [MQTT-3.1.3-5]
    for version in ALL {
        world.join(version, "0123456789abcdefABCDEFG");
    }
}

#[test]
fn what_follows_a_rejected_connect_is_not_processed() {
    // v5 [MQTT-3.1.4-6] v4 [MQTT-3.1.4-5]; pitfall 51
    let mut world = World::new();
    let watcher = world.join(Version::V311, "watcher");
    world.subscribe(watcher, "#", mqtt_broker_core::codec::Qos::AtMostOnce);
    let client = world.open(Version::V311);
    let mut bytes = Vec::new();
    let mut bad = connect(Version::V311, "");
    bad.clean_start = false;
    Packet::Connect(bad).encode(Version::V311, &mut bytes).unwrap();
    bytes.extend([0x30, 4, 0, 1, b'a', b'!']);
    world.send_bytes(client, &bytes);
    assert_eq!(world.received(client), ["CONNACK 0x85"]);
    assert!(world.is_closed(client) && world.received(watcher).is_empty());
}

#[test]
fn what_comes_in_one_piece_with_a_good_connect_is_processed() {
    // [X5-CON-9]
    let mut world = World::new();
    let client = world.open(Version::V311);
    let mut bytes = Vec::new();
    Packet::Connect(connect(Version::V311, "c1")).encode(Version::V311, &mut bytes).unwrap();
    bytes.extend([0x82, 6, 0, 1, 0, 1, b'a', 0, 0x30, 4, 0, 1, b'a', b'!']);
    world.send_bytes(client, &bytes);
    let received = world.received(client);
    // v5 [MQTT-3.2.0-1] v4 [MQTT-3.2.0-1]: CONNACK comes first
    assert_eq!(received[0], "CONNACK 0x00");
    assert!(
        received.contains(&"SUBACK [0x00]".to_string()) && received.contains(&"PUBLISH a ! q0".to_string()),
        "{received:?}"
    );
}

#[test]
fn an_authentication_method_is_refused() {
    // v5 [MQTT-4.12.0-1] [X5-AUTH-4]
    let mut world = World::new();
    let method = [Property::AuthenticationMethod(mqtt_broker_core::codec::Utf8::new("NOPE").unwrap())];
    let client = world.try_join(Version::V5, "c1", |connect| connect.properties = Properties::from_slice(&method));
    assert_eq!(world.received(client), ["CONNACK 0x8C"]);
    assert!(world.is_closed(client));
}

#[test]
fn a_wrong_value_in_connect_is_answered_in_connack() {
    // [X5-CON-2]; pitfall 52: never a DISCONNECT before CONNACK (v5 [MQTT-3.14.0-1])
    let mut world = World::new();
    let client = world.open(Version::V5);
    world.send_bytes(client, &[0x10, 17, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 0, 3, 0x21, 0, 0, 0, 1, b'a']);
    let received = world.received(client);
    assert_eq!(received, ["CONNACK 0x82"]);
    assert!(world.is_closed(client));
}

#[test]
fn silence_before_connect_is_not_waited_for_for_ever() {
    // [X5-CON-8] [X311-CON-1] S18
    let mut world = World::new();
    let client = world.open(Version::V311);
    world.advance(9 * SECOND);
    assert!(!world.is_closed(client));
    world.advance(2 * SECOND);
    assert!(world.is_closed(client) && world.received_bytes(client).is_empty());
}

#[test]
fn one_and_a_half_keep_alives_of_silence_end_a_connection() {
    // v5 [MQTT-3.1.2-22] v4 [MQTT-3.1.2-24]; pitfall 50
    let mut world = World::new();
    let client = world.join_with(Version::V5, "c1", |connect| connect.keep_alive = 2);
    for _ in 0..5 {
        world.advance(2_900);
        world.send(client, Packet::Pingreq);
    }
    assert!(!world.is_closed(client));
    world.advance(2_990);
    assert!(!world.is_closed(client));
    world.advance(20);
    assert!(world.is_closed(client));
    assert_eq!(world.received(client).last().unwrap(), "DISCONNECT 0x8D");
}

#[test]
fn traffic_to_a_client_does_not_keep_it_alive() {
    let mut world = World::new();
    let client = world.join_with(Version::V311, "c1", |connect| connect.keep_alive = 2);
    world.subscribe(client, "a", mqtt_broker_core::codec::Qos::AtMostOnce);
    let other = world.join(Version::V311, "c2");
    for _ in 0..4 {
        world.advance(SECOND);
        world.publish(other, "a", "x", mqtt_broker_core::codec::Qos::AtMostOnce);
    }
    assert!(world.is_closed(client));
}

#[test]
fn the_host_is_told_who_came_and_went() {
    let mut world = World::new();
    let client = world.join(Version::V5, "c1");
    world.goodbye(client);
    let events = world.events();
    assert!(
        matches!(&events[0], Event::Connected { client, session_present: false, .. } if client.as_str() == "c1"),
        "{events:?}"
    );
    assert!(
        matches!(&events[1], Event::Disconnected { cause: Cause::Goodbye(reason), .. } if reason.0 == 0),
        "{events:?}"
    );
    assert!(matches!(&events[2], Event::SessionEnded { .. }), "{events:?}");
}

#[test]
fn shutting_down_tells_everybody_and_refuses_newcomers() {
    let mut world = World::new();
    let new = world.join(Version::V5, "new");
    let old = world.join(Version::V311, "old");
    world.broker.shutdown(world.now);
    world.turn();
    assert_eq!(world.received(new), ["DISCONNECT 0x8B"]);
    assert!(world.received(old).is_empty());
    assert!(world.is_closed(new) && world.is_closed(old));
    assert_eq!(world.broker.connections(), 0);
    assert!(world.broker.handle_open(world.now, Default::default()).is_err());
}

#[test]
fn what_the_transport_has_proven_stands_in_the_place_of_the_user_name() {
    // S8: a session belongs to the identity in the certificate, whatever name its CONNECT gives
    let mut world = World::new();
    let connect = |world: &mut World<AllowAll>, proven: Option<&str>, says: Option<&'static str>| {
        let name = world.open(Version::V5);
        if let Some(proven) = proven {
            world.broker.set_peer(world.links[name].id, Peer::default().with_identity(proven));
        }
        let mut connect = connect(Version::V5, "c1");
        (connect.clean_start, connect.user_name) = (false, says.map(|name| Utf8::new(name).unwrap()));
        world.send(name, Packet::Connect(connect));
        (name, world.received_bytes(name)[3])
    };
    let (ann, accepted) = connect(&mut world, Some("ann"), None);
    assert_eq!(accepted, 0);
    let (_, thief) = connect(&mut world, Some("bob"), Some("ann"));
    assert_eq!(thief, 0x87);
    let (_, liar) = connect(&mut world, None, Some("bob"));
    assert_eq!(liar, 0x87);
    assert!(!world.is_closed(ann));
    let (_, again) = connect(&mut world, Some("ann"), Some("bob"));
    assert_eq!(again, 0);
}
