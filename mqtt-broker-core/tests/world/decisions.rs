//! The policy: allow, deny, defer, for every origin (S6, S8, S10, S11).
use crate::harness::*;
use core::net::SocketAddr;
use mqtt_broker_core::codec::{
    AckKind, Packet, Properties, Property, Qos, ReasonCode, Subscribe, SubscribeOptions, Subscription, Subscriptions,
    TopicFilter, Utf8, Version,
};
use mqtt_broker_core::{
    Ban, ClientInfo, Config, ConnectRequest, Decision, DenyAll, Limit, Origin, Peer, Policy, PublishRequest,
    ReceiveRequest, SubscribeRequest, Ticket, UnsubscribeRequest,
};

/// Users `alice` and `bob`, whose password is their name; topics that begin with `no` are denied, with `later` deferred.
#[derive(Default)]
struct House {
    connect_later: bool,
    tickets: Vec<Ticket>,
    asked: Vec<String>,
    revoked: bool,
}

impl House {
    fn topic(&mut self, topic: &str, ticket: Ticket) -> Decision {
        if topic.starts_with("no") || self.revoked {
            Decision::Deny(ReasonCode::NOT_AUTHORIZED)
        } else if topic.starts_with("later") {
            self.tickets.push(ticket);
            Decision::Defer(ticket)
        } else {
            Decision::Allow
        }
    }
}

impl Policy for House {
    fn connect(&mut self, request: &ConnectRequest<'_>) -> Decision {
        if self.connect_later {
            self.tickets.push(request.ticket);
            return Decision::Defer(request.ticket);
        }
        match (request.client.user_name, request.connect.password) {
            (None, _) => Decision::Allow,
            (Some(name), Some(password)) if name.as_bytes() == password => Decision::Allow,
            _ => Decision::Deny(ReasonCode::BAD_USER_NAME_OR_PASSWORD),
        }
    }
    fn publish(&mut self, request: &PublishRequest<'_>) -> Decision {
        let origin = match &request.origin {
            Origin::Client(client) => format!("client {}", client.client_id),
            Origin::Will(client) => format!("will {}", client.client_id),
            Origin::Local => "local".to_string(),
            _ => "?".to_string(),
        };
        self.asked.push(format!("{origin} {}", request.publication.topic.as_str()));
        self.topic(request.publication.topic.as_str(), request.ticket)
    }
    fn subscribe(&mut self, request: &SubscribeRequest<'_>) -> Decision {
        self.topic(request.filter.as_str(), request.ticket)
    }
    fn unsubscribe(&mut self, _: &UnsubscribeRequest<'_>) -> Decision {
        Decision::Allow
    }
    fn receives_all(&mut self, _: &ClientInfo<'_>, _: TopicFilter<'_>) -> bool {
        true
    }
    fn receive(&mut self, _: &ReceiveRequest<'_>) -> bool {
        true
    }
}

fn house() -> World<House> {
    World::with(Config::default(), House::default())
}

fn decide(world: &mut World<House>, decision: Decision) {
    let ticket = world.broker.policy_mut().tickets.pop().expect("something was deferred");
    world.broker.resume(world.now, ticket, decision);
    world.turn();
}

fn as_user(world: &mut World<House>, version: Version, id: &str, user: &str, password: &str) -> Name {
    world.try_join(version, id, |connect| {
        connect.user_name = Utf8::new(user);
        connect.password = Some(password.as_bytes());
        connect.clean_start = false;
    })
}

#[test]
fn right_and_wrong_passwords() {
    // v5 [MQTT-3.1.4-2] [MQTT-3.2.2-6] [MQTT-3.2.2-7] v4 [MQTT-3.2.2-4] [MQTT-3.2.2-5]
    let mut world = house();
    for (version, wrong) in [
        (Version::V31, [0x20, 2, 0, 4].as_slice()),
        (Version::V311, &[0x20, 2, 0, 4]),
        (Version::V5, &[0x20, 3, 0, 0x86, 0]),
    ] {
        let client = as_user(&mut world, version, &format!("{version:?}"), "alice", "alice");
        assert_eq!(world.received(client), ["CONNACK 0x00"]);
        world.goodbye(client);
        let client = as_user(&mut world, version, "d", "alice", "bob");
        assert_eq!(world.received_bytes(client), wrong);
        assert!(world.is_closed(client));
    }
}

#[test]
fn nobody_is_let_in_by_a_policy_that_was_not_written() {
    // S11
    let mut world = World::with(Config::default(), DenyAll);
    let client = world.try_join(Version::V5, "c", |_| {});
    assert_eq!(world.received(client), ["CONNACK 0x87"]);
}

#[test]
fn a_session_cannot_be_taken_by_somebody_else() {
    // S8: a failed attempt changes nothing, not even with clean start
    let mut world = house();
    let alice = as_user(&mut world, Version::V311, "c", "alice", "alice");
    world.received(alice);
    world.subscribe(alice, "t", Qos::AtLeastOnce);
    for (user, password, clean) in [("bob", "bob", false), ("bob", "bob", true), ("alice", "wrong", true)] {
        let thief = world.try_join(Version::V5, "c", |connect| {
            connect.user_name = Utf8::new(user);
            connect.password = Some(password.as_bytes());
            connect.clean_start = clean;
        });
        assert!(world.is_closed(thief) && !world.is_closed(alice), "{user} {clean}");
    }
    world.cut(alice);
    let thief = as_user(&mut world, Version::V5, "c", "bob", "bob");
    assert_eq!(world.received(thief), ["CONNACK 0x87"]);
    let alice = as_user(&mut world, Version::V311, "c", "alice", "alice");
    assert_eq!(world.received(alice), ["CONNACK 0x00 present"]);
    assert_eq!(world.broker.stats().subscriptions, 1);
}

#[test]
fn a_refused_publish_is_answered_as_its_version_can() {
    // v4 [MQTT-3.3.5-2] v5 [X5-ACK-2] [MQTT-4.3.3-9]; pitfall 60
    let mut world = house();
    let watcher = world.join(Version::V311, "watcher");
    world.subscribe(watcher, "#", Qos::AtMostOnce);
    let new = world.join(Version::V5, "new");
    let old = world.join(Version::V311, "old");
    for (client, ack, rec) in [(new, "PUBACK id1 0x87", "PUBREC id1 0x87"), (old, "PUBACK id1", "PUBREC id1")] {
        world.publish(client, "no/a", "x", Qos::AtMostOnce);
        world.publish(client, "no/a", "x", Qos::AtLeastOnce);
        assert_eq!(world.received(client), [ack]);
        world.publish(client, "no/a", "x", Qos::ExactlyOnce);
        assert_eq!(world.received(client), [rec]);
        assert!(!world.is_closed(client));
    }
    assert!(world.messages(watcher).is_empty());
    assert_eq!(world.broker.stats().dropped_denied, 6);
    // at 5.0 the refusal ended the exchange: the identifier is free
    world.publish(new, "yes", "x", Qos::ExactlyOnce);
    assert_eq!(world.messages(watcher), ["yes x"]);
}

#[test]
fn each_filter_is_judged_and_answered() {
    // S10; v5 [MQTT-3.8.4-1] v4 [MQTT-3.8.4-1]
    let mut world = house();
    let new = world.join(Version::V5, "new");
    let list = ["a", "no/b", "c"]
        .map(|filter| Subscription { filter: TopicFilter::new(filter).unwrap(), options: SubscribeOptions::default() });
    let subscribe = Packet::Subscribe(Subscribe {
        packet_id: id(1),
        properties: Properties::EMPTY,
        subscriptions: Subscriptions::from_slice(&list),
    });
    world.send(new, subscribe);
    assert_eq!(world.received(new), ["SUBACK [0x00, 0x87, 0x00]"]);
    let old = world.join(Version::V311, "old");
    world.send(old, subscribe);
    assert_eq!(world.received(old), ["SUBACK [0x00, 0x80, 0x00]"]);
}

#[test]
fn a_will_is_judged_when_it_is_left_and_when_it_fires() {
    // S6, S7
    let mut world = house();
    let refused = world.try_join(Version::V5, "c", |connect| connect.will = Some(will("no/will", "x")));
    assert_eq!(world.received(refused), ["CONNACK 0x87"]);
    let watcher = world.join(Version::V311, "watcher");
    world.subscribe(watcher, "#", Qos::AtMostOnce);
    let client = world.join_with(Version::V5, "c", |connect| connect.will = Some(will("w", "x")));
    world.broker.policy_mut().revoked = true;
    world.cut(client);
    assert!(world.messages(watcher).is_empty());
    assert_eq!(world.broker.policy().asked, ["will c no/will", "will c w", "will c w"]);
    // deferred when it fires: it waits without a connection
    world.broker.policy_mut().revoked = false;
    let client = world.try_join(Version::V5, "c", |connect| connect.will = Some(will("later/w", "x")));
    decide(&mut world, Decision::Allow);
    assert_eq!(world.received(client), ["CONNACK 0x00"]);
    world.cut(client);
    assert!(world.messages(watcher).is_empty());
    decide(&mut world, Decision::Allow);
    assert_eq!(world.messages(watcher), ["later/w x"]);
}

#[test]
fn a_deferred_connect_pauses_that_connection_alone() {
    let mut world = house();
    world.broker.policy_mut().connect_later = true;
    let waits = world.try_join(Version::V311, "waits", |connect| connect.keep_alive = 1);
    assert!(world.received(waits).is_empty() && !world.links[waits].reading);
    // what the host had read already is kept, and worked off in its turn
    let id = world.links[waits].id;
    world.broker.handle_input(world.now, id, &[0xC0, 0]);
    world.turn();
    world.broker.policy_mut().connect_later = false;
    let other = world.join(Version::V311, "other");
    world.advance(5 * SECOND);
    assert!(!world.is_closed(waits), "its keep alive does not count meanwhile");
    decide(&mut world, Decision::Allow);
    assert_eq!(world.received(waits), ["CONNACK 0x00", "PINGRESP"]);
    assert!(world.links[waits].reading);
    world.send(other, Packet::Pingreq);
    assert_eq!(world.received(other), ["PINGRESP"]);
}

#[test]
fn a_decision_that_never_comes_is_a_denial_and_a_late_one_does_nothing() {
    let mut world = house();
    world.broker.policy_mut().connect_later = true;
    let client = world.try_join(Version::V5, "c", |_| {});
    world.advance(11 * SECOND);
    assert_eq!(world.received(client), ["CONNACK 0x87"]);
    decide(&mut world, Decision::Allow);
    assert_eq!(world.broker.stats().sessions, 0);
    // nor does one for a connection that has gone
    let client = world.try_join(Version::V5, "c", |_| {});
    world.cut(client);
    decide(&mut world, Decision::Allow);
    assert_eq!((world.broker.stats().sessions, world.broker.stats().connections), (0, 0));
}

#[test]
fn a_deferred_publish_holds_its_acknowledgement_and_what_follows() {
    let mut world = house();
    let watcher = world.join(Version::V311, "watcher");
    world.subscribe(watcher, "#", Qos::AtMostOnce);
    for (decision, reason, heard) in
        [(Decision::Allow, "", 1), (Decision::Deny(ReasonCode::QUOTA_EXCEEDED), " 0x97", 0)]
    {
        for (qos, ack) in [(Qos::AtLeastOnce, "PUBACK"), (Qos::ExactlyOnce, "PUBREC")] {
            let client = world.join(Version::V5, "c");
            world.publish(client, "later/a", "x", qos);
            let behind = world.links[client].id;
            world.broker.handle_input(world.now, behind, &[0x30, 5, 0, 1, b'b', 0, b'y', 0xC0, 0]);
            world.turn();
            assert!(
                world.received(client).is_empty() && world.messages(watcher).is_empty() && !world.links[client].reading
            );
            decide(&mut world, decision.clone());
            let mut received = world.received(client);
            received.sort_unstable();
            assert_eq!(received, ["PINGRESP".to_string(), format!("{ack} id1{reason}")]);
            let expected: Vec<&str> = ["later/a x"].into_iter().take(heard).chain(["b y"]).collect();
            assert_eq!(world.messages(watcher), expected);
        }
    }
}

#[test]
fn a_deferred_filter_holds_the_suback_and_nothing_is_asked_twice() {
    let mut world = house();
    let client = world.join(Version::V5, "c");
    let list = ["a", "later/b", "no/c", "later/d"].map(|filter| Subscription {
        filter: TopicFilter::new(filter).unwrap(),
        options: SubscribeOptions { qos: Qos::AtLeastOnce, ..Default::default() },
    });
    let subscribe =
        Subscribe { packet_id: id(1), properties: Properties::EMPTY, subscriptions: Subscriptions::from_slice(&list) };
    world.send(client, Packet::Subscribe(subscribe));
    assert!(world.received(client).is_empty());
    decide(&mut world, Decision::Allow);
    assert!(world.received(client).is_empty());
    decide(&mut world, Decision::Deny(ReasonCode::NOT_AUTHORIZED));
    assert_eq!(world.received(client), ["SUBACK [0x01, 0x01, 0x87, 0x87]"]);
    assert!(world.broker.policy().tickets.is_empty());
}

#[test]
fn a_deferred_message_of_the_program_itself_waits_too() {
    let mut world = house();
    let watcher = world.join(Version::V311, "watcher");
    world.subscribe(watcher, "#", Qos::AtMostOnce);
    let name = mqtt_broker_core::topic::TopicName::new("later/x").unwrap();
    assert_eq!(world.broker.publish(world.now, &mqtt_broker_core::Publication::new(name, b"1")), Ok(0));
    decide(&mut world, Decision::Allow);
    assert_eq!(world.messages(watcher), ["later/x 1"]);
    let name = mqtt_broker_core::topic::TopicName::new("no/x").unwrap();
    assert_eq!(
        world.broker.publish(world.now, &mqtt_broker_core::Publication::new(name, b"1")),
        Err(ReasonCode::NOT_AUTHORIZED)
    );
    assert_eq!(world.broker.policy().asked, ["local later/x", "local no/x"]);
}

#[test]
fn a_half_done_qos_2_exchange_ends_even_when_the_right_is_gone() {
    // S7
    let mut world = house();
    let client = world.join(Version::V5, "c");
    world.publish(client, "t", "x", Qos::ExactlyOnce);
    world.received(client);
    world.broker.policy_mut().revoked = true;
    world.ack(client, AckKind::Pubrel, 1);
    assert_eq!(world.received(client), ["PUBCOMP id1"]);
}

#[test]
fn a_request_that_there_is_no_room_to_keep_is_denied_at_once() {
    // S17
    let mut config = Config::default();
    config.max_held_bytes = 200;
    let mut world = World::with(config, House::default());
    let client = world.join(Version::V5, "c");
    world.publish(client, "later", &"x".repeat(300), Qos::AtLeastOnce);
    assert_eq!(world.received(client), ["PUBACK id1 0x97"]);
    // one filter after the other, and the rest as ever
    let long = format!("later/{}", "x".repeat(300));
    let list = [long.as_str(), &long, "a", &long]
        .map(|filter| Subscription { filter: TopicFilter::new(filter).unwrap(), options: SubscribeOptions::default() });
    let (properties, subscriptions) = (Properties::EMPTY, Subscriptions::from_slice(&list));
    world.send(client, Packet::Subscribe(Subscribe { packet_id: id(3), properties, subscriptions }));
    assert_eq!(world.received(client), ["SUBACK [0x97, 0x97, 0x00, 0x97]"]);
    assert_eq!(world.broker.stats().limited(Limit::HeldBytes), 4);
    assert_eq!(world.broker.stats().held_bytes, 1, "only the filter that was granted");
    // nobody waits, and the tickets are stale
    decide(&mut world, Decision::Allow);
    world.publish(client, "a", "x", Qos::AtMostOnce);
    assert_eq!(world.messages(client), ["a x"]);
    assert_eq!(world.broker.stats().messages_out, 1);
}

#[test]
fn who_is_banned_while_it_is_decided_upon_is_not_let_in() {
    let address: SocketAddr = "192.0.2.1:1000".parse().unwrap();
    for ban in [Ban::ClientId("c".into()), Ban::User("alice".into()), Ban::Address(address.ip())] {
        let mut world = house();
        world.broker.policy_mut().connect_later = true;
        let peer = Peer::new(Some(address), 0);
        let client = world.try_join_from(peer, Version::V5, "c", |connect| connect.user_name = Utf8::new("alice"));
        world.broker.ban(world.now, ban, None).unwrap();
        decide(&mut world, Decision::Allow);
        assert_eq!(world.received(client), ["CONNACK 0x8A"]);
    }
}

// [X5-PUB-11]: found by the simulation, where it took the place of one that had not expired
#[test]
fn what_expires_while_it_is_decided_upon_is_not_retained() {
    let mut config = Config::default();
    config.max_retained = 1;
    let mut world = World::with(config, House::default());
    let client = world.join(Version::V5, "c");
    let expiry = [Property::MessageExpiryInterval(5)];
    world.publish_with(client, "later", "x", |publish| {
        publish.retain = true;
        publish.properties = Properties::from_slice(&expiry);
    });
    // neither is done before the other at the very moment: no timeout is handled between
    world.now = world.now.plus_secs(6);
    decide(&mut world, Decision::Allow);
    assert_eq!((world.broker.stats().retained, world.broker.stats().dropped_expired), (0, 1));
    world.retain(client, "yes", "x");
    assert_eq!((world.broker.stats().retained, world.broker.stats().dropped_retained), (1, 0));
}
