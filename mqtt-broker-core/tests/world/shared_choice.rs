//! Shared subscriptions: which member gets a message.
use crate::harness::*;
use crate::shared::*;
use mqtt_broker_core::codec::{AckKind, Properties, Property, Version};
use mqtt_broker_core::{Drop, Overflow, SharedRule, Strategy};

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
