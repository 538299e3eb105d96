//! What the policy puts in the place of a message or a filter is validated and asked about again (S9).
use crate::harness::*;
use mqtt_broker_core::codec::{
    Properties, Property, Qos, ReasonCode, SubscribeOptions, TopicFilter, TopicName, Version,
};
use mqtt_broker_core::{
    ClientInfo, Config, ConnectRequest, Decision, Instant, Origin, Policy, Publication, PublishRequest, ReceiveRequest,
    SubscribeRequest, Ticket, UnsubscribeRequest,
};

/// Moves everything that a client names `name` to `home/name`, but what begins with `home/` already; of what was moved
/// `home/no` is forbidden and `home/later` put off.
#[derive(Default)]
struct Mover {
    /// What a message is changed to beside its topic.
    change: Option<fn(Publication<'_>) -> Publication<'_>>,
    /// Rewrites also what it rewrote itself.
    stubborn: bool,
    /// Puts everything off first.
    later: bool,
    tickets: Vec<Ticket>,
    asked: Vec<String>,
}

impl Mover {
    fn judge(&mut self, text: &str, ticket: Ticket) -> Decision {
        if text.starts_with("home/later") {
            self.tickets.push(ticket);
            return Decision::Defer(ticket);
        }
        if text.starts_with("home/no") { Decision::Deny(ReasonCode::QUOTA_EXCEEDED) } else { Decision::Allow }
    }

    fn moved(&self, topic: &str, now: Instant, publication: &Publication<'_>) -> Decision {
        let text = target(topic);
        let topic = TopicName::new(&text).unwrap();
        let new = Publication { topic, ..*publication };
        Decision::publish_as(now, &self.change.map_or(new, |change| change(new)))
    }
}

/// Where a name is moved to; `bad` and `deep` to where nobody may publish or subscribe.
fn target(text: &str) -> String {
    match text {
        "bad" => "$SYS/x".to_string(),
        "deep" => "a/".repeat(200),
        _ => format!("home/{text}"),
    }
}

impl Policy for Mover {
    fn connect(&mut self, _: &ConnectRequest<'_>) -> Decision {
        Decision::Allow
    }
    fn publish(&mut self, request: &PublishRequest<'_>) -> Decision {
        let topic = request.publication.topic.as_str();
        self.asked.push(format!("{topic}{}", if request.rewritten { " rewritten" } else { "" }));
        if self.later && !request.rewritten {
            self.tickets.push(request.ticket);
            return Decision::Defer(request.ticket);
        }
        if request.rewritten && !self.stubborn || topic.starts_with("home/") || matches!(request.origin, Origin::Local)
        {
            return self.judge(topic, request.ticket);
        }
        self.moved(topic, request.now, request.publication)
    }
    fn subscribe(&mut self, request: &SubscribeRequest<'_>) -> Decision {
        let filter = request.filter.as_str();
        self.asked.push(format!("{filter}{}", if request.rewritten { " rewritten" } else { "" }));
        if self.later && !request.rewritten {
            self.tickets.push(request.ticket);
            return Decision::Defer(request.ticket);
        }
        if request.rewritten && !self.stubborn || filter.starts_with("home/") {
            return self.judge(filter, request.ticket);
        }
        let options = SubscribeOptions { qos: Qos::ExactlyOnce, ..request.options };
        Decision::subscribe_as(TopicFilter::new(&target(filter)).unwrap(), options)
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

fn world() -> (World<Mover>, Name) {
    let mut world = World::with(Config::default(), Mover::default());
    let watcher = world.join(Version::V5, "watcher");
    world.subscribe(watcher, "home/#", Qos::ExactlyOnce);
    asked(&mut world);
    (world, watcher)
}

fn asked(world: &mut World<Mover>) -> Vec<String> {
    std::mem::take(&mut world.broker.policy_mut().asked)
}

fn decide(world: &mut World<Mover>, decision: Decision) {
    let ticket = world.broker.policy_mut().tickets.pop().expect("something was put off");
    world.broker.resume(world.now, ticket, decision);
    world.turn();
}

#[test]
fn a_rewritten_message_is_asked_about_again_and_goes_where_it_was_sent() {
    let (mut world, watcher) = world();
    let client = world.join(Version::V5, "c");
    world.publish(client, "t", "x", Qos::AtLeastOnce);
    assert_eq!((world.messages(watcher), world.received(client)), (vec!["home/t x".into()], vec!["PUBACK id1".into()]));
    assert_eq!(asked(&mut world), ["t", "home/t rewritten"]);
}

#[test]
fn a_rewritten_message_obeys_the_rules_and_the_second_answer() {
    // S4, S9
    let (mut world, watcher) = world();
    let client = world.join(Version::V5, "c");
    for (topic, code) in [("bad", "0x90"), ("deep", "0x90"), ("no", "0x97")] {
        world.publish(client, topic, "x", Qos::AtLeastOnce);
        assert_eq!(world.received(client), [format!("PUBACK id1 {code}")], "{topic}");
    }
    world.broker.policy_mut().stubborn = true;
    world.publish(client, "t", "x", Qos::AtLeastOnce);
    // "home/t" begins as it should: the second answer allows; what it moves once more is denied
    assert_eq!(world.messages(watcher), ["home/t x"]);
    world.received(client);
    asked(&mut world);
    world.broker.policy_mut().change =
        Some(|publication| Publication { topic: TopicName::new("again").unwrap(), ..publication });
    world.publish(client, "t", "x", Qos::AtLeastOnce);
    assert_eq!(world.received(client), ["PUBACK id1 0x87"]);
    assert_eq!(asked(&mut world), ["t", "again rewritten"], "asked twice, and no more");
}

#[test]
fn a_rewritten_message_is_no_more_than_it_was() {
    let (mut world, watcher) = world();
    let client = world.join(Version::V5, "c");
    world.broker.policy_mut().change = Some(|new| Publication { qos: Qos::ExactlyOnce, retain: true, ..new });
    world.publish(client, "t", "x", Qos::AtLeastOnce);
    assert_eq!(world.received(watcher), ["PUBLISH home/t x q1 id1"]);
    assert_eq!(world.broker.stats().retained, 0);
    world.broker.policy_mut().change = Some(|new| Publication {
        qos: Qos::AtMostOnce,
        retain: false,
        payload: b"other",
        properties: Properties::from_slice(&[Property::MessageExpiryInterval(7)]),
        ..new
    });
    world.publish_with(client, "t", "x", |publish| {
        set_qos(publish, Qos::ExactlyOnce, 2);
        publish.retain = true;
    });
    assert_eq!(world.received(watcher), ["PUBLISH home/t other q0 expiry7"]);
    assert_eq!(world.broker.stats().retained, 0);
}

#[test]
fn an_answer_that_comes_later_may_rewrite_too_and_the_second_may_be_put_off() {
    let (mut world, watcher) = world();
    let client = world.join(Version::V5, "c");
    world.broker.policy_mut().later = true;
    for (topic, second) in [("t", None), ("later", Some(Decision::Allow))] {
        world.publish(client, topic, "x", Qos::AtLeastOnce);
        assert!(world.received(client).is_empty());
        let text = target(topic);
        let new = Publication::new(TopicName::new(&text).unwrap(), b"y");
        let now = world.now;
        decide(&mut world, Decision::publish_as(now, &new));
        if let Some(second) = second {
            assert!(world.messages(watcher).is_empty() && world.received(client).is_empty());
            decide(&mut world, second);
        }
        assert_eq!(world.messages(watcher), [format!("{text} y")]);
        assert_eq!(world.received(client), ["PUBACK id1"]);
    }
    // nobody rewrites for ever, late or not
    for first in [true, false] {
        world.publish(client, "t", "x", Qos::AtLeastOnce);
        let now = world.now;
        let put_off = Publication::new(TopicName::new("home/later").unwrap(), b"y");
        if first {
            decide(&mut world, Decision::publish_as(now, &put_off));
            decide(&mut world, Decision::publish_as(now, &put_off));
        } else {
            decide(&mut world, Decision::Defer(world_ticket()));
        }
        assert_eq!(world.received(client), ["PUBACK id1 0x87"]);
    }
    assert!(world.messages(watcher).is_empty());
}

/// A ticket of another broker's.
fn world_ticket() -> Ticket {
    let (mut world, _) = world();
    world.broker.policy_mut().later = true;
    let client = world.join(Version::V5, "c");
    world.publish(client, "t", "x", Qos::AtMostOnce);
    world.broker.policy_mut().tickets.pop().unwrap()
}

#[test]
fn a_will_is_rewritten_when_it_fires_and_judged_so_when_it_is_left() {
    // S6, S9
    let (mut world, watcher) = world();
    for topic in ["bad", "no"] {
        let refused = world.try_join(Version::V5, "c", |connect| connect.will = Some(will(topic, "x")));
        assert_eq!(world.received(refused), ["CONNACK 0x87"], "{topic}");
    }
    let client = world.join_with(Version::V5, "c", |connect| connect.will = Some(will("w", "x")));
    asked(&mut world);
    world.cut(client);
    assert_eq!(world.messages(watcher), ["home/w x"]);
    assert_eq!(asked(&mut world), ["w", "home/w rewritten"]);
    // put off both times
    let client = world.try_join(Version::V5, "c", |connect| connect.will = Some(will("later", "x")));
    decide(&mut world, Decision::Allow);
    assert_eq!(world.received(client), ["CONNACK 0x00"]);
    world.cut(client);
    assert!(world.messages(watcher).is_empty());
    decide(&mut world, Decision::Allow);
    assert_eq!(world.messages(watcher), ["home/later x"]);
}

#[test]
fn a_rewritten_filter_is_asked_about_again_and_ended_by_the_name_its_client_gave_it() {
    let (mut world, _) = world();
    let client = world.join(Version::V5, "c");
    assert_eq!(world.subscribe(client, "a/+", Qos::AtLeastOnce), ["SUBACK [0x01]"], "no higher than was asked");
    assert_eq!(asked(&mut world), ["a/+", "home/a/+ rewritten"]);
    world.publish(client, "a/b", "1", Qos::AtMostOnce);
    assert_eq!(world.messages(client), ["home/a/b 1"]);
    // again: replaced, not added
    world.subscribe(client, "a/+", Qos::AtMostOnce);
    assert_eq!(world.broker.stats().subscriptions, 2);
    assert_eq!(world.unsubscribe(client, "home/a/x"), ["UNSUBACK [0x11]"]);
    assert_eq!(world.unsubscribe(client, "a/+"), ["UNSUBACK [0x00]"]);
    assert_eq!(world.unsubscribe(client, "a/+"), ["UNSUBACK [0x11]"]);
    assert_eq!(world.broker.stats().subscriptions, 1);
}

#[test]
fn a_rewritten_filter_obeys_the_rules_and_the_second_answer() {
    // S9
    let (mut world, _) = world();
    let client = world.join(Version::V5, "c");
    assert_eq!(world.subscribe(client, "deep", Qos::AtMostOnce), ["SUBACK [0x8F]"]);
    assert_eq!(world.subscribe(client, "no/#", Qos::AtMostOnce), ["SUBACK [0x97]"]);
    assert!(world.subscribe(client, "later/#", Qos::AtMostOnce).is_empty());
    decide(&mut world, Decision::Allow);
    assert_eq!(world.received(client), ["SUBACK [0x00]"]);
    assert_eq!(world.unsubscribe(client, "later/#"), ["UNSUBACK [0x00]"]);
    world.broker.policy_mut().later = true;
    for (second, code) in [(Decision::Allow, "0x00"), (again("home/b"), "0x87")] {
        assert!(world.subscribe(client, "a", Qos::AtMostOnce).is_empty());
        decide(&mut world, again("home/later"));
        assert!(world.received(client).is_empty());
        decide(&mut world, second);
        assert_eq!(world.received(client), [format!("SUBACK [{code}]")]);
    }
}

fn again(filter: &str) -> Decision {
    Decision::subscribe_as(TopicFilter::new(filter).unwrap(), SubscribeOptions::default())
}

#[test]
fn what_a_client_calls_by_one_name_is_one_subscription_whatever_it_is_rewritten_to() {
    let (mut world, _) = world();
    let client = world.join(Version::V5, "c");
    world.broker.policy_mut().later = true;
    for to in ["home/1", "home/2"] {
        world.subscribe(client, "mine", Qos::AtMostOnce);
        decide(&mut world, again(to));
    }
    // and then it is no longer rewritten
    assert_eq!(world.broker.stats().subscriptions, 2, "the watcher's and the second");
    world.subscribe(client, "mine", Qos::AtMostOnce);
    decide(&mut world, Decision::Allow);
    assert_eq!(world.broker.stats().subscriptions, 2);
    world.received(client);
    assert_eq!(world.unsubscribe(client, "mine"), ["UNSUBACK [0x00]"]);
    assert_eq!(world.broker.stats().subscriptions, 1);
}

#[test]
fn names_for_rewritten_filters_are_counted_too() {
    let mut config = Config::default();
    config.max_subscriptions = 3;
    let mut world = World::with(config, Mover::default());
    let client = world.join(Version::V5, "c");
    world.broker.policy_mut().later = true;
    for (own, code) in [("1", "0x00"), ("2", "0x00"), ("3", "0x00"), ("4", "0x97"), ("3", "0x00")] {
        world.subscribe(client, own, Qos::AtMostOnce);
        decide(&mut world, again("home/all"));
        assert_eq!(world.received(client), [format!("SUBACK [{code}]")], "{own}");
    }
    assert_eq!(world.broker.stats().subscriptions, 1);
}

#[test]
fn an_answer_that_does_not_fit_the_question_is_a_no() {
    // S11
    let (mut world, watcher) = world();
    let client = world.join(Version::V5, "c");
    world.broker.policy_mut().later = true;
    world.publish(client, "t", "x", Qos::AtLeastOnce);
    decide(&mut world, again("home/t"));
    assert_eq!(world.received(client), ["PUBACK id1 0x87"]);
    world.subscribe(client, "t", Qos::AtLeastOnce);
    let new = Decision::publish_as(world.now, &Publication::new(TopicName::new("home/t").unwrap(), b"y"));
    decide(&mut world, new);
    assert_eq!(world.received(client), ["SUBACK [0x87]"]);
    // nor is a denial with a good word one
    world.publish(client, "t", "x", Qos::AtLeastOnce);
    decide(&mut world, Decision::Deny(ReasonCode::SUCCESS));
    assert_eq!(world.received(client), ["PUBACK id1 0x87"]);
    assert!(world.messages(watcher).is_empty());
}

#[test]
fn a_rewritten_subscription_whose_new_judgement_is_put_off_is_judged_by_what_it_is_rewritten_to() {
    // S7, S9
    let elsewhere = || again("home/x");
    for (first, second, stays) in [
        (again("home/a"), None, true),
        (again("home/later"), Some(Decision::Allow), false),
        (elsewhere(), None, false),
        (Decision::Allow, None, false), // it would no longer be rewritten
        (Decision::Deny(ReasonCode::NOT_AUTHORIZED), None, false),
    ] {
        let (mut world, watcher) = world();
        let client = world.join(Version::V5, "c");
        world.broker.policy_mut().later = true;
        world.subscribe(client, "a", Qos::AtMostOnce);
        decide(&mut world, again("home/a"));
        assert_eq!(world.received(client), ["SUBACK [0x00]"]);
        assert!(world.broker.reauthorize(world.now, "c"));
        let text = format!("{first:?}");
        decide(&mut world, first);
        if let Some(second) = second {
            decide(&mut world, second);
        }
        world.broker.policy_mut().later = false;
        world.publish(watcher, "home/a", "x", Qos::AtMostOnce);
        assert_eq!(!world.messages(client).is_empty(), stays, "{text}");
        assert_eq!(world.broker.stats().subscriptions, 1 + usize::from(stays));
        assert_eq!(world.unsubscribe(client, "a"), [if stays { "UNSUBACK [0x00]" } else { "UNSUBACK [0x11]" }]);
        assert_eq!(world.broker.stats().held_bytes, "home/#".len());
    }
}

#[test]
fn the_names_that_clients_have_for_rewritten_filters_are_held_too_and_given_back() {
    // S17
    let mut config = Config::default();
    config.max_held_bytes = 200;
    let mut world = World::with(config, Mover::default());
    let client = world.join(Version::V5, "c");
    let name = "x".repeat(60);
    assert_eq!(world.subscribe(client, &name, Qos::AtMostOnce), ["SUBACK [0x00]"]);
    assert_eq!(world.broker.stats().held_bytes, 60 + 65);
    assert_eq!(world.subscribe(client, &name.replace('x', "y"), Qos::AtMostOnce), ["SUBACK [0x97]"]);
    assert_eq!(world.broker.stats().held_bytes, 60 + 65);
    assert_eq!(world.unsubscribe(client, &name), ["UNSUBACK [0x00]"]);
    assert_eq!(world.broker.stats().held_bytes, 0);
    world.subscribe(client, &name, Qos::AtMostOnce);
    world.subscribe(client, &name, Qos::AtMostOnce);
    assert_eq!(world.broker.stats().held_bytes, 60 + 65);
    world.goodbye(client);
    assert_eq!(world.broker.stats().held_bytes, 0);
}
