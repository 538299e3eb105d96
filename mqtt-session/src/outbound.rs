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
use crate::control::write_ack;
use crate::limits::{Limits, Window};
use crate::message::Delivery;
use crate::outgoing::{Outgoing, Written};
use crate::packet_ids::PacketIds;
use crate::queue::{Queue, Waiting};
use crate::{Drops, Instant, Place, PublishToken, QueueFull, QueueLimits, Transmit};
use alloc::boxed::Box;
use alloc::vec::Vec;
use mqtt_codec::{Ack, AckKind, OutBuf, PacketId, Qos, ReasonCode, Version};

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
    /// Messages in flight: SUBSCRIBE and UNSUBSCRIBE are not.
    inflight: u32,
    last_token: u32,
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
    pub(crate) fn handle_ack(
        &mut self,
        ack: &Ack<'_>,
        window: &mut Window,
        version: Version,
    ) -> Result<Step, UnexpectedAck> {
        let (id, accepted) = (ack.packet_id, !ack.reason.is_error());
        let Some(flight) = self.flights.get_mut(id) else {
            return Ok(match ack.kind {
                // v5 [X5-ACK-3]: it is told; before 5.0 a plain PUBREL lets it end the exchange.
                AckKind::Pubrec if accepted => {
                    Step::Release(id, if version == Version::V5 { NOT_FOUND } else { ReasonCode::SUCCESS })
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
                Ok(Step::Release(id, ReasonCode::SUCCESS))
            }
            // v5 [MQTT-4.3.2-3], v5 [MQTT-4.3.3-3], v5 [MQTT-4.3.3-5], v4 [MQTT-2.3.1-3], v5 [MQTT-4.4.0-2], v5 [X5-PID-2]: any PUBACK, any PUBCOMP and a
            // PUBREC from 0x80 on end the exchange; nothing of it is sent again.
            (Awaits::Puback(_), AckKind::Puback) | (Awaits::Pubrec(_), AckKind::Pubrec) => {
                Ok(self.complete(id, window).map_or(Step::Nothing, |token| Step::Completed(token, ack.reason)))
            }
            // The PUBREC was the peer's word on the message. A PUBCOMP with 0x92 only says that its first one was lost on the way.
            (Awaits::Pubcomp, AckKind::Pubcomp) => {
                Ok(self.complete(id, window).map_or(Step::Nothing, |token| Step::Completed(token, ReasonCode::SUCCESS)))
            }
            // a peer that repeats its PUBREC gets the PUBREL again
            (Awaits::Pubcomp, AckKind::Pubrec) if accepted => {
                flight.stale = false;
                Ok(Step::Release(id, ReasonCode::SUCCESS))
            }
            (Awaits::Puback(_) | Awaits::Pubrec(_) | Awaits::Pubcomp | Awaits::Suback | Awaits::Unsuback, _) => {
                Err(UnexpectedAck)
            }
        }
    }

    fn complete(&mut self, id: PacketId, window: &mut Window) -> Option<PublishToken> {
        let flight = self.flights.remove(id)?;
        if flight.counted {
            window.give();
        }
        match flight.awaits {
            Awaits::Puback(delivery) | Awaits::Pubrec(delivery) => {
                self.bytes = self.bytes.saturating_sub(delivery.cost())
            }
            Awaits::Pubcomp | Awaits::Suback | Awaits::Unsuback => {}
        }
        self.inflight = self.inflight.saturating_sub(1);
        Some(flight.token)
    }

    /// An identifier for a SUBSCRIBE or UNSUBSCRIBE; `None` while none is to be had.
    pub(crate) fn begin_request(&mut self, request: Request) -> Option<PacketId> {
        let awaits = match request {
            Request::Subscribe => Awaits::Suback,
            Request::Unsubscribe => Awaits::Unsuback,
        };
        self.flights.insert(Flight { awaits, token: PublishToken(0), stale: false, counted: false })
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
        // A SUBSCRIBE is of its connection; its identifier is free again.
        let requests: Vec<_> = self
            .flights
            .iter_mut()
            .filter_map(|(id, flight)| match flight.awaits {
                Awaits::Suback | Awaits::Unsuback => Some(id),
                Awaits::Puback(_) | Awaits::Pubrec(_) | Awaits::Pubcomp => {
                    (flight.stale, flight.counted) = (true, false);
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
    pub(crate) fn resume(&mut self, window: &Window) {
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
        if publishes > usize::from(window.start()) {
            // The quota will run out on the way, and a PUBREL must not wait for it: those go first.
            resend.sort_by_key(|&(_, release)| !release);
        }
        let resend: Vec<_> = resend.into_iter().rev().map(|(id, _)| id).collect();
        self.resend = (!resend.is_empty()).then(|| Box::new(Resend(resend)));
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
    }
}

// --- the queue -------------------------------------------------------------------------------------------------------

impl Outbound {
    #[allow(clippy::result_large_err)]
    pub(crate) fn deliver(&mut self, delivery: Delivery, limits: &QueueLimits) -> Result<PublishToken, QueueFull> {
        let size = delivery.cost();
        if self.queue.len().saturating_add(self.inflight()) >= limits.messages
            || self.bytes.saturating_add(size) > limits.bytes
        {
            return Err(QueueFull(delivery));
        }
        let token = self.begin_token();
        self.bytes += size;
        self.queue.push(token, delivery);
        Ok(token)
    }

    pub(crate) fn hold_place(&mut self) -> Place {
        self.queue.hold_place()
    }

    pub(crate) fn fill_place(&mut self, place: Place, delivery: Delivery) {
        let size = delivery.cost();
        let token = self.begin_token();
        if self.queue.fill_place(place, token, delivery) {
            self.bytes = self.bytes.saturating_add(size);
        }
    }

    pub(crate) fn close_place(&mut self, place: Place) {
        self.queue.close_place(place);
    }

    pub(crate) fn drop_oldest(&mut self) -> Option<Delivery> {
        let (_, delivery) = self.queue.pop_oldest()?;
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
            Awaits::Pubrec(_) | Awaits::Pubcomp | Awaits::Suback | Awaits::Unsuback => None,
        });
        let waiting = self.queue.take_if(|_| true);
        flights.chain(waiting).filter(|delivery| delivery.qos > Qos::AtMostOnce && delivery.share().is_some()).collect()
    }

    pub(crate) fn take_shared(&mut self, number: u64) -> Vec<Delivery> {
        let taken = self.queue.take_if(|delivery| delivery.share() == Some(number));
        let bytes = taken.iter().map(Delivery::cost).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
        taken
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
            } else if self.flights.remove(id).is_some() {
                self.inflight = self.inflight.saturating_sub(1);
            }
        }
        let waiting = self.queue.take_if(|delivery| !keep(delivery));
        self.bytes = self.bytes.saturating_sub(waiting.iter().map(Delivery::cost).sum());
        unwanted.len() + waiting.len()
    }

    pub(crate) fn last_token(&self) -> PublishToken {
        PublishToken(self.last_token)
    }

    /// Whether a QoS 0 message has nothing to wait behind.
    pub(crate) fn is_free(&self) -> bool {
        self.queue.is_free()
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn is_resending(&self) -> bool {
        self.resend.is_some()
    }

    pub(crate) fn inflight(&self) -> usize {
        usize::try_from(self.inflight).unwrap_or(usize::MAX)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn sendable_bytes(&self, window: &Window) -> usize {
        self.queue.sendable_bytes(window.is_open() && self.flights.next().is_some())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.flights.is_empty() && self.queue.is_empty()
    }

    pub(crate) fn shrink(&mut self) {
        self.flights.shrink();
        self.queue.shrink();
    }

    pub(crate) fn memory(&self) -> usize {
        let resend =
            self.resend.as_ref().map_or(0, |resend| size_of::<Resend>() + resend.0.capacity() * size_of::<PacketId>());
        self.flights.memory() + self.queue.memory() + resend
    }

    fn begin_token(&mut self) -> PublishToken {
        self.last_token = self.last_token.wrapping_add(1);
        PublishToken(self.last_token)
    }
}

// --- onto the wire ---------------------------------------------------------------------------------------------------

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
            let Some(flight) = self.flights.get_mut(id).filter(|flight| flight.stale) else {
                self.done_again();
                continue;
            };
            let written = match &flight.awaits {
                Awaits::Puback(delivery) | Awaits::Pubrec(delivery) => {
                    if !limits.window.is_open() {
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
                    limits.window.take();
                    flight.counted = true;
                }
                // This connection takes smaller packets than the last: as if delivered (v5 [MQTT-3.1.2-25]).
                (Written::Never, Awaits::Puback(_)) => {
                    drops.too_large = drops.too_large.saturating_add(1);
                    self.complete(id, &mut limits.window);
                    continue;
                }
                // The peer may hold the identifier, so it is released, else its next message would pass for a repetition.
                (Written::Never, Awaits::Pubrec(delivery)) => {
                    drops.too_large = drops.too_large.saturating_add(1);
                    self.bytes = self.bytes.saturating_sub(delivery.cost());
                    flight.awaits = Awaits::Pubcomp;
                    continue;
                }
                (Written::Wrote | Written::Never, Awaits::Pubcomp | Awaits::Suback | Awaits::Unsuback) => {}
            }
            flight.stale = false;
            self.done_again();
            return Some(Transmit::Wrote);
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
        loop {
            let delivery = match self.queue.front()? {
                Waiting::Place(place) => return Some(Transmit::Place(*place)),
                Waiting::Delivery(_, delivery) => delivery,
            };
            let id = match delivery.qos {
                Qos::AtMostOnce => None,
                // v5 [MQTT-4.9.0-2], v5 [MQTT-3.3.4-7], v5 [MQTT-3.3.4-9]: at zero quota it waits.
                Qos::AtLeastOnce | Qos::ExactlyOnce => Some(self.flights.next().filter(|_| limits.window.is_open())?),
            };
            match send(delivery, now, id, limits, drops, out) {
                Written::Full => return Some(Transmit::Full),
                // v5 [MQTT-3.1.2-25]: dropped for this client alone, and done; no identifier and no quota were spent.
                Written::Never => self.forget_front(),
                Written::Wrote => {
                    self.begin(limits);
                    return Some(Transmit::Wrote);
                }
            }
        }
    }

    /// Moves the front of the queue, which was written, to where it awaits its answer.
    fn begin(&mut self, limits: &mut Limits) {
        let Some((token, delivery)) = self.queue.pop() else { return };
        let awaits = match delivery.qos {
            Qos::AtMostOnce => {
                self.bytes = self.bytes.saturating_sub(delivery.cost());
                return;
            }
            Qos::AtLeastOnce => Awaits::Puback(delivery),
            Qos::ExactlyOnce => Awaits::Pubrec(delivery),
        };
        limits.window.take();
        self.inflight += 1;
        // v5 [MQTT-4.3.2-1], v5 [MQTT-4.3.3-1], v4 [MQTT-4.3.2-1], v4 [MQTT-4.3.3-1]: the identifier it was written with.
        self.flights.insert(Flight { awaits, token, stale: false, counted: true });
    }

    fn forget_front(&mut self) {
        if let Some((_, delivery)) = self.queue.pop() {
            self.bytes = self.bytes.saturating_sub(delivery.cost());
        }
    }

    fn transmit_free(&mut self, now: Instant, limits: &mut Limits, drops: &mut Drops, out: &mut OutBuf) -> Transmit {
        while let Some(delivery) = self.queue.front_free() {
            let size = delivery.cost();
            let written = send(delivery, now, None, limits, drops, out);
            if written == Written::Full {
                return Transmit::Full;
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
fn send(
    delivery: &Delivery,
    now: Instant,
    id: Option<PacketId>,
    limits: &mut Limits,
    drops: &mut Drops,
    out: &mut OutBuf,
) -> Written {
    // v5 [MQTT-3.3.2-5]: whose expiry has come before it was sent.
    if delivery.message.is_expired(now) {
        drops.expired = drops.expired.saturating_add(1);
        return Written::Never;
    }
    if !limits.may_send(delivery.qos, delivery.retain) {
        drops.not_supported = drops.not_supported.saturating_add(1);
        return Written::Never;
    }
    // v5 [MQTT-4.3.2-2], v5 [MQTT-4.3.3-2], v5 [MQTT-4.3.1-1]: DUP 0, whatever the publisher's was (v5 [MQTT-3.3.1-3]).
    let written = Outgoing::kept(delivery, now, id, false).write(limits, out);
    if written == Written::Never {
        drops.too_large = drops.too_large.saturating_add(1);
    }
    written
}
