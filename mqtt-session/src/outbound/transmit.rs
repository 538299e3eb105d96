//! Onto the wire: which message is next.
use super::{Awaits, Flight, Outbound};
use crate::control::write_ack;
use crate::journal::Change;
use crate::limits::Limits;
use crate::outgoing::{Outgoing, Written};
use crate::queue::{Entry, Waiting};
use crate::{Delivery, DropReason, Drops, Instant, PublishToken, Transmit};
use mqtt_codec::{AckKind, OutBuf, PacketId, Qos, ReasonCode};

impl Outbound {
    /// Writes at most one packet: what is sent again, then what waits, QoS 0 past a full window (v5 [MQTT-4.9.0-3]).
    pub(crate) fn transmit(
        &mut self,
        now: Instant,
        limits: &mut Limits,
        drops: &mut Drops,
        out: &mut OutBuf,
    ) -> Transmit {
        if let Some(done) = self.transmit_again(now, limits, drops, out) {
            return done;
        }
        // New messages come behind all that is sent again.
        let ordered = if self.resend.is_none() { self.transmit_ordered(now, limits, drops, out) } else { None };
        match ordered {
            Some(done @ (Transmit::Wrote | Transmit::Full | Transmit::Empty)) => done,
            // A place stands behind what was queued before it, QoS 0 included.
            Some(Transmit::Place(place)) => match self.transmit_free(now, limits, drops, out) {
                Transmit::Empty => Transmit::Place(place),
                busy @ (Transmit::Wrote | Transmit::Full | Transmit::Place(_)) => busy,
            },
            None => self.transmit_free(now, limits, drops, out),
        }
    }

    /// `None`: nothing is to be sent again, or the quota forbids it.
    fn transmit_again(
        &mut self,
        now: Instant,
        limits: &mut Limits,
        drops: &mut Drops,
        out: &mut OutBuf,
    ) -> Option<Transmit> {
        while let Some(&id) = self.resend.as_ref().and_then(|resend| resend.0.last()) {
            if self.journal.as_ref().is_some_and(|journal| !journal.may_resend()) {
                return None;
            }
            let Some(flight) = self.flights.get_mut(id).filter(|flight| flight.stale) else {
                self.done_again();
                continue;
            };
            let written = match &flight.awaits {
                Awaits::Puback(delivery) | Awaits::Pubrec(delivery) => {
                    if !self.window.is_open() {
                        return None;
                    }
                    // v5 [MQTT-3.3.1-1], v4 [MQTT-3.3.1-1]: DUP 1. v5 [MQTT-4.3.3-7], v5 [MQTT-4.3.3-13]: expired or not.
                    Outgoing::kept(delivery, now, Some(id), true).write(limits, out)
                }
                Awaits::Pubcomp => write_ack(AckKind::Pubrel, id, ReasonCode::SUCCESS, limits, out),
                Awaits::Suback | Awaits::Unsuback => {
                    self.done_again();
                    continue;
                }
            };
            match (written, &flight.awaits) {
                (Written::Full, _) => return Some(Transmit::Full),
                (Written::Wrote, Awaits::Puback(_) | Awaits::Pubrec(_)) => {
                    self.window.take();
                    flight.counted = true;
                }
                // This connection takes smaller packets than the last: as if delivered (v5 [MQTT-3.1.2-25]).
                (Written::Never, Awaits::Puback(_)) => {
                    drops.count(DropReason::TooLarge);
                    limits.note_dropped(flight.token, DropReason::TooLarge);
                    self.complete(id);
                    continue;
                }
                // The peer may hold the identifier, so it is released, else its next message would pass for a repetition.
                (Written::Never, Awaits::Pubrec(delivery)) => {
                    drops.count(DropReason::TooLarge);
                    self.bytes = self.bytes.saturating_sub(delivery.cost());
                    flight.awaits = Awaits::Pubcomp;
                    self.note(|| Change::Released { id });
                    if let Some(journal) = &mut self.journal {
                        journal.hold_resend();
                    }
                    continue;
                }
                (Written::Wrote | Written::Never, Awaits::Pubcomp | Awaits::Suback | Awaits::Unsuback) => {}
            }
            flight.stale = false;
            self.done_again();
            if written == Written::Wrote {
                return Some(Transmit::Wrote);
            }
        }
        None
    }

    /// The last of what is to be sent again is done with.
    fn done_again(&mut self) {
        if let Some(resend) = &mut self.resend {
            resend.0.pop();
            if resend.0.is_empty() {
                self.resend = None;
            }
        }
    }

    /// `None`: nothing waits in order, or it waits for the window.
    fn transmit_ordered(
        &mut self,
        now: Instant,
        limits: &mut Limits,
        drops: &mut Drops,
        out: &mut OutBuf,
    ) -> Option<Transmit> {
        if self.journal.is_some() {
            return self.transmit_recorded(now, limits, drops, out);
        }
        loop {
            let Entry { token, delivery, .. } = match self.queue.front()? {
                Waiting::Place(place) => return Some(Transmit::Place(*place)),
                Waiting::Delivery(entry) => entry,
            };
            let id = match delivery.qos {
                // v5 [MQTT-4.6.0-5]: what has the lane of its own was there before the place that it stood behind
                Qos::AtMostOnce if self.queue.front_free().is_some() => {
                    match self.transmit_free(now, limits, drops, out) {
                        Transmit::Empty => continue, // all of it had expired, or was too large
                        done => return Some(done),
                    }
                }
                Qos::AtMostOnce => None,
                // v5 [MQTT-4.9.0-2], v5 [MQTT-3.3.4-7], v5 [MQTT-3.3.4-9]: at zero quota it waits.
                Qos::AtLeastOnce | Qos::ExactlyOnce => Some(self.flights.next().filter(|_| self.window.is_open())?),
            };
            match send(delivery, now, id, limits, drops, out) {
                Written::Full => return Some(Transmit::Full),
                // v5 [MQTT-3.1.2-25]: dropped for this client alone, and done; no identifier and no quota were spent.
                Written::Never => {
                    give_up(*token, delivery, now, limits);
                    self.forget_front();
                }
                Written::Wrote => {
                    self.begin();
                    return Some(Transmit::Wrote);
                }
            }
        }
    }

    /// Moves the front of the queue, which was written, to where it awaits its answer.
    fn begin(&mut self) {
        let Some(Entry { token, delivery, .. }) = self.queue.pop() else { return };
        let awaits = match delivery.qos {
            Qos::AtMostOnce => {
                self.bytes = self.bytes.saturating_sub(delivery.cost());
                return;
            }
            Qos::AtLeastOnce => Awaits::Puback(delivery),
            Qos::ExactlyOnce => Awaits::Pubrec(delivery),
        };
        self.window.take();
        self.inflight = self.inflight.saturating_add(1);
        // v5 [MQTT-4.3.2-1], v5 [MQTT-4.3.3-1], v4 [MQTT-4.3.2-1], v4 [MQTT-4.3.3-1]: the identifier it was written with.
        self.flights.insert(Flight { awaits, token, stale: false, counted: true, unsent: false });
    }

    pub(super) fn forget_front(&mut self) {
        if let Some(entry) = self.queue.pop() {
            self.bytes = self.bytes.saturating_sub(entry.delivery.cost());
        }
    }

    pub(super) fn transmit_free(
        &mut self,
        now: Instant,
        limits: &mut Limits,
        drops: &mut Drops,
        out: &mut OutBuf,
    ) -> Transmit {
        while let Some((token, delivery)) = self.queue.front_free() {
            let size = delivery.cost();
            let written = send(delivery, now, None, limits, drops, out);
            match written {
                Written::Full => return Transmit::Full,
                Written::Never => give_up(*token, delivery, now, limits),
                Written::Wrote => {}
            }
            self.queue.pop_free();
            self.bytes = self.bytes.saturating_sub(size);
            if written == Written::Wrote {
                return Transmit::Wrote;
            }
        }
        Transmit::Empty
    }
}

/// Writes a new message, if it may be sent at all.
pub(super) fn send(
    delivery: &Delivery,
    now: Instant,
    id: Option<PacketId>,
    limits: &mut Limits,
    drops: &mut Drops,
    out: &mut OutBuf,
) -> Written {
    // v5 [MQTT-3.3.2-5]: whose expiry has come before it was sent.
    if delivery.message.is_expired(now) {
        drops.count(DropReason::Expired);
        return Written::Never;
    }
    if !limits.may_send(delivery.qos, delivery.retain) {
        drops.count(DropReason::NotSupported);
        return Written::Never;
    }
    // v5 [MQTT-4.3.2-2], v5 [MQTT-4.3.3-2], v5 [MQTT-4.3.1-1]: DUP 0, whatever the publisher's was (v5 [MQTT-3.3.1-3]).
    let written = Outgoing::kept(delivery, now, id, false).write(limits, out);
    if written == Written::Never {
        drops.count(DropReason::TooLarge);
    }
    written
}

/// Notes why [`send`] would never send it.
#[cold]
pub(super) fn give_up(token: PublishToken, delivery: &Delivery, now: Instant, limits: &mut Limits) {
    let why = if delivery.message.is_expired(now) {
        DropReason::Expired
    } else if !limits.may_send(delivery.qos, delivery.retain) {
        DropReason::NotSupported
    } else {
        DropReason::TooLarge
    };
    limits.note_dropped(token, why);
}
