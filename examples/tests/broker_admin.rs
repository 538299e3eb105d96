//! `/healthz` and `/metrics` of the broker, over HTTP as a monitor asks.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "support/program.rs"]
mod program;

use program::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;

const BROKER: &str = env!("CARGO_BIN_EXE_broker");

/// A broker with an admin listener at port 0; where that is, and where MQTT is.
fn broker(test: &str, admin: &str) -> (Program, SocketAddr, SocketAddr) {
    let config = file(&format!("{test}.toml"), &format!("listen = [\"127.0.0.1:0\"]\nadmin = {{ {admin} }}\n"));
    let (mut program, mqtt) = Program::serve(BROKER, &["--config", config.to_str().unwrap()]);
    let mut log = BufReader::new(program.0.stderr.take().unwrap()).lines();
    let at = |line: String| Some(line.split_once("administration at http://")?.1.parse().unwrap());
    let admin = log.find_map(|line| at(line.unwrap())).unwrap();
    // whoever reads the log goes on reading
    std::thread::spawn(move || log.for_each(drop));
    (program, admin, mqtt)
}

/// Status line and body.
fn get(address: SocketAddr, path: &str, token: Option<&str>) -> (String, String) {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let mut stream = stream(address);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{authorization}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[test]
fn a_monitor_sees_what_the_broker_counts() {
    let (_broker, admin, mqtt) = broker("admin-metrics", "address = \"127.0.0.1:0\"");
    assert_eq!(get(admin, "/healthz", None), ("HTTP/1.1 200 OK".to_owned(), "ok\n".to_owned()));
    let mut client = Client::open(mqtt);
    assert_eq!(client.send(&connect(4, "c", None)).packet(), [0x20, 2, 0, 0]);
    client.send(&[0x31, 4, 0, 1, b't', b'x']).send(&[0xC0, 0]);
    assert_eq!(client.packet(), [0xD0, 0]);
    let (status, text) = get(admin, "/metrics", None);
    assert_eq!(status, "HTTP/1.1 200 OK");
    let lines = [
        "mqtt_clients 1",
        "mqtt_retained_messages 1",
        "mqtt_messages_received_total 1",
        "mqtt_messages_dropped_total{reason=\"queue_full\"} 0",
        "mqtt_refusals_total{limit=\"connect_timeout\"} 0",
        "# TYPE mqtt_clients gauge",
    ];
    for line in lines {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    assert!(get(admin, "/", None).0.contains("404"));
}

#[test]
fn who_has_not_the_token_learns_nothing() {
    let (_broker, admin, _) = broker("admin-token", "address = \"127.0.0.1:0\", token = \"sesame\"");
    for token in [None, Some("sesam"), Some("sesame!"), Some("")] {
        for path in ["/healthz", "/metrics", "/"] {
            assert_eq!(get(admin, path, token).0, "HTTP/1.1 401 Unauthorized", "{token:?} {path}");
        }
    }
    assert_eq!(get(admin, "/healthz", Some("sesame")).0, "HTTP/1.1 200 OK");
}

#[test]
fn an_admin_listener_for_everybody_needs_a_token() {
    let config = file("admin-open.toml", "admin = { address = \"0.0.0.0:9883\" }\n");
    let (code, said) = Program::start(BROKER, &["--config", config.to_str().unwrap()]).outcome();
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("line 1") && said.contains("it needs a `token`"), "{said}");
}
