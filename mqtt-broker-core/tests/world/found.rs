//! Faults that a reading found, each kept away by the story that showed it.
use crate::harness::*;
use mqtt_broker_core::codec::{
    AckKind, OutBuf, Packet, Properties, Property, Publish, Qos, Subscribe, SubscribeOptions, Subscription,
    Subscriptions, TopicFilter, TopicName, Version,
};
use mqtt_broker_core::{
    AllowAll, ClientInfo, Config, ConnectRequest, Decision, Event, Overflow, Policy, Publication, PublishRequest,
    ReceiveRequest, SubscribeRequest, Ticket, UnsubscribeRequest,
};

const KIB: usize = 1024;
const KEEP: [Property<'static>; 1] = [Property::SessionExpiryInterval(1000)];

fn keep<P: Policy>(world: &mut World<P>, id: &str, more: &[Property<'_>]) -> Name {
    let mut list = KEEP.to_vec();
    list.extend_from_slice(more);
    world.try_join(Version::V5, id, |connect| {
        connect.clean_start = false;
        // the harness wants one lifetime for both
        connect.properties = Properties::from_slice(Box::leak(
            list.iter()
                .map(|property| match property {
                    Property::SessionExpiryInterval(n) => Property::SessionExpiryInterval(*n),
                    Property::ReceiveMaximum(n) => Property::ReceiveMaximum(*n),
                    _ => panic!(),
                })
                .collect::<Vec<_>>()
                .into_boxed_slice(),
        ));
    })
}

fn local<P: Policy>(world: &mut World<P>, topic: &str, payload: &str, qos: Qos, properties: &[Property<'_>]) {
    let publication = Publication {
        topic: TopicName::new(topic).unwrap(),
        payload: payload.as_bytes(),
        qos,
        retain: false,
        properties: Properties::from_slice(properties),
    };
    world.broker.publish(world.now, &publication).unwrap();
    world.turn();
}

#[test]
fn what_is_sent_again_goes_on_when_the_window_opens() {
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let mut world = World::new();
        let sub = keep(&mut world, "sub", &[]);
        world.subscribe(sub, "t", qos);
        for n in 1..=3 {
            local(&mut world, "t", &n.to_string(), qos, &[]);
        }
        assert_eq!(world.messages(sub).len(), 3);
        world.cut(sub);
        let sub = keep(&mut world, "sub", &[Property::ReceiveMaximum(1)]);
        assert_eq!(world.messages(sub), ["t 1"]);
        if qos == Qos::AtLeastOnce {
            world.ack(sub, AckKind::Puback, 1);
        } else {
            world.ack(sub, AckKind::Pubrec, 1);
            assert_eq!(world.received(sub), ["PUBREL id1"]);
            world.ack(sub, AckKind::Pubcomp, 1);
        }
        assert_eq!(world.messages(sub), ["t 2"], "{qos:?}");
    }
}

#[test]
fn nobody_waits_for_a_target_that_was_disconnected_for_its_full_queue() {
    let mut world = World::configured(|config| {
        config.overflow = Overflow::Disconnect;
        config.queue.bytes = 50 * KIB;
    });
    let sub = world.join(Version::V5, "sub");
    world.subscribe(sub, "t", Qos::AtLeastOnce);
    world.links[sub].takes = Some(0);
    let big = "x".repeat(100 * KIB);
    local(&mut world, "t", &big, Qos::AtMostOnce, &[]);
    let client = world.join_with(Version::V5, "c", |connect| connect.keep_alive = 10);
    world.publish(client, "t", &big, Qos::AtLeastOnce);
    assert!(world.is_closed(sub), "0x97");
    world.advance(HOUR);
    assert!(world.is_closed(client) || world.links[client].reading, "paused for ever, and its keep alive with it");
}

#[test]
fn what_never_left_expires() {
    // v5 [MQTT-3.3.2-5]
    let mut world = World::configured(|config| config.high_water = 4 * KIB);
    let sub = keep(&mut world, "sub", &[]);
    world.received(sub);
    world.subscribe(sub, "t", Qos::AtLeastOnce);
    world.links[sub].takes = Some(0);
    for _ in 0..10 {
        local(&mut world, "t", &"x".repeat(KIB), Qos::AtMostOnce, &[]);
    }
    local(&mut world, "t", "stale news", Qos::AtLeastOnce, &[Property::MessageExpiryInterval(5)]);
    local(&mut world, "t", "for ever", Qos::AtLeastOnce, &[]);
    world.cut(sub);
    world.advance(60 * SECOND);
    let sub = keep(&mut world, "sub", &[]);
    let received: Vec<_> = world.received(sub).into_iter().filter(|line| !line.contains("xxx")).collect();
    assert_eq!(received, ["CONNACK 0x00 present", "PUBLISH t for ever q1 id1"]);
}

/// Subscriber `sub` has left its first identifier unanswered, and answered so many others that none is to be had.
fn without_identifiers() -> (World<AllowAll>, Name) {
    let mut world = World::configured(|config| config.high_water = 4 * KIB);
    let sub = world.join(Version::V311, "sub");
    world.subscribe(sub, "t", Qos::AtLeastOnce);
    for n in 1..=4096 {
        local(&mut world, "t", "x", Qos::AtLeastOnce, &[]);
        if n > 1 {
            world.ack(sub, AckKind::Puback, n);
        }
    }
    world.received(sub);
    (world, sub)
}

#[test]
fn messages_that_await_an_identifier_pause_nobody() {
    let (mut world, sub) = without_identifiers();
    let client = world.join(Version::V311, "c");
    let mut paused = 0;
    for n in 1..=100u16 {
        world.publish_with(client, "t", &"x".repeat(KIB), |publish| set_qos(publish, Qos::AtLeastOnce, n));
        world.send(sub, Packet::Pingreq);
        while !world.links[client].reading {
            paused += 1;
            world.advance(50);
            world.send(sub, Packet::Pingreq);
            assert!(paused < 2_000, "paused for {} s by a subscriber that takes all it is sent", paused / 20);
        }
    }
    assert_eq!(paused, 0);
}

#[test]
fn a_subscriber_that_takes_a_byte_now_and_then_does_not_hold_the_publisher() {
    let mut world = World::configured(|config| {
        config.high_water = 4 * KIB;
        config.queue.messages = 20;
    });
    let sub = world.join(Version::V311, "sub");
    world.subscribe(sub, "t", Qos::AtMostOnce);
    world.links[sub].takes = Some(0);
    let client = world.join_with(Version::V311, "c", |connect| connect.keep_alive = 10);
    while world.links[client].reading {
        world.publish(client, "t", &"x".repeat(KIB), Qos::AtMostOnce);
    }
    for n in 0..4_000 {
        world.advance(90);
        world.take(sub, 1);
        if world.links[client].reading {
            return assert!(n < 100, "held for {} s", n * 90 / 1000);
        }
    }
    panic!("held for six minutes by 11 bytes a second");
}

#[test]
fn events_come_in_the_order_of_what_happened() {
    let mut world = World::new();
    let size = [Property::MaximumPacketSize(6)];
    world.try_join(Version::V5, "c", |connect| connect.properties = Properties::from_slice(&size));
    let events = world.events();
    let at = |wanted: fn(&Event) -> bool| events.iter().position(wanted);
    let connected = at(|event| matches!(event, Event::Connected { .. }));
    let disconnected = at(|event| matches!(event, Event::Disconnected { .. }));
    assert!(connected.is_none() || connected < disconnected, "{events:?}");
}

#[test]
fn a_client_that_was_never_let_in_leaves_no_will() {
    // v5 [MQTT-3.1.2-7]: stored when the connection is accepted; [MQTT-3.1.4-3]
    let mut world = World::new();
    let other = world.join(Version::V311, "other");
    world.subscribe(other, "w", Qos::AtMostOnce);
    let size = [Property::MaximumPacketSize(6)];
    let client = world.try_join(Version::V5, "c", |connect| {
        connect.properties = Properties::from_slice(&size);
        connect.will = Some(will("w", "gone"));
    });
    assert!(world.is_closed(client));
    assert!(world.messages(other).is_empty(), "no CONNACK was ever sent");
}

#[test]
fn a_client_before_5_0_may_send_as_many_as_it_has_identifiers() {
    // there is no Receive Maximum at 3.1.1; all of this is one read of 64 KiB
    let mut world = World::new();
    let client = world.join(Version::V311, "c");
    let mut bytes = Vec::new();
    for n in 1..=2_000 {
        let mut publish = Publish {
            dup: false,
            qos: Qos::AtMostOnce,
            retain: false,
            topic: Some(TopicName::new("t").unwrap()),
            packet_id: None,
            properties: Properties::EMPTY,
            payload: b"x",
        };
        set_qos(&mut publish, Qos::AtLeastOnce, n);
        Packet::Publish(publish).encode(Version::V311, &mut bytes).unwrap();
    }
    assert!(bytes.len() < 64 * KIB);
    world.send_bytes(client, &bytes);
    assert!(!world.is_closed(client));
    assert_eq!(world.received(client).len(), 2_000);
}

#[test]
fn one_turn_of_a_replay_is_bounded_also_when_nothing_fits() {
    let mut world = World::configured(|config| {
        config.server.receive_maximum = u16::MAX;
        config.server.topic_alias_maximum = 0;
        config.server.maximum_packet_size = u32::MAX;
    });
    let publisher = world.join(Version::V311, "pub");
    for n in 0..20_000 {
        world.retain(publisher, &format!("a/{n}"), &"x".repeat(50));
    }
    let size = [Property::MaximumPacketSize(20)];
    let client = world.join_with(Version::V5, "c", |connect| connect.properties = Properties::from_slice(&size));
    let list = [Subscription { filter: TopicFilter::new("#").unwrap(), options: SubscribeOptions::default() }];
    let subscriptions = Subscriptions::from_slice(&list);
    let mut bytes = Vec::new();
    Packet::Subscribe(Subscribe { packet_id: id(1), properties: Properties::EMPTY, subscriptions })
        .encode(Version::V5, &mut bytes)
        .unwrap();
    world.broker.handle_input(world.now, world.links[client].id, &bytes);
    let mut out = OutBuf::default();
    world.broker.poll_transmit(world.now, world.links[client].id, &mut out);
    let done = world.broker.stats().dropped_too_large;
    assert!(done <= 1_000, "{done} retained messages in one turn");
}

#[test]
fn a_message_that_can_never_fit_pushes_nothing_out() {
    let mut world = World::configured(|config| {
        config.overflow = Overflow::DropOldest;
        config.queue.bytes = 1_000;
    });
    let sub = keep(&mut world, "sub", &[]);
    world.subscribe(sub, "t", Qos::AtLeastOnce);
    world.cut(sub);
    for n in 1..=3 {
        local(&mut world, "t", &n.to_string(), Qos::AtLeastOnce, &[]);
    }
    local(&mut world, "t", &"x".repeat(2_000), Qos::AtLeastOnce, &[]);
    let sub = keep(&mut world, "sub", &[]);
    assert_eq!(world.messages(sub), ["t 1", "t 2", "t 3"]);
}

#[test]
fn a_qos_2_message_that_ends_its_own_publisher_is_routed_once() {
    // v5 [MQTT-4.3.3-10]
    let mut world = World::configured(|config| {
        config.overflow = Overflow::Disconnect;
        config.queue.messages = 1;
    });
    let observer = world.join(Version::V311, "observer");
    world.subscribe(observer, "t", Qos::AtMostOnce);
    let client = keep(&mut world, "c", &[]);
    world.subscribe(client, "t", Qos::AtLeastOnce);
    world.publish_with(client, "t", "1", |publish| set_qos(publish, Qos::ExactlyOnce, 1));
    world.publish_with(client, "t", "2", |publish| set_qos(publish, Qos::ExactlyOnce, 2));
    assert!(world.is_closed(client));
    let client = keep(&mut world, "c", &[]);
    world.publish_with(client, "t", "2", |publish| {
        set_qos(publish, Qos::ExactlyOnce, 2);
        publish.dup = true;
    });
    assert_eq!(world.messages(observer), ["t 1", "t 2"]);
}

#[test]
fn identifiers_count_in_the_bytes_of_a_queue() {
    let mut world = World::configured(|config| config.queue.bytes = 10 * KIB);
    let sub = keep(&mut world, "sub", &[]);
    for bits in 0..500u32 {
        let filter: Vec<_> = (0..9).map(|bit| if bits >> bit & 1 == 1 { "+" } else { "x" }).collect();
        let options = SubscribeOptions { qos: Qos::AtLeastOnce, ..Default::default() };
        world.subscribe_with(sub, &filter.join("/"), options, &[Property::SubscriptionIdentifier(200_000_000 + bits)]);
    }
    world.cut(sub);
    for _ in 0..200 {
        local(&mut world, &["x"; 9].join("/"), "x", Qos::AtLeastOnce, &[]);
    }
    let (queued, before) = (world.broker.stats().queued_bytes, 0);
    let sub = keep(&mut world, "sub", &[]);
    let bytes = world.links[sub].total - before;
    assert!(bytes < 30 * KIB, "{bytes} bytes out of a queue of 10 KiB that counted {queued}");
}

#[test]
fn messages_queued_while_the_socket_was_stuck_survive_the_cut_undelivered_ones_without_dup() {
    // v5 [MQTT-4.3.2-2]: DUP 0 the first time
    let mut world = World::configured(|config| config.high_water = 4 * KIB);
    let sub = keep(&mut world, "sub", &[]);
    world.subscribe(sub, "t", Qos::AtLeastOnce);
    world.links[sub].takes = Some(0);
    for _ in 0..10 {
        local(&mut world, "t", &"x".repeat(KIB), Qos::AtMostOnce, &[]);
    }
    local(&mut world, "t", "news", Qos::AtLeastOnce, &[]);
    world.cut(sub);
    let sub = keep(&mut world, "sub", &[]);
    let received = world.received(sub);
    assert_eq!(received.iter().find(|line| line.contains("news")).unwrap(), "PUBLISH t news q1 id1");
}

#[test]
fn a_client_before_5_0_gets_rid_of_its_backlog_by_connecting_again() {
    let mut world = World::new();
    let sub = world.join(Version::V311, "sub");
    world.subscribe(sub, "t", Qos::AtMostOnce);
    let mut got = 0;
    for attempt in 0..5 {
        let client = world.try_join(Version::V311, "c", |connect| connect.clean_start = false);
        let mut bytes = Vec::new();
        for n in 1..=1_100 {
            let mut publish = Publish {
                dup: attempt > 0,
                qos: Qos::AtMostOnce,
                retain: false,
                topic: Some(TopicName::new("t").unwrap()),
                packet_id: None,
                properties: Properties::EMPTY,
                payload: b"x",
            };
            set_qos(&mut publish, Qos::AtLeastOnce, n);
            Packet::Publish(publish).encode(Version::V311, &mut bytes).unwrap();
        }
        world.received(client);
        world.send_bytes(client, &bytes);
        got += world.messages(sub).len();
        let acks = world.received(client).len();
        println!("attempt {attempt}: {acks} PUBACKs, closed {}, subscriber has {got}", world.is_closed(client));
        if acks == 1_100 {
            return;
        }
    }
    panic!("closed again and again, nothing acknowledged, {got} copies of 1,100 messages");
}

#[test]
fn a_deferred_publish_of_one_publisher_among_many_paused_ones() {
    // publishers that come, publish to a slow target and go leave nothing behind
    let mut world = World::configured(|config| {
        config.high_water = 4 * KIB;
        config.queue.messages = 20;
    });
    let sub = world.join(Version::V311, "sub");
    world.subscribe(sub, "t", Qos::AtMostOnce);
    world.links[sub].takes = Some(0);
    for _ in 0..20 {
        local(&mut world, "t", &"x".repeat(KIB), Qos::AtMostOnce, &[]);
    }
    for _ in 0..100 {
        let client = world.join(Version::V311, "c");
        world.publish(client, "t", "x", Qos::AtMostOnce);
        world.cut(client);
        world.take(sub, 1);
        world.advance(10);
    }
    let client = world.join(Version::V311, "c");
    world.publish(client, "t", "x", Qos::AtMostOnce);
    world.take(sub, 100 * KIB);
    assert!(world.links[client].reading);
}

#[test]
fn a_session_that_may_keep_qos_0_keeps_it_over_a_cut() {
    let mut world = World::configured(|config| {
        config.high_water = 4 * KIB;
        config.queue_qos0_offline = true;
    });
    let sub = keep(&mut world, "sub", &[]);
    world.subscribe(sub, "t", Qos::AtMostOnce);
    world.links[sub].takes = Some(0);
    for n in 0..100 {
        local(&mut world, "t", &format!("{n:01000}"), Qos::AtMostOnce, &[]);
    }
    world.cut(sub);
    let sub = keep(&mut world, "sub", &[]);
    let got = world.messages(sub).len();
    assert!(got >= 90, "{got} of 100, of which 4 or 5 had left");
}

#[test]
fn a_qos_2_message_that_never_left_expires_too_and_a_lost_connection_writes_nothing() {
    let mut world = World::configured(|config| config.high_water = 4 * KIB);
    let sub = keep(&mut world, "sub", &[]);
    world.subscribe(sub, "t", Qos::ExactlyOnce);
    world.links[sub].takes = Some(0);
    for _ in 0..100 {
        local(&mut world, "t", &"x".repeat(KIB), Qos::ExactlyOnce, &[Property::MessageExpiryInterval(5)]);
    }
    world.cut(sub);
    world.advance(60 * SECOND);
    let sub = keep(&mut world, "sub", &[]);
    let got = world.messages(sub).len();
    assert!(got <= 6, "{got} expired messages");
}

#[test]
fn a_client_that_takes_a_large_message_slowly_and_pings_is_alive() {
    // v5 [MQTT-3.1.2-22]
    let mut world = World::new();
    let sub = world.join_with(Version::V311, "sub", |connect| connect.keep_alive = 4);
    world.subscribe(sub, "t", Qos::AtMostOnce);
    world.links[sub].takes = Some(0);
    local(&mut world, "t", &"x".repeat(500 * KIB), Qos::AtMostOnce, &[]);
    for second in 0..30 {
        world.send(sub, Packet::Pingreq);
        world.take(sub, 15 * KIB);
        world.advance(SECOND);
        assert!(!world.is_closed(sub), "after {second} s, a ping and 15 KiB in each of them");
    }
}

fn with_will<P: Policy>(world: &mut World<P>, delay: u32) -> Name {
    const SESSION: [Property<'static>; 1] = [Property::SessionExpiryInterval(30)];
    let delay = Box::leak(Box::new([Property::WillDelayInterval(delay)]));
    world.try_join(Version::V5, "c", |connect| {
        connect.clean_start = false;
        connect.properties = Properties::from_slice(&SESSION);
        let mut will = will("w", "gone");
        will.properties = Properties::from_slice(delay);
        connect.will = Some(will);
    })
}

#[test]
fn a_reconnect_after_the_delay_is_too_late_for_the_will_also_when_the_host_wakes_late() {
    // v5 [MQTT-3.1.3-9]: only a connection before the delay has passed keeps it from being published
    let mut world = World::new();
    let other = world.join(Version::V311, "other");
    world.subscribe(other, "w", Qos::AtMostOnce);
    let client = with_will(&mut world, 10);
    world.cut(client);
    world.now = world.now.plus_millis(20 * SECOND); // input is handled before the timeout
    with_will(&mut world, 10);
    world.advance(0);
    assert_eq!(world.messages(other), ["w gone"]);
}

#[test]
fn a_session_that_has_run_out_does_not_go_on_when_the_host_wakes_late() {
    // v5 [MQTT-4.1.0-2]
    let mut world = World::new();
    let client = with_will(&mut world, 10);
    world.cut(client);
    world.now = world.now.plus_millis(40 * SECOND);
    let client = with_will(&mut world, 10);
    assert_eq!(world.received(client), ["CONNACK 0x00"]);
}

/// Allows the topic `now` and defers all others, and notes the ticket of every request.
#[derive(Default)]
struct Notes(Vec<Ticket>);

impl Policy for Notes {
    fn connect(&mut self, _: &ConnectRequest<'_>) -> Decision {
        Decision::Allow
    }
    fn publish(&mut self, request: &PublishRequest<'_>) -> Decision {
        self.0.push(request.ticket);
        if request.publication.topic.as_str() == "now" { Decision::Allow } else { Decision::Defer(request.ticket) }
    }
    fn subscribe(&mut self, _: &SubscribeRequest<'_>) -> Decision {
        Decision::Allow
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

#[test]
fn the_ticket_of_a_request_that_was_decided_at_once_is_stale() {
    let mut world = World::with(Config::default(), Notes::default());
    let sub = world.join(Version::V311, "sub");
    world.subscribe(sub, "#", Qos::AtMostOnce);
    let client = world.join(Version::V311, "c");
    world.publish(client, "now", "x", Qos::AtMostOnce);
    world.publish(client, "later", "x", Qos::AtMostOnce);
    let first = world.broker.policy().0[0];
    world.broker.resume(world.now, first, Decision::Allow);
    world.turn();
    assert_eq!(world.messages(sub), ["now x"]);
}
