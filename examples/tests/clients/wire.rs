//! A wire between a client and the broker: knows which packets pass, and can be cut at any of them.
use super::PATIENCE;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToBroker,
    ToClient,
}

/// Takes connections and passes them on to the broker until it is cut.
pub struct Wire {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Way and first bytes of every packet that was passed on.
    passed: Vec<(Way, Vec<u8>)>,
    /// The type of packet that is lost together with the connection, once.
    cut_at: Option<(Way, u8)>,
    /// The type of packet that is kept from the broker for now, and those that were.
    held: Option<(u8, Vec<u8>)>,
    /// How often a cut has happened.
    cuts: usize,
    /// How many connections the broker has ended.
    ended_by_broker: usize,
    /// No further connection is taken.
    closed: bool,
    open: Vec<TcpStream>,
}

impl Wire {
    /// A wire to `broker`.
    pub fn to(broker: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Self { address: listener.local_addr().unwrap(), shared: Arc::default() };
        let shared = wire.shared.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                if shared.state.lock().unwrap().closed {
                    return;
                }
                let Ok(server) = TcpStream::connect(broker) else { return };
                let mut state = shared.state.lock().unwrap();
                state.open.extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                drop(state);
                pass(Way::ToBroker, client.try_clone().unwrap(), server.try_clone().unwrap(), shared.clone());
                pass(Way::ToClient, server, client, shared.clone());
            }
        });
        wire
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next packet of this type, in this direction, is lost, and the connection with it. Later connections are passed on.
    pub fn cut_at(&self, way: Way, packet_type: u8) {
        self.shared.state.lock().unwrap().cut_at = Some((way, packet_type));
    }

    /// Packets of this type do not reach the broker until [`release`](Self::release).
    pub fn hold(&self, packet_type: u8) {
        self.shared.state.lock().unwrap().held = Some((packet_type, Vec::new()));
    }

    /// Waits until so many PUBACKs are held.
    pub fn wait_for_held(&self, count: usize) {
        self.wait("PUBACKs come", |state| state.held.as_ref().is_some_and(|(_, packets)| packets.len() >= 4 * count));
    }

    /// What was held goes on to the broker, and what is yet to come does too.
    pub fn release(&self) {
        let mut state = self.shared.state.lock().unwrap();
        let (_, packets) = state.held.take().unwrap();
        state.passed.extend(packets.chunks(4).map(|packet| (Way::ToBroker, packet.to_vec())));
        // the second of each pair of sockets is the broker's
        state.open.last().unwrap().write_all(&packets).unwrap();
    }

    /// How many messages of QoS 1 were on their way to the client at once, at most.
    pub fn most_unacknowledged(&self) -> usize {
        let (mut now, mut most) = (0, 0usize);
        for (way, packet) in &self.shared.state.lock().unwrap().passed {
            match (way, packet[0]) {
                (Way::ToClient, first) if first & 0xF6 == 0x32 => now += 1,
                (Way::ToBroker, 0x40) => now -= 1,
                _ => {}
            }
            most = most.max(now);
        }
        most
    }

    /// Cuts what is connected; nobody comes back.
    pub fn cut(&self) {
        let mut state = self.shared.state.lock().unwrap();
        state.closed = true;
        for stream in state.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Whoever is cut off from now on does not come back.
    pub fn close(&self) {
        self.shared.state.lock().unwrap().closed = true;
    }

    /// Waits until [`cut_at`](Self::cut_at) has come true.
    pub fn wait_for_cut(&self, what: &str) {
        self.wait(what, |state| state.cuts > 0);
    }

    /// Waits until the broker has ended a connection.
    pub fn wait_for_end_by_broker(&self, what: &str) {
        self.wait(what, |state| state.ended_by_broker > 0);
    }

    /// The packets of one type that were passed on in this direction; of each the first bytes.
    pub fn passed(&self, way: Way, packet_type: u8) -> Vec<Vec<u8>> {
        let state = self.shared.state.lock().unwrap();
        state
            .passed
            .iter()
            .filter(|(of, bytes)| *of == way && bytes[0] >> 4 == packet_type)
            .map(|(_, bytes)| bytes.clone())
            .collect()
    }

    fn wait(&self, what: &str, until: impl Fn(&State) -> bool) {
        let state = self.shared.state.lock().unwrap();
        let (state, end) = self.shared.changed.wait_timeout_while(state, PATIENCE, |state| !until(state)).unwrap();
        assert!(!end.timed_out(), "{what}: it does not happen; passed were {:02x?}", state.passed);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.cut();
        // wakes the thread that waits for connections, which sees that the wire is closed
        let _ = TcpStream::connect(self.address);
    }
}

/// Passes packets on, one way, until one end closes or the wire is cut.
fn pass(way: Way, mut from: TcpStream, mut to: TcpStream, shared: Arc<Shared>) {
    thread::spawn(move || {
        let mut kept = Vec::new();
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            kept.extend_from_slice(&bytes[..read]);
            while let Some(len) = packet_len(&kept) {
                let packet: Vec<u8> = kept.drain(..len).collect();
                let mut state = shared.state.lock().unwrap();
                if state.cut_at == Some((way, packet[0] >> 4)) {
                    state.cut_at = None;
                    state.cuts += 1;
                    let _ = from.shutdown(Shutdown::Both);
                    let _ = to.shutdown(Shutdown::Both);
                    shared.changed.notify_all();
                    return;
                }
                if let Some((kind, held)) = state.held.as_mut().filter(|_| way == Way::ToBroker)
                    && *kind == packet[0] >> 4
                {
                    // all of one length: the identifier, and no reason (5.0 says success by leaving it out)
                    held.extend_from_slice(&[packet[0], 2, packet[2], packet[3]]);
                    shared.changed.notify_all();
                    continue;
                }
                state.passed.push((way, packet[..packet.len().min(64)].to_vec()));
                drop(state);
                if to.write_all(&packet).is_err() {
                    return;
                }
            }
        }
        if way == Way::ToClient {
            shared.state.lock().unwrap().ended_by_broker += 1;
            shared.changed.notify_all();
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}

/// The length of the packet that begins `bytes`, once it is all here.
pub fn packet_len(bytes: &[u8]) -> Option<usize> {
    let mut len = 0;
    for (at, byte) in bytes.iter().skip(1).take(4).enumerate() {
        len |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let whole = 2 + at + len;
            return (bytes.len() >= whole).then_some(whole);
        }
    }
    None
}
