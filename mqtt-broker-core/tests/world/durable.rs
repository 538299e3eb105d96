//! What outlives the process, and what is not said before it would.
use crate::harness::*;
use mqtt_broker_core::codec::{AckKind, Properties, Property, Qos, ReasonCode, SubscribeOptions, Version};
use mqtt_broker_core::session::Epoch;
use mqtt_broker_core::store::{
    Fault, LoadError, MemoryStore, Store, StoreAction, StoreKey, StoreOp, StoreTicket, Table, Unrestored, restore,
};
use mqtt_broker_core::topic::TopicFilter;
use mqtt_broker_core::{
    Ban, Broker, ClientInfo, Config, ConnectRequest, Decision, Durability, Event, Instant, Limit, ListenerConfig,
    Origin, Peer, Policy, PublishRequest, ReceiveRequest, SubscribeRequest, Ticket, UnsubscribeRequest,
};
use std::sync::{Arc, Mutex};

#[path = "durable_found.rs"]
mod found;

/// The Unix time of the worlds' first moment, in milliseconds.
const START: u64 = 1_700_000_000_000;

/// A host with a store, which allows nearly everything.
struct Host {
    store: Arc<Mutex<MemoryStore>>,
    /// What the broker gave out and was not told to be stored.
    waiting: Vec<StoreTicket>,
    /// All operations, as often as they were given out.
    ops: Vec<StoreOp>,
    /// Whether the host lets them wait.
    holds: bool,
    /// Whether sessions cannot be read.
    fails: bool,
    /// Whether wills are put off.
    defers_wills: bool,
    tickets: Vec<Ticket>,
    /// What nobody may subscribe to any more.
    denied: &'static str,
    /// The most that is granted.
    most: Qos,
    epoch: Epoch,
    /// How many sessions were read.
    loads: usize,
}

impl Policy for Host {
    fn connect(&mut self, _: &ConnectRequest<'_>) -> Decision {
        Decision::Allow
    }
    fn publish(&mut self, request: &PublishRequest<'_>) -> Decision {
        match request.origin {
            // asked at CONNECT too, when the will of no connection is there yet
            Origin::Will(_) if self.defers_wills => {
                self.tickets.push(request.ticket);
                Decision::Defer(request.ticket)
            }
            _ => Decision::Allow,
        }
    }
    fn subscribe(&mut self, request: &SubscribeRequest<'_>) -> Decision {
        match request.filter.as_str().strip_prefix("my/") {
            Some(rest) => {
                let filter = format!("of/{}/{rest}", request.client.client_id);
                let filter = TopicFilter::new(&filter).unwrap();
                Decision::subscribe_as(filter, request.options)
            }
            None if request.filter.as_str() == self.denied => Decision::Deny(ReasonCode::NOT_AUTHORIZED),
            None if request.options.qos > self.most => {
                Decision::subscribe_as(request.filter, SubscribeOptions { qos: self.most, ..request.options })
            }
            None => Decision::Allow,
        }
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
    fn load_session(&mut self, client_id: &str, each: &mut dyn FnMut(&[u8])) -> Result<(), LoadError> {
        self.loads += 1;
        if self.fails {
            return Err(LoadError);
        }
        let key = StoreKey::new(Table::Sessions, client_id.as_bytes());
        self.store.lock().unwrap().load(&key, each).map_err(|_| LoadError)
    }
}

type Kept = World<Host>;

fn kept(durability: Durability) -> Kept {
    kept_with(|config| config.durability = durability)
}

fn kept_with(change: impl FnOnce(&mut Config)) -> Kept {
    let mut config = Config::default();
    change(&mut config);
    start(config, MemoryStore::new(), Instant::from_millis(1_000_000), Epoch::from_unix_millis(START))
}

fn start(config: Config, store: MemoryStore, now: Instant, epoch: Epoch) -> Kept {
    let (mut world, unrestored) = restored(config, store, now, epoch);
    assert_eq!(unrestored, []);
    world.advance(0);
    world
}

/// A new process before its first turn, and what it could not read.
fn restored(config: Config, store: MemoryStore, now: Instant, epoch: Epoch) -> (Kept, Vec<Unrestored>) {
    let store = Arc::new(Mutex::new(store));
    let host = Host {
        store: Arc::clone(&store),
        waiting: Vec::new(),
        ops: Vec::new(),
        holds: false,
        fails: false,
        defers_wills: false,
        tickets: Vec::new(),
        denied: "",
        most: Qos::ExactlyOnce,
        epoch,
        loads: 0,
    };
    let mut world = World::with(config, host);
    world.now = now;
    world.keep = keep;
    let unrestored = restore(&mut world.broker, &mut *store.lock().unwrap(), now, epoch).unwrap();
    (world, unrestored)
}

/// The host's part of a turn.
fn keep(world: &mut Kept) -> bool {
    let mut batch = Vec::new();
    let epoch = world.broker.policy().epoch;
    let Some(ticket) = world.broker.poll_store(epoch, &mut batch) else { return false };
    assert!(!batch.is_empty(), "a ticket for nothing");
    let host = world.broker.policy_mut();
    host.store.lock().unwrap().write(&batch, epoch).unwrap();
    host.ops.append(&mut batch);
    host.waiting.push(ticket);
    if !host.holds {
        sync(world);
    }
    true
}

/// What was written survives from here on, and the broker is told.
fn sync(world: &mut Kept) {
    let host = world.broker.policy_mut();
    host.store.lock().unwrap().sync().unwrap();
    let last = host.waiting.drain(..).next_back();
    if let Some(last) = last {
        world.broker.stored(world.now, last);
    }
}

/// The host stores what it let wait.
fn store(world: &mut Kept) {
    world.broker.policy_mut().holds = false;
    sync(world);
    world.turn();
    world.broker.policy_mut().holds = true;
}

/// The process dies; another begins `later` milliseconds after it.
fn crash(world: Kept, later: u64) -> Kept {
    let mut config = Config::default();
    config.durability = Durability::Synced;
    crash_with(world, config, Fault::LoseTail, later)
}

fn crash_with(world: Kept, config: Config, fault: Fault, later: u64) -> Kept {
    let epoch = world.broker.policy().epoch;
    let unix = epoch.to_unix_millis(world.now) + later;
    let store = world.broker.policy().store.lock().unwrap().clone().crash(fault);
    // another process has another zero
    let now = Instant::from_millis(5_000);
    start(config, store, now, Epoch::from_unix_millis(unix - 5_000))
}

/// Joins for a session that stays an hour.
fn stay(world: &mut Kept, id: &str) -> Name {
    let expiry = [Property::SessionExpiryInterval(3_600)];
    world.join_with(Version::V5, id, |connect| {
        connect.clean_start = false;
        connect.properties = Properties::from_slice(&expiry);
    })
}

fn come_back(world: &mut Kept, id: &str) -> (Name, Vec<String>) {
    let expiry = [Property::SessionExpiryInterval(3_600)];
    let name = world.try_join(Version::V5, id, |connect| {
        connect.clean_start = false;
        connect.properties = Properties::from_slice(&expiry);
    });
    let came = world.received(name);
    (name, came)
}

fn tables(world: &Kept) -> Vec<(Table, usize)> {
    let mut store = world.broker.policy().store.lock().unwrap().clone();
    let count = |table| {
        let mut count = 0;
        store.names(table, &mut |_| count += 1).unwrap();
        (table, count)
    };
    Table::ALL.map(count).to_vec()
}

fn records(world: &Kept, table: Table, name: &str) -> usize {
    let mut count = 0;
    let key = StoreKey::new(table, name.as_bytes());
    world.broker.policy().store.lock().unwrap().load(&key, &mut |_| count += 1).unwrap();
    count
}

// --- what survives ---------------------------------------------------------------------------------------------------

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

// --- what waits ------------------------------------------------------------------------------------------------------

// v5 [MQTT-4.3.2-4] v4 [MQTT-4.3.2-2]: ownership is taken with the acknowledgement
#[test]
fn nothing_is_acknowledged_before_it_is_stored() {
    let mut world = kept(Durability::Synced);
    world.broker.policy_mut().holds = true;
    let reader = world.open(Version::V5);
    let expiry = [Property::SessionExpiryInterval(3_600)];
    let mut hello = connect(Version::V5, "reader");
    hello.properties = Properties::from_slice(&expiry);
    world.send(reader, mqtt_broker_core::codec::Packet::Connect(hello));
    assert_eq!(world.received(reader), [""; 0], "CONNACK");
    store(&mut world);
    assert_eq!(world.received(reader), ["CONNACK 0x00"]);
    assert_eq!(world.subscribe(reader, "a", Qos::ExactlyOnce), [""; 0], "SUBACK");
    store(&mut world);
    assert_eq!(world.received(reader), ["SUBACK [0x02]"]);

    let writer = world.join(Version::V311, "writer"); // its session is not kept: nothing is to be stored
    world.publish(writer, "a", "1", Qos::AtLeastOnce);
    assert_eq!(world.received(writer), [""; 0], "PUBACK");
    assert_eq!(world.messages(reader), ["a 1"], "QoS 1 may come twice, so it need not wait");
    world.publish_with(writer, "a", "2", |publish| set_qos(publish, Qos::ExactlyOnce, 2));
    assert_eq!(world.received(writer), [""; 0], "PUBREC");
    assert_eq!(world.messages(reader), [""; 0], "the first sending of QoS 2");
    world.publish_with(writer, "nobody", "3", |publish| set_qos(publish, Qos::AtLeastOnce, 3));
    store(&mut world);
    assert_eq!(world.received(writer), ["PUBACK id1", "PUBREC id2", "PUBACK id3"], "in the order they came");
    assert_eq!(world.messages(reader), ["a 2"]);

    world.ack(reader, AckKind::Pubrec, 2);
    assert_eq!(world.received(reader), [""; 0], "PUBREL");
    store(&mut world);
    assert_eq!(world.received(reader), ["PUBREL id2"]);
    assert_eq!(world.unsubscribe(reader, "a"), [""; 0], "UNSUBACK");
    store(&mut world);
    assert_eq!(world.received(reader), ["UNSUBACK [0x00]"]);
    world.publish(reader, "b", "4", Qos::ExactlyOnce);
    assert_eq!(world.received(reader), [""; 0], "PUBREC of a session that is recorded");
    store(&mut world);
    assert_eq!(world.received(reader), ["PUBREC id1 0x10"]);
    world.ack(reader, AckKind::Pubrel, 1);
    assert_eq!(world.received(reader), [""; 0], "PUBCOMP");
    store(&mut world);
    assert_eq!(world.received(reader), ["PUBCOMP id1"]);
    assert_eq!(world.broker.stats().held_answers, 0);
}

#[test]
fn what_changes_nothing_waits_for_nothing() {
    let mut world = kept(Durability::Synced);
    let reader = stay(&mut world, "reader");
    world.subscribe(reader, "kept", Qos::AtLeastOnce);
    let other = world.join(Version::V5, "other");
    world.subscribe(other, "live", Qos::AtLeastOnce);
    world.broker.policy_mut().holds = true;
    let writer = world.join(Version::V5, "writer");
    world.publish(writer, "kept", "1", Qos::AtLeastOnce);
    world.publish_with(writer, "live", "2", |publish| set_qos(publish, Qos::AtLeastOnce, 2));
    world.publish(other, "live", "3", Qos::AtLeastOnce);
    assert_eq!(world.received(other), ["PUBLISH live 2 q1 id1", "PUBACK id1", "PUBLISH live 3 q1 id2"]);
    world.send(writer, mqtt_broker_core::codec::Packet::Pingreq);
    assert_eq!(world.received(writer), ["PINGRESP"], "behind what waits of its own, acknowledgements keep their order");
}

#[test]
fn what_is_buffered_waits_for_nothing() {
    let mut world = kept(Durability::Buffered);
    world.broker.policy_mut().holds = true;
    let reader = stay(&mut world, "reader");
    assert_eq!(world.subscribe(reader, "a", Qos::ExactlyOnce), ["SUBACK [0x02]"]);
    let writer = stay(&mut world, "writer");
    world.publish(writer, "a", "1", Qos::ExactlyOnce);
    assert_eq!(world.received(writer), ["PUBREC id1"]);
    assert_eq!(world.messages(reader), ["a 1"]);
    world.ack(reader, AckKind::Pubrec, 1);
    assert_eq!(world.received(reader), ["PUBREL id1"]);
    assert!(world.broker.policy().ops.len() >= 6, "but it is recorded");
}

#[test]
fn without_durability_nothing_is_recorded() {
    let mut world = kept(Durability::None);
    let reader = stay(&mut world, "reader");
    world.subscribe(reader, "a", Qos::ExactlyOnce);
    world.retain(reader, "a", "1");
    world.broker.ban(world.now, Ban::User("u".into()), None).unwrap();
    world.cut(reader);
    world.advance(2 * HOUR);
    assert!(world.broker.policy().ops.is_empty());
}

#[test]
fn a_listener_and_the_policy_s_terms_decide_for_their_clients() {
    let mut world = kept_with(|config| {
        let mut listener = ListenerConfig::default();
        listener.durability = Some(Durability::Synced);
        config.listeners.insert(7, listener);
    });
    world.broker.policy_mut().holds = true;
    assert_eq!(come_back(&mut world, "plain").1, ["CONNACK 0x00"]);
    let expiry = [Property::SessionExpiryInterval(3_600)];
    let kept = world.try_join_from(Peer::new(None, 7), Version::V5, "kept", |connect| {
        connect.properties = Properties::from_slice(&expiry);
    });
    assert_eq!(world.received(kept), [""; 0]);
    store(&mut world);
    assert_eq!(world.received(kept), ["CONNACK 0x00"]);
    assert_eq!(tables(&world)[0], (Table::Clients, 1));
}

#[test]
fn a_connection_that_ends_before_its_connack_is_stored_says_nothing() {
    let mut world = kept(Durability::Synced);
    world.broker.policy_mut().holds = true;
    let (old, came) = come_back(&mut world, "c");
    assert_eq!(came, [""; 0]);
    let (new, came) = come_back(&mut world, "c");
    assert_eq!(came, [""; 0]);
    assert_eq!((world.received(old), world.is_closed(old)), (vec![], true), "it is closed without a word");
    store(&mut world);
    assert_eq!(world.received(new), ["CONNACK 0x00 present"]);
}

#[test]
fn who_publishes_more_than_is_stored_is_not_read() {
    let mut world = kept_with(|config| {
        config.durability = Durability::Synced;
        config.max_unstored_bytes = 10_000;
    });
    let reader = stay(&mut world, "reader");
    world.subscribe(reader, "a", Qos::AtLeastOnce);
    let writer = world.join(Version::V311, "writer");
    let other = world.join(Version::V311, "other");
    world.broker.policy_mut().holds = true;
    let payload = "x".repeat(1_000);
    let mut sent = 0;
    while world.links[writer].reading {
        sent += 1;
        assert!(sent < 100, "it was read for ever");
        world.publish_with(writer, "a", &payload, |publish| set_qos(publish, Qos::AtLeastOnce, sent));
    }
    assert!(sent >= 10);
    assert!(world.broker.stats().unstored_bytes < 13_000);
    world.publish(other, "nobody", "1", Qos::AtLeastOnce);
    assert_eq!(world.received(other), ["PUBACK id1"], "who changes nothing is not in the way");
    assert_eq!(come_back(&mut world, "late").1, ["CONNACK 0x88"], "the store is behind: later");
    assert_eq!(world.broker.stats().limited(Limit::Unstored), 1);
    // silence while it is not read is not its own
    world.advance(1_000 * SECOND);
    store(&mut world);
    assert!(world.links[writer].reading);
    assert_eq!(world.received(writer).len(), usize::from(sent));
    assert_eq!(world.broker.stats().unstored_bytes, 0);
}

#[test]
fn answers_that_wait_are_bounded() {
    let mut world = kept(Durability::Synced);
    let name = stay(&mut world, "c");
    world.broker.policy_mut().holds = true;
    let mut asked = 0;
    while world.links[name].reading {
        asked += 1;
        assert!(asked < 10_000, "it was read for ever");
        world.subscribe(name, &format!("a/{}", asked % 100), Qos::AtLeastOnce);
    }
    assert_eq!(asked, 1_024);
    store(&mut world);
    assert!(world.links[name].reading);
    assert_eq!(world.received(name).len(), 1_024);
}

// --- what goes wrong -------------------------------------------------------------------------------------------------

// v4 [MQTT-4.8.0-2] v5 [MQTT-4.13.1-1]
#[test]
fn a_message_for_a_session_that_cannot_be_read_is_not_acknowledged() {
    let mut world = kept(Durability::Synced);
    let reader = stay(&mut world, "reader");
    world.subscribe(reader, "a", Qos::AtLeastOnce);
    let mut world = crash(world, 0);
    world.broker.policy_mut().fails = true;
    for version in [Version::V311, Version::V5] {
        let writer = world.join(version, "writer");
        world.publish(writer, "a", "1", Qos::AtLeastOnce);
        let came = world.received(writer);
        assert!(!came.iter().any(|line| line.starts_with("PUBACK")), "{came:?}");
        assert!(world.is_closed(writer));
    }
    assert_eq!(world.broker.stats().dropped_not_loaded, 2);
    let (reader, came) = come_back(&mut world, "reader");
    assert_eq!(came, ["CONNACK 0x88"], "it may come again");
    assert!(world.is_closed(reader));
    world.broker.policy_mut().fails = false;
    let writer = world.join(Version::V5, "writer");
    world.publish(writer, "a", "1", Qos::AtLeastOnce);
    assert_eq!(world.received(writer), ["PUBACK id1"]);
    assert_eq!(come_back(&mut world, "reader").1, ["CONNACK 0x00 present", "PUBLISH a 1 q1 id1"]);
}

// S20
#[test]
fn a_session_whose_records_are_damaged_is_lost_alone_and_told() {
    let mut world = kept(Durability::Synced);
    for id in ["broken", "whole"] {
        let name = stay(&mut world, id);
        world.subscribe(name, "a", Qos::AtLeastOnce);
    }
    let key = StoreKey::new(Table::Sessions, b"broken");
    let junk = mqtt_broker_core::store::StoreRecord::Bytes(b"junk".as_slice().into());
    let ops = [StoreOp { key, action: StoreAction::Put(junk) }];
    world.broker.policy().store.lock().unwrap().write(&ops, Epoch::default()).unwrap();
    world.broker.policy().store.lock().unwrap().sync().unwrap();
    let mut world = crash(world, 0);
    assert_eq!(come_back(&mut world, "broken").1, ["CONNACK 0x00"], "not present");
    assert_eq!(come_back(&mut world, "whole").1, ["CONNACK 0x00 present"]);
    assert_eq!(world.broker.stats().sessions_lost, 1);
    let lost = |event: &Event| matches!(event, Event::SessionLost { client } if client.as_str() == "broken");
    assert!(world.events().iter().any(lost));
}

// S20
#[test]
fn records_torn_at_every_byte_or_with_any_bit_turned_are_refused() {
    let mut world = kept(Durability::Synced);
    let name = world.join_with(Version::V5, "c", |connect| {
        connect.will = Some(will("will", "1"));
        connect.user_name = Some(mqtt_broker_core::codec::Utf8::new("ada").unwrap());
    });
    world.subscribe(name, "my/own", Qos::AtLeastOnce);
    world.retain(name, "kept", "1");
    world.broker.ban(world.now, Ban::User("u".into()), None).unwrap();
    world.turn();
    let mut store = world.broker.policy().store.lock().unwrap().clone();
    for table in [Table::Clients, Table::Retained, Table::Bans] {
        let mut names = Vec::new();
        store.names(table, &mut |name| names.push(name.to_vec())).unwrap();
        for name in names {
            let key = StoreKey::new(table, &name);
            let mut list = Vec::new();
            store.load(&key, &mut |record| list.push(record.to_vec())).unwrap();
            let fresh = || {
                Broker::new(Config::default(), mqtt_broker_core::AllowAll, mqtt_broker_core::topic::HashSeed::new(1, 2))
                    .unwrap()
            };
            let epoch = Epoch::default();
            fresh().restore(Instant::ZERO, epoch, &key, &list).unwrap();
            for at in 0..list.len() {
                for cut in 0..list[at].len() {
                    let mut torn = list.clone();
                    torn[at].truncate(cut);
                    assert!(fresh().restore(Instant::ZERO, epoch, &key, &torn).is_err(), "{table:?} {at} cut at {cut}");
                    for bit in 0..8 {
                        let mut turned = list.clone();
                        turned[at][cut] ^= 1 << bit;
                        assert!(fresh().restore(Instant::ZERO, epoch, &key, &turned).is_err());
                    }
                }
            }
        }
    }
}

#[test]
fn lists_are_written_anew_before_they_grow() {
    let mut world = kept(Durability::Synced);
    let reader = stay(&mut world, "reader");
    world.subscribe(reader, "a", Qos::AtLeastOnce);
    let writer = world.join(Version::V5, "writer");
    for turn in 0..1_000 {
        world.publish(writer, "a", "1", Qos::AtLeastOnce);
        let number = turn % 65_535 + 1;
        assert_eq!(world.received(reader), [format!("PUBLISH a 1 q1 id{number}")]);
        world.ack(reader, AckKind::Puback, number);
        world.subscribe(reader, "a", Qos::AtLeastOnce);
        world.received(writer);
    }
    assert!(records(&world, Table::Sessions, "reader") < 100);
    assert!(records(&world, Table::Clients, "reader") < 100);
    let mut world = crash(world, 0);
    assert_eq!(come_back(&mut world, "reader").1, ["CONNACK 0x00 present"]);
}

#[test]
fn a_shutdown_leaves_the_wills_of_those_who_may_come_back() {
    let mut world = kept(Durability::Synced);
    let delay = [Property::WillDelayInterval(100)];
    let expiry = [Property::SessionExpiryInterval(3_600)];
    world.join_with(Version::V5, "c", |connect| {
        connect.will = Some(will("will", "1"));
        connect.will.as_mut().unwrap().properties = Properties::from_slice(&delay);
        connect.properties = Properties::from_slice(&expiry);
    });
    world.broker.shutdown(world.now);
    world.turn();
    assert!(!world.events().iter().any(|event| matches!(event, Event::WillPublished { .. })));
    let mut world = crash(world, 100 * SECOND);
    world.advance(0);
    assert!(world.events().iter().any(|event| matches!(event, Event::WillPublished { .. })));
}
