//! What carries the bytes, from outside: TLS, client certificates, WebSocket, unix sockets, the PROXY protocol (S21).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "support/carriers.rs"]
mod carriers;
#[path = "support/program.rs"]
mod program;

use carriers::*;
use program::*;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use tungstenite::{Bytes, Message};

const BROKER: &str = env!("CARGO_BIN_EXE_broker");
const ACCEPTED: [u8; 4] = [0x20, 2, 0, 0];

/// Sends itself a message of `size` bytes.
fn round_trip<S: Read + Write>(client: &mut Client<S>, size: usize) {
    client.send(&subscribe("t"));
    assert_eq!(client.packet(), [0x90, 3, 0, 1, 0]);
    let payload: Vec<u8> = (0..size).map(|n| (n / 7) as u8).collect();
    let packet = publish("t", &payload);
    client.send(&packet);
    let mut back = vec![0; packet.len()];
    client.0.read_exact(&mut back).unwrap();
    assert!(back == packet);
}

#[test]
fn a_message_of_a_megabyte_goes_both_ways_under_tls() {
    let authority = Authority::new("tls-large");
    authority.sign("server");
    let (_broker, address) = authority.broker("tls = { TLS }");
    let mut client = Client(authority.connect(address, None));
    assert_eq!(client.send(&connect(4, "c", None)).packet(), ACCEPTED);
    round_trip(&mut client, 1_000_000);
    assert_eq!(client.send(&[0xC0, 0]).packet(), [0xD0, 0]);
    // after DISCONNECT the server closes
    assert!(client.send(&[0xE0, 0]).is_closed());
}

#[test]
fn plain_bytes_at_a_tls_port_end_their_connection_alone() {
    let authority = Authority::new("tls-plain");
    authority.sign("server");
    let (_broker, address) = authority.broker("tls = { TLS }");
    let mut plain = Client::open(address);
    plain.send(&connect(4, "c", None));
    let mut alert = Vec::new();
    let _ = plain.0.read_to_end(&mut alert);
    assert!(alert.first().is_none_or(|first| *first == 0x15), "an alert or nothing: {alert:?}");
    let mut half_open = Client::open(address);
    half_open.send(&[0x16, 3, 1]);
    let mut good = Client(authority.connect(address, None));
    assert_eq!(good.send(&connect(4, "c", None)).packet(), ACCEPTED);
}

#[test]
fn a_listener_that_wants_client_certificates_takes_nobody_without_one() {
    // S21
    for websocket in [false, true] {
        let authority = Authority::new(&format!("tls-required-{websocket}"));
        authority.sign("server");
        authority.sign("ada");
        let stranger = Authority::new(&format!("tls-stranger-{websocket}"));
        stranger.sign("ada");
        let more = format!("websocket = {websocket}, tls = {{ TLS, client_ca = \"ca.pem\" }}");
        let (_broker, address) = authority.broker(&more);
        let mut nobody = Client(authority.connect(address, None));
        let _ = nobody.0.write_all(&connect(4, "c", None));
        assert!(nobody.0.read(&mut [0]).map_or(true, |length| length == 0));
        let mut liar = authority.connect(address, None);
        let key = PrivateKeyDer::from_pem_file(stranger.path("ada.key")).unwrap();
        drop(key);
        let _ = liar.write_all(&connect(4, "c", None));
        assert!(liar.read(&mut [0]).map_or(true, |length| length == 0));
        let known = authority.connect(address, Some("ada"));
        if websocket {
            let mut known = Client(Frames::open(known, "mqtt"));
            assert_eq!(known.send(&connect(4, "c", None)).packet(), ACCEPTED);
        } else {
            let mut known = Client(known);
            assert_eq!(known.send(&connect(4, "c", None)).packet(), ACCEPTED);
        }
    }
}

#[test]
fn the_name_in_a_client_certificate_is_its_user_name() {
    let authority = Authority::new("tls-names");
    for name in ["server", "ada", "bob"] {
        authority.sign(name);
    }
    // nobody without a password but those who are proven
    let tls = "allow_anonymous = false, tls = { TLS, client_ca = \"ca.pem\", client_certificate = \"optional\", user_name_from_certificate = true }";
    let (_broker, address) = authority.broker(tls);
    let mut unknown = Client(authority.connect(address, None));
    assert_eq!(unknown.send(&connect(4, "c", None)).packet(), [0x20, 2, 0, 5]);
    let mut ada = Client(authority.connect(address, Some("ada")));
    assert_eq!(ada.send(&connect(4, "c", None)).packet(), ACCEPTED);
    // S8: the session is ada's
    let mut bob = Client(authority.connect(address, Some("bob")));
    assert_eq!(bob.send(&connect(4, "c", Some(("ada", "?")))).packet(), [0x20, 2, 0, 5]);
    assert_eq!(ada.send(&[0xC0, 0]).packet(), [0xD0, 0]);
}

#[cfg(unix)]
#[test]
fn certificates_are_read_again_at_sighup_and_connections_go_on() {
    // S21
    let authority = Authority::new("tls-reload");
    let first = authority.sign("server");
    let (mut broker, address) = authority.broker("tls = { TLS }");
    let mut log = Log::of(&mut broker);
    let mut old = Client(authority.connect(address, None));
    assert_eq!(old.send(&connect(4, "old", None)).packet(), ACCEPTED);
    assert_eq!(old.0.conn.peer_certificates().unwrap()[0].as_ref(), first);

    let second = authority.sign("server");
    broker.signal("HUP");
    log.wait_for("were read again");
    let mut new = Client(authority.connect(address, None));
    assert_eq!(new.send(&connect(4, "new", None)).packet(), ACCEPTED);
    assert_eq!(new.0.conn.peer_certificates().unwrap()[0].as_ref(), second);
    assert_eq!(old.send(&[0xC0, 0]).packet(), [0xD0, 0]);

    // what cannot be read changes nothing
    fs::write(authority.path("server.key"), "nonsense").unwrap();
    broker.signal("HUP");
    log.wait_for("stay as they were");
    let mut newer = Client(authority.connect(address, None));
    assert_eq!(newer.send(&connect(4, "newer", None)).packet(), ACCEPTED);
}

#[test]
fn files_that_are_no_certificates_are_named_and_nothing_starts() {
    let authority = Authority::new("tls-bad-files");
    authority.sign("server");
    authority.sign("other");
    let rows = [
        ("certificate = \"nowhere.pem\", key = \"server.key\"", "nowhere.pem"),
        ("certificate = \"server.key\", key = \"server.key\"", "there is no certificate in it"),
        ("certificate = \"server.pem\", key = \"server.pem\"", "cannot read a private key"),
        ("certificate = \"server.pem\", key = \"other.key\"", "other.key"),
        (
            "certificate = \"server.pem\", key = \"server.key\", client_ca = \"server.key\"",
            "there is no certificate in it",
        ),
        ("certificate = \"server.pem\"", "missing key `key`"),
    ];
    for (tls, expected) in rows {
        let config = authority.path("bad.toml");
        fs::write(&config, format!("listen = [{{ address = \"127.0.0.1:0\", tls = {{ {tls} }} }}]\n")).unwrap();
        let (code, said) = Program::start(BROKER, &["--config", config.to_str().unwrap()]).outcome();
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(expected) && said.lines().count() == 1, "{tls}: {said}");
    }
}

fn websocket_broker(test: &str) -> (Program, SocketAddr) {
    Authority::new(test).broker("websocket = true")
}

#[test]
fn packets_and_frames_need_not_align() {
    // v5 [MQTT-6.0.0-2] v4 [MQTT-6.0.0-2]
    let (_broker, address) = websocket_broker("ws-align");
    let mut client = Client(Frames::open(stream(address), "mqtt"));
    for byte in connect(4, "c", None) {
        client.send(&[byte]);
    }
    assert_eq!(client.packet(), ACCEPTED);
    client.send(&[&[0xC0, 0, 0xC0, 0][..], &subscribe("x")].concat());
    assert_eq!([client.packet(), client.packet(), client.packet()].concat(), [0xD0, 0, 0xD0, 0, 0x90, 3, 0, 1, 0]);
    round_trip(&mut client, 900_000);
    assert!(client.send(&[0xE0, 0]).is_closed());
}

#[test]
fn a_text_frame_closes_the_connection() {
    // v5 [MQTT-6.0.0-1] v4 [MQTT-6.0.0-1]
    let (_broker, address) = websocket_broker("ws-text");
    let mut client = Client(Frames::open(stream(address), "mqttv3.1"));
    assert_eq!(client.send(&connect(4, "c", None)).packet(), ACCEPTED);
    client.0.websocket.send(Message::text("hello")).unwrap();
    assert!(client.is_closed());
}

#[test]
fn a_websocket_that_does_not_offer_mqtt_is_refused() {
    let (_broker, address) = websocket_broker("ws-refused");
    assert_eq!(upgrade(stream(address), None).err(), Some(400));
    assert_eq!(upgrade(stream(address), Some("chat, soap")).err(), Some(400));
    let (_, chosen) = upgrade(stream(address), Some("chat, mqtt, mqttv3.1")).unwrap();
    assert_eq!(chosen, "mqtt");
    // no WebSocket at all
    let mut http = Client::open(address);
    http.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut answer = String::new();
    http.0.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
}

#[test]
fn a_frame_too_large_for_a_stranger_is_refused_at_its_header() {
    // S1: 64 KiB before the client is known, the largest packet after
    let (_broker, address) = websocket_broker("ws-large");
    let mut client = Client(Frames::open(stream(address), "mqtt"));
    let mut bystander = Client(Frames::open(stream(address), "mqtt"));
    client.0.websocket.get_mut().write_all(&[0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]).unwrap();
    assert!(client.is_closed());
    assert_eq!(bystander.send(&connect(4, "c", None)).packet(), ACCEPTED);
}

#[test]
fn what_comes_behind_a_refusal_is_thrown_away_unread() {
    // S15: the WebSocket is broken by then, and must not be asked again
    let (_broker, address) = websocket_broker("ws-behind");
    let mut client = Client(Frames::open(stream(address), "mqtt"));
    let header = [0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0];
    client.0.websocket.get_mut().write_all(&[&header[..], &[0x10; 50_000]].concat()).unwrap();
    assert!(client.is_closed());
    // the broker closes when the client does, and serves the others
    drop(client);
    for _ in 0..2 {
        let mut bystander = Client(Frames::open(stream(address), "mqtt"));
        assert_eq!(bystander.send(&connect(4, "c", None)).packet(), ACCEPTED);
    }
}

#[test]
fn a_ping_of_the_websocket_is_answered() {
    let (_broker, address) = websocket_broker("ws-ping");
    let mut client = Client(Frames::open(stream(address), "mqtt"));
    assert_eq!(client.send(&connect(4, "c", None)).packet(), ACCEPTED);
    client.0.websocket.send(Message::Ping(Bytes::from_static(b"there?"))).unwrap();
    assert_eq!(client.0.websocket.read().unwrap(), Message::Pong(Bytes::from_static(b"there?")));
}

#[cfg(unix)]
#[test]
fn a_unix_socket_serves_and_its_file_goes_with_the_broker() {
    use std::os::unix::net::UnixStream;
    let path = std::env::temp_dir().join(format!("mqttkit-test-{}.sock", std::process::id()));
    let listen = format!("unix:{}", path.display());
    let open = || {
        let stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(stream)
    };
    // killed: its file stays
    let (broker, place) = Program::serve_at(BROKER, &["--listen", &listen]);
    assert_eq!(place, listen);
    assert_eq!(open().send(&connect(4, "c", None)).packet(), ACCEPTED);
    drop(broker);
    assert!(path.exists());
    // the next one takes its place; a third finds it taken
    let (broker, _) = Program::serve_at(BROKER, &["--listen", &listen]);
    let mut client = open();
    assert_eq!(client.send(&connect(4, "c", None)).packet(), ACCEPTED);
    round_trip(&mut client, 300_000);
    let (code, said) = Program::start(BROKER, &["--listen", &listen]).outcome();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&listen), "{said}");
    assert_eq!(client.send(&[0xC0, 0]).packet(), [0xD0, 0]);
    broker.signal("TERM");
    assert!(client.is_closed());
    assert_eq!(broker.outcome().0, 0);
    assert!(!path.exists());
}

#[test]
fn what_a_proxy_says_is_where_the_client_comes_from() {
    let v2 =
        [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C"[..], &[203, 0, 113, 7], &[127, 0, 0, 1], &[0x30, 0x39, 0, 80]].concat();
    let rows = [(&b"PROXY TCP4 203.0.113.7 127.0.0.1 12345 80\r\n"[..], true), (&v2[..], true), (&v2[..], false)];
    for (number, (header, whole)) in rows.into_iter().enumerate() {
        let (mut broker, address) = Authority::new(&format!("proxy-{number}")).broker("proxy_protocol = true");
        let mut client = Client::open(address);
        if whole {
            client.send(&[header, &connect(4, "c", None)].concat());
        } else {
            for byte in [header, &connect(4, "c", None)].concat() {
                client.send(&[byte]);
            }
        }
        assert_eq!(client.packet(), ACCEPTED);
        drop(client);
        let mut log = BufReader::new(broker.0.stderr.take().unwrap()).lines();
        let line = log.find(|line| line.as_ref().is_ok_and(|line| line.contains("connected as"))).unwrap().unwrap();
        assert!(line.contains("203.0.113.7:12345 connected as"), "{line}");
    }
}

#[test]
fn nobody_comes_past_the_proxy() {
    let (_broker, address) = Authority::new("proxy-none").broker("proxy_protocol = true");
    let mut client = Client::open(address);
    client.send(&connect(4, "c", None));
    assert!(client.is_closed());
    // a proxy under TLS: its header comes first, in the clear
    let authority = Authority::new("proxy-tls");
    authority.sign("server");
    let (_broker, address) = authority.broker("proxy_protocol = true, tls = { TLS }");
    let mut tls = authority.connect(address, None);
    tls.sock.write_all(b"PROXY UNKNOWN\r\n").unwrap();
    assert_eq!(Client(tls).send(&connect(4, "c", None)).packet(), ACCEPTED);
}

/// Has `sub` wait for a message that `pub` sends, both told `how` to reach the broker.
fn pub_and_sub_meet(how: &[&str]) {
    let (sub, publish) = (env!("CARGO_BIN_EXE_sub"), env!("CARGO_BIN_EXE_pub"));
    let mut subscriber = Program::start(sub, &[how, &["-t", "t", "-C", "1", "-d"]].concat());
    let mut log = BufReader::new(subscriber.0.stderr.take().unwrap()).lines();
    assert!(log.any(|line| line.unwrap().contains("SUBACK")), "{how:?}");
    let publisher = Program::start(publish, &[how, &["-t", "t", "-m", "hello", "-q", "1"]].concat());
    let (code, said) = publisher.outcome();
    assert_eq!(code, 0, "{how:?}: {said}");
    let mut heard = String::new();
    subscriber.0.stdout.take().unwrap().read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "hello\n", "{how:?}");
    assert_eq!(subscriber.0.wait().unwrap().code(), Some(0), "{how:?}");
}

#[test]
fn pub_and_sub_know_every_transport() {
    let authority = Authority::new("pub-sub");
    for name in ["server", "ada"] {
        authority.sign(name);
    }
    let [ca, cert, key] = ["ca.pem", "ada.pem", "ada.key"].map(|name| authority.path(name).display().to_string());
    let tls = ["--cafile", &ca, "--cert", &cert, "--key", &key];
    for (more, how) in [
        ("tls = { TLS, client_ca = \"ca.pem\" }", &tls[..]),
        ("websocket = true", &["--ws"]),
        ("websocket = true, tls = { TLS, client_ca = \"ca.pem\" }", &[&tls[..], &["--ws"]].concat()),
    ] {
        let (_broker, address) = authority.broker(more);
        let port = address.port().to_string();
        pub_and_sub_meet(&[&["-h", "localhost", "-p", &port], how].concat());
    }
    #[cfg(unix)]
    {
        let path = std::env::temp_dir().join(format!("mqttkit-pub-sub-{}.sock", std::process::id()));
        let (_broker, _) = Program::serve_at(BROKER, &["--listen", &format!("unix:{}", path.display())]);
        pub_and_sub_meet(&["--unix", path.to_str().unwrap()]);
        let _ = fs::remove_file(path);
    }
}

#[test]
fn pub_trusts_no_broker_that_its_authority_did_not_sign() {
    let authority = Authority::new("pub-trust");
    authority.sign("server");
    let stranger = Authority::new("pub-stranger");
    let (_broker, address) = authority.broker("tls = { TLS }");
    let port = address.port().to_string();
    let publish = |host: &str, ca: PathBuf, more: &[&str]| {
        let ca = ca.display().to_string();
        let arguments = [&["-h", host, "-p", &port, "--cafile", &ca, "-t", "t", "-m", "x"], more].concat();
        Program::start(env!("CARGO_BIN_EXE_pub"), &arguments).outcome()
    };
    assert_eq!(publish("localhost", authority.path("ca.pem"), &[]).0, 0);
    let (code, said) = publish("localhost", stranger.path("ca.pem"), &[]);
    assert!(code == 1 && said.contains("certificate"), "{said}");
    // the certificate is for localhost
    let (code, said) = publish("127.0.0.1", authority.path("ca.pem"), &[]);
    assert!(code == 1 && said.contains("certificate"), "{said}");
    assert_eq!(publish("127.0.0.1", authority.path("ca.pem"), &["--insecure"]).0, 0);
    let (code, said) = publish("localhost", authority.path("nowhere.pem"), &[]);
    assert!(code == 1 && said.contains("nowhere.pem"), "{said}");
}

#[test]
fn a_client_closes_after_its_goodbye() {
    // v4 [MQTT-3.14.4-1]: and says no more
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let publisher = Program::start(env!("CARGO_BIN_EXE_pub"), &["-h", "127.0.0.1", "-p", &port, "-t", "t", "-m", "x"]);
    let (mut socket, _) = listener.accept().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(Client(&socket).packet()[0], 0x10);
    socket.write_all(&ACCEPTED).unwrap();
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).unwrap(); // up to where the client has closed; we have not
    assert_eq!(rest, [&publish("t", b"x")[..], &[0xE0, 0]].concat());
    drop(socket);
    assert_eq!(publisher.outcome().0, 0);
}
