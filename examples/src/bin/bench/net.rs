//! Many sockets on one thread: a selector, one large receive buffer, one write per socket and turn.

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

/// The least size of the receive buffer.
const BUFFER: usize = 256 << 10;

/// The connections of a run, by number.
pub(crate) struct Net {
    poll: Poll,
    events: Events,
    conns: Vec<Conn>,
    buffer: Vec<u8>,
    /// Sockets that may hold more than was read.
    again: Vec<usize>,
    /// Sockets with something to write.
    dirty: Vec<usize>,
    closed: usize,
}

struct Conn {
    stream: TcpStream,
    /// The beginning of a packet that was not all there.
    tail: Vec<u8>,
    out: Vec<u8>,
    /// How much of `out` is written.
    sent: usize,
    /// The socket is full, and will say when it is not.
    blocked: bool,
    dirty: bool,
    ready: bool,
    /// Never read.
    deaf: bool,
    open: bool,
    writable_watched: bool,
}

impl Net {
    /// No connections, and a buffer for packets up to `packet` bytes.
    pub(crate) fn new(packet: usize) -> Result<Self, String> {
        let poll = Poll::new().map_err(|error| format!("cannot watch sockets: {error}"))?;
        Ok(Self {
            poll,
            events: Events::with_capacity(1024),
            conns: Vec::new(),
            buffer: vec![0; BUFFER.max(2 * packet + 1024)],
            again: Vec::new(),
            dirty: Vec::new(),
            closed: 0,
        })
    }

    /// Connects, and returns the number of the connection.
    pub(crate) fn connect(&mut self, address: SocketAddr) -> Result<usize, String> {
        let failed = |error| format!("cannot connect to {address}: {error}");
        let stream = std::net::TcpStream::connect(address).map_err(failed)?;
        stream.set_nonblocking(true).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let mut stream = TcpStream::from_std(stream);
        let number = self.conns.len();
        self.poll.registry().register(&mut stream, Token(number), Interest::READABLE).map_err(failed)?;
        self.conns.push(Conn {
            stream,
            tail: Vec::new(),
            out: Vec::new(),
            sent: 0,
            blocked: false,
            dirty: false,
            ready: false,
            deaf: false,
            open: true,
            writable_watched: false,
        });
        Ok(number)
    }

    /// Connections that the peer has closed.
    pub(crate) fn closed(&self) -> usize {
        self.closed
    }

    /// Whether the connection stands.
    pub(crate) fn is_open(&self, number: usize) -> bool {
        self.conns[number].open
    }

    /// What is to be sent; the next turn sends it.
    #[inline]
    pub(crate) fn out(&mut self, number: usize) -> &mut Vec<u8> {
        let conn = &mut self.conns[number];
        if !conn.dirty {
            conn.dirty = true;
            self.dirty.push(number);
        }
        &mut conn.out
    }

    /// Bytes that wait to be sent.
    pub(crate) fn unsent(&self, number: usize) -> usize {
        let conn = &self.conns[number];
        conn.out.len() - conn.sent
    }

    /// From now on the connection reads nothing.
    pub(crate) fn deafen(&mut self, number: usize) {
        self.conns[number].deaf = true;
    }

    /// Closes from this side. Not counted among the closed.
    pub(crate) fn close(&mut self, number: usize) {
        self.conns[number].open = false;
        let _ = self.conns[number].stream.shutdown(std::net::Shutdown::Both);
    }

    /// One round: writes, waits at most `timeout`, reads each ready socket once, writes what that brought about.
    ///
    /// `take` gets the number of a connection, what was read and the bytes kept from before, and a buffer to answer into;
    /// it returns how many bytes it has used.
    pub(crate) fn turn<F>(&mut self, timeout: Duration, mut take: F) -> Result<(), String>
    where
        F: FnMut(usize, &[u8], &mut Vec<u8>) -> Result<usize, String>,
    {
        self.flush()?;
        let timeout = if self.again.is_empty() { timeout } else { Duration::ZERO };
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(format!("cannot wait: {error}")),
            Ok(()) | Err(_) => {}
        }
        let mut ready = std::mem::take(&mut self.again);
        for event in &self.events {
            let Token(number) = event.token();
            let conn = &mut self.conns[number];
            if event.is_writable() && conn.blocked {
                conn.blocked = false;
                if !conn.dirty {
                    conn.dirty = true;
                    self.dirty.push(number);
                }
            }
            if (event.is_readable() || event.is_read_closed() || event.is_error()) && !conn.ready {
                conn.ready = true;
                ready.push(number);
            }
        }
        for number in ready.drain(..) {
            self.read(number, &mut take)?;
        }
        if self.again.is_empty() {
            self.again = ready; // keeps its room
        }
        self.flush()
    }

    fn read<F>(&mut self, number: usize, take: &mut F) -> Result<(), String>
    where
        F: FnMut(usize, &[u8], &mut Vec<u8>) -> Result<usize, String>,
    {
        let conn = &mut self.conns[number];
        conn.ready = false;
        if conn.deaf || !conn.open {
            return Ok(());
        }
        let held = conn.tail.len();
        if held >= self.buffer.len() {
            return Err("the broker sent more than was asked for".into());
        }
        self.buffer[..held].copy_from_slice(&conn.tail);
        let room = self.buffer.len() - held;
        let count = match conn.stream.read(&mut self.buffer[held..]) {
            Ok(0) => 0,
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(()),
            Err(_) => 0,
        };
        if count == 0 {
            conn.open = false;
            self.closed += 1;
            return Ok(());
        }
        let bytes = &self.buffer[..held + count];
        let used = take(number, bytes, &mut conn.out)?;
        conn.tail.clear();
        conn.tail.extend_from_slice(&bytes[used..]);
        if count == room {
            conn.ready = true;
            self.again.push(number);
        }
        if !conn.out.is_empty() && !conn.dirty {
            conn.dirty = true;
            self.dirty.push(number);
        }
        Ok(())
    }

    /// Writes what the sockets take.
    pub(crate) fn flush(&mut self) -> Result<(), String> {
        while let Some(number) = self.dirty.pop() {
            let conn = &mut self.conns[number];
            conn.dirty = false;
            if conn.blocked || !conn.open {
                continue;
            }
            match conn.stream.write(&conn.out[conn.sent..]) {
                Ok(count) => conn.sent += count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                // the reading side will say that it is closed
                Err(_) => conn.sent = conn.out.len(),
            }
            if conn.sent == conn.out.len() {
                conn.out.clear();
                conn.sent = 0;
                continue;
            }
            conn.blocked = true;
            if !conn.writable_watched {
                conn.writable_watched = true;
                let both = Interest::READABLE | Interest::WRITABLE;
                let registry = self.poll.registry();
                registry.reregister(&mut conn.stream, Token(number), both).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }
}
