//! Sending while changes are recorded: a message gets its identifier in the change that queues it, or in one of its own when
//! its turn comes, and QoS 2 is sent when that change is stored.
//!
//! ```text
//! deliver -> [the lane waits for the window] -> identifier -> [QoS 2 waits until it is stored] -> sent
//! ```
//!
//! From its identifier on a message counts as in flight: what is restored sends it again with the same identifier.
use super::transmit::{give_up, send};
use super::{Awaits, Flight, Outbound};
use crate::journal::{Change, Journal, Unsent};
use crate::limits::Limits;
use crate::outgoing::Written;
use crate::queue::{Entry, Waiting};
use crate::{Delivery, Drops, Instant, PublishToken, QueueFull, Transmit, record};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::ControlFlow;
use mqtt_codec::{OutBuf, Qos};

impl Outbound {
    /// From here on changes are recorded.
    pub(crate) fn record_changes(&mut self) {
        if self.journal.is_none() {
            self.journal = Some(Box::new(Journal::new(self.last_token(), self.flights.upcoming())));
        }
    }

    #[inline]
    pub(super) fn note(&mut self, change: impl FnOnce() -> Change) {
        if let Some(journal) = &mut self.journal {
            journal.note(change());
        }
    }

    /// Whether what becomes of `delivery` is recorded.
    pub(super) fn records(&self, delivery: &Delivery) -> bool {
        self.journal.is_some() && delivery.qos != Qos::AtMostOnce
    }

    /// A message that no packet can hold is never sent, and has no record.
    pub(super) fn can_record(&self, delivery: &Delivery) -> bool {
        self.journal.is_none() || record::can_hold(delivery)
    }

    #[cold]
    #[allow(clippy::result_large_err)]
    pub(super) fn deliver_recorded(&mut self, delivery: Delivery) -> Result<PublishToken, QueueFull> {
        if self.records(&delivery) && !self.can_record(&delivery) {
            return Err(QueueFull(delivery));
        }
        let token = self.queue.begin_token();
        self.bytes = self.bytes.saturating_add(delivery.cost());
        if !self.records(&delivery) {
            self.queue.push(token, delivery);
        } else if self.queue.is_clear() && self.can_begin() {
            self.begin_recorded(Entry { token, delivery, late: true });
        } else {
            self.note(|| Change::Queued { token, id: None, delivery: delivery.clone() });
            self.queue.push(token, delivery);
        }
        Ok(token)
    }

    /// v5 [MQTT-4.9.0-2]: not at zero quota; and behind all that is sent again, and all that has had its identifier since an earlier
    /// connection and none of this one's quota, which it must not take from them.
    fn can_begin(&self) -> bool {
        let first = self.journal.as_ref().and_then(|journal| journal.unsent());
        self.window.is_open()
            && self.resend.is_none()
            && first.is_none_or(|unsent| self.flights.get(unsent.id).is_none_or(|flight| flight.counted))
            && self.flights.next().is_some()
    }

    /// Gives a message its identifier.
    fn begin_recorded(&mut self, Entry { token, delivery, late }: Entry) {
        let Some(id) = self.flights.next() else { return };
        let qos = delivery.qos;
        if late {
            self.note(|| Change::Queued { token, id: Some(id), delivery: delivery.clone() });
        } else {
            self.note(|| Change::Begun { token, id });
        }
        let awaits = super::kept::awaits(delivery);
        self.flights.insert(Flight { awaits, token, stale: false, counted: true, unsent: true });
        self.window.take();
        let next = self.flights.upcoming();
        if let Some(journal) = &mut self.journal {
            journal.begun(id, qos, next);
        }
    }

    /// As many of those that wait get their identifiers as the quota allows, so that they are stored together.
    fn begin_waiting(&mut self) {
        while self.can_begin()
            && let Some(Waiting::Delivery(front)) = self.queue.front()
            && front.delivery.qos != Qos::AtMostOnce
            && let Some(entry) = self.queue.pop()
        {
            self.begin_recorded(entry);
        }
    }

    /// What `transmit_ordered` does, while changes are recorded.
    #[cold]
    pub(super) fn transmit_recorded(
        &mut self,
        now: Instant,
        limits: &mut Limits,
        drops: &mut Drops,
        out: &mut OutBuf,
    ) -> Option<Transmit> {
        loop {
            self.begin_waiting();
            if let Some(unsent) = self.journal.as_ref().and_then(|journal| journal.unsent()) {
                match self.transmit_begun(unsent, now, limits, drops, out) {
                    ControlFlow::Break(done) => return done,
                    ControlFlow::Continue(()) => continue,
                }
            }
            // What stands at the front has no identifier: a place, QoS 0, or a message that waits for the window.
            let (token, delivery) = match self.queue.front()? {
                Waiting::Place(place) => return Some(Transmit::Place(*place)),
                Waiting::Delivery(Entry { delivery, .. }) if delivery.qos != Qos::AtMostOnce => return None,
                // it was there before
                Waiting::Delivery(_) if self.queue.front_free().is_some() => {
                    match self.transmit_free(now, limits, drops, out) {
                        Transmit::Empty => continue,
                        done => return Some(done),
                    }
                }
                Waiting::Delivery(Entry { token, delivery, .. }) => (*token, delivery),
            };
            let written = send(delivery, now, None, limits, drops, out);
            match written {
                Written::Full => return Some(Transmit::Full),
                Written::Never => give_up(token, delivery, now, limits),
                Written::Wrote => {}
            }
            self.forget_front();
            if written == Written::Wrote {
                return Some(Transmit::Wrote);
            }
        }
    }

    /// Sends the first message that has its identifier and was not sent.
    fn transmit_begun(
        &mut self,
        unsent: Unsent,
        now: Instant,
        limits: &mut Limits,
        drops: &mut Drops,
        out: &mut OutBuf,
    ) -> ControlFlow<Option<Transmit>> {
        let Some(Flight {
            awaits: Awaits::Puback(delivery) | Awaits::Pubrec(delivery),
            token,
            counted,
            unsent: waits,
            ..
        }) = self.flights.get_mut(unsent.id)
        else {
            self.pop_unsent();
            return ControlFlow::Continue(());
        };
        if !self.journal.as_ref().is_some_and(|journal| journal.may_send(unsent))
            || !(*counted || self.window.is_open())
        {
            // What comes into a place at the front can be stored meanwhile.
            return ControlFlow::Break(match self.queue.front() {
                Some(Waiting::Place(place)) => Some(Transmit::Place(*place)),
                Some(Waiting::Delivery(_)) | None => None,
            });
        }
        match send(delivery, now, Some(unsent.id), limits, drops, out) {
            Written::Full => ControlFlow::Break(Some(Transmit::Full)),
            Written::Never => {
                give_up(*token, delivery, now, limits);
                self.complete(unsent.id);
                self.pop_unsent();
                ControlFlow::Continue(())
            }
            Written::Wrote => {
                if !core::mem::replace(counted, true) {
                    self.window.take();
                }
                *waits = false;
                self.inflight = self.inflight.saturating_add(1);
                self.pop_unsent();
                ControlFlow::Break(Some(Transmit::Wrote))
            }
        }
    }

    fn pop_unsent(&mut self) {
        if let Some(journal) = &mut self.journal {
            journal.pop_unsent();
        }
    }

    /// Takes out those that have their identifier and were not sent, as far as they are wanted.
    pub(super) fn take_unsent_if(&mut self, mut wanted: impl FnMut(&Delivery) -> bool) -> Vec<Delivery> {
        let mut taken = Vec::new();
        let mut unsent = self.journal.as_mut().map(|journal| journal.take_unsent()).unwrap_or_default();
        unsent.retain(|&Unsent { id, .. }| {
            let Some(Awaits::Puback(delivery) | Awaits::Pubrec(delivery)) =
                self.flights.get_mut(id).map(|flight| &flight.awaits)
            else {
                return false;
            };
            let stays = !wanted(delivery);
            if !stays {
                taken.push(delivery.clone());
                self.complete(id);
            }
            stays
        });
        if let Some(journal) = &mut self.journal {
            journal.set_unsent(unsent);
        }
        taken
    }

    /// Gives up the first message that has its identifier and was not sent, if it is the oldest of all.
    #[cold]
    pub(super) fn drop_unsent(&mut self) -> Option<Delivery> {
        let id = self.journal.as_ref()?.unsent()?.id;
        let token = self.flights.get_mut(id)?.token;
        if self.queue.free_is_before(token) {
            return None;
        }
        self.pop_unsent();
        let flight = self.flights.remove(id)?;
        self.note(|| Change::Finished { id });
        if flight.counted {
            self.window.give();
        }
        let (Awaits::Puback(delivery) | Awaits::Pubrec(delivery)) = flight.awaits else { return None };
        self.bytes = self.bytes.saturating_sub(delivery.cost());
        Some(delivery)
    }
}
