//! All deadlines of the broker in one ordered set: O(log n) to set and to take back, nothing is ever scanned.
use crate::slots::Id;
use alloc::collections::BTreeSet;
use mqtt_session::Instant;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// A connection's own deadline: handshake, keep alive.
    Connection(Id),
    /// A connection may have stalled while publishers wait for it.
    Stall(Id),
    /// A connection that published too fast may go on.
    Rate(Id),
    /// The `$SYS` topics.
    Sys,
    /// The decision on a ticket.
    Ticket(u64),
    /// A will delay of the client at this index.
    Will(u32),
    /// The session expiry of the client at this index.
    Session(u32),
}

#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    set: BTreeSet<(Instant, Due)>,
}

impl Deadlines {
    pub(crate) fn set(&mut self, at: Instant, due: Due) {
        self.set.insert((at, due));
    }

    pub(crate) fn clear(&mut self, at: Instant, due: Due) {
        self.set.remove(&(at, due));
    }

    pub(crate) fn first(&self) -> Option<Instant> {
        self.set.first().map(|(at, _)| *at)
    }

    /// Takes the first deadline at or before `now`.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Due> {
        if self.first()? > now {
            return None;
        }
        self.set.pop_first().map(|(_, due)| due)
    }
}
