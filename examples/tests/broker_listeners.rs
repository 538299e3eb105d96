//! What is different for the clients of one listener: versions, limits, what is offered.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "support/program.rs"]
mod program;

use program::*;
use std::net::SocketAddr;

const BROKER: &str = env!("CARGO_BIN_EXE_broker");
const ACCEPTED: [u8; 4] = [0x20, 2, 0, 0];

/// A broker with a listener as all are, and one whose table also says `own`.
fn broker(test: &str, own: &str) -> (Program, [SocketAddr; 2]) {
    let address = "[[listen]]\naddress = \"127.0.0.1:0\"\n";
    let config = file(&format!("{test}.toml"), &format!("{address}\n{address}{own}\n"));
    Program::serve_many(BROKER, &["--config", config.to_str().unwrap()])
}

#[test]
fn a_version_is_refused_at_one_listener_and_taken_at_another() {
    let (_broker, [all, new]) = broker("listeners-versions", "versions = [\"5.0\"]");
    assert_eq!(Client::open(all).send(&connect(4, "c", None)).packet(), ACCEPTED);
    assert_eq!(Client::open(new).send(&connect(4, "c", None)).packet(), [0x20, 2, 0, 1]);
    assert_eq!(Client::open(new).send(&connect(5, "c", None)).packet()[3], 0);
}

#[test]
fn what_a_listener_offers_is_announced_and_held_to() {
    let own = "max_packet_size = 64\nmax_qos = 0\nreceive_maximum = 3\nretained = false\nshared_subscriptions = false";
    let (_broker, [all, small]) = broker("listeners-offer", own);
    let mut client = Client::open(small);
    let connack = client.send(&connect(5, "c", None)).packet();
    // Receive Maximum 3, Maximum QoS 0, Retain Available 0, Maximum Packet Size 64, Shared Subscription Available 0
    for property in [&[0x21, 0, 3][..], &[0x24, 0], &[0x25, 0], &[0x27, 0, 0, 0, 64], &[0x2A, 0]] {
        assert!(connack.windows(property.len()).any(|part| part == property), "{property:x?}: {connack:x?}");
    }
    let disconnect = client.send(&[0x30, 63]).packet();
    assert_eq!((disconnect[0], disconnect[2]), (0xE0, 0x95), "packet too large");
    let mut client = Client::open(all);
    client.send(&connect(4, "d", None)).packet();
    client.send(&subscribe("t")).packet();
    let large = publish("t", &[7; 100]);
    assert_eq!(client.send(&large).packet(), large);
}

#[test]
fn a_full_listener_leaves_the_others_room() {
    let (_broker, [all, one]) = broker("listeners-full", "max_connections = 1");
    let mut first = Client::open(one);
    assert_eq!(first.send(&connect(4, "first", None)).packet(), ACCEPTED);
    assert!(Client::open(one).is_closed());
    assert_eq!(Client::open(all).send(&connect(4, "other", None)).packet(), ACCEPTED);
    assert_eq!(first.send(&[0xC0, 0]).packet(), [0xD0, 0]);
}

#[test]
fn who_never_says_connect_is_closed_in_the_time_of_its_listener() {
    // [X5-CON-8] [X311-CON-1] S18
    let (_broker, [all, hasty]) = broker("listeners-timeout", "connect_timeout_s = 1");
    let mut patient = Client::open(all);
    let mut idle = Client::open(hasty);
    let mut slow = Client::open(hasty);
    let connect = connect(4, "c", None);
    slow.send(&connect[..5]);
    assert!(idle.is_closed() && slow.is_closed());
    assert_eq!(patient.send(&connect).packet(), ACCEPTED);
}

#[test]
fn a_rate_of_a_listener_holds_for_its_clients_alone() {
    let (_broker, [all, slow]) =
        broker("listeners-rate", "client_messages_per_s = 1\n\n[limits]\nover_rate = \"drop\"");
    for (address, heard) in [(slow, 1), (all, 3)] {
        let mut client = Client::open(address);
        client.send(&connect(4, "c", None)).packet();
        client.send(&subscribe("t")).packet();
        let message = publish("t", b"x");
        client.send(&message.repeat(3)).send(&[0xC0, 0]);
        for _ in 0..heard {
            assert_eq!(client.packet(), message);
        }
        assert_eq!(client.packet(), [0xD0, 0]);
    }
}

#[test]
fn sessions_of_a_listener_that_stores_nothing_end_with_the_process() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("listeners-durable");
    let _ = std::fs::remove_dir_all(&folder);
    let listen = "[[listen]]\naddress = \"127.0.0.1:0\"\n";
    let text = format!("data = \"listeners-durable\"\n{listen}\n{listen}durability = \"none\"\n");
    let config = file("listeners-durable.toml", &text);
    for session_present in [[0, 0], [1, 0]] {
        let (_broker, listeners) = Program::serve_many::<2>(BROKER, &["--config", config.to_str().unwrap()]);
        for ((address, name), present) in listeners.into_iter().zip(["kept", "lost"]).zip(session_present) {
            let mut connect = connect(4, name, None);
            connect[9] = 0; // its session is to go on
            let mut client = Client::open(address);
            assert_eq!(client.send(&connect).packet(), [0x20, 2, present, 0], "{name}");
            assert_eq!(client.send(&subscribe("t")).packet(), [0x90, 3, 0, 1, 0]);
        }
    }
}
