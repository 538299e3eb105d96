//! The sending half of QoS 1 and QoS 2 delivery (section 4.3).
//!
//! ```text
//!           publish           PUBREC < 0x80            PUBCOMP
//! QoS 2 -------------> Pubrec -------------> Pubcomp ----------> done
//! QoS 1 -------------> Puback ------------------------PUBACK---> done
//!
//!      SUBSCRIBE ----> Suback ------------------------SUBACK---> done
//!    UNSUBSCRIBE ----> Unsuback ----------------------UNSUBACK-> done
//! ```
//!
//! Each state is named after the packet it awaits, and the message lives only in the states that may still send it.
mod kept;
mod recorded;
mod transmit;

use crate::journal::{Change, Held, Journal};
use crate::limits::Window;
use crate::message::Delivery;
use crate::packet_ids::PacketIds;
use crate::queue::{Entry, Queue};
use crate::{Place, PublishToken, QueueFull, QueueLimits, Share};
use alloc::boxed::Box;
use alloc::vec::Vec;
use mqtt_codec::{Ack, AckKind, PacketId, Qos, ReasonCode, Version};

/// What this end has sent and what it will send: the part of the session that faces outwards.
///
/// v5 [MQTT-4.1.0-1], v4 [MQTT-4.1.0-1], v4 [MQTT-4.1.0-2], v5 [X5-SESS-1]: kept as long as the session is, and no subscription that
/// ends takes anything out of it (v5 [MQTT-3.10.4-3], v4 [MQTT-3.10.4-3]).
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    /// In the order they were sent first.
    flights: PacketIds<Flight>,
    /// What is still to be sent again on this connection; there only for a moment after a resume.
    resend: Option<Box<Resend>>,
    queue: Queue,
    /// Of messages in flight and queued.
    bytes: usize,
    /// Messages sent and not finished: SUBSCRIBE and UNSUBSCRIBE are not.
    inflight: u16,
    /// The client's end: a CONNECT was made of this session, so that a server may have kept its part.
    pub(crate) known: bool,
    /// The send quota of the connection, which the session outlives.
    window: Window,
    /// There while changes are recorded.
    pub(crate) journal: Option<Box<Journal>>,
}

/// Identifiers, last first.
#[derive(Debug)]
struct Resend(Vec<PacketId>);

/// An identifier in use.
#[derive(Debug)]
struct Flight {
    awaits: Awaits,
    token: PublishToken,
    /// Sent on an earlier connection, and not yet again on this one.
    stale: bool,
    /// Has taken of this connection's send quota.
    counted: bool,
    /// It has its identifier, and was never sent: only while changes are recorded.
    unsent: bool,
}

#[derive(Debug)]
enum Awaits {
    Puback(Delivery),
    Pubrec(Delivery),
    Pubcomp,
    Suback,
    Unsuback,
}

/// A SUBSCRIBE or an UNSUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Subscribe,
    Unsubscribe,
}

/// What an acknowledgement leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Nothing,
    /// A PUBREL is to be sent.
    Release(PacketId, ReasonCode),
    Completed(PublishToken, ReasonCode),
}

/// The peer acknowledged what it was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnexpectedAck;

// --- the exchange ----------------------------------------------------------------------------------------------------

impl Outbound {
    /// Takes a PUBACK, PUBREC or PUBCOMP.
    pub(crate) fn handle_ack(&mut self, ack: &Ack<'_>, version: Version) -> Result<Step, UnexpectedAck> {
        let (id, accepted) = (ack.packet_id, !ack.reason.is_error());
        let Some(flight) = self.flights.get_mut(id).filter(|flight| !flight.unsent) else {
            return Ok(match ack.kind {
                // v5 [X5-ACK-3]: it is told; before 5.0 a plain PUBREL lets it end the exchange.
                AckKind::Pubrec if accepted => {
                    self.release(id, if version == Version::V5 { NOT_FOUND } else { ReasonCode::SUCCESS })
                }
                AckKind::Puback | AckKind::Pubrec | AckKind::Pubrel | AckKind::Pubcomp => Step::Nothing,
            });
        };
        match (&flight.awaits, ack.kind) {
            // v5 [MQTT-4.3.3-4], v4 [MQTT-4.3.3-1]: a PUBREC below 0x80 is answered with PUBREL.
            (Awaits::Pubrec(delivery), AckKind::Pubrec) if accepted => {
                // v5 [MQTT-4.3.3-6]: from here on the message is forgotten, so it cannot be sent again.
                self.bytes = self.bytes.saturating_sub(delivery.cost());
                flight.awaits = Awaits::Pubcomp;
                flight.stale = false;
                self.note(|| Change::Released { id });
                Ok(self.release(id, ReasonCode::SUCCESS))
            }
            // v5 [MQTT-4.3.2-3], v5 [MQTT-4.3.3-3], v5 [MQTT-4.3.3-5], v4 [MQTT-2.3.1-3], v5 [MQTT-4.4.0-2], v5 [X5-PID-2]: any PUBACK, any PUBCOMP and a
            // PUBREC from 0x80 on end the exchange; nothing of it is sent again.
            (Awaits::Puback(_), AckKind::Puback) | (Awaits::Pubrec(_), AckKind::Pubrec) => {
                Ok(self.complete(id).map_or(Step::Nothing, |token| Step::Completed(token, ack.reason)))
            }
            // The PUBREC was the peer's word on the message. A PUBCOMP with 0x92 only says that its first one was lost on the way.
            (Awaits::Pubcomp, AckKind::Pubcomp) => {
                Ok(self.complete(id).map_or(Step::Nothing, |token| Step::Completed(token, ReasonCode::SUCCESS)))
            }
            // a peer that repeats its PUBREC gets the PUBREL again
            (Awaits::Pubcomp, AckKind::Pubrec) if accepted => {
                flight.stale = false;
                Ok(self.release(id, ReasonCode::SUCCESS))
            }
            (Awaits::Puback(_) | Awaits::Pubrec(_) | Awaits::Pubcomp | Awaits::Suback | Awaits::Unsuback, _) => {
                Err(UnexpectedAck)
            }
        }
    }

    /// A PUBREL, now or when what it rests on is stored.
    fn release(&mut self, id: PacketId, reason: ReasonCode) -> Step {
        match &mut self.journal {
            Some(journal) if journal.must_wait() => {
                journal.hold(Held::Release(id, reason));
                Step::Nothing
            }
            Some(_) | None => Step::Release(id, reason),
        }
    }

    fn complete(&mut self, id: PacketId) -> Option<PublishToken> {
        let flight = self.flights.remove(id)?;
        self.note(|| Change::Finished { id });
        if flight.counted {
            self.window.give();
        }
        match flight.awaits {
            Awaits::Puback(delivery) | Awaits::Pubrec(delivery) => {
                self.bytes = self.bytes.saturating_sub(delivery.cost())
            }
            Awaits::Pubcomp | Awaits::Suback | Awaits::Unsuback => {}
        }
        self.inflight = self.inflight.saturating_sub(u16::from(!flight.unsent));
        Some(flight.token)
    }

    /// An identifier for a SUBSCRIBE or UNSUBSCRIBE; `None` while none is to be had.
    pub(crate) fn begin_request(&mut self, request: Request) -> Option<PacketId> {
        let awaits = match request {
            Request::Subscribe => Awaits::Suback,
            Request::Unsubscribe => Awaits::Unsuback,
        };
        self.flights.insert(Flight { awaits, token: PublishToken(0), stale: false, counted: false, unsent: false })
    }

    /// The identifier that [`begin_request`](Self::begin_request) gives next.
    pub(crate) fn next_id(&self) -> Option<PacketId> {
        self.flights.next()
    }

    /// Takes a SUBACK or UNSUBACK; `false` if nobody asked.
    pub(crate) fn end_request(&mut self, id: PacketId, request: Request) -> bool {
        let asked = match (self.flights.get_mut(id).map(|flight| &flight.awaits), request) {
            (Some(Awaits::Suback), Request::Subscribe) | (Some(Awaits::Unsuback), Request::Unsubscribe) => true,
            (
                Some(Awaits::Puback(_) | Awaits::Pubrec(_) | Awaits::Pubcomp | Awaits::Suback | Awaits::Unsuback)
                | None,
                _,
            ) => false,
        };
        asked && self.flights.remove(id).is_some()
    }
}

/// What answers an exchange that is not known.
const NOT_FOUND: ReasonCode = ReasonCode::PACKET_IDENTIFIER_NOT_FOUND;

// --- between connections ---------------------------------------------------------------------------------------------

impl Outbound {
    /// The connection is over.
    pub(crate) fn detach(&mut self) {
        self.resend = None;
        self.window = Window::default();
        if let Some(journal) = &mut self.journal {
            journal.detach();
        }
        // A SUBSCRIBE is of its connection; its identifier is free again.
        let requests: Vec<_> = self
            .flights
            .iter_mut()
            .filter_map(|(id, flight)| match flight.awaits {
                Awaits::Suback | Awaits::Unsuback => Some(id),
                Awaits::Puback(_) | Awaits::Pubrec(_) | Awaits::Pubcomp => {
                    (flight.stale, flight.counted) = (!flight.unsent, false);
                    None
                }
            })
            .collect();
        for id in requests {
            self.flights.remove(id);
        }
    }

    /// A connection goes on with the session.
    ///
    /// v5 [MQTT-4.4.0-1], v4 [MQTT-4.4.0-1]: what is unacknowledged is sent again with its identifier, and only now, though
    /// v4 [X311-RESEND-1] and v3 [X31-RETRY-1] would allow more. v5 [MQTT-4.8.2-4]: that of shared subscriptions too.
    /// v5 [MQTT-4.6.0-1], v4 [MQTT-4.6.0-1]: in the order it was sent first.
    pub(crate) fn resume(&mut self, send_maximum: u16) {
        self.window = Window::new(send_maximum);
        if let Some(journal) = &mut self.journal {
            journal.hold_resend();
        }
        let mut publishes = 0;
        let mut resend: Vec<_> = self
            .flights
            .iter_mut()
            .filter_map(|(id, flight)| {
                let release = matches!(flight.awaits, Awaits::Pubcomp);
                publishes += usize::from(!release);
                flight.stale.then_some((id, release))
            })
            .collect();
        if publishes > usize::from(self.window.start()) {
            // The quota will run out on the way, and a PUBREL must not wait for it: those go first.
            resend.sort_by_key(|&(_, release)| !release);
        }
        let resend: Vec<_> = resend.into_iter().rev().map(|(id, _)| id).collect();
        self.resend = (!resend.is_empty()).then(|| Box::new(Resend(resend)));
    }

    /// QoS 2 that the peer has and was not heard to have released, in order.
    pub(crate) fn released(&self) -> impl Iterator<Item = PublishToken> {
        self.flights
            .iter()
            .filter(|(_, flight)| matches!(flight.awaits, Awaits::Pubcomp))
            .map(|(_, flight)| flight.token)
    }

    /// The peer has lost the session: its identifiers mean nothing any more. What it never acknowledged is begun anew,
    /// before all that waits (v5 [MQTT-3.2.2-5]).
    pub(crate) fn restart(&mut self) {
        self.resend = None;
        let ids: Vec<_> = self.flights.iter_mut().map(|(id, _)| id).collect();
        for id in ids.into_iter().rev() {
            if let Some(Flight { awaits: Awaits::Puback(delivery) | Awaits::Pubrec(delivery), token, .. }) =
                self.flights.remove(id)
            {
                self.queue.push_front(token, delivery);
            }
        }
        self.inflight = 0;
        if let Some(journal) = &mut self.journal {
            journal.restart();
        }
        self.note(|| Change::Restarted);
    }
}

// --- the queue -------------------------------------------------------------------------------------------------------

impl Outbound {
    #[allow(clippy::result_large_err)]
    pub(crate) fn deliver(&mut self, delivery: Delivery, limits: &QueueLimits) -> Result<PublishToken, QueueFull> {
        let size = delivery.cost();
        if self.queued().saturating_add(self.inflight()) >= limits.messages
            || self.bytes.saturating_add(size) > limits.bytes
        {
            return Err(QueueFull(delivery));
        }
        if self.journal.is_some() {
            return self.deliver_recorded(delivery);
        }
        let token = self.queue.begin_token();
        self.bytes += size;
        self.queue.push(token, delivery);
        Ok(token)
    }

    pub(crate) fn hold_place(&mut self) -> Place {
        self.queue.hold_place()
    }

    pub(crate) fn fill_place(&mut self, place: Place, delivery: Delivery) {
        let size = delivery.cost();
        if !self.can_record(&delivery) {
            return;
        }
        let (token, late) = (self.queue.begin_token(), self.records(&delivery));
        if self.queue.fill_place(place, Entry { token, delivery, late }) {
            self.bytes = self.bytes.saturating_add(size);
        }
    }

    pub(crate) fn close_place(&mut self, place: Place) {
        self.queue.close_place(place);
    }

    pub(crate) fn drop_oldest(&mut self) -> Option<Delivery> {
        if self.journal.is_some()
            && let Some(delivery) = self.drop_unsent()
        {
            return Some(delivery);
        }
        let Entry { token, delivery, late } = self.queue.pop_oldest()?;
        self.bytes = self.bytes.saturating_sub(delivery.cost());
        if !late && self.records(&delivery) {
            self.note(|| Change::Dropped { token });
        }
        Some(delivery)
    }

    pub(crate) fn drop_oldest_qos0(&mut self) -> Option<Delivery> {
        let (_, delivery) = self.queue.pop_free()?;
        self.bytes = self.bytes.saturating_sub(delivery.cost());
        Some(delivery)
    }

    pub(crate) fn drop_qos0(&mut self) -> usize {
        let (mut count, mut bytes) = (0, 0_usize);
        for (_, delivery) in self.queue.drain_free() {
            count += 1;
            bytes = bytes.saturating_add(delivery.cost());
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        count
    }

    /// What is in flight or waits for a group; the session is over.
    pub(crate) fn into_shared(mut self) -> Vec<Delivery> {
        // v5 [MQTT-4.8.2-5], v5 [MQTT-4.8.2-6]: QoS 2 that was begun, and what the peer refused, is for nobody else.
        let flights = self.flights.drain().filter_map(|flight| match flight.awaits {
            Awaits::Puback(delivery) => Some(delivery),
            Awaits::Pubrec(delivery) if flight.unsent => Some(delivery),
            Awaits::Pubrec(_) | Awaits::Pubcomp | Awaits::Suback | Awaits::Unsuback => None,
        });
        let waiting = self.queue.take_if(|_| true).into_iter().map(|entry| entry.delivery);
        flights.chain(waiting).filter(|delivery| delivery.qos > Qos::AtMostOnce && delivery.share().is_some()).collect()
    }

    pub(crate) fn mark_shared(&mut self, mut share: impl FnMut(u64) -> Option<Share>) {
        let flights = self.flights.iter_mut().filter_map(|(_, flight)| match &mut flight.awaits {
            Awaits::Puback(delivery) | Awaits::Pubrec(delivery) => Some(delivery),
            Awaits::Pubcomp | Awaits::Suback | Awaits::Unsuback => None,
        });
        for delivery in flights.chain(self.queue.iter_mut()) {
            if let Some(number) = delivery.share() {
                delivery.aside = share(number).map(|share| share.0);
            }
        }
    }

    pub(crate) fn take_shared(&mut self, number: u64) -> Vec<Delivery> {
        self.take_waiting(|delivery| delivery.share() == Some(number))
    }

    /// Takes out what `keep` does not want of what is still to be sent, or to be sent again; how much that was.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Delivery) -> bool) -> usize {
        let mut unwanted = Vec::new();
        for (id, flight) in self.flights.iter_mut().filter(|(_, flight)| flight.stale) {
            match &flight.awaits {
                Awaits::Puback(delivery) if !keep(delivery) => unwanted.push((id, delivery.cost(), false)),
                Awaits::Pubrec(delivery) if !keep(delivery) => unwanted.push((id, delivery.cost(), true)),
                Awaits::Puback(_) | Awaits::Pubrec(_) | Awaits::Pubcomp | Awaits::Suback | Awaits::Unsuback => {}
            }
        }
        for &(id, cost, release) in &unwanted {
            self.bytes = self.bytes.saturating_sub(cost);
            // The peer may hold the identifier, so it is released, else its next message would pass for a repetition.
            if release && let Some(flight) = self.flights.get_mut(id) {
                flight.awaits = Awaits::Pubcomp;
                self.note(|| Change::Released { id });
            } else if self.flights.remove(id).is_some() {
                self.inflight = self.inflight.saturating_sub(1);
                self.note(|| Change::Finished { id });
            }
        }
        if let Some(journal) = &mut self.journal {
            journal.hold_resend(); // nor is a PUBREL of these sent before they are stored
        }
        unwanted.len() + self.take_waiting(|delivery| !keep(delivery)).len()
    }

    /// Takes out of what was never sent, in its order.
    fn take_waiting(&mut self, mut wanted: impl FnMut(&Delivery) -> bool) -> Vec<Delivery> {
        let mut taken = self.take_unsent_if(&mut wanted);
        for Entry { token, delivery, late } in self.queue.take_if(wanted) {
            self.bytes = self.bytes.saturating_sub(delivery.cost());
            if !late && self.records(&delivery) {
                self.note(|| Change::Dropped { token });
            }
            taken.push(delivery);
        }
        taken
    }

    pub(crate) fn last_token(&self) -> PublishToken {
        self.queue.last_token()
    }

    /// Whether a QoS 0 message has nothing to wait behind.
    pub(crate) fn is_free(&self) -> bool {
        self.queue.is_free()
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.len() + self.journal.as_ref().map_or(0, |journal| journal.unsent_len())
    }

    /// Whether there is neither something to write nor a place.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        self.queue.is_empty() && self.resend.is_none() && self.journal.is_none()
    }

    /// Whether there may be something to write.
    #[inline]
    pub(crate) fn has_output(&self) -> bool {
        self.queue.has_deliveries()
            || self.resend.is_some()
            || self.journal.as_ref().is_some_and(|journal| journal.unsent_len() > 0 || journal.has_released())
    }

    /// How much is held until what it rests on is stored.
    pub(crate) fn held(&self) -> usize {
        self.journal.as_ref().map_or(0, |journal| journal.held_len())
    }

    /// Whether something that was held until it is stored may be said now.
    pub(crate) fn has_released(&self) -> bool {
        self.journal.as_ref().is_some_and(|journal| journal.has_released())
    }

    pub(crate) fn inflight(&self) -> usize {
        usize::from(self.inflight)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn sendable_bytes(&self) -> usize {
        self.queue.sendable_bytes(self.window.is_open() && self.flights.next().is_some())
    }

    pub(crate) fn send_window(&self) -> usize {
        usize::from(self.window.start())
    }

    /// How many more could be delivered now and sent without waiting for an acknowledgement.
    pub(crate) fn send_quota(&self) -> usize {
        usize::from(self.window.left()).saturating_sub(self.queue.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.flights.is_empty() && self.queue.is_empty()
    }

    pub(crate) fn shrink(&mut self) {
        self.flights.shrink();
        self.queue.shrink();
        if let Some(journal) = &mut self.journal {
            journal.shrink();
        }
    }

    pub(crate) fn memory(&self) -> usize {
        let resend =
            self.resend.as_ref().map_or(0, |resend| size_of::<Resend>() + resend.0.capacity() * size_of::<PacketId>());
        let journal = self.journal.as_ref().map_or(0, |journal| journal.memory());
        self.flights.memory() + self.queue.memory() + resend + journal
    }
}
