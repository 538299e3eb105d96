//! Faults that a review of durability found, each as the story in which it showed.
use super::*;
use mqtt_broker_core::codec::Packet;
use mqtt_broker_core::{AllowAll, Overflow};

/// The process dies; another reads what it stored, and has not had its first turn.
fn crash_before_the_first_turn(world: &Kept, config: Config) -> (Kept, Vec<mqtt_broker_core::store::Unrestored>) {
    let unix = world.broker.policy().epoch.to_unix_millis(world.now);
    let store = world.broker.policy().store.lock().unwrap().clone().crash(Fault::LoseTail);
    restored(config, store, Instant::from_millis(5_000), Epoch::from_unix_millis(unix - 5_000))
}

fn synced() -> Config {
    let mut config = Config::default();
    config.durability = Durability::Synced;
    config
}

// --- groups ----------------------------------------------------------------------------------------------------------

#[test]
fn a_message_of_a_group_is_not_handed_to_another_group_of_the_next_process() {
    let mut world = kept(Durability::Synced);
    let one = stay(&mut world, "one");
    world.subscribe(one, "$share/g/jobs", Qos::AtLeastOnce);
    let writer = world.join(Version::V5, "writer");
    world.publish(writer, "jobs", "1", Qos::AtLeastOnce);
    assert_eq!(world.messages(one), ["jobs 1"]);
    world.unsubscribe(one, "$share/g/jobs"); // what is in flight stays, and bears the number of the group
    let mut world = crash(world, 0);
    let two = stay(&mut world, "two");
    world.subscribe(two, "$share/x/other", Qos::AtLeastOnce);
    assert_eq!(come_back(&mut world, "one").1, ["CONNACK 0x00 present", "PUBLISH jobs 1 q1 id1 dup"]);
    world.broker.purge_session(world.now, "one");
    world.turn();
    assert_eq!(world.messages(two), [""; 0], "it never subscribed to that");
}

#[test]
fn a_list_that_is_put_anew_before_its_session_is_read_keeps_the_groups_of_its_messages() {
    let mut world = kept(Durability::Synced);
    let one = stay(&mut world, "one");
    world.subscribe(one, "$share/other/x", Qos::AtLeastOnce);
    world.subscribe(one, "$share/g/jobs", Qos::AtLeastOnce);
    let writer = world.join(Version::V5, "writer");
    world.publish(writer, "jobs", "1", Qos::AtLeastOnce);
    // so many records that the next process puts them anew at once
    while records(&world, Table::Clients, "one") < 64 + 2 * 3 {
        world.subscribe(one, "$share/g/jobs", Qos::AtLeastOnce);
    }
    world.broker.policy_mut().holds = true;
    world.subscribe(one, "$share/g/jobs", Qos::AtLeastOnce);
    assert_eq!(records(&world, Table::Clients, "one"), 64 + 2 * 3 + 1);
    let world = crash_with(world, synced(), Fault::Tear(usize::MAX), 0);
    assert!(records(&world, Table::Clients, "one") <= 3);
    assert_eq!(world.broker.policy().loads, 0);
    let mut world = crash(world, 0);
    let (two, three) = (stay(&mut world, "two"), stay(&mut world, "three"));
    world.subscribe(two, "$share/g/jobs", Qos::AtLeastOnce);
    world.subscribe(three, "$share/other/x", Qos::AtLeastOnce);
    world.broker.purge_session(world.now, "one");
    world.turn();
    assert_eq!((world.messages(two), world.messages(three)), (vec!["jobs 1".to_string()], vec![]));
}

// S20
#[test]
fn a_message_for_a_group_goes_to_another_member_when_the_session_of_the_first_is_lost() {
    let mut world = kept(Durability::Synced);
    for id in ["broken", "whole"] {
        let name = stay(&mut world, id);
        world.subscribe(name, "$share/g/jobs", Qos::AtLeastOnce);
        world.cut(name);
    }
    let key = StoreKey::new(Table::Sessions, b"broken");
    let ops = [StoreOp { key, action: StoreAction::Delete }];
    world.broker.policy().store.lock().unwrap().write(&ops, Epoch::default()).unwrap();
    world.broker.policy().store.lock().unwrap().sync().unwrap();
    let mut world = crash(world, 0);
    let writer = world.join(Version::V5, "writer");
    for payload in ["1", "2", "3"] {
        world.publish(writer, "jobs", payload, Qos::AtLeastOnce);
        assert_eq!(world.received(writer), ["PUBACK id1"]);
    }
    assert_eq!(world.broker.stats().sessions_lost, 1);
    come_back(&mut world, "whole");
    assert_eq!(world.broker.client("whole").unwrap().inflight, 3, "all that was acknowledged");
}

#[test]
fn a_message_for_a_group_is_not_lost_with_a_member_in_the_store_that_keeps_none() {
    let mut world = kept(Durability::Synced);
    for (id, qos) in [("forgetful", Qos::AtMostOnce), ("keeper", Qos::AtLeastOnce)] {
        let name = stay(&mut world, id);
        world.subscribe(name, "$share/g/jobs", qos);
        world.cut(name);
    }
    let mut world = crash(world, 0);
    let writer = world.join(Version::V5, "writer");
    for payload in ["1", "2", "3"] {
        world.publish(writer, "jobs", payload, Qos::AtLeastOnce);
    }
    come_back(&mut world, "keeper");
    assert_eq!(world.broker.client("keeper").unwrap().inflight, 3, "nothing of QoS 0 is kept for who is away");
}

// --- rights (S7) -----------------------------------------------------------------------------------------------------

#[test]
fn a_right_that_was_lowered_stays_so_after_a_crash() {
    let mut world = kept(Durability::Synced);
    let name = stay(&mut world, "c");
    world.subscribe(name, "a", Qos::ExactlyOnce);
    world.broker.policy_mut().most = Qos::AtMostOnce;
    world.broker.reauthorize(world.now, "c");
    world.turn();
    assert_eq!(world.broker.subscriptions("c", 0, 10).items[0].qos, Qos::AtMostOnce);
    let world = crash(world, 0);
    assert_eq!(world.broker.subscriptions("c", 0, 10).items[0].qos, Qos::AtMostOnce);
}

/// A session in the store with a message that its client may not have any more.
fn revoked() -> Kept {
    let mut world = kept(Durability::Synced);
    let reader = stay(&mut world, "reader");
    world.subscribe(reader, "secret", Qos::AtLeastOnce);
    world.cut(reader);
    let writer = world.join(Version::V5, "writer");
    world.publish(writer, "secret", "1", Qos::AtLeastOnce);
    let mut world = crash(world, 0);
    world.broker.policy_mut().denied = "secret";
    world
}

#[test]
fn what_is_taken_away_while_its_session_is_in_the_store_does_not_come() {
    let mut world = revoked();
    assert!(world.broker.reauthorize(world.now, "reader"));
    world.turn();
    assert_eq!(come_back(&mut world, "reader").1, ["CONNACK 0x00 present"]);
}

#[test]
fn what_was_taken_away_while_there_was_no_process_does_not_come() {
    let mut world = revoked();
    let (_, came) = come_back(&mut world, "reader");
    assert_eq!(came, ["CONNACK 0x00 present"]);
    assert_eq!(world.broker.stats().subscriptions, 0);
}

// --- sessions that cannot be read ------------------------------------------------------------------------------------

#[test]
fn a_message_of_qos_2_for_a_session_that_cannot_be_read_is_taken_when_it_comes_again() {
    let mut world = kept(Durability::Synced);
    for (id, filter) in [("reader", "a"), ("other", "a"), ("member", "$share/g/b")] {
        let name = stay(&mut world, id);
        world.subscribe(name, filter, Qos::ExactlyOnce);
    }
    let mut world = crash(world, 0);
    let (other, _) = come_back(&mut world, "other");
    for (topic, to, number) in [("a", "reader", 1), ("b", "member", 2)] {
        let (writer, _) = come_back(&mut world, "writer");
        world.broker.policy_mut().fails = true;
        world.publish_with(writer, topic, "1", |publish| set_qos(publish, Qos::ExactlyOnce, number));
        assert!(world.is_closed(writer), "not acknowledged");
        world.broker.policy_mut().fails = false;
        let (writer, came) = come_back(&mut world, "writer");
        assert_eq!(came, ["CONNACK 0x00 present"]);
        world.publish_with(writer, topic, "1", |publish| {
            set_qos(publish, Qos::ExactlyOnce, number);
            publish.dup = true;
        });
        assert_eq!(world.received(writer), [format!("PUBREC id{number}")]);
        assert_eq!(come_back(&mut world, to).1[1..], [format!("PUBLISH {topic} 1 q2 id1")]);
        world.cut(writer);
    }
    assert_eq!(world.messages(other), ["a 1"], "once");
}

#[test]
fn a_message_of_qos_0_for_a_session_that_cannot_be_read_does_not_end_its_publisher() {
    let mut world = kept(Durability::Synced);
    let reader = stay(&mut world, "reader");
    world.subscribe(reader, "a", Qos::AtMostOnce);
    let mut config = synced();
    config.queue_qos0_offline = true;
    let mut world = crash_with(world, config, Fault::LoseTail, 0);
    world.broker.policy_mut().fails = true;
    let writer = world.join(Version::V5, "writer");
    world.publish(writer, "a", "1", Qos::AtMostOnce);
    assert!(!world.is_closed(writer), "nobody promised it anything");
    assert_eq!(world.broker.stats().dropped_not_loaded, 1);
}

// S11
#[test]
fn a_host_that_cannot_load_sessions_does_not_lose_them() {
    let mut world = kept(Durability::Synced);
    stay(&mut world, "c");
    let key = StoreKey::new(Table::Clients, b"c");
    let mut list = Vec::new();
    world.broker.policy().store.lock().unwrap().load(&key, &mut |record| list.push(record.to_vec())).unwrap();
    let mut world = World::with(synced(), AllowAll);
    world.broker.restore(world.now, Epoch::default(), &key, &list).unwrap();
    let name = world.try_join(Version::V5, "c", |connect| connect.clean_start = false);
    assert_eq!(world.received(name), ["CONNACK 0x88"]);
    assert_eq!((world.broker.stats().sessions, world.broker.stats().sessions_lost), (1, 0));
}

#[test]
fn a_message_for_a_group_goes_to_a_member_whose_session_can_be_read() {
    let mut world = kept(Durability::Synced);
    for id in ["far", "near"] {
        let name = stay(&mut world, id);
        world.subscribe(name, "$share/g/jobs", Qos::AtLeastOnce);
        world.cut(name);
    }
    let mut world = crash(world, 0);
    let (near, _) = come_back(&mut world, "near");
    world.cut(near);
    world.broker.policy_mut().fails = true;
    let writer = world.join(Version::V5, "writer");
    for payload in ["1", "2", "3"] {
        world.publish(writer, "jobs", payload, Qos::AtLeastOnce);
        assert_eq!(world.received(writer), ["PUBACK id1"]);
    }
    assert_eq!(world.broker.client("near").unwrap().queued, 3);
}

// v5 [MQTT-3.1.2-4] v4 [MQTT-3.1.2-6]
#[test]
fn a_session_that_was_not_restored_does_not_outlive_a_clean_start_of_its_client() {
    let mut world = kept(Durability::Synced);
    for id in ["a", "b"] {
        let name = stay(&mut world, id);
        world.subscribe(name, "news", Qos::AtLeastOnce);
    }
    let mut config = synced();
    config.max_sessions = 1;
    let (mut world, unrestored) = crash_before_the_first_turn(&world, config);
    assert_eq!(unrestored.len(), 1, "told");
    world.broker.purge_session(world.now, "a");
    let b = world.join(Version::V311, "b"); // a clean start, for this connection only
    world.goodbye(b);
    assert_eq!(tables(&world)[0], (Table::Clients, 0));
    let world = crash(world, 0);
    assert_eq!(world.broker.stats().sessions, 0);
}

// --- wills and bans --------------------------------------------------------------------------------------------------

#[test]
fn a_shutdown_publishes_wills_that_are_due_at_once_while_there_is_somebody_to_read_them() {
    let mut world = kept(Durability::Synced);
    let watcher = world.join(Version::V5, "watcher");
    world.subscribe(watcher, "will/#", Qos::AtMostOnce);
    let (delay, expiry) = ([Property::WillDelayInterval(100)], [Property::SessionExpiryInterval(3_600)]);
    for (id, topic, delay) in [("now", "will/now", &delay[..0]), ("later", "will/later", &delay)] {
        world.join_with(Version::V5, id, |connect| {
            connect.will = Some(will(topic, "1"));
            connect.will.as_mut().unwrap().properties = Properties::from_slice(delay);
            connect.properties = Properties::from_slice(&expiry);
        });
    }
    world.broker.shutdown(world.now);
    world.turn();
    assert_eq!(world.messages(watcher), ["will/now 1"]);
}

// v5 [X5-WILL-5]
#[test]
fn a_will_is_not_forgotten_by_the_store_before_it_is_published() {
    let mut world = kept(Durability::Synced);
    let watcher = stay(&mut world, "watcher");
    world.subscribe(watcher, "will", Qos::AtLeastOnce);
    world.join_with(Version::V5, "c", |connect| {
        connect.will = Some(will("will", "1"));
        connect.will.as_mut().unwrap().qos = Qos::AtLeastOnce;
    });
    let (mut world, unrestored) = crash_before_the_first_turn(&world, synced());
    assert_eq!(unrestored, []);
    assert!(world.broker.poll_timeout().is_some_and(|at| at <= world.now), "there is something to do at once");
    keep(&mut world); // a host that stores first of all, and dies then
    let mut world = crash(world, 0);
    let (_, came) = come_back(&mut world, "watcher");
    assert_eq!(came.len(), 2, "{came:?}");
    assert!(came[1].starts_with("PUBLISH will 1 q1 id1"));
}

#[test]
fn a_ban_that_found_no_room_stays_in_the_store() {
    let mut world = kept(Durability::Synced);
    for user in ["ada", "bob"] {
        world.broker.ban(world.now, Ban::User(user.into()), None).unwrap();
    }
    world.turn();
    let mut config = synced();
    config.max_bans = 1;
    let (mut world, unrestored) = crash_before_the_first_turn(&world, config);
    assert_eq!(unrestored.len(), 1, "told");
    world.advance(0);
    let mut world = crash(world, 0);
    assert_eq!(world.broker.bans(world.now, None, 10).len(), 2);
}

// --- bounds ----------------------------------------------------------------------------------------------------------

#[test]
fn answers_of_connections_that_are_gone_do_not_pile_up_while_the_store_is_behind() {
    let mut world = kept_with(|config| {
        config.durability = Durability::Synced;
        config.max_unstored_bytes = 100_000;
    });
    world.broker.policy_mut().holds = true;
    come_back(&mut world, "first"); // something is on its way
    for turn in 0.. {
        assert!(turn < 10, "they are let in for ever, and {} answers are kept", world.broker.stats().held_answers);
        let name = world.try_join(Version::V5, "c", |_| {});
        if world.is_closed(name) {
            assert_eq!(world.received(name), ["CONNACK 0x88"]);
            break;
        }
        for _ in 0..1_000 {
            if world.links[name].reading {
                world.subscribe(name, "a", Qos::AtMostOnce);
            }
        }
        world.cut(name);
    }
    store(&mut world);
    assert_eq!(world.broker.stats().held_answers, 0);
    assert_eq!(come_back(&mut world, "late").1, [""; 0]);
    store(&mut world);
    assert_eq!(world.received(world.links.len() - 1), ["CONNACK 0x00"]);
}

#[test]
fn who_subscribes_or_publishes_qos_2_more_than_is_stored_is_not_read() {
    for what in ["subscribe", "publish"] {
        let mut world = kept_with(|config| {
            config.durability = Durability::Buffered;
            config.max_unstored_bytes = 10_000;
            config.overflow = Overflow::DropNewest;
        });
        let name = stay(&mut world, "c");
        world.broker.policy_mut().holds = true;
        let mut done = 0;
        while world.links[name].reading {
            done += 1;
            assert!(done < 2_000, "it was read for ever");
            if what == "subscribe" {
                world.subscribe(name, &format!("a/{}", done % 100), Qos::AtLeastOnce);
            } else {
                world.publish(name, "a", "1", Qos::ExactlyOnce);
                if world.links[name].reading {
                    world.send(
                        name,
                        Packet::Ack(mqtt_broker_core::codec::Ack {
                            kind: AckKind::Pubrel,
                            packet_id: id(1),
                            reason: ReasonCode::SUCCESS,
                            properties: Properties::EMPTY,
                        }),
                    );
                }
            }
        }
        store(&mut world);
        assert!(world.links[name].reading, "{what}");
    }
}

// v5 [MQTT-3.1.2-22] v4 [MQTT-3.1.2-24]
#[test]
fn who_waits_for_its_connack_is_not_silent_by_its_own_doing() {
    let mut world = kept(Durability::Synced);
    world.broker.policy_mut().holds = true;
    let name = world.try_join(Version::V311, "c", |connect| {
        connect.keep_alive = 2;
        connect.clean_start = false;
    });
    world.advance(60 * SECOND); // the disk is slow
    assert_eq!((world.received(name), world.is_closed(name)), (vec![], false));
    store(&mut world);
    assert_eq!(world.received(name), ["CONNACK 0x00"]);
    world.advance(2 * SECOND);
    assert!(!world.is_closed(name));
    world.advance(SECOND);
    assert!(world.is_closed(name), "from here on it is");
}

// --- what was looked at and found right ------------------------------------------------------------------------------

// S16
#[test]
fn a_takeover_while_a_pubrec_waits_neither_loses_nor_doubles_the_message() {
    for crashes in [false, true] {
        let mut world = kept(Durability::Synced);
        let reader = stay(&mut world, "reader");
        world.subscribe(reader, "a", Qos::ExactlyOnce);
        world.cut(reader);
        stay(&mut world, "writer");
        world.broker.policy_mut().holds = true;
        let old = world.links.len() - 1;
        world.publish(old, "a", "1", Qos::ExactlyOnce);
        assert_eq!(world.received(old), [""; 0]);
        let (new, came) = come_back(&mut world, "writer");
        assert_eq!((came, world.received(old)), (vec![], vec!["DISCONNECT 0x8E".to_string()]));
        let resend = |world: &mut Kept, name| {
            world.publish_with(name, "a", "1", |publish| {
                set_qos(publish, Qos::ExactlyOnce, 1);
                publish.dup = true;
            });
        };
        resend(&mut world, new);
        assert_eq!(world.received(new), [""; 0]);
        if crashes {
            world = crash(world, 0);
            let (new, came) = come_back(&mut world, "writer");
            assert_eq!(came, ["CONNACK 0x00 present"]);
            resend(&mut world, new);
            assert_eq!(world.received(new), ["PUBREC id1"]);
        } else {
            store(&mut world);
            assert_eq!(world.received(new), ["CONNACK 0x00 present", "PUBREC id1"]);
            world.broker.policy_mut().holds = false;
        }
        let (_, came) = come_back(&mut world, "reader");
        assert_eq!(came, ["CONNACK 0x00 present", "PUBLISH a 1 q2 id1"], "once");
    }
}

#[test]
fn a_client_that_is_purged_before_its_connack_is_stored_leaves_nothing() {
    let mut world = kept(Durability::Synced);
    world.broker.policy_mut().holds = true;
    let (name, came) = come_back(&mut world, "c");
    assert_eq!(came, [""; 0]);
    world.subscribe(name, "a", Qos::AtLeastOnce);
    assert!(world.broker.purge_session(world.now, "c"));
    world.turn();
    assert_eq!((world.received(name), world.is_closed(name)), (vec![], true));
    store(&mut world);
    assert_eq!(tables(&world).iter().map(|(_, count)| count).sum::<usize>(), 0);
    assert_eq!(world.broker.stats().held_answers, 0);
}

#[test]
fn what_an_overflow_has_dropped_is_not_there_after_a_crash() {
    let mut config = synced();
    config.overflow = Overflow::DropOldest;
    config.queue.messages = 3;
    let mut world = kept_with(|all| *all = config.clone());
    let reader = stay(&mut world, "reader");
    world.subscribe(reader, "a", Qos::ExactlyOnce);
    world.cut(reader);
    let writer = world.join(Version::V311, "writer");
    for payload in ["1", "2", "3", "4", "5"] {
        world.publish(writer, "a", payload, Qos::AtLeastOnce);
    }
    let mut world = crash_with(world, config, Fault::LoseTail, 0);
    let (reader, came) = come_back(&mut world, "reader");
    assert_eq!(came[1..], ["PUBLISH a 3 q1 id1", "PUBLISH a 4 q1 id2", "PUBLISH a 5 q1 id3"]);
    world.ack(reader, AckKind::Puback, 2);
    let mut world = crash(world, 0);
    let (_, came) = come_back(&mut world, "reader");
    assert_eq!(came[1..], ["PUBLISH a 3 q1 id1 dup", "PUBLISH a 5 q1 id3 dup"]);
}

#[test]
fn a_goodbye_that_ends_the_session_ends_it_in_the_store() {
    let mut world = kept(Durability::Synced);
    let name = stay(&mut world, "c");
    world.subscribe(name, "a", Qos::AtLeastOnce);
    let now = [Property::SessionExpiryInterval(0)];
    world.send(
        name,
        Packet::Disconnect(mqtt_broker_core::codec::Disconnect {
            reason: ReasonCode::SUCCESS,
            properties: Properties::from_slice(&now),
        }),
    );
    assert_eq!(tables(&world).iter().map(|(_, count)| count).sum::<usize>(), 0);
    // and one that makes it longer, or shorter, counts after a crash
    let name = stay(&mut world, "d");
    let soon = [Property::SessionExpiryInterval(10)];
    world.send(
        name,
        Packet::Disconnect(mqtt_broker_core::codec::Disconnect {
            reason: ReasonCode::SUCCESS,
            properties: Properties::from_slice(&soon),
        }),
    );
    let world = crash(world, 9_000);
    assert_eq!(world.broker.stats().sessions, 1);
    let world = crash(world, 1_000);
    assert_eq!(world.broker.stats().sessions, 0);
}

#[test]
fn a_ticket_that_is_old_or_said_twice_does_nothing() {
    let mut world = kept(Durability::Synced);
    world.broker.policy_mut().holds = true;
    let (first, _) = come_back(&mut world, "first");
    let (second, _) = come_back(&mut world, "second");
    let waiting = world.broker.policy().waiting.clone();
    let (earlier, later) = (waiting[0], waiting[waiting.len() - 1]);
    for _ in 0..2 {
        world.broker.stored(world.now, earlier);
        world.turn();
    }
    assert_eq!((world.received(first), world.received(second)), (vec!["CONNACK 0x00".to_string()], vec![]));
    for ticket in [later, earlier, later] {
        world.broker.stored(world.now, ticket);
        world.turn();
    }
    assert_eq!(world.received(second), ["CONNACK 0x00"]);
    assert_eq!(world.broker.stats().unstored_bytes, 0);
}

// S20, v5 [MQTT-4.8.2-5]; found by the simulation
#[test]
fn what_is_handed_on_at_qos_2_to_somebody_who_is_not_stored_waits_until_it_is_gone_from_the_store() {
    let heir = |world: &mut Kept| {
        let heir = world.join(Version::V311, "heir");
        world.subscribe(heir, "$share/g/jobs", Qos::ExactlyOnce);
        heir
    };
    let begin = || {
        let mut world = kept(Durability::Synced);
        let first = stay(&mut world, "first");
        world.subscribe(first, "$share/g/jobs", Qos::ExactlyOnce);
        world.cut(first);
        let writer = world.join(Version::V5, "writer");
        world.publish(writer, "jobs", "1", Qos::ExactlyOnce);
        let heir = heir(&mut world);
        world.broker.policy_mut().holds = true;
        world.broker.purge_session(world.now, "first");
        world.turn();
        (world, heir)
    };
    let (mut world, name) = begin();
    assert!(world.messages(name).is_empty(), "the first has it in the store still");
    assert_eq!(world.broker.stats().held_answers, 1);
    store(&mut world);
    assert_eq!(world.messages(name), ["jobs 1"]);
    assert_eq!(world.broker.stats().held_answers, 0);
    let mut world = crash(world, 0);
    assert!(come_back(&mut world, "first").1.len() == 1, "only CONNACK: it had one heir");

    let (world, _) = begin();
    let mut world = crash(world, 0);
    let (_, came) = come_back(&mut world, "first");
    assert!(came.iter().any(|line| line.starts_with("PUBLISH jobs 1 q2")), "{came:?}");
}
