//! The programs on tokio from outside: `tokio-client` over a connection that is lost, `tokio-broker` with the clients of others.
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

use harness::{Broker, Kind, Message, Options, Raw, Row, Version, Way, Wire, everyone, packet, rows};
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Runs it with `input`, to its end.
fn run(broker: SocketAddr, id: &str, input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tokio-client"))
        .args(["--address", &broker.to_string(), "--topic", id, "--client-id", id])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn lines(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(String::from).collect()
}

#[test]
fn each_line_comes_back_once_over_a_connection_that_holds() {
    let broker = Broker::start();
    let output = run(broker.address(), "holds", "one\ntwo\nthree\n");
    assert_eq!(lines(&output), ["one", "two", "three"]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn each_line_comes_back_once_whichever_packet_is_lost_with_the_connection() {
    let broker = Broker::start();
    for (way, packet_type) in [(Way::ToBroker, 3), (Way::ToClient, 5), (Way::ToBroker, 6), (Way::ToClient, 7)] {
        let wire = Wire::to(broker.address());
        wire.cut_at(way, packet_type);
        let output = run(wire.address(), &format!("lost{packet_type}"), "one\ntwo\nthree\n");
        wire.wait_for_cut("the connection is cut");
        assert_eq!(lines(&output), ["one", "two", "three"], "packet type {packet_type} lost");
        assert!(String::from_utf8_lossy(&output.stderr).contains("the connection is lost"));
    }
}

#[test]
fn each_client_receives_from_the_broker_on_tokio_what_it_publishes() {
    let broker = Broker::on_tokio();
    rows(&everyone(), |row| {
        let topic = row.topic("tokio");
        let mut subscriber = row.subscribe(broker.address(), &Options::new(row.id("tsub")), &[(&topic, 2)]).unwrap();
        for qos in 0..=2 {
            let message = Message::new(&topic, &format!("at QoS {qos}"), qos);
            row.publish(broker.address(), &Options::new(row.id("tpub")), &message).unwrap();
            assert_eq!(subscriber.message(), message);
        }
    });
}

#[test]
fn a_subscriber_of_the_broker_on_tokio_that_never_reads_stops_nobody() {
    // S17
    const SIZE: usize = 64 << 10;
    let broker = Broker::on_tokio();
    let connect = |id| Raw::connect(broker.address(), Version::V311, id, false);
    let (mut stalled, mut healthy, mut publisher) = (connect("stalled"), connect("healthy"), connect("publisher"));
    stalled.subscribe("flood", 1);
    healthy.subscribe("flood", 0);
    for number in 1..=400_u16 {
        publisher.send(&packet::publish(Version::V311, "flood", number, 1, false, &[number as u8; SIZE]));
        let came = healthy.expect(3);
        assert_eq!(came[came.len() - SIZE..], [number as u8; SIZE]);
        publisher.expect(4);
    }
}

#[test]
fn a_publisher_to_the_broker_on_tokio_waits_for_subscribers_that_cannot_keep_up() {
    const SIZE: usize = 256 << 10;
    const COUNT: u8 = 60;
    let broker = Broker::on_tokio();
    let connect = |id: &str| Raw::connect(broker.address(), Version::V311, id, false);
    let mut publisher = connect("publisher");
    let mut subscribers: Vec<_> = (0..8).map(|number| connect(&format!("s{number}"))).collect();
    for subscriber in &mut subscribers {
        subscriber.subscribe("flood", 0);
    }
    std::thread::scope(|scope| {
        // each byte of it goes out eight times, so it is faster than all of them; what nobody waits for at QoS 0 is lost
        scope.spawn(move || {
            for number in 1..=COUNT {
                publisher.send(&packet::publish(Version::V311, "flood", 0, 0, false, &[number; SIZE]));
            }
        });
        for number in 1..=COUNT {
            for subscriber in &mut subscribers {
                assert_eq!(subscriber.expect(3).last(), Some(&number));
            }
        }
    });
}

#[test]
fn the_broker_on_tokio_ends_a_client_that_is_silent_for_too_long() {
    let broker = Broker::on_tokio();
    let mut silent = Raw::open(broker.address(), Version::V5);
    let begin = Instant::now();
    silent.send(b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x01\x00\x00\x01s"); // keep alive 1 s
    silent.expect(2);
    // v5 [MQTT-3.1.2-22]: after one and a half of it
    assert_eq!(silent.expect(14)[2], 0x8D, "keep alive timeout");
    assert!(silent.receive().is_none());
    assert!((Duration::from_millis(1500)..Duration::from_secs(20)).contains(&begin.elapsed()));
}
