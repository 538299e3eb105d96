//! Shared subscriptions: what becomes of messages when the members who have them go.
use crate::harness::*;
use crate::shared::*;
use mqtt_broker_core::codec::{
    Ack, AckKind, Disconnect, Packet, Properties, Property, ReasonCode, SubscribeOptions, Version,
};
use mqtt_broker_core::topic::{HashSeed, TopicFilter, TopicName};
use mqtt_broker_core::{
    AllowAll, Broker, Config, Drop, Instant, Overflow, Publication, Strategy, session::QueueLimits,
};

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
