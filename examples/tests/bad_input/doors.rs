//! The ways in: how a stream of bytes is carried to each kind of listener, and what is spoilt on the way.

use crate::carriers::{TlsStream, upgrade};
use crate::mutation::{self, Chance};
use crate::program::PATIENCE;
use crate::trial::Trial;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use tungstenite::Message;

/// The kinds of listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Tcp,
    Tls,
    WebSocket,
    SecureWebSocket,
    Unix,
    Proxied,
}

/// What became of one stream.
#[derive(Default)]
pub struct Fate {
    /// The broker said no, in a CONNACK or a DISCONNECT.
    pub refused: bool,
}

/// A stream that can say that it ends.
trait Carrier: Read + Write {
    /// No more from us.
    fn finish(&mut self) -> std::io::Result<()>;
}

impl Carrier for TcpStream {
    fn finish(&mut self) -> std::io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Carrier for UnixStream {
    fn finish(&mut self) -> std::io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Carrier for TlsStream {
    fn finish(&mut self) -> std::io::Result<()> {
        self.conn.send_close_notify();
        self.flush()?;
        self.sock.shutdown(Shutdown::Write)
    }
}

fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Carries stream `number` in. The broker must close it, or have it closed, whatever it holds.
pub fn carry(trial: &Trial, door: Door, seed: u64, number: u64) -> Fate {
    let mut chance = Chance::of(seed, number);
    let bytes = mutation::stream(&mut chance);
    // half of the streams are well wrapped; of the others the wrapping is spoilt
    let well_wrapped = chance.below(2) == 0;
    match (door, well_wrapped) {
        (Door::Tcp, _) => pour(&mut tcp(trial.tcp), &mut chance, &bytes),
        (Door::Unix, _) => {
            let mut socket = UnixStream::connect(&trial.unix).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.set_write_timeout(Some(PATIENCE)).unwrap();
            pour(&mut socket, &mut chance, &bytes)
        }
        (Door::Proxied, _) => {
            let mut header = chance.one_of(&[V1, V2]).to_vec();
            if !well_wrapped {
                mutation::mutate(&mut chance, &mut header);
            }
            pour(&mut tcp(trial.proxied), &mut chance, &[header, bytes].concat())
        }
        (Door::Tls, true) => pour(&mut trial.authority.connect(trial.tls, None), &mut chance, &bytes),
        (Door::Tls, false) => {
            let mut hello = client_hello(trial);
            mutation::mutate(&mut chance, &mut hello);
            pour(&mut tcp(trial.tls), &mut chance, &[hello, bytes].concat())
        }
        (Door::WebSocket, true) => frames(tcp(trial.websocket), &mut chance, &bytes),
        (Door::WebSocket, false) => pour(&mut tcp(trial.websocket), &mut chance, &spoilt_upgrade(number, &bytes)),
        (Door::SecureWebSocket, true) => {
            frames(trial.authority.connect(trial.secure_websocket, None), &mut chance, &bytes)
        }
        (Door::SecureWebSocket, false) => {
            let mut tls = trial.authority.connect(trial.secure_websocket, None);
            pour(&mut tls, &mut chance, &spoilt_upgrade(number, &bytes))
        }
    }
}

const V1: &[u8] = b"PROXY TCP4 203.0.113.7 127.0.0.1 12345 80\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\xCB\x00\x71\x07\x7F\x00\x00\x01\x30\x39\x00\x50";

/// What a TLS client says first.
pub fn client_hello(trial: &Trial) -> Vec<u8> {
    let mut tls = trial.authority.connect(trial.tls, None).conn;
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    hello
}

/// An upgrade to WebSocket and frames, all of it with mistakes.
fn spoilt_upgrade(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut chance = Chance::of(0x0057_EB50, number);
    let mut all = b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
        .to_vec();
    for piece in bytes.chunks(100) {
        // binary, masked with zeros
        all.extend_from_slice(&[0x82, 0x80 | piece.len() as u8, 0, 0, 0, 0]);
        all.extend_from_slice(piece);
    }
    if chance.below(2) == 0 {
        // past the request, so that there is a WebSocket to be spoilt
        let request = all.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let mut frames = all.split_off(request);
        mutation::mutate(&mut chance, &mut frames);
        all.extend(frames);
    } else {
        mutation::mutate(&mut chance, &mut all);
    }
    all
}

/// Sends bytes in a few pieces, then says no more, or goes at once; reads to the end unless gone.
fn pour(socket: &mut impl Carrier, chance: &mut Chance, bytes: &[u8]) -> Fate {
    let size = 1 + bytes.len() / (1 + chance.below(4));
    for piece in bytes.chunks(size) {
        // the broker may have had enough
        if socket.write_all(piece).is_err() {
            break;
        }
    }
    if chance.below(5) == 0 || socket.finish().is_err() {
        return Fate::default();
    }
    listen(socket)
}

/// Bytes in good frames of several sizes.
fn frames<S: Read + Write>(stream: S, chance: &mut Chance, bytes: &[u8]) -> Fate {
    let Ok((mut websocket, _)) = upgrade(stream, Some("mqtt")) else { return Fate::default() };
    let size = 1 + bytes.len() / (1 + chance.below(4));
    for piece in bytes.chunks(size) {
        if websocket.send(Message::Binary(piece.to_vec().into())).is_err() {
            break;
        }
    }
    let _ = websocket.close(None);
    let mut answer = Vec::new();
    loop {
        match websocket.read() {
            Ok(Message::Binary(bytes)) => answer.extend_from_slice(&bytes),
            Ok(_) => {}
            Err(tungstenite::Error::Io(error)) => {
                assert_ended(&error, &answer);
                break;
            }
            Err(_) => break,
        }
    }
    Fate { refused: says_no(&answer) }
}

/// Reads to the end, which must come.
fn listen(stream: &mut impl Read) -> Fate {
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_ended(&error, &answer);
    }
    Fate { refused: says_no(&answer) }
}

/// A read that failed did so because the connection is gone, not because nothing came.
fn assert_ended(error: &std::io::Error, answer: &[u8]) {
    let waits = [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind());
    assert!(!waits, "the broker keeps a connection that has ended; it had said {answer:02x?}");
}

/// Whether a CONNACK or DISCONNECT among these packets refuses. A takeover is no refusal.
fn says_no(mut packets: &[u8]) -> bool {
    while let Ok(Some(len)) = mqtt_codec::frame_len(packets, u32::MAX) {
        let Some((packet, rest)) = packets.split_at_checked(len) else { return false };
        match packet {
            [0x20, _, _, code, ..] if *code != 0 => return true,
            [0xE0, _, reason, ..] if *reason >= 0x80 && *reason != 0x8E => return true,
            _ => packets = rest,
        }
    }
    false
}
