//! The programs `broker`, `threads` and `tokio-broker` from outside: flags, files, exit codes, signals, and bytes on real sockets.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "support/program.rs"]
mod program;

use program::*;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::thread;

const BROKER: &str = env!("CARGO_BIN_EXE_broker");
const THREADS: &str = env!("CARGO_BIN_EXE_threads");
const TOKIO: &str = env!("CARGO_BIN_EXE_tokio-broker");

const PINGREQ: &[u8] = &[0xC0, 0x00];
const PINGRESP: &[u8] = &[0xD0, 0x00];

fn refused(arguments: &[&str]) -> (i32, String) {
    let (code, said) = Program::start(BROKER, arguments).outcome();
    assert!(!said.contains("panicked"), "{said}");
    (code, said)
}

/// What a 3.1.1 client gets for its CONNECT.
fn answer(address: SocketAddr, user: Option<(&str, &str)>) -> Vec<u8> {
    Client::open(address).send(&connect(4, "c", user)).packet()
}

#[test]
fn a_flag_that_is_not_understood_is_refused_and_named() {
    for arguments in [["--lisen", "127.0.0.1:0"], ["--listen", "nonsense"]] {
        let (code, said) = refused(&arguments);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(if arguments[0] == "--lisen" { "--lisen" } else { "nonsense" }), "{said}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    for flag in ["--config", "--password-file", "--acl-file"] {
        let (code, said) = refused(&[flag, "/nowhere/at-all", "--listen", "127.0.0.1:0"]);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains("/nowhere/at-all"), "{said}");
    }
}

#[test]
fn a_bad_key_or_value_is_named_with_its_line_and_nothing_starts() {
    let rows = [
        ("# a comment\nmax_conections = 5\n", "line 2: `max_conections = 5`: unknown key `max_conections`"),
        (
            "[limits]\nmax_connections = \"many\"\n",
            "line 2: `max_connections = \"many\"`: invalid type: string \"many\"",
        ),
        (
            "listen = [\"localhost:1883\"]\n",
            "line 1: `listen = [\"localhost:1883\"]`: `localhost:1883` is no IP address",
        ),
    ];
    for (number, (text, expected)) in rows.into_iter().enumerate() {
        let path = file(&format!("bad-{number}.toml"), text);
        let (code, said) = refused(&["--config", path.to_str().unwrap()]);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(path.to_str().unwrap()) && said.contains(expected), "{said}");
        assert_eq!(said.lines().count(), 1, "one message: {said}");
    }
}

#[test]
fn a_port_in_use_is_one_clear_message() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, said) = refused(&["--listen", &address]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&format!("cannot listen on {address}")), "{said}");
    assert_eq!(said.lines().count(), 1, "one message: {said}");
}

#[test]
fn a_bad_line_of_the_password_file_is_named_by_its_number_and_not_shown() {
    let path = file("bad-passwords", "# team\nada:$argon2id$not-a-hash-but-secret\n");
    let (code, said) = refused(&["--password-file", path.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("line 2: "), "{said}");
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn the_configuration_file_says_where_to_listen_and_how_much_is_taken() {
    let path = file("good.toml", "listen = [\"127.0.0.1:0\"]\n[limits]\nmax_packet_size = 64\n");
    let (_broker, address) = Program::serve(BROKER, &["--config", path.to_str().unwrap()]);
    let mut client = Client::open(address);
    let connack = client.send(&connect(5, "c", None)).packet();
    assert_eq!((connack[0], connack[3]), (0x20, 0x00));
    // PUBLISH of 65 bytes, of which the header comes
    let disconnect = client.send(&[0x30, 63]).packet();
    assert_eq!((disconnect[0], disconnect[2]), (0xE0, 0x95));
}

#[test]
fn only_the_right_password_lets_in() {
    let path = file("passwords", "# team\n");
    set_password(BROKER, &path, "ada", "first");
    set_password(BROKER, &path, "bob", "other");
    set_password(BROKER, &path, "ada", "correct horse");
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 3, "replaced, not added: {text}");
    assert!(text.starts_with("# team\nada:$argon2id$") && !text.contains("horse"), "{text}");
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions()) & 0o777, 0o600);

    let (_broker, address) =
        Program::serve(BROKER, &["--password-file", path.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    let accepted = [0x20, 2, 0, 0];
    let bad = [0x20, 2, 0, 4];
    assert_eq!(answer(address, Some(("ada", "correct horse"))), accepted);
    assert_eq!(answer(address, Some(("bob", "other"))), accepted);
    assert_eq!(answer(address, Some(("ada", "first"))), bad);
    assert_eq!(answer(address, Some(("eve", "correct horse"))), bad, "an unknown user gets the same answer");
    assert_eq!(answer(address, None), [0x20, 2, 0, 5], "a password file means that nobody comes in without one");
}

#[test]
fn what_comes_behind_a_connect_waits_for_the_password() {
    let path = file("passwords-behind", "");
    set_password(BROKER, &path, "ada", "one");
    let (_broker, address) =
        Program::serve(BROKER, &["--password-file", path.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    let mut client = Client::open(address);
    let subscribe = [0x82, 6, 0, 1, 0, 1, b'a', 0];
    client.send(&[&connect(4, "c", Some(("ada", "one")))[..], &subscribe, PINGREQ].concat());
    // the broker has read the end of the stream long before it may answer
    client.0.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.packet(), [0x20, 2, 0, 0]);
    assert_eq!(client.packet(), [0x90, 3, 0, 1, 0]);
    assert_eq!(client.packet(), PINGRESP);
    assert!(client.is_closed());
}

#[test]
fn others_are_served_while_a_password_is_checked() {
    // its hash takes a while to compute
    let hash = "$argon2id$v=19$m=65536,t=8,p=1$c2FsdHNhbHQ$YWJjZGVmZ2hpamtsbW5vcA";
    let path = file("passwords-slow", &format!("ada:{hash}\n"));
    let text = "listen = [\"127.0.0.1:0\"]\nallow_anonymous = true\npassword_file = \"passwords-slow\"\n";
    let config = file("slow.toml", text);
    assert!(path.exists());
    let (_broker, address) = Program::serve(BROKER, &["--config", config.to_str().unwrap()]);
    let mut other = Client::open(address);
    assert_eq!(other.send(&connect(4, "other", None)).packet(), [0x20, 2, 0, 0]);
    let mut ada = Client::open(address);
    ada.send(&connect(4, "ada", Some(("ada", "wrong"))));
    for _ in 0..10 {
        assert_eq!(other.send(PINGREQ).packet(), PINGRESP);
    }
    ada.0.set_nonblocking(true).unwrap();
    assert_eq!(ada.0.peek(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "ada still waits");
    ada.0.set_nonblocking(false).unwrap();
    assert_eq!(ada.packet(), [0x20, 2, 0, 4]);
}

#[test]
fn anonymous_clients_beside_a_password_file_have_to_be_written_out() {
    let passwords = file("passwords-beside", "");
    set_password(BROKER, &passwords, "ada", "one");
    let text = "listen = [\"127.0.0.1:0\"]\nallow_anonymous = true\npassword_file = \"passwords-beside\"\n";
    let config = file("beside.toml", text);
    let (_broker, address) = Program::serve(BROKER, &["--config", config.to_str().unwrap()]);
    assert_eq!(answer(address, None), [0x20, 2, 0, 0]);
    assert_eq!(answer(address, Some(("ada", "two"))), [0x20, 2, 0, 4], "who names a user is checked");
}

#[test]
fn the_file_of_rules_says_who_may_do_what() {
    for (text, what) in [("# nothing\n", "there is nothing in it"), ("topic read a\nalow b\n", "line 2: ")] {
        let path = file("bad-acl", text); // S11
        let (code, said) = refused(&["--acl-file", path.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
        assert!(code == 2 && said.contains(what), "{said}");
    }
    let path = file("acl", "pattern readwrite of/%c/#\ntopic read news\n");
    let (_broker, address) = Program::serve(BROKER, &["--acl-file", path.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    let mut client = Client::open(address);
    assert_eq!(client.send(&connect(4, "c", None)).packet(), [0x20, 2, 0, 0]);
    // own topics, those of another client, what everybody may read
    for (filter, code) in [("of/c/#", 0), ("of/d/#", 0x80), ("news", 0)] {
        let mut subscribe = vec![0x82, filter.len() as u8 + 5, 0, 1, 0, filter.len() as u8];
        subscribe.extend(filter.bytes().chain([0]));
        assert_eq!(client.send(&subscribe).packet(), [0x90, 3, 0, 1, code], "{filter}");
    }
    client.send(b"\x30\x07\x00\x04newsx\x30\x08\x00\x06of/c/1");
    assert_eq!(client.packet(), b"\x30\x08\x00\x06of/c/1");
}

#[test]
fn without_a_password_file_nobody_comes_in_from_other_machines() {
    let (mut broker, address) = Program::serve(BROKER, &["--listen", "0.0.0.0:0"]);
    let here = SocketAddr::from(([127, 0, 0, 1], address.port()));
    assert_eq!(answer(here, None), [0x20, 2, 0, 5]);
    assert_eq!(answer(here, Some(("ada", "one"))), [0x20, 2, 0, 5]);
    broker.signal("TERM"); // it writes what is still to be logged
    let said = said(&mut broker);
    assert!(said.contains("WARN") && said.contains("refuses everybody"), "{said}");
}

#[test]
fn clients_are_let_in_on_loopback_whatever_user_they_name() {
    let (_broker, address) = Program::serve(BROKER, &["--listen", "127.0.0.1:0"]);
    assert_eq!(answer(address, None), [0x20, 2, 0, 0]);
    assert_eq!(answer(address, Some(("ada", "one"))), [0x20, 2, 0, 0]);
}

#[test]
fn every_listener_is_named_with_its_port() {
    let mut program = Program::start(BROKER, &["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"]);
    let mut stdout = BufReader::new(program.0.stdout.take().unwrap());
    let lines = within(move || [(); 2].map(|()| stdout.by_ref().lines().next().unwrap().unwrap()));
    for line in lines {
        let address: SocketAddr = line.strip_prefix("listening on ").unwrap().parse().unwrap();
        assert_ne!(address.port(), 0);
        assert_eq!(answer(address, None), [0x20, 2, 0, 0]);
    }
}

#[test]
#[cfg(unix)]
fn a_signal_tells_every_client_and_ends_well() {
    for signal in ["TERM", "INT"] {
        let (broker, address) = Program::serve(BROKER, &["--listen", "127.0.0.1:0"]);
        let mut client = Client::open(address);
        client.send(&connect(5, "c", None)).packet();
        let silent = Client::open(address);
        broker.signal(signal);
        let disconnect = client.packet();
        assert_eq!((disconnect[0], disconnect[2]), (0xE0, 0x8B), "server shutting down");
        assert!(client.is_closed());
        drop((client, silent));
        let (code, said) = broker.outcome();
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("stopped"), "{said}");
    }
}

#[test]
#[cfg(unix)]
fn a_second_signal_ends_at_once() {
    let (broker, address) = Program::serve(BROKER, &["--listen", "127.0.0.1:0"]);
    let mut client = Client::open(address);
    client.send(&connect(5, "c", None)).packet();
    broker.signal("TERM");
    assert_eq!(client.packet()[0], 0xE0); // and does not close, so that the broker waits for it
    broker.signal("TERM");
    assert_eq!(broker.outcome().0, 1);
}

#[test]
#[cfg(unix)]
fn a_signal_tells_every_client_of_the_broker_on_tokio_and_ends_well() {
    let (broker, address) = Program::serve(TOKIO, &["127.0.0.1:0"]);
    let mut client = Client::open(address);
    client.send(&connect(5, "c", None)).packet();
    broker.signal("INT");
    let disconnect = client.packet();
    assert_eq!((disconnect[0], disconnect[2]), (0xE0, 0x8B), "server shutting down");
    assert!(client.is_closed());
    drop(client);
    assert_eq!(broker.outcome(), (0, String::new()));
}

#[test]
#[cfg(unix)]
fn descriptors_are_asked_for_and_too_few_are_told() {
    // what the system gives at first, and what it gives at most
    for (limits, told) in [("ulimit -S -n 20", false), ("ulimit -n 100", true)] {
        let script = format!("{limits}; exec \"$0\" --config \"$1\"");
        let config = file("descriptors.toml", "listen = [\"127.0.0.1:0\"]\n[limits]\nmax_connections = 50\n");
        let (broker, address) = Program::serve("sh", &["-c", &script, BROKER, config.to_str().unwrap()]);
        let mut clients: Vec<_> = (0..30).map(|_| Client::open(address)).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.send(&connect(4, &number.to_string(), None)).packet(), [0x20, 2, 0, 0]);
        }
        drop(clients);
        broker.signal("TERM");
        let (_, said) = broker.outcome();
        assert_eq!(said.contains("allows 100 descriptors"), told, "{said}");
    }
}

/// What all brokers do with bytes.
fn bad_bytes_end_their_connection_alone(program: &str, arguments: &[&str]) {
    let (_broker, address) = Program::serve(program, arguments);
    let mut good = Client::open(address);
    assert_eq!(good.send(&connect(4, "good", None)).packet(), [0x20, 2, 0, 0]);
    assert_eq!(good.send(PINGREQ).packet(), PINGRESP);

    assert!(Client::open(address).send(&[0xFF]).is_closed(), "a first byte that no CONNECT has");
    assert_eq!(good.send(PINGREQ).packet(), PINGRESP);

    // a header that announces 256 MiB is answered before anything of it comes
    let mut greedy = Client::open(address);
    let connack = greedy.send(&connect(5, "greedy", None)).packet();
    assert_eq!((connack[0], connack[3]), (0x20, 0x00));
    let disconnect = greedy.send(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]).packet();
    assert_eq!((disconnect[0], disconnect[2]), (0xE0, 0x95), "packet too large");
    assert!(greedy.is_closed());
    assert_eq!(good.send(PINGREQ).packet(), PINGRESP);

    // a connection that is taken over is told why, and the one that took it over goes on
    let mut old = Client::open(address);
    old.send(&connect(5, "same", None)).packet();
    let mut new = Client::open(address);
    new.send(&connect(5, "same", None)).packet();
    let disconnect = old.packet();
    assert_eq!((disconnect[0], disconnect[2]), (0xE0, 0x8E), "session taken over");
    assert!(old.is_closed());
    assert_eq!(new.send(PINGREQ).packet(), PINGRESP);
}

#[test]
fn bad_bytes_end_their_connection_alone_in_the_broker() {
    bad_bytes_end_their_connection_alone(BROKER, &["--listen", "127.0.0.1:0"]);
}

#[test]
fn bad_bytes_end_their_connection_alone_in_the_threaded_broker() {
    bad_bytes_end_their_connection_alone(THREADS, &["127.0.0.1:0"]);
}

#[test]
fn bad_bytes_end_their_connection_alone_in_the_broker_on_tokio() {
    bad_bytes_end_their_connection_alone(TOKIO, &["127.0.0.1:0"]);
}

/// A message larger than any socket buffer and receive buffer comes through whole, in all brokers.
fn a_large_message_comes_through(program: &str, arguments: &[&str]) {
    let (_broker, address) = Program::serve(program, arguments);
    let mut subscriber = Client::open(address);
    subscriber.send(&connect(4, "subscriber", None)).packet();
    assert_eq!(subscriber.send(&[0x82, 6, 0, 1, 0, 1, b'a', 0]).packet(), [0x90, 3, 0, 1, 0]);
    let mut publisher = Client::open(address);
    publisher.send(&connect(4, "publisher", None)).packet();

    let payload: Vec<u8> = (0..1_000_000u32).map(|place| (place % 251) as u8).collect();
    let length = payload.len() + 3;
    let header =
        [0x30, (length & 0x7F) as u8 | 0x80, (length >> 7 & 0x7F) as u8 | 0x80, (length >> 14) as u8, 0, 1, b'a'];
    let message = [&header, &payload[..]].concat();
    let copies = 20;
    let sent = message.clone();
    let sender = thread::spawn(move || {
        for _ in 0..copies {
            publisher.send(&sent);
        }
    });
    let mut received = vec![0; message.len()];
    for _ in 0..copies {
        subscriber.0.read_exact(&mut received).unwrap();
        assert!(received == message);
    }
    sender.join().unwrap();
}

#[test]
fn a_large_message_comes_through_the_broker() {
    a_large_message_comes_through(BROKER, &["--quiet", "--listen", "127.0.0.1:0"]);
}

#[test]
fn a_large_message_comes_through_the_threaded_broker() {
    a_large_message_comes_through(THREADS, &["127.0.0.1:0"]);
}

#[test]
fn a_large_message_comes_through_the_broker_on_tokio() {
    a_large_message_comes_through(TOKIO, &["127.0.0.1:0"]);
}
