//! What comes in: one read of each ready socket in a turn, and what a proxy or a certificate says before the client's first bytes.

use super::{BUFFER, EventLoop, LINGER};
use crate::connections::Phase;
use crate::{logging, proxy};
use mqtt_broker_core::{ConnectionId, Instant, Peer};
use std::io::{self, ErrorKind, Read};
use tracing::info;

/// Bytes read in one turn. After them comes writing, so that output never waits for input to end.
const READ_PER_TURN: usize = 4 * BUFFER;
/// Whether a read that does not fill the buffer has emptied the socket, so that the next byte makes a new edge (epoll, kqueue).
const SHORT_READ_EMPTIES: bool = cfg!(unix);

impl EventLoop {
    /// One read of each socket that may hold something, up to the bytes of a turn.
    pub(super) fn read(&mut self, now: Instant) {
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
        let draining = matches!(connection.phase, Phase::Draining(_));
        if connection.proxied && !draining && !self.meet_proxy(now, id) {
            return 0;
        }
        let Some(connection) = self.connections.get_mut(id) else { return 0 };
        let read = match draining {
            false => connection.transport.read(&mut self.buffer),
            // what is thrown away need not be understood, and a layer that is broken must not be asked again
            true => connection.transport.socket().read(&mut self.buffer),
        };
        match read {
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
            connection.proven = true;
            let number = u32::try_from(connection.listener).unwrap_or(u32::MAX);
            self.broker.set_peer(id, Peer::new(connection.peer, number).with_identity(name));
        }
    }

    /// The transport is broken. If it was a layer's doing, such as a handshake that failed, its last words are flushed, as after a goodbye.
    fn fail(&mut self, now: Instant, id: ConnectionId, error: &io::Error) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let broken_layer = error.kind() == ErrorKind::InvalidData;
        self.transport_errors += u64::from(broken_layer);
        if !broken_layer || connection.phase != Phase::Reading {
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
                self.transport_errors += u64::from(error.kind() == ErrorKind::InvalidData);
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

    pub(super) fn enqueue_read(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if !connection.to_read && !matches!(connection.phase, Phase::Paused | Phase::Flushing(_)) {
            connection.to_read = true;
            self.to_read.push_back(id);
        }
    }
}
