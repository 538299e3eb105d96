//! Administration: looking at everything page by page, kicking, banning, purging, clearing.
use crate::harness::*;
use mqtt_broker_core::codec::{
    Packet, Qos, ReasonCode, RetainHandling, SubscribeOptions, TopicFilter, TopicName, Utf8, Version,
};
use mqtt_broker_core::{AllowAll, Ban, Event, Limit, OpenError, Peer, RetainedCursor};
use std::net::{IpAddr, SocketAddr};

const KICKED: ReasonCode = ReasonCode::ADMINISTRATIVE_ACTION;

fn keep(world: &mut World<AllowAll>, id: &str) -> Name {
    world.try_join(Version::V311, id, |connect| connect.clean_start = false)
}

#[test]
fn sessions_are_listed_page_by_page_each_once() {
    let mut world = World::new();
    let names: Vec<Name> = (0..250).map(|n| keep(&mut world, &format!("c{n:03}"))).collect();
    for &name in names.iter().step_by(2) {
        world.cut(name);
    }
    let mut seen = Vec::new();
    let mut from = Some(0);
    while let Some(at) = from {
        let page = world.broker.clients(at, 100);
        assert!(page.items.len() <= 100);
        seen.extend(page.items.iter().map(|record| (record.id.as_str().to_string(), record.connection.is_some())));
        from = page.next;
    }
    seen.sort();
    let expected: Vec<_> = (0..250).map(|n| (format!("c{n:03}"), n % 2 == 1)).collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_record_says_what_is_known_of_a_client() {
    let mut world = World::configured(|config| config.session_expiry_v3 = 3_600);
    let address: SocketAddr = "192.0.2.7:1234".parse().unwrap();
    let client = world.try_join_from(Peer::new(Some(address), 3), Version::V311, "c", |connect| {
        connect.clean_start = false;
        connect.user_name = Some(Utf8::new("alice").unwrap());
    });
    world.subscribe(client, "t", Qos::AtLeastOnce);
    let record = world.broker.client("c").unwrap();
    assert_eq!((record.id.as_str(), record.user_name.as_deref()), ("c", Some("alice")));
    assert_eq!((record.version, record.address, record.subscriptions), (Version::V311, Some(address), 1));
    assert!(record.connection.is_some() && record.expires.is_none());
    world.cut(client);
    let gone_at = world.now;
    let other = world.join(Version::V5, "other");
    world.publish(other, "t", "waits", Qos::AtLeastOnce);
    let record = world.broker.client("c").unwrap();
    assert_eq!((record.connection, record.address, record.queued, record.inflight), (None, None, 1, 0));
    assert!(record.bytes > 0);
    assert_eq!(record.expires, Some(gone_at.plus_secs(3_600)));
    assert!(world.broker.client("nobody").is_none());
}

#[test]
fn subscriptions_are_listed_with_their_options() {
    let mut world = World::new();
    let client = world.join(Version::V5, "c");
    for n in 0..5 {
        world.subscribe(client, &format!("t/{n}"), Qos::AtMostOnce);
    }
    let options = SubscribeOptions {
        qos: Qos::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::Never,
    };
    let id = [mqtt_broker_core::codec::Property::SubscriptionIdentifier(7)];
    world.subscribe_with(client, "t/3", options, &id);
    let page = world.broker.subscriptions("c", 0, 3);
    assert_eq!((page.items.len(), page.next), (3, Some(3)));
    let page = world.broker.subscriptions("c", 3, 3);
    assert_eq!((page.items.len(), page.next), (2, None));
    let record = &page.items[0];
    assert_eq!(record.filter.as_filter(), TopicFilter::new("t/3").unwrap());
    assert_eq!((record.qos, record.no_local, record.retain_as_published), (Qos::ExactlyOnce, true, true));
    assert_eq!(record.identifier, 7);
    assert!(world.broker.subscriptions("nobody", 0, 3).items.is_empty());
    assert!(world.broker.subscriptions("c", 99, 3).items.is_empty());
}

#[test]
fn a_kicked_client_is_told_why_and_keeps_its_session() {
    let mut world = World::new();
    let client = world.join_with(Version::V5, "c", |connect| connect.clean_start = false);
    assert!(world.broker.kick(world.now, "c", KICKED));
    world.turn();
    assert_eq!(world.received(client), ["DISCONNECT 0x98"]);
    assert!(world.is_closed(client));
    assert!(!world.broker.kick(world.now, "c", KICKED), "it is gone");
    let old = keep(&mut world, "old");
    world.received(old);
    assert!(world.broker.kick(world.now, "old", KICKED));
    world.turn();
    assert!(world.is_closed(old));
    assert_eq!(world.received(old), [""; 0], "3.1.1 has no word for it");
    let back = keep(&mut world, "old");
    assert_eq!(world.received(back), ["CONNACK 0x00 present"]);
}

#[test]
fn a_purged_session_is_gone_for_its_client() {
    // [X5-SESS-3]
    let mut world = World::new();
    let client = keep(&mut world, "c");
    world.subscribe(client, "t", Qos::AtLeastOnce);
    assert!(world.broker.purge_session(world.now, "c"));
    world.turn();
    assert!(world.is_closed(client));
    let stats = world.broker.stats();
    assert_eq!((stats.sessions, stats.subscriptions), (0, 0));
    let back = keep(&mut world, "c");
    assert_eq!(world.received(back), ["CONNACK 0x00"]);
    // one that is away
    world.cut(back);
    assert!(world.broker.purge_session(world.now, "c"));
    assert!(!world.broker.purge_session(world.now, "c"));
    assert_eq!(world.broker.stats().sessions, 0);
}

#[test]
fn a_purge_publishes_the_will_of_the_session_once() {
    // v5 [MQTT-3.1.2-8]
    let mut world = World::new();
    let sub = world.join(Version::V5, "sub");
    world.subscribe(sub, "will", Qos::AtMostOnce);
    let client = world.join_with(Version::V311, "c", |connect| connect.will = Some(will("will", "gone")));
    world.broker.purge_session(world.now, "c");
    world.turn();
    assert!(world.is_closed(client));
    assert_eq!(world.messages(sub), ["will gone"]);
}

#[test]
fn bans_keep_out_by_client_identifier_user_and_address_until_they_end() {
    let mut world = World::new();
    let banned = |world: &mut World<AllowAll>, id: &str, user: Option<&'static str>| {
        let client =
            world.try_join(Version::V5, id, |connect| connect.user_name = user.map(|name| Utf8::new(name).unwrap()));
        world.received(client) == ["CONNACK 0x8A"]
    };
    let here = world.join(Version::V5, "bad");
    let until = world.now.plus_secs(60);
    world.broker.ban(world.now, Ban::ClientId("bad".into()), Some(until)).unwrap();
    world.broker.ban(world.now, Ban::User("mallory".into()), None).unwrap();
    world.turn();
    assert_eq!(world.received(here), ["DISCONNECT 0x98"], "whoever is connected goes");
    assert!(banned(&mut world, "bad", None));
    assert!(banned(&mut world, "x", Some("mallory")));
    assert!(!banned(&mut world, "y", Some("alice")));
    assert_eq!(world.broker.stats().limited(Limit::Banned), 2);
    assert!(world.events().iter().any(|event| matches!(event, Event::Limited { limit: Limit::Banned, .. })));
    world.advance(60 * SECOND);
    assert!(!banned(&mut world, "bad", None), "that ban has ended");
    assert!(banned(&mut world, "x", Some("mallory")), "this one has no end");
    assert!(world.broker.unban(&Ban::User("mallory".into())));
    assert!(!banned(&mut world, "x", Some("mallory")));

    // whom the transport has proven it to be counts, whatever user name is claimed
    let mut proven = Peer::default();
    proven.identity = Some("mallory".into());
    world.broker.ban(world.now, Ban::User("mallory".into()), None).unwrap();
    let client = world.try_join_from(proven, Version::V5, "z", |connect| {
        connect.user_name = Some(Utf8::new("alice").unwrap());
    });
    assert_eq!(world.received(client), ["CONNACK 0x8A"]);

    let address: IpAddr = "192.0.2.7".parse().unwrap();
    let mapped = Peer::new(Some("[::ffff:192.0.2.7]:1".parse().unwrap()), 0);
    world.broker.ban(world.now, Ban::Address(address), None).unwrap();
    assert_eq!(world.open_from(Version::V5, mapped.clone()), Err(OpenError::Banned));
    // a proxy may tell later where a client really comes from
    let late = world.open(Version::V5);
    let id = world.links[late].id;
    world.broker.set_peer(id, mapped.clone());
    world.send(late, Packet::Connect(connect(Version::V5, "late")));
    assert_eq!(world.received(late), ["CONNACK 0x8A"]);
    assert!(world.broker.unban(&Ban::Address(address)));
    assert!(world.open_from(Version::V5, mapped).is_ok());
}

#[test]
fn bans_are_listed_in_pages_and_are_no_more_than_the_limit() {
    let mut world = World::configured(|config| config.max_bans = 5);
    let now = world.now;
    let all = [
        Ban::ClientId("a".into()),
        Ban::ClientId("b".into()),
        Ban::User("a".into()),
        Ban::Address("192.0.2.1".parse().unwrap()),
        Ban::Address("192.0.2.2".parse().unwrap()),
    ];
    for ban in &all {
        world.broker.ban(now, ban.clone(), Some(now.plus_secs(10))).unwrap();
    }
    assert!(world.broker.ban(now, Ban::User("b".into()), None).is_err());
    world.broker.ban(now, all[2].clone(), None).unwrap(); // replaced, not added
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = world.broker.bans(now, after.as_ref(), 2);
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        listed.extend(page.into_iter().map(|(ban, _)| ban));
    }
    assert_eq!(listed, all);
    world.advance(10 * SECOND);
    assert_eq!(world.broker.bans(world.now, None, 9), [(all[2].clone(), None)]);
    world.broker.ban(world.now, Ban::User("b".into()), None).unwrap();
}

#[test]
fn retained_messages_are_listed_got_and_cleared_by_filter() {
    let mut world = World::new();
    let client = world.join(Version::V5, "c");
    for n in 0..100 {
        world.retain(client, &format!("t/{n:02}/x"), &n.to_string());
    }
    world.retain(client, "other", "stays");
    let mut cursor = Some(RetainedCursor::new(TopicFilter::new("t/+/x").unwrap()));
    let mut seen = Vec::new();
    while let Some(at) = cursor {
        let page = world.broker.list_retained(world.now, at, 7);
        assert!(page.items.len() <= 7);
        seen.extend(page.items.iter().map(|record| record.message.topic().as_str().to_string()));
        cursor = page.next;
    }
    assert_eq!(seen.len(), 100);
    let name = |text| TopicName::new(text).unwrap();
    assert_eq!(world.broker.retained(world.now, name("t/07/x")).unwrap().message.payload(), b"7");
    let (mut cursor, mut cleared) = (Some(RetainedCursor::new(TopicFilter::new("t/#").unwrap())), 0);
    while let Some(at) = cursor {
        let page = world.broker.clear_retained(at, 9);
        cleared += page.items.len();
        cursor = page.next;
    }
    let stats = world.broker.stats();
    assert_eq!((cleared, stats.retained), (100, 1));
    assert!(world.broker.retained(world.now, name("t/07/x")).is_none());
    assert!(world.broker.retained(world.now, name("other")).is_some());
}

#[test]
fn a_draining_broker_takes_nobody_new_and_keeps_those_it_has() {
    let mut world = World::new();
    let client = world.join(Version::V5, "c");
    world.broker.set_draining(true);
    assert_eq!(world.open_from(Version::V5, Peer::default()), Err(OpenError::ShuttingDown));
    world.send(client, Packet::Pingreq);
    assert_eq!(world.received(client), ["PINGRESP"]);
    let page = world.broker.clients(0, 10);
    for record in page.items {
        assert!(world.broker.kick(world.now, record.id.as_str(), ReasonCode::SERVER_SHUTTING_DOWN));
    }
    world.turn();
    assert_eq!(world.received(client), ["DISCONNECT 0x8B"]);
    assert_eq!(world.broker.connections(), 0);
    world.broker.set_draining(false);
    world.join(Version::V5, "c");
}
