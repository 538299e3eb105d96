//! The loop: one thread, one selector, every socket non-blocking, the broker in the middle.
//!
//! A turn reads each ready socket once into one shared buffer, hands the bytes to the broker, and then writes each socket
//! with output once, so that system calls are per socket and turn, not per message. The selector reports edges: a socket
//! that may hold more stays in a list of ours, and has its next read after everybody else had theirs.

use crate::Failure;
use crate::admin::Question;
use crate::auth::{Accounts, Verdict};
use crate::config::{Address, Listener};
use crate::connections::{Connection, Connections, Phase, Sent};
use crate::listeners::{Accepted, Listeners};
use crate::logging;
use crate::proxy;
use crate::signals::Signals;
use crate::transport::Transport;
use mio::event::Event;
use mio::{Events, Poll, Token, Waker};
use mqtt_broker_core::{Broker, ConnectionId, Instant, OpenError, Peer, Read as ReadState, Ready};
use mqtt_codec::OutBuf;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;
use tracing::{info, warn};

/// The receive buffer, shared by all sockets.
const BUFFER: usize = 64 << 10;
/// Bytes read in one turn. After them comes writing, so that output never waits for input to end.
const READ_PER_TURN: usize = 4 * BUFFER;
/// Connections taken in one turn.
const ACCEPT_PER_TURN: usize = 64;
/// How long a connection that the broker ends may take to flush, and then how long its client may take to close.
const LINGER: Duration = Duration::from_secs(1);
/// How long all connections together may take to end when the program ends.
const DRAIN: Duration = Duration::from_secs(5);
/// Whether a read that does not fill the buffer has emptied the socket, so that the next byte makes a new edge (epoll, kqueue).
const SHORT_READ_EMPTIES: bool = cfg!(unix);

const WAKER: Token = Token(0);
const STOP: Token = Token(1);
const RELOAD: Token = Token(2);
/// Listeners come first, connections by the broker's index after them.
const FIRST: usize = 3;

/// The selector and what is watched from the start, before there is a broker.
pub(crate) struct Watch {
    poll: Poll,
    listeners: Listeners,
    signals: Signals,
    waker: Arc<Waker>,
}

impl Watch {
    /// Makes the selector and catches the signals that end the program.
    pub(crate) fn new() -> Result<Self, Failure> {
        let poll = Poll::new().map_err(|error| Failure::Runtime(format!("cannot watch sockets: {error}")))?;
        let signals = Signals::watch(poll.registry(), STOP, RELOAD)
            .map_err(|error| Failure::Runtime(format!("cannot catch signals: {error}")))?;
        let waker = Waker::new(poll.registry(), WAKER)
            .map_err(|error| Failure::Runtime(format!("cannot make a waker: {error}")))?;
        Ok(Self { poll, listeners: Listeners::default(), signals, waker: Arc::new(waker) })
    }

    /// Opens a listener; returns the address it really has.
    pub(crate) fn listen(&mut self, listener: &Listener) -> Result<Address, Failure> {
        let token = Token(FIRST + self.listeners.len());
        self.listeners.open(listener, self.poll.registry(), token)
    }

    /// What another thread ends the loop's sleep with.
    pub(crate) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }
}

/// What other threads have for the loop; each wakes it.
#[derive(Default)]
pub(crate) struct Others {
    /// Decisions on requests that the broker deferred.
    pub(crate) verdicts: Option<Receiver<Verdict>>,
    /// Somebody asks how the broker is.
    pub(crate) questions: Option<Receiver<Question>>,
}

/// The loop with all it holds.
pub(crate) struct EventLoop {
    poll: Poll,
    listeners: Listeners,
    _signals: Signals,
    asked: Others,
    broker: Broker<Accounts>,
    connections: Connections,
    /// The token of the connection with index 0.
    first_connection: usize,
    started: std::time::Instant,
    buffer: Box<[u8]>,
    /// Sockets that may hold something to read.
    to_read: VecDeque<ConnectionId>,
    /// Sockets that have something to write and room for it.
    to_write: VecDeque<ConnectionId>,
    /// When connections that are ending must have ended; all take as long, so they are in order.
    ending: VecDeque<(Instant, ConnectionId)>,
    /// Set when the program ends: until then at the latest.
    stop_by: Option<Instant>,
    /// Nobody was let in last time; said once.
    full: bool,
    /// The largest packet a client may send.
    packet_size: usize,
}

impl EventLoop {
    /// A loop around `broker`.
    pub(crate) fn new(watch: Watch, broker: Broker<Accounts>, asked: Others, packet_size: usize) -> Self {
        Self {
            first_connection: FIRST + watch.listeners.len(),
            poll: watch.poll,
            listeners: watch.listeners,
            _signals: watch.signals,
            asked,
            broker,
            connections: Connections::default(),
            started: std::time::Instant::now(),
            buffer: vec![0; BUFFER].into_boxed_slice(),
            to_read: VecDeque::new(),
            to_write: VecDeque::new(),
            ending: VecDeque::new(),
            stop_by: None,
            full: false,
            packet_size,
        }
    }

    /// Serves until a signal has ended it and everybody has been told.
    pub(crate) fn run(mut self) -> Result<(), Failure> {
        let mut events = Events::with_capacity(1024);
        loop {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    return Err(Failure::Runtime(format!("cannot wait for sockets: {error}")));
                }
                Ok(()) | Err(_) => self.turn(&events),
            }
            let Some(stop_by) = self.stop_by else {
                continue;
            };
            if self.connections.len() == 0 || self.now() >= stop_by {
                break;
            }
        }
        match self.connections.len() {
            0 => info!("stopped"),
            left => warn!("stopped; connections that had not ended in time: {left}"),
        }
        Ok(())
    }

    fn now(&self) -> Instant {
        Instant::from_millis(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// How long to sleep if nothing happens: not at all while there is work left, for ever when there is none and no deadline.
    fn timeout(&self) -> Option<Duration> {
        if !self.to_read.is_empty() || !self.to_write.is_empty() {
            return Some(Duration::ZERO);
        }
        let ending = self.ending.front().map(|(by, _)| *by);
        let deadlines = [self.broker.poll_timeout(), self.listeners.poll_timeout(), ending, self.stop_by];
        deadlines.into_iter().flatten().min().map(|at| at.since(self.now()))
    }

    fn turn(&mut self, events: &Events) {
        let now = self.now();
        for event in events {
            self.note(now, event);
        }
        self.accept(now);
        self.read(now);
        // after reading: who has sent something in time must not count as silent because this turn came late
        if self.broker.poll_timeout().is_some_and(|at| at <= now) {
            self.broker.handle_timeout(now);
        }
        self.end_overdue(now);
        self.take_ready(now);
        self.write(now);
        self.take_ready(now); // what writing has made possible; nothing may be left untaken when the loop sleeps
        self.report();
    }

    /// Takes down what the selector says; nothing is read or written yet.
    fn note(&mut self, now: Instant, event: &Event) {
        match event.token() {
            WAKER => self.hear(now),
            STOP => self.stop(now),
            RELOAD => self.listeners.reload(),
            Token(token) if token < self.first_connection => self.listeners.somebody_waits(token - FIRST),
            Token(token) => {
                let Some(connection) = self.connections.at_mut(token - self.first_connection) else {
                    return;
                };
                let id = connection.id;
                connection.finished |= event.is_read_closed() || event.is_error();
                if event.is_readable() || connection.finished {
                    self.enqueue_read(id);
                }
                if event.is_writable() || event.is_write_closed() || event.is_error() {
                    self.writable(id);
                }
            }
        }
    }

    /// Takes what other threads have for it.
    fn hear(&mut self, now: Instant) {
        for Verdict { ticket, decision } in self.asked.verdicts.iter().flat_map(Receiver::try_iter) {
            self.broker.resume(now, ticket, decision);
        }
        for question in self.asked.questions.iter().flat_map(Receiver::try_iter) {
            question.answer(self.broker.stats());
        }
    }

    /// Begins the end: nobody new, and everybody is told.
    fn stop(&mut self, now: Instant) {
        if self.stop_by.is_some() {
            return;
        }
        info!("stopping, with {} connections to tell; another signal stops at once", self.connections.len());
        self.stop_by = Some(now + DRAIN);
        self.listeners.close();
        self.broker.shutdown(now);
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..ACCEPT_PER_TURN {
            let Some(accepted) = self.listeners.accept(now) else {
                return;
            };
            self.open(now, accepted);
        }
    }

    fn open(&mut self, now: Instant, Accepted { socket, peer, listener }: Accepted) {
        let number = u32::try_from(listener).unwrap_or(u32::MAX);
        let id = match self.broker.handle_open(now, Peer::new(peer, number)) {
            Ok(id) => id,
            Err(error) => return self.turn_away(peer, error),
        };
        self.full = false;
        let opened = socket.set_nodelay().and_then(|()| {
            let transport = Transport::new(socket, self.listeners.wrapping(listener))?;
            let token = Token(self.first_connection + id.index());
            let mut connection = Connection::new(id, peer, listener, transport, self.poll.registry(), token)?;
            connection.proxied = self.listeners.is_proxied(listener);
            connection.unproven = self.listeners.takes_certificate_names(listener);
            Ok(connection)
        });
        match opened {
            Ok(connection) => self.connections.insert(connection),
            Err(error) => {
                warn!("{} cannot be served: {error}", logging::Peer(peer));
                self.broker.handle_closed(now, id);
            }
        }
    }

    /// Says once that nobody is let in, not for everybody who knocks.
    fn turn_away(&mut self, peer: Option<SocketAddr>, error: OpenError) {
        if !self.full {
            warn!("{} turned away: {error}", logging::Peer(peer));
        }
        self.full = true;
    }

    /// One read of each socket that may hold something, up to the bytes of a turn.
    fn read(&mut self, now: Instant) {
        let mut left = READ_PER_TURN;
        for _ in 0..self.to_read.len() {
            let Some(id) = self.to_read.pop_front() else {
                return;
            };
            left = left.saturating_sub(self.read_one(now, id));
            if left == 0 {
                return;
            }
        }
    }

    fn read_one(&mut self, now: Instant, id: ConnectionId) -> usize {
        let Some(connection) = self.connections.get_mut(id) else {
            return 0;
        };
        connection.to_read = false;
        if matches!(connection.phase, Phase::Paused | Phase::Flushing(_)) {
            return 0;
        }
        if connection.proxied && !self.meet_proxy(now, id) {
            return 0;
        }
        let Some(connection) = self.connections.get_mut(id) else { return 0 };
        match connection.transport.read(&mut self.buffer) {
            Ok(0) => {
                // a client that only sends no more may still want the answers
                let _ = self.write_one(now, id);
                self.close(now, id);
                0
            }
            Ok(length) => {
                if connection.unproven {
                    self.prove(id);
                }
                let Some(connection) = self.connections.get(id) else { return length };
                let emptied = SHORT_READ_EMPTIES && connection.transport.is_plain() && length < self.buffer.len();
                let more = connection.finished || !emptied;
                if connection.phase == Phase::Reading {
                    self.broker.handle_input(now, id, self.buffer.get(..length).unwrap_or_default());
                }
                if more {
                    self.enqueue_read(id);
                }
                length
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // a layer may have had to answer: a handshake, a pong
                if connection.transport.has_unsent() {
                    self.enqueue_write(id);
                }
                0
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                self.enqueue_read(id);
                0
            }
            Err(error) => {
                self.fail(now, id, &error);
                0
            }
        }
    }

    /// The first bytes under TLS: who the client's certificate says it is becomes who it is.
    fn prove(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        connection.unproven = false;
        if let Some(name) = connection.transport.certificate_name() {
            let number = u32::try_from(connection.listener).unwrap_or(u32::MAX);
            self.broker.set_peer(id, Peer::new(connection.peer, number).with_identity(name));
        }
    }

    /// The transport is broken. If it was a layer's doing, such as a handshake that failed, its last words are flushed, as after a goodbye.
    fn fail(&mut self, now: Instant, id: ConnectionId, error: &io::Error) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let broken_layer = error.kind() == ErrorKind::InvalidData && connection.phase == Phase::Reading;
        if !broken_layer {
            return self.close(now, id);
        }
        info!("{}: {error}", logging::Peer(connection.peer));
        let _ = connection.transport.flush();
        connection.phase = Phase::Flushing(now + LINGER);
        self.shut_down(now, id);
    }

    /// Reads what a proxy says about the client before the client's own bytes; whether it was there.
    fn meet_proxy(&mut self, now: Instant, id: ConnectionId) -> bool {
        let Some(connection) = self.connections.get_mut(id) else { return false };
        let peer = match proxy::read_header(connection.transport.socket()) {
            Ok(Some(proxy::Header { client })) => client.or(connection.peer),
            Ok(None) => return false,
            Err(error) => {
                info!("{}: {error}", logging::Peer(connection.peer));
                self.close(now, id);
                return false;
            }
        };
        connection.proxied = false;
        connection.peer = peer;
        let number = u32::try_from(connection.listener).unwrap_or(u32::MAX);
        self.broker.set_peer(id, Peer::new(peer, number));
        true
    }

    /// Takes down what the broker says about its connections; nothing is read or written yet.
    fn take_ready(&mut self, now: Instant) {
        while let Some(Ready { id, transmit, read }) = self.broker.poll_ready() {
            let Some(connection) = self.connections.get_mut(id) else {
                continue;
            };
            match (connection.phase, read) {
                (Phase::Reading, ReadState::Pause) => connection.phase = Phase::Paused,
                (Phase::Paused, ReadState::Read) => {
                    connection.phase = Phase::Reading;
                    // what came meanwhile made its edge long ago
                    self.enqueue_read(id);
                }
                (Phase::Reading | Phase::Paused, ReadState::Close) => {
                    connection.phase = Phase::Flushing(now + LINGER);
                    self.ending.push_back((now + LINGER, id));
                    self.enqueue_write(id);
                }
                (Phase::Reading, ReadState::Read)
                | (Phase::Paused, ReadState::Pause)
                | (Phase::Flushing(_) | Phase::Draining(_), _) => {}
            }
            if transmit {
                self.enqueue_write(id);
            }
        }
    }

    /// One write to each socket with output and room.
    fn write(&mut self, now: Instant) {
        for _ in 0..self.to_write.len() {
            let Some(id) = self.to_write.pop_front() else {
                return;
            };
            if let Err(error) = self.write_one(now, id) {
                warn!("a connection cannot be served any more: {error}");
                self.close(now, id);
            }
        }
    }

    fn write_one(&mut self, now: Instant, id: ConnectionId) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(id) else {
            return Ok(());
        };
        connection.to_write = false;
        if connection.blocked || matches!(connection.phase, Phase::Draining(_)) {
            return Ok(());
        }
        // a buffer goes back and forth with the broker, so that a connection with nothing to send has one, not two
        let mut out = connection.unsent.take().map_or_else(OutBuf::default, |unsent| *unsent);
        self.broker.poll_transmit(now, id, &mut out);
        let sent = connection.write(&mut out);
        if sent == Sent::All {
            self.broker.poll_transmit(now, id, &mut out);
        }
        match sent {
            Sent::All if out.is_empty() => self.shut_down(now, id),
            Sent::All => {
                connection.unsent = Some(Box::new(out));
                self.enqueue_write(id); // the others first
            }
            Sent::Blocked => {
                connection.unsent = Some(Box::new(out));
                let token = Token(self.first_connection + id.index());
                return connection.wait_until_writable(self.poll.registry(), token);
            }
            Sent::Failed => self.close(now, id),
        }
        Ok(())
    }

    /// Everything is sent: if the connection is to end, our side ends now.
    fn shut_down(&mut self, now: Instant, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if !matches!(connection.phase, Phase::Flushing(_)) {
            return;
        }
        connection.phase = Phase::Draining(now + LINGER);
        self.ending.push_back((now + LINGER, id));
        match connection.transport.finish() {
            Ok(()) => self.enqueue_read(id),
            Err(_) => self.close(now, id),
        }
    }

    fn writable(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if connection.blocked {
            connection.blocked = false;
            self.enqueue_write(id);
            // a layer that could not write may not have read either
            if !self.connections.get(id).is_none_or(|connection| connection.transport.is_plain()) {
                self.enqueue_read(id);
            }
        }
    }

    fn enqueue_read(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if !connection.to_read && !matches!(connection.phase, Phase::Paused | Phase::Flushing(_)) {
            connection.to_read = true;
            self.to_read.push_back(id);
        }
    }

    fn enqueue_write(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if !connection.to_write && !connection.blocked {
            connection.to_write = true;
            self.to_write.push_back(id);
        }
    }

    /// Closes what had its time to flush, or to close from its side.
    fn end_overdue(&mut self, now: Instant) {
        while let Some((by, id)) = self.ending.front().copied().filter(|(by, _)| *by <= now) {
            self.ending.pop_front();
            let overdue =
                |connection: &Connection| [Phase::Flushing(by), Phase::Draining(by)].contains(&connection.phase);
            if self.connections.get(id).is_some_and(overdue) {
                self.close(now, id);
            }
        }
    }

    /// The transport is gone, or goes now. The broker is told once.
    fn close(&mut self, now: Instant, id: ConnectionId) {
        if self.connections.get(id).is_some() {
            self.broker.handle_closed(now, id);
            self.report(); // while its address is still known
            self.connections.remove(id);
        }
    }

    fn report(&mut self) {
        use mqtt_broker_core::Event::{Connected, Disconnected, Refused};
        while let Some(event) = self.broker.poll_event() {
            let peer = match &event {
                Connected { connection, .. } | Refused { connection, .. } | Disconnected { connection, .. } => {
                    self.connections.get(*connection)
                }
                _ => None,
            };
            logging::report(&event, peer.and_then(|connection| connection.peer));
            if let Connected { connection, .. } = event
                && let Some(connection) = self.connections.get_mut(connection)
            {
                connection.transport.trust(self.packet_size);
            }
        }
    }
}
