//! What has changed and is to be stored, what is on its way to the store, and what is not said before it is there.
//!
//! ```text
//!             marks               poll_store                  stored
//! a call  ------------->  open  -------------->  on the way  ---------->  said
//!             holds                                  |
//!                \-----------------------------------/
//! ```
//!
//! A mark says only that something has changed; what is recorded is how things stand when the host asks. So nothing is recorded twice,
//! and the marks of one call are always recorded together.
use crate::slots::Id;
use crate::{Ban, ClientId, Durability};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use mqtt_session::codec::ReasonCode;
use mqtt_session::topic::{TopicFilterBuf, TopicNameBuf};
use mqtt_session::{AckToken, Epoch, RequestToken};

/// Names what [`Broker::poll_store`](crate::Broker::poll_store) gave out, and all that it gave out before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreTicket(pub(crate) u64);

/// Answers of one connection that wait for the store at most: from here on it is not read.
pub(crate) const MAX_HELD: u32 = 1024;

/// Bytes of an answer that waits, about.
const ANSWER: usize = 64;

/// What is not said before the host has stored what it rests on.
#[derive(Debug)]
pub(crate) enum Answer {
    /// All that lies in the connection, a CONNACK first if there is one: it sends nothing before.
    All,
    /// PUBACK, or the PUBREC of a client whose own session is not recorded.
    Ack(AckToken, ReasonCode),
    Suback(RequestToken, Vec<ReasonCode>),
    Unsuback(RequestToken, Vec<ReasonCode>),
}

/// Changes of a session that are on their way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) client: Id,
    /// The last of them.
    pub(crate) number: u64,
}

/// What is recorded of one client.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    pub(crate) durability: Durability,
    /// Whether it is among [`Ledger::dirty`].
    pub(crate) dirty: bool,
    /// Whether all of it is to be written anew, in the place of what is there.
    pub(crate) whole: bool,
    /// The same of its session.
    pub(crate) whole_session: bool,
    /// Who it is, and how long it stays.
    pub(crate) head: bool,
    pub(crate) will: bool,
    /// Subscriptions that came, went or changed.
    pub(crate) filters: Vec<TopicFilterBuf>,
    /// Records under its key, and of its session.
    pub(crate) records: usize,
    pub(crate) session_records: usize,
    /// The last change of its session that was given out.
    pub(crate) last_change: u64,
    /// The groups that its session's records know by these numbers, while that was not read.
    pub(crate) shares: Vec<(u64, TopicFilterBuf)>,
}

impl Recorded {
    /// Of a session that begins to be recorded.
    pub(crate) fn new(durability: Durability) -> Box<Self> {
        Box::new(Self { durability, whole: true, whole_session: true, ..Self::default() })
    }
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Whether anything is recorded at all.
    pub(crate) on: bool,
    /// Since when the broker's clock counts.
    pub(crate) epoch: Epoch,
    /// Batches given out.
    batches: u64,
    /// Of these, how many are stored.
    stored: u64,
    /// Batches with nothing in them, first and last of each row: they are stored with the one before them.
    empty: VecDeque<(u64, u64)>,
    /// How many marks were made, and how many when the host last asked.
    marks: u64,
    marks_given: u64,
    pub(crate) ended: Vec<ClientId>,
    pub(crate) dirty: Vec<Id>,
    pub(crate) retained: Vec<TopicNameBuf>,
    pub(crate) bans: Vec<Ban>,
    /// Numbers of wills that fire and wait for the policy, or do so no more.
    pub(crate) wills: Vec<u64>,
    /// The last such number.
    pub(crate) last_will: u64,
    on_the_way: VecDeque<(u64, Sent)>,
    /// Bytes of the batches on the way, about.
    sizes: VecDeque<(u64, usize)>,
    unstored: usize,
    held: VecDeque<(u64, Id, Answer)>,
    /// Connections that are not read before less is on the way.
    pub(crate) waiting: Vec<Id>,
    /// A session could not be read when a message came for it: the message must not be acknowledged.
    pub(crate) unkept: bool,
    /// There may be sessions that are still in the store.
    pub(crate) restored: bool,
    /// There may be clients in the store that are not here.
    pub(crate) unrestored: bool,
}

impl Ledger {
    pub(crate) fn new(on: bool) -> Self {
        Self { on, ..Self::default() }
    }

    // --- marks -------------------------------------------------------------------------------------------------------

    pub(crate) fn mark(&mut self) {
        self.marks = self.marks.wrapping_add(1);
    }

    /// Changes with every mark.
    pub(crate) fn marks(&self) -> u64 {
        self.marks
    }

    /// A message is about to be routed: where the marks of that begin.
    #[inline]
    pub(crate) fn begin(&mut self) -> u64 {
        self.unkept = false;
        self.marks
    }

    pub(crate) fn mark_client(&mut self, id: Id, recorded: &mut Recorded) {
        self.mark();
        if !core::mem::replace(&mut recorded.dirty, true) {
            self.dirty.push(id);
        }
    }

    pub(crate) fn mark_ended(&mut self, client: ClientId) {
        self.mark();
        self.ended.push(client);
    }

    pub(crate) fn mark_retained(&mut self, name: TopicNameBuf) {
        self.mark();
        self.retained.push(name);
    }

    pub(crate) fn mark_will(&mut self, number: u64) {
        self.mark();
        self.wills.push(number);
    }

    // --- batches -----------------------------------------------------------------------------------------------------

    pub(crate) fn has_marks(&self) -> bool {
        self.marks != self.marks_given
    }

    /// The batch that all marks so far are in.
    pub(crate) fn last_batch(&self) -> u64 {
        if self.has_marks() { self.open_batch() } else { self.batches }
    }

    fn open_batch(&self) -> u64 {
        self.batches.saturating_add(1)
    }

    /// All marks so far make a batch of about `bytes`; nothing of it if that is `None`.
    pub(crate) fn close_batch(&mut self, bytes: Option<usize>) -> Option<StoreTicket> {
        self.batches = self.open_batch();
        self.marks_given = self.marks;
        match bytes {
            Some(bytes) => {
                self.unstored = self.unstored.saturating_add(bytes);
                self.sizes.push_back((self.batches, bytes));
                Some(StoreTicket(self.batches))
            }
            None => {
                match self.empty.back_mut() {
                    Some((_, last)) if last.saturating_add(1) == self.batches => *last = self.batches,
                    _ => self.empty.push_back((self.batches, self.batches)),
                }
                self.stored(self.stored);
                None
            }
        }
    }

    /// What was just recorded of a client is in the batch that is about to be closed.
    pub(crate) fn send(&mut self, sent: Sent) {
        self.on_the_way.push_back((self.open_batch(), sent));
    }

    /// All up to this batch is stored, and what is empty behind it.
    pub(crate) fn stored(&mut self, up_to: u64) {
        self.stored = self.stored.max(up_to.min(self.batches));
        while let Some(&(first, last)) = self.empty.front()
            && first <= self.stored.saturating_add(1)
        {
            self.stored = self.stored.max(last);
            self.empty.pop_front();
        }
        while let Some(&(batch, bytes)) = self.sizes.front()
            && batch <= self.stored
        {
            self.unstored = self.unstored.saturating_sub(bytes);
            self.sizes.pop_front();
        }
    }

    pub(crate) fn is_stored(&self, batch: u64) -> bool {
        batch <= self.stored
    }

    /// Bytes on the way, about.
    pub(crate) fn unstored(&self) -> usize {
        self.unstored
    }

    /// The same, and what waits for it: also the answers of connections that are gone.
    pub(crate) fn burden(&self) -> usize {
        self.unstored.saturating_add(self.held.len().saturating_mul(ANSWER))
    }

    pub(crate) fn pop_sent(&mut self) -> Option<Sent> {
        let (batch, sent) = *self.on_the_way.front()?;
        if batch > self.stored {
            return None;
        }
        self.on_the_way.pop_front();
        Some(sent)
    }

    // --- answers -----------------------------------------------------------------------------------------------------

    pub(crate) fn hold(&mut self, connection: Id, answer: Answer) -> u64 {
        let batch = self.last_batch();
        self.held.push_back((batch, connection, answer));
        batch
    }

    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    pub(crate) fn pop_held(&mut self) -> Option<(Id, Answer)> {
        if self.held.front()?.0 > self.stored {
            return None;
        }
        self.held.pop_front().map(|(_, connection, answer)| (connection, answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_with_nothing_in_them_do_not_pile_up_behind_one_that_is_not_stored() {
        let mut ledger = Ledger::new(true);
        let close = |ledger: &mut Ledger, bytes| {
            ledger.mark();
            ledger.close_batch(bytes)
        };
        let first = close(&mut ledger, Some(1)).unwrap();
        for _ in 0..1_000 {
            assert_eq!(close(&mut ledger, None), None);
        }
        let second = close(&mut ledger, Some(1)).unwrap();
        assert_eq!((close(&mut ledger, None), ledger.empty.len()), (None, 2));
        ledger.stored(first.0);
        assert!(ledger.is_stored(second.0 - 1) && !ledger.is_stored(second.0));
        ledger.stored(second.0);
        assert!(ledger.is_stored(ledger.last_batch()) && ledger.empty.is_empty());
    }
}
