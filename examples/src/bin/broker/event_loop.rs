//! The loop: one thread, one selector, every socket non-blocking, the broker in the middle.
//!
//! A turn reads each ready socket once into one shared buffer, hands the bytes to the broker, and then writes each socket
//! with output once, so that system calls are per socket and turn, not per message. The selector reports edges: a socket
//! that may hold more stays in a list of ours, and has its next read after everybody else had theirs.

mod keeping;
mod observe;
mod reading;
mod reload;
mod writing;

use crate::Failure;
use crate::admin::Question;
use crate::auth::Verdict;
use crate::config::{Address, Listener};
use crate::connections::{Connection, Connections, Phase};
use crate::gate::Gate;
use crate::listeners::{Accepted, Listeners};
use crate::logging;
use crate::signals::Signals;
use crate::store::Keeper;
use crate::trace::Traces;
use crate::transport::Transport;
use mio::event::Event;
use mio::{Events, Poll, Token, Waker};
use mqtt_broker_core::{Broker, ConnectionId, EventMask, Instant, OpenError, Peer, Read as ReadState, Ready};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;
use tracing::{error, info, warn};

pub(crate) use keeping::epoch;

/// The receive buffer, shared by all sockets.
const BUFFER: usize = 64 << 10;
/// Connections taken in one turn.
const ACCEPT_PER_TURN: usize = 64;
/// How long a connection that the broker ends may take to flush, and then how long its client may take to close.
const LINGER: Duration = Duration::from_secs(1);
/// How long all connections together may take to end when the program ends.
const DRAIN: Duration = Duration::from_secs(5);

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
    /// Something is stored.
    pub(crate) keeper: Option<Keeper>,
}

/// What the configuration has for the loop.
pub(crate) struct Manner {
    /// The largest packet a client may send, by number of its listener, bytes.
    pub(crate) packet_sizes: Vec<usize>,
    /// Who and what is followed from the start.
    pub(crate) traces: Traces,
    /// What the broker reports while nobody is followed.
    pub(crate) events: EventMask,
}

/// The loop with all it holds.
pub(crate) struct EventLoop {
    poll: Poll,
    listeners: Listeners,
    _signals: Signals,
    asked: Others,
    broker: Broker<Gate>,
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
    /// Connections that ended because TLS, WebSocket or PROXY header was broken.
    transport_errors: u64,
    /// The largest packet a client may send, by number of its listener, bytes.
    packet_sizes: Vec<usize>,
    /// Who and what is followed.
    traces: Traces,
    /// What the broker reports while nobody is.
    events: EventMask,
    /// Events that were too many to be reported, as far as that was said.
    events_lost: u64,
}

impl EventLoop {
    /// A loop around `broker`.
    pub(crate) fn new(watch: Watch, broker: Broker<Gate>, asked: Others, manner: Manner) -> Self {
        let Manner { packet_sizes, traces, events } = manner;
        let mut new = Self {
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
            transport_errors: 0,
            packet_sizes,
            traces,
            events,
            events_lost: 0,
        };
        new.broker.set_events(new.traces.mask(new.events));
        new
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
        if let Some(Err(why)) = self.asked.keeper.map(Keeper::finish) {
            error!("not all was stored: {why}");
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
        let traces = self.traces.poll_timeout();
        let deadlines = [self.broker.poll_timeout(), self.listeners.poll_timeout(), ending, traces, self.stop_by];
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
        self.end_traces(now);
        self.keep(now);
        self.take_ready(now);
        self.write(now);
        self.keep(now);
        self.take_ready(now); // what writing has made possible; nothing may be left untaken when the loop sleeps
        self.report();
    }

    /// Takes down what the selector says; nothing is read or written yet.
    fn note(&mut self, now: Instant, event: &Event) {
        match event.token() {
            WAKER => self.hear(now),
            STOP => self.stop(now),
            RELOAD => self.reload(now),
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
}
