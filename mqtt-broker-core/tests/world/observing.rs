//! What observers see: events, counters, the `$SYS` topics.
use crate::harness::*;
use core::time::Duration;
use mqtt_broker_core::codec::{AckKind, Qos, ReasonCode, Version};
use mqtt_broker_core::{
    AllowAll, Config, Decision, Event, EventMask, Origin, Policy, PublishRequest, ReceiveRequest, SubscribeRequest,
    UnsubscribeRequest,
};

fn masked(change: impl FnOnce(&mut EventMask)) -> World<AllowAll> {
    World::configured(|config| {
        config.events = EventMask::none();
        change(&mut config.events);
    })
}

/// An event in a line.
fn told(event: &Event) -> String {
    match event {
        Event::Connected { client, session_present, .. } => format!("connected {client} {session_present}"),
        Event::Disconnected { client, cause, .. } => format!("disconnected {client} {cause:?}"),
        Event::Subscribed { client, filter, .. } => format!("subscribed {client} {}", filter.as_filter().as_str()),
        Event::Unsubscribed { client, filter, .. } => format!("unsubscribed {client} {}", filter.as_filter().as_str()),
        Event::SessionEnded { client, .. } => format!("ended {client}"),
        Event::WillPublished { client, .. } => format!("will {client}"),
        Event::Published { client, topic, qos, retain, size, .. } => {
            let who = client.as_ref().map_or("host", |id| id.as_str());
            format!("published {who} {} {} {retain} {size}", topic.as_name().as_str(), *qos as u8)
        }
        Event::Delivered { client, topic, qos, .. } => {
            format!("delivered {client} {} {}", topic.as_name().as_str(), *qos as u8)
        }
        Event::Acked { client, reason, .. } => format!("acked {client} {reason:?}"),
        Event::Dropped { client, why, .. } => format!("dropped {:?} {why:?}", client.as_ref().map(|id| id.as_str())),
        other => format!("{other:?}"),
    }
}

fn all_told(world: &mut World<AllowAll>) -> Vec<String> {
    world.events().iter().map(told).collect()
}

#[test]
fn observers_see_a_client_come_subscribe_and_go() {
    let mut world = World::new();
    let client = world.join_with(Version::V311, "c", |connect| connect.will = Some(will("w", "gone")));
    world.subscribe(client, "t", Qos::AtMostOnce);
    world.unsubscribe(client, "t");
    world.cut(client);
    let expected =
        ["connected c false", "subscribed c t", "unsubscribed c t", "disconnected c Lost", "ended c", "will c"];
    assert_eq!(all_told(&mut world), expected);
}

#[test]
fn the_mask_may_change_at_any_time() {
    let mut world = masked(|_| {});
    let client = world.join(Version::V311, "c");
    world.publish(client, "t", "1", Qos::AtMostOnce);
    let mut published = EventMask::none();
    published.published = true;
    world.broker.set_events(published);
    world.publish(client, "t", "2", Qos::AtMostOnce);
    world.broker.set_events(EventMask::none());
    world.publish(client, "t", "3", Qos::AtMostOnce);
    assert_eq!(all_told(&mut world), ["published c t 0 false 1"]);
}

#[test]
fn messages_are_reported_one_by_one_where_the_mask_asks() {
    let mut world = masked(|mask| (mask.published, mask.delivered, mask.acked) = (true, true, true));
    let sub = world.join(Version::V311, "sub");
    world.subscribe(sub, "t", Qos::AtLeastOnce);
    let client = world.join(Version::V311, "c");
    world.publish(client, "t", "four", Qos::AtMostOnce);
    world.publish(client, "t", "x", Qos::AtLeastOnce);
    world.retain(client, "unheard", "x");
    world.ack(sub, AckKind::Puback, 1);
    let expected = [
        "published c t 0 false 4",
        "delivered sub t 0",
        "published c t 1 false 1",
        "delivered sub t 1",
        "published c unheard 0 true 1",
        "acked sub 0x00",
    ];
    assert_eq!(all_told(&mut world), expected);
}

#[test]
fn nothing_is_reported_that_nobody_asked_for() {
    let mut world = masked(|_| {});
    let sub = world.join(Version::V311, "sub");
    world.subscribe(sub, "t", Qos::AtLeastOnce);
    let client = world.join(Version::V311, "c");
    world.publish(client, "t", "x", Qos::AtLeastOnce);
    world.publish(client, "$no", "x", Qos::AtMostOnce);
    world.cut(client);
    assert_eq!(all_told(&mut world), [""; 0]);
    assert_eq!(world.broker.stats().events_lost, 0);
}

#[test]
fn drops_are_reported_with_their_reason() {
    let mut world = masked(|mask| mask.drops = true);
    let client = world.join(Version::V5, "c");
    world.publish(client, "$no", "x", Qos::AtMostOnce);
    assert_eq!(all_told(&mut world), ["dropped Some(\"c\") Denied(0x90)"]);
}

#[test]
fn the_counters_count() {
    let mut world = World::new();
    let sub = world.join(Version::V311, "sub");
    world.subscribe(sub, "t", Qos::AtMostOnce);
    let kept = world.try_join(Version::V311, "kept", |connect| connect.clean_start = false);
    world.cut(kept);
    let client = world.join(Version::V311, "c");
    let before = world.broker.stats();
    world.publish(client, "t", "x", Qos::AtMostOnce);
    world.retain(client, "r", "y");
    let stats = world.broker.stats();
    assert_eq!((stats.connections, stats.connected, stats.connected_max), (2, 2, 2));
    assert_eq!((stats.sessions, stats.subscriptions, stats.retained), (3, 1, 1));
    assert_eq!((stats.messages_in - before.messages_in, stats.messages_out - before.messages_out), (2, 1));
    assert_eq!(stats.packets_in - before.packets_in, 2);
    assert_eq!((stats.bytes_in - before.bytes_in, stats.bytes_out - before.bytes_out), (12, 6));
    world.cut(client);
    world.cut(sub);
    let stats = world.broker.stats();
    assert_eq!((stats.connected, stats.connected_max, stats.sessions), (0, 2, 1));
    world.advance(7 * 24 * HOUR);
    assert_eq!((world.broker.stats().sessions, world.broker.stats().sessions_expired), (0, 1));
}

#[test]
fn each_end_of_a_connection_that_was_the_brokers_doing_is_counted_once() {
    let mut world = World::configured(|config| config.max_sessions = 2);
    world.join(Version::V5, "c");
    world.join(Version::V5, "c"); // takes over
    let rude = world.join(Version::V5, "rude");
    world.send_bytes(rude, &[0xFF, 0]);
    world.join(Version::V5, "d");
    world.try_join(Version::V5, "one too many", |_| {});
    let stranger = world.open(Version::V5);
    world.send_bytes(stranger, b"GET / HTTP/1.1");
    let lost = world.open(Version::V5);
    world.cut(lost);
    let stats = world.broker.stats();
    assert_eq!((stats.refused, stats.ended, stats.protocol_errors), (1, 1, 2));
}

fn with_sys() -> World<AllowAll> {
    World::configured(|config| config.sys_interval = Some(Duration::from_secs(10)))
}

#[test]
fn the_sys_topics_are_retained_and_say_what_has_changed() {
    let mut world = with_sys();
    let client = world.join(Version::V311, "c");
    world.advance(0);
    let lines = world.subscribe(client, "$SYS/#", Qos::AtMostOnce);
    let message = |line: &String| Some(line.strip_prefix("PUBLISH ")?.split(" q").next()?.to_string());
    let mut topics: Vec<String> = lines.iter().filter_map(message).collect();
    topics.sort();
    assert_eq!(topics.len(), 16, "{topics:?}");
    assert!(topics.contains(&"$SYS/broker/clients/connected 1".to_string()), "{topics:?}");
    assert!(topics[topics.len() - 1].starts_with("$SYS/broker/version mqtt-broker-core "), "{topics:?}");
    world.join(Version::V311, "d");
    world.advance(10 * SECOND);
    let news = world.messages(client);
    assert!(news.contains(&"$SYS/broker/clients/connected 2".to_string()), "{news:?}");
    assert!(news.contains(&"$SYS/broker/uptime 10 seconds".to_string()), "{news:?}");
    assert!(!news.iter().any(|line| line.contains("version") || line.contains("expired")), "unchanged: {news:?}");
}

#[test]
fn sys_topics_are_for_those_who_ask_for_them_by_name() {
    // v5 [MQTT-4.7.2-1] v4 [MQTT-4.7.2-1] pitfall 48
    let mut world = with_sys();
    let client = world.join(Version::V311, "c");
    for filter in ["#", "+/broker/version"] {
        world.subscribe(client, filter, Qos::AtMostOnce);
    }
    world.advance(60 * SECOND);
    assert_eq!(world.messages(client), [""; 0]);
}

#[test]
fn nobody_but_the_broker_writes_sys_topics() {
    // S4
    let mut world = with_sys();
    world.advance(0);
    let client = world.join(Version::V5, "c");
    let topic = "$SYS/broker/version";
    world.publish_with(client, topic, "mine", |publish| set_qos(publish, Qos::AtLeastOnce, 1));
    world.publish_with(client, topic, "mine", |publish| publish.retain = true);
    assert_eq!(world.received(client), ["PUBACK id1 0x90"]);
    let willing = world.try_join(Version::V5, "w", |connect| connect.will = Some(will(topic, "mine")));
    assert_eq!(world.received(willing), ["CONNACK 0x90"]);
    world.subscribe(client, topic, Qos::AtMostOnce);
    world.subscribe(client, "$SYS/broker/+", Qos::AtMostOnce);
    world.send(client, mqtt_broker_core::codec::Packet::Pingreq);
    let version = world.broker.retained(world.now, mqtt_broker_core::topic::TopicName::new(topic).unwrap()).unwrap();
    assert_ne!(version.message.payload(), b"mine");
}

/// Lets nobody publish, the broker itself included.
struct Mute(Vec<String>);
impl Policy for Mute {
    fn connect(&mut self, _: &mqtt_broker_core::ConnectRequest<'_>) -> Decision {
        Decision::Allow
    }
    fn publish(&mut self, request: &PublishRequest<'_>) -> Decision {
        assert!(matches!(request.origin, Origin::Local));
        self.0.push(request.publication.topic.as_str().to_string());
        Decision::Deny(ReasonCode::NOT_AUTHORIZED)
    }
    fn subscribe(&mut self, _: &SubscribeRequest<'_>) -> Decision {
        Decision::Allow
    }
    fn unsubscribe(&mut self, _: &UnsubscribeRequest<'_>) -> Decision {
        Decision::Allow
    }
    fn receives_all(
        &mut self,
        _: &mqtt_broker_core::ClientInfo<'_>,
        _: mqtt_broker_core::codec::TopicFilter<'_>,
    ) -> bool {
        true
    }
    fn receive(&mut self, _: &ReceiveRequest<'_>) -> bool {
        true
    }
}

#[test]
fn the_sys_topics_pass_the_policy_like_everything() {
    // S6
    let mut config = Config::default();
    config.sys_interval = Some(Duration::from_secs(10));
    let mut world = World::with(config, Mute(Vec::new()));
    world.advance(0);
    assert_eq!(world.broker.policy().0.len(), 16);
    assert_eq!(world.broker.stats().retained, 0);
}
