//! The floor: a forwarder that moves the bytes of pairs and knows nothing of packets.
//!
//! A client says four bytes first: its channel, with the top bit set if it subscribes. From the answer on, the two of a channel
//! get each other's bytes: publications one way, acknowledgements the other. What a broker costs beyond this is the protocol.

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

const SUBSCRIBES: u32 = 1 << 31;
/// The shape of a CONNACK, so that the clients' framing finds its end.
const ANSWER: [u8; 4] = [0x20, 2, 0, 0];
const BUFFER: usize = 64 << 10;
/// Bytes that wait for a socket above which its partner is not read.
const HIGH: usize = 1 << 20;
const LISTENER: Token = Token(usize::MAX - 1);

/// What a client says first.
pub(crate) fn hello((channel, subscribes): (u32, bool)) -> [u8; 4] {
    (channel | if subscribes { SUBSCRIBES } else { 0 }).to_be_bytes()
}

/// Forwards until it is ended.
pub(crate) fn run(address: SocketAddr) -> Result<(), String> {
    let failed = |error: io::Error| format!("cannot listen on {address}: {error}");
    let mut listener = TcpListener::bind(address).map_err(failed)?;
    println!("listening on {}", listener.local_addr().map_err(failed)?);
    let mut poll = Poll::new().map_err(failed)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).map_err(failed)?;
    let mut forwarder = Forwarder { sides: Vec::new(), channels: HashMap::new(), ready: Vec::new() };
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; BUFFER];
    loop {
        let timeout = if forwarder.ready.is_empty() { None } else { Some(Duration::ZERO) };
        match poll.poll(&mut events, timeout) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.to_string()),
            Ok(()) | Err(_) => {}
        }
        let mut ready = std::mem::take(&mut forwarder.ready);
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    forwarder.open(stream, &poll).map_err(failed)?;
                }
                continue;
            }
            let Token(number) = event.token();
            if event.is_writable() {
                forwarder.flush(number);
                ready.extend(forwarder.partner(number));
            }
            if event.is_readable() || event.is_read_closed() {
                ready.push(number);
            }
        }
        for number in ready {
            if forwarder.read(number, &mut buffer) {
                forwarder.ready.push(number);
            }
        }
    }
}

struct Forwarder {
    sides: Vec<Option<Side>>,
    /// Who is on a channel, by what it said first.
    channels: HashMap<u32, usize>,
    /// Sockets that hold more than was read.
    ready: Vec<usize>,
}

struct Side {
    stream: TcpStream,
    said: Option<u32>,
    partner: Option<usize>,
    /// What the socket has not taken.
    unsent: Vec<u8>,
}

impl Forwarder {
    fn open(&mut self, mut stream: TcpStream, poll: &Poll) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(self.sides.len()), both)?;
        self.sides.push(Some(Side { stream, said: None, partner: None, unsent: Vec::new() }));
        Ok(())
    }

    fn partner(&self, number: usize) -> Option<usize> {
        self.sides.get(number)?.as_ref()?.partner
    }

    /// Reads once and passes on. Returns whether there may be more.
    fn read(&mut self, number: usize, buffer: &mut [u8]) -> bool {
        let waiting = self.partner(number).and_then(|partner| self.sides[partner].as_ref());
        if waiting.is_some_and(|partner| partner.unsent.len() > HIGH) {
            return false; // its socket will say when it takes more
        }
        let Some(side) = self.sides[number].as_mut() else { return false };
        let count = match side.stream.read(buffer) {
            Ok(count) if count > 0 => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == ErrorKind::Interrupted => return true,
            _ => {
                self.close(number);
                return false;
            }
        };
        let bytes = &buffer[..count];
        match (side.said, side.partner) {
            (None, _) => self.meet(number, bytes),
            (Some(_), Some(partner)) => self.write(partner, bytes),
            (Some(_), None) => {} // nobody listens
        }
        count == buffer.len()
    }

    /// The first bytes of a client. They come in one piece: four bytes in one segment on loopback.
    fn meet(&mut self, number: usize, bytes: &[u8]) {
        let Some(said) = bytes.first_chunk().copied().map(u32::from_be_bytes) else { return self.close(number) };
        self.channels.insert(said, number);
        let partner = self.channels.get(&(said ^ SUBSCRIBES)).copied();
        if let Some(side) = self.sides[number].as_mut() {
            (side.said, side.partner) = (Some(said), partner);
        }
        if let Some(side) = partner.and_then(|partner| self.sides[partner].as_mut()) {
            side.partner = Some(number);
        }
        self.write(number, &ANSWER);
    }

    fn write(&mut self, number: usize, bytes: &[u8]) {
        let Some(side) = self.sides[number].as_mut() else { return };
        let mut sent = 0;
        if side.unsent.is_empty() {
            sent = side.stream.write(bytes).unwrap_or(0); // a broken socket says so when it is read
        }
        side.unsent.extend_from_slice(&bytes[sent..]);
    }

    fn flush(&mut self, number: usize) {
        let Some(side) = self.sides.get_mut(number).and_then(Option::as_mut) else { return };
        if !side.unsent.is_empty() {
            let sent = side.stream.write(&side.unsent).unwrap_or(0);
            side.unsent.drain(..sent);
        }
    }

    fn close(&mut self, number: usize) {
        let Some(side) = self.sides[number].take() else { return };
        if let Some(said) = side.said.filter(|said| self.channels.get(said) == Some(&number)) {
            self.channels.remove(&said);
        }
        if let Some(partner) = side.partner.and_then(|partner| self.sides[partner].as_mut()) {
            partner.partner = None;
        }
    }
}
