//! How the broker ends when it is asked to: nobody new, what is under way is flushed, everybody is told, in bounded time.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "support/program.rs"]
mod program;

use program::*;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const BROKER: &str = env!("CARGO_BIN_EXE_broker");
const ACCEPTED: [u8; 4] = [0x20, 2, 0, 0];
const PING: [u8; 2] = [0xC0, 0];
const PONG: [u8; 2] = [0xD0, 0];
const MEGABYTE: usize = 1_000_000;

/// A 5.0 client that subscribes to `topic`.
fn listener(address: SocketAddr, name: &str, topic: &str) -> Client {
    let mut client = Client::open(address);
    assert_eq!(client.send(&connect(5, name, None)).packet()[3], 0);
    let body = [&[0, 1, 0], &string(topic)[..], &[0]].concat();
    let suback = client.send(&[&[0x82, body.len() as u8], &body[..]].concat()).packet();
    assert_eq!(suback[..2], [0x90, 4]);
    client
}

#[test]
fn what_is_under_way_is_flushed_and_who_does_not_read_holds_nothing_up() {
    let (broker, address) = Program::serve(BROKER, &["--listen", "127.0.0.1:0"]);
    let _stalled = listener(address, "stalled", "flood");
    let mut reader = listener(address, "reader", "news");
    let mut publisher = Client::open(address);
    assert_eq!(publisher.send(&connect(4, "publisher", None)).packet(), ACCEPTED);
    // more than the sockets take, and nobody reads it
    let flood = publish("flood", &vec![1; MEGABYTE]);
    for _ in 0..20 {
        publisher.send(&flood);
    }
    let news = publish("news", &vec![2; MEGABYTE]);
    assert_eq!(publisher.send(&news).send(&PING).packet(), PONG);

    let begun = Instant::now();
    broker.signal("TERM");
    // the 3.1.1 client is closed without a word: by now nobody is let in
    assert!(publisher.is_closed());
    let refused = TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    // a message of 5.0 has a byte more, for no properties
    let mut message = vec![0; news.len() + 1];
    reader.0.read_exact(&mut message).unwrap();
    assert!(message.ends_with(&news[news.len() - MEGABYTE..]));
    let disconnect = reader.packet();
    assert_eq!((disconnect[0], disconnect[2]), (0xE0, 0x8B), "server shutting down");
    assert!(reader.is_closed());
    drop(reader);
    let (code, said) = broker.outcome();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("stopped"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn a_log_that_nobody_reads_holds_nobody_up() {
    let (_broker, address) = Program::serve(BROKER, &["--listen", "127.0.0.1:0"]);
    // some 300 KB of log lines: more than a pipe takes
    for number in 0..800 {
        let mut client = Client::open(address);
        let name = format!("{number:-^64}");
        assert_eq!(client.send(&connect(4, &name, None)).packet(), ACCEPTED);
        client.send(&[0xE0, 0]);
    }
    let mut client = Client::open(address);
    assert_eq!(client.send(&connect(4, "last", None)).packet(), ACCEPTED);
    assert_eq!(client.send(&PING).packet(), PONG);
}
