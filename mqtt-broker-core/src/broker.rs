//! The broker as its host sees it: bytes in, bytes out, decisions outside. Dispatches, decides nothing.
use crate::connections::{Conn, ConnectionId, OpenError, Ready};
use crate::core_state::Core;
use crate::slots::Id;
use crate::{Config, ConfigError, Decision, Event, Peer, Policy, Publication, Stats, Ticket};
use alloc::vec::Vec;
use mqtt_session::codec::{OutBuf, Reader, ReasonCode};
use mqtt_session::topic::HashSeed;
use mqtt_session::{Connection, Instant};

/// How much unread input a paused connection may leave here beyond one packet, in bytes: what a host had already read.
const PAUSED_INPUT: usize = 1 << 20;

/// An MQTT broker without sockets, clock or threads. See the [crate's page](crate) for how a host drives it.
pub struct Broker<P> {
    /// The reading halves, by index of their connection.
    readers: Vec<Option<Reader>>,
    core: Core<P>,
    /// The latest time seen; one that goes back is clamped.
    now: Instant,
}

impl<P: Policy> Broker<P> {
    /// A broker that asks `policy`. `seed` keeps attackers from choosing colliding strings: [`HashSeed::random`] outside of tests.
    ///
    /// # Errors
    /// A limit in `config` under which nobody could connect.
    pub fn new(config: Config, policy: P, seed: HashSeed) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self { readers: Vec::new(), core: Core::new(config, policy, seed), now: Instant::ZERO })
    }

    fn clock(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    /// A transport is there: a socket, a WebSocket, a channel.
    ///
    /// # Errors
    /// The limits on connections, or a shutdown: close the transport (S18).
    pub fn handle_open(&mut self, now: Instant, peer: Peer) -> Result<ConnectionId, OpenError> {
        let now = self.clock(now);
        let Self { readers, core, .. } = self;
        if core.shutting_down {
            return Err(OpenError::ShuttingDown);
        }
        if core.connections.len() >= core.config.max_connections || core.handshakes >= core.config.max_handshakes {
            return Err(OpenError::Full);
        }
        let connection = Connection::server(now, &core.config.server);
        let reader = connection.reader();
        let id =
            core.connections.insert(Conn::new(now, connection, peer, core.config.high_water)).ok_or(OpenError::Full)?;
        core.handshakes += 1;
        let index = id.index as usize;
        if readers.len() <= index {
            readers.resize_with(index + 1, || None);
        }
        if let Some(place) = readers.get_mut(index) {
            *place = Some(reader);
        }
        // [X5-CON-8] [X311-CON-1]: from here on its deadline runs.
        core.touch(now, id);
        Ok(ConnectionId(id))
    }

    /// Bytes came. All are taken: what cannot be worked off now (the connection is paused) is kept.
    pub fn handle_input(&mut self, now: Instant, id: ConnectionId, bytes: &[u8]) {
        let now = self.clock(now);
        self.pump(now, id.0, bytes);
        self.settle(now);
    }

    /// Takes the packets of one connection as far as it may go.
    fn pump(&mut self, now: Instant, id: Id, bytes: &[u8]) {
        let Self { readers, core, .. } = self;
        if core.connections.get(id).is_none() {
            return;
        }
        let Some(Some(reader)) = readers.get_mut(id.index as usize) else { return };
        let mut packets = reader.read(bytes);
        while core.is_reading(id) {
            match packets.next() {
                Ok(Some(packet)) => core.handle_packet(now, id, &packet),
                Ok(None) => break,
                Err(error) => core.handle_decode_error(now, id, error),
            }
        }
        drop(packets);
        let limit = PAUSED_INPUT.saturating_add(core.config.server.maximum_packet_size as usize);
        if reader.buffered() > limit {
            core.end(now, id, ReasonCode::QUOTA_EXCEEDED);
        }
        if core.is_closing(id)
            && let Some(place) = readers.get_mut(id.index as usize)
        {
            *place = None;
        }
    }

    /// Works off what a call has set going: connections that may be read again, wills that are due.
    fn settle(&mut self, now: Instant) {
        loop {
            self.core.publish_wills(now);
            let Some(id) = self.core.runnable.pop_front() else { return };
            self.pump(now, id, &[]);
        }
    }

    /// The transport is gone, or was closed after [`Read::Close`](crate::Read::Close). Call once; `id` is stale from here on.
    pub fn handle_closed(&mut self, now: Instant, id: ConnectionId) {
        let now = self.clock(now);
        if self.core.connections.get(id.0).is_some()
            && let Some(place) = self.readers.get_mut(id.index())
        {
            *place = None;
        }
        self.core.handle_closed(now, id.0);
        self.settle(now);
    }

    /// Does what is due. Early and repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.clock(now);
        while let Some(due) = self.core.deadlines.pop(now) {
            self.core.handle_due(now, due);
        }
        self.core.retained.expire(now);
        self.settle(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let (due, expiry) = (self.core.deadlines.first(), self.core.retained.next_expiry());
        [due, expiry].into_iter().flatten().min()
    }

    /// The next connection with something for the host to do; each change is told once. Call until `None` after every `handle_*`,
    /// `poll_transmit`, `resume`, `publish` and `shutdown`.
    pub fn poll_ready(&mut self) -> Option<Ready> {
        self.core.poll_ready()
    }

    /// Moves what is to be sent on a connection into `out`, the host's own buffer for it. What still lies there counts as unsent.
    ///
    /// Write, [`advance`](OutBuf::advance), and call again until it leaves `out` empty or the socket takes no more; then once more
    /// when the socket is writable. So the broker knows who keeps up.
    pub fn poll_transmit(&mut self, now: Instant, id: ConnectionId, out: &mut OutBuf) {
        let now = self.clock(now);
        self.core.transmit(now, id.0, out);
        self.settle(now);
    }

    /// The next event, of those the [mask](crate::EventMask) asks for. The queue is bounded: what a host does not poll is lost and counted.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.core.events.pop()
    }

    /// Decides a deferred request. A stale ticket does nothing; [`Decision::Defer`] counts as denied.
    pub fn resume(&mut self, now: Instant, ticket: Ticket, decision: Decision) {
        let now = self.clock(now);
        self.core.resume(now, ticket.0, decision);
        self.settle(now);
    }

    /// Publishes from the embedding program; how many sessions it was for (0 also while the policy defers it).
    ///
    /// # Errors
    /// The policy's refusal.
    pub fn publish(&mut self, now: Instant, publication: &Publication<'_>) -> Result<usize, ReasonCode> {
        let now = self.clock(now);
        let published = self.core.publish_local(now, publication);
        self.settle(now);
        published
    }

    /// Refuses new connections, publishes the wills of those connected, tells everybody (0x8B at 5.0) and closes.
    /// The broker is drained when [`connections`](Self::connections) is 0.
    pub fn shutdown(&mut self, now: Instant) {
        let now = self.clock(now);
        self.core.shutdown(now);
        self.settle(now);
    }

    /// Connections whose [`handle_closed`](Self::handle_closed) has not come yet.
    pub fn connections(&self) -> usize {
        self.core.connections.len()
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// The policy.
    pub fn policy(&self) -> &P {
        &self.core.policy
    }

    /// The policy.
    pub fn policy_mut(&mut self) -> &mut P {
        &mut self.core.policy
    }
}
