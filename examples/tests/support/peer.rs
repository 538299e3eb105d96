//! A broker of bytes for `pub` and `sub`, that does as each test says.
#![allow(unreachable_pub, reason = "a module of tests")]
#![allow(dead_code, reason = "each test takes what it needs")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

pub const PUB: &str = env!("CARGO_BIN_EXE_pub");
pub const SUB: &str = env!("CARGO_BIN_EXE_sub");

pub const CONNACK_V3: &[u8] = &[0x20, 2, 0, 0];
pub const CONNACK_V5: &[u8] = &[0x20, 3, 0, 0, 0];

/// A broker for one client.
pub struct Peer(pub TcpStream);

impl Peer {
    pub fn receive(&mut self) -> Vec<u8> {
        let mut header = [0; 2];
        self.0.read_exact(&mut header).unwrap();
        assert!(header[1] < 0x80, "short packets only");
        let mut body = vec![0; usize::from(header[1])];
        self.0.read_exact(&mut body).unwrap();
        [&header, body.as_slice()].concat()
    }

    /// Reads the next packet, which must be of this type, and answers.
    pub fn answer(&mut self, packet_type: u8, answer: &[u8]) -> Vec<u8> {
        let packet = self.receive();
        assert_eq!(packet[0] >> 4, packet_type, "{packet:02x?}");
        self.0.write_all(answer).unwrap();
        packet
    }
}

/// Does what `script` says with the one client that comes; gives the port.
pub fn broker(script: impl FnOnce(&mut Peer) + Send + 'static) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let thread = spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        script(&mut Peer(stream));
    });
    (port, thread)
}
