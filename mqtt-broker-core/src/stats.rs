//! Counters: O(1) to keep, copied out as they are.

use crate::Limit;

/// A snapshot of the broker's counters. Totals count since the broker was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections open now, those before CONNECT included.
    pub connections: usize,
    /// Clients connected now.
    pub connected: usize,
    /// The most clients that were ever connected at once.
    pub connected_max: usize,
    /// Sessions now, connected or not.
    pub sessions: usize,
    /// Subscriptions now, memberships of groups included.
    pub subscriptions: usize,
    /// Groups of shared subscriptions now.
    pub groups: usize,
    /// Retained messages now.
    pub retained: usize,
    /// Bytes of retained messages now.
    pub retained_bytes: usize,
    /// Bytes of messages waiting in sessions now.
    pub queued_bytes: usize,
    /// Bytes kept for clients beside messages now: filters, wills, requests that wait for a decision.
    pub held_bytes: usize,
    /// Sessions that expired.
    pub sessions_expired: u64,
    /// Packets taken, of all types.
    pub packets_in: u64,
    /// Bytes taken from transports.
    pub bytes_in: u64,
    /// Bytes handed to transports.
    pub bytes_out: u64,
    /// PUBLISH packets taken.
    pub messages_in: u64,
    /// Messages handed to sessions or sockets, one per subscriber.
    pub messages_out: u64,
    /// Messages of groups handed to another member, because the session of one that had them ended or it left the group.
    pub handed_over: u64,
    /// Messages of groups dropped because no member was left who could have them.
    pub dropped_no_member: u64,
    /// Messages of groups dropped because too many members had them before.
    pub dropped_handed_over: u64,
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
    /// Messages dropped because the session they were for could not be read from the host's store.
    pub dropped_not_loaded: u64,
    /// Sessions that ended because what was stored of them is damaged, or gone.
    pub sessions_lost: u64,
    /// Bytes given out to be stored and not stored yet, about.
    pub unstored_bytes: usize,
    /// Answers that wait for what they rest on to be stored.
    pub held_answers: usize,
    /// Connections ended because the peer broke a rule.
    pub protocol_errors: u64,
    /// Connections ended before they became a client's, though the peer broke no rule: turned away by the policy, a limit, a ban, a redirect.
    pub refused: u64,
    /// Clients disconnected though they broke no rule: taken over, kicked, over a quota or a rate, at a shutdown.
    pub ended: u64,
    /// Refusals by the limit that was met.
    pub(crate) limited: [u64; Limit::COUNT],
    /// Events lost because nobody polled them.
    pub events_lost: u64,
}

impl Stats {
    /// Messages dropped, for whatever reason. Those forwarded and only not retained are not among them.
    pub fn dropped(&self) -> u64 {
        let of_sessions = [self.dropped_full, self.dropped_too_large, self.dropped_expired, self.dropped_denied];
        let of_groups = [self.dropped_no_member, self.dropped_handed_over, self.dropped_not_loaded];
        of_sessions.into_iter().chain(of_groups).fold(0, u64::saturating_add)
    }

    /// How often something was refused for this limit.
    pub fn limited(&self, limit: Limit) -> u64 {
        self.limited.get(limit as usize).copied().unwrap_or(0)
    }
}
