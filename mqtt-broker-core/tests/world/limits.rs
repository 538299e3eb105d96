//! Every limit is finite, judged early, and hits whoever exceeds it alone.
use crate::harness::*;
use mqtt_broker_core::codec::{Packet, Profile, Properties, Property, Publish, Qos, TopicName, Utf8, Version};
use mqtt_broker_core::topic::HashSeed;
use mqtt_broker_core::{AllowAll, Broker, Config, ConfigError, Event, Limit, OpenError, Peer, Versions};

#[test]
fn connections_and_handshakes_are_counted() {
    // S18
    let mut world = World::configured(|config| {
        config.max_connections = 5;
        config.max_handshakes = 3;
    });
    for n in 0..2 {
        world.join(Version::V311, &format!("c{n}"));
    }
    let waiting: Vec<Name> = (0..3).map(|_| world.open(Version::V311)).collect();
    assert_eq!(world.broker.handle_open(world.now, Default::default()), Err(OpenError::Full));
    world.cut(waiting[0]);
    world.open(Version::V311);
    // those who never say anything make room again
    world.advance(11 * SECOND);
    assert_eq!(world.broker.connections(), 2);
    for n in 2..5 {
        world.join(Version::V311, &format!("c{n}"));
    }
    assert_eq!(world.broker.handle_open(world.now, Default::default()), Err(OpenError::Full));
}

#[test]
fn sessions_are_counted() {
    let mut world = World::configured(|config| config.max_sessions = 2);
    for n in 0..2 {
        let client = world.try_join(Version::V311, &format!("c{n}"), |connect| connect.clean_start = false);
        world.cut(client);
    }
    let refused = world.try_join(Version::V5, "c2", |_| {});
    assert_eq!(world.received(refused), ["CONNACK 0x97"]);
    // who has a session may come back
    let back = world.try_join(Version::V311, "c1", |connect| connect.clean_start = false);
    assert_eq!(world.received(back), ["CONNACK 0x00 present"]);
}

#[test]
fn subscriptions_are_counted_per_session() {
    let mut world = World::configured(|config| config.max_subscriptions = 2);
    let client = world.join(Version::V5, "c");
    assert_eq!(world.subscribe(client, "a", Qos::AtMostOnce), ["SUBACK [0x00]"]);
    assert_eq!(world.subscribe(client, "b", Qos::AtMostOnce), ["SUBACK [0x00]"]);
    assert_eq!(world.subscribe(client, "c", Qos::AtMostOnce), ["SUBACK [0x97]"]);
    assert_eq!(world.subscribe(client, "a", Qos::AtLeastOnce), ["SUBACK [0x01]"], "replacing is no addition");
    world.unsubscribe(client, "b");
    assert_eq!(world.subscribe(client, "c", Qos::AtMostOnce), ["SUBACK [0x00]"]);
}

#[test]
fn wildcards_can_be_switched_off() {
    // [X5-CACK-7] v4 [MQTT-3.8.3-2]
    let mut world = World::configured(|config| config.server.wildcard_subscription_available = false);
    let old = world.join(Version::V311, "old");
    assert_eq!(world.subscribe(old, "a/#", Qos::AtMostOnce), ["SUBACK [0x80]"]);
    let new = world.join(Version::V5, "new");
    assert_eq!(world.subscribe(new, "a/#", Qos::AtMostOnce), ["DISCONNECT 0xA2"]);
}

#[test]
fn a_configuration_nobody_could_connect_under_is_refused() {
    // S11
    let refused = |change: fn(&mut Config)| {
        let mut config = Config::default();
        change(&mut config);
        Broker::new(config, AllowAll, HashSeed::new(1, 2)).err()
    };
    assert_eq!(refused(|_| {}), None);
    assert_eq!(refused(|config| config.max_connections = 0), Some(ConfigError::Zero("max_connections")));
    assert_eq!(refused(|config| config.server.receive_maximum = 0), Some(ConfigError::Zero("server.receive_maximum")));
    assert_eq!(
        refused(|config| config.versions = Versions { v31: false, v311: false, v5: false }),
        Some(ConfigError::NoVersion)
    );
}

#[test]
fn a_queue_of_events_nobody_polls_is_bounded() {
    let mut world = World::new();
    for _ in 0..10_000 {
        let client = world.join(Version::V311, "c");
        world.goodbye(client);
        world.links.clear();
    }
    assert!(world.broker.stats().events_lost > 0);
    assert!(world.events().len() < 10_000);
}

#[test]
fn subscriptions_are_counted_over_all_sessions() {
    let mut world = World::configured(|config| config.max_subscriptions_total = 3);
    let (a, b) = (world.join(Version::V5, "a"), world.join(Version::V5, "b"));
    for filter in ["x", "y"] {
        world.subscribe(a, filter, Qos::AtMostOnce);
    }
    assert_eq!(world.subscribe(b, "x", Qos::AtMostOnce), ["SUBACK [0x00]"]);
    assert_eq!(world.subscribe(b, "y", Qos::AtMostOnce), ["SUBACK [0x97]"]);
    assert_eq!(world.subscribe(b, "x", Qos::AtLeastOnce), ["SUBACK [0x01]"], "replacing is no addition");
    assert_eq!(world.broker.stats().limited(Limit::SubscriptionsTotal), 1);
    world.goodbye(a);
    assert_eq!(world.subscribe(b, "y", Qos::AtMostOnce), ["SUBACK [0x00]"]);
}

#[test]
fn filters_and_wills_share_a_budget_and_all_of_it_comes_back() {
    // S13: what is bounded for each client is bounded for all of them together, too
    let mut world = World::configured(|config| config.max_held_bytes = 1_000);
    let long = "x".repeat(400);
    let clients: Vec<Name> = ["a", "b", "c"].map(|id| world.join(Version::V5, id)).to_vec();
    assert_eq!(world.subscribe(clients[0], &long, Qos::AtMostOnce), ["SUBACK [0x00]"]);
    assert_eq!(world.subscribe(clients[1], &long, Qos::AtMostOnce), ["SUBACK [0x00]"]);
    assert_eq!(world.subscribe(clients[2], &long, Qos::AtMostOnce), ["SUBACK [0x97]"], "shared or not");
    let refused = world.try_join(Version::V5, "w", |connect| connect.will = Some(will("w", &long)));
    assert_eq!(world.received(refused), ["CONNACK 0x97"]);
    assert_eq!(world.broker.stats().limited(Limit::HeldBytes), 2);
    world.unsubscribe(clients[0], &long);
    let willing = world.join_with(Version::V5, "w", |connect| connect.will = Some(will("w", &long)));
    assert!(world.broker.stats().held_bytes > 800);
    world.goodbye(willing);
    let lost = world.join_with(Version::V5, "w", |connect| connect.will = Some(will("w", &long)));
    world.cut(lost);
    for client in clients {
        world.cut(client);
    }
    assert_eq!(world.broker.stats().held_bytes, 0);
}

#[test]
fn a_large_retained_message_is_forwarded_and_not_kept() {
    let mut world = World::configured(|config| config.max_retained_payload = 10);
    let sub = world.join(Version::V5, "sub");
    world.subscribe(sub, "t", Qos::AtMostOnce);
    let client = world.join(Version::V5, "c");
    world.retain(client, "t", "small");
    world.retain(client, "t", "much too large");
    assert_eq!(world.messages(sub), ["t small", "t much too large"]);
    let stats = world.broker.stats();
    assert_eq!((stats.retained, stats.retained_bytes), (0, 0), "the old one would pass for the last");
    assert_eq!((stats.limited(Limit::RetainedPayload), stats.dropped_retained), (1, 1));
}

#[test]
fn each_refusal_is_counted_and_reported() {
    let mut world = World::configured(|config| {
        config.max_connections = 4;
        config.max_handshakes = 2;
        config.max_sessions = 1;
        config.max_client_id = 5;
        config.max_subscriptions = 1;
        config.max_topic_levels = 3;
        config.max_retained = 1;
    });
    let client = world.join(Version::V5, "c");
    world.subscribe(client, "t", Qos::AtMostOnce);
    world.subscribe(client, "u", Qos::AtMostOnce);
    world.subscribe(client, "a/b/c/d", Qos::AtMostOnce);
    world.publish(client, "a/b/c/d", "x", Qos::AtMostOnce);
    world.retain(client, "one", "x");
    world.retain(client, "two", "x");
    world.try_join(Version::V5, "too long", |_| {});
    world.try_join(Version::V5, "d", |_| {});
    world.open(Version::V5);
    world.open(Version::V5);
    world.broker.handle_open(world.now, Peer::default()).unwrap_err();
    world.advance(11 * SECOND);
    let limits = [
        (Limit::Handshakes, 1),
        (Limit::ConnectTimeout, 2),
        (Limit::Sessions, 1),
        (Limit::ClientId, 1),
        (Limit::Subscriptions, 1),
        (Limit::TopicLevels, 2),
        (Limit::Retained, 1),
    ];
    let events = world.events();
    for (limit, times) in limits {
        assert_eq!(world.broker.stats().limited(limit), times, "{limit:?}");
        let reported =
            events.iter().filter(|event| matches!(event, Event::Limited { limit: l, .. } if *l == limit)).count();
        assert_eq!(reported as u64, times, "{limit:?}");
    }
}

#[test]
fn sessions_that_nobody_comes_back_for_end_by_themselves() {
    // S13: whatever version and expiry, so that client identifiers alone cannot fill the table for good
    let mut world = World::configured(|config| config.max_sessions = 3);
    let forever = [Property::SessionExpiryInterval(u32::MAX)];
    for (id, version) in [("a", Version::V31), ("b", Version::V311), ("c", Version::V5)] {
        let client = world.try_join(version, id, |connect| {
            connect.clean_start = false;
            if version == Version::V5 {
                connect.properties = Properties::from_slice(&forever);
            }
        });
        world.cut(client);
    }
    let refused = world.try_join(Version::V5, "d", |_| {});
    assert_eq!(world.received(refused), ["CONNACK 0x97"]);
    world.advance(7 * 24 * HOUR);
    assert_eq!(world.broker.stats().sessions, 0);
    world.join(Version::V5, "d");
}

#[test]
fn user_properties_are_counted() {
    // S13
    let mut world = World::configured(|config| config.max_user_properties = 3);
    let client = world.join(Version::V5, "c");
    let property = Property::UserProperty(Utf8::new("").unwrap(), Utf8::new("").unwrap());
    let list = [property; 4];
    for (count, answer) in [(3, "PUBACK id1 0x10"), (4, "PUBACK id1 0x97")] {
        let properties = Properties::from_slice(&list[..count]);
        let publish = Publish {
            dup: false,
            qos: Qos::AtLeastOnce,
            retain: false,
            topic: Some(TopicName::new("t").unwrap()),
            packet_id: Some(id(1)),
            properties,
            payload: b"",
        };
        world.send(client, Packet::Publish(publish));
        assert_eq!(world.received(client), [answer]);
    }
    let willing = world.try_join(Version::V5, "w", |connect| {
        connect.will = Some(will("w", "x"));
        if let Some(will) = &mut connect.will {
            will.properties = Properties::from_slice(&list);
        }
    });
    assert_eq!(world.received(willing), ["CONNACK 0x97"]);
    assert_eq!(world.broker.stats().limited(Limit::UserProperties), 2);
}

#[test]
fn a_profile_reads_otherwise_than_by_default() {
    let mut world = World::configured(|config| {
        let mut profile = Profile::STRICT;
        profile.max_filters = 1;
        config.profile = Some(profile);
    });
    let client = world.join(Version::V311, "c");
    assert_eq!(world.subscribe(client, "one", Qos::AtMostOnce), ["SUBACK [0x00]"]);
    world.send_bytes(client, b"\x82\x0a\x00\x01\x00\x01a\x00\x00\x01b\x00");
    assert!(world.is_closed(client));
}

#[test]
fn every_limit_has_a_counter_of_its_own() {
    for (place, limit) in Limit::ALL.into_iter().enumerate() {
        assert_eq!(limit as usize, place, "{limit:?}");
    }
    let mut world = World::configured(|config| {
        config.max_retained_payload = 3;
        config.max_topic_levels = 2;
        config.shared.max_groups = 0;
    });
    let client = world.join(Version::V5, "c");
    world.retain(client, "t", "four");
    world.publish(client, "a/b/c", "x", Qos::AtMostOnce);
    world.subscribe(client, "$share/g/t", Qos::AtMostOnce);
    let stats = world.broker.stats();
    for limit in [Limit::RetainedPayload, Limit::TopicLevels, Limit::Groups] {
        assert_eq!(stats.limited(limit), 1, "{limit:?}");
    }
}
