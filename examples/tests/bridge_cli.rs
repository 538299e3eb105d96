//! The program `bridge` from outside: what crosses, what a cut connection costs (nothing), and that no message goes round.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    dead_code,
    unused_imports,
    missing_docs,
    unreachable_pub
)]

#[path = "clients/mod.rs"]
mod harness;

use harness::{Broker, Kind, Message, Options, Raw, Row, Version, Way, Wire, packet};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

const OURS: Row = Row { kind: Kind::Ours, version: Version::V5 };

/// A broker that is joined to `remote`, once it is.
fn joined(remote: SocketAddr, more: &[&str]) -> Broker {
    let remote = remote.to_string();
    let bridge = Broker::bridge(&[&["--listen", "127.0.0.1:0", "--remote", &remote][..], more].concat());
    bridge.wait_for("joined to ");
    bridge
}

/// Messages published at one broker, as they come at another. Each has its own client.
fn crosses(from: SocketAddr, sent: &str, to: SocketAddr, heard: &str, qos: u8) {
    let mut subscriber = OURS.subscribe(to, &Options::new(OURS.id(&format!("s{qos}"))), &[(heard, 2)]).unwrap();
    for number in 0..3 {
        let payload = format!("{number} at QoS {qos}");
        OURS.publish(from, &Options::new(OURS.id("pub")), &Message::new(sent, &payload, qos)).unwrap();
        assert_eq!(subscriber.message(), Message::new(heard, &payload, qos));
    }
}

#[test]
fn messages_cross_both_ways_under_their_prefixes_to_every_kind_of_broker() {
    // v4 [MQTT-7.0.0-1]: a client of any server, and a server of any client
    let (over_tls, authority) = Broker::over("TLS");
    let authority = authority.to_str().unwrap().to_owned();
    let remotes = [(Some(Broker::start()), None), (Some(over_tls), Some(authority)), (Broker::mosquitto(), None)];
    for (remote, authority) in remotes {
        let Some(remote) = remote else { continue };
        let mut flags = vec!["--name", "site7", "-q", "2", "--local-prefix", "hub/", "--remote-prefix", "site7/"];
        flags.extend(["--out", "up/#", "--in", "down/#"]);
        flags.extend(authority.iter().flat_map(|authority| ["--cafile", authority]));
        let bridge = joined(remote.address(), &flags);
        if authority.is_some() {
            continue; // joined is enough: the clients of this test speak no TLS
        }
        for qos in 0..=2 {
            crosses(bridge.address(), "hub/up/a", remote.address(), "site7/up/a", qos);
            crosses(remote.address(), "site7/down/b", bridge.address(), "hub/down/b", qos);
        }
    }
}

#[test]
fn at_3_1_1_what_cannot_come_back_crosses() {
    let remote = Broker::start();
    let bridge = joined(remote.address(), &["--name", "old", "-V", "311", "--out", "up/#", "--in", "down/#"]);
    crosses(bridge.address(), "up/a", remote.address(), "up/a", 1);
    crosses(remote.address(), "down/b", bridge.address(), "down/b", 1);
}

#[test]
fn at_3_1_1_what_could_come_back_is_refused_at_the_start() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bridge"));
    command.args(["--listen", "127.0.0.1:0", "--remote", "127.0.0.1:1", "--name", "old", "-V", "311"]);
    let output = command.args(["--out", "a/#", "--in", "a/+/c"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "before 5.0 nothing tells what comes back: a/# goes out, and a/+/c comes in\n");
}

#[test]
fn a_remote_without_a_port_and_a_bridge_that_carries_nothing_are_refused_at_the_start() {
    let refused = [("127.0.0.1", &["--out", "a"][..], "a host and a port"), ("127.0.0.1:1", &[], "--out <FILTER>")];
    for (remote, filters, why) in refused {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bridge"));
        command.args(["--listen", "127.0.0.1:0", "--name", "site7", "--remote", remote]);
        let output = command.args(filters).output().unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn what_a_message_is_beside_its_payload_crosses_with_it() {
    let remote = Broker::start();
    let bridge = joined(remote.address(), &["--name", "site7", "--out", "#"]);
    let mut publisher = Raw::connect(bridge.address(), Version::V5, "publisher", false);
    // retained, QoS 1, Content Type `json`, Message Expiry Interval 1,000 s, user property `a` = `b`
    let properties = b"\x13\x03\x00\x04json\x02\x00\x00\x03\xe8\x26\x00\x01a\x00\x01b";
    publisher.send(&packet::whole(0x33, &[&b"\x00\x01t\x00\x01"[..], properties, b"!once"].concat()));
    publisher.expect(4);

    // late: what is retained has crossed when what was published behind it has
    let mut fence = Raw::connect(remote.address(), Version::V5, "fence", false);
    fence.subscribe("fence", 0);
    publisher.send(&packet::publish(Version::V5, "fence", 2, 1, false, b"!"));
    fence.expect(3);
    let mut late = Raw::connect(remote.address(), Version::V5, "late", false);
    late.subscribe("t", 0);
    let came = late.expect(3);
    assert_eq!(came[0], 0x31, "retained");
    let holds = |wanted: &[u8]| came.windows(wanted.len()).any(|window| window == wanted);
    assert!(holds(b"\x03\x00\x04json") && holds(b"\x26\x00\x01a\x00\x01b"), "{came:02x?}");
    assert!(holds(b"\x02\x00\x00\x03\xe8") || holds(b"\x02\x00\x00\x03\xe7"), "its expiry: {came:02x?}");
    assert!(holds(b"\x00\x0emqttkit-bridge\x00\x05site7"), "the mark: {came:02x?}");
}

/// The payloads of `count` messages; those of a kind that begins with `!`.
fn payloads(client: &mut Raw, count: usize) -> Vec<String> {
    let payload = |packet: Vec<u8>| String::from_utf8(packet.rsplit(|byte| *byte == b'!').next().unwrap().to_vec());
    (0..count).map(|_| payload(client.expect(3)).unwrap()).collect()
}

#[test]
fn whatever_packet_is_lost_with_the_connection_no_message_is() {
    use Way::{ToBroker, ToClient};
    // what goes out, and what comes in: the remote is the broker of the wire
    let rows = [
        (true, 1, ToBroker, 3),
        (true, 1, ToClient, 4),
        (true, 2, ToBroker, 3),
        (true, 2, ToClient, 5),
        (true, 2, ToBroker, 6),
        (true, 2, ToClient, 7),
        (false, 1, ToClient, 3),
        (false, 1, ToBroker, 4),
        (false, 2, ToClient, 3),
        (false, 2, ToBroker, 5),
        (false, 2, ToClient, 6),
        (false, 2, ToBroker, 7),
    ];
    harness::rows(&rows, |(out, qos, way, packet_type)| {
        let remote = Broker::start();
        let wire = Wire::to(remote.address());
        let bridge = joined(wire.address(), &["--name", "cut", "-q", "2", "--both", "#"]);
        let (from, to) = if out { (&bridge, &remote) } else { (&remote, &bridge) };
        let mut subscriber = Raw::connect(to.address(), Version::V5, "subscriber", false);
        subscriber.subscribe("t", 0);
        let mut publisher = Raw::connect(from.address(), Version::V5, "publisher", false);
        wire.cut_at(way, packet_type);
        for number in 1..=5_u16 {
            publisher.send(&packet::publish(Version::V5, "t", number, 1, false, format!("!{number}").as_bytes()));
            publisher.expect(4);
        }
        // at QoS 1 the bridge is told by what is published at QoS 1; at 2 by what is published at 2
        if qos == 2 {
            publisher.send(&packet::publish(Version::V5, "t", 6, 2, false, b"!6"));
            publisher.expect(5);
            publisher.send(&packet::ack(0x62, 6));
            publisher.expect(7);
        }
        wire.wait_for_cut("the connection is cut");
        publisher.send(&packet::publish(Version::V5, "t", 9, 1, false, b"!last"));
        publisher.expect(4);
        let mut came = Vec::new();
        while came.last().is_none_or(|last| last != "last") {
            came.extend(payloads(&mut subscriber, 1));
        }
        let twos = came.iter().filter(|payload| *payload == "6").count();
        assert_eq!(twos, usize::from(qos == 2), "at QoS 2 exactly once: {came:?}");
        came.dedup();
        came.sort();
        came.dedup();
        let expected: &[&str] =
            if qos == 2 { &["1", "2", "3", "4", "5", "6", "last"] } else { &["1", "2", "3", "4", "5", "last"] };
        assert_eq!(came, expected);
    });
}

#[test]
fn what_is_published_while_the_remote_is_away_waits_for_it() {
    let [address] = free();
    let remote = address.to_string();
    let bridge = Broker::bridge(&["--listen", "127.0.0.1:0", "--remote", &remote, "--name", "first", "--out", "#"]);
    let mut publisher = Raw::connect(bridge.address(), Version::V5, "publisher", false);
    for number in 1..=20_u16 {
        let topic = format!("r/{number}");
        let mut publish = packet::publish(Version::V5, &topic, number, 1, false, b"!");
        publish[0] |= 1; // retained, so that it is there for those who come later still
        publisher.send(&publish);
        publisher.expect(4);
    }
    let remote = Broker::at(address);
    bridge.wait_for("joined to ");
    let mut late = Raw::connect(remote.address(), Version::V5, "late", false);
    late.subscribe("r/+", 0);
    for _ in 0..20 {
        late.expect(3);
    }
}

/// Addresses nobody listens at.
fn free<const N: usize>() -> [SocketAddr; N] {
    let sockets = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    sockets.map(|socket| socket.local_addr().unwrap())
}

/// Brokers in a ring, each joined to the next, all topics both ways; and what came at each of one message of the first.
fn copies_in_a_ring<const N: usize>(named: bool) -> [usize; N] {
    const ROUNDS: usize = 6;
    let (addresses, names) = (free::<N>(), ["a", "b", "c"]);
    let brokers: Vec<Broker> = (0..N)
        .map(|number| {
            let next = (number + 1) % N;
            let (own, remote) = (addresses[number].to_string(), addresses[next].to_string());
            let mut flags = vec!["--listen", &own, "--remote", &remote, "--name", names[number], "--both", "#"];
            if named {
                flags.extend(["--remote-name", names[next]]);
            }
            Broker::bridge(&flags)
        })
        .collect();
    brokers.iter().for_each(|broker| broker.wait_for("joined to "));
    let mut subscribers: Vec<Raw> = addresses
        .iter()
        .map(|address| {
            let mut subscriber = Raw::connect(*address, Version::V5, "subscriber", false);
            subscriber.subscribe("t", 0);
            subscriber
        })
        .collect();
    let mut publisher = Raw::connect(addresses[0], Version::V5, "publisher", false);
    let mut copies = [0; N];
    for round in 1..=ROUNDS {
        // everything goes the same way and in order: what goes round does so once at least while the next one goes once
        let payload = if round == 1 { "!once".to_owned() } else { format!("!{round}") };
        publisher.send(&packet::publish(Version::V5, "t", round as u16, 1, false, payload.as_bytes()));
        publisher.expect(4);
        for (subscriber, copies) in subscribers.iter_mut().zip(&mut copies) {
            loop {
                let came = payloads(subscriber, 1).remove(0);
                *copies += usize::from(came == "once");
                if came == payload[1..] {
                    break;
                }
            }
        }
    }
    copies
}

#[test]
fn a_message_does_not_go_round_between_two_brokers_that_are_joined_twice() {
    assert_eq!(copies_in_a_ring::<2>(true), [1, 2], "once for each bridge, and never back");
    assert_eq!(copies_in_a_ring::<2>(false), [2, 2], "and once back where bridges do not know each other by name");
}

#[test]
fn a_message_does_not_go_round_in_a_ring_of_three() {
    assert_eq!(copies_in_a_ring::<3>(true), [1, 2, 2], "once for each way round, and never back");
    let copies = copies_in_a_ring::<3>(false);
    assert!(
        copies.iter().all(|copies| *copies <= 3),
        "it ends where they do not know each other by name, too: {copies:?}"
    );
}
