//! What changes in a session while somebody stores it, in order, and what has to wait until it is stored.
use crate::{AckToken, Delivery, PublishToken};
use alloc::collections::VecDeque;
use mqtt_codec::{PacketId, Qos, ReasonCode};

/// One change of what a session keeps (section 4.1): QoS 1 and 2 messages, and identifiers of received QoS 2 messages.
///
/// Changes are made in order and mean something only in that order: [`Session::apply`](crate::Session::apply) brings an earlier
/// snapshot up to date. Cloning one shares its message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Change {
    /// A message was queued, behind all others; with `id` its sending begins at once.
    Queued {
        /// Names it.
        token: PublishToken,
        /// Its packet identifier, if it has one already.
        id: Option<PacketId>,
        /// What is to be sent.
        delivery: Delivery,
    },
    /// The first of those that wait has got its packet identifier: from here on it may have been sent.
    Begun {
        /// Names it.
        token: PublishToken,
        /// Its packet identifier.
        id: PacketId,
    },
    /// The peer has a QoS 2 message (PUBREC): it is forgotten, its identifier is not.
    Released {
        /// Its packet identifier.
        id: PacketId,
    },
    /// A message is done with: acknowledged, refused by the peer, or given up after it got its packet identifier.
    Finished {
        /// Its packet identifier, free from here on.
        id: PacketId,
    },
    /// One of those that wait was given up, nearly always the first.
    Dropped {
        /// Names it.
        token: PublishToken,
    },
    /// A QoS 2 message of the peer's is the host's: it is not handed out again.
    Received {
        /// The peer's packet identifier.
        id: PacketId,
    },
    /// The peer's identifier is free: the next message with it is a new one.
    Forgotten {
        /// The peer's packet identifier.
        id: PacketId,
    },
    /// The peer has lost its part: what was in flight waits again, before all others, and no received identifier means anything.
    Restarted,
}

/// The changes of a session and what waits for them; there only while changes are recorded.
#[derive(Debug)]
pub(crate) struct Journal {
    /// Nobody has asked for these yet.
    pending: VecDeque<Change>,
    /// How many changes were made: the number of the last one.
    made: u64,
    /// How many of them would survive.
    stored: u64,
    /// Messages with an identifier that were not sent yet, in order.
    unsent: VecDeque<Unsent>,
    /// What is said to the peer when changes are stored, in order.
    held: VecDeque<(u64, Held)>,
    /// Nothing is sent again before this change is stored.
    resend_after: u64,
    /// Of the last message that was recorded.
    last_token: PublishToken,
    /// The identifier behind the last one that was recorded.
    next_id: Option<PacketId>,
}

/// A message with an identifier that was not sent yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unsent {
    pub(crate) id: PacketId,
    pub(crate) qos: Qos,
    /// The change that gave it its identifier.
    after: u64,
}

/// What waits to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// An answer that the host has given.
    Answer(AckToken),
    /// A PUBREL.
    Release(PacketId, ReasonCode),
}

impl Journal {
    pub(crate) fn new(last_token: PublishToken, next_id: Option<PacketId>) -> Self {
        Self {
            pending: VecDeque::new(),
            made: 0,
            stored: 0,
            unsent: VecDeque::new(),
            held: VecDeque::new(),
            resend_after: 0,
            last_token,
            next_id,
        }
    }

    // --- the host ----------------------------------------------------------------------------------------------------

    /// The oldest change that was not asked for, and its number.
    pub(crate) fn poll(&mut self) -> Option<(u64, Change)> {
        let waiting = u64::try_from(self.pending.len()).unwrap_or(u64::MAX);
        let change = self.pending.pop_front()?;
        Some((self.made.saturating_sub(waiting).saturating_add(1), change))
    }

    pub(crate) fn made(&self) -> u64 {
        self.made
    }

    pub(crate) fn stored(&mut self, up_to: u64) {
        self.stored = self.stored.max(up_to.min(self.made));
    }

    // --- the session -------------------------------------------------------------------------------------------------

    #[cold]
    pub(crate) fn note(&mut self, change: Change) {
        if let Change::Queued { token, .. } = &change
            && self.last_token.is_before(*token)
        {
            self.last_token = *token;
        }
        self.made = self.made.saturating_add(1);
        self.pending.push_back(change);
    }

    /// The last change gave `id` to a message that is still to be sent; `next` comes after it.
    pub(crate) fn begun(&mut self, id: PacketId, qos: Qos, next: Option<PacketId>) {
        self.next_id = next;
        self.unsent.push_back(Unsent { id, qos, after: self.made });
    }

    /// The message that is to be sent first.
    pub(crate) fn unsent(&self) -> Option<Unsent> {
        self.unsent.front().copied()
    }

    pub(crate) fn pop_unsent(&mut self) {
        self.unsent.pop_front();
    }

    pub(crate) fn take_unsent(&mut self) -> VecDeque<Unsent> {
        core::mem::take(&mut self.unsent)
    }

    pub(crate) fn set_unsent(&mut self, unsent: VecDeque<Unsent>) {
        self.unsent = unsent;
    }

    pub(crate) fn unsent_len(&self) -> usize {
        self.unsent.len()
    }

    /// Whether `unsent` may go out: what is resumed after a crash must be the same message under the same identifier, which only
    /// QoS 2 depends on.
    pub(crate) fn may_send(&self, unsent: Unsent) -> bool {
        unsent.qos != Qos::ExactlyOnce || unsent.after <= self.stored
    }

    /// Whether what is to be said now has to wait.
    pub(crate) fn must_wait(&self) -> bool {
        self.stored < self.made || !self.held.is_empty()
    }

    /// Keeps it until all that has changed so far is stored.
    #[cold]
    pub(crate) fn hold(&mut self, held: Held) {
        self.held.push_back((self.made, held));
    }

    /// Whether something that was held may be said.
    pub(crate) fn has_released(&self) -> bool {
        self.held.front().is_some_and(|&(after, _)| after <= self.stored)
    }

    pub(crate) fn held_len(&self) -> usize {
        self.held.len()
    }

    pub(crate) fn pop_released(&mut self) -> Option<Held> {
        if !self.has_released() {
            return None;
        }
        self.held.pop_front().map(|(_, held)| held)
    }

    /// Nothing is sent again before all that has changed so far is stored.
    pub(crate) fn hold_resend(&mut self) {
        self.resend_after = self.made;
    }

    pub(crate) fn may_resend(&self) -> bool {
        self.resend_after <= self.stored
    }

    /// The connection is over: what was to be said on it is not.
    pub(crate) fn detach(&mut self) {
        self.held = VecDeque::new();
    }

    /// The identifiers mean nothing any more.
    pub(crate) fn restart(&mut self) {
        self.unsent.clear();
    }

    // --- what of the session is recorded -----------------------------------------------------------------------------

    pub(crate) fn last_token(&self) -> PublishToken {
        self.last_token
    }

    pub(crate) fn next_id(&self) -> Option<PacketId> {
        self.next_id
    }

    /// Gives the memory back of what is empty.
    pub(crate) fn shrink(&mut self) {
        if self.pending.is_empty() {
            self.pending = VecDeque::new();
        }
        if self.unsent.is_empty() {
            self.unsent = VecDeque::new();
        }
        if self.held.is_empty() {
            self.held = VecDeque::new();
        }
    }

    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>()
            + self.pending.capacity() * size_of::<Change>()
            + self.unsent.capacity() * size_of::<Unsent>()
            + self.held.capacity() * size_of::<(u64, Held)>()
    }
}
