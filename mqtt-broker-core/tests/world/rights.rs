//! Rights beyond the first question: unsubscribing, receiving, and what was granted once (S7).
use crate::harness::*;
use mqtt_broker_core::codec::{
    AckKind, Connect, Filters, Packet, Properties, Property, Qos, ReasonCode, SubscribeOptions, TopicFilter, TopicName,
    Unsubscribe, Version, Will,
};
use mqtt_broker_core::{
    ClientInfo, Config, ConnectRequest, Decision, Peer, Policy, Publication, PublishRequest, ReceiveRequest,
    SubscribeRequest, Ticket, UnsubscribeRequest,
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
    /// From where those come who subscribe, or have.
    pub addresses: Vec<Option<std::net::SocketAddr>>,
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
            addresses: Vec::new(),
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
        self.addresses.push(request.client.peer.address);
        let word = if request.again { "keep" } else { "subscribe" };
        self.asked.push(format!("{word} {filter}"));
        let decision = match filter {
            _ if request.rewritten => Decision::Allow,
            _ if filter.starts_with("later") => Decision::Defer(request.ticket),
            _ => (self.subscribe)(filter),
        };
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

impl World<Book> {
    fn publish_local(&mut self, topic: &str, payload: &str) {
        self.publish_local_at(topic, payload, Qos::AtMostOnce);
    }

    fn publish_local_at(&mut self, topic: &str, payload: &str, qos: Qos) {
        let topic = TopicName::new(topic).unwrap();
        let _ = self.broker.publish(self.now, &Publication { qos, ..Publication::new(topic, payload.as_bytes()) });
        self.turn();
    }

    fn retain_local(&mut self, topic: &str, payload: &str) {
        let topic = TopicName::new(topic).unwrap();
        let publication = Publication { retain: true, ..Publication::new(topic, payload.as_bytes()) };
        self.broker.publish(self.now, &publication).unwrap();
    }
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

// --- S7: what was granted once ---------------------------------------------------------------------------------------

const KEPT: [Property<'static>; 1] = [Property::SessionExpiryInterval(1_000)];

fn keeps(connect: &mut Connect<'_>) {
    connect.properties = Properties::from_slice(&KEPT);
    connect.clean_start = false;
}

/// Takes `secret` away from everybody.
fn revoke(world: &mut World<Book>) {
    let book = world.broker.policy_mut();
    book.subscribe = |filter| if filter.starts_with("secret") { no() } else { Decision::Allow };
    book.publish = |topic| if topic.starts_with("secret") { no() } else { Decision::Allow };
    book.receive = |topic| !topic.starts_with("secret");
    book.asked.clear();
}

#[test]
fn a_live_subscription_ends_when_its_right_does() {
    // S7
    let mut world = world();
    let client = world.join(Version::V5, "c");
    for filter in ["secret/#", "open"] {
        world.subscribe(client, filter, Qos::AtLeastOnce);
    }
    revoke(&mut world);
    world.publish_local("secret/1", "still there until it is asked");
    assert_eq!(world.messages(client).len(), 0, "the publisher's right is gone at once");
    assert!(world.broker.reauthorize(world.now, "c"));
    assert!(!world.broker.reauthorize(world.now, "nobody"));
    assert_eq!(asked(&mut world)[1..], ["keep open", "receives all c open", "keep secret/#"]);
    world.broker.policy_mut().publish = |_| Decision::Allow;
    for topic in ["secret/1", "open"] {
        world.publish_local(topic, "x");
    }
    assert_eq!(world.messages(client), ["open x"]);
    assert_eq!(world.broker.stats().subscriptions, 1);
}

#[test]
fn a_subscription_that_stays_may_be_lowered_or_asked_about_each_message_from_now_on() {
    // S7
    let mut world = world();
    let client = world.join(Version::V5, "c");
    world.subscribe(client, "#", Qos::AtLeastOnce);
    let book = world.broker.policy_mut();
    book.subscribe = |filter| {
        let options = SubscribeOptions { qos: Qos::AtMostOnce, ..Default::default() };
        Decision::subscribe_as(TopicFilter::new(filter).unwrap(), options)
    };
    book.receives_all = |_| false;
    book.receive = |topic| topic == "open";
    world.broker.reauthorize(world.now, "c");
    for topic in ["open", "secret"] {
        world.publish_local_at(topic, "x", Qos::AtLeastOnce);
    }
    assert_eq!(world.received(client), ["PUBLISH open x q0"]);
    // one that would now be put elsewhere does not stay where it is
    world.broker.policy_mut().subscribe =
        |_| Decision::subscribe_as(TopicFilter::new("home").unwrap(), SubscribeOptions::default());
    world.broker.reauthorize(world.now, "c");
    assert_eq!(world.broker.stats().subscriptions, 0);
}

#[test]
fn what_is_queued_goes_with_the_right_and_nothing_else_does() {
    // S7
    let mut world = world();
    let client = world.join_with(Version::V5, "c", keeps);
    for filter in ["secret/#", "secret/shown", "#"] {
        world.subscribe(client, filter, Qos::AtLeastOnce);
    }
    world.cut(client);
    for topic in ["secret/1", "open", "secret/shown"] {
        world.publish_local_at(topic, "x", Qos::AtLeastOnce);
    }
    let book = world.broker.policy_mut();
    book.subscribe = |filter| if filter == "secret/#" { no() } else { Decision::Allow };
    book.receive = |topic| topic != "secret/1";
    let before = world.broker.stats().queued_bytes;
    world.broker.reauthorize(world.now, "c");
    assert!(world.broker.stats().queued_bytes < before);
    assert_eq!(world.broker.stats().dropped_denied, 1);
    let client = world.try_join(Version::V5, "c", keeps);
    assert_eq!(world.broker.stats().subscriptions, 2);
    assert_eq!(world.messages(client), ["open x", "secret/shown x"]);
}

#[test]
fn a_policy_that_knows_only_filters_takes_queued_messages_back_too() {
    // S7: `receive` says yes to all, but what came by a subscription that ended goes with it
    let mut world = world();
    let client = world.join_with(Version::V5, "c", keeps);
    for filter in ["secret/+", "secret/#", "open/#"] {
        world.subscribe(client, filter, Qos::AtLeastOnce);
    }
    world.cut(client);
    for topic in ["secret/1", "secret/1/2", "open/1"] {
        world.publish_local_at(topic, "x", Qos::AtLeastOnce);
    }
    world.broker.policy_mut().subscribe = |filter| if filter == "secret/#" { no() } else { Decision::Allow };
    world.broker.reauthorize(world.now, "c");
    let client = world.try_join(Version::V5, "c", keeps);
    assert_eq!(world.messages(client), ["secret/1 x", "open/1 x"], "the first comes by another one as well");
}

#[test]
fn what_stood_behind_something_that_is_taken_back_goes_at_once() {
    // S7. Found by the simulation: it went when its client said something the next time.
    for topic in ["secret/1", "$share/g/secret/1"] {
        let mut world = world();
        let local = world.join(Version::V5, "local");
        world.retain(local, "open/r", "kept");
        let one = [Property::ReceiveMaximum(1)];
        let client = world.join_with(Version::V5, "c", |connect| connect.properties = Properties::from_slice(&one));
        for filter in ["open/1", topic] {
            world.subscribe(client, filter, Qos::AtLeastOnce);
        }
        for topic in ["open/1", "secret/1"] {
            world.publish_local_at(topic, "x", Qos::AtLeastOnce); // the second waits for the window
        }
        let lines = world.subscribe(client, "open/+", Qos::AtMostOnce); // a replay behind it
        assert_eq!(lines, ["PUBLISH open/1 x q1 id1", "SUBACK [0x00]"]);
        revoke(&mut world);
        world.broker.policy_mut().subscribe = |filter| if filter.contains("secret") { no() } else { Decision::Allow };
        world.broker.reauthorize(world.now, "c");
        world.turn();
        assert_eq!(world.messages(client), ["open/r kept"], "behind {topic}");
    }
}

#[test]
fn what_was_in_flight_is_not_sent_again_when_the_right_is_gone() {
    // S7
    for revoke_while_away in [false, true] {
        let mut world = world();
        let client = world.join_with(Version::V5, "c", keeps);
        world.subscribe(client, "#", Qos::ExactlyOnce);
        for (topic, qos) in [
            ("secret/1", Qos::AtLeastOnce),
            ("open/1", Qos::AtLeastOnce),
            ("secret/2", Qos::ExactlyOnce),
            ("open/2", Qos::ExactlyOnce),
        ] {
            world.publish_local_at(topic, "x", qos);
        }
        assert_eq!(world.messages(client).len(), 4);
        if revoke_while_away {
            world.cut(client);
        }
        revoke(&mut world);
        world.broker.reauthorize(world.now, "c");
        if !revoke_while_away {
            world.cut(client);
        }
        let client = world.try_join(Version::V5, "c", keeps);
        // of the QoS 2 message that was begun its identifier is released, so that the next one does not pass for a repetition
        assert_eq!(
            world.received(client),
            ["CONNACK 0x00 present", "PUBLISH open/1 x q1 id2 dup", "PUBREL id3", "PUBLISH open/2 x q2 id4 dup"],
            "{revoke_while_away}"
        );
        world.ack(client, AckKind::Pubcomp, 3);
        assert!(!world.is_closed(client));
    }
}

#[test]
fn retained_messages_on_their_way_stop_when_the_right_does() {
    // S7
    for all in [false, true] {
        let mut world = world();
        for n in 0..2_000 {
            world.retain_local(&format!("secret/{n}"), "x");
        }
        let client = world.join(Version::V5, "c");
        world.links[client].takes = Some(600);
        world.subscribe(client, "secret/#", Qos::AtMostOnce);
        revoke(&mut world);
        if all {
            world.broker.reauthorize_all(world.now);
        } else {
            world.broker.reauthorize(world.now, "c");
        }
        let staged = world.links[client].total + 64 * 1024 + 100;
        world.take(client, usize::MAX);
        world.advance(SECOND);
        assert!(world.links[client].total <= staged, "what was not encoded yet does not come");
        assert_eq!((world.broker.stats().subscriptions, world.broker.stats().queued_bytes), (0, 0));
    }
}

#[test]
fn a_delayed_will_is_judged_when_its_time_comes() {
    // S6, S7
    let mut world = world();
    let watcher = world.join(Version::V311, "watcher");
    world.subscribe(watcher, "#", Qos::AtMostOnce);
    let client = world.join_with(Version::V5, "c", |connect| {
        keeps(connect);
        let properties = Properties::from_slice(&[Property::WillDelayInterval(10)]);
        connect.will = Some(Will { properties, ..will("secret/will", "x") });
    });
    world.cut(client);
    revoke(&mut world);
    world.advance(11 * SECOND);
    assert!(world.messages(watcher).is_empty());
    assert_eq!(asked(&mut world), ["publish secret/will"]);
}

#[test]
fn taking_rights_from_all_counts_at_once_though_the_work_is_done_in_shares() {
    // S7
    let mut world = world();
    let names: Vec<String> = (0..3_000).map(|n| format!("c{n}")).collect();
    let clients: Vec<Name> = names.iter().map(|name| world.join_with(Version::V5, name, keeps)).collect();
    for &client in &clients {
        world.subscribe(client, "secret/#", Qos::AtLeastOnce);
    }
    let (awake, asleep) = (clients[2_999], clients[2_998]);
    world.cut(asleep);
    revoke(&mut world);
    world.broker.policy_mut().publish = |_| Decision::Allow;
    world.broker.reauthorize_all(world.now);
    assert_eq!(world.broker.stats().subscriptions, 3_000, "nothing was walked over");
    // the last in the row is sent a message: it is judged before that
    world.publish_local_at("secret/1", "x", Qos::AtMostOnce);
    assert!(world.messages(awake).is_empty());
    let back = world.try_join(Version::V5, "c2998", keeps);
    assert!(world.messages(back).is_empty());
    // the others in their turn, a share at a time
    let mut turns = 0;
    let mut left = world.broker.stats().subscriptions;
    while world.broker.poll_timeout() == Some(world.now) {
        turns += 1;
        world.broker.handle_timeout(world.now);
        assert!(left - world.broker.stats().subscriptions <= 1_024);
        left = world.broker.stats().subscriptions;
    }
    assert!(left == 0 && turns >= 1, "{left} {turns}");
}

#[test]
fn a_subscription_whose_new_judgement_is_put_off_stays_until_then() {
    // S7
    for (answer, heard) in [(Some(Decision::Allow), 2), (Some(no()), 1), (None, 1)] {
        let mut world = world();
        let client = world.join(Version::V5, "c");
        assert!(world.subscribe(client, "later/#", Qos::AtMostOnce).is_empty());
        decide(&mut world, Decision::Allow);
        world.received(client);
        world.broker.reauthorize(world.now, "c");
        world.publish_local("later/1", "x");
        match answer {
            Some(answer) => {
                // the message was asked about too, and needs no ticket
                world.broker.policy_mut().tickets.pop();
                decide(&mut world, answer);
            }
            None => world.advance(11 * SECOND),
        }
        world.publish_local("later/2", "x");
        assert_eq!(world.messages(client).len(), heard);
        assert!(world.links[client].reading, "nobody waits for it");
    }
}

// S7
#[test]
fn who_comes_back_is_judged_with_the_address_it_comes_back_from() {
    let mut world = World::with(Config::default(), Book::default());
    let expiry = [Property::SessionExpiryInterval(3_600)];
    let peer = |last| Peer::new(Some(([10, 0, 0, last], 1_000).into()), 0);
    let stay = |connect: &mut Connect<'_>| connect.clean_start = false;
    let name = world.try_join_from(peer(1), Version::V5, "c", |connect| {
        connect.properties = Properties::from_slice(&expiry);
        stay(connect);
    });
    world.subscribe(name, "news", Qos::AtLeastOnce);
    world.cut(name);
    let writer = world.join(Version::V5, "writer");
    world.publish(writer, "news", "1", Qos::AtLeastOnce);
    world.broker.reauthorize_all(world.now); // in its turn, or when it comes, whichever is first
    world.broker.policy_mut().addresses.clear();
    let name = world.try_join_from(peer(2), Version::V5, "c", stay);
    assert_eq!(world.broker.policy().addresses, [peer(2).address]);
    assert_eq!(world.messages(name), ["news 1"]);
}
