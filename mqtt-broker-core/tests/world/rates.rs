//! How fast clients may publish and connect, what happens to those who are faster, and what a listener may have for itself.
use crate::harness::*;
use core::time::Duration;
use mqtt_broker_core::codec::{Packet, Qos, ReasonCode, TopicName, Utf8, Version};
use mqtt_broker_core::{
    AllowAll, Ban, Cause, Event, Flapping, Limit, ListenerConfig, OpenError, OverRate, Peer, Publication, Rate,
    Versions,
};

const TEN: Option<Rate> = Some(Rate { per_second: 10, burst: 3 });

fn paced(over: OverRate) -> World<AllowAll> {
    World::configured(|config| {
        config.client_rates.messages = TEN;
        config.over_rate = over;
    })
}

fn peer(address: &str, listener: u32) -> Peer {
    Peer::new(Some(address.parse().unwrap()), listener)
}

#[test]
fn a_client_that_publishes_too_fast_waits_and_loses_nothing() {
    let mut world = paced(OverRate::Pause);
    let sub = world.join(Version::V5, "sub");
    world.subscribe(sub, "t", Qos::AtMostOnce);
    let client = world.join_with(Version::V5, "c", |connect| connect.keep_alive = 1);
    for n in 0..23 {
        // what its host had read already is kept
        world.publish(client, "t", &n.to_string(), Qos::AtMostOnce);
    }
    assert!(!world.links[client].reading);
    assert_eq!(world.messages(sub).len(), 3, "the burst");
    world.advance(1_000);
    let got = world.messages(sub).len();
    assert!((9..=11).contains(&got), "{got} in a second");
    world.advance(1_100);
    assert_eq!(world.messages(sub).last().unwrap(), "t 22");
    assert!(world.links[client].reading && !world.is_closed(client), "its waiting is no silence");
    assert!(world.broker.stats().limited(Limit::MessageRate) > 10);
    assert_eq!(world.broker.stats().dropped_denied, 0);
}

#[test]
fn a_client_that_publishes_too_fast_loses_messages_where_that_is_the_policy() {
    let mut world = paced(OverRate::Drop);
    let sub = world.join(Version::V5, "sub");
    world.subscribe(sub, "t", Qos::AtLeastOnce);
    let client = world.join(Version::V5, "c");
    for n in 1..=5 {
        world.publish_with(client, "t", "x", |publish| set_qos(publish, Qos::AtLeastOnce, n));
    }
    assert_eq!(world.messages(sub).len(), 3);
    let answers = world.received(client);
    assert_eq!(answers[2..], ["PUBACK id3", "PUBACK id4 0x97", "PUBACK id5 0x97"]);
    let events = world.events();
    let met = |event: &&Event| matches!(event, Event::Limited { limit: Limit::MessageRate, client: Some(id), .. } if id.as_str() == "c");
    assert_eq!(events.iter().filter(met).count(), 2);
    world.advance(100);
    world.publish(client, "t", "x", Qos::AtMostOnce);
    assert_eq!(world.messages(sub).len(), 1, "its bucket fills again");
}

#[test]
fn a_client_that_publishes_too_fast_is_disconnected_where_that_is_the_policy() {
    let mut world = paced(OverRate::Disconnect);
    let client = world.join(Version::V5, "c");
    for _ in 0..4 {
        world.publish(client, "t", "x", Qos::AtMostOnce);
    }
    assert_eq!(world.received(client), ["DISCONNECT 0x96"]);
    assert!(world.is_closed(client));
    let cause = Cause::Ended(ReasonCode::MESSAGE_RATE_TOO_HIGH);
    assert!(world.events().iter().any(|event| matches!(event, Event::Disconnected { cause: c, .. } if *c == cause)));
}

#[test]
fn bytes_are_limited_too_and_a_message_larger_than_the_burst_is_paid_for_afterwards() {
    let mut world = World::configured(|config| {
        config.client_rates.bytes = Some(Rate { per_second: 1_000, burst: 1_000 });
    });
    let sub = world.join(Version::V5, "sub");
    world.subscribe(sub, "t", Qos::AtMostOnce);
    let client = world.join(Version::V5, "c");
    world.publish(client, "t", &"x".repeat(5_000), Qos::AtMostOnce);
    world.publish(client, "t", "behind", Qos::AtMostOnce);
    assert_eq!(world.messages(sub).len(), 1);
    world.advance(3_900);
    assert_eq!(world.messages(sub).len(), 0, "5,001 bytes are a debt of four seconds");
    world.advance(200);
    assert_eq!(world.messages(sub), ["t behind"]);
    assert_eq!(world.broker.stats().limited(Limit::ByteRate), 2, "each pause counts");
}

#[test]
fn the_clients_of_a_listener_share_its_rate() {
    let mut world = World::configured(|config| {
        let mut listener = ListenerConfig::default();
        listener.publish_rates.messages = TEN;
        config.listeners.insert(1, listener);
        config.over_rate = OverRate::Drop;
    });
    let here: Vec<Name> =
        (0..2).map(|n| world.try_join_from(Peer::new(None, 1), Version::V5, &format!("h{n}"), |_| {})).collect();
    let there = world.join(Version::V5, "there");
    for n in 1..=2 {
        for &client in &here {
            world.publish_with(client, "t", "x", |publish| set_qos(publish, Qos::AtLeastOnce, n));
        }
        world.publish_with(there, "t", "x", |publish| set_qos(publish, Qos::AtLeastOnce, n));
    }
    let codes: Vec<_> =
        here.iter().flat_map(|&client| world.received(client)).filter(|line| line.contains("0x97")).collect();
    assert_eq!(codes, ["PUBACK id2 0x97"]);
    assert_eq!(world.received(there), ["PUBACK id1 0x10", "PUBACK id2 0x10"], "another listener");
}

#[test]
fn one_that_goes_while_it_waits_leaves_no_deadline_behind() {
    let mut world = World::configured(|config| {
        config.client_rates.messages = Some(Rate { per_second: 1, burst: 1 });
    });
    for _ in 0..3 {
        let client = world.join(Version::V5, "c");
        world.publish(client, "t", "x", Qos::AtMostOnce);
        assert!(!world.links[client].reading);
        world.cut(client);
    }
    assert_eq!(world.broker.poll_timeout(), None);
}

#[test]
fn connections_from_one_address_come_at_most_so_fast() {
    let mut world = World::configured(|config| config.address_rate = TEN);
    let open = |world: &mut World<AllowAll>, address: &str| world.open_from(Version::V5, peer(address, 0)).map(drop);
    for n in 0..3 {
        open(&mut world, &format!("192.0.2.1:{n}")).unwrap();
    }
    assert_eq!(open(&mut world, "192.0.2.1:9"), Err(OpenError::TooFast));
    open(&mut world, "192.0.2.2:1").unwrap();
    world.advance(100);
    open(&mut world, "192.0.2.1:9").unwrap();
    // who has one address of IPv6 has all of its last half
    for n in 0..3 {
        open(&mut world, &format!("[2001:db8::{n}]:1")).unwrap();
    }
    assert_eq!(open(&mut world, "[2001:db8::ffff]:1"), Err(OpenError::TooFast));
    open(&mut world, "[2001:db8:0:1::1]:1").unwrap();
    assert_eq!(world.broker.stats().limited(Limit::ConnectionRate), 2);
}

#[test]
fn a_storm_of_reconnects_after_a_restart_is_let_in_at_the_pace_the_broker_bears() {
    // S19
    let mut world = World::configured(|config| config.admission_rate = Some(Rate { per_second: 100, burst: 50 }));
    let join = |world: &mut World<AllowAll>, n: u32| {
        let client = world.try_join(Version::V5, &format!("c{n}"), |_| {});
        match world.received(client)[0].as_str() {
            "CONNACK 0x00" => true,
            "CONNACK 0x89" => false,
            other => panic!("{other}"),
        }
    };
    assert_eq!((0..1_000).filter(|n| join(&mut world, *n)).count(), 50);
    assert_eq!(world.broker.stats().sessions, 50, "nothing is kept for those who have to wait");
    world.advance(200);
    assert_eq!((50..1_000).filter(|n| join(&mut world, *n)).count(), 20);
    assert_eq!(world.broker.stats().limited(Limit::Admission), 950 + 930);
    // before 5.0: 3, server unavailable
    let old = world.try_join(Version::V311, "old", |_| {});
    assert_eq!(world.received_bytes(old), [0x20, 2, 0, 3]);
}

#[test]
fn a_client_that_flaps_is_banned_for_a_time() {
    let mut world = World::configured(|config| {
        config.flapping =
            Some(Flapping { connects: 5, within: Duration::from_secs(60), ban_for: Duration::from_secs(300) });
    });
    let connect = |world: &mut World<AllowAll>, id: &str| {
        let client = world.try_join(Version::V5, id, |_| {});
        let answer = world.received(client).remove(0);
        if !world.is_closed(client) {
            world.cut(client);
        }
        answer
    };
    for _ in 0..5 {
        assert_eq!(connect(&mut world, "flappy"), "CONNACK 0x00");
        world.advance(SECOND);
    }
    assert_eq!(connect(&mut world, "flappy"), "CONNACK 0x8A");
    assert_eq!(connect(&mut world, "steady"), "CONNACK 0x00");
    let now = world.now;
    assert_eq!(world.broker.bans(now, None, 9), [(Ban::ClientId("flappy".into()), Some(now.plus_secs(300)))]);
    world.advance(299 * SECOND);
    assert_eq!(connect(&mut world, "flappy"), "CONNACK 0x8A");
    world.advance(SECOND);
    assert_eq!(connect(&mut world, "flappy"), "CONNACK 0x00");
    assert_eq!(world.broker.stats().limited(Limit::Flapping), 1);
    // who connects now and then is left alone for ever
    for _ in 0..100 {
        assert_eq!(connect(&mut world, "slow"), "CONNACK 0x00");
        world.advance(13 * SECOND);
    }
}

#[test]
fn a_listener_has_versions_limits_and_an_offer_of_its_own() {
    let mut world = World::configured(|config| {
        let mut listener = ListenerConfig::default();
        listener.versions = Some(Versions { v31: false, v311: false, v5: true });
        listener.max_connections = Some(2);
        let mut server = config.server.clone();
        server.maximum_qos = Qos::AtLeastOnce;
        server.wildcard_subscription_available = false;
        server.retain_available = false;
        listener.server = Some(server);
        config.listeners.insert(7, listener);
    });
    let from = Peer::new(None, 7);
    let old = world.try_join_from(from.clone(), Version::V311, "old", |_| {});
    assert_eq!(world.received_bytes(old), [0x20, 2, 0, 1], "unacceptable protocol version");
    let new = world.try_join_from(from.clone(), Version::V5, "new", |_| {});
    let properties = connack_properties(Version::V5, &world.received_bytes(new));
    assert!(properties.contains(&"MaximumQos(true)".to_string()), "{properties:?}");
    assert_eq!(world.subscribe(new, "t", Qos::ExactlyOnce), ["SUBACK [0x01]"]);
    world.open_from(Version::V5, from.clone()).unwrap();
    assert_eq!(world.open_from(Version::V5, from.clone()), Err(OpenError::Full));
    assert_eq!(world.broker.stats().limited(Limit::Connections), 1);
    world.retain(new, "t", "x");
    assert_eq!(world.received(new), ["DISCONNECT 0x9A"]);
    world.open_from(Version::V5, from).unwrap();
    // everywhere else all is as it was
    let elsewhere = world.join(Version::V311, "elsewhere");
    assert_eq!(world.subscribe(elsewhere, "#", Qos::ExactlyOnce), ["SUBACK [0x02]"]);
    world.send(elsewhere, Packet::Pingreq);
}

#[test]
fn nobody_has_anothers_client_banned_by_trying_to_take_it_over() {
    // S8, S19
    let mut world = World::configured(|config| {
        config.flapping =
            Some(Flapping { connects: 5, within: Duration::from_secs(60), ban_for: Duration::from_secs(300) });
    });
    let connect = |world: &mut World<AllowAll>, user: &'static str| {
        let client = world.try_join(Version::V5, "c", |connect| connect.user_name = Utf8::new(user));
        world.received(client).remove(0)
    };
    assert_eq!(connect(&mut world, "ada"), "CONNACK 0x00");
    for _ in 0..20 {
        assert_eq!(connect(&mut world, "eve"), "CONNACK 0x87");
    }
    assert_eq!(connect(&mut world, "ada"), "CONNACK 0x00");
}

#[test]
fn what_is_retained_goes_by_the_listener_it_came_by() {
    let mut world = World::configured(|config| {
        let mut listener = ListenerConfig::default();
        listener.server = Some(config.server.clone());
        config.listeners.insert(7, listener);
        config.server.retain_available = false;
    });
    let client = world.try_join_from(Peer::new(None, 7), Version::V5, "c", |_| {});
    world.retain(client, "t", "kept");
    let old = world.join(Version::V311, "old");
    world.retain(old, "u", "not kept");
    let mut publication = Publication::new(TopicName::new("v").unwrap(), b"not kept");
    publication.retain = true;
    world.broker.publish(world.now, &publication).unwrap();
    assert_eq!(world.broker.stats().retained, 1);
    world.received(client);
    world.subscribe(client, "t", Qos::AtMostOnce);
    assert_eq!(world.broker.stats().messages_out, 1);
}

#[test]
fn an_address_that_a_proxy_tells_counts_too() {
    let mut world = World::configured(|config| config.address_rate = Some(Rate { per_second: 1, burst: 2 }));
    let open = |world: &mut World<AllowAll>, told: &str| {
        let client = world.open(Version::V5);
        world.broker.set_peer(world.links[client].id, peer(told, 0));
        // the same again, from another port, is nothing new
        world.broker.set_peer(world.links[client].id, peer(told, 0));
        world.turn();
        !world.is_closed(client)
    };
    let came = ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", "192.0.2.2:1"].map(|told| open(&mut world, told));
    assert_eq!(came, [true, true, false, true]);
    assert_eq!(world.broker.stats().limited(Limit::ConnectionRate), 1);
    assert_eq!(world.broker.stats().connections, 3);
    world.advance(SECOND);
    assert!(open(&mut world, "192.0.2.1:4"));
}
