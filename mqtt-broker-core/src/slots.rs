//! Generational slots: opaque ids that, once stale, find nothing.
use alloc::vec::Vec;

/// An opaque id: where, and which life of that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// Places in one allocation.
const CHUNK: usize = 64;

/// Values in reusable places. They lie in chunks, so that growing moves nothing and leaves little room unused.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    chunks: Vec<Vec<PlaceOf<T>>>,
    free: Vec<u32>,
    len: usize,
}

#[derive(Debug)]
struct PlaceOf<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slots<T> {
    pub(crate) const fn new() -> Self {
        Self { chunks: Vec::new(), free: Vec::new(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Stores a value; `None` when there are no more indices.
    pub(crate) fn insert(&mut self, value: T) -> Option<Id> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => self.grow()?,
        };
        let place = self.place_mut(index)?;
        place.value = Some(value);
        let generation = place.generation;
        self.len += 1;
        Some(Id { index, generation })
    }

    /// One more place, at the end.
    fn grow(&mut self) -> Option<u32> {
        let index = u32::try_from(self.places()).ok()?;
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        self.chunks.last_mut()?.push(PlaceOf { generation: 0, value: None });
        Some(index)
    }

    /// How many places there are, free ones included.
    pub(crate) fn places(&self) -> usize {
        self.chunks.last().map_or(0, |chunk| (self.chunks.len() - 1) * CHUNK + chunk.len())
    }

    fn place(&self, index: u32) -> Option<&PlaceOf<T>> {
        let index = index as usize;
        self.chunks.get(index / CHUNK)?.get(index % CHUNK)
    }

    fn place_mut(&mut self, index: u32) -> Option<&mut PlaceOf<T>> {
        let index = index as usize;
        self.chunks.get_mut(index / CHUNK)?.get_mut(index % CHUNK)
    }

    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        let place = self.place_mut(id.index).filter(|place| place.generation == id.generation)?;
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(id.index);
        self.len -= 1;
        Some(value)
    }

    pub(crate) fn get(&self, id: Id) -> Option<&T> {
        self.place(id.index).filter(|place| place.generation == id.generation)?.value.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        self.place_mut(id.index).filter(|place| place.generation == id.generation)?.value.as_mut()
    }

    /// By index alone: for ids that cannot be stale.
    pub(crate) fn at(&self, index: u32) -> Option<&T> {
        self.place(index)?.value.as_ref()
    }

    pub(crate) fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        self.place_mut(index)?.value.as_mut()
    }

    /// The whole id of what lives at `index`.
    pub(crate) fn id_at(&self, index: u32) -> Option<Id> {
        let place = self.place(index)?;
        place.value.as_ref().map(|_| Id { index, generation: place.generation })
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = Id> + '_ {
        let places = self.chunks.iter().flatten().zip(0u32..);
        places
            .filter(|(place, _)| place.value.is_some())
            .map(|(place, index)| Id { index, generation: place.generation })
    }
}

/// Makes room for `len` values: an eighth more than there are, so that a large table has little room unused.
pub(crate) fn grow<T>(table: &mut Vec<T>, len: usize) {
    if len > table.capacity() {
        let more = len.saturating_sub(table.len()).max(table.len() / 8).max(8);
        table.reserve_exact(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_id_finds_nothing_even_when_its_place_lives_again() {
        let mut slots = Slots::new();
        let first = slots.insert('a').unwrap();
        assert_eq!(slots.remove(first), Some('a'));
        let second = slots.insert('b').unwrap();
        assert_eq!(first.index, second.index);
        assert_eq!((slots.get(first), slots.get(second)), (None, Some(&'b')));
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.len(), 1);
    }

    #[test]
    fn every_place_is_found_again_over_many_chunks() {
        let mut slots = Slots::new();
        let ids: Vec<Id> = (0..1_000).map(|n| slots.insert(n).unwrap()).collect();
        assert!(ids.iter().zip(0..).all(|(&id, n)| slots.get(id) == Some(&n) && slots.at(id.index) == Some(&n)));
        assert_eq!(slots.ids().collect::<Vec<_>>(), ids);
        assert_eq!(ids.iter().filter_map(|&id| slots.remove(id)).count(), 1_000);
        assert_eq!((slots.len(), slots.ids().count()), (0, 0));
        assert_eq!(slots.insert(7), Some(slots.id_at(999).unwrap()));
    }
}
