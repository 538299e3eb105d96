//! The part of a snapshot that faces outwards, and the changes that follow it.
use super::{Awaits, Flight, Outbound};
use crate::packet_ids::PacketIds;
use crate::{Change, Delivery, Epoch, PublishToken, RecordError, RecordReader, RecordWriter};
use mqtt_codec::{PacketId, Qos};

/// How a flight is written.
const PUBACK: u8 = 1;
const PUBREC: u8 = 2;
const PUBCOMP: u8 = 3;

impl Outbound {
    pub(crate) fn write(&self, writer: &mut RecordWriter<'_>, epoch: Epoch) {
        let (token, next) = match &self.journal {
            Some(journal) => (journal.last_token(), journal.next_id()),
            None => (self.last_token(), self.flights.upcoming()),
        };
        writer.u32(token.0);
        writer.u16(next.map_or(1, PacketId::get));
        let kept = |flight: &Flight| !matches!(flight.awaits, Awaits::Suback | Awaits::Unsuback);
        writer.count(self.flights.iter().filter(|(_, flight)| kept(flight)).count());
        for (id, flight) in self.flights.iter().filter(|(_, flight)| kept(flight)) {
            writer.u16(id.get());
            writer.u32(flight.token.0);
            match &flight.awaits {
                Awaits::Puback(delivery) => {
                    writer.u8(PUBACK);
                    writer.delivery(delivery, epoch);
                }
                Awaits::Pubrec(delivery) => {
                    writer.u8(PUBREC);
                    writer.delivery(delivery, epoch);
                }
                Awaits::Pubcomp | Awaits::Suback | Awaits::Unsuback => writer.u8(PUBCOMP),
            }
        }
        let waiting = || self.queue.ordered().filter(|entry| !entry.late && entry.delivery.qos != Qos::AtMostOnce);
        writer.count(waiting().count());
        for entry in waiting() {
            writer.u32(entry.token.0);
            writer.delivery(&entry.delivery, epoch);
        }
    }

    /// Of an empty session.
    pub(crate) fn read(&mut self, body: &mut RecordReader<'_>, epoch: Epoch) -> Result<(), RecordError> {
        let (last, next) = (body.token()?, body.id()?);
        for _ in 0..body.u32()? {
            let (id, token) = (body.id()?, body.token()?);
            let awaits = match body.u8()? {
                PUBACK => Awaits::Puback(delivery_of(Qos::AtLeastOnce, body, epoch)?),
                PUBREC => Awaits::Pubrec(delivery_of(Qos::ExactlyOnce, body, epoch)?),
                PUBCOMP => Awaits::Pubcomp,
                _ => return Err(RecordError::Malformed),
            };
            if !self.restore_flight(id, token, awaits) {
                return Err(RecordError::Malformed);
            }
        }
        if !self.flights.skip_to(next, PacketIds::<Flight>::SPAN) {
            return Err(RecordError::Malformed);
        }
        for _ in 0..body.u32()? {
            let (token, delivery) = (body.token()?, body.kept_delivery(epoch)?);
            self.bytes = self.bytes.saturating_add(delivery.cost());
            self.queue.push(token, delivery);
        }
        self.queue.set_last_token(last);
        Ok(())
    }

    /// Makes a recorded change; `false`, and nothing is changed, if it does not follow.
    pub(crate) fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Queued { token, id: None, delivery } => {
                self.bytes = self.bytes.saturating_add(delivery.cost());
                self.note_token(token);
                self.queue.push(token, delivery);
                true
            }
            Change::Queued { token, id: Some(id), delivery } => {
                let began = self.restore_flight(id, token, awaits(delivery));
                if began {
                    self.note_token(token);
                }
                began
            }
            Change::Begun { token, id } => {
                if !self.first_is(token) || !self.flights.may_insert_at(id) {
                    return false;
                }
                let Some(entry) = self.queue.pop() else { return false };
                self.bytes = self.bytes.saturating_sub(entry.delivery.cost());
                self.restore_flight(id, token, awaits(entry.delivery))
            }
            Change::Dropped { token } => {
                // the first one, but for what an unsubscribed group takes back
                let dropped = self.queue.take(token);
                if let Some(entry) = &dropped {
                    self.bytes = self.bytes.saturating_sub(entry.delivery.cost());
                }
                dropped.is_some()
            }
            Change::Released { id } => {
                let Some(flight) = self.flights.get_mut(id) else { return false };
                let Awaits::Pubrec(delivery) = &flight.awaits else { return false };
                self.bytes = self.bytes.saturating_sub(delivery.cost());
                flight.awaits = Awaits::Pubcomp;
                true
            }
            Change::Finished { id } => self.complete(id).is_some(),
            Change::Received { .. } | Change::Forgotten { .. } | Change::Restarted => false,
        }
    }

    /// What may have been sent, to be sent again.
    fn restore_flight(&mut self, id: PacketId, token: PublishToken, awaits: Awaits) -> bool {
        let bytes = match &awaits {
            Awaits::Puback(delivery) | Awaits::Pubrec(delivery) => delivery.cost(),
            Awaits::Pubcomp | Awaits::Suback | Awaits::Unsuback => 0,
        };
        let fits = self.flights.insert_at(id, Flight { awaits, token, stale: true, counted: false, unsent: false });
        if fits {
            self.bytes = self.bytes.saturating_add(bytes);
            self.inflight = self.inflight.saturating_add(1);
        }
        fits
    }

    fn first_is(&self, token: PublishToken) -> bool {
        self.queue.ordered().next().is_some_and(|entry| entry.token == token)
    }

    fn note_token(&mut self, token: PublishToken) {
        if self.last_token().is_before(token) {
            self.queue.set_last_token(token);
        }
    }
}

/// What a message that is sent awaits.
pub(super) fn awaits(delivery: Delivery) -> Awaits {
    if delivery.qos == Qos::ExactlyOnce { Awaits::Pubrec(delivery) } else { Awaits::Puback(delivery) }
}

fn delivery_of(qos: Qos, body: &mut RecordReader<'_>, epoch: Epoch) -> Result<Delivery, RecordError> {
    body.delivery(epoch)
        .and_then(|delivery| if delivery.qos == qos { Ok(delivery) } else { Err(RecordError::Malformed) })
}
