//! Rights beyond the first question: unsubscribing, receiving, and what was granted once (S7).
use crate::harness::*;
use mqtt_broker_core::codec::{
    Filters, Packet, Properties, Qos, ReasonCode, SubscribeOptions, TopicFilter, Unsubscribe, Version,
};
use mqtt_broker_core::{
    ClientInfo, Config, ConnectRequest, Decision, Policy, PublishRequest, ReceiveRequest, SubscribeRequest, Ticket,
    UnsubscribeRequest,
};

/// What a [`Book`] says to one client and one text: a filter or a topic.
type Says = fn(&str) -> Decision;

/// A policy whose answers a test may change at any time, and that notes what it was asked.
pub struct Book {
    pub connect: Decision,
    pub publish: Says,
    pub subscribe: Says,
    pub unsubscribe: Says,
    pub receives_all: fn(&str) -> bool,
    pub receive: fn(&str) -> bool,
    pub asked: Vec<String>,
    pub tickets: Vec<Ticket>,
}

impl Default for Book {
    fn default() -> Self {
        Self {
            connect: Decision::Allow,
            publish: |_| Decision::Allow,
            subscribe: |_| Decision::Allow,
            unsubscribe: |_| Decision::Allow,
            receives_all: |_| true,
            receive: |_| true,
            asked: Vec::new(),
            tickets: Vec::new(),
        }
    }
}

pub fn no() -> Decision {
    Decision::Deny(ReasonCode::NOT_AUTHORIZED)
}

/// Whoever asks puts the ticket in itself.
fn with_ticket(book: &mut Book, decision: Decision, ticket: Ticket) -> Decision {
    book.tickets.push(ticket);
    decision
}

impl Policy for Book {
    fn connect(&mut self, request: &ConnectRequest<'_>) -> Decision {
        with_ticket(self, self.connect.clone(), request.ticket)
    }
    fn publish(&mut self, request: &PublishRequest<'_>) -> Decision {
        let topic = request.publication.topic.as_str();
        self.asked.push(format!("publish {topic}"));
        let decision = (self.publish)(topic);
        with_ticket(self, decision, request.ticket)
    }
    fn subscribe(&mut self, request: &SubscribeRequest<'_>) -> Decision {
        let filter = request.filter.as_str();
        self.asked.push(format!("subscribe {filter}"));
        let decision =
            if filter.starts_with("later") { Decision::Defer(request.ticket) } else { (self.subscribe)(filter) };
        with_ticket(self, decision, request.ticket)
    }
    fn unsubscribe(&mut self, request: &UnsubscribeRequest<'_>) -> Decision {
        let filter = request.filter.as_str();
        self.asked.push(format!("unsubscribe {} {filter}", request.client.client_id));
        let defer = filter.starts_with("later");
        let decision = if defer { Decision::Defer(request.ticket) } else { (self.unsubscribe)(filter) };
        with_ticket(self, decision, request.ticket)
    }
    fn receives_all(&mut self, client: &ClientInfo<'_>, filter: TopicFilter<'_>) -> bool {
        self.asked.push(format!("receives all {} {}", client.client_id, filter.as_str()));
        (self.receives_all)(filter.as_str())
    }
    fn receive(&mut self, request: &ReceiveRequest<'_>) -> bool {
        let topic = request.publication.topic.as_str();
        self.asked.push(format!("receive {} {topic}", request.client.client_id));
        (self.receive)(topic)
    }
}

pub fn world() -> World<Book> {
    World::with(Config::default(), Book::default())
}

/// What the policy was asked since last looked.
pub fn asked(world: &mut World<Book>) -> Vec<String> {
    std::mem::take(&mut world.broker.policy_mut().asked)
}

/// Decides what was put off last.
pub fn decide(world: &mut World<Book>, decision: Decision) {
    let ticket = world.broker.policy_mut().tickets.pop().expect("something was put off");
    world.broker.resume(world.now, ticket, decision);
    world.turn();
}

fn unsubscribe(world: &mut World<Book>, client: Name, filters: &[&str]) -> Vec<String> {
    let list: Vec<_> = filters.iter().map(|filter| TopicFilter::new(filter).unwrap()).collect();
    let filters = Filters::from_slice(&list);
    world.send(client, Packet::Unsubscribe(Unsubscribe { packet_id: id(1), properties: Properties::EMPTY, filters }));
    world.received(client)
}

#[test]
fn each_filter_of_an_unsubscribe_is_judged_and_answered() {
    let mut world = world();
    let publisher = world.join(Version::V311, "publisher");
    for (version, answer) in [(Version::V5, "UNSUBACK [0x00, 0x87, 0x11]"), (Version::V311, "UNSUBACK []")] {
        let client = world.join(version, "c");
        world.subscribe(client, "a", Qos::AtMostOnce);
        world.subscribe(client, "stays", Qos::AtMostOnce);
        world.broker.policy_mut().unsubscribe = |filter| if filter == "stays" { no() } else { Decision::Allow };
        asked(&mut world);
        assert_eq!(unsubscribe(&mut world, client, &["a", "stays", "never"]), [answer]);
        assert_eq!(asked(&mut world), ["unsubscribe c a", "unsubscribe c stays", "unsubscribe c never"]);
        world.publish(publisher, "a", "1", Qos::AtMostOnce);
        world.publish(publisher, "stays", "2", Qos::AtMostOnce);
        assert_eq!(world.messages(client), ["stays 2"]);
    }
}

#[test]
fn a_deferred_filter_holds_the_unsuback_and_nothing_is_asked_twice() {
    let mut world = world();
    let client = world.join(Version::V5, "c");
    for filter in ["a", "b"] {
        world.subscribe(client, filter, Qos::AtMostOnce);
    }
    asked(&mut world);
    assert!(unsubscribe(&mut world, client, &["a", "later/1", "b", "later/2"]).is_empty());
    assert_eq!(world.broker.stats().subscriptions, 1, "those before it are ended");
    decide(&mut world, no());
    assert!(world.received(client).is_empty() && !world.links[client].reading);
    decide(&mut world, Decision::Allow);
    assert_eq!(world.received(client), ["UNSUBACK [0x00, 0x87, 0x00, 0x11]"]);
    assert_eq!(asked(&mut world).len(), 4);
    // one that never comes is a denial
    unsubscribe(&mut world, client, &["later/3"]);
    world.advance(11 * SECOND);
    assert_eq!(world.received(client), ["UNSUBACK [0x87]"]);
}

#[test]
fn a_subscription_that_may_receive_all_is_asked_about_once() {
    let mut world = world();
    let client = world.join(Version::V5, "c");
    world.subscribe(client, "#", Qos::AtMostOnce);
    for topic in ["a", "b", "c"] {
        world.publish(client, topic, "x", Qos::AtMostOnce);
    }
    assert_eq!(world.messages(client).len(), 3);
    assert_eq!(asked(&mut world), ["subscribe #", "receives all c #", "publish a", "publish b", "publish c"]);
}

#[test]
fn a_subscription_that_may_not_is_asked_about_each_message() {
    let mut world = world();
    *world.broker.policy_mut() =
        Book { receives_all: |_| false, receive: |topic| topic != "secret", ..Book::default() };
    let client = world.join_with(Version::V5, "c", |connect| connect.clean_start = false);
    world.subscribe(client, "#", Qos::AtLeastOnce);
    let publisher = world.join(Version::V5, "publisher");
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce] {
        world.publish(publisher, "open", "x", qos);
        world.publish(publisher, "secret", "x", qos);
        assert_eq!(world.messages(client), ["open x"], "{qos:?}");
    }
    // to whom nobody listens that may
    assert_eq!(world.received(publisher), ["PUBACK id1", "PUBACK id1 0x10"]);
    assert_eq!(world.broker.stats().dropped_denied, 2);
}

#[test]
fn who_may_receive_all_by_one_subscription_is_not_asked_because_of_another() {
    let mut world = world();
    *world.broker.policy_mut() = Book { receives_all: |filter| filter == "a/b", receive: |_| false, ..Book::default() };
    let client = world.join(Version::V5, "c");
    world.subscribe(client, "#", Qos::AtMostOnce);
    world.subscribe(client, "a/b", Qos::AtMostOnce);
    world.publish(client, "a/b", "x", Qos::AtMostOnce);
    world.publish(client, "a/c", "x", Qos::AtMostOnce);
    assert_eq!(world.messages(client), ["a/b x"]);
}

#[test]
fn retained_messages_are_asked_about_too() {
    // S7
    let mut world = world();
    let publisher = world.join(Version::V311, "publisher");
    for topic in ["secret", "open/1", "open/secret", "open/2"] {
        world.retain(publisher, topic, "x");
    }
    *world.broker.policy_mut() =
        Book { receives_all: |_| false, receive: |topic| !topic.contains("secret"), ..Book::default() };
    let client = world.join(Version::V5, "c");
    world.subscribe_with(client, "secret", SubscribeOptions::default(), &[]);
    assert!(world.messages(client).is_empty());
    let list = [mqtt_broker_core::codec::Subscription {
        filter: TopicFilter::new("open/#").unwrap(),
        options: SubscribeOptions::default(),
    }];
    let subscriptions = mqtt_broker_core::codec::Subscriptions::from_slice(&list);
    world.send(
        client,
        Packet::Subscribe(mqtt_broker_core::codec::Subscribe {
            packet_id: id(1),
            properties: Properties::EMPTY,
            subscriptions,
        }),
    );
    let mut messages = world.messages(client);
    messages.sort_unstable();
    assert_eq!(messages, ["open/1 x", "open/2 x"]);
}
