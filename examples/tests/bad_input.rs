//! What strangers may do to the `broker` process: streams with mistakes, connections that come to nothing, floods. Two good clients are
//! served throughout, the memory stays within the budget, everybody is let go in the end, and what was refused is counted.
//!
//! `MQTT_BAD_INPUT=whole` tries it with numbers that take minutes; the seed is fixed, and `MQTT_SEED` another.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

#[path = "support/carriers.rs"]
mod carriers;
#[path = "bad_input/doors.rs"]
mod doors;
#[path = "bad_input/mutation.rs"]
mod mutation;
#[path = "support/program.rs"]
mod program;
#[path = "bad_input/trial.rs"]
mod trial;

use carriers::Frames;
use doors::{Door, carry, client_hello};
use program::{Client, connect, publish, stream, subscribe};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::scope;
use trial::Trial;

/// How many, in the test command and as a whole.
fn many(quick: u64, whole: u64) -> u64 {
    if std::env::var("MQTT_BAD_INPUT").as_deref() == Ok("whole") { whole } else { quick }
}

/// Carries so many streams through a door, several at a time; how many the broker ended, of those it gave a reason to some.
fn streams(trial: &Trial, door: Door, count: u64) -> u64 {
    let seed = std::env::var("MQTT_SEED").map_or(0xBAD, |seed| seed.parse().unwrap());
    let counted = |trial: &Trial| {
        ["protocol_errors", "refused", "ended"]
            .map(|name| trial.counter(&format!("mqtt_{name}_total")))
            .iter()
            .sum::<u64>()
    };
    let (before, next, refused) = (counted(trial), AtomicU64::new(0), AtomicU64::new(0));
    scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= count {
                        return;
                    }
                    refused.fetch_add(carry(trial, door, seed, number).refused.into(), Relaxed);
                }
            });
        }
    });
    let (refused, counted) = (refused.into_inner(), counted(trial) - before);
    assert!(refused > 0 && refused <= counted, "{door:?}: {refused} were told so, and {counted} are counted");
    counted
}

#[test]
fn streams_with_mistakes_at_a_tcp_listener() {
    let trial = Trial::start("tcp", None);
    let count = many(2_000, 100_000);
    let ended = streams(&trial, Door::Tcp, count);
    trial.end(&format!("{count} streams with mistakes over TCP, {ended} ended by the broker"));
}

#[test]
fn streams_with_mistakes_at_every_other_kind_of_listener() {
    let trial = Trial::start("doors", None);
    let count = many(150, 2_000);
    for door in [Door::Tls, Door::WebSocket, Door::SecureWebSocket, Door::Unix, Door::Proxied] {
        streams(&trial, door, count);
    }
    assert!(trial.counter("mqtt_transport_errors_total") > 0);
    trial.end(&format!(
        "{count} streams with mistakes each over TLS, WebSocket, both, a unix socket and behind a proxy"
    ));
}

#[test]
fn connections_that_never_come_to_a_connect() {
    // S18
    let trial = Trial::start("loris", None);
    let (count, rounds) = (30, many(1, 20));
    let upgrade = b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n";
    let hello = client_hello(&trial);
    for round in 1..=rounds {
        let begun: [(_, &[u8]); 6] = [
            (trial.tcp, &[]),
            (trial.tcp, &connect(5, "slow", None)[..12]),
            (trial.tls, &hello[..hello.len() / 2]),
            (trial.tls, &hello),
            (trial.websocket, upgrade),
            (trial.proxied, b"PROXY TCP4 203.0.113.7"),
        ];
        let open = |(address, begin): (_, &[u8])| {
            let mut stream = stream(address);
            stream.write_all(begin).unwrap();
            stream
        };
        let all: Vec<_> = (0..count).flat_map(|_| begun).map(open).collect();
        for mut stream in all {
            // whatever comes, an alert of TLS or its hello, its end comes behind it
            let _ = stream.read_to_end(&mut Vec::new());
        }
        trial.wait_for("mqtt_refusals_total{limit=\"connect_timeout\"}", round * count * 6);
    }
    trial.end(&format!(
        "{} connections that send half of what they have to and wait, half-open TLS among them",
        rounds * count * 6
    ));
}

#[test]
fn one_byte_at_a_time_is_no_way_to_hold_a_place() {
    // S18
    let trial = Trial::start("drip", None);
    let count = many(20, 100);
    scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| {
                let mut stream = stream(trial.tcp);
                stream.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
                // a CONNECT that would take a minute
                for byte in [&[0x10, 0xFF, 0x7F][..], &[b'x'; 600]].concat() {
                    if stream.write_all(&[byte]).is_err() || stream.read(&mut [0]).is_ok_and(|len| len == 0) {
                        return;
                    }
                }
                panic!("it was borne for a minute");
            });
        }
    });
    let counted =
        trial.counter("mqtt_refusals_total{limit=\"connect_timeout\"}") + trial.counter("mqtt_protocol_errors_total");
    assert!(counted >= count, "{counted} of {count}");
    trial.end(&format!("{count} connections that send a byte every 100 ms"));
}

#[test]
fn frames_of_a_websocket_that_are_too_large() {
    // S1
    let trial = Trial::start("frames", None);
    let count = many(50, 1_000);
    // a header alone, before the client is known and after: 64 KiB, the largest packet, all there is
    let headers: [(bool, &[u8]); 4] = [
        (false, &[0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]),
        (false, &[0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0]),
        (true, &[0x82, 0xFF, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0, 0]),
        (true, &[0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0]),
    ];
    for _ in 0..count {
        for (known, header) in headers {
            let mut client = Client(Frames::open(stream(trial.websocket), "mqtt"));
            if known {
                client.send(&connect(4, "frames", None)).packet();
            }
            client.0.websocket.get_mut().write_all(header).unwrap();
            assert!(client.is_closed());
        }
    }
    // and one in small pieces that has no end
    for _ in 0..count {
        let mut client = Client(Frames::open(stream(trial.websocket), "mqtt"));
        let socket = client.0.websocket.get_mut();
        let piece = [&[0x82, 0xFE, 0x20, 0, 0, 0, 0, 0][..], &[0x10; 0x2000]].concat();
        let mut sent = socket.write_all(&piece);
        for _ in 0..200 {
            if sent.is_err() {
                break;
            }
            let piece = [&[0x00, 0xFE, 0x20, 0, 0, 0, 0, 0][..], &[0x10; 0x2000]].concat();
            sent = socket.write_all(&piece);
        }
        drop(client);
    }
    trial.wait_for("mqtt_connections", 2);
    assert!(trial.counter("mqtt_transport_errors_total") >= 4 * count);
    trial.end(&format!("{} WebSocket frames that are too large", 5 * count));
}

#[test]
fn more_connections_than_there_may_be() {
    let trial = Trial::start("flood", None);
    let (rounds, refusals) = (many(1, 20), ["handshakes", "connections"]);
    let counted = || refusals.map(|limit| trial.counter(&format!("mqtt_refusals_total{{limit=\"{limit}\"}}")));
    for round in 0..rounds {
        // clients: all places but those of the pair
        let clients: Vec<_> = (0..298)
            .map(|number| {
                let mut client = Client::open(trial.tcp);
                assert_eq!(client.send(&connect(4, &format!("c{number}"), None)).packet(), [0x20, 2, 0, 0]);
                client
            })
            .collect();
        let before = counted();
        for _ in 0..500 {
            assert!(Client::open(trial.tcp).is_closed());
        }
        assert_eq!(counted(), [before[0], before[1] + 500], "round {round}: every connection too many is counted");
        drop(clients);
        trial.wait_for("mqtt_connections", 2);
        // strangers: 200 at once who have not said CONNECT
        let strangers: Vec<_> = (0..200).map(|_| Client::open(trial.tcp)).collect();
        trial.wait_for("mqtt_connections", 202);
        let before = counted();
        for _ in 0..500 {
            assert!(Client::open(trial.tcp).is_closed());
        }
        assert_eq!(counted(), [before[0] + 500, before[1]], "round {round}: every stranger too many is counted");
        drop(strangers);
        trial.wait_for("mqtt_connections", 2);
    }
    trial.end(&format!("{} connections over the limit", rounds * 1000));
}

#[test]
fn more_connections_than_there_are_descriptors() {
    let trial = Trial::start("files", Some(64));
    let rounds = many(1, 5);
    for _ in 0..rounds {
        // the system takes them; the broker cannot, and those inside go on
        let mut clients: Vec<_> = (0..150).map(|_| Client::open(trial.tcp)).collect();
        // the first has had its time: by then all the others were tried
        assert!(clients[0].is_closed());
        drop(clients);
        // they are taken one after the other, found gone, and those behind them come in
        let mut late = Client::open(trial.tcp);
        assert_eq!(late.send(&connect(4, "late", None)).packet(), [0x20, 2, 0, 0]);
        drop(late);
        trial.wait_for("mqtt_connections", 2);
    }
    assert!(trial.counter("mqtt_accept_failures_total") >= rounds);
    trial.end(&format!("{} connections where there are 64 descriptors", rounds * 150));
}

#[test]
fn a_flood_to_a_client_that_does_not_read() {
    // S17
    let trial = Trial::start("stalled", None);
    let (rounds, count) = (many(1, 10), 20_000_u64);
    for round in 0..rounds {
        let mut stalled = Client::open(trial.tcp);
        stalled.send(&connect(4, "stalled", None)).packet();
        stalled.send(&subscribe("flood")).packet();
        let mut publisher = Client::open(trial.tcp);
        publisher.send(&connect(4, "flooding", None)).packet();
        let dropped = "mqtt_messages_dropped_total{reason=\"queue_full\"}";
        let before = trial.counter(dropped);
        let message = publish("flood", &[b'x'; 2_000]);
        for _ in 0..count {
            publisher.send(&message);
        }
        // all of them are taken when the ping behind them is answered
        assert_eq!(publisher.send(&[0xC0, 0]).packet(), [0xD0, 0]);
        let dropped = trial.counter(dropped) - before;
        assert!(dropped > 0, "there is more than a socket and a queue can hold");
        // what was not dropped comes, and what comes was not dropped
        let mut bytes = vec![0; message.len()];
        for _ in dropped..count {
            stalled.0.read_exact(&mut bytes).unwrap();
            assert!(bytes == message);
        }
        publisher.send(&publish("flood", b"the last"));
        assert!(stalled.packet().ends_with(b"the last"), "round {round}: each message came or is counted");
    }
    trial.end(&format!("{} messages to a client that does not read", rounds * count));
}
