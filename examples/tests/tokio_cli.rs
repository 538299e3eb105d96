//! The program `tokio-client` from outside: against our broker, over a connection that is lost.
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

use harness::{Broker, Way, Wire};
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

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
