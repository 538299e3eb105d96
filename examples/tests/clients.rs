//! Clients that others wrote, and ours, against the broker: what people do first with a broker must work with each of them.
//!
//! Every test is a story, every client at every version it speaks a row. How to name the clients, and how to judge another
//! broker with these tests, is written in `clients/mod.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

#[path = "clients/mod.rs"]
mod harness;
#[path = "clients/stories.rs"]
mod stories;

use harness::*;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A program for paho-mqtt 1.6.1, with the broker's host and port as arguments.
fn paho(name: &str, broker: &Broker) -> Process {
    let mut command = Command::new(std::env::var_os("MQTT_PAHO_1").unwrap());
    command.arg(script(name)).args([broker.address().ip().to_string(), broker.address().port().to_string()]);
    Process::spawn(&mut command)
}

/// What the stories are told with where the client does not matter.
fn publish(broker: &Broker, message: &Message) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let row = Row { kind: Kind::Rumqttc, version: Version::V311 };
    let id = row.id(&format!("n{}", COUNT.fetch_add(1, Ordering::Relaxed)));
    row.publish(broker.address(), &Options::new(id), message).unwrap();
}

#[test]
fn the_first_two_programs_everybody_writes_with_paho_find_each_other() {
    if !Kind::Paho1.is_there() {
        return;
    }
    let broker = Broker::start();
    let mut subscriber = paho("first_subscriber.py", &broker);
    subscriber.find("its SUBACK", |line| (line == "subscribed (0,)").then_some(()));

    assert!(paho("first_publisher.py", &broker).wait().success());

    let message = subscriber.find("the temperature", |line| line.starts_with("home/").then(|| line.to_string()));
    assert_eq!(message, "home/livingroom/temperature 22.5");
}

#[test]
fn a_thermostat_made_with_paho_hears_its_own_message_once_and_has_it_acknowledged() {
    if !Kind::Paho1.is_there() {
        return;
    }
    let broker = Broker::start();
    let mut thermostat = paho("thermostat.py", &broker);
    assert!(thermostat.wait().success(), "{:#?}", thermostat.printed());

    let printed = |line: &str| thermostat.printed().iter().filter(|printed| *printed == line).count();
    assert_eq!(printed("connected 0"), 1);
    assert_eq!(printed("granted 1"), 1);
    assert_eq!(printed("acknowledged 2"), 1, "{:#?}", thermostat.printed());
    assert_eq!(printed("message home/kitchen/temp 21.4 qos 1 retain 0"), 1, "{:#?}", thermostat.printed());
}

#[test]
fn each_client_finds_its_way_over_tls_and_websocket() {
    // v5 [MQTT-6.0.0-2] [MQTT-6.0.0-4] v4 [MQTT-6.0.0-2] [MQTT-6.0.0-4]: as each of them frames its packets
    for (more, tls, websocket) in
        [("TLS", true, false), ("websocket = true", false, true), ("websocket = true, TLS", true, true)]
    {
        let (broker, authority) = Broker::over(more);
        let everyone = everyone_at(&[Kind::Paho1, Kind::Paho2, Kind::Npm, Kind::Mosquitto, Kind::Ours]);
        // Debian's mosquitto_sub knows no WebSocket
        let able: Vec<_> = everyone.into_iter().filter(|row| row.kind != Kind::Mosquitto || !websocket).collect();
        rows(&able, |row| {
            let options = |what: &str| {
                let authority = tls.then(|| authority.clone());
                Options { authority, websocket, ..Options::new(row.id(what)) }
            };
            let topic = row.topic("over");
            let mut subscriber = row.subscribe(broker.address(), &options("osub"), &[(&topic, 2)]).unwrap();
            for (qos, payload) in [(0, "short".to_owned()), (1, "long ".repeat(20_000)), (2, "two".to_owned())] {
                let message = Message::new(&topic, &payload, qos);
                row.publish(broker.address(), &options("opub"), &message).unwrap();
                assert!(subscriber.message() == message, "{more}, QoS {qos}");
            }
        });
    }
}

#[test]
fn each_client_receives_what_it_publishes_at_every_qos() {
    // over TCP: v5 [MQTT-4.2.0-1] v4 [MQTT-7.1.1-1] [MQTT-7.1.2-1]. v4 [MQTT-7.0.0-2]: clients of others, and all defaults
    let broker = Broker::start();
    rows(&everyone(), |row| {
        let topic = row.topic("echo");
        let mut subscriber = row.subscribe(broker.address(), &Options::new(row.id("esub")), &[(&topic, 2)]).unwrap();
        for qos in 0..=2 {
            let message = Message::new(&topic, &format!("at QoS {qos}"), qos);
            row.publish(broker.address(), &Options::new(row.id("epub")), &message).unwrap();
            assert_eq!(subscriber.message(), message);
        }
    });
}

#[test]
fn each_client_hears_every_other() {
    let broker = Broker::start();
    let topic = format!("party/{}", std::process::id());
    let everyone = everyone();
    let join = |row: &Row| row.subscribe(broker.address(), &Options::new(row.id("party")), &[(&topic, 1)]).unwrap();
    let mut subscribers: Vec<_> = everyone.iter().map(join).collect();

    for row in &everyone {
        let message = Message::new(&topic, &format!("{row:?}"), 1);
        row.publish(broker.address(), &Options::new(row.id("guest")), &message).unwrap();
        for subscriber in &mut subscribers {
            assert_eq!(subscriber.message(), message);
        }
    }
}

#[test]
fn a_late_subscriber_gets_the_retained_message_and_then_the_live_ones() {
    let broker = Broker::start();
    rows(&everyone(), |row| {
        let topic = row.topic("late");
        let publish = |payload| {
            let message = Message::new(&topic, payload, 1).retained();
            row.publish(broker.address(), &Options::new(row.id("lpub")), &message).unwrap();
            message
        };
        publish("replaced");
        let kept = publish("kept");
        let mut subscriber = row.subscribe(broker.address(), &Options::new(row.id("lsub")), &[(&topic, 1)]).unwrap();
        assert_eq!(subscriber.message(), kept, "the retained copy, with RETAIN");

        let live = publish("live");
        assert_eq!(
            subscriber.message(),
            Message { retain: false, ..live },
            "for those who are there RETAIN is not set"
        );
    });
}

#[test]
fn the_right_password_lets_in_and_the_wrong_one_does_not() {
    let Some(broker) = Broker::start_with_passwords() else { return };
    // a password takes a while to check, on purpose: few at a time, so that nobody waits too long on a busy machine
    for some in everyone().chunks(3) {
        rows(some, |row| {
            let topic = row.topic("secret");
            let with = |user| Options { user, ..Options::new(row.id("user")) };
            let wrong = [with(Some(("alice", "guess"))), with(Some(("mallory", "secret"))), with(None)];
            for options in &wrong {
                let refused = row.subscribe(broker.address(), options, &[(&topic, 1)]).err();
                // "bad user name or password" or "not authorized": both are right, and both are in use
                let codes = if row.version == Version::V5 { [0x86, 0x87] } else { [4, 5] };
                assert!(refused.is_some_and(|code| codes.contains(&code)), "{row:?} with {options:?}: {refused:?}");
            }
            let mut subscriber =
                row.subscribe(broker.address(), &with(Some(("alice", "secret"))), &[(&topic, 1)]).unwrap();
            let message = Message::new(&topic, "for alice", 1);
            let publisher = Options { user: Some(("alice", "secret")), ..Options::new(row.id("upub")) };
            row.publish(broker.address(), &publisher, &message).unwrap();
            assert_eq!(subscriber.message(), message);
        });
    }
}

#[test]
fn a_second_client_with_the_same_id_takes_over_from_the_first() {
    let broker = Broker::start();
    rows(&everyone(), |row| {
        let (topic, options) = (row.topic("same"), Options::new(row.id("same")));
        let wire = Wire::to(broker.address());
        let _first = row.subscribe(wire.address(), &options, &[(&topic, 1)]).unwrap();
        // some clients come back by themselves, and would take over again
        wire.close();
        let mut second = row.subscribe(broker.address(), &options, &[(&topic, 1)]).unwrap();

        wire.wait_for_end_by_broker("the first client is disconnected");
        let goodbyes = wire.passed(Way::ToClient, 14);
        if row.version == Version::V5 {
            assert_eq!(goodbyes.len(), 1, "{row:?}");
            assert_eq!(goodbyes[0][2], 0x8E, "{row:?}: session taken over");
        } else {
            assert_eq!(goodbyes.len(), 0, "{row:?}: before 5.0 a server has no DISCONNECT");
        }
        let message = Message::new(&topic, "for the second", 1);
        publish(&broker, &message);
        assert_eq!(second.message(), message);
    });
}

#[test]
fn the_will_of_a_client_is_published_when_its_socket_is_cut() {
    let broker = Broker::start();
    rows(&everyone(), |row| {
        let topic = row.topic("will");
        let will = Message::new(&topic, "cut off", 1);
        let mut heir = row.subscribe(broker.address(), &Options::new(row.id("heir")), &[(&topic, 1)]).unwrap();
        let wire = Wire::to(broker.address());
        let options = Options { will: Some(will.clone()), ..Options::new(row.id("will")) };
        let _mortal = row.subscribe(wire.address(), &options, &[(&topic, 1)]).unwrap();
        wire.cut();
        assert_eq!(heir.message(), will);
    });
}

#[test]
fn a_client_that_says_goodbye_leaves_no_will() {
    let broker = Broker::start();
    rows(&everyone(), |row| {
        let topic = row.topic("goodbye");
        let mut heir = row.subscribe(broker.address(), &Options::new(row.id("gsub")), &[(&topic, 1)]).unwrap();
        let options = Options { will: Some(Message::new(&topic, "cut off", 1)), ..Options::new(row.id("gpub")) };
        // publishing ends with DISCONNECT
        for payload in ["first", "second"] {
            row.publish(broker.address(), &options, &Message::new(&topic, payload, 1)).unwrap();
        }
        assert_eq!(heir.messages_until("second"), [Message::new(&topic, "first", 1)]);
    });
}

#[test]
fn messages_for_a_client_that_is_away_arrive_in_order_when_it_is_back() {
    let broker = Broker::start();
    rows(&everyone(), |row| {
        let topic = row.topic("away");
        let options = Options { keep: true, ..Options::new(row.id("away")) };
        let wire = Wire::to(broker.address());
        let _first = row.subscribe(wire.address(), &options, &[(&topic, 1)]).unwrap();
        wire.cut();

        let sent: Vec<_> =
            (0..20).map(|number| Message::new(&topic, &format!("number {number}"), 1 + number % 2)).collect();
        let mut publisher = Raw::connect(broker.address(), Version::V311, &row.id("apub"), false);
        for (id, message) in (1..).zip(&sent) {
            publisher.send(&packet::publish(Version::V311, &topic, id, message.qos, false, message.payload.as_bytes()));
            if message.qos == 2 {
                publisher.expect(5);
                publisher.send(&packet::ack(0x62, id));
                publisher.expect(7);
            } else {
                publisher.expect(4);
            }
        }

        let mut back = row.subscribe(broker.address(), &options, &[(&topic, 1)]).unwrap();
        for message in sent {
            assert_eq!(back.message(), Message { qos: 1, ..message });
        }
    });
}

#[test]
fn pub_and_sub_do_with_a_broker_that_others_wrote_what_they_do_with_ours() {
    let Some(broker) = Broker::mosquitto() else { return };
    rows(&everyone_at(&[Kind::Ours]), |row| {
        let (topic, will) = (row.topic("foreign"), Message::new(&row.topic("foreign-will"), "cut off", 1));
        let keep = Options { keep: true, will: Some(will.clone()), ..Options::new(row.id("fsub")) };
        let publish = |message: &Message| {
            row.publish(broker.address(), &Options::new(row.id("fpub")), message).unwrap();
        };
        let kept = Message::new(&topic, "kept", 1).retained();
        publish(&kept);
        let wire = Wire::to(broker.address());
        let mut subscriber = row.subscribe(wire.address(), &keep, &[(&topic, 2)]).unwrap();
        assert_eq!(subscriber.message(), kept, "the retained copy, with RETAIN");
        for qos in 0..=2 {
            let message = Message::new(&topic, &format!("at QoS {qos}"), qos);
            publish(&message);
            assert_eq!(subscriber.message(), message);
        }

        let mut heir = row.subscribe(broker.address(), &Options::new(row.id("fheir")), &[(&will.topic, 1)]).unwrap();
        wire.cut();
        assert_eq!(heir.message(), will);
        let missed = [1, 2].map(|qos| Message::new(&topic, &format!("missed at QoS {qos}"), qos));
        missed.iter().for_each(publish);
        // the session is there; the retained message comes again, because of the second SUBSCRIBE, and after what was missed
        let mut back = row.subscribe(broker.address(), &keep, &[(&topic, 2)]).unwrap();
        assert_eq!([back.message(), back.message()], missed);
        assert_eq!(back.message(), kept);
    });
}

/// The four packets of a QoS 2 message, each with the way it goes when the client is the publisher.
const PUBLISHING: [(Way, u8); 4] = [(Way::ToBroker, 3), (Way::ToClient, 5), (Way::ToBroker, 6), (Way::ToClient, 7)];

/// And when the client is the subscriber.
const RECEIVING: [(Way, u8); 4] = [(Way::ToClient, 3), (Way::ToBroker, 5), (Way::ToClient, 6), (Way::ToBroker, 7)];

#[test]
fn qos_2_is_published_exactly_once_whichever_of_its_packets_is_lost_with_the_connection() {
    let broker = Broker::start();
    // the clients that come back by themselves and go on with what they have begun
    let clients = everyone_at(&[Kind::Rumqttc, Kind::Paho1, Kind::Paho2, Kind::Npm]);
    for (way, packet_type) in PUBLISHING {
        rows(&clients, |row| {
            let topic = row.topic(&format!("once/{packet_type}"));
            let mut observer = Raw::connect(broker.address(), row.version, &row.id("osub"), false);
            observer.subscribe(&topic, 0);

            let wire = Wire::to(broker.address());
            wire.cut_at(way, packet_type);
            let options = Options { keep: true, reconnect: true, ..Options::new(row.id(&format!("o{packet_type}"))) };
            row.publish(wire.address(), &options, &Message::new(&topic, "once", 2)).unwrap();
            wire.wait_for_cut("the connection is cut");

            publish(&broker, &Message::new(&topic, "last", 0));
            let mut payloads =
                std::iter::from_fn(|| Some(payload(&observer.expect(3)))).take_while(|payload| payload != "last");
            assert_eq!(
                (payloads.next().as_deref(), payloads.next()),
                (Some("once"), None),
                "{row:?}, packet type {packet_type} lost"
            );
        });
    }
}

#[test]
fn qos_1_is_published_at_least_once_whichever_of_its_packets_is_lost_with_the_connection() {
    let broker = Broker::start();
    let clients = everyone_at(&[Kind::Rumqttc, Kind::Paho1, Kind::Paho2, Kind::Npm]);
    for (way, packet_type) in [(Way::ToBroker, 3), (Way::ToClient, 4)] {
        rows(&clients, |row| {
            let topic = row.topic(&format!("some/{packet_type}"));
            let mut observer = Raw::connect(broker.address(), row.version, &row.id("bsub"), false);
            observer.subscribe(&topic, 0);

            let wire = Wire::to(broker.address());
            wire.cut_at(way, packet_type);
            let options = Options { keep: true, reconnect: true, ..Options::new(row.id(&format!("b{packet_type}"))) };
            row.publish(wire.address(), &options, &Message::new(&topic, "some", 1)).unwrap();
            wire.wait_for_cut("the connection is cut");

            publish(&broker, &Message::new(&topic, "last", 0));
            let payloads: Vec<_> = std::iter::from_fn(|| Some(payload(&observer.expect(3))))
                .take_while(|payload| payload != "last")
                .collect();
            // the broker had the message already where the PUBACK was lost
            let times = if packet_type == 3 { 1..=1 } else { 1..=2 };
            assert!(times.contains(&payloads.len()), "{row:?}, packet type {packet_type} lost: {payloads:?}");
        });
    }
}

#[test]
fn qos_2_is_received_exactly_once_whichever_of_its_packets_is_lost_with_the_connection() {
    let broker = Broker::start();
    // rumqttc shows a message again that was sent again, so it cannot bear witness
    let clients = everyone_at(&[Kind::Paho1, Kind::Paho2, Kind::Npm, Kind::Mosquitto]);
    for (way, packet_type) in RECEIVING {
        rows(&clients, |row| {
            let topic = row.topic(&format!("twice/{packet_type}"));
            let wire = Wire::to(broker.address());
            let options = Options { keep: true, reconnect: true, ..Options::new(row.id(&format!("t{packet_type}"))) };
            let mut subscriber = row.subscribe(wire.address(), &options, &[(&topic, 2)]).unwrap();
            wire.cut_at(way, packet_type);
            publish(&broker, &Message::new(&topic, "once", 2));
            wire.wait_for_cut("the connection is cut");
            publish(&broker, &Message::new(&topic, "last", 2));
            let messages = subscriber.messages_until("last");
            assert_eq!(messages, [Message::new(&topic, "once", 2)], "{row:?}, packet type {packet_type} lost");
        });
    }
}

#[test]
fn a_qos_2_message_sent_again_over_a_new_connection_is_not_published_again() {
    let broker = Broker::start();
    rows(&[Version::V31, Version::V311, Version::V5], |version| {
        let row = Row { kind: Kind::Ours, version };
        let (topic, id) = (row.topic("again"), row.id("again"));
        let mut observer = Raw::connect(broker.address(), version, &row.id("gain"), false);
        observer.subscribe(&topic, 0);

        let mut first = Raw::connect(broker.address(), version, &id, true);
        first.send(&packet::publish(version, &topic, 7, 2, false, b"once"));
        first.expect(5);
        drop(first);

        let mut second = Raw::open(broker.address(), version);
        second.send(&packet::connect(version, &id, true));
        let connack = second.expect(2);
        // 3.1 has no such flag
        assert!(version == Version::V31 || connack[2] == 1, "session present: {connack:02x?}");
        second.send(&packet::publish(version, &topic, 7, 2, true, b"once"));
        second.expect(5);
        second.send(&packet::ack(0x62, 7));
        second.expect(7);
        // the identifier is free again: this one is another message
        second.send(&packet::publish(version, &topic, 7, 2, false, b"last"));
        second.expect(5);
        second.send(&packet::ack(0x62, 7));
        second.expect(7);

        assert_eq!(payload(&observer.expect(3)), "once");
        assert_eq!(payload(&observer.expect(3)), "last");
    });
}

/// The payload, of a kind that holds no topic's slash: what stands behind the last byte that is no letter.
fn payload(publish: &[u8]) -> String {
    let from = publish.iter().rposition(|byte| !byte.is_ascii_lowercase()).unwrap() + 1;
    String::from_utf8(publish[from..].to_vec()).unwrap()
}

#[test]
fn a_subscriber_that_never_reads_stops_nobody() {
    const SIZE: usize = 64 << 10;
    const COUNT: u16 = 800;
    let broker = Broker::start();
    for (version, qos) in [(Version::V311, 0), (Version::V311, 1), (Version::V5, 0), (Version::V5, 1)] {
        let row = Row { kind: Kind::Ours, version };
        let topic = row.topic(&format!("flood{qos}"));
        let mut stalled = Raw::connect(broker.address(), version, &row.id("stalled"), false);
        stalled.subscribe(&topic, qos);
        let mut healthy = Raw::connect(broker.address(), version, &row.id("healthy"), false);
        healthy.subscribe(&topic, 0);
        let mut publisher = Raw::connect(broker.address(), version, &row.id("flood"), false);

        let begin = Instant::now();
        for number in 1..=COUNT {
            // each message waits for the one before to come through, so nothing of this depends on how fast the machine is
            publisher.send(&packet::publish(version, &topic, number, 1, false, &[number as u8; SIZE]));
            let came = healthy.expect(3);
            assert_eq!(came[came.len() - SIZE..], [number as u8; SIZE]);
            publisher.expect(4);
        }
        // one pause until the broker sees that the subscriber is stalled, not one per message
        assert!(begin.elapsed() < Duration::from_secs(30), "{version:?}, QoS {qos}: {:?} for 50 MB", begin.elapsed());
    }
}

#[test]
fn bytes_that_are_not_mqtt_close_their_own_connection_and_no_other() {
    let broker = Broker::start();
    let topic = format!("calm/{}", std::process::id());
    let join = |row: &Row| row.subscribe(broker.address(), &Options::new(row.id("calm")), &[(&topic, 1)]).unwrap();
    let mut bystanders: Vec<_> = everyone().iter().map(join).collect();

    let before_connect: [(&str, &[u8]); 4] = [
        ("another protocol", b"GET / HTTP/1.1\r\n\r\n"),
        ("PUBLISH before CONNECT", &[0x30, 0x04, 0x00, 0x01, b'a', b'x']),
        ("a CONNECT with the reserved flag", &[0x10, 0x0D, 0, 4, b'M', b'Q', b'T', b'T', 4, 3, 0, 60, 0, 1, b'a']),
        ("a length of five bytes", &[0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]),
    ];
    for (what, bytes) in before_connect {
        let mut bad = Raw::open(broker.address(), Version::V311);
        bad.try_send(bytes);
        while let Some(packet) = bad.receive() {
            assert_eq!(packet[0], 0x20, "{what}: only a CONNACK that refuses may come, not {packet:02x?}");
        }
    }

    let after_connect: [(&str, &[u8]); 6] = [
        ("packet type 0", &[0x00, 0x00]),
        ("QoS 3", &[0x36, 0x06, 0x00, 0x01, b'a', 0x00, 0x01, 0x00]),
        ("a topic name with a wildcard", &[0x30, 0x04, 0x00, 0x01, b'#', 0x00]),
        ("SUBSCRIBE with wrong flags", &[0x80, 0x06, 0x00, 0x01, 0x00, 0x01, b'a', 0x00]),
        ("a length of five bytes", &[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]),
        ("256 MiB announced", &[0x30, 0xFF, 0xFF, 0xFF, 0x7F]),
    ];
    for version in [Version::V31, Version::V311, Version::V5] {
        for (what, bytes) in after_connect {
            if version == Version::V31 && bytes[0] == 0x80 {
                // 3.1 does not say what to do about flags that are not as they should be
                continue;
            }
            let row = Row { kind: Kind::Ours, version };
            let mut bad = Raw::connect(broker.address(), version, &row.id("bad"), false);
            bad.try_send(bytes);
            while let Some(packet) = bad.receive() {
                let is_goodbye = version == Version::V5 && packet[0] == 0xE0 && packet[2] >= 0x80;
                assert!(
                    is_goodbye,
                    "{what}, {version:?}: only a DISCONNECT that tells why may come, not {packet:02x?}"
                );
            }
        }
    }

    let message = Message::new(&topic, "all is well", 1);
    publish(&broker, &message);
    for bystander in &mut bystanders {
        assert_eq!(bystander.message(), message);
    }
}
