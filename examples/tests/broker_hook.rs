//! The HTTP hook: another program says who comes in and what they may do, or fails to.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "support/program.rs"]
mod program;

use program::*;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use tiny_http::{Header, Request, Response, Server};

const BROKER: &str = env!("CARGO_BIN_EXE_broker");
const ACCEPTED: [u8; 4] = [0x20, 2, 0, 0];
const UNAVAILABLE: [u8; 4] = [0x20, 2, 0, 3];
const NOT_AUTHORIZED: [u8; 4] = [0x20, 2, 0, 5];
const PING: [u8; 2] = [0xC0, 0];
const PONG: [u8; 2] = [0xD0, 0];

/// A hook whose questions the test answers itself, one after the other.
struct Judge {
    address: SocketAddr,
    questions: Receiver<(Value, Request)>,
}

impl Judge {
    fn sits() -> Self {
        let server = Arc::new(Server::http("127.0.0.1:0").unwrap());
        let address = server.server_addr().to_ip().unwrap();
        let (ask, questions) = channel();
        std::thread::spawn(move || {
            for mut request in server.incoming_requests() {
                let question = serde_json::from_reader(request.as_reader()).unwrap();
                if ask.send((question, request)).is_err() {
                    return;
                }
            }
        });
        Self { address, questions }
    }

    fn question(&self) -> (Value, Request) {
        self.questions.recv_timeout(PATIENCE).unwrap()
    }

    /// Answers the next question; what it was.
    fn says(&self, answer: &Value) -> Value {
        let (question, request) = self.question();
        request.respond(Response::from_string(answer.to_string())).unwrap();
        question
    }
}

/// A broker whose hook is at `address`, with `more` in its table.
fn broker(test: &str, address: SocketAddr, more: &str) -> (Program, SocketAddr) {
    let hook = format!("hook = {{ url = \"http://{address}/mqtt\", {more} }}");
    let config = file(&format!("{test}.toml"), &format!("listen = [\"127.0.0.1:0\"]\n{hook}\n"));
    Program::serve(BROKER, &["--config", config.to_str().unwrap()])
}

fn connack(reason: u8) -> impl Fn(&[u8]) -> bool {
    move |packet| packet[0] == 0x20 && packet[3] == reason
}

#[test]
fn whom_the_hook_allows_comes_in_as_who_it_says() {
    let judge = Judge::sits();
    let acl = file("hook-allow-acl", "user staff\ntopic read #\n");
    let more = format!("authorization = \"Bearer sesame\" }}\nacl_file = \"{}\"\n#", acl.display());
    let (_broker, address) = broker("hook-allow", judge.address, &more);
    let mut client = Client::open(address);
    client.send(&connect(4, "lamp", Some(("ada", "one"))));
    let (question, request) = judge.question();
    let peer = client.0.local_addr().unwrap().to_string();
    let expected = json!({
        "event": "connect", "client_id": "lamp", "user_name": "ada", "password": "one", "tls_name": null, "peer": peer,
        "listener": 0, "version": "3.1.1", "clean_start": true, "keep_alive_s": 60,
    });
    assert_eq!(question, expected);
    assert_eq!((request.method(), request.url()), (&tiny_http::Method::Post, "/mqtt"));
    let header = |name: &'static str| {
        let found = request.headers().iter().find(|header| header.field.equiv(name));
        found.map(|header| header.value.as_str().to_owned())
    };
    assert_eq!(header("Authorization").as_deref(), Some("Bearer sesame"));
    assert_eq!(header("Content-Type").as_deref(), Some("application/json"));
    request.respond(Response::from_string(r#"{"allow": true, "user_name": "staff", "more": 1}"#)).unwrap();
    assert_eq!(client.packet(), ACCEPTED);
    assert_eq!(client.send(&subscribe("t")).packet(), [0x90, 3, 0, 1, 0]);

    let mut nobody = Client::open(address);
    nobody.send(&connect(5, "b", None));
    let question = judge.says(&json!({ "allow": true }));
    assert_eq!((&question["user_name"], &question["password"]), (&Value::Null, &Value::Null));
    assert!(connack(0)(&nobody.packet()));
}

#[test]
fn whom_the_hook_denies_is_told_why() {
    let judge = Judge::sits();
    let (_broker, address) = broker("hook-deny", judge.address, "");
    for (answer, version, reason) in [
        (json!({ "allow": false }), 4, 5),
        (json!({ "allow": false, "reason": "bad-credentials" }), 4, 4),
        (json!({ "allow": false, "reason": "bad-credentials" }), 5, 0x86),
        (json!({ "allow": false, "message": "pay first" }), 5, 0x87),
    ] {
        let mut client = Client::open(address);
        client.send(&connect(version, "c", Some(("ada", "one"))));
        judge.says(&answer);
        let packet = client.packet();
        assert!(connack(reason)(&packet), "{answer}: {packet:x?}");
        let words = b"pay first";
        assert_eq!(packet.windows(words.len()).any(|part| part == words), answer.get("message").is_some());
        assert!(client.is_closed());
    }
}

#[test]
fn a_slow_hook_is_a_no_in_time_and_holds_up_nobody_else() {
    let judge = Judge::sits();
    let (mut broker, address) = broker("hook-slow", judge.address, "timeout_ms = 300");
    let mut log = Log::of(&mut broker);
    let mut known = Client::open(address);
    known.send(&connect(4, "known", None));
    judge.says(&json!({ "allow": true }));
    assert_eq!(known.packet(), ACCEPTED);

    let mut slow = Client::open(address);
    slow.send(&connect(4, "slow", None));
    let (_, held) = judge.question();
    assert_eq!(known.send(&PING).packet(), PONG);
    assert_eq!(slow.packet(), UNAVAILABLE);
    log.wait_for("the hook does not answer in time");
    // too late
    let _ = held.respond(Response::from_string(r#"{"allow": true}"#));
    assert!(slow.is_closed());
    let mut again = Client::open(address);
    again.send(&connect(4, "again", None));
    judge.says(&json!({ "allow": true }));
    assert_eq!(again.packet(), ACCEPTED);
    log.wait_for("the hook answers again");
}

#[test]
fn a_hook_that_is_not_there_lets_nobody_in() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let more = "timeout_ms = 5000 }\nadmin = { address = \"127.0.0.1:0\"";
    let (mut broker, address) = broker("hook-dead", gone, more);
    let mut log = Log::of(&mut broker);
    let admin = log.wait_for("administration at ").trim_end().rsplit(' ').next().unwrap().to_owned();
    for _ in 0..3 {
        assert_eq!(Client::open(address).send(&connect(4, "c", Some(("ada", "secret")))).packet(), UNAVAILABLE);
    }
    let line = log.wait_for("the hook fails, and clients are refused");
    assert!(!line.contains("secret"), "{line}");
    let metrics = ureq::get(format!("{admin}/metrics")).call().unwrap().body_mut().read_to_string().unwrap();
    for (outcome, count) in [("failed", 3), ("allowed", 0), ("denied", 0), ("timed_out", 0), ("turned_away", 0)] {
        let line = format!("mqtt_decisions_total{{by=\"hook\",outcome=\"{outcome}\"}} {count}");
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
}

/// A hook under TLS that allows everybody, with a certificate that signs itself: its text.
fn tls_judge(folder: &str) -> (SocketAddr, std::path::PathBuf) {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let ca = file(folder, &certified.cert.pem());
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = rustls::StreamOwned::new(connection, socket.unwrap());
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"}") && tls.read(&mut byte).is_ok_and(|length| length > 0) {
                request.extend(byte);
            }
            let _ =
                tls.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 15\r\n\r\n{\"allow\": true}");
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
    });
    (address, ca)
}

#[test]
fn a_hook_under_tls_is_believed_if_its_authority_is_the_one_that_is_written() {
    let (at, ca) = tls_judge("hook-ca.pem");
    let (_, stranger) = tls_judge("hook-stranger.pem");
    for (ca, answer) in [(ca, ACCEPTED), (stranger, UNAVAILABLE)] {
        let url = format!("https://localhost:{}/", at.port());
        let hook = format!("hook = {{ url = \"{url}\", ca_file = \"{}\" }}", ca.display());
        let config = file("hook-tls.toml", &format!("listen = [\"127.0.0.1:0\"]\n{hook}\n"));
        let (_broker, address) = Program::serve(BROKER, &["--config", config.to_str().unwrap()]);
        assert_eq!(Client::open(address).send(&connect(4, "c", None)).packet(), answer);
    }
}

#[test]
fn an_answer_that_is_not_understood_is_a_no() {
    let judge = Judge::sits();
    let (_broker, address) = broker("hook-nonsense", judge.address, "");
    let elsewhere = || Header::from_bytes("Location", format!("http://{}/", judge.address)).unwrap();
    let text = |text: &str| Response::from_string(text);
    let large = format!("{{\"allow\": true, \"padding\": \"{}\"}}", "x".repeat(20_000));
    for answer in [
        text("hello"),
        text(r#"{"allow": "yes"}"#),
        text(r#"{"deny": false}"#),
        text(&large),
        text(r#"{"allow": true}"#).with_status_code(500),
        text(r#"{"allow": true}"#).with_status_code(403),
        text(r#"{"allow": true}"#).with_status_code(303).with_header(elsewhere()),
        text(r#"{"allow": true}"#).with_status_code(307).with_header(elsewhere()),
    ] {
        let mut client = Client::open(address);
        client.send(&connect(4, "c", None));
        judge.question().1.respond(answer).unwrap();
        assert_eq!(client.packet(), UNAVAILABLE);
    }
    assert!(judge.questions.try_recv().is_err(), "nobody was sent elsewhere");
}

#[test]
fn too_many_questions_at_once_are_turned_away() {
    let judge = Judge::sits();
    let (_broker, address) = broker("hook-full", judge.address, "threads = 1, queue = 1");
    let mut first = Client::open(address);
    first.send(&connect(5, "first", None));
    let (_, held) = judge.question();
    // one of these waits in the queue, and there is no room for the other
    let (done, answers) = channel();
    for name in ["second", "third"] {
        let done = done.clone();
        std::thread::spawn(move || {
            let mut client = Client::open(address);
            client.send(&connect(5, name, None));
            done.send(client.packet()).unwrap();
        });
    }
    assert!(connack(0x89)(&answers.recv_timeout(PATIENCE).unwrap()), "server busy");
    held.respond(Response::from_string(r#"{"allow": true}"#)).unwrap();
    assert!(connack(0)(&first.packet()));
    judge.says(&json!({ "allow": true }));
    assert!(connack(0)(&answers.recv_timeout(PATIENCE).unwrap()));
}

#[test]
fn the_hook_is_asked_what_may_be_published_and_subscribed_to() {
    let judge = Judge::sits();
    let (_broker, address) = broker("hook-topics", judge.address, "events = [\"publish\", \"subscribe\"]");
    let mut client = Client::open(address);
    // loopback, no password file, and connects are not its affair
    assert_eq!(client.send(&connect(4, "c", None)).packet(), ACCEPTED);
    for (allow, code) in [(true, 0), (false, 0x80)] {
        client.send(&subscribe("home/#"));
        let question = judge.says(&json!({ "allow": allow }));
        assert_eq!(
            (&question["event"], &question["filter"], &question["qos"]),
            (&json!("subscribe"), &json!("home/#"), &json!(0))
        );
        assert_eq!(client.packet(), [0x90, 3, 0, 1, code]);
    }
    let message = publish("home/door", b"open");
    for allow in [true, false] {
        client.send(&[&message[..], &PING].concat());
        let question = judge.says(&json!({ "allow": allow }));
        let about = ["event", "topic", "qos", "retain", "size", "will"].map(|key| question[key].clone());
        assert_eq!(about, [json!("publish"), json!("home/door"), json!(0), json!(false), json!(4), json!(false)]);
        assert!(!question.to_string().contains("open"), "the payload is not told");
        if allow {
            assert_eq!(client.packet(), message);
        }
        assert_eq!(client.packet(), PONG);
    }
    // a will is asked about when its client connects
    let mut mourned = Client::open(address);
    let body = [string("MQTT"), vec![4, 0x06, 0, 60], string("w"), string("last/words"), string("bye")].concat();
    mourned.send(&[&[0x10, body.len() as u8], &body[..]].concat());
    let question = judge.says(&json!({ "allow": false }));
    assert_eq!((&question["topic"], &question["will"]), (&json!("last/words"), &json!(true)));
    assert_eq!(mourned.packet(), NOT_AUTHORIZED);
}

#[test]
fn a_listener_may_do_without_the_hook() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = format!("hook = {{ url = \"http://{gone}/\" }}\n[[listen]]\naddress = \"127.0.0.1:0\"\nhook = false\n");
    let config = file("hook-without.toml", &text);
    let (_broker, address) = Program::serve(BROKER, &["--config", config.to_str().unwrap()]);
    assert_eq!(Client::open(address).send(&connect(4, "c", None)).packet(), ACCEPTED);
}
