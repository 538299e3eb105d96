//! Counters: O(1) to keep, copied out as they are.

use crate::Limit;

/// A snapshot of the broker's counters. Totals count since the broker was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections open now, those before CONNECT included.
    pub connections: usize,
    /// Sessions now, connected or not.
    pub sessions: usize,
    /// Subscriptions now.
    pub subscriptions: usize,
    /// Retained messages now.
    pub retained: usize,
    /// Bytes of retained messages now.
    pub retained_bytes: usize,
    /// Bytes of messages waiting in sessions now.
    pub queued_bytes: usize,
    /// Bytes kept for clients beside messages now: filters, wills, requests that wait for a decision.
    pub held_bytes: usize,
    /// PUBLISH packets taken.
    pub messages_in: u64,
    /// Messages handed to sessions or sockets, one per subscriber.
    pub messages_out: u64,
    /// Messages dropped because a queue was full.
    pub dropped_full: u64,
    /// Messages dropped because they were too large for the client.
    pub dropped_too_large: u64,
    /// Messages dropped because they had expired.
    pub dropped_expired: u64,
    /// Messages refused by the policy or by a rule.
    pub dropped_denied: u64,
    /// Retained messages not kept for want of room.
    pub dropped_retained: u64,
    /// Connections ended because the peer broke a rule.
    pub protocol_errors: u64,
    /// Refusals by the limit that was met.
    pub(crate) limited: [u64; Limit::COUNT],
    /// Events lost because nobody polled them.
    pub events_lost: u64,
}

impl Stats {
    /// How often something was refused for this limit.
    pub fn limited(&self, limit: Limit) -> u64 {
        self.limited.get(limit as usize).copied().unwrap_or(0)
    }
}
