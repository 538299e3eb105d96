//! Connections: what is on its way out of each, who is paused and why.
//!
//! ```text
//!             CONNECT            policy: allow            goodbye, fault, lost, taken over
//! Handshake ----------> Deciding --------------> Live ----------------------------------> Closing -> gone
//!     |                     |  policy: deny                                                  ^
//!     +---------------------+---------------------------------------------------------------+
//! ```
//!
//! While a client authenticates it is Deciding, and read.
use crate::admission::Joining;
use crate::rates::Metered;
use crate::slots::Id;
use crate::{Durability, Peer};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::num::NonZeroU64;
use mqtt_session::codec::OutBuf;
use mqtt_session::{Connection, Instant, State, Transmit};

/// Names a connection of the broker. A stale one finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(crate) Id);

impl ConnectionId {
    /// A small number, used again after the connection is gone: the place of this connection in a table of the host's own.
    pub const fn index(self) -> usize {
        self.0.index as usize
    }
}

/// A connection has something for the host to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Which.
    pub id: ConnectionId,
    /// There is something to send: call [`Broker::poll_transmit`](crate::Broker::poll_transmit).
    pub transmit: bool,
    /// Whether to read from its socket.
    pub read: Read,
}

/// Whether the host is to read from a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Read {
    /// Read.
    #[default]
    Read,
    /// Stop reading until told otherwise.
    Pause,
    /// Stop reading for good: flush, shut down writing, drain what the peer still sends for a bounded time, close,
    /// [`Broker::handle_closed`](crate::Broker::handle_closed). Closing at once would let the peer lose the last packet.
    Close,
}

/// A transport was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// They come faster than the listener or their address may.
    #[error("connections come too fast")]
    TooFast,
    /// `max_connections` or `max_handshakes` is reached.
    #[error("there are as many connections as the limits allow")]
    Full,
    /// Its address is banned.
    #[error("the address is banned")]
    Banned,
    /// The broker is shutting down.
    #[error("the broker is shutting down")]
    ShuttingDown,
}

/// Where a connection stands, with what it needs there.
#[derive(Debug)]
pub(crate) enum Phase {
    Handshake(Box<Connection>),
    Deciding(Box<Connection>, Box<Joining>),
    Live(Box<Connection>, u32),
    Closing,
}

/// Why a connection is not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Paused {
    /// A decision of the policy is awaited.
    pub(crate) policy: bool,
    /// Targets of what it published have too much unsent.
    pub(crate) pressure: bool,
    /// It publishes faster than it may.
    pub(crate) rate: bool,
    /// It takes its own answers too slowly.
    pub(crate) backlog: bool,
    /// Too much of what it did is not stored yet.
    pub(crate) store: bool,
}

impl Paused {
    /// Its silence is not its own doing: its keep alive does not count.
    pub(crate) fn excused(self) -> bool {
        self.policy || self.pressure || self.rate || self.store
    }

    pub(crate) fn any(self) -> bool {
        self.excused() || self.backlog
    }
}

/// The publishers that wait for a connection.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// Paused until it has sent enough.
    pub(crate) list: Vec<Id>,
    /// When to look whether it has stalled.
    pub(crate) stall_at: Option<Instant>,
}

#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) phase: Phase,
    pub(crate) peer: Box<Peer>,
    /// Bytes encoded and not yet fetched by the host.
    pub(crate) staging: OutBuf,
    /// Bytes the host had not sent when it last asked.
    pub(crate) handed: usize,
    /// When the last sixteenth of the high-water mark had left, or bytes began to wait.
    pub(crate) moved_at: Instant,
    /// Bytes that left since then.
    moved: u32,
    /// Its socket took nothing for too long: it pauses nobody any more.
    pub(crate) stalled: bool,
    /// Who waits for it, if anybody does.
    pub(crate) waiters: Option<Box<Waiters>>,
    /// How many connections this one waits for.
    pub(crate) waiting_on: u32,
    pub(crate) paused: Paused,
    /// How fast it publishes, if that is limited.
    pub(crate) meter: Option<Box<Metered>>,
    /// The generation of the judgement that its client's rights come from.
    pub(crate) generation: u32,
    /// A group found its client less than ready.
    pub(crate) unready: bool,
    /// The decision it waits for.
    pub(crate) ticket: Option<NonZeroU64>,
    /// Its deadline in the set; `Instant::MAX` for none.
    pub(crate) wake: Instant,
    pub(crate) transmit: bool,
    pub(crate) listed: bool,
    /// What it says waits as this demands.
    pub(crate) durability: Durability,
    /// Whether its client's session is recorded.
    pub(crate) recorded: bool,
    /// Answers that wait for the host's store.
    pub(crate) held: u32,
    /// Nothing is sent before this batch is stored.
    pub(crate) gate: u64,
    /// It waits for that in the middle of its life: nothing is encoded for it meanwhile that might grow old.
    pub(crate) held_back: bool,
    told: Read,
}

impl Conn {
    pub(crate) fn new(now: Instant, connection: Connection, peer: Peer, high_water: usize) -> Self {
        Self {
            phase: Phase::Handshake(Box::new(connection)),
            peer: Box::new(peer),
            staging: OutBuf::with_limit(high_water),
            handed: 0,
            moved_at: now,
            moved: 0,
            stalled: false,
            waiters: None,
            waiting_on: 0,
            paused: Paused::default(),
            meter: None,
            generation: 0,
            unready: false,
            ticket: None,
            wake: Instant::MAX,
            transmit: false,
            listed: false,
            durability: Durability::None,
            recorded: false,
            held: 0,
            gate: 0,
            held_back: false,
            told: Read::Read,
        }
    }

    pub(crate) fn connection(&self) -> Option<&Connection> {
        match &self.phase {
            Phase::Handshake(connection) | Phase::Deciding(connection, _) | Phase::Live(connection, _) => {
                Some(connection)
            }
            Phase::Closing => None,
        }
    }

    pub(crate) fn connection_mut(&mut self) -> Option<&mut Connection> {
        match &mut self.phase {
            Phase::Handshake(connection) | Phase::Deciding(connection, _) | Phase::Live(connection, _) => {
                Some(connection)
            }
            Phase::Closing => None,
        }
    }

    pub(crate) fn client(&self) -> Option<u32> {
        match self.phase {
            Phase::Live(_, client) => Some(client),
            _ => None,
        }
    }

    /// Whether its packets are taken now.
    pub(crate) fn is_reading(&self) -> bool {
        let reads = match &self.phase {
            Phase::Handshake(_) | Phase::Live(..) => true,
            // its next packet is its part of the authentication
            Phase::Deciding(connection, _) => connection.state() == State::Authenticating,
            Phase::Closing => false,
        };
        reads && !self.paused.any()
    }

    fn read(&self) -> Read {
        match self.phase {
            Phase::Closing => Read::Close, // v5 [MQTT-3.14.4-2]: after its DISCONNECT the broker closes
            _ if self.paused.any() => Read::Pause,
            _ => Read::Read,
        }
    }

    /// The host says what it has not sent yet. A socket moves when it takes a sixteenth of the high-water mark or all there is:
    /// one that takes a byte now and then must not hold up those who publish to it.
    pub(crate) fn note_progress(&mut self, now: Instant, left: usize, high_water: usize) {
        let moved = u32::try_from(self.handed.saturating_sub(left)).unwrap_or(u32::MAX);
        self.moved = self.moved.saturating_add(moved);
        if left == 0 || self.moved as usize >= high_water / 16 {
            (self.moved_at, self.moved, self.stalled) = (now, 0, false);
        }
        self.handed = left;
    }

    /// Bytes that only wait for the socket (not for acknowledgements).
    pub(crate) fn unsent(&self) -> usize {
        self.on_the_way() + self.connection().map_or(0, Connection::sendable_bytes)
    }

    /// Encoded bytes that have not left.
    pub(crate) fn on_the_way(&self) -> usize {
        self.staging.len() + self.handed
    }

    /// Whether a QoS 0 copy may be encoded for it at once.
    #[inline]
    pub(crate) fn keeps_up(&self, high_water: usize, generation: u32) -> bool {
        self.handed == 0 && !self.held_back && self.staging.len() < high_water && self.generation == generation
    }

    /// Whether all there is to send lies encoded, and nobody waits for that.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        let Phase::Live(connection, _) = &self.phase else { return false };
        connection.is_quiet() && self.waiters.is_none() && !self.paused.backlog && !self.unready
    }

    /// Moves what lies encoded to the host's buffer; how many bytes.
    #[inline]
    pub(crate) fn hand_on(&mut self, out: &mut OutBuf) -> usize {
        let before = out.len();
        out.take_from(&mut self.staging);
        self.handed = out.len();
        self.handed.saturating_sub(before)
    }

    /// What to tell the host, if anything changed.
    pub(crate) fn take_ready(&mut self, id: Id) -> Option<Ready> {
        self.listed = false;
        let read = self.read();
        let (told, transmit) = (core::mem::replace(&mut self.told, read), core::mem::take(&mut self.transmit));
        (transmit || told != read).then_some(Ready { id: ConnectionId(id), transmit, read })
    }

    /// Writes everything up to the goodbye, whatever the limit, so that the connection's state can be let go. Of one that was
    /// lost nothing is written: what waits stays in its session, unsent.
    /// Of one that waits for the store, with its CONNACK or later, nothing is said either.
    pub(crate) fn flush_goodbye(&mut self, now: Instant, gated: bool) {
        if gated {
            return;
        }
        let mut last = OutBuf::with_limit(usize::MAX);
        if let Some(connection) = self.connection_mut().filter(|connection| connection.state() == State::Closing) {
            while connection.poll_transmit(now, &mut last) == Transmit::Wrote {}
        }
        self.staging.take_from(&mut last);
        self.transmit |= !self.staging.is_empty();
    }
}
