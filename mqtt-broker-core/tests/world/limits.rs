//! Every limit is finite, judged early, and hits whoever exceeds it alone.
use crate::harness::*;
use mqtt_broker_core::codec::{Qos, Version};
use mqtt_broker_core::topic::HashSeed;
use mqtt_broker_core::{AllowAll, Broker, Config, ConfigError, OpenError, Versions};

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
    let shared = ConfigError::NotSupported("server.shared_subscription_available");
    assert_eq!(refused(|config| config.server.shared_subscription_available = true), Some(shared));
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
