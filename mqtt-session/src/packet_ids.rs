//! Packet identifiers (section 2.2.1): one space for all that this end sends, PUBLISH, SUBSCRIBE and UNSUBSCRIBE alike.
use alloc::collections::VecDeque;
use mqtt_codec::PacketId;

/// What waits for an answer, by packet identifier.
///
/// Identifiers are handed out in sequence, so that the position of an entry is its distance from the first identifier still
/// busy: looking up and handing out are O(1), and there is nothing to scan. What is answered out of order leaves a gap; the
/// gap closes when all before it is answered. No more than [`PacketIds::SPAN`] identifiers are spanned: one answer that never
/// comes holds up new identifiers only after that many, and the memory stays bounded.
///
/// v5 [X5-PID-1], v4 [X311-PID-1]: the peer's identifiers are a space of their own.
#[derive(Debug)]
pub(crate) struct PacketIds<T> {
    /// The identifier of the first entry: 1 to 65,535.
    first: u16,
    entries: VecDeque<Option<T>>,
}

/// How many identifiers there are.
const ALL: u16 = u16::MAX;

impl<T> Default for PacketIds<T> {
    fn default() -> Self {
        Self { first: 1, entries: VecDeque::new() }
    }
}

impl<T> PacketIds<T> {
    /// How many identifiers are spanned at most.
    pub(crate) const SPAN: usize = 4096;

    /// The identifier that [`insert`](Self::insert) gives next; `None` while the span is used up.
    pub(crate) fn next(&self) -> Option<PacketId> {
        let position = u16::try_from(self.entries.len()).ok().filter(|_| self.entries.len() < Self::SPAN)?;
        PacketId::new(after(self.first, position))
    }

    /// The identifier that comes behind all those spanned, whether it can be given now or not.
    pub(crate) fn upcoming(&self) -> Option<PacketId> {
        PacketId::new(after(self.first, u16::try_from(self.entries.len()).ok()?))
    }

    /// v5 [MQTT-2.2.1-3], v5 [MQTT-2.2.1-4], v4 [MQTT-2.3.1-2], v4 [MQTT-2.3.1-4]: an identifier that is free, never 0.
    pub(crate) fn insert(&mut self, entry: T) -> Option<PacketId> {
        let id = self.next()?;
        self.entries.push_back(Some(entry));
        Some(id)
    }

    /// Puts an entry under an identifier behind all those in use; `false`, and nothing is changed, if it does not come behind
    /// them or if the span would be too large.
    pub(crate) fn insert_at(&mut self, id: PacketId, entry: T) -> bool {
        let fits = self.may_insert_at(id) && self.skip_to(id, Self::SPAN);
        if fits {
            self.entries.push_back(Some(entry));
        }
        fits
    }

    /// Whether [`insert_at`](Self::insert_at) would take it.
    pub(crate) fn may_insert_at(&self, id: PacketId) -> bool {
        self.entries.is_empty() || (self.entries.len()..Self::SPAN).contains(&distance(self.first, id))
    }

    /// Leaves out the identifiers up to `id`, which is the next one then; `false` if more than `span` would be spanned.
    pub(crate) fn skip_to(&mut self, id: PacketId, span: usize) -> bool {
        if self.entries.is_empty() {
            self.first = id.get();
            return true;
        }
        let distance = distance(self.first, id);
        let fits = (self.entries.len()..=span).contains(&distance);
        if fits {
            self.entries.resize_with(distance, || None);
        }
        fits
    }

    pub(crate) fn get(&self, id: PacketId) -> Option<&T> {
        self.entries.get(distance(self.first, id))?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: PacketId) -> Option<&mut T> {
        self.entries.get_mut(distance(self.first, id))?.as_mut()
    }

    pub(crate) fn remove(&mut self, id: PacketId) -> Option<T> {
        let entry = self.entries.get_mut(distance(self.first, id))?.take();
        while let Some(None) = self.entries.front() {
            self.entries.pop_front();
            self.first = after(self.first, 1);
        }
        entry
    }

    /// In the order of their insertion.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (PacketId, &mut T)> {
        let first = self.first;
        self.entries
            .iter_mut()
            .zip(0_u16..)
            .filter_map(move |(entry, position)| Some((PacketId::new(after(first, position))?, entry.as_mut()?)))
    }

    /// Takes all out, in the order of their insertion.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        self.entries.drain(..).flatten()
    }

    /// In the order of their insertion.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PacketId, &T)> {
        let first = self.first;
        self.entries
            .iter()
            .zip(0_u16..)
            .filter_map(move |(entry, position)| Some((PacketId::new(after(first, position))?, entry.as_ref()?)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Gives the memory back if nothing is in it.
    pub(crate) fn shrink(&mut self) {
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }

    pub(crate) fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<Option<T>>()
    }
}

/// The identifier `steps` behind `id`, around the end of the space and past 0.
fn after(id: u16, steps: u16) -> u16 {
    let sum = u32::from(id.saturating_sub(1)) + u32::from(steps);
    u16::try_from(sum % u32::from(ALL)).unwrap_or_default() + 1
}

/// How far `id` is behind `first`.
fn distance(first: u16, id: PacketId) -> usize {
    let id = id.get();
    usize::from(if id >= first { id - first } else { ALL - (first - id) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u16) -> PacketId {
        PacketId::new(id).unwrap()
    }

    #[test]
    fn identifiers_go_around_past_zero() {
        let mut ids = PacketIds::default();
        for round in 0..200_000_u32 {
            let expected = u16::try_from(round % 65_535).unwrap() + 1;
            assert_eq!(ids.insert(round), Some(id(expected)));
            assert_eq!(ids.get_mut(id(expected)), Some(&mut round.clone()));
            assert_eq!(ids.remove(id(expected)), Some(round));
        }
        assert!(ids.is_empty());
    }

    #[test]
    fn what_is_answered_out_of_order_leaves_a_gap_that_closes() {
        let mut ids = PacketIds::default();
        for n in 1..=4_u16 {
            assert_eq!(ids.insert(n), Some(id(n)));
        }
        assert_eq!(ids.remove(id(2)), Some(2));
        assert_eq!(ids.remove(id(2)), None, "answered already");
        assert_eq!(
            ids.iter_mut().map(|(id, n)| (id.get(), *n)).collect::<alloc::vec::Vec<_>>(),
            [(1, 1), (3, 3), (4, 4)]
        );
        assert_eq!(ids.remove(id(1)), Some(1));
        assert_eq!(ids.entries.len(), 2, "the gap is closed");
        assert_eq!(ids.remove(id(5)), None, "never given out");
    }

    #[test]
    fn a_span_that_is_used_up_gives_no_identifier_until_the_first_is_answered() {
        let mut ids = PacketIds::default();
        for n in 0..PacketIds::<usize>::SPAN {
            assert!(ids.insert(n).is_some());
        }
        assert_eq!(ids.insert(0), None);
        ids.remove(id(2));
        assert_eq!(ids.insert(0), None, "the first still waits");
        ids.remove(id(1));
        assert_eq!(ids.insert(0), Some(id(4097)));
    }
}
