//! Shared subscriptions (section 4.8.2): one member for each message, chosen well, and nothing lost when members go.
use crate::harness::*;
use mqtt_broker_core::codec::{Properties, Property, Qos, RetainHandling, SubscribeOptions, Version};
use mqtt_broker_core::topic::{TopicFilter, TopicName};
use mqtt_broker_core::{AllowAll, Drop, Event, Limit, Publication, Strategy};

pub const Q0: Qos = Qos::AtMostOnce;
pub const Q1: Qos = Qos::AtLeastOnce;
pub const Q2: Qos = Qos::ExactlyOnce;

/// A world whose groups have this strategy.
pub fn world(strategy: Strategy) -> World<AllowAll> {
    World::configured(|config| {
        config.shared.strategy = strategy;
        config.events.drops = true;
    })
}

/// A client whose session stays for `expiry` seconds.
pub fn join_for(world: &mut World<AllowAll>, id: &str, expiry: u32) -> Name {
    let properties = [Property::SessionExpiryInterval(expiry), Property::ReceiveMaximum(2)];
    world.join_with(Version::V5, id, |connect| {
        connect.clean_start = false;
        connect.properties = Properties::from_slice(&properties);
    })
}

/// The same client comes back; what it gets is left for the test to read.
pub fn back(world: &mut World<AllowAll>, id: &str) -> Name {
    let properties = [Property::SessionExpiryInterval(3_600), Property::ReceiveMaximum(2)];
    world.try_join(Version::V5, id, |connect| {
        connect.clean_start = false;
        connect.properties = Properties::from_slice(&properties);
    })
}

/// Members of `filter`, whose sessions stay for an hour.
pub fn members<const N: usize>(world: &mut World<AllowAll>, filter: &str, qos: Qos) -> [Name; N] {
    core::array::from_fn(|n| {
        let member = join_for(world, &format!("member{n}"), 3_600);
        assert_eq!(world.subscribe(member, filter, qos), [format!("SUBACK [0x{:02X}]", qos as u8)]);
        member
    })
}

/// How many messages each got since last asked.
pub fn counts<const N: usize>(world: &mut World<AllowAll>, members: [Name; N]) -> [usize; N] {
    members.map(|member| world.messages(member).len())
}

pub fn publish(world: &mut World<AllowAll>, payloads: core::ops::Range<u32>, qos: Qos) {
    let name = world.join(Version::V5, "publisher");
    for payload in payloads {
        let number = u16::try_from(payload + 1).unwrap();
        world.publish_with(name, "jobs", &payload.to_string(), |publish| set_qos(publish, qos, number));
    }
    world.goodbye(name);
}

pub fn dropped(world: &mut World<AllowAll>) -> Vec<Drop> {
    world
        .events()
        .into_iter()
        .filter_map(|event| if let Event::Dropped { why, .. } = event { Some(why) } else { None })
        .collect()
}

#[test]
fn a_message_goes_to_one_member_at_its_own_qos_and_with_its_own_identifier() {
    // v5 [MQTT-4.8.2-3] [X5-PUB-10]
    let mut world = world(Strategy::RoundRobin);
    let [one, two, three] = ["one", "two", "three"].map(|id| world.join(Version::V5, id));
    for (name, qos, number) in [(one, Q0, 1), (two, Q1, 2), (three, Q2, 3)] {
        let options = SubscribeOptions { qos, ..Default::default() };
        world.subscribe_with(name, "$share/g/jobs", options, &[Property::SubscriptionIdentifier(number)]);
    }
    publish(&mut world, 0..3, Q2);
    assert_eq!(world.received(one), ["PUBLISH jobs 0 q0 sub1"]);
    assert_eq!(world.received(two), ["PUBLISH jobs 1 q1 id1 sub2"]);
    assert_eq!(world.received(three), ["PUBLISH jobs 2 q2 id1 sub3"]);
}

#[test]
fn retained_messages_never_go_to_a_shared_subscription() {
    // [X5-SUB-6] pitfall 22
    let mut world = world(Strategy::RoundRobin);
    let publisher = world.join(Version::V5, "publisher");
    world.retain(publisher, "jobs", "kept");
    let client = world.join(Version::V5, "c");
    for retain_handling in [RetainHandling::Always, RetainHandling::IfNew, RetainHandling::Never] {
        for filter in ["$share/g/jobs", "$share/g/#"] {
            let options = SubscribeOptions { qos: Q1, retain_handling, ..Default::default() };
            assert_eq!(world.subscribe_with(client, filter, options, &[]), ["SUBACK [0x01]"]);
            world.unsubscribe(client, filter);
        }
    }
    // what is published afterwards does, with RETAIN as this member asked for
    let as_published = SubscribeOptions { retain_as_published: true, ..Default::default() };
    world.subscribe_with(client, "$share/g/jobs", as_published, &[]);
    world.retain(publisher, "jobs", "new");
    assert_eq!(world.received(client), ["PUBLISH jobs new q0 retain"]);
}

#[test]
fn a_repeated_subscribe_is_one_membership_with_the_newest_options() {
    // [X5-SUB-7]
    let mut world = world(Strategy::RoundRobin);
    let [one, two] = ["one", "two"].map(|id| world.join(Version::V5, id));
    for qos in [Q0, Q2, Q1] {
        world.subscribe(one, "$share/g/jobs", qos);
    }
    world.subscribe(two, "$share/g/jobs", Q1);
    assert_eq!((world.broker.stats().subscriptions, world.broker.stats().groups), (2, 1));
    publish(&mut world, 0..4, Q2);
    assert_eq!(counts(&mut world, [one, two]), [2, 2]);
    assert_eq!(world.unsubscribe(one, "$share/g/jobs"), ["UNSUBACK [0x00]"]);
    assert_eq!(world.unsubscribe(one, "$share/g/jobs"), ["UNSUBACK [0x11]"]);
    publish(&mut world, 0..4, Q1);
    assert_eq!(counts(&mut world, [one, two]), [0, 4]);
}

#[test]
fn a_group_a_plain_subscription_and_another_group_each_get_their_copy() {
    // [X5-SUB-8]
    let mut world = world(Strategy::RoundRobin);
    let both = world.join(Version::V5, "both");
    for filter in ["jobs", "$share/g/jobs", "$share/h/+", "$share/g/#"] {
        world.subscribe(both, filter, Q0);
    }
    publish(&mut world, 0..1, Q0);
    assert_eq!(world.messages(both), ["jobs 0"; 4]);
    // another name, another group; another filter, another group
    assert_eq!(world.broker.stats().groups, 3);
}

#[test]
fn every_version_may_share_and_the_dollar_rule_is_that_of_the_filter_inside() {
    // [X311-SHR-1] v5 [MQTT-4.7.2-1] pitfall 48
    let mut world = world(Strategy::RoundRobin);
    let clients = [Version::V31, Version::V311, Version::V5].map(|version| {
        let client = world.join(version, &format!("{version:?}"));
        world.subscribe(client, "$share/g/#", Q1);
        client
    });
    publish(&mut world, 0..6, Q1);
    assert_eq!(counts(&mut world, clients), [2, 2, 2]);
    let now = world.now;
    world.broker.publish(now, &Publication::new(TopicName::new("$SYS/x").unwrap(), b"hidden")).unwrap();
    world.turn();
    assert_eq!(counts(&mut world, clients), [0, 0, 0]);
}

#[test]
fn the_grammar_of_shared_filters_is_the_same_for_subscribe_and_unsubscribe() {
    // S5; v5 [MQTT-4.8.2-1] v5 [MQTT-4.8.2-2] v5 [MQTT-3.8.3-4] pitfall 23
    let table = [
        ("$share//a", false),
        ("$share/", false),
        ("$share/g", false),
        ("$share/g/", false),
        ("$share/g+/a", false),
        ("$share/+/a", false),
        ("$share/#", false),
        ("$share/g/a#", false),
        ("$share/g/a", true),
        ("$share/g//", true),
        ("$share/g//a", true),
        ("$share/g/#", true),
        ("$share/g/+/b", true),
        ("$share/g/$share/h/a", true),
        ("$share", true), // a plain filter
        ("$shared/g", true),
    ];
    for (filter, good) in table {
        let len = u8::try_from(filter.len()).unwrap();
        let subscribe = [&[0x82, len + 6, 0, 1, 0, 0, len][..], filter.as_bytes(), &[0]].concat();
        let unsubscribe = [&[0xA2, len + 5, 0, 1, 0, 0, len][..], filter.as_bytes()].concat();
        for (bytes, answer) in [(subscribe, "SUBACK [0x00]"), (unsubscribe, "UNSUBACK [0x11]")] {
            let mut world = World::new();
            let client = world.join(Version::V5, "c");
            world.send_bytes(client, &bytes);
            let expected = if good { answer } else { "DISCONNECT 0x81" };
            assert_eq!(world.received(client), [expected], "{filter}");
            assert_eq!(world.is_closed(client), !good, "{filter}");
        }
        if good || filter.contains("a#") || filter.contains('+') {
            continue;
        }
        // before 5.0 one filter is refused, and what is refused cannot be ended
        let mut world = World::new();
        let old = world.join(Version::V311, "old");
        if TopicFilter::new(filter).is_ok() {
            assert_eq!(world.subscribe(old, filter, Q0), ["SUBACK [0x80]"], "{filter}");
            assert_eq!(world.unsubscribe(old, filter), ["UNSUBACK []"], "{filter}");
            assert_eq!(world.broker.stats().subscriptions, 0);
        }
    }
    // no local on a shared subscription: the whole packet
    let mut world = World::new();
    let client = world.join(Version::V5, "c");
    world.send_bytes(client, b"\x82\x10\x00\x01\x00\x00\x0A$share/g/a\x04");
    assert_eq!(world.received(client), ["DISCONNECT 0x82"]);
}

#[test]
fn a_publisher_that_is_a_member_gets_its_own_messages_in_its_turn() {
    let mut world = world(Strategy::RoundRobin);
    let [one, two] = members(&mut world, "$share/g/jobs", Q0);
    for n in 0..4 {
        world.publish(one, "jobs", &n.to_string(), Q0);
    }
    assert_eq!(counts(&mut world, [one, two]), [2, 2]);
    assert_eq!(world.broker.stats().dropped_no_member, 0);
}

#[test]
fn groups_are_limited_and_a_refused_one_leaves_nothing_behind() {
    let mut world = World::configured(|config| config.shared.max_groups = 2);
    let [one, two] = ["one", "two"].map(|id| world.join(Version::V5, id));
    assert_eq!(world.subscribe(one, "$share/g/a", Q0), ["SUBACK [0x00]"]);
    assert_eq!(world.subscribe(one, "$share/h/a", Q0), ["SUBACK [0x00]"]);
    assert_eq!(world.subscribe(one, "$share/i/a", Q0), ["SUBACK [0x97]"]);
    assert_eq!(world.subscribe(two, "$share/h/a", Q0), ["SUBACK [0x00]"]);
    assert_eq!((world.broker.stats().groups, world.broker.stats().subscriptions), (2, 3));
    assert_eq!(world.broker.stats().limited(Limit::Groups), 1);
    assert_eq!(world.broker.subscriptions("one", 0, 10).items.len(), 2, "shared ones are listed too");
    world.unsubscribe(one, "$share/g/a");
    assert_eq!(world.subscribe(one, "$share/i/a", Q0), ["SUBACK [0x00]"]);
    world.cut(one);
    world.cut(two);
    assert_eq!((world.broker.stats().groups, world.broker.stats().subscriptions), (0, 0));
}
