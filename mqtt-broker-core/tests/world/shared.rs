//! Shared subscriptions (section 4.8.2): one member for each message, chosen well, and nothing lost when members go.
use crate::harness::*;
use mqtt_broker_core::codec::{
    Ack, AckKind, Disconnect, Packet, Properties, Property, Qos, ReasonCode, RetainHandling, SubscribeOptions, Version,
};
use mqtt_broker_core::topic::{HashSeed, TopicFilter, TopicName};
use mqtt_broker_core::{
    AllowAll, Broker, Config, Drop, Event, Instant, Limit, Overflow, Publication, SharedRule, Strategy,
    session::QueueLimits,
};

const Q0: Qos = Qos::AtMostOnce;
const Q1: Qos = Qos::AtLeastOnce;
const Q2: Qos = Qos::ExactlyOnce;

/// A world whose groups have this strategy.
fn world(strategy: Strategy) -> World<AllowAll> {
    World::configured(|config| {
        config.shared.strategy = strategy;
        config.events.drops = true;
    })
}

/// A client whose session stays for `expiry` seconds.
fn join_for(world: &mut World<AllowAll>, id: &str, expiry: u32) -> Name {
    let properties = [Property::SessionExpiryInterval(expiry), Property::ReceiveMaximum(2)];
    world.join_with(Version::V5, id, |connect| {
        connect.clean_start = false;
        connect.properties = Properties::from_slice(&properties);
    })
}

/// The same client comes back; what it gets is left for the test to read.
fn back(world: &mut World<AllowAll>, id: &str) -> Name {
    let properties = [Property::SessionExpiryInterval(3_600), Property::ReceiveMaximum(2)];
    world.try_join(Version::V5, id, |connect| {
        connect.clean_start = false;
        connect.properties = Properties::from_slice(&properties);
    })
}

/// Members of `filter`, whose sessions stay for an hour.
fn members<const N: usize>(world: &mut World<AllowAll>, filter: &str, qos: Qos) -> [Name; N] {
    core::array::from_fn(|n| {
        let member = join_for(world, &format!("member{n}"), 3_600);
        assert_eq!(world.subscribe(member, filter, qos), [format!("SUBACK [0x{:02X}]", qos as u8)]);
        member
    })
}

/// How many messages each got since last asked.
fn counts<const N: usize>(world: &mut World<AllowAll>, members: [Name; N]) -> [usize; N] {
    members.map(|member| world.messages(member).len())
}

fn publish(world: &mut World<AllowAll>, payloads: core::ops::Range<u32>, qos: Qos) {
    let name = world.join(Version::V5, "publisher");
    for payload in payloads {
        let number = u16::try_from(payload + 1).unwrap();
        world.publish_with(name, "jobs", &payload.to_string(), |publish| set_qos(publish, qos, number));
    }
    world.goodbye(name);
}

fn dropped(world: &mut World<AllowAll>) -> Vec<Drop> {
    world
        .events()
        .into_iter()
        .filter_map(|event| if let Event::Dropped { why, .. } = event { Some(why) } else { None })
        .collect()
}

// --- what the standard asks ------------------------------------------------------------------------------------------

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

// --- who is chosen ---------------------------------------------------------------------------------------------------

/// What each of three members gets of twelve messages by three publishers on four topics.
fn dealt(strategy: Strategy) -> [Vec<String>; 3] {
    let mut world = world(strategy);
    let names = members(&mut world, "$share/g/#", Q0);
    let publishers = ["ann", "bob", "cid"].map(|id| (id, world.join(Version::V5, id)));
    for topic in ["t1", "t2", "t3", "t4"] {
        for (id, publisher) in publishers {
            world.publish(publisher, topic, id, Q0);
        }
    }
    let dealt = names.map(|name| world.messages(name));
    assert_eq!(dealt.iter().map(Vec::len).sum::<usize>(), 12, "{strategy:?}");
    dealt
}

#[test]
fn round_robin_takes_each_in_turn() {
    let dealt = dealt(Strategy::RoundRobin);
    assert_eq!(dealt[0], ["t1 ann", "t2 ann", "t3 ann", "t4 ann"]);
    assert_eq!(dealt[2], ["t1 cid", "t2 cid", "t3 cid", "t4 cid"]);
}

#[test]
fn random_takes_any_and_the_same_for_the_same_seed() {
    let first = dealt(Strategy::Random);
    assert_eq!(first, dealt(Strategy::Random));
    assert_ne!(first, dealt(Strategy::RoundRobin));
    let mut world = world(Strategy::Random);
    let names = members::<4>(&mut world, "$share/g/jobs", Q0);
    publish(&mut world, 0..1_000, Q0);
    assert!(counts(&mut world, names).iter().all(|&count| (180..320).contains(&count)), "evenly, by and large");
}

#[test]
fn sticky_stays_with_one_until_it_goes() {
    let dealt = dealt(Strategy::Sticky);
    assert_eq!(dealt.iter().map(Vec::len).max(), Some(12), "{dealt:?}");
    let mut world = world(Strategy::Sticky);
    let names = members::<3>(&mut world, "$share/g/jobs", Q0);
    publish(&mut world, 0..5, Q0);
    let first = names.into_iter().find(|&name| !world.messages(name).is_empty()).unwrap();
    world.cut(first);
    publish(&mut world, 5..10, Q0);
    let rest =
        names.into_iter().filter(|&name| name != first).map(|name| world.messages(name).len()).collect::<Vec<_>>();
    assert!(rest == [5, 0] || rest == [0, 5], "{rest:?}");
}

#[test]
fn hash_by_client_gives_what_one_client_publishes_to_one_member() {
    let dealt = dealt(Strategy::HashClient);
    for publisher in ["ann", "bob", "cid"] {
        let holders = dealt.iter().filter(|list| list.iter().any(|line| line.ends_with(publisher))).count();
        assert_eq!(holders, 1, "{publisher}: {dealt:?}");
    }
    assert!(dealt.iter().all(|list| list.len() < 12), "publishers differ: {dealt:?}");
}

#[test]
fn hash_by_topic_gives_what_is_published_to_one_topic_to_one_member() {
    let dealt = dealt(Strategy::HashTopic);
    for topic in ["t1", "t2", "t3", "t4"] {
        let holders = dealt.iter().filter(|list| list.iter().any(|line| line.starts_with(topic))).count();
        assert_eq!(holders, 1, "{topic}: {dealt:?}");
    }
    assert!(dealt.iter().all(|list| list.len() < 12), "topics differ: {dealt:?}");
}

#[test]
fn least_in_flight_takes_whoever_has_the_fewest() {
    let mut world = world(Strategy::LeastInflight);
    let [one, two, three] = ["one", "two", "three"].map(|id| world.join(Version::V5, id));
    for name in [one, two, three] {
        world.subscribe(name, "$share/g/jobs", Q1);
    }
    publish(&mut world, 0..6, Q1);
    assert_eq!(counts(&mut world, [one, two, three]), [2, 2, 2]);
    // two answers what it had, so the next go to it; round robin would give one to each
    world.ack(two, AckKind::Puback, 1);
    world.ack(two, AckKind::Puback, 2);
    publish(&mut world, 6..8, Q1);
    assert_eq!(counts(&mut world, [one, two, three]), [0, 2, 0]);
}

#[test]
fn the_strategy_of_a_group_follows_its_name_or_its_filter() {
    let mut world = World::configured(|config| {
        config.shared.rules.push(SharedRule::group("one-only", Strategy::Sticky));
        config.shared.rules.push(SharedRule::below("jobs/", Strategy::Sticky));
    });
    let names = ["a", "b", "c"].map(|id| world.join(Version::V5, id));
    for (filter, topic, expected) in [
        ("$share/one-only/x", "x", vec![0, 0, 6]),
        ("$share/g/jobs/x", "jobs/x", vec![0, 0, 6]),
        ("$share/g/y", "y", vec![2, 2, 2]),
    ] {
        for name in names {
            world.subscribe(name, filter, Q0);
        }
        let publisher = world.join(Version::V5, "publisher");
        for n in 0..6 {
            world.publish(publisher, topic, &n.to_string(), Q0);
        }
        let mut got = counts(&mut world, names);
        got.sort_unstable();
        assert_eq!(got.to_vec(), expected, "{filter}");
    }
}

#[test]
fn a_member_that_keeps_up_comes_before_one_that_waits_and_that_before_one_that_is_away() {
    for strategy in [Strategy::RoundRobin, Strategy::Random, Strategy::LeastInflight] {
        let mut world = world(strategy);
        let [away, full, ready] = members(&mut world, "$share/g/jobs", Q1);
        world.cut(away);
        // the window of `full` is full: it takes two
        world.cut(ready);
        publish(&mut world, 0..2, Q1);
        assert_eq!(counts(&mut world, [full]), [2]);
        let ready = back(&mut world, "member2");
        publish(&mut world, 2..4, Q1);
        assert_eq!(counts(&mut world, [full, ready]), [0, 2], "{strategy:?}");
        // nobody can take more at once; connected comes before away
        publish(&mut world, 4..6, Q1);
        let away = back(&mut world, "member0");
        assert_eq!(world.messages(away), Vec::<String>::new(), "{strategy:?}");
        // who has answered is ready again
        world.cut(away);
        for id in [1, 2] {
            world.ack(full, AckKind::Puback, id);
        }
        world.received(full);
        for id in [3, 4] {
            world.ack(full, AckKind::Puback, id);
        }
        assert!(world.messages(full).is_empty());
        publish(&mut world, 6..7, Q1);
        assert_eq!(counts(&mut world, [full, ready]), [1, 0], "{strategy:?}");
    }
}

#[test]
fn a_member_whose_socket_takes_nothing_is_passed_over() {
    // S17
    let mut world = World::configured(|config| config.high_water = 1_000);
    let [stalled, other] = members(&mut world, "$share/g/jobs", Q0);
    world.links[stalled].takes = Some(0);
    let publisher = world.join(Version::V5, "publisher");
    let payload = "x".repeat(600);
    for _ in 0..20 {
        world.publish(publisher, "jobs", &payload, Q0);
        world.advance(200);
    }
    assert!(world.messages(other).len() >= 17);
    // it takes what waits, and its share again
    world.take(stalled, usize::MAX);
    world.links[stalled].takes = None;
    world.received(stalled);
    for _ in 0..4 {
        world.publish(publisher, "jobs", &payload, Q0);
    }
    assert_eq!(counts(&mut world, [stalled, other]), [2, 2]);
}

#[test]
fn qos_0_goes_only_to_members_that_are_there_and_what_is_kept_only_to_those_that_keep_it() {
    let mut world = world(Strategy::RoundRobin);
    let [gone, here] = members(&mut world, "$share/g/jobs", Q1);
    let careless = join_for(&mut world, "careless", 3_600);
    world.subscribe(careless, "$share/g/jobs", Q0);
    world.cut(gone);
    world.cut(careless);
    publish(&mut world, 0..3, Q0);
    assert_eq!(world.messages(here).len(), 3);
    world.cut(here);
    // all are away: QoS 1 waits with those that were granted it, never with who would lose it
    publish(&mut world, 3..7, Q1);
    let [gone, here, careless] = ["member0", "member1", "careless"].map(|id| back(&mut world, id));
    for name in [gone, here] {
        assert_eq!(world.messages(name).len(), 2);
    }
    assert!(world.messages(careless).is_empty());
}

#[test]
fn a_message_too_large_for_one_member_goes_to_one_that_takes_it() {
    // [X5-SUB-11]
    let mut world = world(Strategy::RoundRobin);
    let small = [Property::MaximumPacketSize(50)];
    let one = world.join_with(Version::V5, "small", |connect| connect.properties = Properties::from_slice(&small));
    let two = world.join(Version::V5, "large");
    for name in [one, two] {
        world.subscribe(name, "$share/g/jobs", Q1);
    }
    let publisher = world.join(Version::V5, "publisher");
    let payload = "x".repeat(100);
    for _ in 0..4 {
        world.publish(publisher, "jobs", &payload, Q1);
    }
    assert_eq!(counts(&mut world, [one, two]), [0, 4]);
    world.publish(publisher, "jobs", "small", Q1);
    world.publish(publisher, "jobs", "small", Q1);
    assert_eq!(counts(&mut world, [one, two]), [1, 1]);
    // nobody takes it: dropped, and said so
    world.unsubscribe(two, "$share/g/jobs");
    world.publish(publisher, "jobs", &payload, Q1);
    assert_eq!((dropped(&mut world), world.is_closed(one)), (vec![Drop::TooLarge], false));
}

#[test]
fn a_member_whose_queue_is_full_is_passed_over() {
    let mut world = World::configured(|config| (config.queue.messages, config.overflow) = (3, Overflow::DropNewest));
    let [one, two] = members(&mut world, "$share/g/jobs", Q1);
    world.cut(one);
    world.cut(two);
    publish(&mut world, 0..6, Q1);
    assert_eq!(world.broker.stats().dropped_full, 0);
    publish(&mut world, 6..8, Q1);
    assert_eq!(world.broker.stats().dropped_full, 2, "all are full");
    let [one, two] = ["member0", "member1"].map(|id| back(&mut world, id));
    assert_eq!(counts(&mut world, [one, two]), [2, 2]);
}

// --- when members go -------------------------------------------------------------------------------------------------

/// Two members; the first has two QoS 1 in flight and two that wait, the second nothing but its connection.
fn one_is_behind(world: &mut World<AllowAll>) -> [Name; 2] {
    let [one] = members(world, "$share/g/jobs", Q1);
    publish(world, 0..4, Q1);
    assert_eq!(world.messages(one), ["jobs 0", "jobs 1"]);
    let two = join_for(world, "two", 3_600);
    world.subscribe(two, "$share/g/jobs", Q2);
    [one, two]
}

/// Everything `name` gets as it answers.
fn drain(world: &mut World<AllowAll>, name: Name) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let lines = world.received(name);
        let mut answered = false;
        for line in lines.iter().filter(|line| line.starts_with("PUBLISH")) {
            let mut words = line.split(' ').skip(2);
            all.push(words.next().unwrap().to_string());
            if let Some(id) = line.split(" id").nth(1).and_then(|rest| rest.split(' ').next()) {
                world.ack(name, AckKind::Puback, id.parse().unwrap());
                answered = true;
            }
        }
        if !answered {
            return all;
        }
    }
}

#[test]
fn what_a_session_that_expires_had_goes_to_another_member_once_and_in_order() {
    // [X5-SUB-9]
    let mut world = world(Strategy::RoundRobin);
    let [one, two] = one_is_behind(&mut world);
    world.cut(one);
    world.advance(3_599 * SECOND);
    assert!(drain(&mut world, two).is_empty(), "it may come back");
    world.advance(SECOND);
    assert_eq!(drain(&mut world, two), ["0", "1", "2", "3"]);
    let stats = world.broker.stats();
    assert_eq!((stats.handed_over, stats.queued_bytes, stats.dropped_no_member), (4, 0, 0));
}

#[test]
fn every_end_of_a_session_hands_over() {
    // [X5-SUB-9]: clean start, a goodbye that ends the session, a takeover with clean start, a session that dies with its connection
    type End = fn(&mut World<AllowAll>, Name);
    let ends: [(&str, End); 4] = [
        ("clean start", |world, one| {
            world.cut(one);
            world.join(Version::V5, "member0");
        }),
        ("takeover", |world, _| {
            world.join(Version::V5, "member0");
        }),
        ("goodbye", |world, one| {
            let expiry = [Property::SessionExpiryInterval(0)];
            let properties = Properties::from_slice(&expiry);
            world.send(one, Packet::Disconnect(Disconnect { reason: ReasonCode::SUCCESS, properties }));
        }),
        ("unsubscribe, then the end", |world, one| {
            world.unsubscribe(one, "$share/g/jobs");
            world.cut(one);
            world.advance(HOUR);
        }),
    ];
    for (what, end) in ends {
        let mut world = world(Strategy::RoundRobin);
        let [one, two] = one_is_behind(&mut world);
        end(&mut world, one);
        let mut got = drain(&mut world, two);
        got.sort();
        assert_eq!(got, ["0", "1", "2", "3"], "{what}");
        assert_eq!((world.broker.stats().handed_over, world.broker.stats().queued_bytes), (4, 0), "{what}");
    }
}

#[test]
fn a_member_that_comes_back_in_time_gets_what_was_its_own_and_nobody_else_does() {
    let mut world = world(Strategy::RoundRobin);
    let [one, two] = one_is_behind(&mut world);
    world.cut(one);
    let one = back(&mut world, "member0");
    assert_eq!(drain(&mut world, one), ["0", "1", "2", "3"]);
    world.advance(2 * HOUR);
    assert!(drain(&mut world, two).is_empty());
    assert_eq!(world.broker.stats().handed_over, 0);
}

#[test]
fn who_leaves_a_group_finishes_what_was_begun_and_the_others_get_what_was_not() {
    // v5 [MQTT-3.10.4-3] pitfall 39
    let mut world = world(Strategy::RoundRobin);
    let [one, two] = one_is_behind(&mut world);
    assert_eq!(world.unsubscribe(one, "$share/g/jobs"), ["UNSUBACK [0x00]"]);
    assert_eq!(drain(&mut world, two), ["2", "3"]);
    for id in [1, 2] {
        world.ack(one, AckKind::Puback, id);
    }
    assert!(drain(&mut world, one).is_empty());
    world.cut(one);
    world.advance(2 * HOUR);
    assert!(drain(&mut world, two).is_empty(), "they were acknowledged");
}

#[test]
fn qos_2_that_was_begun_stays_with_its_session_and_ends_with_it() {
    // v5 [MQTT-4.8.2-4] v5 [MQTT-4.8.2-5] pitfall 54
    let mut world = world(Strategy::RoundRobin);
    let [one] = members(&mut world, "$share/g/jobs", Q2);
    publish(&mut world, 0..3, Q2);
    assert_eq!(world.messages(one), ["jobs 0", "jobs 1"]);
    let two = join_for(&mut world, "two", 3_600);
    world.subscribe(two, "$share/g/jobs", Q1);
    world.cut(one);
    // back in time: the same client goes on where it was
    let one = back(&mut world, "member0");
    assert_eq!(world.received(one)[1..], ["PUBLISH jobs 0 q2 id1 dup", "PUBLISH jobs 1 q2 id2 dup"]);
    world.ack(one, AckKind::Pubrec, 1);
    world.ack(one, AckKind::Pubcomp, 1);
    world.cut(one);
    world.advance(HOUR);
    // 1 was begun and is gone with the session; 2 was given an identifier when 0 was done
    assert!(drain(&mut world, two).is_empty());
    // what was never sent goes on, at the QoS the other was granted
    let [three] = members(&mut world, "$share/h/jobs", Q2);
    publish(&mut world, 3..6, Q2);
    world.messages(three);
    drain(&mut world, two);
    world.subscribe(two, "$share/h/jobs", Q1);
    world.cut(three);
    world.advance(HOUR);
    assert_eq!(world.received(two), ["PUBLISH jobs 5 q1 id4"]);
}

#[test]
fn a_message_is_handed_over_with_the_qos_and_retain_it_was_published_with() {
    // v5 [MQTT-4.8.2-3] v5 [MQTT-3.8.4-8]
    let mut world = world(Strategy::RoundRobin);
    let [one] = members(&mut world, "$share/g/jobs", Q1);
    let publisher = world.join(Version::V5, "publisher");
    let expiry = [
        Property::MessageExpiryInterval(5_000),
        Property::ContentType(mqtt_broker_core::codec::Utf8::new("x").unwrap()),
    ];
    world.publish_with(publisher, "jobs", "1", |publish| {
        set_qos(publish, Q2, 1);
        publish.retain = true;
        publish.properties = Properties::from_slice(&expiry);
    });
    assert_eq!(world.received(one), ["PUBLISH jobs 1 q1 id1 expiry5000 ContentType(\"x\")"]);
    let two = world.join(Version::V5, "two");
    let options = SubscribeOptions { qos: Q2, retain_as_published: true, ..Default::default() };
    world.subscribe_with(two, "$share/g/jobs", options, &[Property::SubscriptionIdentifier(9)]);
    world.cut(one);
    world.advance(HOUR);
    assert_eq!(world.received(two), ["PUBLISH jobs 1 q2 id1 retain expiry1400 sub9 ContentType(\"x\")"]);
}

#[test]
fn a_message_that_a_member_refuses_is_discarded() {
    // v5 [MQTT-4.8.2-6]
    let mut world = world(Strategy::RoundRobin);
    let [one, two] = members(&mut world, "$share/g/jobs", Q2);
    let refusal = |kind, number| {
        let (packet_id, reason) = (id(number), ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR);
        Packet::Ack(Ack { kind, packet_id, reason, properties: Properties::EMPTY })
    };
    publish(&mut world, 0..1, Q1);
    world.send(one, refusal(AckKind::Puback, 1));
    publish(&mut world, 1..2, Q2);
    assert_eq!(world.messages(two), ["jobs 1"]);
    world.send(two, refusal(AckKind::Pubrec, 1));
    world.received(one);
    for name in [one, two] {
        world.cut(name);
    }
    world.advance(HOUR);
    assert_eq!((world.broker.stats().handed_over, world.broker.stats().queued_bytes), (0, 0));
}

#[test]
fn the_last_member_takes_the_group_and_what_waits_for_it_along() {
    // [X5-SUB-10]
    for leaves_by_unsubscribing in [true, false] {
        let mut world = world(Strategy::RoundRobin);
        let [one] = members(&mut world, "$share/g/jobs", Q1);
        publish(&mut world, 0..5, Q1);
        let begun = world.messages(one).len();
        if leaves_by_unsubscribing {
            world.unsubscribe(one, "$share/g/jobs");
            assert_eq!(dropped(&mut world), [Drop::NoMember; 3]);
        } else {
            world.cut(one);
            world.advance(HOUR);
            assert_eq!(dropped(&mut world), [Drop::NoMember; 5]);
        }
        assert_eq!((begun, world.broker.stats().groups, world.broker.stats().subscriptions), (2, 0, 0));
        let again = world.join(Version::V5, "again");
        world.subscribe(again, "$share/g/jobs", Q1);
        if leaves_by_unsubscribing {
            // the group that has the name now is another: what the first left in flight is not for it
            world.cut(one);
            world.advance(HOUR);
        }
        assert!(world.messages(again).is_empty());
        assert_eq!(world.broker.stats().queued_bytes, 0);
    }
}

#[test]
fn a_message_that_ends_every_session_it_comes_to_does_not_go_round_for_ever() {
    let mut world = world(Strategy::RoundRobin);
    let survivor = world.join(Version::V5, "survivor");
    world.subscribe(survivor, "$share/g/other", Q1);
    let first = world.join(Version::V5, "victim0");
    world.subscribe(first, "$share/g/jobs", Q1);
    publish(&mut world, 0..1, Q1);
    let mut victim = first;
    let mut had = 0;
    for n in 1..20 {
        had += world.messages(victim).len();
        let next = world.join(Version::V5, &format!("victim{n}"));
        world.subscribe(next, "$share/g/jobs", Q1);
        world.cut(victim); // its session dies with it
        victim = next;
    }
    assert_eq!(had, 1 + usize::from(Config::default().shared.max_handovers));
    assert_eq!(dropped(&mut world), [Drop::HandedOver]);
    assert_eq!((world.broker.stats().dropped_handed_over, world.broker.stats().queued_bytes), (1, 0));
}

#[test]
fn a_hand_over_that_ends_the_next_session_too_ends() {
    // each member's queue takes two; who gets more is disconnected, and its session with it
    let mut world = World::configured(|config| {
        (config.queue.messages, config.overflow) = (2, Overflow::Disconnect);
    });
    let names: [Name; 6] = core::array::from_fn(|n| {
        let name = world.join(Version::V5, &format!("member{n}"));
        world.subscribe(name, "$share/g/jobs", Q1);
        name
    });
    publish(&mut world, 0..12, Q1);
    for name in names {
        if !world.is_closed(name) {
            world.cut(name);
        }
    }
    let stats = world.broker.stats();
    assert_eq!((stats.groups, stats.sessions, stats.queued_bytes), (0, 0, 0));
    assert!(stats.dropped_no_member + stats.dropped_full + stats.dropped_handed_over > 0);
}

#[test]
fn expired_messages_are_not_handed_over() {
    let mut world = world(Strategy::RoundRobin);
    let [one, two] = members(&mut world, "$share/g/jobs", Q1);
    world.cut(two);
    let publisher = world.join(Version::V5, "publisher");
    let expiry = [Property::MessageExpiryInterval(60)];
    for _ in 0..4 {
        world.publish_with(publisher, "jobs", "soon stale", |publish| {
            set_qos(publish, Q1, 1);
            publish.properties = Properties::from_slice(&expiry);
        });
    }
    world.cut(one);
    world.advance(3_599 * SECOND);
    let two = back(&mut world, "member1");
    world.advance(SECOND);
    assert!(world.messages(two).is_empty());
    assert_eq!(dropped(&mut world), [Drop::Expired; 4]);
}

#[test]
fn clients_of_the_program_share_too_and_leave_what_they_have_to_others() {
    let mut broker = Broker::new(Config::default(), AllowAll, HashSeed::new(1, 2)).unwrap();
    let now = Instant::from_millis(1);
    let limits = QueueLimits { messages: 10, bytes: 10_000 };
    let [one, two] = [(); 2].map(|()| broker.local_open(limits).unwrap());
    let filter = TopicFilter::new("$share/g/jobs").unwrap();
    let options = SubscribeOptions { qos: Q1, ..Default::default() };
    for id in [one, two] {
        broker.local_subscribe(now, id, filter, options).unwrap();
    }
    assert!(broker.local_subscribe(now, one, TopicFilter::new("$share/g").unwrap(), options).is_err());
    for n in 0..6u8 {
        let payload = [n];
        let publication = Publication { qos: Q1, ..Publication::new(TopicName::new("jobs").unwrap(), &payload) };
        assert_eq!(broker.publish(now, &publication), Ok(1));
    }
    let got = |broker: &mut Broker<AllowAll>, id| {
        std::iter::from_fn(|| broker.local_receive(now, id))
            .map(|delivery| delivery.message.payload()[0])
            .collect::<Vec<_>>()
    };
    assert_eq!(got(&mut broker, one), [0, 2, 4]);
    broker.local_close(two);
    assert_eq!(got(&mut broker, one), [1, 3, 5]);
    assert!(broker.local_unsubscribe(one, filter));
    assert_eq!((broker.stats().groups, broker.stats().subscriptions, broker.stats().queued_bytes), (0, 0, 0));
}

// --- limits ----------------------------------------------------------------------------------------------------------

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
