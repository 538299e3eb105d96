//! What goes out, and how connections end: flushed, shut down, drained, closed, each in bounded time.

use super::{EventLoop, LINGER};
use crate::connections::{Connection, Phase, Sent};
use mio::Token;
use mqtt_broker_core::{ConnectionId, Instant};
use mqtt_codec::OutBuf;
use std::io;
use tracing::warn;

impl EventLoop {
    /// One write to each socket with output and room.
    pub(super) fn write(&mut self, now: Instant) {
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

    pub(super) fn write_one(&mut self, now: Instant, id: ConnectionId) -> io::Result<()> {
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
    pub(super) fn shut_down(&mut self, now: Instant, id: ConnectionId) {
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

    pub(super) fn writable(&mut self, id: ConnectionId) {
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

    pub(super) fn enqueue_write(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if !connection.to_write && !connection.blocked {
            connection.to_write = true;
            self.to_write.push_back(id);
        }
    }

    /// Closes what had its time to flush, or to close from its side.
    pub(super) fn end_overdue(&mut self, now: Instant) {
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
    pub(super) fn close(&mut self, now: Instant, id: ConnectionId) {
        if self.connections.get(id).is_some() {
            self.broker.handle_closed(now, id);
            self.report(); // while its address is still known
            self.connections.remove(id);
        }
    }
}
