//! What survives the process.
use super::*;

#[test]
fn a_session_with_its_subscriptions_and_messages_survives() {
    let mut world = kept(Durability::Synced);
    let reader = stay(&mut world, "reader");
    world.subscribe(reader, "news/#", Qos::AtLeastOnce);
    world.cut(reader);
    let writer = world.join(Version::V311, "writer");
    world.publish(writer, "news/1", "away", Qos::AtLeastOnce);
    assert_eq!(world.received(writer), ["PUBACK id1"]);

    let mut world = crash(world, 60_000);
    assert_eq!((world.broker.stats().sessions, world.broker.stats().subscriptions), (1, 1));
    let writer = world.join(Version::V311, "writer");
    world.publish(writer, "news/2", "after", Qos::AtLeastOnce);
    let (reader, came) = come_back(&mut world, "reader");
    assert_eq!(came, ["CONNACK 0x00 present", "PUBLISH news/1 away q1 id1", "PUBLISH news/2 after q1 id2"]);
    assert_eq!(world.subscribe(reader, "news/#", Qos::AtLeastOnce), ["SUBACK [0x01]"]);
    assert_eq!(world.broker.stats().subscriptions, 1, "it was there already");
}

#[test]
fn a_session_is_read_when_its_client_or_a_message_comes() {
    // S19: a broker with many sessions starts at once
    let mut world = kept(Durability::Synced);
    for id in ["a", "b", "c"] {
        let name = stay(&mut world, id);
        world.subscribe(name, id, Qos::AtLeastOnce);
    }
    let mut world = crash(world, 0);
    assert_eq!((world.broker.policy().loads, world.broker.stats().sessions), (0, 3));
    come_back(&mut world, "a");
    assert_eq!(world.broker.policy().loads, 1);
    let writer = world.join(Version::V5, "writer");
    world.publish(writer, "b", "0", Qos::AtMostOnce);
    assert_eq!(world.broker.policy().loads, 1, "nothing of QoS 0 is kept for who is away");
    world.publish(writer, "b", "1", Qos::AtLeastOnce);
    world.publish(writer, "b", "2", Qos::AtLeastOnce);
    assert_eq!(world.broker.policy().loads, 2, "once");
}

#[test]
fn all_of_a_subscription_survives() {
    let mut world = kept(Durability::Synced);
    let name = stay(&mut world, "c");
    let options = SubscribeOptions {
        qos: Qos::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        ..SubscribeOptions::default()
    };
    world.subscribe_with(name, "a/+", options, &[Property::SubscriptionIdentifier(70_000)]);
    world.subscribe(name, "gone", Qos::AtMostOnce);
    world.subscribe(name, "my/own", Qos::AtMostOnce);
    world.unsubscribe(name, "gone");
    let before = world.broker.subscriptions("c", 0, 10).items;
    let mut world = crash(world, 0);
    let after = world.broker.subscriptions("c", 0, 10).items;
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
    assert_eq!(after.len(), 2);
    // what the policy put in the place of the client's own name is still known by that
    let (name, _) = come_back(&mut world, "c");
    assert_eq!(world.unsubscribe(name, "my/own"), ["UNSUBACK [0x00]"]);
    assert_eq!(world.broker.subscriptions("c", 0, 10).items.len(), 1);
}

#[test]
fn retained_messages_survive_with_their_rest_of_expiry() {
    let mut world = kept(Durability::Buffered);
    let name = world.join(Version::V5, "c");
    world.retain(name, "kept", "1");
    world.retain(name, "cleared", "1");
    world.retain(name, "cleared", "");
    let (brief, long) = ([Property::MessageExpiryInterval(10)], [Property::MessageExpiryInterval(100)]);
    for (topic, properties) in [("brief", &brief), ("long", &long)] {
        world.publish_with(name, topic, "1", |publish| {
            publish.retain = true;
            publish.properties = Properties::from_slice(properties);
        });
    }
    assert_eq!(tables(&world)[2], (Table::Retained, 3));
    let mut world = crash(world, 40_000);
    assert_eq!(tables(&world)[2], (Table::Retained, 2), "what had expired is gone from the store too");
    let name = world.join(Version::V5, "d");
    let mut came = world.subscribe(name, "#", Qos::AtMostOnce);
    came.sort();
    assert_eq!(came, ["PUBLISH kept 1 q0 retain", "PUBLISH long 1 q0 retain expiry60", "SUBACK [0x00]"]);
}

#[test]
fn the_broker_s_own_figures_are_not_stored() {
    let mut world = kept_with(|config| {
        config.durability = Durability::Synced;
        config.sys_interval = Some(std::time::Duration::from_secs(1));
    });
    world.advance(10_000);
    assert!(world.broker.stats().retained > 0);
    assert_eq!(tables(&world)[2], (Table::Retained, 0));
}

#[test]
fn a_session_expires_by_the_clock_on_the_wall() {
    let mut world = kept(Durability::Synced);
    let name = stay(&mut world, "c");
    world.cut(name);
    world.advance(1_000 * SECOND);
    let world = crash(world, 2_000 * SECOND);
    assert_eq!(world.broker.stats().sessions, 1);
    let mut world = crash(world, 500 * SECOND);
    world.advance(99 * SECOND);
    assert_eq!(world.broker.stats().sessions, 1);
    world.advance(SECOND);
    assert_eq!(world.broker.stats().sessions, 0, "an hour after its client went");
    assert_eq!(tables(&world).iter().map(|(_, count)| count).sum::<usize>(), 0, "nothing is left in the store");
}

#[test]
fn who_was_connected_counts_as_lost_when_the_next_process_begins() {
    let mut world = kept(Durability::Synced);
    stay(&mut world, "c");
    let mut world = crash(world, 100 * HOUR);
    world.advance(HOUR - 1);
    // and is not given another hour by another crash
    let mut world = crash(world, 0);
    assert_eq!(world.broker.stats().sessions, 1);
    world.advance(1);
    assert_eq!(world.broker.stats().sessions, 0);
}

// v5 [X5-WILL-5]
#[test]
fn wills_that_were_pending_go_on_and_are_published_once() {
    let mut world = kept(Durability::Synced);
    let watcher = stay(&mut world, "watcher");
    world.subscribe(watcher, "will/#", Qos::AtLeastOnce);
    let delay = [Property::WillDelayInterval(100)];
    let expiry = [Property::SessionExpiryInterval(3_600)];
    for (id, topic, delay) in
        [("now", "will/now", &delay[..0]), ("later", "will/later", &delay), ("gone", "will/gone", &delay)]
    {
        world.join_with(Version::V5, id, |connect| {
            connect.will = Some(will(topic, "1"));
            connect.will.as_mut().unwrap().qos = Qos::AtLeastOnce;
            connect.will.as_mut().unwrap().properties = Properties::from_slice(delay);
            connect.properties = Properties::from_slice(if id == "now" { &[] } else { &expiry });
        });
    }
    let gone = world.links.len() - 1;
    world.cut(gone);
    world.advance(90 * SECOND);

    let mut world = crash(world, 5 * SECOND);
    let (_, came) = come_back(&mut world, "watcher");
    assert_eq!(came, ["CONNACK 0x00 present", "PUBLISH will/now 1 q1 id1"], "its connection was lost by the crash");
    world.advance(5 * SECOND);
    let watcher = world.links.len() - 1;
    assert_eq!(world.messages(watcher), ["will/gone 1"], "a hundred seconds after its client went");
    world.advance(94 * SECOND);
    assert_eq!(world.messages(watcher), [""; 0]);
    world.advance(SECOND);
    assert_eq!(world.messages(watcher), ["will/later 1"], "a hundred seconds after the crash");

    let mut world = crash(world, 0);
    world.advance(2 * HOUR);
    assert_eq!(world.broker.stats().messages_out, 0, "none of them again");
}

#[test]
fn a_will_that_waits_for_the_policy_is_asked_about_again() {
    let mut world = kept(Durability::Synced);
    let watcher = stay(&mut world, "watcher");
    world.subscribe(watcher, "will", Qos::AtLeastOnce);
    let name = world.join_with(Version::V5, "c", |connect| {
        connect.will = Some(will("will", "1"));
        connect.will.as_mut().unwrap().qos = Qos::AtLeastOnce;
    });
    world.broker.policy_mut().defers_wills = true;
    world.cut(name);
    assert_eq!(tables(&world)[3], (Table::Wills, 1));
    let mut world = crash(world, 0);
    assert_eq!(tables(&world)[3], (Table::Wills, 0));
    let (_, came) = come_back(&mut world, "watcher");
    assert_eq!(came[1..], ["PUBLISH will 1 q1 id1"]);
    let mut world = crash(world, 0);
    let (_, came) = come_back(&mut world, "watcher");
    assert_eq!(came[1..], ["PUBLISH will 1 q1 id1 dup"], "the one that was not acknowledged, no second");
}

#[test]
fn bans_survive_until_they_end() {
    let mut world = kept(Durability::Synced);
    let until = world.now.plus_secs(100);
    world.broker.ban(world.now, Ban::ClientId("for ever".into()), None).unwrap();
    world.broker.ban(world.now, Ban::User("a while".into()), Some(until)).unwrap();
    world.broker.ban(world.now, Ban::Address([127, 0, 0, 1].into()), None).unwrap();
    world.broker.ban(world.now, Ban::User("pardoned".into()), None).unwrap();
    world.broker.unban(&Ban::User("pardoned".into()));
    world.turn();
    let mut world = crash(world, 90 * SECOND);
    let now = world.now;
    assert_eq!(world.broker.bans(now, None, 10).len(), 3);
    let now = now.plus_secs(10);
    assert_eq!(
        world.broker.bans(now, None, 10).into_iter().map(|(ban, _)| ban).collect::<Vec<_>>(),
        [Ban::ClientId("for ever".into()), Ban::Address([127, 0, 0, 1].into())]
    );
    world.turn();
    assert_eq!(tables(&world)[4], (Table::Bans, 2));
}

#[test]
fn what_a_group_had_goes_to_another_member_after_a_crash_too() {
    let mut world = kept(Durability::Synced);
    let one = stay(&mut world, "one");
    world.subscribe(one, "$share/other/x", Qos::AtLeastOnce);
    world.subscribe(one, "$share/g/jobs", Qos::AtLeastOnce);
    world.cut(one);
    let writer = world.join(Version::V5, "writer");
    world.publish(writer, "jobs", "1", Qos::AtLeastOnce);
    // the group has another number in the next process
    let mut world = crash(world, 0);
    let two = stay(&mut world, "two");
    world.subscribe(two, "$share/g/jobs", Qos::AtLeastOnce);
    assert_eq!(world.messages(two), [""; 0]);
    let mut world = crash(world, 0);
    let (two, _) = come_back(&mut world, "two");
    assert!(world.broker.purge_session(world.now, "one"));
    world.turn();
    assert_eq!(world.messages(two), ["jobs 1"]);
}

#[test]
fn what_is_kept_of_a_session_ends_with_it() {
    let mut world = kept(Durability::Synced);
    for id in ["expired", "purged", "clean"] {
        let name = stay(&mut world, id);
        world.subscribe(name, "a", Qos::ExactlyOnce);
    }
    world.broker.purge_session(world.now, "purged");
    world.turn();
    world.join(Version::V5, "clean"); // a clean start, for this connection only
    world.goodbye(0);
    world.advance(HOUR);
    assert_eq!(tables(&world).iter().map(|(_, count)| count).sum::<usize>(), 0);
}

// v5 [MQTT-3.8.3-3]
#[test]
fn a_will_that_waited_does_not_come_to_its_own_client_by_no_local_after_a_crash() {
    let mut world = kept(Durability::Synced);
    let expiry = [Property::SessionExpiryInterval(3_600)];
    let name = world.join_with(Version::V5, "c", |connect| {
        connect.properties = Properties::from_slice(&expiry);
        connect.will = Some(will("will", "1"));
        connect.will.as_mut().unwrap().qos = Qos::AtLeastOnce;
    });
    let options = SubscribeOptions { qos: Qos::AtLeastOnce, no_local: true, ..SubscribeOptions::default() };
    world.subscribe_with(name, "will", options, &[]);
    world.broker.policy_mut().defers_wills = true;
    world.cut(name);
    let mut world = crash(world, 0);
    assert!(world.events().iter().any(|event| matches!(event, Event::WillPublished { .. })));
    assert_eq!(come_back(&mut world, "c").1, ["CONNACK 0x00 present"]);
}
