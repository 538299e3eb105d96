//! Clients of the embedding program: no socket, no encoded byte, the same routing as everybody's.
use crate::harness::*;
use mqtt_broker_core::codec::{Qos, ReasonCode, RetainHandling, SubscribeOptions, TopicFilter, TopicName, Version};
use mqtt_broker_core::session::{Delivery, QueueLimits};
use mqtt_broker_core::{
    AllowAll, ClientInfo, ConnectRequest, Decision, LocalError, LocalId, Overflow, Policy, Publication, PublishRequest,
    ReceiveRequest, SubscribeRequest, UnsubscribeRequest,
};

const ROOM: QueueLimits = QueueLimits { messages: 1_000, bytes: 1 << 20 };

fn filter(text: &str) -> TopicFilter<'_> {
    TopicFilter::new(text).unwrap()
}

fn publication<'a>(topic: &'a str, payload: &'a str) -> Publication<'a> {
    Publication::new(TopicName::new(topic).unwrap(), payload.as_bytes())
}

/// All that a client of the program has to receive, as `topic payload`.
fn take<P: Policy>(world: &mut World<P>, id: LocalId) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(delivery) = world.broker.local_receive(world.now, id) {
        let (topic, payload) = (delivery.message.topic(), delivery.message.payload());
        all.push(format!("{} {}", topic.as_str(), String::from_utf8_lossy(payload)));
    }
    all
}

fn subscribed(world: &mut World<AllowAll>, text: &str) -> LocalId {
    let id = world.broker.local_open(ROOM).unwrap();
    let options = SubscribeOptions { qos: Qos::ExactlyOnce, ..Default::default() };
    world.broker.local_subscribe(world.now, id, filter(text), options).unwrap();
    id
}

#[test]
fn the_program_subscribes_and_publishes_like_any_client() {
    let mut world = World::new();
    let local = subscribed(&mut world, "up/#");
    let client = world.join(Version::V5, "c");
    world.subscribe(client, "down/#", Qos::AtMostOnce);
    assert_eq!(world.broker.poll_local(), None, "nothing has come");
    world.publish(client, "up/1", "hello", Qos::AtMostOnce);
    world.publish(client, "up/2", "again", Qos::AtLeastOnce);
    world.publish(client, "elsewhere", "x", Qos::AtMostOnce);
    assert_eq!(world.broker.poll_local(), Some(local));
    assert_eq!(world.broker.poll_local(), None, "told once");
    assert_eq!(take(&mut world, local), ["up/1 hello", "up/2 again"]);
    assert_eq!(world.broker.stats().queued_bytes, 0);
    assert_eq!(world.broker.local_publish(world.now, local, &publication("down/1", "hi")), Ok(1));
    world.turn();
    assert_eq!(world.messages(client), ["down/1 hi"]);

    assert!(world.broker.local_unsubscribe(local, filter("up/#")));
    assert!(!world.broker.local_unsubscribe(local, filter("up/#")));
    world.publish(client, "up/3", "unheard", Qos::AtMostOnce);
    assert_eq!(take(&mut world, local), [""; 0]);
}

#[test]
fn a_local_client_hears_itself_unless_it_asks_not_to() {
    // v5 [MQTT-3.8.3-3]
    let mut world = World::new();
    let (deaf, other) = (subscribed(&mut world, "other"), subscribed(&mut world, "t"));
    let options = SubscribeOptions { no_local: true, ..Default::default() };
    world.broker.local_subscribe(world.now, deaf, filter("t"), options).unwrap();
    world.broker.local_publish(world.now, deaf, &publication("t", "1")).unwrap();
    world.broker.local_publish(world.now, other, &publication("t", "2")).unwrap();
    assert_eq!(take(&mut world, deaf), ["t 2"]);
    assert_eq!(take(&mut world, other), ["t 1", "t 2"]);
}

#[test]
fn retained_messages_come_first_and_nothing_newer_overtakes_them() {
    let mut world = World::new();
    let client = world.join(Version::V5, "c");
    for n in 0..2_000 {
        world.retain(client, &format!("t/{n:04}"), "old");
    }
    subscribed(&mut world, "t/+");
    world.publish(client, "t/0000", "new", Qos::AtMostOnce);
    let mut got = Vec::new();
    while let Some(id) = world.broker.poll_local() {
        got.extend(take(&mut world, id));
    }
    assert_eq!(got.len(), 2_001);
    assert_eq!(got.last().unwrap(), "t/0000 new");
    // a single topic, and a subscription that wants none
    let single = subscribed(&mut world, "t/0007");
    assert_eq!(take(&mut world, single), ["t/0007 old"]);
    let options = SubscribeOptions { retain_handling: RetainHandling::IfNew, ..Default::default() };
    world.broker.local_subscribe(world.now, single, filter("t/0007"), options).unwrap();
    assert_eq!(take(&mut world, single), [""; 0], "it was there already");
}

#[test]
fn a_queue_nobody_drains_is_bounded_and_what_is_lost_is_counted() {
    // S17
    for (overflow, left) in [(Overflow::DropNewest, ["t 0", "t 1"]), (Overflow::DropOldest, ["t 3", "t 4"])] {
        let mut world = World::configured(|config| config.overflow = overflow);
        let local = world.broker.local_open(QueueLimits { messages: 2, bytes: 1_000 }).unwrap();
        world.broker.local_subscribe(world.now, local, filter("t"), SubscribeOptions::default()).unwrap();
        for n in 0..5 {
            world.broker.publish(world.now, &publication("t", &n.to_string())).unwrap();
        }
        assert_eq!(world.broker.local_dropped(local), 3);
        assert_eq!(world.broker.stats().dropped_full, 3);
        assert_eq!(take(&mut world, local), left, "{overflow:?}");
    }
}

#[test]
fn what_expires_while_it_waits_is_passed_over() {
    let mut world = World::new();
    let local = subscribed(&mut world, "t");
    let client = world.join(Version::V5, "c");
    let expiry = [mqtt_broker_core::codec::Property::MessageExpiryInterval(10)];
    world.publish_with(client, "t", "old news", |publish| {
        publish.properties = mqtt_broker_core::codec::Properties::from_slice(&expiry);
    });
    world.publish(client, "t", "news", Qos::AtMostOnce);
    world.advance(11 * SECOND);
    assert_eq!(take(&mut world, local), ["t news"]);
    assert_eq!(world.broker.stats().dropped_expired, 1);
}

#[test]
fn a_closed_local_client_leaves_nothing_and_its_id_is_stale() {
    let mut world = World::configured(|config| config.max_local_clients = 1);
    let local = subscribed(&mut world, "t");
    assert_eq!(world.broker.local_open(ROOM), Err(LocalError::Full));
    world.broker.publish(world.now, &publication("t", "x")).unwrap();
    assert_eq!((world.broker.stats().subscriptions, world.broker.stats().sessions), (1, 0));
    world.broker.local_close(local);
    world.broker.local_close(local);
    assert_eq!((world.broker.stats().subscriptions, world.broker.stats().queued_bytes), (0, 0));
    let next = subscribed(&mut world, "u");
    assert_ne!(local, next);
    let options = SubscribeOptions::default();
    assert_eq!(world.broker.local_subscribe(world.now, local, filter("t"), options), Err(LocalError::Stale));
    assert_eq!(world.broker.poll_local(), None);
}

#[test]
fn nobody_can_take_a_local_client_over() {
    // S8: it has no name
    let mut world = World::new();
    let local = subscribed(&mut world, "t");
    world.join(Version::V311, "");
    let thief = world.try_join(Version::V5, "", |connect| connect.clean_start = false);
    world.received(thief);
    world.publish(thief, "t", "x", Qos::AtMostOnce);
    assert_eq!(take(&mut world, local), ["t x"]);
}

/// Denies what the program publishes to `no`, and every SUBSCRIBE.
struct Strict;
impl Policy for Strict {
    fn connect(&mut self, _: &ConnectRequest<'_>) -> Decision {
        Decision::Allow
    }
    fn publish(&mut self, request: &PublishRequest<'_>) -> Decision {
        match request.publication.topic.as_bytes() {
            b"no" => Decision::Deny(ReasonCode::NOT_AUTHORIZED),
            b"later" => Decision::Defer(request.ticket),
            _ => Decision::Allow,
        }
    }
    fn subscribe(&mut self, _: &SubscribeRequest<'_>) -> Decision {
        Decision::Deny(ReasonCode::NOT_AUTHORIZED)
    }
    fn unsubscribe(&mut self, _: &UnsubscribeRequest<'_>) -> Decision {
        Decision::Deny(ReasonCode::NOT_AUTHORIZED)
    }
    fn receives_all(&mut self, _: &ClientInfo<'_>, _: TopicFilter<'_>) -> bool {
        false
    }
    fn receive(&mut self, _: &ReceiveRequest<'_>) -> bool {
        false
    }
}

#[test]
fn the_program_is_trusted_to_subscribe_and_asked_about_what_it_publishes() {
    let mut world = World::with(mqtt_broker_core::Config::default(), Strict);
    let local = world.broker.local_open(ROOM).unwrap();
    world.broker.local_subscribe(world.now, local, filter("#"), SubscribeOptions::default()).unwrap();
    assert!(world.broker.local_publish(world.now, local, &publication("no", "x")).is_err());
    assert_eq!(world.broker.local_publish(world.now, local, &publication("yes", "x")), Ok(1));
    assert_eq!(world.broker.local_publish(world.now, local, &publication("later", "x")), Ok(0));
    world.advance(11 * SECOND); // the decision never comes, and counts as denied
    assert_eq!(take(&mut world, local), ["yes x"]);
}

// v5 [MQTT-3.8.4-4] [MQTT-3.8.4-8]: as for any client
#[test]
fn what_is_retained_comes_to_the_program_as_its_subscription_is_now() {
    let run = |handling: RetainHandling, cleared: bool| {
        let mut world = World::new();
        let client = world.join(Version::V5, "c");
        for topic in ["t/1", "t/2"] {
            world.publish_with(client, topic, "x", |publish| {
                set_qos(publish, Qos::AtLeastOnce, 1);
                publish.retain = true;
            });
        }
        let id = subscribed(&mut world, "t/+");
        let mut seen = vec![world.broker.local_receive(world.now, id).unwrap()];
        if cleared {
            world.retain(client, "t/1", "");
            world.retain(client, "t/2", "");
        }
        let options = SubscribeOptions { retain_handling: handling, ..Default::default() };
        world.broker.local_subscribe(world.now, id, filter("t/+"), options).unwrap();
        world.retain(client, "t/3", "new");
        seen.extend(std::iter::from_fn(|| world.broker.local_receive(world.now, id)));
        let line = |delivery: &Delivery| {
            format!("{} q{} {}", delivery.message.topic().as_str(), delivery.qos as u8, delivery.retain)
        };
        seen.iter().map(line).collect::<Vec<_>>()
    };
    assert_eq!(run(RetainHandling::Never, false), ["t/1 q1 true", "t/2 q0 true", "t/3 q0 true", "t/3 q0 false"]);
    // the two that remove, and nothing that is retained
    assert_eq!(run(RetainHandling::Always, true), ["t/1 q1 true", "t/1 q0 false", "t/2 q0 false", "t/3 q0 false"]);
}

#[test]
fn a_full_queue_of_the_program_makes_room_as_the_policy_says_and_never_for_what_cannot_fit() {
    let send = |world: &mut World<AllowAll>, payload: &str, qos: Qos| {
        let mut publication = publication("t", payload);
        publication.qos = qos;
        world.broker.publish(world.now, &publication).unwrap();
    };
    let run = |overflow: Overflow| {
        let mut world = World::configured(|config| config.overflow = overflow);
        let id = world.broker.local_open(QueueLimits { messages: 2, bytes: 1_000 }).unwrap();
        let options = SubscribeOptions { qos: Qos::AtLeastOnce, ..Default::default() };
        world.broker.local_subscribe(world.now, id, filter("t"), options).unwrap();
        send(&mut world, "a", Qos::AtLeastOnce);
        send(&mut world, "b", Qos::AtMostOnce);
        send(&mut world, &"x".repeat(2_000), Qos::AtLeastOnce);
        assert_eq!(world.broker.local_dropped(id), 1, "{overflow:?}");
        send(&mut world, "c", Qos::AtLeastOnce);
        send(&mut world, "d", Qos::AtMostOnce);
        assert_eq!(world.broker.local_dropped(id), 3, "{overflow:?}");
        take(&mut world, id)
    };
    assert_eq!(run(Overflow::DropNewest), ["t a", "t b"]);
    assert_eq!(run(Overflow::DropOldest), ["t c", "t d"]);
    assert_eq!(run(Overflow::DropQos0), ["t a", "t c"]);
    assert_eq!(run(Overflow::Disconnect), ["t a", "t b"]);
}
