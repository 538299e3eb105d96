//! What waits to be sent, in order, and the places held open in it.
use crate::message::Delivery;
use crate::{Place, PublishToken};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use mqtt_codec::Qos;

/// A session's queue: two lanes.
///
/// QoS 1 and 2 wait in the ordered lane, places among them. QoS 0 has a lane of its own, so that a full window never holds it
/// back (v5 [MQTT-3.3.4-8], v5 [MQTT-3.3.4-10]), but joins the ordered lane while a place or another QoS 0 is there, so that
/// nothing overtakes what the place stands for.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    ordered: VecDeque<Waiting>,
    free: VecDeque<(PublishToken, Delivery)>,
    /// Places in the ordered lane.
    places: u32,
    /// QoS 0 in the ordered lane.
    qos0: u32,
    /// Bytes of messages in the ordered lane.
    ordered_bytes: usize,
    /// Bytes of messages in the other.
    free_bytes: usize,
    /// The place given out next.
    next_place: u32,
    last_token: u32,
}

/// What stands in the ordered lane.
#[derive(Debug)]
pub(crate) enum Waiting {
    Delivery(Entry),
    Place(Place),
}

/// A delivery in the ordered lane.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) token: PublishToken,
    pub(crate) delivery: Delivery,
    /// It was put in front of a place while changes were recorded: it is told when its turn comes.
    pub(crate) late: bool,
}

impl Queue {
    /// The token of the next delivery.
    pub(crate) fn begin_token(&mut self) -> PublishToken {
        self.last_token = self.last_token.wrapping_add(1);
        self.last_token()
    }

    pub(crate) fn last_token(&self) -> PublishToken {
        PublishToken(self.last_token)
    }

    pub(crate) fn set_last_token(&mut self, token: PublishToken) {
        self.last_token = token.0;
    }

    pub(crate) fn push(&mut self, token: PublishToken, delivery: Delivery) {
        if delivery.qos == Qos::AtMostOnce && self.lets_qos0_pass() {
            self.free_bytes += delivery.cost();
            self.free.push_back((token, delivery));
        } else {
            self.count(&delivery);
            self.ordered.push_back(Waiting::Delivery(Entry { token, delivery, late: false }));
        }
    }

    /// Puts a delivery in front of all others: it was there before them.
    pub(crate) fn push_front(&mut self, token: PublishToken, delivery: Delivery) {
        self.count(&delivery);
        self.ordered.push_front(Waiting::Delivery(Entry { token, delivery, late: false }));
    }

    /// The front of the ordered lane.
    pub(crate) fn front(&self) -> Option<&Waiting> {
        self.ordered.front()
    }

    /// Takes the delivery at the front of the ordered lane.
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        self.take_at(0)
    }

    /// The next QoS 0 delivery that waits for nobody.
    pub(crate) fn front_free(&self) -> Option<&(PublishToken, Delivery)> {
        self.free.front()
    }

    /// Whether that one is older than `token`.
    pub(crate) fn free_is_before(&self, token: PublishToken) -> bool {
        self.free.front().is_some_and(|(free, _)| free.is_before(token))
    }

    /// The deliveries of the ordered lane, in order.
    pub(crate) fn ordered(&self) -> impl Iterator<Item = &Entry> {
        self.ordered.iter().filter_map(|waiting| match waiting {
            Waiting::Delivery(entry) => Some(entry),
            Waiting::Place(_) => None,
        })
    }

    /// The deliveries of both lanes.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Delivery> {
        let ordered = self.ordered.iter_mut().filter_map(|waiting| match waiting {
            Waiting::Delivery(entry) => Some(&mut entry.delivery),
            Waiting::Place(_) => None,
        });
        ordered.chain(self.free.iter_mut().map(|(_, delivery)| delivery))
    }

    /// Whether nothing stands in the ordered lane.
    pub(crate) fn is_clear(&self) -> bool {
        self.ordered.is_empty()
    }

    pub(crate) fn pop_free(&mut self) -> Option<(PublishToken, Delivery)> {
        let (token, delivery) = self.free.pop_front()?;
        self.free_bytes = self.free_bytes.saturating_sub(delivery.cost());
        Some((token, delivery))
    }

    /// The oldest delivery of both lanes.
    pub(crate) fn pop_oldest(&mut self) -> Option<Entry> {
        let ordered = self.ordered.iter().enumerate().find_map(|(at, waiting)| match waiting {
            Waiting::Delivery(entry) => Some((at, entry.token)),
            Waiting::Place(_) => None,
        });
        match (ordered, self.free.front()) {
            (Some((_, older)), Some((newer, _))) if newer.is_before(older) => self.pop_free_entry(),
            (Some((at, _)), _) => self.take_at(at),
            (None, _) => self.pop_free_entry(),
        }
    }

    /// Takes every QoS 0 delivery out of the lane of their own.
    pub(crate) fn drain_free(&mut self) -> impl Iterator<Item = (PublishToken, Delivery)> + '_ {
        self.free_bytes = 0;
        self.free.drain(..)
    }

    /// Takes out every delivery that `wanted` says so of: those of the ordered lane, then those of the other.
    pub(crate) fn take_if(&mut self, mut wanted: impl FnMut(&Delivery) -> bool) -> Vec<Entry> {
        let (mut taken, mut kept) = (Vec::new(), VecDeque::new());
        for waiting in core::mem::take(&mut self.ordered) {
            match waiting {
                Waiting::Delivery(entry) if wanted(&entry.delivery) => {
                    self.uncount(&entry.delivery);
                    taken.push(entry);
                }
                stays @ (Waiting::Delivery(..) | Waiting::Place(_)) => kept.push_back(stays),
            }
        }
        self.ordered = kept;
        let mut kept = VecDeque::new();
        for (token, delivery) in core::mem::take(&mut self.free) {
            if wanted(&delivery) {
                self.free_bytes = self.free_bytes.saturating_sub(delivery.cost());
                taken.push(Entry { token, delivery, late: false });
            } else {
                kept.push_back((token, delivery));
            }
        }
        self.free = kept;
        taken
    }

    /// Whether a QoS 0 message has nothing to wait behind.
    pub(crate) fn is_free(&self) -> bool {
        self.free.is_empty() && self.lets_qos0_pass()
    }

    pub(crate) fn hold_place(&mut self) -> Place {
        let place = Place(self.next_place);
        self.next_place = self.next_place.wrapping_add(1);
        self.places += 1;
        self.ordered.push_back(Waiting::Place(place));
        place
    }

    /// Puts a delivery in front of a place; `false` if the place is closed already.
    pub(crate) fn fill_place(&mut self, place: Place, entry: Entry) -> bool {
        let Some(at) = self.position(place) else { return false };
        self.count(&entry.delivery);
        self.ordered.insert(at, Waiting::Delivery(entry));
        true
    }

    pub(crate) fn close_place(&mut self, place: Place) {
        if let Some(at) = self.position(place) {
            self.ordered.remove(at);
            self.places = self.places.saturating_sub(1);
        }
    }

    /// Deliveries of both lanes.
    pub(crate) fn len(&self) -> usize {
        self.ordered.len().saturating_sub(usize::try_from(self.places).unwrap_or(usize::MAX)) + self.free.len()
    }

    /// Whether there is a delivery, in either lane.
    pub(crate) fn has_deliveries(&self) -> bool {
        !self.free.is_empty() || self.ordered.len() > usize::try_from(self.places).unwrap_or(usize::MAX)
    }

    /// Whether there is neither a delivery nor a place.
    pub(crate) fn is_empty(&self) -> bool {
        self.ordered.is_empty() && self.free.is_empty()
    }

    /// Gives the memory of empty lanes back.
    pub(crate) fn shrink(&mut self) {
        if self.ordered.is_empty() {
            self.ordered = VecDeque::new();
        }
        if self.free.is_empty() {
            self.free = VecDeque::new();
        }
    }

    pub(crate) fn memory(&self) -> usize {
        self.ordered.capacity() * size_of::<Waiting>() + self.free.capacity() * size_of::<(PublishToken, Delivery)>()
    }

    /// Takes the delivery `token` out of the ordered lane.
    pub(crate) fn take(&mut self, token: PublishToken) -> Option<Entry> {
        let is_it = |waiting: &Waiting| matches!(waiting, Waiting::Delivery(entry) if entry.token == token);
        let at = self.ordered.iter().position(is_it)?;
        self.take_at(at)
    }

    /// Bytes of what could go out now if there were room: all of it, or QoS 0 alone while the window is full.
    pub(crate) fn sendable_bytes(&self, window_is_open: bool) -> usize {
        self.free_bytes + if window_is_open { self.ordered_bytes } else { 0 }
    }

    /// A delivery joins the ordered lane.
    fn count(&mut self, delivery: &Delivery) {
        self.qos0 += u32::from(delivery.qos == Qos::AtMostOnce);
        self.ordered_bytes += delivery.cost();
    }

    fn lets_qos0_pass(&self) -> bool {
        self.places == 0 && self.qos0 == 0
    }

    /// A place that was reached is at the front, or behind what it was filled with.
    fn position(&self, place: Place) -> Option<usize> {
        let is_it = |waiting: &Waiting| matches!(waiting, Waiting::Place(held) if *held == place);
        if self.ordered.front().is_some_and(is_it) { Some(0) } else { self.ordered.iter().rposition(is_it) }
    }

    fn take_at(&mut self, at: usize) -> Option<Entry> {
        let Some(Waiting::Delivery(..)) = self.ordered.get(at) else { return None };
        let Some(Waiting::Delivery(entry)) = self.ordered.remove(at) else { return None };
        self.uncount(&entry.delivery);
        Some(entry)
    }

    fn pop_free_entry(&mut self) -> Option<Entry> {
        self.pop_free().map(|(token, delivery)| Entry { token, delivery, late: false })
    }

    /// A delivery left the ordered lane.
    fn uncount(&mut self, delivery: &Delivery) {
        self.qos0 = self.qos0.saturating_sub(u32::from(delivery.qos == Qos::AtMostOnce));
        self.ordered_bytes = self.ordered_bytes.saturating_sub(delivery.cost());
    }
}
