//! What clients do with the features of a broker beyond publish and subscribe; those of 5.0 with the clients that have them.
use super::harness::*;
use super::publish;
use mqtt_broker_core::codec::ReasonCode;
use mqtt_broker_core::topic::TopicFilter;
use mqtt_broker_core::{
    AuthRequest, AuthStep, ClientInfo, Config, ConnectRequest, Decision, Policy, PublishRequest, ReceiveRequest,
    Refusal, SubscribeRequest, UnsubscribeRequest,
};
use std::time::{Duration, Instant};

/// Rows of 5.0.
fn at_5(kinds: &[Kind]) -> Vec<Row> {
    everyone_at(kinds).into_iter().filter(|row| row.version == Version::V5).collect()
}

const ALL: [Kind; 6] = [Kind::Rumqttc, Kind::Paho1, Kind::Paho2, Kind::Npm, Kind::Mosquitto, Kind::Ours];

#[test]
fn each_message_of_a_shared_subscription_goes_to_exactly_one_member() {
    let broker = Broker::start();
    rows(&everyone(), |row| {
        let (topic, end) = (row.topic("shared"), row.topic("shared-end"));
        let shared = format!("$share/group/{topic}");
        let join = |id| row.subscribe(broker.address(), &Options::new(row.id(id)), &[(&shared, 1), (&end, 1)]).unwrap();
        let mut members = [join("sm1"), join("sm2")];
        let mut sent: Vec<_> = (0..6).map(|number| Message::new(&topic, &format!("number {number}"), 1)).collect();
        sent.iter().for_each(|message| publish(&broker, message));
        publish(&broker, &Message::new(&end, "end", 1));

        let each = members.each_mut().map(|member| member.messages_until("end"));
        assert_eq!(each.each_ref().map(Vec::len), [3, 3], "{row:?}: they take turns");
        let mut came = each.concat();
        came.sort_by(|a, b| a.payload.cmp(&b.payload));
        sent.sort_by(|a, b| a.payload.cmp(&b.payload));
        assert_eq!(came, sent, "{row:?}");
    });
}

#[test]
fn what_a_member_has_not_acknowledged_goes_to_another_when_its_session_ends() {
    let broker = Broker::start();
    rows(&everyone(), |row| {
        let topic = row.topic("heirs");
        let filters = [(format!("$share/heirs/{topic}"), 1)];
        let filters = filters.each_ref().map(|(filter, qos)| (filter.as_str(), *qos));
        let wire = Wire::to(broker.address());
        // it answers, but the broker never hears of it
        wire.hold(4);
        let mut mute = row.subscribe(wire.address(), &Options::new(row.id("mute")), &filters).unwrap();
        let only = Message::new(&topic, "for one of them", 1);
        publish(&broker, &only);
        assert_eq!(mute.message(), only);

        let mut heir = row.subscribe(broker.address(), &Options::new(row.id("sheir")), &filters).unwrap();
        wire.cut();
        assert_eq!(heir.message(), only);
    });
}

#[test]
fn no_more_messages_are_on_their_way_than_a_client_has_room_for() {
    const MOST: usize = 3;
    let broker = Broker::start();
    rows(&at_5(&ALL), |row| {
        let topic = row.topic("room");
        let options = Options::new(row.id("room")).with("connect", "receive-maximum", MOST as u32);
        let wire = Wire::to(broker.address());
        let mut subscriber = row.subscribe(wire.address(), &options, &[(&topic, 1)]).unwrap();
        wire.hold(4);
        let sent: Vec<_> = (0..10).map(|number| Message::new(&topic, &format!("number {number}"), 1)).collect();
        sent.iter().for_each(|message| publish(&broker, message));
        for message in &sent[..MOST] {
            assert_eq!(subscriber.message(), *message);
        }
        // all ten were taken long ago: what else was to come would have come
        assert_eq!(wire.passed(Way::ToClient, 3).len(), MOST, "{row:?}");
        wire.wait_for_held(MOST);
        wire.release();
        for message in &sent[MOST..] {
            assert_eq!(subscriber.message(), *message);
        }
        assert_eq!(wire.most_unacknowledged(), MOST, "{row:?}");
    });
}

/// Those that can ask for Retain Handling and Retain As Published; Debian's `mosquitto_sub` and our `sub` cannot.
const ASKING: [Kind; 4] = [Kind::Rumqttc, Kind::Paho1, Kind::Paho2, Kind::Npm];

#[test]
fn retained_messages_come_as_a_subscriber_has_asked() {
    let broker = Broker::start();
    rows(&at_5(&ASKING), |row| {
        let topic = row.topic("handling");
        let (kept, live) = (Message::new(&topic, "kept", 1).retained(), Message::new(&topic, "live", 1));
        publish(&broker, &kept);
        // at QoS 0 nothing is sent again over the second connection
        let [kept, came] = [kept, live.clone()].map(|message| Message { qos: 0, ..message });
        let wire = Wire::to(broker.address());
        let if_new = Options { handling: 1, keep: true, ..Options::new(row.id("hnew")) };
        let mut subscriber = row.subscribe(wire.address(), &if_new, &[(&topic, 0)]).unwrap();
        assert_eq!(subscriber.message(), kept, "the subscription is new");
        wire.cut();
        let mut again = row.subscribe(broker.address(), &if_new, &[(&topic, 0)]).unwrap();
        let never = Options { handling: 2, ..Options::new(row.id("hnever")) };
        let mut never = row.subscribe(broker.address(), &never, &[(&topic, 0)]).unwrap();
        publish(&broker, &live);
        assert_eq!(again.message(), came, "{row:?}: the subscription was there");
        assert_eq!(never.message(), came, "{row:?}");
    });
}

#[test]
fn the_retain_flag_comes_as_published_to_those_who_have_asked_for_it() {
    let broker = Broker::start();
    rows(&at_5(&ASKING), |row| {
        let topic = row.topic("published");
        let options = Options { as_published: true, ..Options::new(row.id("rap")) };
        let mut subscriber = row.subscribe(broker.address(), &options, &[(&topic, 1)]).unwrap();
        for message in [Message::new(&topic, "retained", 1).retained(), Message::new(&topic, "not retained", 1)] {
            publish(&broker, &message);
            assert_eq!(subscriber.message(), message, "{row:?}");
        }
    });
}

#[test]
fn the_identifier_of_a_subscription_comes_with_its_messages() {
    let broker = Broker::start();
    // our `sub` prints it as JSON alone
    rows(&at_5(&[Kind::Rumqttc, Kind::Paho1, Kind::Paho2, Kind::Npm, Kind::Mosquitto]), |row| {
        let topic = row.topic("identified");
        let options = Options::new(row.id("sid")).with("subscribe", "subscription-identifier", 1234);
        let mut subscriber = row.subscribe(broker.address(), &options, &[(&topic, 1)]).unwrap();
        let message = Message::new(&topic, "identified", 1);
        publish(&broker, &message);
        assert_eq!(subscriber.message(), Message { identifiers: "1234".into(), ..message }, "{row:?}");
    });
}

#[test]
fn a_delayed_will_is_published_when_its_delay_is_over() {
    let broker = Broker::start();
    rows(&at_5(&ALL), |row| {
        let topic = row.topic("delayed");
        let will = Message::new(&topic, "cut off", 1);
        let mut heir = row.subscribe(broker.address(), &Options::new(row.id("dheir")), &[(&topic, 1)]).unwrap();
        let wire = Wire::to(broker.address());
        // the session outlives the delay: its end would be the end of the delay too
        let options = Options { will: Some(will.clone()), keep: true, ..Options::new(row.id("dwill")) };
        let options = options.with("will", "will-delay-interval", 1);
        let _mortal = row.subscribe(wire.address(), &options, &[(&topic, 1)]).unwrap();
        let begin = Instant::now();
        wire.cut();
        assert_eq!(heir.message(), will);
        // the broker counts in whole milliseconds
        let waited = begin.elapsed() + Duration::from_millis(1);
        assert!(waited >= Duration::from_secs(1), "{row:?}: {waited:?}");
    });
}

#[test]
fn a_message_that_has_expired_does_not_come_and_one_that_has_not_tells_what_is_left() {
    let broker = Broker::start();
    rows(&at_5(&[Kind::Rumqttc, Kind::Paho1, Kind::Paho2, Kind::Npm, Kind::Mosquitto]), |row| {
        let topic = row.topic("expiring");
        let options = Options { keep: true, ..Options::new(row.id("xsub")) };
        let wire = Wire::to(broker.address());
        let _first = row.subscribe(wire.address(), &options, &[(&topic, 1)]).unwrap();
        wire.cut();
        let publish = |payload, seconds| {
            let options = Options::new(row.id("xpub")).with("publish", "message-expiry-interval", seconds);
            row.publish(broker.address(), &options, &Message::new(&topic, payload, 1)).unwrap();
        };
        publish("short", 1);
        publish("long", 1000);
        // nothing tells that a message has expired
        std::thread::sleep(Duration::from_millis(1500));
        let mut back = row.subscribe(broker.address(), &options, &[(&topic, 1)]).unwrap();
        let message = back.message();
        assert_eq!(message.payload, "long", "{row:?}");
        assert!(message.expiry.is_some_and(|left| (900..1000).contains(&left)), "{row:?}: {message:?}");
    });
}

#[test]
fn a_publisher_may_name_its_topic_by_an_alias() {
    let broker = Broker::start();
    // rumqttc wants a topic with every message; mosquitto_pub and our `pub` do not send by the alias alone
    rows(&at_5(&[Kind::Paho1, Kind::Paho2, Kind::Npm]), |row| {
        let topic = row.topic("alias");
        let mut subscriber = row.subscribe(broker.address(), &Options::new(row.id("asub")), &[(&topic, 1)]).unwrap();
        let wire = Wire::to(broker.address());
        let options = Options { again: true, ..Options::new(row.id("alpub")) }.with("publish", "topic-alias", 1);
        let message = Message::new(&topic, "by alias", 1);
        row.publish(wire.address(), &options, &message).unwrap();
        assert_eq!([subscriber.message(), subscriber.message()], [message.clone(), message], "{row:?}");
        let sent = wire.passed(Way::ToBroker, 3);
        let topic_len = |packet: &Vec<u8>| packet[packet.len().min(3)];
        assert_eq!((sent.len(), topic_len(&sent[1])), (2, 0), "{row:?}: the second has no topic");
    });
}

// --- with a policy of their own ----------------------------------------------------------------------------------------

/// Sends user `lost` to another server, and lets in who names the method `riddle` and knows the answer.
struct Gate;

const ELSEWHERE: &str = "b.example:1883";

impl Policy for Gate {
    fn connect(&mut self, request: &ConnectRequest<'_>) -> Decision {
        match request.client.user_name {
            Some("lost") => Decision::DenyWith(Box::new(Refusal::use_another_server(ELSEWHERE))),
            _ => Decision::Allow,
        }
    }
    fn authenticate(&mut self, request: &AuthRequest<'_>) -> Decision {
        match (request.method, request.step, request.data) {
            ("riddle", AuthStep::Connect, _) => Decision::proceed(b"what has keys and opens no door?"),
            ("riddle", AuthStep::Answer, Some(b"a piano")) => Decision::Allow,
            ("riddle", ..) => Decision::Deny(ReasonCode::NOT_AUTHORIZED),
            _ => Decision::Deny(ReasonCode::BAD_AUTHENTICATION_METHOD),
        }
    }
    fn publish(&mut self, _: &PublishRequest<'_>) -> Decision {
        Decision::Allow
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
fn a_subscriber_that_takes_aliases_is_sent_each_topic_once() {
    let mut config = Config::default();
    config.server.topic_alias_maximum_outgoing = 4;
    let server = Server::start(Gate, config);
    // rumqttc and paho show a message that comes by its alias without a topic, mosquitto_sub does not take it, and the packets
    // that our `sub` prints are as they came
    rows(&at_5(&[Kind::Npm]), |row| {
        let topic = row.topic("taken");
        let wire = Wire::to(server.address());
        let options = Options::new(row.id("taken")).with("connect", "topic-alias-maximum", 4);
        let mut subscriber = row.subscribe(wire.address(), &options, &[(&topic, 1)]).unwrap();
        for payload in ["first", "second"] {
            let message = Message::new(&topic, payload, 1);
            row.publish(server.address(), &Options::new(row.id("tkpub")), &message).unwrap();
            assert_eq!(subscriber.message(), message, "{row:?}");
        }
        let came = wire.passed(Way::ToClient, 3);
        assert_eq!((came.len(), came[1][3]), (2, 0), "{row:?}: the second has no topic");
    });
}

/// Whether a packet names the other server.
fn names_it(packet: &[u8]) -> bool {
    packet.windows(ELSEWHERE.len()).any(|text| text == ELSEWHERE.as_bytes())
}

#[test]
fn a_client_is_sent_to_another_server_instead_of_being_let_in() {
    let server = Server::start(Gate, Config::default());
    let old = |row: &Row| row.version != Version::V31;
    let rows_of_it: Vec<_> = everyone().into_iter().filter(old).collect();
    rows(&rows_of_it, |row| {
        let wire = Wire::to(server.address());
        let options = Options { user: Some(("lost", "x")), ..Options::new(row.id("lost")) };
        let refused = row.subscribe(wire.address(), &options, &[("a", 0)]).err();
        let is_5 = row.version == Version::V5;
        // before 5.0 the server is unavailable, and cannot say where to go
        assert_eq!(refused, Some(if is_5 { 0x9C } else { 3 }), "{row:?}");
        assert_eq!(names_it(&wire.passed(Way::ToClient, 2)[0]), is_5, "{row:?}");
    });
}

#[test]
fn a_connected_client_is_sent_to_another_server() {
    let server = Server::start(Gate, Config::default());
    rows(&everyone(), |row| {
        let wire = Wire::to(server.address());
        let options = Options::new(row.id("moved"));
        let _moved = row.subscribe(wire.address(), &options, &[("a", 0)]).unwrap();
        wire.close();
        assert!(server.redirect(&options.id, &Refusal::use_another_server(ELSEWHERE)));
        wire.wait_for_end_by_broker("the client is sent away");
        let words = wire.passed(Way::ToClient, 14);
        if row.version == Version::V5 {
            assert!(words.len() == 1 && words[0][2] == 0x9C && names_it(&words[0]), "{row:?}: {words:02x?}");
        } else {
            assert!(words.is_empty(), "{row:?}: before 5.0 a server has no DISCONNECT");
        }
    });
}

#[test]
fn a_client_that_knows_the_answer_is_let_in() {
    let server = Server::start(Gate, Config::default());
    // no other client here has AUTH: paho and rumqttc can name a method and not answer, the others not even that
    rows(&at_5(&[Kind::Npm]), |row| {
        let topic = row.topic("riddle");
        let knows = |id: &str, answer| Options { riddle: Some(answer), ..Options::new(row.id(id)) };
        let refused = row.subscribe(server.address(), &knows("r1", "a map"), &[(&topic, 1)]).err();
        assert_eq!(refused, Some(0x87), "not authorized");
        let mut subscriber = row.subscribe(server.address(), &knows("r2", "a piano"), &[(&topic, 1)]).unwrap();
        let message = Message::new(&topic, "let in", 1);
        row.publish(server.address(), &knows("r3", "a piano"), &message).unwrap();
        assert_eq!(subscriber.message(), message);
    });
}
