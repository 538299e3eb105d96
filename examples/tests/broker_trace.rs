//! What the broker logs: for people, for programs, and message by message about those who are followed.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "support/program.rs"]
mod program;

use program::*;
use serde_json::{Value, json};
use std::net::SocketAddr;

const BROKER: &str = env!("CARGO_BIN_EXE_broker");
const ACCEPTED: [u8; 4] = [0x20, 2, 0, 0];
const PING: [u8; 2] = [0xC0, 0];
const PONG: [u8; 2] = [0xD0, 0];

fn enter(address: SocketAddr, name: &str) -> Client {
    let mut client = Client::open(address);
    assert_eq!(client.send(&connect(4, name, None)).packet(), ACCEPTED);
    client
}

/// Has `client` publish to itself.
fn talk(client: &mut Client, topic: &str) {
    assert_eq!(client.send(&subscribe(topic)).packet(), [0x90, 3, 0, 1, 0]);
    let message = publish(topic, b"hush");
    assert_eq!(client.send(&message).packet(), message);
    assert_eq!(client.send(&PING).packet(), PONG);
}

/// Everything that was logged, up to the end that a signal asked for.
fn all_said(broker: Program) -> String {
    broker.signal("TERM");
    broker.outcome().1
}

#[test]
fn json_lines_name_their_parts() {
    let arguments = ["--listen", "127.0.0.1:0", "--log-format", "json", "--trace-topic", "home/#"];
    let (broker, address) = Program::serve(BROKER, &arguments);
    let mut client = enter(address, "c\"1");
    let peer = client.0.local_addr().unwrap().to_string();
    talk(&mut client, "home/door");
    drop(client);
    let log = all_said(broker);
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line =
        |event: &str| lines.iter().find(|line| line["event"] == event).unwrap_or_else(|| panic!("{event}: {log}"));
    let connected = line("connected");
    assert_eq!((&connected["client"], &connected["peer"]), (&json!("c\"1"), &json!(peer)));
    assert_eq!((&connected["level"], &connected["version"]), (&json!("INFO"), &json!("3.1.1")));
    assert!(connected["message"].as_str().unwrap().contains("connected as"), "{connected}");
    assert!(connected["timestamp"].is_string());
    let published = line("published");
    assert_eq!((&published["topic"], &published["qos"]), (&json!("home/door"), &json!(0)));
    assert_eq!(line("delivered")["client"], json!("c\"1"));
    assert_eq!(line("subscribed")["filter"], json!("home/door"));
}

#[test]
fn one_client_is_followed_and_no_other_even_where_little_is_logged() {
    let (broker, address) = Program::serve(BROKER, &["--quiet", "--listen", "127.0.0.1:0", "--trace-client", "lamp"]);
    let [mut lamp, mut door] = ["lamp", "door"].map(|name| enter(address, name));
    talk(&mut lamp, "a");
    talk(&mut door, "b");
    lamp.send(&[0xE0, 0]);
    assert!(lamp.is_closed());
    drop((lamp, door));
    let log = all_said(broker);
    let expected = [
        "trace: \"lamp\" connected MQTT 3.1.1",
        "trace: \"lamp\" subscribed \"a\"",
        "trace: \"lamp\" published \"a\", QoS 0, retain false, 4 bytes",
        "trace: \"lamp\" delivered \"a\", QoS 0",
        "trace: \"lamp\" disconnected",
    ];
    let mut lines = log.lines();
    for words in expected {
        assert!(lines.any(|line| line.contains(words)), "{words}: {log}");
    }
    assert!(!log.contains("door"), "{log}");
}

#[test]
fn a_topic_filter_is_followed_at_run_time_with_the_token_and_no_longer_than_asked() {
    let config = file(
        "trace-admin.toml",
        "listen = [\"127.0.0.1:0\"]\nadmin = { address = \"127.0.0.1:0\", token = \"sesame\" }\n",
    );
    let (mut broker, address) = Program::serve(BROKER, &["--config", config.to_str().unwrap()]);
    let mut log = Log::of(&mut broker);
    let url = log.wait_for("administration at ").trim_end().rsplit(' ').next().unwrap().to_owned() + "/trace";
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let post = |token: &str, body: &str| {
        let request = agent.post(&url).header("Authorization", format!("Bearer {token}"));
        let mut response = request.send(body).unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    };
    let mut client = enter(address, "c");
    talk(&mut client, "home/before");

    let wish = r#"{"topic": "home/#", "for_s": 100}"#;
    assert_eq!(post("guess", wish).0, 401);
    for (wrong, why) in [
        ("{}", "either `client` or `topic`"),
        (r#"{"topic": "a#"}"#, "a#"),
        (r#"{"client": "c", "for_s": 0}"#, "`for_s` is 1 to 86400"),
        (r#"{"client": "c", "forever": true}"#, "forever"),
    ] {
        let (status, said) = post("sesame", wrong);
        assert!(status == 400 && said.contains(why), "{wrong}: {said}");
    }
    let (status, list) = post("sesame", wish);
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!((status, &list[0]["topic"]), (200, &json!("home/#")), "{list}");
    assert!((90..=100).contains(&list[0]["for_s"].as_u64().unwrap()), "{list}");
    talk(&mut client, "home/during");
    talk(&mut client, "elsewhere");

    let cleared = agent.delete(&url).header("Authorization", "Bearer sesame").call().unwrap();
    assert_eq!(cleared.into_body().read_to_string().unwrap(), "[]\n");
    talk(&mut client, "home/after");
    // a second is short enough to wait for: the loop wakes for the end of it by itself
    post("sesame", r#"{"client": "c", "for_s": 1}"#);
    let shown =
        || agent.get(&url).header("Authorization", "Bearer sesame").call().unwrap().into_body().read_to_string();
    let begun = std::time::Instant::now();
    while shown().unwrap() != "[]\n" {
        assert!(begun.elapsed() < PATIENCE);
    }
    talk(&mut client, "home/late");
    drop(client);
    log.wait_for("trace: \"c\" subscribed \"home/during\"");
    log.wait_for("trace: \"c\" published \"home/during\"");
    log.wait_for("trace: \"c\" delivered \"home/during\"");
    let mut rest = Vec::new();
    loop {
        let line = log.wait_for("");
        let is_end = line.contains("disconnected");
        rest.push(line);
        if is_end {
            break;
        }
    }
    assert!(!rest.iter().any(|line| line.contains("trace:")), "{rest:?}");
}

#[test]
fn an_admin_listener_without_a_token_shows_nobodys_messages() {
    let config = file("trace-open.toml", "listen = [\"127.0.0.1:0\"]\nadmin = { address = \"127.0.0.1:0\" }\n");
    let (mut broker, _) = Program::serve(BROKER, &["--config", config.to_str().unwrap()]);
    let url = Log::of(&mut broker).wait_for("administration at ").trim_end().rsplit(' ').next().unwrap().to_owned();
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    for answer in [agent.get(url.clone() + "/trace").call(), agent.post(url + "/trace").send(r#"{"client": "c"}"#)] {
        assert_eq!(answer.unwrap().status().as_u16(), 403);
    }
}

#[test]
fn no_password_and_no_payload_is_ever_logged() {
    let passwords = file("trace-passwords", "");
    set_password(BROKER, &passwords, "ada", "open sesame");
    let text = "listen = [\"127.0.0.1:0\"]\npassword_file = \"trace-passwords\"\nlog_level = \"trace\"\n\
                trace_topics = [\"#\"]\ntrace_clients = [\"c\", \"d\"]\n";
    let config = file("trace-secrets.toml", text);
    for format in ["text", "json"] {
        let arguments = ["--config", config.to_str().unwrap(), "--log-format", format];
        let (broker, address) = Program::serve(BROKER, &arguments);
        for (name, password, reason) in [("d", "open barley", 4), ("c", "open sesame", 0)] {
            let body =
                [string("MQTT"), vec![4, 0xC6, 0, 60], string(name), string("will/topic"), string("hush, a will")];
            let body = [body.concat(), string("ada"), string(password)].concat();
            let mut client = Client::open(address);
            assert_eq!(client.send(&[&[0x10, body.len() as u8], &body[..]].concat()).packet(), [0x20, 2, 0, reason]);
            if reason == 0 {
                talk(&mut client, "t");
                // and what breaks the protocol is not shown either
                assert!(client.send(b"\x36\x09hush-hush").is_closed());
            }
        }
        let log = all_said(broker);
        for secret in ["sesame", "barley", "hush"] {
            assert!(!log.contains(secret), "{log}");
        }
        assert!(log.contains("will/topic") || log.contains("published"), "{log}");
    }
}
